"""Damaged results folders, and every command on them: the same numbers, or words, never others in silence."""

from __future__ import annotations

import functools
import random
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from harness.errors import MachineError, UsageError
from torture import damage, forks, oracle
from torture.kinds import Kind
from torture.oracle import SAID, Case, Fault, Outcome
from torture.values import OUTPUTS, SMALL

STUDIES: Mapping[str, Mapping[str, Any]] = {
    "plain": {
        "study": {"name": "plain", "seeds": 2, "keep_weights": "all", "metrics": ["brier"]},
        "baseline": SMALL,
        "axes": {"output": OUTPUTS},
    },
    "tuned": {
        "study": {"name": "tuned", "seeds": 1},
        "baseline": SMALL,
        "axes": {"activation": ["relu", "tanh"]},
        "tune": {"seeds": 1, "space": {"lr": [0.1, 0.3]}},
    },
    "searched": {
        "study": {"name": "searched", "design": "search", "seeds": 2},
        "baseline": SMALL,
        "search": {"suggestions": 4, "batch": 2, "storage": "journal"},
        "space": {"lr": {"low": 0.01, "high": 1.0, "log": True}},
    },
}
DRAWN = ("plain", "plain", "plain", "tuned", "searched")
COMMANDS: Mapping[str, float] = {
    "compare": 6, "export": 5, "plan": 4, "run": 5, "show": 1.5, "hardest": 1.2, "report": 0.12,
}  # fmt: skip
"""How often each is drawn: a report draws figures for seconds."""


@dataclass(frozen=True)
class Prepared:
    """A study's folder, undamaged: what `harness.read` gives of it, its tables, and its exported weights."""

    folder: Path
    study: Path
    read: Mapping[str, pd.DataFrame]
    tables: Mapping[str, pd.DataFrame]
    weights: bytes


def _prepare(folder: Path, short: bool) -> Mapping[str, Prepared]:
    import harness

    prepared = {}
    for name, tables in list(STUDIES.items())[: 1 if short else None]:
        study, results = folder / f"{name}.toml", folder / name
        study.write_text(tomli_w.dumps(dict(tables)), encoding="utf-8")
        loaded = harness.load(study)
        if loaded.search is None:
            harness.run(loaded, results, workers=1)
        else:
            harness.search(loaded, results, workers=1)
        out = folder / f"exported-{name}"
        export = functools.partial(oracle.command, "export", "best", "--results", results, "--out", out)
        exported = forks.apart(export, folder, 60)
        weights = (out / "model.safetensors").read_bytes() if exported.code == 0 else b""
        prepared[name] = Prepared(results, study, oracle.read(results), oracle.tables(results), weights)
    return prepared


def _run(seed: int, folder: Path, prepared: Mapping[str, Prepared]) -> Case:
    rng = random.Random(seed)
    sound = prepared[rng.choice([name for name in DRAWN if name in prepared])]
    strikes = [rng.randrange(2**32) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    names = rng.choices(list(COMMANDS), list(COMMANDS.values()), k=rng.choice([1, 2]))
    case = _struck(strikes, names, folder / "all", sound)
    if seed % 100 == 0:
        case.count("real processes")
        outcome = oracle.real(_words(names[-1], sound, folder / "all"), cwd=folder)
        case.judge(outcome, f"{sound.folder.name}; then {names[-1]}")
    if case.faults and len(strikes) > 1:  # the fewest strikes that do it: one, if one alone does
        alone = (_struck([one], names, folder / str(i), sound) for i, one in enumerate(strikes))
        case.faults = next((found.faults for found in alone if found.faults), case.faults)
    return case


def _struck(strikes: Sequence[int], names: Sequence[str], folder: Path, sound: Prepared) -> Case:
    """A copy of a folder, struck; then what is read of it, and what commands make of it."""
    case, results = Case(), folder / "results"
    shutil.copytree(sound.folder, results)
    shutil.copy(sound.study, folder / "study.toml")
    struck = [damage.strike(random.Random(one), results) for one in strikes]
    smallest = f"{sound.folder.name}: " + ", then ".join(f"{name} {file}" for name, file in struck)
    kinds = _kind(struck[0][1]) if len(struck) == 1 else "several files"
    _read(results, sound, case, smallest, kinds)
    for name in names:
        case.count(name)
        outcome = oracle.command(*_words(name, sound, folder), allowed=_allowed(name, folder))
        case.judge(outcome, f"{smallest}; then {name}")
        _numbers(name, outcome, sound, folder, Fault(kinds, f"{smallest}; then {name}"), case)
    return case


def _kind(file: str) -> str:
    """A file's kind: names made of hashes and numbers are one."""
    path = Path(file)
    return re.sub(r"[0-9a-f]{8,}|\d+", "N", str(path))


def _words(name: str, sound: Prepared, folder: Path) -> Sequence[str | Path]:
    results, study = folder / "results", folder / "study.toml"
    search = sound.folder.name == "searched"
    return {
        "compare": ("compare", sound.folder, results),
        "export": ("export", "best", "--results", results, "--out", folder / "exported"),
        "plan": ("plan", study, "--results", results),
        "run": ("search" if search else "run", study, "--results", results, "--workers", "1"),
        "show": ("show", results, "probabilities", "--out", folder / "figures"),
        "hardest": ("data", "show", "digits", "--hardest", results, "--out", folder / "figures"),
        "report": ("report", results),
    }[name]


def _allowed(name: str, folder: Path) -> Sequence[Path]:
    """The folders that a command may write to."""
    beside = {
        "export": "exported",
        "show": "figures",
        "hardest": "figures",
        "run": "results",
        "report": "results",
    }
    return [folder / beside[name]] if name in beside else [folder / "nothing"]


def _read(results: Path, sound: Prepared, case: Case, smallest: str, kinds: str) -> None:
    """What `harness.read` gives of a damaged folder: the same numbers, others with words, or words alone."""
    import harness

    case.count("read")
    oracle.cleared()
    try:
        found = harness.read(results)
    except (UsageError, MachineError) as error:
        case.judge(Outcome(2, err=str(error)), f"{smallest}; then read")
        return
    except Exception as error:  # noqa: BLE001 (whatever gets out is what we look for)
        case.faults.append(Fault(f"read: traceback: {oracle.signature(error)}", smallest))
        return
    words = "".join(oracle.taken()) + " ".join(map(str, getattr(found, "notes", ())))
    case.words.append(words)
    differs = oracle.difference(sound.read, oracle.frames(found))
    if differs and not SAID.search(words):
        case.faults.append(Fault(f"read in silence: {differs}, after damage to {kinds}", smallest))


def _numbers(name: str, outcome: Outcome, sound: Prepared, folder: Path, at: Fault, case: Case) -> None:
    """Other numbers after a command that said nothing."""
    if outcome.code != 0 or outcome.raised:
        return
    differs = ""
    if name == "run" and not SAID.search(outcome.err):
        differs = oracle.difference(sound.tables, oracle.tables(folder / "results"))
    if name == "export" and "as trials.csv has it" in outcome.out and not SAID.search(outcome.err):
        path = folder / "exported" / "model.safetensors"
        same = path.is_file() and _arrays(path.read_bytes()) == _arrays(sound.weights)
        differs = "" if same else "other weights"
    if differs:
        case.faults.append(Fault(f"{name} in silence: {differs}, after damage to {at.what}", at.smallest))


def _arrays(data: bytes) -> dict[str, bytes]:
    import safetensors.numpy

    return {name: array.tobytes() for name, array in safetensors.numpy.load(data).items()}


KIND = Kind("folders", "damaged results folders", 5000, 4, _prepare, _run, chunk=25, patience=60)

"""Measures `harness merge` of large shards that nothing has trained: seconds, the largest memory, links.

`python tests/benchmarks/merging_size.py --shards 100 --trials 10000 --folder /tmp/shards` makes the shards
(minutes, once), merges them in a process of its own, and prints what that took. Each trial has a row of
trials.csv, curves of three epochs, counts of ten classes in its part, and weights and predictions to link.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from harness.results import checksums, documents, part_files, tables
from harness.results.csv_rows import CONFUSION, TextTable
from harness.settings import CORE
from harness.settings.schema import EPOCHS, METRICS, OUTCOME
from harness.study.checker import known_settings
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.trials import SEMANTICS, arms
from harness.system import files
from harness.text import as_text

ARMS = 100
"""Arms of the study, and trials of a stack: those of a seed."""
FORMS = 7
"""Different contents of stacks."""
SEED, GROUP, HOST = "5eed5eed", "g0123456789", "the-host"
"""What the texts of a stack have in place of a seed, a stack's name and a host."""
TABLES: dict[str, Any] = {
    "study": {"name": "large", "keep_weights": "all"},
    "baseline": {"dataset": "digits", "epochs": 3},
    "axes": {"lr": [round(0.001 * (i + 1), 3) for i in range(ARMS)]},
}


def make(folder: Path, shards: int, trials: int) -> None:
    """Make the shards: the first has the first seeds, with all arms, and so on."""
    seeds = trials // ARMS
    study = parse({**TABLES, "study": {**TABLES["study"], "seeds": shards * seeds}})
    forms = [_stack(np.random.default_rng(form)) for form in range(FORMS)]
    planned = _planned(study)
    for shard in range(shards):
        place = folder / f"large-shard-{shard + 1}-of-{shards}"
        _make_shard(place, study, forms, planned, study.seeds[shard * seeds : (shard + 1) * seeds])
        plan = json.loads((place / "plan.json").read_bytes()) | {"shard": [shard + 1, shards]}
        (place / "plan.json").write_text(json.dumps(plan, indent=1))


def _trial(arm: int) -> str:
    return f"t{arm:04x}{SEED}"


def _stack(draw: np.random.Generator) -> dict[str, str]:
    """Write the tables of a stack: a trial an arm, with numbers at random."""
    trials, epochs, counts = (TextTable(["trial_id", *OUTCOME]), TextTable(EPOCHS), TextTable(CONFUSION))
    for arm in range(ARMS):
        measured = dict(zip(METRICS, map("{:.7g}".format, draw.random(len(METRICS))), strict=True))
        cells = {
            "trial_id": _trial(arm), "status": "ok", "parameters": "52650", "flops": "105000",
            "epochs_done": "3", "steps_done": "90", "engine": "stacked", "device": "cpu", "group": GROUP,
            "group_size": str(ARMS), "group_seconds": "12.345", "kernels": "c-0123456789+relu", "host": HOST,
            **measured,
        }  # fmt: skip
        trials.rows.append([cells.get(name, "") for name in trials.columns])
        for epoch in range(4):
            for split in ("train", "val"):
                numbers = map("{:.7g}".format, draw.random(2))
                epochs.rows.append([_trial(arm), str(epoch), str(30 * epoch), split, *numbers])
        for split in ("val", "test"):
            images = draw.integers(0, 900, (10, 10)) * (np.eye(10, dtype=int) | (draw.random((10, 10)) < 0.5))
            at = np.argwhere(images)
            counts.rows += [[_trial(arm), split, str(a), str(b), str(images[a, b])] for a, b in at]
    return {"trials": trials.written(), "epochs": epochs.written(), "confusion": counts.written()}


def _planned(study: Study) -> tuple[list[str], list[list[str]]]:
    """Give the columns of planned rows, and the cells of each arm between its trial_id and its seed."""
    names = [*CORE, *(name for name in known_settings() if name not in CORE)]
    rows = [[arm.name, *(as_text(arm.settings.get(name)) for name in names)] for arm in arms(study)]
    return ["trial_id", "arm", *names, "seed", "status", "reason"], rows


def _make_shard(
    folder: Path,
    study: Study,
    forms: Sequence[dict[str, str]],
    planned: tuple[list[str], list[list[str]]],
    seeds: Sequence[int],
) -> None:
    for name in ("parts", *tables.KEPT):
        (folder / name).mkdir(parents=True)
    stacks, digests, parts, rows = [], dict[str, str](), dict[str, str](), []
    one = checksums.digest(b"w" * 400)
    for seed in seeds:
        group = f"g{seed:010x}"
        trials = [_trial(arm).replace(SEED, f"{seed:08x}") for arm in range(ARMS)]
        theirs = {f"weights/{trial}.safetensors": one for trial in trials} | {f"predictions/{group}.npz": one}
        for name in theirs:
            (folder / name).write_bytes(b"w" * 400)
        content = _part(forms[seed % len(forms)], seed, group, theirs)
        (folder / f"parts/{group}.zip").write_bytes(content)
        parts[f"{group}.zip"] = checksums.digest(content)
        digests |= theirs
        stacks.append({"group": group, "engine": "stacked", "trials": trials})
        rows += [[t, *arm, str(seed), "", ""] for t, arm in zip(trials, planned[1], strict=True)]
    plan = {
        "schema": documents.SCHEMA, "study": "large", "phase": "fixed", "data": {"digits": "0" * 64},
        "semantics": SEMANTICS, "components": {}, "merged": {}, "stacks": stacks,
    }  # fmt: skip
    files.write(folder / "plan.json", json.dumps(plan).encode())
    files.write(folder / "study.toml", tomli_w.dumps(study.tables(folder)).encode())
    ordered = TextTable(planned[0], sorted(rows, key=lambda row: row[0]))  # by arm, then by seed
    files.write(folder / tables.PLANNED, gzip.compress(ordered.written().encode(), 1, mtime=0))
    files.write(folder / checksums.FILE, checksums.Record({}, parts, digests).content())


def _part(form: dict[str, str], seed: int, group: str, digests: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in form.items():
            named = text.replace(SEED, f"{seed:08x}").replace(GROUP, group).replace(HOST, f"host{seed % 9}")
            archive.writestr(f"{name}.csv", named)
        archive.writestr(part_files.DIGESTS, json.dumps(digests))
    return packed.getvalue()


def measure(folder: Path) -> None:
    """Merge all shards in a process of its own, and print what that took."""
    out = folder.parent / f"{folder.name}-merged"
    shutil.rmtree(out, ignore_errors=True)
    shards = sorted(str(path) for path in folder.iterdir())
    command = [sys.executable, "-m", "harness", "merge", *shards, "--out", str(out), "--json"]
    start = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    seconds = time.monotonic() - start
    used, answer = resource.getrusage(resource.RUSAGE_CHILDREN), json.loads(done.stdout)
    told = ", ".join(f"{key} {answer[key]}" for key in ("statuses", "linked", "copied", "missing"))
    print(
        f"{len(shards)} shards: {seconds:.0f} s, {used.ru_utime:.0f} + {used.ru_stime:.0f} CPU s, "
        f"{used.ru_maxrss / 2**20:.2f} GB at most; {told}"
    )
    for path in sorted(out.glob("*.*")):
        print(f"  {path.name} {path.stat().st_size / 1e6:,.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--trials", type=int, default=10_000, help="of a shard, a multiple of 100")
    parser.add_argument("--folder", type=Path, required=True)
    chosen = parser.parse_args()
    if not chosen.folder.exists():
        make(chosen.folder, chosen.shards, chosen.trials)
    measure(chosen.folder)


if __name__ == "__main__":
    main()

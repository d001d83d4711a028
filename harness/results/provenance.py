"""Provenance: the versions, machine, data and runs that a results folder's numbers come from."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import notes
from harness.axes.metrics import metrics
from harness.engines import bits, kernels
from harness.lowering import builds
from harness.planning.plan import Plan
from harness.registry import PACKAGE_ROOT
from harness.results import documents
from harness.system import files, machine
from harness.system.database_urls import without_passwords
from harness.system.resources import cores

if TYPE_CHECKING:
    import pandas as pd

    from harness.data.datasets import Dataset
    from harness.results.csv_rows import TextTable

UNCLEAR = re.compile(r"""^$|[\s'"\\]""")
"""What in a word of a command needs quotes."""


class Provenance:
    """provenance.json of a run that trains into a folder. Earlier runs into the same folder stay listed."""

    def __init__(  # noqa: PLR0913 (facts of one run)
        self, folder: Path, plan: Plan, devices: Sequence[str], workers: int, *, here: bool = True,
        idle: bool = False, engine: str = "",
    ) -> None:  # fmt: skip
        """Write that a run begins, on this machine or elsewhere; an `idle` one has nothing to train.

        `engine` is what a search trains with, whose plan has no stacks yet; else the plan's stacks say it.
        """
        self.path = folder / "provenance.json"
        self.before = before = documents.provenance(folder)
        _set_aside(self.path)
        self.start = time.monotonic()
        engines = {engine} if engine else {stack.engine for stack in plan.stacks}
        about = {
            "versions": _versions(),
            "commit": _commit(),
            "device": _device_name(devices[0]) if here else devices[0],
            "kernels": _kernels(engines, devices[0]) if here else "those of the nodes: see trials.csv",
            "bits": builds.bits(),
            "host": machine.host(),
        }
        self.run: dict[str, Any] = {
            "command": _command(sys.argv),
            "started": _now(),
            **about,  # a folder may be trained in several sittings, by several versions
        }
        self.content: dict[str, Any] = {
            **about,
            "cpu": machine.model(),
            "cores": cores(),
            "workers": workers,
            "threads": 1,
            "data": {name: _facts(dataset) for name, dataset in plan.datasets.items()},
            "metrics": _metric_sources(before, plan),
            "runs": [*before.get("runs", []), self.run],
            **({"sources": before["sources"]} if "sources" in before else {}),
        }
        if idle:
            self._keep_facts()
        self._write()

    def finish(self, trained: int, more: Mapping[str, Any] | None = None) -> None:
        """Note when the run ended, how many trials it trained, and what else is known of it.

        Of a `cluster` among that, the last run's also stands beside the runs. A run that trained nothing
        leaves the facts of training as they were.
        """
        seconds = round(time.monotonic() - self.start, 1)
        self.run |= {"finished": _now(), "seconds": seconds, "trials_trained": trained, **(more or {})}
        self.content |= {name: self.run[name] for name in ("cluster",) if name in self.run}
        if not trained:
            self._keep_facts()
        self._write()

    def _keep_facts(self) -> None:
        """Leave the facts of training as an earlier run has written them, if there was one."""
        if not self.before:
            return
        facts = (*documents.OF_TRAINING, "cluster")
        others = {name: value for name, value in self.content.items() if name not in facts}
        self.content = others | {name: self.before[name] for name in facts if name in self.before}

    def _write(self) -> None:
        files.write(self.path, json.dumps(self.content, indent=1).encode())


def _facts(dataset: Dataset) -> dict[str, Any]:
    f = dataset.facts
    return {"digest": f.digest, "classes": list(f.classes), "train": f.train, "test": f.test}


def _set_aside(path: Path) -> None:
    """Rename a provenance.json that cannot be read; this run's takes its place."""
    try:
        if path.exists():
            files.json_table(path)
    except (OSError, ValueError):
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        notes.warn(f"it is set aside as {aside.name}, and a new one is written")


def _metric_sources(before: Mapping[str, Any], plan: Plan) -> dict[str, list[str]]:
    """Map each metric to the digests of the files that defined it, earlier runs' first, the plan's last."""
    sources: dict[str, list[str]] = dict(before.get("metrics", {}))
    for name in plan.study.metrics:
        digest = metrics.entry(name).source_digest or "the harness's own"
        sources[name] = [*(known for known in sources.get(name, []) if known != digest), digest]
    return sources


def metric_notes(folder: Path, plan: Plan, trials: pd.DataFrame | TextTable) -> list[str]:
    """Say which tracked metrics have columns that are incomplete, or may mix two definitions."""
    planned = {trial.trial_id for trial in plan.trials}
    pairs = zip(trials["trial_id"], trials["status"], strict=True)
    done = [i for i, (trial_id, status) in enumerate(pairs) if status == "ok" and trial_id in planned]
    sources, listed = _metric_sources(documents.provenance(folder), plan), []
    advice = "For whole columns of one meaning, run into a new folder with --results"
    for name in plan.study.metrics:
        column = f"train_{name}"
        cells = list(trials[column]) if column in trials else []
        missing = sum(cells[i] in {"", None} or cells[i] != cells[i] for i in done) if cells else len(done)
        if missing:
            listed.append(
                f"{missing} finished trials were trained before metric {name!r} was tracked: their cells "
                f"stay empty. {advice}"
            )
        if missing < len(done) and len(sources[name]) > 1:
            listed.append(
                f"the file that defines metric {name!r} has changed since trials were measured with it: its "
                f"column may mix two meanings. {advice}"
            )
    return listed


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    names = ("torch", "numpy", "pandas", "scipy", "scikit-learn", "optuna", "ablation-harness")
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _commit() -> str:
    """Ask git for the harness's commit, marked where files differ from it; empty outside a checkout.

    `git describe --dirty` would write the index under a lock, which a run that is killed would leave behind
    (git 2.39, with --no-optional-locks too); `git status` can be asked not to.
    """
    commit = _git("describe", "--always", "--abbrev=12")
    changed = commit and _git("status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit


def _command(words: Sequence[str]) -> str:
    """Write a command as it was typed, without passwords; words with spaces stand in quotes."""
    shown = [Path(words[0]).name, *map(without_passwords, words[1:])]
    return " ".join(shlex.quote(word) if UNCLEAR.search(word) else word for word in shown)


def _git(*arguments: str) -> str:
    """Run git on the harness's checkout; empty if that fails."""
    command = ["git", "--no-optional-locks", "-C", str(PACKAGE_ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def _kernels(engines: Collection[str], device: str) -> str:
    """Name the stacked engine's kernels that compute, or say why none do."""
    if device != "cpu" or "stacked" not in engines:
        return "not used"
    return kernels.why_not() or f"{bits.build()} ({kernels.identity()})"  # as in trials.csv, and whole

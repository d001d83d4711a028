"""One results folder as the live page shows it: how far it is, its arms, its curves, and what went wrong."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import notes
from harness.errors import MachineError, UsageError
from harness.reporting.live import curves as live_curves
from harness.reporting.live import search as live_search
from harness.reporting.live.curves import ArmKey, MeanCurve
from harness.results import columns, csv_rows, documents, progress_file, standing, tables
from harness.results.csv_rows import TextTable
from harness.results.progress_file import WatchedArm, WatchedState
from harness.text import percent

MOST_ROWS = 200  # arms of a data set, trials that went wrong
REST = 50  # reading takes a fiftieth of one core's time at most, while a run needs the cores
TRAINED = ("ok", "diverged", "failed", "pruned")


@dataclass
class PhaseTables:
    """The tables of a results folder as they were read last, and what the reader said."""

    study: Mapping[str, Any] = field(default_factory=dict)
    trials: TextTable = field(default_factory=lambda: TextTable([]))
    curves: Mapping[ArmKey, MeanCurve] = field(default_factory=dict)
    said: Sequence[str] = ()


class LivePhase:
    """A results folder, read again when it changes: `describe` tells of it in JSON's types."""

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title
        self.tables = PhaseTables()
        self._stamp: object = None
        self._groups: Sequence[str] | None = None
        self._due = 0.0

    @property
    def is_there(self) -> bool:
        """Tell whether a run has planned it."""
        return all((self.folder / name).is_file() for name in ("plan.json", "study.toml"))

    def state(self, since: float) -> tuple[WatchedState, float] | None:
        """Return the state that a run left here after the time `since`, and when; else None."""
        found = progress_file.read(self.folder)
        return found if found is not None and found[1] >= since else None

    def describe(self, state: WatchedState | None) -> dict[str, Any]:
        """Describe the folder, and the state of the run that trains into it, if one does."""
        groups = state.groups if state is not None else []
        stamp = _stamp(self.folder)
        is_due = state is None or time.monotonic() >= self._due
        if (stamp, groups) != (self._stamp, self._groups) and is_due:
            start = time.thread_time()
            self._read(groups)
            self._stamp = stamp
            self._due = time.monotonic() + REST * (time.thread_time() - start)
        told = _ToldTrials(self.tables, state)
        is_search = self.tables.study.get("study", {}).get("phase") == "search"
        shown = live_search.described(self.folder, self.tables.study) if is_search else told.arms()
        return {
            "title": self.title,
            "counts": told.counts(),
            "planned": told.planned,
            "done": told.done,
            "training": None if state is None else training(state),
            "notes": [*dict.fromkeys([*self.tables.said, *_notes(state)])],
            "wrong": told.wrong(),
            **shown,
        }

    def _read(self, groups: Sequence[str]) -> None:
        """Read the tables; the curves only where they are new: of what trains now, the run tells."""
        with heard() as said:
            try:
                study = documents.study(self.folder)
                again = groups != self._groups or not groups
                names = ["trials", "epochs"] if again else ["trials"]
                texts = tables.read(self.folder, names)
                trials = csv_rows.table(texts["trials"])
                columns.check_columns(trials.columns, columns.NEEDED["trials"])
                curves = self.tables.curves
                if again:
                    curves = live_curves.of_folder(trials, texts["epochs"], groups)
                self.tables, self._groups = PhaseTables(study, trials, curves), list(groups)
            except (UsageError, MachineError, OSError, ValueError, KeyError, IndexError) as error:
                said.append(str(error))
        self.tables.said = list(dict.fromkeys(said))


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect the notes that this thread makes in the block, which nobody at the terminal asked for."""
    said: list[str] = []
    own = threading.get_ident()

    def hear(record: logging.LogRecord) -> bool:
        if record.thread != own:
            return True
        said.append(record.getMessage())
        return False

    notes.logger.addFilter(hear)
    try:
        yield said
    finally:
        notes.logger.removeFilter(hear)


def _stamp(folder: Path) -> object:
    """Return what changes when a run writes into a folder."""
    names = ("trials.csv", "checksums.json", "suggestions.csv")
    paths = [*(folder / name for name in names), *sorted((folder / "parts").glob("*.zip"))]
    stamps = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        stamps.append((path.name, status.st_mtime_ns, status.st_size))
    return stamps


def _notes(state: WatchedState | None) -> list[str]:
    """List the notes of a run, and the arms that it does not tell of while they train."""
    if state is None:
        return []
    left = state.arms_left_out
    told = [f"arms shown by their finished trials alone: {left:,}"] if left else []
    return [*state.notes, *told]


def training(state: WatchedState) -> dict[str, Any]:
    """Tell how far a run is: counts, rate, and seconds to go where something is known of them."""
    came = state.trained - state.before
    known = came >= 0.5 and state.seconds > 0
    return {
        "unit": "suggestions" if state.kind == "search" else "trials",
        "done": math.floor(state.trained + 1e-6) if not state.states else sum(state.states.values()),
        "share": state.trained / state.total if state.total else 1.0,
        "total": state.total,
        "training": state.training,
        "rate": came / state.seconds if known else None,
        "left": (state.total - state.trained) * state.seconds / came if known else None,
        "seconds": state.seconds,
        "best": state.best,
    }


class _ToldTrials:
    """The trials of a folder's tables, and of the run that trains into it."""

    def __init__(self, read: PhaseTables, state: WatchedState | None) -> None:
        self.trials, self.curves, self.state = read.trials, read.curves, state
        self.statuses = read.trials["status"] if len(read.trials) else []
        self.planned = sum(status != "skipped" for status in self.statuses)
        self.done = sum(status in TRAINED for status in self.statuses)

    def counts(self) -> dict[str, int]:
        """Count the trials by status, in the order of the screen's."""
        return {status or "not trained yet": n for status, n in columns.count(self.statuses).items()}

    def arms(self) -> dict[str, Any]:
        """Rank the arms by val, with those in training, and draw their curves."""
        if not len(self.trials):
            return {"arms": [], "charts": []}
        shown, ranked = standing.shown_arms(self.trials), standing.ranked(self.trials)
        now = {(arm.dataset, arm.arm): arm for arm in (self.state.arms if self.state is not None else ())}
        curves = live_curves.joined(self.curves, now.values())
        order: list[ArmKey] = []
        listed = []
        for dataset, means in ranked.items():
            ended = [mean for mean in means if mean.n]
            rest = [mean for mean in means if not mean.n]
            rest.sort(key=lambda mean: _by_val_now(curves, now, (dataset, mean.arm)))
            keys = [(dataset, mean.arm) for mean in (*ended, *rest)]
            order += keys
            names = {arm: shown[arm].replace(f"dataset={dataset}, ", "") for _, arm in keys}
            counts = self._counts(dataset)
            rows = [
                _row(mean, names[mean.arm], counts[mean.arm], now.get((dataset, mean.arm)))
                for mean in (*ended, *rest)[:MOST_ROWS]
            ]
            listed.append({"dataset": dataset, "rows": rows, "left": max(len(keys) - MOST_ROWS, 0)})
        named = [(title, chart.as_json()) for title, chart in live_curves.charts(curves, shown, order)]
        return {"arms": listed, "charts": [{"title": title, "spec": spec} for title, spec in named]}

    def _counts(self, dataset: str) -> dict[str, dict[str, int]]:
        """Count the trials of each arm on a data set by status."""
        counts: dict[str, dict[str, int]] = {}
        for name, arm, status in zip(self.trials["dataset"], self.trials["arm"], self.statuses, strict=True):
            if name == dataset:
                own = counts.setdefault(arm, {})
                own[status] = own.get(status, 0) + 1
        return counts

    def wrong(self) -> dict[str, Any]:
        """List the trials that failed or diverged, those in training first."""
        names = ("arm", "seed", "status", "reason", "diverged_step")
        told, ended = [], set()
        table = self.trials.only(names)
        for arm, seed, status, reason, step in table.rows:
            if status in standing.BROKEN:
                ended.add((arm, seed))
                why = reason or (f"the loss was not finite at step {step}" if step else "")
                told.append({"arm": arm, "seed": seed, "status": status, "reason": why})
        now = []
        for arm, number, epoch in self.state.diverged if self.state is not None else ():
            if (arm, str(number)) not in ended:
                why = f"the loss was not finite by epoch {epoch:g}"
                now.append({"arm": arm, "seed": str(number), "status": "diverged", "reason": why})
        every = [*now, *told]
        return {"rows": every[:MOST_ROWS], "left": max(len(every) - MOST_ROWS, 0)}


def _by_val_now(
    curves: Mapping[ArmKey, MeanCurve], now: Mapping[ArmKey, WatchedArm], key: ArmKey
) -> tuple[bool, float]:
    """Give the key that sorts arms without a rank: the val that its row shows, then its curve's end."""
    arm = now.get(key)
    if arm is not None and arm.training and arm.val is not None:
        return False, -arm.val
    value = curves[key].last("val_accuracy") if key in curves else math.nan
    return True, -value if math.isfinite(value) else 1.0


def _row(
    mean: standing.ArmMean, name: str, counts: Mapping[str, int], now: WatchedArm | None
) -> dict[str, str]:
    """Put an arm into words: rank, name, val, trials done, and what is going on."""
    rank, _, val, _ = standing.cells(name, mean)
    trained = sum(counts.get(status, 0) for status in TRAINED)
    planned = sum(n for status, n in counts.items() if status != "skipped")
    words = [f"{n} {status}" for status, n in counts.items() if status in {"diverged", "failed", "skipped"}]
    if now is not None and now.training:
        words.insert(0, _in_training(now))
    return {
        "rank": rank,
        "arm": name,
        "val": val if mean.finished else "",
        "done": f"{trained} of {planned}",
        "now": "; ".join(words),
    }


def _in_training(arm: WatchedArm) -> str:
    """Put into words how far an arm's trials in flight are."""
    told = [f"{arm.training} in training"]
    if arm.epoch is not None:
        told.append(f"at epoch {arm.epoch:g}")
    if arm.val is not None:
        told.append(f"val {percent(arm.val)}")
    return ", ".join(told)

"""The state of a results folder for the live page: whether a run is going on, its phases, and its end."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import shlex
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import MachineError, UsageError
from harness.reporting.live.phase import LivePhase, heard, training
from harness.results import documents
from harness.results.progress_file import WatchedState
from harness.settings.schema import CONFIRMED, FINALISTS, TUNED, TUNING
from harness.system import locks
from harness.text.json_values import plain

EVERY = 0.9  # seconds between two looks into the folder, at least, whoever asks
MOST = 3.0  # seconds between two looks, at most
SHARE = 0.01  # of one core's time that looks may take: a run needs the cores
FRESH = 30.0  # seconds in which a run says something, where no lock tells that it is there
REPORT = "report.html"
PREPARES = "A run is going on: it is preparing, or writing its tables."
TITLES = {"": "Arms"}
TUNED_TITLES = {
    "": "Arms as they stand",
    TUNING: "Tuning: the settings that each arm tries",
    TUNED: "Arms, tuned",
}
SEARCH_TITLES = {
    "": "Suggestions",
    FINALISTS: "Finalists: the best suggestions, trained anew",
    CONFIRMED: "Confirmation: the winner and the baseline",
}


def check(folder: Path) -> None:
    """Raise UsageError if a folder is neither a results folder nor becomes one now."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file. Allowed: a results folder, such as results/choices")
    if (folder / "trials.csv").is_file() or (folder / "plan.json").is_file() or locks.is_held(folder):
        return
    there = "has no trials.csv, and no run is writing into it" if folder.is_dir() else "does not exist"
    raise UsageError(
        f"{folder} is not a results folder: it {there}. Start `harness run STUDY` or `harness search STUDY` "
        "first: it says which folder it writes into, results/<study>/ by default"
    )


class LiveState:
    """The state of a results folder as JSON, looked at anew when it is asked for, but not too often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock, self._due = threading.Lock(), 0.0
        self._phases: dict[str, LivePhase] = {}
        self._content, self._tag = b"", ""

    def content(self) -> tuple[bytes, str]:
        """Return the state as JSON, and a tag that changes with it."""
        with self._lock:
            now, start = time.monotonic(), time.thread_time()
            if now >= self._due:
                self._content = json.dumps(plain(self._describe()), allow_nan=False).encode()
                self._tag = hashlib.sha256(self._content).hexdigest()[:16]
                self._due = now + min(MOST, max(EVERY, (time.thread_time() - start) / SHARE))
            return self._content, self._tag

    def _describe(self) -> dict[str, Any]:
        study = self._study()
        about = study.get("study", {})
        titles = TUNED_TITLES if study.get("tune") else TITLES
        titles = SEARCH_TITLES if about.get("design") == "search" else titles
        held, since = locks.is_held(self.folder), self._since()
        shown, states = [], []
        for name, title in titles.items():
            phase = self._phases.setdefault(name, LivePhase(self.folder / name, title))
            phase.title = title  # which study.toml decides, once it is there
            if phase.is_there:
                found = phase.state(since if held else 0.0)
                is_live = found is not None and (held or (held is None and found[1] > time.time() - FRESH))
                described = phase.describe(found[0] if found is not None and is_live else None)
                shown.append(described)
                states += [(*found, title)] if found is not None else []
        going = any(phase["training"] for phase in shown) if held is None else held
        there = {phase["title"] for phase in shown}
        return {
            "name": about.get("name") or self.folder.resolve().name,
            "hypothesis": about.get("hypothesis", ""),
            "folder": str(self.folder),
            "going": going,
            "began": _clock(since) if going else None,
            "status": self._status(going, shown, states),
            "phases": [phase for phase in shown if phase["planned"] or phase["training"]],
            "waits": [
                title
                for name, title in titles.items()
                if name and going and title not in there and not (name == FINALISTS and _has_one(study))
            ],
            "report": self._report(),
        }

    def _study(self) -> Mapping[str, Any]:
        """Read study.toml; nothing while the run is preparing."""
        with suppress(UsageError, MachineError, OSError):
            return documents.study(self.folder)
        return {}

    def _since(self) -> float:
        """Return when the present or last run began: it touched its lock."""
        with suppress(OSError):
            return (self.folder / ".lock").stat().st_mtime
        return 0.0

    def _status(
        self, going: bool, shown: list[dict[str, Any]], states: list[tuple[WatchedState, float, str]]
    ) -> dict[str, str]:
        """Say in words whether a run is going on, or how the last one ended."""
        if going:
            busy = next((phase for phase in shown if phase["training"]), None)
            if busy is None:
                return {"kind": "going", "words": PREPARES}
            return {"kind": "going", "words": _in_words(busy)}
        if states:
            state, when, _ = max(states, key=lambda found: found[1])
            done = training(state)
            words = (
                f"The run has stopped before its end, at {_clock(when)} or soon after: it was killed, or the "
                f"machine went off. It had done {math.floor(100 * done['share'])} % of its work. What is "
                "finished is kept, and the same command goes on from there."
            )
            return {"kind": "stopped", "words": words}
        left = sum(phase["counts"].get("not trained yet", 0) for phase in shown)
        if left:
            words = (
                f"No run is going on{self._ended()}. {left:,} trials are not trained yet: the same command "
            )
            words += "goes on with them."
            return {"kind": "stopped", "words": words}
        if not self.folder.is_dir():
            return {"kind": "stopped", "words": f"{self.folder} is gone: it was moved or removed."}
        if not shown:
            return {"kind": "stopped", "words": "No run is going on, and nothing is trained here yet."}
        words = f"The run is over{self._ended()}: {_counted(shown)}."
        if any(phase["counts"].get("failed") for phase in shown):
            words += " The same command tries the failed ones again."
        return {"kind": "over", "words": words}

    def _ended(self) -> str:
        """Say when the last run ended, as provenance.json has it: a copy's files are younger."""
        runs = [run for phase in self._phases.values() if phase.is_there for run in _runs(phase.folder)]
        times = list[float]()
        for run in runs:
            with suppress(TypeError, ValueError, OverflowError):
                times.append(dt.datetime.fromisoformat(run.get("finished", "")).timestamp())
        return f" since {_clock(max(times))}" if times else ""

    def _report(self) -> dict[str, Any]:
        """Tell where the report is, whether it is older than the results, and the command that draws it."""
        page, told = self.folder / REPORT, {"command": f"harness report {shlex.quote(str(self.folder))}"}
        with suppress(OSError):
            if page.is_file() and not page.is_symlink():
                older = page.stat().st_mtime < (self.folder / "trials.csv").stat().st_mtime
                return {**told, "there": True, "older": older}
        return {**told, "there": False, "older": False}


def _has_one(study: Mapping[str, Any]) -> bool:
    """Tell whether a search confirms its best itself, so that there are no finalists to train."""
    return study.get("search", {}).get("finalists") in (None, 1)


def _runs(folder: Path) -> list[dict[str, Any]]:
    """Read what provenance.json says of the runs that wrote into a folder."""
    with heard(), suppress(UsageError, MachineError, OSError):
        return list(documents.provenance(folder).get("runs", []))
    return []


def _counted(shown: list[dict[str, Any]]) -> str:
    """Count the trials of each phase by status, in words."""
    told = {phase["title"]: ", ".join(f"{n:,} {s}" for s, n in phase["counts"].items()) for phase in shown}
    if len(told) == 1:
        return next(iter(told.values())) or "no trials"
    return "; ".join(f"{title}: {counts}" for title, counts in told.items() if counts)


def _in_words(phase: Mapping[str, Any]) -> str:
    """Say how far a phase is, in whole trials and as a share of the work, its rate and the time to go."""
    now = phase["training"]
    in_tables = now["unit"] == "trials" and phase["planned"]
    done, total = (phase["done"], phase["planned"]) if in_tables else (now["done"], now["total"])
    told = f"{done:,} of {total:,} {now['unit']} done"
    if now["training"]:
        told += f", {now['training']:,} in training"
    whose = "the" if total == now["total"] else "this run's"
    told += f"; {math.floor(100 * now['share'])} % of {whose} work"
    if now["rate"] is not None:
        rate = now["rate"]
        each = (
            f"{rate:,.1f} {now['unit']} a second" if rate >= 1 else f"{60 * rate:.1f} {now['unit']} a minute"
        )
        told += f"; {each}; {_duration(now['left'])} to go"
    return f"{told}."


def _duration(seconds: float) -> str:
    """Write seconds as 0:07, 12:00 or 3:05:00."""
    whole = max(0, math.ceil(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _clock(when: float) -> str:
    """Write a time of this machine, with the date if it is not today."""
    then, now = time.localtime(when), time.localtime()
    form = "%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, then)

"""What may come out: an exit code as documented, words, no traceback, no file elsewhere, no other number."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from torture import hooks

CODES = (0, 1, 2)
LAST_NET = "HARNESS_TRACEBACK"
TIMING = ("group_seconds",)
"""Columns that no two runs share."""
PYTHON = re.compile(
    r"object has no attribute|object is not (callable|iterable|subscriptable)|'NoneType'|unsupported operand"
    r"|(list|tuple|string) ind(ices|ex) (must be|out of)|unhashable type|invalid literal for int"
    r"|positional arguments? |unexpected keyword|fault of the harness|could not convert string to"
    r"|not supported between instances|must be str|dictionary update sequence"
)
"""What Python says to programmers, not to the person at the keyboard."""
SAID = re.compile(
    r"note|warning|error|damaged|changed|missing|cannot be|not the one|again|skipped|ignored|differ|"
    r"no longer|not trained|without|unreadable|failed|left out|set aside",
    re.IGNORECASE,
)
"""Words by which a person learns that something is not as it was."""


@dataclass(frozen=True)
class Fault:
    """What came out that must not: in words that name the kind, so that equal ones are counted as one.

    `smallest` is the smallest input that does it; empty where outside software fails, of which no recipe is
    kept.
    """

    what: str
    smallest: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code (None: it was killed), its words, and what it must not do."""

    code: int | None
    out: str = ""
    err: str = ""
    raised: str = ""
    outside: Sequence[str] = ()
    unpickled: Sequence[str] = ()

    @property
    def words(self) -> str:
        return f"{self.out}\n{self.err}"


@dataclass
class Case:
    """What one case came to: its faults, and what is to be counted of it."""

    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    """All that was said, for the messages that are looked for in it."""

    def count(self, *names: str) -> None:
        for name in names:
            self.counts[name] = self.counts.get(name, 0) + 1

    def judge(self, outcome: Outcome, smallest: str, *, quoted: bool = False) -> bool:
        """Take what a command left; gives whether it was as it should be."""
        self.words.append(outcome.words)
        wrong = faults(outcome, quoted=quoted)
        self.faults += [Fault(what, smallest) for what in wrong]
        return not wrong


def command(*arguments: str | Path, allowed: Sequence[Path] = ()) -> Outcome:
    """The `harness` command in this process, whose output goes to files (see `captured`).

    Args:
        arguments: the command's.
        allowed: the folders that it may write to; nothing else.
    """
    from harness.cli import main

    sys.argv = ["harness", *map(str, arguments)]
    os.environ[LAST_NET] = "1"  # what its last net holds is a fault, whose place we want to know
    seen = hooks.now()
    seen.allowed = hooks.below(*allowed, Path(tempfile.gettempdir())) if allowed else ()
    seen.outside.clear()
    seen.unpickled.clear()
    raised, code = "", 0
    cleared()
    try:
        main.main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except OSError as error:  # which the command's last net says in these words
        code = 1
        print(f"error: the machine could not do it: {error}", file=sys.stderr)
    except BaseException as error:  # noqa: BLE001 (whatever gets out is what we look for)
        code, raised = 1, signature(error)
    seen.allowed = ()
    out, err = taken()
    # Worker processes hand their results over as pickles, which nobody else can have written.
    unpickled = () if "2" in arguments else tuple(seen.unpickled)
    return Outcome(code, out, err, raised, tuple(seen.outside), unpickled)


def captured(folder: Path) -> None:
    """Have this process's output go to two files in a folder, whatever writes it."""
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False, buffering=1)  # noqa: SIM115


def cleared() -> None:
    """Forget what this process has said so far."""
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.ftruncate(descriptor, 0)


def taken() -> tuple[str, str]:
    """What this process has said, on its output and as errors, since `cleared`."""
    texts = []
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.lseek(descriptor, 0, os.SEEK_SET)
        texts.append(os.read(descriptor, 1 << 20).decode(errors="replace"))
    return texts[0], texts[1]


def signature(error: BaseException) -> str:
    """An exception by its type and the innermost line of the harness: equal faults are counted as one."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame for frame in frames if "/harness/" in frame.filename and "/site-packages/" not in frame.filename
    ]
    place = f"{ours[-1].filename.rpartition('/harness/')[2]}, {ours[-1].name}" if ours else "outside"
    inner = f" in {Path(frames[-1].filename).name}" if ours and frames[-1] is not ours[-1] else ""
    return f"{type(error).__name__} at harness/{place}{inner}"


def faults(outcome: Outcome, *, quoted: bool = False) -> list[str]:
    """What is wrong with what a command left, by itself.

    Args:
        outcome: what it left.
        quoted: whether a message may hold what somebody's component raised.
    """
    wrong = [f"traceback: {outcome.raised}"] if outcome.raised else []
    if outcome.code not in CODES and not outcome.raised:
        wrong.append("killed or hung" if outcome.code is None else f"exit code {outcome.code}")
    if "Traceback (most recent call last)" in outcome.words and not outcome.raised:
        last = [line for line in outcome.words.splitlines() if re.match(r"[\w.]+(Error|Exception)\b", line)]
        wrong.append(f"a traceback on the screen: {generic(last[-1] if last else '')}")
    if outcome.code in {1, 2} and not outcome.raised and not outcome.words.strip():
        wrong.append(f"exit code {outcome.code} without a word")
    leaked = PYTHON.search(outcome.words)
    if leaked and not quoted and not outcome.raised:
        line = next(line for line in outcome.words.splitlines() if PYTHON.search(line))
        wrong.append(f"Python's own words: {generic(line)}")
    wrong += [f"written elsewhere: {generic(place)}" for place in outcome.outside[:1]]
    wrong += [f"unpickled: {name}" for name in outcome.unpickled[:1]]
    return wrong


def generic(text: str) -> str:
    """A message without its names and numbers, cut: by which equal faults are told."""
    text = re.sub(r"(/[\w.+-]+)+/?", "PATH", text)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'..'", text)
    return re.sub(r"\d+(\.\d+)?", "N", text).strip()[:160]


def real(arguments: Sequence[str | Path], seconds: float = 120, **options: Any) -> Outcome:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name != LAST_NET},
            **options,
        )
    except subprocess.TimeoutExpired as late:
        return Outcome(None, str(late.stdout or ""), str(late.stderr or ""))
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return Outcome(done.returncode if done.returncode >= 0 else None, out, err)


# --------------------------------------------------------------------------------------------------- numbers


def tables(
    folder: Path,
    names: Sequence[str] = ("trials", "epochs", "confusion", "scores"),
    without: Sequence[str] = TIMING,
) -> dict[str, pd.DataFrame]:
    """A results folder's CSVs as text, without the columns that no two runs share."""
    found = {}
    for name in names:
        path = folder / f"{name}.csv"
        if path.is_file():
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
            found[name] = frame.drop(columns=[column for column in without if column in frame])
    return found


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """What `harness.read` gives of a folder, without what no two runs share.

    Raises:
        UsageError, MachineError: as `harness.read`.
    """
    import harness

    return frames(harness.read(folder))


def frames(found: Any) -> dict[str, pd.DataFrame]:
    """A `harness.Results`' tables, without what no two runs share."""
    tables = {name: getattr(found, name) for name in ("trials", "epochs", "confusion", "scores", "stacks")}
    return {name: frame.drop(columns=list(TIMING), errors="ignore") for name, frame in tables.items()}


def difference(before: Mapping[str, pd.DataFrame], after: Mapping[str, pd.DataFrame]) -> str:
    """How tables differ, in words that name the kind; empty where they are equal, number for number."""
    for name, frame in before.items():
        if name not in after:
            return f"{name} is gone"
        other = after[name]
        if list(frame.columns) != list(other.columns):
            return f"{name} has other columns"
        if len(frame) != len(other):
            return f"{name} has {'fewer' if len(other) < len(frame) else 'more'} rows"
        if not frame.equals(other):
            text, others = frame.astype(str), other.astype(str)
            changed = [c for c in frame.columns if not text[c].equals(others[c])]
            if changed:
                return f"{name} has other values of {changed[0]}"
    return ""


def discord(folder: Path) -> str:
    """How what is made of a folder's trials.csv is not of it, in words; empty where all of it is.

    The scores and the seconds are reckoned here by pandas, and not by the harness.
    """
    found = tables(folder, ["trials", "epochs", "confusion", "scores", "stacks"], without=())
    if "trials" not in found:
        return ""
    trials, missing = found["trials"], {"scores", "stacks"} - set(found)
    if missing:
        return f"{min(missing)} is gone"
    measured = [f"{split}_{name}" for split in ("train", "val", "test") for name in ("loss", "accuracy")]
    long = trials.drop_duplicates("trial_id").melt("trial_id", measured).query("value != ''")
    scores = found["scores"].query("metric in ['loss', 'accuracy']")
    named = scores["trial_id"] + scores["split"] + "_" + scores["metric"] + scores["value"]
    if sorted(named) != sorted(long["trial_id"] + long["variable"] + long["value"]):
        return "scores are not those of trials"
    if set(found["stacks"]["group"]) != set(trials["group"]) - {""}:
        return "stacks are not those of trials"
    package = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    columns = {
        one["name"]: [field["name"] for field in one["schema"]["fields"]] for one in package["resources"]
    }
    others = [name for name, frame in found.items() if columns.get(name) != list(frame.columns)]
    return f"datapackage.json has other columns of {others[0]}" if others else ""


def saved(outcome: Outcome) -> str:
    """An outcome as JSON, to be handed from a forked process to the one that waits for it."""
    return json.dumps(asdict(outcome))


def loaded(text: str) -> Outcome:
    """An outcome from JSON."""
    return Outcome(**json.loads(text))


def plain(outcome: Outcome) -> Outcome:
    """An outcome without what differs between two runs: seconds, rates."""
    return replace(outcome, out=re.sub(r"[\d.,]+ (s|ms|min|h|trials a second)\b", "N s", outcome.out))

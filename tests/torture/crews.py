"""Seeds -> cases, in forked processes that are watched: one that dies or hangs is a fault of its case."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torture import forks, messages
from torture.kinds import Kind
from torture.oracle import Case, Fault, signature


@dataclass(frozen=True)
class Over:
    """A case that is over."""

    seed: int
    counts: dict[str, int]
    faults: Sequence[Fault]
    reached: Sequence[str] = ()


@dataclass
class _Child:
    """A forked process, the seeds that it still has to do, and what it has said so far."""

    pid: int
    pipe: int
    folder: Path
    seeds: deque[int]
    heard: float
    text: str = ""
    over: list[Over] = field(default_factory=list)


def cases(kind: Kind, seeds: Sequence[int], folder: Path, prepared: Any, workers: int) -> Iterator[Over]:
    """Run the cases of some seeds, several at a time, each process a chunk of them; in any order."""
    waiting = deque(deque(seeds[i : i + kind.chunk]) for i in range(0, len(seeds), kind.chunk))
    children: list[_Child] = []
    number = 0
    try:
        while waiting or children:
            while waiting and len(children) < workers:
                number += 1
                place = folder / f"{kind.name}-{number}"
                children.append(_forked(kind, waiting.popleft(), place, prepared))
            ready, _, _ = select.select([child.pipe for child in children], [], [], 1.0)
            for child in list(children):
                ended = child.pipe in ready and _heard(child)
                yield from child.over
                child.over.clear()
                late = time.monotonic() - child.heard > kind.patience
                if ended or late:
                    children.remove(child)
                    yield from _ended(child, waiting, kind, prepared, late=late and not ended)
    finally:
        for child in children:
            _end(child)


def _forked(kind: Kind, seeds: deque[int], folder: Path, prepared: Any) -> _Child:
    folder.mkdir()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _work(kind, seeds, folder, prepared, writing)
    os.close(writing)
    return _Child(pid, reading, folder, seeds, time.monotonic())


def _work(kind: Kind, seeds: deque[int], folder: Path, prepared: Any, pipe: int) -> None:
    """In the forked process: a line a case. Never returns."""
    try:
        forks.settle(folder)
        for seed in seeds:
            place = folder / "case"
            place.mkdir()
            os.chdir(place)
            case = _case(kind, seed, place, prepared)
            reached = messages.reached("\n".join(case.words))
            over = Over(seed, case.counts, case.faults, reached)
            os.write(pipe, (json.dumps(asdict(over)) + "\n").encode())
            os.chdir(folder)
            shutil.rmtree(place, ignore_errors=True)
    finally:
        forks.ended(0)


def _case(kind: Kind, seed: int, place: Path, prepared: Any) -> Case:
    try:
        return kind.run(seed, place, prepared)
    except Exception as error:  # noqa: BLE001 (a fault of the campaign's own; it must not go unsaid)
        return Case([Fault(f"the campaign itself: {signature(error)}: {error!r:.200}")])


def _heard(child: _Child) -> bool:
    """Take what a child has said; whether that was its last."""
    data = os.read(child.pipe, 1 << 20)
    child.heard = time.monotonic()
    child.text += data.decode()
    *lines, child.text = child.text.split("\n")
    for line in lines:
        said = json.loads(line)
        said["faults"] = [Fault(**fault) for fault in said["faults"]]
        child.over.append(Over(**said))
        child.seeds.popleft()
    return not data


def _ended(
    child: _Child, waiting: deque[deque[int]], kind: Kind, prepared: Any, *, late: bool
) -> Iterator[Over]:
    """A child is over: where it did not come to its end, the case it was in is a fault, the rest waits."""
    if late:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGUSR1)  # faulthandler writes where it hangs
        time.sleep(0.2)
    status = _end(child)
    if child.seeds:
        seed = child.seeds.popleft()
        what = (
            "hangs" if late else f"dies of signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ends"
        )
        place = forks.innermost(child.folder / ("stalls" if late else "faults"))
        # Of what outside software does not bear, no input is kept.
        smallest = kind.recipe(seed, prepared) if place.startswith("in ") and "outside" not in place else ""
        yield Over(seed, {}, [Fault(f"the process {what}, {place}", smallest)])
        if child.seeds:
            waiting.append(child.seeds)
    shutil.rmtree(child.folder, ignore_errors=True)


def _end(child: _Child) -> int:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    os.close(child.pipe)
    return os.waitpid(child.pid, 0)[1]

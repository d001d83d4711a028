"""The campaign's short form, in a process of its own: hooks cannot be taken out of the one they are in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from torture import messages
from torture.__main__ import kinds
from torture.ledger import Ledger, Tally
from torture.oracle import Fault, Outcome, faults

TESTS = Path(__file__).parents[1]


def campaign(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torture", "--workers", "1", "--out", str(out), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_the_short_form_finds_nothing_and_counts_what_it_did(tmp_path: Path) -> None:
    done = campaign(tmp_path, "--short", "--seed", "44")
    # Seeds with a kill of workers and without a limit of memory, where machines differ in what they do.
    assert done.returncode == 0, done.stdout + done.stderr
    known = {name: kind.short for name, kind in kinds().items()}
    ledger = Ledger.of(tmp_path / "counts.json")
    assert {name: tally.cases for name, tally in ledger.kinds.items()} == known
    assert all(tally.counts and not tally.faults for tally in ledger.kinds.values())
    studies = ledger.kinds["studies"].counts
    assert studies["TOML"] >= known["studies"] / 2
    assert studies["valid"] >= known["studies"] / 20
    assert any("messages of the checker" in line for line in done.stdout.splitlines())


def test_counts_add_up_over_runs(tmp_path: Path) -> None:
    path, seeds = tmp_path / "counts.json", []
    for _ in range(3):
        ledger = Ledger.of(path)
        for seed in ledger.tally("kills").todo(None, 4):
            ledger.tally("kills").add(seed, {"killed": 1}, [Fault("x", "long")] if seed % 2 else [])
            seeds.append(seed)
        ledger.write()
    tally = Ledger.of(path).kinds["kills"]
    assert seeds == list(range(12))
    assert (tally.done, tally.cases, tally.counts) == ([[0, 12]], 12, {"killed": 12})
    assert tally.faults == {"x": {"count": 6, "seed": 1, "smallest": "long"}}
    assert list(path.parent.iterdir()) == [path]


def test_seeds_that_are_done_are_not_done_again() -> None:
    tally = Tally([[0, 3], [5, 6]])
    assert list(tally.todo(0, 8)) == [3, 4, 6, 7]
    assert list(tally.todo(None, 4)) == [3, 4, 6, 7]
    tally.add(4, {}, [])
    tally.add(3, {}, [])
    assert tally.done == [[0, 6]]


def test_of_equal_faults_the_smallest_input_is_kept() -> None:
    tally = Tally()
    for seed, smallest in enumerate(["a long input", "short", "a middling one"]):
        tally.add(seed, {}, [Fault("x", smallest)])
    assert tally.faults == {"x": {"count": 3, "seed": 1, "smallest": "short"}}


@pytest.mark.parametrize(
    ("outcome", "wrong"),
    [
        (Outcome(0, "fine"), []),
        (Outcome(2, err="error: lr = -1: allowed: above 0"), []),
        (Outcome(3, err="error: x"), ["exit code 3"]),
        (Outcome(None), ["killed or hung"]),
        (Outcome(2), ["exit code 2 without a word"]),
        (Outcome(1, raised="KeyError at harness/x.py, f"), ["traceback: KeyError at harness/x.py, f"]),
        (Outcome(1, err="Traceback (most recent call last):\n  x\nKeyError: 'a'"),
         ["a traceback on the screen: KeyError: '..'"]),
        (Outcome(2, err="error: 'NoneType' object has no attribute 'x'"),
         ["Python's own words: error: '..' object has no attribute '..'"]),
        (Outcome(0, outside=["open to write /etc/x/y"]), ["written elsewhere: open to write PATH"]),
        (Outcome(0, unpickled=["os.system"]), ["unpickled: os.system"]),
    ],
)  # fmt: skip
def test_forbidden_outcomes_are_noticed(outcome: Outcome, wrong: list[str]) -> None:
    assert faults(outcome) == wrong


SEEN = """
import os, pickle, sys
from pathlib import Path
from torture import hooks, oracle
here = Path(sys.argv[1])
hooks.install()
seen = hooks.watch(roots=hooks.below(here / "in"), allowed=hooks.below(here / "in"))
(here / "in").mkdir()                       # 1
with open(here / "in" / "a", "w") as file:  # 2, and written at its end: 3
    file.write("x")
    file.flush()
    os.fsync(file.fileno())                 # 4
os.replace(here / "in" / "a", here / "in" / "b")  # 5
(here / "in" / "b").read_text()             # opened 6, read 7
(here / "beside").write_text("x")
pickle.loads(pickle.dumps(os.path.join))
print(seen.count, seen.written, [place.split()[-1] for place in seen.outside], seen.unpickled)
hooks.watch(roots=hooks.below(here / "in"), at=2, act=hooks.DiskError(28, lasting=False))
(here / "in" / "c").mkdir()
for i in range(2):
    try:
        (here / "in" / "d").mkdir()
        print("made")
    except OSError as error:
        print(error.strerror)
hooks.watch(roots=hooks.below(here / "in"), at=2, act=hooks.kill)
(here / "in" / "e").mkdir()
print("alive", flush=True)
(here / "in" / "f").mkdir()
print("alive", flush=True)
"""


def test_operations_are_counted_and_struck(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, "-c", SEEN, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    counted, full, made, alive = done.stdout.splitlines()
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert counted == f"7 5 ['{tmp_path / 'beside'}'] ['posixpath.join']"
    assert (full, made, alive) == ("No space left on device", "made", "alive")
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["b", "c", "d", "e"]


def test_the_messages_are_those_of_all_that_checks_a_study_file() -> None:
    names = {f"{path.parent.name}/{path.stem}" for path in messages.sources()}
    assert {"study/reading", "study/rules", "study/overrides", "study/checker", "study/space_table"} <= names

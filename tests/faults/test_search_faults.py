"""Searches whose workers, storages and disks fail have the numbers of one that nothing disturbed."""

from __future__ import annotations

import concurrent.futures
import math
import os
import signal
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness
from harness import reporting
from harness.axes.metrics import metrics
from harness.errors import MachineError
from harness.results import tables
from harness.searching import journals
from harness.searching.rounds import StageTask
from harness.searching.scheduling import StageSchedule
from harness.study.study import Study
from harness.training import executors

HALVING: dict[str, Any] = {
    "study": {"name": "s", "design": "search", "seeds": 1},
    "baseline": {"dataset": "digits", "hidden": [4], "epochs": 4, "batch_size": 64},
    "search": {
        "sampler": "random", "suggestions": 8, "batch": 4, "pruner": {"name": "halving", "reduction": 2}
    },
    "space": {"lr": {"low": 0.01, "high": 0.5}},
}  # fmt: skip


def study(baseline: dict[str, Any] | None = None, **search: Any) -> Study:
    """A small search, with some of its entries changed."""
    changed = {"search": HALVING["search"] | search, "baseline": HALVING["baseline"] | (baseline or {})}
    return harness.parse(HALVING | changed)


def numbers(folder: Path, without: tuple[str, ...] = ()) -> list[bytes]:
    """suggestions.csv and trials.csv as bytes, but for the columns of time."""
    texts = []
    for name, timed in (("suggestions.csv", "seconds"), ("trials.csv", "group_seconds")):
        rows = [line.split(b",") for line in (folder / name).read_bytes().splitlines()]
        left_out = {
            rows[0].index(column.encode()) for column in (timed, *without) if column.encode() in rows[0]
        }
        texts += [b",".join(cell for k, cell in enumerate(row) if k not in left_out) for row in rows]
    return texts


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that nothing disturbed, planned for two workers as the disturbed ones are."""
    place = tmp_path_factory.mktemp("undisturbed") / "s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "pool", Crew.of([]))
        harness.search(study(), place, workers=2)
    return place


# ------------------------------------------------------------------------------------------- workers that die


class Crew(concurrent.futures.ThreadPoolExecutor):
    """Worker processes as a search sees them, of which one dies before some submissions, counted over all."""

    _processes: Any = None
    _mp_context: Any = None

    def __init__(self, deaths: list[int], submitted: list[int]) -> None:
        super().__init__(1)
        self.deaths, self.submitted, self.broken = deaths, submitted, False

    @classmethod
    def of(cls, deaths: list[int]) -> Any:
        """What makes crews in place of `executors.pool`."""
        submitted = [0]
        return lambda *_: cls(deaths, submitted)

    def submit(self, *call: Any, **named: Any) -> Any:
        """Submit a call, as `ProcessPoolExecutor` does: it raises where a worker is known to be dead."""
        if call[0] is executors.run_task:
            self.submitted[0] += 1
            self.broken |= self.submitted[0] in self.deaths
        if self.broken:
            raise BrokenProcessPool("a child process terminated abruptly")
        return super().submit(*call, **named)


@pytest.mark.parametrize("deaths", [[2], [5, 6, 9]])
def test_a_worker_that_dies_idle_changes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path, deaths: list[int]
) -> None:
    monkeypatch.setattr(executors, "pool", Crew.of(deaths))
    harness.search(study(), tmp_path / "s", workers=2)
    assert numbers(tmp_path / "s") == numbers(undisturbed)


class Deadly(Crew):
    """Workers that die whenever they train the second suggestion."""

    def submit(self, *call: Any, **named: Any) -> Any:
        """Submit a call, but for the second suggestion's."""
        trials = call[1].stack.trials if call[0] is executors.run_task else []
        if any(trial.arm.name == "suggestion 1" for trial in trials):
            raise BrokenProcessPool("a child process terminated abruptly")
        return super().submit(*call, **named)


def test_a_suggestion_whose_worker_died_is_asked_for_again_on_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(suggestions=3, batch=3, pruner="none")
    with monkeypatch.context() as patch:
        patch.setattr(executors, "pool", Deadly.of([]))
        first = harness.search(given, tmp_path / "s", workers=2)
    assert first.failed
    before = first.suggestions
    assert before["state"].tolist() == ["complete", "failed", "complete"]
    assert "its worker process died" in before["reason"][1]
    again = harness.search(given, tmp_path / "s", workers=1)
    table = again.suggestions
    assert not again.failed
    assert again.asked == 1
    assert table["state"].tolist() == ["complete", "failed", "complete", "complete"]
    assert table["lr"][3] == table["lr"][1]
    pd.testing.assert_frame_equal(table[:3], before)
    whole = harness.search(given, tmp_path / "whole", workers=1).suggestions
    assert table["val_accuracy"][3] == whole["val_accuracy"][1]
    rows = harness.read(tmp_path / "s").trials["arm"].tolist()
    assert harness.search(given, tmp_path / "s", workers=1).asked == 0
    assert (
        harness.read(tmp_path / "s").trials["arm"].tolist() == rows == [f"suggestion {n}" for n in range(4)]
    )


def test_the_winner_may_be_a_suggestion_that_was_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(suggestions=3, batch=3, pruner="none", finalists=1)
    whole = harness.search(given, tmp_path / "whole", workers=1).suggestions["val_accuracy"]
    assert whole.idxmax() == 1, "the second suggestion, whose worker dies, is the best"
    with monkeypatch.context() as patch:
        patch.setattr(executors, "pool", Deadly.of([]))
        harness.search(given, tmp_path / "s", workers=2)
    for _ in range(2):
        assert harness.search(given, tmp_path / "s", workers=1).winner == 3
        page = harness.report(tmp_path / "s").read_text(encoding="utf-8")
        assert "match no suggestion" not in page


def test_suggestions_that_are_asked_for_again_do_not_write_over_what_they_left_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that is killed then finds both parts as their runs have written them."""
    given = study(suggestions=3, batch=3, pruner="none", finalists=1)

    class DeadlyForAll(Crew):
        def submit(self, *call: Any, **named: Any) -> Any:
            if call[0] is executors.run_task:
                raise BrokenProcessPool("a child process terminated abruptly")
            return super().submit(*call, **named)

    with monkeypatch.context() as patch:
        patch.setattr(executors, "pool", DeadlyForAll.of([]))
        harness.search(given, tmp_path / "s", workers=2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "s" / "parts").iterdir()}

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tables, "consolidate", killed)
        with pytest.raises(KeyboardInterrupt):
            harness.search(given, tmp_path / "s", workers=1)
    after = {path.name: path.read_bytes() for path in (tmp_path / "s" / "parts").iterdir()}
    assert before.items() < after.items()
    again = harness.search(given, tmp_path / "s", workers=1)
    assert (again.asked, again.suggestions["state"].tolist()) == (0, ["failed"] * 3 + ["complete"] * 3)


def test_a_seed_that_was_stopped_since_another_failed_is_trained_to_its_end_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(suggestions=3, batch=3, pruner={"name": "halving", "reduction": 2}, seeds=2, finalists=1)

    class DeadlyForASeed(Crew):
        def submit(self, *call: Any, **named: Any) -> Any:
            trials = call[1].stack.trials if call[0] is executors.run_task else []
            if any(trial.arm.name == "suggestion 1" and trial.seed == 2000 for trial in trials):
                raise BrokenProcessPool("a child process terminated abruptly")
            return super().submit(*call, **named)

    with monkeypatch.context() as patch:
        patch.setattr(executors, "pool", DeadlyForASeed.of([]))
        harness.search(given, tmp_path / "s", workers=2)
    before = harness.read(tmp_path / "s").trials.set_index(["arm", "seed"])
    assert (
        before.loc[("suggestion 1", 2001), "reason"] == "another seed of this suggestion diverged or failed"
    )
    for _ in range(2):
        table = harness.search(given, tmp_path / "s", workers=1).suggestions
        found = harness.read(tmp_path / "s")
        again = found.trials[found.trials["arm"].eq("suggestion 3")]
        assert set(again["status"]) == {table["state"][3].replace("complete", "ok")}
        ids = found.trials.drop_duplicates("trial_id").set_index("trial_id")
        evaluated = found.epochs.query("split == 'val'").groupby("trial_id").size()
        assert (evaluated == ids["epochs_done"].reindex(evaluated.index) + 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 3, 6])
def test_a_killed_worker_changes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path, stage: int
) -> None:
    """A worker process is killed when so many stages have been given to workers."""
    serve, take, calls, serving = executors.Workers.serve, StageSchedule.take, [0], list[executors.Workers]()

    def serve_known(self: executors.Workers, *arguments: Any, **named: Any) -> Iterator[Any]:
        serving.append(self)
        return serve(self, *arguments, **named)

    def killing(self: StageSchedule) -> StageTask | None:
        task, pool = take(self), serving[0]._pool
        if task is not None and calls[0] == stage and pool is not None:
            worker = next(iter(pool._processes.values()))
            os.kill(worker.pid or 0, signal.SIGKILL)
            worker.join()
        calls[0] += task is not None
        return task

    monkeypatch.setattr(executors.Workers, "serve", serve_known)
    monkeypatch.setattr(StageSchedule, "take", killing)
    harness.search(study(), tmp_path / "s", workers=2)
    assert calls[0] > stage
    assert numbers(tmp_path / "s") == numbers(undisturbed)


# ----------------------------------------------------------------------------------- what is no longer finite


def fragile(p: Any, target: Any) -> Any:
    """Give the probability of the true class, and NaN once a network has learned something."""
    own = (p * target).sum(-1)
    learned = (own.mean(-1, keepdim=True) > 0.12) & (p.shape[-2] > 100)  # not where a plan tries it
    return own.masked_fill(learned, math.nan)


@pytest.fixture
def _fragile() -> Iterator[None]:
    before = dict(metrics._entries)
    metrics.register("fragile")(fragile)
    yield
    metrics._entries.clear()
    metrics._entries.update(before)


@pytest.mark.usefixtures("_fragile")
@pytest.mark.parametrize(
    ("pruner", "diverged"),
    [
        ({"name": "halving"}, "fail"),
        ({"name": "median", "startup": 0}, 0.0),
    ],
)
def test_a_suggestion_that_becomes_nan_is_stopped_as_diverged(
    tmp_path: Path, pruner: dict[str, Any], diverged: str | float
) -> None:
    tables = HALVING | {"study": HALVING["study"] | {"metrics": ["fragile"]}}
    changed = {"objective": "val_fragile", "direction": "maximize", "pruner": pruner, "diverged": diverged}
    tables |= {"search": HALVING["search"] | changed | {"suggestions": 3, "batch": 3}}
    tables |= {"baseline": HALVING["baseline"] | {"epochs": 8}, "space": {"lr": {"low": 0.05, "high": 0.2}}}
    found = harness.search(harness.parse(tables), tmp_path / "s", workers=1)
    table = found.suggestions
    assert (table["evaluations"] < 8).all()
    assert set(table["reason"]) <= {"val_fragile is nan, not finite", "pruned after evaluation 1"}
    lost = table[table["reason"].str.startswith("val_")]
    assert len(lost)
    assert set(lost["state"]) == ({"failed"} if diverged == "fail" else {"complete"})
    assert found.winner is None or found.winner not in set(lost["number"])


# ----------------------------------------------------------------------------------------- a lock left behind


@pytest.mark.parametrize("left", ["file", "link"])
def test_a_lock_that_a_kill_left_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """Of our own writer a file; of a dashboard started in another folder, a link to nowhere."""
    monkeypatch.setattr(journals, "LEFT_SECONDS", 0.1)
    small = study(storage="journal", suggestions=2, batch=2, pruner="none")
    harness.search(small, tmp_path / "s", workers=1)
    lock = tmp_path / "s" / "optuna.journal.lock"
    lock.touch() if left == "file" else lock.symlink_to("nowhere/optuna.journal")
    harness.search(small, tmp_path / "s", workers=1)  # nothing is left to write
    assert not lock.is_symlink()
    assert not lock.exists()
    lock.touch() if left == "file" else lock.symlink_to("nowhere/optuna.journal")
    found = harness.search(
        study(storage="journal", suggestions=3, batch=2, pruner="none"), tmp_path / "s", workers=1
    )
    assert len(found.suggestions) == 3
    assert not lock.is_symlink()
    assert not lock.exists()


def test_a_search_without_finite_results_has_no_winner(tmp_path: Path) -> None:
    tables = HALVING | {"space": {"lr": {"low": 1e25, "high": 1e27}}}
    tables |= {"search": HALVING["search"] | {"suggestions": 2, "batch": 2}}
    found = harness.search(harness.parse(tables), tmp_path / "s", workers=1)
    assert (found.winner, found.confirmed, found.failed) == (None, None, False)
    assert found.suggestions["reason"].str.contains("the loss was not finite").all()


@pytest.mark.slow
def test_a_search_with_only_declared_worst_values_has_a_page(tmp_path: Path) -> None:
    tables = HALVING | {"space": {"lr": {"low": 1e25, "high": 1e27}}}
    tables |= {"search": HALVING["search"] | {"suggestions": 2, "batch": 2, "diverged": 0.1}}
    found = harness.search(harness.parse(tables), tmp_path / "s", workers=1)
    assert (found.winner, found.confirmed, found.failed) == (None, None, False)
    page = reporting.write(tmp_path / "s").read_text(encoding="utf-8")  # a warning would be an error
    assert "nothing to conclude" in page


def test_a_disk_fault_in_a_search_is_reported_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = study(storage="journal", suggestions=2, batch=2, pruner="none")
    harness.search(small, tmp_path / "s", workers=1)
    winners, trials = (tmp_path / "s" / name for name in ("winners.csv", "trials.csv"))
    before, real = winners.read_bytes(), Path.open

    def fail(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if self == winners and "r" in mode:
            raise OSError(5, "Input/output error")
        return real(self, mode, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(MachineError, match=r"winners\.csv cannot be read: Input/output error"):
            harness.search(small, tmp_path / "s", workers=1)
    assert winners.read_bytes() == before

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    more = study(storage="journal", suggestions=3, batch=2, pruner="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.rename", read_only)  # with which Optuna lets a journal's lock go
        with pytest.raises(MachineError, match=r"optuna\.journal cannot be written: Read-only file system"):
            harness.search(more, tmp_path / "s", workers=1)
    monkeypatch.setattr(journals, "LEFT_SECONDS", 0.1)
    part = min((tmp_path / "s" / "parts").glob("b*.zip"))
    copy = part.with_name(f"{part.stem} (1).zip")
    copy.write_bytes(part.read_bytes())
    harness.search(more, tmp_path / "s", workers=1)
    assert f"{copy} is a part under another name" in capsys.readouterr().err
    assert pd.read_csv(trials)["status"].eq("ok").all()
    epochs = harness.read(tmp_path / "s").epochs
    assert not epochs.duplicated(["trial_id", "epoch", "split"]).any()

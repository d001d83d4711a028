"""Scheduling: what a search comes to does not depend on which stack ends first, nor on when it is killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_workers import Killed, SimulatedWorkers, simulate

from harness.errors import MachineError, UsageError
from harness.searching import loop, pruners, scheduling
from harness.searching.ask_tell import AskTell, SuggestionResult
from harness.searching.search_result import SearchResult
from harness.searching.told import Told
from harness.study.reading import parse
from harness.study.searches import Pruning, Search
from harness.study.study import Study
from harness.training.options import RunOptions

SPACE = {"lr": {"low": 1e-3, "high": 1.0, "log": True}, "activation": ["relu", "tanh"]}
SYNCHRONOUS: dict[str, dict[str, Any]] = {
    "hyperband": {"pruner": "hyperband", "storage": "sqlite"},
    "halving": {"pruner": {"name": "halving", "reduction": 2}},
    "median": {"pruner": {"name": "median", "startup": 4}},
    "none": {"pruner": "none"},
    "two objectives": {
        "objective": ["val_accuracy", "parameters"], "sampler": "nsga2", "batch": 8, "storage": "sqlite",
    },
    "two seeds": {"pruner": "hyperband", "seeds": 2},
    "optuna": {"pruner": "hyperband", "sampler": "optuna", "batch": 9},
    "gp": {"pruner": "hyperband", "sampler": "gp"},
    "cmaes": {
        "pruner": "hyperband",
        "sampler": "cmaes",
        "space": {**SPACE, "dropout": {"low": 0.0, "high": 0.5}},
    },
    "extrapolation": {"pruner": {"name": "extrapolation", "confidence": 0.5, "control": 9}},
    "top-k": {"pruner": {"name": "top-k", "keep": 3}, "sampler": "random"},
}  # fmt: skip
"""Kinds of searches, one objective and several in a database too; the others in a log, which is quicker."""


def study(epochs: int = 4, space: Mapping[str, Any] = SPACE, **search: Any) -> Study:
    tables = {
        "study": {"name": "s", "design": "search", "seeds": 2},
        "baseline": {"dataset": "digits", "hidden": [4], "epochs": epochs, "batch_size": 256},
        "search": {"suggestions": 18, "batch": 6, "finalists": 1, "storage": "journal", **search},
        "space": space,
    }
    return parse(tables)


def search(given: Study, folder: Path) -> SearchResult:
    """Search, and confirm nothing."""
    return loop.evaluated(given, folder, RunOptions(device="cpu", workers=2), AskTell, None)


def read(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "suggestions.csv", keep_default_na=False).drop(columns="seconds")


def complete(value: float) -> SuggestionResult:
    return SuggestionResult(optuna.trial.TrialState.COMPLETE, [value], {1: value}, 1)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]


# ----------------------------------------------------------------------------------------------- when to ask


@given(
    name=st.sampled_from(["none", "median", "halving", "hyperband"]), evaluations=st.integers(2, 100),
    members=st.integers(1, 64), first=st.integers(1, 4), reduction=st.integers(2, 4),
)  # fmt: skip
def test_the_next_batch_is_asked_for_at_a_rung_with_something_left_to_train(
    name: Any, evaluations: int, members: int, first: int, reduction: int
) -> None:
    pruning = Pruning(name=name, first=first, reduction=reduction)
    at = scheduling.next_at(pruning, evaluations, members)
    assert 1 <= at < evaluations
    rungs = pruners.rungs(pruning, evaluations)
    assert name not in pruners.HALVING or not rungs or at in rungs


@pytest.mark.parametrize("kind", ["halving", "hyperband", "top-k"])
def test_a_plan_knows_what_a_pruner_leaves_to_train(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(5, **SYNCHRONOUS[kind])
    simulate(monkeypatch)
    search(given, tmp_path)
    assert given.search is not None
    share = pruners.trained_share(given.search, 5)
    assert share == pytest.approx(read(tmp_path)["evaluations"].sum() / (18 * 5))
    for name in ("median", "asha", "extrapolation"):
        assert pruners.trained_share(Search(pruner=Pruning(name=name)), 5) is None
    assert pruners.trained_share(Search(pruner=Pruning(name="none")), 5) == 1.0


# ----------------------------------------------------------------------------------------------- determinism


def test_a_search_that_loses_a_stage_does_not_end_as_if_it_were_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(pruner="hyperband")
    simulate(monkeypatch)
    arrive, count = scheduling.StageSchedule.arrive, iter(range(100))

    def lose_one(self: scheduling.StageSchedule, result: Any, *, more: bool) -> None:
        if next(count) != 4:
            arrive(self, result, more=more)

    monkeypatch.setattr(scheduling.StageSchedule, "arrive", lose_one)
    with pytest.raises(MachineError, match=r"of 6 trials of a batch did not end, .* Run the same command"):
        search(given, tmp_path)
    search(given, tmp_path)
    assert len(read(tmp_path)) == 18


@pytest.mark.parametrize("kind", SYNCHRONOUS)
def test_the_order_in_which_stacks_end_changes_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(**SYNCHRONOUS[kind])
    for count in (1, 3):  # workers: one after the other, and three whose stacks end in the order of a seed
        simulate(monkeypatch, count, count=count)
        search(given, tmp_path / str(count))
    first = read(tmp_path / "1")
    assert len(first) == 18
    pd.testing.assert_frame_equal(read(tmp_path / "3"), first)


@pytest.mark.parametrize("kind", SYNCHRONOUS)
def test_a_search_that_is_killed_anywhere_comes_to_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(**SYNCHRONOUS[kind])
    simulate(monkeypatch)
    search(given, tmp_path / "unkilled")
    kills = 0
    for after in (3, 7, 5):
        simulate(monkeypatch, after, dies_after=after)
        try:
            search(given, tmp_path / "killed")
        except Killed:
            kills += 1
    assert kills >= 2
    simulate(monkeypatch, 9)
    search(given, tmp_path / "killed")
    pd.testing.assert_frame_equal(read(tmp_path / "killed"), read(tmp_path / "unkilled"))


@pytest.mark.parametrize("earlier", ["none", "of another sampler"])
def test_the_next_batch_is_asked_for_with_what_was_known_at_the_rung(
    earlier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, at = study(pruner="none", suggestions=12, storage="sqlite"), scheduling.next_at(Pruning(), 4, 6)
    seen: list[Mapping[int, Any]] = []
    really = AskTell.ask

    def ask(self: AskTell, *arguments: Any) -> Any:
        batch = really(self, *arguments)
        seen.append(self._shown[batch[0].number])
        return batch

    if earlier != "none":  # killed in its first batch, whose suggestions were others
        simulate(monkeypatch, dies_after=1)
        with pytest.raises(Killed):
            search(given, tmp_path)
        log = Told(tmp_path)
        log.note_drawn({number: {"lr": 0.5, "activation": "relu"} for number in range(6)})
        log.note_known(1, {number: complete(0.99) for number in range(6)})
    monkeypatch.setattr(AskTell, "ask", ask)
    simulate(monkeypatch)
    search(given, tmp_path)
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/optuna.db").trials
    assert [len(shown) for shown in seen] == [0, 6]
    for trial, then in zip(stored, seen[1].values(), strict=False):
        assert then.state.name == "COMPLETE"
        assert then.values == [  # noqa: PD011 (Optuna's)
            trial.intermediate_values[at]
        ]
        assert then.intermediate_values == {i: v for i, v in trial.intermediate_values.items() if i <= at}
        assert max(trial.intermediate_values) == 4 > at


def test_a_search_of_two_batches_learns_from_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TPE that knew nothing would draw at random: then the values of the first batch would not matter."""
    drawn = []
    for values in ("as trained", "by lr"):
        simulate(monkeypatch)
        search(study(2, suggestions=30, batch=15, objective="val_loss"), tmp_path / values)
        drawn.append(read(tmp_path / values))
        monkeypatch.setattr(
            scheduling.Batch, "known",
            lambda self, *_: {s.number: complete(s.drawn["lr"]) for s in self.suggestions},
        )  # fmt: skip
    first = [frame["lr"][:15].tolist() for frame in drawn]
    second = [frame["lr"][15:].tolist() for frame in drawn]
    assert first[0] == first[1]
    assert second[0] != second[1]


# ----------------------------------------------------------------------------------------------------- cores


def test_workers_have_something_to_do_while_a_batch_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = {}
    for way in ("overlapping", "one after the other"):
        if way != "overlapping":
            monkeypatch.setattr(scheduling, "next_at", lambda *_: 0)
        simulate(monkeypatch, 1, spread=0.5)
        given = study(5, pruner="hyperband", suggestions=96, batch=12, sampler="random")
        search(given, tmp_path / way)
        workers = SimulatedWorkers.last
        idle[way] = workers.idle / (workers.idle + workers.busy)
    assert idle["overlapping"] < min(0.08, 0.7 * idle["one after the other"])


# ------------------------------------------------------------------------------------------- without barriers


@pytest.mark.parametrize("pruner", ["asha", "async-hyperband"])
def test_a_killed_asynchronous_search_repeats_its_log(
    pruner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(pruner=pruner, suggestions=24)
    for after in (8, 14):
        simulate(monkeypatch, after, dies_after=after)
        with pytest.raises(Killed):
            search(given, tmp_path)
    logged = lines(tmp_path)
    drawn = {int(n): point for line in logged if "drawn" in line for n, point in line["drawn"].items()}
    judged = [line for line in logged if "stopped" in line]
    assert len(drawn) > 6
    assert judged
    simulate(monkeypatch, 8)
    search(given, tmp_path)
    assert lines(tmp_path)[: len(logged)] == logged
    table = {row["number"]: row for row in read(tmp_path).to_dict("records")}
    assert len(table) == 24
    for number, point in drawn.items():
        assert table[number]["activation"] == point["activation"]
        assert table[number]["lr"] == pytest.approx(point["lr"], rel=1e-6)
    for line in judged:
        for number in map(int, line["reported"]):
            stopped = number in line["stopped"]
            assert (table[number]["evaluations"] == line["evaluation"]) == stopped


def test_an_asynchronous_search_waits_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, 1)
    search(study(pruner="asha", suggestions=48, sampler="random"), tmp_path)
    workers = SimulatedWorkers.last
    assert workers.idle < 0.03 * (workers.idle + workers.busy)
    assert len([line for line in lines(tmp_path) if "known" in line]) == 8


def test_every_judgement_of_an_asynchronous_search_is_by_what_was_reported_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, 2)
    search(study(5, pruner="asha", suggestions=30, sampler="random"), tmp_path)
    seen: dict[int, list[tuple[float, int]]] = {}
    for line in lines(tmp_path):
        if "stopped" not in line:
            continue
        rung = line["evaluation"]
        reports = seen.setdefault(rung, [])
        reports += [(-curve[str(rung)], int(number)) for number, curve in line["reported"].items()]
        kept = {number for _, number in sorted(reports)[: -(-len(reports) // 3)]}
        here = set(map(int, line["reported"]))
        assert here - kept == set(line["stopped"])
    assert set(seen) == {1, 3}


# ------------------------------------------------------------------------------------------------------- log


def test_a_torn_line_of_the_log_does_not_count(tmp_path: Path) -> None:
    log = Told(tmp_path)
    log.note_known(1, {0: SuggestionResult(optuna.trial.TrialState.PRUNED, [], {1: 0.5}, 1), 1: None})
    whole = (tmp_path / "told.jsonl").read_bytes()
    (tmp_path / "told.jsonl").write_bytes(whole + b'{"batch": 2, "kno')
    again = Told(tmp_path)
    assert again.known == log.known
    assert (tmp_path / "told.jsonl").read_bytes() == whole


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"batch": 1}', '{"batch": 1, "known": {"x": 3}}'])
def test_a_damaged_log_is_reported(tmp_path: Path, line: str) -> None:
    (tmp_path / "told.jsonl").write_text(line + "\n")
    with pytest.raises(UsageError, match=r"told\.jsonl is damaged: line 1 .* remove the file"):
        Told(tmp_path)


def test_judgements_of_other_suggestions_do_not_count(tmp_path: Path) -> None:
    log = Told(tmp_path)
    log.note_drawn({0: {"lr": 0.1}, 1: {"lr": 0.2}})
    log.note_judged(1, {0: {1: 0.5}, 1: {1: 0.4}}, [1])
    again = Told(tmp_path)
    again.note_drawn({0: {"lr": 0.1}, 1: {"lr": 0.3}})
    assert (again.judged(0, 1), again.judged(1, 1)) == (False, None)
    assert (again.reported(0), again.reported(1)) == ({1: 0.5}, {})


def test_what_was_forgotten_of_other_suggestions_does_not_come_back(tmp_path: Path) -> None:
    log = Told(tmp_path)
    log.note_drawn({0: {"lr": 0.1}, 1: {"lr": 0.2}})
    log.note_judged(1, {0: {1: 0.5}, 1: {1: 0.4}}, [1])
    log.note_known(1, {0: complete(0.5), 1: None})
    Told(tmp_path).note_drawn({1: {"lr": 0.3}})  # another sampler, killed before it has judged
    again = Told(tmp_path)
    assert (again.judged(0, 1), again.judged(1, 1)) == (False, None)
    assert (again.reported(1), again.known, again.wanted) == ({}, {}, set())
    again.note_judged(1, {1: {1: 0.7}}, [])
    assert Told(tmp_path).judged(1, 1) is False


# ----------------------------------------------------------------------------------------------- an extension


@pytest.mark.parametrize("kind", ["halving", "median", "gp"])
def test_a_search_that_is_extended_behind_a_batch_is_that_of_a_longer_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"sampler": "tpe", **SYNCHRONOUS[kind]}
    for suggestions, folder in ((24, "whole"), (18, "extended"), (24, "extended")):
        simulate(monkeypatch)
        search(study(**how, suggestions=suggestions), tmp_path / folder)
    pd.testing.assert_frame_equal(read(tmp_path / "extended"), read(tmp_path / "whole"))


# ------------------------------------------------------------------------------------------------ the target


def reaching(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, float]:
    """A search of two batches, and an accuracy that one of the second reaches first."""
    for seed in range(20):
        given = study(pruner="none", suggestions=12, sampler="random", seed=seed)
        simulate(monkeypatch, 1)
        search(given, folder / str(seed))
        values = read(folder / str(seed))["val_accuracy"]
        if values[6:].max() > values[:6].max():
            return given, float(values[6:].max())
    raise AssertionError("no seed has its best suggestion in the second batch")


def test_a_search_that_reached_its_target_with_its_last_batch_is_not_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, level = reaching(tmp_path, monkeypatch)
    assert given.search is not None
    table: dict[str, Any] = {"pruner": "none", "sampler": "random", "seed": given.search.seed}
    for suggestions in (12, 24):
        simulate(monkeypatch, 1)
        aimed = study(**table, suggestions=suggestions, until={"val_accuracy": level})
        found = search(aimed, tmp_path / "aimed")
        assert (len(found.trials), found.reached is not None) == (12, True)


def test_what_top_k_had_asked_for_is_told_though_the_target_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruner = {"name": "top-k", "keep": 15}  # so that some of the first batch are complete
    given = study(pruner=pruner, sampler="random", until={"val_accuracy": 0.01})
    for after in range(1, 40):
        place = tmp_path / str(after)
        simulate(monkeypatch, 1, dies_after=after)
        with pytest.raises(Killed):
            search(given, place)
        if (place / "suggestions.csv").is_file() and len(read(place)) == 6:
            break
    simulate(monkeypatch, 1)
    assert len(search(given, place).trials) == 18

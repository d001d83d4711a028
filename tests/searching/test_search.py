"""Whole searches on digits: asked, trained, told, stored, confirmed, killed and resumed."""

from __future__ import annotations

import json
import signal
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from postgres_server import Postgres
from search_processes import start, stop_after

from harness import results
from harness.engines import kernels
from harness.errors import MachineError, UsageError
from harness.results import part_files, parts
from harness.searching import loop as searching
from harness.searching import rounds, storages
from harness.searching.search_result import SearchResult
from harness.study.reading import load, parse
from harness.study.study import Study
from harness.system import locks
from harness.training import runs

TABLES: dict[str, Any] = {
    "study": {"name": "s", "design": "search", "seeds": 2},
    "baseline": {"dataset": "digits", "hidden": [8], "epochs": 2, "batch_size": 64},
    "search": {"suggestions": 6, "batch": 3},
    "space": {"lr": {"low": 1e-3, "high": 1.0, "log": True}, "activation": ["relu", "tanh"]},
}
BOOM = {"low": 1e25, "high": 1e29}  # every network of it diverges


def study(
    search: dict[str, Any] | None = None, space: dict[str, Any] | None = None, **baseline: Any
) -> Study:
    changed = {"search": TABLES["search"] | (search or {}), "space": space or TABLES["space"]}
    return parse(TABLES | changed | {"baseline": TABLES["baseline"] | baseline})


def search(given: Study, folder: Path, **how: Any) -> SearchResult:
    return searching.search(given, folder, **{"workers": 1, **how})


def read_suggestions(folder: Path) -> pd.DataFrame:
    """suggestions.csv, without times."""
    return pd.read_csv(folder / "suggestions.csv", keep_default_na=False).drop(columns="seconds")


def trials(folder: Path) -> pd.DataFrame:
    return results.read(folder).trials


def read_storage(folder: Path, name: str = "s") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/optuna.db").trials


def check_complete(folder: Path, count: int) -> None:
    """What must be true of every search: as many as asked for, each trained once, nothing running."""
    states = [trial.state.name for trial in read_storage(folder)]
    assert len(states) == count
    assert "RUNNING" not in states
    assert read_suggestions(folder)["number"].tolist() == list(range(count))
    there = trials(folder)
    assert not there.duplicated("trial_id").any()
    assert not there.duplicated(["arm", "seed"]).any()
    assert set(there["arm"]) == {f"suggestion {i}" for i in range(count)}
    in_parts = [
        trial_id
        for part in sorted((folder / "parts").iterdir())
        for trial_id in part_files.read(part).table("trials")["trial_id"]  # type: ignore[union-attr]
    ]
    assert sorted(in_parts) == sorted(there["trial_id"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of six suggestions."""
    place = tmp_path_factory.mktemp("searches") / "s"
    search(study(), place)
    return place


# --------------------------------------------------------------------------------------- what comes of it


def test_a_search_makes_the_requested_number_of_distinct_suggestions(folder: Path) -> None:
    check_complete(folder, 6)
    found = read_suggestions(folder)
    assert not found.duplicated(["lr", "activation"]).any()
    assert set(found["state"]) == {"complete"}
    assert found["evaluations"].tolist() == [2] * 6
    assert found["batch"].tolist() == [0, 0, 0, 1, 1, 1]
    run = json.loads((folder / "provenance.json").read_text())["runs"][-1]
    assert 0 < run["busy"] <= 1
    assert 0 <= run["idle_seconds"] < run["seconds"]
    used = kernels.identity() if not kernels.why_not() else kernels.why_not()
    assert used in run["kernels"], "before its first suggestion it has no stacks, and said: not used"


def test_the_objective_equals_the_trained_value(folder: Path) -> None:
    own = trials(folder).set_index("arm")
    for row in read_suggestions(folder).to_dict("records"):
        assert row["val_accuracy"] == pytest.approx(own.loc[row["arm"], "val_accuracy"], abs=1e-6)
        assert row["lr"] == pytest.approx(own.loc[row["arm"], "lr"], rel=1e-6)
        assert row["activation"] == own.loc[row["arm"], "activation"]


def test_test_is_opened_for_the_winner_and_the_baseline_alone(folder: Path) -> None:
    test = [column for column in trials(folder) if str(column).startswith("test_")]
    assert test
    assert trials(folder)[test].isna().all(axis=None)
    confirmed = trials(folder / "confirmed")
    assert confirmed[test].notna().all(axis=None)
    assert confirmed.groupby("arm")["seed"].apply(list).to_dict() == {"baseline": [0, 1], "winner": [0, 1]}
    best = read_suggestions(folder).sort_values("val_accuracy", ascending=False).iloc[0]
    winner = confirmed[confirmed["arm"] == "winner"]
    assert winner["lr"].unique() == pytest.approx(best["lr"], rel=1e-6)
    written = tomllib.loads((folder / "confirmed" / "study.toml").read_text())
    assert written["contrasts"]["pairs"] == [["winner", "baseline"]]
    assert (written["study"]["phase"], written["contrasts"]["declared"]) == ("confirmed", True)


def test_a_finished_search_asks_for_nothing_more(folder: Path) -> None:
    before = (folder / "trials.csv").read_bytes(), (folder / "suggestions.csv").read_bytes()
    again = search(study(), folder)
    assert (again.asked, len(again.trials)) == (0, 6)
    assert again.confirmed is not None
    assert again.confirmed.trained == 0
    assert before == ((folder / "trials.csv").read_bytes(), (folder / "suggestions.csv").read_bytes())


def test_an_extended_search_continues(tmp_path: Path, folder: Path) -> None:
    search(study({"suggestions": 3}), tmp_path / "s")
    assert read_suggestions(tmp_path / "s").equals(read_suggestions(folder)[:3])
    search(study(), tmp_path / "s")
    pd.testing.assert_frame_equal(read_suggestions(tmp_path / "s"), read_suggestions(folder))
    check_complete(tmp_path / "s", 6)


def test_a_finite_space_is_used_up_exactly(tmp_path: Path) -> None:
    space = {"activation": ["relu", "tanh"], "lr": [0.01, 0.1, 0.5], "hidden": [[4], [8], []]}
    found = search(
        study({"suggestions": 15, "batch": 8, "sampler": "random"}, space, epochs=1), tmp_path / "s"
    )
    assert len(found.trials) == 15
    check_complete(tmp_path / "s", 15)
    assert not read_suggestions(tmp_path / "s").duplicated(["lr", "activation", "hidden"]).any()


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tmp_path: Path, folder: Path) -> None:
    search(study(), tmp_path / "s", workers=2)
    two, one = read_suggestions(tmp_path / "s"), read_suggestions(folder)
    pd.testing.assert_frame_equal(two, one, rtol=1e-4)


@pytest.mark.parametrize("engine", ["loop", "numpy"])
def test_every_engine_searches(tmp_path: Path, engine: str) -> None:
    given = study({"sampler": "random"})
    search(given, tmp_path / "stacked")
    search(given, tmp_path / "other", engine=engine)
    one, other = read_suggestions(tmp_path / "stacked"), read_suggestions(tmp_path / "other")
    assert one["lr"].equals(other["lr"])
    assert one["val_accuracy"].to_numpy() == pytest.approx(other["val_accuracy"].to_numpy(), abs=0.02)
    assert set(trials(tmp_path / "other")["engine"]) == {engine}


def test_the_winner_may_be_the_baseline(tmp_path: Path) -> None:
    space = {"lr": [1e-6, 0.3]}
    found = search(study({"suggestions": 2}, space, lr=0.3), tmp_path / "s")
    assert found.winner is not None
    assert set(trials(tmp_path / "s" / "confirmed")["arm"]) == {"baseline"}
    assert not found.failed


# ---------------------------------------------------------------------------------------------- objectives


def test_a_metric_is_minimized(tmp_path: Path) -> None:
    given = parse(
        TABLES | {
            "study": TABLES["study"] | {"metrics": ["nll"]},
            "search": {"suggestions": 4, "batch": 2, "objective": "val_nll"},
        }
    )  # fmt: skip
    found = search(given, tmp_path / "s")
    table = read_suggestions(tmp_path / "s")
    assert found.winner == table["val_nll"].idxmin()
    own = trials(tmp_path / "s").set_index("arm")["val_nll"]
    assert table["val_nll"].to_numpy() == pytest.approx(own[table["arm"]].to_numpy(), rel=1e-5)


@pytest.mark.parametrize("cost", ["parameters", "training_flops"])
def test_a_search_may_have_two_objectives(tmp_path: Path, cost: str) -> None:
    space = {"hidden": {"depth": {"low": 0, "high": 2}, "width": {"low": 2, "high": 16}}, "lr": [0.03, 0.3]}
    wanted = {"sampler": "nsga2", "objective": ["val_accuracy", cost], "suggestions": 6}
    found = search(study(wanted, space), tmp_path / "s")
    table = read_suggestions(tmp_path / "s")
    own = trials(tmp_path / "s").set_index("arm").loc[table["arm"]]
    sizes = own["parameters"].to_numpy()
    if cost == "parameters":
        assert table[cost].tolist() == sizes.tolist()
    else:
        assert table[cost].rank().tolist() != []
        assert (table[cost] > 4 * 1293 * 2 * 64 * 2).all()  # two products of layer one, two epochs
    assert found.winner == table["val_accuracy"].idxmax()
    for trial, row in zip(read_storage(tmp_path / "s"), table.to_dict("records"), strict=True):
        assert list(trial.values) == pytest.approx([row["val_accuracy"], row[cost]], rel=1e-6)


def test_several_seeds_count_as_their_mean(tmp_path: Path) -> None:
    search(study({"seeds": 2, "suggestions": 4, "batch": 2}), tmp_path / "s")
    own = trials(tmp_path / "s")
    assert set(own["seed"]) == {2000, 2001}
    means = own.groupby("arm")["val_accuracy"].mean()
    for row in read_suggestions(tmp_path / "s").to_dict("records"):
        assert row["val_accuracy"] == pytest.approx(means[row["arm"]], abs=1e-6)
    check_complete(tmp_path / "s", 4)


# ----------------------------------------------------------------------------------------------- divergence


def test_a_diverged_suggestion_fails_and_never_wins(tmp_path: Path) -> None:
    space = {"lr": [0.1, 1e25, 1e28], "activation": ["relu", "tanh"]}
    found = search(study({"suggestions": 6, "batch": 6}, space), tmp_path / "s")
    table = read_suggestions(tmp_path / "s")
    assert table[table["lr"] == 0.1]["state"].tolist() == ["complete"] * 2
    assert not found.failed  # nothing is wrong with the machine
    lost = table[table["state"] == "failed"]
    assert len(lost) >= 2
    assert (lost["val_accuracy"] == "").all()
    assert lost["reason"].str.contains("seed 2000 diverged: the loss was not finite at step").all()
    assert found.winner is not None
    assert found.trials[found.winner].state.name == "COMPLETE"
    check_complete(tmp_path / "s", 6)


@pytest.mark.parametrize("diverged", ["fail", 0.0])
def test_a_whole_batch_may_diverge(tmp_path: Path, diverged: Any) -> None:
    given = study(
        {"suggestions": 4, "batch": 2, "diverged": diverged, "pruner": "halving"}, {"lr": BOOM}, epochs=3
    )
    found = search(given, tmp_path / "s")
    assert found.winner is None
    assert found.confirmed is None
    states = {trial.state.name for trial in read_storage(tmp_path / "s")}
    assert states == ({"FAIL"} if diverged == "fail" else {"COMPLETE"})
    assert set(trials(tmp_path / "s")["status"]) == {"diverged"}
    again = search(given, tmp_path / "s")
    assert (again.asked, again.winner) == (0, None)


def test_one_seed_that_diverges_fails_the_suggestion_and_loses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = rounds.Round.report

    def report(self: rounds.Round) -> None:
        for result in self.in_training:  # the first seed of each suggestion 0 has diverged
            assert result.outcome is not None
            for k, trial in enumerate(result.stage.stack.trials):
                if (
                    trial.arm.name == "suggestion 0"
                    and trial.seed == 2000
                    and not result.outcome.diverged_step[k]
                ):
                    result.outcome.diverged_step[k] = 1
        really(self)

    monkeypatch.setattr(rounds.Round, "report", report)
    pruner = {"name": "halving", "reduction": 2}
    search(study({"seeds": 2, "suggestions": 4, "batch": 4, "pruner": pruner}, epochs=4), tmp_path / "s")
    first = read_suggestions(tmp_path / "s").iloc[0]
    assert (first["state"], first["val_accuracy"]) == ("failed", "")
    assert first["reason"].startswith("seed 2000 diverged: ")
    own = trials(tmp_path / "s").query("arm == 'suggestion 0'").set_index("seed")
    assert own["status"].to_dict() == {2000: "diverged", 2001: "pruned"}
    assert own.loc[2001, "reason"] == "another seed of this suggestion diverged or failed"
    check_complete(tmp_path / "s", 4)


# ------------------------------------------------------------------------------------------------- pruning


def test_pruned_suggestions_stop_and_keep_their_results(tmp_path: Path) -> None:
    pruner = {"name": "halving", "reduction": 2}
    given = study({"pruner": pruner, "suggestions": 8, "batch": 8, "sampler": "random"}, epochs=4)
    search(given, tmp_path / "s")
    table, own = read_suggestions(tmp_path / "s"), trials(tmp_path / "s").set_index("arm")
    assert table["evaluations"].value_counts().to_dict() == {1: 4, 2: 2, 4: 2}
    assert own.loc[table["arm"], "epochs_done"].tolist() == table["evaluations"].tolist()
    epochs = results.read(tmp_path / "s").epochs.query("split == 'val'")
    for row in table.to_dict("records"):
        trial = own.loc[row["arm"]]
        curve = epochs[epochs["trial_id"] == trial["trial_id"]]
        assert curve["epoch"].tolist() == list(range(row["evaluations"] + 1))
        assert row["val_accuracy"] == pytest.approx(curve["accuracy"].iloc[-1], abs=1e-6)
        assert trial["val_accuracy"] == pytest.approx(row["val_accuracy"], abs=1e-6)
        pruned = row["evaluations"] < 4
        assert (row["state"], trial["status"]) == (("pruned", "pruned") if pruned else ("complete", "ok"))
        assert row["reason"] == (f"pruned after evaluation {row['evaluations']}" if pruned else "")
    first = table["evaluations"] == 1
    reached = {i: trial.intermediate_values[1] for i, trial in enumerate(read_storage(tmp_path / "s"))}
    assert max(reached[i] for i in table.index[first]) <= min(reached[i] for i in table.index[~first])


def test_epochs_in_the_space_end_before_a_rung(tmp_path: Path) -> None:
    space = TABLES["space"] | {"epochs": {"low": 1, "high": 5}}
    pruner = {"name": "halving", "reduction": 3}
    search(study({"pruner": pruner, "suggestions": 8, "batch": 8, "sampler": "qmc"}, space), tmp_path / "s")
    table, own = read_suggestions(tmp_path / "s"), trials(tmp_path / "s").set_index("arm")
    for row in table.to_dict("records"):
        assert row["evaluations"] == own.loc[row["arm"], "epochs_done"] <= row["epochs"]
        assert (row["state"] == "complete") == (row["evaluations"] == row["epochs"])
        if row["state"] == "pruned":
            assert row["evaluations"] in {1, 3}
    assert set(table["state"]) == {"complete", "pruned"}
    check_complete(tmp_path / "s", 8)


# --------------------------------------------------------------------------------------- kills and faults


def test_a_batch_that_was_trained_but_not_told_is_not_trained_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise MachineError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(storages.Storage, "add", refuse)
        with pytest.raises(MachineError):
            search(study(), tmp_path / "s")
    trained: list[int] = []
    really = rounds.Round.begin

    def begin(self: rounds.Round, *others: Any) -> list[rounds.StageTask]:
        trained.extend(suggestion.number for suggestion in self.batch)
        return really(self, *others)

    monkeypatch.setattr(rounds.Round, "begin", begin)
    search(study(), tmp_path / "s")
    assert trained == [3, 4, 5]
    pd.testing.assert_frame_equal(read_suggestions(tmp_path / "s"), read_suggestions(folder))
    check_complete(tmp_path / "s", 6)


@pytest.mark.parametrize("more", [False, True])
def test_a_partly_told_batch_is_completed(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, more: bool
) -> None:
    really = storages.Storage.add

    def torn(self: storages.Storage, given: Sequence[Any]) -> None:
        really(self, given[:2])
        raise MachineError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(storages.Storage, "add", torn)
        with pytest.raises(MachineError):
            search(study({"suggestions": 3} if more else {}), tmp_path / "s")
    assert len(read_storage(tmp_path / "s")) == 2
    search(study(), tmp_path / "s")
    pd.testing.assert_frame_equal(read_suggestions(tmp_path / "s"), read_suggestions(folder))
    check_complete(tmp_path / "s", 6)


def test_a_full_disk_loses_nothing(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MachineError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(parts, "write_batch", full)
        with pytest.raises(MachineError, match="no space left"):
            search(study(), tmp_path / "s")
    assert read_storage(tmp_path / "s") == []
    search(study(), tmp_path / "s")
    pd.testing.assert_frame_equal(read_suggestions(tmp_path / "s"), read_suggestions(folder))


def test_another_space_in_the_folder_is_reported_with_its_differences(tmp_path: Path) -> None:
    search(study({"suggestions": 1}), tmp_path / "s")
    before = (tmp_path / "s" / "suggestions.csv").read_bytes()
    other = study({"suggestions": 2}, TABLES["space"] | {"lr": {"low": 1e-4, "high": 1.0, "log": True}})
    with pytest.raises(UsageError, match=r"space\.lr: there .*0\.001.*, here .*0\.0001"):
        search(other, tmp_path / "s")
    assert (tmp_path / "s" / "suggestions.csv").read_bytes() == before
    assert len(read_storage(tmp_path / "s")) == 1


def test_a_folder_takes_one_search_at_a_time(tmp_path: Path) -> None:
    with locks.locked(tmp_path / "s"), pytest.raises(UsageError, match="another run is writing into"):
        search(study(), tmp_path / "s")


def test_a_search_may_be_stored_in_a_journal(tmp_path: Path, folder: Path) -> None:
    search(study({"storage": "journal", "suggestions": 3}), tmp_path / "s")
    search(study({"storage": "journal"}), tmp_path / "s")
    assert (tmp_path / "s" / "optuna.journal").is_file()
    pd.testing.assert_frame_equal(read_suggestions(tmp_path / "s"), read_suggestions(folder))


def test_a_search_may_be_stored_on_a_database_server(
    tmp_path: Path, folder: Path, postgres: Postgres
) -> None:
    where = postgres.url("postgres")
    given = study({"storage": where})
    half = study({"storage": where, "suggestions": 3})
    search(half, tmp_path)
    search(given, tmp_path)
    pd.testing.assert_frame_equal(read_suggestions(tmp_path), read_suggestions(folder))
    storage = optuna.storages.RDBStorage(where)
    kept = optuna.load_study(study_name="s", storage=storage)
    assert [trial.state.name for trial in kept.trials] == ["COMPLETE"] * 6
    storage.engine.dispose()
    assert "***" in (tmp_path / "study.toml").read_text()  # in place of the password


PLUGIN = """
import os
from pathlib import Path
from harness.axes.activations import activations
import torch

@activations.register("faulty")
def faulty(x):
    "Fails where it is told to; a branch on values keeps it from being compiled."
    if bool(x.isnan().all()):
        return x
    if Path("armed").exists() and max(x.shape) > 6:  # not while the plan tries it
        {fault}
    return torch.tanh(x)
"""


def with_plugin(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    Path("faulty.py").write_text(PLUGIN.format(fault=fault))
    changed = {
        "study": TABLES["study"] | {"plugins": ["faulty.py"]},
        "search": {"suggestions": 4, "batch": 4, "sampler": "qmc"},
        "space": {"lr": TABLES["space"]["lr"], "activation": ["relu", "faulty"]},
    }
    return parse(TABLES | changed, path=tmp_path / "s.toml")


@pytest.mark.usefixtures("registries")
def test_a_component_that_raises_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = with_plugin(tmp_path, 'raise ValueError("no luck")', monkeypatch)
    Path("armed").touch()
    found = search(given, tmp_path / "s")
    table = read_suggestions(tmp_path / "s").set_index("activation")
    assert found.failed
    assert set(table.loc[["faulty"], "state"]) == {"failed"}
    assert table.loc[["faulty"], "reason"].str.contains("ValueError: no luck").all()
    assert set(table.loc[["relu"], "state"]) == {"complete"}
    assert set(trials(tmp_path / "s").query("activation == 'faulty'")["status"]) == {"failed"}
    check_complete(tmp_path / "s", 4)


@pytest.mark.usefixtures("registries")
def test_only_faulty_members_of_a_stack_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It passes the trial by which plans decide, on six samples, and shares a stack with others.
    given = with_plugin(tmp_path, 'if x.shape[-1] > 6: raise ValueError("too many")', monkeypatch)
    Path("armed").touch()
    search(given, tmp_path / "s")
    table = read_suggestions(tmp_path / "s").set_index("activation")
    assert set(table.loc[["faulty"], "state"]) == {"failed"}
    assert set(table.loc[["relu"], "state"]) == {"complete"}


@pytest.mark.slow
@pytest.mark.usefixtures("registries")
def test_a_worker_that_dies_once_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = "Path('armed').unlink(); os.kill(os.getpid(), 9)"
    given = with_plugin(tmp_path, fault, monkeypatch)
    really = rounds.Round.begin

    def begin(self: rounds.Round, *arguments: Any) -> list[rounds.StageTask]:
        Path("armed").touch()
        return really(self, *arguments)

    monkeypatch.setattr(rounds.Round, "begin", begin)
    found = search(given, tmp_path / "s", workers=2)
    assert not Path("armed").exists()
    assert set(read_suggestions(tmp_path / "s")["state"]) == {"complete"}
    assert not found.failed


FILE = """
[study]
name = "s"
design = "search"
seeds = 2
[baseline]
dataset = "digits"
hidden = [16]
epochs = 2
batch_size = 4
[search]
suggestions = 9
batch = 3
pruner = { name = "halving", reduction = 2 }
[space]
lr = { low = 1e-3, high = 1.0, log = true }
activation = ["relu", "tanh"]
"""


def batches(folder: Path) -> int:
    return len(list((folder / "parts").glob("b*"))) if (folder / "parts").is_dir() else 0


@pytest.mark.slow
def test_a_search_that_is_killed_twice_and_interrupted_comes_to_the_same(tmp_path: Path) -> None:
    """A kill in the first batch, one after it, Ctrl-C in the next one; then to its end."""
    killed, unkilled = tmp_path / "killed", tmp_path / "unkilled"
    for place in (killed, unkilled):
        place.mkdir()
        (place / "s.toml").write_text(FILE)
    folder = killed / "results" / "s"

    def begun() -> bool:
        plan = folder / "plan.json"
        return plan.is_file() and bool(json.loads(plan.read_text()).get("stacks"))

    ways = [(signal.SIGKILL, begun), (signal.SIGKILL, lambda: batches(folder) >= 1)]
    for way, done in [*ways, (signal.SIGINT, lambda: batches(folder) >= 2)]:
        process = start(killed)
        stop_after(process, way, done)
        _, stderr = process.communicate()
        assert process.returncode == (130 if way == signal.SIGINT else -way), stderr
    assert "interrupted: finished batches are kept in results/s. The same command goes on" in stderr
    assert "Traceback" not in stderr
    for place in (killed, unkilled):
        process = start(place)
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr
    assert "winner - baseline on test" in stdout
    pd.testing.assert_frame_equal(read_suggestions(folder), read_suggestions(unkilled / "results" / "s"))
    check_complete(folder, 9)


def test_results_read_from_parts_equal_those_of_the_live_search(tmp_path: Path) -> None:
    given = study(
        {"suggestions": 12, "batch": 4, "pruner": "halving", "sampler": "tpe"},
        {"lr": {"low": 1e-3, "high": 1e27, "log": True}, "momentum": {"low": 0.1, "high": 0.9}},
        optimizer="momentum",
        epochs=4,
    )
    search(given, tmp_path)
    before = read_suggestions(tmp_path)
    assert set(before["state"]) == {"complete", "pruned", "failed"}
    (tmp_path / "optuna.db").unlink()  # and all that Optuna knew
    parts_before = sorted(path.name for path in (tmp_path / "parts").iterdir())
    search(given, tmp_path)
    pd.testing.assert_frame_equal(read_suggestions(tmp_path), before)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == parts_before


def test_numbers_are_written_as_in_every_folder(folder: Path) -> None:
    with (folder / "epochs.csv").open() as file:
        rows = [line.strip().split(",") for line in file][1:]
    assert max(len(row[4].replace(".", "").strip("0")) for row in rows) <= 7


def test_opening_test_for_another_winner_is_recorded(tmp_path: Path) -> None:
    for suggestions in (1, 6):
        search(study({"suggestions": suggestions, "batch": 3}), tmp_path)
    winners = pd.read_csv(tmp_path / "winners.csv")
    assert winners["suggestions"].tolist() == [1, 6]
    assert winners["number"].is_unique


def test_a_storage_that_another_folder_filled_is_refused(tmp_path: Path) -> None:
    given = study({"storage": f"sqlite:///{tmp_path}/shared.db"})
    search(given, tmp_path / "one")
    with pytest.raises(UsageError, match="trained into another folder"):
        search(given, tmp_path / "other")


def test_a_search_is_not_run_and_its_confirmation_not_searched(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="harness search"):
        runs.run(study(), tmp_path / "s")
    with pytest.raises(UsageError, match="confirmation of a search"):
        search(load(folder / "confirmed" / "study.toml"), tmp_path / "s")
    assert not (tmp_path / "s").exists()

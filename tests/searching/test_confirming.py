"""A search owes its winner finalists with seeds of their own, a pick by val, and test for it alone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from search_processes import start

import harness
from harness import results
from harness.cli import winner_output
from harness.errors import MachineError, UsageError
from harness.results import finalists
from harness.searching.loop import search
from harness.searching.search_result import SearchResult
from harness.study.reading import load, parse
from harness.study.searches import Search
from harness.study.study import Study
from harness.training import runs

TABLES: dict[str, Any] = {
    "study": {"name": "s", "design": "search", "seeds": 2},
    "baseline": {"dataset": "digits", "hidden": [8], "epochs": 2, "batch_size": 64},
    "search": {"suggestions": 6, "batch": 3, "finalist_seeds": 3},
    "space": {"lr": {"low": 1e-3, "high": 1.0, "log": True}, "activation": ["relu", "tanh"]},
}
FINALIST_SEEDS = [3000, 3001, 3002]


def study(**changed: Any) -> Study:
    return parse(TABLES | {"search": TABLES["search"] | changed})


def searched(given: Study, folder: Path) -> SearchResult:
    return search(given, folder, workers=1)


def finalist_trials(folder: Path) -> pd.DataFrame:
    return results.read(folder / "finalists").trials


def winners(folder: Path) -> list[int]:
    return pd.read_csv(folder / "winners.csv")["number"].tolist()


def confirmed_lr(folder: Path) -> float:
    trials = results.read(folder / "confirmed").trials
    (lr,) = trials.loc[trials["arm"].eq("winner"), "lr"].unique()
    return float(lr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of six suggestions with three finalists."""
    place = tmp_path_factory.mktemp("confirmed") / "s"
    searched(study(), place)
    return place


def best_of_the_search(folder: Path, count: int) -> list[str]:
    table = pd.read_csv(folder / "suggestions.csv")
    return table.sort_values("val_accuracy", ascending=False, kind="stable")["arm"].head(count).tolist()


def test_the_best_suggestions_train_anew_with_seeds_that_chose_nothing(folder: Path) -> None:
    trials = finalist_trials(folder)
    seeds = trials.groupby("arm", sort=False)["seed"].apply(list).to_dict()
    assert seeds == dict.fromkeys(best_of_the_search(folder, 3), FINALIST_SEEDS)
    blocks = [set(results.read(place).trials["seed"]) for place in (folder, folder / "confirmed")]
    assert not set(FINALIST_SEEDS) & set.union(*blocks)
    assert not blocks[0] & blocks[1]


def test_the_test_set_stays_closed_for_finalists(folder: Path) -> None:
    trials = finalist_trials(folder)
    test = [column for column in trials if str(column).startswith("test_")]
    assert trials[test].isna().all(axis=None)
    assert trials["val_accuracy"].notna().all()
    assert not (folder / "finalists" / "predictions").exists()
    assert not (folder / "finalists" / "weights").exists()


def test_the_best_mean_of_the_finalists_alone_is_confirmed(folder: Path) -> None:
    means = finalist_trials(folder).groupby("arm")["val_accuracy"].mean()
    again = searched(study(), folder)
    assert (again.asked, again.confirmed and again.confirmed.trained) == (0, 0)
    assert again.finalists is not None
    assert again.finalists.trained == 0
    assert again.winner is not None
    assert means[f"suggestion {again.winner}"] == means.max()
    assert winners(folder) == [again.winner]
    drawn = again.suggestions.set_index("number")["lr"]
    assert confirmed_lr(folder) == pytest.approx(drawn[again.winner], rel=1e-6)


def test_the_folder_of_the_finalists_is_not_searched(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="is a study of the finalists of a search"):
        searched(load(folder / "finalists" / "study.toml"), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_finalist_with_less_luck_in_the_search_is_picked_where_its_mean_is_better(tmp_path: Path) -> None:
    rows = [
        {"dataset": "d", "arm": f"suggestion {n}", "seed": s, "status": "ok", "val_accuracy": v + s / 1000}
        for n, v in ((7, 0.90), (2, 0.91), (4, 0.91))
        for s in range(3)
    ]
    place = folder_of(tmp_path, rows)
    table = pd.DataFrame({"number": [2, 4, 7], "val_accuracy": [0.93, 0.94, 0.95]})
    found = finalists.read(place, table.assign(arm=[f"suggestion {n}" for n in table["number"]]), Search())
    assert found is not None
    assert (found.picked, found.undecided) == (4, "")  # of two that tie, the better one of the search
    assert found.table["number"].tolist() == [4, 2, 7]
    assert found.table["searched"].tolist() == [0.94, 0.93, 0.95]


def folder_of(place: Path, rows: list[dict[str, Any]]) -> Path:
    """A search's folder that has trials in finalists/."""
    (place / "finalists").mkdir()
    extra = {"head": "identity", "loss": "ce", "reason": "", "diverged_step": "", "test_accuracy": ""}
    trials = pd.DataFrame([{"trial_id": f"t{k}", **row, **extra} for k, row in enumerate(rows)])
    trials.to_csv(place / "finalists" / "trials.csv", index=False)
    (place / "finalists" / "study.toml").write_text("[study]\nname = 's'\nphase = 'finalists'\nseeds = [0]\n")
    return place


@pytest.mark.parametrize(
    ("statuses", "why"),
    [
        (["ok", "failed", "ok", "ok"], "no result of 1 of the finalists' 4 trials"),
        (["ok", "", "", "ok"], "no result of 2 of the finalists' 4 trials"),
        (["diverged"] * 4, "every finalist diverged with every finalist seed"),
        (["ok", "diverged", "diverged", "diverged"], ""),
    ],
)
def test_no_winner_is_picked_among_those_that_happened_not_to_fail(
    tmp_path: Path, statuses: list[str], why: str
) -> None:
    rows = [
        {
            "dataset": "d", "arm": f"suggestion {k // 2}", "seed": k % 2, "status": status,
            "val_accuracy": 0.9 if status == "ok" else "",
        }
        for k, status in enumerate(statuses)
    ]  # fmt: skip
    table = pd.DataFrame(
        {"number": [0, 1], "arm": ["suggestion 0", "suggestion 1"], "val_accuracy": [0.9, 0.8]}
    )
    found = finalists.read(folder_of(tmp_path, rows), table, Search())
    assert found is not None
    assert found.undecided == why
    assert found.picked == (None if why else 0)


def test_with_one_finalist_the_best_of_the_search_is_confirmed_as_it_is(tmp_path: Path, folder: Path) -> None:
    found = searched(study(finalists=1), tmp_path / "s")
    assert not (tmp_path / "s" / "finalists").exists()
    assert found.finalists is None
    assert f"suggestion {found.winner}" == best_of_the_search(tmp_path / "s", 1)[0]
    # The folder of such a search, of which older ones are, goes on with finalists.
    before = (tmp_path / "s" / "suggestions.csv").read_bytes()
    again = searched(study(), tmp_path / "s")
    assert again.finalists is not None
    assert (again.asked, again.finalists.trained) == (0, 9)
    assert (tmp_path / "s" / "suggestions.csv").read_bytes() == before
    same = finalist_trials(folder)["val_accuracy"].tolist()
    assert finalist_trials(tmp_path / "s")["val_accuracy"].tolist() == same
    assert winners(tmp_path / "s")[-1] == again.winner


def test_the_page_has_the_winner_that_was_confirmed_where_finalists_are_given_up(tmp_path: Path) -> None:
    searched(study(), tmp_path / "s")
    found = searched(study(finalists=1), tmp_path / "s")
    assert f"suggestion {found.winner}" == best_of_the_search(tmp_path / "s", 1)[0]
    page = harness.report(tmp_path / "s").read_text(encoding="utf-8")
    assert "Run the search again" not in page
    assert "picked of" not in page


def test_a_search_that_is_extended_trains_only_finalists_that_are_new(tmp_path: Path) -> None:
    first = searched(study(suggestions=3), tmp_path)
    assert first.finalists is not None
    assert first.finalists.trained == 9
    before = set(finalist_trials(tmp_path)["arm"])
    then = searched(study(), tmp_path)
    after = set(finalist_trials(tmp_path)["arm"])
    assert then.finalists is not None
    assert then.finalists.trained == 3 * len(after - before)
    assert after == set(best_of_the_search(tmp_path, 3))
    assert winners(tmp_path) == list(dict.fromkeys([first.winner, then.winner]))


@pytest.mark.parametrize("phase", ["finalists", "confirmed"])
def test_a_search_that_stops_in_a_later_phase_goes_on_in_it(
    tmp_path: Path, folder: Path, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = runs.train_phases

    def stop(drawn: Any, place: Path, options: Any) -> Any:
        if drawn.study.about.phase == phase:
            raise MachineError("no space left")
        return really(drawn, place, options)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train_phases", stop)
        with pytest.raises(MachineError, match="no space left"):
            searched(study(), tmp_path / "s")
    assert not (tmp_path / "s" / "confirmed").exists()
    assert (tmp_path / "s" / "winners.csv").exists() == (phase == "confirmed")
    again = searched(study(), tmp_path / "s")
    assert again.asked == 0
    assert winners(tmp_path / "s") == winners(folder)
    assert confirmed_lr(tmp_path / "s") == confirmed_lr(folder)


PLUGIN = """
from pathlib import Path
from harness.axes.activations import activations
import torch

@activations.register("fragile")
def fragile(x):
    "Raises where it is told to; a branch on values keeps it from being compiled."
    if bool(x.isnan().all()):
        return x
    if Path("armed").exists() and max(x.shape) > 6:  # not while the plan tries it
        raise ValueError("no luck")
    return torch.tanh(x)
"""


@pytest.mark.usefixtures("registries")
def test_test_stays_closed_while_a_finalist_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fragile.py").write_text(PLUGIN)
    given = parse(
        {
            **TABLES,
            "study": TABLES["study"] | {"plugins": ["fragile.py"]},
            "baseline": TABLES["baseline"] | {"activation": "fragile", "epochs": 1},
            "search": {"suggestions": 2, "batch": 2, "sampler": "random", "finalist_seeds": 2},
            "space": {"lr": TABLES["space"]["lr"]},
        },
        path=tmp_path / "s.toml",
    )
    really = runs.train_phases

    def train(drawn: Any, place: Path, options: Any) -> Any:
        Path("armed").touch()
        return really(drawn, place, options)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train_phases", train)
        found = searched(given, tmp_path / "s")
    assert (found.winner, found.confirmed) == (None, None)
    assert found.undecided == "no result of 4 of the finalists' 4 trials"
    assert found.failed
    assert "no winner yet: no result of 4" in repr(found)
    assert not (tmp_path / "s" / "confirmed").exists()
    Path("armed").unlink()
    again = searched(given, tmp_path / "s")
    assert again.confirmed is not None
    assert again.confirmed.statuses == {"ok": 4}
    assert not again.undecided


def test_finalists_that_all_diverged_are_not_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    for why, advice in ((finalists.ALL_DIVERGED, "Narrow [space]"), ("no result of 1", "the same command")):
        result = SearchResult(Path("nowhere"), [], None, 1.0, 0.1, "sqlite", 0, undecided=why)
        winner_output.show_finalists(result, study())
        told = capsys.readouterr().err
        assert why in told
        assert advice in told
        assert told.count("same command") == (why != finalists.ALL_DIVERGED)


# ---------------------------------------------------------------------------------------------- the target


def test_a_search_asks_for_no_more_once_a_complete_suggestion_reaches_the_target(tmp_path: Path) -> None:
    def aimed(level: float) -> SearchResult:
        given = study(until={"val_accuracy": level}, finalists=1, suggestions=12, sampler="random")
        return searched(given, tmp_path)

    found, low = aimed(0.01), pd.read_csv(tmp_path / "suggestions.csv")["val_accuracy"]
    # The first batch reaches it; the one that was asked for while that trained is told whole.
    assert len(found.trials) == found.asked < 12
    assert found.asked % 3 == 0
    assert found.reached == int(np.argmax(low >= 0.01))
    again = aimed(0.01)
    assert (again.asked, again.reached) == (0, found.reached)
    more = aimed(1.0)
    assert (len(more.trials), more.reached) == (12, None)
    high = pd.read_csv(tmp_path / "suggestions.csv")["val_accuracy"]
    assert high[: len(low)].tolist() == low.tolist()


def test_levels_are_reached_in_their_direction_and_all_together() -> None:
    loss = Search(objective=["val_loss"], until={"val_loss": 0.3})
    assert [loss.is_reached({"val_loss": value}) for value in (0.29, 0.3, 0.31, float("nan"))] == [
        True, True, False, False,
    ]  # fmt: skip
    two = Search(objective=["val_accuracy", "parameters"], until={"val_accuracy": 0.9, "parameters": 1000})
    assert two.is_reached({"val_accuracy": 0.9, "parameters": 1000})
    assert not two.is_reached({"val_accuracy": 0.95, "parameters": 1001})
    assert not Search().is_reached({"val_accuracy": 1.0})
    assert two.goal == "val accuracy of at least 90\u00a0% and parameters of at most 1,000"


def test_a_diverged_suggestion_that_counts_as_a_declared_value_reaches_nothing(tmp_path: Path) -> None:
    given = parse(
        TABLES | {
            "search": {"suggestions": 4, "batch": 2, "diverged": 0.05, "until": {"val_accuracy": 0.04}},
            "space": {"lr": {"low": 1e25, "high": 1e29}},
        }
    )  # fmt: skip
    found = searched(given, tmp_path)
    assert (len(found.trials), found.reached, found.winner) == (4, None, None)


# ----------------------------------------------------------------------------------------------------- kills

FILE = """
[study]
name = "s"
design = "search"
seeds = 2
[baseline]
dataset = "digits"
hidden = [16]
epochs = 12
batch_size = 4
[search]
suggestions = 3
batch = 3
[space]
lr = { low = 1e-2, high = 1.0, log = true }
activation = ["relu", "tanh"]
"""


@pytest.mark.slow
def test_a_search_that_is_killed_among_its_finalists_comes_to_the_same(tmp_path: Path) -> None:
    """A kill once finalists/ is planned, one once confirmed/ is; then to its end."""
    killed, unkilled = tmp_path / "killed", tmp_path / "unkilled"
    for place in (killed, unkilled):
        place.mkdir()
        (place / "s.toml").write_text(FILE)
    for phase in ("finalists", "confirmed"):
        process = start(killed)
        while not (killed / "results" / "s" / phase / "plan.json").is_file():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    for place in (killed, unkilled):
        process = start(place)
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr
        assert "picked: suggestion" in stdout
    one, other = killed / "results" / "s", unkilled / "results" / "s"
    for phase in ("finalists", "confirmed"):
        columns = ["arm", "seed", "val_accuracy", "status"]
        pd.testing.assert_frame_equal(
            results.read(one / phase).trials[columns], results.read(other / phase).trials[columns]
        )
    assert winners(one) == winners(other)

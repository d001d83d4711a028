"""Studies that are looked at: they stop once all contrasts are decided, and go on as if not stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import results
from harness.errors import UsageError
from harness.results import documents
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import folder_runs, looks, runs

CLEAR, CLOSE = [0.3, 1e-4], [0.3, 0.3001]
LOOKS = [3, 5, 9]


def study_of(
    rates: Sequence[float], looked_at: Sequence[int] = LOOKS, seeds: int = 9, **compared: Any
) -> Study:
    """Two learning rates on digits, looked at."""
    family = {"margin": 0.0005, "spending": "pocock", "looks": list(looked_at), **compared}
    return parse(
        {
            "study": {"name": "looked", "seeds": seeds},
            "baseline": {"dataset": "digits", "epochs": 4, "hidden": [16]},
            "axes": {"lr": list(rates)},
            "contrasts": family,
        }
    )


def trained(study: Study, folder: Path, **options: Any) -> folder_runs.RunSummary:
    return runs.train(study, folder, device="cpu", workers=1, **options)


def test_a_study_stops_once_every_contrast_is_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = trained(study_of(CLEAR), tmp_path / "x")
    assert (summary.trained, dict(summary.statuses)) == (6, {"ok": 6, "skipped": 12})
    trials = results.read_trials(tmp_path / "x")
    assert set(trials.loc[trials["status"].eq("ok"), "seed"]) == {0, 1, 2}
    assert set(trials.loc[trials["status"].eq("skipped"), "reason"]) == {
        "not needed: every contrast was decided at 3 seeds"
    }
    assert "look at 3 seeds: 1 of 1 contrast decided; no more seeds are needed" in capsys.readouterr().err
    assert documents.study(tmp_path / "x")["contrasts"]["looks"] == LOOKS


def test_a_study_of_equals_takes_all_its_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = trained(study_of(CLOSE), tmp_path / "x")
    assert (summary.trained, dict(summary.statuses)) == (18, {"ok": 18})
    said = capsys.readouterr().err
    assert "look at 3 seeds: 0 of 1 contrast decided; on to 5 seeds" in said
    assert "look at 5 seeds: 0 of 1 contrast decided; on to 9 seeds" in said


def test_looks_change_no_trial(tmp_path: Path) -> None:
    """The trials of a study that is looked at are those of the same study without looks."""
    trained(study_of(CLOSE), tmp_path / "looked")
    trained(study_of(CLOSE, []), tmp_path / "whole")
    shown = ["trial_id", "arm", "seed", "status", "test_accuracy", "test_loss"]
    looked, whole = (results.read_trials(tmp_path / name)[shown] for name in ("looked", "whole"))
    assert looked.equals(whole)


def test_a_stopped_study_can_go_on_without_looks_and_trains_nothing_twice(tmp_path: Path) -> None:
    trained(study_of(CLEAR), tmp_path / "x")
    assert trained(study_of(CLEAR), tmp_path / "x").trained == 0
    summary = trained(study_of(CLEAR, []), tmp_path / "x")
    assert (summary.trained, dict(summary.statuses)) == (12, {"ok": 18})


def test_what_a_run_without_looks_has_trained_is_looked_at(tmp_path: Path) -> None:
    trained(study_of(CLEAR, [], seeds=4), tmp_path / "x")
    summary = trained(study_of(CLEAR), tmp_path / "x")
    assert summary.trained == 0
    assert dict(summary.statuses) == {"ok": 8, "skipped": 10}  # the fourth seed stays; no look has it
    assert documents.study(tmp_path / "x")["contrasts"]["changed_after"] == 8


def test_a_kill_between_looks_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "whole"
    trained(study_of(CLOSE), whole)
    look, seen = looks.look, []

    def stopped(*arguments: Any) -> tuple[int, int]:
        seen.append(arguments[-1])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return look(*arguments)

    monkeypatch.setattr(looks, "look", stopped)
    with pytest.raises(KeyboardInterrupt):
        trained(study_of(CLOSE), tmp_path / "x")
    trials = results.read_trials(tmp_path / "x")
    assert set(trials.loc[trials["status"].eq("ok"), "seed"]) == set(range(5))
    assert set(trials.loc[~trials["status"].eq("ok"), "reason"]) == {"not trained yet"}
    assert trained(study_of(CLOSE), tmp_path / "x").trained == 8
    shown = ["trial_id", "status", "test_accuracy"]
    assert results.read_trials(tmp_path / "x")[shown].equals(results.read_trials(whole)[shown])


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("[study\n")])
def test_a_study_file_that_is_damaged_is_written_anew_before_a_look(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    trained(study_of(CLEAR), folder)
    before = [(folder / name).read_bytes() for name in ("study.toml", "trials.csv")]
    damage(folder / "study.toml")
    assert trained(study_of(CLEAR), folder).trained == 0
    assert [(folder / name).read_bytes() for name in ("study.toml", "trials.csv")] == before


def test_a_failed_trial_is_no_reason_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "look", lambda *_: pytest.fail("looked at trials of which some failed"))
    summary = folder_runs.RunSummary(tmp_path, {"failed": 1}, 0, 0.0, ["why"])
    monkeypatch.setattr(runs, "train_plan", lambda *_: summary)
    found = trained(study_of(CLEAR), tmp_path / "x")
    assert (found.statuses, found.failures) == ({"failed": 1}, ["why"])


def test_retraining_goes_through_the_looks_again(tmp_path: Path) -> None:
    trained(study_of(CLEAR), tmp_path / "x")
    summary = trained(study_of(CLEAR), tmp_path / "x", retrain=True)
    assert (summary.trained, dict(summary.statuses)) == (6, {"ok": 6, "skipped": 12})


def test_one_arm_has_no_contrast_that_could_be_decided(tmp_path: Path) -> None:
    study = study_of([0.3])
    summary = trained(study, tmp_path / "x")
    assert dict(summary.statuses) == {"ok": 9}
    assert any("no contrast that a look could tell" in words for words in harness.plan(study).warnings)


def test_shards_have_no_looks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--shard 1/2: looked is looked at after 3, 5, 9 seeds.*looks=\[\]"):
        trained(study_of(CLEAR), tmp_path / "x", shard="1/2")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("looked_at", "seeds", "message"),
    [
        ([9], 9, "one look is a study without looks"),
        (
            [3, 5],
            9,
            r"the last look is at 5 seeds, the study has 9; give it seeds = 5, or end the looks at 9",
        ),
        ([5, 3, 9], 9, "numbers of seeds that grow"),
        ([2, 9], 9, "3 seeds or more at the first look"),
    ],
)
def test_looks_that_cannot_be_are_told_before_training(
    looked_at: list[int], seeds: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        study_of(CLEAR, looked_at, seeds)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"tune": {"seeds": 2, "space": {"lr": [0.1, 0.2]}}}, "tuned arms are compared with all seeds"),
        ({"study": {"name": "x", "seeds": 9, "resample_split": True}}, "seeds that share one split"),
        ({"contrasts": {"looks": [3, 9], "spending": "even"}}, "contrasts.spending"),
        ({"contrasts": {"spending": "pocock"}}, "'pocock': alpha is spent over looks, and none are given"),
    ],
)
def test_studies_that_cannot_be_looked_at_say_so(tables: dict[str, Any], message: str) -> None:
    base = {
        "study": {"name": "x", "seeds": 9},
        "baseline": {"dataset": "digits"},
        "axes": {"activation": ["relu", "tanh"]},
        "contrasts": {"looks": [3, 9]},
    }
    with pytest.raises(UsageError, match=message):
        parse({**base, **tables})


def test_a_study_without_looks_has_no_word_of_them_in_its_folder(tmp_path: Path) -> None:
    trained(study_of(CLEAR, [], seeds=1), tmp_path / "x")
    assert not {"looks", "spending"} & set(documents.study(tmp_path / "x")["contrasts"])


def test_looks_are_set_on_the_command_line() -> None:
    study = harness.load("choices", ["seeds=9", "contrasts.looks=3,5,9", "contrasts.spending=pocock"])
    assert (study.contrasts.looks, study.contrasts.spending) == ([3, 5, 9], "pocock")
    again = harness.parse(study.tables(), ["contrasts.looks=[]"])
    assert again.contrasts.looks == []
    parse(again.tables())

"""A person's own Optuna study, or optimizer, whose suggestions are trained as stacks."""

from __future__ import annotations

import html
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import harness
from harness import notes, results
from harness.cli import search_output
from harness.errors import UsageError
from harness.registry import PACKAGE_ROOT
from harness.searching import loop, own_studies, suggestions
from harness.searching.rounds import StageResult, StageTask
from harness.study.reading import parse
from harness.study.study import Study
from harness.training.executors import DIED

pytestmark = pytest.mark.usefixtures("quiet_optuna")

TABLES: dict[str, Any] = {
    "study": {"name": "mine", "design": "search", "seeds": 2},
    "baseline": {"dataset": "digits", "hidden": [8], "epochs": 3, "batch_size": 64},
    "search": {"suggestions": 6, "batch": 4},
    "space": {
        "lr": {"low": 1e-3, "high": 1.0, "log": True},
        "activation": ["relu", "tanh"],
        "optimizer": ["sgd", "momentum"],
        "momentum": {"low": 0.5, "high": 0.9},
    },
}


def space(search: dict[str, Any] | None = None, **entries: Any) -> Study:
    given = entries or TABLES["space"]
    return parse(TABLES | {"space": given, "search": TABLES["search"] | (search or {})})


def new_study(seed: int = 0, pruner: optuna.pruners.BasePruner | None = None, **how: Any) -> optuna.Study:
    sampler = how.pop("sampler", optuna.samplers.RandomSampler(seed=seed))
    pruner = pruner or optuna.pruners.NopPruner()
    return optuna.create_study(**{"direction": "maximize", "sampler": sampler, "pruner": pruner, **how})


def stacked(study: optuna.Study | None, folder: Path, given: Study | None = None) -> harness.StackedStudy:
    return harness.StackedStudy(study, given or space(), folder / "mine", workers=1)


def test_an_own_study_is_evaluated_by_stacks(tmp_path: Path) -> None:
    study = new_study()
    frame = stacked(study, tmp_path).optimize(6, batch=4)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6
    assert frame["trial"].tolist() == list(range(6))
    assert frame["val_accuracy"].tolist() == [trial.value for trial in study.trials]
    assert frame["lr"].tolist() == [trial.params["lr"] for trial in study.trials]
    for trial in study.trials:
        assert sorted(trial.intermediate_values) == [1, 2, 3]
        assert trial.intermediate_values[3] == trial.value
    rows = results.read(tmp_path / "mine").trials.set_index("arm")
    for _, told in frame.iterrows():
        assert rows.loc[told["arm"], "val_accuracy"] == pytest.approx(told["val_accuracy"], abs=1e-6)
    suggestions = pd.read_csv(tmp_path / "mine" / "suggestions.csv")
    assert suggestions["batch"].tolist() == [0, 0, 0, 0, 1, 1]


def test_settings_that_come_again_are_told_and_not_trained_again(tmp_path: Path) -> None:
    given = space(activation=["relu", "tanh"])
    study = new_study(sampler=optuna.samplers.RandomSampler(seed=1))
    frame = stacked(study, tmp_path, given).optimize(7, batch=3)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 7
    assert frame["number"].nunique() == 2  # the folder has two networks, the study seven trials
    assert frame.groupby("activation")["val_accuracy"].nunique().tolist() == [1, 1]
    assert len(results.read(tmp_path / "mine").trials) == 2
    assert all(sorted(trial.intermediate_values) == [1, 2, 3] for trial in study.trials)


def test_enqueued_trials_come_first(tmp_path: Path) -> None:
    study = new_study()
    study.enqueue_trial({"lr": 0.25, "activation": "tanh", "optimizer": "sgd"})
    study.enqueue_trial({"lr": 0.125})
    frame = stacked(study, tmp_path).optimize(3)
    assert frame["lr"].tolist()[:2] == [0.25, 0.125]
    assert frame.loc[0, "activation"] == "tanh"
    assert study.trials[0].params == {"lr": 0.25, "activation": "tanh", "optimizer": "sgd"}


def test_a_study_learns_from_one_batch_to_the_next(tmp_path: Path) -> None:
    """The sampler sees what was told: its second batch is that of a study in which the first one is known."""
    sampler = optuna.samplers.TPESampler(seed=3, n_startup_trials=2)
    study = new_study(sampler=sampler)
    stacked(study, tmp_path).optimize(8, batch=4)
    again = new_study(sampler=optuna.samplers.TPESampler(seed=3, n_startup_trials=2))
    for _ in range(2):
        batch = [again.ask() for _ in range(4)]
        for trial in batch:
            space().space.walk(lambda p, trial=trial: harness_draw(trial, p))  # type: ignore[misc]
        for trial in batch:
            for evaluation, value in study.trials[trial.number].intermediate_values.items():
                trial.report(value, evaluation)
            again.tell(trial, study.trials[trial.number].value)
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]


def harness_draw(trial: optuna.Trial, parameter: Any) -> Any:
    from harness.searching.ask_tell import suggest

    return suggest(trial, parameter)


class AtTwo(optuna.pruners.BasePruner):
    """Prunes trials of an odd number at the second evaluation."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:  # noqa: ARG002
        return trial.number % 2 == 1 and trial.last_step == 2


def test_the_study_s_own_pruner_prunes(tmp_path: Path) -> None:
    study = new_study(pruner=AtTwo())
    frame = stacked(study, tmp_path).optimize(4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"] * 2
    assert [sorted(trial.intermediate_values) for trial in study.trials] == [[1, 2, 3], [1, 2]] * 2
    assert frame["state"].tolist() == ["complete", "pruned"] * 2
    assert frame["evaluation 3"].isna().tolist() == [False, True] * 2
    rows = results.read(tmp_path / "mine").trials
    assert sorted(rows["status"]) == ["ok", "ok", "pruned", "pruned"]


def test_two_objectives(tmp_path: Path) -> None:
    given = space({"objective": ["val_accuracy", "parameters"], "sampler": "random"}, **HIDDEN)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=0)
    )
    frame = stacked(study, tmp_path, given).optimize(3)
    told = frame[["val_accuracy", "parameters"]].to_numpy().tolist()
    assert [trial.values for trial in study.trials] == told  # noqa: PD011 (Optuna's)
    assert frame["parameters"].tolist() == [
        64 * w + w + 10 * w + 10 for w in frame["hidden.width.1"].astype(int)
    ]


HIDDEN: dict[str, Any] = {"hidden": {"depth": [1], "width": {"low": 4, "high": 32}}}


def test_trials_that_break_a_constraint_are_told_and_not_trained(tmp_path: Path) -> None:
    most = 64 * 16 + 16 + 10 * 16 + 10
    given = space({"constraints": {"parameters": most}}, **HIDDEN)
    study = new_study()
    for width in (8, 32, 16):
        study.enqueue_trial({"hidden.width.1": width})
    frame = stacked(study, tmp_path, given).optimize(3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert study.trials[1].constraints["parameters"] > 0
    assert frame["number"].tolist()[::2] == [0, 1]
    assert frame["number"].isna().tolist() == [False, True, False]
    assert f"parameters 2410 > {most}" in frame["reason"][1]
    assert len(results.read(tmp_path / "mine").trials) == 2
    table = pd.read_csv(tmp_path / "mine" / "suggestions.csv")
    assert table["refused"].tolist() == [0, 1]
    assert table["parameters"].tolist() == [64 * n + n + 10 * n + 10 for n in (8, 16)]
    page = harness.report(tmp_path / "mine").read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "`harness search STUDY --results` with this folder trains winner and baseline again" in page
    assert "When the search is over" not in page
    assert "1 point that the Optuna study drew broke a constraint" in page
    assert "not trained yet" not in page.split("<h2")[0]
    searched = harness.search(given, tmp_path / "mine", workers=1)
    assert len(searched.trials) == 6


def test_points_that_break_a_constraint_behind_the_last_suggestion_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    given = space({"constraints": {"parameters": 1500}}, **HIDDEN)
    study = new_study()
    for width in (32, 8, 31, 16, 30):
        study.enqueue_trial({"hidden.width.1": width})
    with heard(caplog):
        stacked(study, tmp_path, given).optimize(5, batch=2)
    assert "3 of 5 trials broke [search.constraints]" in caplog.text
    assert pd.read_csv(tmp_path / "mine" / "suggestions.csv")["refused"].tolist() == [1, 1]
    page = page_of(tmp_path / "mine")
    assert "3 points that the Optuna study drew broke a constraint" in page
    assert "3 more points that the sampler drew did not" in page
    caplog.clear()
    for width in (9, 29, 10):
        study.enqueue_trial({"hidden.width.1": width})
    with heard(caplog):
        stacked(study, tmp_path, given).optimize(3)
    assert "broke" not in caplog.text  # one of three
    assert "4 points that the Optuna study drew broke a constraint" in page_of(tmp_path / "mine")
    searched = harness.search(given, tmp_path / "mine", workers=1)
    search_output.show_results(searched, given)
    refused = suggestions.refused(searched.trials, searched.folder)
    assert refused >= 4
    assert f"{refused} more points broke a constraint and were not trained" in capsys.readouterr().out


@pytest.mark.parametrize("killed", [False, True])
def test_a_page_says_that_nothing_was_trained_since_all_trials_broke_a_constraint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, killed: bool
) -> None:
    given = space({"constraints": {"parameters": 3000}}, hidden={"depth": [1], "width": [8, 100, 200]})
    study = new_study()
    for width in (100, 200, 100, 200, 100, 200):
        study.enqueue_trial({"hidden.width.1": str(width)})
    folder = tmp_path / "mine"
    with heard(caplog):
        frame = stacked(study, tmp_path, given).optimize(6, batch=3)
    assert frame["number"].isna().all()
    note = "6 of 6 trials broke [search.constraints] (parameters at most 3,000) and were not trained"
    assert caplog.messages == [f"{note}; loosen the bound or narrow [space]"]
    told = (
        "No suggestion was trained: 6 points that the Optuna study drew broke [search.constraints] (at most "
        "3,000 parameters). Loosen the bound, or narrow [space] so that more of it keeps to it, and search "
        "into another folder."
    )
    if killed:
        provenance = folder / "provenance.json"
        content = json.loads(provenance.read_text())
        for name in ("refused_after_last", "finished", "trials_trained"):
            del content["runs"][0][name]
        provenance.write_text(json.dumps(content))
        told = (
            "No suggestion was trained. A point is trained only if it has at most 3,000 parameters; how many "
            "that were drawn have not is not known."
        )
    page = page_of(folder)
    assert page.count(told) == 3  # on the first screen, in full, and with what was searched
    assert "No suggestion so far, of 2 parameters, by an Optuna study outside" in page
    for wrong in ("winner is", "number above", " by ;", "On .", "0 more points", "0 points", "0 suggestions",
                  "no data", "every planned trial finished", "is  of", "one search seed"):  # fmt: skip
        assert wrong not in page, wrong


def test_points_that_were_refused_before_an_interrupt_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = space({"constraints": {"parameters": 1500}}, **HIDDEN)
    study = new_study()
    for width in (32, 8, 31):
        study.enqueue_trial({"hidden.width.1": width})

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(own_studies.OwnAskTell, "tell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stacked(study, tmp_path, given).optimize(3)
    page = page_of(tmp_path / "mine")
    assert "2 more points that the sampler drew did not" in page
    assert "No suggestion was trained:" not in page  # one was in training
    assert "No suggestion has been trained to its end" in page


def page_of(folder: Path) -> str:
    """Return the words of a folder's page."""
    page = harness.report(folder).read_text(encoding="utf-8").replace("\u00a0", " ")
    plain = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", " ", html.unescape(re.sub(r"<[^>]+>", "", plain)))


@contextmanager
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let caplog have the harness's notes."""
    notes.logger.addHandler(caplog.handler)
    try:
        yield
    finally:
        notes.logger.removeHandler(caplog.handler)


def test_settings_whose_worker_died_are_trained_again_by_a_later_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(self: StageTask, *_: Any) -> StageResult:
        return self.failed(DIED)

    points = [{"lr": 0.1, "activation": "relu", "optimizer": "sgd"}]
    with monkeypatch.context() as patch:
        patch.setattr(StageTask, "run", dies)
        frame = stacked(None, tmp_path).evaluate(points)
    assert frame["state"].tolist() == ["failed"]
    again = stacked(None, tmp_path).evaluate(points)
    assert (again["state"].tolist(), again["number"].tolist()) == (["complete"], [1])


def test_the_example_runs(tmp_path: Path) -> None:
    example = PACKAGE_ROOT.parent / "docs" / "examples" / "own_optimizer.py"
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.count("best:") == 2
    assert len(results.read(tmp_path / "results" / "own_optimizer").trials) > 20


def test_a_trial_that_diverges_fails(tmp_path: Path) -> None:
    given = space(lr=[0.1, 1e30])
    study = new_study()
    study.enqueue_trial({"lr": "1e+30"})
    study.enqueue_trial({"lr": "0.1"})
    frame = stacked(study, tmp_path, given).optimize(2)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    assert "diverged" in study.trials[0].user_attrs[own_studies.WHY]
    assert frame["state"].tolist() == ["failed", "complete"]


# -------------------------------------------------------------------------------------- interrupted, killed


def test_an_interrupted_call_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = new_study(storage=f"sqlite:///{tmp_path / 'own.db'}")

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(own_studies.OwnAskTell, "tell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stacked(study, tmp_path).optimize(4)
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 4
    assert study.trials[0].user_attrs[own_studies.WHY] == own_studies.INTERRUPTED
    frame = stacked(study, tmp_path).optimize(2)
    assert frame["trial"].tolist() == [4, 5]
    assert [trial.state.name for trial in study.trials][4:] == ["COMPLETE"] * 2


def test_a_sampler_that_raises_leaves_nothing_running(tmp_path: Path) -> None:
    study = new_study(sampler=optuna.samplers.GridSampler({"lr": [0.1, 0.2]}))
    with pytest.raises(ValueError, match="not found in the given grid"):
        stacked(study, tmp_path).optimize(2)
    assert {trial.state.name for trial in study.trials} == {"FAIL"}


KILLED = """
import os, signal, sys
import optuna
import harness
from harness.searching import own_studies
from test_stacked_study import new_study, space, stacked
from pathlib import Path

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

place, moment = Path(sys.argv[1]), sys.argv[2]
if moment == "training":
    own_studies.OwnAskTell.report = killed
elif moment == "telling":
    before, count = optuna.Study.tell, iter(range(10))
    optuna.Study.tell = lambda *a, **k: killed() if next(count) == 2 else before(*a, **k)
elif moment == "storing":
    from harness.searching.storages import Storage
    before = Storage.add
    Storage.add = lambda self, trials: (before(self, trials[:2]), killed())
elif moment == "asking":
    walk, count = own_studies.suggest, iter(range(100))
    own_studies.suggest = lambda *a: killed() if next(count) == 8 else walk(*a)
study = new_study(storage=f"sqlite:///{place}/own.db", study_name="own", load_if_exists=True)
stacked(study, place).optimize(4)
"""


def kill(place: Path, moment: str) -> None:
    """Optimize four trials in a process that is killed at a moment."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(place), moment],
        check=False, capture_output=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize("moment", ["asking", "training", "telling", "storing"])
def test_what_a_killed_process_left_running_is_trained_and_told(tmp_path: Path, moment: str) -> None:
    kill(tmp_path, moment)
    study = new_study(seed=9, storage=f"sqlite:///{tmp_path}/own.db", study_name="own", load_if_exists=True)
    left = study.trials
    assert len(left) == 4 if moment != "asking" else len(left) in {2, 3}
    stacked(study, tmp_path).optimize(1)
    after = study.trials
    assert [trial.params for trial in after[: len(left) - 1]] == [trial.params for trial in left[:-1]]
    states = [trial.state.name for trial in after]
    whole = len(left) - (moment == "asking")
    assert states == ["COMPLETE"] * whole + ["FAIL"] * (len(left) - whole) + ["COMPLETE"]
    suggestions = pd.read_csv(tmp_path / "mine" / "suggestions.csv")
    assert suggestions["val_accuracy"].tolist() == pytest.approx(
        [t.value for t in after if t.value], abs=1e-6
    )
    trials = results.read(tmp_path / "mine").trials
    assert len(trials) == len(suggestions) == whole + 1
    assert not trials.duplicated("trial_id").any()


def test_an_interrupted_call_leaves_nothing_running_of_a_killed_one_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(tmp_path, "training")
    study = new_study(storage=f"sqlite:///{tmp_path}/own.db", study_name="own", load_if_exists=True)
    assert [trial.state.name for trial in study.trials] == ["RUNNING"] * 4

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(own_studies.OwnAskTell, "tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stacked(study, tmp_path).optimize(1, batch=2)
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 4


def test_trials_whose_folder_is_gone_end_as_the_study_has_them(tmp_path: Path) -> None:
    """The pruner would judge them otherwise now, since it knows all of them."""
    study = new_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=0, n_warmup_steps=0))
    before = stacked(study, tmp_path).optimize(6, batch=2)
    assert set(before["state"]) == {"complete", "pruned"}
    told = study.trials
    shutil.rmtree(tmp_path / "mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna's, of a value that is reported twice
        again = stacked(study, tmp_path).optimize(1, batch=8)
    pd.testing.assert_frame_equal(again[:6][before.columns], before)
    assert study.trials[:6] == told


def test_trials_of_other_processes_are_left_alone(tmp_path: Path) -> None:
    study = new_study()
    theirs = study.ask()
    frame = stacked(study, tmp_path).optimize(2)
    assert study.trials[theirs.number].state == TrialState.RUNNING
    assert frame["trial"].tolist() == [1, 2]


# -------------------------------------------------------------------------------------------- what is refused


def refused(study: Any, given: Any = None, folder: Path = Path("never")) -> str:
    with pytest.raises(UsageError) as caught:
        harness.StackedStudy(study, given or space(), folder)
    assert not folder.exists()
    return str(caught.value)


def test_a_study_of_the_other_direction_is_refused() -> None:
    told = refused(optuna.create_study())
    assert "minimize" in told
    assert "maximize val_accuracy" in told
    assert "directions=['maximize']" in told
    assert "maximize" in refused(optuna.create_study(directions=["maximize", "minimize"]))


def test_enqueued_parameters_that_are_no_settings_are_refused() -> None:
    study = new_study()
    study.enqueue_trial({"learning_rate": 0.1})
    study.enqueue_trial({"lr": 3.0, "activation": "gelu"})
    told = refused(study)
    for words in (
        "'learning_rate' is no parameter",
        "lr = 3.0",
        "from 0.001 to 1",
        "'gelu'",
        "'relu', 'tanh'",
    ):
        assert words in told
    assert [trial.state for trial in study.trials] == [TrialState.WAITING] * 2


def test_what_was_enqueued_since_is_checked_too(tmp_path: Path) -> None:
    study = new_study()
    mine = stacked(study, tmp_path)
    study.enqueue_trial({"width": 3})
    with pytest.raises(UsageError, match="'width' is no parameter"):
        mine.optimize(2)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("params", "distributions", "words"),
    [
        ({"lr": 0.5}, {"lr": FloatDistribution(0.0, 1.0)}, "drew lr from"),
        ({"lr": 1}, {"lr": IntDistribution(1, 2)}, "drew lr from"),
        (
            {"activation": "gelu"},
            {"activation": CategoricalDistribution(["gelu", "relu"])},
            "drew activation",
        ),
        ({"rate": 0.5}, {"rate": FloatDistribution(0.0, 1.0)}, "has the parameter 'rate'"),
    ],
)
def test_own_distributions_that_do_not_fit_are_refused(params: Any, distributions: Any, words: str) -> None:
    study = new_study()
    study.add_trial(create_trial(params=params, distributions=distributions, value=0.5))
    assert words in refused(study)


def test_another_range_of_the_same_kind_is_welcome(tmp_path: Path) -> None:
    study = new_study()
    distributions: Any = {"lr": FloatDistribution(1e-2, 10.0, log=True)}
    study.add_trial(create_trial(params={"lr": 5.0}, distributions=distributions, value=0.5))
    assert len(stacked(study, tmp_path).optimize(1)) == 1


@pytest.mark.parametrize(
    ("study", "given", "words"),
    [
        ("TPE", None, "optuna.create_study()"),
        (None, TABLES["study"] | {"design": "one-factor"}, "design"),
        (None, 3, "harness.load"),
    ],
)
def test_what_is_no_study_is_refused(study: Any, given: Any, words: str) -> None:
    if isinstance(given, dict):
        given = parse({"study": given, "baseline": TABLES["baseline"], "axes": {"lr": [0.1, 0.2]}})
    assert words in refused(study, given)


@pytest.mark.parametrize(
    "of_the_file",
    [
        {"sampler": "random", "pruner": {"name": "top-k", "keep": 5}},
        {"pruner": "extrapolation", "suggestions": 400},
        {"sampler": "cmaes"},
    ],
)
def test_sampler_and_pruner_of_the_file_do_not_count(of_the_file: dict[str, Any], tmp_path: Path) -> None:
    entries = {name: TABLES["space"][name] for name in ("lr", "activation")}
    harness.StackedStudy(new_study(), space(of_the_file, **entries), tmp_path / "mine")


@pytest.mark.parametrize("count", [0, -1, 2.5, "8", True])
def test_a_number_of_trials_that_is_none_is_refused(tmp_path: Path, count: Any) -> None:
    with pytest.raises(UsageError, match="n_trials"):
        stacked(new_study(), tmp_path).optimize(count)
    with pytest.raises(UsageError, match="batch"):
        stacked(new_study(), tmp_path).optimize(1, batch=-1)


def test_what_is_not_confirmed_is_told_how_to_be(tmp_path: Path) -> None:
    """No search has run in this folder, and test is closed for its suggestions."""
    folder = tmp_path / "mine"
    stacked(None, tmp_path, space(lr=[0.1, 0.2])).evaluate([{"lr": 0.1}])
    with pytest.raises(UsageError) as caught:
        harness.export("best", tmp_path / "out", results=folder)
    said = str(caught.value)
    assert f"Run `harness search STUDY --results {folder}` with the file of the study" in said
    assert "again" not in said
    chosen = re.search(r"""--where '(.*)', in Python where='(.*)'$""", said)
    assert chosen is not None
    assert chosen[1] == chosen[2] == 'arm="suggestion 0"'
    trial = results.read(folder).trial(where=chosen[1])
    assert harness.module_of(trial) is not None
    with pytest.raises(UsageError, match=r"is a search's suggestion.*harness search STUDY --results .*mine`"):
        harness.export(trial, tmp_path / "out")


def test_a_search_of_the_folder_goes_on_and_confirms(tmp_path: Path) -> None:
    frame = stacked(new_study(), tmp_path).optimize(5)
    found = loop.search(space({"finalists": 1}), tmp_path / "mine", workers=1)
    assert len(found.trials) == 6
    assert found.suggestions["lr"].tolist()[:5] == pytest.approx(frame["lr"].tolist(), rel=1e-6)
    assert found.confirmed is not None
    told = harness.load(tmp_path / "mine" / "study.toml")
    assert told.search is not None
    assert told.search.own == ""


def test_a_page_says_who_asked(tmp_path: Path) -> None:
    stacked(new_study(pruner=AtTwo()), tmp_path).optimize(4)
    page = harness.report(tmp_path / "mine").read_text(encoding="utf-8")
    assert "an Optuna study outside (RandomSampler, AtTwo)" in page
    assert "median" not in page.split("</head>")[1].split("<script")[0]
    assert "sampler tpe" not in page
    with pytest.raises(UsageError, match="StackedStudy"):
        loop.search(harness.load(tmp_path / "mine" / "study.toml"), tmp_path / "mine")


# -------------------------------------------------------------------------------- optimizers not of Optuna's


def test_points_are_evaluated_in_their_order(tmp_path: Path) -> None:
    points = [
        {"lr": np.float64(0.1), "activation": "tanh", "optimizer": "momentum", "momentum": 0.8},
        {"lr": 0.5, "activation": "relu", "optimizer": "sgd", "momentum": 0.6},  # momentum does not apply
        {"lr": 0.1, "activation": "tanh", "optimizer": "momentum", "momentum": 0.8},
    ]
    mine = stacked(None, tmp_path)
    frame = mine.evaluate(points)
    assert frame["lr"].tolist() == [0.1, 0.5, 0.1]
    assert frame["number"].tolist() == [0, 1, 0]
    assert frame["momentum"].isna().tolist() == [False, True, False]
    assert frame["evaluation 3"].tolist() == frame["val_accuracy"].tolist()
    assert frame["val_accuracy"].gt(0.3).all()
    rows = results.read(tmp_path / "mine").trials
    assert len(rows) == 2
    trained = rows["group_seconds"].tolist()
    pd.testing.assert_frame_equal(mine.evaluate(points), frame)
    assert results.read(tmp_path / "mine").trials["group_seconds"].tolist() == trained


def test_a_value_of_a_list_is_given_as_it_stands_there(tmp_path: Path) -> None:
    given = space(batch_size=[32, 64], **HIDDEN)
    points = [{"batch_size": 32, "hidden.depth": 1, "hidden.width.1": np.int64(8)}]
    frame = stacked(None, tmp_path, given).evaluate(points)
    assert frame.loc[0, "hidden.width.1"] == 8
    assert frame.loc[0, "batch_size"] == "32"


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([{"lr": 0.1, "activation": "relu", "optimizer": "momentum"}], ["point 0 has no momentum"]),
        ([{"rate": 0.1}], ["'rate' is no parameter"]),
        ([{"lr": math.nan}, {"lr": True}], ["point 0: lr = nan", "point 1: lr = True"]),
        ([3], ["point 0 is 3"]),
        ({"lr": 0.1}, ["allowed: a list of dicts"]),
        ([], ["points is empty"]),
    ],
)
def test_points_that_are_none_are_refused(tmp_path: Path, points: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        stacked(None, tmp_path).evaluate(points)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "mine").exists()


def test_without_a_study_there_is_nothing_to_optimize(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="evaluate"):
        stacked(None, tmp_path).optimize(3)

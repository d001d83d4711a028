"""Continued training: trials of their own, that begin where others end."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from torch import nn

import harness
from harness import reporting
from harness.axes.architectures import architectures
from harness.data.batches import Budget, epoch_order
from harness.data.samples import prepare
from harness.engines import classifier
from harness.errors import MachineError, UsageError
from harness.exporting import models
from harness.registry import PACKAGE_ROOT
from harness.results import Results
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.trials import trials

OPTIMIZERS = ["sgd", "momentum", "adam", "adagrad", "rmsprop"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def study_of(keep_state: str = "all", axes: Mapping[str, Any] | None = None, **baseline: Any) -> Study:
    return parse(
        {
            "study": {"name": "s", "seeds": 1, "keep_state": keep_state, "keep_weights": "all"},
            "baseline": {"dataset": "digits", "hidden": [6], "epochs": 2, **baseline},
            "axes": axes or {},
        }
    )


def weights(results: Results, trial_id: str) -> dict[str, Any]:
    path = results.folder / "weights" / f"{trial_id}.safetensors"
    arrays: dict[str, Any] = safetensors.numpy.load_file(path)
    return arrays


@pytest.fixture
def parent() -> Results:
    """The results of a study of one trial, with its state."""
    return harness.run(study_of(optimizer="adam"), workers=1)


def test_the_batches_go_on_and_the_optimizer_begins_afresh() -> None:
    """Against a loop written out: plain SGD over the orders of the epochs after the parent's."""
    results = harness.run(study_of("none"), engine="loop", workers=1)
    again = harness.continue_training(results, epochs=2, lr=0.03)
    trial = results.trial()
    model, settings = harness.module_of(trial).train(), trials(study_of("none"))[0][0].arm.settings
    train = prepare(settings).train
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    budget = Budget.of(settings, len(train.y))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    for epoch in (2, 3):
        order = epoch_order(trial.seed, epoch, budget, "shuffle")
        for i in range(0, len(order), 32):
            index = torch.from_numpy(order[i : i + 32])
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
    final = weights(again, again.trials["trial_id"].item())
    ours = model.state_dict()["0.weight"].numpy()
    np.testing.assert_allclose(ours, final["0.weight"], rtol=0, atol=1e-6)


def test_a_continued_trial_is_one_of_its_own_and_names_its_parent(parent: Results) -> None:
    trial = parent.trial()
    before = {path: path.read_bytes() for path in parent.folder.rglob("*") if path.is_file()}
    again = harness.continue_training(trial, epochs=3, lr=0.01)
    row = again.trials.iloc[0]
    assert again.folder == Path("results") / f"s-continued-{row['trial_id']}"
    assert row["parent"] == trial.trial_id
    assert row["trial_id"] != trial.trial_id
    assert (row["lr"], row["epochs"], row["epochs_done"], row["steps_done"]) == (0.01, 3, 5, 205)
    assert again.epochs["epoch"].tolist() == [2, 2, 3, 3, 4, 4, 5, 5]
    # Its curve begins where its parent's ends.
    ends = parent.epochs[parent.epochs["epoch"].eq(2)]
    pd.testing.assert_series_equal(
        again.epochs["loss"].head(2), ends["loss"].reset_index(drop=True), check_names=False
    )
    assert row["train_loss"] < parent.trials["train_loss"].item()
    assert {path: path.read_bytes() for path in before} == before


def test_ids_are_of_the_parent_its_state_and_the_settings(parent: Results) -> None:
    ids = set()
    for lr, kept in ((0.01, True), (0.01, False), (0.02, True)):
        again = harness.continue_training(parent, epochs=1, lr=lr, optimizer_state=kept)
        ids.add(again.trials["trial_id"].item())
    from_start = {trial.trial_id for e in (1, 3) for trial in trials(study_of(optimizer="adam", epochs=e))[0]}
    assert len(ids) == 3
    assert not ids & from_start
    twice = harness.continue_training(parent, epochs=1, lr=0.01, optimizer_state=True)
    assert twice.trials["trial_id"].item() in ids  # a notebook's cell that is run twice trains once
    assert len(twice.provenance["runs"]) == 2


@pytest.mark.parametrize("engine", ["stacked", "loop", "numpy"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_with_its_kept_state_and_nothing_changed_training_is_as_if_never_interrupted(
    engine: Any, optimizer: str
) -> None:
    results = harness.run(study_of(optimizer=optimizer, dropout=0.2), engine=engine, workers=1)
    longer = harness.run(
        study_of(optimizer=optimizer, dropout=0.2, epochs=3), "longer", engine=engine, workers=1
    )
    again = harness.continue_training(results, epochs=1)
    ours, theirs = (weights(r, r.trials["trial_id"].item()) for r in (again, longer))
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)
    assert again.trials["test_loss"].item() == longer.trials["test_loss"].item()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_engines_agree_on_a_continued_trial(optimizer: str, kept: bool) -> None:
    found = []
    for engine in ("stacked", "loop", "numpy"):
        study = study_of(optimizer=optimizer, dropout=0.2, lr=0.01)
        results = harness.run(study, f"of {engine}", engine=engine, workers=1)
        again = harness.continue_training(
            results, epochs=1, lr=0.002, weight_decay=0.01, optimizer_state=kept, out=f"again {engine}"
        )
        assert again.trials["engine"].item() == engine
        found.append(weights(again, again.trials["trial_id"].item()))
    for others in found[1:]:
        for name, array in found[0].items():
            np.testing.assert_allclose(array, others[name], rtol=0, atol=2e-5)


@pytest.mark.usefixtures("in_pytorch")
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_stacks_of_pytorch_continue_alike(optimizer: str) -> None:
    results = harness.run(study_of(optimizer=optimizer), workers=1)
    fresh = harness.continue_training(results, epochs=1, lr=0.01, optimizer_state=False)
    loop = harness.run(study_of(optimizer=optimizer), "loop", engine="loop", workers=1)
    other = harness.continue_training(loop, epochs=1, lr=0.01, optimizer_state=False)
    one, two = (weights(r, r.trials["trial_id"].item()) for r in (fresh, other))
    for name, array in one.items():
        np.testing.assert_allclose(array, two[name], rtol=0, atol=2e-5)


def test_what_becomes_of_the_optimizer_is_said(parent: Results, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness.continue_training(parent, epochs=1)
    assert caplog.messages[-1].endswith(f"goes on from {parent.trial().trial_id}, its optimizer too")
    harness.continue_training(parent, epochs=1, optimizer="momentum", lr=0.01)
    assert "with a fresh optimizer (its state is of another optimizer)" in caplog.messages[-1]
    harness.continue_training(parent, epochs=1, optimizer_state=False)
    assert caplog.messages[-1].endswith("with a fresh optimizer")


def test_it_is_continued_again_exported_reported_and_opened(parent: Results, tmp_path: Path) -> None:
    again = harness.continue_training(parent, epochs=2, lr=0.01, batch_size=64)
    third = harness.continue_training(again, steps=30, optimizer="sgd", schedule="cosine")
    row = third.trials.iloc[0]
    # Two epochs of 41 steps; in batches of 64 an epoch is 21, and four are 84.
    assert again.trials["steps_done"].item() == 84
    assert row["steps_done"] == 84 + 30
    assert row["parent"] == again.trials["trial_id"].item()
    assert third.study["study"]["name"] == f"s-continued-{row['trial_id']}"
    exported = harness.export(third.trial(), tmp_path / "exported")
    assert exported.right == exported.stored == round(row["test_accuracy"] * 360)
    loaded = harness.load_model(tmp_path / "exported")
    x = torch.rand(3, 64)
    assert torch.equal(loaded(x), harness.module_of(third.trial())(x))
    assert (reporting.write(third.folder)).is_file()
    state: Any = harness.open_checkpoint(third.trial())
    assert (state.step, state.settings["schedule"]) == (114, "cosine")
    start: Any = harness.open_checkpoint(third.folder / "start.safetensors")
    before: Any = harness.open_checkpoint(again.trial())
    assert all(torch.equal(start.model[name], value) for name, value in before.model.items())
    assert start.curve.empty
    harness.open_checkpoint(third.trial()).load_into(harness.model(**state.settings))


def test_test_stays_closed_for_what_continues_a_suggestion() -> None:
    """A suggestion is chosen by val; an export of it would need its test accuracy, and is refused."""
    search = parse(
        {
            "study": {"name": "found", "design": "search", "seeds": 2},
            "search": {"suggestions": 2, "batch": 2, "finalists": 1},
            "baseline": {"dataset": "digits", "hidden": [6], "epochs": 2},
            "space": {"lr": {"low": 0.01, "high": 0.1}},
        }
    )
    found = harness.search(search, workers=1)
    suggestion = harness.read(found.folder).trial(where="arm=suggestion 1")
    again = harness.continue_training(suggestion, epochs=1)
    third = harness.continue_training(again, epochs=1)
    for results in (again, third):
        row = results.trials.iloc[0]
        assert row["status"] == "ok"
        assert row["val_accuracy"] > 0.2
        assert np.isnan(row["test_accuracy"])
        assert set(results.confusion["split"]) <= {"train", "val"}
        assert reporting.write(results.folder).is_file()
    baseline = harness.read(found.folder / "confirmed").trial(where="arm=baseline,seed=0")
    assert harness.continue_training(baseline, epochs=1).trials["test_accuracy"].notna().all()


def test_weights_alone_are_continued_with_a_fresh_optimizer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    results = harness.run(study_of("none", optimizer="adam"), workers=1)
    again = harness.continue_training(results, epochs=1)
    assert "with a fresh optimizer (its state was not kept)" in caplog.text
    with_state = harness.run(study_of(optimizer="adam"), "kept", workers=1)
    fresh = harness.continue_training(with_state, epochs=1, optimizer_state=False)
    assert again.trials["trial_id"].item() == fresh.trials["trial_id"].item()  # the same weights
    with pytest.raises(UsageError, match=r"optimizer_state = True: its state was not kept. Allowed: False"):
        harness.continue_training(results, epochs=1, optimizer_state=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "epochs = 0: allowed: "),
        ({"epochs": -1}, "epochs = -1: allowed: "),
        ({"epochs": 2.5}, "epochs = 2.5: allowed: "),
        ({"epochs": 10**9}, "epochs = 1000000000: allowed: "),
        ({}, r"how much more\? Give epochs=3, or steps=500; one of the two"),
        ({"epochs": 1, "steps": 3}, r"how much more\? Give epochs=3, or steps=500; one of the two"),
        ({"epochs": 1, "lr": 0}, "lr = 0: allowed: "),
        ({"epochs": 1, "lr": "fast"}, "lr = 'fast': allowed: "),
        ({"epochs": 1, "momentumm": 0.9}, "momentumm = 0.9: no such setting; .*momentum"),
        ({"epochs": 1, "optimizer": "adamm"}, "^optimizer = 'adamm': unknown optimizer; did you mean 'adam"),
        (
            {"epochs": 1, "pixel_dropout_share": 0.1},
            "^pixel_dropout_share = 0.1: augmentation 'none' has no such setting; add augmentation = 'pixel",
        ),
        (
            {"epochs": 1, "momentum": 0.9},
            r"^momentum = 0.9: optimizer 'adam' has no such setting; add .* \(or nesterov, rmsprop\), or",
        ),
        ({"epochs": 1, "dropout_seed": 3}, "dropout_seed = 3: the trial draws nothing by it"),
        ({"epochs": 1, "norm": "batch"}, "norm = 'batch': a trained network keeps its layers"),
        ({"epochs": 1, "skip": True}, "skip = True: a trained network keeps its layers"),
        ({"epochs": 1, "initial_weights": "normal"}, "a trained network has its weights already"),
        ({"epochs": 1, "hidden": [7]}, "hidden = .7.: a trained network keeps its layers. Allowed are"),
        ({"epochs": 1, "activation": "tanh"}, "activation = 'tanh': a trained network keeps its layers"),
        ({"epochs": 1, "dataset": "mnist"}, "dataset = 'mnist': a trained network keeps its images"),
        ({"epochs": 1, "val_fraction": 0.2}, "a trained network keeps its images and their splits"),
        ({"epochs": 1, "seed": 3}, "seed = 3: a trial that goes on keeps its seed"),
        ({"epochs": 1, "batch_size": 5000}, "batch_size = 5000 .*digits has 1293 training images"),
        ({"epochs": 1, "loss": "nll"}, "loss 'nll' takes"),
        ({"epochs": 1, "optimizer": "sgd", "optimizer_state": True}, "its state is of another optimizer"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    parent: Results, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=said):
        harness.continue_training(parent, **changes)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_change_is_refused_before_a_network_that_was_not_kept_is_trained_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tables = {"study": {"name": "s", "seeds": 1, "keep_weights": "none"}}
    baseline = {"dataset": "digits", "hidden": [], "epochs": 1}
    results = harness.run(parse({**tables, "baseline": baseline}), workers=1)
    caplog.clear()
    refused: dict[str, dict[str, Any]] = {
        "^augmentation = 'pixl': unknown augmentation; allowed: erase": {"augmentation": "pixl"},
        "^gamma = 0.5: schedule 'constant' has no such setting; add schedule = 'exponential'": {"gamma": 0.5},
        "^dropout = 0.5: it has no effect beside the other settings of architecture 'mlp'": {"dropout": 0.5},
        "digits has 1293 training images": {"batch_size": 5000},
        "loss 'nll' takes": {"loss": "nll"},
    }
    for said, changes in refused.items():
        with pytest.raises(UsageError, match=said):
            harness.continue_training(results, epochs=1, **changes)
    assert "training its stack" not in caplog.text


def test_what_the_page_lists_may_change(parent: Results) -> None:
    page = (PACKAGE_ROOT.parent / "docs" / "going-on.md").read_text(encoding="utf-8")
    listed = page.partition("**What may change**")[2].partition("Not the network")[0]
    changes: dict[str, Any] = {
        "optimizer": "momentum", "schedule": "exponential", "loss": "mse", "augmentation": "shift",
        "batch_size": 64, "sampling": "replacement", "dropout": 0.1, "label_smoothing": 0.1,
        "match": "ignore", "eval_every": "2 epochs", "order_seed": 3, "dropout_seed": 4,
        "augmentation_seed": 5,
    }  # fmt: skip
    own: dict[str, Any] = {"momentum": 0.5, "gamma": 0.5, "shift_pixels": 2}
    assert [name for name in changes if name not in listed] == []
    again = harness.continue_training(parent, epochs=2, lr=0.01, **changes, **own)
    row = again.trials.iloc[0]
    assert row["status"] == "ok"
    named = {name: row[name] for name in {**changes, **own} if name in row}
    assert named == {name: value for name, value in {**changes, **own}.items() if name in row}
    assert set(changes) - set(named) <= {"order_seed", "dropout_seed", "augmentation_seed"}


def test_a_trial_that_did_not_finish_is_refused() -> None:
    results = harness.run(study_of(axes={"lr": [0.1, 1e25]}, loss="mse", head="softmax"), workers=1)
    (diverged,) = results.trials[results.trials["status"].eq("diverged")]["trial_id"]
    with pytest.raises(UsageError, match=f"trial {diverged} diverged"):
        results.trial(diverged)
    row = results.trials[results.trials["trial_id"].eq(diverged)].iloc[0]
    with pytest.raises(UsageError, match="has status 'diverged': only one that finished goes on"):
        harness.continue_training(harness.TrainedTrial(results, row), epochs=1)
    with pytest.raises(UsageError, match="got int; allowed: a trained trial"):
        harness.continue_training(3, epochs=1)  # type: ignore[arg-type]


def test_another_studys_folder_is_left_alone(parent: Results) -> None:
    other = harness.run(study_of(axes={"lr": [0.2, 0.3]}), "other", workers=1)
    before = {path: path.read_bytes() for path in other.folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="other holds results of the study 's', not of 's-continued-t"):
        harness.continue_training(parent, epochs=1, out="other")
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("x")
    with pytest.raises(UsageError, match=r"mine holds 'thesis.txt' and no plan.json"):
        harness.continue_training(parent, epochs=1, out="mine")
    assert {path: path.read_bytes() for path in other.folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]


def test_a_damaged_kept_state_leaves_the_weights(parent: Results, caplog: pytest.LogCaptureFixture) -> None:
    (state,) = (parent.folder / "states").iterdir()
    state.write_bytes(state.read_bytes()[:-9] + b"123456789")
    again = harness.continue_training(parent, epochs=1)
    assert "is damaged" in caplog.text
    assert again.trials["status"].item() == "ok"


def test_a_start_that_is_damaged_missing_or_anothers_is_told(parent: Results) -> None:
    again = harness.continue_training(parent, epochs=1, lr=0.01)
    other = harness.continue_training(parent, epochs=1, lr=0.01, optimizer_state=False)
    study, start = harness.load(again.folder / "study.toml"), again.folder / "start.safetensors"
    content = start.read_bytes()
    for path in (*(again.folder / "parts").iterdir(), *(again.folder / "states").iterdir()):
        path.unlink()
    (again.folder / "trials.csv").unlink()
    start.unlink()
    with pytest.raises(UsageError, match=r"continues trial t.*, and .*start.safetensors is missing"):
        harness.run(study, again.folder, workers=1)
    start.write_bytes(content[:-5])
    with pytest.raises(UsageError, match=r"start.safetensors is damaged"):
        harness.run(study, again.folder, workers=1)
    shutil.copy(other.folder / "start.safetensors", start)
    with pytest.raises(UsageError, match=r"is not the state that the study's .start. names"):
        harness.run(study, again.folder, workers=1)
    start.write_bytes(content)
    anew = harness.run(study, again.folder, workers=1)
    assert anew.trials["test_loss"].item() == again.trials["test_loss"].item()


def test_without_its_start_a_continued_trial_is_never_trained(parent: Results) -> None:
    again = harness.continue_training(parent, epochs=1, lr=0.01)
    for path in (again.folder / "weights").iterdir():
        path.unlink()
    with pytest.raises(MachineError, match="continues another one, whose state is not there"):
        models.restore(again, again.trials.iloc[0])


def test_the_settings_of_a_third_partys_network_cannot_change() -> None:
    @architectures.register("of_width")
    def of_width(inputs: int, classes: int, activation: Any, *, neck: int = 4) -> nn.Module:
        """One narrow layer."""
        return nn.Sequential(nn.Linear(inputs, neck), activation(), nn.Linear(neck, classes))

    results = harness.run(study_of(architecture="of_width"), workers=1)
    with pytest.raises(UsageError, match="neck = 6: a trained network keeps its layers"):
        harness.continue_training(results, epochs=1, neck=6)


def test_a_third_partys_network_is_continued_with_its_buffers() -> None:
    @architectures.register("normed")
    def normed(inputs: int, classes: int, activation: Any) -> nn.Module:
        return nn.Sequential(
            nn.Linear(inputs, 8), nn.BatchNorm1d(8), activation(), nn.Dropout(0.3), nn.Linear(8, classes)
        )

    results = harness.run(study_of(architecture="normed", optimizer="adam"), workers=1)
    longer = harness.run(study_of(architecture="normed", optimizer="adam", epochs=3), "longer", workers=1)
    again = harness.continue_training(results, epochs=1)
    ours, theirs = (weights(r, r.trials["trial_id"].item()) for r in (again, longer))
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)


@pytest.mark.parametrize("network", [{"architecture": "cnn", "channels": [3]}, {"hidden": [4]}])
def test_a_network_of_which_nothing_was_kept_is_trained_again_and_continued(network: dict[str, Any]) -> None:
    """Plain SGD has no state, so that a training with more epochs gives the same weights and statistics."""
    some = {"norm": "batch", "batch_size": 128, **network}
    tables = {"study": {"name": "s", "seeds": 1, "keep_weights": "none"}}
    results = harness.run(
        parse({**tables, "baseline": {"dataset": "digits", "epochs": 2, **some}}), workers=1
    )
    assert not list(results.folder.glob("weights/*"))
    longer = harness.run(study_of(epochs=3, **some), "longer", workers=1)
    again = harness.continue_training(results, epochs=1)
    ours, theirs = (weights(r, r.trials["trial_id"].item()) for r in (again, longer))
    assert any(name.endswith("num_batches_tracked") for name in ours)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)


def test_a_longer_continuation_goes_on_from_the_shorter_ones_state(parent: Results) -> None:
    again = harness.continue_training(parent, epochs=1, lr=0.01)
    study = harness.load(again.folder / "study.toml", ["epochs=3"])
    grown = harness.run(study, again.folder, workers=1)
    whole = harness.continue_training(parent, epochs=3, lr=0.01)
    assert grown.trials["parent"].item() == again.trials["trial_id"].item()
    assert whole.trials["trial_id"].item() == grown.trials["trial_id"].item()
    ours, theirs = (weights(r, r.trials["trial_id"].item()) for r in (grown, whole))
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)
    pd.testing.assert_frame_equal(grown.epochs, whole.epochs)


@pytest.mark.parametrize("kept", [True, False])
def test_a_persons_own_loop_reaches_a_continued_trials_numbers(kept: bool) -> None:
    study = study_of(optimizer="adam", dropout=0.2)
    results = harness.run(study, engine="loop", workers=1)
    again = harness.continue_training(
        results, epochs=2, lr=0.01, schedule="exponential", gamma=0.5, batch_size=64, optimizer_state=kept
    )
    trial, start = again.trial(), harness.open_checkpoint(again.folder / "start.safetensors")
    model, loss, batches = harness.model(results.trial()), harness.loss(trial), harness.loader(trial)
    optimizer = harness.optimizer(trial, model)
    start[trial.trial_id].load_into(model, optimizer)
    schedule = harness.scheduler(trial, optimizer)
    for _ in range(batches.epochs):
        for x, y in batches:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            schedule.step()
    assert batches.epochs == 2
    final = weights(again, trial.trial_id)
    own = classifier.weights(model)
    assert all(np.array_equal(own[name], array) for name, array in final.items())
    with pytest.raises(UsageError, match=f"trial {trial.trial_id} continues another, so it did not begin"):
        harness.model(trial)
    assert harness.count_parameters(harness.model(trial, epochs=1)) == again.trials["parameters"].item()


SCRIPT = """
import harness
if __name__ == "__main__":
    harness.continue_training("results/s", epochs={epochs}, lr=0.01, checkpoint_every="1 epochs")
"""


def test_a_continuation_that_is_killed_ends_where_it_would_have(parent: Results, tmp_path: Path) -> None:
    """kill -9 while it trains; the same call goes on."""
    script = tmp_path / "go_on.py"
    script.write_text(SCRIPT.format(epochs=150))
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
    killed = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while killed.poll() is None and time.monotonic() < until:
        if list(tmp_path.glob("results/s-continued-*/checkpoints/*.safetensors")):
            break
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (folder,) = tmp_path.glob("results/s-continued-*")
    assert not list((folder / "parts").glob("*.zip"))
    assert list((folder / "checkpoints").iterdir())
    again = harness.continue_training(parent, epochs=150, lr=0.01)
    assert again.folder.resolve() == folder.resolve()
    whole = harness.continue_training(parent, epochs=150, lr=0.01, out="whole")
    ours, theirs = (weights(r, r.trials["trial_id"].item()) for r in (again, whole))
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)
    pd.testing.assert_frame_equal(again.epochs, whole.epochs)
    assert again.trials["parent"].item() == parent.trial().trial_id


def test_a_plugin_that_changed_in_the_same_process_continues_nothing(tmp_path: Path) -> None:
    source = (
        "import torch\nfrom harness import activations\n\n"
        "@activations.register('wave_on')\ndef wave_on(x):\n"
        "    '''Give a wave.'''\n    return torch.sin({}x)\n"
    )
    plugin = tmp_path / "wave_on.py"
    plugin.write_text(source.format(""), encoding="utf-8")
    tables = {
        "study": {
            "name": "s", "seeds": 1, "plugins": ["wave_on.py"], "keep_state": "all", "keep_weights": "all",
        },
        "baseline": {"dataset": "digits", "hidden": [4], "epochs": 1, "activation": "wave_on"},
    }  # fmt: skip
    results = harness.run(parse(tables, path=tmp_path / "study.toml"), tmp_path / "first", workers=1)
    plugin.write_text(source.format("2 * "), encoding="utf-8")
    with pytest.raises(UsageError, match=r"a plugin's source .* has changed since it was trained"):
        harness.continue_training(results.trial(), epochs=1, out=tmp_path / "second")
    assert not (tmp_path / "second").exists()

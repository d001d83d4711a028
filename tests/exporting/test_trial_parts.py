"""Parts of a trial: network, loss, optimizer and schedule by public names."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import harness
from harness.axes.architectures import architectures
from harness.data.preprocessing import preprocessings
from harness.engines.base import learning_rates
from harness.errors import UsageError
from harness.exporting.untrained import untrained
from harness.results import Results
from harness.study.study import Study

SETTINGS: dict[str, Any] = {"dataset": "digits", "hidden": [12, 8], "activation": "tanh", "seed": 3}


@pytest.fixture
def study(study_of: Callable[..., Study]) -> Study:
    """A study of one arm and two seeds."""
    return study_of(hidden=[12, 8], activation="tanh", study={"seeds": [3, 4]})


@pytest.fixture
def results(kept_results: Path) -> Results:
    """Results whose weights were kept."""
    return harness.read(kept_results)


def weights(model: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def test_a_network_is_given_for_settings_a_study_a_plan_or_a_trial(study: Study) -> None:
    plan = harness.plan(study)
    same = [
        harness.model(**SETTINGS), harness.model(SETTINGS), harness.model(study), harness.model(plan),
        harness.model(plan.trials[0]), harness.model(plan.trials[1], seed=3), harness.model(study, lr=0.7),
    ]  # fmt: skip
    assert len({weights(model) for model in same}) == 1
    assert weights(harness.model(plan.trials[1])) != weights(same[0])
    assert untrained(study).trial_id == plan.trials[0].trial_id


def test_settings_alone_make_the_trial_of_a_study(study: Study) -> None:
    assert untrained({**SETTINGS, "epochs": 2}).trial_id == harness.plan(study).trials[0].trial_id
    changed = untrained(study, {"steps": 5, "optimizer": "adam"})
    assert (changed.arm.settings.steps, changed.arm.settings.epochs, changed.seed) == (5, None, 3)
    assert "betas" in changed.arm.settings


def test_a_trained_trial_is_its_start(results: Results) -> None:
    trained = results.trial(where="head=softmax,lr=0.1,seed=1")
    start = harness.model(trained)
    assert weights(start) == weights(harness.model(**trained.settings, seed=trained.seed))
    assert weights(start) != weights(harness.module_of(trained))
    assert start.training
    # The best of a folder: by val, of the results or their path.
    assert weights(harness.model(results)) == weights(harness.model(results.folder)) == weights(
        harness.model(results.trial())
    )  # fmt: skip


def test_a_trained_trial_that_the_study_does_not_contain_is_told(results: Results) -> None:
    trained = results.trial()
    trained.row["trial_id"] = "t000000000000"
    with pytest.raises(UsageError, match=r"not in the study in .* any more"):
        harness.model(trained)


def test_a_new_network_knows_nothing_yet() -> None:
    model, loss = harness.model(dataset="mnist", hidden=[196]), harness.loss(dataset="mnist")
    x = torch.rand(500, 784, generator=torch.Generator().manual_seed(0))
    y = torch.arange(500) % 10
    assert loss(model(x), y).item() == pytest.approx(math.log(10), abs=0.05)


def test_a_network_prints_its_layers_and_widths() -> None:
    text = str(harness.model(dataset="mnist", hidden=[196, 20], activation="sigmoid", dropout=0.25))
    for part in (
        "in_features=784, out_features=196",
        "sigmoid",
        "p=0.25",
        "in_features=196, out_features=20",
    ):
        assert part in text
    assert text.startswith("Classifier(")


def test_parameters_are_counted() -> None:
    model = harness.model(dataset="mnist", hidden=[32, 32])
    assert harness.count_parameters(model) == 784 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10 == 26506
    next(model.parameters()).requires_grad_(False)
    assert harness.count_parameters(model) == 26506 - 784 * 32


def test_a_network_can_be_copied_and_saved(tmp_path: Path) -> None:
    model = harness.model(**SETTINGS, dropout=0.5)
    x = torch.rand(9, 64)
    twin = copy.deepcopy(model)
    for one in (model, twin):  # each goes its own way from here on
        one(x).sum().backward()
    assert torch.equal(model(x), twin(x))
    twin(x).sum().backward()
    assert not torch.equal(model(x), twin(x))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    plain = nn.Sequential(
        nn.Linear(64, 12),
        nn.Tanh(),
        nn.Identity(),
        nn.Linear(12, 8),
        nn.Tanh(),
        nn.Identity(),
        nn.Linear(8, 10),
    )
    plain.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    torch.testing.assert_close(plain(x), model.eval()(x))


def test_dropout_goes_on_with_the_backward_pass_alone() -> None:
    model, x = harness.model(**SETTINGS, dropout=0.5), torch.rand(9, 64)
    first = model(x)
    with torch.no_grad():
        assert torch.equal(model(x), first)  # a look uses no step up
    model(x).sum().backward()
    second = model(x)
    assert not torch.equal(second, first)
    second.sum().backward()
    assert not torch.equal(model(x), second)
    assert torch.equal(model.eval()(x), model(x))


def test_the_global_random_state_is_left_alone() -> None:
    @architectures.register("leaky")
    def leaky(inputs: int, classes: int, activation: Callable[[], nn.Module]) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 20), activation(), nn.Dropout(0.5), nn.Linear(20, classes))

    x = torch.rand(4, 64)
    for settings in ({"dropout": 0.5}, {"architecture": "leaky"}):
        before = torch.get_rng_state()
        model = harness.model(dataset="digits", **settings)
        model(x).sum().backward()
        with pytest.raises(UsageError):
            model(x[:, :3])
        list(harness.loader(untrained({"dataset": "digits", **settings})))
        assert torch.equal(torch.get_rng_state(), before)


def test_a_network_fits_a_preprocessing_that_gives_fewer_pixels() -> None:
    @preprocessings.register("every_second")
    def every_second(x: Any) -> Any:
        return x[:, ::2] / 16

    trial = untrained({"dataset": "digits", "preprocessing": "every_second", "hidden": [5]})
    model = harness.model(trial)
    x, _ = next(iter(harness.loader(trial)))
    assert model(x).shape == (32, 10)
    assert harness.count_parameters(model) == 33 * 5 + 60


def test_a_trained_network_of_fewer_pixels_comes_back(tmp_path: Path, study_of: Callable[..., Study]) -> None:
    @preprocessings.register("every_second")
    def every_second(x: Any) -> Any:
        return x[:, ::2] / 16

    study = study_of(preprocessing="every_second", study={"seeds": 1, "keep_weights": "all"})
    trial = harness.run(study, tmp_path / "results", workers=1).trial()
    assert (
        harness.plan(study).parameters == {"baseline": 33 * 8 + 90} == {"baseline": trial.row["parameters"]}
    )
    harness.export(trial, tmp_path / "out")
    test = harness.split_dataset(study, "test")
    for model in (harness.module_of(trial), harness.load_model(tmp_path / "out")):
        accuracy = (model(test.x).argmax(1) == test.y).double().mean().item()
        assert accuracy == pytest.approx(trial.row["test_accuracy"], abs=1e-6)


def test_a_trained_network_is_ready_for_inference(results: Results) -> None:
    trial = results.trial()
    model, test = harness.module_of(trial), harness.split_dataset(trial, "test")
    assert not model.training
    accuracy = (model(test.x).argmax(1) == test.y).double().mean().item()
    assert accuracy == pytest.approx(trial.row["test_accuracy"], abs=1e-6)
    assert weights(harness.module_of(results)) == weights(model)
    assert weights(harness.module_of(str(results.folder), where="seed=0")) == weights(
        harness.module_of(results.trial(where="seed=0"))
    )


def test_a_trained_network_whose_weights_were_not_kept_is_trained_again(
    tmp_path: Path, study_of: Callable[..., Study]
) -> None:
    study = study_of(study={"seeds": 1, "keep_weights": "none"})
    trial = harness.run(study, tmp_path / "results", workers=1).trial()
    test = harness.split_dataset(trial, "test")
    accuracy = (harness.module_of(trial)(test.x).argmax(1) == test.y).double().mean().item()
    assert accuracy == pytest.approx(trial.row["test_accuracy"], abs=1e-6)


def test_losses_are_means_or_of_each_sample() -> None:
    settings: dict[str, Any] = {"dataset": "digits", "loss": "ce", "label_smoothing": 0.2}
    mean, each = harness.loss(**settings), harness.loss(**settings, reduction="none")
    output, y = torch.randn(6, 10, generator=torch.Generator().manual_seed(1)), torch.arange(6)
    theirs = nn.functional.cross_entropy(output, y, label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(each(output, y), theirs)
    torch.testing.assert_close(mean(output, y), theirs.mean())
    torch.testing.assert_close(mean.eval()(output, y), nn.functional.cross_entropy(output, y))
    assert each(output.double(), y).dtype == torch.float64
    assert "ce" in repr(mean)


@pytest.mark.parametrize("schedule", ["constant", "exponential", "linear", "cosine"])
def test_a_schedule_steps_after_each_batch_and_stays_at_its_end(schedule: str) -> None:
    trial = untrained({"dataset": "digits", "schedule": schedule, "steps": 90, "lr": 0.3})
    train = harness.loader(trial)
    optimizer = harness.optimizer(trial, harness.model(trial))
    scheduler = harness.scheduler(trial, optimizer)
    seen = []
    for _ in range(train.batches.budget.steps + 5):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    wanted = learning_rates([trial], train.batches.budget)[:, 0].tolist()
    assert seen == wanted + wanted[-1:] * 5


def test_a_schedule_scales_the_rate_of_any_optimizer() -> None:
    adam = torch.optim.Adam(nn.Linear(3, 2).parameters(), lr=0.5)
    halving = harness.scheduler(adam, dataset="digits", schedule="exponential", gamma=0.5, epochs=3)
    for _ in range(41):
        adam.step()
        halving.step()
    assert halving.get_last_lr() == [0.25]


def test_optimizers_take_a_network_or_parameters() -> None:
    layer = nn.Linear(3, 2)
    both = [
        harness.optimizer({"optimizer": "adam", "lr": 0.03}, layer),
        harness.optimizer(layer, optimizer="adam", lr=0.03),
        harness.optimizer({"optimizer": "adam", "lr": 0.03}, layer.parameters()),
    ]
    assert {type(optimizer) for optimizer in both} == {torch.optim.Adam}
    assert [optimizer.param_groups[0]["lr"] for optimizer in both] == [0.03] * 3
    assert all(optimizer.param_groups[0]["params"] == list(layer.parameters()) for optimizer in both)


def test_several_threads_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("harness.notes.warn_once", told.append)
    harness.optimizer(nn.Linear(3, 2), optimizer="adam")
    assert told == []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    harness.optimizer(nn.Linear(3, 2), optimizer="adam")
    (note,) = told
    assert "8 threads" in note
    assert "torch.set_num_threads(1)" in note


@pytest.fixture
def several_arms(study_of: Callable[..., Study]) -> Study:
    return study_of({"lr": [0.1, 0.2, 0.3]})


def test_a_study_of_several_arms_asks_for_a_trial(several_arms: Study) -> None:
    for given in (several_arms, harness.plan(several_arms)):
        for part in (harness.model, harness.loss, harness.loader):
            with pytest.raises(UsageError, match=r"3 arms .*harness.plan\(study\).trials\[i\]"):
                part(given)
    assert len(harness.split_dataset(several_arms, "val")) == 144  # all arms see the same


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hiden": [3]}, "hiden: unknown setting; did you mean 'hidden'"),
        ({"activation": "relo"}, "did you mean 'relu'"),
        ({"dataset": "mnits"}, "did you mean 'mnist'"),
        ({"hidden": ["a"]}, r"hidden = \[\"a\"\]: allowed: a valid integer"),
        ({"dropout": 1.5}, "dropout = 1.5: allowed: less than 1"),
        ({"steps": 3, "epochs": 2}, "a budget is one or the other"),
        ({"seed": -1}, "seed = -1: allowed: greater than or equal to 0"),
        ({"seed": "one"}, "seed = 'one'"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        harness.model(**settings)


UNTYPED: Any = harness


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNTYPED.model(3), "got int; allowed: a study"),
        (lambda: harness.model("lab1_learning_rates"), "did you mean 'lab1_learning_rate'"),
        (lambda: harness.module_of(3), r"got int; allowed: a trained trial \(results.trial\(\)\)"),
        (lambda: harness.module_of("nowhere"), "nowhere is not a results folder"),
        (lambda: harness.module_of(untrained(SETTINGS)), "an untrained trial is trained by harness.run"),
        (lambda: harness.loss(head="softmax", loss="nll"), "takes log_probabilities; head 'softmax' gives"),
        (lambda: UNTYPED.loss(reduction="sum"), "reduction = 'sum': allowed: 'mean'"),
        (lambda: harness.optimizer(optimizer="adam"), r"allowed: harness.optimizer\(trial, model\)"),
        (lambda: UNTYPED.optimizer({"optimizer": "adam"}, 3), r"allowed: harness.optimizer\(trial, model\)"),
        (lambda: UNTYPED.scheduler(nn.Linear(2, 2)), r"allowed: harness.scheduler\(trial, optimizer\)"),
        (lambda: UNTYPED.count_parameters([1, 2]), "got list; allowed: a torch.nn.Module"),
    ],
)
def test_wrong_arguments_are_told(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


ZEROS = torch.zeros(5, 10)
LABELS = torch.arange(5)


@pytest.mark.parametrize(
    ("output", "y", "message"),
    [
        (LABELS, ZEROS, r"got int64 \(5,\) and float32 \(5, 10\); .*are the two swapped\?"),
        (ZEROS, LABELS.float(), "labels .B,. in int64"),
        (ZEROS, ZEROS, "labels .B,. in int64"),
        (ZEROS, LABELS[:3], r"int64 \(3,\)"),
        (ZEROS[:, :4], LABELS, r"outputs \(B, 10\)"),
        (ZEROS, LABELS + 7, "labels 7 to 11; allowed: 0 to 9"),
        (ZEROS, [1, 2], "and list"),
        (ZEROS.numpy(), LABELS, "got ndarray"),
    ],
)
def test_a_loss_says_what_it_takes(output: Any, y: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        harness.loss(dataset="digits")(output, y)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 8, 8), r"float32 \(3, 8, 8\); .*x.flatten\(1\)"),
        (torch.zeros(3, 64, dtype=torch.uint8), "uint8 .*harness.split_dataset gives pixels in floats"),
        (torch.zeros(3, 64).double(), r"float64 \(3, 64\); allowed: float32"),
        (torch.zeros(3, 784), r"\(3, 784\); allowed: float32 pixels \(B, 64\)"),
        (np.zeros((3, 64), np.float32), "got ndarray"),
    ],
)
def test_a_network_says_what_it_takes(x: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        harness.model(dataset="digits")(x)

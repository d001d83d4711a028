"""A trained trial as an ordinary PyTorch module."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from click.testing import CliRunner

import harness
from harness import results
from harness.cli.main import harness as command
from harness.data.arm_settings import Settings
from harness.data.samples import prepare
from harness.errors import MachineError, UsageError
from harness.exporting import models
from harness.results import Results, selection, weights
from harness.study.reading import parse
from harness.study.trials import Arm, Trial
from harness.training import runs

STUDY: dict[str, Any] = {
    "study": {"name": "models", "seeds": 2, "keep_predictions": ["val", "test"], "keep_weights": "all"},
    "baseline": {"dataset": "digits", "epochs": 3, "hidden": [16, 12]},
    "axes": {
        "activation": ["relu", "tanh"],
        "output": [
            {"name": "CE", "head": "identity", "loss": "ce"},
            {"name": "NLL", "head": "log_softmax", "loss": "nll"},
            {"name": "MSE", "head": "sigmoid", "loss": "mse", "lr": 2.0},
            {"name": "wild", "head": "identity", "loss": "mse", "lr": 1e9},
        ],
    },
}

DIGITS = Settings({"dataset": "digits", "preprocessing": "unit", "val_fraction": 0.1})


@pytest.fixture(scope="module")
def kept_trials(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A folder whose trials have all kept their weights."""
    return runs.run(parse(STUDY), tmp_path_factory.mktemp("kept"), workers=1)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The same trials, without any weights."""
    study = parse({**STUDY, "study": {**STUDY["study"], "keep_weights": "none"}})
    return runs.run(study, tmp_path_factory.mktemp("bare"), workers=1)


def row_of(kept_trials: Results, where: str) -> Any:
    return selection.choose(kept_trials, None, where)


def predictions(kept_trials: Results, row: Any) -> dict[str, np.ndarray[Any, Any]]:
    """What the run itself stored of a trial."""
    with np.load(kept_trials.folder / "predictions" / f"{row['group']}.npz") as stored:
        k = list(stored["trial_id"]).index(row["trial_id"])
        return {name: stored[name][k] for name in ("test_predicted", "test_confidence", "val_predicted")}


OUTPUTS = pytest.mark.parametrize("output", ["CE", "NLL", "MSE"])


@OUTPUTS
def test_the_module_predicts_what_the_run_stored(kept_trials: Results, output: str) -> None:
    row = row_of(kept_trials, f"output={output},activation=tanh,seed=1")
    model = models.restore(kept_trials, row)
    assert model.kept
    assert not model.classifier.training
    stored = predictions(kept_trials, row)
    p = models.probabilities(kept_trials, row)
    assert np.array_equal(p.argmax(1), stored["test_predicted"])
    np.testing.assert_allclose(p.max(1), stored["test_confidence"].astype(float), rtol=2e-3)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert np.array_equal(models.probabilities(kept_trials, row, "val").argmax(1), stored["val_predicted"])


def test_weights_that_were_not_kept_are_trained_again(
    kept_trials: Results, bare: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not (bare.folder / "weights").exists() or not list((bare.folder / "weights").iterdir())
    where = "output=CE,activation=relu,seed=0"
    kept, again = (models.restore(f, row_of(f, where)) for f in (kept_trials, bare))
    assert kept.kept
    assert not again.kept
    pairs = zip(kept.classifier.parameters(), again.classifier.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    told = capsys.readouterr().err
    assert "were not kept; training its stack" in told
    assert "note" not in told


def test_a_trial_of_a_stack_of_several_shapes_is_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = parse(
        {
            "study": {
                "name": "shapes",
                "seeds": 1,
                "keep_predictions": ["val", "test"],
                "keep_weights": "none",
            },
            "baseline": {"dataset": "digits", "epochs": 2, "batch_size": 128, "lr": 0.2},
            "axes": {"hidden": [[], [8], [16, 8], [12, 12, 12]]},
        }
    )
    runs.train(study, tmp_path / "shapes", workers=1)
    kept_trials = results.read(tmp_path / "shapes")
    assert kept_trials.trials["group_size"].tolist() == [4] * 4
    for _, row in kept_trials.trials.iterrows():
        model = models.restore(kept_trials, row)
        assert not model.kept
        assert sum(p.numel() for p in model.classifier.parameters()) == row["parameters"]
        chosen = models.probabilities(kept_trials, row).argmax(1)
        assert np.array_equal(chosen, predictions(kept_trials, row)["test_predicted"])
    assert "note" not in capsys.readouterr().err


def test_an_export_reaches_the_same_accuracy_to_the_last_sample(kept_trials: Results, tmp_path: Path) -> None:
    row = selection.choose(kept_trials, "best")
    done = models.write_model(kept_trials, row, tmp_path / "out")
    model = harness.load_model(done.folder)
    test = harness.loader("digits", "test", batch_size=100)
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in test)
    assert right / 360 == pytest.approx(row["test_accuracy"], abs=1e-6)
    assert row["val_accuracy"] == kept_trials.trials["val_accuracy"].max()
    assert (done.right, done.stored, done.images) == (right, right, 360)


def test_the_module_and_sequential_give_the_same_numbers(kept_trials: Results, tmp_path: Path) -> None:
    row = row_of(kept_trials, "output=CE,activation=relu,seed=0")
    folder = models.write_model(kept_trials, row, tmp_path / "out").folder
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 12), torch.nn.ReLU(),
        torch.nn.Linear(12, 10),
    )  # fmt: skip
    net.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    x = torch.from_numpy(prepare(DIGITS).test.x)
    assert torch.equal(net(x), harness.load_model(folder)(x))


def test_both_files_hold_the_same_weights(kept_trials: Results, tmp_path: Path) -> None:
    folder = models.write_model(kept_trials, selection.choose(kept_trials, "best"), tmp_path / "out").folder
    pickled = torch.load(folder / "model.pt", weights_only=True)
    safe = safetensors.torch.load_file(folder / "model.safetensors")
    assert list(pickled) == [f"{i}.{what}" for i in (0, 2, 4) for what in ("weight", "bias")]
    assert all(torch.equal(pickled[name], safe[name]) for name in pickled)
    about = json.loads((folder / "trial.json").read_text())
    assert about["parameters"] == sum(value.numel() for value in pickled.values())
    assert about["settings"]["hidden"] == [16, 12]


REGULARISED: dict[str, Any] = {
    "study": {"name": "regularised", "seeds": 1, "keep_weights": "all"},
    "baseline": {
        "dataset": "digits", "epochs": 2, "hidden": [16, 12], "dropout": 0.25, "label_smoothing": 0.1,
    },
}  # fmt: skip


@pytest.mark.parametrize("engine", ["stacked", "loop", "numpy"])
def test_a_network_with_dropout_is_exported_whole(engine: Any, tmp_path: Path) -> None:
    """Its owner gets torch's own dropout: out of the way in inference mode, at work in further training."""
    kept_trials = runs.run(parse(REGULARISED), tmp_path / "results", workers=1, engine=engine)
    (trial_id,) = kept_trials.trials["trial_id"]
    done = models.write_model(kept_trials, selection.choose(kept_trials, trial_id), tmp_path / "out")
    assert done.right == done.stored
    kept = weights.probabilities(weights.read(weights.file_of(kept_trials, trial_id)), "test")
    model = harness.load_model(done.folder)
    assert str(model).count("Dropout(p=0.25") == 2
    assert list(model.net.state_dict()) == [f"{i}.{what}" for i in (0, 3, 6) for what in ("weight", "bias")]
    x = torch.from_numpy(prepare(DIGITS).test.x)
    with torch.no_grad():
        np.testing.assert_allclose(model(x).softmax(1).numpy(), kept, atol=1e-5)
        assert not torch.equal(model.train()(x), model.eval()(x))


def test_weights_and_exports_from_before_dropout_are_read(kept_trials: Results, tmp_path: Path) -> None:
    row = selection.choose(kept_trials, "best")
    done = models.write_model(kept_trials, row, tmp_path / "out")
    about = json.loads((done.folder / "trial.json").read_text())
    expected = harness.load_model(done.folder)
    about["settings"] = {
        n: v for n, v in about["settings"].items() if n not in {"dropout", "label_smoothing"}
    }
    (done.folder / "trial.json").write_text(json.dumps(about))
    assert str(harness.load_model(done.folder)) == str(expected)
    kept = weights.read(weights.file_of(kept_trials, row["trial_id"]))
    older = weights.Weights(Trial("t", Arm("", Settings(about["settings"])), kept.trial.seed), kept.named)
    assert np.array_equal(weights.probabilities(older, "val"), weights.probabilities(kept, "val"))


PLUGIN = """
from harness.axes.architectures import architectures
from harness.system.lazy import torch


class Net(torch.nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.normalise = torch.nn.BatchNorm1d(inputs)
        self.linear = torch.nn.Linear(inputs, classes)
        # Kept transposed in memory, which a file of its bytes would not tell.
        self.linear.weight = torch.nn.Parameter(self.linear.weight.detach().t().contiguous().t())

    def forward(self, x):
        return self.linear(self.normalise(x))


@architectures.register("normalised_NUMBER")
def normalised(inputs, classes, activation):
    '''Softmax regression on normalised pixels.'''
    return Net(inputs, classes)
"""


def plugged(folder: Path, number: str) -> Results:
    (folder / "own.py").write_text(PLUGIN.replace("NUMBER", number))
    (folder / "own.toml").write_text(
        f'[study]\nname = "own"\nseeds = 1\nplugins = ["own.py"]\n'
        f'[baseline]\ndataset = "digits"\nepochs = 2\narchitecture = "normalised_{number}"\n'
    )
    return runs.run(harness.load(folder / "own.toml"), folder / "results", workers=1)


def test_a_network_of_a_third_party_is_exported_too(tmp_path: Path) -> None:
    kept_trials = plugged(tmp_path, "one")
    row = selection.choose(kept_trials, "best")
    done = models.write_model(kept_trials, row, tmp_path / "out")
    assert done.right == done.stored
    state = torch.load(done.folder / "model.pt", weights_only=True)
    assert "normalise.running_mean" in state


def test_an_unknown_component_is_named(tmp_path: Path) -> None:
    from harness.axes.architectures import architectures

    kept_trials = plugged(tmp_path, "two")
    folder = models.write_model(kept_trials, selection.choose(kept_trials, "best"), tmp_path / "out").folder
    architectures.remove("normalised_two")
    with pytest.raises(UsageError, match=r"normalised_two.*own\.py: name it in plugin_files"):
        harness.load_model(folder)


# --------------------------------------------------------------------------------------------- bad input


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def message(result: Any) -> str:
    assert isinstance(result.exception, UsageError), result.output
    return str(result.exception)


def test_the_command_exports(kept_trials: Results, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = invoke("export", "best", "--results", kept_trials.folder, "--out", out)
    assert done.exit_code == 0, done.output
    assert "as trials.csv has it" in done.output
    assert {path.name for path in out.iterdir()} == set(models.FILES)
    again = invoke("export", "best", "--results", kept_trials.folder, "--out", out)
    assert "exists already" in message(again)


def test_a_trial_is_found_by_its_id_alone(
    kept_trials: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(kept_trials.folder, tmp_path / "results" / "models")
    monkeypatch.chdir(tmp_path)
    trial_id = row_of(kept_trials, "output=CE,activation=relu,seed=0")["trial_id"]
    assert results.folder_with(trial_id) == Path("results/models")
    assert invoke("export", trial_id).exit_code == 0
    assert (tmp_path / "exported" / trial_id / "model.pt").is_file()
    assert "no results folder there has a trial 'tnone'" in message(invoke("export", "tnone"))
    shutil.copytree(kept_trials.folder, tmp_path / "results" / "again")
    assert "which results folder?" in message(invoke("export", "best"))


def test_export_without_a_trial_asks_for_one(kept_trials: Results) -> None:
    assert "which trial?" in message(invoke("export", "--results", kept_trials.folder))


def test_a_diverged_trial_is_not_exported(kept_trials: Results, tmp_path: Path) -> None:
    where = "output=wild,activation=relu,seed=0"
    out = tmp_path / "out"
    told = message(invoke("export", "--where", where, "--results", kept_trials.folder, "--out", out))
    assert "diverged" in told
    assert not out.exists()


def test_ambiguous_conditions_list_the_trials(kept_trials: Results) -> None:
    told = message(invoke("export", "--where", "output=CE", "--results", kept_trials.folder))
    assert "activation (relu, tanh)" in told
    assert "seed (0, 1)" in told


def damaged_weights(
    kept_trials: Results, folder: Path, change: Callable[[bytes], bytes]
) -> tuple[Results, Any]:
    row = row_of(kept_trials, "output=CE,activation=relu,seed=0")
    for name in ("study.toml", "plan.json", "trials.csv", "epochs.csv", "confusion.csv"):
        (folder / name).write_bytes((kept_trials.folder / name).read_bytes())
    (folder / "weights").mkdir()
    name = f"{row['trial_id']}.safetensors"
    (folder / "weights" / name).write_bytes(change((kept_trials.folder / "weights" / name).read_bytes()))
    return results.read(folder), row


def test_damaged_weights_are_named(kept_trials: Results, tmp_path: Path) -> None:
    copy, row = damaged_weights(kept_trials, tmp_path, lambda content: content[:1000])
    with pytest.raises(MachineError, match=rf"{row['trial_id']}\.safetensors cannot be read"):
        models.restore(copy, row)


def test_kept_weights_of_another_trial_are_not_exported(kept_trials: Results, tmp_path: Path) -> None:
    copy, row = damaged_weights(kept_trials, tmp_path, lambda content: content)
    path = tmp_path / "weights" / f"{row['trial_id']}.safetensors"
    named, about = weights.arrays(path)
    path.write_bytes(safetensors.numpy.save({**named, "0.weight": -named["0.weight"]}, about))
    with pytest.raises(MachineError, match="damaged, or another trial's"):
        models.write_model(copy, row, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".tmp-*"))


def test_an_incomplete_export_is_reported(kept_trials: Results, tmp_path: Path) -> None:
    folder = models.write_model(kept_trials, selection.choose(kept_trials, "best"), tmp_path / "out").folder
    about = json.loads((folder / "trial.json").read_text())
    for broken in ({k: v for k, v in about.items() if k != "image"}, {**about, "image": [9, 9]}):
        (folder / "trial.json").write_text(json.dumps(broken))
        with pytest.raises(UsageError, match="does not hold a whole export"):
            harness.load_model(folder)
    (folder / "trial.json").write_text("{")
    with pytest.raises(UsageError, match=r"trial\.json cannot be read.*Export the trial again"):
        harness.load_model(folder)


def test_weights_of_another_network_are_reported(kept_trials: Results) -> None:
    other = row_of(kept_trials, "output=CE,activation=relu,seed=0")
    model = models.restore(kept_trials, other)
    named: Mapping[str, Any] = {"0.weight": np.zeros((3, 64), np.float32), "0.bias": np.zeros(3, np.float32)}
    with pytest.raises(UsageError, match=r"another network's: 0\.bias \(3,\)"):
        models.rebuild(model.trial, named)


def test_an_export_of_another_format_is_reported(kept_trials: Results, tmp_path: Path) -> None:
    folder = models.write_model(kept_trials, selection.choose(kept_trials, "best"), tmp_path / "out").folder
    about = json.loads((folder / "trial.json").read_text())
    (folder / "trial.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(UsageError, match="exported in format 99; this version reads 1"):
        harness.load_model(folder)
    with pytest.raises(UsageError, match="not an exported trial"):
        harness.load_model(tmp_path)

"""Parts: what a stack leaves behind. Weights rebuild the network, predictions are what it said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from harness import results
from harness.data.arm_settings import Settings
from harness.data.samples import SPLITS, prepare
from harness.planning import plan
from harness.study.study import Study
from harness.study.trials import resolve
from harness.training import executors, runs
from harness.training.tasks import StackTask

Make = Callable[..., Study]
Floats = NDArray[np.floating[Any]]


def with_weights(path: Path) -> tuple[dict[str, str], Mapping[str, Floats]]:
    with safetensors.safe_open(path, framework="numpy") as file:
        about = file.metadata()
    return about, safetensors.numpy.load_file(path)


def logits(weights: Mapping[str, Floats], x: Floats, activation: Callable[[Floats], Floats]) -> Floats:
    """The network from its file alone: what a person without this package would write."""
    layers = len(weights) // 2
    for i in range(layers):
        x = x @ weights[f"{i}.weight"].T + weights[f"{i}.bias"]
        x = activation(x) if i < layers - 1 else x
    return x


def train(folder: Path, study: Study) -> results.Results:
    runs.train(study, folder, device="cpu", workers=1)
    return results.read(folder)


def test_weights_rebuild_the_network_and_its_accuracy(study_of: Make, tmp_path: Path) -> None:
    axes = {"activation": ["tanh", "relu"], "hidden": [[8], [7, 6], []], "loss": ["ce", "mse"]}
    read = train(tmp_path, study_of(axes, study={"keep_weights": "all", "seeds": 1}))
    functions: dict[str, Callable[[Floats], Floats]] = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
    rows = read.trials.set_index("trial_id")
    assert {path.stem for path in (tmp_path / "weights").iterdir()} == set(rows.index)
    for trial_id, row in rows.iterrows():
        about, weights = with_weights(tmp_path / "weights" / f"{trial_id}.safetensors")
        settings = json.loads(about["settings"])
        assert (about["trial_id"], about["seed"]) == (trial_id, str(row["seed"]))
        assert str(settings["hidden"]) == row["hidden"]
        test = prepare(Settings(settings)).test
        z = logits(weights, test.x, functions[settings.get("activation", "relu")])
        assert np.float64(f"{(z.argmax(1) == test.y).mean():.7g}") == row["test_accuracy"]
        assert sum(w.size for w in weights.values()) == row["parameters"]
        assert all(w.dtype == np.float32 for w in weights.values())


def test_best_keeps_one_network_a_data_set_the_best_by_val(study_of: Make, tmp_path: Path) -> None:
    study = study_of({"batch_size": [16, 64], "lr": [0.1, 0.11, 1e-6]}, study={"seeds": 3})
    rows = train(tmp_path, study).trials.set_index("trial_id")
    (kept,) = (tmp_path / "weights").iterdir()
    assert rows.loc[kept.stem, "val_accuracy"] == rows["val_accuracy"].max()


def test_best_is_kept_where_trials_tie(study_of: Make, tmp_path: Path) -> None:
    # Steps too small to change one prediction: every trial of a seed has the same accuracies.
    rows = train(tmp_path, study_of({"lr": [3e-9, 1e-9, 2e-9]}, study={"seeds": 1})).trials
    assert rows["val_accuracy"].min() == rows["val_accuracy"].max()
    (kept,) = (tmp_path / "weights").iterdir()
    assert kept.stem in set(rows["trial_id"])


def test_keep_weights_none_keeps_no_weights(study_of: Make, tmp_path: Path) -> None:
    train(tmp_path, study_of(epochs=1, study={"keep_weights": "none"}))
    assert not list(tmp_path.rglob("*.safetensors"))


def predictions(folder: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """trial_id -> what was predicted of it, by the names in the files."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for path in (folder / "predictions").glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            for k, trial_id in enumerate(arrays["trial_id"]):
                found[str(trial_id)] = {
                    name: arrays[name][k] if arrays[name].ndim == 2 else arrays[name] for name in arrays.files
                }
    return found


def test_predictions_are_those_of_the_table(study_of: Make, tmp_path: Path) -> None:
    axes = {"head": ["identity", "softmax", "sigmoid", "log_softmax"], "batch_size": [16, 64]}
    read = train(tmp_path, study_of(axes, loss="mse", study={"keep_predictions": list(SPLITS)}))
    rows = read.trials.set_index("trial_id")
    found = predictions(tmp_path)
    assert found.keys() == set(rows.index)
    data = prepare(resolve({"dataset": "digits"}))
    for trial_id, arrays in found.items():
        for split in SPLITS:
            label, said = arrays[f"{split}_label"], arrays[f"{split}_predicted"]
            assert (label == data[split].y).all()
            assert (arrays[f"{split}_index"] == data[split].index).all()
            assert float(f"{(label == said).mean():.7g}") == rows.loc[trial_id, f"{split}_accuracy"]
            confidence = arrays[f"{split}_confidence"]
            assert confidence.shape == said.shape
            assert np.isfinite(confidence).all()
            if rows.loc[trial_id, "head"] != "identity":
                assert ((confidence > 0) & (confidence <= 1)).all()
        pairs = zip(arrays["test_label"].tolist(), arrays["test_predicted"].tolist(), strict=True)
        table = read.confusion.query("trial_id == @trial_id and split == 'test'")
        assert table.set_index(["label", "prediction"])["count"].to_dict() == Counter(pairs)


@pytest.mark.parametrize("keep", [[], ["test"], ["val", "test"]])
def test_predictions_are_kept_of_the_splits_asked_for(
    study_of: Make, tmp_path: Path, keep: list[str]
) -> None:
    train(tmp_path, study_of(epochs=1, study={"keep_predictions": keep}))
    found = predictions(tmp_path)
    assert len(found) == (2 if keep else 0)
    for arrays in found.values():
        assert {name.split("_")[0] for name in arrays} == {*keep, "trial"}


def test_a_diverged_network_predicts_nothing(study_of: Make, tmp_path: Path) -> None:
    rows = train(tmp_path, study_of({"lr": [0.1, 1e25]}, loss="mse", study={"keep_weights": "all"})).trials
    assert set(rows["status"]) == {"ok", "diverged"}
    ok = set(rows.loc[rows["status"] == "ok", "trial_id"])
    assert predictions(tmp_path).keys() == ok
    assert {path.stem for path in (tmp_path / "weights").iterdir()} == ok


def test_shares_of_a_stack_keep_their_predictions_when_one_diverges_whole(
    study_of: Make, tmp_path: Path
) -> None:
    kept = {"seeds": 1, "keep_predictions": ["test"]}
    study = study_of({"lr": [0.1, 1e25]}, loss="mse", study=kept)
    (stack,) = plan.make(study).stacks
    done = executors.run_task(StackTask(stack, "cpu", study, tmp_path, shares=2))
    assert done.statuses == {"ok": 1, "diverged": 1}
    ok = next(trial.trial_id for trial in stack.trials if trial.arm.settings["lr"] == 0.1)
    assert list(predictions(tmp_path)) == [ok]

"""Networks of images with channels: the same in all engines, from the right pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import colour_digits
import numpy as np
import pytest
import torch

import harness
from harness import results
from harness.data.datasets import datasets
from harness.data.preprocessing import preprocessings
from harness.exporting import models
from harness.results import weights
from harness.study.reading import parse
from harness.training import runs

LOSSES = ["train_loss", "val_loss", "test_loss"]


AXES = {"dataset": ["tinted", "deep"]}
SHORT = {"epochs": 1, "batch_size": 256}


def study(axes: Any, **baseline: Any) -> Any:
    return parse(
        {
            "study": {"name": "colours", "seeds": 2 if axes else 1, "keep_weights": "all"},
            "baseline": {"dataset": "tinted", "epochs": 2, "hidden": [12], **baseline},
            "axes": axes,
        }
    )


@pytest.fixture
def colours() -> None:
    colour_digits.register()
    colour_digits.register("deep", 65535)


def trained(folder: Path, engine: Any = "stacked", axes: Any = AXES, **baseline: Any) -> Any:
    runs.train(study(axes, **baseline), folder, engine=engine, workers=1, device="cpu")
    return results.read(folder)


def flat(images: Any) -> Any:
    """One channel after the other."""
    return np.concatenate([images[..., channel].reshape(len(images), -1) for channel in range(3)], 1)


@pytest.mark.usefixtures("colours")
def test_an_mlp_learns_the_same_in_all_engines(tmp_path: Path) -> None:
    stacked = trained(tmp_path / "stacked", preprocessing="standardize").trials
    assert list(stacked.status) == ["ok"] * 4
    for engine in ("loop", "numpy"):
        other = trained(tmp_path / engine, engine, preprocessing="standardize").trials
        assert list(other.trial_id) == list(stacked.trial_id)
        for column in LOSSES:
            np.testing.assert_allclose(other[column], stacked[column], rtol=2e-4)


@pytest.mark.usefixtures("colours", "in_pytorch")
def test_an_mlp_learns_the_same_without_kernels(tmp_path: Path) -> None:
    torch_stacks, loop = trained(tmp_path / "torch").trials, trained(tmp_path / "loop", "loop").trials
    for column in LOSSES:
        np.testing.assert_allclose(torch_stacks[column], loop[column], rtol=2e-4)


@pytest.mark.usefixtures("colours")
def test_an_mlps_weights_are_of_pixels_one_channel_after_the_other(tmp_path: Path) -> None:
    """Its test accuracy is that of the kept weights, applied by hand to the images as they came."""
    found = trained(tmp_path / "run")
    for _, row in found.trials.iterrows():
        named, _ = weights.arrays(tmp_path / "run" / "weights" / f"{row.trial_id}.safetensors")
        images = datasets[row.dataset].load()
        full = 255 if row.dataset == "tinted" else 65535
        hidden = np.maximum(flat(images.test_images) / full @ named["0.weight"].T + named["0.bias"], 0)
        logits = hidden @ named["1.weight"].T + named["1.bias"]
        right = (logits.argmax(1) == images.test_labels).mean()
        assert right == pytest.approx(row.test_accuracy, abs=1 / 360)
        assert right > 0.3


@pytest.mark.usefixtures("colours")
@pytest.mark.parametrize(
    ("apply", "shape", "architecture"),
    [
        (lambda x: x[:, :2, 1:7] / 255, (2, 6, 8), "lenet5"),
        (lambda x: np.concatenate(list(x.swapaxes(0, 1)), -1) / 255, (1, 8, 24), "lenet5"),
        (lambda x: x.reshape(len(x), -1)[:, 5:105] / 255, (1, 1, 100), "mlp"),
    ],
    ids=["cropped", "channels side by side", "rows"],
)
def test_an_export_keeps_the_shape_that_an_own_preprocessing_gives(
    apply: Any, shape: Any, architecture: str, tmp_path: Path
) -> None:
    preprocessings.register("own")(apply)
    found = trained(tmp_path / "run", axes={}, architecture=architecture, preprocessing="own", **SHORT)
    folder = models.write_model(found, found.trials.iloc[0], tmp_path / "out").folder
    about = json.loads((folder / "trial.json").read_text())
    assert (about["image"], about["shape"]) == ([8, 8, 3], list(shape))
    model = harness.load_model(folder)
    assert model.shape == (shape if architecture == "lenet5" else None)
    split = harness.split_dataset(found.trial(), "test")
    assert split.image_shape == shape
    with torch.no_grad():
        right = (model(split.x).argmax(1) == split.y).float().mean()
    assert float(right) == pytest.approx(found.trials.test_accuracy[0], abs=1 / 360)
    if shape == (1, 1, 100):  # an export of before says no shape, but the number of values
        (folder / "trial.json").write_text(json.dumps({k: v for k, v in about.items() if k != "shape"}))
        assert harness.load_model(folder).inputs == 100


@pytest.mark.usefixtures("colours")
def test_a_convolution_gets_the_channels_and_is_exported_with_them(tmp_path: Path) -> None:
    found = trained(tmp_path / "run", axes={}, architecture="lenet5", **SHORT)
    row = found.trials.iloc[0]
    folder = models.write_model(found, row, tmp_path / "out").folder
    model = harness.load_model(folder)
    images = datasets["tinted"].load()
    x = torch.from_numpy(images.test_images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        logits = model.net(x)
        torch.testing.assert_close(model(torch.from_numpy(flat(images.test_images)) / 255), logits)
    right = float((logits.argmax(1).numpy() == images.test_labels).mean())
    assert right == pytest.approx(row.test_accuracy, abs=1 / 360)

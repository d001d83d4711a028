"""What a node of a cluster is sent: components, facts and images, opened in a process without the files."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from harness.axes import own_networks, plugins
from harness.data import cache, received_images, samples
from harness.errors import UsageError
from harness.lowering import compiler
from harness.planning import plan
from harness.planning.plan import Plan
from harness.registry import PACKAGE_ROOT
from harness.study.reading import load
from harness.training import folder_runs
from harness.training.cluster import shipment
from harness.training.cluster.shipment import Shipment

AXES = """
import pathlib
import numpy as np
import my_scales
from harness.data.datasets import datasets
from harness.data.images import Images
from harness.data.preprocessing import preprocessings

@preprocessings.register("own_scale")
def own_scale(images, statistics):
    '''Pixels by a scale of a file beside this one.'''
    return my_scales.scaled(images).reshape(len(images), -1)

@datasets.register("own_squares", classes=("dark", "light"), pixel_max=255)
def own_squares():
    '''Squares of a file that only this machine has.'''
    pixels = np.load(pathlib.Path(__file__).with_name("squares.npy"))
    labels = (np.arange(len(pixels)) % 2).astype(np.int64)
    return Images(pixels[:40], labels[:40], pixels[40:], labels[40:])
"""
SCALES = "def scaled(images):\n    return images.astype('float32') / 300\n"
STUDY = {
    "study": {"name": "shipped", "seeds": 2, "plugins": ["my_axes.py"], "metrics": []},
    "baseline": {"dataset": "own_squares", "preprocessing": "own_scale", "hidden": [4], "steps": 3},
    "axes": {"lr": [0.1, 0.2]},
}
CHILD = """
import json, pickle, sys
from pathlib import Path
from harness.data import received_images
content, folder = pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
shipment, trials, arrays = content
said = {"refused": shipment.open(folder)}
if not said["refused"]:
    said["lacking"] = shipment.lacking()
    for name in said["lacking"]:
        received_images.take(shipment.data[name].digest, lambda: arrays[name])
    from harness.data.samples import prepare
    from harness.training import executors
    executors.check_components(trials)
    said["pixels"] = float(prepare(trials[0].arm.settings).train.x.sum()) if trials else 0
    said["torch"] = "torch" in sys.modules
print(json.dumps(said))
"""


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    """Draw a study with a plugin, a file that this imports, and a data set of a file, in the folder here/."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "my_axes.py").write_text(AXES)
    (here / "my_scales.py").write_text(SCALES)
    (here / "study.toml").write_bytes(tomli_w.dumps(STUDY).encode())
    np.save(here / "squares.npy", np.random.default_rng(0).integers(0, 255, (60, 4, 4), np.uint8))
    monkeypatch.syspath_prepend(here)
    for name in ("cache", "theirs"):  # empty but for compiled code, as that of a machine that has trained
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernels").symlink_to(compiler.folder(), target_is_directory=True)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    yield plan.draw(load(here / "study.toml"))
    sys.modules.pop("my_scales", None)


def packed(drawn: Plan, engine: str = "stacked") -> Shipment:
    return shipment.pack(drawn, folder_runs.third_party_modules(drawn, engine), engine)


def opened(tmp_path: Path, sent: Shipment, drawn: Plan, cache: str = "theirs") -> dict[str, Any]:
    """Open a shipment in a process that has another cache, and none of the study's files."""
    arrays = {
        name: received_images.arrays_of(samples.load(dataset)) for name, dataset in drawn.datasets.items()
    }
    away = tmp_path / "away"
    (tmp_path / "here").rename(away)
    (tmp_path / "sent").write_bytes(pickle.dumps((sent, list(drawn.trials), arrays)))
    environment = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE_ROOT.parent),
        "HARNESS_DATA": str(tmp_path / cache),
    }
    command = [sys.executable, "-c", CHILD, str(tmp_path / "sent"), str(tmp_path / "node")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    away.rename(tmp_path / "here")
    assert not done.returncode, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_node_without_the_files_trains_the_same_trials_on_the_same_pixels(
    drawn: Plan, tmp_path: Path
) -> None:
    sent = packed(drawn)
    assert sorted(Path(name).name for name in sent.files) == ["my_axes.py", "my_scales.py"]
    pixels = float(samples.prepare(drawn.trials[0].arm.settings).train.x.sum())
    said = opened(tmp_path, sent, drawn)
    assert said == {"refused": "", "lacking": ["own_squares"], "pixels": pixels, "torch": False}
    again = opened(tmp_path, sent, drawn)
    assert again == {**said, "lacking": []}, "the images are in the node's own cache"


def test_another_component_on_the_node_is_refused(drawn: Plan, tmp_path: Path) -> None:
    sent = packed(drawn)
    scales = next(name for name in sent.files if name.endswith("my_scales.py"))
    files = {**sent.files, scales: SCALES.replace("300", "301").encode()}
    said = opened(tmp_path, replace(sent, files=files), drawn)
    assert "preprocessing 'own_scale' than the driver" in said["refused"]


def test_a_plugin_that_does_not_run_on_the_node_is_refused(drawn: Plan, tmp_path: Path) -> None:
    sent = packed(drawn)
    files = {name: content for name, content in sent.files.items() if not name.endswith("my_scales.py")}
    said = opened(tmp_path, replace(sent, files=files), drawn)
    assert "cannot load the study's components" in said["refused"]
    assert "my_scales" in said["refused"]


def test_a_network_of_a_persons_own_is_sent(drawn: Plan, tmp_path: Path) -> None:
    good = (PACKAGE_ROOT.parent / "docs" / "examples" / "my_network.py").read_text(encoding="utf-8")
    (tmp_path / "here" / "my_net.py").write_text(good, encoding="utf-8")
    engine = own_networks.named(tmp_path / "here" / "my_net.py")
    sent = packed(drawn, engine)
    assert "my_net.py" in {Path(name).name for name in sent.files}
    assert opened(tmp_path, sent, drawn)["refused"] == ""
    changed = {name: content.replace(b"> 0", b">= 0") for name, content in sent.files.items()}
    assert "another network of your own" in opened(tmp_path, replace(sent, files=changed), drawn)["refused"]


def test_a_notebooks_component_cannot_be_sent(drawn: Plan) -> None:
    with pytest.raises(UsageError, match=r"cannot be sent to other machines\. Write it into a file"):
        shipment.pack(drawn, None, "stacked")


def test_other_files_in_the_nodes_cache_are_refused(
    study_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent = packed(plan.draw(study_of({"lr": [0.1]}, dataset="fashion_mnist", epochs=1)))
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert sent.lacking() == ["fashion_mnist"]
    (tmp_path / "fashion_mnist").mkdir()
    for name in cache.pins_of("fashion_mnist"):
        (tmp_path / "fashion_mnist" / name).write_bytes(b"other images")
    with pytest.raises(UsageError, match=r"has other data of the name fashion_mnist: .* damaged: expected"):
        sent.lacking()


def test_a_modules_package_is_sent_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_parts" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("SCALE = 3\n")
    (package / "__init__.py").write_text("")
    (package / "axes.py").write_text("from my_parts import SCALE\nfrom . import beside\n")
    (package / "beside.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    files, sent = shipment._files(["my_parts.inner.axes"])
    inner = ["__init__.py", "inner/__init__.py", "inner/axes.py", "inner/beside.py"]
    assert sorted(files) == [f"0/my_parts/{name}" for name in inner]
    assert sent == ["my_parts.inner.axes"]
    assert plugins.FILE not in "".join(sent)

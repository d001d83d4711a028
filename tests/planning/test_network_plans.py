"""Plans of networks: settings as axes, and what does not fit told before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.main import harness as commands
from harness.data.preprocessing import preprocessings
from harness.errors import UsageError
from harness.exporting.untrained import untrained
from harness.planning import compilation
from harness.results.fields import SETTINGS
from harness.study.space import applies
from harness.study.trials import identity_of, lone_trial, resolve
from harness.text import count

BASE: dict[str, Any] = {"dataset": "digits", "steps": 4}


def planned(tmp_path: Path, axes: str, baseline: str = 'architecture = "cnn"') -> tuple[int, str]:
    """Plan a study on the command line; give the exit code, and what it says."""
    file = tmp_path / "networks.toml"
    file.write_text(
        f'[study]\nname = "networks"\nseeds = 1\n[baseline]\ndataset = "digits"\nsteps = 4\n{baseline}\n'
        f"[axes]\n{axes}\n"
    )
    result = CliRunner().invoke(commands, ["plan", str(file)], standalone_mode=False)
    if isinstance(result.exception, UsageError):
        return 2, str(result.exception)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("axes", "baseline", "arms"),
    [
        ("channels = [[8], [16, 32], 4]\nkernel = [1, 3, 5]", 'architecture = "cnn"', 9),
        ('norm = ["none", "batch", "layer"]\npooling = ["max", "average"]', 'architecture = "cnn"', 6),
        ("blocks = [1, 2]\nskip = [true, false]\nchannels = [4, 8]", 'architecture = "resnet"', 8),
        ('architecture = ["mlp", "linear", "lenet5", "cnn", "resnet"]', "", 5),
        ('norm = ["none", "batch"]\nskip = [true, false]', "", 4),
        ("hidden = [[4], [8, 8]]", 'architecture = "cnn"\nreadout = "dense"', 2),
        ("hidden = [[4], [8, 8]]", 'architecture = "cnn"', 1),  # of a dense readout alone
        ("skip = [true, false]", 'architecture = "cnn"', 1),  # no channels are equal
        ("skip = [true, false]", 'architecture = "cnn"\nchannels = [4, 4]', 2),
        ("skip = [true, false]", "hidden = [8, 4]", 1),
    ],
)
def test_settings_are_axes(tmp_path: Path, axes: str, baseline: str, arms: int) -> None:
    code, told = planned(tmp_path, axes, baseline)
    assert code == 0, told
    assert f"{count(arms, 'arm')} x 1 seed = {count(arms, 'trial')}, " in told
    assert "multiplications and additions a forward pass of one image" in told


@pytest.mark.parametrize(
    ("axes", "baseline", "words"),
    [
        ("kernel = [3, 9]", 'architecture = "cnn"', "kernel = 9 is larger than its images, 8 x 8"),
        ("channels = [[2, 4, 8, 16]]", 'architecture = "cnn"', "below one pixel at layer 4"),
        ("channels = [[4], [4, 8]]", 'architecture = "resnet"', "allowed: a whole number, such as 16"),
        ("kernel = [4]", 'architecture = "cnn"', "an odd number"),
        ('norm = ["group"]', 'architecture = "cnn"', "'none', 'batch' or 'layer'"),
        ('pooling = ["min"]', 'architecture = "cnn"', "'max', 'average', 'stride' or 'none'"),
        ('readout = ["mean"]', 'architecture = "cnn"', "'global' or 'dense'"),
        ("blocks = [0]", 'architecture = "resnet"', "greater than or equal to 1"),
        ("skip = [1]", 'architecture = "resnet"', "valid boolean"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, axes: str, baseline: str, words: str) -> None:
    code, told = planned(tmp_path, axes, baseline)
    assert code == 2
    assert words in told
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("architecture", ["cnn", "lenet5", "resnet"])
def test_rows_are_no_images(architecture: str) -> None:
    @preprocessings.register("halves")
    def halves(x: Any, train: Any) -> Any:  # noqa: ARG001
        return x.reshape(len(x), -1)[:, ::2]

    given = {**BASE, "architecture": architecture, "preprocessing": "halves"}
    with pytest.raises(UsageError, match=r"gives rows of 32 numbers.*mlp"):
        untrained(given)
    assert untrained({**given, "architecture": "linear"}).arm.settings.architecture == "linear"


def test_one_number_is_a_list_of_it_and_means_the_same() -> None:
    one, listed = (resolve({**BASE, "architecture": "cnn", "channels": value}) for value in (8, [8]))
    assert one == listed
    assert resolve({**BASE, "architecture": "resnet", "channels": 8})["channels"] == 8


def test_settings_without_effect_are_left_out() -> None:
    def of(**given: Any) -> set[str]:
        return {"hidden", "activation", "dropout", "norm", "skip"} & {*resolve({**BASE, **given})}

    assert of(hidden=[]) == {"hidden"}
    assert of(architecture="linear") == set()
    assert of(architecture="lenet5") == {"activation"}
    assert of(architecture="cnn") == {"activation", "dropout", "norm"}
    assert of(architecture="cnn", channels=[4, 4], readout="dense", hidden=[]) == {
        "hidden", "activation", "dropout", "norm", "skip",
    }  # fmt: skip
    assert of(hidden=[4, 4]) == {"hidden", "activation", "dropout", "norm", "skip"}


def test_ids_of_plain_mlps_know_nothing_of_norms_and_those_of_other_networks_have_a_version() -> None:
    plain = identity_of(resolve(BASE))
    for name in ("norm", "skip", "initial_weights", "networks"):
        assert f'"{name}"' not in plain
    assert identity_of(resolve({**BASE, "norm": "none", "skip": False})) == plain
    assert identity_of(resolve({**BASE, "initial_weights": "uniform_fan_in"})) == plain
    assert '"initial_weights": "normal"' in identity_of(resolve({**BASE, "initial_weights": "normal"}))
    assert lone_trial(resolve({"dataset": "digits"}), 0).trial_id == "tb597377f5a2e"
    assert '"norm"' in identity_of(resolve({**BASE, "norm": "batch"}))
    assert '"skip"' in identity_of(resolve({**BASE, "skip": True}))
    assert '"networks": 1' in identity_of(resolve({**BASE, "architecture": "lenet5"}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"norm": "batch"}, "norm = 'batch'"), ({"skip": True}, "skip = true"),
        ({"architecture": "cnn"}, "architecture 'cnn'"),
        ({"architecture": "linear"}, "architecture 'linear'"),
    ],
)  # fmt: skip
def test_compilation_says_why_a_network_trains_in_pytorch(settings: dict[str, Any], words: str) -> None:
    assert words in compilation.unfit_shape(resolve({**BASE, **settings}))
    assert compilation.unfit_shape(resolve(BASE)) == ""


@pytest.mark.parametrize(
    ("name", "given", "effect"),
    [
        ("norm", {"hidden": []}, False), ("norm", {"hidden": [4]}, True), ("kernel", {}, False),
        ("kernel", {"architecture": "cnn"}, True), ("blocks", {"architecture": "cnn"}, False),
        ("blocks", {"architecture": "resnet"}, True), ("hidden", {"architecture": "cnn"}, False),
        ("hidden", {"architecture": "cnn", "readout": "dense"}, True),
        ("activation", {"architecture": "linear"}, False), ("dropout", {"architecture": "cnn"}, True),
        ("activation", {"architecture": "cnn", "hidden": []}, True),
        ("skip", {"architecture": "cnn", "channels": [4, 8]}, False),
        ("skip", {"architecture": "cnn", "channels": [4, 4]}, True),
    ],
)  # fmt: skip
def test_a_search_draws_settings_where_they_have_an_effect(
    name: str, given: dict[str, Any], effect: bool
) -> None:
    assert applies(name, {"architecture": "mlp", **given}) == effect


def test_settings_of_networks_have_meanings() -> None:
    result = CliRunner().invoke(commands, ["list"])
    for name in ("channels", "kernel", "pooling", "norm", "skip", "readout", "blocks"):
        assert SETTINGS[name][1].endswith(".")
        assert f"{name}=" in result.output


def test_a_list_of_one_axis_says_what_settings_mean() -> None:
    output = CliRunner().invoke(commands, ["list", "architecture"]).output
    described = output.partition("\nsettings\n")[2]
    meaning = "Normalisation of a layer's outputs before its activation. none, batch, layer."
    assert f"  {'norm':<16} {meaning}\n" in described
    assert "  blocks           Blocks of two convolutions in each stage of resnet.\n" in described

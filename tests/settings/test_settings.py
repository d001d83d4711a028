from __future__ import annotations

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.axes import plugins
from harness.data.arm_settings import Settings
from harness.settings import CORE, TYPES, Setting, declared
from harness.study.trials import resolve

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
reals = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = ["lr"]
NOT_NEGATIVE = ["eps", "weight_decay", "lr_decay", "initial_accumulator_value", "ccql_weight"]
FRACTIONS = ["momentum", "dampening", "alpha", "val_fraction"]
COUNTS = ["batch_size", "epochs", "steps"]


def check(name: str, value: object, default: Any = None) -> object:
    return Setting(name, default).check(value)


@pytest.mark.parametrize("name", POSITIVE)
@steady
@given(value=reals)
def test_positive_numbers_are_checked(name: str, value: float) -> None:
    if 0 < value <= 1e30:
        assert check(name, value) == value
    else:
        with pytest.raises(ValueError, match="greater than 0" if value <= 0 else "less than or equal to 1"):
            check(name, value)


@pytest.mark.parametrize("name", NOT_NEGATIVE)
@steady
@given(value=reals)
def test_non_negative_numbers_are_checked(name: str, value: float) -> None:
    if value >= 0:
        assert check(name, value) == value
    else:
        with pytest.raises(ValueError, match="greater than or equal to 0"):
            check(name, value)


@pytest.mark.parametrize("name", FRACTIONS)
@steady
@given(value=st.floats(-2, 2))
def test_fractions_are_checked(name: str, value: float) -> None:
    if 0 <= value < 1:
        assert check(name, value) == value
    else:
        with pytest.raises(ValueError, match=r"less than 1|greater than or equal to 0"):
            check(name, value)


@pytest.mark.parametrize("name", COUNTS)
@steady
@given(value=st.integers(-5, 10**6))
def test_counts_are_checked(name: str, value: int) -> None:
    if value >= 1:
        assert check(name, value) == value
    else:
        with pytest.raises(ValueError, match="greater than or equal to 1"):
            check(name, value)


@steady
@given(count=st.integers(1, 10**9))
def test_a_whole_number_is_accepted_as_a_float(count: int) -> None:
    checked = check("lr", count)
    assert checked == count
    assert isinstance(checked, float)


@pytest.mark.parametrize("name", [*POSITIVE, *NOT_NEGATIVE, *FRACTIONS, "gamma"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.1", True, None, [0.1]])
def test_values_other_than_finite_numbers_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"number|finite|less than|greater than"):
        check(name, value)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [1.5, 2.0, "3", True, None])
def test_values_other_than_whole_numbers_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="valid integer"):
        check(name, value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gamma", 0.0, "greater than 0"),
        ("kernel", 4, "an odd number"),
        ("kernel", 0, "greater than or equal to 1"),
        ("channels", [], "at least 1"),
        ("channels", [16, 0], "greater than or equal to 1"),
        ("channels", 0, "valid list"),
        ("norm", "group", "'none', 'batch' or 'layer'"),
        ("pooling", "min", "'max', 'average', 'stride' or 'none'"),
        ("readout", "flat", "'global' or 'dense'"),
        ("initial_weights", "he", "'he_normal'"),
        ("blocks", 0, "greater than or equal to 1"),
        ("gamma", 1.1, "less than or equal to 1"),
        ("hidden", [16, 0], "greater than or equal to 1"),
        ("hidden", 16, "list"),
        ("hidden", [1.5], "integer"),
        ("betas", [0.9], "at least 2"),
        ("betas", [0.9, 0.99, 0.999], "at most 2"),
        ("betas", [0.9, 1.0], "less than 1"),
        ("split_seed", -1, "greater than or equal to 0"),
        ("label_noise", 1.0, "less than 1"),
        ("label_noise_seed", -1, "greater than or equal to 0"),
        ("dropout", 1.0, "less than 1"),
        ("dropout", -0.1, "greater than or equal to 0"),
        ("label_smoothing", 1.0, "less than 1"),
        ("label_smoothing", -0.1, "greater than or equal to 0"),
        ("sampling", "shuffled", "'shuffle', 'sequential' or 'replacement'"),
        ("match", "none", "'kind' or 'ignore'"),
        ("val_split", "even", "'stratified', 'balanced', 'random', 'blocks' or 'last'"),
        ("eval_every", "1 day", "'1 epoch', '5 epochs', '50 steps' or the like"),
        ("eval_every", 0, "'1 epoch', '5 epochs', '50 steps' or the like"),
        ("eval_every", "0 steps", "'1 epoch'"),
        ("eval_every", True, "'1 epoch'"),
        ("eval_every", 1.5, "'1 epoch'"),
    ],
)
def test_messages_state_the_allowed_values(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        check(name, value)
    assert not str(error.value).startswith(("Input", "Value error"))


@steady
@given(count=st.integers(1, 999), unit=st.sampled_from(["epoch", "step"]), plural=st.sampled_from(["", "s"]))
def test_an_interval_has_one_spelling(count: int, unit: str, plural: str) -> None:
    checked = check("eval_every", f"{count} {unit}{plural}")
    assert checked == f"{count} {unit}{'s' if count > 1 else ''}"
    assert check("eval_every", checked) == checked
    if unit == "epoch":
        assert check("eval_every", count) == checked


GOOD: dict[str, list[object]] = {
    "betas": [[0, 0.5], [0.9, 0.999]], "hidden": [[], [3], [32, 32]], "gamma": [1, 0.5],
    "hidden.depth": [0, 3], "hidden.width": [1, 32], "channels.depth": [1, 3], "channels.width": [1, 32],
    "val_split": ["random"], "sampling": ["shuffle", "replacement"], "match": ["kind", "ignore"],
    "channels": [[3], [16, 32], 16], "kernel": [1, 5], "pooling": ["none"], "norm": ["none", "batch"],
    "readout": ["dense"], "initial_weights": ["he_normal"], "blocks": [1, 3], "split_seed": [0, 7],
    "label_noise": [0.0, 0.4],
    "label_noise_seed": [0, 7], "start_seed": [0, 7], "order_seed": [0, 7], "dropout_seed": [0, 7],
    "augmentation_seed": [0, 7],
    "dropout": [0, 0.5],
    "label_smoothing": [0, 0.1],
    "shift_pixels": [1, 3], "flip_probability": [1, 0.5], "rotate_degrees": [1, 22.5],
    "mixup_alpha": [1, 0.2], "erase_probability": [1, 0.5], "erase_share": [[0, 0.5], [0.02, 0.02]],
    "pixel_dropout_share": [0, 0.5],
    "eval_every": [1, 3, "1 epochs", "2 step", "50 steps"], "lr": [1, 1e-9],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TYPES))
def test_canonical_values_are_fixed_points(name: str) -> None:
    usual = [1, 5] if name in COUNTS else [0, 0.5]
    for value in GOOD.get(name, usual):
        checked = check(name, value)
        assert check(name, checked) == checked
        assert type(check(name, checked)) is type(checked)


def test_an_unlisted_setting_is_of_its_defaults_type() -> None:
    assert check("mine", 2, default=0.5) == 2.0
    assert check("mine", False, default=True) is False
    assert check("mine", "b", default="a") == "b"
    for value, default in ((True, 0.5), (1, True), (1, "a"), (math.nan, 0.5)):
        with pytest.raises(ValueError, match=r"\w"):
            check("mine", value, default=default)
    assert check("mine", 3) == 3.0  # without a default: a number


def test_declared_are_the_keyword_only_parameters() -> None:
    def component(x: float, y: float = 1.0, *, rate: float = 0.5, betas: tuple[float, float] = (0.9, 0.99), w: float) -> None:  # fmt: skip  # noqa: E501
        """Nothing."""

    assert declared(component) == {
        "rate": Setting("rate", 0.5), "betas": Setting("betas", [0.9, 0.99]), "w": Setting("w", None)
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name, setting in CORE.items() if setting.default is not None])
def test_every_default_is_allowed_and_canonical(name: str) -> None:
    default = CORE[name].default
    assert CORE[name].check(default) == default


def test_defaults_as_the_readme_has_them() -> None:
    assert {name: setting.default for name, setting in CORE.items()} == {
        "dataset": "mnist", "preprocessing": "unit", "val_fraction": 0.1, "val_split": "stratified",
        "split_seed": 0, "architecture": "mlp", "activation": "relu", "head": "identity", "loss": "ce",
        "optimizer": "sgd", "schedule": "constant", "batch_size": 32, "epochs": 5, "steps": None,
        "sampling": "shuffle", "match": "kind", "eval_every": "1 epoch", "label_noise": 0.0,
        "label_noise_seed": 0, "label_smoothing": 0.0, "augmentation": "none",
        "start_seed": None, "order_seed": None, "dropout_seed": None, "augmentation_seed": None,
    }  # fmt: skip


@pytest.mark.parametrize("given", [(16, 32), np.array([16, 32]), [np.int64(16), 32]])
def test_values_of_a_notebook_are_those_of_a_file(given: Any) -> None:
    checked: Any = check("hidden", given)
    assert checked == [16, 32]
    assert {type(width) for width in checked} == {int}
    assert type(check("lr", np.float64(0.1))) is float
    assert type(check("batch_size", np.int64(4), 32)) is int


def test_every_axis_is_a_setting_with_a_default_in_its_registry() -> None:
    for axis, registry in plugins.registries().items():
        assert CORE[axis].default in registry


def test_an_arms_settings_have_types_and_do_not_change() -> None:
    resolved = resolve({"dataset": "digits", "hidden": [8, 4], "lr": 0.5, "optimizer": "momentum"})
    assert (resolved.optimizer, resolved.hidden, resolved.lr, resolved.batch_size) == (
        "momentum",
        [8, 4],
        0.5,
        32,
    )
    assert (resolved.number("momentum"), resolved.facts.train, resolved.steps) == (0.9, 1437, None)
    resolved.hidden.append(2)
    assert resolved["hidden"] == [8, 4]
    other = resolved | {"lr": 0.25}
    assert (resolved.lr, other.lr, type(other)) == (0.5, 0.25, Settings)
    assert pickle.loads(pickle.dumps(resolved)) == resolved == dict(resolved)  # noqa: S301
    assert json.loads(json.dumps(dict(resolved))) == resolved
    with pytest.raises(TypeError):
        resolved["lr"] = 0.1  # type: ignore[index]


def test_settings_that_do_not_apply_have_the_value_that_does_nothing() -> None:
    resolved = resolve({"dataset": "digits", "hidden": [], "val_fraction": 0.0, "steps": 9})
    assert (resolved.hidden, resolved.activation, resolved.dropout) == ([], "identity", 0.0)
    assert (resolved.val_split, resolved.split_seed, resolved.epochs, resolved.steps) == (
        "random",
        0,
        None,
        9,
    )

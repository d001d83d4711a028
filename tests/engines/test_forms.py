"""Layer one reads batches in full or without common pixels: the same numbers, whichever is faster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_compiled import METRICS, assert_same, assert_same_bits, trial

from harness.data.samples import Data, Samples, prepare
from harness.engines import driver, kernels, self_test
from harness.engines.base import EngineOptions
from harness.engines.compiled import engine as compiled
from harness.engines.compiled import forms, group, training
from harness.engines.compiled.forms import Forms
from harness.engines.compiled.images import Expander, SparseForm, in_full, stored
from harness.engines.outcome import Outcome
from harness.engines.stacked import engine as pytorch
from harness.engines.stacked import tiled
from harness.lowering import builds, components
from harness.planning import compilation, grouping
from harness.study.trials import Trial
from harness.system import files

pytestmark = pytest.mark.skipif(bool(kernels.why_not()), reason=f"no kernels: {kernels.why_not()}")
EVERY = [Forms(a, b) for a in (False, True) for b in (False, True)]
OPTIONS = EngineOptions(metrics=METRICS)
CLOSE = 1e-9
"""In float64; optimizers that divide by little amplify rounding."""


class Training(training.CompiledTraining):
    """A stack whose form is given."""

    given: Forms

    def forms(self, batch: int) -> Forms:  # noqa: ARG002 (whatever the batch is)
        return self.given


def train(members: Sequence[Trial], data: Data, form: Forms, *, full: bool = False) -> Outcome:
    lowered = [components.of_trial(one.arm.settings, METRICS) for one in members]
    stack = Training(members, lowered, data, METRICS)
    stack.given, stack.in_full = form, full
    return driver.run(stack, OPTIONS)


def cases(**shared: Any) -> list[Trial]:
    """Ragged members of two seeds, that fill vectors and that do not; optimizers with states and without."""
    members = [
        trial(0, hidden=[12], **shared),
        trial(1, hidden=[33, 9], activation="tanh", dropout=0.3, **shared),
        trial(0, hidden=[24], optimizer="adam", weight_decay=0.03, **shared),
        trial(1, hidden=[24], optimizer="adam", amsgrad=True, **shared),
        trial(0, hidden=[300, 70], optimizer="rmsprop", centered=True, momentum=0.5, **shared),
        trial(1, hidden=[], head="softmax", loss="ql", label_smoothing=0.1, **shared),
        trial(0, hidden=[150, 40, 200], optimizer="adagrad", **shared),
    ]
    return grouping.side_by_side(members)


@pytest.mark.parametrize(
    "shared",
    [
        {"batch_size": 32}, {"batch_size": 20, "preprocessing": "standardize"},
        {"batch_size": 1, "steps": 41},
        {"batch_size": 3, "preprocessing": "invert"}, {"batch_size": 200, "steps": 41},
    ],
    ids=str,
)  # fmt: skip
def test_every_form_computes_what_pytorch_does(shared: dict[str, Any]) -> None:
    members = cases(**shared)
    data = prepare(members[0].arm.settings, np.float64)
    expected = pytorch_alone(members, data)
    for form in EVERY:
        assert_same(train(members, data, form), expected, CLOSE)
    assert_same(train(members, data, EVERY[-1], full=True), expected, CLOSE)


@pytest.mark.parametrize("form", EVERY, ids=str)
def test_a_members_bits_are_its_own_in_every_form(form: Forms, monkeypatch: pytest.MonkeyPatch) -> None:
    members = cases(batch_size=50, preprocessing="standardize")
    data = prepare(members[0].arm.settings)
    together = train(members, data, form)
    monkeypatch.setattr(group, "TRAINED_BYTES", 1)  # one member at a time
    monkeypatch.setattr(training, "STRETCH_VALUES", 3 * 64 * 64)  # other cuts
    for k, one in enumerate(members):
        assert_same_bits(together, k, train([one], data, form), 0)


def noise(n: int, d: int, dtype: Any = np.float64) -> Data:
    rng = np.random.default_rng(d)

    def split() -> Samples:
        return Samples(rng.random((n, d)).astype(dtype), rng.integers(0, 10, n), np.arange(n))

    return Data(split(), split(), split(), tuple("0123456789"))


@pytest.mark.parametrize(("n", "d", "count"), [(60, 75, 7), (5, 66_000, 1)])
def test_images_without_a_common_value_are_kept_in_full(n: int, d: int, count: int) -> None:
    """Of a size that fills no vector, and of more pixels than a compressed image counts."""
    members, data = cases(batch_size=20, steps=40)[:count], noise(n, d)
    if n < 20:
        members = [trial(batch_size=5, steps=2, eval_every="2 steps")]
    assert not compiled.why_not(members, data, "cpu", METRICS)
    lowered = [components.of_trial(one.arm.settings, METRICS) for one in members]
    stack = training.CompiledTraining(members, lowered, data, METRICS)
    assert stack.in_full
    assert stack.images("val").size == len(data.val.y)
    assert stack.forms(1) == Forms(products=True, gradients=True)
    assert_same(driver.run(stack, OPTIONS), pytorch_alone(members, data), CLOSE)


def pytorch_alone(members: Sequence[Trial], data: Data) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "why_not", lambda *_: "this test wants PyTorch")
        return pytorch.train(members, data, dtype=np.float64, options=OPTIONS)


@pytest.mark.parametrize("form", EVERY, ids=str)
def test_pytorchs_layers_stand_on_every_form(form: Forms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer one in C, all else in PyTorch, equals PyTorch alone."""
    monkeypatch.setattr(forms, "chosen", lambda *_: form)
    members = cases(batch_size=20, preprocessing="standardize")
    data = prepare(members[0].arm.settings, np.float64)
    ours = pytorch.train(members, data, dtype=np.float64, options=OPTIONS)
    assert_same(ours, pytorch_alone(members, data), CLOSE)


def test_expanded_batches_are_the_images() -> None:
    x = np.random.default_rng(0).random((9, 21)) * (np.random.default_rng(1).random((9, 21)) < 0.4)
    samples = Samples(x, np.zeros(9, np.int64), np.arange(9))
    index = np.array([[[3, 9, 0, 8], [1, 1, 9, 5]]])  # 9 is the empty image
    padded = np.vstack([x, np.zeros(21)])
    for full in (False, True):
        expand = Expander(21, x.dtype)
        batches = expand(stored(samples, SparseForm(None, 0.4), full=full), index, 3)
        assert expand.row >= 21
        rows = batches[: 8 * expand.row].reshape(2, 4, expand.row)[:, :3, :21]
        assert (rows == padded[index[0, :, :3]]).all()


def test_the_form_follows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ((1, "0" * 20), (8, "0" * 10 + "1" * 10), (64, "2" * 5 + "3" * 15))
    monkeypatch.setattr(kernels, "measured", lambda: kernels.Measured(forms=rows))
    assert forms.chosen(0.6, 1) == Forms(False, False)
    assert forms.chosen(0.6, 63) == Forms(True, False)
    assert forms.chosen(0.49, 63) == Forms(False, False)
    assert forms.chosen(0.24, 1024) == Forms(False, True)
    assert forms.chosen(1.0, 64) == Forms(True, True)


def test_the_form_where_nothing_is_measured_stays_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portable bits hang on it: products in full from a density of 0.5 on, gradients from 0.6 on."""
    monkeypatch.setattr(kernels, "measured", kernels.Measured)
    for density in np.arange(0, 1001) / 1000:
        assert forms.chosen(density, 7) == Forms(False, False)
        assert forms.chosen(density, 8) == Forms(bool(density >= 0.5), bool(density >= 0.6))


def test_images_take_the_fewer_bytes() -> None:
    samples = noise(3, 4, np.float32).train
    assert not in_full(samples, SparseForm(None, 0.6))
    assert in_full(samples, SparseForm(None, 0.7))  # 6 bytes a pixel that is left, 4 in full


def test_the_fastest_form_is_read_off_lines_between_densities() -> None:
    assert self_test.DENSITIES == (0.25, 0.5, 0.75)
    # Without pixels 2 + 8 (p - 1/4), products in full 3 + 4 (p - 1/4), all in full 5.5 - 4 (p - 1/2).
    taken = np.array([[2.0, 3.0, 9.0, 9.0], [4.0, 4.0, 9.0, 5.5], [6.0, 5.0, 9.0, 4.5]])
    assert self_test.fastest(taken) == "0" * 10 + "1" * 4 + "3" * 6
    assert self_test.fastest(taken[[0, 0, 0]]) == "0" * 20
    # Beyond the last density lines go on: gradients in full fall by 2 in a cell of 1/20.
    assert self_test.fastest(
        np.array([[1.0, 2.0, 99.0, 9.0], [1.0, 2.0, 20.0, 9.0], [1.0, 2.0, 9.9, 9.0]])
    ) == ("0" * 19 + "2")


def test_the_self_tests_words_are_read_or_refused() -> None:
    told = {"complaint": "", "wide": False, "dense": True, "forms": [[1, "0123"]]}
    found = kernels.Measured.from_text(json.dumps(told))
    assert found == kernels.Measured("", wide=False, dense=True, forms=((1, "0123"),))
    for wrong in ("", "fast", "[]", '{"complaint": ""}'):
        with pytest.raises(ValueError, match=r"self-test says|Expecting value"):
            kernels.Measured.from_text(wrong)


@pytest.fixture
def slow_when_wide() -> Iterator[None]:
    compilation.note_wide(faster=False)
    yield
    compilation.note_wide(faster=True)


@pytest.mark.usefixtures("slow_when_wide")
def test_wide_layers_are_pytorchs_where_it_is_faster() -> None:
    """They are planned apart from narrow ones, too."""
    wide, narrow = trial(hidden=[300]), trial(hidden=[128])
    data = prepare(wide.arm.settings)
    reason = compiled.why_not([wide], data, "cpu", ())
    assert reason.startswith("hidden = [300]: by the kernels' self-test, PyTorch is faster")
    assert not compiled.why_not([narrow], data, "cpu", ())
    assert compilation.why_not(wide.arm.settings) == reason
    with builds.using("portable"):
        assert not compilation.why_not(wide.arm.settings)


def test_dense_images_are_pytorchs_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "measured", lambda: kernels.Measured(dense=False))
    one = trial(hidden=[16])
    reason = compiled.why_not([one], noise(30, 75), "cpu", ())
    assert reason.startswith(
        "100% of the pixels differ from the most frequent value: by the kernels' self-test"
    )
    assert not compiled.why_not([one], prepare(one.arm.settings), "cpu", ())
    assert not tiled.pays([one], noise(30, 75))
    assert tiled.pays([one], prepare(one.arm.settings))


def test_wide_layers_have_pytorchs_layer_one_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "measured", lambda: kernels.Measured(wide=False))
    data = prepare(trial().arm.settings)
    assert not tiled.pays([trial(), trial(hidden=[300])], data)
    assert tiled.pays([trial()], data)


def test_the_first_process_decides_what_was_measured(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    first, second = (json.dumps(vars(kernels.Measured(forms=((1, x),)))) for x in ("0", "3"))
    kept.write_text("damaged")
    assert files.keep_first(kept, first, kernels._read) == kernels.Measured.from_text(first)
    assert files.keep_first(kept, second, kernels._read) == kernels.Measured.from_text(first)

"""Augmented batches: the same in every engine, stack and resumed training; evaluations see plain images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.axes.augmentations import augmentations, shifted
from harness.data.images import Images
from harness.data.pixel_source import PixelSource
from harness.data.preprocessing import preprocessings
from harness.data.samples import Data, Samples, prepare
from harness.engines import engine
from harness.engines.augmentation import AugmentedTrain, augmented
from harness.engines.base import EngineOptions
from harness.engines.states import Checkpoints, State, copied
from harness.errors import ComponentError
from harness.planning import compilation
from harness.rng import stream
from harness.study.trials import Arm, Trial, resolve

if TYPE_CHECKING:
    from harness.engines.outcome import Outcome

BASE: dict[str, Any] = {
    "dataset": "digits", "steps": 60, "batch_size": 40, "hidden": [12], "eval_every": "30 steps",
}  # fmt: skip
NAMES = [entry.name for entry in augmentations if entry.name != "none"]
ENGINES = ("stacked", "loop", "numpy")
EVERY = pytest.mark.parametrize("name", NAMES)


def trial(name: str = "base", seed: int = 0, **settings: Any) -> Trial:
    return Trial(f"t_{name}_{seed}", Arm(name, resolve({**BASE, **settings})), seed)


def train(trials: list[Trial], by: str = "stacked", options: Any = None) -> Outcome:
    data = prepare(trials[0].arm.settings, np.float64)
    return engine(by).train(trials, data, dtype=np.float64, options=options or EngineOptions())


def assert_close(outcome: Outcome, k: int, other: Outcome, m: int = 0) -> None:
    for name, value in other.weights[m].items():
        np.testing.assert_allclose(outcome.weights[k][name], value, rtol=0, atol=1e-10 * abs(value).max())


def batches(data: Data, settings: Any) -> AugmentedTrain:
    found = augmented(settings, data)
    assert found is not None
    return found


@EVERY
@pytest.mark.parametrize(
    "more", [{}, {"label_noise": 0.2, "label_smoothing": 0.1, "dropout": 0.3}], ids=["", "noisy"]
)
def test_engines_and_stacks_agree(name: str, more: dict[str, Any]) -> None:
    """Arms of two seeds in one stack, against each by itself in all engines."""
    arms: list[dict[str, Any]] = [
        {},
        {"activation": "tanh", "optimizer": "adam"},
        {"hidden": [9, 5], "lr": 0.3},
    ]
    for seeds in ([0], [0, 1]):
        chosen = arms[: 3 if seeds == [0] else 2]
        together = [
            trial(str(i), seed, augmentation=name, **{**more, **arm})
            for i, arm in enumerate(chosen)
            for seed in seeds
        ]
        outcome = train(together)
        for k, one in enumerate(together):
            for by in ENGINES if seeds == [0] else ("loop",):
                assert_close(outcome, k, train([one], by))


@EVERY
def test_stacks_of_convolutional_networks_agree_with_the_loop_engine(name: str) -> None:
    own: dict[str, Any] = {
        "augmentation": name, "architecture": "cnn", "channels": [4], "norm": "batch", "steps": 12,
        "label_smoothing": 0.1,
    }  # fmt: skip
    own["eval_every"] = "6 steps"
    for seeds in ((0, 0), (0, 1)):
        together = [trial(str(i), seed, **own, lr=0.1 / (1 + i)) for i, seed in enumerate(seeds)]
        outcome = train(together)
        for k, one in enumerate(together):
            assert_close(outcome, k, train([one], "loop"))


@EVERY
def test_it_changes_what_is_trained_on_and_not_what_is_evaluated(name: str) -> None:
    plain, changed = train([trial()], "loop"), train([trial(augmentation=name)], "loop")
    assert any((plain.weights[0][key] != changed.weights[0][key]).any() for key in plain.weights[0])
    for before, after in zip(plain.curve[:2], changed.curve[:2], strict=True):  # train and val, at the start
        np.testing.assert_array_equal(before.loss, after.loss)


@EVERY
@pytest.mark.parametrize("by", ENGINES)
def test_a_resumed_training_goes_on_with_the_same_images(name: str, by: str) -> None:
    kept: list[State] = []

    class Kept(Checkpoints):
        def due(self, step: int, budget: Any) -> bool:  # noqa: ARG002
            return True

        def save(self, step: int, values: Any) -> None:
            kept.append(State(step, copied(values)))

        def load(self) -> State | None:
            return self.start

        start: State | None = None

    one = (
        [trial(augmentation=name)]
        if by != "stacked"
        else [trial("a", 0, augmentation=name), trial("b", 1, augmentation=name)]
    )
    whole = train(one, by, EngineOptions(checkpoints=Kept()))
    again = Kept()
    again.start = kept[0]
    assert 0 < kept[0].step < 60
    resumed = train(one, by, EngineOptions(checkpoints=again))
    for weights, others in zip(whole.weights, resumed.weights, strict=True):
        for key, value in weights.items():
            np.testing.assert_array_equal(value, others[key])


def test_a_batch_is_of_its_seed_and_step_alone() -> None:
    settings = resolve({**BASE, "augmentation": "shift"})
    data = prepare(settings, np.float32)
    places = np.arange(30)
    first, again = (batches(data, settings).batch(0, 7, places) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    for seed, step in ((1, 7), (0, 8)):
        assert (batches(data, settings).batch(seed, step, places)[0] != first[0]).any()
    assert first[0].dtype == first[1].dtype == np.float32
    x = data.train.x[places].reshape(-1, 1, 8, 8)
    moves = np.floor(stream(0, "augmentation", 7).random((2, 30)) * 5).astype(int) - 2
    np.testing.assert_array_equal(first[0], shifted(x, *moves).reshape(30, -1))


@pytest.mark.parametrize("preprocessing", ["unit", "signed", "standardize", "invert", "raw"])
def test_what_comes_in_is_an_empty_pixel_whatever_the_preprocessing_makes_of_it(preprocessing: str) -> None:
    settings = resolve({**BASE, "augmentation": "shift", "preprocessing": preprocessing, "shift_pixels": 8})
    data = prepare(settings, np.float64)
    x, _ = batches(data, settings).batch(0, 1, np.arange(200))
    train, raw = data.train.x, prepare(resolve({**BASE, "preprocessing": "raw"}), np.float64).train.x
    empty = train[raw == 0][0]
    gone = (x == empty).all(1)  # moved out of the image altogether
    assert gone.sum() > 3
    assert set(np.unique(x)) <= set(np.unique(train))


def test_an_image_is_augmented_before_a_preprocessing_that_standardises_each_by_itself() -> None:
    @preprocessings.register("of_each_its_range")
    def of_each_its_range(images: Any) -> Any:
        """Each image's own range becomes 0 to 1, in half as many rows."""
        low, high = (end(images, (1, 2), keepdims=True) for end in (np.min, np.max))
        return ((images - low) / (high - low + 1))[:, ::2]

    try:
        settings = resolve({**BASE, "augmentation": "rotate", "preprocessing": "of_each_its_range"})
        data = prepare(settings, np.float64)
        x, _ = batches(data, settings).batch(0, 1, np.arange(50))
        assert x.shape == (50, 32)
        assert (x.min(1) == 0).all()
        raw = prepare(resolve({**BASE, "augmentation": "rotate", "preprocessing": "raw"}), np.float64)
        turned, _ = batches(raw, resolve({**BASE, "augmentation": "rotate"})).batch(0, 1, np.arange(50))
        np.testing.assert_allclose(x, of_each_its_range(turned.reshape(-1, 8, 8)).reshape(50, -1))
    finally:
        del preprocessings._entries["of_each_its_range"]


def test_images_that_are_given_as_an_array_are_augmented_as_they_are() -> None:
    x = np.random.default_rng(0).random((5, 2 * 3 * 4)) + 1
    part = Samples(x, np.arange(5), np.arange(5))
    data = Data(part, part, part, tuple("abcde"), (2, 3, 4))
    got, target = batches(data, resolve({**BASE, "augmentation": "shift"})).batch(0, 1, np.array([3, 1]))
    moves = np.floor(stream(0, "augmentation", 1).random((2, 2)) * 5).astype(int) - 2
    np.testing.assert_array_equal(got, shifted(x[[3, 1]].reshape(2, 2, 3, 4), *moves).reshape(2, -1))
    assert target.argmax(1).tolist() == [3, 1]


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_images_with_channels_are_augmented_channel_by_channel(channels: tuple[int, ...], kind: Any) -> None:
    raw = np.random.default_rng(0).integers(1, 256, (6, 5, 4, *channels)).astype(kind)
    labels = np.arange(6)
    pixels = PixelSource(
        Images(raw, labels, raw[:0], labels[:0]), {"train": labels[::-1].copy()}, 255, np.dtype(np.float64),
        ("signed", preprocessings["signed"].apply),
    )  # fmt: skip
    part = Samples((pixels, "train"), labels[::-1], labels[::-1])
    data = Data(part, part, part, tuple("abcdef"), pixels.shape)
    got, target = batches(data, resolve({**BASE, "augmentation": "shift"})).batch(3, 2, np.array([0, 4]))
    planes = np.moveaxis(raw.reshape(6, 5, 4, -1), 3, 1)[[5, 1]].astype(float)
    moves = np.floor(stream(3, "augmentation", 2).random((2, 2)) * 5).astype(int) - 2
    np.testing.assert_allclose(got, (2 * shifted(planes, *moves) / 255 - 1).reshape(2, -1))
    assert target.argmax(1).tolist() == [5, 1]


def test_mixup_mixes_smoothed_and_noisy_targets() -> None:
    settings = resolve({**BASE, "augmentation": "mixup", "label_noise": 0.3})
    data = prepare(settings, np.float64)
    places = np.arange(40)
    _, target = batches(data, settings).batch(2, 5, places)
    rng = stream(2, "augmentation", 5)
    other, weight = rng.permutation(40), rng.beta(1, 1)
    labels = np.eye(10)[data.train.y[places]]
    np.testing.assert_allclose(target, weight * labels + (1 - weight) * labels[other])


def test_such_trials_do_not_train_in_compiled_code_and_the_plan_says_why() -> None:
    assert compilation.why_not(resolve(BASE)) == ""
    reason = compilation.why_not(resolve({**BASE, "augmentation": "flip"}))
    assert reason == "augmentation 'flip' trains in PyTorch"


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        ("(x[:, :, :-1], t)", r"gives x as shape \(40, 1, 7, 8\); allowed: shape \(40, 1, 8, 8\)"),
        ("x", r"gives ndarray; allowed: two arrays, \(x, target\)"),
        ("(x, t.argmax(1))", r"gives target as shape \(40,\); allowed: shape \(40, 10\)"),
        ("(x / 0, t)", "gives numbers in x that are not finite"),
        ("x.nothing", "raises AttributeError"),
    ],
)  # fmt: skip
def test_a_step_of_an_own_augmentation_that_breaks_its_contract_says_so(gives: str, says: str) -> None:
    augmentations.register("own")(eval(f"lambda x, t, rng: {gives}"))  # noqa: S307
    try:
        settings = resolve({**BASE, "augmentation": "own"})
        with pytest.raises(ComponentError, match=f"augmentation 'own' {says}"), np.errstate(all="ignore"):
            batches(prepare(settings), settings).batch(0, 1, np.arange(40))
    finally:
        del augmentations._entries["own"]

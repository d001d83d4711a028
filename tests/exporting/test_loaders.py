"""The splits as PyTorch's own Dataset and DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from harness.data.batches import Budget
from harness.data.preprocessing import Pixels, PixelStatistics, preprocessings
from harness.data.samples import SPLITS, Split, prepare
from harness.data.torch_dataset import SplitDataset, collate
from harness.engines import loop
from harness.engines.base import batch_indices
from harness.errors import UsageError
from harness.exporting.loaders import TrialLoader, loader, split_dataset
from harness.exporting.untrained import untrained
from harness.study.reading import parse
from harness.study.trials import resolve, trials


@pytest.fixture
def halved() -> Iterator[str]:
    """A preprocessing of one's own."""

    @preprocessings.register("halved")
    def halved(x: Pixels, pixels: PixelStatistics) -> Pixels:
        return x / (2 * pixels.max)

    yield "halved"
    preprocessings.remove("halved")


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_equals_the_data_of_the_engines(split: Split) -> None:
    settings = {"dataset": "digits", "preprocessing": "signed", "val_fraction": 0.2, "split_seed": 3}
    dataset = split_dataset(split=split, **settings)  # type: ignore[arg-type]
    samples = prepare(resolve(settings))[split]  # type: ignore[arg-type]
    assert len(dataset) == len(samples.y)
    for place in (0, len(dataset) - 1):
        x, y = dataset[place]
        assert np.array_equal(x.numpy(), samples.x[place])
        assert int(y) == samples.y[place]
    first = 1437 if split == "test" else 0  # one numbering: train's images come first
    assert np.array_equal(dataset.index.numpy(), samples.index + first)
    assert dataset.shape == (8, 8)
    assert dataset.classes == tuple("0123456789")


def test_a_loader_takes_a_preprocessing_of_ones_own(halved: str) -> None:
    unit = split_dataset("digits", "val")
    own = split_dataset("digits", "val", preprocessing=halved)
    torch.testing.assert_close(own.x, unit.x / 2)


def test_a_preprocessing_and_a_collate_function_need_no_name() -> None:
    unit = split_dataset("digits", "val")
    own = split_dataset("digits", "val", preprocessing=lambda x, pixels: x[:, ::2] / (2 * pixels.max))
    torch.testing.assert_close(own.x, unit.x.view(-1, 8, 8)[:, ::2].reshape(len(unit), -1) / 2)
    batches = loader("digits", "val", batch_size=7, collate_fn=len)
    assert list(batches)[:2] == [7, 7]


def test_batches_are_the_split_in_order_or_shuffled_by_a_seed() -> None:
    dataset = split_dataset("digits", "val")
    batches = list(loader("digits", "val", batch_size=50))
    assert [len(y) for _, y in batches] == [50, 50, 44]
    assert torch.equal(torch.cat([x for x, _ in batches]), dataset.x)
    first, again, other = (
        torch.cat([y for _, y in loader("digits", "val", batch_size=50, seed=seed)]) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort().values, dataset.y.sort().values)


def test_shuffling_leaves_the_global_generator_alone() -> None:
    # Iterating a DataLoader draws from the global generator unless it has its own.
    before = torch.random.get_rng_state()
    list(loader("digits", "val", seed=0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_collating_is_torchs_default_collating() -> None:
    dataset = split_dataset("digits", "test")
    samples = [dataset[place] for place in range(7)]
    for ours, theirs in zip(collate(samples), default_collate(samples), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_the_loop_engine_trains_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, object]] = []

    def noted(dataset: object, **how: Any) -> DataLoader[Any]:
        seen.append((dataset, how["collate_fn"]))
        return DataLoader(dataset, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "DataLoader", noted)
    study = parse({"study": {"name": "one", "seeds": 1}, "baseline": {"dataset": "digits", "epochs": 1}})
    one = trials(study)[0][0]
    loop.train([one], prepare(one.arm.settings))
    ((dataset, collated),) = seen
    assert isinstance(dataset, SplitDataset)
    assert collated is collate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tets"}, "did you mean 'test'"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"preprocessing": "units"}, "did you mean 'unit'"),
        ({"preprocesing": "unit"}, "did you mean 'preprocessing'"),
        ({"val_fraction": 1.5}, "less than 1"),
    ],
)
def test_bad_arguments_are_reported(arguments: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"dataset": "digits", "split": "train", **arguments}
    with pytest.raises(UsageError, match=message):
        split_dataset(**given)  # type: ignore[arg-type]


BASE: dict[str, Any] = {"dataset": "digits", "batch_size": 100, "epochs": 3, "seed": 5}


def labels(batches: Any) -> list[list[int]]:
    return [y.tolist() for _, y in batches]


@pytest.mark.parametrize("budget", [{}, {"epochs": None, "steps": 20}, {"epochs": None, "steps": 4}])
@pytest.mark.parametrize("sampling", ["shuffle", "sequential", "replacement"])
def test_a_trials_batches_come_epoch_by_epoch(sampling: str, budget: dict[str, Any]) -> None:
    settings = {name: value for name, value in {**BASE, **budget, "sampling": sampling}.items() if value}
    trial = untrained(settings)
    samples = prepare(trial.arm.settings).train
    steps = Budget.of(trial.arm.settings, len(samples.y))
    wanted = [samples.y[index].tolist() for index in batch_indices(trial, steps)]
    train, taken = loader(trial), []
    assert train.epochs == steps.epochs
    for epoch in range(train.epochs):
        assert train.epoch == epoch
        in_epoch = labels(train)
        taken += in_epoch
        train.set_epoch(epoch)
        assert len(train) == len(in_epoch)
        train.set_epoch(epoch + 1)
    assert taken == wanted
    x, _ = next(iter(loader(trial)))
    assert np.array_equal(x.numpy(), samples.x[next(batch_indices(trial, steps))])


def test_an_epoch_that_was_broken_off_begins_again() -> None:
    train = loader(untrained(BASE))
    first = labels(loader(untrained(BASE)))
    next(iter(train))
    for place, _ in enumerate(train):
        if place == 2:
            break
    with pytest.raises(ZeroDivisionError):
        [1 / 0 for _ in train]  # a cell that raises
    assert labels(train) == first
    assert labels(train) != first
    train.set_epoch(0)
    assert labels(train) == first


def test_beyond_the_trials_end_epochs_are_whole_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("harness.notes.warn", told.append)
    trial = untrained({**BASE, "epochs": 2})
    longer, train = loader(untrained({**BASE, "epochs": 5})), loader(trial)
    assert [labels(train) for _ in range(4)] == [labels(longer) for _ in range(4)]
    (note,) = told
    assert "the trial's 2 epochs are over" in note
    short = loader(untrained({"dataset": "digits", "batch_size": 100, "steps": 3}))
    assert [len(labels(short)) for _ in range(3)] == [3, 13, 13]


def test_val_and_test_of_a_trial_come_in_order() -> None:
    trial = untrained({**BASE, "preprocessing": "signed"})
    for split in ("val", "test"):
        x, y = next(iter(loader(trial, split)))
        samples = prepare(trial.arm.settings)[split]
        assert np.array_equal(x.numpy(), samples.x)
        assert y.tolist() == samples.y.tolist()
    chosen = loader(trial, batch_size=50, sampling="sequential")
    assert [len(y) for _, y in chosen] == [50] * 25 + [43]
    assert labels(loader(trial, "train", seed=6)) != labels(loader(trial))
    assert labels(loader(trial, "train", seed=6)) == labels(loader(untrained({**BASE, "seed": 6})))


def test_a_name_and_a_seed_give_the_batches_of_a_trial_of_this_seed() -> None:
    for sampling in ("shuffle", "replacement"):
        trial = loader(untrained({**BASE, "sampling": sampling}))
        named = loader("digits", batch_size=100, seed=5, sampling=sampling)
        for _ in range(2):
            assert labels(named) == labels(trial)
    assert labels(loader("digits", seed=5, batch_size=100)) == labels(loader(untrained(BASE)))
    assert [len(y) for _, y in loader("digits", batch_size=200, sampling="replacement")] == [200] * 7


@pytest.mark.parametrize("sampling", ["shuffle", "replacement"])
def test_a_short_last_batch_can_be_left_out(sampling: str) -> None:
    whole, short = (
        loader("digits", batch_size=100, seed=1, sampling=sampling, drop_last=drop) for drop in (False, True)
    )
    assert len(whole) == 13
    assert len(short) == (12 if sampling == "shuffle" else 13)
    assert labels(short) == [batch for batch in labels(whole) if len(batch) == 100]
    trial = untrained({"dataset": "digits", "batch_size": 100, "steps": 15})
    assert [len(labels(batches)) for batches in [loader(trial, drop_last=True)] for _ in range(2)] == [12, 2]


def test_workers_load_the_same_batches() -> None:
    trial = untrained(BASE)
    one, two = loader(trial), loader(trial, num_workers=1)
    assert [labels(one) for _ in range(2)] == [labels(two) for _ in range(2)]


def test_what_a_collate_function_makes_is_passed_on() -> None:
    trial = untrained(BASE)
    made = list(loader(trial, collate_fn=lambda samples: {"n": len(samples), "first": samples[0]}))
    assert [batch["n"] for batch in made] == [100] * 12 + [93]
    assert made[0]["first"][0].shape == (64,)
    assert [x.shape for x, _ in loader(trial, "val", collate_fn=None)] == [(144, 64)]


def test_a_split_without_images_has_no_batches() -> None:
    empty = loader(untrained({**BASE, "val_fraction": 0}), "val")
    assert (len(empty), list(empty)) == (0, [])
    assert list(loader("digits", "val", val_fraction=0, sampling="replacement")) == []


def test_a_loader_reads_as_a_line() -> None:
    train = loader(untrained(BASE))
    list(train)
    assert (
        repr(train) == "TrialLoader of digits: 1,293 images in batches of 100, shuffle; 1 of 3 epochs given"
    )
    assert repr(loader("digits", "test")).endswith("360 images in batches of 32, sequential; 0 epochs given")


def test_a_split_of_a_study_or_a_trial_is_divided_as_it_says() -> None:
    tables = {"dataset": "digits", "preprocessing": "signed", "val_fraction": 0.2, "label_noise": 0.5}
    study = parse({"study": {"name": "one"}, "baseline": tables, "axes": {"lr": [0.1, 0.2]}})
    wanted = split_dataset("digits", "train", **{name: tables[name] for name in list(tables)[1:]})
    trial = trials(study)[0][0]
    for given in (study, trial):
        got = split_dataset(given, "train")
        assert torch.equal(got.x, wanted.x)
        assert torch.equal(got.y, wanted.y)
    assert not torch.equal(split_dataset(trial, "train", preprocessing="unit").x, wanted.x)
    differing = parse(
        {"study": {"name": "two"}, "baseline": tables, "axes": {"preprocessing": ["unit", "raw"]}}
    )
    with pytest.raises(UsageError, match="differ in preprocessing"):
        split_dataset(differing, "val")


def test_channels_stay_and_rows_of_pixels_are_flattened() -> None:
    def channels(images: Pixels) -> Pixels:
        return images[:, None] / 16

    plain = split_dataset("digits", "val")
    assert torch.equal(split_dataset("digits", "val", preprocessing=channels).x, plain.x.view(-1, 1, 8, 8))
    x, _ = next(iter(loader("digits", "val", preprocessing=channels)))
    assert x.shape == (32, 1, 8, 8)
    assert torch.equal(split_dataset("digits", "val", preprocessing=lambda images: images / 16).x, plain.x)


def test_a_function_is_called_anew_each_time() -> None:
    by = 16

    def scaled(images: Pixels) -> Pixels:
        return images / by

    first = split_dataset("digits", "val", preprocessing=scaled).x
    by = 32  # as in a notebook's cell that is mended
    assert torch.equal(split_dataset("digits", "val", preprocessing=scaled).x, first / 2)


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        (lambda images: images[:3], r"gives shape \(3, 8, 8\) for images \(1293, 8, 8\)"),
        (lambda images: images * np.nan, "not finite for 1293 of 1293 images"),
        (lambda *_: None, "gives None"),
        (lambda images: [image.mean() for image in images], r"gives shape \(1293,\)"),
        (lambda *, images: images, "takes 0 positional arguments.*allowed: a function of both"),
        (lambda images: images.shrink(), "raises AttributeError"),
        (lambda images: images.reshape(-1, 4, 16)[:, :, : 1 + len(images) // 1000], "pixels an image, then"),
    ],
)
def test_mistakes_of_a_preprocessing_are_told_in_words(preprocessing: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split_dataset("digits", "val", preprocessing=preprocessing)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0: allowed: greater than or equal to 1"),
        ({"sampling": "shufle"}, "sampling = 'shufle': allowed: 'shuffle'"),
        ({"seed": -3}, "seed = -3: allowed"),
        ({"split": "all"}, r"harness.dataset\(name\)"),
        ({"hidden": [3]}, "not a setting of the data"),
        ({"collate_fn": 3}, "collate_fn = 3: allowed: a function of a list of samples"),
        ({"num_workers": -1}, "num_workers = -1: allowed"),
        ({"num_workers": "two"}, "num_workers = 'two': allowed"),
    ],
)
def test_bad_arguments_of_a_loader_are_reported(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loader("digits", **arguments)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_collate_function_that_forgets_its_return_is_told(num_workers: int) -> None:
    batches = loader("digits", batch_size=4, collate_fn=_nothing, num_workers=num_workers)
    with pytest.raises(UsageError, match="collate_fn _nothing gives None for 4 samples: is its `return`"):
        next(iter(batches))


def _nothing(_: Any) -> None:
    """Give nothing, as a function without a return does."""


def test_numbers_of_numpy_are_settings() -> None:
    x, _ = next(iter(loader("digits", batch_size=np.int64(4))))  # type: ignore[arg-type]
    assert len(x) == 4


def test_only_a_trials_own_batches_have_an_end() -> None:
    for batches in (loader("digits"), loader(untrained(BASE), "val"), loader(untrained(BASE), batch_size=7)):
        assert isinstance(batches, TrialLoader)
        with pytest.raises(UsageError, match="only a trial's own batches have an end"):
            _ = batches.epochs


def test_a_split_reads_as_a_line() -> None:
    assert (
        repr(split_dataset("digits", "val")) == "144 images, 64 pixels in float32, with labels of 10 classes"
    )
    channels = split_dataset("digits", "val", preprocessing=lambda images: images[:, None])
    assert "1 x 8 x 8 pixels" in repr(channels)

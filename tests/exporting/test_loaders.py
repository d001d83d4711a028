"""The splits as PyTorch's own Dataset and DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from harness.data.preprocessing import Pixels, PixelStatistics, preprocessings
from harness.data.samples import SPLITS, Split, prepare
from harness.data.torch_dataset import SplitDataset, collate
from harness.engines import loop
from harness.errors import UsageError
from harness.exporting.loaders import loader, split_dataset
from harness.study.study import parse
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

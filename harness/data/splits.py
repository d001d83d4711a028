"""The split of the train images into train and validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError, did_you_mean, few

HOWS = ("stratified", "balanced", "random", "blocks", "last")


def split(
    labels: NDArray[Any], fraction: float, how: str, rng: np.random.Generator, blocks: Sequence[int] = ()
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose round(fraction * N) of N labelled images for validation; the others train.

    Args:
        labels: (N,) integer classes of the train images.
        fraction: share held out, 0 <= fraction < 1; 0 holds out nothing.
        how: "stratified" keeps train's class shares (largest remainders), "balanced" takes the same
            number of each class (one more of some where it does not divide), "random" neither. "blocks"
            takes whole blocks, in an order that is drawn, until V images are held out: the last one may be
            held out in part. "last" takes the last V images as they came, and draws nothing.
        rng: the split's own random stream; nothing else decides which images.
        blocks: the first image of each block of images that belong together, such as a writer's.

    Returns:
        Indices of train (N - V,) and of val (V,), each ascending, so that the original order stays.

    Raises:
        UsageError: a fraction out of range or too small for one image, an unknown `how`, or a class that
            would have no image left to train on.
    """
    if how not in HOWS:
        raise UsageError(f"unknown val_split {how!r}: {did_you_mean(how, HOWS)}")
    total = size(len(labels), fraction)
    held_out = np.zeros(len(labels), dtype=bool)
    if how == "blocks" and total:
        held_out[_of_blocks(len(labels), total, blocks, rng)] = True
    elif how == "last" and total:
        held_out[len(labels) - total :] = True
        _check_last(labels, total)
    elif how == "random":
        held_out[rng.permutation(len(labels))[:total]] = True
    elif total:
        classes, counts = np.unique(labels, return_counts=True)
        quotas = _proportional(counts, total) if how == "stratified" else _equal(len(counts), total, rng)
        for label, count, quota in zip(classes, counts, quotas, strict=True):
            if quota >= count:
                raise UsageError(
                    f"val_split = {how!r} with val_fraction = {fraction} needs {quota} images of class "
                    f"{label} for validation and at least one to train on, but it has {count}. "
                    "Lower val_fraction, or set val_split = 'random'."
                )
            held_out[rng.permutation(np.flatnonzero(labels == label))[:quota]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _check_last(labels: NDArray[Any], total: int) -> None:
    """Raise UsageError where the last images are all that a class has, as in folders of class after class."""
    lost = sorted(set(labels.tolist()) - set(labels[: len(labels) - total].tolist()))
    if lost:
        raise UsageError(
            f"val_split = 'last' with the last {total:,} of {len(labels):,} images leaves none to train on "
            f"of class {few([str(label) for label in lost])}; where images come class after class, choose "
            "'stratified', 'balanced' or 'random'"
        )


def _of_blocks(count: int, total: int, blocks: Sequence[int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw `total` of `count` images, block by block."""
    check_blocks("blocks", blocks)
    ends = [*blocks[1:], count]
    order = rng.permutation(len(blocks))
    return np.concatenate([np.arange(blocks[k], ends[k]) for k in order])[:total]


def check_blocks(how: str, blocks: Sequence[int]) -> None:
    """Raise UsageError where a data set without blocks is to be split by them."""
    if how == "blocks" and not blocks:
        raise UsageError(
            "val_split = 'blocks' is for data sets whose images are known to come in blocks, such as digits "
            "and digits_writers; allowed for others: 'stratified', 'balanced', 'random' or 'last'"
        )


def size(count: int, fraction: float) -> int:
    """Return the number of images that a fraction of `count` is.

    Raises:
        UsageError: it is out of range, or leaves no image to train on or to validate with.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"val_fraction = {fraction} is out of range: allowed are 0 <= val_fraction < 1")
    total = round(fraction * count)
    if fraction > 0 and not 0 < total < count:
        raise UsageError(
            f"val_fraction = {fraction} of {count} images leaves {total} for validation and {count - total} "
            "to train on; choose a fraction that gives both at least one, or 0 for no validation"
        )
    return total


def _proportional(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Share out `total` in proportion to `counts` (C,), by largest remainder; ties go to the lower class."""
    # Whole numbers throughout: a float quota such as 9.999... would give a class one image too few.
    quotas, remainders = np.divmod(counts * total, counts.sum())
    quotas[np.argsort(-remainders, kind="stable")[: total - quotas.sum()]] += 1
    return quotas


def _equal(classes: int, total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Share out `total` evenly over `classes`; the draw decides the ones that get one more."""
    quotas = np.full(classes, total // classes)
    quotas[rng.permutation(classes)[: total % classes]] += 1
    return quotas

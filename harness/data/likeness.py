"""Likeness: images that are the same where they should differ, which no check of sizes and types sees.

A folder that was fixed the wrong way is all white, a copy too many puts the test images into train: both are
read without a fault, and every number that is trained on them is worthless.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.errors import few

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.data.images import Images


def words(images: Images, classes: Sequence[str]) -> tuple[str, ...]:
    """Return sentences on equal images: all of a part, all of a class, or of test and of train."""
    train, test = _prints(images.train_images), _prints(images.test_images)
    sentences = [_all(train, images.train_images, "train"), _all(test, images.test_images, "test")]
    if not sentences[0]:
        sentences += _of_a_class(train, images, classes)
    if not any(sentences):
        sentences.append(_shared(train, test, images))
        sentences.append(_contradicted(train, images))
    return tuple(sentence for sentence in sentences if sentence)


def _prints(pixels: NDArray[np.uint8]) -> list[bytes]:
    """Hash each image."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in pixels]


def _all(prints: Sequence[bytes], pixels: NDArray[np.uint8], part: str) -> str:
    if len(prints) < 2 or len(set(prints)) > 1:
        return ""
    sentence = f"all {len(prints):,} images of {part} are the same{_flat(pixels[0])}"
    return f"{sentence}: nothing can be learnt from them"


def _of_a_class(prints: Sequence[bytes], images: Images, classes: Sequence[str]) -> Iterator[str]:
    """Yield a sentence on the classes whose train images are all the same, if there are any."""
    by_class: dict[int, set[bytes]] = {}
    counts: dict[int, int] = {}
    for seal, label in zip(prints, images.train_labels.tolist(), strict=True):
        by_class.setdefault(label, set()).add(seal)
        counts[label] = counts.get(label, 0) + 1
    same = [label for label in sorted(by_class) if len(by_class[label]) == 1 and counts[label] > 1]
    if same:
        named = few([f"{classes[label]} ({counts[label]:,})" for label in same])
        first = images.train_images[int((images.train_labels == same[0]).argmax())]
        yield f"all train images of a class are the same, in class {named}{_flat(first)}"


def _flat(image: NDArray[np.uint8]) -> str:
    return f", every pixel {image.flat[0]}" if image.min() == image.max() else ""


def _shared(train: Sequence[bytes], test: Sequence[bytes], images: Images) -> str:
    """Count test images that are also in train."""
    first = {seal: i for i, seal in reversed(list(enumerate(train)))}
    shared = [(i, first[seal]) for i, seal in enumerate(test) if seal in first]
    if not shared:
        return ""
    named = few([
        f"{_name(images.test_names, i)} is train's {_name(images.train_names, j)}" for i, j in shared
    ])  # fmt: skip
    return (
        f"{len(shared):,} of {len(test):,} test images are in train too, to the pixel, so that test accuracy "
        f"counts what was learnt by heart: {named}"
    )


def _contradicted(train: Sequence[bytes], images: Images) -> str:
    """Count train images that have two labels."""
    labels: dict[bytes, int] = {}
    twice: dict[bytes, int] = {}
    for i, (seal, label) in enumerate(zip(train, images.train_labels.tolist(), strict=True)):
        if labels.setdefault(seal, label) != label:
            twice.setdefault(seal, i)
    if not twice:
        return ""
    named = few([_name(images.train_names, i) for i in twice.values()])
    return f"{len(twice):,} images are in train under two labels: {named}"


def _name(names: Sequence[str], i: int) -> str:
    return names[i] if names else f"image {i}"

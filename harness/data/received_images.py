"""Images that another machine sent, by their digest: they are kept in this machine's cache.

A process that has received a data set's images, or finds them in the cache, reads no file of the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.data.images import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = ("train_images", "train_labels", "test_images", "test_labels")

_here: dict[str, Images] = {}
"""Images of this process, by their digest."""


def of(digest: str) -> Images | None:
    """Give the images of a digest; None where this process has received none."""
    return _here.get(digest)


def arrays_of(images: Images) -> dict[str, NDArray[Any]]:
    """Return what has to be sent of images: pixels and labels, by their names."""
    return {part: getattr(images, part) for part in PARTS}


def find(digest: str) -> bool:
    """Take images from the cache, and tell whether they were there."""
    from harness.data.shared_arrays import find_arrays

    if digest not in _here and (arrays := find_arrays(_key(digest))) is not None:
        _here[digest] = _images(arrays)
    return digest in _here


def take(digest: str, make: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
    """Take images from the cache, which keeps those that `make` gives where it has none of the digest.

    Whoever loads the data set compares their digest.
    """
    from harness.data.shared_arrays import shared_arrays

    _here[digest] = _images(shared_arrays(_key(digest), make))


def forget() -> None:
    """Forget the images of this process; the cache keeps them."""
    _here.clear()


def _key(digest: str) -> str:
    return f"images {digest}"


def _images(arrays: Mapping[str, NDArray[Any]]) -> Images:
    # PyTorch warns of labels that cannot be written.
    labels = [arrays[f"{part}_labels"].copy() for part in ("train", "test")]
    return Images(arrays["train_images"], labels[0], arrays["test_images"], labels[1])

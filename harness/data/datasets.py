"""Data sets: real images with their labels, in their original order.

A data set is one decorated function that returns Images:

    @datasets.register("toy", classes=("a", "b"), pixel_max=255)
    def toy() -> Images:
        '''Two kinds of noise.'''
        return Images(...)

Images are grey, (N, H, W), or have channels, (N, H, W, C); pixels have 8 or 16 bits.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.data import described_sets, found_digests, likeness, received_images, remedies
from harness.data.images import SHAPES, Images, channels_come_first, channels_first, tidied
from harness.errors import MachineError, UsageError
from harness.registry import Registry
from harness.system.process_state import called

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Facts:
    """The facts of a data set that a plan needs, without its pixels.

    Args:
        shape: height and width of an image in pixels; of an image with channels, their number behind them.
        classes: the class names, in label order.
        train, test: how many images each has.
        pixel_max: the value of a full pixel (255; 16 for digits; 65535 where all 16 bits are used).
        digest: SHA-256 that changes whenever an image, a label or their order does.
        warnings: sentences on images that are the same where they should differ.
        said: sentences on what was corrected or joined in reading the files.
    """

    shape: tuple[int, ...]
    classes: tuple[str, ...]
    train: int
    test: int
    pixel_max: float
    digest: str
    warnings: tuple[str, ...] = field(default=(), compare=False)
    said: tuple[str, ...] = field(default=(), compare=False)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width: an image as a network sees it."""
        return channels_first(self.shape)


@dataclass(frozen=True)
class Dataset:
    """A registered data set: `load` reads it, `facts` describes it.

    Args:
        name: what a study calls it.
        read: returns its Images; unchecked, `load` is what checks.
        classes: the class names, in label order; None names them by label, up to the highest there is.
        pixel_max: the value of a full pixel.
        known: the facts, where they are known without reading; else the first load finds them. Where all but
            the digest ("") are known, the first load finds that, and it is kept for other processes.
        remark: a sentence on how the images were chosen or divided, without which numbers are misread.
        blocks: the first train image of each block of images that belong together, such as a writer's, in
            their order; val_split = "blocks" divides by them.
        usual: its own defaults of val_split and val_fraction, where it has some.
        recipe: digests what the images come from; a digest that was found and kept holds for that.
    """

    name: str
    read: Callable[[], Images]
    classes: tuple[str, ...] | None = ()
    pixel_max: float = 255
    known: Facts | None = None
    remark: str = ""
    blocks: tuple[int, ...] = ()
    usual: Mapping[str, str | float] = field(default_factory=dict, compare=False)
    recipe: Callable[[], str] | None = field(default=None, compare=False)
    _found: dict[str, Facts] = field(default_factory=dict, init=False, repr=False, compare=False)
    _source: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.known is None and self.classes == ():
            raise TypeError('classes=("...", ...) is missing: the class names, in label order')
        if unknown := set(self.usual) - {"val_split", "val_fraction"}:
            raise TypeError(f"usual has {', '.join(sorted(unknown))}; allowed: val_split and val_fraction")

    @property
    def facts(self) -> Facts:
        """The facts: known at once for the harness's own, by loading once for a third party's.

        Raises:
            UsageError: as `load`, where it has to load.
        """
        if self.known is not None and self.known.digest:
            return self.known
        if not self._found and not self._remembered():
            self.load()
        return self._found["facts"]

    def _remembered(self) -> bool:
        """Take the digest that an earlier process found, and tell whether there is one."""
        kept = found_digests.read(self.name, self.recipe()) if self.known and self.recipe else ""
        if self.known and kept:
            self._found["facts"] = replace(self.known, digest=kept)
        return bool(kept)

    def refresh(self, source: str) -> None:
        """Forget the facts if another source digest decides them, for instance because a value was set."""
        if self._source and self._source != [source]:
            self._found.clear()
        self._source[:] = [source]

    def take(self, facts: Facts) -> None:
        """Take the facts as another process found them: images that this one loads have to be the same."""
        self._found["facts"] = facts

    def load(self) -> Images:
        """Read the images and check them; those that another machine sent take the place of files.

        Raises:
            UsageError: the function raises, or returns something else than Images or than the first time.
            MachineError: the bytes cannot be had, or are not the ones that the known facts describe.
        """
        images: Images = called(f"data set {self.name!r}: its function", self._read)
        if not self.known:
            _check_types(self.name, images)
        images = tidied(images)
        if self._found or (self.known and self.known.digest) or self._remembered():
            got = digest(images)
        else:
            got = self._settle(images, self.known) if self.known else self._meet(images)
        if got != self.facts.digest:
            kind = MachineError if self.known else UsageError
            raise kind(
                f"data set {self.name!r} is not the one it was: SHA-256 expected {self.facts.digest}, got "
                f"{got}. Trials are only comparable on the same images in the same order."
            )
        return images

    def _read(self) -> Images:
        known = self._found.get("facts", self.known)
        sent = received_images.of(known.digest) if known else None
        return self.read() if sent is None else sent

    def _settle(self, images: Images, known: Facts) -> str:
        """Check the first Images of a data set of which all but the digest is known, and find that."""
        _check(self.name, images, len(known.classes), known.pixel_max)
        found = images.train_images.shape[1:], len(images.train_labels), len(images.test_labels)
        if found != (expected := (known.shape, known.train, known.test)):
            raise MachineError(
                f"data set {self.name!r} is not as described: shape, train and test images are {found}, "
                f"expected {expected}"
            )
        sha256 = digest(images)
        if self.recipe:
            found_digests.keep(self.name, self.recipe(), sha256)
        self._found["facts"] = replace(known, digest=sha256)
        return sha256

    def _meet(self, images: Images) -> str:
        """Check the first Images of a data set without known facts, keep its facts, return its digest."""
        if (classes := self.classes or images.classes or None) is None:
            highest = max(images.train_labels.max(), images.test_labels.max())
            classes = tuple(map(str, range(int(highest) + 1)))
        _check(self.name, images, len(classes), self.pixel_max)
        shape = images.train_images.shape[1:]
        train, test = len(images.train_labels), len(images.test_labels)
        sha256, alike = digest(images), likeness.words(images, classes)
        facts = Facts(shape, classes, train, test, self.pixel_max, sha256, alike, images.said)
        self._found["facts"] = facts
        return sha256


def digest(images: Images) -> str:
    """Hash shape, pixels and labels (as little-endian int64) of train, then of test, by SHA-256.

    Of pixels of 16 bits, little-endian too, their type is hashed behind the shape.
    """
    import numpy as np

    total = hashlib.sha256()
    parts = (images.train_images, images.train_labels), (images.test_images, images.test_labels)
    for pixels, labels in parts:
        total.update(repr(pixels.shape).encode())
        if pixels.dtype.itemsize > 1:
            total.update(pixels.dtype.name.encode())
        total.update(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data)
        total.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return total.hexdigest()


def _check_types(name: str, images: object) -> None:
    """Raise UsageError where a data set's function gives other than Images of arrays."""
    import numpy as np

    if not isinstance(images, Images):
        raise UsageError(
            f"data set {name!r}: its function returned {type(images).__name__}; allowed is Images"
        )
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        array = getattr(images, part)
        if not isinstance(array, np.ndarray):
            raise UsageError(
                f"data set {name!r}, {part}: got {type(array).__name__}; allowed is a NumPy array"
            )


def _check(name: str, images: Images, classes: int, pixel_max: float) -> None:
    """Check Images against their docstring, for `classes` classes; raise UsageError in words."""
    import numpy as np

    for part in ("train", "test"):
        pixels, labels = getattr(images, f"{part}_images"), getattr(images, f"{part}_labels")
        _check_part(f"data set {name!r}, {part}", pixels, labels, classes, pixel_max)
    for part in ("train", "test"):
        names, labels = getattr(images, f"{part}_names"), getattr(images, f"{part}_labels")
        if names and len(names) != len(labels):
            raise UsageError(
                f"data set {name!r}, {part}_names: got {len(names)}; allowed is one an image, "
                f"{len(labels)}, or none"
            )
    if images.train_images.shape[1:] != images.test_images.shape[1:]:
        raise UsageError(
            f"data set {name!r}: train images are {images.train_images.shape[1:]}, test images "
            f"{images.test_images.shape[1:]}; allowed is one shape"
        )
    missing = sorted(set(range(classes)) - set(np.unique(images.train_labels).tolist()))
    if missing:
        raise UsageError(
            f"data set {name!r}: no train image of class {', '.join(map(str, missing))}; "
            "add some or name fewer classes"
        )


def _check_part(
    place: str, pixels: NDArray[Any], labels: NDArray[Any], classes: int, pixel_max: float
) -> None:
    """Check the images and labels of train or of test; errors call them `place`."""
    wrong = pixels.ndim not in {3, 4} or pixels.dtype.name not in {"uint8", "uint16"}
    if wrong or not pixels.size or channels_come_first(pixels.shape):
        remedy = remedies.stacked_pixels(pixels.dtype, pixels.shape)
        raise UsageError(
            f"{place}_images: got {pixels.dtype} of shape {pixels.shape}; allowed is uint8 or uint16 of "
            f"shape {SHAPES}, at least one image; {remedy}"
        )
    if labels.shape != pixels.shape[:1] or labels.dtype != "int64":
        remedy = remedies.labels(labels.dtype, labels.shape)
        if labels.ndim == 1 and labels.dtype.kind in "iu":
            remedy = "labels = labels.astype(np.int64), one an image"
        raise UsageError(
            f"{place}_labels: got {labels.dtype} of shape {labels.shape}; allowed is int64 of shape "
            f"({len(pixels)},), one an image; {remedy}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise UsageError(
            f"{place}_labels: got {labels.min()}..{labels.max()}; allowed is 0..{classes - 1} "
            f"for its {classes} classes"
        )
    if pixels.max() > pixel_max:
        raise UsageError(
            f"{place}_images: got a pixel of {pixels.max()}; pixel_max is {pixel_max}: give pixel_max the "
            f"value of a full pixel, at most {255 if pixels.dtype == 'uint8' else 65535} of {pixels.dtype}"
        )


datasets: Registry[Dataset] = Registry("dataset", Dataset)


def refresh() -> None:
    """Forget the facts of third-party data sets whose code has changed."""
    for entry in datasets:
        if entry.third_party:
            entry.component.refresh(entry.source_digest)


DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415)
"""First image of each form, a writer's, in the digits of scikit-learn; of those that begin in train."""
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _facts(classes: tuple[str, ...], digest: str) -> Facts:
    """Return the facts of MNIST, or of a data set made in its form."""
    return Facts((28, 28), classes, 60_000, 10_000, 255, digest)


@datasets.register(
    "mnist",
    known=_facts(DIGITS, "3c4cc0db2a25ab6be26edeebe0171ac5fb885ce2fc16c991a4f6c382733d5dbe"),
    remark="the images come in an order: the last 10,000 of train are easy, and the first half of test is "
    "hard (with the label of the nearest image it has 221 of test's 309 errors). Five small networks each "
    "had fewer errors on the last 10,000 of train, held out, than on test, and more on 10,000 random ones: "
    "published figures that hold out the last ones are not those of val here, which is drawn",
)
def mnist() -> Images:
    """Handwritten digits, 28x28, 60,000 train and 10,000 test.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (1998), after
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998. Licence: CC BY-SA 3.0, as commonly stated.
    """
    return _downloaded("mnist")


@datasets.register(
    "fashion_mnist",
    known=_facts(CLOTHES, "c9ba3c49b4f4c50a2bffe6041e2eae64cef41e4bbc2c8c1de10eca7f0ccb3e25"),
)
def fashion_mnist() -> Images:
    """Photographs of clothes, 28x28, 60,000 train and 10,000 test; made to replace mnist, and harder.

    Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", arXiv:1708.07747 (2017). Licence: MIT.
    """
    return _downloaded("fashion_mnist")


@datasets.register(
    "digits",
    known=Facts(
        (8, 8), DIGITS, 1437, 360, 16, "78d36ed1e3a48e2f149a44a009f2945ed57bd017fe54b125de60c43c5eadf090"
    ),
    remark="val is drawn at random from the first 1,437 images, test is the last 360, nearly all by other "
    "writers, and harder: with the label of the nearest image, 1.25 % of the 1,437 are wrong (each left out "
    "once), and 4.44 % of test. val_split = 'blocks' or the data set digits_writers holds out whole writers",
    blocks=FORMS,
)
def digits() -> Images:
    """Handwritten digits, 8x8, pixels 0..16; first 1,437 train, last 360 test; comes with scikit-learn.

    The images come writer by writer: val's have others of the same hand in train, those of test do not, but
    for the writer whose first 22 images are the last ones of train.

    Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
    Repository (1998); the test part of it, as scikit-learn ships it. Licence: CC BY 4.0.
    """
    from harness.data import kept_digits

    images = _divided(1437, *kept_digits.read())
    known = datasets["digits"].known
    return images if known and digest(images) == known.digest else _divided(1437, *kept_digits.renewed())


@datasets.register(
    "digits_writers",
    known=Facts(
        (8, 8), DIGITS, FORMS[10], 1797 - FORMS[10], 16,
        "92103ed2b7bcd6b79708056e1b2e8d74ef57269c6a98f52ee450b27b4f9b354e",
    ),
    remark="no writer is in two of train, val and test, but for one who may be in train and in part in val. "
    "With the label of the nearest image, 5.8 % of val are wrong (standard deviation over split seeds, which "
    "draw the writers: 1.8 points) and 4.8 % of test; with val at random it is 1.4 % and 4.1 %. Three are "
    "few: resample_split = true draws others with each seed",
    blocks=FORMS[:10],
    usual={"val_split": "blocks", "val_fraction": 0.3},
)  # fmt: skip
def digits_writers() -> Images:
    """The images of digits, divided by writers: three tenths of the first ten forms val, the last four test.

    A form has 122 to 130 images, in one order of digits that begins with 0 to 9 three times: so the labels
    alone show where one ends. There are 14, of 13 writers by the data set's description.

    Source: Alpaydin and Kaynak, as digits. Licence: CC BY 4.0.
    """
    from harness.data import kept_digits

    images = _divided(FORMS[10], *kept_digits.read())
    known = datasets["digits_writers"].known
    return images if known and digest(images) == known.digest else _divided(FORMS[10], *kept_digits.renewed())


def _divided(train: int, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
    """Divide the digits into train and test."""
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:])


def _downloaded(name: str) -> Images:
    """Read the four IDX files of a data set that `sources` downloads."""
    import numpy as np

    from harness.data import download, idx

    folder = download.download(name)
    return Images(
        idx.read(folder / "train-images-idx3-ubyte"),
        idx.read(folder / "train-labels-idx1-ubyte").astype(np.int64),
        idx.read(folder / "t10k-images-idx3-ubyte"),
        idx.read(folder / "t10k-labels-idx1-ubyte").astype(np.int64),
    )


for _name, _set in described_sets.SETS.items():
    datasets.register(
        _name,
        known=Facts(_set.shape, _set.classes, _set.train, _set.test, 255, _set.digest),
        remark=_set.remark,
        recipe=functools.partial(found_digests.of_pins, _name),
    )(_set.read)

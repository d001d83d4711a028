"""Data sets of which all is known before their images are here: downloaded ones, and drawn ones.

Downloaded files stay as their publishers have them. Digests of their images are found when the harness first
reads them, and kept (`found_digests`): no publisher has those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.images import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PACKED = 1 << 26  # bytes of one packed member of EMNIST's archive: the largest that is read has 28 MB
MOST_TEXT = 1 << 26  # bytes of USPS's text, unpacked: 7,291 lines of at most 4 kB
CIFAR_BATCH = 10_000 * 3073  # bytes

DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
LETTERS = ("A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T",
           "U", "V", "W", "X", "Y", "Z")  # fmt: skip
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class DescribedSet:
    """A data set as its publisher, or what draws it, describes it.

    Args:
        read: fetches and reads it, or draws it.
        shape: an image's, (H, W) or (H, W, C).
        classes: the class names, in label order.
        train, test: how many images each has.
        remark: a sentence without which numbers are misread.
        digest: the SHA-256 of its images and labels, of a drawn one; "" where the first load finds it.
    """

    read: Callable[[], Images]
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    train: int
    test: int
    remark: str = ""
    digest: str = ""


def _folder(name: str) -> Path:
    from harness.data import download

    return download.download(name)


def _shared(name: str, read: Callable[[], Images]) -> Images:
    """Unpack a downloaded set once a machine: later processes map the pixels that the first one read."""
    from harness.data import found_digests
    from harness.data.shared_arrays import shared_arrays

    def make() -> dict[str, NDArray[Any]]:
        images = read()
        parts = ("train_images", "train_labels", "test_images", "test_labels")
        return {part: getattr(images, part) for part in parts}

    arrays = shared_arrays(f"{name} {found_digests.of_pins(name)}", make)
    # PyTorch warns of labels that cannot be written.
    labels = [arrays[f"{part}_labels"].copy() for part in ("train", "test")]
    return Images(arrays["train_images"], labels[0], arrays["test_images"], labels[1])


def kmnist() -> Images:
    """Handwritten Japanese characters of old books, 28x28, ten classes, 60,000 train and 10,000 test.

    Source: Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto and Ha, "Deep learning for classical Japanese
    literature", arXiv:1812.01718 (2018). Licence: CC BY-SA 4.0.
    """
    from harness.data import idx

    folder = _folder("kmnist")
    pixels = [idx.read(folder / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")]
    labels = [idx.read(folder / f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")]
    return _images(pixels, labels)


def emnist_letters() -> Images:
    """Handwritten letters, capital and small ones together, 28x28, 124,800 train and 20,800 test.

    The files have rows and columns of each image exchanged, which is corrected, and labels from 1.

    Source: Cohen, Afshar, Tapson and van Schaik, "EMNIST: extending MNIST to handwritten letters", IJCNN
    2017. Licence: none stated; made from NIST Special Database 19, a work of the United States government.
    """
    return _shared("emnist_letters", _read_emnist_letters)


def _read_emnist_letters() -> Images:
    from io import BytesIO

    from harness.data import archives, emnist, idx

    path = _folder("emnist_letters") / "gzip.zip"
    names = [
        f"gzip/emnist-letters-{part}-{kind}-ubyte.gz"
        for part in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    ]
    files = archives.of_zip(path, names, MOST_PACKED)
    arrays = [idx.parse(BytesIO(files[name]), len(files[name]), f"{path}: {name}") for name in names]
    return _images([emnist.upright(a) for a in arrays[::2]], [a.astype("int64") - 1 for a in arrays[1::2]])


def qmnist() -> Images:
    """MNIST made anew from its source, 28x28, 60,000 train and all 60,000 test images, not 10,000.

    Source: Yadav and Bottou, "Cold case: the lost MNIST digits", NeurIPS 2019. Licence: BSD (3 clauses).
    """
    from harness.data import emnist, idx

    folder = _folder("qmnist")
    parts = [f"qmnist-{part}" for part in ("train", "test")]
    tables = [folder / f"{part}-labels-idx2-int.gz" for part in parts]
    return _images(
        [idx.read(folder / f"{part}-images-idx3-ubyte.gz") for part in parts],
        [emnist.column(idx.read(table), str(table)) for table in tables],
    )


def cifar10() -> Images:
    """Photographs of animals and vehicles in colour, 32x32x3, 50,000 train and 10,000 test.

    Source: Krizhevsky, "Learning multiple layers of features from tiny images", University of Toronto (2009).
    Licence: none stated.
    """
    return _shared("cifar10", _read_cifar10)


def _read_cifar10() -> Images:
    import numpy as np

    from harness.data import archives, cifar

    path = _folder("cifar10") / "cifar-10-binary.tar.gz"
    names = [
        f"cifar-10-batches-bin/{part}.bin"
        for part in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    ]
    files = archives.of_tar(path, dict.fromkeys(names, CIFAR_BATCH))
    batches = [cifar.parse(files[name], f"{path}: {name}") for name in names]
    train = [np.concatenate(arrays) for arrays in zip(*batches[:5], strict=True)]
    return _images([train[1], batches[5][1]], [train[0][:, 0], batches[5][0][:, 0]])


def usps() -> Images:
    """Handwritten digits of envelopes, 16x16, 7,291 train and 2,007 test.

    Source: Hull, "A database for handwritten text recognition research", IEEE Transactions on Pattern
    Analysis and Machine Intelligence 16(5), 1994; divided as LIBSVM's page has it. Licence: none stated.
    """
    return _shared("usps", _read_usps)


def _read_usps() -> Images:
    from harness.data import archives
    from harness.data import usps as text

    folder = _folder("usps")
    parts = [
        text.parse(archives.of_bz2(folder / file, MOST_TEXT), str(folder / file))
        for file in ("usps.bz2", "usps.t.bz2")
    ]
    return _images([pixels for _, pixels in parts], [labels for labels, _ in parts])


def glyphs() -> Images:
    """Printed letters A to Z, drawn from fonts and distorted, 28x28, 26,000 train, 5,200 test; no download.

    Each image is turned, sheared, scaled, moved and bent at random. Train is drawn with 12 fonts, test with 6
    others. A study draws other ones: [datasets.letters], generate = "glyphs", with its own classes and seed.

    Source: the outlines of DejaVu, STIX and Computer Modern fonts, as matplotlib ships them. Licence: of the
    drawing, that of the harness; of the fonts, Bitstream Vera's, STIX's and BaKoMa's.
    """
    from harness.data import glyphs as letters

    return letters.draw(letters.default())


def mnist1d() -> Images:
    """Rows of 40 values, ten short curves, distorted at random; 4,000 train and 1,000 test; no download.

    MNIST-1D: a row is an image of one line, 1x40, in which a curve is anywhere: convolutions gain much.

    Source: Greydanus, "Scaling down deep learning", arXiv:2011.14439 (2020): its construction, written anew,
    with other curves. Licence: that of the harness; nothing is copied.
    """
    from harness.data import mnist1d as curves

    return curves.draw()


def _images(pixels: list[NDArray[Any]], labels: list[NDArray[Any]]) -> Images:
    """Put train and test together, labels in int64."""
    (train, test), (train_labels, test_labels) = pixels, labels
    return Images(train, train_labels.astype("int64"), test, test_labels.astype("int64"))


SETS = {
    "kmnist": DescribedSet(kmnist, (28, 28), KANA, 60_000, 10_000),
    "emnist_letters": DescribedSet(
        emnist_letters, (28, 28), LETTERS, 124_800, 20_800,
        "a capital and its small letter are one class: some, as of I and L, look the same, so that no "
        "network has all right. Images are turned upright, which the files' are not",
    ),
    "qmnist": DescribedSet(
        qmnist, (28, 28), DIGITS, 60_000, 60_000,
        "train and the first 10,000 of test are mnist's, made anew to within 3 of 255 a pixel: what was "
        "trained on mnist's test has seen them",
    ),
    "cifar10": DescribedSet(cifar10, (32, 32, 3), THINGS, 50_000, 10_000),
    "usps": DescribedSet(
        usps, (16, 16), DIGITS, 7_291, 2_007,
        "test is harder than train, for people too",
    ),
    "glyphs": DescribedSet(
        glyphs, (28, 28), LETTERS, 26_000, 5_200,
        "val's letters are of train's fonts, test's are of other fonts, and harder. The outlines are those "
        "of matplotlib's font files: other files would make other images, which is an error and said",
        "9c9aaa642ad2d41e9bf9cd245fd30c4ceb87698ff5a3353616a2a1dcc3c9e743",
    ),
    "mnist1d": DescribedSet(
        mnist1d, (1, 40), DIGITS, 4_000, 1_000,
        "made as the data of arXiv:2011.14439 are, but from other curves: accuracies come near those "
        "published (32 % of a linear network, 68 % of an MLP, 94 % of a convolutional one), and are not "
        "to be compared with them",
        "603095c7e61ba5888880270271cceeeaace82cbc01968a881d12cbf5dc063de9",
    ),
}  # fmt: skip
"""Data sets by the name that they are registered under; counts of downloaded ones are their publishers'."""

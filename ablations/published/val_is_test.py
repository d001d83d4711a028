"""Data sets whose val is the file of test images: what a table of best test epochs was made with.

Such a table chose its epoch on the images that it reports. A study that repeats it needs the accuracy on
these images after each epoch, which the harness gives of val alone. So val is that file here, test is the
same images once more, and the name says it: nothing that is chosen on val of these sets is a result on
unseen images.
"""

import numpy as np

from harness.axes.datasets import DIGITS, Images, datasets
from harness.data.datasets import CLOTHES

TEST = 10_000
WHOLE, PART = 60_000, 50_000


def with_test_as_val(name: str, train: int) -> Images:
    """Give the first `train` images of a set's train file, the test file behind them, and that as test, too.

    With val_split = "last" and val_fraction = 10,000 / (train + 10,000), val is the test file.
    """
    images = datasets[name].load()
    return Images(
        np.concatenate([images.train_images[:train], images.test_images]),
        np.concatenate([images.train_labels[:train], images.test_labels]),
        images.test_images,
        images.test_labels,
    )


def usual(train: int) -> dict[str, str | float]:
    """Give the settings with which val is the test file."""
    return {"val_split": "last", "val_fraction": TEST / (train + TEST)}


@datasets.register("mnist_val_is_test", classes=DIGITS, usual=usual(WHOLE))
def mnist_val_is_test() -> Images:
    """MNIST, trained on all 60,000 images; val is the test file."""
    return with_test_as_val("mnist", WHOLE)


@datasets.register("mnist_50000_val_is_test", classes=DIGITS, usual=usual(PART))
def mnist_50000_val_is_test() -> Images:
    """MNIST, trained on the first 50,000 images; val is the test file."""
    return with_test_as_val("mnist", PART)


@datasets.register("fashion_mnist_val_is_test", classes=CLOTHES, usual=usual(WHOLE))
def fashion_mnist_val_is_test() -> Images:
    """FashionMNIST, trained on all 60,000 images; val is the test file."""
    return with_test_as_val("fashion_mnist", WHOLE)

"""MNIST in the order of a folder whose files are named by their label: all zeros first, then all ones."""

import numpy as np

from harness.axes.datasets import DIGITS, Images, datasets


@datasets.register("mnist_sorted", classes=DIGITS)
def mnist_sorted() -> Images:
    """MNIST sorted by label, each label's images in their own order."""
    images = datasets["mnist"].load()
    order = np.argsort(images.train_labels, kind="stable")
    return Images(
        images.train_images[order], images.train_labels[order], images.test_images, images.test_labels
    )

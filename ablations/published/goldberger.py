"""MNIST of which 46 % of the train labels are exchanged by a fixed permutation; test is as it was.

Source: Goldberger and Ben-Reuven, "Training deep neural-networks using a noise adaptation layer", ICLR 2017,
and its authors' code; the permutation is that of Reed et al. (2015). Which images are mislabelled is drawn
here anew, the same share of each class.
"""

import numpy as np

from harness.axes.datasets import DIGITS, Images, datasets

EXCHANGED = np.array([7, 9, 0, 4, 2, 1, 3, 5, 6, 8])
"""The label that an image of each class is given."""
SHARE = 0.46
SEED = 46


@datasets.register("mnist_46_percent_permuted", classes=DIGITS)
def mnist_46_percent_permuted() -> Images:
    """MNIST; 46 % of each class of train have the label that a permutation gives it."""
    images = datasets["mnist"].load()
    labels, rng = images.train_labels.copy(), np.random.default_rng(SEED)
    for digit, given in enumerate(EXCHANGED):
        places = np.flatnonzero(images.train_labels == digit)
        labels[rng.permutation(places)[: round(SHARE * len(places))]] = given
    return Images(images.train_images, labels, images.test_images, images.test_labels)

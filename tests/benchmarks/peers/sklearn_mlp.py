"""scikit-learn's MLPClassifier, an epoch a call of `partial_fit`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from harness.data.samples import Data, Split
from peers import groups
from peers.shares import Share, Timing


class Classifier:
    """One trial in training; no penalty, no early stopping."""

    def __init__(self, data: Data, share: Share) -> None:
        self.data, self.batch_size = data, share.work.batch_size
        rng = np.random.default_rng(0)
        name = share.work.optimizer
        self.classes = np.arange(len(data.classes))
        self.model = MLPClassifier(
            share.work.hidden, solver="adam" if name == "adam" else "sgd", alpha=0.0,
            batch_size=self.batch_size, learning_rate_init=share.first[0],
            momentum=0.9 if name == "momentum" else 0.0, nesterovs_momentum=False, random_state=0,
        )  # fmt: skip
        # Weights come with the first call, for one image here; then they are drawn as torch.nn draws them.
        self.model.set_params(batch_size=1)
        self.model.partial_fit(data.train.x[:1], data.train.y[:1], classes=self.classes)
        for w, b in zip(self.model.coefs_, self.model.intercepts_, strict=True):
            w[:], b[:] = (rng.uniform(-(len(w) ** -0.5), len(w) ** -0.5, part.shape) for part in (w, b))
        del self.model._optimizer  # what it kept of that image
        self.model.set_params(batch_size=self.batch_size)

    def train(self, steps: int) -> None:
        """An epoch, or the first batches of one: `partial_fit` shuffles what it is given."""
        x, y = self.data.train.x, self.data.train.y
        if steps * self.batch_size < len(y):
            x, y = x[: steps * self.batch_size], y[: steps * self.batch_size]
        self.model.partial_fit(x, y)

    def evaluate(self, split: Split) -> Sequence[float]:
        """Loss and accuracy."""
        samples = self.data[split]
        p = self.model.predict_proba(samples.x)
        log_loss(samples.y, p, labels=self.classes)
        return [float((p.argmax(1) == samples.y).mean())]


def prepare(share: Share) -> None:
    """Nothing to compile."""


def time(share: Share) -> Timing:
    """One trial after the other."""
    return groups.time(share, Classifier)

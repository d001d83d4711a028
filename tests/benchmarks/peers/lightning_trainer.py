"""PyTorch Lightning: a LightningModule and a Trainer, with everything off that a trial can do without."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from harness.data.samples import Data, Split
from peers import groups
from peers.in_memory import network, optimizer, tensors
from peers.shares import Share, Timing

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")  # it advises more workers for the DataLoader
EVALUATED = 512  # images at once, as in the labs' loop


class Classifier(lightning.LightningModule):  # type: ignore[misc]
    """One network, its loss and its optimizer."""

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.model, self.share = network(share.work), share
        self.right = 0

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The mean loss of a batch."""
        x, y = batch
        return F.cross_entropy(self.model(x), y)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count what is right; Lightning takes the mean of what is logged."""
        x, y = batch
        f = self.model(x)
        self.log("loss", F.cross_entropy(f, y), on_epoch=True, batch_size=len(y))
        self.log("accuracy", (f.argmax(1) == y).float().mean(), on_epoch=True, batch_size=len(y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """As every loop has it."""
        return optimizer(self.model, self.share.work.optimizer, self.share.first[0])


class Trial:
    """One trial in training."""

    def __init__(self, data: Data, share: Share) -> None:
        self.data = {split: TensorDataset(*pair) for split, pair in tensors(data, "cpu").items()}
        self.batch_size = share.work.batch_size
        self.model = Classifier(share)

    def train(self, steps: int) -> None:
        """A fit of so many batches."""
        batches = DataLoader(self.data["train"], batch_size=self.batch_size, shuffle=True)
        _trainer(max_epochs=1, limit_train_batches=min(steps, len(batches))).fit(self.model, batches)

    def evaluate(self, split: Split) -> Sequence[float]:
        """Loss and accuracy, by the Trainer."""
        images = DataLoader(self.data[split], batch_size=EVALUATED)
        (found,) = _trainer().validate(self.model, images, verbose=False)
        return [found["accuracy"]]


def _trainer(**limits: Any) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **limits,
    )  # fmt: skip


def prepare(share: Share) -> None:
    """Nothing to compile."""


def time(share: Share) -> Timing:
    """One trial after the other."""
    return groups.time(share, Trial, chunk=1_000)

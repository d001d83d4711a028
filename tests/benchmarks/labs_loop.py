"""The loop that the labs write by hand: one network, one DataLoader over data in memory, one torch.optim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harness.data.datasets import datasets


def in_memory(name: str = "mnist") -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Train, val and test of MNIST or FashionMNIST."""
    images = datasets[name].load()
    x = torch.from_numpy(images.train_images.reshape(-1, 784)).float() / 255
    y = torch.from_numpy(images.train_labels)
    test = torch.from_numpy(images.test_images.reshape(-1, 784)).float() / 255
    labels = torch.from_numpy(images.test_labels)
    return (
        TensorDataset(x[:54000], y[:54000]),
        TensorDataset(x[54000:], y[54000:]),
        TensorDataset(test, labels),
    )


@dataclass(frozen=True)
class Lab:
    """What a lab trains: a network, its mean loss of (output, labels), its optimizer and batch size."""

    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: Callable[[Any], torch.optim.Optimizer]
    batch_size: int


def evaluate(model: nn.Module, data: TensorDataset, lab: Lab) -> tuple[float, float]:
    """Loss and accuracy, as the labs compute them."""
    loss, right = 0.0, 0
    with torch.no_grad():
        for x, y in DataLoader(data, batch_size=512):
            f = model(x)
            loss += lab.loss(f, y).item() * len(y)
            right += int((f.argmax(1) == y).sum())
    return loss / len(data), right / len(data)


def train(splits: tuple[TensorDataset, TensorDataset, TensorDataset], lab: Lab) -> float:
    """One epoch, train and val evaluated before and after it; gives the test accuracy."""
    train, val, test = splits
    model = lab.model()
    step = lab.optimizer(model.parameters())
    evaluate(model, train, lab), evaluate(model, val, lab)
    for x, y in DataLoader(train, batch_size=lab.batch_size, shuffle=True):
        loss = lab.loss(model(x), y)
        step.zero_grad()
        loss.backward()
        step.step()
    evaluate(model, train, lab), evaluate(model, val, lab)
    return evaluate(model, test, lab)[1]

"""Parameters and operations of each arm's network, counted before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.axes import by_hand
from harness.axes.architectures import Architecture, architectures
from harness.data.arm_settings import Settings
from harness.data.samples import inputs_of, shape_of
from harness.errors import ComponentError
from harness.settings import limits
from harness.system.lazy import torch
from harness.text import as_text

if TYPE_CHECKING:
    from torch import nn

MOST_TOLD = 4  # counts that are told one by one


@dataclass(frozen=True)
class NetworkSize:
    """A network's trainable parameters, and the operations of a forward pass of one image.

    `flops` are the multiplications and additions of its products; None where they cannot be counted.
    """

    parameters: int
    flops: int | None


_known: dict[tuple[Architecture, str], NetworkSize] = {}
"""Sizes of networks that this process has counted, by what decides them."""


def of_settings(settings: Settings) -> int:
    """Count the trainable parameters of an arm's network; raise as `size_of`."""
    return size_of(settings).parameters


def size_of(settings: Settings) -> NetworkSize:
    """Count the parameters and operations of an arm's network: of an mlp without building it.

    Raises:
        ComponentError: the architecture is a person's own, and builds none.
    """
    key = architectures[settings.architecture], f"{settings.facts.digest} {_key(settings)}"
    if key not in _known:
        _known[key] = _counted(settings)
    return _known[key]


def _counted(settings: Settings) -> NetworkSize:
    inputs, classes = inputs_of(settings), len(settings.facts.classes)
    if settings.architecture == "mlp":
        widths = [inputs, *settings.hidden, classes]
        # Batch norm takes the place of a layer's bias; a norm has a weight and a bias a unit.
        of_norm = {"none": 0, "batch": 1, "layer": 2}[settings.norm] * sum(settings.hidden)
        products = [i * o for i, o in itertools.pairwise(widths)]
        return NetworkSize(sum(products) + sum(widths[1:]) + of_norm, 2 * sum(products))
    architecture = architectures[settings.architecture]
    if architecture.name in by_hand.NETWORKS and not architectures.entry(architecture.name).third_party:
        try:
            return NetworkSize(*by_hand.count(settings, shape_of(settings), classes, limits.PARAMETERS))
        except MemoryError:
            with torch.device("meta"):  # of no memory
                return NetworkSize(_parameters(_built(settings)), None)
    network, shape = _built(settings), shape_of(settings)
    from harness.axes.architectures.counting import operations  # imports torch

    image = shape if architecture.takes_images else (inputs,)
    return NetworkSize(_parameters(network), operations(network, image))


def _built(settings: Settings) -> nn.Module:
    from harness.axes.probes import call  # imports torch

    architecture = architectures[settings.architecture]
    what = f"architecture {architecture.name!r}"
    shape, activation = shape_of(settings), torch.nn.Identity  # an activation has no parameters
    net = call(what, architecture.network, shape, len(settings.facts.classes), activation, settings)
    if not isinstance(net, torch.nn.Module):
        raise ComponentError(f"{what} gives {type(net).__name__}; allowed: a torch.nn.Module")
    return net


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _key(settings: Settings) -> str:
    return str(settings.values_of(_deciding(settings)))


def _deciding(settings: Settings) -> list[str]:
    """Name the settings that decide a network's parameters."""
    return ["dataset", "preprocessing", "architecture", *architectures[settings.architecture].settings]


def flops_in_words(flops: Mapping[str, int | None]) -> str:
    """Put the operations of arms into words: those of all, or their range; empty where none are known."""
    distinct = sorted({count for count in flops.values() if count is not None})
    counts = [f"{count:,}" for count in distinct]
    between = " to ".join(dict.fromkeys([counts[0], counts[-1]])) if counts else ""
    return between and f"{between} multiplications and additions a forward pass of one image"


def in_words(counts: Mapping[str, int], arms: Mapping[str, Settings]) -> str:
    """Put the counts of arms into words: the one of all, a few with what decides them, or their range."""
    distinct = sorted(set(counts.values()))
    if len(distinct) < 2:
        return "".join(f"{count:,} trainable parameters" for count in distinct)
    if len(distinct) > MOST_TOLD:
        return f"{distinct[0]:,} to {distinct[-1]:,} trainable parameters"
    first = {count: arms[name] for name, count in reversed(list(counts.items()))}
    names = [name for name in _deciding(first[distinct[0]]) if all(name in arm for arm in first.values())]
    told = {name: {count: as_text(arm[name]) for count, arm in first.items()} for name in names}
    differ = [name for name in names if len(set(told[name].values())) > 1]
    words = [f"{n:,} ({', '.join(f'{name} {told[name][n]}' for name in differ)})" for n in distinct]
    return f"trainable parameters: {', '.join(words)}"

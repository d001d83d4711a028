"""Parameters: the trainable parameters of each arm's network, counted before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from harness.axes.architectures import architectures
from harness.axes.by_hand import NETWORKS, count_parameters
from harness.data.arm_settings import Settings
from harness.data.samples import inputs_of, shape_of
from harness.errors import ComponentError
from harness.system.lazy import torch
from harness.text import as_text

MOST_TOLD = 4  # counts that are told one by one


def of_settings(settings: Settings) -> int:
    """Count the trainable parameters of an arm's network; PyTorch is needed for a person's own alone.

    Raises:
        ComponentError: the architecture is a person's own, and builds none.
    """
    inputs, classes = inputs_of(settings), len(settings.facts.classes)
    if settings.architecture == "mlp":
        widths = [inputs, *settings.hidden, classes]
        # Batch norm takes the place of a layer's bias; a norm has a weight and a bias a unit.
        of_norm = {"none": 0, "batch": 1, "layer": 2}[settings.norm] * sum(settings.hidden)
        return sum((i + 1) * o for i, o in itertools.pairwise(widths)) + of_norm
    if settings.architecture in NETWORKS and not architectures.entry(settings.architecture).third_party:
        return count_parameters(settings, shape_of(settings), classes)
    from harness.axes.probes import call  # imports torch

    architecture = architectures[settings.architecture]
    what = f"architecture {architecture.name!r}"
    shape, activation = shape_of(settings), torch.nn.Identity  # an activation has no parameters
    net = call(what, architecture.network, shape, classes, activation, settings)
    if not isinstance(net, torch.nn.Module):
        raise ComponentError(f"{what} gives {type(net).__name__}; allowed: a torch.nn.Module")
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def of_arms(arms: Mapping[str, Settings]) -> dict[str, int]:
    """Count the trainable parameters of each arm's network, of equal networks once."""
    counts: dict[str, int] = {}
    of_arm = {}
    for name, settings in arms.items():
        key = str([settings.get(setting) for setting in _deciding(settings)])
        if key not in counts:
            counts[key] = of_settings(settings)
        of_arm[name] = counts[key]
    return of_arm


def _deciding(settings: Settings) -> list[str]:
    """Name the settings that decide a network's parameters."""
    return ["dataset", "preprocessing", "architecture", *architectures[settings.architecture].settings]


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

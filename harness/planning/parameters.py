"""Parameters: the trainable parameters of each arm's network, counted before anything is trained."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

from harness.axes.architectures import architectures
from harness.data.arm_settings import Settings
from harness.data.samples import inputs_of
from harness.errors import ComponentError, few
from harness.system.lazy import torch

MOST_TOLD = 4  # counts that are told one by one


def count_parameters(settings: Settings) -> int:
    """Count the trainable parameters of an arm's network: of an mlp without building it.

    Raises:
        ComponentError: the architecture is a person's own, and builds none.
    """
    inputs, classes = inputs_of(settings), len(settings.facts.classes)
    if settings.architecture == "mlp":
        widths = [inputs, *settings.hidden, classes]
        return sum((i + 1) * o for i, o in itertools.pairwise(widths))
    from harness.axes.probes import call  # imports torch

    architecture = architectures[settings.architecture]
    given = {name: settings[name] for name in architecture.settings}
    build = functools.partial(architecture.build, **given)
    what = f"architecture {architecture.name!r}"
    net = call(what, build, inputs, classes, torch.nn.Identity)  # an activation has no parameters
    if not isinstance(net, torch.nn.Module):
        raise ComponentError(f"{what} gives {type(net).__name__}; allowed: a torch.nn.Module")
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def of_arms(arms: Mapping[str, Settings]) -> dict[str, int]:
    """Count the trainable parameters of each arm's network, of equal networks once."""
    counts: dict[str, int] = {}
    of_arm = {}
    for name, settings in arms.items():
        decide = ("dataset", "preprocessing", "architecture", *architectures[settings.architecture].settings)
        key = str([settings.get(setting) for setting in decide])
        if key not in counts:
            counts[key] = count_parameters(settings)
        of_arm[name] = counts[key]
    return of_arm


def in_words(counts: Mapping[str, int]) -> str:
    """Put the counts of arms into words: the one of all, a few with their arms, or their range.

    >>> in_words({"relu": 26506, "tanh": 26506}), in_words({"relu": 7960, "tanh": 26506})
    ('26,506 trainable parameters', 'trainable parameters: 7,960 (relu), 26,506 (tanh)')
    """
    if not counts:
        return ""
    arms: dict[int, list[str]] = {}
    for arm, count in counts.items():
        arms.setdefault(count, []).append(arm)
    if len(arms) == 1:
        return f"{next(iter(arms)):,} trainable parameters"
    if len(arms) > MOST_TOLD:
        return f"{min(arms):,} to {max(arms):,} trainable parameters"
    return f"trainable parameters: {', '.join(f'{n:,} ({few(names)})' for n, names in arms.items())}"

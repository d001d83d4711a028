"""Costs of a suggestion's network, known before it is trained: of objectives, and of [search.constraints]."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.samples import train_size
from harness.planning.parameters import size_of
from harness.planning.stack import widths_of
from harness.searching.latency import Latencies
from harness.study.searches import Search


class Costs:
    """The costs that a search asks for, by the settings of an arm.

    Args:
        search: its [search] table; `constraints` are the upper bounds.
        folder: the results folder, where latencies are kept; None for those that are measured for a check.
    """

    def __init__(self, search: Search, folder: Path | None = None) -> None:
        self.search = search
        self._latencies = Latencies(folder)

    def of(self, name: str, settings: Settings) -> float:
        """Return a cost; infinite where the operations of a network cannot be counted."""
        if name == "latency":
            return self._latencies.of(settings)
        if name == "training_flops":
            return training_flops(settings)
        size = size_of(settings)
        counted = size.parameters if name == "parameters" else size.flops
        return math.inf if counted is None else float(counted)

    def bounded(self, settings: Settings) -> dict[str, float]:
        """Return the costs that have an upper bound."""
        return {name: self.of(name, settings) for name in self.search.constraints}

    def excess(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Return by how much costs lie above their bounds: the logarithm of cost / bound, at most 0 if kept.

        A logarithm, so that a network with twice as many parameters as allowed weighs as much as one that
        takes twice the time.
        """
        least = sys.float_info.min  # of a network without any parameters
        bounds = self.search.constraints.items()
        return {name: math.log(max(costs[name] / bound, least)) for name, bound in bounds}

    def kept(self, costs: Mapping[str, float]) -> bool:
        """Tell whether costs keep to every bound."""
        return all(cost <= self.search.constraints[name] for name, cost in costs.items())


def uncounted(search: Search, arms: Iterable[Settings]) -> list[str]:
    """Name the architectures whose operations a search asks for, and which have products of unknown kinds."""
    if not {"flops", "training_flops"}.intersection(search.costs):
        return []
    return sorted({arm.architecture for arm in arms if size_of(arm).flops is None})


def training_flops(settings: Settings) -> float:
    """Count the multiplications and additions of an arm's training, in its products alone.

    Of an mlp each weight takes 2 forward and 2 for its own gradient a sample; all but layer one's take 2
    more, to hand the gradient on. Of other networks all count three times a forward pass, as is usual.
    Biases, norms, activations, loss and updates are left out.
    """
    n = train_size(settings)
    budget = Budget.of(settings, n)
    full, rest = divmod(budget.steps, budget.steps_per_epoch)
    samples = full * n + rest * budget.batch_size
    if settings.architecture == "mlp":
        layers = [i * o for i, o in itertools.pairwise(widths_of(settings))]
        return float(f"{samples * (6 * sum(layers) - 2 * layers[0]):.7g}")
    flops = size_of(settings).flops
    return math.inf if flops is None else float(f"{3 * samples * flops:.7g}")

"""Checks of what a person wrote: a loss, an activation, a backward pass, a whole NumPy network.

Each gives a `CheckResult`: true where all is right; shown, it says what was compared and what is wrong.

>>> import harness
>>> harness.check.component("loss", "ce")
right: loss 'ce' keeps its contract
  compared: as a plan tries it, and on a stack of three
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.check.components import component as component
    from harness.check.functions import activation as activation
    from harness.check.functions import head as head
    from harness.check.gradients import gradient as gradient
    from harness.check.layers import layer as layer
    from harness.check.losses import loss as loss
    from harness.check.metrics import metric as metric
    from harness.check.networks import network as network
    from harness.check.optimizers import optimizer as optimizer
    from harness.check.result import CheckResult as CheckResult

_HOMES = {
    "CheckResult": "result", "activation": "functions", "component": "components", "gradient": "gradients",
    "head": "functions", "layer": "layers", "loss": "losses", "metric": "metrics", "network": "networks",
    "optimizer": "optimizers",
}  # fmt: skip
__all__ = [
    "CheckResult", "activation", "component", "gradient", "head", "layer", "loss", "metric", "network",
    "optimizer",
]  # fmt: skip
__getattr__, __dir__ = public_names(__name__, _HOMES)

"""A network's class, as an engine trains one (`harness run --engine`), as a function that can be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.axes import formulas, own_networks
from harness.axes.losses import losses
from harness.axes.own_networks import Network
from harness.check.calling import Array
from harness.check.loss_cases import default_settings
from harness.data.arm_settings import Settings
from harness.errors import UsageError
from harness.settings import DEFAULTS

Function = Callable[[list[Array], Array, Array], tuple[float, list[Array]]]


def as_function(kind: type, like: Mapping[str, Any] | None, dataset: Any) -> tuple[Function, list[Array]]:
    """Return a function (parameters, x, one-hot y) -> (loss, gradients) of a class, and its start.

    Raises:
        UsageError: the class is not an engine's, or there are no settings to make a network of.
        ComponentError: it raises, or gives something of another shape.
    """
    own = own_networks.find(own_networks.named(kind))
    if not isinstance(like, Mapping) or not isinstance(dataset, str):
        raise UsageError(
            f"{kind.__name__} is made for a trial, of settings and a data set. Say which: network("
            f"{kind.__name__}, dataset='digits', like=dict(hidden=[50], activation='relu', head='softmax'))"
        )
    chosen = {name: value for name, value in DEFAULTS.items() if value is not None}
    settings = Settings({**chosen, **like, "dataset": dataset})
    network = Network(own, settings, 0, np.float64)
    given = default_settings(settings.loss, {n: like[n] for n in losses[settings.loss].settings if n in like})

    def loss_and_gradients(parameters: list[Array], x: Array, t: Array) -> tuple[float, list[Array]]:
        for array, value in zip(network.parameters, parameters, strict=True):
            array[...] = value
        f, formula = network.forward(x), formulas.loss_of(settings)
        values = network.losses(f, t) if own.has("losses") else formula.forward(f, t, **given)
        return float(values.mean()), network.gradients(x, t)

    loss_and_gradients.__name__ = kind.__name__
    return loss_and_gradients, [array.copy() for array in network.parameters]

"""Weights and an optimizer's states, read out of the state of one trial, whichever engine wrote it.

`READERS[engine](state, trial)` gives the weights by name, and the optimizer's states of each parameter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.samples import inputs_of, shape_of
from harness.engines.states import State
from harness.study.trials import Trial

Arrays = dict[str, NDArray[Any]]


def _of_stack(state: State, trial: Trial) -> tuple[Arrays, list[Arrays]]:
    """Read the weights by layer of a stack's only member, and the optimizer's states of each of them."""
    settings = trial.arm.settings
    widths = [inputs_of(settings), *settings.hidden, len(settings.facts.classes)]
    block = state.under("block.0.")
    if "parameters" in block:
        return _of_modules(block, state.under("update.0."), trial)
    network = _layers(block["first"], block["rest"], widths)
    slots: list[Arrays] = [{} for _ in network]
    update = state.under("update.0.")
    for name in dict.fromkeys(key.partition(".")[2] for key in update):
        first, rest = update[f"0.{name}"], update[f"1.{name}"]
        for i, array in enumerate(_layers(first, rest, widths).values()):
            slots[i][name] = array
    return network, slots


def _of_modules(block: Arrays, update: Arrays, trial: Trial) -> tuple[Arrays, list[Arrays]]:
    """Read a network's values under its own names, and the optimizer's states of each parameter.

    Rows (1, n) have the parameters that are trained one after the other, as the network has them.
    """
    from harness.axes.stacked_layers.form import canonical_names  # imports torch
    from harness.engines.classifier import Classifier

    settings = trial.arm.settings
    net = Classifier(trial, shape_of(settings), len(settings.facts.classes)).net
    trained = {name: tuple(p.shape) for name, p in net.named_parameters() if p.requires_grad}
    network, first = _parts(block["parameters"], trained), canonical_names(net)
    for name, value in net.state_dict().items():
        if first[name] not in network:
            network[first[name]] = block[f"buffer.{first[name]}"].reshape(tuple(value.shape))
        network[name] = network[first[name]]
    slots: list[Arrays] = [{} for _ in net.parameters()]
    places = [i for i, parameter in enumerate(net.parameters()) if parameter.requires_grad]
    for key, rows in update.items():
        parts = _parts(rows, trained) if rows.ndim == 2 else dict.fromkeys(trained, rows)
        for i, array in zip(places, parts.values(), strict=True):
            slots[i][key.partition(".")[2]] = array
    return network, slots


def _parts(rows: NDArray[Any], shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Split a row (1, n) into arrays of these shapes."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    parts = np.split(rows[0], ends[:-1])
    return {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}


def _layers(first: NDArray[Any], rest: NDArray[Any], widths: Sequence[int]) -> Arrays:
    """Split layer one's values (1, h*D) and all others (1, n), in order, as torch.nn.Linear's parameters."""
    named = {"0.weight": first[0].reshape(widths[1], widths[0]), "0.bias": rest[0, : widths[1]]}
    at = widths[1]
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths[1:]), start=1):
        named[f"{i}.weight"] = rest[0, at : at + fan_in * fan_out].reshape(fan_out, fan_in)
        at += fan_in * fan_out
        named[f"{i}.bias"] = rest[0, at : at + fan_out]
        at += fan_out
    return named


def _of_loop(state: State, trial: Trial) -> tuple[Arrays, list[Arrays]]:  # noqa: ARG001 (as the others)
    """Read a network's tensors by name, and the optimizer's states, which have torch.optim's names."""
    return state.under("model."), _numbered(state)


def _of_numpy(state: State, trial: Trial) -> tuple[Arrays, list[Arrays]]:
    """Read weights by layer, and the optimizer's states of each, which the formulas name by letters."""
    square = "total" if trial.arm.settings.optimizer == "adagrad" else "square"
    names = {"v": "velocity", "m": "mean", "s": square}
    slots = [{names.get(name, name): value for name, value in slot.items()} for slot in _numbered(state)]
    return state.under("network."), slots


READERS = {"stacked": _of_stack, "loop": _of_loop, "numpy": _of_numpy}


def _numbered(state: State) -> list[Arrays]:
    """Read the states of numbered parameters."""
    values = state.under("optimizer.")
    count = max((int(key.partition(".")[0]) + 1 for key in values), default=0)
    return [State(0, values).under(f"{i}.") for i in range(count)]

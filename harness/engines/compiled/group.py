"""The members of a stack that have one shape and one optimizer: their memory, and calls of the kernels."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.axes.architectures import initial_layers
from harness.data.batches import Budget
from harness.engines import kernels
from harness.engines.base import learning_rates, steps_before
from harness.engines.compiled.components import CompiledOptimizer, MemberParts
from harness.engines.compiled.memory import address, zeros
from harness.engines.members import SeedIndex, as_slice
from harness.engines.outcome import Floats
from harness.lowering.components import TrialComponents
from harness.rng import stream
from harness.study.trials import Trial

TRAINED_BYTES = 5 * 2**18
"""Bytes of weights and states that train together: they stay in a core's own cache."""
EVALUATED_BYTES = 5 * 2**17
"""Bytes of weights that are evaluated together, with room for a block of images beside them."""


@dataclass(frozen=True)
class StackContext:
    """The facts that all members of a stack share."""

    inputs: int
    classes: int
    budget: Budget
    seeds: SeedIndex
    dtype: np.dtype[Any]


class MemberGroup:
    """k members of one shape and one optimizer: layer one's weights as tiles (T, D, LANES), others (k, n)."""

    def __init__(
        self,
        members: range,
        trials: Sequence[Trial],
        lowered: Sequence[TrialComponents],
        context: StackContext,
    ) -> None:
        """Initialise the networks of trials; `members` are their places in the stack."""
        widths = [context.inputs, *trials[0].arm.settings.hidden, context.classes]
        dtype = context.dtype
        self.members, self.widths, self.library = members, widths, kernels.library(dtype)
        self.lanes, self.k = kernels.lanes(dtype), len(trials)
        real = kernels.name_of(dtype)
        self.each = -(-widths[1] // self.lanes)
        self.first = zeros((self.k * self.each, widths[0], self.lanes), dtype)
        self.rest = zeros((self.k, parameters(widths) - widths[0] * widths[1]), dtype)
        self.optimizer = CompiledOptimizer.of(lowered[0].optimizer, trials, real)
        self.first_states = [zeros(self.first.shape, dtype) for _ in self.optimizer.states]
        self.rest_states = [zeros(self.rest.shape, dtype) for _ in self.optimizer.states]
        self.before = steps_before(trials[0])
        self.rates = np.ascontiguousarray(learning_rates(trials, context.budget))[self.before :]
        self.parts = MemberParts(trials, lowered, widths[-1], real)
        self.dropout = max(trial.arm.settings.dropout or 0.0 for trial in trials)
        self.tiles = self._tiles(context.seeds.of_member[as_slice(members)])
        self.shape = np.array(widths[1:], np.int64)
        self.struct = self._struct()
        self._start([(trial.start_seed, trial.arm.settings.initial_weights) for trial in trials])

    def _tiles(self, batches: Sequence[int]) -> NDArray[np.void]:
        """Return the tiles of all members: LANES hidden units of one, or fewer at its end."""
        width = self.widths[1]
        rows = [
            (k * width + unit, min(self.lanes, width - unit), 0, batch, k)
            for k, batch in enumerate(batches)
            for unit in range(0, width, self.lanes)
        ]
        return np.array(rows, kernels.TILE)

    def _struct(self) -> kernels.Members:
        """Return the kernels' view of the members."""
        optimizer = self.optimizer
        pointers = ctypes.c_void_p * kernels.MOST_STATES
        return kernels.Members(
            k=self.k, n=self.rest.shape[1], d=self.widths[0], depth=len(self.widths) - 2,
            states=len(optimizer.states), settings_each=optimizer.settings.shape[1],
            scalars_each=optimizer.scalars, widths=address(self.shape),
            parts=ctypes.addressof(self.parts.array), tiles=address(self.tiles), **optimizer.addresses,
            w=address(self.first), state=pointers(*map(address, self.first_states)),
            rest=address(self.rest), rest_state=pointers(*map(address, self.rest_states)),
            settings=address(optimizer.settings), idle=optimizer.idle(),
        )  # fmt: skip

    def _start(self, starts: Sequence[tuple[int, str]]) -> None:
        """Draw the initial weights of each member by its seed and its rule."""
        drawn = {
            (seed, rule): initial_layers(self.widths, stream(seed, "weights"), rule)
            for seed, rule in dict.fromkeys(starts)
        }
        first = np.stack([drawn[start][0].weight for start in starts]).astype(self.first.dtype)
        self.first[:] = self.to_tiles(first.reshape(self.k, -1))
        for k, start in enumerate(starts):
            layer_one, *others = drawn[start]
            arrays = [layer_one.bias, *(x for layer in others for x in (layer.weight.ravel(), layer.bias))]
            self.rest[k] = np.concatenate(arrays)

    @property
    def together(self) -> int:
        """Return how many members train together: as a core's own cache holds, and a batch is read for."""
        member_bytes = (1 + len(self.optimizer.states)) * self.first.nbytes // self.k
        count = max(1, TRAINED_BYTES // member_bytes)
        readers = max(1, kernels.WIDEST // self.each)  # members that read a transposed batch together
        return count - count % readers if count > readers else count

    def take_steps(self, stretch: kernels.Stretch, losses: Floats, room: NDArray[Any]) -> None:
        """Take the steps of a stretch; their mean losses go into `losses` (steps, K), at the members."""
        mine = losses[:, self.members.start :]
        self.library.train_stretch(
            ctypes.byref(self.struct), ctypes.byref(stretch), self.together,
            address(self.rates[stretch.t - 1 :]), self.rates.shape[1], address(mine),
            losses.shape[1], address(room),
        )  # fmt: skip

    def evaluate(self, evaluation: kernels.CEvaluation, room: NDArray[Any]) -> None:
        """Add up what an evaluation asks, over its images."""
        self.library.evaluate(
            ctypes.byref(self.struct), ctypes.byref(evaluation), self._evaluated_together, address(room)
        )

    @property
    def _evaluated_together(self) -> int:
        count = max(1, EVALUATED_BYTES * self.k // self.first.nbytes)
        readers = max(1, 4 // self.each)
        return count - count % readers if count > readers else count

    def room(self, images: int) -> int:
        """Return how many numbers of room the kernels need for batches of so many images."""
        together = max(self.together, self._evaluated_together)
        return int(self.library.stretch_room(ctypes.byref(self.struct), images, together))

    def from_tiles(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """Return tiles of all members as (k, h*D), as torch.nn.Linear has weights."""
        inputs, width = self.widths[:2]
        rows = tiles.reshape(self.k, self.each, inputs, self.lanes).swapaxes(2, 3).reshape(self.k, -1, inputs)
        return np.ascontiguousarray(rows[:, :width]).reshape(self.k, -1)

    def to_tiles(self, plain: NDArray[Any]) -> NDArray[Any]:
        """Return (k, h*D) as tiles, filled up with zeros."""
        inputs, width = self.widths[:2]
        rows = np.zeros((self.k, self.each * self.lanes, inputs), plain.dtype)
        rows[:, :width] = plain.reshape(self.k, width, inputs)
        return rows.reshape(self.k, self.each, self.lanes, inputs).swapaxes(2, 3).reshape(self.first.shape)

    def weights(self) -> list[dict[str, Floats]]:
        """Return each member's weights under torch.nn.Linear's names, in the order of its layers."""
        first, weights = self.from_tiles(self.first), []
        inputs, width = self.widths[:2]
        for k in range(self.k):
            named = {
                "0.weight": first[k].reshape(width, inputs).copy(),
                "0.bias": self.rest[k, :width].copy(),
            }
            at = width
            for i, (fan_in, fan_out) in enumerate(itertools.pairwise(self.widths[1:]), start=1):
                named[f"{i}.weight"] = (
                    self.rest[k, at : at + fan_in * fan_out].reshape(fan_out, fan_in).copy()
                )
                at += fan_in * fan_out
                named[f"{i}.bias"] = self.rest[k, at : at + fan_out].copy()
                at += fan_out
            weights.append(named)
        return weights

    def optimizer_state(self) -> dict[str, Floats]:
        """Return the optimizer's states: "0.mean" of layer one, "1.mean" of the rest."""
        first, rest = map(self.from_tiles, self.first_states), self.rest_states
        states = list(zip(self.optimizer.states, first, rest, strict=True))
        return {f"0.{name}": x for name, x, _ in states} | {f"1.{name}": x for name, _, x in states}

    def load_optimizer_state(self, values: Mapping[str, Any]) -> None:
        """Restore what `optimizer_state` gave; nothing, for an optimizer that begins afresh."""
        for i, name in enumerate(self.optimizer.states if values else ()):
            self.first_states[i][:] = self.to_tiles(values[f"0.{name}"])
            self.rest_states[i][:] = values[f"1.{name}"]


def parameters(widths: Sequence[int]) -> int:
    """Count the weights and biases of a network of these widths."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(widths))

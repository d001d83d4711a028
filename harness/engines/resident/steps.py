"""Steps of a stack by the resident kernel: many of them in one launch, a block of threads a member.

Weights, states of optimizers and evaluations are those of the stack in PyTorch, so checkpoints and results
are too. Where the kernel cannot be used, a note says why, and steps are replayed as CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.samples import Data
from harness.engines.base import steps_before
from harness.engines.members import as_slice
from harness.engines.resident.launching import Arguments, Launch, Launcher, cuda
from harness.engines.resident.sources import MOST_HIDDEN, PALETTE, GroupFacts, Program, program
from harness.engines.stacked.cuda_graphs import Uniforms
from harness.engines.stacked.first_layer import ParameterGroup
from harness.engines.stacked.gpu_images import Coded, ResidentImages
from harness.engines.stacked.network import StackedNetwork
from harness.engines.stacked.steps import Eager, Feed, Steps
from harness.errors import MachineError
from harness.lowering import checks, compiler, components
from harness.lowering.compiler import UnavailableError
from harness.lowering.components import TrialComponents
from harness.lowering.lowered import looking_once
from harness.lowering.refusals import NotLoweredError
from harness.study.trials import Trial

OTHERWISE = "so CUDA graphs train, which read weights from the GPU's memory at every step"
"""The end of a note that the resident kernel is not used."""
TRIED = 3
"""Steps that the kernel is held against PyTorch's before it trains: the first ones and a later one's loss."""
TOLERANCE = 0.02
"""Largest distance of a member's losses, or of its weights' changes, as a share: far above rounding."""
GROWN = 3.0
"""A loss that becomes as many times the first one, in so few steps, grows at once."""
ROUNDING = 1e-5
"""A share of the weights that is far above what rounding makes of them in these steps."""
TINY = 1e-12


def launchers(device: torch.device) -> Callable[[], Launcher] | None:
    """Return the constructor of a device's launcher; None where it has none."""
    return partial(cuda, device) if device.type == "cuda" else None


def steps(stack: StackedNetwork, data: Data, feed: Feed, note: Callable[[str], None]) -> Resident | None:
    """Return a stack's steps by the kernel; None where its device has none, or, as is noted, it cannot."""
    make = launchers(stack.device)
    if make is None or any(map(steps_before, stack.trials)):  # it counts an optimizer's updates as steps
        return None
    try:
        made = Resident(stack, data, feed, make())
        made.check()
    except UnavailableError as error:
        note(f"the resident kernel is not used: {error}, {OTHERWISE}")
        return None
    return made


class Resident:
    """The steps of a stack, by launches of its groups' kernels."""

    kind = "resident"

    @looking_once()
    def __init__(self, stack: StackedNetwork, data: Data, feed: Feed, launcher: Launcher) -> None:
        """Compile the kernels of a stack; raise UnavailableError where one of them cannot be used."""
        self.stack, self.feed, self.budget, self.launcher = stack, feed, feed.budget, launcher
        per_epoch, size = self.budget.steps_per_epoch, self.budget.batch_size
        if str(stack.dtype) != "torch.float32" and stack.device.type == "cuda":
            raise UnavailableError(f"it is for float32, not for {str(stack.dtype).removeprefix('torch.')}")
        if not isinstance(feed.images, ResidentImages):
            raise UnavailableError("images are not on the GPU")
        self.label = torch.from_numpy(data.train.y).to(stack.device)
        self.orders = torch.zeros(
            len(stack.seeds.seeds), per_epoch * size, dtype=torch.int64, device=stack.device
        )
        self.dropout = Uniforms(stack, size, feed.kept)
        self.images = 0  # of the epoch
        self.sizes: list[int] = []  # of an epoch's batches
        self.checked = False
        self.groups = [
            ResidentGroup(group, self, feed.images.coded, launcher) for group in stack.first.groups
        ]

    def begin(self, orders: NDArray[np.int64], step: int) -> None:  # noqa: ARG002 (the protocol's signature)
        """Begin as `Steps.begin`."""
        size, self.images = self.budget.batch_size, orders.shape[1]
        self.orders[:, : self.images].copy_(torch.from_numpy(orders))
        self.sizes = [min(size, self.images - at) for at in range(0, self.images, size)]

    def advance(self, step: int, until: int) -> int:
        """Take all steps up to `until` that are of this epoch and whose losses have room."""
        per_epoch, kept = self.budget.steps_per_epoch, self.feed.kept
        count = min(until - step, per_epoch - step % per_epoch, kept - step % kept)
        self.dropout.ready(step, self.sizes)
        try:
            self.launcher.together([partial(group.launch, step, count) for group in self.groups])
        except UnavailableError as error:
            if not self.checked:
                raise
            raise MachineError(
                f"the resident kernel, which has trained until now, fails: {error}. What is finished is "
                f"safe; the same command trains the rest, and with {compiler.SWITCH}=off by CUDA graphs"
            ) from error
        return count

    def check(self) -> None:
        """Hold the first steps against PyTorch's; raise UnavailableError where they differ.

        Weights and states are as before, afterwards. A member whose loss grows at once is left out: it
        amplifies rounding. Where all do, the first step alone is compared, which is before any growth.
        """
        count = min(TRIED, self.budget.steps_per_epoch, self.budget.steps)
        if not self._compare(count) and not self._compare(1):
            raise UnavailableError("no member has a finite loss to compare with PyTorch's")
        self.checked = True

    def _compare(self, count: int) -> bool:
        """Compare so many steps of the members that do not grow; return whether there are any."""
        ours, theirs = self._tried(self, count), self._tried(Eager(self.stack, self.feed), count)
        calm = theirs[0][:, -1] < GROWN * theirs[0][:, 0]
        if not calm.any():
            return False
        every = [range(len(calm)), *(g.optimizer.members for g in self.stack.first.groups for _ in range(2))]
        for place, (mine, other, members) in enumerate(zip(ours, theirs, every, strict=True)):
            # Rounding may be all that there is of a tiny change.
            floor = ROUNDING * self._weights(place - 1).norm(dim=-1) if place else TINY
            apart = (mine - other).norm(dim=-1) / (other.norm(dim=-1) + floor)
            wrong = apart[calm[as_slice(members)]]
            if len(wrong) and not wrong.max() <= TOLERANCE:
                what = "weights" if place else "losses"
                raise UnavailableError(f"its {what} are not PyTorch's, by {float(wrong.max()):.2g} of them")
        return True

    def _weights(self, place: int) -> Tensor:
        """Return layer one's weights of a group at an even place, and its other parameters at an odd one."""
        group = self.stack.first.groups[place // 2]
        return group.rest if place % 2 else group.first

    def _tried(self, steps: Steps, count: int) -> list[Tensor]:
        """Return the losses (K, count) of some steps and the weights' changes (k, n), and undo them."""
        groups = self.stack.first.groups
        before = [(group.first.clone(), group.rest.clone()) for group in groups]
        order, step = np.arange(self.budget.n)[None].repeat(len(self.orders), 0), 0
        changes = []
        try:
            steps.begin(order, 0)
            while step < count:
                step += steps.advance(step, count)
            changes.append(self.feed.losses[:count].T.clone())
        finally:
            for group, weights in zip(groups, before, strict=True):
                for now, then in zip((group.first, group.rest), weights, strict=True):
                    changes.append(now - then)
                    now.copy_(then)
                group.optimizer.states[:] = [{}, {}]
        return changes


@dataclass(frozen=True)
class MemberTables:
    """The numbers of each member (k, ..) that the kernel reads, on the device."""

    seed: Tensor
    drawn: Tensor
    activation: Tensor
    output: Tensor
    settings: Tensor
    loss_settings: Tensor
    smoothing: Tensor
    dropped: Tensor

    @classmethod
    def of(
        cls,
        trials: Sequence[Trial],
        lowered: Sequence[TrialComponents],
        facts: GroupFacts,
        resident: Resident,
    ) -> MemberTables:
        """Return the tables of some members of a stack."""
        device, seeds, drawn = resident.stack.device, resident.stack.seeds.seeds, resident.dropout.seeds
        arms = [trial.arm.settings for trial in trials]

        def reals(rows: Sequence[Sequence[float]]) -> Tensor:
            return torch.tensor(rows, dtype=torch.float64, device=device)

        def whole(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int32, device=device)

        losses = [parts.output.values(arm) for parts, arm in zip(lowered, arms, strict=True)]
        classes = facts.widths[-1]
        return cls(
            whole([seeds.index(trial.step_seed) for trial in trials]),
            whole([drawn.index(trial.step_seed) if trial.step_seed in drawn else 0 for trial in trials]),
            whole([facts.activations.index(parts.activation) for parts in lowered]),
            whole([facts.outputs.index(parts.output) for parts in lowered]),
            reals([parts.optimizer.values(arm) for parts, arm in zip(lowered, arms, strict=True)]),
            reals([[*values, *(facts.loss_settings - len(values)) * [0.0]] for values in losses]),
            reals([[1 - arm.label_smoothing, arm.label_smoothing / classes] for arm in arms]),
            reals([[arm.dropout or 0.0] for arm in arms]),
        )


class ResidentGroup:
    """The members of one shape and one optimizer, and their kernel."""

    def __init__(self, group: ParameterGroup, resident: Resident, coded: Coded, launcher: Launcher) -> None:
        """Compile the members' kernel; raise UnavailableError where it cannot be used."""
        stack, members = resident.stack, group.optimizer.members
        self.group, self.resident, self.coded = group, resident, coded
        trials = stack.trials[as_slice(members)]
        lowered = _lowered(trials)
        self.states = lowered[0].optimizer.states
        facts = GroupFacts(
            tuple(stack.blocks[group.block].widths),
            resident.budget.batch_size,
            tuple(dict.fromkeys(parts.activation for parts in lowered)),
            tuple(dict.fromkeys(parts.output for parts in lowered)),
            lowered[0].optimizer,
            str(stack.dtype).removeprefix("torch."),
            coded=coded.palette is not None,
            dropout=any(trial.arm.settings.dropout for trial in trials),
        )
        made = fitting(facts, launcher.shared_limit)
        self.kernel: Launch = launcher.prepare(made)
        self.tables = MemberTables.of(trials, lowered, facts, resident)
        self.scratch = group.first.new_empty(len(trials) * made.scratch)
        self.palette = group.first.new_zeros(PALETTE)
        if coded.palette is not None:
            self.palette[: len(coded.palette)] = coded.palette

    def launch(self, step: int, count: int) -> None:
        """Take so many steps after `step`, which are of one epoch."""
        arguments, resident, group = self._arguments(), self.resident, self.group
        budget = resident.budget
        arguments.t, arguments.steps, arguments.images = step + 1, count, resident.images
        arguments.begin = step % budget.steps_per_epoch * budget.batch_size
        for place, name in enumerate(self.states):
            for at, pointers, like in (
                (0, arguments.first_state, group.first),
                (1, arguments.rest_state, group.rest),
            ):
                pointers[place] = group.optimizer.slots(at, [name], like)[0].data_ptr()
        self.kernel(arguments, len(self.tables.seed))

    def _arguments(self) -> Arguments:
        """Return what is the same at every launch."""
        resident, group, coded = self.resident, self.group, self.coded
        feed, optimizer, drawn = resident.feed, group.optimizer, resident.dropout
        first = optimizer.members.start
        named = {name: tensor.data_ptr() for name, tensor in vars(self.tables).items()}
        images = "pixels" if coded.palette is None else "codes"
        arguments = Arguments(
            palette=self.palette.data_ptr(), label=resident.label.data_ptr(),
            order=resident.orders.data_ptr(), rates=optimizer.rates.data_ptr(), first=group.first.data_ptr(),
            rest=group.rest.data_ptr(), scratch=self.scratch.data_ptr(),
            losses=feed.losses[:, first:].data_ptr(), order_step=resident.orders.shape[1],
            rates_step=optimizer.rates.shape[1], losses_step=feed.losses.shape[1], kept=feed.kept,
            drawn_seeds=len(drawn.seeds), **{images: coded.stored.data_ptr()}, **named,
        )  # fmt: skip
        for layer, numbers in enumerate(drawn.numbers):
            arguments.uniforms[layer] = numbers.data_ptr()
            arguments.uniform_rows[layer] = numbers.shape[2]
        return arguments


def _lowered(trials: Sequence[Trial]) -> list[TrialComponents]:
    """Return the components of trials; raise UnavailableError where one has no compiled form."""
    if compiler.switched_off():
        raise UnavailableError(f"switched off by {compiler.SWITCH}")
    try:
        lowered = [components.of_trial(trial.arm.settings) for trial in trials]
    except NotLoweredError as error:
        raise UnavailableError(f"a component is not compiled ({error})") from error
    for one in dict.fromkeys(part for parts in lowered for part in parts):
        if complaint := checks.known(one):
            raise UnavailableError(f"{one.name} is not compiled ({complaint})")
    return lowered


def fitting(facts: GroupFacts, limit: int) -> Program:
    """Return a group's program, with a batch's pixels in shared memory if they have room there.

    Raises:
        UnavailableError: its weights have none.
    """
    if len(facts.widths) - 2 > MOST_HIDDEN:
        raise UnavailableError(f"{len(facts.widths) - 2} hidden layers; allowed: {MOST_HIDDEN}")
    for shared in (True, False):
        made = program(replace(facts, pixels_shared=shared))
        if made.shared_bytes <= limit:
            return made
    shape = "-".join(map(str, facts.widths))
    raise UnavailableError(
        f"the weights of {shape} take {made.shared_bytes:,} bytes, and a block of threads has {limit:,}"
    )

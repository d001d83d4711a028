"""Grouping: which trials train together as one stack, and which of them cannot."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from harness.axes import plugins
from harness.axes.augmentations import augmentations
from harness.axes.optimizers import optimizers
from harness.axes.planned_components import OF_CLASSES
from harness.check.network_stacking import form
from harness.data.arm_settings import Settings, once_an_arm
from harness.lowering.lowered import looking_once
from harness.planning import compilation, networks
from harness.planning.cost import StackTimes
from harness.planning.stack import Engine, Stack, widest
from harness.rng import StreamSeed
from harness.study.trials import Arm, Trial, arms_of

SAME_IN_A_GROUP = (
    "dataset", "preprocessing", "val_fraction", "val_split", "split_seed", "label_noise",
    "label_noise_seed", "augmentation", "architecture", "batch_size", "epochs", "steps", "sampling",
    "eval_every", "parent_steps", "parent_updates",
)  # fmt: skip
"""The settings that trials share when they see the same batches, seed by seed."""
GATHERED = 400
"""Images that the members of a seed gather in a step, at most, where seeds share a stack.

Each member then has a batch of its own, which is copied for it: worth it while dispatch is what costs.
"""
GATHERED_CUDA = 2**15
"""The same on a GPU: as many bytes of MNIST as layer one of 1,024 members of 784-32-.. has. Not measured."""
EVEN = 1.02
"""How much later than the others a process may end, and what a cut must gain to be worth it."""
CUTS = 8
"""Cuts for each process, at most, that are tried to let all of them end together."""
Key: TypeAlias = "tuple[Any, ...]"
Groups: TypeAlias = "dict[Key, dict[StreamSeed, list[Trial]]]"
"""(engine, what its trials share) -> the seed of their batches -> trials."""
Members: TypeAlias = "tuple[Engine, list[Trial]]"


@looking_once()
def stack(
    todo: Iterable[Trial], engine: Engine, device: str, processes: int, done: Container[str]
) -> tuple[list[Stack], dict[str, int]]:
    """Put trials into stacks; give them, and the reasons why others train alone in the loop engine.

    The arguments are those of `plan.make`.
    """
    arms = _GroupedArms(list(todo), device)
    groups, routed = arms.grouped(engine, done)
    together = arms.shapes_together(_seeds_together(groups, device, processes), done)
    least = math.ceil(processes / max(1, len(together)))
    stacks = []
    for trained_by, members in together:
        parts = cut(members, arms.widest, least, arms.places) if len(members) > 1 else [members]
        stacks += [Stack.of(trained_by, part) for part in parts]
    return balanced(stacks, processes), routed


class _GroupedArms:
    """Trials to put into stacks; what their arms decide is looked at once an arm."""

    def __init__(self, trials: Sequence[Trial], device: str) -> None:
        self.trials, self.device = trials, device
        self._form, self._batches = once_an_arm(form), once_an_arm(self._batches_of)
        self._kind = once_an_arm(compilation.kind)
        self._why_not = compilation.once_a_kind(compilation.why_not, self._kind)
        self._widest: dict[Key, int] = {}

    @functools.cached_property
    def places(self) -> Places:
        """The places of the arms in stacks."""
        return places_of(self.trials)

    def _batches_of(self, settings: Settings) -> Key:
        return _same_batches(settings, self.device, self._why_not)

    def grouped(self, engine: Engine, done: Container[str]) -> tuple[Groups, dict[str, int]]:
        """Group the trials that may train together; count the reasons why others train alone."""
        groups: Groups = {}
        routed: dict[str, int] = {}
        reasons = self._reasons() if engine == "stacked" else {}
        for trial in self.trials:
            reason = reasons.get(id(trial.arm), "")
            if reason:
                routed[reason] = routed.get(reason, 0) + 1
            key: Key = ("loop" if reason else engine, trial.trial_id)
            if engine == "stacked" and not reason:
                settings = trial.arm.settings
                key = (engine, self._form(settings), trial.trial_id in done, self._batches(settings))
            groups.setdefault(key, {}).setdefault(trial.step_seed, []).append(trial)
        return groups, routed

    def _reasons(self) -> dict[int, str]:
        """Say of which arms, by identity, the trials cannot be stacked, and why."""
        fault = functools.cache(_fault)
        known: dict[Key, str] = {}
        reasons: dict[int, str] = {}
        for arm in arms_of(self.trials):
            # What a network's images are decides with its form whether it can be stacked.
            key = (self._kind(arm.settings), self._form(arm.settings), arm.settings.preprocessing)
            if key not in known:
                known[key] = _why_alone(arm, fault)
            if known[key]:
                reasons[id(arm)] = known[key]
        return reasons

    def shapes_together(self, lists: Sequence[Members], done: Container[str]) -> list[Members]:
        """Join lists of one seed that fill less than half a stack with those of other shapes."""
        together: dict[Key, Members] = {}
        for place, (engine, members) in enumerate(lists):
            first = members[0]
            key: Key = (place,)
            seeds = len({trial.step_seed for trial in members})
            mlps = first.arm.settings.plain_mlp
            if engine == "stacked" and mlps and seeds == 1 and 2 * len(members) < self.widest(first):
                key = (first.step_seed, first.trial_id in done, self._batches(first.arm.settings))
            together.setdefault(key, (engine, []))[1].extend(members)
        return list(together.values())

    def widest(self, trial: Trial) -> int:
        """Count how many trials of this shape one stack holds, at most."""
        settings = trial.arm.settings
        # The batches of a network, and its activation, decide what it keeps of an image.
        key = (
            self._form(settings),
            self._batches(settings),
            settings.get("activation"),
            settings.dropout > 0,
        )
        if key not in self._widest:
            self._widest[key] = widest(trial, self.device)
        return self._widest[key]


def _same_batches(settings: Settings, device: str, why_not: Callable[[Settings], str]) -> Key:
    """Give what arms of a stack share: their batches, and whether they are compiled.

    On a CPU, trials whose components are all compiled train much faster, and among themselves. `why_not` is
    compilation's.
    """
    shared = (*SAME_IN_A_GROUP, *augmentations[settings.augmentation].settings)
    return (device == "cpu" and not why_not(settings), *map(str, settings.values_of(shared)))


def can_join(stack: Stack, device: str) -> Key | None:
    """Give what stacks share whose trials may train on as one from some step on; None of what trains alone.

    Plain mlps of any shape train as one if they have the same seeds, networks of other modules if they have
    one form.
    """
    first = stack.trials[0]
    if stack.engine != "stacked":
        return None
    batches = _same_batches(first.arm.settings, device, compilation.why_not)
    if not first.arm.settings.plain_mlp:
        return form(first.arm.settings), *batches
    return frozenset(trial.step_seed for trial in stack.trials), *batches


def filled(trials: Iterable[Trial], device: str) -> Fraction:
    """Give the share of a stack that trials fill, each as its shape does: above 1, they are cut."""
    return sum((Fraction(1, widest(trial, device)) for trial in trials), Fraction(0))


def trains_alone(arm: Arm) -> bool:
    """Tell whether an arm's trials cannot be stacked, and train in the loop engine."""
    return bool(_why_alone(arm, _fault))


def _why_alone(arm: Arm, fault: Callable[[str, str, int], str]) -> str:
    """Say why an arm's trials cannot be stacked; empty where they can."""
    settings = arm.settings
    if not optimizers[settings.optimizer].stackable:
        return f"optimizer {settings.optimizer!r} is declared stackable = False"
    components = {
        "optimizer": settings.optimizer, "activation": settings.activation,
        "head": settings.head, "loss": settings.loss,
    }  # fmt: skip
    classes = len(settings.facts.classes)
    reasons = (fault(axis, name, classes) for axis, name in components.items())
    return next(filter(None, reasons), "") or compilation.why_alone(settings) or networks.why_alone(settings)


def _fault(axis: str, name: str, classes: int) -> str:
    """Say why a component cannot be stacked. A third party's is tried, which imports torch.

    It is tried with the study's number of classes where it is not for any number.
    """
    if not plugins.registries()[axis].entry(name).third_party:
        return ""
    from harness.axes.probes import of_classes
    from harness.check.stacking import why_alone

    reason = why_alone(axis, name)
    if axis in OF_CLASSES and (" raises " in reason or "fails on a stack" in reason):
        with of_classes(classes):
            reason = why_alone(axis, name)
    return reason


def _seeds_together(groups: Groups, device: str, processes: int) -> list[Members]:
    """List the trials of each group, with as many seeds in one list as pays, but no core left idle."""
    together: list[Members] = []
    least = math.ceil(processes / max(1, len(groups)))
    for (engine, *_), seeds in groups.items():
        members = max(map(len, seeds.values()))
        first = next(iter(seeds.values()))[0]
        gathered = members * first.arm.settings.batch_size
        most = GATHERED_CUDA if device.startswith("cuda") else GATHERED
        if not first.arm.settings.plain_mlp:  # beside whose layers a gathered batch is nothing
            most = gathered * len(seeds)
        if len(seeds) == 1:  # of one trial, whose network need not be tried
            together += [(engine, trials) for trials in seeds.values()]
            continue
        fit = max(1, min(widest(first, device) // members, most // gathered))
        count = max(math.ceil(len(seeds) / fit), min(least, len(seeds)))
        ends = [round(i * len(seeds) / count) for i in range(count + 1)]
        lists = list(seeds.values())
        together += [(engine, list(itertools.chain(*lists[a:b]))) for a, b in itertools.pairwise(ends)]
    return together


def order(trial: Trial) -> tuple[str, ...]:
    """Give a sort key that puts members of a stack with the same components side by side."""
    settings = trial.arm.settings.as_dict()
    optimizer = optimizers[str(settings["optimizer"])]
    axes = ("activation", "head", "loss", "match", "schedule")
    others = (str(settings.get(axis, "")) for axis in axes)
    rule = (*optimizer.switches(settings), *optimizer.zeros(settings))
    return (optimizer.name, *rule, *others, trial.arm.name)


Places: TypeAlias = "Mapping[int, tuple[int, str]]"
"""Identity of an arm -> its place in the `order` of arms, and its form."""


def places_of(trials: Iterable[Trial]) -> Places:
    """Number the arms of trials by `order`, those of one key alike."""
    first = {id(trial.arm): trial for trial in trials}
    keys = {arm: order(trial) for arm, trial in first.items()}
    numbers = {key: number for number, key in enumerate(sorted(set(keys.values())))}
    return {arm: (numbers[keys[arm]], form(trial.arm.settings)) for arm, trial in first.items()}


def side_by_side(members: Iterable[Trial], places: Places | None = None) -> list[Trial]:
    """Sort members by `order`, but all of one shape beside the first of them, as blocks of a stack.

    `places` are those of the members' arms, where they are known.
    """
    members = list(members)
    known = places or places_of(members)
    shapes: dict[str, list[Trial]] = {}
    for trial in sorted(members, key=lambda trial: known[id(trial.arm)][0]):
        shapes.setdefault(known[id(trial.arm)][1], []).append(trial)
    return list(itertools.chain(*shapes.values()))


def cut(
    members: Sequence[Trial], most: Callable[[Trial], int], least: int = 1, places: Places | None = None
) -> list[list[Trial]]:
    """Cut a group into even stacks, at least `least` of them and as few as do not overflow.

    `most` says how many trials of a trial's shape fill a stack; of several shapes, each takes its share.
    `places` are those of `side_by_side`.
    """
    ordered = side_by_side(members, places)
    widths = list(map(most, ordered))
    whole = math.lcm(*set(widths))  # a stack's size in whole numbers of every member's share
    filled = [0, *itertools.accumulate(whole // width for width in widths)]
    count = min(len(ordered), max(-(-filled[-1] // whole), least))
    while True:
        ends = [round(i * len(ordered) / count) for i in range(count + 1)]
        pieces = list(itertools.pairwise(ends))
        if count == len(ordered) or all(filled[b] - filled[a] <= whole for a, b in pieces):
            return [ordered[a:b] for a, b in pieces]
        count += 1


def balanced(stacks: Sequence[Stack], processes: int) -> list[Stack]:
    """Cut some stacks in two, so that all processes end at about the same time.

    The last stack of the process that ends last is cut, again and again, which may help after several cuts
    only. The first arrangement is kept that no later one beats by more than a fiftieth: a cut costs dispatch,
    which the estimate of a stack's seconds counts.
    """
    times = StackTimes()
    timed = [(times.seconds(stack), stack) for stack in stacks]
    aim = EVEN * sum(seconds for seconds, _ in timed) / processes
    best, best_end = list(stacks), math.inf
    for _ in range(1 + CUTS * processes):
        ends = shared_out([seconds for seconds, _ in timed], processes)
        totals = ((sum(timed[i][0] for i in places), places) for places in ends)
        end, latest = max(totals, default=(0.0, []))
        if EVEN * end < best_end:
            best, best_end = [stack for _, stack in timed], end
        wide = [i for i in latest if len(timed[i][1].trials) > 1]
        if best_end <= aim or not wide:
            break
        halves = timed[wide[-1]][1].halves()
        timed[wide[-1] : wide[-1] + 1] = [(times.seconds(half), half) for half in halves]
    return best


def shared_out(seconds: Sequence[float], processes: int) -> list[list[int]]:
    """Assign stacks to processes, longest first, each to the process that is free first.

    Gives, for each process that gets a stack, the places of its stacks in `seconds`, which each stack takes.
    """
    free = [(0.0, process) for process in range(processes)]
    assigned: list[list[int]] = [[] for _ in free]
    for i in sorted(range(len(seconds)), key=lambda i: -seconds[i]):
        now, process = heapq.heappop(free)
        assigned[process].append(i)
        heapq.heappush(free, (now + seconds[i], process))
    return [places for places in assigned if places]

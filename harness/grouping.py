"""Grouping: which trials train together, as which stacks, and which of them cannot."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias, get_args

from harness import plugins
from harness.arm_settings import Settings
from harness.axes.optimizers import optimizers
from harness.batches import Budget
from harness.costs import stack_seconds
from harness.data import train_size
from harness.known import knows
from harness.trials import Arm, Trial

Engine = Literal["stacked", "loop", "numpy"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
SAME_IN_A_GROUP = (
    "dataset", "preprocessing", "val_fraction", "val_split", "split_seed", "label_noise",
    "label_noise_seed", "architecture", "batch_size", "epochs", "steps", "sampling", "eval_every",
)  # fmt: skip
"""The settings that trials share when they see the same batches, seed by seed."""
STACK_BYTES = 64 * 32 * 784 * 4
"""Layer one's weights of a stack, at most (64 members of 784-32-..).

Wide enough to hide the dispatch of the small operations, small enough for weights, gradients and state to
stay in cache: ARCHITECTURE.md, "Stack width".
"""
STACK_BYTES_CUDA = 4 * 2**30
"""All of a stack, at most, on a GPU: some thousand members of 784-32-32-10, where starting a graph of a dozen
kernels stops to count after some hundred. Not measured; a GPU that has less memory trains it in halves.
"""
GATHERED = 400
"""Images that the members of a seed gather in a step, at most, where seeds share a stack.

Each member then has a batch of its own, which is copied for it: worth it while dispatch is what costs.
"""
GATHERED_CUDA = 2**15
"""The same on a GPU: as many bytes of MNIST as layer one of 1,024 members of 784-32-.. has. Not measured."""
EVEN = 1.02
"""How much later than the others a process may end, and what a cut must gain to be worth it."""
CUTS = 8
"""Cuts a process, at most, that are tried to let all of them end together."""
MEMORY_BYTES = 2**30
"""All of a stack, at most, on a CPU: weights, gradients, an optimizer's states, and what is in flight."""


@dataclass(frozen=True)
class Stack:
    """Trials that train together. `group` names it, and the part it is written to."""

    group: str
    engine: Engine
    trials: tuple[Trial, ...]


def stack(
    todo: Iterable[Trial], engine: Engine, device: str, processes: int, done: Container[str]
) -> tuple[list[Stack], dict[str, int]]:
    """Put trials into stacks; gives them, and the reasons why others train alone in the loop engine.

    The arguments are those of `plan.make`.
    """
    groups, routed = _grouped(todo, engine, done, apart=device == "cpu")
    together = _shapes_together(_seeds_together(groups, device, processes), device, done)
    least = math.ceil(processes / max(1, len(together)))
    stacks = []
    for trained_by, members in together:
        parts = cut(members, lambda trial: widest(trial, device), least)
        stacks += [_stack(trained_by, part) for part in parts]
    return balanced(stacks, processes), routed


Groups: TypeAlias = "dict[tuple[Any, ...], dict[int, list[Trial]]]"
"""(engine, what its trials share) -> seed -> trials."""


def _grouped(
    todo: Iterable[Trial], engine: Engine, done: Container[str], *, apart: bool
) -> tuple[Groups, dict[str, int]]:
    """Which trials may train together, and the reasons why others train alone, in the loop engine.

    `apart`: those that the kernels know from end to end train much faster, and among themselves.
    """
    groups: Groups = {}
    routed: dict[str, int] = {}
    why = _Routes()
    for trial in todo:
        reason = why(trial.arm) if engine == "stacked" else ""
        if reason:
            routed[reason] = routed.get(reason, 0) + 1
        key: tuple[Any, ...] = ("loop" if reason else engine, trial.trial_id)
        if engine == "stacked" and not reason:
            own = (trial.trial_id in done, apart and knows(trial.arm.settings))
            key = (engine, *own, str(trial.arm.settings["hidden"]), *_group_key(trial))
        groups.setdefault(key, {}).setdefault(trial.seed, []).append(trial)
    return groups, routed


class _Routes:
    """Why trials cannot be stacked. A third party's component is tried once: that needs torch."""

    def __init__(self) -> None:
        self._tried: dict[tuple[str, str], str] = {}

    def __call__(self, arm: Arm) -> str:
        if arm.settings["architecture"] != "mlp":
            return f"architecture {arm.settings['architecture']!r} has no stacked form"
        if not optimizers[str(arm.settings["optimizer"])].stackable:
            return f"optimizer {arm.settings['optimizer']!r} is declared stackable = False"
        for axis in ("optimizer", "activation", "head", "loss"):
            name = str(arm.settings.get(axis, "identity"))
            if (axis, name) not in self._tried:
                self._tried[axis, name] = self._try(axis, name)
            if self._tried[axis, name]:
                return self._tried[axis, name]
        return ""

    @staticmethod
    def _try(axis: str, name: str) -> str:
        if not plugins.registries()[axis].entry(name).third_party:
            return ""
        from harness.testing import why_alone

        return why_alone(axis, name)


def _group_key(trial: Trial) -> tuple[Any, ...]:
    return tuple(str(trial.arm.settings.get(name)) for name in SAME_IN_A_GROUP)


def _seeds_together(groups: Groups, device: str, processes: int) -> list[tuple[Engine, list[Trial]]]:
    """The trials of each group, with as many seeds in one list as pays, but no core left idle."""
    together: list[tuple[Engine, list[Trial]]] = []
    least = math.ceil(processes / max(1, len(groups)))
    for (engine, *_), seeds in groups.items():
        members = max(map(len, seeds.values()))
        first = next(iter(seeds.values()))[0]
        gathered = members * first.arm.settings.batch_size
        most = GATHERED_CUDA if device.startswith("cuda") else GATHERED
        fit = max(1, min(widest(first, device) // members, most // gathered))
        count = max(math.ceil(len(seeds) / fit), min(least, len(seeds)))
        ends = [round(i * len(seeds) / count) for i in range(count + 1)]
        lists = list(seeds.values())
        together += [(engine, list(itertools.chain(*lists[a:b]))) for a, b in itertools.pairwise(ends)]
    return together


def _shapes_together(
    lists: Sequence[tuple[Engine, list[Trial]]], device: str, done: Container[str]
) -> list[tuple[Engine, list[Trial]]]:
    """Lists of one seed that fill less than half a stack, with those of other shapes on the same batches."""
    together: dict[Any, tuple[Engine, list[Trial]]] = {}
    for place, (engine, members) in enumerate(lists):
        first, key = members[0], (place,)
        seeds = len({trial.seed for trial in members})
        if engine == "stacked" and seeds == 1 and 2 * len(members) < widest(first, device):
            own = (first.trial_id in done, device == "cpu" and knows(first.arm.settings))
            key = (first.seed, *own, *_group_key(first))
        together.setdefault(key, (engine, []))[1].extend(members)
    return list(together.values())


def order(trial: Trial) -> tuple[str, ...]:
    """Sort key that puts members of a stack with the same components side by side."""
    settings = trial.arm.settings
    optimizer = optimizers[str(settings["optimizer"])]
    axes = ("activation", "head", "loss", "match", "schedule")
    others = (str(settings.get(axis, "")) for axis in axes)
    return (optimizer.name, *optimizer.switches(settings), *others, trial.arm.name)


def widest(trial: Trial, device: str) -> int:
    """How many trials of this shape train as one stack, at most."""
    settings = trial.arm.settings
    if settings["architecture"] != "mlp":
        return 1
    if device.startswith("cuda"):
        return max(1, STACK_BYTES_CUDA // _member_bytes_cuda(settings))
    layer_one = 4 * math.prod(widths_of(settings)[:2])
    return max(1, min(STACK_BYTES // layer_one, MEMORY_BYTES // member_bytes(settings)))


def member_bytes(settings: Settings) -> int:
    """What one member of a stack holds in memory: four times its weights, and activations both ways.

    With dropout also its masks, and what they leave of the activations.
    """
    held = 6 if settings.get("dropout") else 4
    widths = widths_of(settings)
    weights = sum((i + 1) * o for i, o in itertools.pairwise(widths))
    in_flight = settings.batch_size * sum(widths[1:])
    return 4 * (4 * weights + held * in_flight)


def _member_bytes_cuda(settings: Settings) -> int:
    """What one member holds on a GPU: as anywhere, a batch of its own, and a learning rate for every step."""
    batch = 4 * settings.batch_size * widths_of(settings)[0]
    return member_bytes(settings) + batch + 8 * Budget.of(settings, train_size(settings)).steps


def stack_bytes(stack: Stack) -> int:
    """What a stack holds in memory beside its data."""
    every = [trial.arm.settings for trial in stack.trials]
    return sum(member_bytes(settings) for settings in every if settings["architecture"] == "mlp")


def widths_of(settings: Settings) -> list[int]:
    """Inputs, hidden widths, classes."""
    return [math.prod(settings.facts.shape), *settings.hidden, len(settings.facts.classes)]


def side_by_side(members: Iterable[Trial]) -> list[Trial]:
    """In `order`, but those of a shape stand with the first of them, as blocks of a stack."""
    shapes: dict[str, list[Trial]] = {}
    for trial in sorted(members, key=order):
        shapes.setdefault(str(trial.arm.settings.get("hidden")), []).append(trial)
    return list(itertools.chain(*shapes.values()))


def cut(members: Sequence[Trial], most: Callable[[Trial], int], least: int = 1) -> list[list[Trial]]:
    """Cut a group into even stacks, at least `least` of them and as few as do not overflow.

    `most` says how many trials of one's shape fill a stack; of several shapes, each takes its share.
    """
    ordered = side_by_side(members)
    shares = [Fraction(1, most(trial)) for trial in ordered]
    count = min(len(ordered), max(math.ceil(sum(shares)), least))
    while True:
        ends = [round(i * len(ordered) / count) for i in range(count + 1)]
        pieces = list(itertools.pairwise(ends))
        if count == len(ordered) or all(sum(shares[a:b]) <= 1 for a, b in pieces):
            return [ordered[a:b] for a, b in pieces]
        count += 1


def balanced(stacks: Sequence[Stack], processes: int) -> list[Stack]:
    """The stacks with some of them cut in two, so that all processes end at about the same time.

    The last stack of the process that ends last is cut, again and again, which may help after several cuts
    only. Kept are the first stacks after which no later ones end sooner by more than a fiftieth: to be cut
    costs a stack dispatch, which the estimate of its seconds counts.
    """
    timed = [(stack_seconds(stack), stack) for stack in stacks]
    aim = EVEN * sum(seconds for seconds, _ in timed) / processes
    best, best_end = list(stacks), math.inf
    for _ in range(1 + CUTS * processes):
        ends = shared_out([seconds for seconds, _ in timed], processes)
        end, latest = max(((sum(timed[i][0] for i in own), own) for own in ends), default=(0.0, []))
        if EVEN * end < best_end:
            best, best_end = [stack for _, stack in timed], end
        wide = [i for i in latest if len(timed[i][1].trials) > 1]
        if best_end <= aim or not wide:
            break
        halves = _halves(timed[wide[-1]][1])
        timed[wide[-1] : wide[-1] + 1] = [(stack_seconds(half), half) for half in halves]
    return best


def shared_out(seconds: Sequence[float], processes: int) -> list[list[int]]:
    """Who trains what, longest first and each as soon as a process is free: places in `seconds` a process.

    Processes that get nothing are left out.
    """
    free = [(0.0, process) for process in range(processes)]
    own: list[list[int]] = [[] for _ in free]
    for i in sorted(range(len(seconds)), key=lambda i: -seconds[i]):
        now, process = heapq.heappop(free)
        own[process].append(i)
        heapq.heappush(free, (now + seconds[i], process))
    return [places for places in own if places]


def _halves(whole: Stack) -> list[Stack]:
    """A stack as two, members that share a component still side by side."""
    middle = len(whole.trials) // 2
    return [_stack(whole.engine, part) for part in (whole.trials[:middle], whole.trials[middle:])]


def _stack(engine: Engine, members: Sequence[Trial]) -> Stack:
    text = " ".join([engine, *(trial.trial_id for trial in members)])
    return Stack("g" + hashlib.sha256(text.encode()).hexdigest()[:8], engine, tuple(members))


def budget_of(stack: Stack) -> Budget:
    """How long a stack trains, and when it is evaluated."""
    settings = stack.trials[0].arm.settings
    return Budget.of(settings, train_size(settings))

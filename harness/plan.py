"""Plans: trials -> stacks; what is skipped and why; cost, before anything is trained."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias, get_args

from harness import plugins
from harness.axes.datasets import datasets
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.batches import Budget
from harness.contrasts import Contrasts, default_pairs, pair_problems
from harness.data import train_size
from harness.errors import UsageError
from harness.settings import Value
from harness.study import Study
from harness.trials import Arm, Trial, trials, tries_problems

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
STACK_BYTES_CUDA = 2 * 2**30
MOST_TOLD = 6  # problems of arms that an error lists
GATHERED = 400
"""Images that the members of a seed gather in a step, at most, where seeds share a stack.

Each member then has a batch of its own, which is copied for it: worth it while dispatch is what costs.
"""
MEMORY_BYTES = 2**30
"""All of a stack, at most, on a CPU: weights, gradients, an optimizer's states, and what is in flight."""


@dataclass(frozen=True)
class Stack:
    """Trials that train together. `group` names it, and the part it is written to."""

    group: str
    engine: Engine
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Plan:
    """What a study comes to.

    `skipped` holds trials that are not trained, with the reason; `merged` the names of arms that mean the
    same as an earlier one; `routed` the reasons why trials train in the loop engine; `warnings` what the
    person who wrote the study may not have meant.
    """

    study: Study
    trials: Sequence[Trial]
    stacks: Sequence[Stack]
    skipped: Mapping[str, str]
    merged: Mapping[str, Sequence[str]]
    routed: Mapping[str, int]
    warnings: Sequence[str]

    @property
    def contrasts(self) -> Contrasts:
        """What is compared: as declared, or as the design has it, between arms that are trained."""
        found = self.study.contrasts
        if found.declared or self.study.sealed:
            return found
        dataset = self.trials[0].arm.settings["dataset"]
        arms = [name for name, arm in self.arms.items() if arm.settings["dataset"] == dataset]
        pairs = default_pairs(self.study.about.design, arms)
        return found.model_copy(update={"pairs": pairs})

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms by name."""
        return {trial.arm.name: trial.arm for trial in self.trials}


def make(
    study: Study,
    engine: Engine = "stacked",
    known: Iterable[tuple[str, Engine, Sequence[str]]] = (),
    device: str = "cpu",
    processes: int = 1,
    done: Container[str] = (),
) -> Plan:
    """Plan a study.

    Args:
        study: a validated study.
        engine: what trains the trials; with `stacked`, those that cannot be stacked go to the loop engine.
        known: stacks of an earlier plan of the same folder, (group, engine, trial_ids): kept as they are,
            so that a resumed run gives the same bits.
        device: stacks are wider on a GPU.
        processes: there are at least so many stacks, if there are trials enough.
        done: ids of finished trials; they share no new stack with others, or they would be trained again.

    Raises:
        UsageError: settings that no machine could train, such as a batch larger than the train split, or that
            this engine cannot.
    """
    everything, merged = trials(study)
    _check_batch_sizes(everything)
    _check_pairs(study, everything, merged)
    _check_tries(study)
    reasons: dict[tuple[str, str, str], str] = {}
    skipped = {
        trial.trial_id: reason
        for trial in everything
        if (reason := misfit(trial.arm, reasons) or _unchosen(study, trial.arm))
    }
    todo = {trial.trial_id: trial for trial in everything if trial.trial_id not in skipped}
    stacks = []
    for group, kept_engine, ids in known:
        if all(i in todo for i in ids):
            stacks.append(Stack(group, kept_engine, tuple(todo.pop(i) for i in ids)))
    if engine == "numpy":
        _check_formulas(todo.values(), study.metrics)
    else:
        _check_metrics(study.metrics)
    groups, routed = _grouped(todo.values(), engine, done)
    together = _shapes_together(_seeds_together(groups, device, processes), device, done)
    least = math.ceil(processes / max(1, len(together)))
    for trained_by, members in together:
        parts = cut(members, lambda trial: widest(trial, device), least)
        stacks += [Stack(_name(trained_by, part), trained_by, tuple(part)) for part in parts]
    return Plan(study, everything, stacks, skipped, merged, routed, _warnings(study, everything))


def misfit(arm: Arm, known: dict[tuple[str, str, str], str]) -> str:
    """Why an arm's head and loss cannot meet; empty where they can."""
    key = (str(arm.settings["head"]), str(arm.settings["loss"]), str(arm.settings["match"]))
    if key not in known:
        head, loss = heads[key[0]], losses[key[1]]
        fits = loss.form(head.kind, key[2]) is not None
        known[key] = (
            ""
            if fits
            else f"loss {loss.name!r} takes {' or '.join(loss.forms)}; head {head.name!r} gives {head.kind} "
            "(match = 'ignore' trains it all the same)"
        )
    return known[key]


def _unchosen(study: Study, arm: Arm) -> str:
    """Why an arm that should be tuned is not; empty where it is."""
    if study.about.phase != "tuned" or arm.name in study.chosen:
        return ""
    return "none of the settings it tried finished with every tuning seed"


Groups: TypeAlias = "dict[tuple[Any, ...], dict[int, list[Trial]]]"
"""(engine, what its trials share) -> seed -> trials."""


def _grouped(todo: Iterable[Trial], engine: Engine, done: Container[str]) -> tuple[Groups, dict[str, int]]:
    """Which trials may train together, and the reasons why others train alone, in the loop engine."""
    groups: Groups = {}
    routed: dict[str, int] = {}
    why = _Routes()
    for trial in todo:
        reason = why(trial.arm) if engine == "stacked" else ""
        if reason:
            routed[reason] = routed.get(reason, 0) + 1
        key: tuple[Any, ...] = ("loop" if reason else engine, trial.trial_id)
        if engine == "stacked" and not reason:
            key = (engine, trial.trial_id in done, str(trial.arm.settings["hidden"]), *_group_key(trial))
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
        if not plugins.registries()[axis].entry(name).source_digest:
            return ""
        from harness.testing import stacks

        try:
            same = stacks(axis, name)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with it, no other trial shall share it)
            return f"{axis} {name!r} fails on a stack ({type(error).__name__}: {error})"
        return "" if same else f"{axis} {name!r} treats a stack otherwise than its members"


def _group_key(trial: Trial) -> tuple[Any, ...]:
    return tuple(str(trial.arm.settings.get(name)) for name in SAME_IN_A_GROUP)


def _seeds_together(groups: Groups, device: str, processes: int) -> list[tuple[Engine, list[Trial]]]:
    """The trials of each group, with as many seeds in one list as pays, but no core left idle."""
    together: list[tuple[Engine, list[Trial]]] = []
    least = math.ceil(processes / max(1, len(groups)))
    for (engine, *_), seeds in groups.items():
        members = max(map(len, seeds.values()))
        first = next(iter(seeds.values()))[0]
        gathered = members * int(first.arm.settings["batch_size"])  # type: ignore[arg-type]
        fit = max(1, min(widest(first, device) // members, GATHERED // gathered))
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
            key = (first.seed, first.trial_id in done, *_group_key(first))
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
    layer_one = 4 * math.prod(widths_of(settings)[:2])
    if device.startswith("cuda"):
        return max(1, STACK_BYTES_CUDA // layer_one)
    return max(1, min(STACK_BYTES // layer_one, MEMORY_BYTES // member_bytes(settings)))


def member_bytes(settings: Mapping[str, Value]) -> int:
    """What one member of a stack holds in memory: four times its weights, and activations both ways.

    With dropout also its masks, and what they leave of the activations.
    """
    held = 6 if settings.get("dropout") else 4
    widths = widths_of(settings)
    weights = sum((i + 1) * o for i, o in itertools.pairwise(widths))
    in_flight = int(settings["batch_size"]) * sum(widths[1:])  # type: ignore[arg-type]
    return 4 * (4 * weights + held * in_flight)


def stack_bytes(stack: Stack) -> int:
    """What a stack holds in memory beside its data."""
    every = [trial.arm.settings for trial in stack.trials]
    return sum(member_bytes(settings) for settings in every if settings["architecture"] == "mlp")


def widths_of(settings: Mapping[str, Value]) -> list[int]:
    """Inputs, hidden widths, classes."""
    facts = datasets[str(settings["dataset"])].facts
    return [math.prod(facts.shape), *settings.get("hidden", []), len(facts.classes)]  # type: ignore[misc]


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


def _name(engine: str, members: Sequence[Trial]) -> str:
    text = " ".join([engine, *(trial.trial_id for trial in members)])
    return "g" + hashlib.sha256(text.encode()).hexdigest()[:8]


def check(study: Study) -> None:
    """Raise what `make` would raise, before anything heavy is imported."""
    everything, merged = trials(study)
    _check_batch_sizes(everything)
    _check_pairs(study, everything, merged)
    _check_tries(study)


def _check_tries(study: Study) -> None:
    """Raise UsageError where arms would not tune alike: what they have, and as many different settings."""
    if study.tune is None or study.about.phase != "fixed":
        return
    _check_batch_sizes(trials(study.in_phase("tuning"))[0])
    told = tries_problems(study)
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    _refuse(study, [*told[:MOST_TOLD], *more])


def _refuse(study: Study, told: Sequence[str]) -> None:
    """Raise UsageError if there is anything to tell."""
    if told:
        raise UsageError("\n".join([f"{study.name}: nothing was run", *(f"  - {one}" for one in told)]))


def _check_batch_sizes(everything: Sequence[Trial]) -> None:
    for arm in {id(trial.arm): trial.arm for trial in everything}.values():
        n = train_size(arm.settings)
        if int(arm.settings["batch_size"]) > n:  # type: ignore[arg-type]
            raise UsageError(
                f"batch_size = {arm.settings['batch_size']} (arm {arm.name!r}): "
                f"{arm.settings['dataset']} has {n} "
                f"training images with val_fraction = {arm.settings['val_fraction']:g}; allowed: 1 to {n}"
            )


def _check_pairs(study: Study, everything: Sequence[Trial], merged: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError where a declared contrast names an arm or a level that is not trained."""
    if study.about.phase != "fixed" or not study.contrasts.declared:
        return
    trained = {trial.arm.name: trial.arm for trial in everything}
    same = {other: name for name, others in merged.items() for other in others}
    told = list(pair_problems(study.contrasts, list(trained), same))
    for level in study.contrasts.levels:
        levels = {arm.labels.get(level.axis) for arm in trained.values()}
        if level.axis in study.linked_axes and level.reference not in levels:
            told.append(
                f"contrasts.levels: the reference {level.reference!r} of {level.axis} means the same as "
                "another level, under whose name it is trained; take that one"
            )
    _refuse(study, told)


def _check_formulas(todo: Iterable[Trial], tracked: Sequence[str]) -> None:
    """Everything that the numpy engine would need and has not, told at once."""
    from harness import formulas

    arms = {id(trial.arm): trial.arm for trial in todo}.values()
    told = dict.fromkeys(gap for arm in arms for gap in formulas.missing(arm.settings))
    unmeasured = formulas.missing_metrics(tracked)
    if told or unmeasured:
        listed = "\n".join(f"  - {gap}" for gap in [*told, *unmeasured])
        left = [name for name in tracked if name in formulas.METRICS]
        less = f" Or leave the metric out: --set 'metrics={json.dumps(left)}'." if unmeasured else ""
        raise UsageError(
            f"the numpy engine has no formula written by hand for\n{listed}\n"
            f"Take --engine stacked or loop, where PyTorch computes and differentiates any component.{less}"
        )


def _check_metrics(tracked: Sequence[str]) -> None:
    """A third party's metrics are tried once, because a fault would show in the first evaluation only."""
    theirs = [name for name in tracked if metrics.entry(name).source_digest]
    if not theirs:
        return
    from harness import testing  # imports torch

    faults = {name: fault for name in theirs if (fault := testing.metric_fault(name))}
    if faults:
        listed = "\n".join(
            f"metric {name!r} ({metrics.entry(name).where}) {fault}" for name, fault in faults.items()
        )
        raise UsageError(
            f"{listed}\nAllowed: a function of p and target, both (..., B, C), that gives values (..., B). "
            "Mend it, or leave it out of `metrics` in [study]."
        )


def _warnings(study: Study, everything: Sequence[Trial]) -> list[str]:
    """What the study says that has no effect, or probably not the one that was meant."""
    used = {name for trial in everything for name in trial.arm.settings}
    told = [
        f"{name} is set in [baseline] and applies to no arm (what it belongs to was not chosen)"
        for name in study.baseline
        if name not in used and name not in {"epochs", "steps"}
    ]
    lr = study.baseline.get("lr")
    inherited = {str(t.arm.settings["optimizer"]) for t in everything if t.arm.settings["lr"] == lr}
    for name in sorted(inherited) if "lr" not in study.axes else []:
        default = float(optimizers[name].settings["lr"].default or math.inf)  # type: ignore[arg-type]
        if isinstance(lr, float) and lr >= 10 * default:
            told.append(
                f"lr = {lr:g} also applies to {name}, {lr / default:.0f} times its default of {default:g}"
            )
    return told


def budget_of(stack: Stack) -> Budget:
    """How long a stack trains, and when it is evaluated."""
    settings = stack.trials[0].arm.settings
    return Budget.of(settings, train_size(settings))


def datasets_of(plan: Plan) -> list[str]:
    """The data sets a plan trains on."""
    return sorted({str(trial.arm.settings["dataset"]) for trial in plan.trials})


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

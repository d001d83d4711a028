"""Plans: the stacks of a study, the trials that are skipped and why, before anything is trained."""

from __future__ import annotations

import functools
import heapq
import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from harness.axes import own_network_probes, own_networks
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.planned_components import misfits, problems
from harness.check.network_stacking import form
from harness.data.arm_settings import Settings, once_an_arm
from harness.data.batches import extent
from harness.data.datasets import Dataset
from harness.data.samples import train_size
from harness.data.splits import check_blocks
from harness.errors import UsageError
from harness.planning import doubts, parameters, shards, targets
from harness.planning.cost import disk_bytes, evaluations, too_large
from harness.planning.grouping import stack
from harness.planning.parameters import NetworkSize
from harness.planning.shards import Shard
from harness.planning.stack import Engine, Stack, any_member_bytes, stack_bytes
from harness.settings import Value, limits
from harness.study.contrasts import Contrasts, default_pairs, pair_problems
from harness.study.study import Study
from harness.study.trials import Arm, Trial, arms_of, settings_of_arms, trials, tries_problems
from harness.system import resources
from harness.system.garbage import uncollected
from harness.text import count
from harness.text.cards import card

DECIDING_SIZE = ("dataset", "val_fraction", "batch_size", "epochs", "steps", "eval_every")
"""The settings that decide how long a trial trains and how often it is evaluated; its form is its size."""
Known: TypeAlias = tuple[str, Engine, Sequence[str]]
"""A stack of an earlier plan: its group, its engine, and its trial_ids."""
MOST_TOLD = 6  # problems of arms that an error lists


@dataclass(frozen=True)
class Plan:
    """The trials and stacks of a study.

    `skipped` holds trials that are not trained, with the reason; `merged` the names of arms that mean the
    same as an earlier one; `routed` the reasons why trials train in the loop engine; `warnings` sentences
    about what the person who wrote the study may not have meant. The plan of a `shard` has its trials alone,
    and `whole` is the one of all. `waiting` are trials of seeds behind the next look at the study: they have
    no stacks yet.
    """

    study: Study
    trials: Sequence[Trial]
    stacks: Sequence[Stack]
    skipped: Mapping[str, str]
    merged: Mapping[str, Sequence[str]]
    routed: Mapping[str, int]
    warnings: Sequence[str]
    shard: Shard | None = None
    whole: Plan | None = None
    waiting: Collection[str] = ()

    @property
    def contrasts(self) -> Contrasts:
        """The contrasts that are judged: as declared, or the design's own, between arms that are trained."""
        if self.whole is not None:
            return self.whole.contrasts
        contrasts = self.study.contrasts
        if contrasts.declared or self.study.sealed:
            return contrasts
        dataset = self.trials[0].arm.settings.dataset
        arms = [name for name, arm in self.arms.items() if arm.settings.dataset == dataset]
        pairs = default_pairs(self.study.about.design, arms)
        return contrasts.model_copy(update={"pairs": pairs})

    @property
    def datasets(self) -> dict[str, Dataset]:
        """The data sets that the plan trains on, by name."""
        settings = [arm.settings for arm in self.arms.values()]
        return dict(sorted({arm.dataset: arm.data for arm in settings}.items()))

    @property
    def parameters(self) -> dict[str, int]:
        """The trainable parameters of each arm's network, by the arm's name; of those that are trained."""
        return {name: size.parameters for name, size in self._sizes.items()}

    @property
    def flops(self) -> dict[str, int | None]:
        """The operations of a forward pass of one image through each arm's network, as `parameters`."""
        return {name: size.flops for name, size in self._sizes.items()}

    @functools.cached_property
    def _sizes(self) -> dict[str, NetworkSize]:
        """The sizes of the networks of the arms that are trained, by the arm's name."""
        trained = arms_of(trial for trial in self.trials if trial.trial_id not in self.skipped)
        return {arm.name: parameters.size_of(arm.settings) for arm in trained}

    @functools.cached_property
    def arms(self) -> dict[str, Arm]:
        """The arms by name."""
        return {arm.name: arm for arm in arms_of(self.trials)}

    def __repr__(self) -> str:
        return f"Plan of {self.study.name!r}: {self._counts()}"

    def _repr_html_(self) -> str:
        """Show the plan in a notebook: how many trials, which are skipped and why, and warnings."""
        skipped = Counter(self.skipped.values())
        of_arms = parameters.in_words(
            self.parameters, {name: arm.settings for name, arm in self.arms.items()}
        )
        flops = parameters.flops_in_words(self.flops)
        lines = [self._counts(), of_arms, flops, *targets.words(self.study, self.trials)]
        lines += [f"{n} skipped: {reason}" for reason, n in skipped.items()]
        lines += self.one_by_one
        return card(f"plan of {self.study.name}", [*lines, *(f"note: {words}" for words in self.warnings)])

    @property
    def one_by_one(self) -> list[str]:
        """Sentences on the trials that cannot be stacked, and why."""
        return [
            f"{count(n, 'trial')} {'trains' if n == 1 else 'train'} one by one in the loop engine: {reason}"
            for reason, n in self.routed.items()
        ]

    def _counts(self) -> str:
        seeds, left = len(self.study.seeds), len(self.trials) - len(self.skipped)
        if self.shard is not None:
            of_shard = f"{self.shard}: {count(len(self.trials), 'trial')}"
            return f"{of_shard}, {left} to train in {count(len(self.stacks), 'stack')}"
        arms = f"{count(len(self.arms), 'arm')} x {count(seeds, 'seed')} = {count(len(self.trials), 'trial')}"
        return f"{arms}, {left} to train in {count(len(self.stacks), 'stack')}"


def make(
    study: Study,
    engine: Engine | Path | type = "stacked",
    known: Iterable[Known] = (),
    device: str = "cpu",
    processes: int = 1,
    done: Container[str] = (),
) -> Plan:
    """Plan a study: draw its trials, and put them into stacks.

    Args:
        study: a validated study.
        engine: the engine, or a person's own network (a file or a class), which is tried; with `stacked`,
            trials that cannot be stacked go to the loop engine.
        known: (group, engine, trial_ids) of the folder's stacks, kept so that a resumed run gives the same.
        device: stacks are wider on a GPU.
        processes: there are at least so many stacks, if there are trials enough.
        done: ids of finished trials; they share no new stack with others, or they would be trained again.

    Raises:
        UsageError: settings that no machine could train, such as a batch larger than the train split, or that
            this engine cannot.

    Example:
        >>> trial = harness.plan(study).trials[0]  # doctest: +SKIP
    """
    name = own_networks.named(engine)
    return arrange(draw(Study.checked(study), name), name, known, device, processes, done)


@uncollected()
def draw(study: Study, engine: Engine = "stacked") -> Plan:
    """Plan a study without its stacks: its trials, checked as `make` checks them.

    A person's own network is called once for each kind of arm, before anything is trained.
    """
    engine = own_networks.named(engine)
    everything, merged = check(study)
    unfit = {id(arm): reason for arm in arms_of(everything) if (reason := _why_skipped(study, arm))}
    skipped = {trial.trial_id: unfit[id(trial.arm)] for trial in everything if id(trial.arm) in unfit}
    todo = [trial for trial in everything if trial.trial_id not in skipped]
    remarks: Sequence[str] = ()
    if engine == "numpy":
        _check_formulas(todo, study.metrics)
    elif own_networks.is_own(engine):
        arms = ((trial.arm.settings, trial.start_seed) for trial in todo)
        found = own_network_probes.look(engine, arms, study.metrics)
        remarks = found.remarks
        _refuse(study, found.problems)
    else:
        _check_metrics(study.metrics)
    _refuse(study, problems(settings_of_arms(todo)))
    return Plan(study, everything, (), skipped, merged, {}, [*doubts.warnings(study, everything), *remarks])


def share(whole: Plan, shard: Shard | None) -> Plan:
    """Give a shard's part of a plan that `draw` gave; the plan itself where there is no shard."""
    if shard is None:
        return whole
    return _part(whole, shard, {trial.trial_id for trial in shards.members(whole.study, whole.trials, shard)})


def keep(drawn: Plan, finished: Iterable[str]) -> Plan:
    """Give a shard's plan with the trials that its folder has, though others get them since a study grew."""
    if drawn.whole is None or drawn.shard is None:
        return drawn
    own = {trial.trial_id for trial in drawn.trials}
    return _part(drawn.whole, drawn.shard, own.union(finished))


def _part(whole: Plan, shard: Shard, ids: Container[str]) -> Plan:
    trials = [trial for trial in whole.trials if trial.trial_id in ids]
    skipped = {trial_id: reason for trial_id, reason in whole.skipped.items() if trial_id in ids}
    return replace(whole, trials=trials, skipped=skipped, shard=shard, whole=whole)


@uncollected()
def arrange(
    drawn: Plan, engine: Engine, known: Iterable[Known], device: str, processes: int, done: Container[str]
) -> Plan:
    """Put the trials of a plan that `draw` gave into stacks; the other arguments are those of `make`."""
    left_out = {*drawn.skipped, *drawn.waiting}
    todo = {trial.trial_id: trial for trial in drawn.trials if trial.trial_id not in left_out}
    stacks = []
    own = own_networks.is_own(engine)
    for group, kept_engine, ids in known:
        theirs = own or own_networks.is_own(kept_engine)  # goes on by the same code alone
        if all(i in todo for i in ids) and (kept_engine == engine or not theirs):
            stacks.append(Stack(group, kept_engine, tuple(todo.pop(i) for i in ids)))
    new, routed = stack(todo.values(), engine, device, processes, done)
    return replace(drawn, stacks=[*stacks, *new], routed=routed)


def _why_skipped(study: Study, arm: Arm) -> str:
    """Say why an arm is not trained; empty where it is."""
    settings = arm.settings
    if reason := misfit(settings.head, settings.loss, settings.match):
        return reason
    if study.phase.chooses(study, arm.name, arm.block):
        return ""
    of_block = f" of block {arm.block}" if arm.block else ""
    return f"none of the settings it tried finished with every tuning seed{of_block}"


def misfit(head: str, loss: str, match: str) -> str:
    """Say why a head and a loss do not fit; empty where they do."""
    kind, component = heads[head].kind, losses[loss]
    if component.form(kind, match) is not None:
        return ""
    return (
        f"loss {loss!r} takes {' or '.join(component.forms)}; head {head!r} gives {kind} "
        "(match = 'ignore' trains it anyway)"
    )


def check(study: Study) -> tuple[list[Trial], dict[str, list[str]]]:
    """Give a study's `trials`; raise what `make` would, before anything heavy is imported."""
    everything, merged = trials(study)
    _check_val_splits(everything)
    targets.check(study, everything)
    _check_batch_sizes(everything)
    _refuse(study, misfits(settings_of_arms(everything)))
    _check_sizes(study, everything)
    _check_pairs(study, everything, merged)
    _check_tries(study)
    return everything, merged


def _check_tries(study: Study) -> None:
    """Raise UsageError where an arm cannot tune what it should, or tries fewer settings than another."""
    if study.tune is None or study.about.phase != "fixed":
        return
    tries = trials(study.in_phase("tuning"))[0]
    _check_batch_sizes(tries)
    _refuse(study, misfits(settings_of_arms(tries)))
    _check_sizes(study, tries)
    _refuse(study, tries_problems(study))


def _refuse(study: Study, problems: Sequence[str]) -> None:
    """Raise UsageError if there are problems; of many, tell the first ones and their number."""
    lines = [f"  - {problem}" for problem in problems[:MOST_TOLD]]
    if len(problems) > MOST_TOLD:
        lines.append(f"  - and {len(problems) - MOST_TOLD} more")
    if lines:
        raise UsageError("\n".join([f"{study.name}: nothing was run", *lines]))


def _first_of_each(everything: Iterable[Trial], names: Sequence[str]) -> Iterable[Arm]:
    """Give the first arm of each combination of these settings."""
    first: dict[tuple[Value, ...], Arm] = {}
    for arm in arms_of(everything):
        first.setdefault(arm.settings.values_of(names), arm)
    return first.values()


def _check_val_splits(everything: Sequence[Trial]) -> None:
    for arm in _first_of_each(everything, ("dataset", "val_fraction", "val_split")):
        settings = arm.settings
        if settings.val_fraction:
            check_blocks(settings.val_split, settings.data.blocks)


def _check_batch_sizes(everything: Sequence[Trial]) -> None:
    for arm in _first_of_each(everything, ("dataset", "val_fraction", "batch_size")):
        n = train_size(arm.settings)
        if arm.settings.batch_size > n:
            raise UsageError(
                f"batch_size = {arm.settings.batch_size} (arm {arm.name!r}): {arm.settings.dataset} has {n} "
                f"training images with val_fraction = {arm.settings.val_fraction:g}; allowed: 1 to {n}"
            )


def _check_sizes(study: Study, everything: Sequence[Trial]) -> None:
    """Raise UsageError where an arm, or all trials together, ask for more than anybody waits for."""
    trials_of: dict[tuple[Value, ...], int] = {}
    first: dict[tuple[Value, ...], Arm] = {}
    many = Counter(id(trial.arm) for trial in everything)
    for arm in arms_of(everything):
        size = (form(arm.settings), *arm.settings.values_of(DECIDING_SIZE))
        first.setdefault(size, arm)
        trials_of[size] = trials_of.get(size, 0) + many[id(arm)]
    faults = [f"{fault} (arm {arm.name!r})" for arm in first.values() for fault in too_large(arm.settings)]
    total = sum(evaluations(arm.settings) * trials_of[size] for size, arm in first.items())
    if not faults and total > limits.EVALUATIONS_OF_ALL:
        counted = f"{total:,} evaluations in all {len(everything):,} trials"
        allowed = f"allowed: up to {limits.EVALUATIONS_OF_ALL:,}. Evaluate less often, or train fewer"
        faults = [f"eval_every: {counted}, two rows each in epochs.csv; {allowed}"]
    _refuse(study, faults)


def _check_pairs(study: Study, everything: Sequence[Trial], merged: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError where a declared contrast names an arm or a level that is not trained."""
    if study.about.phase != "fixed" or not study.contrasts.declared:
        return
    trained = {trial.arm.name: trial.arm for trial in everything}
    same = {other: name for name, others in merged.items() for other in others}
    faults = list(pair_problems(study.contrasts, list(trained), same))
    for level in study.contrasts.levels:
        levels = {arm.labels.get(level.axis) for arm in trained.values()}
        if level.axis in study.linked_axes and level.reference not in levels:
            faults.append(
                f"contrasts.levels: the reference {level.reference!r} of {level.axis} means the same as "
                "another level, under whose name it is trained; take that one"
            )
    _refuse(study, faults)


def _check_formulas(todo: Iterable[Trial], tracked: Sequence[str]) -> None:
    """Raise UsageError with everything that the numpy engine has no formula for."""
    from harness.axes import formulas

    arms = arms_of(todo)
    missing = dict.fromkeys(gap for arm in arms for gap in formulas.missing(arm.settings))
    unmeasured = formulas.missing_metrics(tracked)
    if missing or unmeasured:
        listed = "\n".join(f"  - {gap}" for gap in [*missing, *unmeasured])
        left = [name for name in tracked if name in formulas.METRICS]
        less = f" Or leave the metric out: --set 'metrics={json.dumps(left)}'." if unmeasured else ""
        raise UsageError(
            f"the numpy engine has no formula written by hand for\n{listed}\n"
            f"Take --engine stacked or loop, where PyTorch computes and differentiates any component.{less}"
        )


def _check_metrics(tracked: Sequence[str]) -> None:
    """Try a third party's metrics once, because a fault would show in the first evaluation only."""
    theirs = [name for name in tracked if metrics.entry(name).third_party]
    if not theirs:
        return
    from harness.check.components import metric_fault

    faults = {name: fault for name in theirs if (fault := metric_fault(name))}
    if faults:
        listed = "\n".join(
            f"metric {name!r} ({metrics.entry(name).where}) {fault}" for name, fault in faults.items()
        )
        raise UsageError(
            f"{listed}\nAllowed: a function of p and target, both (..., B, C), that gives values (..., B). "
            "Fix it, or leave it out of `metrics` in [study]."
        )


def shortages(stacks: Sequence[Stack], study: Study, processes: int, folder: Path) -> list[str]:
    """Say where this machine has too little disk or memory to train stacks into a folder, by estimate.

    `processes` of them train at once in its memory; none where a GPU trains them.
    """
    notes = []
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    needed, free = disk_bytes(stacks, study), shutil.disk_usage(there).free
    if needed > free:
        notes.append(
            f"about {needed / 1e9:,.1f} GB on disk are needed, and {free / 1e9:,.1f} GB are free in {there}: "
            "evaluate less often (eval_every), keep less (keep_predictions, keep_weights, "
            "keep_state), or take another folder (--results)"
        )
    of_member = once_an_arm(any_member_bytes)
    largest = heapq.nlargest(processes, (_held(stack, of_member) for stack in stacks))
    held, memory = sum(largest), resources.memory()
    if held > memory:
        at_once = min(processes, len(stacks))
        notes.append(
            f"about {held / 1e9:,.1f} GB of memory are needed for {at_once} stacks at once, and this machine "
            f"has {memory / 1e9:,.1f} GB: lower hidden, batch_size, steps or --workers"
        )
    return notes


def _held(stack: Stack, of_member: Callable[[Settings], int]) -> int:
    """Estimate the bytes of a stack in memory beside its data, with the learning rate of every step."""
    settings = stack.settings
    return stack_bytes(stack, of_member) + 8 * extent(settings, train_size(settings))[0] * len(stack.trials)

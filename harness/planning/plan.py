"""Plans: the stacks of a study, the trials that are skipped and why, before anything is trained."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from harness.axes import own_network_probes, own_networks
from harness.axes.planned_components import problems
from harness.data.datasets import Dataset
from harness.planning import doubts, parameters, shards, targets
from harness.planning.checks import check, check_formulas, check_metrics, misfit, refuse
from harness.planning.grouping import stack
from harness.planning.parameters import NetworkSize
from harness.planning.shards import Shard
from harness.planning.stack import Engine, Stack
from harness.study.contrasts import Contrasts, default_pairs
from harness.study.study import Study
from harness.study.trials import Arm, Trial, arms_of, settings_of_arms
from harness.system.garbage import uncollected
from harness.text import count
from harness.text.cards import card

Known: TypeAlias = tuple[str, Engine, Sequence[str]]
"""A stack of an earlier plan: its group, its engine, and its trial_ids."""


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
        check_formulas(todo, study.metrics)
    elif own_networks.is_own(engine):
        arms = ((trial.arm.settings, trial.start_seed) for trial in todo)
        found = own_network_probes.look(engine, arms, study.metrics)
        remarks = found.remarks
        refuse(study, found.problems)
    else:
        check_metrics(study.metrics)
    refuse(study, problems(settings_of_arms(todo)))
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

"""Pruners: Optuna's and, for suggestions that train together, halving of our own.

The protocol of a batch, at each evaluation of `rungs`: report the values of all members, then ask
`Trial.should_prune` for each, then tell. Steps are evaluations: 1, 2, ...

Optuna's own successive halving and Hyperband compare a trial with those that reached the rung before it: the
first one is promoted whatever its value. Suggestions that train as stacks reach a rung together, so ours
compare all of them, and the order in which they are asked for decides nothing.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, NopPruner, PatientPruner, PercentilePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from harness.study.searches import LEARN_NOTHING, Pruning, Search

if TYPE_CHECKING:
    from harness import stats

BATCH = "batch"
"""User attribute of a trial: the number of the batch that it trains in."""
EVALUATIONS = "evaluations"
"""User attribute of a trial: the number of evaluations that it would get, unpruned."""
KEYS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "median": ("startup", "warmup"),
    "percentile": ("percentile", "startup", "warmup"),
    "patient": ("patience", "startup", "warmup"),
    "halving": ("first", "reduction"),
    "hyperband": ("first", "reduction"),
    "asha": ("first", "reduction"),
    "async-hyperband": ("first", "reduction"),
    "top-k": ("first", "keep"),
    "extrapolation": ("confidence", "control", "first"),
}
"""The keys of [search.pruner] that a pruner uses, beside its name."""
HALVING = ("halving", "hyperband", "asha", "async-hyperband")
"""Pruners whose rungs are further apart the later they come."""


def make(pruning: Pruning, *, evaluations: int) -> BasePruner:
    """Make the pruner of a table; no suggestion gets more than so many evaluations."""
    # Optuna judges from step n_warmup_steps on, and our steps count from 1.
    calm = {"n_startup_trials": pruning.startup, "n_warmup_steps": pruning.warmup + 1}
    match pruning.name:
        case "none":
            return NopPruner()
        case "median":
            return FinitePruner(MedianPruner(**calm))
        case "percentile":
            return FinitePruner(PercentilePruner(pruning.percentile, **calm))
        case "patient":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return FinitePruner(PatientPruner(MedianPruner(**calm), patience=pruning.patience))
        case "halving" | "hyperband" | "asha" | "async-hyperband":
            kind = SynchronousHalving if pruning.waits_for == "batch" else AsynchronousHalving
            steps = rungs(pruning, evaluations)
            return kind(steps, pruning.reduction, brackets=brackets(pruning, steps))
        case "top-k":
            return TopK(pruning.first, pruning.keep)
        case "extrapolation":
            return Extrapolation(pruning.first, pruning.confidence, pruning.control)


def rungs(pruning: Pruning, evaluations: int) -> list[int]:
    """Return the evaluations after which the pruner is asked, of at most so many; no other can prune.

    >>> rungs(Pruning(name="halving"), 10)
    [1, 3, 9]
    """
    if pruning.name == "none":
        return []
    if pruning.name == "top-k":
        return [pruning.first] if pruning.first < evaluations else []
    if pruning.name == "extrapolation":
        return list(range(pruning.first, evaluations))
    if pruning.name in HALVING:
        steps = [pruning.first]
        while steps[-1] < evaluations:
            steps.append(steps[-1] * pruning.reduction)
        return steps[:-1]
    # Patience needs its evaluations, and one before them to be better than.
    first = pruning.patience + 2 if pruning.name == "patient" else 1
    return list(range(max(first, pruning.warmup + 1), evaluations))


def problems(search: Search) -> Iterator[str]:
    """Yield why a pruner cannot work in a search of one objective."""
    pruning, name = search.pruner, search.pruner.name
    given = {key for key in pruning.model_fields_set if getattr(pruning, key) != getattr(Pruning(), key)}
    idle = sorted(given - {"name", *KEYS.get(name, given)})
    if idle:
        keys = ", ".join(sorted(KEYS[name])) or "none"
        yield f"search.pruner.{idle[0]}: {name!r} does not use it; allowed with {name!r}: {keys}"
    if name == "top-k" and search.sampler not in LEARN_NOTHING:
        yield (
            f"search.pruner = 'top-k' with search.sampler = {search.sampler!r}: all suggestions are asked "
            "for before one is finished, so the sampler has nothing to learn from; allowed with 'top-k': "
            f"{', '.join(LEARN_NOTHING)}"
        )
    if name == "top-k" and pruning.keep >= search.suggestions:
        yield (
            f"search.pruner.keep = {pruning.keep} of {search.suggestions} suggestions stops none; allowed: "
            "less than search.suggestions"
        )
    from harness import stats

    least = stats.least_curves(pruning.confidence)
    # A batch is asked for while the one before it trains.
    finished = search.batch * max(0, math.ceil(search.suggestions / search.batch) - 2)
    if name == "extrapolation" and finished < least:
        yield (
            f"search.pruner = 'extrapolation' with confidence {pruning.confidence:g} stops nothing before "
            f"{least} suggestions are finished; of search.suggestions = {search.suggestions} in batches of "
            f"{search.batch}, {finished} are when the last batch is asked for. Ask for more, in smaller "
            "batches, or lower the confidence"
        )


def trained(pruning: Pruning, evaluations: int, members: int) -> list[int]:
    """Count the evaluations that a halving pruner leaves of a batch: up to each rung, and to the end.

    >>> trained(Pruning(name="halving"), 9, 9)
    [9, 6, 6]
    """
    at = rungs(pruning, evaluations)
    every = range(brackets(pruning, at))
    of_members = turns(shares(len(every), pruning.reduction), members)
    left, counts = [of_members.count(bracket) for bracket in every], []
    for i, (rung, end) in enumerate(zip([0, *at], [*at, evaluations], strict=True)):
        counts.append(sum(left) * (end - rung))
        left = [-(-n // pruning.reduction) if i >= bracket else n for bracket, n in enumerate(left)]
    return counts


def trained_share(search: Search, evaluations: int) -> float | None:
    """Return the share of all evaluations that a pruner lets be trained; None where results decide it.

    `evaluations` are those of a suggestion that is not pruned.
    """
    pruning, members = search.pruner, min(search.batch, search.suggestions)
    if not rungs(pruning, evaluations):
        return 1.0
    if pruning.name in HALVING and pruning.waits_for == "batch":
        return sum(trained(pruning, evaluations, members)) / (members * evaluations)
    if pruning.name == "top-k":
        kept = min(pruning.keep, search.suggestions) / search.suggestions
        return kept + (1 - kept) * pruning.first / evaluations
    return None


def brackets(pruning: Pruning, rungs: Sequence[int]) -> int:
    """Return how many brackets a halving pruner has: Hyperband's start at each rung, and one after all."""
    return len(rungs) + 1 if pruning.name.endswith("hyperband") else 1


class FinitePruner(BasePruner):
    """Wraps a pruner, and stops a suggestion at once whose last value is not finite.

    Optuna's pruners go by the best value so far, so one good value would keep a suggestion that is NaN since.
    """

    def __init__(self, pruner: BasePruner) -> None:
        self._pruner = pruner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return True if a suggestion stops at the evaluation that it reported last."""
        step = trial.last_step
        lost = step is not None and not math.isfinite(trial.intermediate_values[step])
        return lost or self._pruner.prune(study, trial)


class SynchronousHalving(BasePruner):
    """Successive halving of a batch: at each rung the best 1 / `reduction` of its members go on.

    Jamieson & Talwalkar (2016), https://proceedings.mlr.press/v51/jamieson16.html. With more than one bracket
    it is Hyperband, Li et al. (2018), https://jmlr.org/papers/v18/16-558.html: halving is as good as its
    first rung foretells the end, so bracket b leaves out the first b rungs, and the last one prunes nothing;
    the more a bracket prunes, the larger is its share of each batch.

    Of the members of a bracket that reported a finite number at the rung and would go on after it, the best
    ceil(n / `reduction`) stay; of equal ones those asked first. A member that reported no finite number is
    pruned. One that has come to the end of its own training is not, and takes no other's place. All this is
    read from the reports, so neither the order of asking matters, nor whether the pruned were told at once.
    Hyperband has `len(rungs) + 1` brackets.
    """

    def __init__(self, rungs: Sequence[int], reduction: int, *, brackets: int) -> None:
        self._rungs = list(rungs)
        self._reduction = reduction
        self._shares = shares(brackets, reduction)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return True if a suggestion stops at the evaluation that it reported last."""
        rung = trial.last_step
        if rung not in self._rungs or not _goes_on(trial, rung):
            return False
        if not math.isfinite(trial.intermediate_values[rung]):
            return True
        trials = self._together(study.get_trials(deepcopy=False), trial)
        bracket = self._brackets(trials)
        if rung not in self._rungs[bracket[trial.number] :]:
            return False
        members = [other for other in trials if bracket[other.number] == bracket[trial.number]]
        rivals = _field(study, members, rung)
        kept = rivals[: math.ceil(len(rivals) / self._reduction)]
        return trial.number not in {other.number for other in kept}

    def _together(self, trials: Sequence[FrozenTrial], trial: FrozenTrial) -> list[FrozenTrial]:
        """Return the suggestions that a member is judged among: its batch."""
        return [other for other in trials if other.user_attrs.get(BATCH) == trial.user_attrs[BATCH]]

    def _brackets(self, trials: Sequence[FrozenTrial]) -> dict[int, int]:
        """Return the bracket of each member of some batches, by its number."""
        sizes = Counter(trial.user_attrs[BATCH] for trial in trials)
        turn = {batch: iter(turns(self._shares, size)) for batch, size in sizes.items()}
        return {trial.number: next(turn[trial.user_attrs[BATCH]]) for trial in trials}


class AsynchronousHalving(SynchronousHalving):
    """Asynchronous successive halving: whoever arrives at a rung is judged at once, and waits for nobody.

    Li et al. (2020), https://arxiv.org/abs/1810.05934, in the variant that stops (promotes none later). A
    member goes on if it is among the best ceil(n / `reduction`) of the n of its bracket, in all batches, that
    have reported a finite number at the rung so far and would go on after it. All members of a stack report
    before the first of them is judged. With more than one bracket it is asynchronous Hyperband, whose
    brackets are those of the synchronous one.
    """

    def _together(self, trials: Sequence[FrozenTrial], trial: FrozenTrial) -> list[FrozenTrial]:  # noqa: ARG002
        """Return the suggestions that a member is judged among: all batches."""
        return [other for other in trials if BATCH in other.user_attrs]


class TopK(BasePruner):
    """Top-k: of all suggestions of a search the best `keep` at evaluation `first` go on, to their end.

    The 1-epoch baseline of Egele et al. (2023), https://arxiv.org/abs/2307.15422.

    Whoever reported a finite number at `first` and would go on after it counts, whatever its batch and
    whether it has ended since; of equal ones those asked first stay. It is asked once all suggestions of the
    search have reported; then neither the order of asking nor that of reporting matters.
    """

    def __init__(self, first: int, keep: int) -> None:
        self._first = first
        self._keep = keep

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return True if a suggestion stops at the evaluation that it reported last."""
        if trial.last_step != self._first or not _goes_on(trial, self._first):
            return False
        rivals = _field(study, study.get_trials(deepcopy=False), self._first)
        return trial.number not in {rival.number for rival in rivals[: self._keep]}


class Extrapolation(BasePruner):
    """Extrapolation: stops, from evaluation `first` on, what will not end better than the best so far.

    That is, a suggestion of which the better bound of its end (`stats.Forecast`, with `confidence`) is worse
    than the best end of all finished suggestions. Bounds come from the errors that the extrapolation made for
    the finished curves with as many evaluations; it stops nothing before there are enough of these to know
    its errors (`stats.least_curves`). One suggestion in `control` trains to its end whatever is predicted:
    without them no error of the bad ones would ever be seen.
    """

    def __init__(self, first: int, confidence: float, control: int) -> None:
        self._first = first
        self._confidence = confidence
        self._control = control
        self._fitted: tuple[tuple[tuple[int, ...], int], stats.Forecast] | None = None

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return True if a suggestion stops at the evaluation that it reported last."""
        step = trial.last_step
        if step is None or step < self._first or not _goes_on(trial, step):
            return False
        value = trial.intermediate_values[step]
        if not math.isfinite(value):
            return True
        from harness import stats

        finished = _finished(study)
        alike = [other for other in finished if other.last_step == trial.user_attrs[EVALUATIONS]]
        if trial.number % self._control == 0 or len(alike) < stats.least_curves(self._confidence):
            return False
        low, high = self._forecast(alike, step).bounds([value], self._confidence)
        ends = [other.intermediate_values[max(other.intermediate_values)] for other in finished]
        if study.direction == StudyDirection.MAXIMIZE:
            return bool(high[0] < max(ends))
        return bool(low[0] > min(ends))

    def _forecast(self, finished: Sequence[FrozenTrial], step: int) -> stats.Forecast:
        """Fit to finished suggestions; those of a batch, asked one after the other, have the same ones."""
        from harness import stats

        key = (tuple(other.number for other in finished), step)
        if self._fitted is None or self._fitted[0] != key:
            at = [other.intermediate_values[step] for other in finished]
            end = [other.intermediate_values[max(other.intermediate_values)] for other in finished]
            self._fitted = key, stats.Forecast.of(at, end)
        return self._fitted[1]


def _finished(study: Study) -> list[FrozenTrial]:
    """Return the trials that reported a finite number at each of their evaluations; none that diverged."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(trial.intermediate_values) == trial.user_attrs.get(EVALUATIONS)
        and all(map(math.isfinite, trial.intermediate_values.values()))
    ]


def _field(study: Study, trials: Sequence[FrozenTrial], rung: int) -> list[FrozenTrial]:
    """Return the trials that reported a finite number at a rung and would go on after it, best first."""
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    rivals = [
        trial
        for trial in trials
        if math.isfinite(trial.intermediate_values.get(rung, math.nan)) and _goes_on(trial, rung)
    ]
    return sorted(rivals, key=lambda trial: (sign * trial.intermediate_values[rung], trial.number))


def _goes_on(trial: FrozenTrial, rung: int) -> bool:
    return int(trial.user_attrs[EVALUATIONS]) > rung


def shares(brackets: int, reduction: int) -> list[int]:
    """Return the suggestions of a round in each of Hyperband's brackets, the one that prunes most first.

    Li et al. (2018), algorithm 1: n_s = ceil((s_max + 1) / (s + 1) * eta^s), for s = s_max, ..., 0.

    >>> shares(5, 3)
    [81, 34, 15, 8, 5]
    """
    return [-(-brackets * reduction**s // (s + 1)) for s in reversed(range(brackets))]


def turns(shares: Sequence[int], count: int) -> list[int]:
    """Assign `count` suggestions to brackets, so that every stretch of them has about the shares.

    The bracket that has waited longest comes next: after k turns none is more than 1 off k times its share.

    >>> turns([3, 2], 5)
    [0, 1, 0, 1, 0]
    """
    waited, brackets = [0] * len(shares), []
    for _ in range(count):
        waited = [w + share for w, share in zip(waited, shares, strict=True)]
        bracket = waited.index(max(waited))
        waited[bracket] -= sum(shares)
        brackets.append(bracket)
    return brackets

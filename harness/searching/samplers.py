"""Samplers: Optuna's, each set up to be asked for a whole batch and made anew for the next.

A sampler lives for one batch, so it may keep nothing that it learns: all of that is read from the study's
trials. A search that was killed and whose study was rebuilt from stored trials asks the same again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.searching.draws import SobolSampler, at, distribution
from harness.searching.gp_sampler import GpSampler
from harness.study.searches import LEARN_NOTHING, Search
from harness.study.space import Choices, Drawn, Parameter, Space

_WALKS = 512
FEWEST_KNOWN = {"cmaes": 10}
"""Trials of an earlier search that a sampler needs: CMA-ES begins at the best tenth of them."""
HEARS_OF_REFUSED = ("tpe", "optuna")
"""Samplers that learn where constraints are broken; of the others a point that breaks one is drawn again."""
ASKS_FIRST = ("gp",)
"""Samplers that ask of a point whether it keeps the constraints, before they give it."""


def make(
    search: Search, space: Space, *, seed: int, earlier: Sequence[FrozenTrial] = (),
    kept: Callable[[Drawn], bool] = lambda _point: True,
) -> BaseSampler:  # fmt: skip
    """Make the sampler of a batch; its seed is by `search.seed` and the number of suggestions before it.

    `earlier` are the trials of an earlier search that its study holds before its own; `kept` tells whether a
    point keeps the constraints.
    """
    with warnings.catch_warnings():
        # Optuna's word for options that may change; constraints.txt says which Optuna was tested.
        warnings.simplefilter("ignore", ExperimentalWarning)
        match search.sampler:
            case "random":
                return RandomSampler(seed=seed)
            case "qmc":
                return SobolSampler([p.name for p in space.parameters], seed=search.seed)
            case "tpe":
                # The liar: suggestions that are out count as bad ones, so that a batch spreads. One parameter
                # at a time: in batches of 32 that found better points than Optuna's joint estimators did.
                return TPESampler(seed=seed, constant_liar=True, multivariate=False)
            case "optuna":
                # `optuna.create_study()`'s own: joint estimators for one objective, univariate ones for two,
                # the liar on, the first ten at random.
                return TPESampler(seed=seed)
            case "cmaes":
                numbers = {p.name: distribution(p.values) for p in _numbers(space)}
                return CmaSampler(numbers, seed=seed, population=_population(search.batch), earlier=earlier)
            case "gp":
                return GpSampler(space, kept, seed=seed, sobol_seed=search.seed)
            case "nsga2":
                return Nsga2Sampler(seed=seed, population_size=_population(search.batch))


def attributes_of_known(search: Search) -> dict[str, Any]:
    """Return the system attributes of an earlier search's trials: NSGA-II's first generation."""
    return {Nsga2Sampler.generation_key(): 0} if search.sampler == "nsga2" else {}


def _population(batch: int) -> int:
    """Return the size of a generation: less than a batch, so that a batch with some failures still is one."""
    return max(8, 3 * batch // 4)


def unconditional(space: Space) -> list[Parameter]:
    """Return the parameters that every suggestion has, as far as some hundred random walks can tell."""
    rng = np.random.default_rng(0)
    walks = (space.walk(lambda parameter: at_random(parameter, rng)) for _ in range(_WALKS))
    drawn = set.intersection(*(set(walk[0]) for walk in walks))
    return [parameter for parameter in space.parameters if parameter.name in drawn]


def at_random(parameter: Parameter, rng: np.random.Generator) -> Any:
    """Draw a value of a parameter, each as probable as any other."""
    return at(distribution(parameter.values), rng.random())


def near_an_end(parameter: Parameter, rng: np.random.Generator) -> Any:
    """Draw a number of a parameter, half of the time at an end of its range; or a choice."""
    quantile = rng.random()
    if not isinstance(parameter.values, Choices) and rng.random() < 0.5:
        quantile = float(quantile >= 0.5)
    return at(distribution(parameter.values), min(quantile, math.nextafter(1.0, 0.0)))


def state_of_refused(search: Search) -> TrialState:
    """Return the state of a trial that breaks a constraint: one that the sampler reads, or does not."""
    return TrialState.PRUNED if search.sampler in HEARS_OF_REFUSED else TrialState.FAIL


def problems(search: Search, space: Space) -> list[str]:
    """Say why a sampler cannot work in a space, or with an earlier search, at all."""
    return [*_of_numbers(search, space), *_of_warm_start(search)]


def _of_warm_start(search: Search) -> list[str]:
    if not search.warm_start or search.sampler not in LEARN_NOTHING:
        return []
    told = f"the sampler {search.sampler} learns nothing from an earlier search"
    return [f"search.warm_start: {told}; allowed: tpe, optuna, gp, cmaes, nsga2; or leave it out"]


def _of_numbers(search: Search, space: Space) -> list[str]:
    numbers = [p.name for p in _numbers(space)] if search.sampler == "cmaes" else []
    if search.sampler != "cmaes" or len(numbers) > 1:
        return []
    requirement = f"varies numbers that every suggestion has: {', '.join(numbers) or 'none'}"
    return [f"search.sampler = 'cmaes' {requirement}; it needs at least 2"]


def remarks(search: Search, space: Space) -> list[str]:
    """Say for the plan what a sampler does not do in a space, and what cannot be repeated."""
    return [*_of_constraints(search), *_of_sampler(search, space), *_of_pruner(search)]


def _of_pruner(search: Search) -> list[str]:
    """Say that a search without barriers cannot be repeated."""
    name = search.pruner.name
    if search.pruner.waits_for != "stack":
        return []
    return [f"{name} judges stacks as they arrive: a second search from the start gives other suggestions"]


def _of_constraints(search: Search) -> list[str]:
    """Say what a sampler does with points that break a constraint."""
    if not search.constraints or search.sampler in {*HEARS_OF_REFUSED, *ASKS_FIRST}:
        return []
    return [f"{search.sampler} learns nothing from points that break a constraint: they are drawn again"]


def _of_sampler(search: Search, space: Space) -> list[str]:
    name = search.sampler
    if name in LEARN_NOTHING:
        return [f"{name} learns nothing from results"]
    if name in {"tpe", "gp"}:
        return []
    sentences: list[str] = []
    if name == "optuna":
        several = len(search.objective) > 1
        rest = [] if several else [p.name for p in space.parameters if p not in unconditional(space)]
        return [f"optuna draws one at a time, beside its joint model: {', '.join(rest)}"] if rest else []
    modelled = {p.name for p in (_numbers(space) if name == "cmaes" else unconditional(space))}
    rest = [p.name for p in space.parameters if p.name not in modelled]
    if rest:
        sentences.append(f"{name} draws at random: {', '.join(rest)}")
    if name == "nsga2" and search.pruner.name != "none":
        sentences.append("nsga2 learns nothing from suggestions that are pruned")
    return sentences


def _numbers(space: Space) -> list[Parameter]:
    """Return the parameters that CMA-ES can vary: numbers that every suggestion has."""
    return [p for p in unconditional(space) if not isinstance(p.values, Choices)]


class CmaSampler(CmaEsSampler):
    """CMA-ES over the numbers that every suggestion has; all else is drawn at random.

    Optuna's searches over what all trials so far have in common: once a conditional parameter is missing for
    the first time, its state does not fit any more, and it goes on at random. It begins where the best tenth
    of an earlier search's trials lie, if there are any (Nomura et al. 2021, "Warm starting CMA-ES for
    hyperparameter optimization").
    """

    def __init__(
        self,
        numbers: Mapping[str, BaseDistribution],
        *,
        seed: int,
        population: int,
        earlier: Sequence[FrozenTrial] = (),
    ) -> None:
        known = [
            create_trial(
                params={name: trial.params[name] for name in numbers},
                distributions=dict(numbers),
                value=trial.value,
            )
            for trial in earlier
        ]
        # Pruned suggestions count with their last values: without them no generation would be complete.
        super().__init__(
            seed=seed, popsize=population, consider_pruned_trials=True, warn_independent_sampling=False,
            n_startup_trials=0, source_trials=known or None,
        )  # fmt: skip
        self._numbers = dict(numbers)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial  # noqa: ARG002 (Optuna's interface)
    ) -> dict[str, BaseDistribution]:  # fmt: skip
        """Return the same numbers from the first suggestion on."""
        return self._numbers


class Nsga2Sampler(NSGAIISampler):
    """NSGA-II whose parents come in the order of their numbers, whether the study was rebuilt or not."""

    @classmethod
    def generation_key(cls) -> str:
        """Return the system attribute that holds a trial's generation."""
        return cls._get_generation_key()

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation.

        Optuna keeps them in the study's system attributes, and reads them from there in this order.
        """
        return sorted(super().select_parent(study, generation), key=lambda parent: parent.number)

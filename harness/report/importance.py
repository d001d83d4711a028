"""Which parameters mattered in a search, by Optuna's evaluators, each with its spread over resamples.

Optuna is imported when importance is asked for: a report of anything else does without it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.parameters import Choices, Ints
from harness.searching.storages import quiet_optuna

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna
    from optuna.importance import BaseImportanceEvaluator

    from harness.parameters import Parameter
    from harness.report.searched import Searched

PED_ANOVA, FANOVA = "PED-ANOVA", "fANOVA"
FEWEST = 30
"""Complete suggestions below which nothing is judged: of 10, both often put first what does not matter.

docs/searches.md has the simulation that this is chosen by.
"""
STEADY = 50
"""From here on the best tenth holds five suggestions, as Optuna's documentation asks of PED-ANOVA."""
RESAMPLES = {PED_ANOVA: 100, FANOVA: 20}
FORESTS = 5
TREES = 16
"""Of one forest: the five seeds together have more trees than Optuna's default of 64."""
LEARNED = 200
"""Suggestions that a forest learns from at most, drawn afresh for each: its time grows with their square."""
SPREAD = (0.05, 0.95)


def judge(searched: Searched) -> pd.DataFrame:
    """The importance of each parameter for the first objective, of the complete suggestions.

    PED-ANOVA asks what tells the best tenth of the suggestions from all of them; it takes conditional
    parameters as they are (Watanabe et al. 2023; conditional PED-ANOVA, 2026, from Optuna 5 on). fANOVA asks
    what explains the variance of the objective over the space, as a random forest has learned it (Hutter et
    al. 2014), and judges the parameters that every complete suggestion has. Pruned and failed ones are left
    out by both: they have no value at the end of a training.

    Returns:
        evaluator, parameter, importance (a share of all that it judged: of PED-ANOVA once, of fANOVA the mean
        over `FORESTS` seeds of its forest), low, high (the middle 90 % over bootstrap resamples of the
        suggestions), seed_low, seed_high (over the forest's seeds alone; NaN for PED-ANOVA, which draws
        nothing). A row an evaluator and parameter, most important by PED-ANOVA first; NaN where it was not
        judged. No rows with fewer than `FEWEST` complete suggestions.
    """
    complete = searched.complete
    varied = {each.name: each for each in searched.parameters if complete[each.name].notna().any()}
    if len(complete) < FEWEST or not varied:
        return pd.DataFrame()
    with quiet_optuna():
        trials = [_trial(row, varied) for row in complete.to_dict("records")]
        found = {name: _evaluate(name, trials, maximize=searched.objective.maximize) for name in RESAMPLES}
    order = sorted(varied, key=lambda name: -found[PED_ANOVA].get(name, {}).get("importance", 0))
    nothing = dict.fromkeys(("importance", "low", "high", "seed_low", "seed_high"), np.nan)
    rows = [
        {"evaluator": evaluator, "parameter": name, **(found[evaluator].get(name) or nothing)}
        for name in order
        for evaluator in found
    ]
    return pd.DataFrame(rows)


def _evaluate(
    evaluator: str, trials: list[optuna.trial.FrozenTrial], *, maximize: bool
) -> dict[str, dict[str, float]]:
    """Each parameter that an evaluator judges -> its importance and its spreads."""
    generator = np.random.default_rng(0)
    seeds, most = (FORESTS, min(len(trials), LEARNED)) if evaluator == FANOVA else (1, len(trials))
    drawn = [generator.permutation(len(trials))[:most] for _ in range(seeds)]
    drawn += [generator.integers(len(trials), size=most) for _ in range(RESAMPLES[evaluator])]
    found = pd.DataFrame(
        [
            _importances(evaluator, [trials[at] for at in some], maximize, seed)
            for seed, some in enumerate(drawn)
        ]
    )
    # A conditional parameter that no suggestion of a resample has made no difference in it.
    whole = found[:seeds].dropna(axis="columns", how="all")
    spread = found[seeds:].reindex(columns=whole.columns).fillna(0).quantile(list(SPREAD))
    told = {}
    for name in whole:
        low, high = spread[name]
        ends = (whole[name].min(), whole[name].max()) if len(whole) > 1 else (np.nan, np.nan)
        told[str(name)] = {
            "importance": float(whole[name].mean()), "low": float(low), "high": float(high),
            "seed_low": float(ends[0]), "seed_high": float(ends[1]),
        }  # fmt: skip
    return told


def _importances(
    evaluator: str, trials: list[optuna.trial.FrozenTrial], maximize: bool, seed: int
) -> dict[str, float]:
    """Optuna's importances of a study made of these trials."""
    import optuna

    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    study.add_trials(trials)
    by: BaseImportanceEvaluator = (
        optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
        if evaluator == FANOVA
        else optuna.importance.PedAnovaImportanceEvaluator()
    )
    with warnings.catch_warnings():
        # Few suggestions have some conditional parameter: the page says so in its own words.
        warnings.simplefilter("ignore", UserWarning)
        return optuna.importance.get_param_importances(study, evaluator=by)


def _trial(row: Mapping[Any, Any], parameters: Mapping[str, Parameter]) -> optuna.trial.FrozenTrial:
    """A complete suggestion as Optuna has it."""
    import optuna

    from harness.searching.samplers import distribution

    there = {name: each for name, each in parameters.items() if not pd.isna(row[name])}
    return optuna.create_trial(
        params={name: _value(each, row[name]) for name, each in there.items()},
        distributions={name: distribution(each.values) for name, each in there.items()},
        value=float(row["value"]),
    )


def _value(parameter: Parameter, value: Any) -> Any:
    values = parameter.values
    if isinstance(values, Choices):
        return str(value)
    held = min(max(float(value), values.low), values.high)  # as printed, a bound may lie beyond itself
    return round(held) if isinstance(values, Ints) else held

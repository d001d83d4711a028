"""The importance of a search's parameters by Optuna's evaluators, with its spread over resamples.

Optuna is imported when importance is judged: a report without a search does not need it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.searching.storages import quiet_optuna
from harness.study.space import Choices, Ints

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna
    from optuna.importance import BaseImportanceEvaluator

    from harness.reporting.search.data import SearchData
    from harness.study.space import Parameter

PED_ANOVA, FANOVA = "PED-ANOVA", "fANOVA"
FEWEST = 30
"""Complete suggestions below which nothing is judged: of 10, both often rank an irrelevant parameter first.

docs/searches.md has the simulation behind this number.
"""
STEADY = 50
"""Complete suggestions whose best tenth is five, as Optuna's documentation asks of PED-ANOVA."""
RESAMPLES = {PED_ANOVA: 100, FANOVA: 20}
FORESTS = 5
TREES = 16
"""Trees of one forest: the five seeds together have more than Optuna's default of 64."""
LEARNED = 200
"""Most suggestions that a forest learns from, drawn afresh for each: its time grows with their square."""
SPREAD = (0.05, 0.95)


def judge(search: SearchData) -> pd.DataFrame:
    """Judge the importance of each parameter for the leading objective, by the complete suggestions.

    PED-ANOVA asks what sets the best tenth of the suggestions apart from all; it takes conditional
    parameters as they are (Watanabe et al. 2023; conditional PED-ANOVA, 2026, from Optuna 5 on). fANOVA asks
    what explains the variance of the objective over the space, as a random forest has learned it (Hutter et
    al. 2014), and judges the parameters that every complete suggestion has. Pruned and failed ones are left
    out by both: they have no value at the end of a training.

    Returns:
        evaluator, parameter, importance (a share of all that it judged: of PED-ANOVA once, of fANOVA the mean
        over `FORESTS` seeds of its forest), low, high (the middle 90 % over bootstrap resamples of the
        suggestions), seed_low, seed_high (over the forest's seeds alone; NaN for PED-ANOVA, which draws
        nothing). A row an evaluator and parameter, most important by PED-ANOVA first; NaN if it was not
        judged. No rows with fewer than `FEWEST` complete suggestions.
    """
    complete = search.complete
    varied = {p.name: p for p in search.parameters if complete[p.name].notna().any()}
    if len(complete) < FEWEST or not varied:
        return pd.DataFrame()
    with quiet_optuna():
        trials = [_trial(row, varied) for row in complete.to_dict("records")]
        judged = {name: _evaluate(name, trials, maximize=search.objective.maximize) for name in RESAMPLES}
    order = sorted(varied, key=lambda name: -judged[PED_ANOVA].get(name, {}).get("importance", 0))
    nothing = dict.fromkeys(("importance", "low", "high", "seed_low", "seed_high"), np.nan)
    rows = [
        {"evaluator": evaluator, "parameter": name, **(judged[evaluator].get(name) or nothing)}
        for name in order
        for evaluator in judged
    ]
    return pd.DataFrame(rows)


def _evaluate(
    evaluator: str, trials: list[optuna.trial.FrozenTrial], *, maximize: bool
) -> dict[str, dict[str, float]]:
    """Return the importance and the spreads of each parameter that an evaluator judges."""
    generator = np.random.default_rng(0)
    seeds, most = (FORESTS, min(len(trials), LEARNED)) if evaluator == FANOVA else (1, len(trials))
    samples = [generator.permutation(len(trials))[:most] for _ in range(seeds)]
    samples += [generator.integers(len(trials), size=most) for _ in range(RESAMPLES[evaluator])]
    drawn = ([trials[i] for i in sample] for sample in samples)
    table = pd.DataFrame([_importances(evaluator, some, maximize, seed) for seed, some in enumerate(drawn)])
    # A conditional parameter that no suggestion of a resample has made no difference in it.
    by_seed = table[:seeds].dropna(axis="columns", how="all")
    spread = table[seeds:].reindex(columns=by_seed.columns).fillna(0).quantile(list(SPREAD))
    judged = {}
    for name in by_seed:
        low, high = spread[name]
        ends = (by_seed[name].min(), by_seed[name].max()) if len(by_seed) > 1 else (np.nan, np.nan)
        judged[str(name)] = {
            "importance": float(by_seed[name].mean()), "low": float(low), "high": float(high),
            "seed_low": float(ends[0]), "seed_high": float(ends[1]),
        }  # fmt: skip
    return judged


def _importances(
    evaluator: str, trials: list[optuna.trial.FrozenTrial], maximize: bool, seed: int
) -> dict[str, float]:
    """Return Optuna's importances of a study made of these trials."""
    import optuna

    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    study.add_trials(trials)
    optunas: BaseImportanceEvaluator = (
        optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
        if evaluator == FANOVA
        else optuna.importance.PedAnovaImportanceEvaluator()
    )
    with warnings.catch_warnings():
        # Some conditional parameters are rare: the page says so in its own words.
        warnings.simplefilter("ignore", UserWarning)
        return optuna.importance.get_param_importances(study, evaluator=optunas)


def _trial(row: Mapping[Any, Any], parameters: Mapping[str, Parameter]) -> optuna.trial.FrozenTrial:
    import optuna

    from harness.searching.draws import distribution

    drawn = {name: parameter for name, parameter in parameters.items() if not pd.isna(row[name])}
    return optuna.create_trial(
        params={name: _value(parameter, row[name]) for name, parameter in drawn.items()},
        distributions={name: distribution(parameter.values) for name, parameter in drawn.items()},
        value=float(row["value"]),
    )


def _value(parameter: Parameter, value: Any) -> Any:
    values = parameter.values
    if isinstance(values, Choices):
        return str(value)
    # As printed, a value at a bound may lie beyond it.
    clipped = min(max(float(value), values.low), values.high)
    return round(clipped) if isinstance(values, Ints) else clipped

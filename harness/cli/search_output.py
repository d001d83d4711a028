"""A search on the screen: its plan, its progress and its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from harness import notes, results, stats
from harness.cli import winner_output
from harness.cli.output import show_summary
from harness.planning import compilation
from harness.planning.cost import cost
from harness.planning.doubts import unseen
from harness.planning.plan import Plan, make
from harness.planning.stack import Engine
from harness.results import csv_rows, run_folder
from harness.searching import constraints, pruners, samplers, suggestions, warm_start
from harness.searching.ask_tell import arm_of
from harness.searching.checks import evaluations_of, size_of
from harness.searching.search_result import SearchResult
from harness.settings.schema import BASELINE, CONFIRMED, FINALISTS, KNOWN, WINNER
from harness.study.searches import SUGGESTIONS
from harness.study.space import Choices, Parameter, Space, layers_of
from harness.study.study import Study
from harness.study.trials import settings_of
from harness.text import as_text, difference, duration, percent

SAMPLED = 64  # random suggestions that the estimate of a search's time is made from
SHOWN = 5  # of the best suggestions
USUAL = (
    "dataset", "architecture", "hidden", "activation", "optimizer", "lr", "batch_size", "epochs", "steps",
)  # fmt: skip
"""Settings of a baseline that are shown whether the study sets them or not."""
PLAIN = ("architecture", "mlp")
"""The network that nobody needs to be told of."""


def show_plan(study: Study, folder: Path, engine: Engine, processes: int, device: str = "cpu") -> None:
    """Show the plan of a search: its parameters, number of suggestions, pruner, and estimated time."""
    search = study.search
    assert search is not None  # noqa: S101 (asked of searches only)
    click.secho(f"{study.name}: search", bold=True)
    if study.about.hypothesis:
        click.echo(study.about.hypothesis)
    held = size_of(study, search.suggestions)
    settings = "" if held is None else f" of {'at least ' if held >= search.suggestions else ''}{held}"
    seeds = f" x {len(search.seeds)} seeds" if len(search.seeds) > 1 else ""
    click.echo(
        f"{search.suggestions}{settings} suggestions{seeds} in batches of {search.batch}, "
        f"sampler {search.sampler}"
    )
    for line in (*_there(study, folder), *_aims(study, folder), *_parameters(study)):
        click.echo(line)
    _show_pruner(study)
    for remark in samplers.remarks(search, study.space):
        notes.warn(remark)
    sample = sampled(study, engine)
    for words in _trained_in(sample, study, device):
        click.echo(words)
    for warning in unseen(study, sample.trials):
        notes.warn(warning)
    seconds = cost(sample.stacks, sample.study, processes).seconds * search.suggestions / SAMPLED
    most = max(evaluations_of(study))
    share = pruners.trained_share(search, most)
    left = ", less what is pruned"
    if share is not None:
        left = f", {percent(share, 0)} of all evaluations" if pruners.rungs(search.pruner, most) else ""
    click.echo(
        f"about {duration(seconds * (share or 1.0))} on {processes} cores (an estimate of the training "
        f"alone{left}; start-up and report come on top)"
    )
    for line in _afterwards(study, engine, processes, seconds / search.suggestions):
        click.echo(line)


def _parameters(study: Study) -> Iterator[str]:
    """Say what a suggestion draws, and where the rest of it comes from."""
    for entry in study.space.entries:
        when = "".join(f"; when {key} is {' or '.join(values)}" for key, values in entry.when.items())
        for parameter in entry.parameters:
            yield f"  {parameter.name:<18} {_values(parameter)}{when}"
    yield f"a component's own setting is drawn where the component is; baseline: {_baseline(study)}"


def _show_pruner(study: Study) -> None:
    """Show when the pruner is asked, or warn that it stops nothing."""
    search = study.search
    assert search is not None  # noqa: S101
    most = max(evaluations_of(study))
    if rungs := pruners.rungs(search.pruner, most):
        click.echo(
            f"pruner {search.pruner.name}: asked after evaluation {', '.join(map(str, rungs))} of {most}"
        )
    elif search.pruner.name != "none":
        note = f"pruner {search.pruner.name} stops nothing: no suggestion gets more than {most} evaluations"
        notes.warn(note)


def _trained_in(sample: Plan, study: Study, device: str) -> Iterator[str]:
    """Say what of some random suggestions trains one by one, or in PyTorch, and why."""
    told = [*sample.one_by_one, *compilation.reasons(sample.stacks, device, study.metrics)]
    if told:
        yield f"of {SAMPLED} random suggestions:"
        yield from (f"  {sentence}" for sentence in told)


def _there(study: Study, folder: Path) -> Iterator[str]:
    """Say how many suggestions a results folder has already; raise UsageError if it is another study's."""
    if (folder / "plan.json").is_file():
        run_folder.check_compatible(folder, study.in_phase("search"), {})
    if study.search and (folder / SUGGESTIONS).is_file():
        there = len(csv_rows.read(folder / SUGGESTIONS))
        left = max(study.search.suggestions - there, 0)
        yield f"{there} finished in the results folder, {left} to ask for"


def _aims(study: Study, folder: Path) -> Iterator[str]:
    """Say what is searched for, from what the sampler sets out, and what a suggestion must keep to."""
    search = study.search
    assert search is not None  # noqa: S101
    goals = [f"{way} {name}" for way, name in zip(search.directions, search.objective, strict=True)]
    yield f"to {' and '.join(goals)}, by val alone; test stays closed until the winner is known"
    if search.until:
        yield f"until a complete suggestion has {search.goal}"
    if known := warm_start.known(study, folder):
        yield f"warm start: the sampler knows {known.words}"
    if search.constraints:
        yield f"with {constraints.in_words(search)}: what breaks it is drawn again, and never trained"


def _afterwards(study: Study, engine: Engine, processes: int, each: float) -> Iterator[str]:
    """Say what is trained after the search; `each` is the estimated time of a suggestion in seconds."""
    search, fresh = study.search, len(study.about.seeds)
    assert search is not None  # noqa: S101
    each /= len(search.seeds)
    of, many = search.finalists, len(search.finalist_seeds)
    which = "the winner"
    if of > 1:
        yield (
            f"then its best {of}, whole, with {many} seeds of their own, by val, in {FINALISTS}/: about "
            f"{duration(of * many * each)}"
        )
        which = "the best of these"
    baseline = make(study.in_phase("confirmed", {BASELINE: {}}), engine)
    price = cost(baseline.stacks, baseline.study, processes).seconds + fresh * each
    yield (
        f"then {which} and the baseline with {fresh} fresh seeds and test, in {CONFIRMED}/: about "
        f"{duration(price)}"
    )


def _baseline(study: Study) -> str:
    """Put the baseline into words: what everybody asks about, and what else the study sets."""
    settings = settings_of(study)
    names = dict.fromkeys([*USUAL, *study.baseline])
    shown = [name for name in names if name in settings and (name, settings[name]) != PLAIN]
    return ", ".join(f"{name} {as_text(settings[name])}" for name in shown)


def _values(parameter: Parameter) -> str:
    values = parameter.values  # noqa: PD011 (no frame's)
    if isinstance(values, Choices):
        return "one of " + ", ".join(values.names)
    how = ", log" if values.log else f", every {values.step}" if values.step not in {None, 1} else ""
    return f"{as_text(values.low)} to {as_text(values.high)}{how}"


def sampled(study: Study, engine: Engine) -> Plan:
    """Plan SAMPLED random suggestions of a search, from which its time is estimated."""
    rng = np.random.default_rng(0)
    drawn = constraints.drawn(study, SAMPLED, rng)
    return make(study.in_phase("search", {arm_of(i): settings for i, settings in enumerate(drawn)}), engine)


def show_results(result: SearchResult, study: Study) -> None:
    """Show the results of a search: the best suggestions, how all ended, and the confirmation."""
    search = study.search
    assert search is not None  # noqa: S101 (it was searched)
    _best(result, study)
    states = suggestions.counted(result.trials)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    click.echo(f"{len(result.trials)} suggestions: {counts}")
    if search.constraints:
        click.echo(
            f"{suggestions.refused(result.trials, result.folder)} more points broke a constraint and were "
            "not trained"
        )
    if known := warm_start.read(result.folder / KNOWN):
        click.echo(f"the sampler knew {known.words}, which are not counted")
    for reason, count in suggestions.failures(result.trials).items():
        click.secho(f"  {count} failed: {reason}", fg="red", err=True)
    winner_output.show_target(result, study)
    if not result.asked and result.reached is None:
        click.echo(f"nothing was left to ask for: {search.suggestions} suggestions are wanted")
    if len(result.trials) < search.suggestions and result.reached is None:
        notes.warn(
            f"the space holds no more than {len(result.trials)} settings"
            if study.space.finite
            else "the sampler, and random draws, found no further point that keeps [search.constraints]"
        )
    if result.asked:
        share = 100 * result.optuna_seconds / result.seconds
        click.echo(
            f"{result.asked} of them now, in {duration(result.seconds)}; Optuna's own part of it "
            f"{duration(result.optuna_seconds)} ({share:.0f} %); the workers trained for "
            f"{100 * result.busy:.0f} % of their time"
        )
    winner_output.show_finalists(result, study)
    if result.confirmed is not None:
        show_summary(result.confirmed)
        _verdict(result, study)
        winner_output.show_optimism(result, study)
    elif not result.undecided:
        click.secho("nothing to confirm: no suggestion was trained to its end", fg="yellow", err=True)
    if result.winner is not None:
        drawn = words(result.trials[result.winner].params, study.space)
        click.echo(f"winner: suggestion {result.winner}, {drawn}")
    click.echo(f"results: {result.folder}/suggestions.csv, trials.csv; storage {result.storage}")


def _best(result: SearchResult, study: Study) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    search = study.search
    assert search is not None  # noqa: S101
    order = suggestions.ranked(result.trials, search)[:SHOWN]
    if not order:
        return
    table = Table(title="the best suggestions, by val", title_justify="left")
    for column in ("suggestion", *search.objective):
        table.add_column(Text(column), justify="right", overflow="fold")
    table.add_column("settings", overflow="fold")
    for number in order:
        trial = result.trials[number]
        values = [f"{value:.4g}" for value in trial.values or ()]  # noqa: PD011 (Optuna's, no frame's)
        table.add_row(str(number), *values, Text(words(trial.params, study.space)))
    Console().print(table)


def words(drawn: Mapping[str, Any], space: Space) -> str:
    """Put parameters into words, and behind them the lists that a depth and one width stand for."""
    told = {**drawn, **layers_of(space.table, drawn)}
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in told.items()
    )


def _verdict(result: SearchResult, study: Study) -> None:
    """Show the verdict of the fresh seeds on the winner and the baseline."""
    rows = confirmed_verdicts(result, study)
    if rows.empty:
        click.echo("the best suggestion is the baseline itself")
    for row in rows.to_dict("records"):
        click.echo(
            f"winner - baseline on test: {difference(row)} points, {row['n']} fresh seeds: {row['verdict']}"
        )


def confirmed_verdicts(result: SearchResult, study: Study) -> pd.DataFrame:
    """Judge the winner against the baseline by the fresh seeds; nothing where they are the same arm."""
    contrasts = study.contrasts
    trials = results.read_trials(result.folder / CONFIRMED)
    if not {WINNER, BASELINE} <= set(trials["arm"]):
        return pd.DataFrame()
    earlier = suggestions.winners(result.folder)["number"].tolist()[:-1]
    if earlier:
        names = ", ".join(f"suggestion {number}" for number in earlier)
        notes.warn(f"test was opened before for {names}; the search has another winner since")
    pairs = pd.DataFrame({"arm": [WINNER], "reference": [BASELINE]})
    differences = stats.paired_differences(trials, pairs, contrasts.metric)
    ends = stats.difference_limits(contrasts.metric)
    return stats.verdicts(differences, margin=contrasts.margin, alpha=contrasts.alpha, within=ends)

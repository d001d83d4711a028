"""What a person sees of a search: what it comes to, how far it is, and what it found."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
import numpy as np
import pandas as pd

from harness import results, stats
from harness.costs import cost
from harness.display import repeated, summary
from harness.grouping import Engine
from harness.parameters import Choices, Parameter
from harness.plan import Plan, make, unseen
from harness.searching import pruners, samplers, suggestions
from harness.searching.asking import arm_of, at_random
from harness.searching.checks import evaluations_of, holds
from harness.searching.search import Found, Progress
from harness.settings import BASELINE, CONFIRMED, WINNER
from harness.study import Study
from harness.text import as_text, difference, duration
from harness.trials import resolve

SAMPLED = 64  # random suggestions that the estimate of a search's time is made from
SHOWN = 5  # of the best suggestions
LINE_EVERY = 10.0  # seconds, where there is no terminal


def plan(study: Study, engine: Engine, processes: int) -> None:
    """Show what a search comes to: what is drawn, how often, who stops early, and about how long it takes."""
    search, space = study.search, study.space
    assert search is not None  # noqa: S101 (asked of searches only)
    assert space is not None  # noqa: S101
    click.secho(f"{study.name}: search", bold=True)
    if study.about.hypothesis:
        click.echo(study.about.hypothesis)
    held = holds(study, search.suggestions)
    of = "" if held is None else f" of {'at least ' if held >= search.suggestions else ''}{held}"
    seeds = f" x {len(search.seeds)} seeds" if len(search.seeds) > 1 else ""
    click.echo(
        f"{search.suggestions}{of} suggestions{seeds} in batches of {search.batch}, sampler {search.sampler}"
    )
    told = [f"{way} {name}" for way, name in zip(search.directions, search.objective, strict=True)]
    click.echo(f"to {' and '.join(told)}, by val alone; test stays closed until the winner is known")
    for entry in space.entries:
        when = "".join(f"; when {key} is {' or '.join(values)}" for key, values in entry.when.items())
        for parameter in entry.parameters:
            click.echo(f"  {parameter.name:<18} {_values(parameter)}{when}")
    click.echo(f"a component's own setting is drawn where the component is; baseline: {_baseline(study)}")
    most = max(evaluations_of(study))
    rungs = pruners.rungs(search.pruner, most)
    if rungs:
        at = ", ".join(map(str, rungs))
        click.echo(f"pruner {search.pruner.name}: asked after evaluation {at} of {most}")
    elif search.pruner.name != "none":
        note = f"pruner {search.pruner.name} stops nothing: no suggestion gets more than {most} evaluations"
        click.secho(f"note: {note}", fg="yellow", err=True)
    for remark in samplers.remarks(search, space):
        click.secho(f"note: {remark}", fg="yellow", err=True)
    sampled = _sampled(study, engine)
    for warning in unseen(study, sampled.trials):
        click.secho(f"note: {warning}", fg="yellow", err=True)
    seconds = cost(sampled, processes).seconds * search.suggestions / SAMPLED
    less = ", less what is pruned" if rungs else ""
    click.echo(
        f"about {duration(seconds)} on {processes} cores (an estimate of the training alone{less}; start-up, "
        "confirmation and report come on top)"
    )
    fresh = len(study.about.seeds)
    click.echo(f"then the winner and the baseline with {fresh} fresh seeds and test, in {CONFIRMED}/")


def _baseline(study: Study) -> str:
    """What the winner is compared with, in words: the settings that make the most difference."""
    settings = resolve(study.baseline)
    told = ("dataset", "hidden", "activation", "optimizer", "lr", "batch_size", "epochs", "steps")
    return ", ".join(f"{name} {as_text(settings[name])}" for name in told if name in settings)


def _values(parameter: Parameter) -> str:
    values = parameter.values  # noqa: PD011 (no frame's)
    if isinstance(values, Choices):
        return "one of " + ", ".join(values.names)
    how = ", log" if values.log else f", every {values.step}" if values.step not in {None, 1} else ""
    return f"{as_text(values.low)} to {as_text(values.high)}{how}"


def _sampled(study: Study, engine: Engine) -> Plan:
    """A plan of some random suggestions."""
    assert study.space is not None  # noqa: S101
    rng = np.random.default_rng(0)
    drawn = [study.space.walk(lambda p: at_random(p, rng))[1] for _ in range(SAMPLED)]
    return make(study.in_phase("search", {arm_of(i): one for i, one in enumerate(drawn)}), engine)


@contextmanager
def progress(progress: Progress) -> Iterator[None]:
    """Show a search's notes, then its suggestions done, how they ended, the best, and the time to go."""
    for note in progress.notes:
        click.secho(f"note: {note}", fg="yellow", err=True)
    with _bar(progress) if sys.stderr.isatty() else _lines(progress):
        yield


@contextmanager
def _bar(progress: Progress) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TextColumn("suggestions"),
        TextColumn("{task.fields[told]}"), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    start, first = time.monotonic(), progress.suggestions
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=progress.total, told="", left="")

        def update() -> None:
            left = _left(progress, first, time.monotonic() - start)
            bar.update(task, completed=int(progress.suggestions), told=_told(progress), left=left)

        with repeated(update, 0.5):
            yield
        update()


@contextmanager
def _lines(progress: Progress) -> Iterator[None]:
    start, first = time.monotonic(), progress.suggestions

    def update() -> None:
        done = f"searching: {int(progress.suggestions)}/{progress.total} suggestions"
        left = _left(progress, first, time.monotonic() - start)
        print(f"{done}  {_told(progress)}  {left}", file=sys.stderr, flush=True)

    with repeated(update, LINE_EVERY):
        yield


def _told(progress: Progress) -> str:
    """How suggestions ended, and the best of them."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(progress.states.items()))
    return states if progress.best is None else f"{states}; best {progress.best:.4f}"


def _left(progress: Progress, first: float, seconds: float) -> str:
    done = progress.suggestions - first
    if done < 0.5:
        return ""
    left = (progress.total - progress.suggestions) * seconds / done
    return f"ETA {int(left // 60)}:{int(left % 60):02d}"


def found(found: Found, study: Study) -> None:
    """Show what a search found: the best suggestions, how all ended, and what the confirmation says."""
    search, space = study.search, study.space
    assert search is not None  # noqa: S101 (it was searched)
    assert space is not None  # noqa: S101
    _best(found, study)
    states = suggestions.counted(found.trials)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    click.echo(f"{len(found.trials)} suggestions: {counts}")
    for reason, count in suggestions.failures(found.trials).items():
        click.secho(f"  {count} failed: {reason}", fg="red", err=True)
    if not found.asked:
        click.echo(f"nothing was left to ask for: {search.suggestions} suggestions are wanted")
    if len(found.trials) < search.suggestions:
        click.secho(f"note: the space holds no more than {len(found.trials)} settings", fg="yellow", err=True)
    if found.asked:
        share = 100 * found.optuna_seconds / found.seconds
        click.echo(
            f"{found.asked} of them now, in {duration(found.seconds)}; Optuna's own part of it "
            f"{duration(found.optuna_seconds)} ({share:.0f} %)"
        )
    if found.confirmed is None:
        click.secho("nothing to confirm: no suggestion was trained to its end", fg="yellow", err=True)
    else:
        summary(found.confirmed)
        _verdict(found, study)
    click.echo(f"results: {found.folder}/suggestions.csv, trials.csv; storage {found.storage}")


def _best(found: Found, study: Study) -> None:
    """A table of the best suggestions: their objectives and what was drawn."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    search = study.search
    assert search is not None  # noqa: S101
    order = suggestions.ranked(found.trials, search)[:SHOWN]
    if not order:
        return
    table = Table(title="the best suggestions, by val", title_justify="left")
    for column in ("suggestion", *search.objective):
        table.add_column(Text(column), justify="right", overflow="fold")
    table.add_column("settings", overflow="fold")
    for number in order:
        trial = found.trials[number]
        values = [f"{value:.4g}" for value in trial.values or ()]  # noqa: PD011 (Optuna's, no frame's)
        table.add_row(str(number), *values, Text(words(trial.params)))
    Console().print(table)


def words(drawn: Mapping[str, Any]) -> str:
    """Parameters in words."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in drawn.items()
    )


def _verdict(found: Found, study: Study) -> None:
    """What the fresh seeds say of the winner and the baseline."""
    contrasts = study.contrasts
    trials = results.read_trials(found.folder / CONFIRMED)
    if not {WINNER, BASELINE} <= set(trials["arm"]):
        click.echo("the best suggestion is the baseline itself")
        return
    pairs = pd.DataFrame({"arm": [WINNER], "reference": [BASELINE]})
    differences = stats.paired_differences(trials, pairs, contrasts.metric)
    ends = stats.difference_limits(contrasts.metric)
    judged = stats.verdicts(differences, margin=contrasts.margin, alpha=contrasts.alpha, within=ends)
    earlier = suggestions.winners(found.folder)["number"].tolist()[:-1]
    if earlier:
        told = ", ".join(f"suggestion {number}" for number in earlier)
        click.secho(
            f"note: test was opened before for {told}, which the search has found better ones than since",
            fg="yellow", err=True,
        )  # fmt: skip
    for row in judged.to_dict("records"):
        click.echo(
            f"winner - baseline on test: {difference(row)} points, {row['n']} fresh seeds: {row['verdict']}"
        )

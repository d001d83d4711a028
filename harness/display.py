"""What a person sees on the screen: a plan, a run's progress, and a table of what came out."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.board import ACCURACY, LOSS
from harness.costs import cost
from harness.data import TRAINED_ON
from harness.errors import UsageError
from harness.plan import Plan
from harness.settings import OF_ARM
from harness.text import (
    count,
    difference,
    duration,
    hundredths,
    p_value_column,
)
from harness.trials import arms as arms_of

if TYPE_CHECKING:
    import pandas as pd

    from harness.comparison import Comparison, Gate
    from harness.results import Results
    from harness.training import Progress, Summary

LINE_EVERY = 10.0  # seconds, where there is no terminal
UNRANKED = "arms, unranked without val images"
MOST_SHOWN = 5  # rows of a table's head, failures listed: the report has them all


def plan(plan: Plan, processes: int, finished: Container[str] = ()) -> None:
    """Show what a study comes to: arms, trials, what is skipped and why, stacks, time and bytes.

    Args:
        plan: the plan.
        processes: worker processes that the estimate is for.
        finished: ids of trials that the results folder already has; the estimates leave them out.
    """
    study = plan.study
    click.secho(f"{study.name}: {study.about.design}", bold=True)
    if study.about.hypothesis:
        click.echo(study.about.hypothesis)
    trained = len(plan.trials) - len(plan.skipped)
    seeds = len(study.seeds)
    click.echo(f"{len(plan.arms)} arms x {seeds} seeds = {len(plan.trials)} trials, {trained} to train")
    there = sum(trial.trial_id in finished for trial in plan.trials)
    if there:
        click.echo(f"  {there} of them are finished in the results folder")
    for name, others in plan.merged.items():
        click.echo(f"  trained once: {', '.join(others)} mean the same as {name}")
    for reason, trials in Counter(plan.skipped.values()).items():
        click.echo(f"  {trials} trials skipped: {reason}")
    for reason, trials in plan.routed.items():
        click.echo(f"  {trials} trials train one by one in the loop engine: {reason}")
    stacks = [s for s in plan.stacks if any(trial.trial_id not in finished for trial in s.trials)]
    sizes = [len(stack.trials) for stack in stacks]
    if sizes:
        click.echo(f"{len(sizes)} stacks of {min(sizes)} to {max(sizes)} trials")
    told = cost(replace(plan, stacks=stacks), processes)
    click.echo(
        f"about {duration(told.seconds)} on {processes} cores, {told.bytes / 1e6:.1f} MB on disk (estimates)"
    )
    for warning in plan.warnings:
        click.secho(f"note: {warning}", fg="yellow", err=True)


def tuning_plan(plan: Plan, tries: Plan, processes: int) -> None:
    """Show what tuning adds to a study: the trials that choose, and those of the tuned arms."""
    seeds = len(tries.study.seeds)
    tuning, tuned = (duration(cost(one, processes).seconds) for one in (tries, plan))
    first = next(iter(plan.arms))
    settings = sum(arm.labels[OF_ARM] == first for arm in arms_of(tries.study))
    planned = len(plan.arms) * settings * seeds
    twice = f" ({len(tries.trials)} different ones)" if len(tries.trials) < planned else ""
    click.echo(
        f"then tuning: {len(plan.arms)} arms x {settings} settings x {seeds} other seeds = {planned} "
        f"trials{twice}, about {tuning}; test stays closed"
    )
    click.echo(f"then tuned: {len(plan.trials)} trials at what each arm chose, about {tuned}")


def summary(summary: Summary) -> None:
    """Show what a run did: a table of the arms, how many trials ended how, and where the results are."""
    _arms(summary.folder)
    if summary.tuned:
        _arms(summary.tuned, "tuned, ")
        _edges(summary.folder)
    counts = ", ".join(
        f"{number} {status or 'not trained yet'}" for status, number in summary.statuses.items()
    )
    rate = f", {_rate(summary.trained, summary.seconds)}" if summary.trained else ""
    click.echo(f"{summary.trained} trials trained in {duration(summary.seconds)}{rate}; in all: {counts}")
    if summary.unchosen:
        click.secho(f"not tuned: {summary.unchosen}. Run the same command again.", fg="red", err=True)
    for note in summary.notes[:MOST_SHOWN]:
        click.secho(f"note: {note}", fg="yellow", err=True)
    for failure in summary.failures[:MOST_SHOWN]:
        click.secho(f"failed: {failure}", fg="red", err=True)
    tuned = "; chosen.csv, tuning/, tuned/" if summary.tuned else ""
    click.echo(f"results: {summary.folder}/trials.csv, epochs.csv, confusion.csv{tuned}")


def _edges(folder: Path) -> None:
    """Warn of choices at the edge of their space, and of arms without a choice."""
    from harness import tuning

    chosen = tuning.read(folder)
    at_edge, none = chosen[chosen["edge"].ne("")], chosen[chosen["val_accuracy"].isna()]
    for arms, told in (
        (at_edge, "chose at the edge of its space, where a better setting may lie outside"),
        (none, "chose nothing: no setting it tried finished with every tuning seed"),
    ):
        rows = arms.to_dict("records")
        for row in rows[:MOST_SHOWN]:
            why = f" ({row['edge']})" if row["edge"] else ""
            click.secho(f"note: {row['arm']} {told}{why}", fg="yellow", err=True)
        if len(rows) > MOST_SHOWN:
            click.secho(
                f"note: and {len(rows) - MOST_SHOWN} more arms, see chosen.csv", fg="yellow", err=True
            )


def _arms(folder: Path, which: str = "") -> None:
    """A table of the arms of each data set: all of a few, else the best and the last."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness import results, stats
    from harness.selection import shown_arms

    trials = results.read_trials(folder)
    shown_as = shown_arms(trials)
    ranked = stats.rank_arms(trials)
    for dataset, arms in ranked.groupby("dataset", sort=False):
        by = "arms by val accuracy" if arms["n"].any() or not arms["ok"].any() else UNRANKED
        title = f"{dataset!s}: {which}{by}, mean over seeds [95 % interval]"
        table = Table(title=Text(title), title_justify="left")
        for column in ("rank", "arm", "val accuracy", "test accuracy"):
            table.add_column(column, justify="left" if column == "arm" else "right", overflow="fold")
        shown = arms if len(arms) <= 2 * MOST_SHOWN else arms.iloc[[*range(MOST_SHOWN), -1]]
        for row in shown.to_dict("records"):
            name = shown_as[str(row["arm"])].replace(f"dataset={dataset!s}, ", "")
            table.add_row(*map(Text, _cells(name, row)))  # as they are: a name may look like markup
        Console().print(table)


def _cells(name: str, row: Mapping[Hashable, Any]) -> tuple[str, str, str, str]:
    if not row["ok"]:
        return "", name, "no finished trial", ""
    if not row["n"]:
        return "", name, "no val images", f"{row['shown_mean']:.4f}"
    interval = f" [{row['low']:.4f}, {row['high']:.4f}]" if row["n"] > 1 else ""
    if row["n"] > 1 and row["low"] != row["low"]:  # NaN: values without a spread have no interval
        interval = " [one value in all seeds]"
    return f"{row['rank']:.0f}", name, f"{row['mean']:.4f}{interval}", f"{row['shown_mean']:.4f}"


def trial(found: Results, row: pd.Series[Any]) -> None:
    """Show what a trial is: its settings that are no defaults or were varied, parameters, accuracies."""
    click.secho(f"{row['trial_id']}: {row['arm']}, seed {row['seed']}, on {row['dataset']}", bold=True)
    told = [f"{name} {value}" for name, value in telling_settings(found, row).items()]
    click.echo(f"  {', '.join(told) or 'all settings at their defaults'}")
    reached = [
        f"{split} {row[f'{split}_accuracy']:.2%}".replace("%", "\u00a0%")
        for split in ("train", "val", "test")
        if row[f"{split}_accuracy"] == row[f"{split}_accuracy"]  # not NaN: a split without images
    ]
    click.echo(f"  {int(row['parameters']):,} trainable parameters; accuracy: {', '.join(reached)}")


def telling_settings(found: Results, row: pd.Series[Any]) -> dict[str, str]:
    """Of a trial's settings those that are no defaults, or that the study varied, as text."""
    from harness import plugins
    from harness.text import NOT_APPLICABLE, as_text, as_word
    from harness.trials import resolve

    columns = map(str, found.trials.loc[:, "dataset":"seed"].columns.drop("seed"))
    settings = {name: as_word(row[name]) for name in columns}
    settings = {name: value for name, value in settings.items() if value != NOT_APPLICABLE}
    axes = [name for name in plugins.registries() if name in settings]
    usual = resolve({})
    # A component's own settings have its defaults; of a person's own, not known here, nothing is known.
    with suppress(UsageError):
        usual = {**resolve({name: settings[name] for name in axes}), **{name: usual[name] for name in axes}}
    return {
        name: value
        for name, value in settings.items()
        if name != "dataset"
        and (
            value != as_text(usual.get(name))
            or len({*found.trials[name].map(as_word)} - {NOT_APPLICABLE}) > 1
        )
    }


def comparison(found: Comparison) -> None:
    """Show two folders side by side: what matched, what did not, and a table of the arms."""
    from harness.comparison import words

    click.secho(f"A {found.a}\nB {found.b}", bold=True)
    for line in words.overview(found):
        click.echo(line)
    for note in (*found.notes, *found.set_aside):
        click.secho(f"note: {note}", fg="yellow", err=True)
    for dataset, arms in found.arms.groupby("dataset", sort=False):
        _compared(str(dataset), arms, found)


def _compared(dataset: str, arms: pd.DataFrame, found: Comparison) -> None:
    """The arms of a data set, worst first: all of a few, else those that a verdict tells apart."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.comparison import words

    click.echo(f"{dataset}: {found.metric}, %; B - A in points [95 % interval], worst first")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm", overflow="fold", min_width=16)
    for column in ("n", "A", "B", "B - A", "p (Holm)"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=12)
    shown, left = words.told_apart(arms, MOST_SHOWN)
    for row in shown.to_dict("records"):
        name = str(row["arm"]).replace(f"dataset={dataset}, ", "")
        change = difference(row).replace(" [", "\n[")
        cells = (name, str(row["n"]), hundredths(row["a"]), hundredths(row["b"]), change)
        table.add_row(*(Text(cell) for cell in (*cells, p_value_column(row["p_holm"]), words.verdict(row))))
    if len(shown):
        Console().print(table)
    for line in (*left, *words.below_table(arms, found, dataset)):
        click.echo(f"  {line}")


def gate(found: Comparison, judged: Gate) -> int:
    """Say whether B may pass, and give the exit code back.

    Raises:
        UsageError: nothing got worse, but that cannot be said of everything.
    """
    from harness.comparison import words

    for line in judged.worse:
        click.secho(f"worse: {line}", fg="red", err=True)
    if judged.exit_code == UsageError.exit_code:
        raise UsageError(words.cannot_tell(judged))
    for line in judged.untold:
        click.secho(f"cannot tell: {line}", fg="yellow", err=True)
    alone = count(judged.absent, "arm")
    absent = f"; not judged: {alone} of A that B does not have" if judged.absent else ""
    beyond = f"worse by more than {100 * found.margin:g} points"
    if judged.worse:
        click.echo(f"gate: failed: B is {beyond} or no longer finishes, as said above{absent}", err=True)
    else:
        click.echo(f"gate: passed: of {count(judged.judged, 'arm')} none is significantly {beyond}{absent}")
        if judged.unsettled:
            click.echo(
                f"  not excluded: the intervals of {count(judged.unsettled, 'arm')} reach below "
                f"-{100 * found.margin:g} points; more seeds would tell"
            )
    return judged.exit_code


@contextmanager
def progress(progress: Progress) -> Iterator[None]:
    """Show a run's notes, then its trials done, their rate and the time to go while the block runs."""
    for note in progress.notes:
        click.secho(f"note: {note}", fg="yellow", err=True)
    if progress.total == 0:
        yield
        return
    with _bar(progress) if sys.stderr.isatty() else _lines(progress):
        yield


@contextmanager
def _bar(progress: Progress) -> Iterator[None]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    columns = (
        TextColumn(progress.title, markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("trials"),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    bar, now = Bar(*columns), Text(style="dim")
    task = bar.add_task("", total=progress.total, rate="", left="")
    start = time.monotonic()

    def update() -> None:
        rate, left = _pace(progress, time.monotonic() - start)
        bar.update(task, completed=int(progress.trials), rate=rate, left=left)
        now.plain = losses(progress)

    with Live(Group(bar, now), console=Console(stderr=True)):
        with repeated(update, 0.5):
            yield
        update()


@contextmanager
def _lines(progress: Progress) -> Iterator[None]:
    start = time.monotonic()

    def update() -> None:
        rate, left = _pace(progress, time.monotonic() - start)
        done = f"{progress.title}: {int(progress.trials)}/{progress.total} trials"
        print(f"{done}  {rate}  {left}  {losses(progress)}", file=sys.stderr, flush=True)

    with repeated(update, LINE_EVERY):
        yield


def losses(progress: Progress) -> str:
    """Train and val as they are now, in words: the medians over the trials in training; empty if none is.

    A loss of one kind cannot be told from that of another by its size: each has its own median.
    """
    import numpy as np

    board = progress.board
    rows = np.flatnonzero(board.in_training())
    if not len(rows):
        return ""
    now = board.latest()[rows]
    trials = [trial for stack in progress.stacks for trial in stack.trials]
    kinds = np.array([str(trials[row].arm.settings["loss"]) for row in rows])
    by_kind = {kind: _medians(now[kinds == kind, :, LOSS], "{:.3g}") for kind in dict.fromkeys(kinds)}
    loss = ", ".join(f"{kind} {told}" if len(by_kind) > 1 else told for kind, told in by_kind.items())
    accuracy = _medians(now[:, :, ACCURACY], "{:.1%}").replace("%", " %")
    of = f"median of {len(rows)} in training: " if len(rows) > 1 else ""
    return f"{of}loss {loss}; accuracy {accuracy}"


def _medians(seen: Any, form: str) -> str:
    """Such as "train 0.231 val 0.262", of what has been seen of K trials (K, 2); diverged ones aside."""
    import numpy as np

    columns = [(split, seen[np.isfinite(seen[:, i]), i]) for i, split in enumerate(TRAINED_ON)]
    return " ".join(f"{split} {form.format(np.median(values))}" for split, values in columns if len(values))


def _rate(trials: float, seconds: float) -> str:
    """Trials a second, or a minute where they take longer."""
    rate = trials / seconds
    return f"{rate:.1f} trials/s" if rate >= 1 else f"{60 * rate:.1f} trials/min"


def _pace(progress: Progress, seconds: float) -> tuple[str, str]:
    trials = progress.trials
    if trials < 0.5:
        return "", ""
    left = (progress.total - trials) * seconds / trials
    return _rate(trials, seconds), f"ETA {int(left // 60)}:{int(left % 60):02d}"


@contextmanager
def repeated(update: Callable[[], None], every: float) -> Iterator[None]:
    """Call `update` every so many seconds, in a thread of its own, until the block is left."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(every):
            update()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

"""The screen: a plan, a run's progress, and a table of its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import notes
from harness.errors import UsageError
from harness.notes import progress_bar
from harness.planning import parameters, shards, targets
from harness.planning.cost import cost, state_bytes
from harness.planning.plan import Plan
from harness.settings.schema import OF_ARM, PARENT, SEED_BLOCK
from harness.study.trials import arms as arms_of
from harness.text import count, difference, duration, hundredths, p_value_column

if TYPE_CHECKING:
    import pandas as pd

    from harness.comparison import Comparison, Gate
    from harness.results import Results
    from harness.training.folder_runs import RunSummary

UNRANKED = "arms, unranked without val images"
MOST_SHOWN = 5  # rows of a table's head, failures listed: the report has them all


def show_plan(
    plan: Plan, processes: int, finished: Container[str] = (), uncompiled: Sequence[str] = ()
) -> None:
    """Show the plan of a study: arms, trials, skipped ones and why, stacks, time and bytes.

    `finished`: ids of trials that the results folder already has; the estimates leave them out. `uncompiled`:
    sentences about what trains in PyTorch, and why.
    """
    study = plan.study
    click.secho(f"{study.name}: {study.about.design}", bold=True)
    if study.about.hypothesis:
        click.echo(study.about.hypothesis)
    for words in _counted(plan, finished):
        click.echo(words)
    for words in _of_networks(plan):
        click.echo(f"  {words}")
    for name, others in plan.merged.items():
        click.echo(f"  trained once: {', '.join(others)} mean the same as {name}")
    for reason, trials in Counter(plan.skipped.values()).items():
        click.echo(f"  {trials} trials skipped: {reason}")
    for sentence in (*plan.one_by_one, *uncompiled):
        click.echo(f"  {sentence}")
    stacks = [s for s in plan.stacks if any(trial.trial_id not in finished for trial in s.trials)]
    sizes = [len(stack.trials) for stack in stacks]
    if sizes:
        between = f"{min(sizes)} to {max(sizes)} trials" if len(set(sizes)) > 1 else count(sizes[0], "trial")
        click.echo(f"{count(len(sizes), 'stack')} of {between}")
        estimate, states = cost(stacks, study, processes), state_bytes(stacks, study)
        of_states = f"; kept states: {states / 1e6:.1f} MB of it" if states else ""
        click.echo(
            f"about {duration(estimate.seconds)} on {processes} cores, {estimate.bytes / 1e6:.1f} MB on disk "
            f"(estimates{of_states})"
        )
    for warning in plan.warnings:
        notes.warn(warning)


def _counted(plan: Plan, finished: Container[str]) -> Iterator[str]:
    """Yield how many trials a plan has, and how many its shard, if it is one; and what is left to train."""
    whole, ready = plan.whole or plan, sum(trial.trial_id in finished for trial in plan.trials)
    left = sum(not (t.trial_id in plan.skipped or t.trial_id in finished) for t in plan.trials)
    arms, seeds = count(len(whole.arms), "arm"), count(len(plan.study.seeds), "seed")
    every = f"{arms} x {seeds} = {count(len(whole.trials), 'trial')}"
    counted = f"{ready} finished in the results folder, {left} to train" if ready else f"{left} to train"
    if plan.shard is None:
        yield f"{every}, {counted}"
        if left and plan.study.contrasts.looks:
            looks = ", ".join(map(str, plan.study.contrasts.looks))
            yield f"  at most: looked at after {looks} seeds, it stops once every contrast is decided"
        return
    yield every
    yield f"{plan.shard}: {count(len(plan.trials), 'trial')}, {counted}"
    split, pairings = shards.pairings(plan.study, whole.trials, plan.shard.count)
    if split and not shards.tunes(plan.study):
        spread = f"the arms of {split} of {pairings} seeds are spread over several shards"
        yield f"  {spread}: they are compared between machines"


def _of_networks(plan: Plan) -> list[str]:
    """Put into words how large the networks of a plan are, and what is looked for while they train."""
    settings = {name: arm.settings for name, arm in plan.arms.items()}
    sizes = [parameters.in_words(counts, settings)] if (counts := plan.parameters) else []
    flops = parameters.flops_in_words(plan.flops)
    return [*sizes, *([flops] if flops else []), *targets.words(plan.study, plan.trials)]


def show_tuning_plan(plan: Plan, tries: Plan, processes: int) -> None:
    """Show the trials that tuning adds to a study: those that choose, and those of the tuned arms."""
    from harness.training.tuning import left_behind

    if not plan.trials:  # of an empty shard
        return
    seeds = len(tries.study.seeds)
    tuning, tuned = (
        duration(cost(phase_plan.stacks, phase_plan.study, processes).seconds) for phase_plan in (tries, plan)
    )
    first = next(iter(plan.arms))
    settings = sum(arm.labels[OF_ARM] == first for arm in arms_of(tries.study))
    planned = len(plan.arms) * settings * seeds
    twice = f" ({len(tries.trials)} different ones)" if len(tries.trials) < planned else ""
    cut = left_behind(tries)
    halved = f", of which halving trains {len(tries.trials) - cut}" if cut else ""
    blocks = plan.study.tune.blocks if plan.study.tune else None
    each = count(seeds // (blocks or 1), "other seed")
    of_blocks = f"{blocks} blocks x {each}" if blocks else each
    click.echo(
        f"then tuning: {count(len(plan.arms), 'arm')} x {settings} settings x {of_blocks} = "
        f"{planned} trials{twice}{halved}, about {tuning}; test stays closed"
    )
    chose = f"each of {blocks} blocks of seeds chose for its arm" if blocks else "each arm chose"
    click.echo(f"then tuned: {count(len(plan.trials), 'trial')} at what {chose}, about {tuned}")


def show_summary(summary: RunSummary) -> None:
    """Show the outcome of a run: a table of the arms, the trials' statuses, and the results folder."""
    _show_arms(summary.folder)
    if summary.tuned:
        _show_arms(summary.tuned, "tuned, ")
        _warn_of_edges(summary.folder)
    counts = ", ".join(f"{count} {status or 'not trained yet'}" for status, count in summary.statuses.items())
    rate = f", {progress_bar.rate(summary.trained, summary.seconds, 'trials')}" if summary.trained else ""
    click.echo(f"{summary.trained} trials trained in {duration(summary.seconds)}{rate}; in all: {counts}")
    if summary.unchosen:
        click.secho(f"not tuned: {summary.unchosen}. Run the same command again.", fg="red", err=True)
    for note in summary.notes[:MOST_SHOWN]:
        notes.warn(note)
    for failure in summary.failures[:MOST_SHOWN]:
        click.secho(f"failed: {failure}", fg="red", err=True)
    tuned = "; chosen.csv, tuning/, tuned/" if summary.tuned else ""
    click.echo(f"results: {summary.folder}/trials.csv, epochs.csv, confusion.csv{tuned}")


def _warn_of_edges(folder: Path) -> None:
    """Warn of choices at the edge of their space, and of arms without a choice."""
    from harness.training import tuning

    chosen = tuning.read(folder)
    at_edge, none = chosen[chosen["edge"].ne("")], chosen[chosen["val_accuracy"].isna()]
    for arms, finding in (
        (at_edge, "chose at the edge of its space, where a better setting may lie outside"),
        (none, "chose nothing: no setting it tried finished with every tuning seed"),
    ):
        rows = _once_an_arm(arms).to_dict("records")
        for row in rows[:MOST_SHOWN]:
            why = f" ({row['edge']})" if row["edge"] else ""
            notes.warn(f"{row['arm']} {finding}{why}")
        if len(rows) > MOST_SHOWN:
            notes.warn(f"and {len(rows) - MOST_SHOWN} more arms, see chosen.csv")


def _once_an_arm(choices: pd.DataFrame) -> pd.DataFrame:
    """Join what blocks of seeds chose alike for an arm: arm (with how many blocks these are) and edge."""
    import pandas as pd

    if SEED_BLOCK not in choices:
        return choices
    groups = choices.groupby(["dataset", "arm", "edge"], sort=False)
    rows = [{"arm": f"{arm}, in {count(len(of), 'block')},", "edge": edge} for (_, arm, edge), of in groups]
    return pd.DataFrame(rows, columns=["arm", "edge"])


def _show_arms(folder: Path, which: str = "") -> None:
    """Show a table of the arms of each data set: all of a few, else the best and the last."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.results import csv_rows, documents, standing, tables
    from harness.results import targets as reached

    trials = csv_rows.table(tables.read(folder, ["trials"])["trials"])
    shown_as = standing.shown_arms(trials)
    units = "blocks of seeds" if SEED_BLOCK in trials else "seeds"
    for dataset, arms in standing.ranked(trials).items():
        unranked = any(arm.finished for arm in arms) and not any(arm.n for arm in arms)
        by = UNRANKED if unranked else "arms by val accuracy"
        title = f"{dataset}: {which}{by}, mean over {units} [95 % interval]"
        table = Table(title=Text(title), title_justify="left")
        for column in ("rank", "arm", "val accuracy", "test accuracy"):
            table.add_column(column, justify="left" if column == "arm" else "right", overflow="fold")
        for arm in arms if len(arms) <= 2 * MOST_SHOWN else [*arms[:MOST_SHOWN], arms[-1]]:
            name = shown_as[arm.arm].replace(f"dataset={dataset}, ", "")
            table.add_row(*map(Text, standing.cells(name, arm)))  # as they are: a name may look like markup
        Console().print(table)
    if words := reached.told(trials, reached.of_study(documents.study(folder)["study"])):
        click.echo(f"{which}{words}")


def show_trial(results: Results, row: pd.Series[Any]) -> None:
    """Show a trial: its settings that differ from the defaults or were varied, parameters, accuracies."""
    from harness.results import computation

    click.secho(f"{row['trial_id']}: {row['arm']}, seed {row['seed']}, on {row['dataset']}", bold=True)
    settings = [f"{name} {value}" for name, value in telling_settings(results, row).items()]
    click.echo(f"  {', '.join(settings) or 'all settings at their defaults'}")
    accuracies = [
        f"{split} {row[f'{split}_accuracy']:.2%}".replace("%", "\u00a0%")
        for split in ("train", "val", "test")
        if row[f"{split}_accuracy"] == row[f"{split}_accuracy"]  # not NaN: a split without images
    ]
    if row["status"] == "failed":  # which has neither parameters nor accuracies
        click.echo(f"  failed: {row['reason']}")
        return
    click.echo(f"  {int(row['parameters']):,} trainable parameters; accuracy: {', '.join(accuracies)}")
    if isinstance(row.get(PARENT), str):
        click.echo(f"  went on from trial {row[PARENT]}")
    made = computation.computed(row.to_frame().T, components=True)
    if ("", "") not in made:
        click.echo(f"  computed by {computation.words(made).removesuffix(' (1 trial)')}")


def telling_settings(results: Results, row: pd.Series[Any]) -> dict[str, str]:
    """Return, as text, a trial's settings that differ from the defaults or that the study varied."""
    from harness.axes import plugins
    from harness.study.trials import resolve
    from harness.text import NOT_APPLICABLE, as_text, as_word

    columns = map(str, results.trials.loc[:, "dataset":"seed"].columns.drop("seed"))
    settings = {name: as_word(row[name]) for name in columns}
    settings = {name: value for name, value in settings.items() if value != NOT_APPLICABLE}
    axes = [name for name in plugins.registries() if name in settings]
    usual = dict(resolve({}))
    # A component's settings have its defaults; those of an unknown third-party component are not known.
    with suppress(UsageError):
        usual = {**resolve({name: settings[name] for name in axes}), **{name: usual[name] for name in axes}}
    varied = {name for name in settings if len({*results.trials[name].map(as_word)} - {NOT_APPLICABLE}) > 1}
    telling = varied | {name for name, value in settings.items() if value != as_text(usual.get(name))}
    return {name: value for name, value in settings.items() if name in telling and name != "dataset"}


def show_comparison(comparison: Comparison) -> None:
    """Show two folders side by side: matched and unmatched trials, and a table of the arms."""
    from harness.comparison import text

    click.secho(f"A {comparison.a}\nB {comparison.b}", bold=True)
    for line in text.overview(comparison):
        click.echo(line)
    for note in (*comparison.notes, *comparison.set_aside):
        notes.warn(note)
    for dataset, arms in comparison.arms.groupby("dataset", sort=False):
        _show_arms_compared(str(dataset), arms, comparison)


def _show_arms_compared(dataset: str, arms: pd.DataFrame, comparison: Comparison) -> None:
    """Show the arms of a data set, worst first: all of a few, else those with a verdict of a difference."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.comparison import text

    click.echo(f"{dataset}: {comparison.metric}, %; B - A in points [95 % interval], worst first")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm", overflow="fold", min_width=16)
    for column in ("n", "A", "B", "B - A", "p (Holm)"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=12)
    shown, left = text.arms_shown(arms, MOST_SHOWN)
    for row in shown.to_dict("records"):
        name = str(row["arm"]).replace(f"dataset={dataset}, ", "")
        change = difference(row).replace(" [", "\n[")
        cells = (name, str(row["n"]), hundredths(row["a"]), hundredths(row["b"]), change)
        table.add_row(*(Text(cell) for cell in (*cells, p_value_column(row["p_holm"]), text.verdict(row))))
    if len(shown):
        Console().print(table)
    for line in (*left, *text.below_table(arms, comparison, dataset)):
        click.echo(f"  {line}")


def show_gate(comparison: Comparison, gate: Gate) -> int:
    """Show whether B passes the gate, and return the exit code.

    Raises:
        UsageError: nothing got worse, but some comparisons are undecidable.
    """
    from harness.comparison import gates

    for line in gate.worse:
        click.secho(f"worse: {line}", fg="red", err=True)
    if gate.exit_code == UsageError.exit_code:
        raise UsageError(gates.cannot_tell(gate))
    for line in gate.undecided:
        click.secho(f"cannot tell: {line}", fg="yellow", err=True)
    missing = count(gate.absent, "arm")
    absent = f"; not judged: {missing} of A that B does not have" if gate.absent else ""
    beyond = f"worse by more than {100 * comparison.margin:g} points"
    if gate.worse:
        click.echo(f"gate: failed: B is {beyond} or no longer finishes, as said above{absent}", err=True)
    else:
        click.echo(f"gate: passed: of {count(gate.judged, 'arm')} none is significantly {beyond}{absent}")
        if gate.not_excluded:
            click.echo(
                f"  not excluded: the intervals of {count(gate.not_excluded, 'arm')} reach below "
                f"-{100 * comparison.margin:g} points; more seeds would tell"
            )
    return gate.exit_code

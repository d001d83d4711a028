"""`harness search` beside `study.optimize` over a loop written by hand: same space, sampler, epochs, seconds.

    python tests/benchmarks/search_speed.py --results FOLDER                    # 5 repeats of 96 suggestions
    python tests/benchmarks/search_speed.py --results FOLDER --suggestions 500 --confirm 10

In each repeat the harness searches anew, with seeds of that repeat, and then each form of the search by hand
(optuna_loop.py) searches for as many seconds. The rival that counts has its tensors in memory and two
processes of one thread each. The harness's clock counts its start, the data and its files as well; the clock
of a search by hand starts when its data are in memory. Rows go to search_speed.csv, and the same command goes
on with what is missing there. With --confirm all winners by val are trained by the harness with the same
fresh seeds, and compared on test, a mean a repeat.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import optuna
import optuna_loop
import pandas as pd
from optuna_loop import Rival
from rich.console import Console
from rich.table import Table

from harness import results, stats, study
from harness.searching import loop
from harness.searching.ask_tell import REACHED, AskTell, drawn_of
from harness.study.checker import GivenSettings
from harness.study.study import Study
from harness.system import locks
from harness.system.resources import cores
from harness.text import as_text, duration
from harness.training import runs
from harness.training.options import RunOptions

STUDY, FILE, HARNESS = "search", "search_speed.csv", "harness search"
IN_MEMORY = Rival(2, "slices")
WITH_LOADER = (Rival(1), Rival(2))
COUNTED = ("suggestions", "complete", "epochs")
MARGIN = 0.003
"""Up to which confirmed accuracies count as the same."""
FIRST_SEED = 2000
"""The seed of all trainings of the harness's first search; the next repeat's search has the next one."""


@dataclasses.dataclass(frozen=True)
class Contest:
    """Searches side by side: repeats of so many suggestions of the harness's, in a folder."""

    folder: Path
    repeats: int = 5
    suggestions: int = 96
    rivals: Sequence[Rival] = (IN_MEMORY,)
    overrides: Sequence[str] = ()

    def of(self, search: str, repeat: int) -> Path:
        """The folder of one search of one repeat."""
        return self.folder / f"{search.replace(', ', ' ').replace(' ', '_')}-{repeat}"

    def study(self, *overrides: str) -> Study:
        """The study that the harness searches."""
        return study.load(STUDY, [*self.overrides, *overrides])


@dataclasses.dataclass
class Use:
    """Processor seconds of this process and of those it started, in a block."""

    seconds: float = 0.0


@contextmanager
def measured() -> Iterator[Use]:
    """Measure the processor seconds of a block, those of all processes that end in it too."""
    use, before = Use(), _used()
    yield use
    use.seconds = _used() - before


def _used() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))


def run(contest: Contest) -> pd.DataFrame:
    """All repeats that are not in the contest's folder yet.

    Returns:
        A row a repeat and search: repeat, search, load (the machine's, when it began), seconds, suggestions
        (all that are over, pruned ones too), complete, epochs, each of them also `_per_hour`, cpu_seconds (of
        all processes), winner (settings as JSON, empty if none was complete), and of the harness's
        optuna_seconds.
    """
    path = contest.folder / FILE
    kept = pd.read_csv(path).to_dict("records") if path.is_file() else []
    rows: list[Any] = list(kept)
    finished = {(row["repeat"], row["search"]): row for row in rows}
    for i in range(contest.repeats):
        searches = {HARNESS: None, **{rival.name: rival for rival in contest.rivals}}
        for name, rival in searches.items():
            if (i, name) in finished:
                continue
            shutil.rmtree(contest.of(name, i), ignore_errors=True)
            seconds = finished[i, HARNESS]["seconds"] if rival else 0.0
            row = rival_row(contest, rival, i, seconds) if rival else harness_row(contest, i)
            finished[i, name] = row
            rows.append(row)
            pd.DataFrame(rows).to_csv(path, index=False)
    return pd.DataFrame(rows)


def harness_row(contest: Contest, i: int) -> dict[str, Any]:
    """The harness's search of a repeat; nothing is confirmed in it."""
    load, folder = os.getloadavg()[0], contest.of(HARNESS, i)
    seeds = (f"search.seed={i}", f"search.seeds=[{FIRST_SEED + i}]")
    chosen = contest.study(f"search.suggestions={contest.suggestions}", *seeds)
    with measured() as use, locks.locked(folder):
        found = loop.evaluated(chosen, folder, RunOptions(), AskTell, None)
    complete = sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in found.trials)
    epochs = sum(int(trial.user_attrs[REACHED]) for trial in found.trials)
    done = [optuna_loop.Done(found.seconds, len(found.trials), complete, epochs)]
    winner = None
    if found.winner is not None:
        winner = chosen.space.settings(drawn_of(found.trials[found.winner]))
    row = _row(i, HARNESS, load, done, use.seconds, winner)
    return {**row, "optuna_seconds": found.optuna_seconds}


def rival_row(contest: Contest, rival: Rival, i: int, seconds: float) -> dict[str, Any]:
    """A search by hand of a repeat, for as many seconds as the harness's took."""
    load, folder = os.getloadavg()[0], contest.of(rival.name, i)
    with measured() as use:
        done = optuna_loop.search(rival, folder, seconds, seed=i)
    trials = optuna_loop.load(folder).get_trials(states=[optuna.trial.TrialState.COMPLETE])
    best = max(trials, key=lambda trial: trial.value or 0.0, default=None)
    winner = settings_of(contest, best.params) if best else None
    return _row(i, rival.name, load, done, use.seconds, winner)


def _row(
    i: int, search: str, load: float, done: Sequence[optuna_loop.Done], used: float,
    winner: GivenSettings | None,
) -> dict[str, Any]:  # fmt: skip
    """A search of a repeat; processes end at different times, so each one's rate counts for itself."""
    seconds = max(one.seconds for one in done)
    counts = {name: sum(getattr(one, name) for one in done) for name in COUNTED}
    hourly = {
        f"{name}_per_hour": 3600 * sum(getattr(one, name) / one.seconds for one in done) for name in COUNTED
    }
    about = {"repeat": i, "search": search, "load": load, "seconds": seconds, "cpu_seconds": used}
    return {**about, **counts, **hourly, "winner": "" if winner is None else json.dumps(winner)}


def show(rows: pd.DataFrame) -> None:
    """Rates over all repeats, and how many times the harness's are of each, repeat by repeat."""
    table = Table(title="an hour, median over repeats (lowest to highest)", title_justify="left")
    table.add_column("search", overflow="fold")
    for name in (*COUNTED, "CPU s a suggestion", "cores busy, %", "times fewer suggestions"):
        table.add_column(name, justify="right")
    ours = rows[rows["search"] == HARNESS].set_index("repeat")
    for searched, own in rows.groupby("search", sort=False):
        rates = [_spread(own[f"{name}_per_hour"], 0) for name in COUNTED]
        price = _spread(own["cpu_seconds"] / own["suggestions"], 2)
        busy = _spread(100 * own["cpu_seconds"] / (cores() * own["seconds"]), 0)
        theirs = own.set_index("repeat")["suggestions_per_hour"]
        ratio = "" if searched == HARNESS else _spread(ours["suggestions_per_hour"] / theirs, 1)
        table.add_row(str(searched), *rates, price, busy, ratio)
    Console(width=150).print(table)
    share = 100 * ours["optuna_seconds"] / ours["seconds"]
    took = duration(float(ours["seconds"].sum()))
    click.echo(
        f"{HARNESS}: {int(ours['suggestions'].sum())} suggestions in {took}; Optuna's own part of it, in %: "
        f"{_spread(share, 1)}; load of the machine: {_spread(rows['load'], 1)}"
    )


def _spread(values: pd.Series[float], digits: int) -> str:
    low, high = values.min(), values.max()
    return f"{values.median():,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def settings_of(contest: Contest, params: Mapping[str, object]) -> GivenSettings:
    """The harness's settings of what a search by hand drew."""
    space = contest.study().space
    choices = {p.name for p in space.parameters if hasattr(p.values, "names")}
    return space.settings({name: as_text(v) if name in choices else v for name, v in params.items()})


def confirmed(contest: Contest, rows: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """Train the winners of every repeat with the same fresh seeds.

    Returns:
        dataset, arm (the search), seed (the repeat), status, test_accuracy (the mean over fresh seeds; NaN
        where one of them diverged).
    """
    tables = []
    for i, own in rows[rows["winner"].notna() & rows["winner"].ne("")].groupby("repeat"):
        arms = {str(row["search"]): json.loads(row["winner"]) for row in own.to_dict("records")}
        folder = contest.folder / f"winners-{i}"
        runs.train(contest.study(f"seeds={seeds}").in_phase("confirmed", arms), folder)
        trials = results.read(folder).trials
        accuracy = trials["test_accuracy"].where(trials["status"].eq("ok"))
        by = trials.assign(accuracy=accuracy).groupby(["dataset", "arm"], sort=False)["accuracy"]
        tables.append(by.agg(lambda values: values.mean(skipna=False)).rename("test_accuracy").reset_index())
        tables[-1]["seed"] = i
    table = pd.concat(tables, ignore_index=True)
    return table.assign(status=["ok" if known else "diverged" for known in table["test_accuracy"].notna()])


def judged(confirmed: pd.DataFrame) -> pd.DataFrame:
    """The harness's confirmed accuracy less each rival's, repeat by repeat, as `stats.verdicts` has it."""
    others = [name for name in confirmed["arm"].unique() if name != HARNESS]
    pairs = pd.DataFrame({"arm": HARNESS, "reference": others})
    return stats.verdicts(stats.paired_differences(confirmed, pairs, "test_accuracy"), margin=MARGIN)


def show_confirmed(confirmed: pd.DataFrame) -> None:
    """Means of the confirmed accuracies, and the verdicts on their differences."""
    for name, own in confirmed.groupby("arm", sort=False):
        click.echo(f"{name}: test accuracy {own['test_accuracy'].mean():.4f}, winners of {len(own)} repeats")
    for row in judged(confirmed).to_dict("records"):
        click.echo(
            f"{HARNESS} - {row['reference']}: {100 * row['difference']:+.2f} points "
            f"[{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]: {row['verdict']}; "
            f"p of the same within {100 * MARGIN:g} points: {row['p_same']:.2g}"
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--suggestions", default=96, show_default=True, type=click.IntRange(min=1), help="A repeat.")
@click.option("--loader", is_flag=True, help="Also searches by hand over a DataLoader, in 1 and 2 processes.")
@click.option("--confirm", "seeds", default=0, type=click.IntRange(min=0), help="Fresh seeds of the winners.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Of the study, as in harness.")
@click.option("--results", "folder", type=click.Path(path_type=Path), help="A folder.  [default: temporary]")
def main(
    repeats: int, suggestions: int, loader: bool, seeds: int, overrides: Sequence[str], folder: Path | None
) -> None:
    """Time `harness search` beside `study.optimize` over a loop written by hand."""
    folder = folder or Path(tempfile.mkdtemp(prefix="search_speed-"))
    folder.mkdir(parents=True, exist_ok=True)
    rivals = (IN_MEMORY, *(WITH_LOADER if loader else ()))
    contest = Contest(folder, repeats, suggestions, rivals, overrides)
    rows = run(contest)
    show(rows)
    click.echo(f"rows: {folder / FILE}")
    if seeds:
        show_confirmed(confirmed(contest, rows, seeds))


if __name__ == "__main__":
    main()

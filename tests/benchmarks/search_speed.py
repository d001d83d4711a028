"""`harness search` beside `study.optimize` over the labs' loop: the same space, sampler, epochs and seconds.

    python tests/benchmarks/search_speed.py                                             # a few minutes
    python tests/benchmarks/search_speed.py --rounds 1 --suggestions 500 --confirm 10   # all of the study

In a round the harness goes on with its search for so many suggestions, and then each form of the search by
hand (optuna_loop.py) goes on with its own for as many seconds. The harness's clock counts its start, the data
and its files as well, and it evaluates train besides val; the clock of a search by hand starts when its data
are in memory. Rounds go to search_speed.csv. With --confirm all winners are trained by the harness with
the same fresh seeds, and compared on test.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import optuna
import optuna_loop
import pandas as pd
from optuna_loop import Rival
from rich.console import Console
from rich.table import Table

from harness import results, stats
from harness.searching import loop
from harness.searching.ask_tell import REACHED, drawn_of
from harness.study import study
from harness.study.checker import GivenSettings
from harness.study.study import Study
from harness.text import as_text, duration
from harness.training import runs

STUDY, FILE, HARNESS = "search", "search_speed.csv", "harness search"
ONE_PROCESS, TWO_PROCESSES = Rival(1), Rival(2)
WITHOUT_LOADER = Rival(2, "slices")
COUNTED = ("suggestions", "complete", "epochs")


@dataclasses.dataclass(frozen=True)
class Contest:
    """Who searches, where, and for how long: rounds of so many suggestions of the harness's."""

    folder: Path
    rounds: int = 3
    suggestions: int = 32
    rivals: Sequence[Rival] = (ONE_PROCESS, TWO_PROCESSES)
    overrides: Sequence[str] = ()

    def of(self, rival: Rival) -> Path:
        """The folder of a search by hand."""
        return self.folder / f"by_hand_{rival.feed}_{rival.processes}"

    def study(self, *overrides: str) -> Study:
        """The study that the harness searches."""
        return study.load(STUDY, [*self.overrides, *overrides])


def run(contest: Contest) -> pd.DataFrame:
    """All rounds.

    Returns:
        A row a round and search: round, search, load (the machine's, when it began), seconds, suggestions
        (all that are over, pruned ones too), complete, epochs, each of them also `_per_hour`, and
        optuna_seconds (of the harness's).
    """
    rows: list[dict[str, object]] = []
    for i in range(contest.rounds):
        load = os.getloadavg()[0]
        found = harness_round(contest, i)
        over = found.trials[len(found.trials) - found.asked :]
        complete = sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in over)
        epochs = sum(int(trial.user_attrs[REACHED]) for trial in over)
        ours = optuna_loop.Done(found.seconds, len(over), complete, epochs)
        rows.append({**_row(i, HARNESS, load, [ours]), "optuna_seconds": found.optuna_seconds})
        for rival in contest.rivals:
            load = os.getloadavg()[0]
            done = optuna_loop.search(rival, contest.of(rival), found.seconds, seed=i)
            rows.append(_row(i, rival.name, load, done))
        pd.DataFrame(rows).to_csv(contest.folder / FILE, index=False)
    return pd.DataFrame(rows)


def harness_round(contest: Contest, i: int) -> loop.SearchResult:
    """Go on with the harness's search; its own confirmation is cut short, and outside of the clock."""
    suggestions = f"search.suggestions={(i + 1) * contest.suggestions}"
    return loop.search(contest.study(suggestions, "seeds=1"), contest.folder / "harness")


def _row(i: int, search: str, load: float, done: Sequence[optuna_loop.Done]) -> dict[str, object]:
    """A round of one search; processes end at different times, so each one's rate counts for itself."""
    seconds = max(one.seconds for one in done)
    counts = {name: sum(getattr(one, name) for one in done) for name in COUNTED}
    hourly = {
        f"{name}_per_hour": 3600 * sum(getattr(one, name) / one.seconds for one in done) for name in COUNTED
    }
    return {"round": i, "search": search, "load": load, "seconds": seconds, **counts, **hourly}


def show(rounds: pd.DataFrame) -> None:
    """Rates over all rounds, and how many times the harness's are of each, round by round."""
    table = Table(title="an hour, median over rounds (lowest to highest)", title_justify="left")
    table.add_column("search", overflow="fold")
    for name in COUNTED:
        table.add_column(name, justify="right")
    table.add_column("times fewer suggestions", justify="right")
    ours = rounds[rounds["search"] == HARNESS].set_index("round")
    for searched, own in rounds.groupby("search", sort=False):
        rates = [_spread(own[f"{name}_per_hour"], 0) for name in COUNTED]
        theirs = own.set_index("round")["suggestions_per_hour"]
        ratio = "" if searched == HARNESS else _spread(ours["suggestions_per_hour"] / theirs, 1)
        table.add_row(str(searched), *rates, ratio)
    Console(width=130).print(table)
    share = 100 * ours["optuna_seconds"] / ours["seconds"]
    took = duration(float(ours["seconds"].sum()))
    click.echo(
        f"{HARNESS}: {int(ours['suggestions'].sum())} suggestions in {took}; Optuna's own part of it, in %: "
        f"{_spread(share, 1)}; load of the machine: {_spread(rounds['load'], 1)}"
    )


def _spread(values: pd.Series[float], digits: int) -> str:
    low, high = values.min(), values.max()
    return f"{values.median():,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def winners(contest: Contest) -> dict[str, GivenSettings]:
    """What each search found best by val; of those that completed a suggestion."""
    space = contest.study().space
    assert space is not None
    found: dict[str, GivenSettings] = {}
    last = loop.search(
        contest.study(f"search.suggestions={contest.rounds * contest.suggestions}", "seeds=1"),
        contest.folder / "harness",
    )
    if last.winner is not None:
        found[HARNESS] = space.settings(drawn_of(last.trials[last.winner]))
    for rival in contest.rivals:
        trials = optuna_loop.load(contest.of(rival)).get_trials(states=[optuna.trial.TrialState.COMPLETE])
        if trials:
            best = max(trials, key=lambda trial: trial.value or 0.0)
            found[rival.name] = settings_of(contest, best.params)
    return found


def settings_of(contest: Contest, params: Mapping[str, object]) -> GivenSettings:
    """The harness's settings of what a search by hand drew."""
    space = contest.study().space
    assert space is not None
    choices = {p.name for p in space.parameters if hasattr(p.values, "names")}
    return space.settings({name: as_text(v) if name in choices else v for name, v in params.items()})


def confirm(contest: Contest, seeds: int) -> None:
    """Train all winners with fresh seeds, and tell how they compare on test."""
    arms = winners(contest)
    fresh = contest.study(f"seeds={seeds}").in_phase("confirmed", arms)
    pairs = [[HARNESS, name] for name in arms if name != HARNESS]
    declared = fresh.contrasts.model_copy(update={"declared": True, "pairs": pairs, "levels": []})
    runs.train(dataclasses.replace(fresh, contrasts=declared), contest.folder / "winners")
    trials = results.read(contest.folder / "winners").trials
    for name, own in trials.groupby("arm", sort=False):
        click.echo(f"{name}: test accuracy {own['test_accuracy'].mean():.4f}, {len(own)} fresh seeds")
    frame = pd.DataFrame(pairs, columns=["arm", "reference"])
    differences = stats.paired_differences(trials, frame, "test_accuracy")
    judged = stats.verdicts(differences, margin=declared.margin, alpha=declared.alpha)
    for row in judged.to_dict("records"):
        click.echo(
            f"{HARNESS} - {row['reference']}: {100 * row['difference']:+.2f} points "
            f"[{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]: {row['verdict']}"
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--suggestions", default=32, show_default=True, type=click.IntRange(min=1), help="A round.")
@click.option("--slices", is_flag=True, help="Also a search by hand without a DataLoader, 2 processes.")
@click.option("--confirm", "seeds", default=0, type=click.IntRange(min=0), help="Fresh seeds of the winners.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Of the study, as in harness.")
@click.option(
    "--results", "folder", type=click.Path(path_type=Path), help="A new folder.  [default: temporary]"
)
def main(
    rounds: int, suggestions: int, slices: bool, seeds: int, overrides: Sequence[str], folder: Path | None
) -> None:
    """Time `harness search` beside `study.optimize` over the labs' loop."""
    folder = folder or Path(tempfile.mkdtemp(prefix="search_speed-"))
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty, and a contest begins anew. Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    rivals = (ONE_PROCESS, TWO_PROCESSES, *((WITHOUT_LOADER,) if slices else ()))
    contest = Contest(folder, rounds, suggestions, rivals, overrides)
    show(run(contest))
    click.echo(f"rounds: {folder / FILE}")
    if seeds:
        confirm(contest, seeds)


if __name__ == "__main__":
    main()

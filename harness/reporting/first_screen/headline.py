"""The first screen of a page: the question, the answer in at most three sentences, a picture, how sure.

Nothing is judged or chosen here: verdicts, ranks and intervals are those of the rest of the page.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness import stats
from harness.reporting import computation, seed_sources
from harness.reporting.block_choices import chosen_settings
from harness.reporting.first_screen import answers, pictures
from harness.reporting.first_screen.model import SENTENCES, Headline
from harness.reporting.search import finalists
from harness.reporting.search import page as search_page
from harness.reporting.search import tables as search_tables
from harness.settings.schema import CONFIRMED, FINALISTS
from harness.study.searches import STATES
from harness.text import as_word, between, count, joined, listed, points, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.reporting.evidence import Evidence
    from harness.reporting.search.data import SearchData

NAMED = 4  # levels of an axis, steps or parameters that the question names
RATES = 4  # learning rates that are named
BASELINE = "the baseline, which is as given; the winner was searched for."
KINDS = {
    "grid": "Ablation, a full grid",
    "one-factor": "Ablation, one factor at a time",
    "ladder": "Ablation, a ladder of steps",
}
KINDS_OF_PHASES = {FINALISTS: "Finalists of a search", CONFIRMED: "Confirmation of a search"}


def of_study(evidence: Evidence) -> Headline:
    """Make the first screen of a study's page."""
    reading = evidence.reading
    kind = KINDS.get(reading.design, f"Ablation, {reading.design}")
    kind = KINDS_OF_PHASES.get(reading.study.phase, kind)
    hypothesis = reading.study.hypothesis
    sentences = list(answers.of_study(evidence))[:SENTENCES]
    picture = pictures.of_study(evidence)
    sureness = [*_seeds(evidence.main), *_tuning(evidence), _missing(reading)]
    return Headline(kind, hypothesis or _varied(reading), bool(hypothesis), sentences, picture, sureness)


def of_search(search: SearchData) -> Headline:
    """Make the first screen of a search's page."""
    reading = search.reading
    hypothesis = reading.study.hypothesis
    names = [parameter.name for parameter in search.parameters]
    varied = f"Which settings of {_some(names)} give the best {spaced(search.objective.name)}?"
    sentences = list(answers.of_search(search))[:SENTENCES]
    picture = pictures.of_search(search)
    sureness = list(_search_sureness(search))
    return Headline(
        "Search for settings", hypothesis or varied, bool(hypothesis), sentences, picture, sureness
    )


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return joined([*names[:NAMED], *more])


def _varied(reading: ReportData) -> str:
    """Ask what the study varies."""
    where = f"on {joined(reading.datasets)}"
    if reading.design == "ladder":
        steps = [str(step["name"]) for step in reading.study.steps]
        return f"What does each step add, from the baseline on: {_some(steps)}? ({where})"
    axes = {axis: list(reading.trials[axis].unique()) for axis in reading.axes}
    levels = [f"{axis} ({_some(names)})" for axis, names in axes.items()]
    if seed_sources.varied(reading):
        choices = f", and how much do these choices matter: {joined(levels)}" if axes else ""
        return f"Where does the variance between seeds come from, {where}{choices}?"
    if not axes:
        arms = list(dict.fromkeys(reading.trials["label"]))
        return f"Which of {_some(arms)} is best, {where}?" if len(arms) > 1 else f"How good is it, {where}?"
    return f"How much do these choices matter {where}: {joined(levels)}?"


def _seeds(judged: Verdicts) -> Iterator[tuple[str, str]]:
    """Say what intervals and verdicts rest on, and the differences that they would miss."""
    table, family = judged.table, judged.family
    seeds = sorted(table.loc[table["n"].gt(0), "n"]) if len(table) else []
    if not seeds:
        return
    label = f"{judged.unit.capitalize()}s"
    if seeds[-1] < 2:
        yield label, "one, so there is no interval and no verdict: a difference may be chance."
        return
    chosen = ", each of which chose by itself" if judged.unit == "block" else ""
    yield label, f"{between(list(map(str, seeds)))} a side{chosen}, paired; {_intervals(judged)}."
    corrected = "for the looks alone, of one contrast" if judged.look else "none, for one contrast"
    if len(table) > 1:
        corrected = f"Holm, {len(table)} contrasts, {100 * family.alpha:g}\u00a0%"
    sizes = sorted(size for size in table["detectable"] if math.isfinite(size))
    yield "Correction", f"{corrected}{_missed(sizes)}."
    if kinds := computation.in_short(judged):
        yield "Processors", kinds


def _intervals(judged: Verdicts) -> str:
    """Name the intervals of verdicts: those of a look hold at all looks, those of shared images are wider."""
    if judged.look:
        return f"95\u00a0% t intervals that hold at all looks, of which this is the one at {judged.look}"
    shared = judged.seeds is not None and judged.seeds["overlap"].any()
    return f"95\u00a0% t intervals{' for seeds that share val images (Nadeau and Bengio)' if shared else ''}"


def _missed(sizes: Sequence[float]) -> str:
    """Say which differences the seeds may miss, of the contrasts' ascending detectable ones."""
    if not sizes:
        return ""
    low, high = points(sizes[0]), points(sizes[-1])
    worst = "" if low == high else f", in some contrasts below {high}"
    return f"; differences below {low} points are often missed{worst}"


def _tuning(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Say which settings were tuned, and which were not."""
    reading = evidence.reading
    if reading.study.phase == CONFIRMED:
        yield "Not tuned", BASELINE
    elif reading.study.phase == FINALISTS:
        yield "Chosen", "by val with other seeds, among the suggestions of the search."
    elif evidence.tuned_verdicts is not None or reading.study.phase == "tuned":
        seeds = len(reading.study.tuning_seeds)
        on = f", {count(seeds, 'seed')}" if seeds else ""
        if reading.study.blocks:
            on = f", {count(seeds // reading.study.blocks, 'seed')} in each of {reading.study.blocks} blocks"
        yield "Tuned", f"{joined(_tuned_settings(evidence)) or 'settings'}, for each arm on val{on}."
        yield "Not tuned", "all else: it is as given."
    else:
        unfinished = "tuning is planned and not finished; so far " if reading.study.tunes else ""
        yield "Not tuned", f"{unfinished}{_untuned(reading)}"


def _tuned_settings(evidence: Evidence) -> list[str]:
    """Return the settings that arms chose: those of chosen.csv, or of a tuned folder's study.toml."""
    names = [] if evidence.tuned is None else chosen_settings(evidence.tuned.phases.chosen)
    of_arms = [name for settings in evidence.reading.study.chosen.values() for name in settings]
    return list(dict.fromkeys(names or of_arms or evidence.reading.study.tuned))


def _untuned(reading: ReportData) -> str:
    if "lr" in reading.axes:
        return "each arm's lr, which is one of the choices compared, and all else: they are as given."
    known: list[float] = list(reading.trials["lr"].dropna().unique()) if "lr" in reading.trials else []
    rates = sorted(known)
    at = f" (lr {', '.join(map(as_word, rates))})" if 0 < len(rates) <= RATES else ""
    return f"learning rates{at} and all else: they are as given."


def _missing(reading: ReportData) -> tuple[str, str]:
    unique = reading.trials.drop_duplicates("trial_id")
    status = unique["status"].astype(object).where(unique["status"].notna(), "")
    total = count(len(unique) + int(reading.needless.sum()), "trial")
    left = [state for state in stats.OUTCOMES if state != "ok"]
    counts = [f"{found:,} {state}" for state in left if (found := int(status.eq(state).sum()))]
    counts += [f"{found:,} {reason}" for reason, found in reading.needless.items()]
    waiting = int((~status.isin(stats.OUTCOMES)).sum())
    counts += [f"{waiting:,} not trained yet"] if waiting else []
    shards = reading.absent_shards
    words = f"{', '.join(counts)}, of {total}" if counts else f"none of {total}"
    return "Missing", f"{words}; {shards}." if shards else f"{words}."


def _search_sureness(search: SearchData) -> Iterator[tuple[str, str]]:
    judged, best = search.judged, search.chosen
    if best is not None:
        yield "Settings", f"{search_tables.settings_words(search, best)} ({best['arm']})."
    if best is None and judged is None:  # there is no winner to be sure of
        pass
    elif judged is None or not judged.table["n"].gt(0).any():
        seeds = "one search seed" if search.seeds == 1 else f"{search.seeds} search seeds"
        yield "Seeds", f"{seeds}; the best of many looks better than it is. Test is still closed."
    else:
        yield from _seeds(judged)
    yield from finalists.sureness(search)
    if best is not None:
        yield "Not tuned", BASELINE
    states = search.suggestions["state"].value_counts()
    lost = [f"{states[state]} {state}" for state in STATES[1:] if states.get(state, 0)]
    ended = count(len(search.suggestions), "suggestion")
    waiting = search.settings.suggestions - len(search.suggestions)
    waiting = 0 if search.settings.own or search_page.reached(search) is not None else waiting
    lost += [f"{waiting} not trained yet"] if waiting > 0 else []
    if waiting > 0:
        yield "Missing", f"{', '.join(lost)}, beside {ended} that ended."
    elif search.suggestions.empty:
        yield "Missing", "all: no suggestion was trained."
    else:
        yield "Missing", f"{', '.join(lost) or 'none'}, of {ended}."
    if search.doubts:
        yield "Doubts", listed([doubt.rstrip(".") for doubt in search.doubts], NAMED) + "."

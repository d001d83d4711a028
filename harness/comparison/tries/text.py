"""Text of a try: a line a look, the verdict, how sure it is, what it cost, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.comparison.tries.changes import in_words
from harness.comparison.tries.looks import is_share
from harness.stats import power_analysis, sequential
from harness.text import count, duration, joined, p_value, percent, spaced, two_decimals

if TYPE_CHECKING:
    from harness.comparison.tries.changes import Change
    from harness.comparison.tries.looks import Look, TryRules
    from harness.comparison.tries.trying import Try

MOST_TOLD = 1000
"""More seeds than this are not counted: nobody would train them."""
FAR = 2.0
"""From so many margins on, a difference is told to need a study where no look of a try would show it."""


def amount(value: float, metric: str, *, sign: bool = True, digits: int = 4) -> str:
    """Write a difference in points, or in the metric's own unit with so many digits."""
    if is_share(metric):
        return two_decimals(100 * value, sign=sign)
    return f"{value:{'+' if sign else ''}.{digits}g}"


def margin(rules: TryRules) -> str:
    """Write the margin with its unit."""
    return with_unit(rules.margin, rules, sign=False)


def with_unit(value: float, rules: TryRules, *, sign: bool = True) -> str:
    """Write a difference with its unit: "+0.31 points", "-0.02 of val loss"."""
    unit = "points" if is_share(rules.metric) else f"of {spaced(rules.metric)}"
    return f"{amount(value, rules.metric, sign=sign)} {unit}"


def share(value: float) -> str:
    """Write an error rate or a coverage with as few digits as it has."""
    return percent(value, 0 if abs(round(100 * value) - 100 * value) < 1e-9 else 2)


def between(low: float, high: float, rules: TryRules) -> str:
    """Write an interval in brackets; empty where there is none."""
    return "" if math.isnan(low) else f" [{amount(low, rules.metric)}, {amount(high, rules.metric)}]"


def asked(change: Change, rules: TryRules) -> Iterator[str]:
    """Say what is tried, what goes along, and when it is looked at."""
    yield f"{change.study.name}, baseline against {change.words}"
    yield from (f"  {words}" for words in in_words(change))
    if change.costs:
        yield f"  a training of the change costs another time: {joined(change.costs)} differ"
    yield (
        f"  looks at {', '.join(map(str, rules.looks))} seeds, by {spaced(rules.metric)}; the same within "
        f"{margin(rules)}; error rate {share(rules.alpha)} over all looks"
    )


def line(look: Look, rules: TryRules) -> str:
    """Say what a look shows, and what comes next: "5 seeds: +0.31 points [-0.10, +0.72], not told yet"."""
    words = f"{look.seeds} seeds: {_shown(look, rules)}"
    if look.told:
        return f"{words}: {look.verdict}"
    if not look.next_seeds:
        return f"{words}, not told"
    return f"{words}, not told yet; next {look.next_seeds} seeds, about {duration(look.next_seconds)}"


def _shown(look: Look, rules: TryRules) -> str:
    mean = "" if math.isnan(look.difference) else _difference(look, rules)
    if not (look.diverged or look.baseline_diverged):
        return mean or "no result"
    counts = (
        f"diverged: the change in {look.diverged} of {look.seeds}, the baseline in {look.baseline_diverged}"
    )
    return f"{counts}; of the others {mean}" if mean else counts


def _difference(look: Look, rules: TryRules) -> str:
    return f"{with_unit(look.difference, rules)}{between(look.low, look.high, rules)}"


def verdict(tried: Try) -> str:
    """Say the verdict in one sentence."""
    look, rules, seeds = tried.last, tried.rules, f"with {tried.last.seeds} seeds"
    if look.diverged or look.baseline_diverged:
        return _verdict_of_diverged(tried)
    seen = _difference(look, rules)
    if tried.verdict == "same":
        mean = with_unit(look.difference, rules)
        ends = between(look.same_low, look.same_high, rules)
        return f"Same: {tried.change} is within {margin(rules)} of the baseline, {mean}{ends}, {seeds}."
    if tried.verdict in {"better", "worse"}:
        little = f", a difference within {margin(rules)}" if look.within_margin else ""
        found = f"{seen} of {spaced(rules.metric)}" if is_share(rules.metric) else seen
        return f"{tried.verdict.capitalize()}: {tried.change} gives {found}{little}, {seeds}."
    return f"Cannot tell whether {tried.change} is better or worse: {seen} {seeds}; {_ended(tried)}."


def _verdict_of_diverged(tried: Try) -> str:
    look, rules = tried.last, tried.rules
    counts = f"it diverged in {look.diverged} of {look.seeds} seeds, the baseline in {look.baseline_diverged}"
    if tried.verdict in {"better", "worse"}:
        test = f"sign test over seeds, p {p_value(look.p)} against {look.level:.2g}"
        return f"{tried.verdict.capitalize()}: {tried.change}: {counts} ({test})."
    words = f"Cannot tell whether {tried.change} is better or worse: {counts}; {_ended(tried)}."
    if not look.n:
        return words
    rest = f"{with_unit(look.difference, rules)} of the {count(look.n, 'seed')} that finished"
    return f"{words} {rest} would flatter whatever diverged."


def _ended(tried: Try) -> str:
    if tried.why == "failed":
        return "trials could not be trained"
    return "the budget is used up" if tried.why == "budget" else "no more seeds are allowed (--max-seeds)"


def sureness(tried: Try) -> Iterator[str]:
    """Say how sure the verdict is: the interval's coverage, the correction, and the tries before."""
    look, rules = tried.last, tried.rules
    if not math.isnan(look.low):
        level = 1 - (2 * rules.alpha if tried.verdict == "same" else rules.alpha)
        yield (
            f"in brackets: the {share(level)} interval of the true difference, which holds at all looks "
            f"together; this was look {len(tried.looks)}"
        )
    if tried.verdict == "cannot tell":
        yield from _undecided(look, rules)
    if tried.counts.all_tries > 1:
        yield from _among(tried)


def _among(tried: Try) -> Iterator[str]:
    """Say what several tries mean for a verdict: of this baseline, and of others that it may come from."""
    counts = tried.counts
    yield (
        f"this is try {counts.number} of {counts.tries} of this baseline: if none were better, some would be "
        f"called better with a probability of up to {percent(tried.false_better)}"
    )
    if counts.all_tries > counts.tries:
        of_all = percent(min(1.0, counts.all_alpha / 2))
        yield f"with other baselines, {counts.all_tries} tries in {tried.folder}: up to {of_all}"
    if tried.rules.family < counts.all_tries:
        yield (
            f"to be as sure of all together, plan them (--family {counts.all_tries} divides the error), or "
            "make one study of them, which corrects for all its arms (Holm)"
        )


def _undecided(look: Look, rules: TryRules) -> Iterator[str]:
    if not math.isnan(look.detectable):
        size = with_unit(look.detectable, rules, sign=False)
        yield f"this look sees a true difference of {size} with 80 % probability"
    yield from _seeds_as_it_looks(look, rules)
    if math.isnan(look.more_seeds):
        return
    if look.seeds + look.more_seeds > MOST_TOLD:
        yield f"to see {margin(rules)} would take more than {MOST_TOLD:,} seeds: try a wider --margin"
    elif look.more_seeds > 0:
        yield f"about {look.more_seeds:.0f} more seeds would show a difference as small as {margin(rules)}"


def _seeds_as_it_looks(look: Look, rules: TryRules) -> Iterator[str]:
    """Say how many seeds tell a difference of the size that is seen; a look of a try, or those of a study."""
    shows, words = _look_that_shows(look, rules), "if the difference is as large as it looks"
    if shows is not None:
        yield f"{words}, {shows} seeds tell it with 80 % probability"
    elif abs(look.difference) >= FAR * rules.margin:
        needed = float(power_analysis.seeds_needed(look.difference, look.sd, rules.alpha))
        if needed > look.seeds:
            yield f"{words}, it takes about {needed:,.0f} seeds, more than a try has: make a study of it"


def cost(tried: Try) -> str:
    """Say what was trained for the answer."""
    if not tried.trained.trials:
        return f"cost: nothing, all {count(tried.last.seeds, 'seed')} were trained before"
    return f"cost: {count(tried.trained.trials, 'trial')}, trained in {duration(tried.trained.seconds)}"


def following(
    tried: Try, study: str, changes: Sequence[str] = (), overrides: Sequence[str] = (),
    options: Sequence[str] = (),
) -> str:  # fmt: skip
    """Say what to do next: a line to type, where there is one; `options` belong to it."""
    if tried.verdict in {"better", "same"}:
        return _judged_on_test(tried, study, overrides, options)
    if tried.verdict == "worse":
        return "next: keep the baseline"
    if tried.why == "failed":
        return f"next: see the column reason of {tried.folder}/trials.csv; the same command trains them again"
    if tried.why == "budget":
        return "next: the same command goes on from here, with another --budget"
    if tried.last.seeds == sequential.LOOKS[-1]:
        return "next: keep what is simpler, or make a study of it, with as many seeds as it takes"
    most = _seeds_that_tell(tried)
    sets = [part for text in changes for part in ("--set", text)]
    sets += [part for text in overrides for part in ("--base", text)]
    return f"next: {shlex.join(['harness', 'try', study, *sets, '--max-seeds', str(most), *options])}"


def _seeds_that_tell(tried: Try) -> int:
    """Return the look that probably tells: a difference of the margin, or the one that is seen."""
    look, rules = tried.last, tried.rules
    later = [n for n in sequential.LOOKS if n > look.seeds]
    needed = look.seeds + max(0.0, look.more_seeds)
    of_margin = next((n for n in later if n >= needed), later[-1])
    return min(of_margin, _look_that_shows(look, rules) or later[-1])


def _look_that_shows(look: Look, rules: TryRules) -> int | None:
    return sequential.look_that_shows(look.difference, look.sd, alpha=rules.alpha, after=look.seeds)


def _judged_on_test(tried: Try, study: str, overrides: Sequence[str], options: Sequence[str]) -> str:
    given = {name: pair for name, pair in tried.differences.items() if f"{name}=" in tried.change}
    pairs = list(given.items())
    if len(pairs) != 1 or not all(pairs[0][1]):
        return "next: compare it on test, with fresh seeds: a ladder's step, or linked settings of an axis"
    name, (before, after) = pairs[0]
    texts = [f"{name}={before},{after}", f"seeds={tried.last.seeds}", *overrides]
    sets = [part for text in texts for part in ("--set", text)]
    place = ["--results", f"results/{tried.study}-{name}", *options]
    return f"next, on test and with fresh seeds: {shlex.join(['harness', 'run', study, *sets, *place])}"

"""Words of a noise floor and of a try: a line a look, the verdict, what it cost, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.stats import sequential
from harness.text import count, duration, joined, p_value, percent, spaced

if TYPE_CHECKING:
    from harness.comparison.noise import Noise
    from harness.comparison.try_changes import Change
    from harness.comparison.try_looks import Look, TryRules
    from harness.comparison.trying import Try

MOST_TOLD = 1000
"""More seeds than this are "very many": what is asked for is finer than anybody measures."""


def amount(value: float, rules: TryRules, *, sign: bool = True) -> str:
    """Write a difference in points, or in the metric's own unit."""
    if rules.is_share:
        text = f"{100 * value:{'+' if sign else ''}.2f}"
        return "0.00" if text[1:] == "0.00" and sign else text
    return f"{value:{'+' if sign else ''}.4g}"


def unit(rules: TryRules) -> str:
    """Return the words behind a difference."""
    return "points" if rules.is_share else f"of {spaced(rules.metric)}"


def between(low: float, high: float, rules: TryRules) -> str:
    """Write an interval in brackets; empty where there is none."""
    return "" if math.isnan(low) else f" [{amount(low, rules)}, {amount(high, rules)}]"


def asked(change: Change, rules: TryRules) -> Iterator[str]:
    """Say what is tried, what goes along, and when it is looked at."""
    from harness.comparison.try_changes import in_words

    yield f"{change.study.name}, baseline against {change.words}"
    yield from (f"  {line}" for line in in_words(change.differences, change.given, change.study.baseline))
    if change.costs:
        yield f"  a training costs another time: {joined(change.costs)} differ"
    seeds = ", ".join(map(str, rules.looks))
    yield (
        f"  looks at {seeds} seeds, by {spaced(rules.metric)}; same within {amount(rules.margin, rules, sign=False)} "
        f"{unit(rules)}, error rate {percent(rules.alpha, _digits(rules.alpha))} over all looks"
    )


def line(look: Look, rules: TryRules) -> str:
    """Say what a look shows and what comes next: "5 seeds: +0.31 points [-0.10, +0.72], not told yet; ..."."""
    words = f"{look.seeds} seeds: {_shown(look, rules)}"
    if look.told:
        return f"{words}, {look.verdict}"
    if not look.next_seeds:
        return f"{words}, not told"
    return f"{words}, not told yet; next {look.next_seeds} seeds, about {duration(look.next_seconds)}"


def _shown(look: Look, rules: TryRules) -> str:
    diverged = []
    if look.diverged or look.baseline_diverged:
        diverged = [
            f"diverged: the change in {look.diverged} of {look.seeds}, the baseline in {look.baseline_diverged}"
        ]
    if math.isnan(look.difference):
        return joined(diverged) or "no result"
    mean = f"{amount(look.difference, rules)} {unit(rules)}{between(look.low, look.high, rules)}"
    return "; ".join([*diverged, f"of the others {mean}" if diverged else mean])


def verdict(tried: Try) -> str:
    """Say the verdict in one sentence."""
    look, rules = tried.last, tried.rules
    if look.diverged or look.baseline_diverged:
        return _verdict_of_diverged(tried)
    seen = f"{amount(look.difference, rules)} {unit(rules)}{between(look.low, look.high, rules)}"
    seeds = f"with {look.seeds} seeds"
    margin = f"{amount(rules.margin, rules, sign=False)} {unit(rules)}"
    if tried.verdict == "same":
        ends = between(look.same_low, look.same_high, rules)
        return f"Same: {tried.change} and the baseline are within {margin} of each other: {_mean(tried)}{ends} {seeds}."
    if tried.verdict in {"better", "worse"}:
        little = f", though within {margin}" if look.within_margin else ""
        return f"{tried.verdict.capitalize()}: {tried.change} gives {seen} {spaced(rules.metric)}{little}, {seeds}."
    return f"Cannot tell whether {tried.change} is better or worse: {seen} {seeds}; {_ended(tried)}."


def _mean(tried: Try) -> str:
    return f"{amount(tried.last.difference, tried.rules)} {unit(tried.rules)}"


def _verdict_of_diverged(tried: Try) -> str:
    look, rules = tried.last, tried.rules
    counts = (
        f"it diverged in {look.diverged} of {look.seeds} seeds, the baseline in {look.baseline_diverged} "
        f"(sign test over seeds, p {p_value(look.p)} against {look.level:.2g})"
    )
    if tried.verdict in {"better", "worse"}:
        return f"{tried.verdict.capitalize()}: {tried.change}: {counts}."
    return f"Cannot tell whether {tried.change} is better or worse: {counts}; {_ended(tried)}. {_rest(look, rules)}".strip()


def _rest(look: Look, rules: TryRules) -> str:
    if look.n == 0:
        return ""
    return f"The mean of the {count(look.n, 'seed')} that finished, {amount(look.difference, rules)} {unit(rules)}, flatters."


def _ended(tried: Try) -> str:
    if tried.why == "failed":
        return "trials could not be trained"
    return "the budget is used up" if tried.why == "budget" else "no more seeds are allowed (--max-seeds)"


def sureness(tried: Try) -> Iterator[str]:
    """Say how sure the verdict is: the interval's coverage, the correction, and the tries before."""
    look, rules, looks = tried.last, tried.rules, len(tried.looks)
    if not math.isnan(look.low):
        level = 1 - (2 * rules.alpha if tried.verdict == "same" else rules.alpha)
        yield (
            f"in brackets: the {percent(level, _digits(rules.alpha))} interval of the true difference, which holds "
            f"at all looks together; this was look {looks}"
        )
    if tried.verdict == "cannot tell":
        yield from _undecided(look, rules)
    bound = percent(tried.false_better, 1)
    if tried.tries > 1:
        yield (
            f"this is try {tried.number} of {tried.tries} of this baseline: if none of them were better, one would be "
            f"called better with a probability of up to {bound}"
        )


def _undecided(look: Look, rules: TryRules) -> Iterator[str]:
    if not math.isnan(look.detectable):
        yield (
            f"with {look.seeds} seeds a true difference of {amount(look.detectable, rules, sign=False)} {unit(rules)} would "
            "have been seen (80 % power)"
        )
    more, margin = look.more_seeds, f"{amount(rules.margin, rules, sign=False)} {unit(rules)}"
    if math.isnan(more):
        return
    if look.seeds + more > MOST_TOLD:
        yield f"to see {margin} would take more than {MOST_TOLD:,} seeds: try a wider --margin"
    elif more > 0:
        yield f"about {more:.0f} more seeds would show a difference of {margin} (80 % power)"


def cost(tried: Try) -> str:
    """Say what was trained for the answer."""
    seeds = count(tried.last.seeds, "seed")
    if not tried.trained.trials:
        return f"cost: nothing; all {seeds} were trained before"
    return f"cost: {count(tried.trained.trials, 'trial')} trained in {duration(tried.trained.seconds)}"


def following(tried: Try, study: str, changes: Sequence[str] = (), overrides: Sequence[str] = ()) -> str:
    """Say what to do next: a line to type, where there is one."""
    sets = [part for text in changes for part in ("--set", text)]
    sets += [part for text in overrides for part in ("--base", text)]
    if tried.verdict in {"better", "same"}:
        values = {name: pair for name, pair in tried.differences.items() if f"{name}=" in tried.change}
        if len(values) == 1 and all(next(iter(values.values()))):
            name, (before, after) = next(iter(values.items()))
            both, seeds = f"{name}={before},{after}", f"seeds={tried.last.seeds}"
            place = f"results/{tried.study}-{name}"
            line = shlex.join(["harness", "run", study, "--set", both, "--set", seeds, "--results", place])
            return f"next, on test and with fresh seeds: {line}"
        return "next: compare it on test, with fresh seeds: a step of a ladder, or linked settings on an axis"
    if tried.verdict == "worse":
        return "next: keep the baseline"
    if tried.why == "failed":
        return f"next: see the column reason of {tried.folder}/trials.csv, and run the same command again"
    if tried.why == "budget":
        return "next: the same command goes on from here, for another --budget"
    later = [n for n in sequential.LOOKS if n > tried.last.seeds]
    if not later:
        return "next: a difference this small is hardly worth more; or a study with many seeds: harness run"
    needed = tried.last.seeds + (tried.last.more_seeds if tried.last.more_seeds > 0 else 0)
    most = next((n for n in later if n >= needed), later[-1])
    line = shlex.join(["harness", "try", study, *sets, "--max-seeds", str(most)])
    return f"next: {line}"


def together(tried: Try) -> Iterator[str]:
    """Say how several tries are judged together, where there are several."""
    if tried.tries > 1 and tried.rules.family < tried.tries:
        yield (
            f"to be as sure of all tries together, plan them: --family {tried.tries} divides the error rate by "
            f"{tried.tries}; or make one study of them, which corrects for all its arms (Holm)"
        )


def _digits(alpha: float) -> int:
    return 0 if round(100 * alpha, 6) == round(100 * alpha) else 2


def noise_lines(noise: Noise) -> Iterator[str]:
    """Say how large a noise floor is, and what differences show above it."""
    for row in noise.baselines.to_dict("records"):
        yield from _noise_of(noise, row)
        table = noise.detectable[noise.detectable["dataset"].eq(row["dataset"])]
        yield "  seeds   smallest difference seen, at worst       both arms take"
        for one in table.to_dict("records"):
            values = [
                _value(one[name], noise.metric)
                for name in ("difference", "difference_low", "difference_high")
            ]
            span = f"{values[0]} [{values[1]}, {values[2]}] {_unit(noise.metric)}"
            yield f"  {one['seeds']:>5}   {span:<38}  {duration(one['seconds']):>12}"
    yield (
        "  at worst: if the noise of two arms is unrelated, so that a difference has sqrt(2) times this SD. Arms "
    )
    yield "  share initial weights and batches of a seed, which mostly makes it less; a try tells. 80 % power, alpha 0.05"


def _noise_of(noise: Noise, row: Mapping[Any, Any]) -> Iterator[str]:
    metric, words = noise.metric, _unit(noise.metric)
    yield f"{noise.study}, baseline on {row['dataset']}: {spaced(metric)} {_value(row['mean'], metric)}" + (
        " %" if metric.endswith("accuracy") else ""
    )
    if row["diverged"]:
        yield f"  diverged with {row['diverged']} of {row['seeds']} seeds, which are left out: the rest flatters it"
    ends = f"[{_value(row['sd_low'], metric)}, {_value(row['sd_high'], metric)}]"
    yield f"  SD over {row['n']} seeds: {_value(row['sd'], metric)} {words} {ends}"
    if not math.isnan(row["sampling_sd"]):
        yield (
            f"  another val set of {row['val_images']:,} images would move it by {_value(row['sampling_sd'], metric)} "
            f"{words} (SD): more seeds do not lessen that; arms share the images"
        )


def _value(value: float, metric: str) -> str:
    if math.isnan(value):
        return "-"
    return f"{100 * value:.2f}" if metric.endswith("accuracy") else f"{value:.3g}"


def _unit(metric: str) -> str:
    return "points" if metric.endswith("accuracy") else ""

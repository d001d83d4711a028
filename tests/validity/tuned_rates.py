"""Wrong verdicts on tuned arms: one choice for all seeds, as arms are mostly tuned, and a choice a block."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import aa_rates
import tuned_draws
from aa_rates import ALPHA, AROUND_95, CONFIDENCE, counted
from tuned_draws import Design

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from aa_rates import Check
    from tuned_draws import Pool

ONCE = "false positives of tuned arms, one choice for all seeds"
BLOCKS = "false positives of tuned arms, a choice a block"
COVERAGE = "coverage of zero, tuned arms, a choice a block"
COVERAGE_ONCE = "coverage of a difference of tuned arms, one choice for all seeds"
COVERAGE_APART = "coverage of a difference of tuned arms, a choice a block"
INSIDE = dict.fromkeys((COVERAGE, COVERAGE_APART), AROUND_95)
"""From 2,000 studies on, the interval of a rate lies within these bounds."""
ASKED = {
    ONCE: "One arm under two names, each tuned once by seeds of its own, found different: mostly done",
    BLOCKS: "The same, but blocks of seeds choose by themselves and are counted: at most 5 %",
    COVERAGE: "Intervals of these that have the true difference, zero, in them: 95 %",
    COVERAGE_ONCE: "Two losses, tuned once: 95 % intervals that have the difference of tuned arms in them",
    COVERAGE_APART: "The same losses, a choice a block: 95 %",
}


def designs(seeds: int, tuning: int) -> Iterator[Design]:
    """Give the designs that are measured of a study with so many seeds: one choice; blocks of 4, 2, 1 seeds.

    `tuning` seeds choose each time; with halving, twice as many do.
    """
    for blocks in (1, seeds // 4, seeds // 2, seeds):
        yield Design(blocks, tuning * blocks, seeds)
    yield Design(seeds // 4, 2 * tuning * (seeds // 4), seeds, halving=True)


def same_arms(
    source: str, pool: Pool, design: Design, studies: int, rng: np.random.Generator
) -> Iterator[Check]:
    """Count what is wrong in studies of one arm under two names, each tuned and judged with its own seeds."""
    drawn = tuned_draws.drawn((pool, pool), design, studies, rng, paired=False)
    table = tuned_draws.judged(drawn, design, margin=1.0)
    wrong, of = table["p"].le(ALPHA).to_numpy(), f"{source}, {design}"
    if design.blocks == 1:
        yield counted(ONCE, of, design.seeds, wrong, math.nan, math.nan)
        return
    yield counted(BLOCKS, of, design.seeds, wrong, 0, ALPHA)
    yield counted(COVERAGE, of, design.seeds, aa_rates.covers(table, 0.0), CONFIDENCE, CONFIDENCE)


def arms_apart(
    source: str, pools: tuple[Pool, Pool], design: Design, studies: int, rng: np.random.Generator
) -> Check:
    """Count the intervals that hold the difference of two arms, of which both have the same seeds.

    The truth is the difference of what both are expected to reach once they are tuned as the design says.
    """
    drawn = tuned_draws.drawn(pools, design, studies, rng, paired=True)
    table = tuned_draws.judged(drawn, design, margin=1.0)
    first, second = (tuned_draws.truth(pool, design, rng) for pool in pools)
    covered, of = aa_rates.covers(table, second - first), f"{source}, {design}"
    if design.blocks == 1:
        return counted(COVERAGE_ONCE, of, design.seeds, covered, math.nan, math.nan)
    return counted(COVERAGE_APART, of, design.seeds, covered, CONFIDENCE, CONFIDENCE)

"""Equivalence of many arms within a margin: of every pair by itself, and of all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.stats.verdicts import half_width, largest_of_group, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

COLUMNS = ["n", "difference", "sd", "low", "high", "p_same", "p_same_holm", "same", "at_most"]
"""Columns of a table of equivalences, in order, behind those that name a pair."""


def equivalence(
    differences: pd.DataFrame, by: Sequence[str] = ("dataset", "arm", "reference"), *, margin: float,
    alpha: float = 0.05, within: tuple[float, float] = (-np.inf, np.inf),
) -> pd.DataFrame:  # fmt: skip
    """Show which pairs lie within a margin of each other, and how far apart each pair is at most.

    Two one-sided t tests a pair (Schuirmann 1987), Holm-corrected over all pairs, so that some pair that is
    not the same is called so in at most `alpha` of studies. `at_most` answers without a margin: with
    confidence 1 - alpha no pair of the table is further apart than its bound (|difference| plus one-sided
    Student's t at alpha divided by the number of pairs, Bonferroni, and the resolution).

    Args:
        differences: `by`, difference, a row a seed, as for `verdicts`, with its columns overlap and
            resolution.
        by: the columns that name a pair.
        margin: up to which a pair counts as the same, in the unit of `difference`.
        alpha: of all pairs together.
        within: the least and the greatest difference there can be.

    Returns:
        `by`, n (seeds), difference, sd, low, high (95 % of this pair by itself), p_same, p_same_holm, same
        (p_same_holm <= alpha), at_most (NaN below two seeds, and where seeds show no spread).

    Raises:
        ValueError: margin or alpha is out of range.
    """
    table = verdicts(differences, by, margin=margin, alpha=alpha, within=within)
    n, sd = (table[name].to_numpy(dtype=float) for name in ("n", "sd"))
    one_sided = alpha / max(int(table["p_same"].count()), 1)
    half = half_width(n, sd, 2 * one_sided, largest_of_group(differences, by, "overlap"))
    table["same"] = table["within_margin"]
    far = table["difference"].abs() + largest_of_group(differences, by, "resolution")
    table["at_most"] = np.minimum(far + half, max(map(abs, within)))
    return table[[*by, *COLUMNS]]


def all_same(pairs: pd.DataFrame, alpha: float = 0.05) -> bool:
    """Tell whether all pairs of a table together are shown to be the same within the margin of the table.

    An intersection-union test (Berger 1982): every pair's `p_same` is at most `alpha`, without a correction,
    since all of them have to be. A pair without a test shows nothing.
    """
    return bool(len(pairs)) and bool(pairs["p_same"].le(alpha).all())

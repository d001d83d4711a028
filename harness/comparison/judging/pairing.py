"""The pairs of a judgement: which arms are compared, and which runs have nobody to be compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import pandas as pd

from harness.comparison.judging.observations import LeftOut, Observations
from harness.comparison.judging.options import JudgeOptions
from harness.errors import UsageError, did_you_mean, few

REFERENCES = ("baseline", "reference", "control", "base", "default")
"""Names of arms that are taken for the reference, the likeliest first."""
MOST_PAIRS = 2_000


def chosen(
    arms: Sequence[str], seen: Observations, options: JudgeOptions
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """Choose the pairs to compare, arm and reference; give the references, and a note on a guessed one."""
    if len(arms) < 2:
        raise UsageError(
            f"there is only one arm, {arms[0]!r} ({seen.words['arm']}), so there is nothing to compare it "
            "with. Allowed: two arms or more"
        )
    if options.all_pairs:
        pairs = [(second, first) for first, second in combinations(arms, 2)]
        if len(pairs) > MOST_PAIRS:
            raise UsageError(
                f"--all-pairs: {len(arms):,} arms make {len(pairs):,} pairs; allowed are {MOST_PAIRS:,}. "
                "Compare all with one --reference"
            )
        return pd.DataFrame(pairs, columns=["arm", "reference"]), tuple(arms[:-1]), []
    reference, notes = _reference(arms, options.reference)
    pairs = [(arm, reference) for arm in arms if arm != reference]
    return pd.DataFrame(pairs, columns=["arm", "reference"]), (reference,), notes


def _reference(arms: Sequence[str], asked: str | None) -> tuple[str, list[str]]:
    if asked is not None:
        if asked not in arms:
            raise UsageError(f"--reference {asked}: there is no such arm; {did_you_mean(asked, arms)}"[:1000])
        return asked, []
    named = {arm.lower(): arm for arm in reversed(arms)}
    found = next((named[name] for name in REFERENCES if name in named), None)
    if found is not None:
        return found, []
    return arms[0], [f"the reference is {arms[0]}, the first arm of the table (--reference names another)"]


def unmet(trials: pd.DataFrame, pairs: pd.DataFrame, met: pd.DataFrame) -> pd.DataFrame:
    """List the contrasts that have runs and none to compare, so that they are judged to have no data.

    Left out, an arm that shares no seed with its reference would pass any gate.

    Args:
        trials: dataset, arm.
        pairs: arm, reference.
        met: dataset, arm, reference of the contrasts that can be made.

    Returns:
        dataset, arm, reference: blocks that both arms have; of two that have none in common, the arm's first.
    """
    blocks = trials[["dataset", "arm"]].drop_duplicates()
    both = pairs.merge(blocks, on="arm").merge(
        blocks.rename(columns={"arm": "reference"}),
        on=["dataset", "reference"],
        how="left",
        indicator="there",
    )
    there = both["there"].eq("both")
    names = ["arm", "reference"]
    never = ~there.groupby([both[name] for name in names]).transform("any") & ~both.duplicated(names)
    key = ["dataset", *names]
    known = pd.MultiIndex.from_frame(met[key])
    listed = both.loc[there | never, key]
    return listed[~pd.MultiIndex.from_frame(listed).isin(known)]


def require_met(
    differences: pd.DataFrame, rows: pd.DataFrame, pairs: pd.DataFrame, seen: Observations
) -> None:
    """Raise UsageError if no arm shares a seed with its reference."""
    if len(differences):
        return
    reference, arm = pairs["reference"].iloc[0], pairs["arm"].iloc[0]
    seeds = [
        few(list(map(repr, rows.loc[rows["arm"].eq(name), "seed"].unique()))) for name in (reference, arm)
    ]
    blocks = f" within a {seen.words['block']}" if seen.words["block"] else ""
    raise UsageError(
        f"no arm shares a {seen.words['seed']} with its reference{blocks}, so nothing can be paired: "
        f"{reference} has {seeds[0]}; {arm} has {seeds[1]}. Runs are compared seed by seed: train all arms "
        "with the same seeds, name the column that pairs them (--seed COLUMN), or compare them --unpaired"
    )


def without_partner(rows: pd.DataFrame, pairs: pd.DataFrame, seen: Observations) -> Iterator[LeftOut]:
    """Count, for each contrast, the runs whose seed the other side lacks."""
    have = rows[["block", "arm", "seed"]]
    reference = have.rename(columns={"arm": "reference"})
    ours = have.merge(pairs, on="arm").merge(
        reference, on=["block", "reference", "seed"], how="left", indicator=True
    )
    theirs = reference.merge(pairs, on="reference").merge(
        have, on=["block", "arm", "seed"], how="left", indicator=True
    )
    word = seen.words["seed"]
    for table, side, other in ((ours, "arm", "reference"), (theirs, "reference", "arm")):
        alone = table[table["_merge"].eq("left_only")]
        for (one, another), runs in alone.groupby([side, other], sort=False):
            here = few(list(runs["seed"].astype(str)))
            yield LeftOut(len(runs), f"{one}: {word} {here}, which {another} has not")

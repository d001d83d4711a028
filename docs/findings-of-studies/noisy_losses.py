"""Numbers of the study `losses_noise`: the lead of QL and CCQL over cross-entropy, and whether it lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import page_parts
import pandas as pd
import scipy.stats
import study_figures
from page_parts import MARGIN, Finding

from harness import results, stats
from harness.results import documents
from harness.settings.schema import TUNED
from harness.text import as_word, count, joined, percent

STUDY = "losses_noise"
REFERENCE = "CE on logits"
CELL = ["label_noise", "budget"]
BY = [*CELL, "output"]
BLOCK = "seed_block"
MOST_NOISE, NONE = "0.4", "0"
ALPHA = 0.05
NO_LEAD = ("worse", "same within margin")


def of_blocks(trials: pd.DataFrame) -> pd.DataFrame:
    """Average the test accuracy of each block's finished seeds.

    Args:
        trials: of the folder tuned/: BY, seed_block, status, test_accuracy.

    Returns:
        BY (label_noise as a word), block, accuracy.
    """
    done = trials.assign(
        accuracy=trials["test_accuracy"].where(trials["status"].eq("ok")),
        label_noise=trials["label_noise"].map(as_word), block=trials[BLOCK],
    )  # fmt: skip
    return done.groupby([*BY, "block"], sort=False)["accuracy"].mean().reset_index()


def changes(blocks: pd.DataFrame) -> pd.DataFrame:
    """Compute how much each output's lead over the reference changes from the first budget to each other.

    Leads are paired by block, and so are their changes.

    Args:
        blocks: as from `of_blocks`.

    Returns:
        BY, n (blocks), change, change_low, change_high (95 % Student's t of the row by itself), change_p_holm
        (two-sided, corrected over the changes at one noise level together).
    """
    reference = blocks[blocks["output"].eq(REFERENCE)].drop(columns="output")
    met = blocks[blocks["output"].ne(REFERENCE)].merge(reference, on=[*CELL, "block"], suffixes=("", "_of"))
    ahead = met[[*BY, "block"]].assign(lead=met["accuracy"] - met["accuracy_of"])
    first = ahead["budget"].eq(blocks["budget"].iloc[0])
    same = ["label_noise", "output", "block"]
    later = ahead[~first].merge(ahead[first].drop(columns="budget"), on=same, suffixes=("", "_first"))
    later = later.assign(change=later["lead"] - later["lead_first"])
    table = stats.summarise(later, BY, "change")
    tests = [
        {**dict(zip(BY, key, strict=True)), "p": scipy.stats.ttest_1samp(rows["change"].dropna(), 0.0).pvalue}
        for key, rows in later.groupby(BY, sort=False)
    ]
    table = table.merge(pd.DataFrame(tests), on=BY)
    table["change_p_holm"] = table.groupby("label_noise", sort=False)["p"].transform(stats.holm)
    names = {"mean": "change", "low": "change_low", "high": "change_high"}
    return table.rename(columns=names)[[*BY, "n", *names.values(), "change_p_holm"]]


def numbers(blocks: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Join all that the page says of an arm: a row an arm.

    Args:
        blocks: as from `of_blocks`.
        verdicts: tables/verdicts-tuned.csv of the study's report: within, arm, difference, low, high, p_holm,
            verdict, on test against the reference.

    Returns:
        BY, n (blocks), mean, low, high of the accuracy; difference, difference_low, difference_high, p_holm,
        verdict; change, change_low, change_high, change_p_holm, as from `changes`. NaN where there is no such
        number.
    """
    table = stats.summarise(blocks, BY, "accuracy").drop(columns="sd")
    names = {"arm": "output", "low": "difference_low", "high": "difference_high"}
    judged = verdicts.rename(columns=names)
    judged = judged[
        ["within", "output", "difference", "difference_low", "difference_high", "p_holm", "verdict"]
    ]
    cells = table[CELL].to_numpy().tolist()
    table = table.assign(within=[f"label_noise {noise}, budget {budget}" for noise, budget in cells])
    table = table.merge(judged, on=["within", "output"], how="left").drop(columns="within")
    return table.merge(changes(blocks).drop(columns="n"), on=BY, how="left")


def outcomes(table: pd.DataFrame) -> dict[str, str]:
    """Say what became of each part of the hypothesis: it holds, is rejected, or is not decided.

    Args:
        table: as from `numbers`.

    Returns:
        lead: under the most noise, all are better at all budgets; rejected where one is worse, or the same
        within the margin. as_large: no such lead gets smaller; rejected where one does, of all of them
        together (Holm). clean: all are the same within the margin on clean labels; rejected where an interval
        lies beyond it.
    """
    shown = table[table["output"].ne(REFERENCE)]
    noisy, clean = (shown[shown["label_noise"].eq(level)] for level in (MOST_NOISE, NONE))
    smaller = noisy["change"].lt(0) & noisy["change_p_holm"].lt(ALPHA)
    beyond = clean["difference_low"].gt(MARGIN) | clean["difference_high"].lt(-MARGIN)
    parts = {
        "lead": (noisy["verdict"].eq("better").all(), noisy["verdict"].isin(NO_LEAD).any()),
        "as_large": (not noisy["change_low"].lt(0).any(), smaller.any()),
        "clean": (clean["verdict"].eq("same within margin").all(), beyond.any()),
    }
    return {
        name: "is rejected" if rejected else "holds" if held else "is not decided"
        for name, (held, rejected) in parts.items()
    }


def _verdict(row: Mapping[Any, Any]) -> str:
    return page_parts.judged({**row, "low": row["difference_low"], "high": row["difference_high"]})


def leads(table: pd.DataFrame, noise: str) -> Iterator[str]:
    """Write a sentence for each output: its verdicts at a noise level, in short where all budgets have one.

    Args:
        table: as from `numbers`.
        noise: the level, as a word.
    """
    rows = table[table["label_noise"].eq(noise) & table["output"].ne(REFERENCE)]
    for output, some in rows.groupby("output", sort=False):
        verdicts, sizes = set(some["verdict"]), sorted(some["difference"].abs())
        if verdicts == {"same within margin"}:
            yield f"{output} is the same within {100 * MARGIN:g} points at every budget."
        elif verdicts in ({"better"}, {"worse"}):
            extent = page_parts.ends(sizes[0], sizes[-1])
            yield f"{output} is {verdicts.pop()} at every budget, by {extent} points."
        else:
            parts = [f"{_verdict(row)} at {row['budget']}" for row in some.to_dict("records")]
            yield f"{output} is {joined(parts)}."


def changed(table: pd.DataFrame, noise: str) -> Iterator[str]:
    """Write a sentence for each output: how its lead changes from the first budget on, at a noise level."""
    first = table["budget"].iloc[0]
    rows = table[table["label_noise"].eq(noise) & table["change"].notna()]
    for output, some in rows.groupby("output", sort=False):
        parts = [
            f"{page_parts.points(row['change'], sign=True)} points "
            f"({page_parts.ends(row['change_low'], row['change_high'])}) until {row['budget']}"
            for row in some.to_dict("records")
        ]
        yield f"From {first}, the difference of {output} changes by {joined(parts)}."


def rows_of(table: pd.DataFrame, outputs: list[str]) -> list[list[str]]:
    """Write the rows of the page's table: noise, budget, the reference's accuracy, a verdict an output."""
    written = []
    for cell in table[CELL].drop_duplicates().to_numpy().tolist():
        rows = table[table[CELL].eq(cell).all(axis=1)].to_dict("records")
        of = {row["output"]: row for row in rows}
        mean, low, high = (percent(of[REFERENCE][name], 2) for name in ("mean", "low", "high"))
        verdicts = [_verdict(of[output]) for output in outputs]
        written.append([percent(float(cell[0]), 0), cell[1], f"{mean} ({low} to {high})", *verdicts])
    return written


def finding(folders: Mapping[str, Path]) -> Finding:
    """Read the study's results folder and make what its page shows.

    Raises:
        UsageError: the folder is not one of results.
        OSError: it has no report's tables.
    """
    folder = folders[STUDY]
    tuned = results.read_trials(folder / TUNED)
    blocks = of_blocks(tuned)
    table = numbers(blocks, pd.read_csv(folder / "tables" / "verdicts-tuned.csv"))
    chosen = pd.read_csv(folder / "tables" / "chosen.csv")
    outputs = [str(name) for name in dict.fromkeys(table["output"]) if name != REFERENCE]
    words = {
        **_design(documents.study(folder)), "blocks": blocks["block"].nunique(), "reference": REFERENCE,
        "contrasts": int(table["output"].ne(REFERENCE).sum()), "outputs": outputs,
        "outcomes": outcomes(table), "rows": rows_of(table, outputs), "leads": list(leads(table, MOST_NOISE)),
        "changes": list(changed(table, MOST_NOISE)), "clean": list(leads(table, NONE)),
        "most_noise": percent(float(MOST_NOISE), 0), "spreads": _spreads(chosen), "arms": len(chosen),
        "edges": int(chosen["edges"].fillna("").ne("").sum()), "took": page_parts.took([folder]),
        "unfinished": count(int(tuned["status"].ne("ok").sum()), "trial"),
    }  # fmt: skip
    return Finding(words, {"arms": table, "choices": chosen}, study_figures.advantages_figure(table, MARGIN))


def _design(study: Mapping[str, Any]) -> dict[str, Any]:
    """Give the words of the page that say how the study was made."""
    baseline, axes = study["baseline"], study["axes"]
    return {
        "hypothesis": study["study"]["hypothesis"].strip(), "dataset": baseline["dataset"].upper(),
        "hidden": "-".join(map(str, baseline["hidden"])), "batch_size": baseline["batch_size"],
        "optimizer": f"plain {baseline['optimizer'].upper()}",
        "epochs": max(budget["epochs"] for budget in axes["budget"]),
        "tried": count(len(axes["output"][0]["tune"]["lr"]), "rate"),
    }  # fmt: skip


def _spreads(chosen: pd.DataFrame) -> dict[str, str]:
    """Give the lowest and the highest standard deviation over arms, of seeds and of choices, in points."""
    return {
        name: page_parts.ends(float(chosen[name].min()), float(chosen[name].max()))
        for name in ("seed_sd", "choice_sd")
    }

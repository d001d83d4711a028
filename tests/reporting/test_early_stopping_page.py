"""Pruning on a search's page: 1-epoch top-k on its curves, and the error of extrapolated ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from searches import suggestions, write

from harness import reporting
from harness.reporting.model import Section
from harness.reporting.search import data as search_data
from harness.reporting.search import extrapolation, pruning, top_k
from harness.reporting.search import page as search_page
from harness.reporting.search.data import SearchData

EXTRAPOLATION = {"pruner": {"name": "extrapolation", "confidence": 0.8, "control": 7}}


def searched(
    folder: Path, table: pd.DataFrame, curves: np.ndarray | None = None, **search: Any
) -> SearchData:
    """Write and read a search; `curves` (suggestions, evaluations) replace those that the writer makes up."""
    write(folder, table, **search)
    if curves is not None:
        rows = [
            (f"t{n:03d}", epoch, 10 * epoch, "val", 1.0, value)
            for n, (curve, last) in enumerate(zip(curves, table["evaluations"], strict=True))
            for epoch, value in enumerate([0.1, *curve[:last]])
        ]
        columns = ["trial_id", "epoch", "step", "split", "loss", "accuracy"]
        pd.DataFrame(rows, columns=columns).to_csv(folder / "epochs.csv", index=False)
    return search_data.read(reporting.read(folder))


def of_curves(curves: np.ndarray) -> pd.DataFrame:
    """Tabulate complete suggestions that end as these curves do."""
    table = suggestions(len(curves))
    return table.assign(state="complete", reason="", evaluations=curves.shape[1], val_accuracy=curves[:, -1])


def end(table: pd.DataFrame, rows: pd.Series[bool], state: str, evaluations: int) -> None:
    """Let some suggestions end in another state, after so many evaluations."""
    table.loc[rows, "state"] = state
    table.loc[rows, "evaluations"] = evaluations


def words_of(section: Section | None) -> str:
    assert section is not None
    return " ".join(section.words).replace("\u00a0", " ")


def noisy(count: int, seed: int = 0) -> np.ndarray:
    """Rise to ends between 0.5 and 0.95, with noise that fades."""
    rng = np.random.default_rng(seed)
    end = rng.uniform(0.5, 0.95, count)[:, None]
    left = np.linspace(0.3, 0, 5)
    return end - left * end + rng.normal(0, 0.2, (count, 5)) * left


def test_curves_are_means_over_the_seeds_that_all_of_them_have(tmp_path: Path) -> None:
    table = of_curves(noisy(6))
    write(tmp_path, table, seeds=[2000, 2001])
    trials, epochs = pd.read_csv(tmp_path / "trials.csv"), pd.read_csv(tmp_path / "epochs.csv")
    again = trials["trial_id"].str.replace("t", "u")
    pd.concat([trials, trials.assign(trial_id=again, seed=2001)]).to_csv(tmp_path / "trials.csv", index=False)
    more = epochs.assign(trial_id=epochs["trial_id"].str.replace("t", "u"), accuracy=epochs["accuracy"] + 0.1)
    more = more[more["trial_id"].ne("u002") | more["epoch"].lt(3)]
    pd.concat([epochs, more]).to_csv(tmp_path / "epochs.csv", index=False)
    curves = pruning.by_evaluation(search_data.read(reporting.read(tmp_path)))
    assert curves.columns.to_numpy().tolist() == [1, 2, 3, 4, 5]
    first = epochs[epochs["trial_id"].eq("t002") & epochs["epoch"].eq(1)]["accuracy"].item()
    assert curves.loc[2, 1] == pytest.approx(first + 0.05)
    assert curves.isna().to_numpy()[2].tolist() == [False, False, True, True, True]
    assert curves.drop(index=2).notna().all(axis=None)


# ------------------------------------------------------------------------------------------------------ top-k


def test_top_k_is_judged_by_brute_force_over_the_curves(tmp_path: Path) -> None:
    curves = noisy(40)
    search = searched(tmp_path, of_curves(curves), curves)
    table = top_k.outcomes(search).set_index("kept")
    assert list(table.index) == [1, 3, 5, 10]
    for keep in table.index:
        kept = np.argsort(-curves[:, 0])[:keep]
        best = kept[np.argmax(curves[kept, -1])]
        assert table.loc[keep, "numbers"] == " ".join(map(str, kept))
        assert table.loc[keep, "best"] == best
        assert table.loc[keep, "worse"] == pytest.approx(curves[:, -1].max() - curves[best, -1])
        assert table.loc[keep, "evaluations"] == 40 + 4 * keep
        assert table.loc[keep, "spent"] == 200
    assert "Price: 52 evaluations; this search took 200." in words_of(top_k.section(search))


def test_a_late_riser_is_lost_to_top_k_and_the_page_says_by_how_much(tmp_path: Path) -> None:
    curves = np.tile(np.linspace(0.5, 0.8, 5), (12, 1)) + np.arange(12)[:, None] / 1000
    curves[4] = [0.1, 0.2, 0.4, 0.6, 0.911]
    search = searched(tmp_path, of_curves(curves), curves)
    words = words_of(top_k.section(search))
    assert "Of the best 3 after one evaluation the best at its end is suggestion 11, 81.10 %: " in words
    assert "10.0 points worse than the winner." in words
    assert "learned" not in words  # the sampler is random


def test_what_the_search_pruned_is_not_known_and_what_failed_is_nothing(tmp_path: Path) -> None:
    curves = noisy(12)
    order = np.argsort(-curves[:, 0])
    table = of_curves(curves)
    end(table, table["number"].eq(order[0]), "pruned", 2)
    end(table, table["number"].eq(order[1]), "failed", 3)
    table.loc[table["number"].eq(order[1]), "val_accuracy"] = np.nan
    search = searched(tmp_path, table, curves, sampler="tpe")
    rows = top_k.outcomes(search).set_index("kept")
    assert rows["unknown"].tolist() == [1, 1, 1, 1]
    assert rows["best"].isna().tolist() == [True, False, False, False]
    assert rows.loc[3, "best"] == order[2]
    assert (
        rows.loc[3, "evaluations"] == 12 + 4 + 2 + 4
    )  # the pruned one to its end, the failed one as far as it got
    words = words_of(top_k.section(search))
    assert "This search pruned 1 of these 3" in words
    assert "The sampler tpe learned from suggestions that were trained further" in words


def test_of_a_loss_the_least_are_kept(tmp_path: Path) -> None:
    table = of_curves(noisy(12)).rename(columns={"val_accuracy": "val_loss"})
    table.insert(7, "val_accuracy", 0.5)
    write(tmp_path, table, objective=["val_loss"], direction=["minimize"])
    epochs = pd.read_csv(tmp_path / "epochs.csv")
    losses = {f"t{n:03d}": (n - 5) ** 2 + 1.0 for n in range(12)}
    epochs.assign(loss=epochs["trial_id"].map(losses)).to_csv(tmp_path / "epochs.csv", index=False)
    search = search_data.read(reporting.read(tmp_path))
    assert top_k.outcomes(search).set_index("kept").loc[3, "numbers"] == "5 4 6"


def test_a_search_that_kept_another_number_is_told_by_that(tmp_path: Path) -> None:
    curves = noisy(20)
    chosen = {"pruner": {"name": "top-k", "keep": 7}}
    search = searched(tmp_path, of_curves(curves), curves, **chosen)
    assert top_k.outcomes(search)["kept"].tolist() == [1, 3, 5, 7, 10]
    assert words_of(top_k.section(search)).startswith("Of the best 7 after one evaluation")


# ---------------------------------------------------------------------------------------------- extrapolation


def test_the_table_has_the_errors_of_the_search_own_curves(tmp_path: Path) -> None:
    curves = noisy(60)
    search = searched(tmp_path, of_curves(curves), curves, **EXTRAPOLATION)
    section = extrapolation.section(search)
    assert section is not None
    (table,), (figure,) = section.tables, section.figures
    errors = extrapolation.errors_of(search)
    assert table.data is not None
    assert table.data["evaluation"].tolist() == [1, 2, 3, 4]
    first = errors[errors["evaluation"].eq(1)]
    miss = first["predicted"] - curves[first["number"], -1]
    assert table.data.loc[0, "rmse"] == pytest.approx(np.sqrt((miss**2).mean()))
    assert first["number"].min() == 8  # four finished curves are enough for 80 %, and a batch has eight
    assert figure.figure.axes[0].get_lines()[1].get_xdata() == pytest.approx(first["predicted"].to_numpy())
    words = words_of(section)
    assert "52 finished curves of 5 evaluations, each predicted from those of earlier batches." in words
    assert "One suggestion in 7 was trained to its end whatever was predicted" in words
    assert "do not rely" not in words
    assert "should hold in 60" in table.note


def test_bounds_that_hold_too_seldom_are_said_to(tmp_path: Path) -> None:
    curves = noisy(60)
    curves[30:, -1] -= 0.4  # the later suggestions fall at the end, which none before did
    search = searched(tmp_path, of_curves(curves), curves)
    words = words_of(extrapolation.section(search))
    assert "less often than in 90 %: do not rely on them." in words


def test_suggestions_that_would_have_been_stopped_in_error_are_named(tmp_path: Path) -> None:
    curves = noisy(60)
    curves[-1] = [0.1, 0.1, 0.1, 0.1, 0.99]
    words = words_of(extrapolation.section(searched(tmp_path, of_curves(curves), curves)))
    assert "1 of those stopped ended better than the best before them: suggestion 59." in words


def test_few_finished_curves_have_no_errors_and_their_pruner_says_so(tmp_path: Path) -> None:
    curves = noisy(10)
    assert extrapolation.section(searched(tmp_path / "a", of_curves(curves), curves)) is None
    search = searched(tmp_path / "b", of_curves(curves[:7]), curves[:7], **EXTRAPOLATION)
    words = words_of(extrapolation.section(search))
    assert words.startswith("Not judged: it takes more than 4 complete suggestions")


def test_only_curves_of_as_many_evaluations_are_compared(tmp_path: Path) -> None:
    curves = noisy(60)
    table = of_curves(curves)
    table.loc[::6, "evaluations"] = 3
    search = searched(tmp_path, table, curves)
    assert not extrapolation.errors_of(search)["number"].mod(6).eq(0).any()


def test_what_a_pruner_stopped_is_said_to_be_left_out(tmp_path: Path) -> None:
    curves = noisy(60)
    table = of_curves(curves)
    end(table, table["number"].mod(4).eq(0), "pruned", 2)
    words = words_of(extrapolation.section(searched(tmp_path, table, curves)))
    assert "Only curves that the pruner median let come to their end are here" in words


def test_the_page_has_both_sections_and_one_without_curves_neither(tmp_path: Path) -> None:
    curves = noisy(60)
    names = [s.name for s in search_page.sections(searched(tmp_path / "a", of_curves(curves), curves))]
    assert {"top-k", "extrapolation"} <= set(names)
    failed = of_curves(curves[:5]).assign(state="failed", val_accuracy=np.nan)
    names = [s.name for s in search_page.sections(searched(tmp_path / "b", failed))]
    assert not {"top-k", "extrapolation"} & set(names)

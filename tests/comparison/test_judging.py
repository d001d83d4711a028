"""Verdicts on any table, held against SciPy's and statsmodels' tests and against the committed reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

import harness
from harness import stats
from harness.comparison.judging import results_folder as judged_folder
from harness.comparison.judging import text
from harness.comparison.judging.judge import Judgement, judged_study
from harness.comparison.judging.options import JudgeOptions
from harness.errors import UsageError
from harness.results.merging import merge

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
EFFECTS = {"baseline": 0.0, "gelu": 0.004, "tanh": -0.01, "copy": 0.0}


def runs(seeds: int = 10, effects: dict[str, float] = EFFECTS, noise: float = 0.001) -> pd.DataFrame:
    """A row a run: seeds shift all arms alike, and each run a little."""
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 0.003, seeds)
    rows = [
        {"model": arm, "seed": seed, "accuracy": 0.7 + shared[seed] + effect + rng.normal(0, noise)}
        for arm, effect in effects.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


def column(table: pd.DataFrame, arm: str) -> np.ndarray[Any, Any]:
    return table[table["model"].eq(arm)]["accuracy"].to_numpy()


def by_arm(judgement: Judgement) -> pd.DataFrame:
    return judgement.contrasts.set_index("arm")


def test_numbers_are_those_of_scipy_and_statsmodels() -> None:
    table = runs()
    found = by_arm(harness.judge(table, margin=0.002))
    pairs = {arm: (column(table, arm), column(table, "baseline")) for arm in ("gelu", "tanh", "copy")}
    p = [scipy_stats.ttest_rel(*pair).pvalue for pair in pairs.values()]
    same = [ttost_paired(*pair, -0.002, 0.002)[0] for pair in pairs.values()]
    ends = [scipy_stats.ttest_rel(*pair).confidence_interval() for pair in pairs.values()]
    found = found.loc[list(pairs)]
    np.testing.assert_allclose(found["p"], p, rtol=1e-9)
    np.testing.assert_allclose(found["p_holm"], multipletests(p, method="holm")[1], rtol=1e-9)
    np.testing.assert_allclose(found["p_same"], same, rtol=1e-7)
    np.testing.assert_allclose(found[["low", "high"]], [(end.low, end.high) for end in ends], rtol=1e-9)
    assert list(found["verdict"]) == ["better", "worse", "same within margin"]
    assert found["mean"]["gelu"] == pytest.approx(column(table, "gelu").mean())
    assert set(found["reference_mean"].round(12)) == {round(column(table, "baseline").mean(), 12)}


def test_samples_are_judged_by_mcnemar() -> None:
    # 100 both right, 40 only A, 20 only B, 60 both wrong
    a = [1] * 140 + [0] * 80
    b = [1] * 100 + [0] * 40 + [1] * 20 + [0] * 60
    table = pd.DataFrame({"model": ["a"] * 220 + ["b"] * 220, "doc_id": [*range(220)] * 2, "acc": a + b})
    judgement = harness.judge(table, reference="b")
    row = judgement.contrasts.iloc[0]
    assert judgement.observations.unit == "sample"
    assert row["p"] == pytest.approx(mcnemar([[100, 40], [20, 60]], exact=True).pvalue)
    assert row["p"] == pytest.approx(stats.mcnemar(np.array(a) == 1, np.array(b) == 1)["p"][0])
    assert (row["only_arm"], row["only_reference"], row["n"]) == (40, 20, 220)
    assert row["difference"] == pytest.approx(20 / 220)
    # Bonett and Price (2012): (41 - 21) / 222 -+ 1.96 sqrt((62 / 222 - (20 / 222)^2) / 222)
    half = 1.959964 * np.sqrt((62 / 222 - (20 / 222) ** 2) / 222)
    assert (row["low"], row["high"]) == pytest.approx((20 / 222 - half, 20 / 222 + half), rel=1e-6)
    unpaired = 2 * scipy_stats.norm.sf((20 / 220) / np.sqrt(sum(np.var(x, ddof=1) / 220 for x in (a, b))))
    assert judgement.verdict == "better"
    assert unpaired > 0.05


def test_samples_on_which_both_agree_are_the_same() -> None:
    few = pd.DataFrame({"model": ["a"] * 9 + ["b"] * 9, "doc_id": [*range(9)] * 2, "acc": [1, 0, 1] * 6})
    assert harness.judge(few).verdict == stats.IDENTICAL
    many = pd.concat([few.assign(doc_id=few["doc_id"] + 9 * i) for i in range(400)])
    assert harness.judge(many, margin=0.01).verdict == "same within margin"


@pytest.mark.parametrize(
    ("study", "table"),
    [
        ("choices", "choices/tables/verdicts.csv"),
        ("losses", "losses/tables/verdicts.csv"),
        ("losses/tuned", "losses/tables/verdicts-tuned.csv"),
        ("best-mlp-mnist", "best-mlp-mnist/tables/verdicts.csv"),
        ("best-mlp-fashion/confirmed", "best-mlp-fashion/tables/verdicts.csv"),
    ],
)
def test_a_results_folder_gets_the_verdicts_of_its_report(study: str, table: str) -> None:
    folder, report = REFERENCE / study, pd.read_csv(REFERENCE / table)
    judgement = harness.judge(folder)
    found = judgement.contrasts
    assert len(found) == len(report) > 0
    assert list(found["block"]) == list(report["dataset"])
    assert list(found["verdict"]) == list(report["verdict"])
    numbers = ["n", "difference", "sd", "low", "high", "p", "p_holm", "p_same", "p_same_holm", "detectable",
               "more_seeds"]  # fmt: skip
    np.testing.assert_allclose(found[numbers], report[numbers], rtol=1e-5)


@pytest.mark.parametrize(("seeds", "count"), [(2, 3), (4, 2)], ids=["arms are spread", "whole seeds"])
def test_a_folder_that_lacks_shards_is_judged_with_a_word_on_them(
    tmp_path: Path, seeds: int, count: int
) -> None:
    study = harness.parse(
        {
            "study": {"name": "shared", "seeds": seeds},
            "baseline": {"dataset": "digits", "steps": 2, "hidden": [8]},
            "axes": {"activation": ["relu", "tanh"], "optimizer": ["sgd", "adam", "rmsprop"]},
        }
    )
    shards = [tmp_path / str(number + 1) for number in range(count)]
    for number, folder in enumerate(shards, start=1):
        harness.run(study, folder, workers=1, shard=f"{number}/{count}")
    said = f"shard {count} of {count} is not in this folder; no verdict has their trials: contrasts may lack"
    for folders, there in ((shards[:-1], True), (shards, False)):
        out = tmp_path / f"of {len(folders)}"
        merge(folders, out)
        judged = harness.judge(out)
        assert any(said in note for note in judged.notes) is there
        assert judged.contrasts["n"].max() == (seeds if not there or seeds == 2 else seeds // 2)


def test_the_p_of_a_lone_contrast_is_not_called_corrected() -> None:
    table = runs()
    few, several = harness.judge(table[table["model"].isin(["baseline", "tanh"])]), harness.judge(table)
    for judged, words in ((few, "p"), (several, "p (Holm)")):
        assert words in text.headings(judged)
        assert f">{words}<" in judged._repr_html_()
        sentence = next(said for said in text.sentences(judged) if "tanh" in said)
        assert ("corrected p" in sentence) is (words == "p (Holm)")
        assert ", p" in sentence or ", corrected p" in sentence


def test_a_report_of_pairs_and_the_plain_table_agree() -> None:
    folder = REFERENCE / "best-mlp-mnist" / "confirmed"
    judged = harness.judge(folder).contrasts
    plain = harness.judge(
        folder / "trials.csv", arm="arm", seed="seed", metric="test_accuracy", reference="baseline"
    )
    names = [
        "arm",
        "reference",
        "n",
        "difference",
        "low",
        "high",
        "p_holm",
        "p_same_holm",
        "verdict",
        "more_seeds",
    ]
    pd.testing.assert_frame_equal(judged[names], plain.contrasts[names])


def test_each_block_has_its_verdicts_and_all_are_one_family() -> None:
    table = pd.concat([runs().assign(dataset="mnist"), runs(noise=0.02).assign(dataset="fashion")])
    judgement = harness.judge(table)  # dataset is a block by its name
    assert list(judgement.contrasts["block"]) == ["mnist"] * 3 + ["fashion"] * 3
    p = judgement.contrasts["p"]
    np.testing.assert_allclose(judgement.contrasts["p_holm"], multipletests(p, method="holm")[1])


def test_every_two_arms() -> None:
    judgement = harness.judge(runs(), all_pairs=True)
    assert len(judgement.contrasts) == 6
    assert ("tanh", "gelu") in set(
        judgement.contrasts[["arm", "reference"]].itertuples(index=False, name=None)
    )


def test_pairs_on_common_seeds_and_counts_the_others() -> None:
    table = runs()
    table = table[~(table["model"].eq("gelu") & table["seed"].lt(3))]
    table.loc[table["model"].eq("tanh") & table["seed"].eq(5), "accuracy"] = np.nan
    judgement = harness.judge(table)
    assert dict(by_arm(judgement)["n"]) == {"gelu": 7, "tanh": 9, "copy": 10}
    told = [(part.rows, part.reason) for part in judgement.left_out]
    assert (3, "baseline: seed 0, 1, 2, which gelu has not") in told
    assert (1, "no accuracy") in told
    assert harness.judge(table[table["seed"].ne(5)]).exit_code == 1  # tanh is worse, holes or not


@pytest.mark.parametrize(
    ("effects", "noise", "verdict", "code"),
    [
        ({"baseline": 0, "new": 0.01}, 0.001, "better", 0),
        ({"baseline": 0, "new": -0.01}, 0.001, "worse", 1),
        ({"baseline": 0, "new": 0}, 0.0005, "same within margin", 0),
        ({"baseline": 0, "new": 0}, 0.02, "cannot tell", 2),
        ({"baseline": 0, "new": 0.01, "other": 0}, 0.0005, "not worse", 0),
        ({"baseline": 0, "new": 0.01, "other": -0.01}, 0.0005, "worse", 1),
        ({"baseline": 0, "new": -0.001}, 0.0001, "not worse", 0),  # it is there, and within the margin
    ],
)
def test_one_verdict_of_all(effects: dict[str, float], noise: float, verdict: str, code: int) -> None:
    judgement = harness.judge(runs(12, effects, noise))
    assert (judgement.verdict, judgement.exit_code) == (verdict, code)


def test_one_seed_has_no_verdict() -> None:
    judgement = harness.judge(runs(1))
    assert judgement.verdict == "one seed"
    assert judgement.exit_code == 2


def test_losses_are_better_when_low_and_a_margin_is_not_made_up() -> None:
    table = runs().rename(columns={"accuracy": "val_loss"})
    judgement = harness.judge(table)
    assert dict(by_arm(judgement)["verdict"]) == {"gelu": "worse", "tanh": "better", "copy": "cannot tell"}
    assert judgement.scale.margin is None
    assert by_arm(judgement)["p_same"].isna().all()
    assert any("too small to matter" in note for note in judgement.notes)
    same = harness.judge(table, margin=0.002)
    assert by_arm(same)["verdict"]["copy"] == "same within margin"
    other = harness.judge(table, higher_is_better=True)
    assert by_arm(other)["verdict"]["gelu"] == "better"


def test_percent_gives_the_verdicts_of_shares() -> None:
    shares, percent = runs(), runs().assign(accuracy=lambda t: 100 * t["accuracy"])
    first, second = harness.judge(shares), harness.judge(percent)
    assert (first.scale.kind, second.scale.kind) == ("share", "percent")
    assert (first.scale.margin, second.scale.margin) == (0.002, 0.2)
    assert list(first.contrasts["verdict"]) == list(second.contrasts["verdict"])
    np.testing.assert_allclose(100 * first.contrasts["difference"], second.contrasts["difference"])


def test_a_share_above_one_does_not_make_percent() -> None:
    table = runs()
    table.loc[3, "accuracy"] = 1.02
    judgement = harness.judge(table)
    assert judgement.scale.kind == "plain"
    assert judgement.scale.margin is None
    assert any("neither a share" in note for note in judgement.notes)


def test_the_reference_is_named_or_the_first_and_said() -> None:
    table = runs()
    assert harness.judge(table).references == ("baseline",)
    assert not any("reference" in note for note in harness.judge(table).notes)
    renamed = harness.judge(table.replace({"model": {"baseline": "relu"}}))
    assert renamed.references == ("relu",)
    assert any("first arm" in note for note in renamed.notes)
    assert harness.judge(table, reference="copy").references == ("copy",)
    with pytest.raises(UsageError, match="did you mean 'copy'"):
        harness.judge(table, reference="cop")


@pytest.mark.parametrize("name", ["2026-01-31", str(2**63), "a,b", "0x1F"])
def test_seeds_are_labels(name: str) -> None:
    table = runs(6).assign(seed=lambda t: name + t["seed"].astype(str))
    plain = harness.judge(runs(6)).contrasts
    pd.testing.assert_frame_equal(harness.judge(table).contrasts, plain)


def test_seeds_of_floats_and_of_whole_numbers_are_one() -> None:
    table = runs(4).astype({"seed": object})
    table.loc[table["model"].eq("gelu"), "seed"] = table["seed"].astype(
        float
    )  # as a column with a hole is read
    assert dict(by_arm(harness.judge(table))["n"]) == {"gelu": 4, "tanh": 4, "copy": 4}


def test_it_shows_itself_in_a_notebook() -> None:
    judgement = harness.judge(runs().replace({"model": {"gelu": "<b>gelu</b>"}}))
    assert repr(judgement) == "Judgement 'worse': 3 contrasts of accuracy"
    shown = judgement._repr_html_()
    assert "&lt;b&gt;gelu" in shown
    assert "same within margin" in shown


def test_unknown_options_are_an_error() -> None:
    unknown: Any = {"metrc": "accuracy"}
    with pytest.raises(TypeError, match="metrc"):
        harness.judge(runs(2), **unknown)
    wrong: Any
    for wrong in ({"alpha": 2.0}, {"margin": -1.0}, {"all_pairs": True, "reference": "copy"}):
        with pytest.raises(UsageError, match=r"allowed|leave one out"):
            harness.judge(runs(2), **wrong)


def test_runs_that_share_nothing() -> None:
    table = runs().drop(columns="seed")
    with pytest.raises(UsageError, match="--unpaired, which needs more"):
        harness.judge(table)
    judgement = harness.judge(table, unpaired=True)
    test = scipy_stats.ttest_ind(column(table, "gelu"), column(table, "baseline"), equal_var=False)
    assert by_arm(judgement)["p"]["gelu"] == pytest.approx(test.pvalue)
    assert by_arm(judgement)["reference_n"]["gelu"] == 10
    assert judgement.observations.unit == "run"
    assert any("share nothing" in note for note in judgement.notes)
    paired = harness.judge(runs())
    assert (by_arm(judgement)["detectable"] > by_arm(paired)["detectable"]).all()  # what pairing is worth


def test_an_arm_that_shares_no_seed_with_its_reference_has_no_data_and_leaves_the_verdict_open() -> None:
    table = runs(6, {"baseline": 0.0, "gelu": 0.01})
    lone = table[table["model"].eq("gelu")].assign(model="lone", seed=range(100, 106))
    judgement = harness.judge(pd.concat([lone, table]), reference="baseline")
    assert by_arm(judgement)["verdict"].to_dict() == {"gelu": "better", "lone": "no data"}
    assert by_arm(judgement)["n"].to_dict() == {"gelu": 6, "lone": 0}
    assert (judgement.verdict, judgement.exit_code) == ("cannot tell", 2)


@pytest.mark.parametrize("unpaired", [False, True])
def test_an_arm_of_other_blocks_alone_has_no_data_and_one_that_skips_a_block_has_no_row_there(
    unpaired: bool,
) -> None:
    table = runs(6, {"baseline": 0.0, "gelu": 0.01, "lone": 0.01})
    first = table[table["model"].ne("lone")].assign(task="a")
    second = table[table["model"].eq("baseline")].assign(task="b")
    third = table[table["model"].eq("lone")].assign(task="c")
    judgement = harness.judge(pd.concat([first, second, third]), unpaired=unpaired)
    rows = judgement.contrasts[["block", "arm", "verdict"]].to_numpy().tolist()
    assert rows == [["a", "gelu", "better"], ["c", "lone", "no data"]]
    assert judgement.verdict == "cannot tell"


def test_a_results_folder_is_judged_unpaired_where_that_is_asked() -> None:
    judgement = harness.judge(REFERENCE / "pitfalls", unpaired=True)
    assert judgement.observations.unit == "run"


def test_a_declared_contrast_that_cannot_be_made_leaves_the_verdict_open() -> None:
    study = judged_folder.read(REFERENCE / "pitfalls")
    reversed_ = study.differences.assign(difference=-study.differences["difference"])
    better = replace(study, differences=reversed_)
    assert judged_study(better, JudgeOptions()).verdict == "better"
    assert judged_study(replace(better, doubts=("no arm",)), JudgeOptions()).verdict == "cannot tell"


def test_an_open_contrast_says_the_seeds_for_the_margin_and_for_what_it_looks_like() -> None:
    values = {"a": [0.90, 0.90, 0.90, 0.90], "b": [0.89, 0.97, 0.90, 0.94]}
    rows = [
        {"arm": arm, "seed": seed, "accuracy": value}
        for arm, listed in values.items()
        for seed, value in enumerate(listed)
    ]
    table = pd.DataFrame(rows)
    (words,) = text.sentences(harness.judge(table, reference="a"))
    # A t test finds 2.5 points, of which the SD is 3.70, with 80 % power from 20 pairs on.
    assert words.endswith(
        "more would show 0.2 points; if the difference is as large as it looks, about 16 more would show it."
    )
    (plain,) = text.sentences(harness.judge(table, reference="a", margin="none"))
    assert "about 16 more would show it" in plain
    (near,) = text.sentences(harness.judge(table, reference="a", margin=0.02))
    assert "as it looks" not in near

"""The pages of docs/findings-of-studies: their numbers are those of results folders."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import noisy_losses
import numpy as np
import page_parts
import pandas as pd
import pytest
import scipy.stats
import single_run_page
import study_pages
import tomli_w
import variance
from noisy_losses import REFERENCE
from study_pages import PAGES

from harness import stats
from harness.stats.seed_variance import EVERY, NOTHING
from harness.study.reading import parse
from harness.training import runs

BLOCKS, TABLES, EPOCHS = 20, 20, 3
SPREAD = 0.001
NOISE = (0.0, 0.1, 0.4)
BUDGETS = ("3 epochs with decay", "20 epochs", "20 epochs with decay")
LEADS = {"CE on logits": 0.0, "QL on softmax": 0.01, "CCQL on softmax": -0.02}
"""How far an output is ahead of cross-entropy in the folders that are made here, at a label noise of 0.4."""
NETWORKS = {"softmax regression": 0.90, "mlp 32": 0.95, "mlp 128": 0.97}
AXES_OF_LOSSES: dict[str, Any] = {
    "label_noise": list(NOISE),
    "budget": [{"name": name, "epochs": int(name.split()[0])} for name in BUDGETS],
    "output": [{"name": name, "tune": {"lr": [0.1, 0.2]}} for name in LEADS],
}
AXES_OF_NETWORKS: dict[str, Any] = {
    "network": [{"name": name, "hidden": []} for name in NETWORKS],
    "schedule": ["constant", "linear"],
}
BASELINE = {"dataset": "mnist", "hidden": [32], "batch_size": 128, "optimizer": "sgd"}


def write(folder: Path, rows: list[dict[str, Any]], axes: Mapping[str, Any]) -> pd.DataFrame:
    """Write a results folder of these trials, each with a curve whose last epoch is not its best."""
    folder.mkdir(parents=True)
    trials = pd.DataFrame(rows)
    trials.insert(0, "trial_id", [f"{folder.name}{i}" for i in range(len(trials))])
    trials = trials.assign(arm=trials["trial_id"], status="ok", reason="")
    trials.to_csv(folder / "trials.csv", index=False)
    curves = [
        {"trial_id": row["trial_id"], "epoch": epoch, "step": epoch, "split": "val", "loss": 1.0,
         "accuracy": row["val_accuracy"] - 0.01 * (epoch == 0) + 0.001 * (epoch == EPOCHS - 1)}
        for row in trials.to_dict("records")
        for epoch in range(EPOCHS + 1)
    ]  # fmt: skip
    pd.DataFrame(curves).to_csv(folder / "epochs.csv", index=False)
    (folder / "confusion.csv").write_text("trial_id,split,label,prediction,count\n")
    study = {"name": folder.name, "seeds": [0], "hypothesis": "It is so. "}
    (folder / "study.toml").write_text(tomli_w.dumps({"study": study, "baseline": BASELINE, "axes": axes}))
    runs = [{"started": "2026-01-01", "seconds": 90.0}]
    (folder / "provenance.json").write_text(json.dumps({"cpu": "A processor", "workers": 2, "runs": runs}))
    return trials


def losses(rng: np.random.Generator, seeds: int, **more: Any) -> Iterator[dict[str, Any]]:
    for noise, budget, output, seed in itertools.product(NOISE, BUDGETS, LEADS, range(seeds)):
        accuracy = 0.95 + LEADS[output] * noise / 0.4 + rng.normal(0, SPREAD)
        yield {
            "label_noise": noise, "budget": budget, "output": output, "seed": seed,
            "val_accuracy": accuracy, "test_accuracy": accuracy, **more,
        }  # fmt: skip


def networks(rng: np.random.Generator, dataset: str, seeds: int) -> Iterator[dict[str, Any]]:
    for (network, mean), schedule, seed in itertools.product(
        NETWORKS.items(), ["constant", "linear"], range(seeds)
    ):
        accuracy = mean + 0.004 * (schedule == "linear") + rng.normal(0, SPREAD)
        yield {
            "dataset": dataset, "label_noise": 0.0, "network": network, "schedule": schedule, "lr": 0.01,
            "seed": seed, "val_accuracy": accuracy, "test_accuracy": accuracy,
        }  # fmt: skip


def varied(rng: np.random.Generator, values: int = 8, seeds: int = 10) -> pd.DataFrame:
    """Draw trials of which one source is varied: initial weights and order of batches decide a half each.

    Of softmax regression the initial weights decide nothing; with a linear schedule the spread is a third.
    """
    rows = []
    for network, schedule in itertools.product(NETWORKS, ["constant", "linear"]):
        spread = SPREAD if schedule == "constant" else SPREAD / 3
        for source in ("start", "order"):
            own, rest = rng.normal(0, spread, values), rng.normal(0, spread, seeds)
            if network == variance.FLAT and source == "start":
                own[:] = 0
            rows += [
                {"label": f"{network} · {schedule}", "source": source, "value": value, "seed": seed,
                 "test_accuracy": 0.9 + own[value] + rest[seed]}
                for value, seed in itertools.product(range(values), range(seeds))
            ]  # fmt: skip
        usual = {"label": f"{network} · {schedule}", "source": EVERY, "value": 0}
        rows += [usual | {"seed": i, "test_accuracy": 0.9 + rng.normal(0, spread)} for i in range(seeds)]
        again = usual | {"source": NOTHING, "test_accuracy": 0.9}
        rows += [again | {"seed": i} for i in range(seeds)]
    return stats.seed_variance(
        pd.DataFrame(rows).assign(dataset="mnist", status="ok"), ["dataset", "label"], "test_accuracy"
    )


def verdicts(trials: pd.DataFrame) -> pd.DataFrame:
    """Judge the tuned arms, as tables/verdicts-tuned.csv has them."""
    cells = [
        f"label_noise {noise:g}, budget {budget}" for noise, budget in trials[noisy_losses.CELL].to_numpy()
    ]
    named = trials.assign(within=cells)
    wide = named.pivot_table(index=["within", "seed_block"], columns="output", values="test_accuracy")
    differences = [
        (wide[output] - wide[REFERENCE]).rename("difference").reset_index().assign(arm=output)
        for output in LEADS
        if output != REFERENCE
    ]
    return stats.verdicts(pd.concat(differences), ["within", "arm"], margin=0.002)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folders of the studies that the pages need, with differences that are known."""
    root, rng = tmp_path_factory.mktemp("studies"), np.random.default_rng(0)
    more: dict[str, Any] = {"dataset": "mnist", "lr": 0.1}
    write(root / "losses_noise", list(losses(rng, 2, **more)), AXES_OF_LOSSES)
    rows = [{**row, "seed_block": row["seed"] // 2 + 1} for row in losses(rng, 2 * BLOCKS, **more)]
    tuned = write(root / "losses_noise" / "tuned", rows, AXES_OF_LOSSES)
    tables = root / "losses_noise" / "tables"
    tables.mkdir()
    verdicts(tuned).to_csv(tables / "verdicts-tuned.csv", index=False)
    choices = {"dataset": "mnist", "arm": ["a", "b"], "edges": ["", "lr is the lowest tried (3)"],
               "seed_sd": [0.001, 0.002], "choice_sd": [0.0005, 0.0007]}  # fmt: skip
    pd.DataFrame(choices).to_csv(tables / "chosen.csv", index=False)
    single = [
        row
        for lr in (0.1, 0.5)
        for row in losses(rng, TABLES, dataset="mnist_val_is_test", lr=lr)
    ]  # fmt: skip
    write(root / "single_runs_losses", single, {**AXES_OF_LOSSES, "lr": [0.1, 0.5]})
    careful = [{**row, "fixed_seed": "none"} for row in networks(rng, "mnist", 10)]
    careful.append({**careful[0], "fixed_seed": "start 3", "test_accuracy": 0.1})
    write(root / "variance", careful, AXES_OF_NETWORKS)
    tables = root / "variance" / "tables"
    tables.mkdir()
    sources = varied(rng)
    sources.to_csv(tables / "seed-sources.csv", index=False)
    needed = stats.seeds_for_difference(sources[sources["source"].eq(EVERY)], page_parts.MARGIN)
    needed.to_csv(tables / "seeds-needed.csv", index=False)
    write(root / "single_runs_networks", list(networks(rng, "mnist_val_is_test", TABLES)), AXES_OF_NETWORKS)
    return root


@pytest.fixture(scope="module")
def written(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("pages")
    study_pages.main(["--results", str(folders), "--into", str(into)])
    return into


def test_trials_of_a_phase_that_is_not_kept_are_counted_by_its_runs(tmp_path: Path) -> None:
    tables = {
        "study": {"name": "s", "seeds": 2}, "baseline": {"dataset": "digits", "hidden": [8], "epochs": 1},
        "axes": {"activation": ["relu", "tanh"]}, "tune": {"seeds": 3, "space": {"lr": [0.1, 0.3]}},
    }  # fmt: skip
    runs.train(parse(tables), tmp_path / "s", device="cpu", workers=1)
    whole = page_parts.took([tmp_path / "s"])
    assert int(whole.split()[0]) >= 4 + 12
    for file in (tmp_path / "s" / "tuning").iterdir():
        if file.is_file() and file.name != "provenance.json":
            file.unlink()
    assert page_parts.took([tmp_path / "s"]) == whole


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_its_tables_and_its_figure_and_no_number_that_is_none(written: Path, name: str) -> None:
    text = (written / f"{name}.md").read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b|undefined|None|\{\{|\{%", text)
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= study_pages.WIDTH
    for link in re.findall(r"\]\(([\w/.-]+)\)", text):
        if not link.startswith(".."):
            assert (written / link).is_file(), link
    assert len(list(written.glob(f"{name}-*.csv"))) == 2


def test_the_page_on_losses_says_the_verdicts_and_what_became_of_the_hypothesis(written: Path) -> None:
    text = " ".join((written / "losses-under-noise.md").read_text(encoding="utf-8").split())
    assert "of the labels wrong at every budget: it is rejected;" in text  # CCQL is worse
    assert "that on clean labels they are within 0.2 points: it holds." in text
    assert re.search(
        r"against CE on logits: QL on softmax is better at every budget, by (0\.9\d|1\.0\d) to", text
    )
    assert re.search(r"CCQL on softmax is worse at every budget, by (1\.9\d|2\.0\d) to 2\.0\d points\.", text)
    assert "right: QL on softmax is the same within 0.2 points at every budget." in text
    assert "Each of 20 blocks" in text
    assert "among 2 rates" in text
    assert "1,134 trainings, 3.0 min on 2 cores (A processor)" in text


def test_the_numbers_of_the_page_on_losses_are_those_of_its_table(written: Path) -> None:
    table = pd.read_csv(written / "losses-under-noise-arms.csv")
    rows = {(row["label_noise"], row["budget"], row["output"]): row for row in table.to_dict("records")}
    assert len(rows) == len(NOISE) * len(BUDGETS) * len(LEADS)
    assert (table["n"] == BLOCKS).all()
    ql = rows[0.4, "20 epochs", "QL on softmax"]
    assert ql["difference"] == pytest.approx(0.01, abs=SPREAD)
    assert ql["mean"] == pytest.approx(0.96, abs=SPREAD)
    assert ql["change_low"] < 0 < ql["change_high"]  # the lead is the same at every budget
    assert math.isnan(rows[0.4, "20 epochs", REFERENCE]["difference"])
    assert math.isnan(rows[0.4, BUDGETS[0], "QL on softmax"]["change"])


def test_the_page_on_single_runs_has_the_pairs_of_both_studies(written: Path) -> None:
    pairs = pd.read_csv(written / "single-run-tables-pairs.csv")
    counts = pairs.groupby("study").size().to_dict()
    assert counts == {"losses and budgets": 3 * 36, "networks and schedules": 15}
    networks = pairs[pairs["study"].eq("networks and schedules")]
    assert networks["known"].all()  # 10 seeds each: the run with a fixed seed is none of them
    assert (networks["n"] == 10).all()
    rates = pd.read_csv(written / "single-run-tables-rates.csv")
    far = rates[rates["size_low"].eq(0.02) & rates["against"].eq("the careful study")]
    assert (far["wrong"] == 0).all()
    assert set(rates["protocol"]) >= {"lr 0.1, last epoch", "lr 0.5, best epoch on test"}


def test_the_page_on_variance_says_what_became_of_each_part_of_the_hypothesis(written: Path) -> None:
    text = " ".join((written / "variance.md").read_text(encoding="utf-8").split())
    assert "none of its variance from its initial weights holds: the interval lies above 0 in 0 of 2" in text
    assert re.search(r"each have more than half of the variance is [a-z ]+: of 8 cases", text)
    assert "the variance is 7 % to 13 % of that with a constant one" in text
    assert "at most a half in 3 of 3 cases" in text
    assert "The same trial again gave the same accuracy to the last digit, in all of 60 trials" in text
    assert "; 0 % in softmax regression" in text
    sources = pd.read_csv(written / "variance-sources.csv")
    decayed = sources["label"].str.contains("linear") & ~sources["label"].str.contains(variance.FLAT)
    starts = sources.loc[decayed & sources["source"].eq("start"), "share"]
    assert f"{starts.min():.0%} to {starts.max():.0%} with a rate that ends at 0".replace("%", " %") in text
    needed = pd.read_csv(written / "variance-needed.csv")
    constant = needed.loc[needed["label"].str.contains("constant"), "needed"]
    assert len(constant) == 3
    words = variance.extent(constant)
    assert f"needs, of each of two arms, {words} seeds at a constant rate and " in text


def test_a_page_whose_results_are_missing_waits_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_pages.main(["losses-under-noise", "--results", str(tmp_path), "--into", str(tmp_path)])
    assert "losses-under-noise: not written" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_results_without_a_report_end_in_words(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders / "losses_noise", tmp_path / "losses_noise")
    shutil.rmtree(tmp_path / "losses_noise" / "tables")
    for said in ("verdicts-tuned.csv: `harness report`", "tuned is not a results folder"):
        with pytest.raises(SystemExit) as stopped:
            study_pages.main(["losses-under-noise", "--results", str(tmp_path), "--into", str(tmp_path)])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
        shutil.rmtree(tmp_path / "losses_noise" / "tuned", ignore_errors=True)
    assert not (tmp_path / "losses-under-noise.md").exists()


def test_an_unknown_page_ends_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        study_pages.main(["losses"])
    assert stopped.value.code == 2
    assert "unknown page losses; allowed: variance, losses-under-noise" in capsys.readouterr().err


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_says_what_the_committed_results_say(name: str) -> None:
    page, path = PAGES[name], study_pages.HERE / f"{name}.md"
    if missing := page.missing(study_pages.REFERENCE):
        assert not path.exists(), "a page without results"
        pytest.skip(f"results/reference has no {', '.join(missing)} yet")
    assert path.read_text(encoding="utf-8") == study_pages.text(name, page.read(study_pages.REFERENCE))


# ------------------------------------------------------------------------------------------ words of verdicts


def test_verdicts_that_differ_between_budgets_are_said_one_by_one() -> None:
    rows = {
        "label_noise": "0.4", "budget": ["3 epochs", "20 epochs"], "output": "QL on softmax",
        "verdict": ["better", "cannot tell"], "difference": [0.01, 0.0], "difference_low": [0.005, -0.01],
        "difference_high": [0.015, 0.01],
    }  # fmt: skip
    (said,) = noisy_losses.leads(pd.DataFrame(rows), "0.4")
    assert said == (
        "QL on softmax is better by 1.00 points (0.50 to 1.50) at 3 epochs and not told apart (0.00 points, "
        "-1.00 to 1.00) at 20 epochs."
    )


@pytest.mark.parametrize(
    ("small", "large", "said"),
    [
        ((0.2, 0.15, 0.25), 0.0, "holds"),
        ((0.12, 0.08, 0.16), 0.0, "is not decided"),
        ((0.05, 0.02, 0.08), 0.0, "is rejected"),
        ((0.2, 0.15, 0.25), 0.01, "is rejected"),
        ((0.0, math.nan, math.nan), 0.0, "is rejected"),
        ((0.5, math.nan, math.nan), 0.0, "holds"),
        (None, 0.0, "cannot be judged (no pair differs by 0.1 to 0.2 points)"),
        (None, 0.01, "is rejected"),
        ((0.2, 0.15, 0.25), None, "cannot be judged (no pair differs by 2 and more points)"),
        ((0.05, 0.02, 0.08), None, "is rejected"),
    ],
)
def test_the_hypothesis_on_tables_is_judged_by_the_interval(
    small: tuple[float, float, float] | None, large: float | None, said: str
) -> None:
    rates = {"0.1 to 0.2": small, "2 and more": large if large is None else (large, math.nan, math.nan)}
    rows = [
        {"protocol": "lr 0.1", "size": size, **dict(zip(("wrong", "low", "high"), rate, strict=True))}
        for size, rate in rates.items()
        if rate is not None
    ]
    assert single_run_page.outcome(pd.DataFrame(rows), "lr 0.1") == said


@pytest.mark.parametrize(
    ("verdict", "difference", "said"),
    [
        ("better", 0.0092, "better by 0.92 points (0.82 to 1.02)"),
        ("worse", -0.0092, "worse by 0.92 points (0.82 to 1.02)"),
        ("same within margin", 0.0003, "the same within 0.2 points (+0.03, -0.07 to 0.13)"),
        ("cannot tell", 0.0003, "not told apart (+0.03 points, -0.07 to 0.13)"),
        ("no data", math.nan, "without a verdict (no data)"),
    ],
)
def test_a_verdict_is_said_with_its_interval(verdict: str, difference: float, said: str) -> None:
    row = {
        "verdict": verdict,
        "difference": difference,
        "low": difference - 0.001,
        "high": difference + 0.001,
    }
    assert page_parts.judged(row) == said


def arms(**changes: Any) -> pd.DataFrame:
    """Two arms as `noisy_losses.numbers` gives them: the hypothesis holds, but for changes."""
    table = pd.DataFrame(
        {
            "label_noise": ["0", "0.4"], "output": "QL on softmax",
            "verdict": ["same within margin", "better"],
            "difference_low": [-0.001, 0.01], "difference_high": [0.001, 0.02],
            "change": [0.0, 0.0008], "change_low": [-0.001, 0.0005], "change_high": [0.001, 0.001],
            "change_p_holm": [1.0, 0.01],
        }
    )  # fmt: skip
    for name, value in changes.items():
        column, place = name.rsplit("_", 1)
        table.loc[int(place), column] = value
    return table


@pytest.mark.parametrize(
    ("changes", "part", "said"),
    [
        ({}, "", "holds"),
        ({"verdict_1": "worse"}, "lead", "is rejected"),
        ({"verdict_1": "same within margin"}, "lead", "is rejected"),
        ({"verdict_1": "cannot tell"}, "lead", "is not decided"),
        ({"change_1": -0.002, "change_low_1": -0.003}, "as_large", "is rejected"),
        ({"change_1": -0.002, "change_low_1": -0.003, "change_p_holm_1": 0.06}, "as_large", "is not decided"),
        ({"change_0": -0.002, "change_low_0": -0.003, "change_p_holm_0": 0.01}, "", "holds"),  # clean labels
        ({"change_low_1": -0.001}, "as_large", "is not decided"),
        ({"verdict_0": "cannot tell"}, "clean", "is not decided"),
        ({"difference_low_0": 0.003, "difference_high_0": 0.004}, "clean", "is rejected"),
        ({"difference_low_0": -0.004, "difference_high_0": -0.003}, "clean", "is rejected"),
    ],
)  # fmt: skip
def test_each_part_of_the_hypothesis_holds_or_is_rejected_or_not_decided(
    changes: dict[str, Any], part: str, said: str
) -> None:
    rest = dict.fromkeys(["lead", "as_large", "clean"], "holds")
    assert noisy_losses.outcomes(arms(**changes)) == (rest | {part: said} if part else rest)


def test_changes_of_a_lead_are_corrected_over_a_noise_level() -> None:
    rng = np.random.default_rng(5)
    rows = [
        {"label_noise": noise, "budget": budget, "output": output, "block": block,
         "accuracy": 0.9 + 0.002 * rng.standard_normal() + (output != REFERENCE) * lead}
        for noise in ("0", "0.4")
        for budget, lead in zip(BUDGETS, (0.004, 0.003, 0.0), strict=True)
        for output in LEADS
        for block in range(BLOCKS)
    ]  # fmt: skip
    blocks = pd.DataFrame(rows)
    found = noisy_losses.changes(blocks)
    wide = blocks.pivot_table(index="block", columns=["label_noise", "budget", "output"], values="accuracy")
    for noise in ("0", "0.4"):
        p = []
        for budget in BUDGETS[1:]:
            for output in list(LEADS)[1:]:
                later, first = (
                    wide[noise, at, output] - wide[noise, at, REFERENCE] for at in (budget, BUDGETS[0])
                )
                p.append(scipy.stats.ttest_rel(later, first).pvalue)
        mine = found[found["label_noise"].eq(noise)].set_index(["budget", "output"])["change_p_holm"]
        expected = iter(stats.holm(p))
        for budget in BUDGETS[1:]:
            for output in list(LEADS)[1:]:
                assert mine[budget, output] == pytest.approx(next(expected))


def test_paragraphs_are_broken_anew_and_tables_are_not() -> None:
    page = "**Two** lines\nof a paragraph\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n# A heading\n"
    assert study_pages.wrapped(page) == page.replace("lines\nof", "lines of")

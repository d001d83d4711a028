"""Rates of studies that are looked at, on drawn numbers, and that wrong levels are noticed."""

from __future__ import annotations

import math
from pathlib import Path

import aa_rates
import aa_studies
import look_rates
import look_studies
import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy import stats as scipy_stats

import harness
from harness.stats import group_sequential

SD = math.sqrt(2) * 0.01


def normal(arms: int, n: int, studies: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0.9, 0.01, (studies, arms, n))


@pytest.mark.parametrize("spending", look_rates.SPENDINGS)
def test_looks_at_equals_err_in_what_is_promised(spending: group_sequential.Spending) -> None:
    found, held, same = look_rates.looked_at("drawn", normal(2, 20, 2000), SD, spending)
    assert (found.n, found.studies) == (20, 2000)
    assert 0.03 < found.rate < 0.07
    assert held.rate == pytest.approx(1 - found.rate, abs=0.002)  # an interval leaves zero out where p tells
    assert same.rate < 0.07
    assert aa_rates.table([found, held, same], look_rates.INSIDE)["ok"].all()


def test_levels_that_spend_too_much_are_out_of_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_sequential, "repeated", lambda p, *_: p)  # p <= 5 % at every look
    found, _, _ = look_rates.looked_at("drawn", normal(2, 20, 2000), SD, "pocock")
    assert found.rate > 0.09
    assert not aa_rates.table([found], look_rates.INSIDE)["ok"].item()


def test_a_family_at_its_looks_is_corrected_together() -> None:
    check = look_rates.families("drawn", normal(5, 20, 200), SD, "obrien-fleming")
    assert (check.studies, check.question) == (200, look_rates.FAMILY)
    assert check.rate < 0.1
    assert (
        look_rates.families("drawn", normal(5, 20, 5) + 0.1 * np.arange(5)[:, None], SD, "pocock").events == 5
    )


def test_large_differences_take_few_seeds() -> None:
    table = pd.DataFrame(look_rates.seeds_taken("drawn", normal(2, 20, 300), SD))
    seeds = table.pivot_table(index="shift", columns="spending", values="seeds")
    assert (seeds.diff().dropna() < 0).all(axis=None)  # the larger the difference, the fewer
    assert (seeds["pocock"] <= seeds["obrien-fleming"]).iloc[-1]
    assert (table["found"] <= table["found_at_once"] + 0.05).all()


def test_p_of_the_first_seeds_is_that_of_a_t_test() -> None:
    values, n = np.random.default_rng(5).normal(0.3, 1, (3, 8)), np.array([2, 5, 8])
    expected = [scipy_stats.ttest_1samp(row[:many], 0).pvalue for row, many in zip(values, n, strict=True)]
    npt.assert_allclose(look_rates.p_of_first(values, n), np.array(expected, dtype=float))


def test_a_pilot_that_knows_the_spread_gives_the_power_it_promises() -> None:
    most = look_rates.MOST + max(look_rates.PILOTS)
    checks = list(look_rates.pilots("drawn", normal(2, most, 1000), SD))
    by = {(check.question, check.n): check.rate for check in checks}
    assert by[look_rates.PILOT_FOUND, 20] == pytest.approx(0.05, abs=0.025)
    assert 0.7 < by[look_rates.FRESH_POWER, 20] < 0.85
    assert by[look_rates.FRESH_POWER, 5] < by[look_rates.FRESH_POWER, 20] + 0.03
    assert aa_rates.table(checks, look_rates.INSIDE)["ok"].all()  # measured, not asked


def test_every_question_has_words_and_is_told() -> None:
    checks = [aa_rates.counted(name, "x", 20, np.ones(100, bool), 0, 1) for name in look_rates.ASKED]
    taken = pd.DataFrame(look_rates.seeds_taken("x", normal(2, 20, 20), SD))
    lines = "\n".join(look_studies.told(aa_rates.table(checks, look_rates.INSIDE), taken))
    assert all(words in lines for words in look_rates.ASKED.values())
    assert set(look_rates.INSIDE) <= set(look_rates.ASKED)
    assert lines.count("pocock") == len(look_rates.SHIFTS)


def test_the_command_measures_trained_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(Path(look_studies.__file__).parent / "sequential.toml")
    found = harness.run(harness.load(path, ["seeds=400"]), tmp_path / "one", workers=1)
    monkeypatch.setattr(aa_studies, "trained", lambda *_, **__: found)
    arguments = ["--results", str(tmp_path), "--seeds", "400", "--studies", "100"]
    done = CliRunner().invoke(look_studies.looks, arguments)
    assert done.exit_code in {0, 1}, done.output  # of so few studies, some may be out of bounds
    rates = pd.read_csv(tmp_path / "looks.csv")
    assert rates.groupby("question").size().to_dict() == {
        look_rates.FOUND: 4, look_rates.HELD: 4, look_rates.SAME: 4, look_rates.FAMILY: 2,
        **dict.fromkeys((look_rates.PILOT_FOUND, look_rates.PILOT_POWER, look_rates.FRESH_POWER), 3),
    }  # fmt: skip
    assert set(rates["studies"]) == {10, 25, 100}
    assert len(pd.read_csv(tmp_path / "looks_seeds.csv")) == 2 * len(look_rates.SHIFTS)
    assert look_rates.ASKED[look_rates.FOUND] in (tmp_path / "looks.txt").read_text()

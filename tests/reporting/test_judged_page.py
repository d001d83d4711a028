"""The page of a judgement: everything in it, nothing from outside, every name as text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import console_errors, needs_browser, opened
from selenium.webdriver.support.ui import WebDriverWait

import harness
from harness.comparison.judging.judge import Judgement
from harness.reporting import judged_page

HOSTILE = '<img src=x onerror="document.title=1">{{ 7*7 }}</script><script>alert(1)</script>'


def judgement(arms: dict[str, float], seeds: int = 6, metric: str = "accuracy", **options: Any) -> Judgement:
    rng = np.random.default_rng(0)
    rows = [
        {"model": arm, "seed": seed, metric: 0.7 + 0.01 * seed + shift + rng.normal(0, 0.001)}
        for arm, shift in arms.items()
        for seed in range(seeds)
    ]
    return harness.judge(pd.DataFrame(rows), **options)


def page(found: Judgement, folder: Path, name: str = "runs.csv") -> str:
    (path,) = judged_page.write(found, folder / "page.html", name)
    return path.read_text()


def test_it_answers_first_and_says_how_the_table_was_read(tmp_path: Path) -> None:
    text = page(judgement({"baseline": 0, "new": 0.01}), tmp_path)
    answer = text[text.index('id="answer"') : text.index("</section>")]
    assert "new against baseline: better." in answer
    assert "new is better than baseline by" in answer
    assert "Read as: long; arm = model (2)" in text
    assert text.count("<figure>") == 1
    assert 'href="data:text/csv;base64,' in text
    assert not re.search(r"""(src|href)=["']?https?:|url\(http|@import""", text)


def test_names_are_text(tmp_path: Path) -> None:
    found = judgement({"baseline": 0, HOSTILE: 0.01})
    text = page(found, tmp_path, HOSTILE)
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert "&lt;img src=x onerror=" in text
    assert "{{ 7*7 }}" in text


def test_formulas_stay_text_in_the_csv(tmp_path: Path) -> None:
    judged_page.write(judgement({"baseline": 0, "=1+1": 0.01}), tmp_path / "judgement.html", "runs.csv")
    assert "'=1+1" in (tmp_path / "verdicts.csv").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metric": "loss"}, "difference in loss"),
        ({"margin": "none"}, "not judged, as no margin was given"),
        ({"unpaired": True}, "Welch"),
    ],
)
def test_other_metrics_and_tests(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    metric = str(options.get("metric", "accuracy"))
    rest = {name: value for name, value in options.items() if name != "metric"}
    text = page(judgement({"baseline": 0, "new": 0.01}, metric=metric, **rest), tmp_path)
    assert words in text
    assert (", 6 runs" in text) is ("unpaired" in options)  # what the chart of contrasts tells of a point


def test_many_contrasts_in_several_figures(tmp_path: Path) -> None:
    found = judgement({f"arm {number}": 0.001 * number for number in range(90)}, seeds=3)
    text = page(found, tmp_path)
    assert "89 contrasts: " in text
    assert text.count("<figure>") == 3
    assert len(text) < 1_500_000


def test_one_seed_and_no_data(tmp_path: Path) -> None:
    assert "no verdict" in page(judgement({"baseline": 0, "new": 0.01}, seeds=1), tmp_path)


@needs_browser
def test_in_a_browser(tmp_path: Path) -> None:
    found = judgement({"baseline": 0, "gelu": 0.01, HOSTILE: -0.01})
    page(found, tmp_path)
    with opened(tmp_path / "page.html", tmp_path / "browser", 400, 800) as driver:
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 400
        assert driver.title == "runs.csv: judgement"
        head = driver.find_element("css selector", "#table-arms thead .head")
        driver.execute_script("arguments[0].click()", head)
        first = driver.find_element("css selector", "#table-arms tbody td").text
        assert first.startswith("<img src=x")
        chart = "return Boolean(document.querySelector('figure canvas'))"
        WebDriverWait(driver, 10).until(lambda there: there.execute_script(chart))
        assert console_errors(driver) == []

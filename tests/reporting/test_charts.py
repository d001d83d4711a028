"""Charts that can be explored: what is embedded, its numbers against the tables, its use in a browser."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import console_errors, needs_browser, opened
from families import arms
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from harness import reporting
from harness.reporting import arm_charts, charts
from harness.reporting.charts import Axis, Chart, Series
from harness.results import read

ASSETS = Path(charts.__file__).parent / "assets"
LIBRARY = "87364cc2b2a76a6684929e7d6b80b18a897794db38400caff1fcf1791c6925d2"
"""SHA-256 of dist/chart.umd.min.js in the npm package chart.js, version 4.6.1."""
NASTY = '</script><script>alert(1)</script><b>"x'


@pytest.fixture(scope="module")
def page(digits_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the trained digits study: 12 arms with 3 seeds each."""
    return reporting.write(read(digits_results), tmp_path_factory.mktemp("charts") / "report.html")


def embedded(page: Path) -> dict[str, dict[str, Any]]:
    """The charts of a page by the titles of their figures."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(
        r'<h3>([^<]*)</h3>(?:(?!<h3>).)*?<script type="application/json">(.*?)</script>', text, re.DOTALL
    )
    return {title: json.loads(numbers) for title, numbers in found}


def test_a_chart_is_plain_json_and_no_name_ends_its_script() -> None:
    series = [
        Series(NASTY, [1, 2, 3], [0.1, float("nan"), 1 / 3], color=0),
        Series("b", [1, 2, 3], [1, 2, 3], low=[0, 1, 2], high=[2, 3, float("inf")], dashed=True),
        Series("c", [1, 2], [1, 2]),
    ]
    chart = Chart("lines", Axis("epoch"), Axis("accuracy", percent=True), series)
    made = chart.as_json()["series"]
    assert made[0]["y"] == [0.1, None, 0.3333333]
    assert made[0]["x"] == [1, 2, 3]
    assert "x" not in made[1]  # the first one's
    assert made[1]["high"] == [2, 3, None]
    assert made[2]["x"] == [1, 2]
    assert "<" not in chart.embedded()
    assert json.loads(chart.embedded())["series"][0]["name"] == NASTY


def test_the_library_is_as_published_with_its_licence_and_small() -> None:
    library = (ASSETS / "chart.umd.min.js").read_bytes()
    assert hashlib.sha256(library).hexdigest() == LIBRARY
    assert len(library) <= 600_000
    for name, holder in (("chart.umd.min", "Chart.js Contributors"), ("kurkle-color", "Jukka Kurkela")):
        licence = (ASSETS / f"{name}.LICENSE.md").read_text(encoding="utf-8")
        assert "The MIT License" in licence
        assert holder in licence
    scripts = charts.scripts()
    assert scripts.startswith("/*!\n * Chart.js v4.6.1")
    assert "Released under the MIT License" in scripts
    assert "harnessChart" in scripts
    assert "</script" not in scripts
    assert not re.search(r"\beval\(|new Function\(", scripts)  # which a page's policy may forbid


def test_the_charts_of_a_page_hold_the_numbers_of_the_tables(page: Path, digits_results: Path) -> None:
    results, shown = read(digits_results), embedded(page)
    done = results.trials[results.trials["status"].eq("ok")].set_index("trial_id")
    points = {}
    for series in shown["Arms on digits by validation accuracy"]["series"]:
        for label, value in zip(series["labels"], series["y"], strict=True):
            if "trial" in label:
                points[label.split("trial ")[1].split(",")[0]] = value
    assert set(points) == set(done.index)
    for trial, value in points.items():
        assert value == pytest.approx(done.loc[trial, "val_accuracy"], abs=1e-7)

    curves = next(chart for title, chart in shown.items() if "three best" in title)
    epochs = results.epochs.set_index(["trial_id", "split", "epoch"])
    lines = 0
    for view, metric in ((curves, "accuracy"), *((other, "loss") for other in curves["others"])):
        for series in view["series"]:
            split, trial, _ = (part.split()[-1] for part in series["labels"][0].split(", "))
            x = series.get("x", view["series"][0]["x"])
            there = [epochs.loc[(trial, split, epoch), metric] for epoch in x]
            assert series["y"] == pytest.approx(there, rel=1e-6)
            assert series["dashed"] is (split == "train")
            lines += 1
    assert lines == 2 * 2 * len(done)  # val and train, accuracy and loss


def test_many_arms_have_means_and_ranges_and_of_very_many_the_ends() -> None:
    reading = arms({f"arm {number}": number / 3000 for number in range(210)}, seeds=2)
    epochs = pd.DataFrame(
        [
            {"trial_id": trial, "epoch": epoch, "split": split, "loss": 1.0, "accuracy": 0.5 + 0.001 * i}
            for i, trial in enumerate(reading.trials["trial_id"])
            for epoch in range(3)
            for split in ("train", "val")
        ]
    )
    reading = replace(reading, results=replace(reading.results, epochs=epochs))
    ranked = reporting.data.rank(reading)
    chart = arm_charts.arm_curves(reading, "digits", ranked)
    assert chart is not None
    assert len({series.name for series in chart.series}) == arm_charts.MOST_ARMS
    assert "100 best and the 100 worst of 210" in chart.note
    best = next(series for series in chart.series if series.name == "arm 209")
    trials = epochs[epochs["trial_id"].isin(reading.trials.query("arm == 'arm 209'")["trial_id"])]
    first = trials[trials["epoch"].eq(0) & trials["split"].eq("val")]["accuracy"]
    assert best.y[0] == pytest.approx(first.mean())
    assert (best.low[0], best.high[0]) == pytest.approx((first.min(), first.max()))
    assert best.labels == ["val, mean of 2"]
    points = arm_charts.arms(ranked, reading.finished("digits"))
    assert not points.rows
    assert len({series.name for series in points.series}) == arm_charts.MOST_ARMS


def test_a_long_line_keeps_its_ends() -> None:
    epochs = pd.DataFrame({"epoch": np.arange(5000) / 10})
    kept = arm_charts._thinned(epochs)
    assert len(kept) == arm_charts.MOST_EVALUATIONS
    assert kept["epoch"].iloc[[0, -1]].tolist() == [0.0, 499.9]


# ------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def wide(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with opened(page, tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def drawn(driver: Any, words: str) -> Any:
    """The figure of these words with its chart drawn, in view."""
    figure = next(
        one
        for one in driver.find_elements("css selector", "figure.charted")
        if words in one.find_element("css selector", "h3").get_attribute("textContent")
    )
    driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
    deadline = time.monotonic() + 10
    ready = "return Boolean(arguments[0].querySelector('.chart').explorer)"
    while not driver.execute_script(ready, figure):
        assert time.monotonic() < deadline, "the chart was not drawn"
        time.sleep(0.05)
    return figure


def place_of(driver: Any, figure: Any, series: int, point: int) -> tuple[int, int]:
    """Where a point lies, from the middle of the chart, as the mouse counts."""
    x, y, width, height = driver.execute_script(
        """const explorer = arguments[0].querySelector('.chart').explorer;
        const point = explorer.chart.getDatasetMeta(arguments[1]).data[arguments[2]];
        return [point.x, point.y, explorer.plot.offsetWidth, explorer.plot.offsetHeight];""",
        figure, series, point,
    )  # fmt: skip
    return round(x - width / 2), round(y - height / 2)


def faint(driver: Any, figure: Any) -> set[str]:
    """The names of the series that a pick has put into the background."""
    return set(driver.execute_script(
        """const explorer = arguments[0].querySelector('.chart').explorer;
        return explorer.names.filter(name => explorer.strength(name) === 0);""", figure
    ))  # fmt: skip


@needs_browser
def test_pointing_names_the_trial_and_a_click_picks_its_arm_in_every_chart(
    wide: Any, digits_results: Path
) -> None:
    curves, points = drawn(wide, "three best"), drawn(wide, "Arms on digits")
    chart = wide.execute_script("return arguments[0].querySelector('.chart').explorer.spec", points)
    place = next(i for i, series in enumerate(chart["series"]) if "trial" in series["labels"][0])
    series = chart["series"][place]
    plot = points.find_element("css selector", ".plot")
    ActionChains(wide).move_to_element_with_offset(plot, *place_of(wide, points, place, 1)).perform()
    told = points.find_element("css selector", ".tip").text
    named = re.search(r"trial (\w+), seed (\d+)", told)
    assert named is not None, told
    trial = read(digits_results).trials.set_index("trial_id").loc[named[1]]
    assert trial["seed"] == int(named[2])
    assert f"accuracy {round(100 * trial['val_accuracy'], 3):.6g}" in told
    assert told.splitlines()[0] == series["name"]
    ActionChains(wide).click().perform()
    for figure in (points, curves):
        others = {
            name
            for name in wide.execute_script(
                "return arguments[0].querySelector('.chart').explorer.names", figure
            )
            if name != series["name"]
        }
        assert faint(wide, figure) == others
    by_name = f'[data-name="{series["name"]}"]'
    key = curves.find_element("css selector", f".keys button{by_name}")
    assert key.get_attribute("aria-pressed") == "true"
    wide.execute_script("arguments[0].scrollIntoView({block: 'center'})", key)
    key.click()  # again releases
    assert not faint(wide, points)
    key.click()
    key.send_keys(Keys.ESCAPE)
    assert not faint(wide, points)
    assert not console_errors(wide)


@needs_browser
def test_the_keyboard_walks_and_says_what_the_pointer_is_told(wide: Any) -> None:
    figure = drawn(wide, "three best")
    plot = figure.find_element("css selector", ".plot")
    assert plot.get_attribute("tabindex") == "0"
    assert "accuracy" in plot.get_attribute("aria-label")
    said = figure.find_element("css selector", "[role=status]")
    plot.send_keys(Keys.ARROW_RIGHT)
    first = said.text
    assert re.search(r"trial \w+, seed 0, epoch 0, accuracy [\d.]+.%", first), first
    assert first.rstrip(".") == figure.find_element("css selector", ".tip").text.replace("\n", ", ")
    plot.send_keys(Keys.ARROW_RIGHT)
    assert "epoch 1" in said.text
    plot.send_keys(Keys.ARROW_DOWN)
    assert "epoch 1" in said.text
    assert said.text.split(", epoch")[0] != first.split(", epoch")[0]
    plot.send_keys(Keys.ENTER)
    assert said.text.endswith("picked.")
    plot.send_keys("+")
    assert figure.find_element("xpath", ".//button[.='Whole range']").is_displayed()
    plot.send_keys("0", Keys.ESCAPE)
    assert not figure.find_element("xpath", ".//button[.='Whole range']").is_displayed()
    assert not console_errors(wide)


@needs_browser
def test_a_search_leaves_other_arms_out_and_a_drag_zooms(wide: Any) -> None:
    figure = drawn(wide, "three best")
    explorer = "const explorer = arguments[0].querySelector('.chart').explorer;"
    search = "document.dispatchEvent(new CustomEvent('arms', {detail: {words: arguments[0]}}))"
    wide.execute_script(search, ["tanh", "sgd"])
    left = f"{explorer} return explorer.names.filter(name => explorer.strength(name) >= 0)"
    shown = wide.execute_script(left, figure)
    every = wide.execute_script(f"{explorer} return explorer.names", figure)
    assert shown == [name for name in every if "tanh" in name and "sgd" in name]
    assert 0 < len(shown) < len(every)
    wide.execute_script(search, [])
    before = wide.execute_script(f"{explorer} return explorer.range.x", figure)
    plot = figure.find_element("css selector", ".plot")
    ActionChains(wide).move_to_element_with_offset(plot, 0, 0).click_and_hold().move_by_offset(
        200, 80
    ).release().perform()
    low, high = wide.execute_script(f"{explorer} return explorer.range.x", figure)
    assert before[0] < low < high < before[1]
    figure.find_element("xpath", ".//button[.='Whole range']").click()
    assert wide.execute_script(f"{explorer} return explorer.range.x", figure) == before


@needs_browser
def test_paper_and_a_page_without_scripts_show_the_pictures_and_no_chart(wide: Any, page: Path) -> None:
    figure = drawn(wide, "Arms on digits")
    image, chart = (figure.find_element("css selector", name) for name in ("img", ".chart"))
    assert (image.is_displayed(), chart.is_displayed()) == (False, True)
    wide.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert (image.is_displayed(), chart.is_displayed()) == (True, False)
    wide.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    wide.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    wide.get(page.resolve().as_uri())
    plain = wide.find_elements("css selector", "figure")
    wide.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert plain
    assert not wide.find_elements("css selector", "figure.charted")
    assert all(one.is_displayed() for one in wide.find_elements("css selector", "figure:not(details *) img"))


@needs_browser
def test_on_a_telephone_charts_fit(wide: Any) -> None:
    size = {"height": 800, "deviceScaleFactor": 1, "mobile": False}
    wide.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 400, **size})
    wide.refresh()
    for words in ("Arms on digits", "three best", "Verdicts"):
        figure = drawn(wide, words)
        assert 300 < figure.find_element("css selector", "canvas").size["width"] <= 376
    assert wide.execute_script("return document.documentElement.scrollWidth") <= 400
    wide.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1280, **size})
    deadline = time.monotonic() + 10
    while figure.find_element("css selector", "canvas").size["width"] < 700:
        assert time.monotonic() < deadline, "the chart did not grow with its page"
        time.sleep(0.05)
    assert not console_errors(wide)


@needs_browser
def test_names_of_any_kind_stay_words_and_a_chart_takes_new_numbers(tmp_path: Path) -> None:
    """Under a policy without eval; `update` is what a page that is served calls."""
    line = Chart(
        "lines",
        Axis("epoch"),
        Axis("loss", log=True),
        [Series(NASTY, [1, 2], [0, 0.5]), Series("b", [1], [2])],
    )
    names = Axis("", names=[NASTY, "b" * 300], beside=[NASTY, ""])
    points = Series(NASTY, [0, 1], [-0.3, 0.002], [-0.4, 0], [-0.2, 0.01], [NASTY])
    change = Axis("y", points=True, bend=0.01)
    rows = Chart("points", names, change, [points], rows=True, others=[line])
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    page = tmp_path / "page.html"
    page.write_text(
        f'''<!doctype html><html lang="en"><meta charset="utf-8"><title>charts</title>
        <meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">
        <div class="chart"><script type="application/json">{rows.embedded()}</script></div>
        <script>{charts.scripts()}</script></html>''', encoding="utf-8",
    )  # fmt: skip
    with opened(page, tmp_path / "browser", width=400) as driver:
        explorer = "const explorer = document.querySelector('.chart').explorer;"
        plot = driver.find_element("css selector", ".plot")
        plot.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
        assert f"{NASTY}, y +0.20 points" in driver.find_element("css selector", ".said").text
        driver.find_element("xpath", "//button[.='loss']").click()
        keys = driver.find_elements("css selector", ".keys button")
        assert [key.text for key in keys] == [NASTY, "b"]
        assert driver.execute_script(f"{explorer} return explorer.chart.data.datasets[0].data[0].y") is None
        driver.execute_script(f"{explorer} explorer.update(arguments[0])", line.as_json())
        assert driver.execute_script(f"{explorer} return explorer.spec.kind") == "lines"
        assert driver.execute_script("return document.querySelectorAll('b').length") == 0
        assert not console_errors(driver)

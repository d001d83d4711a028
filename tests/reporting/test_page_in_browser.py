"""The pages of a grid, a ladder and a search as people use them: at a glance, by keyboard, on paper."""

from __future__ import annotations

import base64
import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import console_errors, needs_browser, opened
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from harness import reporting
from harness.study.reading import parse
from harness.training import runs

pytestmark = needs_browser
LADDER: dict[str, Any] = {
    "study": {"name": "climb", "design": "ladder", "seeds": 3},
    "baseline": {"dataset": "digits", "epochs": 2, "hidden": [16], "head": "softmax", "loss": "mse"},
    "steps": [{"name": "cross-entropy", "head": "identity", "loss": "ce"}, {"name": "faster", "lr": 0.3}],
}
SEARCHED = Path(__file__).parents[2] / "results" / "reference" / "best-mlp-mnist"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, { runOnly: { type: "tag", values: arguments[0] } }).then(
  found => done(found.violations.map(rule => rule.id + ": " + rule.nodes.map(node => node.html).join(" | "))),
  error => done([String(error)]));
"""
OUTSIDE = """
return [...document.querySelectorAll(".screen > *, .bars li, .sure dd")].filter(element => {
  const box = element.getBoundingClientRect();
  return !box.height || box.top < 0 || box.bottom > innerHeight || box.left < 0 || box.right > innerWidth;
}).map(element => element.className + ": " + element.textContent.slice(0, 60));
"""


OPEN = "document.querySelectorAll('main details').forEach(fold => { fold.open = true; })"
VISIBLE = """
return [...document.querySelectorAll(`#table-${arguments[0]} tbody tr`)]
  .filter(row => row.checkVisibility()).map(row => row.textContent);
"""
KEPT = "return [...document.querySelectorAll('table[data-arms] tbody tr')].map(row => row.hidden)"
FIRST = """
const row = document.querySelector("table[data-arms] tbody tr:not([hidden])");
return (row.closest(".scroll, .tall").id = "first-match");
"""
TOP = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
HIDDEN = """
return [...document.querySelectorAll("main :is(p, li, table, img, dl)")]
  .filter(element => !element.checkVisibility() && !element.closest(".scripted"))
  .map(element => element.textContent.slice(0, 60));
"""
STICKY = """
return [...document.querySelectorAll("th")].filter(th => getComputedStyle(th).position !== "static").length;
"""


@pytest.fixture(scope="module")
def pages(digits_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The pages of a trained grid, of a trained ladder, and of a search that is confirmed."""
    folder = tmp_path_factory.mktemp("pages")
    runs.train(parse(LADDER), folder / "climb", workers=1)
    folders = {"ladder": folder / "climb", "search": SEARCHED}
    drawn = {name: reporting.write(of, folder / name / "report.html") for name, of in folders.items()}
    return {"grid": digits_page, **drawn}


def resize(driver: Any, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@contextmanager
def shown(page: Path, folder: Path, width: int = 1280) -> Iterator[Any]:
    """A browser that shows the page, and complains about nothing until it is closed."""
    with opened(page, folder / "browser", width, 800) as driver:
        yield driver
        assert console_errors(driver) == []


@pytest.mark.parametrize("name", ["grid", "ladder", "search"])
def test_the_first_screen_has_question_answer_picture_and_how_sure(
    pages: Mapping[str, Path], tmp_path: Path, name: str
) -> None:
    with shown(pages[name], tmp_path) as driver:
        for width in (1280, 400):
            resize(driver, width)
            assert driver.execute_script(OUTSIDE) == [], f"at {width} pixels"
        for part in (".question", ".answer p", ".bars li", ".sure dd"):
            assert driver.find_elements(By.CSS_SELECTOR, f".screen {part}"), part
        assert 1 <= len(driver.find_elements(By.CSS_SELECTOR, ".screen .answer p")) <= 3
        driver.execute_script(OPEN)
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        if name == "search":
            return
        sure = driver.find_element(By.CSS_SELECTOR, "#table-verdicts td.long").text
        assert re.search(r"seeds 3\b.*, p \(Holm\) .*, detectable [\d.]", sure), (
            "the columns that have no room"
        )
        resize(driver, 1280)
        assert driver.find_element(By.CSS_SELECTOR, "#table-verdicts .stacked").text == "", (
            "they have columns"
        )


@pytest.mark.parametrize("name", ["grid", "ladder", "search"])
def test_nothing_keeps_anybody_from_reading_it(pages: Mapping[str, Path], tmp_path: Path, name: str) -> None:
    found = importlib.util.find_spec("selenium_axe_python")
    if found is None or found.origin is None:
        pytest.skip("needs axe-core, which the package selenium-axe-python brings (extra `tests`)")
    checker = Path(found.origin).parent / "axe-core" / "axe.min.js"
    with shown(pages[name], tmp_path) as driver:
        driver.set_script_timeout(120)
        driver.execute_script(OPEN)
        driver.execute_script(checker.read_text(encoding="utf-8"))
        for width in (1280, 400):
            resize(driver, width)
            assert driver.execute_async_script(AXE, RULES) == [], f"at {width} pixels"


def test_headings_that_people_look_for_stand_on_the_page_and_in_its_contents(
    pages: Mapping[str, Path], tmp_path: Path
) -> None:
    wanted = [
        "Verdicts", "Which choice matters", "All arms", "Confusion matrix", "Learning curves", "Calibration",
        "Missing trials", "Method", "Data", "Tables as files", "Provenance",
    ]  # fmt: skip
    with shown(pages["grid"], tmp_path) as driver:
        headings = [h.text for h in driver.find_elements(By.CSS_SELECTOR, "main h2") if h.is_displayed()]
        assert [title for title in wanted if title not in headings] == []
        links = driver.find_elements(By.CSS_SELECTOR, ".list a")
        assert {link.text for link in links} <= set(headings)
        curves = next(link for link in links if link.text == "Learning curves")
        assert not driver.find_element(By.CSS_SELECTOR, "#curves figure").is_displayed()
        curves.click()
        assert driver.find_element(By.CSS_SELECTOR, "#curves figure").is_displayed()
        driver.execute_script(OPEN)
        driver.execute_script("document.getElementById('curves').scrollIntoView()")
        wait = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        driver.execute_async_script(wait)
        current = driver.find_elements(By.CSS_SELECTOR, ".list a[aria-current]")
        assert [link.text for link in current] == ["Learning curves"]
        assert driver.execute_script("return scrollY") > 500
        for name in ("missing", "method", "provenance"):  # short ones, which cannot get to the top
            driver.find_element(By.CSS_SELECTOR, f".list a[href='#{name}']").click()
            driver.execute_async_script(wait)
            current = driver.find_elements(By.CSS_SELECTOR, ".list a[aria-current]")
            assert [link.get_attribute("hash") for link in current] == [f"#{name}"]
        assert 0 <= curves.rect["y"] - driver.execute_script("return scrollY") < 800, (
            "the contents stay in view"
        )


def test_the_search_keeps_matching_arms_and_contrasts_and_tells_the_charts(
    pages: Mapping[str, Path], tmp_path: Path
) -> None:
    with shown(pages["grid"], tmp_path) as driver:
        driver.execute_script(
            "document.addEventListener('arms', event => { window.told = event.detail.words; })"
        )
        whole = driver.execute_script("return document.querySelectorAll('#table-arms tbody tr').length")
        driver.find_element(By.ID, "find").send_keys("Tanh  adam")
        rows = driver.execute_script(VISIBLE, "arms")
        assert 0 < len(rows) < whole
        assert all("tanh" in row and "adam" in row for row in rows)
        assert driver.execute_script("return window.told") == ["tanh", "adam"]
        told = driver.find_element(By.ID, "found").text
        numbers = re.fullmatch(r"(\d+) rows match, in (\d+) tables?", told)
        assert numbers, told
        assert int(numbers[1]) == driver.execute_script(KEPT).count(False)
        driver.find_element(By.ID, "find").clear()
        driver.find_element(By.ID, "find").send_keys("tanh relu")
        assert all("tanh" in row and "relu" in row for row in driver.execute_script(VISIBLE, "verdicts"))
        find = driver.find_element(By.ID, "find")
        find.send_keys(" zzz")
        assert driver.find_element(By.ID, "found").text == "no row matches"
        assert driver.find_element(By.CSS_SELECTOR, "#table-arms + p").text == "No row matches."
        find.send_keys(Keys.CONTROL, "a", Keys.NULL, "confusion", Keys.ENTER)
        assert driver.find_element(By.ID, "found").text.startswith("Enter: Confusion matrix;")
        assert driver.find_element(By.CSS_SELECTOR, "#confusion figure").is_displayed()
        assert -1 <= driver.execute_script(TOP, "confusion") < 100
        find.send_keys(Keys.CONTROL, "a", Keys.NULL, "tanh adam", Keys.ENTER)
        first = driver.execute_script(FIRST)
        assert -1 <= driver.execute_script(TOP, first) < 100
        find.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
        assert not driver.find_element(By.CSS_SELECTOR, "#table-arms + p").is_displayed()
        assert len(driver.execute_script(VISIBLE, "arms")) == whole


def test_the_keyboard_alone_reaches_opens_and_sorts(pages: Mapping[str, Path], tmp_path: Path) -> None:
    focused = "return document.activeElement"

    def tab_to(driver: Any, query: str) -> Any:
        for _ in range(60):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            if driver.execute_script("return document.activeElement.matches(arguments[0])", query):
                return driver.execute_script(focused)
        raise AssertionError(f"Tab does not reach {query}")

    with shown(pages["grid"], tmp_path) as driver:
        assert tab_to(driver, ".skip").text == "To the answer"
        tab_to(driver, "#find")
        tab_to(driver, ".list a")
        fold = tab_to(driver, "#full > summary")
        fold.send_keys(Keys.ENTER)
        assert driver.execute_script("return document.getElementById('full').open")
        head = tab_to(driver, "#table-verdicts th .head")
        head.send_keys(Keys.ENTER)
        order = "return document.querySelector('#table-verdicts th').getAttribute('aria-sort')"
        assert driver.execute_script(order) == "ascending"
        driver.switch_to.active_element.send_keys(Keys.SPACE)
        assert driver.execute_script(order) == "descending"


def test_paper_and_a_browser_without_scripts_have_everything(
    pages: Mapping[str, Path], tmp_path: Path
) -> None:
    with shown(pages["grid"], tmp_path) as driver:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        driver.refresh()
        assert not driver.find_element(By.ID, "find").is_displayed(), "it would do nothing"
        assert driver.find_element(By.CSS_SELECTOR, ".bars li").is_displayed()
        driver.find_element(By.CSS_SELECTOR, "#method > summary").click()
        assert driver.find_element(By.CSS_SELECTOR, "#method li").is_displayed()
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert driver.execute_script(HIDDEN) == [], "open on paper, even without a script that opens"
        assert not driver.find_element(By.CSS_SELECTOR, ".side").is_displayed()
        assert driver.execute_script(STICKY) == 0
        repeated = driver.find_elements(By.CSS_SELECTOR, "thead button")
        assert repeated == [], "Chromium leaves buttons out of the heads that it repeats on further pages"
        twice = driver.find_elements(By.CSS_SELECTOR, ".more > summary")
        assert not any(summary.is_displayed() for summary in twice), "the figure below has the title"
        paper = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
        assert base64.b64decode(paper).startswith(b"%PDF")

"""The report of a really trained study: what it says is what the tables hold, and a browser can use it."""

from __future__ import annotations

import html
import re
import runpy
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest

from harness import reporting, stats
from harness.errors import MachineError, UsageError
from harness.reporting import arm_figures, arm_tables, choices
from harness.reporting.model import Cell, Figure
from harness.results import Results, read
from harness.study.study import Study
from harness.text import DASH, points
from harness.training import runs

Change: TypeAlias = Callable[[Results], Results]
BROWSER = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def page(digits_page: Path) -> Path:
    """The report of the trained digits study."""
    return digits_page


@pytest.fixture
def rewritten(
    digits_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Change], tuple[str, Path]]:
    """Write the report of the digits study as if its tables had been changed; its text and folder."""

    def write(change: Change) -> tuple[str, Path]:
        monkeypatch.setattr("harness.reporting.data.results.read", lambda _: change(read(digits_results)))
        made = reporting.write(digits_results, tmp_path / "report.html")
        return visible(made), tmp_path

    return write


def visible(page: Path) -> str:
    """The words of a page, without markup, scripts and images."""
    text = re.sub(r"<(script|style).*?</\1>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"<wbr>", "", text)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text))).replace("\u00a0", " ")


def trials_with(results: Results, **columns: Any) -> Results:
    return replace(results, trials=results.trials.assign(**columns))


# ------------------------------------------------------------------------------------------------- content


def test_the_page_says_the_question_the_answer_and_the_counts(page: Path, digits_results: Path) -> None:
    results, text = read(digits_results), visible(page)
    assert results.study["study"]["name"] in text
    assert results.study["study"]["hypothesis"] in text
    done = int(results.trials["status"].eq("ok").sum())
    assert f"{done} of {len(results.trials)} trials finished" in text
    for answer in reporting.answers(reporting.read(digits_results)):
        for sentence in answer:
            assert sentence.replace("\u00a0", " ") in text


def test_the_best_arm_is_the_best_by_val_and_its_numbers_are_the_tables(
    page: Path, digits_results: Path
) -> None:
    trials = read(digits_results).trials.query("status == 'ok'")
    means = trials.groupby("arm")[["val_accuracy", "test_accuracy"]].mean()
    best = means.sort_values("val_accuracy").iloc[-1]
    text = visible(page)
    assert f"val {100 * best['val_accuracy']:.2f} %" in text
    assert f"test {100 * best['test_accuracy']:.2f} %" in text


def test_every_arm_is_in_the_table(digits_results: Path) -> None:
    reading = reporting.read(digits_results)
    table = arm_tables.arms(reading)
    assert len(table.rows) == reading.trials.drop_duplicates(["dataset", "label"]).shape[0]
    place = [column.name for column in table.columns].index("val accuracy")
    keys = [float(row[place].sort) for row in table.rows if row[place].sort]
    assert keys
    assert all(0 <= key <= 1 for key in keys)


def test_tracked_metrics_stand_in_the_table_of_arms(study_of: Callable[..., Study], tmp_path: Path) -> None:
    study = study_of({"lr": [0.1, 0.2, 1e25]}, loss="mse", epochs=1, study={"metrics": ["brier", "top3"]})
    runs.train(study, tmp_path, device="cpu", workers=1)
    trials, table = read(tmp_path).trials, arm_tables.arms(reporting.read(tmp_path))
    names = [column.name for column in table.columns]
    assert names[-4:] == ["test accuracy", "test brier", "test top3", "seeds"]
    for metric in ("brier", "top3"):
        cells = [row[names.index(f"test {metric}")] for row in table.rows]
        means = trials[trials["status"].eq("ok")].groupby("lr")[f"test_{metric}"].mean()
        assert sorted(float(cell.sort) for cell in cells if cell.sort) == pytest.approx(sorted(means))
        assert cells[-1].text == "no data"  # it diverged


def test_figures_are_written_twice_and_inlined(page: Path) -> None:
    files = sorted(path.name for path in (page.parent / "figures").iterdir())
    assert {path.removesuffix(".png") for path in files if path.endswith(".png")} == {
        path.removesuffix(".svg") for path in files if path.endswith(".svg")
    }
    text = page.read_text(encoding="utf-8")
    assert text.count("<img ") == len(files) // 2
    assert text.count('alt="') == text.count("<img ")


def test_the_page_needs_no_network_and_can_be_mailed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "@import" not in text
    assert page.stat().st_size < 10_000_000


def test_captions_explain_their_intervals(page: Path) -> None:
    text = visible(page)
    assert re.search(r"95 % Student-t intervals? over \d", text)
    assert "Test is evaluated once for each trial" in text


def test_the_same_results_give_the_same_bytes(page: Path, digits_results: Path, tmp_path: Path) -> None:
    again = reporting.write(digits_results, tmp_path / "report.html")
    assert again.read_bytes() == page.read_bytes()


def unsaved(figure: Figure, folder: Path) -> tuple[Path, Path]:
    """Files without a picture, in place of those of a figure."""
    folder.mkdir(exist_ok=True)
    paths = folder / f"{figure.name}.png", folder / f"{figure.name}.svg"
    for path in paths:
        path.write_bytes(b"")
    return paths


def test_markup_and_turning_marks_in_a_hypothesis_are_text(
    rewritten: Callable[[Change], tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.reporting.page.save", unsaved)

    def change(results: Results) -> Results:
        study = {
            **results.study,
            "study": {**results.study["study"], "hypothesis": "<b>bold</b> & 1 < 2 \u202eevil"},
        }
        return replace(results, study=study)

    _, folder = rewritten(change)
    written = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; 1 &lt; 2 \\u202eevil" in written, "and it turns no text around"
    assert "\u202e" not in written


# ------------------------------------------------------------------------------------------------ the edges


def test_the_page_of_an_untrained_study_says_so(rewritten: Callable[[Change], tuple[str, Path]]) -> None:
    def change(results: Results) -> Results:
        empty = dict.fromkeys(["val_accuracy", "test_accuracy", "train_accuracy"], np.nan)
        bare = trials_with(results, status="", reason="not trained yet", **empty)
        return replace(
            bare, epochs=results.epochs.iloc[:0], confusion=results.confusion.iloc[:0], provenance={}
        )

    text, folder = rewritten(change)
    assert "No trial has finished, so there is nothing to conclude." in text
    assert "not trained yet" in text
    assert "nothing to draw" in text
    assert "has no provenance" in text
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn == {"data-digits-counts", "data-digits-row", "data-digits-grid"}


def test_diverged_trials_are_counted_named_and_never_averaged(
    rewritten: Callable[[Change], tuple[str, Path]],
) -> None:
    def change(results: Results) -> Results:
        hit = results.trials["arm"].eq(results.trials["arm"].iloc[0])
        empty = {name: results.trials[name].mask(hit) for name in ("val_accuracy", "test_accuracy")}
        return trials_with(
            results,
            status=results.trials["status"].mask(hit, "diverged"),
            reason=results.trials["reason"].astype(object).mask(hit, "the loss was nan"),
            diverged_step=np.where(hit, 17.0, np.nan),
            **empty,
        )

    text, _ = rewritten(change)
    assert "diverged: a loss was no longer finite" in text
    assert "the loss was nan" in text
    assert "at step 17" in text
    assert "no data" in text


def test_one_seed_has_no_interval_and_says_so(rewritten: Callable[[Change], tuple[str, Path]]) -> None:
    def change(results: Results) -> Results:
        return replace(results, trials=results.trials[results.trials["seed"].eq(0)].reset_index(drop=True))

    text, _ = rewritten(change)
    assert "one seed, so no interval" in text
    assert "with one seed there is no interval" in text
    assert "95 % interval" not in text.split("How sure")[0]


def test_nothing_is_selected_without_a_val_split(rewritten: Callable[[Change], tuple[str, Path]]) -> None:
    def change(results: Results) -> Results:
        bare = trials_with(results, val_fraction=0, val_accuracy=np.nan, val_loss=np.nan, val_split=np.nan)
        return replace(bare, epochs=results.epochs[results.epochs["split"].eq("train")])

    text, _ = rewritten(change)
    assert (
        "there is no validation accuracy (val_fraction = 0), so no arm is ranked or called the best" in text
    )
    assert "no arm has a finished trial" not in text
    assert "No validation split was held out" in text
    assert "mattered most" not in text


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.159, "15.9"), (0.0012, "0.12"), (-0.0241, "\u22122.4"), (-0.001, "\u22120.10"), (-0.00001, "0.00")],
)
def test_points_keep_two_digits_below_one(share: float, said: str) -> None:
    assert points(share) == said


def test_overlapping_spreads_leave_the_order_open() -> None:
    # Two choices whose effects differ by less than the seeds do.
    rows = [
        {"dataset": "digits", "a": a, "b": b, "seed": seed, "status": "ok", "trial_id": f"{a}{b}{seed}",
         "val_accuracy": 0.8 + (0.05 + 0.01 * seed) * (a == "x") + (0.05 - 0.01 * seed) * (b == "y")}
        for a in "xz" for b in "yz" for seed in range(3)
    ]  # fmt: skip
    told = " ".join(choices._spread_words(stats.axis_spreads(pd.DataFrame(rows), ["a", "b"]), "digits"))
    assert "is open: their intervals overlap" in told


def test_a_best_arm_made_of_other_levels_than_the_best_on_average_is_a_warning(digits_results: Path) -> None:
    results = read(digits_results)
    trials = results.trials.assign(val_accuracy=0.5)
    adam = trials["optimizer"].eq("adam")
    trials["val_accuracy"] += 0.1 * adam + 0.3 * (~adam & trials["output"].eq("softmax + CE"))
    trials["val_accuracy"] -= 0.3 * (~adam & trials["output"].eq("softmax + MSE"))
    told = " ".join(choices.answers(reporting.prepare(replace(results, trials=trials)))[0])
    assert "Its optimizer is sgd, though adam does best on average" in told


def test_the_gap_between_train_and_val_has_its_interval(digits_results: Path) -> None:
    results = read(digits_results)
    rows = {"train_loss": 0.25, "val_loss": 0.5, "train_accuracy": 0.96, "val_accuracy": 0.93}
    reading = reporting.prepare(trials_with(results, **rows))
    label = str(reading.trials["label"].iloc[0])
    told = list(arm_figures.gap(reading, "digits", label))
    assert told[0].replace("\u00a0", " ") == (
        f"At the end of {label} the train loss is 0.25 and the val loss 0.5, a gap of +0.25 "
        "(the same in all seeds); val accuracy lies \u22123.0 points (the same in all seeds) from train's "
        "96.0 %."
    )
    assert told[1] == "Its val loss was at its lowest at the end."
    val = results.epochs["split"].eq("val") & results.epochs["epoch"].eq(2)
    dipped = results.epochs.assign(loss=results.epochs["loss"].mask(val, 0.001))
    reading = reporting.prepare(replace(results, epochs=dipped))
    assert list(arm_figures.gap(reading, "digits", label))[1] == (
        "Its val loss was lowest after 2 of 4 epochs, at 0.001."
    )


def test_a_folder_without_results_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a results folder"):
        reporting.write(tmp_path)


def test_an_unwritable_page_is_a_machine_error(digits_results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError, match="cannot be written"):
        reporting.write(digits_results, tmp_path / "file" / "report.html")


# ------------------------------------------------------------------------------------------ report scripts


def test_conditions_select_trials_and_wrong_ones_list_the_choices(digits_results: Path) -> None:
    reading = reporting.read(digits_results)
    chosen = reporting.where(reading, "activation=tanh, seed=0").trials
    assert set(chosen["activation"]) == {"tanh"}
    assert set(chosen["seed"]) == {0}
    with pytest.raises(UsageError, match=r"did you mean 'activation'"):
        reporting.where(reading, "activatoin=tanh")
    with pytest.raises(UsageError, match=r"did you mean 'tanh'"):
        reporting.where(reading, "activation=tanhh")
    with pytest.raises(UsageError, match=r"SETTING=VALUE"):
        reporting.where(reading, "tanh")


@pytest.mark.parametrize(
    ("script", "options", "made"),
    [
        ("which_choice_matters", [], ["out.png", "out.svg"]),
        (
            "confusion_and_curves",
            ["--where", "activation=tanh"],
            ["out-digits-confusion.svg", "out-digits-curves.png"],
        ),
    ],
)
def test_a_report_script_draws_from_a_folder(
    script: str,
    options: list[str],
    made: list[str],
    digits_results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path(__file__).parents[2] / "reports" / f"{script}.py"
    monkeypatch.setattr(
        "sys.argv", [str(path), str(digits_results), "--out", str(tmp_path / "out"), *options]
    )
    runpy.run_path(str(path), run_name="__main__")
    assert {path.name for path in tmp_path.iterdir()} >= set(made)


# ------------------------------------------------------------------------------------------- in a browser


def browse(
    page: Path, tmp_path: Path, *, width: int = 1280, fragment: str = "", probe: str = ""
) -> tuple[str, str]:
    """Open a page in headless Chromium; its DOM after scripts ran, and what it logged to the console.

    `probe` is JavaScript appended to a copy of the page.
    """
    assert BROWSER is not None
    copy = tmp_path / "page.html"
    copy.write_text(
        page.read_text(encoding="utf-8") + (f"<script>{probe}</script>" if probe else ""), encoding="utf-8"
    )
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=5000"
    command = [
        BROWSER,
        *flags.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", f"{copy.as_uri()}{fragment}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


browser = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on this machine")


def column(dom: str, table: str, name: str) -> tuple[str, list[str]]:
    """The aria-sort of a column and the sort keys of its cells, in the order shown."""
    found = re.search(rf'<table id="table-{table}"[^>]*>(.*?)</table>', dom, re.DOTALL)
    assert found
    heads = re.findall(r'<th [^>]*aria-sort="(\w+)"[^>]*><span[^>]*>([^<]*)</span>', found[1])
    place = [text for _, text in heads].index(name)
    rows = re.findall(r"<tr>(.*?)</tr>", found[1].split("<tbody>")[1], re.DOTALL)
    return heads[place][0], [re.findall(r'data-sort="([^"]*)"', row)[place] for row in rows]


@browser
@pytest.mark.parametrize(("minus", "order"), [("", "ascending"), ("-", "descending")])
def test_a_fragment_sorts_numerically_with_gaps_last(
    page: Path, tmp_path: Path, minus: str, order: str
) -> None:
    dom, console = browse(page, tmp_path, fragment=f"#sort=arms:{minus}val%20accuracy")
    aria, keys = column(dom, "arms", "val accuracy")
    numbers = [float(key) for key in keys if key]
    assert aria == order
    assert numbers == sorted(numbers, reverse=bool(minus))
    assert keys == [key for key in keys if key] + [key for key in keys if not key]
    assert console == ""


@browser
def test_a_click_sorts_and_a_second_one_turns_it_round(page: Path, tmp_path: Path) -> None:
    head = (
        "[...document.querySelectorAll('#table-arms th .head')].find(b => b.textContent === 'test accuracy')"
    )
    once, console = browse(page, tmp_path, probe=f"{head}.click();")
    twice, _ = browse(page, tmp_path, probe=f"{head}.click(); {head}.click();")
    assert column(once, "arms", "test accuracy")[0] == "descending"
    assert column(twice, "arms", "test accuracy")[0] == "ascending"
    assert console == ""


@browser
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_never_scrolls_sideways(page: Path, tmp_path: Path, width: int) -> None:
    # A headless window may not get as narrow as asked, so the page is held in a frame of that width.
    frame = tmp_path / "frame.html"
    source = html.escape(page.read_text(encoding="utf-8"))
    frame.write_text(
        f'<iframe style="border:0;width:{width}px;height:900px" srcdoc="{source}"></iframe><script>'
        "addEventListener('load', () => { const root = frames[0].document.documentElement;"
        "document.title = root.scrollWidth + ' of ' + root.clientWidth; });</script>",
        encoding="utf-8",
    )
    dom, _ = browse(frame, tmp_path)
    found = re.search(r"<title>(\d+) of (\d+)</title>", dom)
    assert found, "the probe ran"
    assert int(found[2]) == width or int(found[2]) == width - 15, "with or without a scroll bar"
    assert int(found[1]) <= int(found[2])


@browser
def test_every_table_sorts_by_every_column_and_every_figure_can_be_seen(page: Path, tmp_path: Path) -> None:
    probe = (
        "addEventListener('load', () => { let bad = [];"
        "document.querySelectorAll('table[id] th').forEach(head => { head.querySelector('.head').click();"
        "if (head.getAttribute('aria-sort') === 'none') bad.push(head.textContent); });"
        "document.querySelectorAll('details').forEach(fold => { fold.open = true; });"
        "document.querySelectorAll('img').forEach(img => {"
        "if (img.closest('.charted')) return;"  # its chart is seen instead
        "if (!img.complete || !img.naturalWidth || img.clientWidth < 300) bad.push(img.alt.slice(0, 40)); });"
        "document.title = 'bad: ' + bad.join(';'); });"
    )
    dom, console = browse(page, tmp_path, probe=probe)
    assert "<title>bad: </title>" in dom
    assert console == ""
    for part in ("flips", "calibration", "table-ece", "table-mcnemar"):
        assert f'id="{part}"' in dom


def test_dashes_sort_last_whatever_number_they_hide() -> None:
    assert [Cell(text, key=0.5).sort for text in (DASH, "0.5")] == ["", "0.5"]
    assert Cell(DASH).sort == ""


def test_tables_in_the_provenance_are_words() -> None:
    run = {"command": "harness run", "seconds": 183.6, "trials_trained": 720}
    told = "command: harness run; seconds: 183.6; trials trained: 720"
    assert list(arm_tables.provenance({"runs": [run]})) == [("runs", told)]
    twice = arm_tables.provenance({"runs": [run, run], "data": {"classes": [0, 1]}})
    assert list(twice) == [("runs 1", told), ("runs 2", told), ("data.classes", "0, 1")]

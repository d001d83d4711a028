"""Names stay the text that they are: in tables, commands, figures, on the screen, and in files."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from matplotlib.figure import Figure

import harness
from harness import plots, reporting, stats
from harness.cli import main
from harness.errors import UsageError
from harness.results import csv_rows
from harness.training import live

ODD = [
    "1.10", "01", "1", "1e-3", "1e-4", "None", "NA", "nan", "inf", "true", "-", "=1+1", "@a", "ReLU, lr 0.1",
    "1_000", "0x10", "2026-01-02", " spaced ", 'a "quoted" name', "'=x",
]  # fmt: skip
"""Names that look like numbers, missing cells, conditions, or what a spreadsheet would compute."""
MARKED = ["budget $1", "budget $10", "cost $5", "gain $x_$", "[/] [bold]x", "_a^b_ \\alpha & <i>"]
"""Names that look like mathematics, markup, or a line that is left out of a legend."""
VERSIONS = '[study]\nname = "ver"\nseeds = 3\n[baseline]\ndataset = "digits"\nepochs = 1\n[axes]\nvariant = ['
VERSIONS += '{ name = "1.1", lr = 0.01 }, { name = "1.10", lr = 0.5 }]\n'


def command(*arguments: object) -> Result:
    """The command, as a person would run it."""
    return CliRunner().invoke(main.harness, [*map(str, arguments)], standalone_mode=False)


def study_with_names(names: Sequence[str], **tables: Any) -> harness.Study:
    """A study whose linked values have these names and an lr each."""
    values = [{"name": name, "lr": 0.01 + 0.003 * place} for place, name in enumerate(names)]
    settings = {"dataset": "digits", "epochs": 1, "hidden": [4]}
    study = {"name": "names", "seeds": 1}
    return harness.parse({"study": study, "baseline": settings, "axes": {"variant": values}, **tables})


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> harness.Results:
    return harness.run(study_with_names(ODD), tmp_path_factory.mktemp("odd") / "names", workers=1)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> harness.Results:
    """Arms "1.1" and "1.10", which differ much."""
    file = tmp_path_factory.mktemp("versions") / "ver.toml"
    file.write_text(VERSIONS)
    return harness.run(harness.load(file), file.parent / "ver", workers=1)


# ------------------------------------------------------------------------------------------------- tables


def test_two_names_of_one_number_are_two_levels(versions: harness.Results) -> None:
    means = versions.trials.groupby("variant", sort=False)["val_accuracy"].mean().round(4)
    assert means.to_dict() == {"1.1": 0.1042, "1.10": 0.2708}
    reading = reporting.read(versions.folder)
    said = " ".join(reporting.judgement(reading).answers[0]).replace("\u00a0", " ")
    assert "1.10 is better than 1.1 by 15.7 points" in said
    assert "interval 0.84 to 30.6" in said
    assert "p 0.045" in said


def test_names_are_text_and_numbers_numbers_in_every_reading(odd: harness.Results) -> None:
    for trials in (odd.trials, harness.read(odd.folder).trials):
        assert trials["variant"].tolist() == trials["arm"].tolist() == ODD
        assert all(pd.api.types.is_numeric_dtype(trials[name]) for name in ("lr", "seed", "val_accuracy"))
        assert not pd.api.types.is_numeric_dtype(trials["variant"])


def test_names_of_numbers_alone_are_text(tmp_path: Path) -> None:
    """Every cell of the column looks like a number: what it is decides."""
    found = harness.run(study_with_names(["16", "1.60e1"]), tmp_path / "names", workers=1)
    assert found.trials["variant"].tolist() == ["16", "1.60e1"]


def test_a_setting_that_holds_text_is_text_whatever_its_values_look_like(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import numpy as np\nfrom harness.axes.schedules import schedules\n"
        "@schedules.register('by_mode')\n"
        "def by_mode(clock, *, mode: str = 'none'):\n"
        '    """A factor of its own."""\n'
        "    return np.full(len(clock.step), 0.5 if mode == '01' else 1.0)\n"
    )
    (tmp_path / "own.toml").write_text(
        '[study]\nname = "own"\nseeds = 1\nplugins = ["own.py"]\n[baseline]\ndataset = "digits"\n'
        'epochs = 1\nhidden = [4]\nschedule = "by_mode"\n[axes]\nmode = ["1", "01"]\n'
    )
    found = harness.run(harness.load(tmp_path / "own.toml"), tmp_path / "own", workers=1)
    assert found.trials["mode"].tolist() == ["1", "01"]
    assert harness.load(tmp_path / "own.toml", ["mode=01"]).axes["mode"] == ["01"]


def test_choices_of_arms_are_shown_by_name(tmp_path: Path) -> None:
    values = [{"name": "None", "hidden": [4]}, {"name": "1e1", "hidden": [5]}, {"name": "10", "hidden": [6]}]
    study = harness.parse(
        {
            "study": {"name": "tuned", "seeds": 2},
            "baseline": {"dataset": "digits", "epochs": 1},
            "axes": {"width": values},
            "tune": {"seeds": 1, "space": {"lr": [0.1, 0.5]}},
        }
    )
    folder = tmp_path / "tuned"
    harness.run(study, folder, workers=1)
    judged = reporting.judgement(reporting.read(folder))
    chosen = next(table for table in judged.tables if table.name == "chosen")
    assert [row[1].text for row in chosen.rows] == ["None", "1e1", "10"]
    said = " ".join(sentence for paragraph in judged.answers for sentence in paragraph)
    assert "nan on digits" not in said
    assert "can be judged" not in said
    assert "1e1" in said


def test_suggestions_of_a_search_are_shown_by_name(tmp_path: Path) -> None:
    values = [{"name": name, "lr": lr} for name, lr in (("1.1", 0.1), ("1.10", 0.5), ("None", 0.01))]
    study = harness.parse(
        {
            "study": {"name": "s", "design": "search", "seeds": 1},
            "baseline": {"dataset": "digits", "epochs": 1, "hidden": [4]},
            "search": {"suggestions": 3, "sampler": "random", "batch": 3},
            "space": {"variant": values},
        }
    )
    found = harness.search(study, tmp_path / "s", workers=1)
    assert set(found.suggestions["variant"]) == {"1.1", "1.10", "None"}


# ----------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("name", ODD)
def test_a_condition_means_the_name_as_it_is_written(odd: harness.Results, name: str) -> None:
    reading = reporting.read(odd.folder)
    quoted = "'" + name + "'" if '"' in name else '"' + name + '"'
    quoted = '"' + name + '"' if "'" in name else quoted
    for conditions in (f"variant={quoted}", f"arm={quoted},seed=0"):
        assert reporting.where(reading, conditions).trials["arm"].tolist() == [name], conditions


def test_a_name_with_a_comma_needs_no_quotes_where_it_is_the_whole_value(odd: harness.Results) -> None:
    reading = reporting.read(odd.folder)
    for conditions in ("arm=ReLU, lr 0.1", "arm=ReLU, lr 0.1,seed=0", "seed=0,variant=ReLU, lr 0.1"):
        assert reporting.where(reading, conditions).trials["arm"].tolist() == ["ReLU, lr 0.1"], conditions
    assert reporting.where(reading, "lr=0.010").trials["arm"].tolist() == ["1.10"]  # a number in any spelling


def test_export_takes_the_network_of_the_name_asked_for(versions: harness.Results, tmp_path: Path) -> None:
    done = command(
        "export", "best", "--results", versions.folder, "--where", "variant=1.10", "--out", tmp_path
    )
    assert done.exception is None
    assert json.loads((tmp_path / "trial.json").read_text())["arm"] == "1.10"
    refused = command("export", "best", "--results", versions.folder, "--where", "variant=1.100")
    assert "did you mean '1.10'" in str(refused.exception)


def test_set_chooses_among_names_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "ver.toml").write_text(VERSIONS)
    for given, names in {
        "variant=1.10": ["1.10"], "variant=1.10,1.1": ["1.10", "1.1"], 'variant="1.1"': ["1.1"],
    }.items():  # fmt: skip
        study = harness.load(tmp_path / "ver.toml", [given])
        assert [value["name"] for value in study.axes["variant"]] == names
    with pytest.raises(UsageError, match=r"did you mean '1\.10'"):
        harness.load(tmp_path / "ver.toml", ["variant=1.100"])


@pytest.mark.parametrize(
    ("given", "plain"),
    [("baseline.lr=0.2", "lr=0.2"), ("study.seeds=2", "seeds=2"), ("axes.lr=0.1,0.2", "lr=0.1,0.2")],
)
def test_set_accepts_the_table_of_a_key(given: str, plain: str) -> None:
    tables = {"study": {"name": "s"}, "baseline": {"dataset": "digits"}, "axes": {"hidden": [[4], [5]]}}
    assert harness.parse(tables, [given]) == harness.parse(tables, [plain])


def test_set_suggests_the_right_table_for_a_key() -> None:
    tables = {"study": {"name": "s"}, "baseline": {"dataset": "digits"}, "axes": {"lr": [0.1, 0.2]}}
    for given, advice in {"study.lr=0.3": "lr=0.3", "baseline.lr=0.3": "lr=0.3"}.items():
        with pytest.raises(UsageError, match=f"write --set {advice}"):
            harness.parse(tables, [given])
        assert harness.parse(tables, [advice]).axes["lr"] == [0.3]


# ------------------------------------------------------------------------------------ screen, page, figures


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of marked names with its live curve, and what the run showed on 44 columns."""
    folder = tmp_path_factory.mktemp("marked")
    table = "".join(
        f"  {{ name = {json.dumps(name)}, lr = {0.01 * 3**i} }},\n" for i, name in enumerate(MARKED)
    )
    (folder / "m.toml").write_text(
        '[study]\nname = "m"\nseeds = 2\n[baseline]\ndataset = "digits"\nepochs = 1\nhidden = [4]\n'
        f"[axes]\nvariant = [\n{table}]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "44")
        done = command("run", folder / "m.toml", "--results", folder / "m", "--workers", 1, "--live")
    assert done.exception is None
    return folder / "m", done.output


def read_svg_text(figure: Figure, stem: Path) -> str:
    """The texts of a figure that was saved."""
    _, svg = plots.save(figure, stem)
    return html.unescape(re.sub(r"<[^>]*>", " ", svg.read_text()))


def test_names_are_drawn_as_they_are_written(marked: tuple[Path, str], tmp_path: Path) -> None:
    reading = reporting.read(marked[0])
    effects = stats.main_effects(reading.trials, reading.axes)
    figure = plots.effects_figure(effects, stats.seed_effects(reading.trials, reading.axes))
    assert all(name in read_svg_text(figure, tmp_path / "effects") for name in MARKED)
    (forest,) = reporting.judgement(reading).figures
    assert "budget $10 against budget $1" in read_svg_text(forest.figure, tmp_path / "forest")


def test_names_stand_on_the_screen_as_they_are_written(marked: tuple[Path, str]) -> None:
    rows = [line.split("\u2502") for line in marked[1].splitlines() if line.startswith("\u2502")]
    shown = "".join(row[2].strip() for row in rows).replace(" ", "")
    for name in MARKED:
        assert name.replace(" ", "") in shown, "folded, never cut"


@pytest.mark.slow
def test_names_stand_on_the_page_and_in_latex_as_they_are_written(marked: tuple[Path, str]) -> None:
    folder, _ = marked
    assert command("report", folder).exception is None
    page = (folder / "report.html").read_text()
    assert all(html.escape(name, quote=False) in page for name in MARKED)
    tex = (folder / "tables" / "effects.tex").read_text()
    assert r"gain \$x\_\$" in tex
    assert r"\_a\textasciicircum{}b\_ \textbackslash{}alpha \& \(<\)i\(>\)" in tex


def test_a_live_curve_names_every_arm() -> None:
    arms = ["_a", "$b$", "baseline"]
    lines = pd.DataFrame({"arm": arms, "split": "val", "epoch": 0.0, "value": [1.0, 2.0, 3.0]})
    figure = live.figure([live.CurvePanel("ce", arms, lines)], "m: heading")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:3] == arms
    assert live.png(figure)


def test_the_baseline_stands_among_the_values_of_its_axis(tmp_path: Path) -> None:
    study = harness.parse(
        {
            "study": {"name": "one", "design": "one-factor", "seeds": 1},
            "baseline": {"dataset": "digits", "epochs": 1, "hidden": [4], "lr": 0.1},
            "axes": {"lr": [0.03, 0.1, 0.3]},
        }
    )
    found = harness.run(study, tmp_path / "one", workers=1)
    assert found.trials["arm"].tolist() == ["baseline", "lr=0.03", "lr=0.3"]
    assert reporting.read(found.folder).trials["label"].tolist() == ["lr=0.1 (baseline)", "lr=0.03", "lr=0.3"]


# -------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("character", ["\r", "\n", "\t", "\x1b", "\u2028"])
def test_control_characters_are_refused_in_names(tmp_path: Path, character: str) -> None:
    name = f"a{character}b"
    tables = {"study": {"name": "s"}, "baseline": {"dataset": "digits"}}
    linked = [{"name": name, "lr": 0.1}]
    ladder = {"study": {"name": "s", "design": "ladder"}, "steps": linked}
    mine = {"mine": {"format": "png", "path": str(tmp_path), "classes": [name, "other"]}}
    for changed in (
        {"axes": {"variant": linked}}, {"axes": {name: [{"name": "x", "lr": 0.1}]}}, ladder,
        {"chosen": {name: {"lr": 0.1}}}, {"datasets": mine}, {"baseline": {"dataset": name}},
    ):  # fmt: skip
        with pytest.raises(UsageError, match="without control characters") as told:
            harness.parse({**tables, **changed})
        assert character not in str(told.value).replace("\n  - ", "").removeprefix("study")


def test_reasons_are_one_line_and_tables_are_read_back_unchanged() -> None:
    table = pd.DataFrame(
        {
            "trial_id": ["t1", "t2", "t3"],
            "arm": ["=1+1", "-x", 'a,"b"'],
            "lr": ["-0.5", "+3", "1e-3"],
            "reason": ["one\r\ntwo\x1b[2J", "=cmd", ""],
        }
    )
    text = csv_rows.written(table)
    assert text.splitlines()[1:] == [
        "t1,'=1+1,-0.5,one two [2J", "t2,'-x,+3,'=cmd", 't3,"a,""b""",1e-3,',
    ]  # fmt: skip
    again = csv_rows.read(io.StringIO(text))
    assert again[["arm", "lr"]].equals(table[["arm", "lr"]].astype(again["arm"].dtype))
    assert csv_rows.written(again) == text

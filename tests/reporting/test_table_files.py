"""Tables as files: CSV that reads back, LaTeX that LaTeX reads."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from harness.reporting import table_files
from harness.reporting.model import Cell, Column, Table
from harness.text import latex

DATA = pd.DataFrame({"arm": ["a & b", "50 %_#"], "difference": [0.012345678, None]})


def make_table(data: pd.DataFrame | None = DATA) -> Table:
    columns = [Column("arm"), Column("difference (points)", numeric=True)]
    rows = [[Cell("a & b"), Cell("\u22121.2", "\u22121.5 to 0.1")], [Cell("50\u00a0%_#"), Cell("no data")]]
    return Table("small", "Small & new", "How to read it, 95\u00a0%.\nTwo lines.", columns, rows, data)


def test_the_csv_holds_the_numbers_in_full(tmp_path: Path) -> None:
    path, _ = table_files.save(make_table(), tmp_path / "tables")
    again = pd.read_csv(path)
    assert list(again["arm"]) == list(DATA["arm"])
    assert again["difference"][0] == pytest.approx(0.01234568)
    assert pd.isna(again["difference"][1])


def test_the_latex_is_a_booktabs_tabular_with_everything_escaped(tmp_path: Path) -> None:
    _, path = table_files.save(make_table(), tmp_path)
    comment, _, *lines = path.read_text(encoding="utf-8").splitlines()
    assert comment.startswith("% Small & new. How to read it")
    assert "Two lines." in comment, "a comment of one line: a second would be typeset"
    assert lines == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"arm & difference (points) \\",
        r"\midrule",
        r"a \& b & \(-\)1.2 (\(-\)1.5 to 0.1) \\",
        r"50~\%\_\# & no data \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_smaller_line_alone_has_no_brackets_in_latex() -> None:
    rows = [[Cell("", "\u22121 to 2")], [Cell("3", "2 to 4")], [Cell("5")]]
    written = table_files.latex(Table("t", "T", "", [Column("interval", numeric=True)], rows, None))
    assert written.splitlines()[6:9] == [r"\(-\)1 to 2 \\", r"3 (2 to 4) \\", r"5 \\"]


@pytest.mark.parametrize("letter", [chr(code) for code in range(0x20, 0x7F)])
def test_no_printable_character_keeps_a_meaning_of_its_own(letter: str) -> None:
    text = latex.escape(f"x{letter}y")
    assert not re.search(r"(?<!\\)[&%$#_{}~^]", text.replace("{}", "")), text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_characters_that_pdflatex_cannot_read_are_shown_by_code_point() -> None:
    assert latex.escape("\u4e2d gr\u00fcn \u2192") == r"[U+4E2D] gr\u00fcn \(\to\)".replace(
        r"\u00fc", "\u00fc"
    )
    assert latex.escape("one\ntwo") == "one two"


def test_the_links_hold_the_files_themselves(tmp_path: Path) -> None:
    path, _ = table_files.save(make_table(), tmp_path)
    assert table_files.uri(path).startswith("data:text/csv;base64,")


def test_a_table_without_data_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no data to write"):
        table_files.save(make_table(None), tmp_path)

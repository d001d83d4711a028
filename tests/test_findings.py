"""Each script in findings/ has its form, and is named in docs/surprises.md; `nox -s findings` runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SCRIPTS = sorted((CHECKOUT / "findings").glob("*.sh"))
PAGE = CHECKOUT / "docs" / "surprises.md"
VERSION = re.compile(r"^# .*\d+\.\d+")
PACKAGE = re.compile(r"pip install --quiet (.*)$", re.MULTILINE)
LEFT_OVER = re.compile(r"@@|\?\?\?|\b(TODO|TBD|XXX)\b")
"""What a writer leaves where a number is to be filled in."""
OWN_FOLDER = 'folder=$(mktemp -d)\ntrap \'rm -rf "$folder"\' EXIT\npython3 -m venv "$folder/env"\n'


def problems(text: str) -> list[str]:
    """List what a finding's script lacks."""
    lines = text.splitlines()
    header = [line for line in lines[1:] if line.startswith("#")]
    installed = [package.strip('"') for found in PACKAGE.findall(text) for package in found.split()]
    wanted = {
        "bash, and its first line": lines[:1] == ["#!/usr/bin/env bash"],
        "a version in its first sentence": VERSION.match(header[0]) is not None,
        "what one expects": any(line.startswith("# One expects") for line in header),
        "what was observed, with a date": re.search(r"^# Observed \(20\d\d-\d\d-\d\d", text, re.MULTILINE),
        "an end where a command fails": "\nset -euo pipefail\n" in text,
        "an environment in a temporary folder": OWN_FOLDER in text,
        "packages": installed,
        "pinned packages": all("==" in package for package in installed),
        "public packages alone": not re.search(r"\b(import|from) harness\b", text),
        "what was seen in place of a mark": not LEFT_OVER.search(text),
        "an exit code": re.search(r"^(sys\.|    sys\.|)exit\b", text, re.MULTILINE),
    }
    return [name for name, has in wanted.items() if not has]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_says_what_it_needs_and_shows(script: Path) -> None:
    assert problems(script.read_text(encoding="utf-8")) == []
    if bash := shutil.which("bash"):
        subprocess.run([bash, "-n", str(script)], check=True)


def test_what_a_finding_lacks_is_found() -> None:
    text = SCRIPTS[0].read_text(encoding="utf-8")
    assert problems(text.replace("==", ">=")) == ["pinned packages"]
    assert problems(text.replace("# Observed (2", "# Seen (2")) == ["what was observed, with a date"]
    assert problems(text.replace("import numpy", "import harness, numpy")) == ["public packages alone"]
    observed = text.index("# Observed")
    for mark in ("@@", "???", "TODO"):
        assert problems(f"{text[:observed]}# {mark} %\n{text[observed:]}") == [
            "what was seen in place of a mark"
        ]
    assert LEFT_OVER.search(PAGE.read_text(encoding="utf-8")) is None


def test_the_page_of_surprises_names_every_finding() -> None:
    named = set(re.findall(r"findings/([\w-]+\.sh)", PAGE.read_text(encoding="utf-8")))
    assert named == {script.name for script in SCRIPTS}

"""Every dependency has a row in docs/dependencies.md, with its licence and its reason."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([\w.-]+) \| ([^|]+) \|(?: [^|]+ \|)? ([^|]+) \|$", re.MULTILINE)


def name_of(requirement: str) -> str:
    """A package's name in its normal form, of a requirement or a pin."""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def rows() -> dict[str, tuple[str, str]]:
    """Package -> its licence, and its reason or who asks for it."""
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    return {name_of(name): (licence.strip(), why.strip()) for name, licence, why in ROW.findall(page)}


def asked_for() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {name_of(requirement) for listed in lists for requirement in listed}


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {name_of(line) for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("package", sorted(asked_for() | pinned()))
def test_a_dependency_has_a_licence_and_a_reason(package: str) -> None:
    assert package in rows(), f"{package} has no row in docs/dependencies.md: add its licence and its reason"
    licence, why = rows()[package]
    assert licence
    assert why


def test_a_package_without_a_row_is_noticed() -> None:
    assert "a-package-of-nobodys" not in rows()
    assert rows()["torch"][1] == "arithmetic"


def test_every_row_names_a_dependency() -> None:
    others = {"npm", "git", "mnist", "fashion-mnist", "digits", "program", "data", "package", "file"}
    others |= {"chart.umd.min.js", "in-that-file"}  # shipped, not installed
    assert set(rows()) - others <= asked_for() | pinned()


@pytest.mark.parametrize("package", sorted(asked_for()))
def test_licences_are_those_that_packages_state(package: str) -> None:
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        pytest.skip("not installed in this session")
    expressions = about.get_all("License-Expression")
    if not expressions:
        pytest.skip("its metadata name no SPDX expression")
    first = expressions[0].split(" ")[0]
    assert first in rows()[package][0]

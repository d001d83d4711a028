"""`harness guide` names all there is, and docs/programs.md has programs that run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import harness
from harness.axes import plugins
from harness.cli import guide, main
from harness.registry import PACKAGE_ROOT
from harness.settings import CORE
from harness.settings.schema import EPOCHS, OUTCOME
from harness.study import about, contrasts, searches, tuning_space

PROGRAMS = PACKAGE_ROOT.parent / "docs" / "programs.md"
STUDY = """
[study]
name = "small"
[baseline]
dataset = "digits"
hidden = [16]
lr = 0.05
epochs = 1
"""


@pytest.fixture(scope="module")
def page() -> str:
    return guide.text(main.harness)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_it_is_one_page(page: str) -> None:
    lines = page.split("\n")
    assert len(lines) <= 150
    assert max(map(len, lines)) <= guide.WIDTH
    assert "{{" not in page


def test_every_command_and_argument_is_in_it(page: str) -> None:
    for name, command in guide.every_command(main.harness):
        (line,) = (line for line in page.split("\n") if re.match(rf"{name}[ :]", line))
        words = [p.metavar or str(p.name).upper() for p in command.params if isinstance(p, click.Argument)]
        assert all(word in line for word in words), line


def named() -> Iterator[tuple[str, str]]:
    """Every name that the page must have, and what it is."""
    for axis, registry in plugins.catalogue().items():
        yield axis, "axis"
        for entry in registry:
            yield entry.name, axis
            for setting in getattr(entry.component, "settings", {}):
                yield setting, entry.name
    yield from ((name, "setting") for name in CORE)
    yield from ((column, "column") for column in (*OUTCOME, *EPOCHS))
    tables = (about.About, contrasts.Contrasts, searches.Search, searches.Pruning, tuning_space.Tune)
    for table in tables:
        yield from ((key, table.__name__) for key in table.model_fields if key not in guide.INTERNAL)


@pytest.mark.parametrize("name", sorted(set(named())))
def test_every_component_setting_key_and_column_is_in_it(page: str, name: tuple[str, str]) -> None:
    assert re.search(rf"(?<![\w.]){re.escape(name[0])}(?![\w])", page), name


def test_a_component_of_another_package_would_be_in_it() -> None:
    @harness.losses.register("guided", takes="logits")
    def guided(logits: Any, target: Any, *, sharpness: float = 3.5) -> Any:
        """Cross-entropy of a third party."""
        return -(target * (sharpness * logits).log_softmax(-1)).sum(-1)

    assert "guided (sharpness=3.5)" in " ".join(guide.text(main.harness).split())


def test_its_study_file_is_a_study_and_its_sentences_on_others_are_right(page: str) -> None:
    import tomllib

    (text,) = blocks(page, "toml")
    study = harness.parse(tomllib.loads(text))
    assert (study.name, len(study.seeds), list(study.axes)) == ("outputs", 5, ["optimizer", "output"])
    assert study.tune is not None
    assert harness.plan(study).contrasts.levels[0].reference == "softmax + CE"
    space = re.search(r"`\[space\]` \((.*?) \}, (optimizer = .*?)\)", page)
    assert space
    lines = "\n".join((f"{space[1]} }}", space[2].split("(", maxsplit=1)[0]))
    about_search = {"study": {"name": "s", "design": "search"}, "search": {"suggestions": 3}}
    assert harness.parse({**about_search, "space": tomllib.loads(lines)}).search is not None


def test_commands_that_it_tells_to_call_are_there(page: str) -> None:
    commands = dict(guide.every_command(main.harness))
    for call in re.findall(r"`harness ([a-z][\w-]*)((?: [^`]*)?)`", page):
        command = commands[call[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", call[1])) - {"--help"} <= options, call


def test_the_program_of_the_page_keeps_the_better_change(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    (program,) = blocks(PROGRAMS.read_text(encoding="utf-8"), "python")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("3 trials, about ")
    assert re.fullmatch(r"lr=0.5: better, \+\d\d?\.\d points, [35] seeds, exit code 0", lines[1])
    assert lines[-1].startswith("kept: lr=0.5")


@pytest.mark.parametrize(("epochs", "said"), [("1", "may pass"), ("9", "worse"), ("", "cannot tell")])
def test_the_shell_of_the_page_reads_the_gate(tmp_path: Path, epochs: str, said: str) -> None:
    (script,) = blocks(PROGRAMS.read_text(encoding="utf-8"), "sh")
    (tmp_path / "study.toml").write_text(STUDY)
    for folder, length in (("old", epochs or "1"), ("new", "1")):
        study = harness.load(tmp_path / "study.toml", [f"epochs={length}"])
        harness.run(study, tmp_path / "results" / folder, workers=1)
    if not epochs:
        script = script.replace("results/new", "results/old")
    (tmp_path / "harness").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    (tmp_path / "harness").chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
    )  # fmt: skip
    assert done.stdout.strip() == said, done.stderr

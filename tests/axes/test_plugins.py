"""The three doors by which a third party's components come in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.axes import plugins
from harness.axes.activations import activations
from harness.errors import UsageError
from harness.planning.plan import make
from harness.study.reading import load, parse
from harness.study.study import Study

MINE = """
from harness.axes.activations import activations

@activations.register("{name}")
def mine(x):
    '''A third party's.'''
    return x.clamp(-1, 1)
"""


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Take out what a test brought in: components, modules, paths."""
    before, modules, path = {entry.name for entry in activations}, set(sys.modules), list(sys.path)
    yield
    for name in [entry.name for entry in activations if entry.name not in before]:
        activations.remove(name)
    for module in set(sys.modules) - modules:
        if "plugin" in module or "third" in module:
            del sys.modules[module]
    sys.path[:] = path
    importlib.invalidate_caches()


def study_file(folder: Path, named: str, activation: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(
        f'[study]\nname = "mine"\nseeds = 1\nplugins = ["{named}"]\n'
        f'[baseline]\ndataset = "digits"\nactivation = "{activation}"\n'
    )
    return path


def test_registries_are_named_by_their_settings() -> None:
    assert list(plugins.registries()) == [
        "dataset", "preprocessing", "augmentation", "architecture", "activation", "head", "loss", "optimizer",
        "schedule",
    ]  # fmt: skip
    assert all(registry.axis == axis for axis, registry in plugins.registries().items())


# ------------------------------------------------------------------------------------------- a study's file


def test_a_plugin_is_found_beside_its_study(tmp_path: Path) -> None:
    (tmp_path / "my_axes.py").write_text(MINE.format(name="clamp_file"))
    study = load(study_file(tmp_path, "my_axes.py", "clamp_file"))
    entry = activations.entry("clamp_file")
    assert entry.summary == "A third party's."
    assert entry.where == "my_axes.py:4"
    assert entry.source_digest
    assert [trial.arm.settings["activation"] for trial in make(study).trials] == ["clamp_file"]


def test_a_file_runs_once_however_often_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "my_axes.py").write_text(MINE.format(name="clamp_once"))
    path = study_file(tmp_path, "my_axes.py", "clamp_once")
    load(path)
    load(path)  # a second run of the file would define the activation twice
    plugins.load_file(tmp_path / "." / "my_axes.py")
    assert "clamp_once" in activations


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_axes.py").write_text(MINE.format(name=f"clamp_{folder}"))
        plugins.load_file(tmp_path / folder / "my_axes.py")
    assert "clamp_a" in activations
    assert "clamp_b" in activations


def test_a_missing_plugin_is_reported(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"plugin .*nowhere.py is not a Python file that can be read; correct `plugins`"
    ):
        load(study_file(tmp_path, "nowhere.py", "relu"))


@pytest.mark.parametrize(("source", "told"), [("1 / 0", "ZeroDivisionError"), ("def (", "SyntaxError")])
def test_a_broken_plugin_can_be_fixed_and_run_again(tmp_path: Path, source: str, told: str) -> None:
    path = tmp_path / "my_axes.py"
    path.write_text(source)
    with pytest.raises(UsageError, match=rf"plugin .*my_axes.py fails when it is run: {told}"):
        plugins.load_file(path)
    path.write_text(MINE.format(name="clamp_mended") + "# mended, and of another length\n")
    plugins.load_file(path)
    assert "clamp_mended" in activations


def test_a_plugin_that_takes_a_built_in_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my_axes.py"
    path.write_text(MINE.format(name="relu"))
    with pytest.raises(
        UsageError, match=r"activation 'relu' is defined twice: in harness/axes/activations.py:\d+ and"
    ):
        plugins.load_file(path)


def test_a_study_by_itself_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "my_axes.py").write_text(MINE.format(name="clamp_unnamed"))
    path = study_file(tmp_path, "my_axes.py", "relu")
    path.write_text(path.read_text().replace('["my_axes.py"]', "[]"))
    load(path)
    assert "clamp_unnamed" not in activations


# -------------------------------------------------------------------------------------------- an entry point


def install(site: Path, module: str, source: str) -> None:
    """What pip leaves of a package with an entry point: a module and a dist-info."""
    (site / f"{module}.py").write_text(source)
    info = site / "third_party_axes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party-axes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[harness.components]\nmine = {module}\n")
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()


def test_an_installed_package_registers_its_components(tmp_path: Path) -> None:
    install(tmp_path, "third_party_axes", MINE.format(name="clamp_installed"))
    study = parse(
        {"study": {"name": "mine"}, "baseline": {"dataset": "digits", "activation": "clamp_installed"}}
    )
    assert study.baseline["activation"] == "clamp_installed"
    entry = activations.entry("clamp_installed")
    assert entry.module == "third_party_axes"
    assert entry.source_digest
    plugins.load_installed()  # again: nothing is defined twice


def test_an_installed_package_that_cannot_be_imported_is_reported(tmp_path: Path) -> None:
    install(tmp_path, "third_party_broken", "import nowhere_to_be_found\n")
    with pytest.raises(
        UsageError, match=r"package 'third-party-axes' \(entry point mine = third_party_broken\)"
    ):
        plugins.load_installed()


# ---------------------------------------------------------------------------------------------- plain import


def test_a_plain_import_registers_components(tmp_path: Path) -> None:
    (tmp_path / "third_plain.py").write_text(MINE.format(name="clamp_plain"))
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    importlib.import_module("third_plain")
    assert activations.entry("clamp_plain").module == "third_plain"


def test_a_notebooks_decorator_registers_a_component(study_of: Callable[..., Study]) -> None:
    @activations.register("clamp_cell")
    def cell(x: object) -> object:
        """In a cell."""
        return x

    plan = make(study_of(axes={"activation": ["clamp_cell", "identity"]}))
    assert {trial.arm.settings["activation"] for trial in plan.trials} == {"clamp_cell", "identity"}
    assert len({trial.trial_id for trial in plan.trials}) == 4


def test_an_edited_plugin_makes_other_trials(tmp_path: Path, study_of: Callable[..., Study]) -> None:
    """The source digest is part of who a trial is; trials that do not use it stay who they are."""
    ids: list[str] = []
    others: list[str] = []
    for version in ("# one\n", "# two\n"):
        path = tmp_path / f"third_{len(ids)}.py"
        path.write_text(MINE.format(name="clamp_edited") + version)
        plugins.load_file(path)
        plan = make(study_of(axes={"activation": ["clamp_edited", "relu"]}))
        by_name = {
            trial.arm.settings["activation"]: trial.trial_id for trial in plan.trials if trial.seed == 0
        }
        ids.append(by_name["clamp_edited"])
        others.append(by_name["relu"])
        activations.remove("clamp_edited")
    assert ids[0] != ids[1]
    assert others[0] == others[1]

"""Studies: a person's words, validated whole before anything is computed."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness import plugins
from harness.axes.datasets import Dataset, datasets
from harness.errors import UsageError, did_you_mean
from harness.folders import Folder
from harness.registry import HOUSE
from harness.settings import Seed, Value

Settings: TypeAlias = "dict[str, Value]"
Design = Literal["grid", "one-factor", "ladder"]
TABLES = ("study", "baseline", "axes", "steps", "datasets")
NAME = r"[A-Za-z][A-Za-z0-9_.-]*"
M = TypeVar("M", bound=BaseModel)


class About(BaseModel):
    """The [study] table."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    hypothesis: str = ""
    design: Design = "grid"
    seeds: list[Seed] = Field(default=[0, 1, 2], min_length=1)
    plugins: list[str] = []
    resample_split: bool = False
    keep_predictions: list[Literal["train", "val", "test"]] = ["test"]
    keep_weights: Literal["best", "all", "none"] = "best"

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("a study needs at least 1 seed")
            return list(range(value))
        return value

    @field_validator("seeds")
    @classmethod
    def _no_seed_twice(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("a seed is listed twice")
        return value


@dataclass(frozen=True)
class Study:
    """A validated study.

    `axes` maps an axis to its values: a value is a setting's, or for linked settings a table
    {"name": .., setting: ..}. `steps` are a ladder's, each with its "name". `folders` are the person's own
    data, by the name that `dataset` calls it.
    """

    about: About
    baseline: Settings
    axes: Mapping[str, Sequence[Any]]
    steps: Sequence[Mapping[str, Any]] = ()
    path: Path | None = None
    folders: Mapping[str, Folder] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The study's name, which is also its results folder's."""
        return self.about.name

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """The study's own data sets; each finds its facts once, and travels to worker processes with them."""
        return {name: folder.dataset(name) for name, folder in self.folders.items()}

    def declare(self) -> None:
        """Make the study's own data sets known in this process, in place of another study's."""
        datasets.declare(self.datasets, f"study {self.name}")

    @property
    def linked_axes(self) -> list[str]:
        """The axes whose values set several settings under a name."""
        return [axis for axis, values in self.axes.items() if isinstance(values[0], Mapping)]

    def tables(self) -> dict[str, Any]:
        """The study as TOML tables, with everything resolved that a reader would have to look up."""
        folder = self.path.parent if self.path else Path()
        named = [str((folder / plugin).resolve()) for plugin in self.about.plugins]
        about = self.about.model_dump() | {"plugins": named}
        tables: dict[str, Any] = {"study": about, "baseline": dict(self.baseline)}
        if self.axes:
            tables["axes"] = {axis: list(values) for axis, values in self.axes.items()}
        if self.steps:
            tables["steps"] = [dict(step) for step in self.steps]
        if self.folders:
            tables["datasets"] = {name: folder.table() for name, folder in self.folders.items()}
        return tables


# ---------------------------------------------------------------------------------------- reading a file


def load(study: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read and validate a study file.

    Args:
        study: a path, or the name of a file in ./ablations or among those the package ships.
        overrides: "key=value" texts, as `--set` takes them.

    Raises:
        UsageError: with everything that is wrong, at once.
    """
    path = find(study)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"study file {path} cannot be read: {error}") from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"study file {path} is not valid TOML: {error}") from error
    return parse(tables, overrides, path)


def find(study: str | Path) -> Path:
    """The file of a study named on the command line."""
    given = Path(study)
    if _is_file(given):
        return given
    if given.suffix == ".toml":
        raise UsageError(f"there is no study file {given}")
    folders = [Path("ablations"), HOUSE / "ablations", HOUSE.parent / "ablations"]
    for folder in folders:
        if _is_file(folder / f"{study}.toml"):
            return folder / f"{study}.toml"
    known = {file.stem for folder in folders for file in folder.glob("*.toml")}
    raise UsageError(
        f"there is no study {str(study)!r}: {did_you_mean(str(study), known)}, or a path to a .toml file"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name that a file could have
        return False


def parse(tables: Mapping[str, Any], overrides: Sequence[str] = (), path: Path | None = None) -> Study:
    """Validate a study given as tables (a notebook's dict, a file's TOML)."""
    file = str(path or "study")
    problems: list[str] = []
    raw = _raw(tables, problems)
    problems += _apply(overrides, raw)
    folder = path.parent if path else Path()
    datasets.declare({}, file)
    _load_plugins(raw["study"], folder)
    about = _validated(About, "study", raw["study"], problems)
    folders = _folders(raw["datasets"], folder, problems)
    checker = _Checker(known_settings(), problems)
    baseline = checker.table("baseline", raw["baseline"])
    axes = {axis: checker.axis(axis, values) for axis, values in raw["axes"].items()}
    steps = checker.named("steps", raw.get("steps", []))
    problems += _contradictions(about, baseline, axes, steps)
    if problems or about is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise UsageError(
            f"{file}: {len(problems)} problem{'s' if len(problems) > 1 else ''}, nothing was run\n{listed}"
        )
    found = Study(about, baseline, axes, steps, path, folders)
    found.declare()
    return found


def _raw(tables: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """A copy of the tables, for overrides to change; what is no table is told, and left out."""
    raw = copy.deepcopy(dict(tables))
    problems += [f"[{key}]: unknown table; {did_you_mean(key, TABLES)}" for key in set(raw) - set(TABLES)]
    for key in ("study", "baseline", "axes", "datasets"):
        if not isinstance(raw.setdefault(key, {}), Mapping):
            problems.append(f"[{key}] = {raw[key]!r}: allowed: a table")
            raw[key] = {}
    return raw


def _load_plugins(table: Mapping[str, Any], folder: Path) -> None:
    plugins.load_installed()
    named = table.get("plugins", [])
    for name in named if isinstance(named, list) else []:
        plugins.load_file(folder / str(name))

"""Studies: a person's words, validated whole before anything is computed."""

from __future__ import annotations

import copy
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness import contrasts, limits, plugins, searches, space_tables, spaces, toml_text
from harness.axes.datasets import Dataset, Images, datasets
from harness.axes.metrics import metrics, taken
from harness.checking import Checker, Settings, known_settings
from harness.contrasts import Contrasts
from harness.errors import UsageError, did_you_mean, quoted
from harness.folders import Folder
from harness.overrides import apply
from harness.parameters import Space
from harness.registry import HOUSE
from harness.searches import Search
from harness.settings import BESIDE, OF_ARM, Seed, listed_seeds, no_seed_twice
from harness.spaces import Tune, TuningSpace
from harness.urls import shown, without_passwords

Design = Literal["grid", "one-factor", "ladder", "search"]
Phase = Literal["fixed", "tuning", "tuned", "search", "confirmed"]
TABLES = (
    "study", "baseline", "axes", "steps", "contrasts", "tune", "search", "space", "chosen", "datasets",
)  # fmt: skip
NAME = r"[A-Za-z][A-Za-z0-9_.-]*"
LONGEST_NAME = 100
"""Characters of a study's name: a folder is called by it, and files begin with it."""
MOST_TOLD = 50  # problems of a file
LONGEST_PROBLEM = 2000  # characters
REFERENCE = "reference"
"""The folder in results/ that is no study's: it holds results that are committed."""
M = TypeVar("M", bound=BaseModel)


class About(BaseModel):
    """The [study] table."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=LONGEST_NAME)
    hypothesis: str = ""
    design: Design = "grid"
    seeds: list[Seed] = Field(default=[0, 1, 2], min_length=1)
    plugins: list[str] = []
    metrics: list[str] | None = None
    resample_split: bool = False
    keep_predictions: list[Literal["train", "val", "test"]] = ["test"]
    keep_weights: Literal["best", "all", "none"] = "best"
    phase: Phase = "fixed"

    @field_validator("name")
    @classmethod
    def _a_folders(cls, value: str) -> str:
        if value.endswith("."):
            raise ValueError("a name that does not end with a dot, which some systems drop from a folder's")
        if value.casefold() == REFERENCE:
            raise ValueError(f"another name: results/{REFERENCE} holds the results that are kept")
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: object) -> object:
        return listed_seeds(value, "a study")

    @field_validator("seeds")
    @classmethod
    def _no_seed_twice(cls, value: list[int]) -> list[int]:
        return no_seed_twice(value)

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_metric(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value  # --set metrics=top3

    @field_validator("metrics")
    @classmethod
    def _no_metric_twice(cls, value: list[str] | None) -> list[str] | None:
        if value and len(set(value)) < len(value):
            raise ValueError("a metric is listed twice")
        return value


@dataclass(frozen=True)
class Study:
    """A validated study.

    `axes` maps an axis to its values: a value is a setting's, or for linked settings a table
    {"name": .., setting: ..}. `steps` are a ladder's, each with its "name". `folders` are the person's own
    data, by the name that `dataset` calls it. `contrasts` is what is compared. `tune` is what every arm may
    tune, if anything, from `spaces` (`space_of`); `chosen` what each arm chose, by name, once that is known.
    A search is `search` for the best in `space`; its arms are the suggestions, in `chosen`.
    """

    about: About
    baseline: Settings
    axes: Mapping[str, Sequence[Any]]
    steps: Sequence[Mapping[str, Any]] = ()
    path: Path | None = None
    folders: Mapping[str, Folder] = field(default_factory=dict)
    contrasts: Contrasts = field(default_factory=Contrasts)
    tune: Tune | None = None
    spaces: Mapping[str, TuningSpace] = field(default_factory=dict)
    chosen: Mapping[str, Settings] = field(default_factory=dict)
    search: Search | None = None
    space: Space | None = None

    @property
    def name(self) -> str:
        """The study's name, which is also its results folder's."""
        return self.about.name

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics it tracks beside loss and accuracy."""
        return tuple(self.about.metrics or ())

    @property
    def seeds(self) -> Sequence[int]:
        """The seeds of its trials: while it tunes or searches, those for that."""
        if self.search and self.about.phase == "search":
            return self.search.seeds
        return self.tune.seeds if self.tune and self.about.phase == "tuning" else self.about.seeds

    @property
    def sealed(self) -> bool:
        """Whether the test set stays closed: what is chosen by these trials cannot have seen it."""
        return self.about.phase in {"tuning", "search"}

    @property
    def label_columns(self) -> list[str]:
        """The columns of trials.csv that name an arm: its linked values, and in tuning whose try it is."""
        return [*self.linked_axes, OF_ARM] if self.about.phase == "tuning" else self.linked_axes

    def space_of(self, values: Iterable[tuple[str, str]]) -> TuningSpace:
        """What an arm may tune: the space of all, and in it those of its linked values (axis, name)."""
        own = [self.spaces.get(spaces.place(axis, name), {}) for axis, name in values]
        return {
            key: tried for space in (self.spaces.get(spaces.ALL, {}), *own) for key, tried in space.items()
        }

    def in_phase(self, phase: Phase, chosen: Mapping[str, Settings] | None = None) -> Study:
        """The study in one of its phases: other settings, other seeds, and while it tunes a sealed test set.

        Args:
            phase: fixed, tuning or tuned; of a search, search or confirmed.
            chosen: what each arm chose, by its name; for the phases after the first.
        """
        changed: dict[str, Any] = {"phase": phase}
        if phase in {"tuning", "search"}:
            changed |= {"keep_predictions": [], "keep_weights": "none"}
        if phase == "confirmed" and self.about.keep_weights == "best":
            changed["keep_weights"] = "all"  # the winner's are wanted, whichever arm has the best trial
        return replace(self, about=self.about.model_copy(update=changed), chosen=chosen or {})

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """The study's own data sets; each finds its facts once, and travels to worker processes with them."""
        return {name: folder.dataset(name) for name, folder in self.folders.items()}

    def declare(self) -> None:
        """Make the study's own data sets known in this process, in place of another study's."""
        datasets.declare(self.datasets, f"study {self.name}")
        for entry in datasets:
            if entry.third_party:
                entry.component.refresh(entry.source_digest)

    @property
    def linked_axes(self) -> list[str]:
        """The axes whose values set several settings under a name."""
        return [axis for axis, values in self.axes.items() if isinstance(values[0], Mapping)]

    def tables(self, beside: Path | None = None) -> dict[str, Any]:
        """The study as TOML tables, with everything resolved that a reader would have to look up.

        Args:
            beside: the folder that the tables are written to. Files under the current folder, as it is, are
                named from there, so that a repository can be moved with its results in it.
        """
        folder = self.path.parent if self.path else Path()
        named = [_place(folder / plugin, beside) for plugin in self.about.plugins]
        about = self.about.model_dump() | {"plugins": named}
        tables: dict[str, Any] = {"study": about, "baseline": dict(self.baseline)}
        if self.axes:
            tables["axes"] = {axis: list(values) for axis, values in self.axes.items()}
        if self.steps:
            tables["steps"] = [dict(step) for step in self.steps]
        tables["contrasts"] = self.contrasts.table()
        if self.tune:
            tables["tune"] = self.tune.model_dump(exclude_none=True)
        if self.search and self.space:
            tables |= {"search": searches.table(self.search), "space": dict(self.space.table)}
        if self.chosen:
            tables["chosen"] = {arm: dict(settings) for arm, settings in self.chosen.items()}
        if self.folders:
            tables["datasets"] = {
                name: {**folder.table(), "path": _place(folder.path, beside)}
                for name, folder in self.folders.items()
            }
        return tables


def _place(path: Path, beside: Path | None) -> str:
    """A file or folder's place: from `beside`, if both are under the current folder, else from the root."""
    path, here = path.resolve(), Path.cwd()
    if beside is None or not all(place.is_relative_to(here) for place in (path, beside.resolve())):
        return path.as_posix()
    return Path(os.path.relpath(path, beside.resolve())).as_posix()


# ---------------------------------------------------------------------------------------- reading a file


def load(study: str | Path, overrides: Sequence[str] = (), plugin_files: Sequence[str | Path] = ()) -> Study:
    """Read and validate a study file.

    Args:
        study: a path, or the name of a file in ./ablations or among those the package ships.
        overrides: "key=value" texts, as `--set` takes them.
        plugin_files: files that define components of your own, which you trust; they are run. Those that a
            study file names are run without that, but not those of a study.toml in a results folder.

    Raises:
        UsageError: with everything that is wrong, at once.
    """
    path = find(study)
    for file in plugin_files:
        plugins.load_file(Path(file))
    return parse(toml_text.read(path), overrides, path)


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
    if _is(Path.is_dir, given):
        raise UsageError(f"{given} is a folder; allowed: a study file, such as {given / 'study.toml'}")
    known = {file.stem for folder in folders for file in folder.glob("*.toml")}
    raise UsageError(
        f"there is no study {str(study)!r}: {did_you_mean(str(study), known)}, or a path to a .toml file"
    )


def _is_file(path: Path) -> bool:
    return _is(Path.is_file, path)


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except OSError:  # no name that a file could have
        return False


def parse(tables: Mapping[str, Any], overrides: Sequence[str] = (), path: Path | None = None) -> Study:
    """Validate a study given as tables (a notebook's dict, a file's TOML)."""
    file = str(path or "study")
    problems: list[str] = []
    raw = _raw(tables, problems)
    problems += apply(overrides, raw, set(About.model_fields) - {"phase"})
    folder = path.parent if path else Path()
    datasets.declare({}, file)
    _load_plugins(raw["study"], path)
    about = _validated(About, "study", raw["study"], problems)
    folders = _folders(raw["datasets"], folder, problems)
    checker = Checker(known_settings(), problems)
    baseline = checker.table("baseline", raw["baseline"])
    axes = {axis: checker.axis(axis, values) for axis, values in raw["axes"].items()}
    steps = checker.named("steps", raw.get("steps", []))
    compared = _validated(Contrasts, "contrasts", raw.get("contrasts", {}), problems)
    tune = _tuned(raw, checker)
    for arm in raw["chosen"]:
        checker.name("an arm in [chosen]", arm)
    chosen = {arm: checker.table(f"chosen.{arm}", values) for arm, values in raw["chosen"].items()}
    problems += _contradictions(about, baseline, axes, steps, tune)
    if chosen and about is not None and about.phase == "fixed":
        problems.append("[chosen]: only in a study.toml that tuning or a search wrote; take it out")
    search, space = _searched(raw, about, baseline, checker)
    if about is not None and compared is not None:
        problems += contrasts.problems(compared, about.design, axes)
        compared = contrasts.resolve(compared, about.design, axes, baseline)
    if tune is None and checker.spaces:
        told = ", ".join(checker.spaces)
        problems.append(f"{told}: a space to tune, in a study without [tune]; add the table, or take it out")
    if compared is not None and compared.metric == "val_accuracy":
        problems += _unjudged_by_val(baseline, axes, tune)
    if about is not None and about.design == "search" and compared is not None:
        problems += contrasts.problems_of_search(compared, about.phase)
    if about is not None and tune is not None:
        problems += spaces.problems(tune, checker.spaces, about.seeds, baseline, axes)
    if about is not None:
        about = about.model_copy(update={"metrics": _tracked(about, folder)})
        problems += _metric_problems(about.metrics or (), [*checker.known, *axes])
    if about is not None and search is not None:
        problems += searches.problems(search, about.seeds, about.metrics or ())
    if about is not None and not problems:
        problems += filter(None, _sized(about, axes, steps, tune, checker.spaces, search))
    if problems or about is None:
        raise UsageError(_listed(file, list(dict.fromkeys(problems))))
    found = Study(
        about, baseline, axes, steps, path, folders, compared or Contrasts(), tune, checker.spaces, chosen,
        search, space,
    )  # fmt: skip
    found.declare()
    return found


def _listed(file: str, problems: Sequence[str]) -> str:
    """All problems of a file in words; of very many, the first ones and how many there are."""
    told = [f"  - {quoted(problem, str, LONGEST_PROBLEM)}" for problem in problems[:MOST_TOLD]]
    more = [f"  - and {len(problems) - MOST_TOLD:,} more"] if len(problems) > MOST_TOLD else []
    head = f"{file}: {len(problems)} problem{'s' if len(problems) > 1 else ''}, nothing was run"
    return "\n".join([head, *told, *more])


def _sized(
    about: About,
    axes: Mapping[str, Sequence[Any]],
    steps: Sequence[Any],
    tune: Tune | None,
    own: Mapping[str, TuningSpace],
    search: Search | None,
) -> Iterator[str]:
    """What is too large to be planned: more trials than a plan can hold, in any of the study's phases."""
    if about.phase in {"search", "confirmed"}:
        return
    if search is not None:
        yield limits.trials_problem(
            "search.suggestions", {"suggestions": search.suggestions, "seeds": len(search.seeds)}
        )
        yield limits.trials_problem("study.seeds", {"arms": 2, "seeds": len(about.seeds)})
        return
    arms = limits.arms(about.design, axes, steps)
    yield limits.trials_problem(
        "[steps]" if about.design == "ladder" else "[axes]", {"arms": arms, "seeds": len(about.seeds)}
    )
    if tune is not None:
        shared = own.get(spaces.ALL, {})
        tries = max(spaces.size({**shared, **space}) or tune.budget or 0 for space in own.values())
        yield limits.trials_problem(
            "[tune]", {"arms": arms, "settings to try": tries, "tuning seeds": len(tune.seeds)}
        )


def _raw(tables: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """A copy of the tables, for overrides to change; what is no table is told, and left out."""
    toml_text.check_plain(tables)
    raw = copy.deepcopy(dict(tables))
    problems += [f"[{key}]: unknown table; {did_you_mean(key, TABLES)}" for key in raw if key not in TABLES]
    for key in ("study", "baseline", "axes", "chosen", "search", "space", "datasets"):
        if not isinstance(raw.setdefault(key, {}), Mapping):
            problems.append(f"[{key}] = {quoted(raw[key])}: allowed: a table")
            raw[key] = {}
    return raw


def _load_plugins(table: Mapping[str, Any], path: Path | None) -> None:
    folder = path.parent if path else Path()
    plugins.load_installed()
    named = table.get("plugins", [])
    for name in named if isinstance(named, list) else []:
        if not isinstance(name, str):
            continue  # which its check tells
        try:
            if path is not None and path.name == "study.toml" and _is_file(folder / "trials.csv"):
                plugins.ask_first(folder / name, path)
            plugins.load_file(folder / name)
        except (OSError, ValueError) as error:  # a name that no file can have
            raise UsageError(
                f"plugin {quoted(name)} is no path of a file ({_reason(error)}); correct `plugins`"
            ) from error


def _validated(model: type[M], where: str, table: object, problems: list[str]) -> M | None:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        for problem in error.errors():
            key = ".".join([where, *map(str, problem["loc"])])
            given = str(problem["input"]) if isinstance(problem["input"], Path) else problem["input"]
            if problem["type"] == "extra_forbidden":
                allowed = _fields(model, problem["loc"])
                problems.append(f"{key}: unknown key; {did_you_mean(key.split('.')[-1], allowed)}")
            elif problem["type"] == "missing":
                problems.append(
                    f"{key}: missing; give {'the study' if where == 'study' else 'it'} a {key.split('.')[-1]}"
                )
            else:
                given = shown(given) if key == "search.storage" and isinstance(given, str) else given
                said = quoted(given, lambda value: without_passwords(repr(value)))
                problems.append(f"{key} = {said}: allowed: {_said(problem['msg'])}")
        return None


def _said(message: str) -> str:
    """What pydantic says is allowed, in fewer words."""
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "a table", message)
    message = re.sub(r"(?:List|String) should have (at (?:least|most) .*?)(?: after .*)?$", r"\1", message)
    message = re.sub(
        r"String should match pattern .*", "letters, digits, _ . -, a letter or digit first", message
    )
    return message.removeprefix("Value error, ").removeprefix("Input should be ")


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> Iterable[str]:
    """The fields of the table that a key is in, which may be a table of the model's."""
    for key in loc[:-1]:
        inner = model.model_fields[str(key)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        model = inner
    return model.model_fields


def _folders(tables: Mapping[str, Any], folder: Path, problems: list[str]) -> dict[str, Folder]:
    """The [datasets.NAME] tables, and their names registered so that settings can be checked."""
    folders, names = {}, {}
    for name, given in tables.items():
        if not re.fullmatch(NAME, name):
            problems.append(
                f"[datasets.{name}]: the name does not fit; allowed: a letter, then letters, digits, _ . -"
            )
        elif name in datasets:
            problems.append(
                f"[datasets.{name}]: the name is taken by a data set in {datasets.entry(name).where}; "
                "rename yours"
            )
        else:
            names[name] = Dataset(name, functools.partial(_unread, name), classes=None)
        if not isinstance(given, Mapping):
            problems.append(f"datasets.{name} = {quoted(given)}: allowed: a table with format and path")
            continue
        table = dict(given)
        try:
            if isinstance(table.get("path"), str):
                table["path"] = (folder / Path(table["path"]).expanduser()).absolute()
            checked = _validated(Folder, f"datasets.{name}", table, problems)
        except (OSError, RuntimeError) as error:  # no such user; a name that no folder can have
            problems.append(
                f"datasets.{name}.path = {quoted(given['path'])}: allowed: a folder; {_reason(error)}"
            )
            continue
        if checked is not None:
            folders[name] = checked
    datasets.declare(names, "the study")
    return folders


def _reason(error: Exception) -> str:
    """Why a path is none, without the path."""
    return str(getattr(error, "strerror", None) or error).rstrip(".").lower()


def _unread(name: str) -> Images:
    """Refuse to read the data of a study with problems, which a results folder may be of all the same."""
    raise UsageError(
        f"the images of {name!r} are not at hand: [datasets.{name}] names a folder that is not here, or not "
        "as it should be"
    )


def _tracked(about: About, folder: Path) -> list[str]:
    """The metrics a study tracks: those it lists; else what its plugins, packages or notebook registered."""
    if about.metrics is not None:
        return about.metrics
    own = {plugins.module_of(folder / name) for name in about.plugins}
    # A file that another study of this process named is not this one's.
    return [
        entry.name
        for entry in metrics
        if entry.third_party and (entry.module in own or not entry.module.startswith(plugins.FILE))
    ]


def _metric_problems(tracked: Sequence[str], columns: Sequence[str]) -> list[str]:
    """What is wrong with the tracked metrics: one is not known, or its column is a setting's or an axis's."""
    problems = []
    for name in tracked:
        if name not in metrics:
            names = [entry.name for entry in metrics]
            problems.append(f"study.metrics: unknown metric {name!r}; {did_you_mean(name, names)}")
        elif clash := taken(name, columns):
            problems.append(
                f"metric {name!r} ({metrics.entry(name).where}) would be a second column {clash!r}, which is "
                "a setting or an axis of this study; rename one of them"
            )
    return problems


def _tuned(raw: Mapping[str, Any], checker: Checker) -> Tune | None:
    """The [tune] table, its space checked; None without one."""
    if "tune" not in raw:
        return None
    tune = _validated(Tune, "tune", raw["tune"], checker.problems)
    if tune is not None:
        checker.space(spaces.ALL, tune.space)
    return tune


def _searched(
    raw: Mapping[str, Any], about: About | None, baseline: Settings, checker: Checker
) -> tuple[Search | None, Space | None]:
    """The [search] and [space] tables of a search; None of both of any other design."""
    design = about.design if about else ""
    if design != "search":
        checker.problems += [
            f"[{key}]: only for design = 'search', this study's is {design!r}"
            for key in ("search", "space")
            if raw[key] and about
        ]
        return None, None
    search = _validated(Search, "search", raw["search"], checker.problems)
    return search, space_tables.read(raw["space"], baseline, checker)


def _unjudged_by_val(
    baseline: Settings, axes: Mapping[str, Sequence[Any]], tune: Tune | None
) -> Iterator[str]:
    """Why val accuracy cannot judge a study's contrasts, where it cannot."""
    if {*axes.get("val_fraction", [baseline.get("val_fraction")])} == {0}:
        yield (
            "contrasts.metric = 'val_accuracy': val_fraction = 0 leaves no images to measure it on; allowed: "
            "test_accuracy, or a val_fraction above 0"
        )
    if tune is not None:
        yield (
            "contrasts.metric = 'val_accuracy': tuned arms are chosen by it, so it cannot judge them; "
            "allowed with [tune]: test_accuracy"
        )


def _contradictions(
    about: About | None,
    baseline: Settings,
    axes: Mapping[str, Sequence[Any]],
    steps: Sequence[Mapping[str, Any]],
    tune: Tune | None,
) -> list[str]:
    problems = []
    design = about.design if about else "grid"
    if about and about.phase in {"tuning", "tuned"} and tune is None:
        problems.append(f"study.phase = {about.phase!r}: only for a study with [tune]")
    if about and about.phase in {"search", "confirmed"} and design != "search":
        problems.append(f"study.phase = {about.phase!r}: only for design = 'search'")
    if design == "search":
        there = (key for key, table in (("axes", axes), ("tune", tune)) if table)
        problems += [f"[{key}]: a search has [space] instead" for key in there]
    if design == "search" and about and about.resample_split:
        problems.append("study.resample_split = true: a search compares on one validation split")
    if design == "search" and baseline.get("val_fraction") == 0:
        problems.append("baseline.val_fraction = 0 leaves no validation split to choose by")
    if design == "ladder" and not steps:
        problems.append("study.design = 'ladder': a ladder needs [[steps]]")
    if design == "ladder" and axes:
        problems.append("[axes]: a ladder has [[steps]] and no axes")
    if design != "ladder" and steps:
        problems.append(f"[[steps]]: only for design = 'ladder', this study's is {design!r}")
    if design == "one-factor" and not axes:
        problems.append("study.design = 'one-factor': needs [axes] to vary one at a time")
    sets: dict[str, str] = {}
    for axis, values in axes.items():
        given = {key for value in values for key in (value if isinstance(value, Mapping) else [axis])}
        for key in sorted(given - {*BESIDE}):
            if key in sets:
                problems.append(f"axes.{axis} and axes.{sets[key]} both set {key}")
            sets[key] = axis
    named = set(baseline) | set(sets) | {key for step in steps for key in step}
    if {"epochs", "steps"} <= named:
        problems.append("epochs and steps are both set: a budget is one or the other")
    if about and about.resample_split and "split_seed" in named:
        problems.append("split_seed and study.resample_split = true: the split has its seed or the trial's")
    return problems

"""Read a study from its file or from tables: everything that is wrong is told before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.axes import plugins
from harness.axes.metrics import metrics
from harness.data.datasets import refresh
from harness.errors import UsageError, did_you_mean, few, quoted
from harness.registry import PACKAGE_ROOT
from harness.study import (
    contrasts,
    file_tables,
    rules,
    searches,
    seed_axes,
    space_table,
    toml_text,
    tuning_space,
)  # fmt: skip
from harness.study.about import About
from harness.study.checker import Checker, known_settings
from harness.study.contrasts import Contrasts
from harness.study.file_tables import validated
from harness.study.overrides import apply
from harness.study.rules import Draft
from harness.study.searches import Search
from harness.study.space import Space
from harness.study.starts import Start
from harness.study.study import Study
from harness.study.tuning_space import Tune

MOST_TOLD = 50  # problems of a file
LONGEST_PROBLEM = 2000  # characters


def load(study: str | Path, overrides: Sequence[str] = (), plugin_files: Sequence[str | Path] = ()) -> Study:
    """Read and validate a study file.

    Args:
        study: a path, or the name of a file in ./ablations or among those the package ships.
        overrides: "key=value" texts, as `--set` takes them.
        plugin_files: files that define components of your own, which you trust; they are run. Those that a
            study file names are run without that, but not those of a study.toml in a results folder.

    Raises:
        UsageError: with everything that is wrong, at once.

    Example:
        >>> load("lab1_learning_rate", ["dataset=digits", "epochs=3"]).name
        'lab1_learning_rate'
    """
    path = find(study)
    for file in plugin_files:
        plugins.load_file(Path(file))
    return parse(toml_text.read(path), overrides, path)


def find(study: str | Path) -> Path:
    """Find the file of a study that is named on the command line.

    Raises:
        UsageError: there is none; says what is close.
    """
    given = Path(study)
    if _is_file(given):
        return given
    if given.suffix == ".toml":
        raise UsageError(f"there is no study file {given}")
    folders = [Path("ablations"), PACKAGE_ROOT / "ablations", PACKAGE_ROOT.parent / "ablations"]
    for folder in folders:
        if _is_file(folder / f"{study}.toml"):
            return folder / f"{study}.toml"
    if _is(Path.is_dir, given):
        raise UsageError(f"{given} is a folder; allowed: a study file, such as {given / 'study.toml'}")
    known = {file.stem for folder in folders for file in folder.glob("*.toml")}
    here = given.with_name(f"{given.name}.toml") if given.name else given
    listed = did_you_mean(str(study), known)
    listed = f"did you mean {here}? Allowed: {few(sorted(known))}" if _is_file(here) else listed
    raise UsageError(f"there is no study {str(study)!r}: {listed}, or a path to a .toml file")


def _is_file(path: Path) -> bool:
    return _is(Path.is_file, path)


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except OSError:  # not a name that a file could have
        return False


def parse(tables: Mapping[str, Any], overrides: Sequence[str] = (), path: Path | None = None) -> Study:
    """Validate a study given as tables: a notebook's dict, or a file's TOML.

    Plugins that [study] names are run, so that their components are known.

    Args:
        tables: the tables of a study file.
        overrides: "key=value" texts, as `--set` takes them.
        path: the file that they are from; paths in it are relative to its folder.

    Returns:
        The study: `harness.plan` says what it would train, `harness.run` trains it.

    Raises:
        UsageError: with everything that is wrong, at once.

    Example:
        >>> study = parse({
        ...     "study": {"name": "rates", "seeds": 2},
        ...     "baseline": {"dataset": "digits", "hidden": [32], "activation": "relu", "epochs": 3},
        ...     "axes": {"lr": [0.03, 0.1, 0.3]},
        ... })
        >>> study.name, list(study.seeds), list(study.axes)
        ('rates', [0, 1], ['lr'])
    """
    problems: list[str] = []
    raw = file_tables.copied(tables, problems)
    raw["axes"] = seed_axes.flattened(raw["axes"])
    problems += apply(overrides, raw, set(About.model_fields) - {"phase"})
    raw["axes"] = seed_axes.expanded(raw["axes"], raw["baseline"], raw["study"].get("design"), problems)
    folder = path.parent if path else Path()
    _load_plugins(raw["study"], path)
    about = validated(About, "study", raw["study"], problems)
    if about is not None:
        about = about.model_copy(update={"metrics": _tracked(about, folder)})
    start = validated(Start, "start", raw["start"], problems) if "start" in raw else None
    folders = file_tables.dataset_folders(raw["datasets"], folder, problems)
    checker = Checker(known_settings(), problems, raw["datasets"].keys())
    draft = _draft(raw, about or UNKNOWN, checker)
    space = _space(raw, draft, checker) if about is not None else Space((), {})
    problems += rules.problems(draft, about_is_known=about is not None)
    if not problems:
        problems += filter(None, rules.size_problems(draft))
    if problems:
        raise UsageError(_listed(str(path or "study"), list(dict.fromkeys(problems))))
    refresh()
    compared = draft.contrasts or Contrasts()
    return Study(
        draft.about, draft.baseline, draft.axes, space, draft.steps, path, folders,
        {name: table.dataset(name) for name, table in folders.items()},
        contrasts.resolve(compared, draft.about.design, draft.axes, draft.baseline),
        draft.tune, draft.spaces, draft.chosen, draft.search, start,
    )  # fmt: skip


UNKNOWN = About(name="unknown")
"""Stands in for a [study] table that has problems, so that those of the other tables are told too."""


def _draft(raw: Mapping[str, Any], about: About, checker: Checker) -> Draft:
    """Validate the tables of a study, each by itself; what is wrong is told to the checker."""
    problems = checker.problems
    baseline = checker.table("baseline", raw["baseline"])
    axes = {axis: checker.axis(axis, values) for axis, values in raw["axes"].items()}
    steps = checker.named("steps", raw.get("steps", []))
    compared = validated(Contrasts, "contrasts", raw.get("contrasts", {}), problems)
    tune = validated(Tune, "tune", raw["tune"], problems) if "tune" in raw else None
    if tune is not None:
        checker.space(tuning_space.ALL, tune.space)
    for arm in raw["chosen"]:
        checker.name("an arm in [chosen]", arm)
    chosen = {arm: checker.table(f"chosen.{arm}", values) for arm, values in raw["chosen"].items()}
    search = validated(Search, "search", raw["search"], problems) if about.design == "search" else None
    if search is None and about.design == "search":
        problems += searches.problems_beside(raw["search"], about.metrics or ())
    columns = [*checker.known, *axes]
    return Draft(about, baseline, axes, steps, compared, tune, checker.spaces, chosen, search, columns)


def _space(raw: Mapping[str, Any], draft: Draft, checker: Checker) -> Space:
    """Read the [space] table of a search; of any other design, an empty space, and [search] has no place."""
    if draft.searches:
        return space_table.read(raw["space"], draft.baseline, checker)
    checker.problems += [
        f"[{key}]: only for design = 'search', this study's is {draft.about.design!r}"
        for key in ("search", "space")
        if raw[key]
    ]
    return Space((), draft.baseline)


def _listed(file: str, problems: Sequence[str]) -> str:
    """Put all problems of a file into words; of very many, the first ones and their number."""
    lines = [f"  - {quoted(problem, str, LONGEST_PROBLEM)}" for problem in problems[:MOST_TOLD]]
    more = [f"  - and {len(problems) - MOST_TOLD:,} more"] if len(problems) > MOST_TOLD else []
    head = f"{file}: {len(problems)} problem{'s' if len(problems) > 1 else ''}, nothing was run"
    return "\n".join([head, *lines, *more])


def _load_plugins(table: Mapping[str, Any], path: Path | None) -> None:
    """Run what installed packages and the [study] table name as plugins."""
    folder = path.parent if path else Path()
    plugins.load_installed()
    named = table.get("plugins", [])
    for name in named if isinstance(named, list) else []:
        if not isinstance(name, str):
            continue  # its check tells so
        try:
            if path is not None and path.name == "study.toml" and _is_file(folder / "trials.csv"):
                plugins.ask_first(folder / name, path)
            plugins.load_file(folder / name)
        except (OSError, ValueError) as error:  # a name that no file can have
            raise UsageError(
                f"plugin {quoted(name)} is not a path of a file ({file_tables.reason(error)}); "
                "correct `plugins`"
            ) from error


def _tracked(about: About, folder: Path) -> list[str]:
    """List the metrics a study tracks: those it names, else those of its plugins, packages or notebook."""
    if about.metrics is not None:
        return about.metrics
    modules = {plugins.module_of(folder / name) for name in about.plugins}
    # A file that another study of this process named is not this one's.
    return [
        entry.name
        for entry in metrics
        if entry.third_party and (entry.module in modules or not entry.module.startswith(plugins.FILE))
    ]

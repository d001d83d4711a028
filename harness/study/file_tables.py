"""The tables of a study file, each validated by itself; what is wrong is told in words."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.data.datasets import datasets
from harness.data.generated_tables import GeneratedTable
from harness.data.image_folders import Folder
from harness.errors import UsageError, did_you_mean, quoted
from harness.settings import plain, shortened
from harness.study import toml_text
from harness.study.about import About
from harness.study.contrasts import Contrasts
from harness.study.searches import Search
from harness.study.tuning_space import Tune
from harness.system.database_urls import shown, without_passwords

TABLES = (
    "study", "baseline", "axes", "steps", "contrasts", "tune", "search", "space", "chosen", "datasets",
    "start",
)  # fmt: skip
DATASET_NAME = r"[A-Za-z][A-Za-z0-9_.-]*"
M = TypeVar("M", bound=BaseModel)


def copied(tables: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Copy the tables, for overrides to change; anything but a table is told, and left out."""
    toml_text.check_plain(tables)
    raw: dict[str, Any] = plain(copy.deepcopy(dict(tables)))
    problems += [_unknown(key, raw) for key in raw if key not in TABLES]
    for key in ("study", "baseline", "axes", "chosen", "search", "space", "datasets"):
        if not isinstance(raw.setdefault(key, {}), Mapping):
            problems.append(f"[{key}] = {quoted(raw[key])}: allowed: a table")
            raw[key] = {}
    return raw


def _unknown(key: str, raw: Mapping[str, Any]) -> str:
    """Say where a key of the file belongs that is none of its tables."""
    about = raw.get("study", {})
    searches = isinstance(about, Mapping) and about.get("design") == "search"
    models: dict[str, type[BaseModel]] = {
        "study": About,
        "search": Search,
        "contrasts": Contrasts,
        "tune": Tune,
    }
    having = [name for name, model in models.items() if key in model.model_fields]
    if not having:
        return f"[{key}]: unknown table; {did_you_mean(key, TABLES)}"
    table = isinstance(raw[key], Mapping)
    if searches and table and "search" in having:
        having = ["search"]
    elif not searches and having != ["search"]:
        having = [name for name in having if name != "search"]
    places = " or ".join(f"[{name}.{key}]" if table else f"{key} in [{name}]" for name in having)
    only = "" if searches or having != ["search"] else ", in a study of design = 'search'"
    return f"[{key}]: unknown table; write {places}{only}"


def validated(model: type[M], where: str, table: object, problems: list[str]) -> M | None:
    """Validate a table by its pydantic model; None, and its problems told, where it does not fit."""
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems += [_problem(model, where, detail) for detail in error.errors()]
        return None


def _problem(model: type[BaseModel], where: str, detail: Mapping[str, Any]) -> str:
    """Put into words what pydantic found."""
    key = ".".join([where, *map(str, detail["loc"])])
    last = key.split(".")[-1]
    if detail["type"] == "extra_forbidden" and last in TABLES and isinstance(detail["input"], Mapping):
        return f"{key}: unknown key; it is a table of its own: write [{last}]"
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key; {did_you_mean(last, _fields(model, detail['loc']))}"
    if detail["type"] == "missing":
        return f"{key}: missing; give {'the study' if where == 'study' else 'it'} a {last}"
    given = str(detail["input"]) if isinstance(detail["input"], Path) else detail["input"]
    given = shown(given) if key == "search.storage" and isinstance(given, str) else given
    said = quoted(given, lambda value: without_passwords(repr(value)))
    return f"{key} = {said}: allowed: {_allowed(detail['msg'])}"


def _allowed(message: str) -> str:
    """Shorten pydantic's message to the values that are allowed."""
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "a table", message)
    message = re.sub(r"(?:List|String) should have (at (?:least|most) .*?)(?: after .*)?$", r"\1", message)
    name = "letters, digits, _ . -, a letter or digit first"
    return shortened(re.sub(r"String should match pattern .*", name, message))


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> Iterable[str]:
    """List the fields of the table that a key is in, which may be a table within the model's."""
    for key in loc[:-1]:
        inner = model.model_fields[str(key)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        model = inner
    return model.model_fields


def dataset_folders(
    tables: Mapping[str, Any], beside: Path, problems: list[str]
) -> dict[str, Folder | GeneratedTable]:
    """Validate the [datasets.NAME] tables; their paths are relative to the folder `beside`."""
    folders: dict[str, Folder | GeneratedTable] = {}
    for name, given in tables.items():
        problems += _name_problem(name)
        if not isinstance(given, Mapping):
            problems.append(f"datasets.{name} = {quoted(given)}: allowed: a table with format and path")
            continue
        read = _generated if "generate" in given else _folder
        folder = read(name, dict(given), beside, problems)
        if folder is not None:
            folders[name] = folder
    return folders


def _name_problem(name: str) -> list[str]:
    if not re.fullmatch(DATASET_NAME, name):
        return [f"[datasets.{name}]: the name does not fit; allowed: a letter, then letters, digits, _ . -"]
    if name in datasets:
        where = datasets.entry(name).where
        return [f"[datasets.{name}]: the name is taken by a data set in {where}; rename yours"]
    return []


def _generated(name: str, table: dict[str, Any], beside: Path, problems: list[str]) -> GeneratedTable | None:
    given = table.get("classes")
    if isinstance(given, list) and all(isinstance(one, str) and len(one) == 1 for one in given):
        table["classes"] = "".join(given)
    generated = validated(GeneratedTable, f"datasets.{name}", table, problems)
    try:
        return generated and generated.beside(beside)
    except UsageError as error:
        problems.append(f"datasets.{name}: {error}")
        return None


def _folder(name: str, table: dict[str, Any], beside: Path, problems: list[str]) -> Folder | None:
    given = table.get("path")
    try:
        if isinstance(given, str):
            table["path"] = (beside / Path(given).expanduser()).absolute()
        return validated(Folder, f"datasets.{name}", table, problems)
    except (OSError, RuntimeError) as error:  # no such user; a name that no folder can have
        problems.append(f"datasets.{name}.path = {quoted(given)}: allowed: a folder; {reason(error)}")
        return None


def reason(error: Exception) -> str:
    """Say why a path cannot be used, without the path."""
    return str(getattr(error, "strerror", None) or error).rstrip(".").lower()

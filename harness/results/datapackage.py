"""datapackage.json: each table of a results folder described for programs that do not know the harness.

It is a Tabular Data Package of version 1 of the specification (Frictionless Data, 2017), whose readers in
Python and R are many; every key in it has the same meaning in version 2. A resource a table: its fields with
type, unit (a key of our own) and meaning (`description`), which cells are missing, its primary key, and the
column of another table that one refers to.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.results import documents, fields
from harness.settings.schema import SEED_BLOCK
from harness.system import files

FILE = "datapackage.json"
PROFILE = "tabular-data-package"
TITLES: Mapping[str, str] = {
    "trials": "A row a planned trial: its settings, how it ended, what was measured of its final weights.",
    "epochs": "A row an evaluation of a split while a trial trained; the first one is before training.",
    "confusion": "A row a trial, split, label and prediction that some images have, and how many.",
    "scores": "A row a number that was measured of a trial's final weights; the numbers of trials.csv, long.",
    "stacks": "A row a stack: trials that see the same batches and trained together.",
    "chosen": "A row an arm: the settings that it chose, by val, on the tuning seeds.",
    "suggestions": "A row a suggestion of the search: its drawn parameters, the objectives that it reached.",
    "winners": "A row a suggestion for which the test set was opened.",
}
"""Table -> what a row of it is. The tables of a folder, in the order in which they are listed."""
KINDS = tuple(fields.KINDS.values())
KEYS: Mapping[str, Sequence[str]] = {
    "epochs": ("trial_id", "step", "split"), "confusion": ("trial_id", "split", "label", "prediction"),
    "scores": ("trial_id", "split", "metric"), "stacks": ("group",), "chosen": ("arm",),
    "suggestions": ("number",), "winners": ("number",),
}  # fmt: skip
"""Table -> the columns that tell its rows apart. Those of trials are in `_key_of_trials`."""
REFERENCES: Mapping[str, tuple[str, str]] = {
    "epochs": ("trial_id", "trials"), "confusion": ("trial_id", "trials"), "scores": ("trial_id", "trials"),
    "trials": ("group", "stacks"), "winners": ("number", "suggestions"),
}  # fmt: skip
"""Table -> the column that refers to a column of this name in another table."""
MOST_UNPACKED = 2**32
"""Most bytes of a table that somebody packed with gzip, unpacked."""


def content(
    folder: Path, contents: Mapping[str, bytes], study: Mapping[str, Any], key_of_trials: Sequence[str] = ()
) -> bytes:
    """Describe a folder's tables, as they will be when `contents` (file name -> content) are written.

    A table that is not among them keeps its description, or else gets one. `study` are the tables of
    study.toml. Where `key_of_trials` says what tells the rows of trials.csv apart, a content may be the first
    line alone.
    """
    before, resources = _resources(folder), []
    for table in TITLES:
        name, kept = f"{table}.csv", before.get(table, {})
        path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
        if name in contents:
            resources.append(_resource(table, name, contents[name], study, kept, key_of_trials))
        elif path and kept.get("path") == path.name:
            resources.append(kept)
        elif path:
            resources.append(_resource(table, path.name, _text(path), study, kept))
    listed = {resource["name"] for resource in resources}
    for resource in resources:
        _refer(resource, listed)
    about = {key: str(value) for key, value in study["study"].items() if key in {"name", "hypothesis"}}
    name = about.get("name", "")
    package: dict[str, Any] = {"profile": PROFILE, "name": _slug(name), "title": name}
    if about.get("hypothesis"):
        package["description"] = about["hypothesis"]
    if sources := _sources(folder):
        package["sources"] = sources
    return json.dumps({**package, "resources": resources}, indent=1, ensure_ascii=False).encode()


def declared(folder: Path) -> dict[str, dict[str, fields.Kind]]:
    """Read the types of a folder's columns: table -> column -> type; {} of a folder without the file.

    Only types that a run writes count; a damaged file says nothing, and the columns that the code does not
    know are then typed by the study.
    """
    return {
        table: {
            field["name"]: field["type"]
            for field in resource["schema"]["fields"]
            if field.get("type") in KINDS
        }
        for table, resource in _resources(folder).items()
    }


def _resources(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the resources of a folder's datapackage.json, by table; {} if it is missing or damaged."""
    try:
        listed = files.json_table(folder / FILE).get("resources", [])
    except (OSError, ValueError):
        return {}
    sound = filter(_is_resource, listed if isinstance(listed, list) else [])
    return {resource["name"]: resource for resource in sound}


def _is_resource(value: object) -> bool:
    """Tell whether a value has the form of a resource that a run writes."""
    schema = value.get("schema") if isinstance(value, dict) else None
    listed = schema.get("fields") if isinstance(schema, dict) else None
    return (
        isinstance(value, dict)
        and value.get("name") in list(TITLES)
        and isinstance(listed, list)
        and all(isinstance(field, dict) and isinstance(field.get("name"), str) for field in listed)
    )


def _resource(
    table: str, path: str, text: bytes, study: Mapping[str, Any], before: Mapping[str, Any],
    key_of_trials: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Describe a table, of which `text` is its content, or its first line."""
    header = _header(text)
    described = fields.describe(table, header, study)
    earlier = {field["name"]: field for field in before.get("schema", {}).get("fields", [])}
    listed = [
        described[name].descriptor() if name in described else earlier.get(name, _undescribed(name))
        for name in header
    ]
    key = list(KEYS[table]) if table in KEYS else list(key_of_trials) or _key_of_trials(text)
    if table == "chosen" and SEED_BLOCK in header:
        key.append(SEED_BLOCK)
    packed = {"compression": "gz"} if path.endswith(".gz") else {}
    return {
        "profile": "tabular-data-resource", "name": table, "path": path, "description": TITLES[table],
        "format": "csv", "mediatype": "text/csv", "encoding": "utf-8", **packed,
        "schema": {"fields": listed, "missingValues": [""], "primaryKey": key},
    }  # fmt: skip


def _undescribed(name: str) -> dict[str, Any]:
    """Describe a column that neither the code nor the study knows, so that its cells are text."""
    return {"name": name, "type": "string", "description": "A column of a component that was not loaded."}


def _key_of_trials(text: bytes) -> list[str]:
    """Tell what tells the rows of trials.csv apart: arms that chose the same settings share a trial."""
    # A run writes a row a line, and its trial first.
    ids = [row.partition(b",")[0] for row in text.split(b"\n")[1:] if row]
    return ["trial_id"] if len(set(ids)) == len(ids) else ["trial_id", "arm"]


def _refer(resource: dict[str, Any], listed: set[str]) -> None:
    """Say which column refers to another table, if that is there and both have the column."""
    column, other = REFERENCES.get(resource["name"], ("", ""))
    schema = resource["schema"]
    schema.pop("foreignKeys", None)
    if other in listed and any(field["name"] == column for field in schema["fields"]):
        reference = {"resource": other, "fields": [column]}
        schema["foreignKeys"] = [{"fields": [column], "reference": reference}]


def _sources(folder: Path) -> list[dict[str, str]]:
    """Name the data sets that the numbers come from, with their authors and licences as far as known."""
    from harness.data.datasets import datasets

    known = {entry.name: entry.component for entry in datasets}
    named = []
    for name in documents.plan(folder)["data"] if (folder / "plan.json").is_file() else ():
        text = (known[name].read.__doc__ or "") if name in known else ""
        cited = " ".join(text.partition("Source:")[2].partition("\n\n")[0].split())
        named.append({"title": f"{name}: {cited}" if cited else str(name)})
    return named


def _text(path: Path) -> bytes:
    """Read a table, unpacked if it is packed."""
    text = files.content_of(path)
    return files.unpacked(text, MOST_UNPACKED) if path.suffix == ".gz" else text


def _header(text: bytes) -> list[str]:
    """List the columns of a table."""
    first = text.partition(b"\n")[0].decode("utf-8-sig").rstrip("\r")
    return next(csv.reader([first]), [])


def _slug(name: str) -> str:
    """Make a package's name of a study's: small letters, digits, full stops, hyphens, underscores."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "study"

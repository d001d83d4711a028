"""Readers of plan.json, study.toml and provenance.json, which check what they read.

Whatever lies in a results folder, a reader returns the types that everything else relies on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness import notes
from harness.axes.own_networks import ENGINES, NAME
from harness.errors import UsageError, quoted
from harness.settings import shortened
from harness.study.about import About
from harness.study.searches import REFUSED_AFTER
from harness.system import files
from harness.text import joined

SCHEMA = 1
"""Version of a results folder's layout."""
TABLES_OF_STUDY: Mapping[str, type] = {
    "study": dict, "baseline": dict, "axes": dict, "steps": list, "contrasts": dict, "tune": dict,
    "search": dict, "space": dict, "chosen": dict, "datasets": dict, "start": dict,
}  # fmt: skip
OF_TRAINING = (
    "versions", "commit", "device", "kernels", "bits", "host", "cpu", "cores", "workers", "threads",
)  # fmt: skip
"""Entries of provenance.json that describe the machine and the versions that trained."""
NAMED_SHARDS = 6
"""Shards, at most, that are named one by one."""
MOVE = "Move the folder away and run again"
COPY_AGAIN = "Copy the whole results folder again, or run its study again, which resumes there"


@contextmanager
def readable(path: Path, advice: str) -> Iterator[None]:
    """Turn errors of reading a file into a UsageError that names the file and what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}. {advice}") from error


def plan(folder: Path, advice: str = f"{MOVE}.") -> dict[str, Any]:
    """Read plan.json: schema, study, phase, data (data set -> digest) and stacks (group, engine, trials).

    The plan of a shard also has `shard`: its number, and how many there are.

    Raises:
        UsageError: it cannot be read, is not what a run writes, or has another schema, which `advice` is for.
    """
    path = folder / "plan.json"
    with readable(path, f"{MOVE}."):
        content = files.json_table(path)
        if content.get("schema") == SCHEMA:
            _check_plan(content)
    if content.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder} was written with results schema {content.get('schema')!r}; this version reads and "
            f"writes {SCHEMA}. {advice}"
        )
    return content


def _check_plan(content: dict[str, Any]) -> None:
    """Raise ValueError if a plan holds what no run writes, such as a name that leads out of the folder."""
    data = content.setdefault("data", {})
    if not isinstance(data, dict) or not all(isinstance(digest, str) for digest in data.values()):
        raise ValueError(f"data = {_short(data)}; allowed: the digest of each data set")
    _check_study_of_plan(content)
    stacks = content.setdefault("stacks", [])
    if not isinstance(stacks, list) or not all(isinstance(stack, dict) for stack in stacks):
        raise ValueError(f"stacks = {_short(stacks)}; allowed: a list of objects")
    for i, stack in enumerate(stacks):
        group, engine, trials = (stack.get(key) for key in ("group", "engine", "trials"))
        if not files.is_name(group):
            raise ValueError(f"stacks[{i}].group = {_short(group)}; allowed: a name of letters and digits")
        if engine not in ENGINES and not NAME.fullmatch(str(engine)):
            raise ValueError(f"stacks[{i}].engine = {_short(engine)}; allowed: {', '.join(ENGINES)}")
        if not isinstance(trials, list) or not trials or not all(map(files.is_name, trials)):
            raise ValueError(f"stacks[{i}].trials = {_short(trials)}; allowed: a list of trial_ids")
    # A search that asks for a suggestion again, whose worker died, has its stack twice, with the same trials.
    distinct = {(stack["group"], tuple(stack["trials"])) for stack in stacks}
    if len({group for group, _ in distinct}) < len(distinct):
        raise ValueError("two stacks have one name")


def _check_study_of_plan(content: Mapping[str, Any]) -> None:
    """Raise ValueError if what a plan says of its study and its shards has another form."""
    for key in ("merged", "components"):
        if not isinstance(content.get(key, {}), dict):
            raise ValueError(f"{key} = {_short(content[key])}; allowed: an object")  # noqa: TRY004 (a file's)
    shard = content.get("shard")
    if shard is not None and not _is_shard(shard):
        raise ValueError(f"shard = {_short(shard)}; allowed: its number and how many there are, as [3, 16]")
    if not _is_shards(content.get("shards", {"count": 1, "numbers": []})):
        raise ValueError(f"shards = {_short(content['shards'])}; allowed: their count, and numbers of some")


def _is_shards(value: object) -> bool:
    """Tell whether a value says which shards a merged folder has."""
    numbers, count = (value.get(key) for key in ("numbers", "count")) if isinstance(value, dict) else (0, 0)
    return isinstance(numbers, list) and all(_is_shard([number, count]) for number in numbers)


def _is_shard(value: Any) -> bool:
    whole = isinstance(value, list) and len(value) == 2 and all(type(part) is int for part in value)
    return whole and 1 <= value[0] <= value[1]


def stacks_of(plan: Mapping[str, Any]) -> list[tuple[str, Any, Sequence[str]]]:
    """List the stacks of a plan.json: (group, engine, trial_ids)."""
    return [(stack["group"], stack["engine"], stack["trials"]) for stack in plan.get("stacks", [])]


def shards_of(plan: Mapping[str, Any]) -> tuple[frozenset[int], int] | None:
    """Give the numbers of the shards whose trials a plan has, and their count; None of a whole study."""
    one, several = plan.get("shard"), plan.get("shards")
    if one:
        return frozenset({int(one[0])}), int(one[1])
    return (frozenset(map(int, several["numbers"])), int(several["count"])) if several else None


def absent_shards(folder: Path) -> str:
    """Say which of its study's shards a results folder does not hold; empty where it is whole."""
    shards = shards_of(plan(folder)) if (folder / "plan.json").is_file() else None
    if shards is None:
        return ""
    held, of = shards
    absent = sorted(set(range(1, of + 1)) - held)
    if len(absent) > NAMED_SHARDS:
        return f"{len(absent)} of the study's {of} shards are not in this folder"
    if len(absent) > 1:
        return f"shards {joined([str(number) for number in absent])} of {of} are not in this folder"
    return f"shard {absent[0]} of {of} is not in this folder" if absent else ""


def lost(plan: Mapping[str, Any], trial_ids: Iterable[str]) -> list[str]:
    """List the trial_ids of a plan that are not among these."""
    present = set(trial_ids)
    return [name for _, _, listed in stacks_of(plan) for name in listed if name not in present]


def _short(value: object) -> str:
    return quoted(value, most=60)


def study(folder: Path) -> dict[str, Any]:
    """Read study.toml: its tables, with every key of [study] that has a default.

    Raises:
        UsageError: it cannot be read, or is not what a run writes.
    """
    path = folder / "study.toml"
    with readable(path, f"{COPY_AGAIN}: it describes the study of results folder {folder}"):
        tables = files.toml_table(path)
        _check_study(tables)
    return tables


def _check_study(tables: dict[str, Any]) -> None:
    """Raise ValueError if the tables of a study have wrong types; add the defaults that [study] lacks."""
    for name, kind in TABLES_OF_STUDY.items():
        if name in tables:
            _check_each("", [(name, tables[name])], kind)
    for name in ("chosen", "datasets"):
        _check_each(f"{name}.", tables.get(name, {}).items(), dict)
    _check_each("axes.", tables.get("axes", {}).items(), list)
    _check_each("steps.", enumerate(tables.get("steps", [])), dict)
    about = tables.get("study", {})
    known = {key: value for key, value in about.items() if key in About.model_fields}
    try:
        full = About.model_validate(known).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["study", *map(str, first["loc"])])
        raise ValueError(f"{key}: allowed: {shortened(first['msg'])}") from None
    if "seeds" not in about:
        raise ValueError("study.seeds is missing")
    tables["study"] = {**full, "metrics": full["metrics"] or [], **about}


def _check_each(name: str, entries: Any, kind: type) -> None:
    for key, value in entries:
        if not isinstance(value, kind) or (kind is list and not value):
            allowed = "a table" if kind is dict else "a list, not empty"
            raise ValueError(f"{name}{key} = {_short(value)}; allowed: {allowed}")


def provenance(folder: Path) -> dict[str, Any]:
    """Read provenance.json without its damaged entries, which a note names; {} where there is no file."""
    path = folder / "provenance.json"
    if not path.exists():
        return {}
    try:
        content = files.json_table(path)
    except (OSError, ValueError) as error:
        notes.warn(f"{path} cannot be read ({error}): the origin of these numbers is unknown")
        return {}
    sound = {key: value for key, value in content.items() if _is_sound(key, value)}
    damaged = [key for key in content if key not in sound]
    if isinstance(sound.get("runs"), list):
        sound["runs"] = [run for run in content["runs"] if _is_run(run)]
        lost = len(content["runs"]) - len(sound["runs"])
        damaged += [f"{lost} of {len(content['runs'])} runs"] if lost else []
    if damaged:
        notes.warn(f"{path} is damaged: its {', '.join(damaged)} cannot be read, and is left out")
    return sound


def refused_after(provenance: Mapping[str, Any]) -> int:
    """Count the points that broke a search's constraints after a run's last suggestion, over all runs."""
    counts = (run.get(REFUSED_AFTER) for run in provenance.get("runs", []))
    return sum(count for count in counts if type(count) is int and count > 0)


def trained_runs(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the runs of a provenance.json that trained something, or were stopped before they said what."""
    return [run for run in provenance.get("runs", []) if run.get("trials_trained") != 0]


def _is_sound(key: str, value: object) -> bool:
    """Tell whether an entry of provenance.json has its type; the entries of `runs` are checked one by one."""
    if key == "runs":
        return isinstance(value, list)
    if key == "sources":
        return isinstance(value, list) and all(
            isinstance(one, dict) and isinstance(one.get("runs"), list) for one in value
        )
    if key == "data":
        return isinstance(value, dict) and all(map(_is_data, value.values()))
    if key == "metrics":
        return isinstance(value, dict) and all(map(_is_texts, value.values()))
    if key == "versions":
        return isinstance(value, dict) and _is_texts(list(value.values()))
    if key == "cluster":
        nodes = value.get("nodes", []) if isinstance(value, dict) else None
        return isinstance(nodes, list) and all(isinstance(node, dict) for node in nodes)
    return value is None or isinstance(value, str | int | float)


def _is_run(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_sound(key, entry) for key, entry in value.items() if key not in {"runs", "data", "metrics"}
    )


def _is_data(value: object) -> bool:
    return isinstance(value, dict) and _is_texts(value.get("classes", []))


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)

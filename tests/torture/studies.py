"""Mutated study files and `--set`: told what is wrong, or trained; never a traceback, never a guess."""

from __future__ import annotations

import copy
import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from harness.errors import MachineError, UsageError
from torture import mutations, oracle
from torture.kinds import Kind
from torture.oracle import Case, Fault, Outcome
from torture.values import BASES

PLANNED, TRAINED, REAL = 5, 20, 100  # of so many studies one is planned, of valid ones trained, one is real
WRONG = 25  # of so many that are planned, one is given to every command
MOST_SECONDS, MOST_TRIALS = 3.0, 40  # of a study that is trained
Mutations = Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Draft:
    """A study file's bytes and what is set on the command line, and the mutations that made them."""

    base: Mapping[str, Any]
    mutations: Mutations
    words: str = ""

    @property
    def made_by(self) -> str:
        """The mutations, by name."""
        return self.words or ", ".join(name for name, _ in self.mutations)

    @property
    def beside_tables(self) -> Mutations:
        """The mutations of the text and of the command line."""
        return [one for one in self.mutations if one[0] not in mutations.OF_TABLES]

    def tables(self) -> dict[str, Any]:
        """The tables, mutated."""
        tables: dict[str, Any] = copy.deepcopy(dict(self.base))
        for name, seed in self.mutations:
            if name in mutations.OF_TABLES:
                mutations.OF_TABLES[name][0](random.Random(seed), tables)
        return tables

    def made(self) -> tuple[bytes, list[str]]:
        """The file's bytes, and what is set."""
        overrides = list[str]()
        data = tomli_w.dumps(self.tables()).encode("utf-8", "replace")
        for name, seed in self.mutations:
            if name.startswith("text "):
                data = mutations.OF_TEXT[name[5:]](random.Random(seed), data)
            elif name == "--set":
                overrides.append(mutations.override(random.Random(seed)))
        return data, overrides


def _prepare(_folder: Path, _short: bool) -> list[Mapping[str, Any]]:
    """The studies to begin with: ours, and those that the package ships."""
    import harness

    harness_folder = Path(harness.__file__).parent
    shipped = [
        path
        for folder in (harness_folder, harness_folder.parent)
        for path in sorted((folder / "ablations").glob("*.toml"))
    ]
    return [*BASES, *BASES, *(tomllib.loads(path.read_text(encoding="utf-8")) for path in shipped)]


def _run(seed: int, folder: Path, bases: Sequence[Mapping[str, Any]]) -> Case:
    rng, case = random.Random(seed), Case()
    draft = Draft(rng.choice(bases), mutations.names(rng))
    error = _load(draft, folder, case)
    if isinstance(error, BaseException):
        what = f"traceback: {oracle.signature(error)}"
        case.faults.append(Fault(what, _shown(_shrunk(draft, folder, error))))
        return case
    if error:
        case.judge(Outcome(2, err=error), _shown(draft))
    else:
        case.count("valid")
    if not error or seed % PLANNED == 0:
        _command(draft, folder, case, bool(error), seed)
    return case


def _recipe(seed: int, bases: Sequence[Mapping[str, Any]]) -> str:
    rng = random.Random(seed)
    return _shown(Draft(rng.choice(bases), mutations.names(rng)))


def _load(draft: Draft, folder: Path, case: Case | None = None) -> str | BaseException:
    """Load a study: "" where it is valid, what it says where it is not, or the exception that got out."""
    import harness

    data, overrides = draft.made()
    path = folder / "study.toml"
    path.write_bytes(data)
    if case is not None and _is_toml(data):
        case.count("TOML")
    try:
        harness.load(path, overrides)
    except (UsageError, MachineError) as error:
        return str(error) or "no words"
    except BaseException as error:  # noqa: BLE001 (whatever gets out is what we look for)
        return error
    return ""


def _is_toml(data: bytes) -> bool:
    try:
        tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _command(draft: Draft, folder: Path, case: Case, refused: bool, seed: int) -> None:
    """The commands on a study: planned, and where it is small, trained; now and then as real processes."""
    _, overrides = draft.made()
    sets = [word for override in overrides for word in ("--set", override)]
    planned = oracle.command("plan", "study.toml", *sets, allowed=[folder])
    case.count("planned")
    sound = case.judge(planned, _shown(draft))
    if refused and planned.code == 0:
        case.faults.append(Fault("planned though loading it is refused", _shown(draft)))
    if seed % WRONG == 0:
        for words in (("run", "study.toml"), ("search", "study.toml"), ("plan", "stdy"), ("plan", "no.toml")):
            if words[1] != "study.toml" or refused:
                case.judge(oracle.command(*words, *sets, allowed=[folder]), f"{words}\n{_shown(draft)}")
        case.judge(_in_python(folder, overrides), _shown(draft))
    if seed % REAL == 0 and "\0" not in "".join(sets):
        case.count("real processes")
        outcome = oracle.real(["plan", "study.toml", *sets], cwd=folder)
        case.judge(outcome, _shown(draft))
        if outcome.code != planned.code:
            case.faults.append(Fault("another exit code as a process of its own", _shown(draft)))
    if planned.code == 0 and sound and seed % TRAINED == 0 and _small(planned.out):
        case.count("trained")
        word = (
            "search" if "design: search" in planned.out or "search" in planned.out.split("\n")[0] else "run"
        )
        done = oracle.command(word, "study.toml", *sets, "--workers", "1", allowed=[folder])
        case.judge(done, _shown(draft))


def _in_python(folder: Path, overrides: Sequence[str]) -> Outcome:
    """A search asked for in Python, which has no command to keep it from what is none."""
    import harness

    try:
        study = harness.load(folder / "study.toml", overrides)
        if study.search is None:
            harness.search(study, folder / "searched", workers=1)
    except (UsageError, MachineError) as error:
        return Outcome(2, err=str(error))
    except Exception as error:  # noqa: BLE001 (whatever gets out is what we look for)
        return Outcome(1, raised=oracle.signature(error))
    return Outcome(0)


def _small(words: str) -> bool:
    """Whether a plan's words promise that a study is trained at once, on what is there."""
    seconds = re.search(r"about ([\d.]+) s\b", words)
    trials = [int(count.replace(",", "")) for count in re.findall(r"= ([\d,]+) trials", words)]
    return (
        bool(seconds)
        and float(seconds[1] if seconds else 1e9) < MOST_SECONDS
        and max(trials, default=0) < MOST_TRIALS
    )


def _shrunk(draft: Draft, folder: Path, error: BaseException) -> Draft:
    """The fewest of a draft's mutations, then of its keys, that end in the same exception."""
    wanted, smallest = oracle.signature(error), draft
    for mutation in draft.mutations:
        fewer = replace(smallest, mutations=[one for one in smallest.mutations if one != mutation])
        smallest = fewer if _same(fewer, folder, wanted) else smallest
    bare = replace(smallest, base=smallest.tables(), mutations=smallest.beside_tables, words=smallest.made_by)
    smallest = bare if _same(bare, folder, wanted) else smallest
    for keys in _keys(smallest.base):
        fewer = replace(smallest, base=_without(smallest.base, keys))
        smallest = fewer if _same(fewer, folder, wanted) else smallest
    return smallest


def _same(draft: Draft, folder: Path, wanted: str) -> bool:
    try:
        error = _load(draft, folder)
    except (LookupError, TypeError, ValueError):  # a mutation has nothing left to act on
        return False
    return isinstance(error, BaseException) and oracle.signature(error) == wanted


def _keys(tables: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The tables, then the keys in them."""
    yield from ((key,) for key in tables)
    for key, table in tables.items():
        yield from ((key, inner) for inner in (table if isinstance(table, Mapping) else ()))


def _without(tables: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    left = copy.deepcopy(dict(tables))
    table = left
    for key in keys[:-1]:
        table = table.get(key, {})
    table.pop(keys[-1], None)
    return left


def _shown(draft: Draft) -> str:
    data, overrides = draft.made()
    sets = "".join(f"--set {override!r}\n" for override in overrides)
    text = f"# {draft.made_by}\n{sets}{data[:40_000].decode(errors='backslashreplace')}"
    return re.sub(r"(.)\1{40,}", lambda run: f"{run[1]} ({len(run[0])} times)", text)


KIND = Kind("studies", "mutated study files", 100_000, 100, _prepare, _run, _recipe, chunk=500, patience=30)

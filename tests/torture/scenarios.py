"""Commands that write, ready to be killed or to meet a bad disk: how they begin, and how they end."""

from __future__ import annotations

import atexit
import contextlib
import gzip
import hashlib
import multiprocessing
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from torture import forks, hooks, oracle
from torture.oracle import Outcome
from torture.values import OUTPUTS, SMALL

STUDIES: Mapping[str, Mapping[str, Any]] = {
    "run": {
        "study": {"name": "s", "seeds": 2, "keep_weights": "all"},
        "baseline": {**SMALL, "epochs": 2},
        # Two shapes and batch sizes, so that there are several stacks.
        "axes": {"size": [{"name": "a", "batch_size": 50}, {"name": "b", "batch_size": 100}]},
    },
    "tune": {
        "study": {"name": "s", "seeds": 1},
        "baseline": SMALL,
        "axes": {"activation": ["relu", "tanh"]},
        "tune": {"seeds": 1, "space": {"lr": [0.1, 0.3]}},
    },
    "search": {
        "study": {"name": "s", "design": "search", "seeds": 1},
        "baseline": {**SMALL, "epochs": 2},
        "search": {"suggestions": 4, "batch": 2, "pruner": {"name": "halving", "reduction": 2}},
        "space": {"lr": {"low": 0.01, "high": 1.0, "log": True}},
    },
    "report": {
        "study": {"name": "s", "seeds": 1, "keep_predictions": []},
        "baseline": {**SMALL, "activation": "relu"},
        "axes": {"output": OUTPUTS[:1]},
    },
}
GROUPS = (*oracle.TIMING, "group", "group_size", "kernels")
"""What depends on how many workers share the work, and on whether a limit has PyTorch compute."""
FILES = {f"file-{i}": bytes([i]) * 3000 for i in range(3)}
"""A data set to be fetched, from a folder of this machine."""


@dataclass(frozen=True)
class Scenario:
    """A command that writes into `written`, given the folder that it is run in.

    `ready` are files and folders that are there before, by name; `tables` are the results folders that are
    compared after, `files` the files, byte for byte.
    """

    name: str
    words: Sequence[str]
    written: str
    ready: Mapping[str, Path]
    tables: Sequence[str] = ()
    files: Sequence[str] = ()
    operations: int = 0
    writes: int = 0
    ends: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    bytes: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    workers: bool = False

    def begin(self, folder: Path) -> None:
        """Lay out what the command begins with."""
        for name, path in self.ready.items():
            copier = shutil.copytree if path.is_dir() else shutil.copy
            copier(path, folder / name)
        if self.name.endswith("postgresql"):  # one server for all cases: each has a name of its own there
            study = folder / "study.toml"
            text = study.read_text(encoding="utf-8")
            study.write_text(text.replace('name = "s"', f'name = "s{uuid.uuid4().hex}"'), encoding="utf-8")

    def run(self, *more: str, watched: Mapping[str, Any] | None = None, folder: Path) -> Outcome:
        """The command in this process, its operations watched; one that is not compiles in its own cache."""
        os.chdir(folder)
        os.environ["HARNESS_DATA"] = str(folder / "cache")
        if watched is None:
            with toy(folder):
                return oracle.command(*self.words, *more, allowed=[folder])
        hooks.watch(roots=hooks.below(folder / self.written), **watched)
        with toy(folder), forks.compiled_before():
            return oracle.command(*self.words, *more, allowed=[folder, *forks.COMPILED])

    def end(self, folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
        """What the command left: tables by folder and name, and files by hash."""
        tables = {
            f"{place}/{name}": frame
            for place in self.tables
            for name, frame in oracle.tables(folder / place, without=GROUPS).items()
        }
        files = {}
        for name in self.files:
            path = folder / name
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "is gone"
        return tables, files

    def difference(self, folder: Path) -> str:
        """What is otherwise than after an undisturbed run; empty where nothing is."""
        tables, files = self.end(folder)
        differs = oracle.difference(self.ends, tables)
        other = [name for name, digest in self.bytes.items() if files.get(name) != digest]
        discords = (oracle.discord(folder / place) for place in self.tables)
        return differs or (f"{other[0]} has other bytes" if other else "") or next(filter(None, discords), "")


@contextlib.contextmanager
def toy(folder: Path) -> Iterator[None]:
    """A data set `toy` that is fetched from a folder beside."""
    from harness.data import cache, download

    pins, places = cache.PINS, download.sources_of
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    cache.PINS = {**pins, "toy": digests}
    download.sources_of = lambda *_: [download.local_folder(folder / "shelf")]
    try:
        yield
    finally:
        cache.PINS, download.sources_of = pins, places


def _studies(folder: Path, storages: Mapping[str, str]) -> dict[str, Path]:
    """The study files, a search for each storage."""
    files = {}
    named = {name: tables for name, tables in STUDIES.items() if name != "search"}
    for name, url in storages.items():
        search = {**STUDIES["search"]["search"], "storage": url}
        named[f"search {name}"] = {**STUDIES["search"], "search": search}
    for name, tables in named.items():
        files[name] = folder / f"{name}.toml"
        files[name].write_text(tomli_w.dumps(dict(tables)), encoding="utf-8")
    return files


def scenarios(folder: Path, *, short: bool) -> list[Scenario]:
    """All scenarios, each run once undisturbed, for what it ends with and how many operations it takes.

    Args:
        folder: an empty folder.
        short: whether two of them are enough.
    """
    storages = {"journal": "journal"} if short else {"sqlite": "sqlite", "journal": "journal", **_server()}
    studies = _studies(folder, storages)
    there = [_training(name, path) for name, path in studies.items() if name != "report"]
    if short:
        there = [one for one in there if one.name == "run"]
    else:
        there += _others(folder, studies["report"])
    return [_measured(one, folder / one.name) for one in there]


def _server() -> dict[str, str]:
    """A PostgreSQL server for as long as this process lives, where one is installed."""
    import postgres_server
    import pytest

    serving = contextlib.ExitStack()
    try:
        server = serving.enter_context(postgres_server.serving())
    except pytest.skip.Exception:
        return {}
    atexit.register(serving.close)
    return {"postgresql": server.url("postgres")}


def _others(folder: Path, study: Path) -> list[Scenario]:
    """The commands that train nothing."""
    _measured(_training("report", study), folder / "for the others")
    ready = {"results": folder / "for the others" / "results"}
    shelf = folder / "shelf"
    shelf.mkdir()
    for i, (name, data) in enumerate(FILES.items()):
        (shelf / f"{name}{'.gz' if i else ''}").write_bytes(gzip.compress(data, mtime=0) if i else data)
    model = [f"exported/{name}" for name in ("model.safetensors", "trial.json")]
    fetched = [f"cache/toy/{name}" for name in FILES]
    return [
        Scenario("export", ("export", "best", "--results", "results", "--out", "exported"), "exported", ready,
                 files=model),
        Scenario("compare", ("compare", "results", "results", "--out", "compared"), "compared", ready,
                 files=["compared/differences.csv"]),
        Scenario("data export", ("data", "export", "digits", "idx.gz", "exported"), "exported", {},
                 files=["exported/train-labels-idx1-ubyte.gz"]),
        Scenario("fetch", ("data", "fetch", "toy"), "cache", {"shelf": shelf}, files=fetched),
        Scenario("report", ("report", "results"), "results", ready, tables=["results"]),
    ]  # fmt: skip


def _training(name: str, study: Path) -> Scenario:
    search = name.startswith("search")
    words: tuple[str, ...] = (
        "search" if search else "run",
        "study.toml",
        "--results",
        "results",
        "--workers",
        "1",
    )
    if not search:
        words = (*words, "--checkpoint-every", "1 epochs")
    more = {"tune": ["results/tuning", "results/tuned"], "report": []}.get(
        name, ["results/finalists", "results/confirmed"] if search else []
    )
    workers = name != "report"
    return Scenario(name, words, "results", {"study.toml": study}, ["results", *more], workers=workers)


def _measured(scenario: Scenario, folder: Path) -> Scenario:
    """Run a scenario undisturbed, counting."""
    folder.mkdir()
    scenario.begin(folder)
    start = time.monotonic()

    def work() -> Outcome:
        outcome = scenario.run(watched={}, folder=folder)
        return replace(outcome, outside=[str(hooks.now().count), str(hooks.now().written)])

    outcome = forks.apart(work, folder, 300)
    if outcome.code != 0:
        raise AssertionError(f"{scenario.name} undisturbed: {outcome}")
    tables, files = scenario.end(folder)
    seconds = time.monotonic() - start
    operations, writes = map(int, outcome.outside)
    return replace(scenario, operations=operations, writes=writes, ends=tables, bytes=files, seconds=seconds)


def quick_workers() -> None:
    """Have worker processes forked instead of spawned, which costs seconds."""
    context = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: context("fork" if method == "spawn" else method)  # type: ignore[assignment]

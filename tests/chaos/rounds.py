"""Rounds: a study or search trains on a cluster under one fault after another; its rows are compared."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from chaos import clusters, faults, rows
from chaos.clusters import CHECKOUT, Cluster
from chaos.drivers import Driver, undisturbed
from chaos.faults import Course, Kind, Scene
from chaos.records import Record
from chaos.rows import Differences

AT_ONCE = 3  # faults that are under way
MOST_STARTS = 40  # of a driver in a round
PATIENCE = 1500.0  # seconds of a round, after which it counts as hanging
FIRST_ACTOR = 120.0  # seconds for the first actor to be there
QUIET_END = 60.0  # seconds after the driver's end in which faults may heal


@dataclass(frozen=True)
class Size:
    """How much a round trains, and how fast faults follow one another.

    Args:
        gap: shortest and longest seconds between two faults.
        silent: seconds without an answer after which the driver gives an actor up.
        most: faults in a round.
    """

    dataset: str = "mnist"
    epochs: int = 6
    batch_sizes: Sequence[int] = (40, 48, 64, 80, 96, 128, 192, 256)
    suggestions: int = 48
    gap: tuple[float, float] = (1.0, 6.0)
    silent: float = 15.0
    most: int = 40


SHORT = Size("digits", 60, (16, 32, 64, 128), 8, (0.5, 1.5), 6.0, 3)
REPORTED = "verdicts: harness report"  # what a run says at its end
WORKS = ("study", "search", "killer")
KILLER = '''
"""A loss that ends the process that trains with it, wherever that is."""

import os
import signal

import torch

from harness.axes.losses import losses

CALLS = 0


@losses.register("deadly", takes="logits")
def deadly(f, target):
    """Squared errors, for the first calls."""
    global CALLS
    CALLS += 1
    if CALLS > 200:
        os.kill(os.getpid(), signal.SIGKILL)
    return (f - target).square().sum(-1)
'''


def tables(work: str, size: Size) -> dict[str, Any]:
    """Return the study file of a kind of work."""
    baseline = {"dataset": size.dataset, "hidden": [32], "epochs": size.epochs}
    if work == "search":
        return {
            "study": {"name": work, "design": "search", "seeds": 2, "hypothesis": "Faults change no number."},
            "baseline": {**baseline, "epochs": max(3, size.epochs // 2)},
            "search": {"suggestions": size.suggestions, "batch": 8, "pruner": "halving"},
            "space": {
                "optimizer": ["sgd", "adam"], "activation": ["relu", "tanh"], "batch_size": [32, 64, 128],
                "lr": {"low": 1e-3, "high": 0.3, "log": True},
            },
        }  # fmt: skip
    study = {"name": work, "seeds": 3, "keep_weights": "all", "hypothesis": "Faults change no number."}
    axes: dict[str, Any] = {
        "batch_size": list(size.batch_sizes), "activation": ["relu", "tanh"],
        "optimizer": ["sgd", "momentum", "adam"],
    }  # fmt: skip
    if work == "killer":
        axes["batch_size"] = axes["batch_size"][-3:]
        axes["optimizer"] = ["sgd"]
        axes["output"] = [
            {"name": "softmax + CE", "head": "identity", "loss": "ce"},
            {"name": "deadly", "head": "identity", "loss": "deadly"},
        ]
        return {"study": {**study, "seeds": 1, "plugins": ["deadly.py"]}, "baseline": baseline, "axes": axes}
    return {"study": study, "baseline": baseline, "axes": axes}


@dataclass
class Campaign:
    """What all rounds share: undisturbed results, the cluster, the kinds that are allowed."""

    folder: Path
    cluster: Cluster
    kinds: Mapping[str, Kind]
    size: Size
    scratch: Path
    data: Path
    nodes: int = 4

    def prepare(self, work: str) -> Path:
        """Return the results folder of an undisturbed run on this machine, made once a study and version."""
        text = tomli_w.dumps(tables(work, self.size))
        name = hashlib.sha256(f"{text}\n{_sources()}".encode()).hexdigest()[:12]
        place = self.folder / "undisturbed" / f"{work}-{name}"
        if not (place / "done").is_file():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            lay_out(place, work, text)
            words = (*command(work), "--workers", "2")
            failing = int(work == "killer")  # whose deadly trials fail
            undisturbed(words, place, {"HARNESS_DATA": str(self.data)}, failing)
            (place / "done").write_text("")
        return place / "out"

    def round(self, number: int) -> list[Record]:
        """Run a round: its number is its seed."""
        rng = random.Random(number)
        work = "killer" if number % 8 == 7 else "search" if number % 3 == 2 else "study"
        expected = self.prepare(work)
        place = self.folder / "rounds" / f"{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        lay_out(place, work, tomli_w.dumps(tables(work, self.size)))
        self._made_ready()
        address = self.cluster.address
        words = (*command(work), "--cluster", address)
        surroundings = {"HARNESS_DATA": str(self.data), "CHAOS_SILENT": str(self.size.silent)}
        driver = Driver(self.cluster, words, place, place / "out", surroundings)
        scene = Scene(self.cluster, driver, rng, self.scratch, self.size.silent)
        play = _Play(scene, self.kinds, self.size, number, work)
        try:
            ended = play.run()
        finally:
            driver.close()
        found = rows.compare(expected, place / "out") if ended == "finished" else Differences(lost=-1)
        if work != "search":
            found += strangers_rows(place / "out", scene.strangers)
        if found.none:
            shutil.rmtree(place / "out", ignore_errors=True)
        else:
            (place / "differences.txt").write_text(f"{ended}\n{found}\n{found.first}\n")
        return [
            replace(record, lost=found.lost, doubled=found.doubled, different=found.different, ended=ended)
            for record in play.records
        ]

    def _made_ready(self) -> None:
        """Have the head and as many nodes as a round begins with, all of them sound."""
        cluster = self.cluster
        sound = cluster.head is not None and cluster.head.lives
        if not sound:
            cluster.stop()
            cluster.start(self.nodes)
        for name, node in list(cluster.nodes.items()):
            odd = not node.machine.lives or node.overlay or node.busy or not cluster.counts_alive(node)
            if odd or int(name[1:]) > self.nodes:
                cluster.remove(name)
        for number in range(1, self.nodes + 1):
            if f"n{number}" not in cluster.nodes:
                cluster.add(f"n{number}")
        cluster.gather()


class _Play:
    """A round in progress: faults that are under way, and those that are over."""

    def __init__(self, scene: Scene, kinds: Mapping[str, Kind], size: Size, number: int, work: str) -> None:
        self.scene, self.kinds, self.size, self.number, self.work = scene, kinds, size, number, work
        self.records: list[Record] = []
        self._under_way: list[tuple[float, Course, Record]] = []
        self._start = time.monotonic()

    def run(self) -> str:
        """Strike until the study has come to its end; returns how it ended, in words."""
        scene = self.scene
        driver, pack = scene.driver, faults.drawn(scene.rng, self.kinds)
        driver.start()
        self._until_it_trains()
        due = time.monotonic() + scene.rng.uniform(0.0, self.size.gap[0])
        unexpected: list[str] = []
        ended = ""
        while not ended:
            self._step()
            if time.monotonic() > self._start + PATIENCE:
                ended = "hung"
            elif self._has_finished():
                ended = "finished"
            elif driver.code is not None and not driver.held:
                if not driver.killed:
                    unexpected.append(f"exit code {driver.code}: {driver.last_words()}")
                if driver.starts >= MOST_STARTS or len(unexpected) > 5:
                    ended = "given up"
                else:
                    driver.start()
            elif time.monotonic() > due and self._may_strike():
                self._strike(pack)
                due = time.monotonic() + scene.rng.uniform(*self.size.gap)
            time.sleep(0.1)
        self._finish()
        return "; ".join([ended, *unexpected])

    def _may_strike(self) -> bool:
        under_way = len(self._under_way)
        return under_way < AT_ONCE and len(self.records) + under_way < self.size.most

    def _has_finished(self) -> bool:
        """Tell whether the driver has come to its end; that of deadly trials, which fail, has exit code 1."""
        driver = self.scene.driver
        failed = self.work == "killer" and driver.code == 1 and REPORTED in driver.words_since_start()
        return not driver.killed and (driver.code == 0 or failed)

    def _until_it_trains(self) -> None:
        """Wait until the driver has made actors."""
        scene, end = self.scene, time.monotonic() + FIRST_ACTOR
        while time.monotonic() < end and scene.driver.code is None:
            if any(clusters.workers(node) for node in scene.cluster.nodes.values()):
                return
            time.sleep(0.5)

    def _strike(self, pack: Iterator[str]) -> None:
        """Begin the next fault that is possible now."""
        scene = self.scene
        for _ in range(len(self.kinds)):
            name = next(pack)
            scene.last = ""
            seconds = round(time.monotonic() - self._start, 1)
            stacks = str(scene.driver.stacks())
            course = self.kinds[name].strike(scene)
            try:
                wait = next(course)
            except StopIteration as end:
                if end.value is None:
                    continue
                self.records.append(
                    Record(self.number, self.work, name, scene.last, seconds, stacks, end.value)
                )
                return
            record = Record(self.number, self.work, name, scene.last, seconds, stacks, "")
            self._under_way.append((time.monotonic() + wait, course, record))
            return

    def _step(self) -> None:
        """Go on with the faults that are due."""
        now = time.monotonic()
        going_on = []
        for due, course, record in self._under_way:
            if due > now:
                going_on.append((due, course, record))
                continue
            try:
                going_on.append((time.monotonic() + next(course), course, record))
            except StopIteration as end:
                if end.value is not None:
                    self.records.append(replace(record, outcome=end.value))
        self._under_way = going_on

    def _finish(self) -> None:
        """Let faults heal for a while; those that have not by then are recorded as they are."""
        end = time.monotonic() + QUIET_END
        while self._under_way and time.monotonic() < end:
            self._step()
            time.sleep(0.1)
        for _, course, record in self._under_way:
            course.close()
            self.records.append(replace(record, outcome="the round ended before it had healed"))
        self.records.sort(key=lambda record: record.seconds)


def command(work: str) -> tuple[str, ...]:
    """Return the words of the harness's command for a kind of work."""
    if work == "search":
        return ("search", "study.toml", "--results", "out", "--device", "cpu")
    plugin = ("--plugin", "deadly.py") if work == "killer" else ()
    return (
        "run",
        "study.toml",
        "--results",
        "out",
        "--device",
        "cpu",
        "--checkpoint-every",
        "2 seconds",
        *plugin,
    )


def lay_out(place: Path, work: str, text: str) -> None:
    """Write the study file, and the plugin that it names."""
    (place / "study.toml").write_text(text, encoding="utf-8")
    if work == "killer":
        (place / "deadly.py").write_text(KILLER, encoding="utf-8")


def strangers_rows(folder: Path, strangers: Sequence[str]) -> Differences:
    """Count the rows that nodes of other versions have made as different: there may be none."""
    import csv

    path = folder / "trials.csv"
    if not strangers or not path.is_file():
        return Differences()
    with path.open(newline="", encoding="utf-8") as file:
        found = [row for row in csv.DictReader(file) if row.get("host") in strangers]
    words = f"{found[0]['trial_id']} was trained on {found[0]['host']}" if found else ""
    return Differences(different=len(found), first=words)


def _sources() -> str:
    """Return a digest of the harness's sources."""
    digest = hashlib.sha256()
    for path in sorted((CHECKOUT / "harness").rglob("*.py")):
        digest.update(json.dumps([str(path), path.read_text(encoding="utf-8")]).encode())
    return digest.hexdigest()

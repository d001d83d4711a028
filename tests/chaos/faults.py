"""Kinds of fault: each is done to a cluster or to a driver while a study trains, and heals by itself.

A fault is a generator: it strikes at once, yields the seconds that it waits before it looks again, and
returns what came of it in words; None where there is nothing to be struck now.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaos import clusters
from chaos.clusters import CHECKOUT, Cluster, Node, ObserverGoneError
from chaos.drivers import Driver
from chaos.machines import no_namespaces, no_slow_network

Course = Generator[float, None, str | None]
FEWEST = 2  # nodes that stay as they are while others are struck
MOST_NODES = 6
DEATHS = 2  # of workers in a round: the third death of a stack's workers is the stack's own failure
AT_START = 0.1  # share of strikes at a driver that has finished no stack since the last one
DEAD_WITHIN = 60.0  # seconds in which Ray must have noticed that a node does not answer
BACK_WITHIN = 240.0  # seconds in which a node must have joined
HEAD_WITHIN = 150.0  # seconds in which the driver must have ended without a head
HOUR = 3600
LOOK = 0.5  # seconds between looks at what Ray knows


@dataclass
class Scene:
    """The cluster and driver of a round, and what a round must keep count of.

    `scratch` has another NumPy.
    """

    cluster: Cluster
    driver: Driver
    rng: random.Random
    scratch: Path
    silent: float
    deaths: int = 0
    struck_at: int = 0
    """Stacks that were finished when the driver was struck last."""
    strangers: list[str] = field(default_factory=list)
    """Names of nodes with other versions: no row may come from them."""
    last: str = ""
    """The name of the node that was struck last."""

    def free(self) -> list[Node]:
        """List the nodes that live and that no fault has in hand."""
        return [node for node in self.cluster.nodes.values() if not node.busy and node.machine.lives]

    def pick(self, kind: str) -> Node | None:
        """Take a node in hand; None where too few would be left."""
        free = [node for node in self.free() if node.name not in self.strangers]
        if len(free) <= FEWEST:
            return None
        node = self.rng.choice(free)
        node.busy, self.last = kind, node.name
        return node

    def name(self) -> str:
        """Return a name for another node."""
        return next(f"n{number}" for number in range(1, 200) if f"n{number}" not in self.cluster.nodes)


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        strike: does it.
        weight: how often it is drawn, among all.
        forbidden: why this machine does not allow it; empty if it does.
    """

    strike: Callable[[Scene], Course]
    weight: float = 1.0
    forbidden: Callable[[], str] = lambda: ""


def _until(condition: Callable[[], bool], most: float) -> Generator[float, None, float | None]:
    """Wait until a condition holds; returns after how many seconds it did, None if it never did."""
    start = time.monotonic()
    while time.monotonic() - start < most:
        if condition():
            return time.monotonic() - start
        yield LOOK
    return None


def _dead(scene: Scene, node: Node) -> Callable[[], bool]:
    def condition() -> bool:
        try:
            return not scene.cluster.counts_alive(node)
        except ObserverGoneError:
            return False

    return condition


def _back(scene: Scene, node: Node, overlay: Mapping[str, str] | None = None) -> Course:
    """Start a node anew, and wait until it has joined."""
    again = scene.cluster.add(node.name, overlay)
    again.busy = node.busy
    joined = yield from _until(lambda: not _dead(scene, again)(), BACK_WITHIN)
    again.busy = ""
    return "not joined again" if joined is None else f"another joined after {joined:.0f} s"


def node_killed(scene: Scene) -> Course:
    """Switch a machine off: raylet, workers, everything; another of its name is started."""
    node = scene.pick("node killed")
    if node is None:
        return None
    busy = len(clusters.workers(node))
    node.machine.kill()
    dead = yield from _until(_dead(scene, node), DEAD_WITHIN)
    noticed = "not noticed by Ray" if dead is None else f"noticed after {dead:.0f} s"
    return f"{busy} actors on it; {noticed}; {(yield from _back(scene, node))}"


def raylet_killed(scene: Scene) -> Course:
    """Kill a node's raylet alone; its workers notice and end."""
    node = scene.pick("raylet killed")
    if node is None:
        return None
    struck = node.machine.signal(signal.SIGKILL, clusters.RAYLET)
    dead = yield from _until(_dead(scene, node), DEAD_WITHIN)
    noticed = "not noticed by Ray" if dead is None else f"noticed after {dead:.0f} s"
    node.machine.kill()
    return f"{struck} raylet; {noticed}; {(yield from _back(scene, node))}"


def worker_killed(scene: Scene) -> Course:
    """Kill the process of an actor that trains; the node lives on."""
    if scene.deaths >= DEATHS:
        return None
    node = scene.pick("worker killed")
    if node is None:
        return None
    struck = 0
    for pid in clusters.workers(node)[:1]:
        subprocess.run(["kill", "-KILL", str(pid)], check=False, capture_output=True)
        struck += 1
    node.busy = ""
    if not struck:
        return None
    scene.deaths += 1
    yield 0.0
    return "one actor's process"


def node_suspended(scene: Scene) -> Course:
    """Suspend all of a node until Ray has given it up, and a while longer; then it comes back."""
    node = scene.pick("node suspended")
    if node is None:
        return None
    struck = node.machine.signal(signal.SIGSTOP)
    dead = yield from _until(_dead(scene, node), DEAD_WITHIN)
    if dead is not None:
        yield scene.rng.uniform(2.0, 8.0)  # its work is given to others
    node.machine.signal(signal.SIGCONT)
    if dead is None:
        node.busy = ""
        return f"{struck} processes; it came back before Ray gave it up"
    yield scene.rng.uniform(3.0, 6.0)  # what it says now is a zombie's
    node.machine.kill()
    return f"{struck} processes; given up after {dead:.0f} s, came back; {(yield from _back(scene, node))}"


def worker_suspended(scene: Scene) -> Course:
    """Suspend the actor of a node until the driver has given it up; then it comes back with its result."""
    node = scene.pick("worker suspended")
    if node is None:
        return None
    pids = clusters.workers(node)[:1]
    for pid in pids:
        subprocess.run(["kill", "-STOP", str(pid)], check=False, capture_output=True)
    if not pids:
        node.busy = ""
        return None
    seconds = scene.rng.choice([0.3, 1.5]) * scene.silent
    yield seconds
    for pid in pids:
        subprocess.run(["kill", "-CONT", str(pid)], check=False, capture_output=True)
    node.busy = ""
    return f"for {seconds:.0f} s, of {scene.silent:.0f} s after which it is given up"


def node_frozen_shortly(scene: Scene) -> Course:
    """Suspend all of a node for less than it takes Ray to give it up."""
    node = scene.pick("node frozen")
    if node is None:
        return None
    struck = node.machine.signal(signal.SIGSTOP)
    seconds = scene.rng.uniform(1.0, 5.0)
    yield seconds
    node.machine.signal(signal.SIGCONT)
    node.busy = ""
    return f"{struck} processes for {seconds:.1f} s"


def driver_killed(scene: Scene) -> Course:
    """Kill the driver; the same command is run again."""
    return (yield from _driver_struck(scene, signal.SIGKILL))


def driver_stopped(scene: Scene) -> Course:
    """Ask the driver to end, as Ctrl-C and a scheduler do; the same command is run again."""
    return (yield from _driver_struck(scene, scene.rng.choice([signal.SIGINT, signal.SIGTERM])))


def _driver_struck(scene: Scene, number: signal.Signals) -> Course:
    driver = scene.driver
    before = driver.stacks()
    at_start = scene.rng.random() < AT_START
    if driver.code is not None or driver.killed or (before <= scene.struck_at and not at_start):
        return None
    scene.struck_at = before
    process = driver.process
    assert process is not None
    driver.strike(number)
    gone = yield from _until(lambda: process.poll() is not None, DEAD_WITHIN)
    if gone is None:
        process.kill()
        return f"{number.name} at {before} stacks: it did not end within {DEAD_WITHIN:.0f} s"
    return f"{number.name} at {before} stacks: exit code {process.returncode}"


def store_filled(scene: Scene) -> Course:
    """Fill the object store of a node with objects that are in use, so that nothing else fits into it."""
    node = scene.pick("store filled")
    if node is None:
        return None
    seconds = scene.rng.uniform(5.0, 12.0)
    observer, address = scene.cluster.observer, node.machine.address
    try:
        if observer is None or not observer.ask(
            do="fill", address=address, bytes=2 * clusters.STORE, seconds=seconds
        ):
            node.busy = ""
            return None
        yield seconds + 3.0
        told = str(observer.ask(do="empty", address=address, most=30.0))
    except ObserverGoneError:
        told = "the observer was lost"
    node.busy = ""
    return told


def network_cut(scene: Scene) -> Course:
    """Pull a node's cable until Ray has given it up; then plug it in again, and replace the node."""
    node, network = scene.pick("network cut"), scene.cluster.network
    if node is None or network is None:
        return None
    network.cut(node.name)
    dead = yield from _until(_dead(scene, node), DEAD_WITHIN)
    yield scene.rng.uniform(1.0, 6.0)
    network.restore(node.name)
    yield scene.rng.uniform(3.0, 6.0)
    told = "never given up" if dead is None else f"given up after {dead:.0f} s"
    if dead is None:
        node.busy = ""
        return told
    node.machine.kill()
    return f"{told}, plugged in again; {(yield from _back(scene, node))}"


def network_interrupted(scene: Scene) -> Course:
    """Pull a node's cable for less than it takes Ray to give the node up."""
    node, network = scene.pick("network interrupted"), scene.cluster.network
    if node is None or network is None:
        return None
    seconds = scene.rng.uniform(0.5, 5.0)
    network.cut(node.name)
    yield seconds
    network.restore(node.name)
    node.busy = ""
    return f"for {seconds:.1f} s"


def network_slow(scene: Scene) -> Course:
    """Delay and lose packets of a node's network."""
    node, network = scene.pick("network slow"), scene.cluster.network
    if node is None or network is None:
        return None
    delay, seconds = scene.rng.choice([50, 200, 500]), scene.rng.uniform(5.0, 10.0)
    network.slow(node.name, ["delay", f"{delay}ms", "loss", "5%"])
    yield seconds
    network.slow(node.name, [])
    node.busy = ""
    return f"{delay} ms and 5 % of packets lost for {seconds:.0f} s"


def node_added(scene: Scene) -> Course:
    """Start one more node."""
    if len(scene.cluster.nodes) >= MOST_NODES or scene.driver.held:
        return None
    scene.last = scene.name()
    node = scene.cluster.add(scene.last)
    node.busy = "node added"
    joined = yield from _until(lambda: not _dead(scene, node)(), BACK_WITHIN)
    node.busy = ""
    return "it did not join" if joined is None else f"it joined after {joined:.0f} s"


def node_removed(scene: Scene) -> Course:
    """Ask a node's raylet to end, as `ray stop` does, and start no other."""
    if len(scene.free()) <= FEWEST + 1:
        return None
    node = scene.pick("node removed")
    if node is None:
        return None
    node.machine.signal(signal.SIGTERM, clusters.RAYLET)
    gone = yield from _until(lambda: not node.machine.processes(clusters.RAYLET), 30.0)
    scene.cluster.remove(node.name)
    return "it had to be killed" if gone is None else f"it ended after {gone:.0f} s"


def clock_off(scene: Scene) -> Course:
    """Replace a node by one whose clock is off by an hour."""
    node = scene.pick("clock off")
    if node is None:
        return None
    node.machine.kill()
    seconds = scene.rng.choice([HOUR, -HOUR])
    overlay = {"LD_PRELOAD": str(_clock(scene.cluster.folder)), "CHAOS_CLOCK": str(seconds)}
    yield from _until(_dead(scene, node), DEAD_WITHIN)
    return f"{seconds:+d} s; {(yield from _back(scene, node, overlay))}"


def disk_full(scene: Scene) -> Course:
    """Replace a node by one whose disk for temporary files is full almost at once."""
    node = scene.pick("disk full")
    if node is None:
        return None
    node.machine.kill()
    disk = scene.cluster.folder / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    yield from _until(_dead(scene, node), DEAD_WITHIN)
    told = yield from _back(scene, node, {"TMPDIR": str(disk)})
    again = scene.cluster.nodes[node.name]
    again.busy = node.busy
    said = yield from _until(lambda: f"{node.name} (" in scene.driver.words_since_start(), 60.0)
    again.machine.kill()
    yield from _until(_dead(scene, again), DEAD_WITHIN)
    words = "refused" if said is not None else "not refused"
    return f"{told}, with a full disk, {words}; then a sound one: {(yield from _back(scene, again))}"


def head_killed(scene: Scene) -> Course:
    """Kill the head, and with it the whole cluster; another one is started at the same address."""
    cluster, driver = scene.cluster, scene.driver
    others = [node for node in cluster.nodes.values() if node.busy]
    if others or cluster.head is None or driver.code is not None:
        return None
    driver.killed = driver.held = True
    before, count = driver.stacks(), len(cluster.nodes)
    for node in cluster.nodes.values():
        node.busy = "head killed"
    cluster.head.kill()
    gone = yield from _until(lambda: driver.code is not None, HEAD_WITHIN)
    if gone is None:
        driver.strike(signal.SIGKILL)
    words = driver.last_words()
    cluster.stop()
    cluster.start(count)
    driver.held = False
    told = f"after {gone:.0f} s: exit code {driver.code}, {words}" if gone is not None else "the driver hung"
    return f"at {before} stacks; {told}"


def other_source(scene: Scene) -> Course:
    """Start a node that has the harness with one line changed; it must not train."""
    return (yield from _stranger(scene, {"PYTHONPATH": str(changed_harness(scene.cluster.folder))}))


def other_numpy(scene: Scene) -> Course:
    """Start a node that has another version of NumPy; it must not train."""
    path = f"{other_package(scene.scratch)}:{CHECKOUT}"
    return (yield from _stranger(scene, {"PYTHONPATH": path}))


def _stranger(scene: Scene, overlay: Mapping[str, str]) -> Course:
    if scene.driver.held or any(name in scene.cluster.nodes for name in scene.strangers):
        return None
    name = next(f"n{number}" for number in range(90, 190) if f"n{number}" not in scene.strangers)
    scene.last = name
    scene.strangers.append(name)
    node = scene.cluster.add(name, overlay)
    node.busy = "other version"
    joined = yield from _until(lambda: not _dead(scene, node)(), BACK_WITHIN)
    if joined is None:
        scene.cluster.remove(name)
        return "it did not join"
    told = yield from _until(lambda: name in scene.driver.words_since_start(), 20.0)
    words = next((line.strip() for line in scene.driver.words_since_start().splitlines() if name in line), "")
    scene.cluster.remove(name)
    return f"refused: {words}" if told is not None else "the driver said nothing of it"


def _clock(scratch: Path) -> Path:
    """Compile the preloaded clock, once."""
    target = scratch / "clock.so"
    if not target.is_file():
        source = Path(__file__).with_name("clock.c")
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True)
    return target


def no_clock() -> str:
    """Return why no process here can have another clock; empty if one can."""
    if not sys.platform.startswith("linux"):
        return "the preloaded clock is written for Linux"
    return "" if shutil.which("cc") else "there is no C compiler for the preloaded clock"


def changed_harness(scratch: Path) -> Path:
    """Copy the harness, one line of one module changed, once; returns the folder to import it from."""
    folder = scratch / "changed"
    if not folder.is_dir():
        shutil.copytree(
            CHECKOUT / "harness", folder / "harness", ignore=shutil.ignore_patterns("__pycache__")
        )
        path = folder / "harness" / "rng.py"
        path.write_text(path.read_text(encoding="utf-8") + "\nCHANGED = True\n", encoding="utf-8")
    return folder


OTHER_NUMPY = "2.2.6"


def other_package(scratch: Path) -> Path:
    """Return the folder with another NumPy; `no_other_numpy` has filled it."""
    return scratch / "numpy"


def no_other_numpy(scratch: Path) -> str:
    """Install another NumPy beside, once; returns why that cannot be, empty if it is there."""
    folder = other_package(scratch)
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        done = subprocess.run([*command, f"numpy=={OTHER_NUMPY}"], capture_output=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return f"NumPy {OTHER_NUMPY} cannot be installed here"
    return ""


def kinds(scratch: Path) -> dict[str, Kind]:
    """All kinds of fault by name."""
    return {
        "node killed": Kind(node_killed, 2.0),
        "raylet killed": Kind(raylet_killed),
        "worker killed": Kind(worker_killed),
        "node suspended": Kind(node_suspended, 1.5),
        "worker suspended": Kind(worker_suspended, 1.5),
        "node frozen": Kind(node_frozen_shortly),
        "driver killed": Kind(driver_killed, 1.5),
        "driver stopped": Kind(driver_stopped),
        "store filled": Kind(store_filled, 1.5),
        "network cut": Kind(network_cut, 1.5, no_namespaces),
        "network interrupted": Kind(network_interrupted, 2.0, no_namespaces),
        "network slow": Kind(network_slow, 1.0, no_slow_network),
        "node added": Kind(node_added, 1.5),
        "node removed": Kind(node_removed),
        "clock off": Kind(clock_off, 1.0, no_clock),
        "disk full": Kind(disk_full, 1.0, no_namespaces),
        "head killed": Kind(head_killed),
        "other source": Kind(other_source, 0.7),
        "other numpy": Kind(other_numpy, 0.7, lambda: no_other_numpy(scratch)),
    }


def allowed(known: Mapping[str, Kind]) -> tuple[dict[str, Kind], dict[str, str]]:
    """Split kinds into those that this machine allows, and the reasons why it does not the others."""
    reasons = {name: kind.forbidden() for name, kind in known.items()}
    return {name: known[name] for name in known if not reasons[name]}, {k: v for k, v in reasons.items() if v}


def drawn(rng: random.Random, known: Mapping[str, Kind]) -> Iterator[str]:
    """Draw kinds without end: each kind comes once in a shuffled pack, heavier ones twice."""
    while True:
        pack = [name for name, kind in known.items() for _ in range(max(1, round(kind.weight)))]
        rng.shuffle(pack)
        yield from pack

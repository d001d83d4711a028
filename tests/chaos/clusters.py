"""A Ray cluster of several raylets on this machine, each of which can be killed, suspended, cut off."""

from __future__ import annotations

import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from chaos.machines import Machine, Network
from harness.system import locks

CHECKOUT = Path(__file__).parents[2]
STORE = 80 * 2**20  # bytes of a node's object store, about as few as Ray allows
START = 300.0  # seconds for a node to join
MOST_TRIES = 5  # of starting a head
WORKER = "ray::StackActor"
"""Name of a process in which an actor of the harness lives."""
RAYLET = "raylet/raylet"
HEALTH: Mapping[str, str] = {
    "RAY_health_check_initial_delay_ms": "3000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
}
"""Ray's own names; a silent node is declared dead after about 12 seconds, a head given up after 20."""
QUIET: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_memory_monitor_refresh_ms": "0",
    "RAY_enable_metrics_collection": "0", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
}  # fmt: skip


class ObserverGoneError(RuntimeError):
    """The process that observes the cluster does not answer."""


@dataclass
class Node:
    """A machine with a raylet: what it was started with, and what is done to it now."""

    machine: Machine
    overlay: Mapping[str, str] = field(default_factory=dict)
    busy: str = ""
    """The fault that has the node in hand; empty if none has."""

    @property
    def name(self) -> str:
        return self.machine.name


@dataclass
class Cluster:
    """A head without cores, where the driver is started, and nodes of one core.

    Args:
        folder: a short path: sockets lie in it.
        network: where machines have namespaces of their own; None: all are on loopback addresses.
        kernels: compiled kernels, which all nodes but the `fresh` one have from the start.
        environment: what every process of the cluster has in its environment, beside Ray's own settings.
    """

    folder: Path
    network: Network | None
    environment: Mapping[str, str] = field(default_factory=dict)
    kernels: Path = Path()
    token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    port: int = 6379
    client_port: int = 10001
    nodes: dict[str, Node] = field(default_factory=dict)
    head: Machine | None = None
    observer: Observer | None = None
    fresh: str = "n4"
    generation: int = 0
    """How often the head was started."""

    @property
    def host(self) -> str:
        return self.network.address if self.network else "127.0.0.1"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self, count: int) -> None:
        """Start the head and `count` nodes, and wait until all have joined.

        Raises:
            TimeoutError: they have not, in several tries: Ray itself gives up where a machine is too busy.
        """
        for _ in range(MOST_TRIES):
            self._start_head()
            try:
                assert self.observer is not None
                self.observer.alive()
                break
            except ObserverGoneError:
                self.stop()
        for number in range(1, count + 1):
            self.add(f"n{number}")
        self.gather()

    def gather(self) -> None:
        """Wait until all nodes have joined; one that has ended is started again.

        Raises:
            TimeoutError: they have not.
        """
        end = time.monotonic() + START
        while time.monotonic() < end:
            for name, node in list(self.nodes.items()):
                if not node.machine.lives:
                    self.add(name)
            alive = self.alive()
            if all(alive.get(node.machine.address) for node in self.nodes.values()):
                return
            time.sleep(0.3)
        raise TimeoutError(f"{len(self.nodes)} nodes have not joined in {START:.0f} s")

    def _start_head(self) -> None:
        self.generation += 1
        if self.network is None:
            self.port, self.client_port = _free_port(), _free_port()
        inside = self.network.inside() if self.network else []
        self.head = Machine("head", self.host, None, self.folder / "head.log")
        ports = ["--port", str(self.port), "--include-dashboard=False"]
        if not client_is_missing():
            ports += ["--ray-client-server-port", str(self.client_port)]
        self.head.start(
            [*inside, *_ray_start(self.host, self.folder / f"h{self.generation}", 0), "--head", *ports],
            self.surroundings(),
        )
        self.observer = Observer(self)

    def add(self, name: str, overlay: Mapping[str, str] | None = None) -> Node:
        """Start a node; it joins a few seconds later.

        Args:
            name: its host's name too; a node of this name that lives is switched off.
            overlay: environment variables that only this node has; TMPDIR is a disk of few kilobytes.
        """
        if name in self.nodes:
            self.nodes[name].machine.kill()
        number = 10 + int(name[1:])
        address = f"{self.host.rsplit('.', 1)[0]}.{number}"
        machine = Machine(name, address, self.network, self.folder / f"{name}.log")
        node = Node(machine, overlay or {})
        cache = self.folder / "caches" / name
        if not cache.is_dir():
            cache.mkdir(parents=True)
            if self.kernels.is_dir() and name != self.fresh:
                half_written = shutil.ignore_patterns(f"{locks.PREFIX}*")
                shutil.copytree(self.kernels, cache / "kernels", ignore=half_written)
        own = {"HARNESS_DATA": str(cache), **({} if self.network else {"HARNESS_HOST": name}), **node.overlay}
        scratch = self.folder / f"{name}-{secrets.token_hex(3)}"
        disk = Path(node.overlay["TMPDIR"]) if "TMPDIR" in node.overlay else None
        machine.start(
            [*_ray_start(address, scratch, 1), "--address", self.address],
            {**self.surroundings(), **own},
            disk,
        )
        self.nodes[name] = node
        return node

    def remove(self, name: str) -> None:
        """Take a node out for good, at once."""
        self.nodes.pop(name).machine.kill()

    def surroundings(self) -> dict[str, str]:
        """Return the environment of every process of the cluster, the driver's too."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {
            **os.environ, **QUIET, **HEALTH, "PATH": path, "PYTHONPATH": str(CHECKOUT),
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_TMPDIR": str(self.folder),
            **self.environment,
        }  # fmt: skip

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs words where the head is."""
        return [*(self.network.inside() if self.network else []), *words]

    def alive(self) -> dict[str, bool]:
        """Return by address whether Ray counts the node as alive; unknown ones are missing."""
        assert self.observer is not None
        try:
            return self.observer.alive()
        except ObserverGoneError:
            self.observer.close()
            self.observer = Observer(self)
            return self.observer.alive()

    def counts_alive(self, node: Node) -> bool:
        """Tell whether Ray counts a node as alive."""
        return self.alive().get(node.machine.address, False)

    def stop(self) -> None:
        """Switch everything off."""
        if self.observer is not None:
            self.observer.close()
            self.observer = None
        for name in list(self.nodes):
            self.remove(name)
        if self.head is not None:
            self.head.kill()
            self.head = None
        for folder in self.folder.iterdir():
            if folder.is_dir() and folder.name != "caches":
                shutil.rmtree(folder, ignore_errors=True)


def _ray_start(address: str, scratch: Path, cores: int) -> list[str]:
    """Return the command that starts a raylet, but for which cluster it joins."""
    return [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address", address,
        "--num-cpus", str(cores), "--num-gpus", "0", "--object-store-memory", str(STORE),
        "--include-log-monitor=False", "--disable-usage-stats",
        "--temp-dir", str(scratch),
    ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def workers(node: Node) -> list[int]:
    """List the processes of a node in which actors of the harness live."""
    return node.machine.processes(WORKER)


class Observer:
    """A Ray driver of its own beside the head: it says which nodes live, and fills object stores."""

    def __init__(self, cluster: Cluster) -> None:
        command = cluster.command(
            sys.executable, str(Path(__file__).with_name("observing.py")), cluster.address
        )
        self._log = (cluster.folder / "observer.log").open("ab")
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            command,
            env=cluster.surroundings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def ask(self, patience: float = 60.0, **question: Any) -> Any:
        """Return the answer to a question; raises ObserverGoneError if there is none in time."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        try:
            requests.write(json.dumps(question).encode() + b"\n")
            requests.flush()
            return json.loads(_line(answers, patience))
        except (OSError, ValueError, TimeoutError) as error:
            raise ObserverGoneError(f"{question}: {error}") from error

    def alive(self) -> dict[str, bool]:
        """Return by address whether Ray counts the node as alive."""
        answer: dict[str, bool] = self.ask(START, do="nodes")
        return answer

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()


def _line(stream: IO[bytes], patience: float) -> bytes:
    """Read a line; raises TimeoutError where none comes in time, and at the end of the stream."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        if not selector.select(patience):
            raise TimeoutError(f"no answer in {patience:.0f} s")
    line = stream.readline()
    if not line:
        raise TimeoutError("it has ended")
    return line


def client_is_missing() -> bool:
    """Tell whether Ray cannot serve ray:// here, for which it needs grpcio."""
    tried = subprocess.run([sys.executable, "-c", "import grpc"], capture_output=True, check=False)
    return tried.returncode != 0


def ray_is_missing() -> str:
    """Return why no cluster can be started; empty if one can."""
    tried = subprocess.run([sys.executable, "-c", "import ray"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "Ray is not installed: pip install 'ray[client]'"

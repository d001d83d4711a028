"""The Ray cluster that a run trains on: found, joined and left again, with every failure in words."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from harness import notes
from harness.errors import MachineError, UsageError, in_words
from harness.system import signals
from harness.system.resources import WORKER_BYTES
from harness.text import count
from harness.training.cluster import internals, tokens

INSTALL = 'pip install "ray[client]"'
FORMS = "auto, local, local:CORES, HOST:PORT or ray://HOST:PORT"
CLIENT = "ray://"
REFUSED = "InvalidAuthToken"
"""Word of Ray's where a token is wrong or missing; its error says only that it cannot connect."""
STARTS = 3  # tries of a cluster of this process's own
LATE = "timed out during startup"
"""Words of Ray's where a node has not started within 30 s, as on a machine that is busy."""
LEFT_WITHIN = 20.0  # seconds for a connection to end
ANSWERS_WITHIN = 5.0  # seconds for an address to take a connection
OWN = {"include_dashboard": False, "object_store_memory": 200 * 2**20}
"""Options of a cluster that the harness starts: results pass through its object store, and what is more goes
to disk."""


@dataclass(frozen=True)
class ClusterNode:
    """A node of a cluster that is alive, and what it offers: cores, GPUs of a model, and bytes of memory."""

    node_id: str
    host: str
    address: str
    cores: int
    gpus: int
    memory: int
    gpu: str = ""

    @classmethod
    def of(cls, entry: dict[str, Any]) -> ClusterNode:
        """Read a row of Ray's table of nodes."""
        offered = entry.get("Resources", {})
        return cls(
            entry["NodeID"],
            entry.get("NodeManagerHostname", ""),
            entry.get("NodeManagerAddress", ""),
            int(offered.get("CPU", 0)),
            int(offered.get("GPU", 0)),
            int(offered.get("memory", 0)),
            next((name.partition(":")[2] for name in offered if name.startswith("accelerator_type:")), ""),
        )

    def __str__(self) -> str:
        return f"{self.host or self.address} (node {self.node_id[:8]})"


@dataclass(frozen=True)
class Connection:
    """A connection of this process to a cluster; `ray` is the module.

    The harness has started an `own` one itself, on this machine, for the run.
    """

    address: str
    ray: Any
    own: bool = False

    def nodes(self) -> list[ClusterNode]:
        """List the nodes that are alive by now."""
        return [ClusterNode.of(entry) for entry in self.ray.nodes() if entry["Alive"]]

    def on(self, node: ClusterNode) -> Any:
        """Return the scheduling strategy that places an actor on a node, and nowhere else."""
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        return strategies.NodeAffinitySchedulingStrategy(node.node_id, soft=False)

    def devices(self, device: str) -> list[str]:
        """Return the device that all nodes train on: "cuda:0", an actor's own, or "cpu".

        Raises:
            UsageError: no node has one.
        """
        found = self.nodes()
        gpus, without = sum(node.gpus for node in found), [node for node in found if not node.gpus]
        if device == "cuda" and not gpus:
            raise UsageError(f"--device cuda: no node of {self.address} has a GPU. Allowed: auto or cpu")
        if gpus and without:
            notes.warn_once(
                f"trains on GPUs alone: {len(without)} of {count(len(found), 'node')} have none and take no "
                "part. A GPU and a CPU have two kinds of float bits, which a run does not mix; --device cpu "
                "trains on the cores of all nodes"
            )
        return ["cuda:0"] if gpus else ["cpu"]

    def places(self, device: str) -> int:
        """Count the actors that train at once: one a core, or one a GPU, of every node."""
        return sum(offered(node, device) for node in self.nodes())


def offered(node: ClusterNode, device: str) -> int:
    """Count the actors that a node has room for: one a core, as far as its memory goes, or one a GPU."""
    if device != "cpu" or not node.memory:
        return node.cores if device == "cpu" else node.gpus
    return min(node.cores, max(1, node.memory // WORKER_BYTES))


_connections: list[Connection] = []
"""The cluster of the run in progress in this process, if it has one."""


def current() -> Connection:
    """Return the cluster that `connected` has joined."""
    return _connections[-1]


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster inside the block; with "" there is none, and nothing is done.

    A block within a block of the same address uses its connection. A connection that the program had before
    stays open after the block.

    Raises:
        UsageError: Ray is not installed, the address has another form, or this system has no clusters.
        MachineError: the cluster cannot be reached, or refuses this process.
    """
    if not address or (_connections and _connections[-1].address == address):
        yield
        return
    check_form(address)
    with _signals_kept():
        ray = imported()
        before = bool(ray.is_initialized())
        if not before:
            _join(ray, address)
    own = not before and starts_own(address)
    _connections.append(Connection(address, ray, own))
    logs = internals.logs(ray) if own else None
    try:
        yield
    except Exception:
        logs = None  # they may tell why
        raise
    finally:
        _connections.pop()
        if not before:
            _leave(ray)
        if logs is not None:
            shutil.rmtree(logs, ignore_errors=True)


def _leave(ray: Any) -> None:
    """Leave a cluster, for LEFT_WITHIN seconds at most: one whose head hangs does not say goodbye."""
    thread = threading.Thread(target=_shut_down, args=(ray,), daemon=True)
    with signals.interrupts_after():
        thread.start()
        thread.join(LEFT_WITHIN)
    if thread.is_alive():
        notes.warn(f"the cluster does not answer: its connection is given up after {LEFT_WITHIN:.0f} s")
        with suppress(Exception):
            atexit.unregister(ray._private.worker.shutdown)  # it would wait as long again


def _shut_down(ray: Any) -> None:
    with suppress(Exception):
        try:
            ray.shutdown(wait_for_processes=True)
        except TypeError:  # Ray's client, and Ray 2.59
            ray.shutdown()


def check_form(address: str) -> None:
    """Raise UsageError where an address has none of the forms, or a system cannot have what it names."""
    rest = address.partition(":")[2]
    if starts_own(address):
        if address == "local" or (rest.isdecimal() and int(rest) > 0):
            return
        raise UsageError(
            f"--cluster {address}: {rest!r} is no number of cores, from 1 on. Allowed: local, local:4"
        )
    if address != "auto" and _endpoint(address) is None:
        raise UsageError(f"--cluster {address!r}: allowed are {FORMS}")
    if sys.platform in {"win32", "darwin"} and not address.startswith(CLIENT):
        raise UsageError(
            f"--cluster {address}: Ray has no clusters of several nodes on {_system()}. Allowed: "
            "local:CORES, ray://HOST:PORT of a cluster on Linux, or shards (--shard), which need no engine"
        )


def starts_own(address: str) -> bool:
    """Tell whether an address asks for a cluster that is started for the run; "localhost:6379" is a host."""
    return address.partition(":")[0] == "local"


def _system() -> str:
    return "Windows" if sys.platform == "win32" else "macOS"


def _endpoint(address: str) -> tuple[str, int] | None:
    """Return the host and port of an address; None where it has another form."""
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        return None
    return host.strip("[]"), int(port)


def imported() -> Any:
    """Import Ray; raise UsageError, which says how to install it, where it is not."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    tokens.use()
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UsageError(
            f"--cluster needs Ray, which cannot be imported here ({in_words(error)}). Install it: {INSTALL}; "
            "or train without --cluster"
        ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handlers of signals that Ray replaces: its own would end the process without a word.

    A SIGTERM that came meanwhile is given to the one that was there.
    """
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def put_back() -> None:
        with suppress(ValueError):  # in another thread than the main one Ray has replaced none
            for number, handler in kept.items():
                signal.signal(number, handler)

    try:
        yield
    except SystemExit:  # of Ray's handler, which has ended what it had started
        put_back()
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        put_back()


def _join(ray: Any, address: str) -> None:
    """Start or join a cluster."""
    usual: dict[str, Any] = {
        "namespace": f"harness-{secrets.token_hex(4)}",
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    if own := starts_own(address):
        tokens.ensure()
        cores = address.partition(":")[2]
        started = {**usual, **OWN}
        usual = started | ({"num_cpus": int(cores)} if cores else {})
    else:
        _check_client(address)
        _check_reachable(address)
    for left in reversed(range(STARTS if own else 1)):
        try:
            _init(ray, address, usual)
        except MachineError as error:
            if not left or LATE not in str(error):
                raise
        else:
            return
        notes.warn(
            "Ray has not started on this machine, which is busy, within its half minute; it tries again"
        )


def _init(ray: Any, address: str, usual: Mapping[str, Any]) -> None:
    """Have Ray start or join a cluster; what it had started when it fails is ended."""
    own = starts_own(address)
    with internals.stderr_collected() as said:
        try:
            with internals.quiet(ray), internals.loopback(ray) if own else nullcontext():
                ray.init("local" if own else address, **usual)
        except BaseException as error:
            internals.end_started(error)
            with suppress(Exception):
                ray.shutdown()
            # Ray raises what its layers raise: ConnectionError, RuntimeError, ValueError
            if not isinstance(error, Exception):
                raise
            if isinstance(error, ray.exceptions.AuthenticationError) or REFUSED in f"{said()} {error}":
                raise MachineError(_refused(address)) from error
            refusal = _not_started if own else _unreachable
            raise refusal(address, first_line(error)) from error


def _refused(address: str) -> str:
    """Say that this process has not the token of a cluster."""
    given = next(
        (name for name in (tokens.TOKEN, tokens.TOKEN_PATH) if name in os.environ), "~/.ray/auth_token"
    )
    mode = os.environ.get(tokens.MODE, "")
    shown = f"another token than the cluster's (in {given})" if mode == "token" else "no token"
    return (
        f"the cluster {address} refuses this process, which shows {shown}. Give it the cluster's: "
        f"{tokens.MODE}=token, and {tokens.TOKEN_PATH} (a file), {tokens.TOKEN}, or ~/.ray/auth_token; "
        "on its head `ray get-auth-token` prints it. Nothing was trained"
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error of Ray's."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """Return the last line of an error of Ray's: after a remote traceback, that is the cause."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    return lines or [type(error).__name__]


def _unreachable(address: str, why: str) -> MachineError:
    return MachineError(
        f"no Ray cluster can be joined at {address}: {why}. Start one (`ray start --head` on one host, `ray "
        "start --address=HEAD:6379` on the others), or correct the address; nothing was trained"
    )


def _not_started(address: str, why: str) -> MachineError:
    return MachineError(
        f"--cluster {address}: Ray does not start on this machine: {why}. It gives up where a machine is too "
        "busy for half a minute, has too little memory, or a full /tmp; the same command tries again, and "
        "without --cluster it trains on all cores. Nothing was trained"
    )


def _check_client(address: str) -> None:
    """Raise UsageError where an address needs Ray's client, and that is not installed."""
    if address.startswith(CLIENT) and importlib.util.find_spec("grpc") is None:
        raise UsageError(
            f"--cluster {address}: Ray's client is not installed. Install it here, and where its head "
            'runs: pip install "ray[client]"; or run on a node of the cluster, with --cluster auto'
        )


def _check_reachable(address: str) -> None:
    """Raise MachineError at once where nothing listens at an address: Ray itself would try for minutes."""
    endpoint = _endpoint(address)
    if endpoint is None:
        return
    try:
        with closing(socket.create_connection(endpoint, ANSWERS_WITHIN)):
            pass
    except OSError as error:
        raise _unreachable(address, in_words(error)) from error

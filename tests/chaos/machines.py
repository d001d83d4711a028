"""Machines within this machine: processes in network, PID, mount and host-name namespaces of their own.

Where the system allows no namespaces, a machine is the processes that a start of its own has begotten, which
are known by a variable of their environment; then there is no network to cut.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MARK = "CHAOS_MACHINE"
"""The environment variable by which the processes of a machine are known."""
BRIDGE, SUBNET = "br0", "10.77.0"
SMALL_DISK = "48k"
WAIT = 60.0  # seconds for a process to appear or to vanish
NAMESPACES = ("--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts")


def no_namespaces() -> str:
    """Return why this machine allows no namespaces and no bridge; empty if it does."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        return f"{missing[0]} is not installed"
    script = f"ip link add {BRIDGE} type bridge && ip link add v0 type veth peer name v1"
    tried = subprocess.run(
        ["unshare", *NAMESPACES, "sh", "-c", script], capture_output=True, text=True, check=False
    )
    lines = tried.stderr.strip().splitlines()
    return "" if tried.returncode == 0 else lines[-1] if lines else f"exit code {tried.returncode}"


def no_slow_network() -> str:
    """Return why no network here can be made slow; empty if one can."""
    if reason := no_namespaces():
        return reason
    if shutil.which("tc") is None:
        return "tc is not installed"
    script = "ip link add v0 type veth peer name v1 && tc qdisc add dev v0 root netem delay 10ms"
    tried = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else "the kernel has no netem"


def processes(value: str) -> list[int]:
    """List the processes that have MARK=value in their environment."""
    wanted = f"{MARK}={value}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def name_of(pid: int) -> str:
    """Return the name that a process gave itself, such as ray::RayActor.run; empty if it is gone."""
    try:
        return (
            (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""


@dataclass
class Network:
    """A bridge in a namespace of its own, which holds for as long as this process lives."""

    holder: subprocess.Popen[bytes]
    links: dict[str, str] = field(default_factory=dict)
    """Of a machine: its cable's end at the bridge."""

    @classmethod
    def started(cls) -> Network:
        """Start the network; its own address is the first of the subnet."""
        holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        _until_apart(holder.pid)
        network = cls(holder)
        network.ip(
            "link set lo up", f"link add {BRIDGE} type bridge", f"addr add {network.address}/24 dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )  # fmt: skip
        return network

    @property
    def address(self) -> str:
        return f"{SUBNET}.1"

    def inside(self, pid: int | None = None) -> list[str]:
        """Return the words that run a command within the network, or within a machine's end of it."""
        return ["nsenter", f"--net=/proc/{pid or self.holder.pid}/ns/net"]

    def ip(self, *lines: str, pid: int | None = None) -> None:
        """Run lines of `ip`."""
        subprocess.run(
            [*self.inside(pid), "ip", "-batch", "-"], input="\n".join(lines), text=True, check=True,
            capture_output=True,
        )  # fmt: skip

    def join(self, name: str, address: str, pid: int) -> None:
        """Connect a machine's namespace, which is that of the process `pid`."""
        link = f"v{uuid.uuid4().hex[:8]}"
        self.ip(
            f"link add {link} type veth peer name eth0 netns {pid}", f"link set {link} master {BRIDGE}",
            f"link set {link} up",
        )  # fmt: skip
        self.ip("link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up", pid=pid)
        self.links[name] = link

    def cut(self, name: str) -> None:
        """Pull a machine's cable."""
        self.ip(f"link set {self.links[name]} down")

    def restore(self, name: str) -> None:
        """Plug a machine's cable in again; nothing happens if the machine is gone."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.ip(f"link set {self.links[name]} up")

    def slow(self, name: str, words: Sequence[str]) -> None:
        """Make a machine's cable slow or lossy, by the words of netem; none: as it was."""
        ending = ["netem", *words] if words else []
        verb = "replace" if words else "del"
        command = [*self.inside(), "tc", "qdisc", verb, "dev", self.links[name], "root", *ending]
        subprocess.run(command, check=bool(words), capture_output=True)

    def close(self) -> None:
        """Take the network down, once all machines are gone."""
        self.holder.kill()
        self.holder.wait()


@dataclass
class Machine:
    """One machine and what runs on it."""

    name: str
    address: str
    network: Network | None
    log: Path
    first: subprocess.Popen[bytes] | None = None
    mark: str = ""

    def start(self, command: Sequence[str], environment: Mapping[str, str], disk: Path | None = None) -> None:
        """Start the machine's first process, which writes into its log; its end is the machine's end.

        Args:
            command: what it runs.
            environment: all of its environment.
            disk: a folder that is a disk of a few kilobytes, to this machine alone.
        """
        self.mark = f"{self.name}-{uuid.uuid4().hex[:12]}"
        surroundings = {**environment, MARK: self.mark}
        mount = f"mount -t tmpfs -o size={SMALL_DISK} tmpfs {disk}; " if disk else ""
        script = f'read -r _; hostname {self.name}; {mount}exec "$@"'
        apart = ["unshare", *NAMESPACES, "sh", "-c", script, "sh"] if self.network else []
        with self.log.open("ab") as log:
            self.first = subprocess.Popen(
                [*apart, *command], env=surroundings, stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        if self.network is not None and self.first.stdin is not None:
            _until_apart(self.first.pid)
            self.network.join(self.name, self.address, self.first.pid)
            self.first.stdin.write(b"\n")
            self.first.stdin.flush()

    @property
    def lives(self) -> bool:
        return self.first is not None and self.first.poll() is None

    def processes(self, words: str = "") -> list[int]:
        """List the machine's processes, or those whose command line has these words."""
        return [pid for pid in processes(self.mark) if words in name_of(pid)] if self.mark else []

    def signal(self, number: int, words: str = "") -> int:
        """Send a signal to all of the machine's processes, or to some; returns to how many."""
        reached: set[int] = set()
        while True:  # what is suspended or killed starts no more processes
            fresh = set(self.processes(words)) - reached
            if not fresh:
                return len(reached)
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            reached |= fresh

    def kill(self) -> None:
        """Switch the machine off: every process of it is killed at once."""
        if self.first is None:
            return
        self.first.kill()  # and with it its PID namespace
        self.first.wait()
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            left = self.processes()
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        if self.first.stdin is not None:
            self.first.stdin.close()
        self.first = None


def _until_apart(pid: int) -> None:
    """Wait until a process is in a network namespace of its own."""
    own, end = Path("/proc/self/ns/net").readlink(), time.monotonic() + WAIT
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/ns/net").readlink() != own:
                return
        time.sleep(0.01)
    raise TimeoutError(f"process {pid} has no network namespace of its own after {WAIT:.0f} s")


@contextlib.contextmanager
def network() -> Iterator[Network | None]:
    """A network for machines; None where namespaces are not allowed."""
    if no_namespaces():
        yield None
        return
    bridge = Network.started()
    try:
        yield bridge
    finally:
        bridge.close()

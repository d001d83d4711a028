"""The scripts of `harness cluster`, run as they stand: with stand-ins of other programs, and with Ray."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from harness.registry import PACKAGE_ROOT
from harness.training.cluster import recipes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the recipes are shell scripts")
LOG = 'echo "$(basename "$0") $*" >> "$LOG"\n'
STAND_INS = {
    # A host is a folder, which is its home; it has the same programs.
    "ssh": LOG + 'mkdir -p "$HOSTS_HOME/$1"\nHOME="$HOSTS_HOME/$1" sh -c "$2"\n',
    "ray": LOG
    + """if [ "$1" = symmetric-run ] && [ -z "${RAY_FAILS:-}" ]; then
    stat -c %a "$RAY_AUTH_TOKEN_PATH" >> "$LOG"
    while [ "$1" != -- ]; do shift; done
    shift
    "$@"
fi
""",
    "srun": LOG + 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "scontrol": LOG + 'if [ "$1" = show ]; then echo alpha; echo beta; fi\n',
    # Whoever is told to stop keeps its checkpoints and ends with 143.
    "harness": LOG
    + """trap 'echo "kept checkpoints" >> "$LOG"; exit 143' TERM
touch "$LOG.trains"
for _ in $(seq "${TRAINS:-0}"); do sleep 0.1; done
exit "${CODE:-0}"
""",
    "python": f'exec {shlex.quote(sys.executable)} "$@"\n',
}


class Place:
    """A folder with stand-ins of programs, in which a script is run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        for name, text in STAND_INS.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\n{text}")
            path.chmod(0o755)

    def start(self, script: str, **settings: str) -> subprocess.Popen[str]:
        path = self.folder / "script.sh"
        path.write_text(script)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        environment |= {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "LOG": str(self.log),
            "HOME": str(self.folder), "HOSTS_HOME": str(self.folder), "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "alpha,beta", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "3",
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", str(path)], cwd=self.folder, env=environment | settings, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, script: str, seconds: float = 60, **settings: str) -> tuple[int, str]:
        process = self.start(script, **settings)
        said, _ = process.communicate(timeout=seconds)
        return process.returncode, said

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# ------------------------------------------------------------------------------------- hosts that ssh reaches


def test_hosts_get_the_token_then_ray_then_the_study_is_checked_and_trained(place: Place) -> None:
    code, said = place.run(recipes.ray("choices", "10.0.0.1", ["node2", "node3"]))
    assert code == 0, said
    tokens = [place.folder / ".ray/auth_token", *(place.folder / f"node{i}/.ray/auth_token" for i in (2, 3))]
    assert len({path.read_text() for path in tokens}) == 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in tokens} == {0o600}
    started = [call for call in place.calls if not call.startswith("ssh")]
    assert started == [
        "ray start --head --node-ip-address=10.0.0.1 --port=6379 --include-dashboard=false",
        *["ray start --address=10.0.0.1:6379"] * 2,
        "harness cluster check 10.0.0.1:6379 choices",
        "harness run choices --cluster 10.0.0.1:6379",
        *["ray stop"] * 3,
    ]


def test_ray_is_stopped_and_the_code_of_the_run_is_passed_on(place: Place) -> None:
    code, said = place.run(recipes.ray("choices", "10.0.0.1", ["node2"]), CODE="2")
    assert code == 2, said
    assert "harness run choices --cluster 10.0.0.1:6379" not in place.calls, "the check has refused"
    assert place.calls[-1] == "ray stop"
    assert place.calls.count("ray stop") == 2


def test_a_token_that_is_there_stays(place: Place) -> None:
    (place.folder / ".ray").mkdir()
    (place.folder / ".ray" / "auth_token").write_text("a" * 64)
    code, said = place.run(recipes.ray("choices", "10.0.0.1", ["node2"]))
    assert code == 0, said
    assert (place.folder / "node2/.ray/auth_token").read_text() == "a" * 64


# ----------------------------------------------------------------------------------------------------- Slurm


@pytest.fixture
def batch() -> str:
    return recipes.slurm("choices", 2, 3, 0, "01:00:00")


def left(place: Place) -> list[str]:
    """The hidden files of the batch script that are still there."""
    return [path.name for path in place.folder.glob(".*-7")]


def test_a_batch_script_has_a_token_of_its_own_and_trains_on_the_first_node(place: Place, batch: str) -> None:
    code, said = place.run(batch)
    assert code == 0, said
    assert place.calls[0] == "scontrol show hostnames alpha,beta"
    assert place.calls[2].startswith("ray symmetric-run --address alpha:6379 --min-nodes 2 --num-cpus=3 ")
    assert place.calls[3:] == ["600", "harness run choices --cluster auto"]
    assert left(place) == []


def test_a_signal_comes_to_the_run_alone_and_the_allocation_is_asked_for_again(
    place: Place, batch: str
) -> None:
    process = place.start(batch, TRAINS="300")
    for _ in range(300):
        if (place.folder / "log.trains").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert place.calls[-2:] == ["kept checkpoints", "scontrol requeue 7"]
    assert left(place) == []


def test_the_code_of_a_failed_run_is_passed_on_and_nothing_is_requeued(place: Place, batch: str) -> None:
    assert place.run(batch, CODE="2")[0] == 2
    assert "scontrol requeue 7" not in place.calls


def test_a_cluster_that_does_not_start_is_a_failure(place: Place, batch: str) -> None:
    code, said = place.run(batch, RAY_FAILS="1")  # Ray itself ends with 0 then
    assert code == 1
    assert "nothing was trained" in said


def test_ray_takes_the_options_of_the_batch_script(batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = pytest.importorskip("ray.scripts.symmetric_run")
    joined = batch.replace("\\\n", " ")
    line = next(line for line in joined.splitlines() if "symmetric-run" in line and not line.startswith("#"))
    words = shlex.split(line.partition("symmetric-run")[2].partition(" -- ")[0])
    monkeypatch.setattr(scripts.sys, "argv", ["ray", *words])
    passed = scripts.curate_and_validate_ray_start_args(words)
    assert passed == ["--num-cpus=$SLURM_CPUS_PER_TASK", "--include-dashboard=false"]


# --------------------------------------------------------------------------------------------------- with Ray

REAL = """
# Ray itself, in a process group of its own, which stop ends: `ray stop` would end everybody's.
case $1 in
start)
    shift
    folder=""
    case $1 in --head) folder=--temp-dir=$RAY_FOLDER ;; esac
    setsid nohup "$RAY_ITSELF" start --block --num-cpus=1 --object-store-memory=83886080 $folder "$@" \
        > "$LOG.$$" 2>&1 < /dev/null &
    echo $! >> "$LOG.groups"
    for _ in $(seq 600); do
        if grep -q "Ray runtime started" "$LOG.$$"; then exit 0; fi
        sleep 0.2
    done
    cat "$LOG.$$" >&2
    exit 1 ;;
stop)
    while read -r group; do kill -9 -- "-$group" 2> /dev/null || true; done < "$LOG.groups" ;;
esac
"""
STUDY = """
[study]
name = "small"
seeds = 1
[baseline]
dataset = "digits"
hidden = [4]
steps = 20
[axes]
lr = [0.1, 0.2]
"""


@pytest.fixture
def real(place: Place) -> Iterator[Place]:
    """Give a place whose ray is Ray, and whose harness is the harness."""
    (place.folder / "bin" / "ray").write_text(f"#!/bin/sh\n{LOG}{REAL}")
    harness = f'{LOG}exec {shlex.quote(sys.executable)} -m harness "$@"\n'
    (place.folder / "bin" / "harness").write_text(f"#!/bin/sh\n{harness}")
    (place.folder / "small.toml").write_text(STUDY)
    yield place
    groups = place.folder / "log.groups"
    for group in groups.read_text().split() if groups.exists() else ():
        with suppress(ProcessLookupError):
            os.killpg(int(group), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Ray has clusters of several nodes on Linux alone")
def test_the_script_trains_a_study_on_two_nodes_that_it_starts(real: Place) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    itself = str(Path(sys.executable).with_name("ray"))
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        script = recipes.ray("small.toml", "127.0.0.2", ["node2"], port)
        places = {"RAY_ITSELF": itself, "RAY_FOLDER": folder, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
        code, said = real.run(script, 600, **places, RAY_raylet_start_wait_time_s="150")
    assert code == 0, said
    assert "2 nodes, 2 cores" in said
    assert said.count("would train the study") == 2
    assert "2 ok" in said
    assert len(pd.read_csv(real.folder / "results/small/trials.csv")) == 2
    assert real.calls[-2:] == ["ray stop", "ray stop"]

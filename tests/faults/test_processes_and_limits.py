"""Processes and the limits of a machine: what is granted, workers, locks, signals, output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import bounds, grants, training
from harness.cli import harness as command
from harness.study import Study

Make = Callable[..., Study]
GB = 2**30
STUDY = """[study]
name = "small"
seeds = 2
[baseline]
dataset = "digits"
hidden = [8]
epochs = 1
"""


# ------------------------------------------------------------------------ what a container or a job grants


def tree(root: Path, files: Mapping[str, object]) -> Path:
    """Write a root folder's proc/ and sys/, file by file; a number is written as a line."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


MACHINE = {"proc/meminfo": f"MemTotal: {64 * 2**20} kB\nMemAvailable: {32 * 2**20} kB"}
V2 = "sys/fs/cgroup"
SELF = {"proc/self/cgroup": "0::/"}
LIMITS: dict[str, tuple[dict[str, object], int, int | None, int]] = {
    # name: files, cores of 8, limit of memory, memory left
    "no groups": ({}, 8, None, 32 * GB),
    "v2, container": (
        {"proc/self/cgroup": "0::/", f"{V2}/cpu.max": "200000 100000", f"{V2}/memory.max": 8 * GB,
         f"{V2}/memory.current": 5 * GB, f"{V2}/memory.stat": f"anon 1\ninactive_file {2 * GB}"},
        2, 8 * GB, 5 * GB,
    ),
    "v2, the group above has less": (
        {"proc/self/cgroup": "0::/job/step", f"{V2}/job/step/cpu.max": "max 100000",
         f"{V2}/job/step/memory.max": "max", f"{V2}/job/cpu.max": "150000 50000",
         f"{V2}/job/memory.max": 4 * GB, f"{V2}/job/memory.current": GB},
        3, 4 * GB, 3 * GB,
    ),
    "v2, a share of a core": (SELF | {f"{V2}/cpu.max": "50000 100000"}, 1, None, 32 * GB),
    "v2, two and a half cores": (SELF | {f"{V2}/cpu.max": "250000 100000"}, 3, None, 32 * GB),
    "v2, the host's path": (
        {"proc/self/cgroup": "0::/../../kubepods/pod1", f"{V2}/cpu.max": "100000 100000"}, 1, None, 32 * GB
    ),
    "v1": (
        {"proc/self/cgroup": "4:memory:/slurm/job_1\n3:cpu,cpuacct:/slurm/job_1",
         f"{V2}/cpu,cpuacct/slurm/job_1/cpu.cfs_quota_us": 400000,
         f"{V2}/cpu,cpuacct/slurm/job_1/cpu.cfs_period_us": 100000,
         f"{V2}/memory/slurm/job_1/memory.limit_in_bytes": 6 * GB,
         f"{V2}/memory/slurm/job_1/memory.usage_in_bytes": 4 * GB,
         f"{V2}/memory/slurm/job_1/memory.stat": f"inactive_file {GB}\ntotal_inactive_file {GB}"},
        4, 6 * GB, 3 * GB,
    ),
    "v1, the host's path, no limit of memory": (
        {"proc/self/cgroup": "4:memory:/docker/ab12\n3:cpu:/docker/ab12",
         f"{V2}/cpu/cpu.cfs_quota_us": 100000,
         f"{V2}/cpu/cpu.cfs_period_us": 100000, f"{V2}/memory/memory.limit_in_bytes": 2**63 - 4096,
         f"{V2}/memory/memory.usage_in_bytes": GB},
        1, None, 32 * GB,
    ),
    "v1, no quota": (
        {"proc/self/cgroup": "3:cpu:/", f"{V2}/cpu/cpu.cfs_quota_us": -1,
         f"{V2}/cpu/cpu.cfs_period_us": 100000},
        8, None, 32 * GB,
    ),
    "full": (
        {"proc/self/cgroup": "0::/", f"{V2}/memory.max": GB, f"{V2}/memory.current": 2 * GB}, 8, GB, 0
    ),
    "nonsense": (
        {"proc/self/cgroup": "nonsense", f"{V2}/cpu.max": "many", f"{V2}/memory.max": "9" * 5000},
        8, None, 32 * GB,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_cores_and_memory_are_what_the_groups_grant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files, cores, limit, left = LIMITS[name]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    root = tree(tmp_path, MACHINE | files)
    assert grants.cores(root) == cores
    assert grants.memory_limit(root) == limit
    assert grants.memory_left(root) == left


def test_plan_and_run_take_as_many_workers_as_are_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    files = {"proc/self/cgroup": "0::/", f"{V2}/cpu.max": "300000 100000", f"{V2}/memory.max": 4 * GB}
    monkeypatch.setattr(grants, "ROOT", tree(tmp_path / "root", MACHINE | files))
    (tmp_path / "small.toml").write_text(STUDY)
    done = CliRunner().invoke(
        command, ["plan", str(tmp_path / "small.toml"), "--results", str(tmp_path / "r")]
    )
    assert "on 3 cores" in done.output
    assert training.affordable(64, []) == 4  # of 0.9 GB each
    assert bounds.memory() <= 4 * GB

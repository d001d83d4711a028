"""The recipes of docs/recipes, as they stand: with a scheduler, hosts and machines that are played here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from shard_rows import rows

from harness.registry import PACKAGE_ROOT
from harness.results import checkpoints
from harness.study.reading import load
from harness.training import runs

ROOT = PACKAGE_ROOT.parent
RECIPES = ROOT / "docs" / "recipes"
STAND_INS = {
    "harness": "-m harness",
    "sbatch": f"{ROOT}/tests/slurm_stand_in.py sbatch",
    "scontrol": f"{ROOT}/tests/slurm_stand_in.py scontrol",
    "parallel": f"{ROOT}/tests/parallel_stand_in.py",
}
STUDY = {
    "study": {"name": "long", "seeds": 2},
    "baseline": {
        "dataset": "digits",
        "epochs": 150,
        "hidden": [64],
        "batch_size": 8,
        "eval_every": "50 epochs",
    },
    "axes": {"activation": ["relu", "tanh"]},
}
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the recipes are for Bash")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "study.toml"
    path.write_bytes(tomli_w.dumps(STUDY).encode())
    return path


@pytest.fixture(scope="module")
def whole(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    runs.train(load(study), folder, device="cpu", workers=1, bits="portable")
    return folder


@pytest.fixture
def place(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the study, and the stand-ins before everything else on the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in STAND_INS.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SHARDS", "2")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("study.toml").write_bytes(study.read_bytes())
    return tmp_path / "work"


def merged_is(whole: Path, out: Path) -> bool:
    return all(rows(out, table) == rows(whole, table) for table in ("trials", "epochs", "confusion"))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("place")
def test_a_slurm_array_goes_on_after_its_time_limit(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_PREEMPTED", "2")
    monkeypatch.setenv("STAND_IN_WHEN", "results/long-shard-%a-of-2/trials.csv")
    script = str(RECIPES / "slurm-array.sh")
    done = run("sbatch", "--array=1-2", script, "study.toml", "--workers", "1", "--bits", "portable")
    logs = [Path(f"shard-{i}.log").read_text() for i in (1, 2)]
    assert done.returncode == 0, (done, logs)
    assert "interrupted" not in logs[0]
    assert logs[1].count("interrupted: what is finished is kept") == 1
    assert (
        run("harness", "merge", *map(str, sorted(Path("results").iterdir())), "--out", "all").returncode == 0
    )
    assert merged_is(whole, Path("all"))


@pytest.mark.usefixtures("place")
def test_a_slurm_array_trains_single_shards_of_the_same_count() -> None:
    script = str(RECIPES / "slurm-array.sh")
    done = run("sbatch", "--array=2", script, "study.toml", "--set", "epochs=1", "--workers", "1")
    assert done.returncode == 0, Path("shard-2.log").read_text()
    assert [path.name for path in Path("results").iterdir()] == ["long-shard-2-of-2"]


def test_hosts_train_what_others_have_lost(whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = place.parent / "hosts"
    (hosts / "a").mkdir(parents=True)
    (hosts / "a" / "down").touch()
    monkeypatch.setenv("STAND_IN_HOSTS", str(hosts))
    Path("study.toml").write_text(
        Path("study.toml").read_text().replace('name = "long"', 'name = "long" # ..')
    )
    script = str(RECIPES / "parallel-ssh.sh")
    done = run("bash", script, "study.toml", "a", "b")
    assert done.returncode == 0, done
    assert "a 1 255" in Path("long.joblog").read_text()
    folders = sorted(map(str, Path("results").iterdir()))
    assert folders == ["results/long-shard-1-of-2", "results/long-shard-2-of-2"]
    assert (
        run("bash", script, "study.toml", "a").returncode == 0
    )  # nothing is left to do, on a host that is down
    assert run("harness", "merge", *folders, "--out", "all").returncode == 0
    assert merged_is(whole, Path("all"))


def test_a_spot_machine_goes_and_the_next_goes_on(whole: Path, place: Path) -> None:
    """The first machine gets SIGTERM while it trains; the second has only what the first has kept outside."""
    command = ["bash", str(RECIPES / "spot.sh"), str(place / "kept"), str(place / "study.toml"), "1/1"]
    for machine in ("first", "second"):
        (place / machine).mkdir()
    first = subprocess.Popen(
        [*command, "--workers", "1", "--verbose"], cwd=place / "first", stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert first.stdout is not None
    assert any("epoch 50" in line for line in first.stdout)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=100)
    assert first.returncode == 143
    (kept,) = (place / "kept" / checkpoints.FOLDER).glob("*.safetensors")
    assert checkpoints.opened(kept)[2].step >= 50
    second = subprocess.run(
        [*command, "--workers", "1"], cwd=place / "second", capture_output=True, text=True, check=False
    )
    assert second.returncode == 0, second
    assert "1 stack goes on from a checkpoint" in second.stdout + second.stderr
    assert merged_is(whole, place / "kept")


@pytest.mark.usefixtures("place")
def test_a_ci_trains_a_shard_in_each_of_its_runners(whole: Path) -> None:
    """Its commands run here, those of the matrix once a number; its actions copy folders."""
    import yaml

    jobs = yaml.safe_load((RECIPES / "ci-matrix.yml").read_text())["jobs"]
    shard, merge = (
        {step["name"]: step["run"] for step in job["steps"] if "name" in step} for job in jobs.values()
    )
    numbers = jobs["shard"]["strategy"]["matrix"]["number"]
    commands = [re.sub(r"\$\{\{ matrix\.number \}\}", str(number), shard["train"]) for number in numbers]
    assert len(commands) == 4
    for number, command in zip(numbers, commands, strict=True):
        assert run("bash", "-ec", command).returncode == 0
        Path("shards").mkdir(exist_ok=True)
        Path(f"shard-{number}").rename(f"shards/shard-{number}")
    for name in ("merge", "report"):
        done = run("bash", "-ec", merge[name])
        assert done.returncode == 0, done
    assert merged_is(whole, Path("results/study"))
    assert Path("results/study/report.html").is_file()

"""The program for a GPU: its words where there is none, its files when a part fails. Nothing is timed."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import gpu
import gpu_parts
import pytest
import torch
from gpu import Part, Writer
from gpu_parts import Row

from harness.data.batches import Budget

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def program(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, gpu.__file__, *options]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )


@WITHOUT_GPU
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    done = program("--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stdout.startswith(
        f"no GPU: PyTorch {torch.__version__} finds no GPU here. Nothing was measured"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "jax,jacks"], "--only jacks: no such part; allowed: tests, graphs, resident, jax, labs"),
        (["--dry-run", "cpu"], "--dry-run writes no reference results: name another folder by --out"),
    ],
)
def test_wrong_options_are_told(options: list[str], words: str) -> None:
    done = program(*options)
    assert done.returncode == 2
    assert words in done.stderr


def row(system: str, trials: int, rate: float, optimizer: str = "sgd") -> dict[str, Any]:
    return dict.fromkeys(gpu.COLUMNS, 0) | {
        "system": system, "form": "", "optimizer": optimizer, "extrapolated": "", "trials": trials,
        "trials_a_second": rate,
    }  # fmt: skip


def test_rows_of_a_part_that_is_cut_or_fails_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part that hangs after its first row, one that ends in an error, and one that goes through."""
    writer = Writer(tmp_path / "out")
    tell = "import json, sys, time; print(json.dumps({!r}), flush=True); "
    ends = {"graphs": "time.sleep(60)", "jax": "sys.exit('no GPU memory is left')", "labs": "print('fine')"}
    went = [
        gpu.run_part(
            Part(name, 1, name), [sys.executable, "-c", tell.format(row(name, 256, 3.0)) + end],
            dict(os.environ), 2, writer,
        )
        for name, end in ends.items()
    ]  # fmt: skip
    assert went == [False, False, True]
    assert "stopped at its limit" in capsys.readouterr().out
    rows, parts = table(tmp_path / "out" / "rows.csv"), table(tmp_path / "out" / "parts.csv")
    assert len(rows) == 4
    assert [one[0] for one in rows[1:]] == list(ends)
    assert [part[:2] for part in parts[1:]] == [
        ["graphs", "stopped at its limit of 2 s"], ["jax", "failed with exit status 1"], ["labs", "done"]
    ]  # fmt: skip
    assert [part[3] for part in parts[1:]] == ["", "no GPU memory is left", "fine"]


GRAPHS, JAX, LABS = (Part(name, 1, name) for name in ("graphs", "jax", "labs"))


def test_parts_that_are_not_measured_anew_keep_their_rows(tmp_path: Path) -> None:
    """JAX gets a new row, the graphs fail at once, and the loops are not asked for."""
    first = Writer(tmp_path, {"device": "G, 80 GB", "revision": "1"})
    for part, system in ((GRAPHS, "graphs"), (JAX, "jax"), (JAX, "jax"), (LABS, "labs cpu")):
        first.row(part, row(system, 256, 1.5))
        first.part(part, "done", 1, "")
    second = Writer(tmp_path, {"device": "G, 80 GB", "revision": "2"})
    second.row(JAX, row("jax", 256, 2.5))
    second.part(JAX, "done", 2, "")
    second.part(GRAPHS, "failed with exit status 1", 3, "no memory")
    rows = table(tmp_path / "rows.csv")
    assert rows[0] == [*gpu.COLUMNS, *gpu.ABOUT]
    rates, revisions = rows[0].index("trials_a_second"), rows[0].index("revision")
    assert [(one[0], float(one[rates]), one[revisions]) for one in rows[1:]] == [
        ("graphs", 1.5, "1"), ("labs cpu", 1.5, "1"), ("jax", 2.5, "2")
    ]  # fmt: skip
    assert [(one[0], one[1]) for one in table(tmp_path / "parts.csv")[1:]] == [
        ("labs", "done"),
        ("jax", "done"),
        ("graphs", "failed with exit status 1; rows.csv has those of an earlier call"),
    ]
    told = gpu.summary(Writer(tmp_path, {"device": "G, 80 GB"}).here())
    assert told[0] == "rows of 2 revisions, which rows.csv names"
    assert (
        "K = 256, trials of 10 epochs a second: graphs 1.5, labs cpu 1.5, jax 2.5; graphs / jax 0.6"
        in told[2]
    )


def test_rows_of_another_device_are_kept_and_not_compared(tmp_path: Path) -> None:
    Writer(tmp_path, {"device": "A"}).row(GRAPHS, row("graphs", 256, 1.0))
    second = Writer(tmp_path, {"device": "B"})
    second.row(JAX, row("jax", 256, 2.0))
    assert [one["system"] for one in second.here()] == ["jax"]
    assert len(table(tmp_path / "rows.csv")) == 3


class Known:
    """A group whose steps take a known time of a clock that stands still otherwise."""

    def __init__(self, clock: list[float], step: float) -> None:
        self.clock, self.step = clock, step

    def train(self, steps: int) -> None:
        self.clock[0] += self.step * steps

    def evaluate(self, split: str) -> list[float]:
        self.clock[0] += len(split)
        return []


def test_of_jaxs_layouts_the_faster_is_measured_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def too_large() -> Known:
        raise RuntimeError("no memory")

    starts = {
        "slow": lambda: Known(clock, 3.0), "fast": lambda: Known(clock, 2.0), "large": too_large
    }  # fmt: skip
    work = gpu_parts.DRY.work("sgd", 3)
    found = gpu_parts.fastest("jax", work, starts, gpu_parts.DRY)
    assert (found.form, found.step, found.table()["form"]) == ("fast", 2.0, "fast")
    assert "jax, large: no memory" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="none of large runs"):
        gpu_parts.fastest("jax", work, {"large": too_large}, gpu_parts.DRY)


def test_ratios_are_of_the_same_cell_and_of_the_faster_loop() -> None:
    rows = [
        row("graphs", 256, 100), row("resident", 256, 300), row("jax", 256, 50), row("resident", 1024, 400),
        row("jax", 1024, 40, "adam"), row("labs cpu", 1, 0.5), row("labs cuda", 1, 0.25),
    ]  # fmt: skip
    head, first, second, third = gpu.summary(rows)
    assert head == "the faster DataLoader loop: 0.5 trials/s"
    assert "resident / graphs 3; resident / jax 6; graphs / jax 2; graphs / loop 200" in first
    assert second.endswith("resident 400; resident / loop 800")
    assert third.startswith("adam, K = 1,024")
    assert gpu.summary([]) == ["nothing was measured"]


def test_images_are_taken_plain_or_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "given" / "mnist"
    given.mkdir(parents=True)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "given"))
    first, *others = gpu.FILES
    (given / first).write_bytes(b"plain")
    assert gpu.take_images(tmp_path / "a").endswith(f"has no mnist/{others[0]} (or .gz)")
    for name in others:
        (given / f"{name}.gz").write_bytes(gzip.compress(name.encode()))
    assert gpu.take_images(tmp_path / "b") == ""
    assert (tmp_path / "b/mnist" / first).read_bytes() == b"plain"
    assert (tmp_path / "b/mnist" / others[1]).read_bytes() == others[1].encode()
    monkeypatch.delenv("HARNESS_DATA")
    assert gpu.take_images(tmp_path / "c").startswith("HARNESS_DATA is not set")


def test_wheels_are_importable_without_an_installation(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "brought-1-py3-none-any.whl", "w") as archive:
        archive.writestr("brought/__init__.py", "answer = 42")
    gpu.take_wheels(tmp_path, tmp_path / "to")
    done = subprocess.run(
        [sys.executable, "-c", "import brought; print(brought.answer)"], check=True, capture_output=True,
        text=True, env=gpu.environment(tmp_path / "to", tmp_path),
    )  # fmt: skip
    assert done.stdout == "42\n"


def test_a_rows_trials_a_second_by_hand() -> None:
    work = gpu_parts.DRY.work("sgd", 4)
    told = Row("resident", work, step=0.5, evaluation=2.0, tested=3.0, steps=7).table()
    assert list(told) == list(gpu.COLUMNS)
    assert told["trials_a_second"] == pytest.approx(4 / (work.steps * 0.5 + 11 * 2.0 + 3.0))
    assert told["trials_a_second_steps_alone"] == pytest.approx(4 / (work.steps * 0.5))


def test_its_trials_are_those_of_the_benchmark() -> None:
    work = gpu_parts.FULL.work("adam", 5)
    trials = gpu_parts.trials_of(work)
    assert [trial.arm.settings.lr for trial in trials] == list(work.rates)
    assert {trial.seed for trial in trials} == {0}
    assert Budget.of(trials[0].arm.settings, work.sizes[0]).steps == work.steps == 10 * 1688


@pytest.mark.slow
def test_a_dry_run_goes_through_its_parts(tmp_path: Path) -> None:
    done = program("--dry-run", "cpu", "--out", str(tmp_path), "--only", "graphs,resident,labs")
    assert done.returncode == 0, done.stdout
    assert [line[0] for line in table(tmp_path / "rows.csv")[1:]] == [
        "graphs", "graphs", "resident", "resident", "labs cpu"
    ]  # fmt: skip
    assert "not" not in (tmp_path / "summary.txt").read_text(encoding="utf-8")
    assert "nothing here is a measurement" in (tmp_path / "device.txt").read_text(encoding="utf-8")

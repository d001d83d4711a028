"""All that is to be known of a GPU, in one program of at most six minutes: tests, then speed beside JAX.

`python tests/benchmarks/gpu.py` runs with the machine's own Python, PyTorch and JAX, without a network, on
the repository as it is checked out. MNIST is read from HARNESS_DATA (its files may be .gz). What is missing
of the harness's own dependencies is named; `--wheels FOLDER` takes it from wheels in a folder, without an
installation.

Each part is a process of its own with a limit of its own, so that one that fails or hangs costs its own rows
alone; each row is written when it is measured, and takes the place of those that its part had from an earlier
call. Files go into results/reference/gpu:

    device.txt   the GPU, its driver, versions; of the last call
    parts.csv    each part: how it ended, and after how many seconds
    rows.csv     each system and number of trials: seconds a step and an evaluation, trials a second, on which
                 device and of which revision
    summary.txt  the ratios, of rows of this device

`--dry-run cpu` goes the same way with tiny sizes and without a GPU: what stands in for it is no measurement.
Exit code 0: all parts went through; 1: there is no GPU, or a part failed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.util
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "results/reference/gpu"
MOST = 350.0
"""Seconds of all parts together, at most."""
NEEDED = ("numpy", "torch", "pydantic")
"""Packages without which no part runs."""
FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
COLUMNS = (
    "system", "form", "optimizer", "batch_size", "trials", "seconds_a_step", "seconds_an_evaluation",
    "trials_a_second", "trials_a_second_steps_alone", "timed_steps", "extrapolated",
)  # fmt: skip
ABOUT = ("device", "revision")
"""Columns of each row beside those, from device.txt."""
ENDS = ("part", "ended", "seconds", "words")
WORDS = ("system", "form", "optimizer", "extrapolated", *ABOUT, *ENDS)
"""Columns that are no numbers."""
TESTS = ("tests/engines/test_resident.py", "tests/engines/test_cuda_graphs.py")


@dataclass(frozen=True)
class Part:
    """A process: its name, its limit in seconds, and what it is about."""

    name: str
    limit: float
    words: str


PARTS = (
    Part("tests", 70, "the tests that are marked cuda"),
    Part("graphs", 75, "steps as CUDA graphs"),
    Part("resident", 75, "steps by the resident kernel"),
    Part("jax", 90, "JAX in its faster layout, float32 products at its highest precision"),
    Part("labs", 40, "a DataLoader loop, one trial at a time, on the processor and on the GPU"),
)


def missing() -> list[str]:
    """Name the packages that are not there."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def take_wheels(folder: Path, to: Path) -> None:
    """Unpack wheels, so that Python finds what is in them: nothing is installed."""
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(to)


def take_images(to: Path) -> str:
    """Make a folder of data with MNIST in it, from HARNESS_DATA; say what is missing, or nothing."""
    given = os.environ.get("HARNESS_DATA", "")
    if not given:
        return "HARNESS_DATA is not set: it names the folder that has mnist/train-images-idx3-ubyte and so on"
    (to / "mnist").mkdir(parents=True)
    for name in FILES:
        plain = Path(given) / "mnist" / name
        packed = plain.with_name(f"{name}.gz")
        if plain.exists():
            shutil.copy(plain, to / "mnist" / name)
        elif packed.exists():
            (to / "mnist" / name).write_bytes(gzip.decompress(packed.read_bytes()))
        else:
            return f"HARNESS_DATA = {given!r} has no mnist/{name} (or .gz)"
    return ""


def device() -> dict[str, str]:
    """Describe the GPU and the libraries; raise RuntimeError where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"PyTorch {torch.__version__} finds no GPU here")
    properties = torch.cuda.get_device_properties(0)
    told = {
        "device": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": str(properties.multi_processor_count),
        "memory_bytes": str(properties.total_memory),
        "driver": output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": sys.version.split()[0],
        "cores": str(os.cpu_count()),
        "revision": output("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "changed_files": str(len(output("git", "-C", str(ROOT), "status", "--porcelain").splitlines())),
    }
    for name in ("jax", "jaxlib", "triton"):
        told[name] = version(name)
    return told


def version(name: str) -> str:
    """Give a package's version, or say that it is missing."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def output(*command: str) -> str:
    """Give what a program prints; why it does not run, if it does not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown ({type(error).__name__})"
    return done.stdout.strip() or done.stderr.strip() or "unknown"


def part_of(row: Mapping[str, Any]) -> str:
    """Name the part that a row is of: `labs cpu` is of labs."""
    return str(row["system"]).split(" ", 1)[0]


def earlier(file: Path) -> list[dict[str, Any]]:
    """Read the rows of earlier calls; one that was cut off is left out."""
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        rows = [dict.fromkeys(ABOUT, "") | row for row in csv.DictReader(lines)]
    whole = [row for row in rows if None not in row and None not in row.values()]
    return [
        {name: value if name in WORDS else json.loads(value) for name, value in row.items()} for row in whole
    ]


class Writer:
    """The files of the results, each of which is whole on the disk as soon as something is known.

    Rows of an earlier call stay until their part has new ones. `about` stands in each row: rows of several
    devices or revisions can be told apart.
    """

    def __init__(self, folder: Path, about: Mapping[str, str] = MappingProxyType({})) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.about = {name: about.get(name, "") for name in ABOUT}
        self.rows = earlier(folder / "rows.csv")
        self.ends = earlier(folder / "parts.csv")
        self.measured: set[str] = set()

    def row(self, part: Part, row: Mapping[str, Any]) -> None:
        """Write what was measured; a part's first row takes the place of its earlier ones."""
        if part.name not in self.measured:
            self.measured.add(part.name)
            self.rows = [old for old in self.rows if part_of(old) != part.name]
        self.rows.append({**row, **self.about})
        self._write("rows.csv", (*COLUMNS, *ABOUT), self.rows)

    def part(self, part: Part, ended: str, seconds: float, words: str) -> None:
        """Write how a part ended."""
        if part.name not in self.measured and any(part_of(old) == part.name for old in self.rows):
            ended += "; rows.csv has those of an earlier call"
        end = dict(zip(ENDS, (part.name, ended, f"{seconds:.1f}", words), strict=True))
        self.ends = [*(old for old in self.ends if old["part"] != part.name), end]
        self._write("parts.csv", ENDS, self.ends)

    def here(self) -> list[dict[str, Any]]:
        """The rows of this device, which alone can be compared."""
        return [row for row in self.rows if row["device"] == self.about["device"]]

    def _write(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        written = self.folder / f"{name}.part"
        with written.open("w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerows([columns, *([row.get(one, "") for one in columns] for row in rows)])
            file.flush()
            os.fsync(file.fileno())
        written.replace(self.folder / name)

    def text(self, name: str, lines: Sequence[str]) -> None:
        """Write a text of its own."""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def lines_of(stream: IO[str], seconds: float) -> Iterator[str]:
    """Yield a process's lines as they come; raise TimeoutError when its time is over."""
    end, came = time.monotonic() + seconds, queue.Queue[str | None]()

    def read() -> None:
        for line in stream:
            came.put(line)
        came.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = came.get(timeout=max(0.01, end - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            return
        yield line


def run_part(part: Part, command: Sequence[str], env: dict[str, str], seconds: float, writer: Writer) -> bool:
    """Run a part; write its rows and how it ended, and tell whether it went through."""
    begun, told = time.monotonic(), [""]
    log = (writer.folder / f"{part.name}.log").open("w", encoding="utf-8")
    with (
        log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd=ROOT
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in lines_of(process.stdout, seconds):
                if line.startswith("{"):
                    writer.row(part, json.loads(line))
                else:
                    log.write(line)
                    told.append(line.strip() or told[-1])
                print(f"  {part.name}: {line.rstrip()}", flush=True)
            ended = "done" if process.wait() == 0 else f"failed with exit status {process.returncode}"
        except TimeoutError:
            process.kill()
            ended = f"stopped at its limit of {seconds:.0f} s"
    writer.part(part, ended, time.monotonic() - begun, told[-1][:300])
    print(f"{part.name} ({part.words}): {ended}, {time.monotonic() - begun:.0f} s", flush=True)
    return ended == "done"


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Say what the rows come to."""
    if not rows:
        return ["nothing was measured"]
    lines: list[str] = []
    if len(revisions := {row.get("revision", "") for row in rows}) > 1:
        lines.append(f"rows of {len(revisions)} revisions, which rows.csv names")
    loops = [row["trials_a_second"] for row in rows if row["system"].startswith("labs")]
    loop = max(loops, default=None)
    if loop is not None:
        lines.append(f"the faster DataLoader loop: {loop:.4g} trials/s")
    cells = dict.fromkeys((row["optimizer"], row["trials"]) for row in rows if row["trials"] > 1)
    for optimizer, trials in cells:
        rate = {
            row["system"]: row["trials_a_second"]
            for row in rows
            if (row["optimizer"], row["trials"]) == (optimizer, trials)
        }
        told = ", ".join(f"{name} {value:.4g}" for name, value in rate.items())
        ratios = [
            f"{name} / {other} {rate[name] / rate[other]:.3g}"
            for name, other in (("resident", "graphs"), ("resident", "jax"), ("graphs", "jax"))
            if name in rate and other in rate
        ]
        if loop is not None:
            ratios += [f"{name} / loop {value / loop:.4g}" for name, value in rate.items()]
        lines.append(
            f"{optimizer}, K = {trials:,}, trials of 10 epochs a second: {told}; {'; '.join(ratios)}"
        )
    return lines


def environment(wheels: Path, data: Path) -> dict[str, str]:
    """Give the parts' environment."""
    paths = [str(ROOT), str(ROOT / "tests/benchmarks"), str(ROOT / "tests/engines"), str(wheels)]
    paths += filter(None, [os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": os.pathsep.join(paths), "HARNESS_DATA": str(data), "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **own}


def run(options: argparse.Namespace, scratch: Path) -> int:
    """Do all that is asked; give the exit code."""
    dry, begun = bool(options.dry_run), time.monotonic()
    wheels, data = scratch / "wheels", scratch / "data"
    if options.wheels:
        take_wheels(options.wheels, wheels)
        sys.path.insert(0, str(wheels))
    if lacking := missing():
        print(
            f"missing packages: {', '.join(lacking)}. Bring wheels of them and of what they need for Python "
            f"{sys.version_info.major}.{sys.version_info.minor}, and pass --wheels FOLDER"
        )
        return 1
    try:
        facts = {"dry run": "on a processor: nothing here is a measurement of a GPU"} if dry else device()
    except RuntimeError as error:
        print(f"no GPU: {error}. Nothing was measured and nothing was written.")
        return 1
    if not dry and (complaint := take_images(data)):
        print(f"no images: {complaint}. Nothing was measured and nothing was written.")
        return 1
    writer, fine = Writer(options.out, facts), True
    writer.text("device.txt", [f"{name}: {value}" for name, value in facts.items()])
    for part in (part for part in PARTS if part.name in options.only):
        seconds = min(part.limit, options.seconds - (time.monotonic() - begun))
        if seconds < 5:
            writer.part(part, "left out: no time was left", 0, "")
            fine = False
            continue
        command = [sys.executable, "-m", "gpu_parts", part.name, *(["--dry-run"] if dry else [])]
        if part.name == "tests":
            marked = ["-m", "cuda"] if not dry else ["-k", "relu_ce_sgd"]
            # Without conftest.py, which needs more packages, and with warnings of other versions than ours.
            alone = ["--noconftest", "-W", "default", "-q", "-p", "no:cacheprovider"]
            command = [sys.executable, "-m", "pytest", *alone, *marked, *TESTS]
        fine &= run_part(part, command, environment(wheels, data), seconds, writer)
        writer.text("summary.txt", summary(writer.here()))
    print("\n".join(summary(writer.here())))
    return 0 if fine else 1


def main() -> int:
    """Read the options and run."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dry-run", choices=["cpu"], help="tiny, without a GPU; nothing is measured")
    parser.add_argument("--only", default=",".join(names), help=f"some parts of {','.join(names)}")
    parser.add_argument("--out", type=Path, help=f"default: {OUT.relative_to(ROOT)}")
    parser.add_argument("--wheels", type=Path, help="a folder with wheels of missing packages")
    parser.add_argument("--seconds", type=float, default=MOST, help="of all parts together, at most")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := sorted(set(options.only) - set(names)):
        parser.error(f"--only {','.join(unknown)}: no such part; allowed: {', '.join(names)}")
    if options.dry_run and options.out is None:
        parser.error("--dry-run writes no reference results: name another folder by --out")
    options.out = options.out or OUT
    with tempfile.TemporaryDirectory() as scratch:
        return run(options, Path(scratch))


if __name__ == "__main__":
    sys.exit(main())

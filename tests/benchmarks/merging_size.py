"""Measures `harness merge` of large shards that nothing has trained: seconds, the largest memory, links.

`python tests/benchmarks/merging_size.py --shards 100 --trials 10000 --folder /tmp/shards` makes the shards
(minutes, once), merges them in a process of its own, and prints what it took. Each trial has three epochs of
curves, a row of trials.csv, counts of 10 classes in its part, and weights and predictions to link.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import tomli_w

from harness.results import checksums, csv_rows, documents, part_files, tables
from harness.results.csv_rows import CONFUSION, TextTable
from harness.settings.schema import EPOCHS, OUTCOME
from harness.study.study import Study, parse
from harness.study.trials import SEMANTICS
from harness.system import files

STACK = 100
"""Trials of a stack."""
ARMS = 100
TABLES = {
    "study": {"name": "large", "keep_weights": "all"},
    "baseline": {"dataset": "digits", "epochs": 3},
    "axes": {"lr": [round(0.001 * (i + 1), 3) for i in range(ARMS)]},
}


def make(folder: Path, shards: int, trials: int) -> None:
    """Make the shards: of all seeds, shard i has those that are i modulo the number of shards."""
    seeds = shards * trials // ARMS
    study = parse({**TABLES, "study": {**TABLES["study"], "seeds": seeds}})
    settings = _settings(study)
    counts = _counts()
    for shard in range(shards):
        _make_shard(folder / f"large-shard-{shard + 1}-of-{shards}", study, settings, counts, (shard, shards))


def _settings(study: Study) -> list[dict[str, str]]:
    from harness.study.checker import known_settings
    from harness.study.trials import arms
    from harness.settings import CORE
    from harness.text import as_text

    names = [*CORE, *(name for name in known_settings() if name not in CORE)]
    return [{"arm": arm.name, **{n: as_text(arm.settings.get(n)) for n in names}} for arm in arms(study)]


def _counts() -> list[list[list[str]]]:
    draw = random.Random(0)
    made = []
    for _ in range(20):
        rows = [
            [split, str(label), str(p), str(draw.randint(1, 900))]
            for split in ("val", "test") for label in range(10) for p in range(10)
            if label == p or draw.random() < 0.5
        ]  # fmt: skip
        made.append(rows)
    return made


def _make_shard(
    folder: Path,
    study: Study,
    settings: list[dict[str, str]],
    counts: list[list[list[str]]],
    shard: tuple[int, int],
) -> None:
    number, count = shard
    draw = random.Random(number)
    rows: list[list[str]] = []
    stacks = []
    listed: dict[str, str] = {}
    parts = {}
    weights, predictions = b"w" * 400, b"p" * 400
    weight_digest, prediction_digest = checksums.digest(weights), checksums.digest(predictions)
    for name in ("weights", "predictions"):
        (folder / name).mkdir(parents=True)
    for seed in study.seeds[number::count]:
        group = f"g{number:04x}{seed:06x}"[:15]
        trials, epochs, confusion = (
            TextTable(["trial_id", *OUTCOME]),
            TextTable(list(EPOCHS)),
            TextTable(list(CONFUSION)),
        )
        ids = []
        for place, arm in enumerate(settings):
            trial_id = f"t{place:04x}{seed:08x}"
            ids.append(trial_id)
            values = [f"{draw.random():.7g}" for _ in range(6)]
            cells = {
                "trial_id": trial_id, "status": "ok", "parameters": "52650", "flops": "105000", "epochs_done": "3",
                "steps_done": "90", "engine": "stacked", "device": "cpu", "group": group, "group_size": str(STACK),
                "group_seconds": "12.345", "kernels": "c-0123456789+relu", "host": f"host{number}",
                **dict(zip(("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"), values, strict=True)),
            }  # fmt: skip
            trials.rows.append([cells.get(name, "") for name in trials.columns])
            epochs.rows += [
                [trial_id, str(epoch), str(30 * epoch), split, f"{draw.random():.7g}", f"{draw.random():.7g}"]
                for epoch in range(4) for split in ("train", "val")
            ]  # fmt: skip
            confusion.rows += [[trial_id, *row] for row in counts[(place + seed) % len(counts)]]
            rows.append([trial_id, *arm.values(), str(seed), "", ""])
            (folder / f"weights/{trial_id}.safetensors").write_bytes(weights)
        (folder / f"predictions/{group}.npz").write_bytes(predictions)
        digests = {f"weights/{i}.safetensors": weight_digest for i in ids} | {
            f"predictions/{group}.npz": prediction_digest
        }
        part_files.write(folder, group, {"trials": trials, "epochs": epochs, "confusion": confusion}, digests)
        listed |= digests
        parts[f"{group}.zip"] = checksums.digest((folder / "parts" / f"{group}.zip").read_bytes())
        stacks.append({"group": group, "engine": "stacked", "trials": ids})
    plan = {"schema": documents.SCHEMA, "study": "large", "phase": "fixed", "data": {"digits": "0" * 64},
            "shard": [number + 1, count], "semantics": SEMANTICS, "components": {}, "merged": {}, "stacks": stacks}  # fmt: skip
    files.write(folder / "plan.json", json.dumps(plan, indent=1).encode())
    files.write(folder / "study.toml", tomli_w.dumps(study.tables(folder)).encode())
    header = ["trial_id", *settings[0], "seed", "status", "reason"]
    import gzip

    planned = TextTable(header, sorted(rows, key=lambda row: row[0]))
    files.write(folder / tables.PLANNED, gzip.compress(planned.written().encode(), 1, mtime=0))
    files.write(folder / checksums.FILE, checksums.Record({}, parts, listed).content())
    _ = csv_rows


def measure(folder: Path) -> None:
    """Merge all shards in a process of its own, and print what that took."""
    out = folder.parent / f"{folder.name}-merged"
    shutil.rmtree(out, ignore_errors=True)
    shards = sorted(str(path) for path in folder.iterdir())
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "harness", "merge", *shards, "--out", str(out), "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = json.loads(done.stdout)
    told = ", ".join(f"{key} {answer[key]}" for key in ("statuses", "linked", "copied", "missing"))
    print(f"{len(shards)} shards: {seconds:.0f} s, {used.ru_utime + used.ru_stime:.0f} CPU s, "
          f"{used.ru_maxrss / 2**20:.2f} GB at most; {told}")  # fmt: skip
    for path in sorted(out.glob("*.*")):
        print(f"  {path.name} {os.stat(path).st_size / 1e6:,.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--trials", type=int, default=10_000, help="of a shard")
    parser.add_argument("--folder", type=Path, required=True)
    chosen = parser.parse_args()
    if not chosen.folder.exists():
        make(chosen.folder, chosen.shards, chosen.trials)
    measure(chosen.folder)


if __name__ == "__main__":
    main()

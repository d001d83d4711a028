"""Damaged caches: fetched files and decoded images; noticed, fetched or decoded again, never used."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from pathlib import Path

from harness.data import decoded_cache
from torture import damage, images, oracle, scenarios
from torture.kinds import Kind
from torture.oracle import Case, Fault

_FILES = scenarios.FILES.items()


def _prepare(folder: Path, short: bool) -> images.Prepared:
    """A data set of png files, whose decoded images are kept, and one to be fetched from a folder."""
    for name, data in _FILES:
        (folder / "shelf").mkdir(exist_ok=True)
        (folder / "shelf" / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
    del short
    return images.prepare(folder, True)["png"]


def _run(seed: int, folder: Path, sound: images.Prepared) -> Case:
    rng, case = random.Random(seed), Case()
    os.environ["HARNESS_DATA"] = str(folder / "cache")
    if seed % 2:
        case.count("fetched")
        _fetched(rng, folder, sound.folder.parents[1] / "shelf", case)
    else:
        case.count("decoded")
        _decoded(rng, folder, sound, case)
    return case


def _fetched(rng: random.Random, folder: Path, shelf: Path, case: Case) -> None:
    """A fetched file is damaged: `data check` says so, `data fetch` brings it back."""
    shutil.copytree(shelf, folder / "shelf")
    cache = folder / "cache" / "toy"
    cache.mkdir(parents=True)
    for name, data in _FILES:
        (cache / name).write_bytes(data)
    smallest = "toy: " + " ".join(damage.strike(rng, cache))
    damaged = not _whole(cache)
    with scenarios.toy(folder):
        checked = oracle.command("data", "check", "toy", allowed=[folder / "nothing"])
        fetched = oracle.command("data", "fetch", "toy", allowed=[cache])
    case.judge(checked, f"{smallest}; then data check")
    case.judge(fetched, f"{smallest}; then data fetch")
    if checked.code == 0 and damaged:
        case.faults.append(Fault("checked, and not whole", smallest))
    if fetched.code == 0 and not _whole(cache):
        case.faults.append(Fault("fetched, and not whole", smallest))


def _whole(cache: Path) -> bool:
    """Whether every file is there, byte for byte."""
    return all((cache / name).is_file() and (cache / name).read_bytes() == data for name, data in _FILES)


def _decoded(rng: random.Random, folder: Path, sound: images.Prepared, case: Case) -> None:
    """What was kept of decoded images is damaged: they are decoded again."""
    shutil.copytree(sound.folder, folder / "data")
    study = images.study(folder, "png")
    slow, settled = decoded_cache.SLOW, decoded_cache.SETTLED
    decoded_cache.SLOW, decoded_cache.SETTLED = (
        -1.0,
        -1e9,
    )  # kept however quickly they are decoded, however new
    try:
        first = oracle.command("data", "check", "--study", study, allowed=[folder / "cache"])
        if not list((folder / "cache").rglob("*.npz")):
            case.count("nothing kept")
            return
        smallest = "decoded images: " + " ".join(damage.strike(rng, folder / "cache"))
        again = oracle.command("data", "check", "--study", study, allowed=[folder / "cache"])
    finally:
        decoded_cache.SLOW, decoded_cache.SETTLED = slow, settled
    case.judge(first, "data check")
    case.judge(again, smallest)
    if again.code == 0 and images.digest(again) != sound.digest:
        case.faults.append(Fault("other images from a damaged cache, unsaid", smallest))


KIND = Kind("caches", "damaged caches", 1500, 4, _prepare, _run, chunk=50)

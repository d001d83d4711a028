"""Damaged data files: png, npy, idx, gz, and what the cache keeps; told, or the images as they were."""

from __future__ import annotations

import gzip
import random
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from PIL import Image

from torture import arrangements, damage, forks, oracle
from torture.kinds import Kind
from torture.oracle import SAID, Case, Fault, Outcome

ARRANGED = 0.2  # of the cases: whole, and as people have it
FORMATS = ("png", "npy", "idx", "gz")
TRAIN, TEST, SIDE = 12, 6, 8
OF_PART = {"train": TRAIN, "test": TEST}


@dataclass(frozen=True)
class Prepared:
    """A data set of one format: its folder, its SHA-256, and what a study trained on it gives."""

    folder: Path
    digest: str
    results: Path
    tables: Mapping[str, pd.DataFrame]


def _part(part: str) -> tuple[Any, Any]:
    """Real images, small: the first digits that are a 0 or a 1."""
    from sklearn.datasets import load_digits

    bunch = load_digits(n_class=2)
    chosen = slice(0, TRAIN) if part == "train" else slice(TRAIN, TRAIN + TEST)
    return bunch.images[chosen].astype(np.uint8), bunch.target[chosen].astype(np.int64)


def _png(folder: Path, part: str, images: Any, labels: Any) -> None:
    (folder / part).mkdir(parents=True)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(folder / part / f"{label}_{i:03d}.png")


def _npy(folder: Path, part: str, images: Any, labels: Any) -> None:
    (folder / f"{part}_imgs").mkdir(parents=True)
    np.save(folder / f"{part}_labels.npy", labels)
    for i, image in enumerate(images):
        np.save(folder / f"{part}_imgs" / f"img_{i:05d}.npy", image)


def _idx(folder: Path, part: str, images: Any, labels: Any, *, packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        path = folder / f"{'train' if part == 'train' else 't10k'}-{name}-ubyte{'.gz' if packed else ''}"
        data = head + array.tobytes()
        path.write_bytes(gzip.compress(data) if packed else data)


def _gz(folder: Path, part: str, images: Any, labels: Any) -> None:
    _idx(folder, part, images, labels, packed=True)


WRITERS: Mapping[str, Callable[[Path, str, Any, Any], None]] = {
    "png": _png,
    "npy": _npy,
    "idx": _idx,
    "gz": _gz,
}


def study(folder: Path, kind: str) -> Path:
    """The study file that declares a folder beside it, named data."""
    tables = {
        "study": {"name": "own", "seeds": 1},
        "baseline": {"dataset": "scans", "hidden": [4], "epochs": 1, "batch_size": 4},
        "datasets": {"scans": {"format": "idx" if kind == "gz" else kind, "path": "data", "pixel_max": 16}},
    }
    path = folder / "study.toml"
    path.write_text(tomli_w.dumps(tables), encoding="utf-8")
    return path


def prepare(folder: Path, short: bool) -> Mapping[str, Prepared]:
    """A data set of each format, of two where few are enough, and a study trained on it."""
    prepared = {}
    for kind in FORMATS[: 2 if short else None]:
        place = folder / kind
        place.mkdir()
        for part in OF_PART:
            WRITERS[kind](place / "data", part, *_part(part))
        file = study(place, kind)

        def made(place: Path = place, file: Path = file) -> Outcome:
            oracle.command("run", file, "--results", place / "results", "--workers", "1")
            return oracle.command("data", "check", "--study", file)

        checked = forks.apart(made, place, 60)
        tables = oracle.tables(place / "results")
        prepared[kind] = Prepared(place / "data", digest(checked), place / "results", tables)
    return prepared


def digest(outcome: Outcome) -> str:
    """The SHA-256 that `data check` says."""
    found = re.search(r"SHA-256 ([0-9a-f]{64})", outcome.out)
    return found[1] if found else ""


def _run(seed: int, folder: Path, prepared: Mapping[str, Prepared]) -> Case:
    rng, case = random.Random(seed), Case()
    kind = rng.choice(list(prepared))
    sound = prepared[kind]
    shutil.copytree(sound.folder, folder / "data")
    file = study(folder, kind)
    if rng.random() < ARRANGED:
        case.count("arranged otherwise")
        struck = [(arrangements.arrange(rng, folder / "data", kind), "")]
    else:
        struck = [_strike(rng, folder / "data") for _ in range(rng.choice([1, 1, 2]))]
    smallest = f"{kind}: " + ", then ".join(f"{name} {file}" for name, file in struck)
    case.count(kind)
    checked = oracle.command("data", "check", "--study", file, allowed=[folder / "cache"])
    case.judge(checked, smallest)
    if checked.code == 0 and not digest(checked):
        case.faults.append(Fault("checked, and no digest", smallest))
    if seed % 10 == 0:
        _trained(sound, checked, folder, smallest, case)
    if seed % 40 == 1:
        shown = oracle.command("data", "show", "scans", "--study", file, "--out", folder / "figures",
                               allowed=[folder / "figures"])  # fmt: skip
        case.judge(shown, f"{smallest}; then data show")
    if seed % 100 == 0:
        case.count("real processes")
        outcome = oracle.real(["data", "check", "--study", file], cwd=folder)
        case.judge(outcome, smallest)
        if outcome.code != checked.code:
            case.faults.append(Fault("another exit code as a process of its own", smallest))
    return case


def _trained(sound: Prepared, checked: Outcome, folder: Path, smallest: str, case: Case) -> None:
    """Gone on with in a results folder of the undamaged images: other images must be told."""
    case.count("gone on with")
    shutil.copytree(sound.results, folder / "results")
    words = ("run", folder / "study.toml", "--results", folder / "results", "--workers", "1")
    outcome = oracle.command(*words, allowed=[folder / "results"])
    case.judge(outcome, f"{smallest}; then run")
    if outcome.code == 0 and digest(checked) != sound.digest and not SAID.search(outcome.err):
        case.faults.append(Fault("other images in a folder of the undamaged ones, unsaid", smallest))
    if outcome.code == 0 and (differs := oracle.difference(sound.tables, oracle.tables(folder / "results"))):
        case.faults.append(Fault(f"run in silence: {differs}", smallest))


# ---------------------------------------------------------------------------------- damage that knows formats


def _strike(rng: random.Random, folder: Path) -> tuple[str, str]:
    """Damage one file: as any file may be, or within its format, whose checksums then still fit."""
    if rng.random() < 0.5:
        return damage.strike(rng, folder)
    path = rng.choice(damage.files(folder) or [folder / "nothing"])
    if not path.is_file():
        return "nothing", "nothing"
    end = path.suffix if path.suffix in INSIDE else ""
    INSIDE[end](rng, path)
    return f"within {end or 'idx'}", str(path.relative_to(folder))


def _inside_png(rng: random.Random, path: Path) -> None:
    """A PNG's header says something else, or a chunk is gone, twice or another; with its checksum."""
    data = path.read_bytes()
    chunks, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    how = rng.randrange(5)
    if how <= 1 and chunks:  # modest sizes only: Pillow's own guards are not what is tried here
        width, height = rng.choice([(0, 8), (8, 0), (4, 8), (9, 8), (8, 9), (64, 64), (8, 8)])
        rest = bytes(
            [rng.choice([1, 2, 4, 8, 16, 3]), rng.choice([0, 2, 3, 4, 6, 1]), 0, 0, rng.choice([0, 1])]
        )
        chunks[0] = (b"IHDR", struct.pack(">II", width, height) + rest)
    elif how == 2 and len(chunks) > 1:
        del chunks[rng.randrange(1, len(chunks))]
    elif how == 3 and len(chunks) > 1:
        chunks.insert(1, rng.choice([*chunks, (b"tEXt", b"x\0y"), (b"tRNS", b"\0\1"), (b"PLTE", bytes(768))]))
    else:
        pixels = zlib.compress(rng.randbytes(rng.choice([1, 71, 72, 73, 500])))
        chunks = [(name, pixels if name == b"IDAT" else body) for name, body in chunks]
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    path.write_bytes(data[:8] + b"".join(parts))


HEADS = (
    "{'descr': '|u1', 'fortran_order': False, 'shape': (8, 8), }", "{'descr': '<i8', 'shape': (3,)}", "{}",
    "[]",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 8)}", "'x'",
    "{'descr': '|u1', 'fortran_order': 1, 'shape': 8}",
    "{'descr': '|u1', 'fortran_order': True, 'shape': (8, 8)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': ()}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (-8, 8)}",
    "{'descr': 'x', 'fortran_order': False, 'shape': (8, 8)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (8.0, 8)}",
    "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (8, 8)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 8)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (8,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (8, 8), 'x': 1}",
    "{'descr': '|b1', 'fortran_order': False, 'shape': (8, 8)}",
)  # fmt: skip


def _inside_npy(rng: random.Random, path: Path) -> None:
    """A .npy's header says something else: another type, shape or order, or what is no header."""
    data = path.read_bytes()
    start = 10 + int.from_bytes(data[8:10], "little")
    head = rng.choice(HEADS).encode()
    if rng.random() < 0.3 and start > 10 and len(data) > 10:  # a mutation before may have cut it
        letters = bytearray(data[10:start])
        letters[rng.randrange(len(letters))] = rng.choice(b"0123456789(),'<>|uifO ")
        head = bytes(letters)
    length = struct.pack("<H", len(head)) if rng.random() < 0.9 else rng.randbytes(2)
    version = bytes([rng.choice([1, 1, 1, 2, 3, 9]), 0])
    path.write_bytes(data[:6] + version + length + head + data[start:])


def _idx_bytes(rng: random.Random, data: bytes) -> bytes:
    """An IDX header says another type, number of dimensions or length."""
    head = bytearray(data)
    if len(head) < 8:
        return data
    how = rng.randrange(3)
    if how == 0:
        head[2] = rng.choice([0, 8, 9, 11, 12, 13, 14, 255])
    elif how == 1:
        head[3] = rng.choice([0, 1, 2, 3, 4, 33])
    else:
        place = 4 + 4 * rng.randrange(max(1, min(head[3], (len(head) - 4) // 4)))
        head[place : place + 4] = struct.pack(">I", rng.choice([0, 1, 7, 9, 13, 1000]))
    return bytes(head)


def _inside_idx(rng: random.Random, path: Path) -> None:
    path.write_bytes(_idx_bytes(rng, path.read_bytes()))


def _inside_gz(rng: random.Random, path: Path) -> None:
    """What is packed is damaged, and packed again; or there is more behind it."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        return
    how = rng.randrange(4)
    if how == 0:
        path.write_bytes(gzip.compress(_idx_bytes(rng, data)))
    elif how == 1:
        path.write_bytes(gzip.compress(data[: rng.randrange(len(data) + 1)]))
    elif how == 2:
        path.write_bytes(gzip.compress(data) + rng.randbytes(20))
    else:
        path.write_bytes(gzip.compress(gzip.compress(data)))


INSIDE: Mapping[str, Callable[[random.Random, Path], None]] = {
    ".png": _inside_png, ".npy": _inside_npy, ".gz": _inside_gz, "": _inside_idx,
}  # fmt: skip

KIND = Kind("images", "damaged data files", 20_000, 25, prepare, _run, chunk=200, patience=60)

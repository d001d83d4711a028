"""Files of a stack that was trained on another machine: read there, brought as bytes, written here.

Their names are those of a results folder: parts/, predictions/, weights/, states/ and checkpoints/. A part is
written last, because it makes its trials count as trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import MachineError
from harness.results import checkpoints, part_files
from harness.system import files, locks

ORDER = (checkpoints.FOLDER, "predictions", "weights", "states", "parts")
NAME = re.compile(rf"({'|'.join(ORDER)})/[A-Za-z0-9][A-Za-z0-9_-]*\.(safetensors|damaged|npz|zip|replaced)")


def stamps(folder: Path, within: Sequence[str] = ORDER) -> dict[str, tuple[int, int]]:
    """Map the files of a folder to their times (ns) and sizes: where they differ, a file is new."""
    found = {}
    for name in within:
        for path in (folder / name).glob("*.*"):
            try:
                about = path.stat()
            except FileNotFoundError:  # it was removed, or replaced, meanwhile
                continue
            if NAME.fullmatch(f"{name}/{path.name}"):
                found[f"{name}/{path.name}"] = (about.st_mtime_ns, about.st_size)
    return found


def changed(folder: Path, before: Mapping[str, object], within: Sequence[str] = ORDER) -> list[str]:
    """Name the files of a folder that are new, or have changed, since their `stamps` before."""
    return [name for name, stamp in stamps(folder, within).items() if before.get(name) != stamp]


def checkpoints_of(folder: Path, group: str) -> list[str]:
    """Name a stack's checkpoints in a results folder."""
    return [f"{checkpoints.FOLDER}/{path.name}" for path in checkpoints.paths(folder, group)]


def read(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Read files of a folder; those that are gone meanwhile are left out."""
    content = {}
    for name in names:
        try:
            content[name] = files.content_of(folder / name)
        except FileNotFoundError:
            continue
    return content


def write(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write files into a folder, the part last.

    Raises:
        MachineError: one cannot be written, or has no name of a results folder; or the folder is gone.
    """
    locks.check_there(folder)
    for name in sorted(content, key=_place):
        files.write(folder / name, content[name])


def _place(name: str) -> int:
    if not NAME.fullmatch(name):
        raise MachineError(f"a node has sent a file {name!r}, which is none of a results folder's")
    return ORDER.index(name.partition("/")[0])


def accept(folder: Path, group: str, content: Mapping[str, bytes], *, failed: bool) -> None:
    """Write all that a stack's training on another machine made, over what an earlier one had left.

    Checkpoints of a stack that is trained are removed, and states that it did not keep this time.
    """
    if failed:
        part_files.set_aside_finished(folder, group)
    write(folder, content)
    if failed:
        return
    checkpoints.remove(folder, group)
    for path in (folder / "states").glob(f"{group}-*.safetensors"):
        if f"states/{path.name}" not in content:
            path.unlink(missing_ok=True)

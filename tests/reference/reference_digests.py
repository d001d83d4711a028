"""Digests of what decides a reference folder: its study, the version of training, its components' C.

A finished folder carries its digest in reference.json, so that `nox -s reference -- --all` makes each once.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

from reference_folders import ABLATIONS, Reference, stale

from harness.lowering.components import SHIPPED
from harness.planning import plan
from harness.searching import checks
from harness.study.trials import Trial, settings_of_arms

RECORD = "reference.json"
OTHER_BUILD = f"{RECORD} is of another form of its study, or of its components"
UNRECORDED = f"no {RECORD}: it was made before folders carried a digest"


def digest(kept: Reference, changes: Sequence[str] = ()) -> str:
    """Return the SHA-256 of all that decides a folder's numbers; nothing is trained to tell.

    That is the study without its comments, its plugins, the command, and the ids of its trials, which have
    the version of training (SEMANTICS) and the data in them; the C of the components that it names; and
    changed settings (`--set`).
    """
    text = (ABLATIONS / f"{kept.name}.toml").read_text(encoding="utf-8")
    plugins = [_sha256((ABLATIONS / name).read_bytes()) for name in kept.plugins]
    trials = _trials(kept)
    decided = [
        list(changes), kept.command, list(kept.options), tomllib.loads(text), plugins,
        [trial.trial_id for trial in trials], [_sha256(path.read_bytes()) for path in _texts(trials)],
    ]  # fmt: skip
    return _sha256(json.dumps(decided, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _trials(kept: Reference) -> Sequence[Trial]:
    """List the trials of a study; of a search, those of its baseline and of arms with its components."""
    study = kept.study()
    return plan.draw(study if study.search is None else checks.every_component(study)).trials


def _texts(trials: Sequence[Trial]) -> list[Path]:
    """List the shipped C of the components that trials have; other components have none."""
    every = settings_of_arms(trials)
    names = {f"activation-{settings.get('activation')}" for settings in every}
    names |= {f"output-{settings.get('head')}-{settings.get('loss')}" for settings in every}
    names |= {f"optimizer-{settings.get('optimizer')}" for settings in every}
    return sorted(
        path
        for path in SHIPPED.glob("*.c")
        if any(path.stem == name or path.stem.startswith(f"{name}-") for name in names)
    )


def record(folder: Path, made_of: str) -> None:
    """Write into a folder which digest it was made of."""
    (folder / RECORD).write_text(json.dumps({"digest": made_of}) + "\n", encoding="utf-8")


def recorded(folder: Path) -> str:
    """Read the digest that a folder was made of; empty if it carries none that can be read."""
    try:
        return str(json.loads((folder / RECORD).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def unfinished(kept: Reference, folder: Path | None = None) -> list[str]:
    """Say why a folder has to be made by the code of today; [] if it need not."""
    folder = folder or kept.folder
    if reasons := stale(kept, folder):
        return reasons
    if not (there := recorded(folder)):
        return [UNRECORDED]
    return [] if there == digest(kept) else [OTHER_BUILD]

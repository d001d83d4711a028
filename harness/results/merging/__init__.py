"""`harness merge`: results folders of one study, shards or any others, become one.

    merge -> sources (read, and check) -> phase: studies (is it one?), planned (rows in the study's order),
    outcomes (one a trial?); then, only if all agree: placing (links), writing (tables), accounts (provenance)

What comes out depends on the folders alone, not on their order, nor on how often or in which groups they are
merged. A merge that was killed is finished by the same command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from harness.errors import UsageError
from harness.results import checksums, computation
from harness.results.merging import accounts, chosen, gaps
from harness.results.merging.gaps import Gap
from harness.results.merging.phase import MergedPhase, read
from harness.results.merging.placing import Placed
from harness.results.merging.sources import SourceFolder, held
from harness.settings.schema import TUNED, TUNING
from harness.system import locks
from harness.system.garbage import uncollected
from harness.text import count

PHASES = ("", TUNING, TUNED)
"""Folders of a tuned study's phases, the study's own first."""


@dataclass(frozen=True)
class MergedFolder:
    """The results folder that `harness.merge` made, which `harness.read` takes.

    `statuses` counts its trials, also those of tuning/ and tuned/; `sources` are the folders, `shared` is how
    many finished trials several of them have, `gaps` what is still to be trained, `notes` what to know of it.
    `one_machine` is whether one host computed all trials by one build of the kernels.
    """

    folder: Path
    study: str
    sources: Sequence[Path]
    statuses: Mapping[str, int]
    shared: int
    gaps: Sequence[Gap]
    placed: Placed
    notes: Sequence[str] = ()
    one_machine: bool = True

    def __fspath__(self) -> str:
        return str(self.folder)


@uncollected()
def merge(folders: Sequence[PathLike[str] | str], out: PathLike[str] | str) -> MergedFolder:
    """Merge results folders of one study into one folder, by trial_id; what is in it already stays.

    Args:
        folders: results folders: shards of a study, runs on several machines, or merged ones.
        out: the folder to write; it may be a results folder of the study, and its trials are kept.

    Returns:
        What was merged and what is missing; `harness.read` reads it.

    Raises:
        UsageError: the folders are not of one study, data and components, are damaged, being written, or
            have two outcomes of a trial. Nothing is written then.
        MachineError: a file cannot be read or written.

    Example:
        >>> merged = harness.merge(["results/a", "results/b"], out="results/both")  # doctest: +SKIP
        >>> harness.read(merged).trials  # doctest: +SKIP
    """
    place, paths = Path(out), _distinct([Path(folder) for folder in folders])
    _check_out(place)
    sources = [path for path in paths if path.resolve() != place.resolve()]
    with ExitStack() as stack:
        stack.enter_context(held([path / phase for path in sources for phase in PHASES]))
        there = (place / "plan.json").is_file()
        if there:
            stack.enter_context(locks.locked(place))
        everything = [SourceFolder.read(path) for path in sources]
        if there and _is_begun(place):
            everything.insert(0, SourceFolder.read(place))
        if not everything:
            raise UsageError(
                "there is nothing to merge: name the results folders, such as those of the shards"
            )
        scratch = next(path for path in (place, *place.absolute().parents) if path.is_dir())
        phases = [
            stack.enter_context(closing(phase))
            for name in PHASES
            if (phase := read(everything, place, name, scratch))
        ]
        choices = chosen.together(everything)
        if not there:
            stack.enter_context(_held_anew(place))
        for phase in phases:
            phase.write()
        chosen.write(place, choices)
        return _summary(place, paths, phases)


def _distinct(paths: Sequence[Path]) -> list[Path]:
    """List folders, each once; raise UsageError where one is not there."""
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path} is no folder: nothing was merged. Name results folders")
    return list({path.resolve(): path for path in reversed(paths)}.values())[::-1]


def _check_out(place: Path) -> None:
    """Raise UsageError if something other than a results folder is where the merged folder should be."""
    from harness.results.run_folder import BEFORE_A_PLAN

    if place.is_file():
        raise UsageError(f"{place} is a file, not a folder. Choose another name with --out")
    if place.is_dir() and not (place / "plan.json").is_file():
        strangers = [path.name for path in place.glob("*") if not path.name.startswith(BEFORE_A_PLAN)]
        if strangers:
            raise UsageError(
                f"{place} holds {strangers[0]!r} and no plan.json, so it is not a results folder. Choose an "
                "empty or new one with --out"
            )


def _is_begun(place: Path) -> bool:
    """Tell whether a folder has more than what a merge that was killed at its start has left."""
    return any((place / "parts").glob("*.zip")) or (place / "trials.csv").is_file()


@contextmanager
def _held_anew(place: Path) -> Iterator[None]:
    """Hold the new folder; raise UsageError if a run has begun there meanwhile."""
    with locks.locked(place):
        if (place / "plan.json").is_file() or (place / checksums.FILE).is_file():
            raise UsageError(
                f"another command has written into {place} meanwhile. Run the same command again"
            )
        yield


def _summary(place: Path, paths: Sequence[Path], phases: Sequence[MergedPhase]) -> MergedFolder:
    """Say what was merged."""
    statuses: Counter[str] = Counter()
    computed: Counter[tuple[str, str]] = Counter()
    placed = Placed()
    for phase in phases:
        if phase.writer is not None:
            statuses.update(phase.writer.statuses)
            computed.update(computation.without_components(phase.writer.computed))
        placed.add(phase.placing.done)
    notes = accounts.version_notes(phases[0].sources)
    hosts = [one for phase in phases if phase.writer for one in phase.writer.hosts.values()]
    if computation.differ([computed]):
        notes.append(f"{computation.words(computed)}: {computation.consequence([computed])}")
    notes += accounts.kind_notes(computed, hosts)
    notes += [note for phase in phases for note in phase.lost_notes()]
    if placed.copied:
        notes.append(
            f"{count(placed.copied, 'file')} copied ({placed.copied_bytes / 1e6:,.1f} MB), not linked: the "
            "folders are on other file systems"
        )
    return MergedFolder(
        place,
        phases[0].study,
        paths,
        statuses,
        sum(phase.choice.shared for phase in phases),
        gaps.together(gap for phase in phases for gap in gaps.of(phase)),
        placed,
        notes,
        not computation.differ([computed]),
    )

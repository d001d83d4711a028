"""The study of merged folders: whether it is one, its tables together, and the order of its trials."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import UsageError, quoted
from harness.results.merging.sources import SourceFolder
from harness.study import seed_blocks
from harness.study.contrasts import default_pairs
from harness.study.designs import combinations

CHANGED = ("changed_after", "target_after")
"""Keys of [contrasts] that say how many trials were known when it was changed: the largest counts."""
MOST_LISTED = 3  # differences that an error lists


def check_same(sources: Sequence[SourceFolder]) -> None:
    """Raise UsageError unless all folders have one study and phase, one version of it and the same data."""
    first = sources[0]
    for other in sources[1:]:
        for what, of in (("study", "study"), ("phase", "phase")):
            one, two = first.plan.get(of, "fixed"), other.plan.get(of, "fixed")
            if one != two:
                raise UsageError(
                    f"{first.path} is of {what} {one!r} and {other.path} of {two!r}: nothing was merged. "
                    "`harness compare` puts folders of two studies side by side"
                )
        differences = _differences(_compared(first), _compared(other))
        if differences:
            raise UsageError(
                f"{first.path} and {other.path} are of two studies called {first.plan.get('study')!r}: "
                f"nothing was merged. {'; '.join(differences)}. Folders that differ in their seeds alone can "
                "be merged; for any other change, run the study in the form that it should have into each "
                "folder"
            )
    _check_shards(sources)
    _check_blocks(sources)
    _check_digests(sources, "data", "other data called {name}", "Data sets of two kinds make two studies")
    _check_digests(
        sources, "components", "another {name}",
        "Its code is another, so its trials have other ids. Run the study with one of them alone",
    )  # fmt: skip
    _check_digests(
        sources, "semantics", "another version of what training means",
        "Two versions of the harness trained them. Train both with one version",
    )  # fmt: skip


def _compared(source: SourceFolder) -> dict[str, Any]:
    """Copy the tables of a study without what may differ between machines, or is put together."""
    tables = copy.deepcopy(dict(source.study))
    about = tables["study"]
    about["plugins"] = sorted(PurePosixPath(name).name for name in about.get("plugins", []))
    about.pop("seeds", None)
    tables.pop("chosen", None)
    for table in tables.get("datasets", {}).values():
        table.pop("path", None)
    family = tables.get("contrasts", {})
    for key in CHANGED:
        family.pop(key, None)
    if not family.get("declared", True):
        family.pop("pairs", None)
    return tables


def _differences(one: Mapping[str, Any], two: Mapping[str, Any], within: str = "") -> list[str]:
    """List differences between the tables of two studies, each with its key."""
    found = []
    for key in dict.fromkeys([*one, *two]):
        a, b = one.get(key), two.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{within}{key}.")
        elif a != b:
            shown = (f"{'not given' if v is None else quoted(v, most=60)}" for v in (a, b))
            found.append(f"{within}{key}: {' and '.join(shown)}")
    return (
        found
        if within
        else found[:MOST_LISTED] + [f"and {len(found) - MOST_LISTED} more"] * (len(found) > MOST_LISTED)
    )


def _check_shards(sources: Sequence[SourceFolder]) -> None:
    """Raise UsageError where shards are of different counts, or of the study with other seeds."""
    shards = [source for source in sources if source.shard]
    for source in shards[1:]:
        (_, first), (_, count) = shards[0].shard or ((), 0), source.shard or ((), 0)
        if first != count:
            raise UsageError(
                f"{shards[0].path} is one of {first} shards and {source.path} one of {count}: nothing was "
                "merged. Shards of one count have each trial once: merge those, or run the others with that "
                "count"
            )
    seeds = {tuple(seeds_of(source.study, source.plan.get("phase", "fixed"))): source for source in shards}
    if len(seeds) > 1:
        (a, one), (b, two) = list(seeds.items())[:2]
        raise UsageError(
            f"{one.path} has seeds {quoted(list(a), most=60)} and {two.path} {quoted(list(b), most=60)}: "
            "shards are shares of one list of seeds. Run the shards with the same seeds, then merge; where "
            "they have been, and one of the two was merged before, merge into a new folder"
        )


def _check_blocks(sources: Sequence[SourceFolder]) -> None:
    """Raise UsageError where blocks of seeds choose and folders have other seeds: together, others would."""
    blocks = sources[0].study.get("tune", {}).get("blocks")
    seeds = {_listed_seeds(source.study["study"]["seeds"]): source for source in sources} if blocks else {}
    if len(seeds) > 1:
        (a, one), (b, two) = list(seeds.items())[:2]
        raise UsageError(
            f"{one.path} has seeds {quoted(list(a), most=60)} and {two.path} {quoted(list(b), most=60)}, and "
            f"{blocks} blocks of seeds choose in each ([tune] blocks): together they would be other blocks. "
            "Nothing was merged. Run the study with all seeds, and as many more blocks and tuning seeds, in "
            "one of the folders: it keeps what is trained"
        )


def seeds_of(tables: Mapping[str, Any], phase: str) -> list[int]:
    """List the seeds of a phase's trials."""
    return list(_listed_seeds((tables.get("tune", {}) if phase == "tuning" else tables["study"])["seeds"]))


def _check_digests(sources: Sequence[SourceFolder], key: str, what: str, advice: str) -> None:
    """Raise UsageError where one name, in plan.json, has two digests; older folders do not say all."""
    known: dict[str, tuple[object, SourceFolder]] = {}
    for source in sources:
        said = source.plan.get(key)
        for name, digest in (said if isinstance(said, Mapping) else {"": said} if said else {}).items():
            before, where = known.setdefault(name, (digest, source))
            if before != digest:
                one, other = (str(value)[:12] for value in (before, digest))
                raise UsageError(
                    f"{source.path} has {what.format(name=repr(name))} than {where.path}: {key} {other} "
                    f"there, {one} here. Nothing was merged. {advice}"
                )


def together(sources: Sequence[SourceFolder], out: Path) -> dict[str, Any]:
    """Put the tables of the folders' studies together, as study.toml of the folder `out` has them."""
    tables = copy.deepcopy(dict(sources[0].study))
    seeds = {_listed_seeds(source.study["study"]["seeds"]) for source in sources}
    every = {seed for one in seeds for seed in one}
    tables["study"]["seeds"] = list(min((one for one in seeds if set(one) == every), default=sorted(every)))
    tables["study"]["plugins"] = [
        _one_place([_from(source, name) for source in sources for name in source.study["study"]["plugins"]
                    if PurePosixPath(name).name == PurePosixPath(plugin).name], out)
        for plugin in tables["study"]["plugins"]
    ]  # fmt: skip
    for name, table in tables.get("datasets", {}).items():
        if "path" in table:
            places = [_from(source, source.study["datasets"][name]["path"]) for source in sources]
            table["path"] = _one_place(places, out)
    family = tables.setdefault("contrasts", {})
    for key in CHANGED:
        counts = [source.study.get("contrasts", {}).get(key, 0) for source in sources]
        if key in family or any(counts):
            family[key] = max(counts)
    chosen = {arm: c for source in sources for arm, c in source.study.get("chosen", {}).items()}
    if chosen:
        ranks = chosen_places(tables)
        arms = sorted(chosen, key=lambda arm: (ranks.get(arm, len(ranks)), arm))
        tables["chosen"] = {arm: chosen[arm] for arm in arms}
    return tables


def _listed_seeds(seeds: Any) -> tuple[int, ...]:
    return tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)


def check_chosen(sources: Sequence[SourceFolder]) -> None:
    """Raise UsageError where an arm chose one setting in one folder and another in another."""
    known: dict[str, tuple[object, SourceFolder]] = {}
    for source in sources:
        for arm, chosen in source.study.get("chosen", {}).items():
            before, where = known.setdefault(arm, (chosen, source))
            if before != chosen:
                raise UsageError(
                    f"arm {arm!r} chose {quoted(before, most=60)} in {where.path} and "
                    f"{quoted(chosen, most=60)} in {source.path}: its tuning had two outcomes. Nothing "
                    "was merged; leave one folder out"
                )


def _from(source: SourceFolder, name: str) -> Path:
    """Resolve a path that study.toml names from its folder."""
    return (source.path / name).resolve()


def _one_place(places: Iterable[Path], out: Path) -> str:
    """Choose one of the places where a file was, one that is there if possible, named from `out`."""
    chosen = min(places, key=lambda place: (not place.exists(), place.as_posix()))
    here = Path.cwd()
    if all(place.is_relative_to(here) for place in (chosen, out.resolve())):
        return Path(os.path.relpath(chosen, out.resolve())).as_posix()
    return chosen.as_posix()


def with_pairs(tables: dict[str, Any], arms: Sequence[str]) -> dict[str, Any]:
    """Give a study that declares none the contrasts of its design; `arms` are those of one data set."""
    family = tables["contrasts"]
    if not family.get("declared", True):
        family["pairs"] = default_pairs(tables["study"]["design"], arms)
    return tables


def arm_places(tables: Mapping[str, Any]) -> dict[str, int]:
    """Number the arms of a study's design, by name, in its order; arms that mean the same included."""
    about, axes = tables["study"], tables.get("axes", {})
    arms = combinations(about["design"], tables.get("baseline", {}), axes, tables.get("steps", []))
    places: dict[str, int] = {}
    for arm in arms:
        places.setdefault(str(arm.name), len(places))
    return places


def chosen_places(tables: Mapping[str, Any]) -> dict[str, int]:
    """Number what [chosen] may name, in its order: the arms, each with the blocks of seeds that choose."""
    blocks = seed_blocks.numbers(tables.get("tune", {}).get("blocks"))
    places: dict[str, int] = {}
    for arm in arm_places(tables):
        for block in blocks:
            places.setdefault(seed_blocks.named(arm, block), len(places))
    return places


def tried_places(arms: Sequence[str], of_arms: Sequence[str]) -> list[int]:
    """Number the settings that each arm tries, in the order of a folder's rows: 0 where nothing is tried."""
    known: dict[str, dict[str, int]] = {}
    places = []
    for arm, of_arm in zip(arms, of_arms, strict=True):
        tries = known.setdefault(of_arm, {}) if of_arm else {}
        places.append(tries.setdefault(arm, len(tries)))
    return places

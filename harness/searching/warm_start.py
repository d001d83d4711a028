"""Warm start: the complete suggestions of an earlier search, which the sampler knows before it is asked.

They are no suggestions of the search that knows them: none is counted, and none can win. A copy of them lies
in its folder, so that a search that goes on knows the same, whatever has become of the earlier one since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.data.arm_settings import Settings
from harness.errors import UsageError
from harness.results import columns, documents
from harness.searching import samplers
from harness.searching.costs import Costs
from harness.settings.schema import KNOWN
from harness.study.searches import STATES, SUGGESTIONS, Search
from harness.study.space import Drawn
from harness.study.space_inverse import drawn_from
from harness.study.study import Study
from harness.study.trials import Arm, identity_of, resolve, settings_of, trial_of
from harness.system import files
from harness.text import as_text, count

MOST_NAMED = 4
"""Settings that a message names of a suggestion that is no point of the space."""


@dataclass(frozen=True)
class KnownSuggestion:
    """A complete suggestion of an earlier search: its number there, a point of this space, its objectives."""

    number: int
    drawn: Drawn
    values: Sequence[float]


@dataclass(frozen=True)
class KnownSuggestions:
    """The suggestions that a search knows from an earlier one's `folder`, of `complete` ones there."""

    folder: str
    complete: int
    suggestions: Sequence[KnownSuggestion]

    @property
    def digest(self) -> str:
        """The digest of all that the sampler is told."""
        content = [asdict(suggestion) for suggestion in self.suggestions]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def words(self) -> str:
        """The number of them and the folder, in words."""
        many = len(self.suggestions)
        of = f"all {many}" if many == self.complete else f"{many} of the {self.complete}"
        return f"{of} complete suggestions of {self.folder}"

    @property
    def points(self) -> list[tuple[Drawn, Sequence[float]]]:
        """The points, each with its objectives."""
        return [(suggestion.drawn, suggestion.values) for suggestion in self.suggestions]


def known(study: Study, folder: Path) -> KnownSuggestions | None:
    """Return what a search knows before its first suggestion; None if it is not warm-started.

    Raises:
        UsageError: the earlier search does not fit, or the copy in the folder is of another one.
    """
    given = study.search.warm_start if study.search else ""
    if not given:
        return None
    there = read(folder / KNOWN)
    if there is None:
        return earlier(study)
    if there.folder != given:
        raise UsageError(
            f"{folder} was begun with search.warm_start = {there.folder!r}, here {given!r}. Choose another "
            "folder with --results, or give the same"
        )
    return there


def problems(study: Study, folder: Path) -> Iterator[str]:
    """Yield why a search into a folder cannot be warm-started."""
    try:
        known(study, folder)
    except UsageError as error:
        yield str(error)


def keep(folder: Path, known: KnownSuggestions | None) -> None:
    """Keep what a search knows in its results folder, unless it is there."""
    if known is not None and not (folder / KNOWN).exists():
        files.write(folder / KNOWN, (json.dumps(asdict(known), indent=1) + "\n").encode())


def read(path: Path) -> KnownSuggestions | None:
    """Read the copy that a search's folder has; None without one; UsageError if it is damaged."""
    if not path.exists():
        return None
    try:
        content = files.json_table(path)
        listed = [
            KnownSuggestion(int(one["number"]), dict(one["drawn"]), [float(value) for value in one["values"]])
            for one in content["suggestions"]
        ]
        return KnownSuggestions(str(content["folder"]), int(content["complete"]), listed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read ({error}): it holds what the search was warm-started with. Bring back a "
            "copy, or choose another folder with --results"
        ) from error


def earlier(study: Study) -> KnownSuggestions:
    """Read the complete suggestions of [search] warm_start that are points of a study's space.

    Raises:
        UsageError: it is no folder of a search, or of another objective, other data or another training;
            or too few of its suggestions are points of this space.
    """
    search = study.search
    assert search is not None  # noqa: S101 (asked of searches only)
    folder, where = Path(search.warm_start), f"search.warm_start = {search.warm_start!r}"
    tables = _tables(folder, where)
    _check_objective(tables, search, where)
    _check_data(folder, study, where)
    rows, trained = _tabulated(folder, tables, search, where)
    arms = [(number, values, _resolved(study, tables, arm)) for number, arm, values in rows]
    seeds = tables["search"].get("seeds", [])
    same = [one for one in arms if all(_id(study, one[2], seed) in trained for seed in seeds)]
    if arms and not same:
        raise UsageError(
            f"{where}: none of its {count(len(arms), 'complete suggestion')} would train in the same way "
            "here: components or the version of training (semantics) have changed. Run that search again "
            "into a new folder, or leave warm_start out"
        )
    fitting = list(_fitting(study, same, where))
    needed = samplers.FEWEST_KNOWN.get(search.sampler, 1)
    if len(fitting) < needed:
        raise UsageError(
            f"{where}: {len(fitting)} of its complete suggestions fit this search, and the sampler "
            f"{search.sampler} needs {needed}; take tpe, or leave warm_start out"
        )
    return KnownSuggestions(search.warm_start, len(arms), fitting)


def _tables(folder: Path, where: str) -> dict[str, Any]:
    """Return the study.toml of a search's folder."""
    missing = [name for name in ("study.toml", "plan.json", SUGGESTIONS) if not (folder / name).is_file()]
    if missing:
        why = f"it has no {missing[0]}" if folder.is_dir() else "there is no such folder"
        raise UsageError(f"{where}: {why}; allowed: the results folder of an earlier search")
    tables = documents.study(folder)
    if tables["study"].get("phase") != "search":
        raise UsageError(f"{where}: it is a folder of another kind; allowed: the results folder of a search")
    return tables


def _check_objective(tables: Mapping[str, Any], search: Search, where: str) -> None:
    there = tables.get("search", {})
    if (there.get("objective"), there.get("direction")) != (search.objective, search.directions):
        told = ", ".join(map(str, there.get("objective", [])))
        raise UsageError(
            f"{where}: it searched for {told}, and this search for {', '.join(search.objective)}; allowed: "
            "an earlier search for the same"
        )


def _check_data(folder: Path, study: Study, where: str) -> None:
    digest = settings_of(study).data.facts.digest
    digests = set(documents.plan(folder)["data"].values())
    if digests != {digest}:
        there = ", ".join(other[:12] for other in sorted(digests))
        raise UsageError(
            f"{where}: it was trained on other data: digest {there} there, {digest[:12]} here. Values on "
            "other data say nothing here; leave warm_start out"
        )


def _tabulated(
    folder: Path, tables: Mapping[str, Any], search: Search, where: str
) -> tuple[list[tuple[int, str, Sequence[float]]], set[str]]:
    """Return number, arm and objectives of the complete suggestions of a folder, and its trials' ids."""
    try:
        table = columns.read(folder / SUGGESTIONS, tables)
        sound = table["state"].eq(STATES[0]) & table["reason"].fillna("").eq("")
        complete = table[sound].dropna(subset=search.objective)
        values = complete[search.objective].to_numpy(float).tolist()
        numbers = complete["number"].astype(int).tolist()
        trained = set(columns.read(folder / "trials.csv", tables)["trial_id"])
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{where}: its tables cannot be read ({error}). Run that search again") from error
    return list(zip(numbers, complete["arm"], values, strict=True)), trained


def _resolved(study: Study, tables: Mapping[str, Any], arm: str) -> Settings:
    """Return the settings of an earlier suggestion, as this study resolves them."""
    given = {**tables.get("baseline", {}), **tables.get("chosen", {}).get(arm, {})}
    return resolve(given | {"dataset": settings_of(study).dataset}, study.datasets)


def _id(study: Study, settings: Settings, seed: int) -> str:
    """Return the id of the trial that this study would train with settings and a seed."""
    return trial_of(study, Arm("known", settings), seed).trial_id


def _fitting(
    study: Study, arms: Sequence[tuple[int, Sequence[float], Settings]], where: str
) -> Iterator[KnownSuggestion]:
    """Yield the suggestions that are points of a study's space and keep its constraints."""
    search, space = study.search, study.space
    assert search is not None  # noqa: S101
    costs, fits, broken = Costs(search), 0, 0
    for number, values, settings in arms:
        drawn = drawn_from(space, settings)
        if drawn is None or identity_of(settings_of(study, space.settings(drawn))) != identity_of(settings):
            continue
        if not costs.kept(costs.bounded(settings)):
            broken += 1
            continue
        fits += 1
        yield KnownSuggestion(number, drawn, values)
    if not fits:
        why = "breaks a constraint" if broken else _difference(study, arms)
        raise UsageError(
            f"{where}: none of its {count(len(arms), 'complete suggestion')} is a point of this search: "
            f"{why}. Widen [space], take the other search's [baseline], or leave warm_start out"
        )


def _difference(study: Study, arms: Sequence[tuple[int, Sequence[float], Settings]]) -> str:
    """Say what the closest of earlier suggestions has that no point of the space does."""
    if not arms:
        return "it has none"
    drawn = {name for entry in study.space.entries for name in entry.sets}
    here = settings_of(study)
    apart = []
    for number, _, settings in arms:
        names = [n for n in settings if n not in drawn and as_text(settings[n]) != as_text(here.get(n))]
        apart.append((len(names), number, names, settings))
    _, number, names, settings = min(apart, key=lambda one: one[:2])
    if not names:
        return f"suggestion {number} lies outside of the ranges and lists of [space]"
    told = (
        f"{name} {as_text(settings[name])} (here {as_text(here.get(name))})" for name in names[:MOST_NAMED]
    )
    return f"suggestion {number} has {', '.join(told)}"

"""A validated study: its settings, its arms, and the phases that it goes through."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.data.datasets import Dataset, datasets
from harness.data.generated_tables import GeneratedTable
from harness.data.image_folders import Folder
from harness.errors import UsageError, did_you_mean, few
from harness.settings.schema import CONFIRMED, FINALISTS, OF_ARM, SEED_BLOCK, TRIES, TUNED, TUNING
from harness.study import searches, seed_blocks, tuning_space
from harness.study.about import About, PhaseName
from harness.study.checker import GivenSettings
from harness.study.contrasts import Contrasts
from harness.study.designs import Combination, combinations
from harness.study.searches import Search
from harness.study.space import Space
from harness.study.starts import Start
from harness.study.targets import Target
from harness.study.tuning_space import Tune, TuningSpace
from harness.text import as_text, count
from harness.text.cards import card


@dataclass(frozen=True)
class Variant:
    """An arm of a study in one of its phases, as given: its defaults are not filled in yet.

    `labels` holds the value's name of each linked axis. `tried` are the settings that tuning tries with it,
    `before` those it has before it is tuned. `block` is the block of seeds that it is trained with, from 1
    on; 0: all seeds.
    """

    name: str
    settings: GivenSettings
    labels: Mapping[str, str] = field(default_factory=dict)
    tried: GivenSettings = field(default_factory=dict)
    before: GivenSettings | None = None
    block: int = 0


class Phase:
    """A phase of a study: its seeds, its arms, and whether the test set stays closed. This one is the study.

    `folder` is its place in the study's results folder; `title` what a display calls its training.
    """

    name: PhaseName = "fixed"
    title = "training"
    folder = ""
    sealed = False
    """True where the test set stays closed: a choice among these trials must not have seen it."""

    def seeds(self, study: Study) -> Sequence[int]:
        """Give the seeds of its trials."""
        return study.about.seeds

    def label_columns(self, study: Study) -> list[str]:
        """List the columns of trials.csv that name an arm beside its own name."""
        return study.linked_axes

    def changes(self, about: About) -> dict[str, Any]:  # noqa: ARG002 (a later phase looks at it)
        """Give what changes in [study]."""
        if not self.sealed:
            return {}
        return {"keep_predictions": [], "keep_weights": "none", "keep_state": "none", "until": None}

    def variants(self, study: Study) -> Iterator[Variant]:
        """Give the arms, in the study's order, duplicates included."""
        for given in study.combinations():
            yield Variant(given.name, given.settings, study.labels(given))

    def chooses(self, study: Study, arm: str, block: int) -> bool:  # noqa: ARG002 (of a later phase)
        """Tell whether an arm has all that it needs to be trained with a block of seeds; block 0 is all."""
        return True


class _Tuning(Phase):
    """Every arm at every setting that it tries, with the tuning seeds."""

    name: PhaseName = "tuning"
    title, folder, sealed = "tuning", TUNING, True

    def seeds(self, study: Study) -> Sequence[int]:
        return study.tune.seeds if study.tune else study.about.seeds

    def label_columns(self, study: Study) -> list[str]:
        return [*study.linked_axes, OF_ARM]

    def variants(self, study: Study) -> Iterator[Variant]:
        budget = study.tune.budget if study.tune else None
        for given in study.combinations():
            labels = study.labels(given) | {OF_ARM: given.name}
            for point in tuning_space.points(study.space_of(given.linked), budget or 0):
                name = f"{given.name}, {tuning_space.words(point)}"
                yield Variant(name, given.settings | point, labels, point)


class _Tuned(Phase):
    """Every arm at the settings that it chose, or that each block of seeds chose for it."""

    name: PhaseName = "tuned"
    title, folder = "training, tuned", TUNED

    def label_columns(self, study: Study) -> list[str]:
        return [*study.linked_axes, *([] if study.blocks == [0] else [SEED_BLOCK])]

    def variants(self, study: Study) -> Iterator[Variant]:
        for given in study.combinations():
            labels = study.labels(given)
            for block in study.blocks:
                chosen = given.settings | study.chosen.get(seed_blocks.named(given.name, block), {})
                named = labels | ({SEED_BLOCK: str(block)} if block else {})
                yield Variant(given.name, chosen, named, before=given.settings, block=block)

    def chooses(self, study: Study, arm: str, block: int) -> bool:
        return seed_blocks.named(arm, block) in study.chosen


class _Searching(Phase):
    """A search's suggestions, with the search's seeds."""

    name: PhaseName = "search"
    title, sealed = "searching", True

    def seeds(self, study: Study) -> Sequence[int]:
        return study.search.seeds if study.search else study.about.seeds

    def variants(self, study: Study) -> Iterator[Variant]:
        for arm, chosen in study.chosen.items():
            yield Variant(arm, study.baseline | chosen)


class _Finalists(_Searching):
    """A search's best suggestions, with seeds that had no part in the search."""

    name: PhaseName = "finalists"
    title, folder = "training the finalists", FINALISTS

    def seeds(self, study: Study) -> Sequence[int]:
        return study.search.finalist_seeds if study.search else study.about.seeds


class _Confirming(_Searching):
    """A search's winner and its baseline, with the study's seeds."""

    name: PhaseName = "confirmed"
    title, folder, sealed = "confirming", CONFIRMED, False

    def seeds(self, study: Study) -> Sequence[int]:
        return study.about.seeds

    def changes(self, about: About) -> dict[str, Any]:
        # The winner's weights are wanted, whichever arm has the best trial.
        return {"keep_weights": "all"} if about.keep_weights == "best" else {}


class _Tries(Phase):
    """A study's baseline and what is tried against it, each as [chosen] gives it."""

    name: PhaseName = "tries"
    title, folder, sealed = "trying", TRIES, True

    def variants(self, study: Study) -> Iterator[Variant]:
        for arm, settings in study.chosen.items():
            yield Variant(arm, settings)


PHASES: Mapping[PhaseName, Phase] = {
    phase.name: phase
    for phase in (Phase(), _Tuning(), _Tuned(), _Searching(), _Finalists(), _Confirming(), _Tries())
}


@dataclass(frozen=True)
class Study:
    """A validated study.

    `axes` maps an axis to its values: a value is a setting's, or for linked settings a table
    {"name": .., setting: ..}. `steps` are a ladder's, each with its "name". `folders` are the person's own
    images, `datasets` the data sets made of them, by the name that `dataset` calls each. `contrasts` is what
    is compared. `tune` is what every arm may tune, if anything, from `spaces` (`space_of`); `chosen` what
    each arm chose, by name (`seed_blocks.named`), once that is known. `start` is where trials begin that
    continue another. A search is `search` for the best in `space`; its arms are the suggestions, in `chosen`.
    """

    about: About
    baseline: GivenSettings
    axes: Mapping[str, Sequence[Any]]
    space: Space
    steps: Sequence[Mapping[str, Any]] = ()
    path: Path | None = None
    folders: Mapping[str, Folder | GeneratedTable] = field(default_factory=dict)
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    contrasts: Contrasts = field(default_factory=Contrasts)
    tune: Tune | None = None
    spaces: Mapping[str, TuningSpace] = field(default_factory=dict)
    chosen: Mapping[str, GivenSettings] = field(default_factory=dict)
    search: Search | None = None
    start: Start | None = None

    @classmethod
    def checked(cls, given: object) -> Study:
        """Return a study as it is.

        Raises:
            UsageError: it is none; says what makes one of it.
        """
        if isinstance(given, cls):
            return given
        makes = f"harness.load({str(given)!r})" if isinstance(given, str | Path) else "harness.load(FILE)"
        makes = "harness.parse(TABLES)" if isinstance(given, Mapping) else makes
        raise UsageError(f"a {type(given).__name__} where a study is needed: {makes} makes one")

    @property
    def name(self) -> str:
        """The study's name, which is also its results folder's."""
        return self.about.name

    @property
    def phase(self) -> Phase:
        """The phase that the study is in."""
        return PHASES[self.about.phase]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics it tracks beside loss and accuracy."""
        return tuple(self.about.metrics or ())

    @property
    def target(self) -> Target | None:
        """The target whose first reaching is recorded, in this phase."""
        return Target.of(self.about.until)

    @property
    def seeds(self) -> Sequence[int]:
        """The seeds of its trials, in this phase."""
        return self.phase.seeds(self)

    @property
    def blocks(self) -> list[int]:
        """The numbers of the blocks of seeds that choose by themselves; [0] where all share a choice."""
        return seed_blocks.numbers(self.tune.blocks if self.tune else None)

    def seeds_of(self, block: int) -> Sequence[int]:
        """Give the seeds of a block, in this phase; of block 0, all of them."""
        if not block or self.tune is None:
            return self.seeds
        return seed_blocks.divided(self.seeds, self.tune.blocks)[block - 1]

    @property
    def sealed(self) -> bool:
        """True where the test set stays closed, in this phase or for the trial that is continued."""
        return self.phase.sealed or (self.start is not None and self.start.sealed)

    @property
    def linked_axes(self) -> list[str]:
        """The axes whose values set several settings under a name."""
        return [axis for axis, values in self.axes.items() if isinstance(values[0], Mapping)]

    @property
    def label_columns(self) -> list[str]:
        """The columns of trials.csv that name an arm: its linked values, and in tuning the arm that tries."""
        return self.phase.label_columns(self)

    def combinations(self) -> Iterator[Combination]:
        """Give the arms of the design, duplicates included."""
        return combinations(self.about.design, self.baseline, self.axes, self.steps)

    def labels(self, given: Combination) -> dict[str, str]:
        """Give the value's name of each linked axis."""
        named = {axis: name for axis, name in given.linked if axis != "steps"}
        return dict.fromkeys(self.linked_axes, "baseline") | named

    def space_of(self, linked: Iterable[tuple[str, str]]) -> TuningSpace:
        """Give what an arm may tune: the space of all arms, with those of its linked values (axis, name)."""
        places = [tuning_space.ALL, *(tuning_space.place(axis, name) for axis, name in linked)]
        return {key: tried for place in places for key, tried in self.spaces.get(place, {}).items()}

    def in_phase(self, name: PhaseName, chosen: Mapping[str, GivenSettings] | None = None) -> Study:
        """Give the study in one of its phases: other settings, other seeds, perhaps a sealed test set.

        `chosen` is what each arm chose, by its name, for the phases after the first.
        """
        changes = {"phase": name, **PHASES[name].changes(self.about)}
        return replace(self, about=self.about.model_copy(update=changes), chosen=chosen or {})

    def bare(self) -> Study:
        """Give the study without what its trials carry: settings, data sets and choices.

        A task of a study of 400 data sets, say, would be 260 kB, and each stack is a task.
        """
        return replace(self, baseline={}, axes={}, steps=(), folders={}, datasets={}, spaces={}, chosen={})

    def __repr__(self) -> str:
        varied = ", ".join([*self.axes, *(str(step["name"]) for step in self.steps)])
        return f"Study {self.name!r}: {self.about.design} of {varied or 'one arm'}, {len(self.seeds)} seeds"

    def _repr_html_(self) -> str:
        """Show the study in a notebook: its design and what it varies."""
        rows = [(axis, few([_called(value) for value in values])) for axis, values in self.axes.items()]
        rows += [("step", str(step["name"])) for step in self.steps]
        given = ", ".join(f"{name} {as_text(value)}" for name, value in self.baseline.items())
        lines = [f"{self.about.design}, {count(len(self.seeds), 'seed')}", self.about.hypothesis]
        lines += [f"baseline: {given}"] if given else []
        return card(f"study {self.name}", lines, ("varied", "values"), rows)

    def dataset(self, name: str) -> Dataset:
        """Give a data set by its name: the study's own, or a registered one.

        Raises:
            UsageError: there is none; says what is close and what there is.
        """
        if name in self.datasets or name in datasets:
            return self.datasets.get(name) or datasets[name]
        names = [*(entry.name for entry in datasets), *self.datasets]
        raise UsageError(f"unknown dataset {name!r}: {did_you_mean(name, names)}")

    def tables(self, beside: Path | None = None) -> dict[str, Any]:
        """Give the study as TOML tables, with everything resolved that a reader would have to look up.

        Files under the current folder, as it is, are named from the folder `beside` that the tables go to,
        so that a repository can be moved with its results in it.
        """
        folder = self.path.parent if self.path else Path()
        named = [_place(folder / plugin, beside) for plugin in self.about.plugins]
        about = self.about.model_dump(exclude_none=True) | {"plugins": named}
        tables: dict[str, Any] = {"study": about, "baseline": dict(self.baseline)}
        if self.axes:
            tables["axes"] = {axis: list(values) for axis, values in self.axes.items()}
        if self.steps:
            tables["steps"] = [dict(step) for step in self.steps]
        tables["contrasts"] = self.contrasts.table()
        if self.tune:
            tables["tune"] = self.tune.table()
        if self.search:
            tables |= {"search": searches.table(self.search), "space": dict(self.space.table)}
        if self.start:
            tables["start"] = self.start.table()
        if self.chosen:
            tables["chosen"] = {arm: dict(settings) for arm, settings in self.chosen.items()}
        if self.folders:
            tables["datasets"] = {
                name: {**folder.table(), "path": _place(folder.path, beside)}
                if isinstance(folder, Folder)
                else folder.table()
                for name, folder in self.folders.items()
            }
        return tables


def _place(path: Path, beside: Path | None) -> str:
    """Name a path: from `beside`, if both are under the current folder, else from the root."""
    path, here = path.resolve(), Path.cwd()
    if beside is None or not all(place.is_relative_to(here) for place in (path, beside.resolve())):
        return path.as_posix()
    return Path(os.path.relpath(path, beside.resolve())).as_posix()


def _called(value: Any) -> str:
    """Return the name of linked settings, or a setting's value as text."""
    return str(value["name"]) if isinstance(value, Mapping) else as_text(value)

"""Fixed settings and tuned ones side by side: the arms' choices on val, and the verdicts that they change.

The folder of a study that tunes also holds tuning/ (every arm at every setting tried, with tuning seeds and
without test), chosen.csv (each arm's choice on val) and tuned/ (each arm at its choice, with the study's own
seeds). tuning/ and tuned/ are results folders themselves. A study that was trained again with other settings
leaves the old ones behind: such results must not be shown beside the new ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import results
from harness.errors import UsageError
from harness.reporting import block_choices, verdict_views
from harness.reporting.block_choices import FACTS, chosen_settings
from harness.reporting.contrasts import UNIT, contrast, judge
from harness.reporting.data import ReportData, StudyFile, prepare
from harness.reporting.model import NONE, Cell, Column, Figure, Table, difference_cell, share_cell
from harness.reporting.verdict_text import answers
from harness.results import columns, csv_rows
from harness.results.families import KEY
from harness.results.tables import check_unchanged
from harness.settings.schema import CHOSEN, OF_ARM, SEED_BLOCK, TUNED, TUNING
from harness.study import seed_blocks
from harness.text import as_text, as_word, count, joined, listed, percent, points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.reporting.contrasts import Verdicts
    from harness.results import Results

NAMED = 8  # changed verdicts of a data set that get a sentence each
MOST_ROWS = 24  # contrasts of a figure that shows each twice
SIDE_BY_SIDE = (
    "The same contrasts twice: with every arm at the setting that the study gives it, and with every arm at "
    "the setting it chose on val, retrained with the study's seeds. Differences in points, under each its "
    "95\u00a0% interval. They are two families, each corrected by itself."
)
CHOICES = (
    "The setting that each arm chose on val, averaged over the tuning seeds; test was not read. Unfinished: "
    "settings with a diverged or failed seed; these cannot be chosen. Median of the settings: of the "
    "settings that finished, with the lowest and the highest. Beyond a choice at the edge of its space "
    "there may be a better one."
)


SHARED = ("baseline", "axes", "steps", "tune", "datasets")
"""Tables of study.toml that are the same in every phase of a study."""


@dataclass(frozen=True)
class Phases:
    """The tuned comparison of a results folder."""

    tuning: Results | None  # the folder tuning/; None if it is missing or belongs to another study
    tuned: Results | None  # the folder tuned/; None if it is missing or belongs to another study
    chosen: pd.DataFrame  # chosen.csv; without rows if it is missing or belongs to another study
    doubts: Sequence[str]  # sentences on parts that cannot be read
    mismatch: str  # a sentence on parts that belong to another study; empty if all fit


def read_phases(root: Results) -> Phases | None:
    """Read tuning/, tuned/ and chosen.csv of a results folder; None if the study has no tuned comparison."""
    folders: dict[str, Results] = {}
    doubts: list[str] = []
    for name in (TUNING, TUNED):
        if (root.folder / name / "trials.csv").is_file():
            try:
                folders[name] = results.read(root.folder / name)
            except UsageError:
                doubts.append(f"The folder {name}/ cannot be read, so the tuned comparison lacks it.")
    chosen = _read_chosen(root, doubts)
    study = StudyFile.of(root.study)
    planned = study.tunes and study.phase == "fixed"
    if not (folders or doubts or planned) and chosen.empty:
        return None
    mismatch = _mismatch(root, folders, chosen)
    if mismatch:
        return Phases(None, None, chosen.iloc[:0], doubts, mismatch)
    return Phases(folders.get(TUNING), folders.get(TUNED), chosen, doubts, "")


def _read_chosen(root: Results, doubts: list[str]) -> pd.DataFrame:
    """Read chosen.csv; if that fails, return no rows and add a doubt."""
    path = root.folder / CHOSEN
    if path.is_file():
        try:
            check_unchanged(path.parent, path.name)
            chosen = columns.read(path, root.study)
            return chosen[[*FACTS, *(name for name in chosen if name not in FACTS)]]
        except (OSError, ValueError, KeyError) as error:
            doubts.append(f"{CHOSEN} cannot be read ({error}), so the choices of the arms are not shown.")
    return pd.DataFrame(columns=FACTS)


def _mismatch(root: Results, folders: Mapping[str, Results], chosen: pd.DataFrame) -> str:
    """Say which parts belong to another study than the root; empty if all fit."""
    if not StudyFile.of(root.study).tunes:
        names = [*(f"{name}/" for name in folders), *([CHOSEN] if len(chosen) else [])]
        belong = "belong" if len(names) > 1 else "belongs"
        return (
            f"This study tunes nothing: {joined(names)} in its folder {belong} to an earlier study and "
            f"{'are' if len(names) > 1 else 'is'} ignored."
            if names
            else ""
        )
    problems = []
    for name, phase in folders.items():
        differing = list(_differing(root, phase))
        if differing:
            problems.append(f"{name}/ belongs to a study with other settings ({', '.join(differing)})")
    tuned = folders.get(TUNED)
    if not problems and tuned is not None and len(chosen) and _other_choice(tuned, root.folder / CHOSEN):
        problems.append(f"{TUNED}/ was trained with other choices than {CHOSEN} has")
    if not problems:
        return ""
    return f"In this folder, {joined(problems)}, so there are no tuned verdicts. Run the study again."


def _differing(root: Results, phase: Results) -> Iterator[str]:
    """Name the tables of the study, and their keys, that differ between two of its phases."""
    first, second = _shared_tables(root), _shared_tables(phase)
    for table in first:
        here, there = first[table], second[table]
        if here == there:
            continue
        if isinstance(here, dict) and isinstance(there, dict):
            names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
            yield f"{table}: {', '.join(names)}"
        else:
            yield table


def _shared_tables(results: Results) -> dict[str, Any]:
    """Return the tables that all phases of a study share, with absolute paths of data sets."""
    tables = {table: results.study.get(table, {}) for table in SHARED}
    tables["datasets"] = {
        name: {**facts, "path": os.path.abspath(results.folder / str(facts.get("path", "")))}  # noqa: PTH100
        for name, facts in tables["datasets"].items()
    }
    return tables | {"seeds": results.study.get("study", {}).get("seeds")}


def _other_choice(tuned: Results, path: Path) -> bool:
    text = csv_rows.read(path)
    chose: dict[str, dict[str, str]] = {}
    for row in text.to_dict("records"):
        settings = {name: row[name] for name in chosen_settings(text) if row[name] != ""}
        chose[seed_blocks.named(row["arm"], int(row.get(SEED_BLOCK) or 0))] = settings
    trained = {
        arm: {name: as_text(value) for name, value in settings.items()}
        for arm, settings in StudyFile.of(tuned.study).chosen.items()
    }
    return {arm: settings for arm, settings in chose.items() if settings} != trained


@dataclass(frozen=True)
class Tuned:
    """A study's tuned comparison."""

    phases: Phases  # the folders and files it was read from
    reading: ReportData | None  # the folder tuned/; None if it is missing or belongs to another study
    judged: Verdicts | None  # the family's verdicts on it

    @property
    def tried(self) -> pd.DataFrame:
        """Trials of tuning/, with the column `of_arm`; without rows if the folder is missing."""
        return self.phases.tuning.trials if self.phases.tuning else pd.DataFrame()


def read(reading: ReportData, fixed: Verdicts) -> Tuned | None:
    """Read and judge the tuned comparison of a results folder; None if the study has none."""
    phases = read_phases(reading.results)
    if phases is None or phases.tuned is None:
        return None if phases is None else Tuned(phases, None, None)
    # The study of the whole folder names the varied settings; tuned/ differs from it in their values alone.
    tuned_data = prepare(replace(phases.tuned, study=reading.results.study))
    return Tuned(phases, tuned_data, judge(tuned_data, fixed.family))


def both(fixed: Verdicts, tuned: Verdicts) -> pd.DataFrame:
    """Join the rows of `Verdicts.table` of each contrast: KEY, then columns with _fixed and _tuned."""
    columns = [column for column in fixed.table if column not in KEY]
    tuned_columns = tuned.table.rename(columns={column: f"{column}_tuned" for column in columns})
    first = fixed.table.rename(columns={column: f"{column}_fixed" for column in columns})
    return first.merge(tuned_columns, on=KEY, how="inner")


def tell(fixed: Verdicts, tuned: Tuned) -> list[list[str]]:
    """Describe the tuned verdicts, the verdicts that tuning changes, and the arms' choices."""
    doubts = tuned.phases.doubts
    if tuned.phases.mismatch:
        return [[tuned.phases.mismatch, *doubts]]
    if tuned.reading is None or tuned.judged is None:
        unfinished = "The study declares a tuned comparison whose final trials are missing; run it again."
        return [[unfinished, *doubts, *_edges(tuned.phases.chosen)]]
    paragraphs = answers(tuned.reading, tuned.judged, tuned=True)
    table = both(fixed, tuned.judged)
    paragraphs += [list(_changes(rows, str(name))) for name, rows in table.groupby("dataset", sort=False)]
    choices = [*doubts, *_edges(tuned.phases.chosen)]
    return [*paragraphs, choices] if choices else paragraphs


def _changes(table: pd.DataFrame, dataset: str) -> Iterator[str]:
    rows = table.to_dict("records")
    known = [row for row in rows if row["n_fixed"] > 1 and row["n_tuned"] > 1]
    changed = [row for row in known if row["verdict_fixed"] != row["verdict_tuned"]]
    if not known:
        yield f"On {dataset} no contrast has a verdict both fixed and tuned."
        return
    yield f"On {dataset} tuning changes the verdict of {len(changed)} of {count(len(known), 'contrast')}."
    sentences = _by_change(changed) if any(row["within"] for row in changed) else _one_by_one(changed)
    yield from sentences[:NAMED]
    if len(sentences) > NAMED:
        yield "The table has the others."


def _one_by_one(changed: Sequence[Mapping[Any, Any]]) -> list[str]:
    return [
        f"{contrast(row)}: {_verdict(row, 'fixed')} at the fixed setting, {_verdict(row, 'tuned')} tuned."
        for row in changed
    ]


def _by_change(changed: Sequence[Mapping[Any, Any]]) -> list[str]:
    """Write a sentence for each change of a contrast, with the number of combinations that show it."""
    combinations: dict[tuple[str, str, str], list[str]] = {}
    for row in changed:
        change = (contrast(row), str(row["verdict_fixed"]), str(row["verdict_tuned"]))
        combinations.setdefault(change, []).append(str(row["within"]))
    ordered = sorted(combinations.items(), key=lambda item: -len(item[1]))
    return [
        f"{name}: {fixed} at the fixed setting, {tuned} tuned, in {count(len(cells), 'combination')}."
        for (name, fixed, tuned), cells in ordered
    ]


def _verdict(row: Mapping[Any, Any], which: str) -> str:
    return f"{row[f'verdict_{which}']} ({points(row[f'difference_{which}'], sign=True)} points)"


def _edges(chosen: pd.DataFrame) -> Iterator[str]:
    """Name the arms that chose a setting at the edge of its space, and the arms without a choice."""
    if SEED_BLOCK in chosen:
        yield from block_choices.edges(chosen)
        return
    none = chosen[chosen["val_accuracy"].isna()]
    if len(none):
        yield f"No setting finished, so none was chosen, for {', '.join(_arms(none))}."
    edge = chosen[chosen["edge"].fillna("").ne("")]
    if len(edge):
        names = [f"{arm} ({settings})" for arm, settings in zip(_arms(edge), edge["edge"], strict=True)]
        lie = "lies" if len(edge) == 1 else "lie"
        yield (
            f"{count(len(edge), 'choice')} of {len(chosen)} {lie} at the edge of the space, so better ones "
            f"may lie beyond: {listed(names, NAMED)}."
        )


def _arms(chosen: pd.DataFrame) -> list[str]:
    return [f"{arm} on {dataset}" for arm, dataset in zip(chosen["arm"], chosen["dataset"], strict=True)]


def tables(fixed: Verdicts, tuned: Tuned) -> Iterator[Table]:
    """Make the tables: both verdicts side by side, the tuned verdicts in full, and the arms' choices."""
    if tuned.judged is not None:
        yield _side_by_side(fixed, tuned.judged)
        yield verdict_views.table(tuned.judged, "verdicts-tuned", "Verdicts, tuned")
        yield from verdict_views.alike_table(tuned.judged, "verdicts-tuned")
    if len(tuned.phases.chosen) and SEED_BLOCK in tuned.phases.chosen:
        trained = tuned.reading.trials if tuned.reading is not None else pd.DataFrame()
        yield block_choices.table(tuned.phases.chosen, trained)
    elif len(tuned.phases.chosen):
        yield _choices(tuned.phases.chosen, tuned.tried)


def _side_by_side(fixed: Verdicts, tuned: Verdicts) -> Table:
    table = both(fixed, tuned)
    columns = [Column("data set"), Column("contrast", show="long")]
    for which in ("fixed", "tuned"):
        columns += [Column(f"{which} (points)", numeric=True), Column(f"{which} verdict")]
    rows = []
    for row in table.to_dict("records"):
        cells = [Cell(row["dataset"]), verdict_views.contrast_cell(row)]
        for which in ("fixed", "tuned"):
            cells += [difference_cell(row, f"{{}}_{which}"), Cell(row[f"verdict_{which}"])]
        rows.append(cells)
    title = "Fixed and tuned, side by side"
    return Table("fixed-and-tuned", title, SIDE_BY_SIDE, columns, rows, table, searched=True)


def _choices(chosen: pd.DataFrame, tried: pd.DataFrame) -> Table:
    names = chosen_settings(chosen)
    chosen = chosen.merge(_settings_tried(tried), on=["dataset", "arm"], how="left")
    columns = [Column("data set"), Column("arm", show="long")]
    columns += [Column(f"chosen {name}", numeric=True) for name in names]
    columns += [Column("val accuracy", numeric=True), Column("median of the settings", numeric=True)]
    columns += [Column("tried", numeric=True), Column("unfinished", numeric=True), Column("edge")]
    rows = [
        [
            Cell(str(row["dataset"])),
            Cell(str(row["arm"])),
            *(_setting(row[name]) for name in names),
            share_cell(row["val_accuracy"], f"mean of {as_word(row['seeds'])} seeds", 2),
            share_cell(row["median"], f"{percent(row['lowest'])} to {percent(row['highest'])}", 2),
            *(Cell(as_word(row[name]), key=row[name]) for name in ("tried", "unfinished")),
            Cell("" if pd.isna(row["edge"]) else row["edge"]),
        ]
        for row in chosen.to_dict("records")
    ]
    title = "The setting that each arm chose"
    return Table("chosen", title, CHOICES, columns, rows, chosen, searched=True)


def _setting(value: Any) -> Cell:
    if pd.isna(value):
        return Cell(NONE, key=float("nan"))
    return Cell(as_word(value), key=float(value) if isinstance(value, int | float) else None)


def _settings_tried(tried: pd.DataFrame) -> pd.DataFrame:
    """Give the lowest, median and highest mean val accuracy of each arm's settings that finished."""
    columns = ["dataset", "arm", "lowest", "median", "highest"]
    if not {OF_ARM, "val_accuracy"} <= set(tried.columns):
        return pd.DataFrame(columns=columns)
    by = ["dataset", OF_ARM, "arm"]
    done = tried.assign(val_accuracy=tried["val_accuracy"].where(tried["status"].eq("ok")))
    settings = done.groupby(by, sort=False)["val_accuracy"].agg(mean="mean", n="count", planned="size")
    finished = settings[settings["n"].eq(settings["planned"])].reset_index()
    means = finished.groupby(["dataset", OF_ARM], sort=False)["mean"]
    spread: pd.DataFrame = means.agg(lowest="min", median="median", highest="max").reset_index()
    return spread.rename(columns={OF_ARM: "arm"})[columns]


def draw(fixed: Verdicts, tuned: Verdicts) -> Iterator[Figure]:
    """Draw the forest plot with two rows for each contrast: hollow at the fixed setting, filled tuned."""
    tables = []
    for series, judged in (("fixed", fixed), ("tuned", tuned)):
        words = [f"{series}: {verdict_views.label(row)}" for row in judged.table.to_dict("records")]
        counted = {UNIT: judged.unit} if tuned.unit != fixed.unit else {}
        tables.append(judged.table.assign(series=series, words=words, **counted))
    rows = pd.concat(tables, ignore_index=True)
    number = rows.groupby(KEY, sort=False).ngroup()
    rows = rows.iloc[number.argsort(kind="stable")]
    title = "Verdicts at the fixed setting and tuned"
    yield from verdict_views.forests(fixed.family, rows, "forest", title, MOST_ROWS)

"""Fixed settings and tuned ones side by side: what each arm chose on val, and which verdicts that changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.report import phases, verdict_views
from harness.report.declared import KEY, contrast, judge
from harness.report.phases import FACTS
from harness.report.reading import Reading, prepare
from harness.report.tables import NONE, Cell, Column, Missing, Table, difference_cell, missing
from harness.report.verdicts import answers
from harness.settings import OF_ARM
from harness.text import as_word, count, percent, points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.report.declared import Judged
    from harness.report.figures import Drawn

NAMED = 8  # changed verdicts of a data set that get a sentence each
MOST_ROWS = 24  # contrasts of a figure that shows each twice
BESIDE = (
    "The same contrasts twice: with every arm at the setting that the study gives it, and with every arm at "
    "the setting it chose on val, retrained with the study's seeds. Differences in points, under each its "
    "95\u00a0% interval. They are two families, each corrected by itself."
)
CHOSEN = (
    "What each arm chose on val, averaged over the tuning seeds; test was not looked at. Unfinished: "
    "settings tried of which a seed diverged or failed; these cannot be chosen. Median of the settings: "
    "of those that finished, with the lowest and the highest. A choice at the edge of its space may have a "
    "better one beyond it."
)


@dataclass(frozen=True)
class Tuned:
    """A study's tuned comparison.

    Attributes:
        reading: the folder tuned/; None where it is not there yet, or not of this study.
        judged: the family's verdicts on it.
        chosen: chosen.csv; without rows where it is not there yet, or not of this study.
        tried: trials of tuning/, `of_arm` among the columns; without rows where it is not there.
        doubts: in words, what of it cannot be read.
        strange: in words, why what is there is not of this study; empty where it is.
    """

    reading: Reading | None
    judged: Judged | None
    chosen: pd.DataFrame
    tried: pd.DataFrame
    doubts: Sequence[str]
    strange: str = ""


def read(reading: Reading, fixed: Judged) -> Tuned | None:
    """Read the tuned comparison of a results folder; None where the study has none."""
    found = phases.read(reading.results)
    if found is None:
        return None
    tried = found.tuning.trials if found.tuning else pd.DataFrame()
    if found.tuned is None:
        return Tuned(None, None, found.chosen, tried, found.doubts, found.strange)
    # The study of the whole folder says what was varied; tuned/ differs from it in settings alone.
    again = prepare(replace(found.tuned, study=reading.results.study))
    return Tuned(again, judge(again, fixed.family), found.chosen, tried, found.doubts)


def both(fixed: Judged, tuned: Judged) -> pd.DataFrame:
    """Each contrast's row of `Judged.table`, fixed and tuned: KEY, then both columns with these suffixes."""
    columns = [column for column in fixed.table if column not in KEY]
    again = tuned.table.rename(columns={column: f"{column}_tuned" for column in columns})
    first = fixed.table.rename(columns={column: f"{column}_fixed" for column in columns})
    return first.merge(again, on=KEY, how="inner")


# ------------------------------------------------------------------------------------------------ the words


def tell(fixed: Judged, tuned: Tuned) -> list[list[str]]:
    """Say what tuning came to: its verdicts, those that it changed, and what the arms chose."""
    if tuned.strange:
        return [[tuned.strange, *tuned.doubts]]
    if tuned.reading is None or tuned.judged is None:
        what = "The study declares a tuned comparison whose final trials are not there yet; run it again."
        return [[what, *tuned.doubts, *_edges(tuned)]]
    told = answers(tuned.reading, tuned.judged, tuned=True)
    table = both(fixed, tuned.judged)
    told += [list(_changes(here, str(dataset))) for dataset, here in table.groupby("dataset", sort=False)]
    chose = [*tuned.doubts, *_edges(tuned)]
    return [*told, chose] if chose else told


def _changes(table: pd.DataFrame, dataset: str) -> Iterator[str]:
    rows = table.to_dict("records")
    known = [row for row in rows if row["n_fixed"] > 1 and row["n_tuned"] > 1]
    changed = [row for row in known if row["verdict_fixed"] != row["verdict_tuned"]]
    if not known:
        yield f"On {dataset} no contrast has a verdict both fixed and tuned."
        return
    of = count(len(known), "contrast")
    yield f"On {dataset} tuning changes {f'{len(changed)} of ' if changed else 'none of '}{of}."
    told = _across(changed) if any(row["within"] for row in changed) else _each(changed)
    yield from told[:NAMED]
    if len(told) > NAMED:
        yield "The others are in the table."


def _each(changed: Sequence[Mapping[Any, Any]]) -> list[str]:
    """A sentence a contrast."""
    return [
        f"{contrast(row)}: {_told(row, 'fixed')} at the fixed setting, {_told(row, 'tuned')} tuned."
        for row in changed
    ]


def _across(changed: Sequence[Mapping[Any, Any]]) -> list[str]:
    """A sentence for each change of a contrast, with the combinations of the other axes that show it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in changed:
        change = (contrast(row), str(row["verdict_fixed"]), str(row["verdict_tuned"]))
        found.setdefault(change, []).append(str(row["within"]))
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return [
        f"{name}: {fixed} at the fixed setting, {tuned} tuned, in {count(len(cells), 'combination')}."
        for (name, fixed, tuned), cells in ordered
    ]


def _told(row: Mapping[Any, Any], which: str) -> str:
    return f"{row[f'verdict_{which}']} ({points(row[f'difference_{which}'], sign=True)} points)"


def _edges(tuned: Tuned) -> Iterator[str]:
    """What was chosen at the edge of its space, and who could choose nothing."""
    chosen = tuned.chosen
    none = chosen[chosen["val_accuracy"].isna()]
    if len(none):
        yield f"No setting finished, so none was chosen, for {', '.join(_whose(none))}."
    edge = chosen[chosen["edge"].fillna("").ne("")]
    if len(edge):
        named = [f"{who} ({row})" for who, row in zip(_whose(edge), edge["edge"], strict=True)]
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        lie = "lies" if len(edge) == 1 else "lie"
        yield (
            f"{count(len(edge), 'choice')} of {len(chosen)} {lie} at the edge of the space, and a better one "
            f"may lie beyond: {', '.join(named[:NAMED])}{more}."
        )


def _whose(chosen: pd.DataFrame) -> list[str]:
    return [f"{arm} on {dataset}" for arm, dataset in zip(chosen["arm"], chosen["dataset"], strict=True)]


# ----------------------------------------------------------------------------------- the tables and figures


def tables(fixed: Judged, tuned: Tuned) -> Iterator[Table]:
    """Both verdicts side by side, the tuned ones in full, and what each arm chose."""
    if tuned.judged is not None:
        yield _beside(fixed, tuned.judged)
        yield verdict_views.table(tuned.judged, "verdicts-tuned", "Verdicts, tuned")
    if len(tuned.chosen):
        yield _chosen(tuned)


def _beside(fixed: Judged, tuned: Judged) -> Table:
    table = both(fixed, tuned)
    columns = [Column("data set"), Column("contrast", show="long")]
    for which in ("fixed", "tuned"):
        columns += [Column(f"{which} (points)", numeric=True), Column(f"{which} verdict")]
    rows = []
    for row in table.to_dict("records"):
        cells = [Cell(row["dataset"]), verdict_views.contrast_cell(row)]
        for which in ("fixed", "tuned"):
            numbers = {key: row[f"{key}_{which}"] for key in ("difference", "low", "high", "n")}
            cells.append(difference_cell(numbers))
            cells.append(Cell(row[f"verdict_{which}"]))
        rows.append(cells)
    return Table("fixed-and-tuned", "Fixed and tuned, side by side", BESIDE, columns, rows, table)


def _chosen(tuned: Tuned) -> Table:
    chosen = tuned.chosen.merge(_settings_tried(tuned.tried), on=["dataset", "arm"], how="left")
    names = [name for name in tuned.chosen if name not in FACTS]
    columns = [Column("data set"), Column("arm", show="long")]
    columns += [Column(f"chosen {name}", numeric=True) for name in names]
    columns += [Column("val accuracy", numeric=True), Column("median of the settings", numeric=True)]
    columns += [Column("tried", numeric=True), Column("unfinished", numeric=True), Column("edge")]
    rows = [
        [
            Cell(str(row["dataset"])),
            Cell(str(row["arm"])),
            *(_setting(row[name]) for name in names),
            _share(row["val_accuracy"], f"mean of {as_word(row['seeds'])} seeds"),
            _share(row["median"], f"{percent(row['lowest'])} to {percent(row['highest'])}"),
            *(Cell(as_word(row[name]), key=row[name]) for name in ("tried", "unfinished")),
            Cell("" if pd.isna(row["edge"]) else row["edge"]),
        ]
        for row in chosen.to_dict("records")
    ]
    return Table("chosen", "What each arm chose", CHOSEN, columns, rows, chosen)


def _setting(value: Any) -> Cell:
    if pd.isna(value):
        return Cell(NONE, key=float("nan"))
    return Cell(as_word(value), key=float(value) if isinstance(value, int | float) else None)


def _share(value: float, small: str) -> Cell:
    return Cell(NONE, key=float("nan")) if pd.isna(value) else Cell(percent(value, 2), small, value)


def _settings_tried(tried: pd.DataFrame) -> pd.DataFrame:
    """dataset, arm, and the lowest, median and highest mean val accuracy of its settings that finished."""
    columns = ["dataset", "arm", "lowest", "median", "highest"]
    if not {OF_ARM, "val_accuracy"} <= set(tried.columns):
        return pd.DataFrame(columns=columns)
    by = ["dataset", OF_ARM, "arm"]
    done = tried.assign(val_accuracy=tried["val_accuracy"].where(tried["status"].eq("ok")))
    each = done.groupby(by, sort=False)["val_accuracy"].agg(mean="mean", n="count", planned="size")
    whole = each[each["n"].eq(each["planned"])].reset_index()
    means = whole.groupby(["dataset", OF_ARM], sort=False)["mean"]
    spread: pd.DataFrame = means.agg(lowest="min", median="median", highest="max").reset_index()
    return spread.rename(columns={OF_ARM: "arm"})[columns]


def draw(fixed: Judged, tuned: Judged) -> Iterator[Drawn]:
    """Draw the forest with two rows a contrast: hollow at the fixed setting, filled tuned."""
    each = []
    for series, judged in (("fixed", fixed), ("tuned", tuned)):
        words = [f"{series}: {verdict_views.told(row)}" for row in judged.table.to_dict("records")]
        each.append(judged.table.assign(series=series, told=words))
    rows = pd.concat(each, ignore_index=True)
    known = rows.groupby(KEY, sort=False).ngroup()
    rows = rows.assign(_known=known).sort_values("_known", kind="stable").drop(columns="_known")
    title = "Verdicts at the fixed setting and tuned"
    yield from verdict_views.forests(fixed.family, rows, "forest", title, MOST_ROWS)


def unfinished(tuned: Tuned) -> Iterator[Missing]:
    """Trials of tuned/ that gave no result."""
    for group in missing(tuned.reading) if tuned.reading else []:
        yield replace(group, dataset=f"{group.dataset}, tuned,")

"""The tables of docs/published.md, of rows.toml and of the CSVs in results/reference/published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import published_results
from published_results import Measured, measured
from published_rows import CHECKOUT, EDGE, INSIDE, OUTSIDE, Published, Reading, Reason, Row, Source, judge

if TYPE_CHECKING:
    import pandas as pd

PAGE = CHECKOUT / "docs" / "published.md"
BEGIN, END = "<!-- begin: tables of nox -s published -->", "<!-- end: tables of nox -s published -->"
HEADER = (
    "network", "data", "they say, %", "what they report", "band", "ours", "ours at", "seeds", "verdict",
    "compatible with",
)  # fmt: skip
REASONS = ("row", "arm of ours", "what differs", "ours", "seeds", "verdict", "inside at epochs")
MISSING = "not trained yet"
ARM, AFTERWARDS, SCATTER = "arm", "afterwards", "scatter"
"""What a row that is not inside is compatible with: a planned arm is inside and nearer than the row's own; an
arm looked for afterwards is, or an epoch is inside where a source does not say its own; or the number is as
one more training of ours could be."""
COMPATIBLE = {
    ARM: "a planned arm or reading", AFTERWARDS: "an arm or epoch looked for afterwards",
    SCATTER: "the scatter of trainings", "": "nothing yet",
}  # fmt: skip
WIDEST = 5.0
"""Widths of its band up to which a prediction interval that holds a number says something."""
READINGS: dict[Reading, str] = {
    "test": "last epoch", "val": "last epoch, val", "best val": "best epoch, val",
    "val where training stopped": "where the train loss stops falling, val",
}  # fmt: skip


def verdict(row: Row, ours: Measured) -> str:
    """Say where our interval lies against a row's band."""
    if ours.of == 0:
        return MISSING
    return judge(ours.low, ours.high, row.band) or "no interval"


def tables(published: Published, folder: Path = published_results.KEPT) -> str:
    """Write all tables as Markdown: a summary, and of each source its rows and reasons."""
    lines = [_summary(published, folder)]
    for source in published.sources:
        lines += ["", *_of_source(source, published.rows_of(source), folder)]
    return "\n".join(lines)


def counted(published: Published, folder: Path = published_results.KEPT) -> tuple[list[str], list[str]]:
    """Give the verdict of each row, and of each not inside what of it is: an arm, or an epoch."""
    verdicts, behind = [], []
    for source in published.sources:
        seeds, curves = (
            kept(source.name, folder) for kept in (published_results.kept, published_results.kept_curves)
        )
        for row in published.rows_of(source):
            verdicts.append(verdict(row, measured(seeds, row.arm, row.reads)))
            if verdicts[-1] in {EDGE, OUTSIDE}:
                behind.append(_inside(row, seeds, curves))
    return verdicts, behind


def _summary(published: Published, folder: Path) -> str:
    verdicts, behind = counted(published, folder)
    counts = [f"{verdicts.count(word)} {word}" for word in (INSIDE, EDGE, OUTSIDE, MISSING)]
    said = f"{len(verdicts)} rows: {', '.join(counts)}."
    if not behind:
        return said
    by_arm, afterwards, scatter = (behind.count(reason) for reason in (ARM, AFTERWARDS, SCATTER))
    return (
        f"{said}\nOf the {len(behind)} that are not inside, {by_arm} have an arm of another setting or "
        f"epoch, planned before it was trained, that is; {afterwards}\nmore only an arm or an epoch that was "
        f"looked for afterwards; {scatter} are as further trainings of ours could be;\n"
        f"not explained: {behind.count('')}. The column *compatible with* says which is which."
    )


def _inside(row: Row, seeds: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Say what a row is compatible with: a planned arm, another arm or epoch, or the scatter of trainings."""
    inside = [reason for reason in row.reasons if _comes_nearer(row, reason, seeds)]
    if any(not reason.afterwards for reason in inside):
        return ARM
    named = dict.fromkeys([row.arm, *(reason.arm for reason in row.reasons)])
    epochs = (published_results.epochs_inside(curves, arm, row.band) for arm in named)
    if inside or (row.epochs_unsaid and any(epochs)):
        return AFTERWARDS
    predicted = _predicted(row, seeds)
    wide = predicted[1] - predicted[0] > WIDEST * (row.band[1] - row.band[0])
    return SCATTER if _held(row, predicted) and not wide else ""


def _comes_nearer(row: Row, reason: Reason, seeds: pd.DataFrame) -> bool:
    """Tell whether an arm is inside the band, and its mean nearer to the number than the row's own."""
    ours, own = measured(seeds, reason.arm, reason.reads or row.reads), measured(seeds, row.arm, row.reads)
    return verdict(row, ours) == INSIDE and abs(ours.mean - row.share) < abs(own.mean - row.share)


def _predicted(row: Row, seeds: pd.DataFrame) -> tuple[float, float]:
    """Give the prediction interval of further trainings as the source's."""
    return published_results.predicted(seeds, row.arm, row.reads, row.trainings, best=row.best)


def _held(row: Row, interval: tuple[float, float]) -> bool:
    """Tell whether an interval holds the printed number."""
    return interval[0] <= row.printed[1] and row.printed[0] <= interval[1]


def _of_source(source: Source, rows: Sequence[Row], folder: Path) -> Iterator[str]:
    """Yield the lines of a source: its title, what was read of it, its rows, and its reasons."""
    seeds, curves = (
        kept(source.name, folder) for kept in (published_results.kept, published_results.kept_curves)
    )
    yield f"### {source.title}"
    yield f"Read: {source.read}."
    if source.unsaid:
        yield f"Not said there: {source.unsaid}."
    study = f"[{source.name}.toml](../ablations/published/{source.name}.toml)"
    yield f"Study: {study}, about {source.minutes:g} minutes on two cores by plan."
    if source.outcome:
        yield f"Its hypothesis: {source.outcome}."
    yield ""
    yield from _table(HEADER, [_cells(row, seeds, curves) for row in rows])
    open_rows = [row for row in rows if verdict(row, measured(seeds, row.arm, row.reads)) in {EDGE, OUTSIDE}]
    reasons = [cells for row in open_rows for cells in _reasons(row, seeds, curves)]
    if reasons:
        yield ""
        yield "Arms that were trained to find the reason:"
        yield ""
        yield from _table(REASONS, reasons)


def _cells(row: Row, seeds: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    ours = measured(seeds, row.arm, row.reads)
    printed, (interval, number), said = row.accuracy or f"{row.error} wrong", _ours(ours), verdict(row, ours)
    return [
        row.network, row.data, printed, f"{row.chose} ({row.where})", _interval(*row.band), interval,
        READINGS[row.reads], number, said,
        COMPATIBLE[_inside(row, seeds, curves)] if said in {EDGE, OUTSIDE} else "",
    ]  # fmt: skip


def _reasons(row: Row, seeds: pd.DataFrame, curves: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the arms behind a row; its own one first, where val was evaluated on the way."""
    named, seen = f"{row.network}, {row.data}", set()
    itself = [Reason(arm=row.arm, differs="the epoch")] if curves["arm"].eq(row.arm).any() else []
    for reason in (*itself, *row.reasons):
        ours = measured(seeds, reason.arm, reason.reads or row.reads)
        look = row.reads != "test" and reason.arm not in seen
        inside = published_results.epochs_inside(curves, reason.arm, row.band) if look else []
        seen.add(reason.arm)
        differs = f"{reason.differs} (looked for afterwards)" if reason.afterwards else reason.differs
        yield [named, reason.arm, differs, *_ours(ours), verdict(row, ours), ranges(inside)]
    low, high = _predicted(row, seeds)
    if not math.isnan(low):
        said = "holds theirs" if _held(row, (low, high)) else "without theirs"
        ours = measured(seeds, row.arm, row.reads)
        yield [named, row.arm, _of_trainings(row), _interval(low, high), str(ours.n), said, ""]


def _of_trainings(row: Row) -> str:
    """Name the interval of further trainings."""
    if row.trainings == 1:
        return "95 % of further trainings"
    of_them = "the best" if row.best else "the means"
    return f"95 % of {of_them} of {row.trainings} further trainings"


def ranges(epochs: Sequence[float]) -> str:
    """Write epochs, those behind each other as from .. to.

    >>> ranges([1, 3, 4, 5, 10])
    '1, 3 to 5, 10'
    """
    runs: list[list[float]] = []
    for epoch in epochs:
        if runs and epoch == runs[-1][-1] + 1:
            runs[-1].append(epoch)
        else:
            runs.append([epoch])
    return ", ".join(f"{run[0]:g}" if len(run) == 1 else f"{run[0]:g} to {run[-1]:g}" for run in runs)


def _ours(ours: Measured) -> tuple[str, str]:
    """Write mean and interval, and how many seeds have a value."""
    if ours.n == 0:
        return "", f"0 of {ours.of}" if ours.of else ""
    interval = "" if math.isnan(ours.low) else f" ({_interval(ours.low, ours.high)})"
    return f"{100 * ours.mean:.2f}{interval}", f"{ours.n}" if ours.n == ours.of else f"{ours.n} of {ours.of}"


def _interval(low: float, high: float) -> str:
    return f"{100 * low:.2f} to {100 * high:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for cells in rows:
        yield f"| {' | '.join(cells)} |"


def with_tables(page: str, written: str) -> str:
    """Put tables between the marks of a page, in place of what is there.

    Raises:
        ValueError: the page does not have each mark once, in their order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"{PAGE.name} needs the lines {BEGIN!r} and {END!r}, each once")
    return f"{before}{BEGIN}\n{written}\n{END}{after}"


def write(published: Published) -> None:
    """Write the tables into docs/published.md."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(page, tables(published)), encoding="utf-8", newline="\n")

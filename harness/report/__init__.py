"""A results folder -> report.html and figures: the question, the answer, and what it rests on.

`reading` makes the tables ready, `words`, `tables` and `figures` say and show what they hold, and `write`
lays it all out as one page that needs no network. Every word about a number is generated from that number,
every selection reads the validation split, and what has no data says so.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from harness import plots
from harness.errors import MachineError
from harness.report import (
    best,
    calibration,
    factorial,
    figures,
    flips,
    ladder,
    rates,
    samples,
    search,
    searched,
    table_files,
    verdict_views,
    words,
)
from harness.report.at_hand import Look
from harness.report.figures import Drawn, arm_confusion, arm_panels
from harness.report.judgements import Judgement, judgement
from harness.report.reading import Reading, prepare, rank, read, where
from harness.report.section import Section
from harness.report.tables import Table, arms, choices, missing, provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from harness.report.tables import Missing

__all__ = [
    "Drawn", "Judgement", "Look", "Reading", "answers", "arm_confusion", "arm_panels", "draw", "judgement",
    "prepare", "rank", "read", "save", "where", "write",
]  # fmt: skip

MAX_BYTES = 9_000_000
"""Figures in the page together; beyond it the page names their files instead, so that it can be mailed."""


def write(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a results folder.

    Args:
        folder: what `harness run` wrote.
        out: the page to write; default `folder`/report.html. Its figures go to figures/ beside it, the tables
            of its verdicts to tables/.

    Returns:
        The page.

    Raises:
        UsageError: `folder` is no results folder, the [contrasts] of its study.toml or a search's
            suggestions.csv cannot be read.
        MachineError: the page, a figure or a table cannot be written.
    """
    reading = read(folder)
    page = out or Path(folder) / "report.html"
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        contents = _search(reading) if searched.is_search(reading) else _comparison(reading)
        looked = (figure for part in contents.parts for figure in part.drawn)
        drawn = [(figure, save(figure, page.parent / "figures")) for figure in (*contents.drawn, *looked)]
        told = (table for part in contents.sections for table in part.tables if table.data is not None)
        filed = [
            (table, table_files.save(table, page.parent / "tables")) for table in (*contents.filed, *told)
        ]
        page.write_text(_render(reading, contents, drawn, filed), encoding="utf-8", newline="\n")
    except OSError as error:
        raise MachineError(
            f"the report {page} cannot be written: {error}; choose another place with --out"
        ) from error
    return page


@dataclass(frozen=True)
class Contents:
    """What stands on a page beside the facts of its folder.

    Attributes:
        answers: paragraphs of sentences.
        tables: shown above the figures, that of all arms below.
        filed: tables that are written to files, those of `sections` aside.
        drawn: figures without a section.
        sections: parts with a heading.
        models: looks at the best model of each data set.
        data: looks at each data set.
        missing: trials without a result.
        facts: beside those of every folder.
    """

    answers: Sequence[Sequence[str]]
    tables: Sequence[Table]
    filed: Sequence[Table]
    drawn: Sequence[Drawn]
    sections: Sequence[Section]
    models: Sequence[Look]
    data: Sequence[Look]
    missing: Sequence[Missing]
    facts: Mapping[str, object]

    @property
    def parts(self) -> list[Section | Look]:
        """All that shows figures of its own, in the page's order."""
        return [*self.sections, *self.models, *self.data]


def _comparison(reading: Reading) -> Contents:
    """What compares the arms of a study."""
    models, data, parts = list(best.looks(reading)), list(samples.looks(reading)), sections(reading)
    judged = judgement(reading)
    return Contents(
        answers=[*judged.answers, *answers(reading)],
        tables=[*judged.tables, *_tables(reading)],
        filed=[*judged.tables, *verdict_views.effects(reading)],
        drawn=[*judged.drawn, *draw(reading)],
        sections=parts,
        models=models,
        data=data,
        missing=[*missing(reading), *judged.missing],
        facts={"beside": judged.tuned},
    )


def _search(reading: Reading) -> Contents:
    """What a search found: its suggestions are no arms to be ranked, and none of them saw test."""
    found = searched.read(reading)
    return Contents(
        answers=search.answers(found),
        tables=[],
        filed=[],
        drawn=[],
        sections=search.sections(found),
        models=[],
        data=list(samples.looks(reading)),
        missing=missing(reading),
        facts={"beside": False, "suggestions": len(found.suggestions), "searched": search.facts(found)},
    )


def draw(reading: Reading) -> Iterator[Drawn]:
    """Draw what the design and the finished trials allow, the most telling figure first."""
    yield from factorial.draw(reading)
    yield from ladder.draw(reading) if reading.design == "ladder" else figures.draw(reading)
    yield from rates.draw(reading)


def answers(reading: Reading) -> list[list[str]]:
    """Say what came out: a paragraph a data set, its sentences in order of weight, every doubt among them."""
    if reading.design == "ladder" and reading.trials["status"].eq("ok").any():
        return ladder.answers(reading)
    return words.answers(reading)


def sections(reading: Reading) -> list[Section]:
    """What has a heading of its own on the page: calibration, and the largest contrast image by image."""
    made = [flips.section(reading), calibration.section(reading)]
    return [section for section in made if section is not None]


def _tables(reading: Reading) -> list[Table]:
    return ladder.tables(reading) if reading.design == "ladder" else [*choices(reading), arms(reading)]


def save(drawn: Drawn, folder: Path) -> tuple[Path, Path]:
    """Write a figure as `folder`/<name>.png and .svg."""
    folder.mkdir(parents=True, exist_ok=True)
    return plots.save(drawn.figure, folder / drawn.name)


def _render(
    reading: Reading,
    contents: Contents,
    drawn: Sequence[tuple[Drawn, tuple[Path, Path]]],
    filed: Sequence[tuple[Table, tuple[Path, Path]]],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    study = reading.results.study.get("study", {})
    inlined = {figure.name: shown for (figure, _), shown in zip(drawn, _inlined(drawn), strict=True)}
    looked: list[Sequence[Section] | Sequence[Look]] = [contents.sections, contents.models, contents.data]
    parts_shown, models_shown, data_shown = (
        [(part, [inlined.pop(figure.name) for figure in part.drawn]) for part in of] for of in looked
    )
    return environment.get_template("report.html").render(
        name=study.get("name", reading.results.folder.name),
        hypothesis=study.get("hypothesis", ""),
        design=reading.design,
        phase=study.get("phase", "fixed"),
        facts={**_facts(reading), **contents.facts},
        answers=contents.answers,
        tables=contents.tables,
        filed=[
            (table.title, [(file.name, table_files.uri(file)) for file in files]) for table, files in filed
        ],
        figures=list(inlined.values()),
        unread=plots.fonts.note(),
        sections=parts_shown,
        models=models_shown,
        data=data_shown,
        missing=contents.missing,
        provenance=list(provenance(reading.results.provenance)),
    )


def _inlined(drawn: Sequence[tuple[Drawn, tuple[Path, Path]]]) -> list[dict[str, object]]:
    """Each figure with its image, the smaller of its two files, as a data URI; none once the page is full."""
    inlined, total = [], 0
    for figure, files in drawn:
        file = min(files, key=lambda path: path.stat().st_size)
        data = base64.b64encode(file.read_bytes()).decode("ascii")
        total += len(data)
        kind = {".svg": "image/svg+xml", ".png": "image/png"}[file.suffix]
        width, height = figure.figure.get_size_inches()
        inlined.append(
            {
                "drawn": figure,
                "uri": f"data:{kind};base64,{data}" if total <= MAX_BYTES else "",
                "file": f"figures/{file.name}",
                "width": round(width * 96),
                "height": round(height * 96),
            }
        )
    return inlined


def _facts(reading: Reading) -> dict[str, object]:
    """What the page says about how its numbers were made."""
    trials = reading.trials
    once = trials.drop_duplicates("trial_id")  # tuned arms that chose the same settings are the same trials
    return {
        "planned": len(once),
        "done": int(once["status"].eq("ok").sum()),
        "arms": trials.drop_duplicates(["dataset", "label"]).shape[0],
        "seeds": trials["seed"].nunique(),
        "datasets": reading.datasets,
        "axes": reading.axes,
        "tuned": "lr" in reading.axes,
        "noise": noise if (noise := _values(trials, "label_noise")) not in {"", "0"} else "",
        **{
            name: _values(trials, name)
            for name in ("val_fraction", "val_split", "epochs", "steps", "engine", "device")
        },
    }


def _values(trials: pd.DataFrame, column: str) -> str:
    """The values a column takes, in words; empty where it has none."""
    values: list[object] = list(trials[column].dropna().unique()) if column in trials else []
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)

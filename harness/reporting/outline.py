"""The sections of a study's page under the headings that people look for, each figure under its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.reporting import (
    across_data_sets,
    arm_tables,
    choices,
    equivalence_matrix,
    ladder,
    level_pairs,
    resampled_splits,
    seeds_and_images,
)
from harness.reporting.model import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.reporting.evidence import Evidence
    from harness.reporting.model import Figure, Table

KINDS = {
    "forest": "verdicts", "ladder": "rungs", "effects": "choices", "variance": "choices",
    "interaction": "choices", "differences": "choices", "arms": "arms", "confusion": "confusion",
    "curves": "curves", "lr": "rates",
}  # fmt: skip
"""The first word of a figure's name -> the section that has it."""
LADDER = {"differences": "rungs", "arms": "rungs"}
"""The same, where a ladder has it elsewhere."""
MODELS = "model-"


def sections(
    evidence: Evidence, verdicts: Sequence[Table], drawn: Sequence[Figure], others: Sequence[Section]
) -> list[Section]:
    """Arrange a study's page.

    `verdicts`: tables; `drawn`: all figures outside of `others`; `others`: further sections, those of the
    best models among them. What would be empty is left out.
    """
    reading = evidence.reading
    climbs = reading.design == "ladder"
    kinds = KINDS | LADDER if climbs else KINDS
    figures: dict[str, list[Figure]] = {}
    for figure in drawn:
        figures.setdefault(kinds.get(figure.name.split("-")[0], "figures"), []).append(figure)
    models = [part for part in others if part.name.startswith(MODELS)]
    first = [Section("verdicts", "Verdicts", [], verdicts, figures.get("verdicts", []), opened=True)]
    first += [across_data_sets.section(evidence), seeds_and_images.section(evidence)]
    first += [resampled_splits.section(evidence), equivalence_matrix.section(evidence)]
    if climbs:
        first.append(Section("rungs", "Step by step", [], ladder.tables(reading), figures.get("rungs", [])))
    else:
        first += [_choices(evidence, figures.get("choices", [])), level_pairs.section(evidence)]
        first.append(Section("arms", "All arms", [], [arm_tables.arms(reading)], figures.get("arms", [])))
    every = [
        *first,
        Section("confusion", "Confusion matrix", figures=figures.get("confusion", [])),
        Section("curves", "Learning curves", figures=figures.get("curves", [])),
        Section("rates", "Learning rates", figures=figures.get("rates", [])),
        *(part for part in others if part not in models),
        Section("failures", "Failures: misclassified images", parts=models),
        Section("figures", "More figures", figures=figures.get("figures", [])),
    ]
    return [part for part in every if part.words or part.tables or part.figures or part.parts]


def _choices(evidence: Evidence, figures: Sequence[Figure]) -> Section:
    grid = evidence.reading.design == "grid"
    name, title = ("choices", "Which choice matters") if grid else ("baseline", choices.BASELINE)
    return Section(name, title, [], list(choices.tables(evidence.reading)), figures)

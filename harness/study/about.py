"""The [study] table of a study file: its name, design, seeds, and what is kept of its trials."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from harness.settings import Seeds, one_or_list, seeds_or_count
from harness.study import targets
from harness.study.designs import Design

PhaseName = Literal["fixed", "tuning", "tuned", "search", "finalists", "confirmed", "tries"]
LONGEST_NAME = 100
"""Characters of a study's name: a folder is called by it, and files begin with it."""
REFERENCE = "reference"
"""The folder in results/ that holds committed results, so that no study can have its name."""


class About(BaseModel):
    """The [study] table."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=LONGEST_NAME)
    hypothesis: str = ""
    design: Design = "grid"
    seeds: Annotated[Seeds, seeds_or_count("a study")] = [0, 1, 2]
    plugins: list[str] = []
    metrics: Annotated[list[str] | None, one_or_list] = None  # --set metrics=top3
    until: Annotated[dict[str, float] | None, BeforeValidator(targets.checked)] = None
    resample_split: bool = False
    keep_predictions: list[Literal["train", "val", "test"]] = ["test"]
    keep_weights: Literal["best", "all", "none"] = "best"
    keep_state: Literal["none", "all"] = "none"
    phase: PhaseName = "fixed"

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if value.endswith("."):
            raise ValueError("a name that does not end with a dot, which some systems drop from a folder's")
        if value.casefold() == REFERENCE:
            raise ValueError(f"another name: results/{REFERENCE} holds the results that are kept")
        return value

    @field_validator("metrics")
    @classmethod
    def _no_metric_twice(cls, value: list[str] | None) -> list[str] | None:
        if value and len(set(value)) < len(value):
            raise ValueError("a metric is listed twice")
        return value

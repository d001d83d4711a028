"""The [start] table of a study: the state of another study's trial, which its trials continue."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from harness.settings import Value

FILE = "start.safetensors"
"""The state's file in the results folder of the study that continues it."""


OF_A_START = ("parent_state", "parent_steps", "parent_updates")
"""What a start adds to the settings of a trial, and so to its id."""


class Start(BaseModel):
    """The state in which a trial begins that continues another one: its parent, and the SHA-256 of the state.

    The trial's first step is the one after `step`, which decides its batches; its optimizer has made
    `updates` before, 0 if it begins afresh. `sealed`: test is closed for the parent, as for a suggestion of
    a search, and stays so.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    parent: str = Field(pattern=r"^t[0-9a-f]{12}$")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    step: Annotated[int, Field(ge=0)]
    updates: Annotated[int, Field(ge=0)]
    sealed: bool = False

    def table(self) -> dict[str, Any]:
        """Return the table as study.toml has it."""
        return self.model_dump(exclude_defaults=True)

    def settings(self) -> dict[str, Value]:
        """Give what it adds to the settings of a trial, and so to its id."""
        return dict(zip(OF_A_START, (f"{self.parent} {self.digest}", self.step, self.updates), strict=True))

"""A [datasets.NAME] table without a folder: images that the harness draws."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.data import glyphs, mnist1d
from harness.data.datasets import Dataset


class GeneratedTable(BaseModel):
    """A [datasets.NAME] table with `generate`: letters from fonts, or the curves of mnist1d.

    Args:
        generate: "glyphs" or "mnist1d".
        seed: of all draws.
        classes: glyphs only: a number of characters, A to Z first, or the characters themselves.
        per_class: glyphs only: train images a class.
        test_per_class: glyphs only: test images a class.
        size: glyphs only: pixels of a side.
        fonts: glyphs only: the fonts of train: names of those that matplotlib ships, or .ttf and .otf files.
        test_fonts: glyphs only: the fonts of test.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    generate: Literal["glyphs", "mnist1d"]
    seed: int = Field(default=0, ge=0)
    classes: int | str = 26
    per_class: int = Field(default=1000, ge=1, le=100_000)
    test_per_class: int = Field(default=200, ge=1, le=100_000)
    size: int = Field(default=28, ge=8, le=256)
    fonts: list[str] = Field(default=list(glyphs.TRAIN_FONTS), min_length=1)
    test_fonts: list[str] = Field(default=list(glyphs.TEST_FONTS), min_length=1)

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> GeneratedTable:
        if self.generate != "glyphs" and (further := self.model_fields_set - {"generate", "seed"}):
            raise ValueError(f"no {', '.join(sorted(further))} with generate = {self.generate!r}: seed alone")
        return self

    def beside(self, folder: Path) -> GeneratedTable:
        """Return the table with its font files found from a folder, and checked.

        Raises:
            UsageError: a font is not there or lacks a character.
        """
        if self.generate != "glyphs":
            return self
        found = {
            key: [glyphs.placed(name, folder) for name in getattr(self, key)]
            for key in ("fonts", "test_fonts")
        }
        placed = self.model_copy(update=found)
        recipe = placed.recipe
        glyphs.check_fonts(dict.fromkeys((*recipe.fonts, *recipe.test_fonts)), recipe.characters)
        return placed

    @property
    def recipe(self) -> glyphs.Recipe:
        """The recipe of a table of letters."""
        fonts, test_fonts = (tuple(map(glyphs.font_file, names)) for names in (self.fonts, self.test_fonts))
        return glyphs.Recipe(
            glyphs.characters(self.classes), self.per_class, self.test_per_class, self.size, self.seed, fonts,
            test_fonts,
        )  # fmt: skip

    def dataset(self, name: str) -> Dataset:
        """Return the data set under the name that a study gives it; nothing is drawn yet."""
        if self.generate == "mnist1d":
            return Dataset(name, functools.partial(mnist1d.draw, self.seed), mnist1d.CLASSES)
        recipe = self.recipe
        return Dataset(name, functools.partial(glyphs.draw, recipe), tuple(recipe.characters))

    def table(self) -> dict[str, Any]:
        """Return the table as a study file writes it: only values that differ from the defaults."""
        return {"generate": self.generate, **self.model_dump(exclude_defaults=True)}

"""Letters drawn from fonts, bent and moved at random: data of any number of classes, without a download.

A seed, the characters and the font files fix every pixel. Train is drawn with some fonts, test with others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data import outlines
from harness.data.images import Images
from harness.data.shared_arrays import shared_arrays
from harness.errors import UsageError, few

CHARACTERS = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz"
    "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθικλμνξπρστυφχψω"
    "БГДЖЗИЙЛПФЦЧШЩЪЫЬЭЮЯбвгджзийклмнптфцчшщъыьэюя"
)
"""Characters that a number of classes takes the first of; no Greek one is a Latin one's double."""
TRAIN_FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSansMono",
    "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "cmr10", "cmb10",
)  # fmt: skip
TEST_FONTS = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmss10", "cmtt10")
"""Fonts that matplotlib ships: no family of TEST_FONTS but Computer Modern's is in TRAIN_FONTS."""
VERSION = 2
"""Version of the drawing, part of what shared images are found by."""
CAPITAL = 0.62
"""Height of a capital letter that is not scaled, as a share of the image's."""
TURN, SHEAR, SCALE, MOVE, BEND = 0.14, 0.18, (0.72, 1.08), 0.07, 0.035
"""Distortions: standard deviations of the angle in radians and of the shear; a range of the scale, of width
and height each; the largest move and the standard deviation of the bends, as shares of image and letter."""
INK = (0.6, 1.0)
"""The range of the value of full ink."""
BATCH = 512  # images drawn at once


@dataclass(frozen=True)
class Recipe:
    """All that decides a set of letters.

    Args:
        characters: a class each.
        per_class: train images a class.
        test_per_class: test images a class.
        size: pixels of a side.
        seed: of all draws.
        fonts: font files that train is drawn with, in turn.
        test_fonts: font files that test is drawn with, in turn.
    """

    characters: str
    per_class: int = 1000
    test_per_class: int = 200
    size: int = 28
    seed: int = 0
    fonts: tuple[Path, ...] = ()
    test_fonts: tuple[Path, ...] = ()

    def digest(self) -> str:
        """Digest the recipe with its font files' bytes."""
        fonts = [
            [hashlib.sha256(font.read_bytes()).hexdigest() for font in part]
            for part in (self.fonts, self.test_fonts)
        ]
        numbers = (VERSION, self.characters, self.per_class, self.test_per_class, self.size, self.seed)
        return hashlib.sha256(repr((numbers, fonts)).encode()).hexdigest()


def default(classes: int | str = 26, **numbers: int) -> Recipe:
    """Give the recipe of so many characters, or of those given, in the fonts that matplotlib ships."""
    return Recipe(
        characters(classes), **numbers,
        fonts=tuple(map(font_file, TRAIN_FONTS)), test_fonts=tuple(map(font_file, TEST_FONTS)),
    )  # fmt: skip


def characters(classes: int | str) -> str:
    """Give the characters of a number of classes, or check those given.

    Raises:
        UsageError: there are too few or too many, or one comes twice.
    """
    if isinstance(classes, int):
        if not 2 <= classes <= len(CHARACTERS):
            raise UsageError(
                f"classes = {classes}: allowed: 2 to {len(CHARACTERS)}, or the characters themselves"
            )
        return CHARACTERS[:classes]
    if (
        len(classes) < 2
        or len(set(classes)) < len(classes)
        or any(c.isspace() or not c.isprintable() for c in classes)
    ):
        raise UsageError(f"classes = {classes!r:.60}: allowed: two characters or more, none twice, no space")
    return classes


def placed(name: str, folder: Path) -> str:
    """Name a font wherever a study is read from: a file by its whole path, a shipped one as it is.

    Raises:
        UsageError: there is none.
    """
    file = font_file(name, folder)
    return name if file.parent == outlines.font_folder() else file.as_posix()


def font_file(name: str, beside: Path = Path()) -> Path:
    """Find a font: one that matplotlib ships, by its name, or a file.

    Raises:
        UsageError: there is none.
    """
    shipped = outlines.font_folder() / f"{name}.ttf"
    if "/" not in name and shipped.is_file():
        return shipped
    path = beside / Path(name).expanduser()
    if path.is_file() and path.suffix.lower() in {".ttf", ".otf"}:
        return path.absolute()
    raise UsageError(
        f"font {name!r}: allowed: a .ttf or .otf file, or a font that matplotlib ships: "
        f"{few([*TRAIN_FONTS, *TEST_FONTS])}"
    )


def check_fonts(fonts: Iterable[Path], wanted: str) -> None:
    """Raise UsageError where a font file cannot be read or lacks a character."""
    for font in fonts:
        try:
            lacking = outlines.lacking(font, wanted)
        except (RuntimeError, OSError) as error:
            raise UsageError(
                f"font {font}: cannot be read ({error}); allowed: a .ttf or .otf file"
            ) from error
        if lacking:
            raise UsageError(
                f"font {font.name} has no {few(list(lacking))}; allowed: fonts that have all {len(wanted)} "
                "characters. Take other fonts, or fewer classes"
            )


def draw(recipe: Recipe) -> Images:
    """Draw the images of a recipe, class by class in turn: 0, 1, ..., 0, 1, ...; or find them, drawn before.

    Raises:
        UsageError: a font lacks a character.
    """
    check_fonts(dict.fromkeys((*recipe.fonts, *recipe.test_fonts)), recipe.characters)

    def make() -> dict[str, NDArray[np.uint8]]:
        return {
            "train": _part(recipe, recipe.fonts, recipe.per_class, 0),
            "test": _part(recipe, recipe.test_fonts, recipe.test_per_class, 1),
        }

    arrays = shared_arrays(f"glyphs {recipe.digest()}", make)
    labels = [
        np.tile(np.arange(len(recipe.characters)), count)
        for count in (recipe.per_class, recipe.test_per_class)
    ]
    return Images(arrays["train"], labels[0], arrays["test"], labels[1])


def _part(recipe: Recipe, fonts: Sequence[Path], per_class: int, part: int) -> NDArray[np.uint8]:
    """Draw train (part 0) or test (1): (per_class * classes, size, size)."""
    classes, size = len(recipe.characters), recipe.size
    pixels = np.empty((per_class, classes, size, size), np.uint8)
    for label, character in enumerate(recipe.characters):
        for place, font in enumerate(fonts):
            # Each letter of each font has draws of its own, so that a class more changes no image of others.
            rng = np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=(part, label, place)))
            rows = pixels[place :: len(fonts), label]
            letter = outlines.outline(font, character)
            for begin in range(0, len(rows), BATCH):
                rows[begin : begin + BATCH] = _drawn(letter, rows[begin : begin + BATCH].shape[0], size, rng)
    return pixels.reshape(-1, size, size)


def _drawn(letter: outlines.Outline, n: int, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw n images (n, size, size) of a letter, each distorted in its own way."""
    angle, shear = rng.normal(0, TURN, (n, 1)), rng.normal(0, SHEAR, (n, 1))
    width, height = rng.uniform(*SCALE, (2, n, 1))
    move = rng.uniform(-MOVE, MOVE, (2, n, 1)) * size
    bend = rng.normal(0, BEND, (2, n, 1))
    frequency, phase = rng.uniform(2, 6, (2, n, 1)), rng.uniform(0, 2 * np.pi, (2, n, 1))
    ink = rng.uniform(*INK, (n, 1, 1))

    def placed(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points[:, 0], points[:, 1] - 0.5  # the middle of a capital letter is at 0
        bent_x = x + bend[0] * np.sin(frequency[0] * y + phase[0])
        bent_y = y + bend[1] * np.sin(frequency[1] * x + phase[1])
        wide, tall = width * (bent_x + shear * bent_y), height * bent_y
        turned_x = np.cos(angle) * wide - np.sin(angle) * tall
        turned_y = np.sin(angle) * wide + np.cos(angle) * tall
        unit = CAPITAL * size
        return np.stack([size / 2 + unit * turned_x + move[0], size / 2 - unit * turned_y + move[1]], axis=-1)

    filled = outlines.fill(placed(letter.starts), placed(letter.ends), size)
    return (filled * ink * 255).round().astype(np.uint8)

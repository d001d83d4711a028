from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from harness.data import glyphs, outlines
from harness.data.datasets import Dataset, datasets, digest
from harness.errors import UsageError
from harness.study.reading import parse

if TYPE_CHECKING:
    from pathlib import Path

SMALL = dataclasses.replace(glyphs.default("ABC"), per_class=14, test_per_class=7)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


# Outlines and their ink


def polygon(*points: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.array(points, float)[None]
    return starts, np.roll(starts, -1, axis=1)


def test_ink_is_the_share_of_each_pixel_that_is_inside() -> None:
    square = polygon((0.5, 1), (2.25, 1), (2.25, 3), (0.5, 3))
    expected = np.zeros((4, 4))
    expected[1:3, :3] = 0.5, 1, 0.25
    assert np.array_equal(outlines.fill(*square, 4)[0], expected)
    # The other way round, and beyond the image's edges.
    assert np.array_equal(outlines.fill(square[1], square[0], 4)[0], expected)
    assert np.array_equal(outlines.fill(*polygon((-9, -9), (9, -9), (9, 2), (-9, 2)), 3)[0, :, 0], [1, 1, 0])
    triangle = outlines.fill(*polygon((0, 0), (4, 0), (0, 4)), 4)[0]
    assert triangle.sum() == pytest.approx(8)
    assert np.diag(np.fliplr(triangle)) == pytest.approx(0.5)


def test_a_hole_has_no_ink_and_overlapping_parts_have_it_once() -> None:
    outer = polygon((0, 0), (4, 0), (4, 4), (0, 4))
    inner = polygon((1, 1), (1, 3), (3, 3), (3, 1))
    both = [np.concatenate(pair, axis=1) for pair in zip(outer, inner, strict=True)]
    assert outlines.fill(both[0], both[1], 4)[0].sum() == 12
    twice = [np.concatenate([part, part], axis=1) for part in outer]
    assert outlines.fill(twice[0], twice[1], 4)[0].max() == 1


@pytest.mark.parametrize("character", ["A", "g", "8", "&", "Ж"])
@pytest.mark.parametrize("font", ["DejaVuSans", "DejaVuSerif-BoldItalic"])
def test_a_letter_has_the_ink_that_pillow_draws(font: str, character: str) -> None:
    size, points, base = 320, 160, 200
    file = glyphs.font_file(font)
    drawn = Image.new("L", (size, size))
    ImageDraw.Draw(drawn).text((30, base), character, 255, ImageFont.truetype(str(file), points), "ls")
    letter = outlines.outline(file, character)
    face = ImageFont.truetype(str(file), 2048)
    capital = -face.getbbox("H", anchor="ls")[1] / 2048 * points
    left, _, right, _ = drawn.getbbox() or pytest.fail("nothing drawn")

    def placed(corners: np.ndarray) -> np.ndarray:
        x = (left + right) / 2 + capital * corners[:, 0]
        return np.stack([x, base - capital * corners[:, 1]], axis=-1)[None]

    ours = outlines.fill(placed(letter.starts), placed(letter.ends), size)[0]
    theirs = np.asarray(drawn) / 255
    assert theirs.sum() == pytest.approx(ours.sum(), rel=0.02)
    # Pillow hints: edges move by parts of a pixel, and nothing else differs.
    assert np.abs(ours - theirs).mean() < 0.08 * theirs.mean()


# Sets of letters


def test_the_registered_set_is_the_one_that_its_digest_says() -> None:
    images = datasets["glyphs"].load()  # which compares its SHA-256
    assert images.train_images.shape == (26_000, 28, 28)
    assert np.bincount(images.test_labels).tolist() == [200] * 26


def test_a_recipe_fixes_every_byte_and_each_part_of_it_counts(own_cache: Path) -> None:
    images = glyphs.draw(SMALL)
    shutil.rmtree(own_cache)  # drawn images are kept there
    assert digest(glyphs.draw(SMALL)) == digest(images)
    assert images.train_labels.tolist() == [0, 1, 2] * 14
    others = [
        dataclasses.replace(SMALL, seed=1),
        dataclasses.replace(SMALL, characters="ABD"),
        dataclasses.replace(SMALL, fonts=SMALL.fonts[1:]),
        dataclasses.replace(SMALL, test_fonts=SMALL.fonts),
        dataclasses.replace(SMALL, size=20),
    ]
    assert len({digest(glyphs.draw(recipe)) for recipe in (SMALL, *others)}) == 6


def test_a_class_more_changes_no_image_of_the_others() -> None:
    three, two = glyphs.draw(SMALL), glyphs.draw(dataclasses.replace(SMALL, characters="AB"))
    assert np.array_equal(three.train_images[three.train_labels < 2], two.train_images)


def test_train_and_test_have_other_fonts_and_other_draws() -> None:
    assert not set(glyphs.TRAIN_FONTS) & set(glyphs.TEST_FONTS)
    same = glyphs.draw(dataclasses.replace(SMALL, fonts=SMALL.fonts[:1], test_fonts=SMALL.fonts[:1]))
    prints = [{image.tobytes() for image in part} for part in (same.train_images, same.test_images)]
    assert [len(part) for part in prints] == [42, 21]
    assert not prints[0] & prints[1]


def test_every_letter_is_within_its_image() -> None:
    images = glyphs.draw(dataclasses.replace(glyphs.default(62), per_class=24, test_per_class=12))
    for part in (images.train_images, images.test_images):
        inside = part.sum(axis=(1, 2), dtype=float)
        rim = inside - part[:, 1:-1, 1:-1].sum(axis=(1, 2), dtype=float)
        assert inside.min() > 500
        assert (rim / inside > 0.02).mean() < 0.05  # hardly any touches the rim


# What a study writes


def study(**table: object) -> Dataset:
    tables = {"study": {"name": "s"}, "baseline": {"dataset": "letters"}, "datasets": {"letters": table}}
    return parse(tables).dataset("letters")


def test_a_study_draws_letters_of_its_own(tmp_path: Path) -> None:
    shutil.copy(glyphs.font_file("DejaVuSans"), tmp_path / "mine.ttf")
    mine = [str(tmp_path / "mine.ttf")]
    own = study(generate="glyphs", classes=["b", "a"], per_class=3, test_per_class=2, size=16, fonts=mine)
    assert own.facts.classes == ("b", "a")
    assert (own.facts.shape, own.facts.train, own.facts.test) == ((16, 16), 6, 4)
    curves = study(generate="mnist1d", seed=4)
    assert curves.facts.shape == (1, 40)


def test_a_resolved_study_draws_the_same_letters() -> None:
    tables = {
        "study": {"name": "s"},
        "baseline": {"dataset": "letters"},
        "datasets": {"letters": {"generate": "glyphs", "classes": "xyz", "per_class": 2, "seed": 5}},
    }
    first = parse(tables)
    again = parse(first.tables())
    assert again.dataset("letters").facts == first.dataset("letters").facts


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"generate": "letters"}, "datasets.letters.generate = 'letters': allowed: 'glyphs' or 'mnist1d'"),
        ({"generate": "glyphs", "classes": 1}, "classes = 1: allowed: 2 to "),
        ({"generate": "glyphs", "classes": 9999}, "classes = 9999: allowed: 2 to "),
        (
            {"generate": "glyphs", "classes": "AA"},
            "classes = 'AA': allowed: two characters or more, none twice",
        ),
        ({"generate": "glyphs", "classes": "A B"}, "classes = 'A B': allowed: two characters or more"),
        (
            {"generate": "glyphs", "classes": "A語"},
            "font DejaVuSans.ttf has no 語; allowed: fonts that have all 2",
        ),
        (
            {"generate": "glyphs", "fonts": ["Arial"]},
            "font 'Arial': allowed: a .ttf or .otf file, or a font that",
        ),
        ({"generate": "glyphs", "fonts": []}, "datasets.letters.fonts = []: allowed: "),
        ({"generate": "glyphs", "size": 4}, "datasets.letters.size = 4: allowed: "),
        ({"generate": "glyphs", "colour": 1}, "datasets.letters.colour: unknown key"),
        ({"generate": "mnist1d", "size": 20}, "no size with generate = 'mnist1d': seed alone"),
    ],
)
def test_a_faulty_table_is_told_before_anything_is_drawn(table: dict[str, object], fault: str) -> None:
    with pytest.raises(UsageError) as caught:
        study(**table)
    assert fault in str(caught.value)


def test_a_file_that_is_no_font_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.ttf").write_bytes(b"no font")
    with pytest.raises(UsageError, match=r"no\.ttf: cannot be read"):
        study(generate="glyphs", fonts=[str(tmp_path / "no.ttf")])

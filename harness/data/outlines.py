"""Outlines of letters from fonts, and pixels of outlines.

Letters are taken as the fonts draw them, in the fonts' own units and without hinting, and filled here: no
renderer's version decides a pixel (matplotlib 3.8 with FreeType 2.6 and 3.11 with 2.14 give the same).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINES = 4
"""Lines of a pixel's height along which its ink is measured, exactly along each."""
PIECES = 6
"""Straight pieces of a curve."""
LONGEST = 0.12
"""Length of the longest straight piece in ems: what bends letters bends lines, too."""


@dataclass(frozen=True)
class Outline:
    """A letter's closed outline as edges: starts (E, 2) and ends (E, 2), x to the right and y up.

    Units: capital letters of the font are 1 high and stand on y = 0; the letter's middle is at x = 0.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]


def font_folder() -> Path:
    """Return the folder of the fonts that matplotlib ships."""
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def lacking(font: Path, characters: str) -> str:
    """Return those of the characters that a font lacks."""
    from matplotlib.ft2font import FT2Font

    there = FT2Font(str(font)).get_charmap()
    return "".join(character for character in characters if ord(character) not in there)


def _unhinted() -> Any:
    """Return FreeType's flag, as this matplotlib takes it: from 3.10 on an enumeration."""
    from matplotlib import ft2font

    names = vars(ft2font)
    return names["LoadFlags"].NO_HINTING if "LoadFlags" in names else names["LOAD_NO_HINTING"]


@functools.lru_cache(maxsize=2048)
def outline(font: Path, character: str) -> Outline:
    """Read a letter's outline out of a font file that has it."""
    starts, ends = _edges(font, character)
    capital = _edges(font, "H" if not lacking(font, "H") else character)[0][:, 1]
    height = float(capital.max() - min(capital.min(), 0.0)) if len(capital) else 1.0
    middle = (starts[:, 0].min() + starts[:, 0].max()) / 2 if len(starts) else 0.0
    return Outline((starts - (middle, 0)) / height, (ends - (middle, 0)) / height)


def _edges(font: Path, character: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read starts and ends of the edges, in ems."""
    from matplotlib.ft2font import FT2Font

    face = FT2Font(str(font))
    # A point for each unit in which the font is drawn: of other sizes, each FreeType rounds in its own way.
    face.set_size(face.units_per_EM, 72)
    face.load_char(ord(character), flags=_unhinted())
    vertices, codes = face.get_path()
    vertices = np.asarray(vertices, np.float64) / face.units_per_EM
    starts, ends = [np.empty((0, 2))], [np.empty((0, 2))]
    for contour in _contours(vertices, np.asarray(codes)):
        starts.append(contour)
        ends.append(np.roll(contour, -1, axis=0))
    return np.concatenate(starts), np.concatenate(ends)


MOVE, LINE, QUADRATIC, CUBIC, CLOSE = 1, 2, 3, 4, 79
"""Codes of a path in matplotlib; a curve's code stands at its control points and at its end."""


def _contours(vertices: NDArray[np.float64], codes: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Cut a path into closed contours (P, 2) of short straight pieces."""
    contours: list[list[NDArray[np.float64]]] = []
    i = 0
    while i < len(codes):
        code = int(codes[i])
        length = {QUADRATIC: 2, CUBIC: 3}.get(code, 1)
        if code == MOVE:
            contours.append([vertices[i : i + 1]])
        elif code != CLOSE:
            begin = contours[-1][-1][-1]
            contours[-1].append(_curve(np.vstack([begin, vertices[i : i + length]])))
        i += length
    closed = [np.concatenate(points) for points in contours if len(points) > 1]
    return [_subdivided(points) for points in closed]


def _curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Follow a Bezier curve of 2, 3 or 4 points by de Casteljau's construction; its start is left out."""
    pieces = PIECES if len(points) > 2 else 1
    t = np.arange(1, pieces + 1)[:, None, None] / pieces
    while len(points.shape) < 3 or points.shape[1] > 1:
        level = points if points.ndim == 3 else points[None]
        points = level[:, :-1] * (1 - t) + level[:, 1:] * t
    on_curve: NDArray[np.float64] = points[:, 0]
    return on_curve


def _subdivided(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide the edges of a closed contour so that none is longer than LONGEST."""
    after = np.roll(points, -1, axis=0)
    counts = np.maximum(np.ceil(np.hypot(*(after - points).T) / LONGEST).astype(int), 1)
    which = np.repeat(np.arange(len(points)), counts)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (place / counts[which])[:, None]
    divided: NDArray[np.float64] = points[which] * (1 - share) + after[which] * share
    return divided


def fill(starts: NDArray[np.float64], ends: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Measure the ink of N outlines in size x size pixels.

    Args:
        starts: of the edges, (N, E, 2): x to the right and y down, in pixels from the upper left corner.
        ends: of the edges, (N, E, 2).
        size: pixels of a side.

    Returns:
        The share of each pixel that is inside, (N, size, size), 0 to 1.
    """
    n, edges = starts.shape[:2]
    lines = size * LINES
    low = np.minimum(starts[..., 1], ends[..., 1]) * LINES - 0.5
    high = np.maximum(starts[..., 1], ends[..., 1]) * LINES - 0.5
    first = np.clip(np.ceil(low), 0, lines).astype(np.int64)
    counts = (np.clip(np.ceil(high), 0, lines).astype(np.int64) - first).reshape(-1)
    which = np.repeat(np.arange(n * edges), counts)
    line = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + first.reshape(-1)[which]
    (x0, y0), (x1, y1) = starts.reshape(-1, 2)[which].T, ends.reshape(-1, 2)[which].T
    share = ((line + 0.5) / LINES - y0) / (y1 - y0)
    x = np.clip(x0 + share * (x1 - x0), 0, size)
    sign = np.where(y1 > y0, 1.0, -1.0)
    column = np.minimum(np.floor(x).astype(np.int64), size - 1)
    inside = column + 1 - x
    # What an edge adds to its own pixel, and to all after it: a running sum along the line gives the ink.
    cell = (which // edges * lines + line) * (size + 1) + column
    cells = n * lines * (size + 1)
    steps = np.bincount(cell, sign * inside, cells) + np.bincount(cell + 1, sign * (1 - inside), cells)
    ink = np.cumsum(steps.reshape(n, size, LINES, size + 1), axis=3)[..., :size]
    shares: NDArray[np.float64] = np.minimum(np.abs(ink), 1).mean(axis=2)
    return shares

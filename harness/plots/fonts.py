"""Letters that matplotlib's own font lacks: another font of this machine, or a number, stands for them.

Nothing is guessed by language: a font is asked for each letter. Numbers are the same in all figures of a
process, and `note` is their key. SVG files keep the names, which a browser draws with fonts of its own.
"""

from __future__ import annotations

import functools
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

HOUSE = "DejaVu Sans"
"""The font that matplotlib ships: the same layout on every machine."""
BOXES = "Last Resort"
"""What matplotlib ships beside it: a font that has a box for every letter."""
_numbers: dict[str, int] = {}  # a run of letters that no font has -> its number, in this process


@contextmanager
def readable(figure: Figure) -> Iterator[None]:
    """Give a figure fonts for all its letters while it is drawn, and numbers for letters without a font."""
    letters = frozenset(letter for text in _texts(figure) for letter in text if not letter.isascii())
    lacking = letters - _letters(font_manager.findfont(HOUSE)) if letters else letters
    if not lacking:
        yield
        return
    families, unread = holding(lacking)
    restored = _replaced(figure, functools.partial(_numbered, unread=unread)) if unread else []
    with mpl.rc_context({"font.sans-serif": [HOUSE, *families]}):
        try:
            yield
        finally:
            for restore in restored:
                restore()


def settle(figure: Figure) -> None:
    """Give a figure, for good, what `readable` gives while it is drawn: another program will draw it."""
    letters = frozenset(letter for text in _texts(figure) for letter in text if not letter.isascii())
    lacking = letters - _letters(font_manager.findfont(HOUSE)) if letters else letters
    if not lacking:
        return
    families, unread = holding(lacking)
    if unread:
        _replaced(figure, functools.partial(_numbered, unread=unread))
    for text in figure.findobj(Text):
        text.set_fontfamily([HOUSE, *families])


@contextmanager
def named() -> Iterator[None]:
    """Keep names as they are while a figure is written as text: a browser finds fonts for them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def note() -> str:
    """Return the key of the numbers in figures of this process; empty if every letter has a font."""
    if not _numbers:
        return ""
    key = ", ".join(f"[{number}] is {name}" for name, number in _numbers.items())
    return (
        f"no font on this machine has the letters of some names: in PNG figures {key}. SVG figures have the "
        "names; with a font such as Noto Sans CJK installed, PNG figures have them too"
    )


def holding(letters: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Find the fewest fonts of this machine that have some letters, and the letters that no font has."""
    families, left = [], letters
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if left and not font.name.startswith((HOUSE, BOXES)) and (here := left & _letters(font.fname)):
            families.append(font.name)
            left -= here
    return list(dict.fromkeys(families)), left


@functools.cache
def _letters(path: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


def _numbered(text: str, unread: frozenset[str]) -> str:
    """Replace each run of letters without a font, and spaces between them, by a number in brackets."""
    if not unread & frozenset(text):
        return text
    letter = f"[{re.escape(''.join(unread))}]"
    return re.sub(f"{letter}(?:\\s*{letter})*", lambda run: f"[{_number(run[0])}]", text)


def _number(run: str) -> int:
    return _numbers.setdefault(" ".join(run.split()), len(_numbers) + 1)


def _axes(figure: Figure) -> list[Axis]:
    return [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]


def _texts(figure: Figure) -> Iterator[str]:
    for text in figure.findobj(Text):
        yield str(text.get_text())
    for axis in _axes(figure):
        yield from _tick_labels(axis).values()


def _tick_labels(axis: Axis) -> dict[float, str]:
    """Return the labels that an axis was given, by place; none if it makes them from numbers."""
    formatter = axis.get_major_formatter()
    if isinstance(formatter, FixedFormatter):
        return dict(enumerate(map(str, formatter.seq)))
    func = getattr(formatter, "func", None)
    if isinstance(func, functools.partial) and func.args and isinstance(func.args[0], dict):
        return func.args[0]
    return {}


def _replaced(figure: Figure, spell: Callable[[str], str]) -> list[Callable[[], None]]:
    """Replace the texts of a figure; return functions that put them back."""
    restored: list[Callable[[], None]] = []
    for text in figure.findobj(Text):
        before = str(text.get_text())
        if spell(before) != before:
            text.set_text(spell(before))
            restored.append(functools.partial(text.set_text, before))
    for axis in _axes(figure):
        labels, formatter = _tick_labels(axis), axis.get_major_formatter()
        if any(spell(label) != label for label in labels.values()):
            spelled = {place: spell(label) for place, label in labels.items()}
            func = getattr(formatter, "func", None)
            axis.major.formatter = (
                FuncFormatter(functools.partial(func.func, spelled))
                if isinstance(func, functools.partial)
                else FixedFormatter(list(spelled.values()))
            )
            restored.append(functools.partial(setattr, axis.major, "formatter", formatter))
    return restored

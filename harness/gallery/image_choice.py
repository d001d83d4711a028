"""Choices of images: by number, the first ones, of a class, at random or evenly spaced; and their captions.

`ImageChoice("train", label=7, count=10).of(seen("mnist"))` says where they are in the split, and in words how
they were chosen.
"""

from __future__ import annotations

import itertools
import operator
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.data.samples import Split
from harness.errors import UsageError, did_you_mean, few, quoted
from harness.gallery.views import View, existing, label_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 200
"""Images in one figure."""
LONGEST = 20  # characters above an image
CAPTIONS = {
    "name": "{name}", "label": "{label}", "Label: 5": "Label: {label}", "both": "{name}\n{label}", "none": "",
}  # fmt: skip
"""What stands above an image; also any text with {name}, {label} or {number}."""
SEEDS = 1_000_000  # drawn seeds are below: they can be typed again


def short(name: str, longest: int = LONGEST) -> str:
    """Shorten a name in the middle if it is longer than so many characters."""
    if len(name) <= longest:
        return name
    return f"{name[: longest // 2]}\u2026{name[1 - longest // 2 :]}"


def captions(view: View, split: Split, places: Iterable[int], wanted: str) -> list[str]:
    """Write what stands above each image, with names shortened.

    Raises:
        UsageError: there is no such caption.
    """
    wanted = str(wanted)
    form = CAPTIONS.get(wanted, wanted)
    if wanted not in CAPTIONS and not any(f"{{{word}}}" in wanted for word in ("name", "label", "number")):
        raise UsageError(
            f"captions = {quoted(wanted)}: {did_you_mean(str(wanted), CAPTIONS)}; or a text with {{name}}, "
            "{label} or {number}"
        )
    return [_caption(form, view, split, int(place)) for place in places]


def _caption(form: str, view: View, split: Split, place: int) -> str:
    words = {
        "name": short(view.names[split][place]),
        "label": short(view.facts.classes[view.labels[split][place]]),
        "number": str(view.numbers[split][place]),
    }
    for word, value in words.items():
        form = form.replace(f"{{{word}}}", value)
    return form


@dataclass(frozen=True)
class Chosen:
    """Chosen images: their places in a split, the title of a figure of them, and the seed that drew them."""

    view: View
    split: Split
    places: NDArray[np.int64]
    words: str
    seed: int | None = None

    def table(self) -> pd.DataFrame:
        """Tabulate the images: split, number, name, label, class; `attrs["seed"]` is the seed."""
        labels = self.view.labels[self.split][self.places]
        columns = {
            "split": self.split,
            "number": self.view.numbers[self.split][self.places],
            "name": [self.view.names[self.split][i] for i in self.places],
            "label": labels,
            "class": [self.view.facts.classes[label] for label in labels],
        }
        table = pd.DataFrame(columns)
        table.attrs["seed"] = self.seed
        return table


@dataclass(frozen=True)
class ImageChoice:
    """The images to show of a split.

    Attributes:
        split: train, val or test.
        label: only those of this class, by its name or number.
        number: those of these numbers: 15, [25, 26], range(25, 30), or "25-29,40".
        first: so many, as they come.
        count: so many at random; 10 by default.
        seed: of the random ones; one is drawn where none is given.
    """

    split: str = "train"
    label: str | int | None = None
    number: Any = None
    first: int | None = None
    count: int | None = None
    seed: int | None = None

    def of(self, view: View) -> Chosen:
        """Choose the images of a view.

        Raises:
            UsageError: an image, a class or a split is not there, or two ways of choosing are mixed.
        """
        split = existing(view, self.split)
        if self.number is not None:
            return self._numbered(view, split)
        label = None if self.label is None else label_of(view, self.label)
        what = view.title(split)
        members = np.arange(len(view.labels[split]))
        if label is not None:
            members, what = np.flatnonzero(view.labels[split] == label), f"{view.class_name(label)} in {what}"
        if not members.size:
            raise UsageError(f"there is no image of {what}; choose another label or split")
        if self.first is not None:
            return self._first(view, split, members, what)
        count = whole("count", 10 if self.count is None else self.count)
        if count >= len(members):
            return Chosen(view, split, members, f"{what}: {_all(len(members))}")
        seed = drawn_seed(self.seed)
        drawn = np.sort(np.random.default_rng(seed).permutation(members)[:count])
        chosen = f"{count} of {len(members):,} images at random (seed {seed})"
        return Chosen(view, split, drawn, f"{what}: {chosen}", seed)

    def _first(self, view: View, split: Split, members: NDArray[np.int64], what: str) -> Chosen:
        if self.count is not None or self.seed is not None:
            raise UsageError("first takes no count and no seed: the first ones are not drawn")
        first = whole("first", self.first)
        chosen = members[:first]
        words = _all(len(members))
        if first < len(members):
            words = f"the first image of {len(members):,}"
            words = words if first == 1 else f"the first {first} of {len(members):,} images"
        return Chosen(view, split, chosen, f"{what}: {words}")

    def _numbered(self, view: View, split: Split) -> Chosen:
        others = {"label": self.label, "first": self.first, "count": self.count, "seed": self.seed}
        if given := [name for name, value in others.items() if value is not None]:
            raise UsageError(f"number says which images: it goes with no {' and no '.join(given)}")
        wanted = numbers(self.number)
        place = {int(number): i for i, number in enumerate(view.numbers[split])}
        for number in wanted:
            if number not in place:
                raise UsageError(_absent(view, split, number))
        words = f"image {wanted[0]:,}" if len(wanted) == 1 else f"images {wanted[0]:,} to {wanted[-1]:,}"
        if len(wanted) > 1 and wanted != list(range(wanted[0], wanted[-1] + 1)):
            words = f"images {few([f'{number:,}' for number in wanted])}"
        return Chosen(view, split, np.array([place[n] for n in wanted]), f"{view.title(split)}: {words}")


def spaced(view: View, split: str, count: int) -> Chosen:
    """Choose evenly spaced images, from the first to the last of a split."""
    name, count = existing(view, split), whole("rows x columns", count)
    total = len(view.labels[name])
    places = np.unique(np.linspace(0, total - 1, count).round().astype(int))
    noun = {"train": "training", "val": "validation", "test": "test"}[name]
    words = f"{view.name}: {len(places)} of {total:,} {noun} images, evenly spaced from first to last"
    return Chosen(view, name, places, words)


def numbers(given: Any) -> list[int]:
    """Read the numbers of images: 15, [25, 26], range(25, 30), or "25-29,40".

    Raises:
        UsageError: they are no such numbers, or too many for a figure.
    """
    found = _from_text(given) if isinstance(given, str) else _from_object(given)
    if not found or len(found) > MOST:
        many = f"more than {MOST}" if found else "no"
        raise UsageError(f"number = {quoted(given)}: {many} images; allowed in one figure: 1 to {MOST}")
    return found


def _from_text(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = (word.strip() for word in part.partition("-"))
        ends = [low, high] if dash else [low]
        if not all(end.isascii() and end.isdigit() and len(end) < 10 for end in ends):
            raise UsageError(f'number {quoted(text)}: allowed: 15, 25-29, or several: "3,15,25-29"')
        if int(ends[0]) > int(ends[-1]):
            raise UsageError(f"number {quoted(part)}: the first image of a range comes first")
        if int(ends[-1]) - int(ends[0]) >= MOST:
            raise UsageError(f"number {quoted(part)}: allowed in one figure: 1 to {MOST} images")
        found += range(int(ends[0]), int(ends[-1]) + 1)
    return found


def _from_object(given: Any) -> list[int]:
    several = isinstance(given, Iterable) and getattr(given, "ndim", 1) > 0  # a tensor of one number is one
    listed: Sequence[Any] = list(itertools.islice(given, MOST + 1)) if several else [given]
    try:
        return [operator.index(number) for number in listed]
    except TypeError:
        raise UsageError(
            f'number = {quoted(given)}: allowed: 15, [25, 26], range(25, 30), or "25-29"'
        ) from None


def _absent(view: View, split: Split, number: int) -> str:
    """Say why there is no image of this number in a split."""
    total, here = len(view.labels[split]), view.facts.test if split == "test" else view.facts.train
    low, high = (0, here - 1) if view.divided else (view.numbers[split].min(), view.numbers[split].max())
    if not low <= number <= high:
        files = f"{view.name} {'test' if split == 'test' else 'train'}" if view.facts.test else view.name
        return f"image {number}: {files} has {here:,}, numbers {low:,} to {high:,}"
    others = [name for name in view.splits if name not in {split, "test"} and number in view.numbers[name]]
    where = f"; it is in {others[0]}" if others else ""
    return f"image {number}: not in {view.title(split)}, which has {total:,} of {here:,} images{where}"


def whole(name: str, value: Any, most: int = MOST) -> int:
    """Return a number of images, rows or columns; raise UsageError where it is none that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise UsageError(f"{name} = {quoted(value)}: allowed: a whole number from 1 to {most}")
    return int(value)


def drawn_seed(seed: Any) -> int:
    """Return a person's seed of random images, or without one draw it; raise UsageError where it is none."""
    if seed is None:
        return secrets.randbelow(SEEDS)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"seed = {quoted(seed)}: allowed: a whole number from 0 on, or None")
    return int(seed)


def _all(count: int) -> str:
    return f"all {count:,} images" if count > 1 else "the only image"

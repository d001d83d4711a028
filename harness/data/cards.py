"""Data cards: all that there is to know of a registered data set before it is used, with sources."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data import cache

if TYPE_CHECKING:
    from harness.data.datasets import Dataset

FILE = Path(__file__).with_name("cards.toml")
MOST_CLASSES = 30
"""Class names that a card in words lists."""


@dataclass(frozen=True)
class DataCard:
    """A data set's card.

    Args:
        name: the data set's.
        summary: the first line of its description.
        shape: height and width in pixels, and channels of colour images; of train and test alike.
        pixel_max: the value of a full pixel.
        classes: the class names, in label order.
        train, test: how many images each has.
        publisher: the page of its publisher.
        licence: what the publisher states.
        citation: the paper to cite.
        bytes: what a download has; 0 of what needs none, or is not published.
        label_errors: wrong labels that were counted; "" where no count is published.
        label_errors_source: who counted them, and where.
        duplicates: images that are there twice, and who counted them; "" where no count is published.
        remark: a sentence without which numbers are misread.
        verified_by: the digest that a download is verified by, "SHA-256" or "MD5"; "" of what needs none.
        digest: SHA-256 of all images and labels; "" where it is found by the first load.
    """

    name: str
    summary: str
    shape: tuple[int, ...]
    pixel_max: float
    classes: tuple[str, ...]
    train: int
    test: int
    publisher: str
    licence: str
    citation: str
    bytes: int
    label_errors: str
    label_errors_source: str
    duplicates: str
    remark: str
    verified_by: str
    digest: str

    def row(self) -> dict[str, Any]:
        """Return the card as JSON has it."""
        return asdict(self) | {"shape": list(self.shape), "classes": list(self.classes)}

    def words(self, *, with_remark: bool = True) -> list[str]:
        """Return the card in lines."""
        classes = self.classes if len(self.classes) <= MOST_CLASSES else (*self.classes[:MOST_CLASSES], "...")
        size = " x ".join(map(str, self.shape))
        errors = f"{self.label_errors}. Source: {self.label_errors_source}"
        lines = {
            "images": f"{self.train:,} train, {self.test:,} test; {size}, pixels 0 to {self.pixel_max:g}",
            "classes": f"{len(self.classes)}: {', '.join(classes)}",
            "licence": self.licence,
            "publisher": self.publisher,
            "cite": self.citation,
            "wrong labels": errors if self.label_errors else "no count is published" if self.licence else "",
            "duplicates": self.duplicates,
            "download": self._download(),
            "digest": self.digest and f"SHA-256 {self.digest}",
            "note": self.remark if with_remark else "",
        }
        told = [f"  {key + ':':<14}{text}" for key, text in lines.items() if text]
        return [f"{self.name}: {self.summary}" if self.summary else self.name, *told]

    def _download(self) -> str:
        if not self.verified_by:
            return "none needed" if self.licence else ""
        size = f"{self.bytes / 1e6:,.0f} MB, " if self.bytes else ""
        weak = ", which tells damage but no forgery: nothing better is published"
        verified = f"verified by {self.verified_by}{weak if 'MD5' in self.verified_by else ''}"
        return f"{size}harness data fetch {self.name}; {verified}"


def _summary(read: Callable[[], object]) -> str:
    """Return the first line of a function's description; a study's table has none."""
    if isinstance(read, functools.partial):
        return ""
    return (read.__doc__ or "").strip().partition("\n")[0]


@functools.cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(FILE.read_text("utf-8"))


def card(dataset: Dataset) -> DataCard:
    """Return a data set's card; one that is not the harness's own says only what its images say.

    Nothing is read where the facts are known.
    """
    known, told = dataset.known or dataset.facts, _table().get(dataset.name, {})
    pins = cache.PINS.get(dataset.name, {})
    kinds = {"MD5" if pin.startswith("md5:") else "SHA-256" for pin in pins.values()}
    texts = ("publisher", "licence", "citation", "label_errors", "label_errors_source", "duplicates")
    return DataCard(
        name=dataset.name,
        summary=_summary(dataset.read),
        shape=known.shape,
        pixel_max=known.pixel_max,
        classes=known.classes,
        train=known.train,
        test=known.test,
        **{text: told.get(text, "") for text in texts},
        bytes=told.get("bytes", 0),
        remark=dataset.remark,
        verified_by=", ".join(sorted(kinds)),
        digest=known.digest,
    )

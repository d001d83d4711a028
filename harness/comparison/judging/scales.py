"""The scale of a metric: shares, percent or any other number; its direction, and the margin that fits it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.settings.schema import TO_TARGET
from harness.text import minus, significant, two_decimals

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 0.2
"""Points of accuracy within which two arms are called the same by default, as in a study's [contrasts]."""
SHARES = frozenset((
    "acc", "accuracy", "accuracies", "correct", "top1", "top5", "match", "em", "f1", "precision", "recall",
    "auc", "auroc", "auprc", "iou", "dice", "score",
))  # fmt: skip
"""Words in names of metrics that are shares, or percent, of which more is better."""
LOWER = frozenset((
    "loss", "losses", "error", "errors", "err", "perplexity", "ppl", "nll", "mse", "rmse", "mae", "wer",
    "cer", "ter", "fid", "bpb", "bpc", "bits", "ece", "brier", "regret", "seconds", "time", "latency",
    "runtime", "cost",
))  # fmt: skip
"""Words in names of metrics of which less is better."""


@dataclass(frozen=True)
class MetricScale:
    """The scale of a metric.

    Attributes:
        kind: "share" (accuracies in 0..1), "percent" (in 0..100), or "plain".
        higher_is_better: which way is better.
        assumed: whether the name says nothing of the direction, so that it is an assumption.
        margin: the largest difference that does not matter, in the metric's unit; None: nobody has said.
        named_share: whether the metric is named like a share, such as an accuracy.
    """

    kind: Literal["share", "percent", "plain"]
    higher_is_better: bool
    assumed: bool
    margin: float | None
    named_share: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest difference there can be."""
        most = {"share": 1.0, "percent": 100.0, "plain": math.inf}[self.kind]
        return -most, most

    @property
    def unit(self) -> str:
        """The unit of a difference, in words; empty for plain numbers."""
        return "" if self.kind == "plain" else "points"

    @property
    def times(self) -> float:
        """The factor from the metric's unit to the one shown."""
        return 100.0 if self.kind == "share" else 1.0

    def value(self, number: float) -> str:
        """Write a value as shown: "97.12" of a share of 0.9712, else four digits; a dash for NaN."""
        if math.isnan(number):
            return "\u2013"
        return significant(number, 5) if self.kind == "plain" else minus(f"{self.times * number:.2f}")

    def difference(self, number: float, *, sign: bool = True) -> str:
        """Write a difference as shown, with its sign; a dash for NaN."""
        if math.isnan(number):
            return "\u2013"
        if self.kind == "plain":
            return significant(number, 3, sign=sign)
        return minus(two_decimals(self.times * number, sign=sign))

    def size(self, number: float) -> str:
        """Write the size of a difference with its unit: "0.2 points"."""
        return f"{significant(self.times * abs(number), 3)} {self.unit}".strip()


def words_of(metric: str) -> list[str]:
    """Split a metric's name into words: "val/top1_acc" is val, top1, acc."""
    return re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", metric).lower())


def scale_of(
    metric: str, values: NDArray[np.float64], higher_is_better: bool | None, margin: float | str | None
) -> MetricScale:
    """Tell the scale of a metric by its name and its finite values.

    `higher_is_better` and `margin` as in `JudgeOptions`.
    """
    words = set(words_of(metric))
    lower, share = bool(words & LOWER) or metric in TO_TARGET, bool(words & SHARES) and not words & LOWER
    known = values[np.isfinite(values)]
    kind: Literal["share", "percent", "plain"] = "plain"
    if share and known.size and known.min() >= 0:
        whole = known.max() <= 1
        # one share of 1.02 among others is a mistake, and no reason to take them all for percent
        kind = "share" if whole else "percent" if np.median(known) > 1 and known.max() <= 100 else "plain"
    size: float | None = None
    if isinstance(margin, float | int):
        size = float(margin)
    elif margin is None and kind != "plain":
        size = POINTS / 100 if kind == "share" else POINTS
    assumed = higher_is_better is None and not lower and not share
    return MetricScale(
        kind, (not lower) if higher_is_better is None else higher_is_better, assumed, size, share
    )

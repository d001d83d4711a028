"""The question that a table is judged by: which columns, which reference, which margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from harness.errors import UsageError

Margin = float | Literal["none"] | None


class JudgeKeywords(TypedDict, total=False):
    """Keywords of `harness.judge`: fields of JudgeOptions."""

    arm: str | None
    seed: str | None
    metric: str | None
    block: str | None
    arms: str | None
    wide: bool
    where: Sequence[str]
    reference: str | None
    all_pairs: bool
    unpaired: bool
    higher_is_better: bool | None
    margin: Margin
    alpha: float | None
    step: float | None
    decimal: str | None


@dataclass(frozen=True)
class JudgeOptions:
    """The options of a judgement; what is not given is taken from the table, and said.

    Attributes:
        arm: the column that names the arm (several, joined by commas: their combination).
        seed: the column that pairs runs across arms.
        metric: the column that is judged; or the metric's name, in a table with columns "metric" and "value".
        block: the column, or columns, within which arms are compared: a data set, a task.
        arms: of a wide table, its columns of arms: names or patterns ("relu,gelu", "acc_*").
        wide: the table has a column an arm.
        where: "column=value": only such rows are read.
        reference: the arm that all others are compared with.
        all_pairs: compare every two arms.
        unpaired: the runs of two arms share nothing: Welch's t test, which needs more runs.
        higher_is_better: False for losses; None: by the metric's name.
        margin: the largest difference that does not matter, in the metric's unit; "none": no arm is called
            the same; None: 0.2 points of an accuracy, else "none".
        alpha: the error rate of all verdicts together; None: 0.05, or what a results folder's study says.
        step: of a table of steps, the step that is judged; the last one of each run if not given.
        decimal: "," or "."; None: to be seen from the numbers.
    """

    arm: str | None = None
    seed: str | None = None
    metric: str | None = None
    block: str | None = None
    arms: str | None = None
    wide: bool = False
    where: Sequence[str] = ()
    reference: str | None = None
    all_pairs: bool = False
    unpaired: bool = False
    higher_is_better: bool | None = None
    margin: Margin = None
    alpha: float | None = None
    step: float | None = None
    decimal: str | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise UsageError(
                f"--alpha {self.alpha:g}: allowed is an error rate between 0 and 1, such as 0.05"
            )
        if isinstance(self.margin, float | int) and not 0 < self.margin < float("inf"):
            raise UsageError(
                f"--margin {self.margin:g}: allowed is a difference above 0 in the metric's own unit (of "
                "shares, 0.002 are 0.2 points), or none"
            )
        if self.decimal not in {None, ",", "."}:
            raise UsageError(f"--decimal {self.decimal!r}: allowed are , and .")
        if self.all_pairs and self.reference is not None:
            raise UsageError("--all-pairs compares every two arms, so it takes no --reference; leave one out")

    @property
    def names_columns(self) -> bool:
        """True if a results folder is to be read as a plain table, not by the contrasts of its study."""
        return bool(
            self.arm
            or self.seed
            or self.metric
            or self.block
            or self.reference
            or self.all_pairs
            or self.where
            or self.arms
            or self.wide
            or self.unpaired
            or self.step is not None
        )

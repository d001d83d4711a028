"""Settings: what a study can set, of which type, within which limits, and by default.

A component's own settings are the keyword-only parameters of its function: `def sgd(..., *, lr=0.1,
weight_decay=0.0)` makes `lr` and `weight_decay` settings with these defaults. What they may be is said
here by name, since a name means the same under every component.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
)

from harness import limits

Value: TypeAlias = "str | bool | int | float | list[int] | list[float]"

Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0), AfterValidator(abs)]  # abs: -0.0 is 0.0
Fraction = Annotated[FiniteFloat, Field(ge=0, lt=1), AfterValidator(abs)]
Seed = Annotated[int, Field(ge=0), limits.at_most(limits.SEED, "a seed has 64 bits")]
Whole = Annotated[int, Field(ge=-limits.SEED), limits.at_most(limits.SEED, "a whole number has 64 bits")]
Number = Annotated[FiniteFloat, AfterValidator(lambda value: value + 0.0)]  # -0.0 is 0.0
Depth = Annotated[int, Field(ge=0), limits.at_most(limits.LAYERS, "layers of one network")]
Width = Annotated[int, Field(ge=1), limits.at_most(limits.WIDTH, "units of one layer")]


def _layers(widths: list[int]) -> list[int]:
    if len(widths) > limits.LAYERS:
        raise ValueError(f"at most {limits.LAYERS:,} layers, these are {len(widths):,}")
    return widths


CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
CONTROL_WORDS = "control characters such as a line end, a tab or an escape"


def _interval(value: object) -> object:
    """A whole number means epochs; one epoch is one spelling."""
    if isinstance(value, int) and not isinstance(value, bool) and value <= limits.EVERY:
        value = f"{value} epochs"
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,11} (epoch|step)s?", value):
        raise ValueError("'1 epoch', '5 epochs', '50 steps' or the like")
    count, unit = value.split()
    return f"{count} {unit.rstrip('s')}{'s' if count != '1' else ''}"


def listed_seeds(value: object, whose: str, first: int = 0) -> object:
    """A count of seeds as the list it means, from `first` on; anything else as it is.

    Raises:
        ValueError: there are none, says that `whose` needs one; or more than anybody wants, so that a seed
            was meant, and not a count.
    """
    if isinstance(value, list):
        return value
    count = value if isinstance(value, int) and not isinstance(value, bool) else None
    if count is None:
        raise ValueError("a list of seeds, or a count of them")
    if count < 1:
        raise ValueError(f"{whose} needs at least 1 seed")
    if count > limits.SEEDS:
        one = f"; for this one seed write [{count}]" if count <= limits.SEED else ""
        raise ValueError(f"a list of seeds, or a count of them up to {limits.SEEDS:,}: that is a count{one}")
    return list(range(first, first + count))


def no_seed_twice(seeds: list[int]) -> list[int]:
    """The seeds, if none is listed twice; else raises ValueError."""
    if len(set(seeds)) < len(seeds):
        raise ValueError("every seed once: a seed is listed twice")
    return seeds


Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(no_seed_twice)]


def seeds_or_count(whose: str, first: int = 0) -> BeforeValidator:
    """Return a pydantic validator that takes a list of seeds, or a count of them (`listed_seeds`)."""
    return BeforeValidator(functools.partial(listed_seeds, whose=whose, first=first))


TYPES: dict[str, Any] = {
    "lr": Annotated[FiniteFloat, Field(gt=0, le=1e30)],  # beyond, float32 itself overflows
    "momentum": Fraction,
    "dampening": Fraction,
    "betas": Annotated[list[Fraction], Field(min_length=2, max_length=2)],
    "alpha": Fraction,
    "eps": NotNegative,
    "weight_decay": NotNegative,
    "lr_decay": NotNegative,
    "initial_accumulator_value": NotNegative,
    "ccql_weight": NotNegative,
    "gamma": Annotated[FiniteFloat, Field(gt=0, le=1)],
    "hidden": Annotated[list[Width], AfterValidator(_layers)],
    "hidden.depth": Depth,
    "hidden.width": Width,
    "dropout": Fraction,
    "val_fraction": Fraction,
    "val_split": Literal["stratified", "balanced", "random"],
    "split_seed": Seed,
    "label_noise": Fraction,
    "label_noise_seed": Seed,
    "label_smoothing": Fraction,
    "batch_size": Annotated[int, Field(ge=1), limits.at_most(limits.BATCH, "no data set has more images")],
    "epochs": Annotated[int, Field(ge=1), limits.at_most(limits.EPOCHS, "more would train for years")],
    "steps": Annotated[int, Field(ge=1), limits.at_most(limits.STEPS, "more would train for months")],
    "sampling": Literal["shuffle", "sequential", "replacement"],
    "match": Literal["kind", "ignore"],
    "eval_every": Annotated[str, BeforeValidator(_interval)],
}


@dataclass(frozen=True)
class Setting:
    """One setting: its name and its default (None: for something else to say, or not set)."""

    name: str
    default: Value | None

    def check(self, value: object) -> Value:
        """The value in canonical form (1 is 1.0 where a number is meant).

        Raises:
            ValueError: with what is allowed, in words.
        """
        try:
            checked: Value = _adapter(self.name, type(self.default).__name__).validate_python(value)
        except ValidationError as error:
            raise ValueError(
                error.errors()[0]["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            ) from None
        if control_character(checked):
            raise ValueError(f"text without {CONTROL_WORDS}")
        return checked


def control_character(value: object) -> bool:
    """Whether a text holds a character that ends a line or moves the cursor, which no name can hold."""
    return isinstance(value, str) and re.search(CONTROL, value) is not None


@functools.cache
def _adapter(name: str, kind: str) -> TypeAdapter[Any]:
    """Checks a setting: by name where its limits are known, else by the type of its default."""
    unlisted: Any = {"str": str, "bool": bool, "int": Whole, "list": list[Number]}.get(kind, Number)
    return TypeAdapter(TYPES.get(name, unlisted), config=ConfigDict(strict=True))


DEFAULTS: dict[str, Value | None] = {
    "dataset": "mnist",
    "preprocessing": "unit",
    "val_fraction": 0.1,
    "val_split": "stratified",
    "split_seed": 0,
    "architecture": "mlp",
    "activation": "relu",
    "head": "identity",
    "loss": "ce",
    "optimizer": "sgd",
    "schedule": "constant",
    "batch_size": 32,
    "epochs": 5,
    "steps": None,
    "sampling": "shuffle",
    "match": "kind",
    "eval_every": "1 epoch",
    "label_noise": 0.0,
    "label_noise_seed": 0,
    "label_smoothing": 0.0,
}
CORE: dict[str, Setting] = {name: Setting(name, default) for name, default in DEFAULTS.items()}
"""The settings every trial has, whatever its components."""

METRICS = [f"{split}_{metric}" for split in ("train", "val", "test") for metric in ("loss", "accuracy")]


def metric_columns(metrics: Sequence[str]) -> list[str]:
    """The columns of trials.csv that tracked metrics fill."""
    return [f"{split}_{metric}" for metric in metrics for split in ("train", "val", "test")]


def outcome_columns(metrics: Sequence[str] = ()) -> list[str]:
    """What trials.csv says of how a trial ended, in order, where these metrics are tracked."""
    return [
        "status", "reason", "diverged_step", "parameters", "epochs_done", "steps_done",
        *METRICS, *metric_columns(metrics), "engine", "device", "group", "group_size", "group_seconds",
    ]  # fmt: skip


OUTCOME = outcome_columns()
EPOCHS = ["trial_id", "epoch", "step", "split", "loss", "accuracy"]
"""The columns of epochs.csv, before those of tracked metrics."""
COLUMNS = ("trial_id", "arm", "seed", *OUTCOME)
"""What trials.csv says of a trial beside its settings."""
TUNING, TUNED, CHOSEN = "tuning", "tuned", "chosen.csv"
"""What a study that tunes has in its results folder: two results folders, and what each arm chose."""
CONFIRMED, BASELINE, WINNER = "confirmed", "baseline", "winner"
"""The results folder in which a search confirms what it found, and its two arms."""
WINNERS = "winners.csv"
"""For which of a search's suggestions the test set was opened, and when."""
OF_ARM = "of_arm"
"""The column that says whose settings a trial tries, while a study tunes."""
TAKEN = (
    OF_ARM,
    *COLUMNS,
    "label",
    "objective",
    "split",
    "epoch",
    "step",
    "value",
    "trials",
    "accuracy",
    "prediction",
    "count",
)
"""Names a linked axis cannot have: columns of the results, and of the tables that reports make of them."""


BESIDE = ("name", "tune")
"""Keys of linked settings that are no settings: what they are called, and what they may tune."""


@functools.cache
def declared(function: Callable[..., Any]) -> dict[str, Setting]:
    """The settings a component's function declares: its keyword-only parameters."""
    settings = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = None if parameter.default is inspect.Parameter.empty else parameter.default
            settings[name] = Setting(name, list(default) if isinstance(default, tuple) else default)
    return settings


def check_declared(
    function: Callable[..., Any], by_classes: Iterable[str] = (), *, only_numbers: bool = False
) -> None:
    """Check the settings that a component's function declares.

    Args:
        function: whose keyword-only parameters are settings.
        by_classes: those whose defaults depend on the number of classes.
        only_numbers: whether texts and tuples are none of its settings.

    Raises:
        TypeError: a name is one that results or studies use, or a default is none that a study could hold.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:
        raise TypeError("Python cannot tell its parameters: wrap it in a function of your own") from error
    for one in parameters:
        if one.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if one.name in {*TAKEN, *CORE, *BESIDE}:
            raise TypeError(
                f"its setting {one.name!r} has the name of a column of the results or of a setting of every "
                f"study; rename it, for instance {getattr(function, '__name__', 'my')}_{one.name}"
            )
        fits = isinstance(one.default, (int, float)) or (not only_numbers and _is_text_or_tuple(one.default))
        if one.name not in by_classes and not fits:
            got = "no default" if one.default is one.empty else f"the default {one.default!r}"
            more = "" if only_numbers else ", a text, true or false, or a tuple of numbers"
            raise TypeError(f"its setting {one.name!r} has {got}; allowed: a number{more} ({one.name}=0.1)")


def _is_text_or_tuple(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(one, (int, float)) for one in value)
    return isinstance(value, str)

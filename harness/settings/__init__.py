"""Settings: the values a study can set, with their types, limits and defaults.

A component's own settings are the keyword-only parameters of its function: `def sgd(..., *, lr=0.1,
weight_decay=0.0)` makes `lr` and `weight_decay` settings with these defaults. Their limits stand here by
name, since a name means the same under every component.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
)

from harness.settings import limits
from harness.settings.schema import TAKEN

Value: TypeAlias = "str | bool | int | float | list[int] | list[float]"

Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0), AfterValidator(abs)]  # abs: -0.0 is 0.0
Fraction = Annotated[FiniteFloat, Field(ge=0, lt=1), AfterValidator(abs)]
Probability = Annotated[FiniteFloat, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0), limits.at_most(limits.SEED, "a seed has 64 bits")]
Whole = Annotated[int, Field(ge=-limits.SEED), limits.at_most(limits.SEED, "a whole number has 64 bits")]
Number = Annotated[FiniteFloat, AfterValidator(lambda value: value + 0.0)]  # -0.0 is 0.0
Depth = Annotated[int, Field(ge=0), limits.at_most(limits.LAYERS, "layers of one network")]
Width = Annotated[int, Field(ge=1), limits.at_most(limits.WIDTH, "units of one layer")]


def _layers(widths: list[int]) -> list[int]:
    if len(widths) > limits.LAYERS:
        raise ValueError(f"at most {limits.LAYERS:,} layers, these are {len(widths):,}")
    return widths


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("an odd number, so that the padding on both sides is equal")
    return kernel


def _ascending(ends: list[float]) -> list[float]:
    if ends[0] > ends[1] or ends[1] == 0:
        raise ValueError("two shares, the smaller one first, such as [0.02, 0.33]")
    return ends


CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
CONTROL_WORDS = "control characters such as a line end, a tab or an escape"


def _interval(value: object) -> object:
    """Spell an interval of evaluations in one way; a whole number means epochs."""
    if isinstance(value, int) and not isinstance(value, bool) and value <= limits.EVERY:
        value = f"{value} epochs"
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,11} (epoch|step)s?", value):
        raise ValueError("'1 epoch', '5 epochs', '50 steps' or the like")
    count, unit = value.split()
    return f"{count} {unit.rstrip('s')}{'s' if count != '1' else ''}"


def listed_seeds(value: object, whose: str, first: int = 0) -> object:
    """Expand a count of seeds to a list from `first` on; leave a list as it is.

    Raises:
        ValueError: there are none, where `whose` needs one; or more than anybody wants, so that a seed was
            meant, and not a count; or it is neither a list nor a count.
    """
    if isinstance(value, list):
        return value
    count = value if isinstance(value, int) and not isinstance(value, bool) else None
    if count is None:
        raise ValueError("a list of seeds, or a count of them, such as [100, 101, 102] or 3")
    if count < 1:
        raise ValueError(f"{whose} needs at least 1 seed")
    if count > limits.SEEDS:
        hint = f"; for this one seed write [{count}]" if count <= limits.SEED else ""
        raise ValueError(f"a list of seeds, or a count of them up to {limits.SEEDS:,}: that is a count{hint}")
    return list(range(first, first + count))


def _no_seed_twice(seeds: list[int]) -> list[int]:
    """Return the seeds; raise ValueError if one is listed twice."""
    if len(set(seeds)) < len(seeds):
        raise ValueError("every seed once: a seed is listed twice")
    return seeds


Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_no_seed_twice)]


one_or_list = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
"""A pydantic validator that takes one text for a list of it."""


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
    "channels.depth": Annotated[int, Field(ge=1), limits.at_most(limits.LAYERS, "layers of one network")],
    "channels.width": Width,
    "channels": Annotated[list[Width], Field(min_length=1), AfterValidator(_layers)] | Width,
    "kernel": Annotated[Width, AfterValidator(_odd)],
    "pooling": Literal["max", "average", "stride", "none"],
    "norm": Literal["none", "batch", "layer"],
    "readout": Literal["global", "dense"],
    "initial_weights": Literal[
        "uniform_fan_in", "glorot_uniform", "he_normal", "lecun_1998", "normal", "normal_fan_in"
    ],
    "blocks": Annotated[int, Field(ge=1), limits.at_most(limits.LAYERS // 6, "layers of one network")],
    "dropout": Fraction,
    "val_fraction": Fraction,
    "val_split": Literal["stratified", "balanced", "random", "blocks", "last"],
    "split_seed": Seed,
    "label_noise": Fraction,
    "label_noise_seed": Seed,
    "start_seed": Seed,
    "order_seed": Seed,
    "dropout_seed": Seed,
    "augmentation_seed": Seed,
    "label_smoothing": Fraction,
    "shift_pixels": Annotated[int, Field(ge=1), limits.at_most(limits.PIXELS, "pixels of a side")],
    "flip_probability": Probability,
    "rotate_degrees": Annotated[FiniteFloat, Field(gt=0, le=180)],
    "erase_probability": Probability,
    "erase_share": Annotated[list[Fraction], Field(min_length=2, max_length=2), AfterValidator(_ascending)],
    "pixel_dropout_share": Fraction,
    "mixup_alpha": Annotated[FiniteFloat, Field(ge=0.001, le=1000)],
    "batch_size": Annotated[int, Field(ge=1), limits.at_most(limits.BATCH, "no data set has more images")],
    "epochs": Annotated[int, Field(ge=1), limits.at_most(limits.EPOCHS, "more would train for years")],
    "steps": Annotated[int, Field(ge=1), limits.at_most(limits.STEPS, "more would train for months")],
    "sampling": Literal["shuffle", "sequential", "replacement"],
    "match": Literal["kind", "ignore"],
    "eval_every": Annotated[str, BeforeValidator(_interval)],
}


@dataclass(frozen=True)
class Setting:
    """A setting: its name and its default (None if a component decides, or not set)."""

    name: str
    default: Value | None

    def check(self, value: object) -> Value:
        """Return the value in canonical form (1 is 1.0 where a number is meant).

        Raises:
            ValueError: it is not allowed; says what is.
        """
        try:
            checked: Value = _adapter(self.name, type(self.default).__name__).validate_python(plain(value))
        except ValidationError as error:
            allowed = shortened(error.errors()[0]["msg"])
            if isinstance(self.default, list) and not isinstance(value, list):
                allowed = f"a list, such as {self.default}"
            raise ValueError(allowed) from None
        if control_character(checked):
            raise ValueError(f"text without {CONTROL_WORDS}")
        return checked


def plain(value: Any) -> Any:
    """Give a notebook's value as a file would have it: NumPy's numbers and arrays, and tuples, as Python's.

    >>> plain((16, 32))
    [16, 32]
    """
    if type(value).__module__ == "numpy":  # by name: NumPy need not be loaded to read a study
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def shortened(message: str) -> str:
    """Shorten pydantic's message to the values that are allowed."""
    return message.removeprefix("Value error, ").removeprefix("Input should be ")


def control_character(value: object) -> bool:
    """Tell whether a text holds a character that ends a line or moves the cursor, which no name can hold."""
    return isinstance(value, str) and re.search(CONTROL, value) is not None


@functools.cache
def _adapter(name: str, kind: str) -> TypeAdapter[Any]:
    """Make the validator of a setting: by name where its limits are known, else by its default's type."""
    return TypeAdapter(_annotation(name, kind), config=ConfigDict(strict=True))


def _annotation(name: str, kind: str) -> Any:
    unlisted: Any = {"str": str, "bool": bool, "int": Whole, "list": list[Number]}.get(kind, Number)
    return TYPES.get(name, unlisted)


JSON_TYPES: dict[Any, str] = {
    str: "string", bool: "boolean", int: "integer", float: "number", list: "array"
}  # fmt: skip
JSON_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def limited(setting: Setting) -> dict[str, Any]:
    """Describe a setting's type and limits as JSON Schema does.

    >>> limited(Setting("batch_size", 32))
    {'type': 'integer', 'minimum': 1}
    """
    # Read off the annotation: pydantic's own description takes a validator of each setting, and 20 ms.
    annotated = _annotation(setting.name, type(setting.default).__name__)
    if get_origin(annotated) is Union:  # a list, or one number
        annotated = get_args(annotated)[0]
    base, *about = get_args(annotated) if get_origin(annotated) is Annotated else (annotated,)
    if get_origin(base) is Literal:
        return {"type": "string", "enum": list(get_args(base))}
    told: dict[str, Any] = {"type": JSON_TYPES[get_origin(base) or base]}
    for limit in (limit for given in about for limit in getattr(given, "metadata", ())):
        told |= {word: getattr(limit, key) for key, word in JSON_LIMITS.items() if hasattr(limit, key)}
    return told


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
    "augmentation": "none",
    "start_seed": None,
    "order_seed": None,
    "dropout_seed": None,
    "augmentation_seed": None,
}
CORE: dict[str, Setting] = {name: Setting(name, default) for name, default in DEFAULTS.items()}
"""Settings of every trial, whatever its components."""
NON_SETTING_KEYS = ("name", "tune")
"""Keys of linked settings that are not settings: the name they have, and what they may tune."""


@functools.cache
def declared(function: Callable[..., Any]) -> dict[str, Setting]:
    """Read the settings that a component's function declares: its keyword-only parameters."""
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

    `by_classes` are settings whose defaults depend on the number of classes.

    Raises:
        TypeError: a name is one that results or studies use, or a study cannot hold a default.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:
        raise TypeError("Python cannot tell its parameters: wrap it in a function of your own") from error
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            name = parameter.name
            if name in {*TAKEN, *CORE, *NON_SETTING_KEYS}:
                raise TypeError(
                    f"its setting {name!r} has the name of a column of the results or of a setting of every "
                    f"study; rename it, for instance {getattr(function, '__name__', 'my')}_{name}"
                )
            if name not in by_classes:
                _check_default(parameter, only_numbers=only_numbers)


def _check_default(parameter: inspect.Parameter, *, only_numbers: bool) -> None:
    name, default = parameter.name, parameter.default
    numbers = default if isinstance(default, (list, tuple)) and not only_numbers else [default]
    if (isinstance(default, str) and not only_numbers) or all(isinstance(n, (int, float)) for n in numbers):
        return
    got = "no default" if default is parameter.empty else f"the default {default!r}"
    more = "" if only_numbers else ", a text, true or false, or a tuple of numbers"
    raise TypeError(f"its setting {name!r} has {got}; allowed: a number{more} ({name}=0.1)")

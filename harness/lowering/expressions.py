"""Expressions over vectors, each written once: what a traced graph becomes before it is C.

An expression spans a number (known now), a scalar (one double a member, or a member and step), the lanes of a
vector (samples, units or parameters), or the classes (a vector a class). Expressions of the same operation on
the same arguments are one, so that nothing is computed twice.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from harness.lowering.refusals import NotLoweredError


class Span(IntEnum):
    """The axis along which an expression has values of its own."""

    NUMBER = 0
    SCALAR = 1
    LANES = 2
    CLASSES = 3


@dataclass(frozen=True, eq=False)
class Expression:
    """An operation on arguments; `stage` counts the reductions over classes that must be done before it.

    `text` is a leaf's C, `number` the value of a number, `table` the values of a constant by class. A mask
    is true or false; a whole number stays one in C's doubles.
    """

    operation: str
    span: Span
    arguments: tuple[Expression, ...] = ()
    text: str = ""
    number: float = 0.0
    table: tuple[float, ...] = ()
    mask: bool = False
    whole: bool = False
    stage: int = 0
    index: int = 0


INFIX: Mapping[str, str] = {
    "add": "+", "sub": "-", "mul": "*", "div": "/",
    "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
}  # fmt: skip
COMPARISONS = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})
LOGIC: Mapping[str, tuple[str, str]] = {"and": ("&", "&&"), "or": ("|", "||"), "xor": ("^", "!=")}
"""Operations on masks, of vectors and of scalars."""
BY_LIBM = (
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erfc", "exp2",
    "log2", "log10", "lgamma",
)  # fmt: skip
BY_POLYNOMIAL = ("exp", "expm1", "log", "log1p", "tanh", "erf")
"""Functions that are the C library's for doubles, and polynomials for vectors of floats."""
CALLS: Mapping[str, tuple[str, str]] = {
    **{name: (f"vector_{name}({{}})", f"{name}({{}})") for name in BY_LIBM},
    **{name: (f"vector_{name}({{}})", f"{name}({{}})") for name in BY_POLYNOMIAL},
    **{
        name: (f"vector_{name}({{}})", f"__builtin_{name}({{}})")
        for name in ("sqrt", "floor", "ceil", "trunc")
    },
    "round": ("vector_round({})", "__builtin_rint({})"),
    "abs": ("vector_abs({})", "__builtin_fabs({})"),
    "sign": ("vector_sign({})", "double_sign({})"),
    "relu": ("vector_relu({})", "double_max({}, 0)"),
    "sigmoid": ("vector_sigmoid({})", "(1 / (1 + exp(-({}))))"),
    "maximum": ("vector_max({}, {})", "double_max({}, {})"),
    "minimum": ("vector_min({}, {})", "double_min({}, {})"),
    "pow": ("vector_pow({}, {})", "pow({}, {})"),
    "whole_power": ("vector_pow({}, {})", "whole_power({}, {})"),
    "where": ("chosen({}, {}, {})", "({} ? {} : {})"),
    "neg": ("-{}", "-{}"),
    "not": ("~{}", "!{}"),
}
"""C of an operation on vectors, and on doubles."""
FOLDED: Mapping[str, Callable[..., float]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "gt": operator.gt, "ge": operator.ge,
    "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ne": operator.ne, "neg": operator.neg,
    "abs": abs, "and": min, "or": max, "not": lambda x: float(not x),
}  # fmt: skip
KEPT_WHOLE = frozenset(
    {"add", "sub", "mul", "neg", "abs", "maximum", "minimum", "floor", "ceil", "trunc", "round"}
)
DEAR = frozenset(CALLS) - {"abs", "neg", "not", "where", "maximum", "minimum", "relu", "sign"} | {"div"}
"""Operations whose results are kept from loop to loop rather than computed again."""


@dataclass
class Sheet:
    """All expressions of one graph. `classes` is 0 where there is no axis of classes."""

    classes: int = 0
    seen: dict[object, Expression] = field(default_factory=dict)

    def _kept(self, key: object, made: Callable[[int], Expression]) -> Expression:
        if key not in self.seen:
            self.seen[key] = made(len(self.seen))
        return self.seen[key]

    def leaf(self, text: str, span: Span, *, whole: bool = False) -> Expression:
        """Return what C gives under a text."""
        return self._kept(
            ("leaf", text), lambda index: Expression("leaf", span, text=text, whole=whole, index=index)
        )

    def number(self, value: float, *, mask: bool = False) -> Expression:
        """Return a number."""
        key = ("number", repr(float(value)), mask)
        whole = math.isfinite(value) and value == int(value)
        return self._kept(
            key,
            lambda index: Expression(
                "number", Span.NUMBER, number=float(value), mask=mask, whole=whole, index=index
            ),
        )

    def table(self, values: Sequence[float]) -> Expression:
        """Return a constant by class."""
        key = ("table", *map(repr, values))
        return self._kept(
            key, lambda index: Expression("table", Span.CLASSES, table=tuple(values), index=index)
        )

    def call(self, operation: str, *arguments: Expression) -> Expression:
        """Return an operation on arguments, simplified where that changes no value."""
        if operation not in {"and", "or", "xor", "not", "where"}:
            arguments = tuple(map(self.counted, arguments))
        simple = self._simplified(operation, arguments)
        if simple is not None:
            return simple
        span = max(Span.SCALAR, *(argument.span for argument in arguments))
        places = [argument.index for argument in arguments]
        if operation in {"add", "mul", "maximum", "minimum"}:
            places.sort()  # a + b is b + a
        mask = operation in COMPARISONS or operation in {"and", "or", "xor", "not"}
        mask = mask or (operation == "where" and arguments[1].mask and arguments[2].mask)
        whole = operation in KEPT_WHOLE and all(argument.whole for argument in arguments)
        stage = max(argument.stage for argument in arguments)
        return self._kept(
            (operation, *places),
            lambda index: Expression(
                operation, span, arguments, mask=mask, whole=whole, stage=stage, index=index
            ),
        )

    def _simplified(self, operation: str, arguments: Sequence[Expression]) -> Expression | None:
        numbers = [x.number if x.span == Span.NUMBER else None for x in arguments]
        if operation == "where" and numbers[0] is not None:
            return arguments[1 if numbers[0] else 2]
        if None not in numbers and operation in FOLDED:
            mask = operation in COMPARISONS or operation in {"and", "or", "not"}
            return self.number(float(FOLDED[operation](*numbers)), mask=mask)
        if operation in {"add", "mul"}:
            unit = 0.0 if operation == "add" else 1.0
            if unit in numbers:
                return arguments[1 - numbers.index(unit)]
        if operation == "mul" and 0.0 in numbers and arguments[1 - numbers.index(0.0)].span == Span.SCALAR:
            return self.number(0)  # settings are finite
        if (operation, numbers[-1]) in {("sub", 0.0), ("div", 1.0)}:
            return arguments[0]
        if operation == "neg" and arguments[0].operation == "neg":
            return arguments[0].arguments[0]
        return None

    def counted(self, x: Expression) -> Expression:
        """Return a mask as ones and zeros."""
        if not x.mask:
            return x
        if x.span == Span.NUMBER:
            return self.number(x.number)
        return self.call("where", x, self.number(1), self.number(0))

    def truth(self, x: Expression) -> Expression:
        """Return numbers as a mask: which are not 0."""
        if x.mask:
            return x
        if x.span == Span.NUMBER:
            return self.number(float(x.number != 0), mask=True)
        return self.call("ne", x, self.number(0))

    def power(self, base: Expression, exponent: Expression) -> Expression:
        """Return base^exponent: by multiplication or a root where that is exact."""
        n = exponent.number if exponent.span == Span.NUMBER else None
        if n == 0.5:
            return self.call("sqrt", base)
        if n == -0.5:
            return self.call("div", self.number(1), self.call("sqrt", base))
        if n is not None and exponent.whole and abs(n) <= 64:
            whole = self._multiplied(base, abs(int(n)))
            return whole if n >= 0 else self.call("div", self.number(1), whole)
        scalar = max(base.span, exponent.span) <= Span.SCALAR
        return self.call("whole_power" if exponent.whole and scalar else "pow", base, exponent)

    def _multiplied(self, base: Expression, n: int) -> Expression:
        if n == 0:
            return self.number(1)
        half = self._multiplied(base, n // 2)
        square = self.call("mul", half, half)
        return self.call("mul", square, base) if n % 2 else square

    def reduced(self, how: str, x: Expression) -> Expression:
        """Return a sum, maximum, minimum or product over the classes."""
        x = self.counted(x)
        if x.span < Span.CLASSES:
            if how == "prod":
                return self.power(x, self.number(self.classes))
            return self.call("mul", x, self.number(self.classes)) if how == "sum" else x
        return self._kept(
            (how, x.index), lambda index: Expression(how, Span.LANES, (x,), stage=x.stage + 1, index=index)
        )

    def running_sum(self, x: Expression) -> Expression:
        """Return the sums over the classes up to each."""
        x = self.counted(x)
        return self._kept(
            ("running", x.index),
            lambda index: Expression("running", Span.CLASSES, (x,), stage=x.stage, index=index),
        )


REDUCTIONS: Mapping[str, tuple[str, str]] = {
    "sum": ("{0} + {1}", "0"),
    "prod": ("{0} * {1}", "1"),
    "max": ("vector_max({1}, {0})", "-INFINITY"),
    "min": ("vector_min({1}, {0})", "INFINITY"),
}
"""C of a reduction's step, and where it starts."""


def spelled_number(value: float) -> str:
    """Return a number as C, of the type REAL where it is not a small whole number."""
    if math.isnan(value):
        return "(REAL)NAN"
    if math.isinf(value):
        return "(REAL)INFINITY" if value > 0 else "(-(REAL)INFINITY)"
    text = str(int(value)) if value == int(value) and abs(value) < 2**24 else f"(REAL){value!r}"
    return f"({text})" if value < 0 else text


def spelled_double(value: float) -> str:
    """Return a number as C's double."""
    if math.isnan(value):
        return "(double)NAN"
    if math.isinf(value):
        return "(double)INFINITY" if value > 0 else "(-(double)INFINITY)"
    return f"({value!r})" if value < 0 else repr(value)


LIBM = re.compile(
    rf"\b(?:vector_({'|'.join((*BY_LIBM, 'pow'))})|({'|'.join((*BY_LIBM, *BY_POLYNOMIAL, 'pow'))}))\("
)
"""Calls in a text of what the C library computes, of floats and of doubles, and does not round correctly."""


def libm_calls(text: str) -> list[str]:
    """Name the functions of the C library that a text calls and whose bits differ from library to library.

    >>> libm_calls("vector_exp(x) + vector_sin(x) * pow(u, 2.5) / __builtin_sqrt(v)")
    ['pow', 'sin']
    """
    return sorted({vector or scalar for vector, scalar in LIBM.findall(text)})


def unknown(operation: str) -> NotLoweredError:
    """Return the refusal of an operation that has no form in C here."""
    return NotLoweredError(f"aten.{operation}: this operation has no compiled form")

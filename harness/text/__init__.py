"""Numbers, names and settings in words, in one way for the screen, the report and the figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    import pandas as pd

    Row: TypeAlias = Mapping[Any, Any] | pd.Series[Any]

NOT_APPLICABLE = "not applicable"
"""The word for an empty setting: one that does not apply to an arm."""
DASH = "\u2013"
"""The sign for a number that does not exist."""


TURNING = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Marks that turn the direction of all text after them, spelt out: a table for `str.translate`."""


def minus(number: str) -> str:
    """Replace the hyphen of a negative number by a minus sign."""
    return number.replace("-", "\u2212")


NEARLY_NOTHING = 0.001
"""A share below which a share in percent is only said to be under it."""


def percent(share: float, digits: int = 1) -> str:
    """Write a share as a percentage with a space that does not break.

    >>> percent(0.9712).replace(chr(160), " ")
    '97.1 %'
    """
    return f"{100 * share:.{digits}f}\u00a0%"


def whole_percent(share: float) -> str:
    """Write a share in whole percent, and one that is nearly nothing or all as what it is, not as 0 or 100 %.

    >>> [whole_percent(share).replace(chr(160), " ") for share in (0.0, 0.0002, 0.005, 0.44, 0.9967, 1.0)]
    ['0 %', 'under 0.1 %', '0.5 %', '44 %', '99.7 %', '100 %']
    """
    if 0 < share < NEARLY_NOTHING or 1 - NEARLY_NOTHING < share < 1:
        return f"under {percent(NEARLY_NOTHING)}" if share < 0.5 else f"over {percent(1 - NEARLY_NOTHING)}"
    rounded = percent(share, 0)
    return percent(share) if 0 < share < 1 and rounded in {percent(0, 0), percent(1, 0)} else rounded


def hundredths(share: float) -> str:
    """Write a share as a percentage with two digits and without the sign; empty for NaN.

    >>> hundredths(0.9712)
    '97.12'
    """
    return "" if math.isnan(share) else minus(f"{100 * share:.2f}")


def points(share: float, *, sign: bool = False) -> str:
    """Write a difference of shares in percentage points: one digit from 1 point on, else two.

    >>> points(0.159), points(0.0012, sign=True), points(-0.00001)
    ('15.9', '+0.12', '0.00')
    """
    digits = 1 if abs(share) >= 0.01 else 2
    number = minus(f"{100 * share:{'+' if sign else ''}.{digits}f}")
    return "0.00" if number[1:] == "0.00" else number  # zero has no sign


def two_decimals(number: float, *, sign: bool = False) -> str:
    """Write a number with two decimals and a plain hyphen; zero has no sign.

    >>> two_decimals(-0.416), two_decimals(0.2, sign=True), two_decimals(-0.001, sign=True)
    ('-0.42', '+0.20', '0.00')
    """
    written = f"{number:{'+' if sign else ''}.2f}"
    return "0.00" if written.strip("+-") == "0.00" else written


def signed_points(share: float) -> str:
    """Write a difference of shares in points with two digits and a plain hyphen; empty for NaN.

    >>> signed_points(-0.0042)
    '-0.42'
    """
    return "" if math.isnan(share) else f"{100 * share:+.2f}"


def significant(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Write a number with so many significant digits.

    >>> significant(0.123456), significant(2, sign=True)
    ('0.123', '+2')
    """
    return minus(f"{value:{'+' if sign else ''}.{digits}g}")


def p_value(p: float) -> str:
    """Write a p value with two digits, "< 0.001" below that, and a dash for NaN."""
    return DASH if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.2g}"


def p_value_column(p: float) -> str:
    """Write a p value with four decimals, "< 0.0001" below that; empty for NaN."""
    return "" if math.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def interval(row: Row, number: Callable[[float], str] = points) -> str:
    """Describe the 95 % interval of a row with low, high and n, or say why there is none.

    n counts seeds, or what the row has as `unit`.
    """
    unit = row.get("unit", "seed")
    if row["n"] < 2:
        return f"one {unit}, so no interval"
    if math.isnan(row["low"]):
        return f"the same in all {row['n']:.0f} {unit}s, so no interval"
    return f"95\u00a0% interval {number(row['low'])} to {number(row['high'])} over {row['n']:.0f} {unit}s"


def span(row: Row, number: Callable[[float], str] = points) -> str:
    """Write the ends of the interval of a row with low, high and n, or say in short why there is none."""
    unit = row.get("unit", "seed")
    if row["n"] > 1 and math.isnan(row["low"]):
        return f"the same in all {unit}s"
    return f"{number(row['low'])} to {number(row['high'])}" if row["n"] > 1 else f"one {unit}"


def difference(row: Row) -> str:
    """Write a difference and its interval in points: "-0.42 [-0.61, -0.23]"; one seed has no interval."""
    if math.isnan(row["low"]) or row["low"] == row["high"] == 0:
        return signed_points(row["difference"]).replace("+0.00", "0.00")
    return f"{signed_points(row['difference'])} [{signed_points(row['low'])}, {signed_points(row['high'])}]"


def count(n: int, noun: str) -> str:
    """Write a number of things.

    >>> count(1, "arm"), count(2000, "trial")
    ('1 arm', '2,000 trials')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def ordinal(n: int) -> str:
    """Write a place.

    >>> ordinal(1), ordinal(12), ordinal(23)
    ('1st', '12th', '23rd')
    """
    return f"{n}{'th' if 10 <= n % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def between(values: Sequence[str]) -> str:
    """Write ordered numbers as a range, or as one number where the ends read the same.

    >>> between(["3", "4", "9"]), between(["3", "3"])
    ('3 to 9', '3')
    """
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def joined(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> joined(["a", "b", "c"]), joined(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def listed(words: Sequence[str], most: int) -> str:
    """Join the first `most` words with semicolons and count the others.

    >>> listed(["a", "b", "c"], 2)
    'a; b; and 1 more'
    """
    more = [f"and {len(words) - most:,} more"] if len(words) > most else []
    return "; ".join([*words[:most], *more])


def duration(seconds: float) -> str:
    """Write a duration in its natural unit, from seconds to years."""
    minute, hour, day = 60, 3600, 86_400
    if seconds > 700 * day:
        return f"{seconds / day / 365:,.0f} years"
    if seconds > 3 * day:
        return f"{seconds / day:.0f} days"
    if seconds < 1.5 * minute:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / minute:.1f} min" if seconds < 1.5 * hour else f"{seconds / hour:.1f} h"


def short_number(value: float) -> str:
    """Write a number as short as an axis tick.

    >>> [short_number(value) for value in (0.03, 150, 20000, 3.5e6)]
    ['0.03', '150', '20k', '3.5M']
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= unit:
            return f"{value / (1e3 if letter == 'k' else unit):.4g}{letter}"
    return f"{value:.4g}"


def spaced(name: str) -> str:
    """Write a column's name in words: "val_accuracy" is "val accuracy"."""
    return name.replace("_", " ")


UNITS = {"latency": "\u00b5s"}
"""The unit of a column that has one, where a person meets its numbers."""


def measured_in(name: str) -> str:
    """Write a column's name in words with its unit, as an axis has it.

    >>> measured_in("latency"), measured_in("val_accuracy")
    ('latency, \u00b5s', 'val accuracy')
    """
    return ", ".join([spaced(name), *([UNITS[name]] if name in UNITS else [])])


def with_unit(number: str, name: str) -> str:
    """Append the unit of a column to one of its numbers.

    >>> with_unit("512", "latency").split(), with_unit("512", "parameters")
    (['512', '\u00b5s'], '512')
    """
    return f"{number}\u00a0{UNITS[name]}" if name in UNITS else number


def capitalised(words: str) -> str:
    """Begin words as a sentence begins."""
    return words[:1].upper() + words[1:]


def as_text(value: object) -> str:
    """Write a setting as CSV files and names have it: empty for None, lists as in TOML."""
    if value is None or _is_na(value):
        return ""
    if isinstance(value, bool) or type(value).__name__ in {"bool", "bool_"}:  # NumPy's
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _is_na(value: object) -> bool:
    """Tell whether a value is pandas' NA, without importing it."""
    return type(value).__name__ == "NAType"


def as_word(value: object) -> str:
    """Write a setting as tables have it: 16.0 is "16", and an empty cell is "not applicable"."""
    empty = value is None or _is_na(value) or value == "" or (isinstance(value, float) and math.isnan(value))
    return NOT_APPLICABLE if empty else as_text(value)

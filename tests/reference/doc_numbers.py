"""Numbers that README and docs state of the committed results, held against the results themselves.

A claim has the words around its numbers and how to compute them from results/reference. A number agrees if it
is the computed one, rounded to the digits that the page prints. `nox -s reference -- --numbers` lists those
that do not, `-- --numbers --write` writes them as they are; whether the words still hold is for a reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from reference_folders import CHECKOUT

from harness.text import count

SLOT = "{}"
NUMBER = r"([+-]?\d+(?:,\d{3})*(?:\.\d+)?)"
ROUNDING = 1e-5
"""What a mean may lie beyond half of the last digit printed: tables have seven digits of a share."""


@dataclass(frozen=True)
class Claim:
    """A page's words with a {} for each number, and the numbers, computed from a results folder."""

    page: str
    folder: str
    text: str
    values: Callable[[], Sequence[float]]

    @property
    def pattern(self) -> re.Pattern[str]:
        """Match the words however the page breaks its lines."""
        words = (NUMBER.join(map(re.escape, word.split(SLOT))) for word in self.text.split())
        return re.compile(r"\s+".join(words))


def claims(folder: str = "") -> list[Claim]:
    """List the claims, or those of a folder."""
    import lab_claims
    import readme_claims
    import validity_claims

    every = [*readme_claims.CLAIMS, *lab_claims.CLAIMS, *validity_claims.CLAIMS]
    return [claim for claim in every if folder in ("", claim.folder)]


def differences(folder: str = "") -> list[str]:
    """Say which numbers of the pages are not those of the results; [] if none."""
    return [words for claim in claims(folder) for words in differences_of(claim)]


def differences_of(claim: Claim) -> Iterator[str]:
    """Say which numbers of a claim are not those of the results."""
    try:
        found, values = _found(claim), claim.values()
    except (ValueError, KeyError, OSError) as error:
        yield f"{claim.page}, of {claim.folder}: {error} ({_start(claim)})"
        return
    if len(values) != len(found.groups()):
        yield f"{claim.page}, of {claim.folder}: {len(values)} numbers are computed for {_start(claim)}"
        return
    for printed, value in zip(found.groups(), values, strict=True):
        if not agrees(printed, value):
            told = f"{printed} should be {written(value, printed)}"
            yield f"{claim.page}, of {claim.folder}: {told} ({_start(claim)})"


def _found(claim: Claim) -> re.Match[str]:
    """Find a claim in its page; raise ValueError if it does not stand there once."""
    text = (CHECKOUT / claim.page).read_text(encoding="utf-8")
    found = list(claim.pattern.finditer(text))
    if len(found) != 1:
        raise ValueError(f"its words stand there {len(found)} times, not once")
    return found[0]


def _start(claim: Claim) -> str:
    return f"{' '.join(claim.text.split())[:60]!r}"


def agrees(printed: str, value: float) -> bool:
    """Tell whether a printed number is a value, rounded to its digits; a sign that it prints counts."""
    return abs(float(printed.replace(",", "")) - value) <= 0.5 * 10.0 ** -_decimals(printed) + ROUNDING


def _decimals(printed: str) -> int:
    return len(printed.partition(".")[2])


def written(value: float, like: str) -> str:
    """Write a value with the digits, the sign and the commas of a printed number."""
    sign, comma = "+" if like.startswith("+") else "", "," if "," in like else ""
    return f"{value:{sign}{comma}.{_decimals(like)}f}"


def write() -> list[str]:
    """Write the numbers of the results into the pages; gives how many sentences changed, and what differs."""
    changed = sum(_write(claim) for claim in claims())
    return [
        f"{count(changed, 'sentence')} changed: read again what stands around the numbers",
        *differences(),
    ]


def _write(claim: Claim) -> bool:
    """Write a claim's numbers into its page; tell whether one of them differed."""
    if not list(differences_of(claim)):
        return False
    try:
        found, values = _found(claim), claim.values()
    except (ValueError, KeyError, OSError):
        return False
    if len(values) != len(found.groups()):
        return False
    page = CHECKOUT / claim.page
    text = page.read_text(encoding="utf-8")
    for group in range(len(values), 0, -1):  # from the last, so that places before it stay
        start, end = found.span(group)
        if not agrees(found[group], values[group - 1]):
            text = text[:start] + written(values[group - 1], found[group]) + text[end:]
    page.write_text(text, encoding="utf-8", newline="\n")
    return True

"""The result of a check: right or not, what was compared, and what was found, in words."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from harness.text import count

WIDTH = 100  # characters of a line on a screen


@dataclass(frozen=True, repr=False)
class CheckResult:
    """A check's result: what was compared and what was found; true where nothing is wrong.

    Args:
        what: what was checked, and against what: "my_ce as ce of logits".
        problems: what is wrong, a sentence each; empty where all is right.
        compared: what was compared, a phrase each.
        notes: what is worth knowing and not wrong.

    Example:
        >>> result = CheckResult("my_ce as ce of logits", (), ("values of 12 samples",))
        >>> bool(result), result
        (True, right: my_ce as ce of logits
          compared: values of 12 samples)
    """

    what: str
    problems: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.problems

    @property
    def _heading(self) -> str:
        if not self.problems:
            return f"right: {self.what}"
        return f"wrong: {self.what} ({count(len(self.problems), 'problem')})"

    def __repr__(self) -> str:
        lines = [self._heading, *_numbered(self.problems)]
        lines += [_wrapped("compared: ", "; ".join(self.compared))] if self.compared else []
        lines += [_wrapped("note: ", note) for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        colour = "#b3261e" if self.problems else "#1b6e3c"
        parts = [f'<div><b style="color:{colour}">{html.escape(self._heading)}</b>']
        if self.problems:
            parts.append(
                f"<ol>{''.join(f'<li>{html.escape(problem)}</li>' for problem in self.problems)}</ol>"
            )
        rest = [f"compared: {'; '.join(self.compared)}"] if self.compared else []
        parts += [f"<div>{html.escape(line)}</div>" for line in [*rest, *(f"note: {n}" for n in self.notes)]]
        return "".join([*parts, "</div>"])


def _numbered(problems: Sequence[str]) -> list[str]:
    if len(problems) == 1:
        return [_wrapped("- ", problems[0])]
    return [_wrapped(f"{number}. ", problem) for number, problem in enumerate(problems, 1)]


def _wrapped(opening: str, text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 4, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join([f"  {opening}{lines[0]}", *(f"    {line}" for line in lines[1:])])

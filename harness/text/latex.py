r"""Tables in LaTeX, as booktabs' `tabular`, in text that pdflatex reads as UTF-8.

Characters that pdflatex cannot read are spelled out, as \(-\) for a minus sign.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SPELLED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\(<\)", ">": r"\(>\)",
    "|": r"\textbar{}", "\u00b5": r"\(\mu\)", "\u00a0": "~", "\u2212": r"\(-\)", "\u00b1": r"\(\pm\)",
    "\u2192": r"\(\to\)", "\u2190": r"\(\leftarrow\)", "\u2264": r"\(\leq\)", "\u2265": r"\(\geq\)",
    "\u00b7": r"\(\cdot\)", "\u00d7": r"\(\times\)", "\u2013": "--", "\u2014": "---",
    "\u2026": r"\dots{}", "\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''",
}  # fmt: skip
UNREADABLE = re.compile(r"[^\x20-\x7e\u00c0-\u017f]")  # Latin letters with accents are readable


def tabular(head: Sequence[str], rows: Sequence[Sequence[str]], alignment: str) -> str:
    """Write a table as a booktabs `tabular`.

    Args:
        head: names of the columns, as plain text.
        rows: cells, as plain text.
        alignment: "l" or "r" for each column.
    """
    first, *rest = (" & ".join(map(escape, cells)) + r" \\" for cells in (head, *rows))
    rest = [f"{{}}{row}" if row.startswith("[") else row for row in rest]  # "\\[" would ask for a space
    lines = [f"\\begin{{tabular}}{{{alignment}}}", r"\toprule", first, r"\midrule", *rest, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", ""])


def escape(text: str) -> str:
    """Write text so that LaTeX shows it literally; a letter that pdflatex lacks becomes its code point."""
    spelled = "".join(SPELLED.get(letter, letter) for letter in re.sub(r"[\t\n\r]+", " ", text))
    return UNREADABLE.sub(lambda letter: f"[U+{ord(letter[0]):04X}]", spelled)

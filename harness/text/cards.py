"""Cards: an object in a notebook, as a heading, some lines and a small table, in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

LEFT = "style='text-align:left'"


def card(
    heading: str, lines: Sequence[str] = (), columns: Sequence[str] = (), rows: Sequence[Sequence[str]] = ()
) -> str:
    """Write a card in HTML; every text is shown as it is, whatever a person's names look like.

    >>> card("study <b>", ["2 arms"])
    '<div><b>study &lt;b&gt;</b><br>2 arms</div>'
    """
    head = "<br>".join([f"<b>{_shown(heading)}</b>", *(_shown(line) for line in lines if line)])
    if not rows:
        return f"<div>{head}</div>"
    titles = "".join(f"<th {LEFT}>{_shown(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td {LEFT}>{_shown(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div>{head}<table><tr>{titles}</tr>{body}</table></div>"


def _shown(text: str) -> str:
    """Escape a text, and keep a notebook from typesetting what stands between its dollars as a formula."""
    return html.escape(text).replace("$", "<span>$</span>")

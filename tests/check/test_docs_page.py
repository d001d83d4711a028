"""The page docs/check-your-own.md: its code runs, and gives what the page says."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "check-your-own.md"
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)


def shown(code: str, names: dict[str, Any]) -> str:
    """Run code as a notebook's cell; return what it shows."""
    tree = ast.parse(code)
    assert isinstance(tree.body[-1], ast.Expr)
    last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(tree, str(PAGE), "exec"), names)  # noqa: S102 (our own page)
    return repr(eval(compile(last, str(PAGE), "eval"), names))  # noqa: S307


def test_the_page_shows_what_its_code_gives() -> None:
    names: dict[str, Any] = {}
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks] == ["python", "text"] * (len(blocks) // 2)
    assert len(blocks) >= 10
    for (_, code), (_, text) in zip(blocks[::2], blocks[1::2], strict=True):
        assert shown(code, names) == text.rstrip("\n")

"""The Python of docs/going-on.md runs, and gives what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import harness

PAGE = Path(__file__).parents[2] / "docs" / "going-on.md"


def test_the_pages_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, found)  # noqa: S102 (a page of ours)
    assert found["again"].epochs["epoch"].tolist() == [3, 3, 4, 4, 5, 5, 6, 6]
    assert found["again"].trials["parent"].item() == found["results"].trial().trial_id
    x = torch.zeros(1, 64)
    assert torch.equal(found["model"](x), harness.module_of(found["results"])(x))
    assert found["state"].epoch == 3

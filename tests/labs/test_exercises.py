"""Each line of the table in docs/labs.md runs, in its order, on digits."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import harness
from harness.exporting import image_files

CHECKOUT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([1-5]) \| (.+?) \| `(.+)` \|$", re.MULTILINE)
ROWS = ROW.findall((CHECKOUT / "docs/labs.md").read_text(encoding="utf-8"))


class MyNetwork:
    """A student's network: one hidden layer, softmax and cross-entropy, derivatives by hand."""

    def __init__(self, weights: Any, settings: Any) -> None:  # noqa: ARG002 (part of the form)
        (self.w1, self.b1), (self.w2, self.b2) = weights
        self.parameters = [self.w1, self.b1, self.w2, self.b2]

    def forward(self, x: Any) -> Any:
        z = np.maximum(x @ self.w1.T + self.b1, 0) @ self.w2.T + self.b2
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def gradients(self, x: Any, target: Any) -> list[Any]:
        h = np.maximum(x @ self.w1.T + self.b1, 0)
        dz = (self.forward(x) - target) / len(x)
        da = (dz @ self.w2) * (h > 0)
        return [da.T @ x, da.sum(0), dz.T @ h, dz.sum(0)]


def my_ql(f: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 0.5 * ((f - target) ** 2).sum(-1)


def my_ccql(f: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return my_ql(f, target) + (1 - (f * target).sum(-1)) ** 2


def my_top3(p: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    true = (p * target).sum(-1, keepdim=True)
    return ((p > true).sum(-1) < 3).to(p.dtype)


def my_collate(samples: Any) -> Any:
    x, y = zip(*samples, strict=True)
    return torch.stack(x), torch.stack(y)


STUDY: dict[str, Any] = {
    "study": {
        "name": "class", "seeds": 1, "keep_predictions": ["train", "val", "test"], "keep_weights": "all",
        "keep_state": "all",
    },
    "baseline": {
        "dataset": "digits", "hidden": [16], "head": "softmax", "loss": "ce", "epochs": 2,
        "eval_every": "1 epoch",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the table's lines are written for: a study, its results, and what a student wrote."""
    folder, before = tmp_path_factory.mktemp("table"), Path.cwd()
    os.chdir(folder)
    image_files.export(harness.datasets["digits"], "npy", folder / "images")
    study = harness.parse(STUDY)
    results = harness.run(study, "results/first", workers=1)
    probabilities = np.eye(10)[:3] * 0.9 + 0.01
    yield {
        "harness": harness, "torch": torch, "np": np, "study": study, "results": results,
        "trial": harness.plan(study).trials[0], "trained": results.trial(), "MyNetwork": MyNetwork,
        "my_ce": lambda z, t: -(t * z.log_softmax(-1)).sum(-1),
        "my_ql": my_ql, "my_ccql": my_ccql, "my_top3": my_top3, "my_collate": my_collate,
        "my_textbook_ce": lambda p, t: -(p * t).sum(-1).log(),
        "my_softmax": lambda z: (z - z.amax(-1, keepdim=True)).softmax(-1),
        "my_preprocessing": lambda images: images / 16,
        "my_relu": lambda x: np.maximum(x, 0), "my_relu_backward": lambda grad, x: grad * (x > 0),
        "my_probabilities": probabilities, "my_labels": [0, 1, 2], "my_predictions": [0, 1, 1],
        "my_module": torch.nn.Linear(64, 10),
    }  # fmt: skip
    os.chdir(before)


def on_digits(line: str) -> str:
    """Turn a line of the table into one that is fast."""
    line = re.sub(r'"(fashion_)?mnist"', '"digits"', line)
    return re.sub(r'harness\.load\("(\w+)"\)', r'harness.load("\1", ["dataset=digits", "seeds=2"])', line)


def run(line: str, namespace: dict[str, Any]) -> Any:
    """Run a line of the table; return the value of its last expression, None of an assignment."""
    statements = ast.parse(on_digits(line), "docs/labs.md").body
    for statement in statements:
        if isinstance(statement, ast.Expr):
            return eval(ast.unparse(statement), namespace)  # noqa: S307 (the page is ours)
        exec(ast.unparse(statement), namespace)  # noqa: S102
    return None


def check(line: str, namespace: dict[str, Any]) -> None:
    """Run a line of the table and look at what it gives."""
    value = run(line, namespace)
    if line.startswith("harness.figures."):
        assert all(ax.has_data() or ax.texts for ax in np.ravel(value))
    elif line.startswith(("harness.check.", "harness.tables.")):
        assert len(value) if isinstance(value, pd.DataFrame) else value, value
    else:
        assert value is not None or "=" in line


@pytest.mark.parametrize("lab", "12345")
def test_the_lines_of_a_lab_run(lab: str, namespace: dict[str, Any]) -> None:
    """In their order: some use what those before them made."""
    for _, what, line in (row for row in ROWS if row[0] == lab):
        try:
            check(line, namespace)
        except BaseException as error:
            error.add_note(f"lab {lab}, {what}: {line}")
            raise


def test_the_table_has_every_lab() -> None:
    assert {lab for lab, _, _ in ROWS} == {"1", "2", "3", "4", "5"}
    assert len(ROWS) > 50


def test_a_line_with_a_mistake_is_noticed(namespace: dict[str, Any]) -> None:
    with pytest.raises(AttributeError, match="did you mean"):
        run("harness.figure.images(study)", namespace)

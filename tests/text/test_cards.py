"""What a notebook shows of an object is short, right, and nobody's names are taken for HTML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import harness
from harness.planning import plan
from harness.study.study import Study
from harness.text.cards import card


def test_names_are_never_html() -> None:
    page = card("<script>", ["a & b", ""], ("<i>",), [("<b>x</b>",)])
    assert "<script>" not in page
    assert "<b>x" not in page
    assert "&lt;script&gt;" in page
    assert "a &amp; b<table>" in page


def test_names_are_never_formulas() -> None:
    page = card("$x$", ["a $ b $"], ("$i$",), [("$\\frac{",)])
    assert page.count("$") == page.count("<span>$</span>") == 7


def test_a_study_and_its_plan(study_of: Callable[..., Study]) -> None:
    axes = {"output": [{"name": "<i>CE", "head": "identity", "loss": "ce"},
                       {"name": "bad", "head": "softmax", "loss": "nll"}]}  # fmt: skip
    study = study_of(axes)
    page = study._repr_html_()
    assert "study small" in page
    assert "&lt;i&gt;CE, bad" in page
    assert repr(study) == "Study 'small': grid of output, 2 seeds"
    planned = plan.make(study)
    assert "2 arms x 2 seeds = 4 trials, 2 to train in 1 stack" in planned._repr_html_()
    assert "2 skipped: " in planned._repr_html_()
    assert repr(planned) == "Plan of 'small': 2 arms x 2 seeds = 4 trials, 2 to train in 1 stack"


def test_results_have_counts_and_the_best_arms_with_intervals(kept_results: Path) -> None:
    results = harness.read(kept_results)
    page = results._repr_html_()
    assert "16 trials, 10 ok, 6 diverged" in page
    assert str(kept_results) in page
    best = results.trials.groupby("arm")["val_accuracy"].mean().max()
    first = page.split("<tr>")[2]
    assert f">{best:.4f} [" in first
    assert page.count("<tr>") == 1 + 5
    assert "the best arms; 3 others are in .trials" in page
    assert len(repr(results)) < 200

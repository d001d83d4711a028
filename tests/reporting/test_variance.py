"""Share of variance and interactions of a grid, held against what is known of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from harness import reporting, stats
from harness.reporting import ReportData, choices
from harness.results import Results

AXES = {"a": ["a1", "a2"], "b": ["b1", "b2", "b3"], "c": ["c1", "c2"]}


def grid(product: float, effect: float = 0.1, seeds: int = 3) -> ReportData:
    """Accuracies of a full grid: an effect of b, and of a2 with b3 together, which is `product`."""
    rows = []
    rng = np.random.default_rng(0)
    for (a, b, c), seed in itertools.product(itertools.product(*AXES.values()), range(seeds)):
        value = 0.5 + effect * (b == "b3") + product * (a == "a2" and b == "b3") + rng.normal(0, 1e-4)
        row: dict[str, object] = {
            "trial_id": f"t{a}{b}{c}{seed}",
            "arm": f"{a}{b}{c}",
            "dataset": "two",
            "a": a,
            "b": b,
            "c": c,
        }
        row |= {"loss": "ce", "head": "identity", "seed": seed, "status": "ok", "val_accuracy": value}
        rows.append({**row, "test_accuracy": value, "diverged_step": np.nan})
    study = {"study": {"design": "grid"}, "axes": AXES}
    none = pd.DataFrame(columns=["trial_id", "epoch", "split", "label", "prediction", "accuracy", "loss"])
    return reporting.prepare(Results(Path(), pd.DataFrame(rows), none, none, study, {}))


def words(figure: reporting.Figure) -> list[str]:
    texts = figure.figure.findobj(Text)
    return [text.get_text().replace("\u00a0", " ") for text in texts if isinstance(text, Text)]


def test_shares_are_those_of_the_analysis_of_variance() -> None:
    reading = grid(0.05)
    drawn = {figure.name: figure for figure in choices.draw(reading)}
    assert list(drawn)[:2] == ["effects", "variance"]
    table = stats.anova(reading.trials, reading.axes, "val_accuracy").set_index("term")
    said = words(drawn["variance"])
    share = f"{100 * table['share']['a:b']:.1f} %"
    assert any(text.startswith(share) and "p < 0.001" in text for text in said)
    assert "a \u00d7 b" in said
    assert {"seed", "rest: more together, and noise"} <= set(said)


def test_only_interactions_with_a_share_are_drawn_and_their_cells_say_by_how_much() -> None:
    drawn = [figure for figure in choices.draw(grid(0.06)) if figure.name.startswith("interaction")]
    assert [figure.name for figure in drawn] == ["interaction-two-a-b"]
    # A product of 0.06 in one of 2 x 3 cells leaves 0.06 (1 - 1/2)(1 - 1/3) = 2 points of deviation there.
    assert any(text.startswith(("66.0 %\n+2.0", "66.0 %\n+1.99")) for text in words(drawn[0]))
    assert not [f for f in choices.draw(grid(0.0)) if f.name.startswith("interaction")]


def test_a_hole_in_the_grid_is_reported() -> None:
    reading = grid(0.05)
    hit = reading.trials["arm"].eq("a1b1c1")
    trials = reading.trials.assign(
        status=reading.trials["status"].mask(hit, "diverged"),
        val_accuracy=reading.trials["val_accuracy"].mask(hit),
    )
    drawn = {figure.name: figure for figure in choices.draw(replace(reading, trials=trials))}
    assert "planned trials are left out" in drawn["variance"].caption


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_are_no_reason_to_crash(seeds: int) -> None:
    assert "variance" in {figure.name for figure in choices.draw(grid(0.05, seeds=seeds))}


def test_without_any_variance_there_is_no_share() -> None:
    reading = grid(0.0)
    trials = reading.trials.assign(val_accuracy=0.5)
    assert "variance" not in {figure.name for figure in choices.draw(replace(reading, trials=trials))}

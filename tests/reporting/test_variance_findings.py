"""The page on the study `variance`: its numbers are those of the tables that it is made of."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from harness import stats
from harness.stats.seed_variance import EVERY, NOTHING

SCRIPT = Path(__file__).parents[2] / "docs" / "findings-of-studies" / "variance.py"
ARMS = (
    "softmax regression \u00b7 constant",
    "softmax regression \u00b7 linear",
    "mlp 32 \u00b7 constant",
    "mlp 32 \u00b7 linear",
)

PAIRED = pd.Series([0.8, 0.95])


@pytest.fixture(scope="module")
def findings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("variance_findings", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sources() -> pd.DataFrame:
    """Sources of four arms: the start decides nothing of softmax regression, the order all of it."""
    rng = np.random.default_rng(0)
    tables = []
    for label in ARMS:
        sd = 0.001 if label.endswith("linear") else 0.003
        order = rng.normal(0.9, sd, (1, 6))
        for source in ("start", "order", "split", EVERY, NOTHING):
            m = 1 if source in {EVERY, NOTHING} else 4
            values = np.repeat(order, m, axis=0)
            if label.startswith("mlp") and source != EVERY:
                values = values + rng.normal(0, sd, values.shape)
            if source == NOTHING:
                values = np.full((1, 6), 0.9)
            elif source == "order" and label.startswith("softmax"):
                values = np.repeat(rng.normal(0.9, sd, (m, 1)), 6, axis=1)
            tables.append(pd.DataFrame({
                "dataset": "mnist", "label": label, "source": source, "value": np.repeat(np.arange(m), 6),
                "seed": np.tile(np.arange(6), m), "status": "ok", "test_accuracy": values.ravel(),
            }))  # fmt: skip
    return stats.seed_variance(pd.concat(tables), ["dataset", "label"])


@pytest.fixture(scope="module")
def needed(sources: pd.DataFrame) -> pd.DataFrame:
    return stats.seeds_for_difference(sources[sources["source"].eq(EVERY)], 0.002)


def test_the_page_has_a_row_an_arm_and_no_open_place(
    findings: ModuleType, sources: pd.DataFrame, needed: pd.DataFrame
) -> None:
    page = findings.page(sources, needed, 0.002, PAIRED)
    rows = [line for line in page.splitlines() if line.startswith("| mnist")]
    assert [row.split(" | ")[1] for row in rows] == list(ARMS)
    assert not re.search(r"[{}]|nan", page)
    assert "4 arms (2 networks, 1 data set," in page
    assert "4 seeds of it by 6 seeds" in page.replace("\n", " ")


def test_its_sentences_are_the_tables(
    findings: ModuleType, sources: pd.DataFrame, needed: pd.DataFrame
) -> None:
    page = findings.page(sources, needed, 0.002, PAIRED).replace("\n", " ").replace("\u00a0", " ")
    assert "Initial weights, softmax regression: 0 % of the variance." in page
    assert "Order of the batches, softmax regression: 100 % of the variance." in page
    low, high = needed["needed"].min(), needed["needed"].max()
    assert f"needs {low:,.0f} to {high:,.0f} seeds of each arm" in page
    counts = needed.set_index("label")["needed"]
    few = sum(counts[linear] <= counts[constant] / 2 for constant, linear in (ARMS[:2], ARMS[2:]))
    assert f"at most half of them in {few} of 2 cases" in page
    assert "at most 0.00 points over 24 trials" in page


def test_network_and_schedule_are_found_in_any_order(findings: ModuleType) -> None:
    for label in ("linear \u00b7 mlp 32", "mlp 32 \u00b7 linear"):
        assert (findings.network_of(label), findings.schedule_of(label)) == ("mlp 32", "linear")


def test_trials_are_counted_once(findings: ModuleType, sources: pd.DataFrame) -> None:
    # Of each arm: 4 x 6 starts and orders, 3 x 6 further splits, 6 with no fixed seed, 6 with all fixed.
    assert findings.trials_of(sources) == 4 * (24 + 24 + 18 + 6 + 6)


def test_pairs_that_share_everything_gain_everything(findings: ModuleType) -> None:
    rng = np.random.default_rng(1)
    seeds = np.arange(2000)
    common, own = rng.normal(size=seeds.size), rng.normal(size=(3, seeds.size))
    values = {
        ("a", "constant"): common, ("a", "linear"): common + 0.01 * own[0],
        ("b", "constant"): own[1], ("b", "linear"): own[2],
    }  # fmt: skip
    rows = [
        pd.DataFrame(
            {"dataset": "mnist", "network": network, "schedule": schedule, "seed": seeds, "status": "ok",
             "test_accuracy": accuracies}
        )
        for (network, schedule), accuracies in values.items()
    ]  # fmt: skip
    paired = findings.paired_deviations(pd.concat(rows))
    assert paired[("mnist", "a")] < 0.02
    assert paired[("mnist", "b")] == pytest.approx(1, abs=0.1)

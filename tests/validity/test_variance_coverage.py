"""Coverage of the intervals of `stats.seed_variance` on a small pool, and that a wrong one is noticed."""

from __future__ import annotations

from pathlib import Path

import aa_rates
import aa_studies
import numpy as np
import pytest
import variance_coverage
from numpy.typing import NDArray

import harness
from harness.settings.schema import FIXED_SEED
from harness.stats.seed_variance import MeanSquares
from harness.training import runs

STUDIES = 300


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float64]:
    """Test accuracies of 24 starts with 24 orders, really trained."""
    folder = tmp_path_factory.mktemp("results") / "variance"
    study = harness.load(str(aa_studies.HERE / "variance.toml"), ["seeds=24", "seed.start=24"])
    runs.train(study, folder, workers=1)
    return variance_coverage.table_of(harness.read(folder).trials)


def test_the_pool_is_every_start_with_every_order(pool: NDArray[np.float64]) -> None:
    assert pool.shape == (24, 24)
    assert len(np.unique(pool)) > 10


def test_intervals_hold_the_truth(pool: NDArray[np.float64]) -> None:
    checks = variance_coverage.coverage(pool, STUDIES, np.random.default_rng(0))
    assert len(checks) == len(variance_coverage.SHAPES) * len(variance_coverage.QUANTITIES)
    small = [check for check in checks if check.source.endswith("8 x 10")]
    # A finite pool, of which a study takes a good part: studies are nearer the truth than seeds drawn anew.
    assert all(check.rate > 0.9 for check in small)


def test_an_interval_that_is_too_narrow_is_noticed(
    pool: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        MeanSquares, "alone_interval", lambda squares, _: (squares.alone, squares.alone * 1.01)
    )
    checks = variance_coverage.coverage(pool, STUDIES, np.random.default_rng(0))
    assert all(
        check.rate < aa_rates.AROUND_95[0] for check in checks if check.source.startswith("deviation alone")
    )


def test_the_study_varies_the_start_alone() -> None:
    study = harness.load(str(Path(aa_studies.HERE) / "variance.toml"))
    assert len(study.axes[FIXED_SEED]) == 1 + 200

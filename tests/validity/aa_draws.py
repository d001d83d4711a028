"""A/A studies: values of real seeds, dealt out to arms that are the same, and judged as a report judges arms.

A set of R studies is an array `(R, arms, n)` of test accuracies; arm 0 is the reference of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

METRIC = "test_accuracy"


def disjoint(columns: Sequence[NDArray[np.float64]], n: int) -> NDArray[np.float64]:
    """Cut seeds into studies, each seed in one arm of one study: nothing is paired, all is independent.

    Args:
        columns: the values of each arm, `(N,)`, in the same order of seeds; one array twice is an arm under
            two names.
        n: seeds an arm.

    Returns:
        `(N // (arms * n), arms, n)`: of each block of arms * n seeds, arm k has the k-th n.
    """
    arms = len(columns)
    studies = len(columns[0]) // (arms * n)
    blocks = [column[: studies * arms * n].reshape(studies, arms, n) for column in columns]
    return np.stack([block[:, k] for k, block in enumerate(blocks)], axis=1)


def paired(columns: Sequence[NDArray[np.float64]], n: int) -> NDArray[np.float64]:
    """Cut seeds into studies whose arms share them: `(N // n, arms, n)`; `columns` as in `disjoint`."""
    studies = len(columns[0]) // n
    return np.stack([column[: studies * n].reshape(studies, n) for column in columns], axis=1)


def resampled(
    pool: NDArray[np.float64], arms: int, n: int, studies: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw studies from a pool of seeds `(N,)`, each study without replacement.

    Studies share seeds, the more the smaller the pool: a rate over them is this pool's, and its interval says
    nothing about other pools.

    Returns:
        `(studies, arms, n)`.

    Raises:
        ValueError: a study needs more seeds than the pool has.
    """
    if arms * n > len(pool):
        raise ValueError(f"{arms} arms of {n} seeds need {arms * n} values; the pool has {len(pool)}")
    order = rng.permuted(np.tile(np.arange(len(pool)), (studies, 1)), axis=1)
    drawn: NDArray[np.float64] = pool[order[:, : arms * n]].reshape(studies, arms, n)
    return drawn


def differences(studies: NDArray[np.float64]) -> pd.DataFrame:
    """Each arm less arm 0, seed by seed, by the report's own function; `dataset` is the study's number."""
    study, arm, seed = (index.ravel() for index in np.indices(studies.shape))
    names = np.array([f"arm {k}" for k in range(studies.shape[1])])
    trials = pd.DataFrame(
        {"dataset": study, "arm": names[arm], "seed": seed, "status": "ok", METRIC: studies.ravel()}
    )
    pairs = pd.DataFrame({"arm": names[1:], "reference": names[0]})
    return stats.paired_differences(trials, pairs, METRIC)


def judged(studies: NDArray[np.float64], *, margin: float) -> pd.DataFrame:
    """The verdicts on two-arm studies `(R, 2, n)`, a row a study.

    All at once, because p, interval and p_same of a row are its own; the columns that are corrected over the
    family (p_holm, verdict) take all R studies for one, and are not to be used.
    """
    return stats.verdicts(differences(studies), margin=margin)


def judged_families(studies: NDArray[np.float64], *, margin: float) -> pd.DataFrame:
    """The verdicts on studies of several arms `(R, arms, n)`, each study a family of its own."""
    families = differences(studies).groupby("dataset", sort=False)
    return pd.concat([stats.verdicts(one, margin=margin) for _, one in families], ignore_index=True)

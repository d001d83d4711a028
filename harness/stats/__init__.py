"""Statistics of a study: intervals, main effects, contrasts and verdicts, as pure functions.

Every function takes columns of `trials.csv`, `epochs.csv` or `confusion.csv`, or arrays of kept predictions,
and gives a new DataFrame; what is random takes a generator. Two rules hold throughout.

Seeds are the unit of replication. Cells of a grid that share a seed share initial weights, batch order and
split, so they are not independent draws; a value is first averaged within its seed, and the interval is
Student's t over those seed-level numbers (Bouthillier et al. 2021, "Accounting for variance in machine
learning benchmarks"), cut off where a share ends. One seed gives no interval, nor do seeds that all gave
the same value: it is NaN. Test samples are the unit where it is said.

Nothing is imputed. Only trials with status `ok` carry a value; diverged and failed ones are counted.

Accuracies are shares in 0..1 throughout. Selection and ranking read the validation split alone; contrasts
that a study declared before it ran are judged on test.
"""

from harness.stats.balance import as_array, whole_block, whole_cells
from harness.stats.calibrations import (
    brier,
    calibration,
    ece,
    ece_of_table,
    nll,
    overconfidence_of_table,
)
from harness.stats.choice_spreads import choice_spreads
from harness.stats.confusion import confusion_differences, confusion_matrix
from harness.stats.contrasts import contrasts, level_differences, paired_differences
from harness.stats.crossed import bounded_interval, crossed_interval
from harness.stats.effects import axis_spreads, effect_cells, main_effects, seed_effects
from harness.stats.equivalence import all_same, equivalence
from harness.stats.extrapolation import Forecast, forecast_errors, forecast_summary, least_curves
from harness.stats.factorial import anova, anova_cells, interaction
from harness.stats.finalists import finalist_verdicts, finalists, optimism
from harness.stats.over_data_sets import OVER_DATA_SETS, over_data_sets
from harness.stats.paired_samples import mcnemar, sample_bootstrap, sample_verdicts
from harness.stats.pooled import interquartile_mean, probability_of_improvement
from harness.stats.power_analysis import (
    detectable_difference,
    power,
    sd_interval,
    seeds_needed,
    wilcoxon_floor,
)
from harness.stats.search import (
    best_quantiles,
    best_so_far,
    expected_best,
    hypervolume,
    pareto_front,
    ranked,
)
from harness.stats.seed_variance import seed_variance, seeds_for_difference
from harness.stats.simultaneous import simultaneous_intervals
from harness.stats.summaries import (
    BLOCK,
    CONFIDENCE,
    OUTCOMES,
    block_means,
    difference_limits,
    finished,
    mean_curves,
    outcomes,
    rank_arms,
    summarise,
    with_blocks,
)
from harness.stats.survival import (
    ROUNDED,
    event_times,
    restricted,
    survival_curves,
)
from harness.stats.unpaired import unpaired_verdicts
from harness.stats.verdicts import IDENTICAL, VERDICTS, holm, verdicts

__all__ = [
    "BLOCK", "CONFIDENCE", "IDENTICAL", "OUTCOMES", "OVER_DATA_SETS", "ROUNDED", "VERDICTS", "Forecast",
    "all_same", "anova", "anova_cells", "as_array", "axis_spreads", "best_quantiles", "best_so_far",
    "block_means", "bounded_interval", "brier", "calibration", "choice_spreads",
    "confusion_differences", "confusion_matrix", "contrasts", "crossed_interval",
    "detectable_difference", "difference_limits", "ece",
    "ece_of_table", "effect_cells", "equivalence", "event_times", "expected_best", "finalist_verdicts",
    "finalists", "finished", "forecast_errors", "forecast_summary", "holm", "hypervolume",
    "interaction", "interquartile_mean", "least_curves", "level_differences", "main_effects", "mcnemar",
    "mean_curves", "nll", "optimism", "outcomes", "over_data_sets", "overconfidence_of_table",
    "paired_differences", "pareto_front", "power", "probability_of_improvement", "rank_arms", "ranked",
    "restricted", "sample_bootstrap", "sample_verdicts", "sd_interval", "seed_effects", "seed_variance",
    "seeds_for_difference", "seeds_needed", "simultaneous_intervals", "summarise", "survival_curves",
    "unpaired_verdicts", "verdicts", "whole_block", "whole_cells", "wilcoxon_floor", "with_blocks",
]  # fmt: skip

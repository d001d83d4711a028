"""What the numbers of a study say: intervals, main effects, rankings, paired contrasts. Pure functions.

Every function takes columns of `trials.csv`, `epochs.csv` or `confusion.csv` and gives a new DataFrame.
Two rules hold throughout.

Seeds are the unit of replication. Cells of a grid that share a seed share initial weights, batch order and
split, so they are not independent draws; a value is first averaged within its seed, and the interval is
Student's t over those seed-level numbers (Bouthillier et al. 2021, "Accounting for variance in machine
learning benchmarks"). One seed gives no interval: it is NaN.

Nothing is imputed. Only trials with status `ok` carry a value; diverged and failed ones are counted.

Accuracies are shares in 0..1 throughout. Selection and ranking read the validation split alone; contrasts
that a study declared before it ran are judged on test.
"""

from harness.stats.balance import whole_block, whole_cells
from harness.stats.confusion import confusion_differences, confusion_matrix
from harness.stats.contrasts import contrasts, paired_differences
from harness.stats.curves import mean_curves
from harness.stats.detectable import detectable_difference, power, seeds_needed, wilcoxon_floor
from harness.stats.effects import axis_spreads, effect_cells, main_effects, seed_effects
from harness.stats.factorial import anova, anova_cells, interaction
from harness.stats.levels import level_differences
from harness.stats.summaries import CONFIDENCE, OUTCOMES, finished, outcomes, rank_arms, summarise
from harness.stats.verdicts import VERDICTS, holm, verdicts

__all__ = [
    "CONFIDENCE",
    "OUTCOMES",
    "VERDICTS",
    "anova",
    "anova_cells",
    "axis_spreads",
    "confusion_differences",
    "confusion_matrix",
    "contrasts",
    "detectable_difference",
    "effect_cells",
    "finished",
    "holm",
    "interaction",
    "level_differences",
    "main_effects",
    "mean_curves",
    "outcomes",
    "paired_differences",
    "power",
    "rank_arms",
    "seed_effects",
    "seeds_needed",
    "summarise",
    "verdicts",
    "whole_block",
    "whole_cells",
    "wilcoxon_floor",
]  # fmt: skip

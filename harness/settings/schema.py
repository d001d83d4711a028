"""Schema: names in a results folder: the columns of its tables, its files, and the folders in it."""

from __future__ import annotations

from collections.abc import Sequence

SPLITS = ("train", "val", "test")
MEASURES = ("loss", "accuracy")
"""What is measured of every trial, before the metrics that a study tracks."""
METRICS = [f"{split}_{metric}" for split in SPLITS for metric in MEASURES]
"""Columns of trials.csv that hold loss and accuracy."""


def metric_columns(metrics: Sequence[str]) -> list[str]:
    """List the columns of trials.csv that tracked metrics fill."""
    return [f"{split}_{metric}" for metric in metrics for split in SPLITS]


def outcome_columns(metrics: Sequence[str] = ()) -> list[str]:
    """List the columns of trials.csv that say how a trial ended, in order, tracked metrics among them."""
    return [
        "status", "reason", "diverged_step", "parameters", "flops", "epochs_done", "steps_done",
        *METRICS, *metric_columns(metrics), "engine", "device", "group", "group_size", "group_seconds",
        "kernels", "host",
    ]  # fmt: skip


OUTCOME = outcome_columns()
EPOCHS = ["trial_id", "epoch", "step", "split", "loss", "accuracy"]
"""Columns of epochs.csv, before those of tracked metrics."""
NOT_NEEDED = "not needed: every contrast was decided at "
NOT_NEEDED_BEFORE = "not needed: every contrast was told at "  # in folders of before
"""How the reason of a trial begins that a look at its study made needless; then follow the seeds."""
SCORES = ("trial_id", "split", "metric", "value")
"""Columns of scores.csv."""
STREAM_SEEDS = ("start_seed", "order_seed", "dropout_seed", "augmentation_seed")
"""Settings that give a stream of a trial another seed than the trial's."""
FIXED_SEED = "fixed_seed"
"""The linked axis of studies that vary the sources of randomness one by one: which seed is fixed."""
NAMED_ONLY = ("initial_weights", *STREAM_SEEDS)
"""Settings with a column only in tables of a study that names them; elsewhere they are at their default."""
STACK_SETTINGS = (
    "dataset", "preprocessing", "val_fraction", "val_split", "split_seed", "label_noise",
    "label_noise_seed", "augmentation", "architecture", "batch_size", "epochs", "steps", "sampling",
    "eval_every",
)  # fmt: skip
"""Settings that all trials of a stack share, since they see the same batches."""
STACKS = (
    "group", "trials", "arms", "seeds", "group_size", "group_seconds", "parameters", "steps_done", "engine",
    "device", "kernels", "host", *STACK_SETTINGS,
)  # fmt: skip
"""Columns of stacks.csv."""
PARENT = "parent"
"""The column of the trial that a trial went on from; only in tables in which one did."""
TO_TARGET = ["steps_to", "epochs_to"]
"""Columns of when a trial first reached the study's target; only in tables of a study that has one."""
TARGETS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")
"""Columns that a study's target can be on: what is evaluated while a trial trains."""
COLUMNS = ("trial_id", "arm", "seed", *OUTCOME, *TO_TARGET, PARENT)
"""Columns of trials.csv beside a trial's settings."""
OF_ARM = "of_arm"
"""The column that names the arm whose settings a trial tries, while a study tunes."""
SEED_BLOCK = "seed_block"
"""The column of the block of seeds that chose the settings of a tuned trial; only where blocks choose."""
TAKEN = (
    OF_ARM, SEED_BLOCK, *COLUMNS, "label", "objective", "split", "epoch", "step", "value", "trials",
    "accuracy", "prediction", "count",
)  # fmt: skip
"""Names a linked axis cannot have: columns of the results, and of the tables that reports make of them."""
TUNING, TUNED, CHOSEN = "tuning", "tuned", "chosen.csv"
"""Parts of the results folder of a study that tunes: two results folders, and what each arm chose."""
FINALISTS = "finalists"
"""The results folder in which the best suggestions of a search are trained anew; test stays closed."""
CONFIRMED, BASELINE, WINNER = "confirmed", "baseline", "winner"
"""The results folder in which a search is confirmed, and its two arms."""
WINNERS = "winners.csv"
"""The file that lists the suggestions of a search for which the test set was opened, and when."""
KNOWN = "known.json"
"""The file that keeps what a search knew of an earlier one before its first suggestion."""
LATENCY = "latency.json"
"""The file that keeps the measured latency of each network of a search."""
TOLD = "told.jsonl"
"""The file of a search that says what was known when each batch was asked for, and who was judged when."""
TRIES = "tries"
"""The results folder, in a study's own, of what was tried against its baseline; the test set stays closed."""

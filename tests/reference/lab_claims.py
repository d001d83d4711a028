"""What docs/labs.md and docs/time-to-target.md state of the labs' results, number by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from doc_numbers import Claim
from reference_values import Interval, by_seed, curve, difference, interval, mean, row, table, trained_in

LABS = "docs/labs.md"
TIMES = "docs/time-to-target.md"
LAB1, LAB2, LAB3, FASHION = "lab1_learning_rate", "lab2_losses", "lab3_numpy", "lab3_fashion"
LAB4, LAB5, PITFALLS, TARGET = "lab4_steps", "lab5_ladder", "pitfalls", "time_to_target"
TEST, VAL, TRAIN = "test_accuracy", "val_accuracy", "train_accuracy"
BASELINE = {"arm": "baseline"}
UNIT = {"preprocessing": "unit"}


def _learning_rates() -> Sequence[float]:
    best = UNIT | {"lr": 1.0}
    others = [mean(LAB1, TEST, UNIT | {"lr": lr}).mean for lr in (0.3, 0.1, 0.03, 0.01)]
    return [*mean(LAB1, TEST, best), mean(LAB1, TRAIN, best).mean, *others]


def _lowest_val_loss() -> Sequence[float]:
    best = UNIT | {"lr": 1.0}
    val, train = (curve(LAB1, split, "loss", best) for split in ("val", "train"))
    return [float(val.index[int(val.argmin())]), val.min(), val.iloc[-1], train.iloc[-1]]


def _signed_pixels() -> Sequence[float]:
    plain, signed = ({"lr": 0.1, "preprocessing": name} for name in ("unit", "signed"))
    gain = difference(LAB1, VAL, signed, plain).mean
    return [gain, mean(LAB1, VAL, plain).mean, mean(LAB1, VAL, signed).mean]


def _of_output(output: str) -> Sequence[float]:
    halves = (mean(LAB2, VAL, {"output": output, "batch_size": size}) for size in (256, 512))
    return [number for half in halves for number in half]


def _inverted_at_a_tenth() -> Sequence[float]:
    plain, inverted = ({"arm": name} for name in ("lr 0.01", "inverted, lr 0.01"))
    means = (mean(LAB3, TEST, where).mean for where in (inverted, plain))
    return [difference(LAB3, TEST, plain, inverted).mean, *means]


def _fashion() -> Sequence[float]:
    invert = {"preprocessing": "invert"}
    losses = [by_seed(FASHION, f"{split}_loss", UNIT) for split in ("train", "val")]
    gap = interval(losses[1] - losses[0])
    below = interval(100 * (by_seed(FASHION, TRAIN, UNIT) - by_seed(FASHION, VAL, UNIT)))
    ends = [interval(loss).mean for loss in losses]
    return [
        *mean(FASHION, VAL, UNIT), mean(FASHION, TEST, UNIT).mean, *ends, *gap, *below,
        mean(FASHION, TRAIN, UNIT).mean, *difference(FASHION, VAL, UNIT, invert),
    ]  # fmt: skip


def _steps() -> Sequence[float]:
    plain, less = mean(LAB4, TEST, UNIT).mean, difference(LAB4, VAL, BASELINE, UNIT)
    return [*mean(LAB4, TEST, BASELINE), mean(LAB4, VAL, BASELINE).mean, plain, *less]


def _of_step(arm: str, before: str = "") -> Sequence[float]:
    change: Sequence[float] = difference(LAB5, VAL, {"arm": arm}, {"arm": before}) if before else []
    return [*mean(LAB5, TEST, {"arm": arm}), *change]


def _of_mistake(arm: str) -> Interval:
    return mean(PITFALLS, VAL, {"arm": arm})


def _until_target(optimizer: str) -> Sequence[float]:
    found = row(table(f"{TARGET}/tables/time-to-target.csv"), {"arm": optimizer})
    val = mean(TARGET, VAL, {"optimizer": optimizer}).mean
    if not found["reached"]:
        return [0.0, val]
    return [*(float(found[name]) for name in ("reached", "mean", "low", "high")), val]


OUTPUTS = {
    "softmax + QL at lr 2.56": "softmax + QL, lr 2.56",
    "log-softmax + NLL": "log-softmax + NLL",
    "logits + CE": "logits + CE",
    "softmax + CCQL": "softmax + CCQL",
    "softmax + QL": "softmax + QL",
}
"""A row of the page -> the output's name in the study."""
STEPS = {
    "0: sigmoid units and output, MSE, SGD, batch size 1": ("{} ({} to {})", "", "baseline", ""),
    "1: softmax output": ("{} ({} to {})", "{} ({} to {}) ", "softmax output", "baseline"),
    "2: ReLU": ("{} ({} to {})", "{} ({} to {}) ", "ReLU", "softmax output"),
    "3: RMSprop, batch 16, 10 epochs": (
        "**{} ({} to {})**", "{} ({} to {}) ", "RMSprop, batch 16, 10 epochs", "ReLU",
    ),
}  # fmt: skip
"""A row of the page -> its cells, its arm, and the arm before it."""
MISTAKES = {
    "none: cross-entropy on logits, shuffled, pixels in [0, 1]": "baseline",
    "QL fed log-probabilities": "QL fed log-probabilities",
    "QL on softmax at cross-entropy's rate": "QL on softmax at CE's lr",
    "MSE on softmax at cross-entropy's rate": "MSE on softmax at CE's lr",
    "MSE on softmax at five times that rate, where it equals QL": "MSE on softmax at five times that lr",
    "double softmax: cross-entropy fed probabilities": "double softmax: CE fed probabilities",
    "NLL fed probabilities": "NLL fed probabilities",
    "raw pixels, 0 to 255": "raw pixels",
    "not shuffled, files sorted by label": "unshuffled, files sorted by label",
}
"""A row of the page -> the arm's name in the study."""
SENTENCES: Sequence[tuple[str, Callable[[], Sequence[float]], str]] = (
    (LAB1, _learning_rates, """
    and the best: {} % on test ({} to {}), with {} % on train; 0.3 gets {} %, 0.1 {} %, 0.03 {} % and 0.01
    {} %, because"""),
    (LAB1, _lowest_val_loss, """
    At 1.0 the val loss is lowest after {} epochs ({}) and ends at {}, the train loss at {}."""),
    (LAB1, _signed_pixels, """
    Pixels in [-1, 1] instead of [0, 1] are worth {} points at 0.1 ({} to {} % on val),"""),
    (LAB3, partial(mean, LAB3, TEST, BASELINE), "It reaches {} % on test ({} to {})."),
    (LAB3, partial(mean, LAB3, VAL, {"arm": "inverted"}), """
    training becomes unstable ({} %, {} to {} over five seeds)."""),
    (LAB3, _inverted_at_a_tenth, """
    inverted images cost {} points against plain images at that rate ({} and {} %)."""),
    (FASHION, _fashion, """
    **{} % on val ({} to {})**, {} % on test. The train loss ends at {} and the val loss at {}, a gap of {}
    ({} to {}); val accuracy lies {} points ({} to {}) below train's {} %. Inverted images cost {} points
    ({} to {})."""),
    (LAB4, _steps, """
    **{} % on test ({} to {})**, {} % on val, with standardised pixels; {} % on both with pixels in [0, 1],
    {} points ({} to {}) less on val."""),
)  # fmt: skip
"""A folder, how its numbers are computed, and the sentence that has them."""

TIMED = {
    LAB1: "`harness run lab1_learning_rate --report` | 30 of 100 epochs",
    LAB2: "`harness run lab2_losses --report` | 50 of 3 epochs",
    LAB3: "`harness run lab3_numpy --engine numpy --report` | 20 of 5 epochs",
    FASHION: "`harness run lab3_fashion --report` | 10 of 15 epochs",
    LAB4: "`harness run lab4_steps --report` | 10 of 300 steps",
    LAB5: "`harness run lab5_ladder --report` | 20, of 1 and 10 epochs",
    PITFALLS: "`harness run pitfalls --report` | 45 of 5 epochs",
}
"""A folder, and its row of the table of times, up to the seconds."""


def _of_batch_size_1() -> Sequence[float]:
    stacks = table(f"{LAB5}/stacks.csv")
    (stack,) = stacks[stacks["batch_size"].eq(1)].to_dict("records")
    return [stack["trials"], stack["group_seconds"]]


CLAIMS = [
    *(
        Claim(LABS, folder, f"{text} | {{}} s |", partial(trained_in, folder))
        for folder, text in TIMED.items()
    ),
    Claim(LABS, LAB5, "The {} trials of batch size 1 share one stack, which took {} s;", _of_batch_size_1),
    *(Claim(LABS, folder, text, values) for folder, values, text in SENTENCES),
    *(
        Claim(
            LABS, LAB2, f"| {title} | {{}} ({{}} to {{}}) | {{}} ({{}} to {{}}) |",
            partial(_of_output, output),
        )
        for title, output in OUTPUTS.items()
    ),
    *(
        Claim(LABS, LAB5, f"| {title} | {test} | {change}|", partial(_of_step, arm, before))
        for title, (test, change, arm, before) in STEPS.items()
    ),
    *(
        Claim(LABS, PITFALLS, f"| {title} | {{}} ({{}} to {{}}) |", partial(_of_mistake, arm))
        for title, arm in MISTAKES.items()
    ),
    *(
        Claim(
            TIMES, TARGET, f"| {title} | {{}} of 10 | {{}} ({{}} to {{}}) | {{}} |",
            partial(_until_target, name),
        )
        for title, name in {"RMSprop": "rmsprop", "Adam": "adam", "momentum": "momentum"}.items()
    ),
    Claim(TIMES, TARGET, "| SGD | {} of 10 | 5, all of it | {} |", partial(_until_target, "sgd")),
]  # fmt: skip

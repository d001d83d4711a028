"""What README.md states of the committed results, number by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
from doc_numbers import Claim
from reference_folders import CHECKOUT
from reference_values import difference, mean, shares, spread, trials, verdict, verdicts

README = "README.md"
CHOICES, LOSSES, TUNED = "choices", "losses", "verdicts-tuned"
AXES = ["activation", "optimizer", "batch_size", "output"]
VAL, TEST = "val_accuracy", "test_accuracy"
MNIST, FASHION = {"dataset": "mnist"}, {"dataset": "fashion_mnist"}
CE, MSE = {"output": "softmax + CE"}, {"output": "sigmoid + MSE"}
WORSE_BY_A_MARGIN = ("MSE on logits", "QL on logits")


def _variance() -> Sequence[float]:
    share = shares(CHOICES, AXES, VAL)
    terms = ("output", "activation", "optimizer", "batch_size", "interactions")
    of_terms = [share(dataset, term) for term in terms for dataset in ("mnist", "fashion_mnist")]
    best, worst = (mean(CHOICES, VAL, MNIST | output).mean for output in (CE, MSE))
    return [*of_terms, best, worst, *difference(CHOICES, VAL, MNIST | CE, MNIST | MSE)]


def _without_sigmoid_units() -> Sequence[float]:
    units = {"activation": ["tanh", "relu", "gelu"]}
    optimizers = ({"optimizer": name} for name in ("sgd", "adam"))
    return [
        mean(CHOICES, VAL, MNIST | units | optimizer | output).mean
        for optimizer in optimizers
        for output in (CE, MSE)
    ]


def _best_on_average() -> Sequence[float]:
    adam, sgd = (mean(CHOICES, VAL, MNIST | {"optimizer": name}).mean for name in ("adam", "sgd"))
    best = MNIST | CE | {"activation": "gelu", "optimizer": "momentum", "batch_size": 32}
    return [adam, sgd, mean(CHOICES, VAL, best).mean, mean(CHOICES, TEST, best).mean]


def _levels(axis: str, better: object, worse: object) -> Sequence[float]:
    return difference(CHOICES, VAL, MNIST | {axis: better}, MNIST | {axis: worse})


def _above(arm: str, name: str) -> Sequence[float]:
    return spread(verdicts(LOSSES, name, arm=arm)["difference"])


def _below(*arms: str, name: str) -> Sequence[float]:
    return spread(-verdicts(LOSSES, name, arm=list(arms))["difference"])


def _at_one_rate() -> Sequence[float]:
    return [*_above("CCQL on logits", "verdicts"), *_below("MSE on softmax", name="verdicts")]


def _changed_by_tuning() -> Sequence[float]:
    key = ["dataset", "within", "arm"]
    fixed, tuned = (verdicts(LOSSES, name).set_index(key)["verdict"] for name in ("verdicts", TUNED))
    changed = (fixed != tuned.reindex(fixed.index)).sum()
    of_ccql = _below("CCQL on logits", name=TUNED)
    return [float(changed), float(len(fixed)), *of_ccql, *_below(*WORSE_BY_A_MARGIN, name=TUNED)]


def _on_clean_fashion() -> Sequence[float]:
    where = {"arm": "CCQL on softmax", "dataset": "fashion_mnist"}
    return [
        number
        for width in (64, 128)
        for number in verdict(LOSSES, TUNED, within=f"hidden [{width}], label_noise 0", **where)
    ]


def _with_noise() -> Sequence[float]:
    within = [f"hidden [{width}], label_noise 0.4" for width in (64, 128)]
    gains = spread(verdicts(LOSSES, TUNED, arm="CCQL on softmax", within=within)["difference"])
    nll = [
        mean(f"{LOSSES}/tuned", "test_nll", dataset | {"output": output, "label_noise": 0.4}, 1.0).mean
        for dataset in (MNIST, FASHION)
        for output in ("CCQL on softmax", "CE on logits")
    ]
    return [*gains, *nll]


def _others_with_noise() -> Sequence[float]:
    """What MSE and QL on softmax gain where they are better than CE."""
    within = [f"hidden [{width}], label_noise 0.4" for width in (64, 128)]
    found = verdicts(LOSSES, TUNED, arm=["MSE on softmax", "QL on softmax"], within=within)
    assert set(found.loc[found["dataset"].eq("mnist"), "verdict"]) == {"better"}
    fashion = found[found["dataset"].eq("fashion_mnist") & found["verdict"].eq("better")]
    assert fashion[["arm", "within"]].to_numpy().tolist() == [["QL on softmax", within[0]]]
    return [*spread(found.loc[found["dataset"].eq("mnist"), "difference"]), *fashion["difference"]]


def _the_same() -> Sequence[float]:
    found = verdicts(LOSSES, TUNED, arm="CE on softmax")
    same = found["verdict"].eq("same within margin")
    return [float(same.sum()), float(len(found))]


def _searched(name: str) -> Sequence[float]:
    folder = f"{name}/confirmed"
    winner, baseline = ({"arm": arm} for arm in ("winner", "baseline"))
    gain = difference(folder, TEST, winner, baseline)
    return [*mean(folder, TEST, winner), mean(folder, TEST, baseline).mean, *gain]


def _mistakes() -> Sequence[float]:
    softmax = "double softmax: CE fed probabilities"
    arms = ("unshuffled, files sorted by label", "raw pixels", softmax, "baseline")
    return [mean("pitfalls", VAL, {"arm": arm}).mean for arm in arms]


def _networks() -> Sequence[float]:
    names = ("784-32-32-10", "LeNet-5", "cnn 16-32", "cnn 16-32, batch norm")
    first, *others = (
        [mean("cnn", TEST, dataset | {"network": name}).mean for dataset in (MNIST, FASHION)]
        for name in names
    )
    wider = verdict("cnn", dataset="mnist", arm="784-256-10").mean
    return [*first, wider, *(number for pair in others for number in pair)]


def _augmentations() -> Sequence[float]:
    costs = verdicts("augmentation", dataset="fashion_mnist")["difference"]
    plain = [
        mean("augmentation", TEST, dataset | {"augmentation": "none"}).mean for dataset in (FASHION, MNIST)
    ]
    lost = [-verdict("augmentation", dataset="mnist", arm=arm).mean for arm in ("flip", "mixup", "erase")]
    return [*spread(-costs), *plain, *lost]


def _batch_norm() -> Sequence[float]:
    at = (f"batch_size {size}" for size in (4, 32, 128))
    gains = (verdict("normalisation", TUNED, arm="batch", within=within) for within in at)
    return [number for gain in gains for number in gain]


def _layer_norm() -> Sequence[float]:
    gains = [
        verdict("normalisation", TUNED, arm="layer", within=f"batch_size {size}").mean for size in (32, 128)
    ]
    return [*gains, -verdict("normalisation", arm="layer", within="batch_size 4").mean]


def _later_losses() -> Sequence[float]:
    places = [f"label_noise 0.4, budget {budget}" for budget in ("20 epochs", "20 epochs with decay")]
    found = [
        verdicts("losses_noise", TUNED, arm=f"{loss} on softmax", within=places) for loss in ("QL", "CCQL")
    ]
    assert all(rows["verdict"].eq("better").all() and len(rows) == len(places) for rows in found)
    return [number for rows in found for number in spread(rows["difference"])]


def _single_runs() -> Sequence[float]:
    rates = pd.read_csv(CHECKOUT / "docs" / "findings-of-studies" / "single-run-tables-rates.csv")
    rates = rates[rates["size"].eq("all") & rates["against"].eq("the careful study")]
    rows = {(row["study"], row["seeds"], row["protocol"]): row for row in rates.to_dict("records")}

    def found(study: str, protocol: str, seeds: str = "the same in all arms") -> tuple[float, float]:
        row = rows[study, seeds, protocol]
        return float(row["pairs"]), 100 * float(row["wrong"])

    losses, shared = "losses and budgets", [f"lr {rate}, best epoch on test" for rate in ("0.5", "0.1")]
    pairs, tuned = found(losses, "one seed, tuned, last epoch")
    wrong = [found(losses, name)[1] for name in shared]
    averaged = [found(losses, name, "all of them, averaged")[1] for name in shared]
    assert all(abs(one - many) < 1 for one, many in zip(wrong, averaged, strict=True)), "however many seeds"
    networks = found("networks and schedules", "one seed, all of train, best epoch on test")
    return [pairs, *wrong, tuned, *networks]


def _size_of_default() -> Sequence[float]:
    return [float(len(trials(CHOICES)))]


SENTENCES: Sequence[tuple[str, Callable[[], Sequence[float]], str]] = (
    (CHOICES, _size_of_default, "The default study, {} training runs on the full data sets,"),
    (CHOICES, _variance, """
    **The output accounts for most**: {} % of the variance on MNIST and {} % on FashionMNIST (ANOVA, seed as
    block; activation {} and {} %, optimizer {} and {} %, batch size {} and {} %, interactions of two choices
    {} and {} %). On MNIST it goes from {} % (softmax + CE) to {} % (sigmoid + MSE), a spread of {} points
    ({} to {})."""),
    (CHOICES, _without_sigmoid_units, """
    leave sigmoid units out, and SGD goes from {} % (softmax + CE) to {} % (sigmoid + MSE) on MNIST, while
    Adam, which rescales gradients, only goes from {} % to {} %."""),
    (CHOICES, partial(_levels, "activation", "relu", "sigmoid"), """
    **Sigmoid units cost {} points** ({} to {}) against ReLU"""),
    (CHOICES, _best_on_average, """
    Adam is the best optimizer on average ({} % on MNIST, SGD {} %), yet the best arm on MNIST is GELU +
    momentum + softmax with CE at batch size 32 (val {} %, test {} %)."""),
    (CHOICES, partial(_levels, "batch_size", 32, 128), """
    **Batch 32 beats 128 by {} points** ({} to {}) on MNIST"""),
    (LOSSES, _at_one_rate, """
    CCQL on logits looks best everywhere ({} to {} points above CE) and MSE on softmax hopeless ({} to {}
    points below)."""),
    (LOSSES, _changed_by_tuning, """
    Tuned, {} of the {} verdicts change: squared losses on logits are worse than CE in every combination
    (CCQL by {} to {} points, MSE and QL by {} to {}),"""),
    (LOSSES, _on_clean_fashion, """
    On FashionMNIST CCQL on softmax does, by {} points ({} to {}) at width 64 and {} ({} to {}) at 128."""),
    (LOSSES, _with_noise, """
    CCQL on softmax is better in all four combinations, by {} to {} points, and its test NLL is about half
    of CE's on MNIST ({} against {}; {} against {} on FashionMNIST)."""),
    (LOSSES, _others_with_noise, """
    MSE and QL on softmax are better on MNIST ({} to {} points); on FashionMNIST only QL at width 64 is
    ({})."""),
    (LOSSES, _the_same, """
    the verdict is "the same" in {} of {} combinations. The intervals do not"""),
    ("losses_noise", _later_losses, """
    after 20 epochs, every block of seeds with a rate of its own, QL is still ahead by {} to {} points and
    CCQL by {} to {}"""),
    ("single_runs_losses", _single_runs, """
    of {} pairs of losses and budgets, tables with one rate for all had {} or {} % in the wrong order, as the
    mean of 20 seeds has, and tuned ones of one seed {} %; of {} pairs of networks and schedules {} %."""),
    ("pitfalls", _mistakes, """
    shuffling forgotten on sorted files ({} % on MNIST), raw pixels ({} %), a softmax too many ({} %), each
    against {} % without the mistake."""),
    ("cnn", _networks, """
    784-32-32-10 gets {} and {} %. A hidden layer of 256 adds {} points on both. LeNet-5 gets {} and {} %, a
    `cnn` of 16 and 32 channels, with 20,490 parameters, {} and {} %. Batch norm brings it to {} and
    {} %."""),
    ("augmentation", _augmentations, """
    on FashionMNIST every augmentation costs accuracy, from {} points (flip) to {} (shift) below {} %. On
    MNIST ({} %) flips cost {}, mixup {} and erasing {} points;"""),
    ("normalisation", _batch_norm, """
    batch norm gains {} points of test accuracy at batch size 4 ({} to {}), {} at 32 ({} to {}) and {} at
    128 ({} to {}),"""),
    ("normalisation", _layer_norm, """
    Layer norm gains {} points at 32 and {} at 128; at 4 the verdict is inconclusive. With one rate for all
    (0.1), layer norm at batch size 4 loses {} points:"""),
)  # fmt: skip
"""A folder, how its numbers are computed, and the sentence that has them."""

SEARCHES = {
    "MNIST, a perceptron": "best-mlp-mnist", "FashionMNIST, a perceptron": "best-mlp-fashion",
    "MNIST, LeNet-5": "best-small-mnist", "FashionMNIST, a `cnn`": "best-small-fashion",
}  # fmt: skip
"""A row of the table -> its folder."""
CLAIMS = [
    *(Claim(README, folder, text, values) for folder, values, text in SENTENCES),
    *(
        Claim(
            README, name, f"| {title} | {{}} % ({{}} to {{}}) | {{}} % | {{}} ({{}} to {{}}): better |",
            partial(_searched, name),
        )
        for title, name in SEARCHES.items()
    ),
]  # fmt: skip

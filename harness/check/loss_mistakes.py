"""Mistakes in losses and their gradients: the values that each makes, and what is said of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.axes import formulas
from harness.axes.heads import Kind
from harness.check import numbers
from harness.check.calling import Array
from harness.check.loss_cases import LossCase, RightLoss, reduced, sizes

Values = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class LossMistake:
    """A wrong formula: its values (B,), or gradient (B, C), of outputs and one-hot rows, and its words."""

    words: str
    values: Values


def _softmax_over_samples(z: Array) -> Array:
    return formulas.softmax(z.T).T


def _true(f: Array, t: Array) -> Array:
    return np.asarray((f * t).sum(1))


def _binary(p: Array, t: Array) -> Array:
    return np.asarray(-(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(1))


def _sure(f: Array) -> Array:
    """Return one-hot rows of the largest outputs."""
    return np.asarray(np.eye(f.shape[1])[f.argmax(1)])


NORMALISED = (
    "the loss of one sample changes with the other samples of the batch: did you normalise over dimension "
    "0? The softmax is over the classes, the last dimension (dim=-1 in PyTorch, axis=1 in NumPy)"
)
TWICE = "softmax twice: it applies a softmax to what are probabilities already"


def _ce_without_a_part() -> Iterator[LossMistake]:
    ce, softmax = formulas.cross_entropy, formulas.softmax
    yield LossMistake(NORMALISED, lambda z, t: -np.log(_true(_softmax_over_samples(z), t)))
    yield LossMistake(
        "softmax twice: it takes the softmax of the softmax. A function such as F.cross_entropy has "
        "the softmax in it and takes logits",
        lambda z, t: ce(softmax(z), t),
    )
    yield LossMistake(
        "the log of probabilities is missing: it gives -p_y, and cross-entropy is -log p_y",
        lambda z, t: -_true(softmax(z), t),
    )
    yield LossMistake(
        "the log-softmax is missing: it gives -z_y, the true class's logit with a minus (as "
        "F.nll_loss does of logits)",
        lambda z, t: -_true(z, t),
    )
    yield LossMistake(
        "the softmax is missing: it takes the logarithm of the logits, which are no probabilities. "
        "Apply a softmax first, or say takes='probabilities'",
        lambda z, t: -np.log(_true(z, t)),
    )


def _ce_of_something_else() -> Iterator[LossMistake]:
    ce, softmax, sigmoid = formulas.cross_entropy, formulas.softmax, formulas.sigmoid
    yield LossMistake(
        "binary cross-entropy of each class, summed, of softmax outputs: cross-entropy takes the true "
        "class alone",
        lambda z, t: _binary(softmax(z), t),
    )
    yield LossMistake(
        "binary cross-entropy of each class, summed, of sigmoid outputs (as BCEWithLogitsLoss): "
        "cross-entropy has a softmax over the classes",
        lambda z, t: _binary(sigmoid(z), t),
    )
    yield LossMistake(
        "a sigmoid where the softmax should be: it gives -log of the sigmoid of the true class's logit",
        lambda z, t: -np.log(_true(sigmoid(z), t)),
    )
    yield LossMistake(
        "the largest class's loss: it takes the predicted class where the true one should be",
        lambda z, _t: ce(z, _sure(z)),
    )
    yield LossMistake(
        "the entropy of the probabilities: the label is not used", lambda z, _t: ce(z, softmax(z))
    )
    yield LossMistake(
        "the true class's logit is missing: it gives log(sum e^z) alone, and -z_y is left out",
        lambda z, t: ce(z, t) + _true(z, t),
    )


def _of_logits(name: str) -> Iterator[LossMistake]:
    if name == "ce":
        yield from _ce_without_a_part()
        yield from _ce_of_something_else()
    for inner, kind in ((formulas.softmax, "softmax"), (formulas.sigmoid, "sigmoid")):
        if name in ("mse", "ql"):
            yield LossMistake(
                f"it applies a {kind} itself: right of logits in a network without a head, and not what "
                f"head = {kind!r} with loss = {name!r} is, where the loss takes the head's output",
                functools.partial(_after, inner, RightLoss(name, "logits", {})),
            )


def _after(inner: Callable[[Array], Array], right: RightLoss, z: Array, t: Array) -> Array:
    return right.values(inner(z), t)


def _of_probabilities(name: str) -> Iterator[LossMistake]:
    softmax = formulas.softmax
    if name == "ce":
        yield LossMistake(
            f"{TWICE}. F.cross_entropy takes logits; of probabilities the loss is -log p_y",
            formulas.cross_entropy,
        )
        yield LossMistake(
            "the log of probabilities is missing: it gives -p_y, and cross-entropy is -log p_y",
            lambda p, t: -_true(p, t),
        )
        yield LossMistake("it gives 1 - p_y, and cross-entropy is -log p_y", lambda p, t: 1 - _true(p, t))
        yield LossMistake(
            "binary cross-entropy of each class, summed: cross-entropy takes the true class alone", _binary
        )
        yield LossMistake(
            "the entropy of the probabilities: the label is not used", lambda p, _t: -(p * np.log(p)).sum(1)
        )
        yield LossMistake(
            "the log is of the batch's share: p_y is divided by a sum over dimension 0, the samples. "
            + NORMALISED,
            lambda p, t: -np.log(_true(p / p.sum(0), t)),
        )
    elif name in ("mse", "ql"):
        right = RightLoss(name, "probabilities", {})
        yield LossMistake(TWICE, lambda p, t: right.values(softmax(p), t))


def _squared(name: str, kind: Kind, settings: dict[str, float]) -> Iterator[LossMistake]:
    right = RightLoss(name, kind, settings)
    if kind == "log_probabilities":
        plain = RightLoss(name, "logits", settings)
        yield LossMistake(
            "exp is missing: it takes log-probabilities as if they were probabilities", plain.values
        )
    yield LossMistake(
        "a root too many: it gives the root of the loss", lambda f, t: np.sqrt(right.values(f, t))
    )
    yield LossMistake(
        "a root too many: it gives the length of output minus target (a norm)",
        lambda f, t: np.sqrt(np.square(f - t).sum(1)),
    )
    yield LossMistake(
        "the square is missing: it takes absolute differences", lambda f, t: np.abs(f - t).sum(1)
    )
    yield LossMistake(
        "the square is missing: differences are summed as they are", lambda f, t: (f - t).sum(1)
    )
    yield LossMistake(
        "the true class alone: the other classes' outputs are squared errors, too (their target is 0)",
        lambda f, t: np.square(1 - _true(f, t)),
    )
    if name == "ccql":
        w = settings["ccql_weight"]
        weights = (
            ("the 1/2 of w/2 is missing", 2 * w),
            ("w/2 is missing", 2.0),
            ("the term of the true class is missing: it is ql", 0.0),
        )
        for words, weight in weights:
            other = RightLoss(name, kind, {"ccql_weight": weight})
            yield LossMistake(words, other.values)


def _others(name: str, kind: Kind) -> Iterator[LossMistake]:
    """Yield the harness's other losses of the same kind of output."""
    for other, forms in formulas.LOSSES.items():
        if other != name and kind in forms and other != "ccql":
            words = f"these are the values of {other}, not of {name}"
            yield LossMistake(words, forms[kind].forward)


def loss_mistakes(right: RightLoss) -> list[LossMistake]:
    """List the mistakes in values that are known of a loss, the most telling first."""
    made = [*(_of_logits(right.name) if right.kind == "logits" else ())]
    made += _of_probabilities(right.name) if right.kind == "probabilities" else ()
    if right.name in ("mse", "ql", "ccql"):
        made += _squared(right.name, right.kind, dict(right.settings))
    if right.name == "nll":
        made.append(LossMistake(
            "the logarithm is taken twice: it takes the log of log-probabilities",
            lambda f, t: -np.log(_true(f, t)),
        ))  # fmt: skip
        made.append(LossMistake("it gives -p_y: exp is one too many", lambda f, t: -np.exp(_true(f, t))))
    return [*made, *_others(right.name, right.kind)]


def gradient_mistakes(right: RightLoss) -> Iterator[LossMistake]:
    """Yield the mistakes in closed-form gradients (B, C) that are known of a loss."""
    if right.name == "ce" and right.kind == "logits":
        yield LossMistake(
            "the derivative is by the probabilities, -1 / p_y at the true class: the softmax's derivative "
            "is missing (together they are p - target)",
            lambda z, t: -t / formulas.softmax(z),
        )
        yield LossMistake(
            "it is the gradient of logits minus target: the softmax is missing (p - target)",
            lambda z, t: z - t,
        )
        yield LossMistake(
            "it gives the probabilities: minus the target is missing", lambda z, _t: formulas.softmax(z)
        )
        yield LossMistake(NORMALISED, lambda z, t: _softmax_over_samples(z) - t)
    if right.name == "ce" and right.kind == "probabilities":
        yield LossMistake(
            "p - target is the derivative by the logits, with the softmax's in it: by the probabilities "
            "it is -1 / p_y at the true class",
            lambda p, t: p - t,
        )
        yield LossMistake(
            "every class has -1 / p: only the true class's probability is in the loss", lambda p, _t: -1 / p
        )
    if right.name == "nll":
        yield LossMistake(
            "it is the derivative by the logits, p - target: by log-probabilities it is -target",
            lambda f, t: np.exp(f) - t,
        )


LOSS_FACTORS = {
    "-1": "the sign is wrong: it gives minus the loss",
    "1/ln 2": "a logarithm to base 2 (log2) where the natural one (log) should be",
    "1/ln 10": "a logarithm to base 10 (log10) where the natural one (log) should be",
    "-1/ln 2": "the sign is wrong, and the logarithm is to base 2 (log2)",
    "-1/ln 10": "the sign is wrong, and the logarithm is to base 10 (log10)",
}
MEAN_FACTORS = {
    "B": "B times too large: the losses are summed over the batch and not divided by B, the number of "
    "samples",
    "B/C": "B/C times too large: did you divide by C, the number of classes, instead of B, the number of "
    "samples (output.shape[1] for output.shape[0])?",
    "1/B": "B times too small: the mean over the batch is divided by B once more",
    "1/C": "C times too small: did you take the mean over the classes, too, where the sum should be?",
    "C": "C times too large: the classes are summed where their mean should be",
    "C/B": "C/B times too large: divided by B twice, and not by C",
}
SUM_FACTORS = {
    "1/B": "B times too small: it is the mean over the batch, not the sum",
    "1/C": "C times too small: did you divide by C, the number of classes?",
}
SAMPLE_FACTORS = {
    "B": "B times too large: each sample's loss is multiplied by the number of samples",
    "1/B": "B times too small: each sample's loss is divided by B already, of which the mean is taken "
    "afterwards",
    "C": "C times too large: the classes are summed where their mean should be (divide by C)",
    "1/C": "C times too small: divided by C, the number of classes: a mean where the sum should be?",
}
GRADIENT_FACTORS = {
    "-1": "the sign is wrong: your gradient points the other way (minus the derivative)",
    "1/B": "your gradient is the derivative of the mean, not of the sum: it is divided by B, the number "
    "of samples; each sample's row is the derivative of its own loss",
    "B": "your gradient is B times too large: multiplied by the number of samples",
    "1/C": "your gradient is C times too small: divided by C, the number of classes, instead of nothing",
    "C": "your gradient is C times too large: is a division by C, the number of classes, missing?",
}
MEAN_GRADIENT_FACTORS = {
    "-1": GRADIENT_FACTORS["-1"],
    "B": "your gradient is the derivative of the sum, not of the mean: divide it by B, the number of samples",
    "1/B": "your gradient is divided by B, the number of samples, twice",
    "B/C": "your gradient is B/C times too large: did you divide by C, the number of classes, instead of B?",
}


def explained(
    gots: Sequence[Array], expecteds: Sequence[Array], batches: Sequence[LossCase], known: dict[str, str]
) -> str:
    """Say by which factor results are off, with its value for the first batch; "" if there is none."""
    found = numbers.factor(gots, expecteds, sizes(batches))
    if found is None:
        return ""
    b, c = batches[0].size
    letters = [f"{letter} = {value}" for letter, value in (("B", b), ("C", c)) if letter in found]
    where = f" ({', '.join(letters)} here)" if letters else ""
    general = (
        f"it is {found} times what it should be" if letters else f"exactly {found} times what it should be"
    )
    return f"{known.get(found, general)}{where}"


def diagnosis(gots: Sequence[Array], batches: Sequence[LossCase], right: RightLoss, reduction: str) -> str:
    """Say which known mistake gives exactly these losses; "" if none does."""
    for mistake in loss_mistakes(right):
        made = [reduced(mistake.values(case.f, case.one_hot), reduction) for case in batches]
        if numbers.worst(gots, made) < numbers.SINGLE:
            return mistake.words
    per_reduction = {"none": SAMPLE_FACTORS, "mean": MEAN_FACTORS, "sum": SUM_FACTORS}[reduction]
    expecteds = [reduced(right.values(case.f, case.one_hot), reduction) for case in batches]
    words = explained(gots, expecteds, batches, {**LOSS_FACTORS, **per_reduction, **_halves(right.name)})
    if words:
        return words
    for mistake in loss_mistakes(right):
        made = [reduced(mistake.values(case.f, case.one_hot), reduction) for case in batches]
        if words := explained(gots, made, batches, {**LOSS_FACTORS, **per_reduction}):
            return f"{mistake.words}; and besides {words}"
    return ""


def _halves(name: str) -> dict[str, str]:
    if name == "ql":
        return {
            "2": "2 times too large: the 1/2 is missing",
            "1/2": "2 times too small: 1/2 is applied twice",
        }
    return {"1/2": "2 times too small: a factor of 1/2 too many"} if name == "mse" else {}

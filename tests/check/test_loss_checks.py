"""Checks of a person's own loss: classic mistakes get their sentence, right ones pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.axes.losses import losses
from harness.check import loss
from harness.errors import UsageError

Array = NDArray[Any]
PROBABILITIES = {"takes": "probabilities"}


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def by_labels(p: Array, y: Array) -> Array:
    return np.asarray(-np.log(p[np.arange(len(y)), y]))


def by_one_hot(p: Array, t: Array) -> Array:
    return np.asarray(-(t * np.log(p)).sum(1))


def with_loops(p: Array, y: Array) -> list[float]:
    return [-np.log(float(row[label])) for row, label in zip(p, y, strict=True)]


def stable(z: Tensor, y: Tensor) -> Tensor:
    return torch.logsumexp(z, 1) - z.gather(1, y[:, None])[:, 0]


def in_single(p: Array, t: Array) -> Array:
    return np.asarray(-(t * np.log(p.astype(np.float32))).sum(1))


def with_a_float32_eye(z: Tensor, y: Tensor) -> Tensor:
    return -torch.einsum("bc,bc->b", torch.eye(10)[y], z.log_softmax(1))  # fails on float64


FORMS = [(entry.name, kind) for entry in losses for kind in entry.component.forms]


@pytest.mark.parametrize(("name", "kind"), FORMS)
def test_registered_losses_are_right_as_themselves(name: str, kind: str) -> None:
    result = loss(name, name, takes=kind)
    assert result, result
    assert "autograd's gradient" in str(result.compared)
    assert "the gradient by hand" in str(result.compared)


@pytest.mark.parametrize(
    ("fn", "like", "how"),
    [
        (by_labels, "ce", PROBABILITIES),
        (by_one_hot, "ce", PROBABILITIES),
        (with_loops, "ce", PROBABILITIES),
        (in_single, "ce", PROBABILITIES),
        (lambda p, y: by_labels(p, y).mean(), "ce", {**PROBABILITIES, "reduction": "mean"}),
        (lambda p, t: by_one_hot(p, t).sum(), "ce", {**PROBABILITIES, "reduction": "sum"}),
        (stable, "ce", {}),
        (with_a_float32_eye, "ce", {}),
        (F.cross_entropy, "ce", {"reduction": "mean"}),
        (torch.nn.CrossEntropyLoss(reduction="none"), "ce", {}),
        (torch.nn.NLLLoss(), "nll", {"reduction": "mean"}),
        (torch.nn.MSELoss(), "mse", {"takes": "probabilities", "reduction": "mean"}),
        (lambda f, t: ((f - t) ** 2).sum(-1) / 2, "ql", {}),
        (lambda f, t, ccql_weight: ((f - t) ** 2).sum(-1) / 2 + ccql_weight / 2 * (1 - (f * t).sum(-1)) ** 2,
         "ccql", {"ccql_weight": 3.0}),
    ],
)  # fmt: skip
def test_right_losses_pass(fn: Any, like: str, how: dict[str, Any]) -> None:
    result = loss(fn, like, **how)
    assert result, result


def over_samples(z: Tensor, t: Tensor) -> Tensor:
    return -(t * torch.log(torch.softmax(z, 0))).sum(1)


def lab_ql(f: Tensor, t: Tensor) -> Tensor:
    return ((f - t) ** 2).sum() / 2 / f.shape[1]


NORMALISED = r"the loss of one sample changes with the other samples of the batch: did you normalise over dim"
MISTAKES: dict[str, tuple[Any, str, dict[str, Any], str]] = {
    "softmax over samples": (over_samples, "ce", {}, NORMALISED),

    "softmax over samples, mean": (
        lambda z, t: over_samples(z, t).mean(), "ce", {"reduction": "mean"}, NORMALISED),
    "share of the batch": (lambda f, t: ((f - t) ** 2).sum(1) / ((f - t) ** 2).sum(), "ql", {}, NORMALISED),
    "one number": (F.cross_entropy, "ce", {},
        r"returns one number, not one per sample: their mean, and that is right"),
    "one number, the sum": (lambda z, y: F.cross_entropy(z, y, reduction="sum"), "ce", {},
        r"one per sample: their sum"),
    "not the mean": (by_labels, "ce", {**PROBABILITIES, "reduction": "mean"},
        r"returns a loss for each sample"),
    "swapped": (lambda t, p: by_one_hot(p, t), "ce", PROBABILITIES, r"labels and predictions are swapped"),
    "swapped labels": (lambda y, p: by_labels(p, y), "ce", PROBABILITIES,
        r"labels and predictions are swapped"),
    "the lab's": (lab_ql, "ql", {"reduction": "mean"},
        r"B/C times too large: did you divide by C.*instead of B"),
    "the lab's, as it is": (lab_ql, "ql", {},
        r"one number, not one per sample; and of their mean: B/C times"),
    "sum for mean": (lambda z, t: F.cross_entropy(z, t, reduction="sum"), "ce", {"reduction": "mean"},
        r"B times too large"),
    "mean over all": (lambda p, t: -(t * np.log(p)).mean(), "ce", {**PROBABILITIES, "reduction": "mean"},
        r"C times too small"),
    "mean for sum": (F.cross_entropy, "ce", {"reduction": "sum"}, r"B times too small: it is the mean"),
    "per sample by B": (lambda p, t: by_one_hot(p, t) / len(p), "ce", PROBABILITIES, r"B times too small"),
    "mean over classes": (lambda f, t: ((f - t) ** 2).mean(1) / 2, "ql", {}, r"C times too small"),
    "sum over classes": (lambda f, t: ((f - t) ** 2).sum(1), "mse", {}, r"C times too large"),
    "half": (lambda f, t: ((f - t) ** 2).sum(1), "ql", {}, r"the 1/2 is missing"),
    "sign": (lambda z, t: (t * z.log_softmax(1)).sum(1), "ce", {}, r"the sign is wrong"),
    "log2": (lambda p, t: -(t * np.log2(p)).sum(1), "ce", PROBABILITIES, r"a logarithm to base 2"),
    "log10": (lambda p, t: -(t * np.log10(p)).sum(1), "ce", PROBABILITIES, r"a logarithm to base 10"),
    "no log": (lambda z, t: -(t * z.softmax(1)).sum(1), "ce", {}, r"the log of probabilities is missing"),
    "no log of p": (lambda p, t: -(t * p).sum(1), "ce", PROBABILITIES,
        r"the log of probabilities is missing"),
    "no log-softmax": (lambda z, y: F.nll_loss(z, y, reduction="none"), "ce", {},
        r"the log-softmax is missing"),
    "softmax twice": (lambda z, y: F.cross_entropy(z.softmax(1), y, reduction="none"), "ce", {},
        r"softmax twice"),
    "softmax of p": (lambda p, y: F.cross_entropy(p, y, reduction="none"), "ce", PROBABILITIES,
        r"softmax twice"),
    "log of logits": (by_labels, "ce", {}, r"the softmax is missing: it takes the logarithm of the logits"),
    "binary": (lambda p, t: -(t * p.log() + (1 - t) * (1 - p).log()).sum(1), "ce", PROBABILITIES,
        r"binary cross-entropy"),
    "entropy": (lambda p, _t: -(p * p.log()).sum(1), "ce", PROBABILITIES, r"the label is not used"),
    "root": (lambda f, t: ((f - t) ** 2).sum(1).sqrt(), "mse", {}, r"a root too many"),
    "absolute": (lambda f, t: (f - t).abs().sum(1), "ql", {}, r"the square is missing"),
    "another": (lambda f, t: ((f - t) ** 2).mean(1), "ql", {}, r"these are the values of mse, not of ql"),
    "exp": (lambda f, t: ((f - t) ** 2).sum(1) / 2, "ql", {"takes": "log_probabilities"}, r"exp is missing"),
    "kept dimension": (lambda p, t: -(t * p.log()).sum(1, keepdim=True), "ce", PROBABILITIES,
        r"drop keepdim"),
    "every class": (lambda p, t: -(t * p.log()), "ce", PROBABILITIES,
        r"shape \(12, 10\) .* sum over the classes"),
    "every pair": (lambda z, y: (z.logsumexp(1) - z.gather(1, y[:, None])), "ce", {}, r"every pair"),
    "detached": (lambda z, y: stable(z.detach(), y), "ce", {}, r"gives values without a gradient"),
    "in part detached": (lambda z, y: z.logsumexp(1) - z.detach().gather(1, y[:, None])[:, 0], "ce", {},
        r"the values are right and autograd's gradient is not"),
    "no return": (lambda _z, _y: None, "ce", {}, r"gives None: is its `return` missing"),
    "raises": (lambda z, _y: z.missing, "ce", {},
        r"raises AttributeError.*test_loss_checks\.py:\d+, called with \(12, 10\), \(12,"),
    "keepdims": (lambda p, t: by_one_hot(p / p.sum(1), t), "ce", PROBABILITIES,
        r"is keepdims=True .* missing"),
    "in place": (lambda f, t: (f.__isub__(t) ** 2).sum(1) / 2, "ql", {}, r"changes its argument 1 in place"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_its_sentence(mistake: str) -> None:
    fn, like, how, words = MISTAKES[mistake]
    result = loss(fn, like, **how)
    assert not result
    assert re.search(words, "; ".join(result.problems)), result
    assert len(result.problems) == 1, result


GRADIENTS: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "mean": (lambda p, y: -np.eye(10)[y] / p / len(p), {}, r"derivative of the mean, not of the sum"),
    "sum": (
        lambda p, y: -np.eye(10)[y] / p,
        {"reduction": "mean"},
        r"derivative of the sum, not of the mean",
    ),
    "classes": (lambda p, y: -np.eye(10)[y] / p / 10, {}, r"C times too small"),
    "sign": (lambda p, y: np.eye(10)[y] / p, {}, r"the sign is wrong"),
    "by logits": (lambda p, y: p - np.eye(10)[y], {}, r"p - target is the derivative by the logits"),
    "every class": (lambda p, _y: -1 / p, {}, r"every class has -1 / p"),
    "transposed": (lambda p, y: (-np.eye(10)[y] / p).T, {}, r"shape \(10, 12\).*transposed"),
    "other": (lambda p, _y: p * 0 + 3, {}, r"your gradient is wrong \(at \["),
}


@pytest.mark.parametrize("mistake", GRADIENTS)
def test_a_mistake_in_a_gradient_gets_its_sentence(mistake: str) -> None:
    gradient, how, words = GRADIENTS[mistake]
    fn = by_labels if not how else lambda p, y: by_labels(p, y).mean()
    result = loss(fn, "ce", takes="probabilities", gradient=gradient, **how)
    assert re.search(words, "; ".join(result.problems)), result


def test_gradients_by_the_logits() -> None:
    def right(z: Array, t: Array) -> Array:
        return np.asarray(softmax(z) - t)

    def by_probabilities(z: Array, t: Array) -> Array:
        return np.asarray(-t / softmax(z))

    def ce(z: Array, t: Array) -> Array:
        return by_one_hot(softmax(z), t)

    assert loss(ce, gradient=right)
    assert "derivative is by the probabilities" in loss(ce, gradient=by_probabilities).problems[0]
    assert "normalise over dimension 0" in loss(ce, gradient=lambda z, t: softmax(z.T).T - t).problems[0]


def naive(z: Tensor, t: Tensor) -> Tensor:
    return -(t * torch.log(z.exp() / z.exp().sum(1, keepdim=True))).sum(1)


@pytest.mark.parametrize(
    ("fn", "how", "words"),
    [
        (naive, {}, r"gives nan at a logit gap of 110 .* subtract the maximum"),
        (lambda z, y: -z.softmax(1).log().gather(1, y[:, None])[:, 0], {}, r"gives inf .* underflows to 0"),
        (lambda z, y: -(z.softmax(1) + 1e-8).log().gather(1, y[:, None])[:, 0], {}, r"added inside the log"),
        (by_labels, PROBABILITIES, r"gives inf at a logit gap of 110 .* expected of -log p_y"),
        (lambda p, t: by_one_hot(p + 1e-8, t), PROBABILITIES, r"about 1e-08 is added"),
        (lambda p, t: by_one_hot(p, t == 1), PROBABILITIES, r"reads its target as one-hot"),
        (
            by_one_hot,
            PROBABILITIES,
            r"has no gradient of its own: give yours as gradient=",
        ),
        (in_single, PROBABILITIES, r"equal to single precision only"),
        (lambda z, y: stable(z.double(), y), {}, r"gives float64 for float32"),
    ],
)
def test_notes_say_what_is_worth_knowing_and_not_wrong(
    fn: Callable[..., Any], how: dict[str, Any], words: str
) -> None:
    result = loss(fn, "ce", **how)
    assert result
    assert re.search(words, "; ".join(result.notes)), result


def test_stable_losses_have_no_note() -> None:
    assert loss(stable).notes == ()
    assert loss("ce").notes == ()


def test_what_is_compared_has_the_worked_values_and_torchs_function() -> None:
    compared = " ".join(loss("ce").compared)
    assert "2.302585 of ten outputs of 0" in compared
    assert "torch.nn.functional.cross_entropy" in compared
    assert "0.25 of [0.3, 0.2, 0.4, 0.1], the third class true" in loss("ql", "ql").compared[0]
    assert "0.45 of ten outputs of 0.1" in loss("ql", "ql", takes="probabilities").compared[0]
    assert "1.26 of ten outputs of 0.1" in loss("ccql", "ccql", takes="probabilities").compared[0]


def test_ten_classes_may_be_fixed() -> None:
    result = loss(lambda p, y: -(np.eye(10)[y] * np.log(p)).sum(1), takes="probabilities")
    assert result
    assert "it works with 10 classes only" in result.notes[0]


@pytest.mark.parametrize(
    ("arguments", "how", "words"),
    [
        ((by_labels, "cee"), {}, r"unknown loss 'cee': did you mean 'ce'"),
        ((by_labels, "ce"), {"takes": "logit"}, r"takes = 'logit': of loss 'ce': did you mean 'logits'"),
        ((by_labels, "ce"), {"labels": "onehot"}, r"labels = 'onehot': did you mean 'one-hot'"),
        ((by_labels, "ce"), {"reduction": "avg"}, r"reduction = 'avg': allowed: mean, none, sum"),
        ((by_labels, "ce"), {"ccql_weight": 1.0}, r"ccql_weight is no setting of loss 'ce'; it has none"),
        (("ccql", "ccql"), {"ccql_weight": "a"}, r"ccql_weight = 'a': allowed: a valid number"),
        ((by_labels, None), {}, r"unknown loss None"),
        ((3.5, "ce"), {}, r"fn = 3.5: not a function"),
        ((torch.nn.CrossEntropyLoss, "ce"), {}, r"a class. Give an instance of it: CrossEntropyLoss\(\)"),
        ((by_labels, "ce"), {"gradient": 3}, r"gradient = 3: not a function"),
        (("mine", "ce"), {}, r"unknown loss 'mine'"),
        (("nll", "ce"), {}, r"loss 'nll' takes log_probabilities, not logits"),
    ],
)
def test_wrong_use_is_refused(arguments: tuple[Any, ...], how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        loss(*arguments, **how)


def test_a_check_changes_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def loud(p: Array, y: Array) -> Array:
        print("called")
        torch.manual_seed(7)
        torch.set_default_dtype(torch.float64)
        return by_labels(p, y)

    before, dtype = torch.get_rng_state(), torch.get_default_dtype()
    assert loss(loud, takes="probabilities")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == dtype
    assert capsys.readouterr().out == ""


def test_an_interrupt_is_a_persons_wish() -> None:
    def slow(_p: Array, _y: Array) -> Array:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loss(slow)


def test_the_exit_of_a_function_is_a_problem() -> None:
    def leaves(_p: Array, _y: Array) -> Array:
        raise SystemExit(3)

    assert "raises sys.exit(3)" in loss(leaves).problems[0]


class QuadraticLoss:
    """A loss as people write it, whose forward keeps what its backward needs."""

    def forward(self, f: Array, t: Array) -> Array:
        self.apart = f - t
        return np.asarray((self.apart**2).sum(1) / 2)

    def backward(self) -> Array:
        return self.apart

    def mean(self) -> Array:
        return self.apart / len(self.apart)


def test_methods_of_an_object_that_keeps_its_input() -> None:
    own = QuadraticLoss()
    assert loss(own.forward, "ql", gradient=own.backward)
    assert "of the mean, not of the sum" in loss(own.forward, "ql", gradient=own.mean).problems[0]


def test_random_numbers_are_found() -> None:
    def noisy(p: Array, y: Array) -> Array:
        return by_labels(p, y) + np.random.default_rng().random(len(p))

    assert "other values when it is called again" in loss(noisy, takes="probabilities").problems[0]


def test_a_fault_of_both_kinds_of_labels_is_said_once() -> None:
    (problem,) = loss(lambda p, y: by_one_hot(p / p.sum(1), y), takes="probabilities").problems
    assert problem.count("could not be broadcast") == 1

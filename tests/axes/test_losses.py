from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from harness.axes.contracts import loss_settings
from harness.axes.heads import heads
from harness.axes.losses import Form, Loss, losses
from harness.check import component
from harness.errors import UsageError

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
every = pytest.mark.parametrize("name", [entry.name for entry in losses])
numbers = st.floats(-30, 30)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits (3, C) and labels (3,)."""
    classes = draw(st.integers(2, 12))
    rows = st.lists(numbers, min_size=classes, max_size=classes)
    z = torch.tensor(draw(st.lists(rows, min_size=3, max_size=3)), dtype=torch.float64)
    y = torch.tensor(draw(st.lists(st.integers(0, classes - 1), min_size=3, max_size=3)))
    return z, y


def one_hot(y: Tensor, classes: int) -> Tensor:
    return F.one_hot(y, classes).to(torch.float64)


def value(loss: str, head: str, z: Tensor, y: Tensor, **settings: float) -> Tensor:
    """Per-sample losses (B,) of logits (B, C)."""
    form = losses[loss].form(heads[head].kind)
    assert form is not None
    own = {name: torch.tensor(v, dtype=torch.float64) for name, v in settings.items()}
    return form.forward(heads[head].forward(z), one_hot(y, z.shape[-1]), **own)


def gradient(loss: str, head: str, z: Tensor, y: Tensor, **settings: float) -> Tensor:
    """At the logits, per sample, by autograd."""
    z = z.clone().requires_grad_()
    (grad,) = torch.autograd.grad(value(loss, head, z, y, **settings).sum(), z)
    return grad


def closed_gradient(loss: str, head: str, z: Tensor, y: Tensor, **settings: float) -> Tensor:
    """At the logits, by the closed forms of head and loss."""
    form, backward = losses[loss].form(heads[head].kind), heads[head].backward
    assert form is not None
    assert form.gradient is not None
    assert backward is not None
    own = {name: torch.tensor(v, dtype=torch.float64) for name, v in settings.items()}
    f = heads[head].forward(z)
    return backward(form.gradient(f, one_hot(y, z.shape[-1]), **own), f)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def fitting() -> list[tuple[str, str]]:
    return [
        (loss.name, head.name)
        for loss in losses
        for head in heads
        if loss.component.form(head.component.kind)
    ]


# --------------------------------------------------------------------------------------------- contracts


@every
def test_contract(name: str) -> None:
    assert component("loss", name)


@pytest.mark.parametrize(("loss", "head"), fitting())
def test_differentiable_through_every_head_that_fits(loss: str, head: str) -> None:
    z = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    y = torch.tensor([0, 4, 2, 2])
    settings = {name: v.item() for name, v in loss_settings(losses[loss]).items()}
    assert torch.autograd.gradcheck(lambda x: value(loss, head, x, y, **settings), (z,))
    if all(form.gradient for form in losses[loss].forms.values()) and heads[head].backward:
        close(
            closed_gradient(loss, head, z.detach(), y, **settings),
            gradient(loss, head, z.detach(), y, **settings),
        )


@pytest.mark.parametrize(("loss", "head"), fitting())
@steady
@given(batch=batches(), data=st.data())
def test_permuting_classes_changes_nothing(
    loss: str, head: str, batch: tuple[Tensor, Tensor], data: Any
) -> None:
    z, y = batch
    order = torch.tensor(data.draw(st.permutations(range(z.shape[-1]))))
    settings = {name: v.item() for name, v in loss_settings(losses[loss]).items()}
    permuted = value(loss, head, z[:, order], order.argsort()[y], **settings)
    close(permuted, value(loss, head, z, y, **settings))


def test_heads_and_losses_fit_as_documented() -> None:
    squares = {(loss, head) for loss in ("mse", "ql", "ccql") for head in KINDS_OF_HEADS}
    fitting_pairs = {
        (a, b) for a, b in fitting() if a in {"ce", "nll", "mse", "ql", "ccql"} and b in KINDS_OF_HEADS
    }
    assert fitting_pairs == squares | {("ce", "identity"), ("ce", "softmax"), ("nll", "log_softmax")}


KINDS_OF_HEADS = ("identity", "sigmoid", "softmax", "log_softmax")


def test_ignore_applies_the_form_for_the_first_kind() -> None:
    for entry in losses:
        forms = entry.component.forms
        first = next(iter(forms.values())).forward
        for head in heads:
            ignored = entry.component.form(head.component.kind, "ignore")
            assert ignored is not None
            assert ignored.forward is first


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match=r"takes \['logit'\]; the kinds are logits, scores"):
        Loss("mine", lambda f, _: f, takes="logit")
    with pytest.raises(UsageError, match=r"takes \['p'\]"):
        Loss("mine", lambda f, _: f, takes="logits", also={"p": Form(lambda f, _: f)})


# -------------------------------------------------------------------------------------- torch equivalents


@steady
@given(batch=batches())
def test_ce_and_nll_are_torchs(batch: tuple[Tensor, Tensor]) -> None:
    z, y = batch
    close(value("ce", "identity", z, y), nn.CrossEntropyLoss(reduction="none")(z, y))
    close(value("nll", "log_softmax", z, y), F.nll_loss(F.log_softmax(z, -1), y, reduction="none"))
    close(value("ce", "softmax", z, y), F.nll_loss(F.softmax(z, -1).log(), y, reduction="none"))


@pytest.mark.parametrize("head", KINDS_OF_HEADS)
@steady
@given(batch=batches())
def test_mse_is_torchs_on_the_probabilities(head: str, batch: tuple[Tensor, Tensor]) -> None:
    z, y = batch
    f = heads["softmax" if head == "log_softmax" else head].forward(z)
    expected = nn.MSELoss(reduction="none")(f, one_hot(y, z.shape[-1])).mean(-1)
    close(value("mse", head, z, y), expected)


@steady
@given(batch=batches(), share=st.floats(0, 0.5))
def test_soft_targets_are_torchs_label_smoothing(batch: tuple[Tensor, Tensor], share: float) -> None:
    z, y = batch
    target = (1 - share) * one_hot(y, z.shape[-1]) + share / z.shape[-1]
    form = losses["ce"].form("logits")
    assert form is not None
    close(form.forward(z, target), F.cross_entropy(z, y, reduction="none", label_smoothing=share))


# --------------------------------------------------------------------------------------------- identities


@steady
@given(batch=batches())
def test_ce_is_nll_of_log_softmax(batch: tuple[Tensor, Tensor]) -> None:
    z, y = batch
    close(value("ce", "identity", z, y), value("nll", "log_softmax", z, y))
    close(value("ce", "softmax", z, y), value("ce", "identity", z, y))


@pytest.mark.parametrize("head", KINDS_OF_HEADS)
@steady
@given(batch=batches())
def test_ql_is_half_c_times_mse_and_ccql_without_its_weight(head: str, batch: tuple[Tensor, Tensor]) -> None:
    z, y = batch
    ql = value("ql", head, z, y)
    close(ql, z.shape[-1] / 2 * value("mse", head, z, y))
    close(value("ccql", head, z, y, ccql_weight=0.0), ql)


@steady
@given(batch=batches(), w=st.floats(0, 5))
def test_ccql_is_a_rescaled_square_loss(batch: tuple[Tensor, Tensor], w: float) -> None:
    """C/2 times Hui & Belkin's, with k = 1 + w, M = 1: mean over classes of k (f_y - M)^2 and f_j^2."""
    z, y = batch
    classes = z.shape[-1]
    right = one_hot(y, classes).bool()
    rescaled = torch.where(right, (1 + w) * (z - 1) ** 2, z**2).mean(-1)
    close(value("ccql", "identity", z, y, ccql_weight=w), classes / 2 * rescaled)


@steady
@given(batch=batches())
def test_gradients_as_the_textbooks_have_them(batch: tuple[Tensor, Tensor]) -> None:
    z, y = batch
    p, e = F.softmax(z, -1), one_hot(y, z.shape[-1])
    g = p - e
    expected = {
        ("ce", "identity"): g,
        ("nll", "log_softmax"): g,
        ("ql", "identity"): z - e,
        ("ql", "softmax"): p * (g - (g * p).sum(-1, keepdim=True)),
    }
    for (loss, head), answer in expected.items():
        close(gradient(loss, head, z, y), answer)
        close(closed_gradient(loss, head, z, y), answer)


def test_every_term_reaches_the_logits() -> None:
    z, y = torch.tensor([[0.3, -0.2, 0.9]], dtype=torch.float64), torch.tensor([1])
    for loss, head in fitting():
        settings = {name: v.item() for name, v in loss_settings(losses[loss]).items()}
        assert (gradient(loss, head, z, y, **settings) != 0).all(), (loss, head)
    with_weight = gradient("ccql", "identity", z, y, ccql_weight=2.0)
    assert (with_weight - gradient("ql", "identity", z, y))[0].tolist() == pytest.approx([0, -2 * 1.2, 0])


@steady
@given(batch=batches(), shift=st.floats(1, 100))
def test_only_some_losses_depend_on_a_shift_of_all_logits(batch: tuple[Tensor, Tensor], shift: float) -> None:
    z, y = batch
    for loss, head in (("ce", "identity"), ("ql", "softmax"), ("nll", "log_softmax")):
        close(value(loss, head, z + shift, y), value(loss, head, z, y))
    # d/ds of QL on logits is the sum of z - e_y: a shift away from that parabola's foot always shows.
    up = value("ql", "identity", z + shift, y) - value("ql", "identity", z, y)
    down = value("ql", "identity", z - shift, y) - value("ql", "identity", z, y)
    assert (torch.maximum(up, down) > 0.4).all()


# ------------------------------------------------------------------------------------------ worked values


def test_losses_have_the_values_of_the_worked_example() -> None:
    form = losses["ql"].form("probabilities")
    assert form is not None
    f = torch.tensor([[0.3, 0.2, 0.4, 0.1]], dtype=torch.float64)
    assert form.forward(f, one_hot(torch.tensor([2]), 4)).item() == pytest.approx(0.25, abs=1e-15)


def test_losses_of_zero_logits_have_their_known_values() -> None:
    z, y = torch.zeros(1, 10, dtype=torch.float64), torch.tensor([3])
    assert value("ce", "identity", z, y).item() == pytest.approx(2.302585, abs=1e-6)
    assert value("ce", "softmax", z, y).item() == pytest.approx(2.302585, abs=1e-6)
    assert value("nll", "log_softmax", z, y).item() == pytest.approx(2.302585, abs=1e-6)
    softmax = {"ql": 0.45, "mse": 0.09}
    identity = {"ql": 0.5, "mse": 0.1}
    for loss in ("ql", "mse"):
        assert value(loss, "softmax", z, y).item() == pytest.approx(softmax[loss], abs=1e-14)
        assert value(loss, "log_softmax", z, y).item() == pytest.approx(softmax[loss], abs=1e-14)
        assert value(loss, "identity", z, y).item() == pytest.approx(identity[loss], abs=1e-14)
    assert value("ccql", "softmax", z, y, ccql_weight=2.0).item() == pytest.approx(1.26, abs=1e-14)
    assert value("ccql", "identity", z, y, ccql_weight=2.0).item() == pytest.approx(1.5, abs=1e-14)


@pytest.mark.parametrize(("classes", "weight"), [(2, 0), (5, 1), (10, 2), (26, 4)])
def test_ccqls_weight_depends_on_the_class_count(classes: int, weight: float) -> None:
    assert losses["ccql"].default_of("ccql_weight", classes) == pytest.approx(weight)


@steady
@given(batch=batches())
def test_double_softmax_has_a_floor(batch: tuple[Tensor, Tensor]) -> None:
    """CE fed probabilities as if they were logits: at best log(1 + (C-1)/e), 1.4612 at C = 10."""
    z, y = batch
    form, classes = losses["ce"].form("probabilities", "ignore"), z.shape[-1]
    assert form is not None
    floor = math.log(1 + (classes - 1) / math.e)
    e = one_hot(y, classes)
    assert (form.forward(F.softmax(z, -1), e) >= floor - 1e-12).all()
    close(form.forward(e, e), torch.full((3,), floor, dtype=torch.float64))


def test_double_softmax_of_ten_classes_has_its_known_floor() -> None:
    form, e = losses["ce"].form("probabilities", "ignore"), torch.eye(10, dtype=torch.float64)
    assert form is not None
    assert form.forward(e, e).min().item() == pytest.approx(1.4612, abs=5e-5)


@steady
@given(batch=batches())
def test_nll_of_probabilities_is_minus_p(batch: tuple[Tensor, Tensor]) -> None:
    z, y = batch
    form, p = losses["nll"].form("probabilities", "ignore"), F.softmax(z, -1)
    assert form is not None
    close(form.forward(p, one_hot(y, z.shape[-1])), -p.gather(1, y[:, None])[:, 0])


# ----------------------------------------------------------------------------------------------- extremes


@pytest.mark.parametrize(("loss", "head"), [pair for pair in fitting() if pair != ("ce", "softmax")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_1e4(loss: str, head: str, dtype: torch.dtype) -> None:
    z = torch.tensor([[1e4, -1e4, 0], [1e4, 1e4, 1e4], [0, 0, -1e4]], dtype=dtype)
    target = torch.eye(3, dtype=dtype).flip(0)
    form, backward = losses[loss].form(heads[head].kind), heads[head].backward
    assert form is not None
    settings = {name: v.to(dtype) for name, v in loss_settings(losses[loss]).items()}
    f = heads[head].forward(z)
    assert form.forward(f, target, **settings).isfinite().all()
    if form.gradient and backward:
        assert backward(form.gradient(f, target, **settings), f).isfinite().all()


def test_the_textbook_ce_is_infinite_where_the_right_class_underflows() -> None:
    z = torch.tensor([[0.0, -800.0, 800.0]], dtype=torch.float64)
    assert value("ce", "softmax", z, torch.tensor([1])).item() == math.inf
    assert value("ce", "softmax", z.float(), torch.tensor([0])).item() == math.inf


def test_the_textbook_ce_is_finite_where_only_others_underflow() -> None:
    z, y = torch.tensor([[0.0, -800.0, 800.0]], dtype=torch.float64), torch.tensor([2])
    assert value("ce", "softmax", z, y).item() == 0
    assert gradient("ce", "softmax", z, y).isfinite().all()
    assert closed_gradient("ce", "softmax", z, y).isfinite().all()


def test_float32_underflows_at_the_documented_gap() -> None:
    def textbook(gap: float) -> float:
        form = losses["ce"].form("probabilities")
        assert form is not None
        p = heads["softmax"].forward(torch.tensor([[0.0, gap]]))
        return form.forward(p, torch.tensor([[1.0, 0.0]])).item()

    assert math.isfinite(textbook(80))
    assert textbook(105) == math.inf

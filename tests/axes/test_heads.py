from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.axes.heads import Head, heads
from harness.check import component
from harness.errors import UsageError

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
TORCH: dict[str, nn.Module] = {
    "identity": nn.Identity(),
    "sigmoid": nn.Sigmoid(),
    "softmax": nn.Softmax(-1),
    "log_softmax": nn.LogSoftmax(-1),
}
KIND = {
    "identity": "logits", "sigmoid": "scores", "softmax": "probabilities", "log_softmax": "log_probabilities"
}  # fmt: skip
every = pytest.mark.parametrize("name", [entry.name for entry in heads])
logits = st.lists(st.floats(-30, 30), min_size=2, max_size=12).map(
    lambda row: torch.tensor([row, row[::-1]], dtype=torch.float64)
)


@every
def test_contract(name: str) -> None:
    assert component("head", name)


@pytest.mark.parametrize("name", TORCH)
@steady
@given(z=logits)
def test_is_torchs(name: str, z: Tensor) -> None:
    assert heads[name].kind == KIND[name]
    torch.testing.assert_close(heads[name].forward(z), TORCH[name](z), rtol=1e-12, atol=1e-14)


@every
def test_differentiable(name: str) -> None:
    z = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(heads[name].forward, (z,))


@every
@steady
@given(z=logits)
def test_a_closed_form_equals_autograd(name: str, z: Tensor) -> None:
    head = heads[name]
    if head.backward is None:
        return
    z = z.requires_grad_()
    f = head.forward(z)
    grad = torch.sin(torch.arange(z.numel(), dtype=torch.float64)).view_as(z)
    (expected,) = torch.autograd.grad(f, z, grad)
    torch.testing.assert_close(head.backward(grad, f.detach()), expected, rtol=1e-9, atol=1e-12)


@every
@steady
@given(z=logits)
def test_output_has_the_properties_of_its_kind(name: str, z: Tensor) -> None:
    f = heads[name].forward(z)
    kind = heads[name].kind
    if kind in {"scores", "probabilities"}:
        assert ((f >= 0) & (f <= 1)).all()
    if kind in {"probabilities", "log_probabilities"}:
        p = f.exp() if kind == "log_probabilities" else f
        torch.testing.assert_close(p.sum(-1), torch.ones(len(z), dtype=torch.float64))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_1e4(name: str, dtype: torch.dtype) -> None:
    z = torch.tensor([[1e4, -1e4, 0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], dtype=dtype)
    f = heads[name].forward(z)
    assert f.isfinite().all()
    assert f.dtype is dtype


@steady
@given(z=logits, shift=st.floats(-1e4, 1e4))
def test_softmax_and_log_softmax_do_not_see_a_shift(z: Tensor, shift: float) -> None:
    for name in ("softmax", "log_softmax"):
        torch.testing.assert_close(
            heads[name].forward(z + shift), heads[name].forward(z), rtol=1e-9, atol=1e-9
        )


@steady
@given(z=logits)
def test_log_softmax_is_idempotent(z: Tensor) -> None:
    once = heads["log_softmax"].forward(z)
    torch.testing.assert_close(heads["log_softmax"].forward(once), once)


@every
@steady
@given(z=logits, data=st.data())
def test_permuting_classes_permutes(name: str, z: Tensor, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(z.shape[-1])))
    forward = heads[name].forward
    torch.testing.assert_close(forward(z[:, order]), forward(z)[:, order], rtol=1e-12, atol=1e-14)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(
        UsageError, match="kind 'logit'; allowed: logits, scores, probabilities, log_probabilities"
    ):
        Head("mine", lambda z: z, "logit")  # type: ignore[arg-type]

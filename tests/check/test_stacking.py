"""The contract tests find the components that break the contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from registering import register

from harness.axes import plugins
from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import Scalar, State, optimizers
from harness.check import component
from harness.check.stacking import STACKED, stacks
from harness.data import cache
from harness.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["register"]


def problem(axis: str) -> str:
    """Return what is said of a component registered as "mine"."""
    (sentence,) = component(axis, "mine").problems
    return sentence


def states_of(name: str) -> list[cache.FileState]:
    """Tell which files of a downloaded data set are here; none of another one."""
    return cache.verify(name) if name in cache.PINS else []


@pytest.mark.parametrize(("axis", "name"), [(a, e.name) for a, r in plugins.catalogue().items() for e in r])
def test_every_registered_component_keeps_the_contract(axis: str, name: str) -> None:
    if axis == "dataset" and name not in cache.USUAL and any(f.status != "ok" for f in states_of(name)):
        pytest.skip(f"the files of {name} are not here: harness data fetch {name} brings them")
    assert component(axis, name)
    if axis in STACKED:
        assert stacks(axis, name)


def cube(x: Tensor) -> Tensor:
    """x^3."""
    return x**3


def test_a_component_without_closed_forms_passes(register: Callable[..., None]) -> None:
    register(activations, cube, backward=lambda grad, x, _: grad * 3 * x**2)
    assert component("activation", "mine")


def test_a_missing_docstring_is_refused(register: Callable[..., None]) -> None:
    register(activations, lambda x: x)
    assert re.search(r"activation 'mine' .*docstring", problem("activation"))


def test_a_wrong_closed_form_is_refused(register: Callable[..., None]) -> None:
    register(activations, cube, backward=lambda grad, x, _: grad * 2 * x**2)
    assert re.search("closed-form derivative of activation 'mine' is not autograd's", problem("activation"))


def root(x: Tensor) -> Tensor:
    """A root of what may be negative."""
    return x.sqrt()


def corner(x: Tensor) -> Tensor:
    """0, but steep without bound."""
    return (x * 0).abs().sqrt()


@pytest.mark.parametrize(("function", "what"), [(root, "is not finite"), (corner, "has a derivative")])
def test_values_that_are_not_finite_are_refused(
    register: Callable[..., None], function: Callable[..., Any], what: str
) -> None:
    register(activations, function)
    assert re.search(f"activation 'mine' {what}", problem("activation"))


def over_features(x: Tensor) -> Tensor:
    """Softmax over the last dimension: samples in a stack, features alone."""
    return x.softmax(-1)


def over_the_batch(f: Tensor) -> Tensor:
    """Centred over everything that it gets."""
    return f - f.mean()


def batch_loss(f: Tensor, target: Tensor) -> Tensor:
    """Squared error, as a share of the whole batch's."""
    own = (f - target).square().sum(-1)
    return own / own.sum()


def first_only(f: Tensor, target: Tensor, *, weight: Tensor = 0.5) -> Tensor:  # type: ignore[assignment]
    """Reads its setting as if it were one number."""
    return (f - target).square().sum(-1) * weight.reshape(-1)[0]


def by_norm(param: Tensor, grad: Tensor, state: State, t: int, *, lr: Scalar = 0.1) -> None:  # noqa: ARG001
    """Divides by the norm of the whole gradient."""
    param.sub_(lr * grad / grad.norm())


def with_a_global_clock(param: Tensor, grad: Tensor, state: State, t: int, *, lr: Scalar = 0.1) -> None:  # noqa: ARG001
    """Reads only the first member's learning rate."""
    rate = lr if isinstance(lr, float) else lr.reshape(-1)[0]
    param.sub_(rate * grad)


def with_a_global_mean(
    param: Tensor, grad: Tensor, _state: State, _t: int, *, lr: Scalar = 0.1, beta: Scalar = 0.5
) -> None:
    """Reads only the first member's beta."""
    rate = beta if isinstance(beta, float) else beta.reshape(-1)[0]
    param.sub_(lr * grad * rate)


@pytest.mark.parametrize(
    ("registry", "function", "facts", "words"),
    [
        (activations, over_features, {}, "'mine' mixes the units of a layer"),
        (activations, over_the_batch, {}, "'mine' mixes the samples of a batch"),
        (
            heads,
            over_the_batch,
            {"kind": "logits"},
            "'mine': the output of one sample changes with the other",
        ),
        (losses, batch_loss, {"takes": "logits"}, "'mine' of logits: the loss of one sample changes with"),
        (losses, first_only, {"takes": "logits"}, "'mine' gives the members of a stack other values"),
        (optimizers, by_norm, {}, "'mine' changes an element by what others are .* stackable=False"),
        (optimizers, with_a_global_mean, {}, "'mine' gives the members of a stack other values"),
        (optimizers, with_a_global_clock, {}, "'mine' gives the members of a stack other values"),
    ],
)
def test_a_component_that_mixes_members_is_found(
    register: Callable[..., None],
    registry: Registry[Any],
    function: Callable[..., Any],
    facts: dict[str, Any],
    words: str,
) -> None:
    register(registry, function, **facts)
    assert not stacks(registry.axis, "mine")
    assert re.search(f"{registry.axis} {words}", problem(registry.axis))


def test_an_unstackable_optimizer_passes_if_it_says_so(register: Callable[..., None]) -> None:
    register(optimizers, by_norm, stackable=False)
    assert component("optimizer", "mine")


def linear(f: Tensor, target: Tensor) -> Tensor:
    """-f_y."""
    return -(f * target).sum(-1)


def test_a_closed_gradient_has_the_stacks_shape(register: Callable[..., None]) -> None:
    register(losses, linear, takes="logits", gradient=lambda _, target: -target)
    assert re.search("closed-form derivative of loss 'mine'", problem("loss"))


def picks_the_label(f: Tensor, target: Tensor) -> Tensor:
    """1 - f_y, of the largest entry of the target."""
    return 1 - f.gather(-1, target.expand_as(f).argmax(-1, keepdim=True))[..., 0]


def true_by_one_hot(f: Tensor, target: Tensor) -> Tensor:
    """-log p_y."""
    return -(target * f.log()).sum(-1)


@pytest.mark.parametrize(
    ("function", "gradient", "message"),
    [
        (picks_the_label, None, "loss 'mine' of probabilities does not change as labels are smoothed"),
        (
            true_by_one_hot,
            lambda f, t: -(t > 0.5).to(f.dtype) / f,
            "of probabilities, labels smoothed, is not",
        ),
    ],
)
def test_a_loss_that_takes_its_target_for_one_hot_is_found(
    register: Callable[..., None], function: Callable[..., Any], gradient: Any, message: str
) -> None:
    register(losses, function, takes="probabilities", gradient=gradient)
    assert stacks("loss", "mine")
    assert re.search(message, problem("loss"))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    assert component("loss", "ccql")
    assert component("optimizer", "adam")
    assert torch.equal(torch.get_rng_state(), before)

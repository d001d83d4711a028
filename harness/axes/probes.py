"""Probes of a component: small numbers to call it on, and calls that find what it does with them.

Every probe calls by position, as the engines do, and leaves the process as it was. torch is imported when the
first component is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from harness.errors import ComponentError
from harness.system.lazy import torch
from harness.system.process_state import called

if TYPE_CHECKING:
    from torch import Tensor

MEMBERS, SAMPLES, CLASSES, STEPS = 3, 6, 5, 4
_classes: ContextVar[int] = ContextVar("classes", default=CLASSES)


def classes() -> int:
    """Return the number of classes that heads, losses and metrics are tried with."""
    return _classes.get()


@contextmanager
def of_classes(count: int) -> Iterator[None]:
    """Try them with so many classes: one may have a weight for each class of its data set."""
    token = _classes.set(count)
    try:
        yield
    finally:
        _classes.reset(token)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Draw standard normal numbers in float64, the same every time."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def one_hot(member: int = 0) -> Tensor:
    """Make one-hot rows (B, C); each member has other labels, in another distribution."""
    labels = torch.arange(SAMPLES) % max(1, classes() - member)
    return torch.eye(classes(), dtype=torch.float64)[labels]


def smoothed(target: Tensor) -> Tensor:
    """Smooth a target as `label_smoothing` does."""
    return 0.8 * target + 0.2 / target.shape[-1]


def like_output(kind: str, x: Tensor) -> Tensor:
    """Turn logits (..., C) into outputs of a head of this kind."""
    if kind == "log_probabilities":
        return x.log_softmax(-1)
    return x.sigmoid() if kind == "scores" else x.softmax(-1) if kind == "probabilities" else x


def close(a: Tensor, b: Tensor) -> bool:
    """Return whether values are equal to single precision, which a component may use inside."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-7)


def call(what: str, function: Callable[..., Any], *given: Any, changes: int = 0, seed: int = 0) -> Any:
    """Call a component as an engine does, from a seeded random state, and leave the process as it was.

    It may change the first `changes` of its arguments in place. Where it raises, ends the process, or changes
    other arguments or settings of the process, that is a ComponentError.
    """
    before = [x.detach().clone() if isinstance(x, torch.Tensor) else None for x in given[changes:]]
    shapes = ", ".join(str(tuple(x.shape)) if hasattr(x, "shape") else type(x).__name__ for x in given)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        result = called(what, function, *given, note=f" (it was called with {shapes})")
    for place, (x, old) in enumerate(zip(given[changes:], before, strict=True)):
        if old is not None and not torch.equal(x.detach(), old):
            raise ComponentError(
                f"{what} changes its argument {place + 1} in place, which others read: give a new tensor"
            )
    return result


def tensor(what: str, result: object, shape: Sequence[int], means: str) -> Tensor:
    """Return a component's result if it is a tensor of this shape; `means` puts the shape into words."""
    if not isinstance(result, torch.Tensor):
        raise ComponentError(
            f"{what} gives {type(result).__name__}; allowed: a tensor of shape {tuple(shape)}, {means}"
        )
    if tuple(result.shape) != tuple(shape):
        raise ComponentError(f"{what} gives shape {tuple(result.shape)}; allowed: {tuple(shape)}, {means}")
    return result


def value_and_gradient(
    what: str,
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    grad: Callable[[Tensor], Tensor] = torch.ones_like,
) -> tuple[Tensor, Tensor]:
    """Return a function of one tensor and autograd's derivative of it, times `grad` of its shape."""
    leaf = x.clone().requires_grad_()
    y = call(what, function, leaf)
    if not isinstance(y, torch.Tensor) or not y.requires_grad:
        raise ComponentError(
            f"{what} gives values without a gradient (a detach, no_grad, a comparison, NumPy?): nothing "
            "would be learned through it"
        )
    (derived,) = torch.autograd.grad(y, leaf, grad(y.detach()), allow_unused=True)
    derived = torch.zeros_like(x) if derived is None else derived
    for fault, numbers in (("is not finite", y), ("has a derivative that is not finite", derived)):
        if not numbers.isfinite().all():
            raise ComponentError(f"{what} {fault} on ordinary numbers")
    return y.detach(), derived


def reaches(what: str, function: Callable[[Tensor], Tensor], x: Tensor, dim: int = 0) -> bool:
    """Return whether the result for one row of x (along `dim`) changes with another row."""
    other = x.clone()
    other.select(dim, 0).copy_(noise(*other.select(dim, 0).shape, seed=1))
    kept = [call(what, function, given).narrow(dim, 1, x.shape[dim] - 1) for given in (x, other)]
    return not close(*kept)


def draws(what: str, function: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Return whether a function draws random numbers; raise ComponentError if they are not torch's."""
    first, again, other = (call(what, function, x, seed=seed) for seed in (0, 0, 1))
    if not close(first, again):
        raise ComponentError(
            f"{what} gives other values when it is called again on the same numbers, and no seed of a study "
            "decides them: draw with torch's functions, without a generator"
        )
    return not close(first, other)


def same_derivative(what: str, closed: object, derived: Tensor, x: Tensor) -> None:
    """Raise ComponentError if a closed-form derivative differs from autograd's, with the place and values."""
    fault = f"the closed-form derivative of {what} is not autograd's"
    if not isinstance(closed, torch.Tensor) or closed.shape != derived.shape:
        got = f"shape {tuple(closed.shape)}" if isinstance(closed, torch.Tensor) else type(closed).__name__
        raise ComponentError(f"{fault}: got {got}, autograd gives shape {tuple(derived.shape)}")
    if not close(closed, derived):
        other = ~torch.isclose(closed.double(), derived, rtol=1e-5, atol=1e-7)
        place = tuple(other.nonzero()[0].tolist())
        at, mine, right = (float(numbers[place]) for numbers in (x, closed, derived))
        raise ComponentError(f"{fault}: at x = {at:.4g}, got {mine:.4g}, autograd gives {right:.4g}")

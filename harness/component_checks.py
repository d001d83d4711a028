"""Checks of a person's own component: it is called a few times on small numbers, before anything is trained.

Every check calls by position, as the engines do: what parameters are called is a person's own. What breaks
the contract is a ComponentError, a sentence that names the component; docs/component-contracts.md has the
contracts. torch is imported when the first component is called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.axes.activations import Activation
from harness.axes.heads import Head
from harness.axes.losses import Form, Loss
from harness.axes.metrics import Metric
from harness.axes.optimizers import Optimizer
from harness.errors import ComponentError, UsageError
from harness.lazy import torch
from harness.process_state import called

if TYPE_CHECKING:
    from torch import Tensor

MEMBERS, SAMPLES, CLASSES, STEPS = 3, 6, 5, 4
PATIENCE = 16  # steps in which an optimizer must have changed its parameters: some gather gradients first
LABELS = {
    "label", "labels", "target", "targets", "y_true", "true", "truth", "ground_truth", "gt", "y", "t",
}  # fmt: skip
OUTPUTS = {
    "pred", "preds", "prediction", "predictions", "y_pred", "y_hat", "yhat", "output", "outputs", "logit",
    "logits", "prob", "probs", "probabilities", "scores", "p", "q", "f", "z", "y",
}  # fmt: skip


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, the same every time."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def one_hot(member: int = 0) -> Tensor:
    """One-hot rows (B, C); each member's labels are others, and otherwise distributed."""
    labels = torch.arange(SAMPLES) % (CLASSES - member)
    return torch.eye(CLASSES, dtype=torch.float64)[labels]


def smoothed(target: Tensor) -> Tensor:
    """What `label_smoothing` makes of a target."""
    return 0.8 * target + 0.2 / target.shape[-1]


def like_output(kind: str, x: Tensor) -> Tensor:
    """Numbers (..., C) as a head of this kind would give them."""
    if kind == "log_probabilities":
        return x.log_softmax(-1)
    return x.sigmoid() if kind == "scores" else x.softmax(-1) if kind == "probabilities" else x


def close(a: Tensor, b: Tensor) -> bool:
    """Whether values are the same to what single precision inside a component would leave of them."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-7)


def call(what: str, function: Callable[..., Any], *given: Any, changes: int = 0, seed: int = 0) -> Any:
    """Call a component as an engine does, from a seeded random state, and leave the process as it was.

    Args:
        what: the component in words, for faults.
        function: it, or its derivative; with its settings, a functools.partial.
        given: its arguments, by position.
        changes: how many of the first of them it may change in place.
        seed: of torch's generator, for a component that draws.

    Raises:
        ComponentError: it raises, ends the process, or changes arguments or settings of the process.
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
    """A component's result, if it is a tensor of this shape; `means` says what the shape is."""
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
    """What a function of one tensor gives, and autograd's derivative of it, times `grad` of its shape."""
    leaf = x.clone().requires_grad_()
    y = call(what, function, leaf)
    if not isinstance(y, torch.Tensor) or not y.requires_grad:
        raise ComponentError(
            f"{what} gives values without a gradient (a detach, no_grad, a comparison, NumPy?): nothing "
            "would be learned through it"
        )
    (derived,) = torch.autograd.grad(y, leaf, grad(y.detach()), allow_unused=True)
    derived = torch.zeros_like(x) if derived is None else derived
    for told, numbers in (("is not finite", y), ("has a derivative that is not finite", derived)):
        if not numbers.isfinite().all():
            raise ComponentError(f"{what} {told} on ordinary numbers")
    return y.detach(), derived


def reaches(what: str, function: Callable[[Tensor], Tensor], x: Tensor, dim: int = 0) -> bool:
    """Whether the result for one row of x (along `dim`) changes with another row."""
    other = x.clone()
    other.select(dim, 0).copy_(noise(*other.select(dim, 0).shape, seed=1))
    kept = [call(what, function, given).narrow(dim, 1, x.shape[dim] - 1) for given in (x, other)]
    return not close(*kept)


def draws(what: str, function: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether a function draws random numbers.

    Raises:
        ComponentError: others than torch's generator gives, so that no seed of a study decides them.
    """
    first, again, other = (call(what, function, x, seed=seed) for seed in (0, 0, 1))
    if not close(first, again):
        raise ComponentError(
            f"{what} gives other values when it is called again on the same numbers, and no seed of a study "
            "decides them: draw with torch's functions, without a generator"
        )
    return not close(first, other)


def same_derivative(what: str, closed: object, derived: Tensor, x: Tensor) -> None:
    """Raise ComponentError where a closed-form derivative is not autograd's; says where, and what."""
    told = f"the closed-form derivative of {what} is not autograd's"
    if not isinstance(closed, torch.Tensor) or closed.shape != derived.shape:
        got = f"shape {tuple(closed.shape)}" if isinstance(closed, torch.Tensor) else type(closed).__name__
        raise ComponentError(f"{told}: got {got}, autograd gives shape {tuple(derived.shape)}")
    if not close(closed, derived):
        other = ~torch.isclose(closed.double(), derived, rtol=1e-5, atol=1e-7)
        place = tuple(other.nonzero()[0].tolist())
        at, mine, right = (float(numbers[place]) for numbers in (x, closed, derived))
        raise ComponentError(f"{told}: at x = {at:.4g}, got {mine:.4g}, autograd gives {right:.4g}")


def activation(what: str, component: Activation) -> None:
    """Raise ComponentError where an activation is none; a closed form is also tried as a stack has it."""
    x = 2 * noise(SAMPLES, CLASSES)
    tensor(what, call(what, component.forward, x), x.shape, "as it was given (samples, units)")
    value_and_gradient(what, component.forward, x)
    draws(what, component.forward, x)
    _single(what, component.forward, x)
    if component.backward is None:
        return
    for z in (x, 2 * noise(MEMBERS, CLASSES, SAMPLES)):
        grad = torch.ones_like(z).cumsum(-1)
        y, derived = value_and_gradient(what, component.forward, z, lambda y: torch.ones_like(y).cumsum(-1))
        closed = call(f"the closed-form derivative of {what}", component.backward, grad, z, y, changes=1)
        same_derivative(what, closed, derived, z)


def head(what: str, component: Head) -> None:
    """Raise ComponentError where a head is none."""
    z = 2 * noise(SAMPLES, CLASSES)
    tensor(what, call(what, component.forward, z), z.shape, "as it was given (samples, classes)")
    grad = torch.ones_like(z).cumsum(-1)
    f, derived = value_and_gradient(what, component.forward, z, lambda y: torch.ones_like(y).cumsum(-1))
    draws(what, component.forward, z)
    if reaches(what, component.forward, z):
        raise ComponentError(
            f"{what}: the output of one sample changes with the other samples in the batch; classes are the "
            "last dimension (dim=-1)"
        )
    _of_kind(what, component.kind, f)
    _single(what, component.forward, z)
    if component.backward is not None:
        closed = call(f"the closed-form derivative of {what}", component.backward, grad, f, changes=1)
        same_derivative(what, closed, derived, z)


def _single(what: str, function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Raise ComponentError where single precision, in which is trained, does not stay single precision."""
    got = call(what, function, x.float()).dtype
    if got != torch.float32:
        raise ComponentError(f"{what} gives {got} of float32; allowed: the type it was given (.to(x.dtype))")


def _of_kind(what: str, kind: str, f: Tensor) -> None:
    """Raise ComponentError where an output (B, C) is not of the kind that its head declares."""
    told = f"{what} declares kind = {kind!r}, and"
    p = f.exp() if kind == "log_probabilities" else f
    if kind in {"scores", "probabilities"} and not ((p >= -1e-6) & (p <= 1 + 1e-6)).all():
        raise ComponentError(f"{told} gives {p.min():.4g} to {p.max():.4g}; these are in 0..1")
    sums = p.sum(-1)
    if kind in {"probabilities", "log_probabilities"} and not close(sums, torch.ones_like(sums)):
        raise ComponentError(
            f"{told} the probabilities of a sample sum to {float(sums[0]):.4g}; they sum to 1 over classes"
        )


def loss(what: str, component: Loss, *, smooth: bool = True) -> None:
    """Raise ComponentError where a form of a loss is none; with `smooth`, also of smoothed labels."""
    _right_way_round(what, component.function, "the output comes")
    settings = loss_settings(component)
    for kind, form in component.forms.items():
        named, x = f"{what} of {kind}", like_output(kind, noise(SAMPLES, CLASSES))
        try:
            _form(named, form, x, one_hot(), settings)
        except ComponentError as fault:
            swapped = Form(lambda f, t, form=form, **own: form.forward(t, f, **own))
            if _faultless(_form, named, swapped, x, one_hot(), settings):
                raise ComponentError(
                    f"{fault}. With its arguments swapped it works: the output comes first, the target second"
                ) from fault
            raise
        if smooth:
            _form(f"{named}, labels smoothed,", form, x, smoothed(one_hot()), settings)
            values = [form.forward(x, t, **settings) for t in (one_hot(), smoothed(one_hot()))]
            if close(*values):
                raise ComponentError(
                    f"{named} does not change as labels are smoothed: it must read all of the target"
                )


def loss_settings(component: Loss) -> dict[str, Any]:
    """The defaults of a loss's settings, as the 0-dim tensors that a lone trial passes."""
    values = {name: component.default_of(name, CLASSES) for name in component.settings}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def _faultless(check: Callable[..., None], *given: Any) -> bool:
    try:
        check(*given)
    except ComponentError:
        return False
    return True


def _right_way_round(what: str, function: Callable[..., Any], first: str) -> None:
    """Raise ComponentError where a function's own names say that it takes the labels first."""
    names = _positional(function)[:2]
    if len(names) == 2 and names[0] in LABELS and names[1] in OUTPUTS:
        raise ComponentError(
            f"{what} takes ({', '.join(names)}): {first} first, the target second; swap the parameters"
        )


def _positional(function: Callable[..., Any]) -> list[str]:
    """The names of a function's positional parameters; none of one that Python cannot look into."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]


def _form(what: str, form: Form, x: Tensor, target: Tensor, settings: Mapping[str, Tensor]) -> None:
    """Raise ComponentError where a loss on one kind of output x (B, C) is none."""
    forward = functools.partial(against, form.forward, target, settings)
    own = functools.partial(form.forward, **settings)
    _a_value_a_sample(what, call(what, own, x, target), "loss")
    _, derived = value_and_gradient(what, forward, x)
    draws(what, forward, x)
    _sample_by_sample(what, own, x, target, "loss")
    if form.gradient is None:
        return
    gradient = functools.partial(form.gradient, **settings)
    closed = functools.partial(call, f"the closed-form derivative of {what}", gradient)
    same_derivative(what, closed(x, target), derived, x)
    several = torch.stack([x, x.flip(0), x.roll(1, 0)])
    try:
        _, derived = value_and_gradient(what, forward, several)
    except ComponentError:
        return  # the forward knows no stacks, so that the loop engine trains it, by autograd
    if close(derived[0], closed(x, target)):
        same_derivative(what, closed(several, target), derived, several)


def against(
    forward: Callable[..., Tensor], target: Tensor, settings: Mapping[str, Tensor], f: Tensor
) -> Tensor:
    """A loss as the engines call it, for functions of the output alone."""
    return forward(f, target, **settings)


def _a_value_a_sample(what: str, result: object, value: str) -> None:
    """Raise ComponentError where a result for (B, C) is not (B,), with what was probably meant."""
    shape = tuple(result.shape) if isinstance(result, torch.Tensor) else None
    if shape == ():
        raise ComponentError(
            f"{what} gives one number for the whole batch; allowed: one value a sample, shape (..., B), of "
            "which the harness takes the mean (no .mean(), reduction='none')"
        )
    more = {
        (SAMPLES, CLASSES): ": sum over the classes, .sum(-1)",
        (CLASSES,): ": the classes are the last dimension, the samples the one before",
    }
    hint = more.get(shape, "") if shape else ""
    tensor(what, result, (SAMPLES,), f"one value a sample of ({SAMPLES}, {CLASSES}){hint}")
    if value == "loss" and isinstance(result, torch.Tensor) and not result.dtype.is_floating_point:
        raise ComponentError(f"{what} gives {result.dtype}; allowed: floating numbers")


def _sample_by_sample(
    what: str, function: Callable[[Tensor, Tensor], Tensor], x: Tensor, target: Tensor, value: str
) -> None:
    """Raise ComponentError where the value of one sample changes with another's output or label."""
    other, label = x.flip(-1)[:1], target.flip(-1)[:1]
    pairs = [(x, target), (torch.cat([other, x[1:]]), target), (x, torch.cat([label, target[1:]]))]
    first, *changed = (call(what, function, *pair)[1:] for pair in pairs)
    if not all(close(first, one) for one in changed):
        raise ComponentError(
            f"{what}: the {value} of one sample changes with the other samples in the batch (a softmax, mean "
            "or sum over samples?); classes are the last dimension (dim=-1)"
        )


def metric(what: str, component: Metric) -> None:
    """Raise ComponentError where a metric is none, alone or on a stack, where every metric is measured."""
    _right_way_round(what, component.function, "the probabilities come")
    p, targets = noise(MEMBERS, SAMPLES, CLASSES).softmax(-1), one_hot().expand(MEMBERS, SAMPLES, CLASSES)
    alone = [call(what, component.function, p[k], targets[k]) for k in range(MEMBERS)]
    together = call(what, component.function, p, targets)
    for values, given in ((alone[0], p[0]), (together, p)):
        expected = tuple(given.shape[:-1])
        got = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
        if got != expected:
            raise ComponentError(
                f"{what} gives {got} for probabilities {tuple(given.shape)}; one value a sample is {expected}"
            )
    if not together.isfinite().all():
        raise ComponentError(f"{what} is not finite on ordinary probabilities")
    if torch.allclose(together.double(), torch.stack(alone).double(), rtol=1e-9, atol=1e-12):
        _sample_by_sample(what, component.function, p[0], targets[0], "value")
        return
    raise ComponentError(f"{what} treats a stack otherwise than its members")


def optimizer(what: str, component: Optimizer) -> None:
    """Raise ComponentError where an optimizer is none, on a matrix and on a vector."""
    settings = optimizer_settings(component)
    for shape in ((CLASSES, SAMPLES), (CLASSES,)):
        start = noise(*shape).float()
        param = start.clone()
        _take_steps(what, component, param, settings)
        if torch.equal(param, start):
            raise ComponentError(
                f"{what} changes no parameter: it must change `param` in place (param.sub_(...)); what it "
                "returns is not used"
            )
    start, grad, lr = noise(CLASSES, SAMPLES), noise(CLASSES, SAMPLES, seed=1), settings["lr"]
    plain = settings | {"weight_decay": 0.0} if "weight_decay" in settings else settings
    if component.linear:
        param = start.clone()
        call(what, functools.partial(component.update, **plain), param, grad.clone(), {}, 1, changes=3)
        if not close(param, start - lr * grad):
            raise ComponentError(
                f"{what} is declared linear = True, and does otherwise than param -= lr * grad"
            )


def optimizer_settings(component: Optimizer) -> dict[str, Any]:
    """The defaults of an optimizer's settings, lr among them, as an engine passes them."""
    defaults = {name: setting.default for name, setting in component.settings.items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in defaults.items()}


def _take_steps(what: str, component: Optimizer, param: Tensor, settings: Mapping[str, Any]) -> None:
    """Take some steps in place, on gradients that are 0 here and there, as those of unused pixels are."""
    update = functools.partial(component.update, **settings)
    state: dict[str, Tensor] = {}
    shape, dtype = param.shape, param.dtype
    start = param.clone()
    for t in range(1, PATIENCE + 1):
        grad = torch.sin(t + 3 * start)
        grad.view(-1)[0] = 0.0
        with torch.no_grad():
            call(what, update, param, grad, state, t, changes=3)
        if param.shape != shape or param.dtype != dtype:
            raise ComponentError(
                f"{what} makes {param.dtype} of shape {tuple(param.shape)} of parameters {dtype} of shape "
                f"{tuple(shape)}; allowed: change their values in place"
            )
        bad = ~param.isfinite()
        if bad.any():
            only = " where the gradient is 0 (divide by a norm plus eps)" if int(bad.sum()) == 1 else ""
            raise ComponentError(f"{what} makes parameters that are not finite at step {t}{only}")
        if t >= STEPS and not torch.equal(param, start):
            return


def elementwise(what: str, component: Optimizer) -> bool:
    """Whether an optimizer treats every element of its parameters by itself."""
    update, changed = functools.partial(component.update, **optimizer_settings(component)), []
    for seed in (0, 1):
        param, grad = noise(2, CLASSES), noise(2, CLASSES, seed=2)
        state: dict[str, Any] = {}
        grad[0, 0] += seed
        for t in range(1, STEPS + 1):
            with torch.no_grad():
                call(what, update, param, grad.clone(), state, t, changes=3)
        changed.append(param.view(-1)[1:])
    return close(*changed)


CHECKS: Mapping[str, Callable[..., None]] = {
    "activation": activation, "head": head, "loss": loss, "optimizer": optimizer, "metric": metric,
}  # fmt: skip


def fault(axis: str, name: str, component: Any, **how: Any) -> str:
    """How a component breaks its contract, in a sentence; empty where it keeps it.

    Args:
        axis: "activation", "head", "loss", "optimizer" or "metric".
        name: what it is registered as.
        component: the registered component.
        how: of a loss, smooth=False where no labels are smoothed.
    """
    try:
        CHECKS[axis](f"{axis} {name!r}", component, **how)
    except UsageError as told:
        return str(told)
    return ""

"""Contracts of components, checked by a few calls on small numbers before anything is trained.

Every check calls by position, as the engines do: parameters may have any names. A breach is a ComponentError,
a sentence that names the component; docs/component-contracts.md has the contracts. torch is imported when
the first component is called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.axes import probes
from harness.axes.activations import Activation
from harness.axes.heads import Head
from harness.axes.losses import Form, Loss
from harness.axes.metrics import Metric
from harness.axes.optimizers import Optimizer
from harness.axes.probes import CLASSES, MEMBERS, SAMPLES, STEPS, call, classes, close, draws, noise, tensor
from harness.errors import ComponentError, UsageError
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = 16  # steps in which an optimizer must have changed its parameters: some gather gradients first
LABELS = {
    "label", "labels", "target", "targets", "y_true", "true", "truth", "ground_truth", "gt", "y", "t",
}  # fmt: skip
OUTPUTS = {
    "pred", "preds", "prediction", "predictions", "y_pred", "y_hat", "yhat", "output", "outputs", "logit",
    "logits", "prob", "probs", "probabilities", "scores", "p", "q", "f", "z", "y",
}  # fmt: skip


def activation(what: str, component: Activation) -> None:
    """Raise ComponentError if an activation breaks its contract; a closed form is also tried on a stack."""
    x = 2 * noise(SAMPLES, CLASSES)
    tensor(what, call(what, component.forward, x), x.shape, "as it was given (samples, units)")
    probes.value_and_gradient(what, component.forward, x)
    draws(what, component.forward, x)
    _single(what, component.forward, x)
    if component.backward is None:
        return
    for z in (x, 2 * noise(MEMBERS, CLASSES, SAMPLES)):
        grad = torch.ones_like(z).cumsum(-1)
        y, derived = probes.value_and_gradient(
            what, component.forward, z, lambda y: torch.ones_like(y).cumsum(-1)
        )
        closed = call(f"the closed-form derivative of {what}", component.backward, grad, z, y, changes=1)
        probes.same_derivative(what, closed, derived, z)


def head(what: str, component: Head) -> None:
    """Raise ComponentError if a head breaks its contract."""
    z = 2 * noise(SAMPLES, classes())
    tensor(what, call(what, component.forward, z), z.shape, "as it was given (samples, classes)")
    grad = torch.ones_like(z).cumsum(-1)
    f, derived = probes.value_and_gradient(
        what, component.forward, z, lambda y: torch.ones_like(y).cumsum(-1)
    )
    draws(what, component.forward, z)
    if probes.reaches(what, component.forward, z):
        raise ComponentError(
            f"{what}: the output of one sample changes with the other samples in the batch; classes are the "
            "last dimension (dim=-1)"
        )
    _of_kind(what, component.kind, f)
    _single(what, component.forward, z)
    if component.backward is not None:
        closed = call(f"the closed-form derivative of {what}", component.backward, grad, f, changes=1)
        probes.same_derivative(what, closed, derived, z)


def _single(what: str, function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Raise ComponentError if single precision, which training uses, does not stay single precision."""
    got = call(what, function, x.float()).dtype
    if got != torch.float32:
        raise ComponentError(f"{what} gives {got} of float32; allowed: the type it was given (.to(x.dtype))")


def _of_kind(what: str, kind: str, f: Tensor) -> None:
    """Raise ComponentError if an output (B, C) is not of the kind that its head declares."""
    declaration = f"{what} declares kind = {kind!r}, and"
    p = f.exp() if kind == "log_probabilities" else f
    if kind in {"scores", "probabilities"} and not ((p >= -1e-6) & (p <= 1 + 1e-6)).all():
        raise ComponentError(f"{declaration} gives {p.min():.4g} to {p.max():.4g}; these are in 0..1")
    sums = p.sum(-1)
    if kind in {"probabilities", "log_probabilities"} and not close(sums, torch.ones_like(sums)):
        raise ComponentError(
            f"{declaration} the probabilities of a sample sum to {float(sums[0]):.4g}; allowed: 1"
        )


def loss(what: str, component: Loss, *, smooth: bool = True) -> None:
    """Raise ComponentError if a form of a loss breaks its contract; with `smooth`, on smoothed labels too."""
    _right_way_round(what, component.function, "the output comes")
    settings = loss_settings(component)
    for kind, form in component.forms.items():
        named, x = f"{what} of {kind}", probes.like_output(kind, noise(SAMPLES, classes()))
        try:
            _form(named, form, x, probes.one_hot(), settings)
        except ComponentError as fault:
            swapped = Form(lambda f, t, form=form, **own: form.forward(t, f, **own))
            if _faultless(_form, named, swapped, x, probes.one_hot(), settings):
                raise ComponentError(
                    f"{fault}. With its arguments swapped it works: the output comes first, the target second"
                ) from fault
            raise
        if smooth:
            _form(f"{named}, labels smoothed,", form, x, probes.smoothed(probes.one_hot()), settings)
            values = [
                form.forward(x, t, **settings) for t in (probes.one_hot(), probes.smoothed(probes.one_hot()))
            ]
            if close(*values):
                raise ComponentError(
                    f"{named} does not change as labels are smoothed: it must read all of the target"
                )


def loss_settings(component: Loss) -> dict[str, Any]:
    """Return the defaults of a loss's settings, as the 0-dim tensors that a single trial passes."""
    values = {name: component.default_of(name, classes()) for name in component.settings}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def _faultless(check: Callable[..., None], *given: Any) -> bool:
    try:
        check(*given)
    except ComponentError:
        return False
    return True


def _right_way_round(what: str, function: Callable[..., Any], first: str) -> None:
    """Raise ComponentError if a function's parameter names say that it takes the labels first."""
    names = _positional(function)[:2]
    if len(names) == 2 and names[0] in LABELS and names[1] in OUTPUTS:
        raise ComponentError(
            f"{what} takes ({', '.join(names)}): {first} first, the target second; swap the parameters"
        )


def _positional(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's positional parameters; none if Python cannot inspect it."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def _form(what: str, form: Form, x: Tensor, target: Tensor, settings: Mapping[str, Tensor]) -> None:
    """Raise ComponentError if a loss breaks its contract on one kind of output x (B, C)."""
    forward = functools.partial(against, form.forward, target, settings)
    function = functools.partial(form.forward, **settings)
    _a_value_a_sample(what, call(what, function, x, target), "loss")
    _, derived = probes.value_and_gradient(what, forward, x)
    draws(what, forward, x)
    _sample_by_sample(what, function, x, target, "loss")
    if form.gradient is None:
        return
    gradient = functools.partial(form.gradient, **settings)
    closed = functools.partial(call, f"the closed-form derivative of {what}", gradient)
    probes.same_derivative(what, closed(x, target), derived, x)
    several = torch.stack([x, x.flip(0), x.roll(1, 0)])
    try:
        _, derived = probes.value_and_gradient(what, forward, several)
    except ComponentError:
        return  # the forward knows no stacks, so that the loop engine trains it, by autograd
    if close(derived[0], closed(x, target)):
        probes.same_derivative(what, closed(several, target), derived, several)


def against(
    forward: Callable[..., Tensor], target: Tensor, settings: Mapping[str, Tensor], f: Tensor
) -> Tensor:
    """Call a loss as the engines do, as a function of the output alone."""
    return forward(f, target, **settings)


def _a_value_a_sample(what: str, result: object, value: str) -> None:
    """Raise ComponentError if a result for (B, C) is not (B,), with a hint at the probable mistake."""
    shape = tuple(result.shape) if isinstance(result, torch.Tensor) else None
    if shape == ():
        raise ComponentError(
            f"{what} gives one number for the whole batch; allowed: one value a sample, shape (..., B), of "
            "which the harness takes the mean (no .mean(), reduction='none')"
        )
    more = {
        (SAMPLES, classes()): ": sum over the classes, .sum(-1)",
        (classes(),): ": the classes are the last dimension, the samples the one before",
    }
    hint = more.get(shape, "") if shape else ""
    tensor(what, result, (SAMPLES,), f"one value a sample of ({SAMPLES}, {classes()}){hint}")
    if value == "loss" and isinstance(result, torch.Tensor) and not result.dtype.is_floating_point:
        raise ComponentError(f"{what} gives {result.dtype}; allowed: floating numbers")


def _sample_by_sample(
    what: str, function: Callable[[Tensor, Tensor], Tensor], x: Tensor, target: Tensor, value: str
) -> None:
    """Raise ComponentError if the value of one sample changes with another's output or label."""
    other, label = x.flip(-1)[:1], target.flip(-1)[:1]
    pairs = [(x, target), (torch.cat([other, x[1:]]), target), (x, torch.cat([label, target[1:]]))]
    first, *changed = (call(what, function, *pair)[1:] for pair in pairs)
    if not all(close(first, values) for values in changed):
        raise ComponentError(
            f"{what}: the {value} of one sample changes with the other samples in the batch (a softmax, mean "
            "or sum over samples?); classes are the last dimension (dim=-1)"
        )


def metric(what: str, component: Metric) -> None:
    """Raise ComponentError if a metric breaks its contract, alone or on a stack, as engines call it."""
    _right_way_round(what, component.function, "the probabilities come")
    p = noise(MEMBERS, SAMPLES, classes()).softmax(-1)
    targets = probes.one_hot().expand_as(p)
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
    """Raise ComponentError if an optimizer breaks its contract, on a matrix and on a vector."""
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
    """Return the defaults of an optimizer's settings, lr among them, as an engine passes them."""
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
    """Return whether an optimizer treats every element of its parameters by itself."""
    update, changed = functools.partial(component.update, **optimizer_settings(component)), []
    for seed in (0, 1):
        param, grad = noise(2, CLASSES), noise(2, CLASSES, seed=2)
        state: dict[str, Tensor] = {}
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
    """Return how a component of one of the CHECKS breaks its contract, in a sentence, or "".

    `how` is, of a loss, smooth=False where no labels are smoothed.
    """
    try:
        CHECKS[axis](f"{axis} {name!r}", component, **how)
    except UsageError as told:
        return str(told)
    return ""

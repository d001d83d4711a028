"""Components traced to static graphs of PyTorch's core operations: outputs, gradients, optimizers' steps.

A graph is what a function does to tensors of one shape. What Python decides by the values of tensors cannot
be traced and is refused; so is what the translation does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.axes.activations import Activation
from harness.axes.heads import Head, probabilities, probability_at
from harness.axes.losses import Form
from harness.axes.metrics import Metric
from harness.axes.optimizers import Optimizer
from harness.errors import in_words
from harness.lowering.refusals import BRANCHES, NotLoweredError
from harness.lowering.stand_ins import GivenSetting, StepNumber
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

UNITS = 11
MEMBERS, PARAMETERS = 3, 17
DECOMPOSED = (
    "gelu", "gelu_backward", "elu", "elu_backward", "softplus", "softplus_backward", "silu", "silu_backward",
    "sigmoid_backward", "tanh_backward", "leaky_relu", "leaky_relu_backward", "threshold",
    "threshold_backward", "hardtanh", "hardtanh_backward", "mish", "mish_backward", "hardswish",
    "hardswish_backward", "hardsigmoid", "hardsigmoid_backward", "hardshrink", "softshrink",
    "softshrink_backward", "log_sigmoid_forward", "log_sigmoid_backward", "celu", "selu", "relu6",
    "_prelu_kernel", "_prelu_kernel_backward", "_softmax", "_log_softmax", "_softmax_backward_data",
    "_log_softmax_backward_data", "logsumexp", "mse_loss", "mse_loss_backward", "huber_loss",
    "huber_loss_backward", "smooth_l1_loss", "smooth_l1_loss_backward", "binary_cross_entropy",
    "binary_cross_entropy_backward", "binary_cross_entropy_with_logits", "addcmul", "addcdiv", "lerp", "rsub",
    "square", "xlogy", "logit", "sinc", "std", "std_mean", "var_mean", "norm", "dist", "frac", "trace",
    "linalg_vector_norm", "clamp_min", "clamp_max", "isfinite", "isinf", "logaddexp", "logaddexp2",
)  # fmt: skip
"""Operations that PyTorch's core keeps whole although smaller ones say the same."""


def sample_count(classes: int) -> int:
    """Return a number of samples that tells their axis from that of the classes."""
    return 17 if classes != 17 else 19


@cache
def _decompositions() -> Mapping[Any, Any]:
    from torch._decomp import core_aten_decompositions, get_decompositions

    names = [getattr(torch.ops.aten, name) for name in DECOMPOSED if hasattr(torch.ops.aten, name)]
    return {**core_aten_decompositions(), **get_decompositions(names)}


def traced(function: Callable[..., Any], *examples: Tensor) -> GraphModule:
    """Trace a function on tensors like the examples; changes in place become new values."""
    from torch._functorch.eager_transforms import functionalize
    from torch.fx.experimental.proxy_tensor import make_fx

    def graph_of(traceable: Callable[..., Any]) -> GraphModule:
        def positional(*given: Tensor) -> Any:  # make_fx counts parameters, those with defaults too
            return traceable(*given)

        make = make_fx(
            positional,
            decomposition_table=_decompositions(),
            tracing_mode="fake",
            _allow_non_fake_inputs=True,
        )
        made: GraphModule = make(*examples)
        return made

    try:
        made = graph_of(functionalize(graph_of(function), remove="mutations_and_views"))
    except (NotLoweredError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a component may end the process: sys.exit
        raise NotLoweredError(_reason(error)) from error
    made.graph.eliminate_dead_code()
    return made


def _reason(error: BaseException) -> str:
    """Say in words why a function cannot be traced."""
    kind, text = type(error).__name__, in_words(error)
    if kind == "GuardOnDataDependentSymNode":
        return f"aten._local_scalar_dense: {BRANCHES}"
    if kind in {"DataDependentOutputException", "DynamicOutputShapeException"}:
        return f"{getattr(error, 'func', text)}: Python asks for the value of a tensor (.item(), if, float())"
    if "numpy" in text.lower():
        return f".numpy(): the values leave PyTorch ({text})"
    return f"it cannot be traced: {text}"


def with_gradient(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Make of x -> y the function (x, gradient at y) -> (y, gradient at x)."""

    def both(x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            y = function(leaf)
        if not y.requires_grad:
            return y, torch.zeros_like(x)
        (derived,) = torch.autograd.grad(y, leaf, grad, allow_unused=True)
        return y.detach(), torch.zeros_like(x) if derived is None else derived

    return both


@dataclass(frozen=True)
class ActivationGraphs:
    """x -> (y,); and the gradient, `closed`: (grad, x, y) -> (grad_x,), else (x, grad) -> (y, grad_x)."""

    forward: GraphModule
    backward: GraphModule
    closed: bool


def activation(component: Activation) -> ActivationGraphs:
    """Trace an activation and its derivative."""
    x, y, grad = (torch.randn(sample_count(0), UNITS) for _ in range(3))  # one tensor would be one input
    forward = traced(lambda x: (component.forward(x),), x)
    if component.backward is None:
        return ActivationGraphs(forward, traced(with_gradient(component.forward), x, grad), closed=False)
    closed = component.backward
    return ActivationGraphs(forward, traced(lambda *given: (closed(*given),), grad, x, y), closed=True)


def _examples(classes: int, settings: Sequence[str]) -> tuple[Tensor, ...]:
    z = torch.randn(sample_count(classes), classes)
    return z, torch.softmax(z, -1), *(torch.tensor(0.5, dtype=torch.float64) for _ in settings)


def output(head: Head, form: Form, classes: int, settings: Sequence[str]) -> GraphModule:
    """Trace (z, target, *settings) -> (losses, gradient at z of their sum)."""

    def loss(z: Tensor, target: Tensor, values: Sequence[Tensor]) -> Tensor:
        return form.forward(head.forward(z), target, **dict(zip(settings, values, strict=True)))

    def closed(z: Tensor, target: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        assert head.backward is not None and form.gradient is not None  # noqa: S101, PT018 (asked below)
        f = head.forward(z)
        gradient = form.gradient(f, target, **dict(zip(settings, values, strict=True)))
        return loss(z, target, values), head.backward(gradient, f)

    def derived(z: Tensor, target: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        ones = torch.ones(z.shape[0], dtype=z.dtype)
        return with_gradient(lambda z: loss(z, target, values))(z, ones)

    both = closed if head.backward is not None and form.gradient is not None else derived
    return traced(both, *_examples(classes, settings))


def judgement(head: Head, form: Form, classes: int, settings: Sequence[str]) -> GraphModule:
    """Trace (z, target, *settings) -> (losses, first largest classes, their probabilities)."""

    def judged(z: Tensor, target: Tensor, *values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = head.forward(z)
        loss = form.forward(f, target, **dict(zip(settings, values, strict=True)))
        most = f.amax(-1, keepdim=True)
        places = torch.arange(classes, dtype=f.dtype)
        best = torch.where(f == most, places, classes - 1.0).amin(-1)
        return loss, best, probability_at(head, f, most.squeeze(-1))

    return traced(judged, *_examples(classes, settings))


def metric(head: Head, component: Metric, classes: int) -> GraphModule:
    """Trace (z, target) -> (values,)."""

    def measured(z: Tensor, target: Tensor) -> tuple[Tensor]:
        return (component.function(probabilities(head, head.forward(z)), target),)

    return traced(measured, *_examples(classes, ()))


@dataclass(frozen=True)
class OptimizerGraphs:
    """(t, param, grad, *settings) -> (param, *states); later steps have the states before the settings."""

    first: GraphModule
    later: GraphModule
    states: tuple[str, ...]
    settings: tuple[str, ...]


def setting_columns(
    component: Optimizer, switches: Collection[str], zeros: Collection[str]
) -> tuple[str, ...]:
    """Name the numbers that a step is given: settings that are not 0, pairs as "betas.0", "betas.1"."""
    columns: list[str] = []
    for name, setting in component.settings.items():
        if name not in switches:
            default = setting.default
            columns += [f"{name}.{i}" for i in range(len(default))] if isinstance(default, list) else [name]
    return tuple(name for name in columns if name == "lr" or name not in zeros)


def optimizer(
    component: Optimizer, switches: Mapping[str, bool | str], zeros: Collection[str]
) -> OptimizerGraphs:
    """Trace the first step of an optimizer, which makes its states, and the later ones."""
    try:
        return _optimizer(_Steps(component, switches, zeros, lambda tensor: tensor))
    except NotLoweredError:
        with suppress(NotLoweredError):  # perhaps Python asks whether a setting is 0, which is known
            return _optimizer(_Steps(component, switches, zeros, GivenSetting))
        raise


@dataclass(frozen=True)
class _Steps:
    """An optimizer with its settings; `stand_in` makes of a tensor what a setting is given as."""

    component: Optimizer
    switches: Mapping[str, bool | str]
    zeros: Collection[str]
    stand_in: Callable[[Tensor], Any]

    def graph(self, held: Sequence[str], *, first: bool) -> tuple[GraphModule, tuple[str, ...]]:
        """Trace a step that finds some states; also return the states that it leaves."""
        columns = setting_columns(self.component, self.switches, self.zeros)
        tensors = [torch.full((MEMBERS, 1), 0.5, dtype=torch.float64) for _ in columns]
        # One tensor twice would be one input.
        params = [torch.randn(MEMBERS, PARAMETERS) for _ in range(2 + len(held))]
        found: list[str] = []

        def step(t: Tensor, param: Tensor, grad: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            state = {name: tensor.clone() for name, tensor in zip(held, rest, strict=False)}
            values = dict(zip(columns, map(self.stand_in, rest[len(held) :]), strict=True))
            param = param.clone()
            with torch.no_grad():
                count = StepNumber(t, first=first)
                self.component.update(param, grad.clone(), state, count, **self._settings(values))
            found[:] = list(state)
            _check_states(state, param)
            return param, *state.values()

        made = traced(step, torch.tensor(3.0, dtype=torch.float64), *params, *tensors)
        return made, tuple(found)

    def _settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings as a function is given them: what is not among the values is 0."""
        given: dict[str, Any] = {}
        for name, setting in self.component.settings.items():
            if name in self.switches:
                given[name] = self.switches[name]
            elif isinstance(setting.default, list):
                given[name] = tuple(values.get(f"{name}.{i}", 0.0) for i in range(len(setting.default)))
            else:
                given[name] = values.get(name, 0.0)
        return given


def _optimizer(steps: _Steps) -> OptimizerGraphs:
    first, states = steps.graph((), first=True)
    later, after = steps.graph(states, first=False)
    if after != states:
        raise NotLoweredError(
            f"its states after a later step are {list(after)}, after the first {list(states)}"
        )
    columns = setting_columns(steps.component, steps.switches, steps.zeros)
    return OptimizerGraphs(first, later, states, columns)


def _check_states(state: Mapping[str, object], param: Tensor) -> None:
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or value.shape != param.shape:
            shape = (
                f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            )
            raise NotLoweredError(f"its state {name!r} is {shape}; a compiled state has a number a parameter")

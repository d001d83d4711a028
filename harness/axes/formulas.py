"""Formulas: every activation, head, loss, optimizer and metric and its derivative, in NumPy, by hand.

What the registries under `harness/axes/` write in PyTorch is written here a second time, to be read and to be
checked against: no PyTorch is imported. Notation, for a batch of B samples and C classes:

    z  pre-activations, or logits (B, C)         y  an activation, y = phi(z)
    f  the head's output (B, C)                  t  targets (B, C): one-hot rows, or smoothed ones
    l  the loss of each sample (B,)              g  the gradient of the loss at what a function gave

A `Formula` is a function and its derivative, in the chain rule's form: given the gradient at what the
function gave, `backward` gives the gradient at what it was given. An optimizer is one function, and so is
a metric, which nothing differentiates.
"""

# mypy: disable-error-code="no-any-return"
# (what NumPy's sum(axis) gives is Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness.axes import plugins
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.data.arm_settings import Settings

Array: TypeAlias = NDArray[np.floating[Any]]
State: TypeAlias = "dict[str, Array]"


class Formula(NamedTuple):
    """A function and its derivative; what they are called with depends on the axis.

    - activations: y = forward(z), g_z = backward(g_y, z, y), elementwise.
    - heads: f = forward(z), g_z = backward(g_f, f).
    - losses: l = forward(f, t, **settings), per sample; backward(f, t, **settings) is dl/df (B, C).
    """

    forward: Callable[..., Array]
    backward: Callable[..., Array]


# ------------------------------------------------------------------------------------------- activations


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z). Written with e^-|z|, which cannot overflow: for z < 0 it is e^z / (1 + e^z)."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(g: Array, _z: Array, y: Array) -> Array:
    """dy/dz = y (1 - y)."""
    return g * y * (1 - y)


def tanh_backward(g: Array, _z: Array, y: Array) -> Array:
    """dy/dz = 1 - y^2."""
    return g * (1 - y * y)


def relu(z: Array) -> Array:
    """max(z, 0)."""
    return np.maximum(z, 0)


def relu_backward(g: Array, z: Array, _y: Array) -> Array:
    """dy/dz = 1 where z > 0, else 0; at 0, where there is a kink, 0 by convention."""
    return np.where(z > 0, g, 0)


LEAK = 0.01


def leaky_relu(z: Array) -> Array:
    """The input where positive, 0.01 z elsewhere."""
    return np.where(z > 0, z, LEAK * z)


def leaky_relu_backward(g: Array, z: Array, _y: Array) -> Array:
    """dy/dz = 1 where z > 0, else 0.01."""
    return np.where(z > 0, g, LEAK * g)


def elu(z: Array) -> Array:
    """The input where positive, e^z - 1 elsewhere (of min(z, 0): the branch not taken must not overflow)."""
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


def elu_backward(g: Array, z: Array, y: Array) -> Array:
    """dy/dz = 1 where z > 0, else e^z = y + 1."""
    return np.where(z > 0, g, g * (y + 1))


def normal_cdf(z: Array) -> Array:
    """The normal distribution function, (1 + erf(z / sqrt 2)) / 2."""
    from scipy.special import erf  # a third of a second, for GELU alone

    return (1 + erf(z * 0.5**0.5)) / 2


def gelu(z: Array) -> Array:
    """The input times Phi(z), Phi the normal distribution function."""
    return z * normal_cdf(z)


def gelu_backward(g: Array, z: Array, _y: Array) -> Array:
    """dy/dz = Phi(z) + z p(z), by the product rule; Phi' = p(z) = e^(-z^2/2) / sqrt(2 pi)."""
    density = np.exp(-z * z / 2) / (2 * np.pi) ** 0.5
    return g * (normal_cdf(z) + z * density)


def silu(z: Array) -> Array:
    """The input times s(z), s the sigmoid."""
    return z * sigmoid(z)


def silu_backward(g: Array, z: Array, _y: Array) -> Array:
    """dy/dz = s + z s (1 - s), by the product rule."""
    s = sigmoid(z)
    return g * s * (1 + z * (1 - s))


STRAIGHT = 20  # from here on PyTorch's softplus is the line z itself; log(1 + e^z) is 2e-9 above it there


def softplus(z: Array) -> Array:
    """log(1 + e^z); z itself beyond 20."""
    return np.where(z > STRAIGHT, z, np.log1p(np.exp(np.minimum(z, STRAIGHT))))


def softplus_backward(g: Array, z: Array, _y: Array) -> Array:
    """dy/dz = e^z / (1 + e^z), the sigmoid; 1 beyond 20."""
    return np.where(z > STRAIGHT, g, g * sigmoid(z))


def identity(z: Array) -> Array:
    """The input itself."""
    return z


ACTIVATIONS: dict[str, Formula] = {
    "sigmoid": Formula(sigmoid, sigmoid_backward),
    "tanh": Formula(np.tanh, tanh_backward),
    "relu": Formula(relu, relu_backward),
    "leaky_relu": Formula(leaky_relu, leaky_relu_backward),
    "elu": Formula(elu, elu_backward),
    "gelu": Formula(gelu, gelu_backward),
    "silu": Formula(silu, silu_backward),
    "softplus": Formula(softplus, softplus_backward),
    "identity": Formula(identity, lambda g, _z, _y: g),
}

# ----------------------------------------------------------------------------------------------- dropout


def dropout_mask(u: Array, p: float, dtype: DTypeLike) -> Array:
    """Return the factor of activations: 1 / (1 - p) where u >= p, else 0, which keeps their mean.

    As it is a factor, the gradient is multiplied by it, too. u and p are compared in float32, as u is drawn.
    """
    return np.where(u >= np.float32(p), 1 / (1 - p), 0).astype(dtype)


# ------------------------------------------------------------------------------------------------- heads


def softmax(z: Array) -> Array:
    """f_i = e^z_i / sum_j e^z_j. Less the largest logit f is the same, and e^z cannot overflow."""
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def softmax_backward(g: Array, f: Array) -> Array:
    """df_i/dz_j = f_i ((i = j) - f_j), so g_z = f (g - <g, f>)."""
    return f * (g - (g * f).sum(1, keepdims=True))


def log_softmax(z: Array) -> Array:
    """f_i = z_i - log sum_j e^z_j."""
    shifted = z - z.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def log_softmax_backward(g: Array, f: Array) -> Array:
    """df_i/dz_j = (i = j) - e^f_j, so g_z = g - e^f sum(g)."""
    return g - np.exp(f) * g.sum(1, keepdims=True)


HEADS: dict[str, Formula] = {
    "identity": Formula(identity, lambda g, _f: g),
    "sigmoid": Formula(sigmoid, lambda g, f: sigmoid_backward(g, f, f)),
    "softmax": Formula(softmax, softmax_backward),
    "log_softmax": Formula(log_softmax, log_softmax_backward),
}

# ------------------------------------------------------------------------------------------------ losses


def smoothed(t: Array, share: float) -> Array:
    """Smooth targets: each becomes (1 - share) t, and share is spread evenly over all C classes."""
    return (1 - share) * t + share / t.shape[1]


def cross_entropy(z: Array, t: Array) -> Array:
    """Compute l = -z_y + log sum_j e^z_j of logits. The softmax is inside, where it cannot underflow."""
    return -(t * log_softmax(z)).sum(1)


def cross_entropy_gradient(z: Array, t: Array) -> Array:
    """dl/dz = p - t, p = softmax(z): how far the probabilities are off."""
    return softmax(z) - t


def negative_log(p: Array, t: Array) -> Array:
    """Compute l = -log p_y of probabilities, as the textbooks write it: inf where p_y underflows to 0."""
    return -(t * np.log(np.where(t > 0, p, 1))).sum(1)


def negative_log_gradient(p: Array, t: Array) -> Array:
    """dl/dp_y = -1 / p_y; the other classes do not matter."""
    return -t / np.where(t > 0, p, 1)


def nll(f: Array, t: Array) -> Array:
    """Compute l = -f_y of log-probabilities."""
    return -(t * f).sum(1)


def nll_gradient(_f: Array, t: Array) -> Array:
    """dl/df = -t."""
    return -t


def mse(f: Array, t: Array) -> Array:
    """Mean squared error: l = 1/C sum_j (f_j - t_j)^2."""
    return np.square(f - t).sum(1) / f.shape[1]


def mse_gradient(f: Array, t: Array) -> Array:
    """dl/df = 2/C (f - t)."""
    return (f - t) * (2 / f.shape[1])


def ql(f: Array, t: Array) -> Array:
    """Quadratic loss: l = 1/2 sum_j (f_j - t_j)^2."""
    return np.square(f - t).sum(1) / 2


def ql_gradient(f: Array, t: Array) -> Array:
    """dl/df = f - t."""
    return f - t


def ccql(f: Array, t: Array, *, ccql_weight: float) -> Array:
    """Correct-class quadratic loss: l = ql + w/2 (1 - f_y)^2, w = ccql_weight."""
    missing = 1 - (f * t).sum(1)
    return ql(f, t) + ccql_weight / 2 * np.square(missing)


def ccql_gradient(f: Array, t: Array, *, ccql_weight: float) -> Array:
    """dl/df = f - t, and at the correct class also -w (1 - f_y)."""
    missing = 1 - (f * t).sum(1, keepdims=True)
    return f - t - ccql_weight * missing * t


def of_exp(loss: Formula) -> Formula:
    """A loss of probabilities p, for log-probabilities f: l(e^f), whose dl/df = dl/dp e^f."""

    def forward(f: Array, t: Array, **settings: float) -> Array:
        return loss.forward(np.exp(f), t, **settings)

    def backward(f: Array, t: Array, **settings: float) -> Array:
        p = np.exp(f)
        return p * loss.backward(p, t, **settings)

    return Formula(forward, backward)


def _squared(loss: Formula) -> dict[str, Formula]:
    """A squared error takes what every head gives as it is; of log-probabilities it takes exp."""
    plain = dict.fromkeys(("logits", "scores", "probabilities"), loss)
    return plain | {"log_probabilities": of_exp(loss)}


LOSSES: dict[str, Mapping[str, Formula]] = {
    "ce": {
        "logits": Formula(cross_entropy, cross_entropy_gradient),
        "probabilities": Formula(negative_log, negative_log_gradient),
    },
    "nll": {"log_probabilities": Formula(nll, nll_gradient)},
    "mse": _squared(Formula(mse, mse_gradient)),
    "ql": _squared(Formula(ql, ql_gradient)),
    "ccql": _squared(Formula(ccql, ccql_gradient)),
}
"""Loss -> kind of output -> formula."""

# -------------------------------------------------------------------------------------------- optimizers
#
# update(p, g, state, k, **settings) takes step k, counted from 1: parameters p change in place, g is their
# gradient, and `state` what the optimizer keeps between steps, empty at first. The names of the settings are
# those of harness/axes/optimizers.py, which also has the defaults and the sources.


def slot(state: State, name: str, like: Array, start: float = 0.0) -> Array:
    """Return the optimizer's state under `name`, of the parameters' shape; `start` before the first step."""
    if name not in state:
        state[name] = np.full_like(like, start)
    return state[name]


def penalised(p: Array, g: Array, weight_decay: float) -> Array:
    """The gradient of the loss plus an L2 penalty, weight_decay/2 p^2."""
    return g + weight_decay * p if weight_decay else g


def sgd(p: Array, g: Array, _state: State, _k: int, *, lr: float, weight_decay: float) -> None:
    """Gradient descent: p -= lr g."""
    p -= lr * penalised(p, g, weight_decay)


def momentum(
    p: Array, g: Array, state: State, k: int, *,
    lr: float, momentum: float, dampening: float, weight_decay: float,
) -> None:  # fmt: skip
    """Heavy ball: v = momentum v + (1 - dampening) g, at the first step v = g; p -= lr v."""
    g = penalised(p, g, weight_decay)
    v = slot(state, "v", p)
    v *= momentum
    v += g if k == 1 else (1 - dampening) * g
    p -= lr * v


def nesterov(
    p: Array, g: Array, state: State, _k: int, *, lr: float, momentum: float, weight_decay: float
) -> None:
    """Momentum that looks ahead: v = momentum v + g; p -= lr (g + momentum v)."""
    g = penalised(p, g, weight_decay)
    v = slot(state, "v", p)
    v *= momentum
    v += g
    p -= lr * (g + momentum * v)


def rmsprop(
    p: Array, g: Array, state: State, _k: int, *,
    lr: float, alpha: float, eps: float, momentum: float, centered: bool, weight_decay: float,
) -> None:  # fmt: skip
    """Each gradient over its usual size: s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps).

    Centered: in place of s the variance s - m^2, at least 0, with m = alpha m + (1 - alpha) g. With momentum:
    v = momentum v + g / (sqrt(s) + eps); p -= lr v.
    """
    g = penalised(p, g, weight_decay)
    s = slot(state, "s", p)
    s *= alpha
    s += (1 - alpha) * g * g
    spread = s
    if centered:
        m = slot(state, "m", p)
        m *= alpha
        m += (1 - alpha) * g
        spread = np.maximum(s - m * m, 0)  # rounding may make it negative
    direction: Array = g / (np.sqrt(spread) + eps)
    if momentum:
        v = slot(state, "v", p)
        v *= momentum
        v += direction
        direction = v
    p -= lr * direction


def adam(
    p: Array, g: Array, state: State, k: int, *,
    lr: float, betas: tuple[float, float], eps: float, weight_decay: float, amsgrad: bool,
) -> None:  # fmt: skip
    """Two running means: m = b1 m + (1 - b1) g; s = b2 s + (1 - b2) g^2; p -= lr m' / (sqrt(s') + eps).

    Means that start at 0 are too small at first, hence m' = m / (1 - b1^k) and s' = s / (1 - b2^k).
    Amsgrad: the largest s so far in place of s.
    """
    g = penalised(p, g, weight_decay)
    b1, b2 = betas
    m, s = slot(state, "m", p), slot(state, "s", p)
    m *= b1
    m += (1 - b1) * g
    s *= b2
    s += (1 - b2) * g * g
    if amsgrad:
        largest = slot(state, "largest", p)
        s = np.maximum(largest, s, out=largest)
    root = np.sqrt(s) / (1 - b2**k) ** 0.5
    p -= lr / (1 - b1**k) * m / (root + eps)


def adamw(
    p: Array, g: Array, state: State, k: int, *, lr: float, weight_decay: float, **settings: Any
) -> None:
    """Adam, with the weights shrunk apart from the gradient: p -= lr weight_decay p first."""
    p *= 1 - lr * weight_decay
    adam(p, g, state, k, lr=lr, weight_decay=0.0, **settings)


def adagrad(
    p: Array, g: Array, state: State, k: int, *,
    lr: float, lr_decay: float, eps: float, initial_accumulator_value: float, weight_decay: float,
) -> None:  # fmt: skip
    """All gradients so far: s = s + g^2; p -= lr / (1 + (k - 1) lr_decay) g / (sqrt(s) + eps)."""
    g = penalised(p, g, weight_decay)
    s = slot(state, "s", p, start=initial_accumulator_value)
    s += g * g
    p -= lr / (1 + (k - 1) * lr_decay) * g / (np.sqrt(s) + eps)


OPTIMIZERS: dict[str, Callable[..., None]] = {
    update.__name__: update for update in (sgd, momentum, nesterov, rmsprop, adam, adamw, adagrad)
}

# ----------------------------------------------------------------------------------------------- metrics


def top3(p: Array, t: Array) -> Array:
    """1 where fewer than three classes are more probable than the true one (of equal ones, the first is)."""
    true = (p * t).sum(1, keepdims=True)
    behind = (p < true) | ((p == true) & (t.cumsum(1) > 0))
    return (behind.sum(1) >= p.shape[1] - 2).astype(p.dtype)


def true_probability(p: Array, t: Array) -> Array:
    """p_y = sum_i t_i p_i."""
    return (p * t).sum(1)


def negative_log_likelihood(p: Array, t: Array) -> Array:
    """-log p_y; inf at 0."""
    with np.errstate(divide="ignore"):
        values: Array = -np.log((p * t).sum(1))
    return values


def brier(p: Array, t: Array) -> Array:
    """sum_i (p_i - t_i)^2."""
    return ((p - t) ** 2).sum(1)


METRICS: dict[str, Callable[[Array, Array], Array]] = {
    "top3": top3, "true_probability": true_probability, "nll": negative_log_likelihood, "brier": brier,
}  # fmt: skip
"""Values (B,) of probabilities p (B, C) and targets t (B, C)."""

# ------------------------------------------------------------------------------- which formulas a trial needs


def loss_of(settings: Settings) -> Formula:
    """Return the formula of a trial's loss for its head's kind of output; KeyError if there is none."""
    loss, head = losses[settings.loss], heads[settings.head]
    # What does not fit and is trained all the same gets the first form, as in the other engines.
    kind = next(iter(loss.forms)) if settings.match == "ignore" else head.kind
    return LOSSES[loss.name][kind]


ARCHITECTURES = ("mlp", "linear", "lenet5", "cnn", "resnet")
"""Architectures whose networks are written out: an mlp in the numpy engine, all others in axes/by_hand/."""


def missing(settings: Settings, architectures: Collection[str] = ARCHITECTURES) -> list[str]:
    """Name the components of a trial without a formula here: a third party's, or a new one."""
    known: dict[str, Collection[str]] = {
        "architecture": architectures, "activation": ACTIVATIONS, "head": HEADS, "loss": LOSSES,
        "optimizer": OPTIMIZERS,
    }  # fmt: skip
    lacking = []
    for axis, names in known.items():
        if axis not in settings:
            continue
        entry = plugins.registries()[axis].entry(str(settings[axis]))
        if entry.third_party or entry.name not in names:
            lacking.append(f"{axis} {entry.name!r} ({entry.where}); it has: {', '.join(names)}")
    return lacking


def missing_metrics(names: Sequence[str]) -> list[str]:
    """Name the metrics without a formula here."""
    return [
        f"metric {entry.name!r} ({entry.where}); it has: {', '.join(METRICS)}"
        for entry in map(metrics.entry, names)
        if entry.third_party or entry.name not in METRICS
    ]

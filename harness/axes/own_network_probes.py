"""Probes of a person's own network before anything is trained: shapes, numbers, and its gradients.

A batch of random pixels goes through it once for each kind of arm. What could not be trained is a problem; a
gradient that is not the loss's is a remark, since a person may mean it.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from harness.axes import formulas, own_networks
from harness.axes.formulas import Array
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.own_networks import Network, NetworkClass
from harness.data.arm_settings import Settings
from harness.data.samples import inputs_of
from harness.errors import ComponentError
from harness.text import listed

IMAGES = 7  # of the batch: no number of classes or units, so that what is turned shows
SIZES = (IMAGES, 3)  # of batches whose gradients are looked at: a mean is over as many images as there are
KIND = (
    "dataset", "preprocessing", "architecture", "hidden", "activation", "dropout", "head", "loss", "match",
    "label_smoothing",
)  # fmt: skip
"""Settings by which arms are told apart for a probe, with those of the loss."""
STEP = {8: 1e-6, 4: 1e-2}
"""Step of a difference quotient, by the bytes of a float."""
AGREES = {8: 1e-4, 4: 0.05}
"""How far a difference quotient may be from a gradient, as a share of it."""
FEW = 4  # parameters that a sentence names
SMALL = 1e-7  # a derivative along a direction that counts as none


@dataclass(frozen=True)
class ProbeFindings:
    """Sentences on what cannot be trained, and on what probably is not meant."""

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def look(engine: str, arms: Iterable[tuple[Settings, int]], tracked: Sequence[str]) -> ProbeFindings:
    """Try the network of an engine on (settings, seed) of arms, whose metrics are `tracked`."""
    own = own_networks.find(engine)
    distinct = {_key(settings): (settings, seed) for settings, seed in reversed(list(arms))}
    gaps = [gap for settings, _ in distinct.values() for gap in _gaps(own, settings)]
    problems = [f"{own.label}: {gap}" for gap in dict.fromkeys([*gaps, *formulas.missing_metrics(tracked)])]
    if problems:
        return ProbeFindings(tuple(problems))
    found = [_of_kind(engine, key, *arm) for key, arm in distinct.items()]
    problems = [problem for each in found for problem in each.problems]
    remarks = [remark for each in found for remark in each.remarks]
    if own.unseen:
        remarks.append(f"{own.label}: a change of {'; '.join(own.unseen)} would go unnoticed")
    return ProbeFindings(tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(remarks)))


def _key(settings: Settings) -> str:
    names = [*KIND, *losses[settings.loss].settings]
    return json.dumps([settings.get(name) for name in names])


def _gaps(own: NetworkClass, settings: Settings) -> list[str]:
    """Say what of an arm's settings the network would have to do itself, and does not."""
    gaps = []
    if settings.architecture == "mlp" and not settings.plain_mlp:
        gaps.append("norm and skip are not for a network of your own. Allowed: norm = 'none', skip = false")
    for gap in formulas.missing(settings, ["mlp"]):
        axis = gap.partition(" ")[0]
        itself = {"loss": "losses(output, target)", "optimizer": "step(gradients, lr)"}.get(axis)
        if axis == "architecture":
            gaps.append(f"{gap}. Its start is an mlp's")
        elif itself and not own.has(itself.partition("(")[0]):
            gaps.append(f"no formula in NumPy for {gap}. Or give the class a method {itself}")
    if settings.dropout and not own.takes_masks:
        gaps.append(
            f"dropout = {settings.dropout:g}, and gradients(x, target) takes no masks. Allowed: "
            "gradients(self, x, target, masks), one factor (B, units) of each hidden layer's activations; or "
            "dropout = 0"
        )
    return gaps


_found: dict[tuple[str, str], ProbeFindings] = {}


def _of_kind(engine: str, key: str, settings: Settings, seed: int) -> ProbeFindings:
    """Probe a kind of arm, once."""
    if (engine, key) not in _found:
        own = own_networks.find(engine)
        try:
            with np.errstate(all="ignore"):
                _check_numbers(own, settings, seed)
                remarks = next(
                    filter(None, (_Gradients(own, settings, seed, n).remarks() for n in SIZES)), []
                )
            _found[engine, key] = ProbeFindings((), tuple(remarks))
        except ComponentError as error:
            return ProbeFindings((f"{error}{_of_arm(settings)}",))
    return _found[engine, key]


def _of_arm(settings: Settings) -> str:
    return f" (hidden = {settings.hidden}, head = {settings.head!r}, loss = {settings.loss!r})"


def _batch(settings: Settings, dtype: DTypeLike, count: int = IMAGES) -> tuple[Array, Array]:
    """Draw pixels x (B, D) between 0 and 1, and targets t (B, C)."""
    rng = np.random.default_rng(0)
    classes = len(settings.facts.classes)
    x = rng.random((IMAGES, inputs_of(settings))).astype(dtype)[:count]
    t = np.eye(classes, dtype=dtype)[rng.integers(classes, size=IMAGES)][:count]
    return x, formulas.smoothed(t, settings.label_smoothing) if settings.label_smoothing else t


def _masks(settings: Settings, own: NetworkClass, dtype: DTypeLike, count: int) -> list[Array]:
    kept = settings.hidden if own.takes_masks and settings.dropout else []
    return [np.ones((count, n), dtype) for n in kept]


def _check_numbers(own: NetworkClass, settings: Settings, seed: int) -> None:
    """Raise ComponentError where shapes or numbers are wrong, in float32 as in a training."""
    network, kind = Network(own, settings, seed, np.float32), heads[settings.head].kind
    for count in (IMAGES, 1):  # the last batch of a pass may be short
        x, t = _batch(settings, np.float32, count)
        f = network.forward(x)
        if not np.isfinite(f).all():
            raise ComponentError(f"{own.label}: forward(x) gives {_not_finite(f)} at the trial's start")
        totals = np.exp(f).sum(1) if kind == "log_probabilities" else f.sum(1)
        if kind in {"probabilities", "log_probabilities"} and not np.allclose(totals, 1, atol=1e-3):
            words = kind.replace("_", "-")
            raise ComponentError(
                f"{own.label}: head = {settings.head!r} means that forward(x) gives {words}, and those of an "
                f"image add up to {totals[0]:.3g}. Give {words}; or set head = 'identity' for logits"
            )
        if own.has("losses"):
            network.losses(f, t)
        for i, gradient in enumerate(network.gradients(x, t, _masks(settings, own, np.float32, count))):
            if not np.isfinite(gradient).all():
                what = f"gradients(x, target)[{i}] has {_not_finite(gradient)} at the trial's start"
                raise ComponentError(f"{own.label}: {what}")
    if own.has("step"):
        network.step([np.zeros_like(p) for p in network.parameters], 0.0)


def _not_finite(array: Array) -> str:
    return "NaN" if np.isnan(array).any() else "inf"


class _Gradients:
    """The gradients of a network at its start, against difference quotients of its loss, in float64."""

    def __init__(self, own: NetworkClass, settings: Settings, seed: int, count: int) -> None:
        self.own, self.settings = own, settings
        self.network = Network(own, settings, seed, np.float64)
        self.x, self.t = _batch(settings, np.float64, count)
        self.masks = _masks(settings, own, np.float64, count)
        self.loss: Callable[[Array, Array], Array] = self.network.losses
        if not own.has("losses"):
            given = {name: settings[name] for name in losses[settings.loss].settings}
            self.loss = functools.partial(formulas.loss_of(settings).forward, **given)

    def _mean_loss(self) -> float:
        return float(self.loss(self.network.forward(self.x), self.t).mean(dtype=np.float64))

    def remarks(self) -> list[str]:
        """Say which gradients are not those of the loss; raise where the output hangs on no parameter."""
        first, gradients = self.network.forward(self.x), self._gradients()
        if not np.array_equal(first, self.network.forward(self.x)):
            return [f"{self.own.label}: forward(x) gives other numbers each time, so no run can be repeated"]
        if not all(map(np.array_equal, gradients, self._gradients())):
            changes = f"{self.own.label}: gradients(x, target) gives other numbers each time"
            return [
                f"{changes}. What it keeps or draws itself is in no checkpoint; draw with settings['seed']"
            ]
        wrong, moved = {}, False
        for i, (p, g) in enumerate(zip(self.network.parameters, gradients, strict=True)):
            random = np.random.default_rng(i).standard_normal(p.shape)
            along = [_unit(random), *([_unit(g)] if np.abs(g).max(initial=0.0) > 0 else [])]
            slopes = [(self._slope(p, d), float((g * d).sum())) for d in along]
            moved = moved or any(abs(slope) > SMALL for slope, _ in slopes)
            if any(abs(a - b) > AGREES[p.itemsize] * max(abs(a), abs(b)) + SMALL for a, b in slopes):
                wrong[i] = slopes[-1]
        if not moved:
            raise ComponentError(
                f"{self.own.label}: forward(x) does not change with the arrays in parameters, so nothing "
                "would be learned. Are they copies of those that forward reads?"
            )
        return [self._remark(wrong, len(gradients))] if wrong else []

    def _gradients(self) -> list[Array]:
        given = self.network.gradients(self.x, self.t, self.masks)
        return [gradient.astype(np.float64) for gradient in given]

    def _slope(self, p: Array, direction: Array) -> float:
        """Differentiate the mean loss along a direction of one parameter."""
        before, eps = p.copy(), STEP[p.itemsize]
        ends = []
        for sign in (1, -1):
            p += (sign * eps * direction).astype(p.dtype)
            ends.append(self._mean_loss())
            p[...] = before
        return (ends[0] - ends[1]) / (2 * eps)

    def _remark(self, wrong: dict[int, tuple[float, float]], count: int) -> str:
        """Put gradients that are not the loss's into words: {place: (slope of the loss, as given)}."""
        i, (slope, given) = next(iter(wrong.items()))
        places = "" if len(wrong) == count else f" of {listed([f'parameters[{k}]' for k in wrong], FEW)}"
        loss = "the class's own losses" if self.own.has("losses") else f"loss = {self.settings.loss!r}"
        sentence = (
            f"{self.own.label}: gradients(x, target){places} are not those of {loss}: along "
            f"parameters[{i}]'s, the mean loss changes by {slope:.4g}, and they say {given:.4g}"
        )
        ratio = given / slope if abs(slope) > SMALL else math.nan
        hints = {
            float(len(self.x)): "those of the batch's sum, not of its mean",
            -1.0: "their sign is turned", 0.5: "a factor of 2 is missing", 2.0: "they are twice as large",
            float(self.t.shape[1]): "they are as many times as large as there are classes",
            1 / self.t.shape[1]: "they are divided by the number of classes",
        }  # fmt: skip
        near = [words for value, words in hints.items() if math.isclose(ratio, value, rel_tol=0.02)]
        return f"{sentence} ({near[0]})" if near else f"{sentence}. harness.check.network compares the whole"


def _unit(direction: Array) -> Array:
    size = float(np.sqrt(np.square(direction, dtype=np.float64).sum()))
    return direction / size if size else direction

"""A stack of modules: K networks of one architecture as one, and their training step.

Parameters of a member are a row of (K, n), so that an optimizer's update is a few calls whatever the depth;
a layer sees its own as (K, ..). Forward and backward are autograd's through the network's stacked form.
Nothing is ever summed over members, so that what happens to one changes no bit of another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.axes.architectures import architectures
from harness.axes.metrics import Metric
from harness.axes.stacked_layers.layers import ChainForm, Pass, Weights
from harness.axes.stacked_layers.normalisation import Pairs, Rule, batch_norms
from harness.check import network_stacking
from harness.data.samples import Data, Samples
from harness.engines.classifier import Classifier
from harness.engines.members import SeedIndex, as_slice
from harness.engines.modules import block
from harness.engines.modules.activations import ModuleActivations
from harness.engines.modules.batch_norm import normalise
from harness.engines.modules.convolution import convolve
from harness.engines.modules.dropout import ModuleMasks
from harness.engines.modules.pooling import pool
from harness.engines.modules.values import MemberValues
from harness.engines.outcome import Evaluation, Floats
from harness.engines.stacked.optimizer import StackOptimizer
from harness.engines.stacked.outputs import Outputs, evaluation
from harness.study.trials import Trial

EVALUATED_AT_ONCE = 2**19
"""Values of a layer in flight, of all members: keeps an evaluation's activations in cache."""


class StackParts:
    """The parts of a stack in which members differ, and its layers of images: `LayerParts`."""

    def __init__(self, trials: Sequence[Trial], masks: ModuleMasks) -> None:
        names = [trial.arm.settings.activation for trial in trials]
        self.activate, self.rectifies = ModuleActivations(names), set(names) == {"relu"}
        self.dropout = masks
        self.convolve = convolve
        self.pool = pool

    def chain(self, x: Tensor, weights: Weights, running: Pairs, form: ChainForm) -> Tensor:
        """Compute a convolution and what is behind it as one."""
        eps = form.rule.eps if form.rule is not None else 0.0
        normalised = form.rule is not None
        like = block.Block(form.stride, form.padding, normalised, eps, form.rectified, form.kind, form.window)
        out, mean, variance = block.compute(x, block.BlockWeights(*weights), like)
        if form.rule is not None:
            _move(running, (mean, variance), form.rule, self._count(x, weights[0], form))
        return out

    @staticmethod
    def _count(x: Tensor, weight: Tensor, form: ChainForm) -> int:
        """Count the values of a channel of a batch."""
        count = x.shape[1]
        for i in range(2):
            count *= (x.shape[3 + i] + 2 * form.padding[i] - weight.shape[3 + i]) // form.stride[i] + 1
        return count

    def batch_norm(self, x: Tensor, affine: Pairs, running: Pairs, rule: Rule) -> Tensor:
        """Normalise images by the kernels in training; else, and what is no image, all members as one."""
        weight, bias = affine
        if not rule.by_batch or x.dim() != 5 or weight is None or bias is None:
            return batch_norms(x, affine, running, rule)
        normal, mean, variance = normalise(x, weight, bias, rule.eps)
        _move(running, (mean, variance), rule, x[0, :, 0].numel())
        return normal


def _move(running: Pairs, found: tuple[Tensor, Tensor], rule: Rule, count: int) -> None:
    """Move running statistics to those found in `count` values, whose variance is the biased one."""
    for kept, value, share in zip(running, found, (1, count / max(1, count - 1)), strict=True):
        if kept is not None:
            kept.mul_(1 - rule.factor).add_(value.detach(), alpha=rule.factor * share)


class ModuleStack:
    """K networks of one architecture, their values and one training step."""

    def __init__(
        self, trials: Sequence[Trial], data: Data, optimizers: Sequence[StackOptimizer],
        device: torch.device, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self.trials, self.optimizers, self.classes = trials, optimizers, len(data.classes)
        self.device, self.dtype = device, dtype
        self.seeds = SeedIndex.of(trial.step_seed for trial in trials)
        nets = [Classifier(trial, data.shape, self.classes).net for trial in trials]
        self.values = MemberValues(nets, device, dtype)
        self.shape = data.shape if architectures[trials[0].arm.settings.architecture].takes_images else None
        masks = ModuleMasks(nets, [trial.step_seed for trial in trials], self.values.flat)
        self.parts = StackParts(trials, masks)
        self.outputs = Outputs(trials, self.classes, device, dtype)
        settings = trials[0].arm.settings
        template = network_stacking.template(settings, data.shape).to(device, dtype)
        stacking = network_stacking.how(settings)
        shared = len(self.seeds.seeds) == 1
        form = network_stacking.form_of(stacking.form)
        self.training = form(template, training=True, shared=shared)
        self.inference = form(template, training=False, shared=True)
        self.widest = stacking.sizes.widest

    @property
    def parameters(self) -> int:
        """Count the trainable parameters of a member."""
        return self.values.flat.shape[1]

    def _pass(self, *, training: bool) -> Pass:
        return Pass(len(self.trials), self.values.by_name, self.parts, training)

    def images(self, rows: Tensor) -> Tensor:
        """Return pixels (.., D) as the network sees them: (.., C, H, W), unless it takes rows."""
        return rows if self.shape is None else rows.view(*rows.shape[:-1], *self.shape)

    def step(self, t: int, x: Tensor, target: Tensor) -> Tensor:
        """Train on pixels (B, D) and a target (B, C), or (K, B, D) and (K, B, C); return mean losses (K,)."""
        self.parts.dropout.begin(t)
        with torch.enable_grad():
            logits = self.training(self._pass(training=True), self.images(x))
        loss, grad = self.outputs.loss_and_gradient(logits.detach().mT, target)
        gradient = self.values.gradient(logits, grad.mT)
        for optimizer in self.optimizers:
            rows = as_slice(optimizer.members)
            optimizer.apply(t, [self.values.flat[rows]], [gradient[rows]])
        return loss

    def evaluate(self, samples: Samples, metrics: Sequence[Metric] = (), *, keep: bool) -> Evaluation:
        """Compute losses, accuracies, metrics and (with `keep`) predictions on a split."""
        chunk = max(64, EVALUATED_AT_ONCE // (self.widest * len(self.trials)))
        x, y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
        sums = []
        for rows, labels in zip(x.split(chunk), y.split(chunk), strict=True):
            logits = self.inference(self._pass(training=False), self.images(rows.to(self.device)))
            sums.append(self.outputs.evaluate(logits.mT, labels.to(self.device), metrics, keep=keep))
        return evaluation(sums, len(samples.y), metrics)

    def weights(self) -> list[dict[str, Floats]]:
        """Return each member's values, buffers among them, under its network's own names."""
        return self.values.of_members()

"""The own engine trains a person's own NumPy network as the numpy engine trains the harness's.

Start, batches, learning rates, evaluations, divergence and checkpoints are the harness's, and so are the loss
that is measured and the optimizer, unless the class has its own: see harness/axes/own_networks.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike

from harness.axes import formulas, own_networks
from harness.axes.formulas import Array
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.own_networks import Network, NetworkClass
from harness.data.samples import Data
from harness.engines import driver
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions, uniforms
from harness.engines.numpy_engine import NumpyNetwork, NumpyOptimizer, NumpyTraining, Stepping
from harness.engines.outcome import Floats, Outcome
from harness.engines.states import NEVER, State, join_alone, select_alone
from harness.study.trials import Trial

IMAGES = 100  # on which a network is compared with what its trial's settings say


class OwnTrainable:
    """A trial's network of a person's own, as a training needs one (`numpy_engine.Trainable`)."""

    def __init__(self, own: NetworkClass, trial: Trial, dtype: DTypeLike) -> None:
        settings = trial.arm.settings
        self.network = Network(own, settings, trial.start_seed, dtype)
        self.kind = heads[settings.head].kind
        self.widths = settings.hidden if own.takes_masks and settings.dropout else []
        self.dropout, self.seed, self.dtype = settings.dropout, trial.step_seed, dtype
        self.loss = self.network.losses
        if not own.has("losses"):
            given = {name: settings[name] for name in losses[settings.loss].settings}
            formula = formulas.loss_of(settings)
            self.loss = lambda f, t: formula.forward(f, t, **given)

    @property
    def parameters(self) -> list[Array]:
        """Return the arrays that are trained."""
        return self.network.parameters

    def named(self) -> dict[str, Array]:
        """Return the parameters by name: torch.nn.Linear's, where they have the shapes of the start."""
        names = [f"{i}.{kind}" for i in range(len(self.network.start)) for kind in ("weight", "bias")]
        if not self._has_its_shapes():
            names = [f"parameter.{i}" for i in range(len(self.parameters))]
        return dict(zip(names, self.parameters, strict=True))

    def _has_its_shapes(self) -> bool:
        """Tell whether the parameters are as many, and as large, as the weights and biases of the start."""
        shapes = [array.shape for layer in self.network.start for array in layer]
        return [array.shape for array in self.parameters] == shapes

    def is_as_set(self, trial: Trial, x: Array) -> bool:
        """Tell whether it computes of images x (B, D) what the trial's settings say of its parameters."""
        settings = trial.arm.settings
        if not settings.plain_mlp or formulas.missing(settings) or not self._has_its_shapes():
            return False
        by_formula = NumpyNetwork(trial, x.shape[1], self.network.classes, self.dtype)
        for array, own in zip(by_formula.parameters, self.parameters, strict=True):
            array[:] = own
        return np.allclose(by_formula.output(x), self.output(x), 1e-3, 1e-4)

    def output(self, x: Array) -> Array:
        """Compute the output (B, C) for a batch x (B, D)."""
        return self.network.forward(x)

    def losses(self, f: Array, t: Array) -> Array:
        """Compute the loss of each sample (B,)."""
        return self.loss(f, t)

    def loss_and_gradients(self, step: int, x: Array, t: Array) -> tuple[float, list[Array]]:
        """Compute a step's mean loss, before its update, and the gradients."""
        masks = [
            formulas.dropout_mask(uniforms(self.seed, i, step, n, len(x)).T, self.dropout, self.dtype)
            for i, n in enumerate(self.widths)
        ]
        loss = float(self.losses(self.output(x), t).mean())
        return loss, self.network.gradients(x, t, masks)


class OwnTraining(NumpyTraining):
    """A trial in training, whose network is a person's own."""

    network: OwnTrainable

    def weights(self) -> list[dict[str, Floats]]:
        """Return the parameters where the trial's settings say what is computed of them; else nothing.

        Whoever reads weights makes the network that the settings describe.
        """
        x = self.data.train.x[:IMAGES]
        return super().weights() if self.network.is_as_set(self.trial, x) else [{}]


class OwnOptimizer:
    """A person's own steps: the class's `step(gradients, lr)`. Nothing is known of what it keeps."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def step(self, k: int, lr: float, gradients: Sequence[Array]) -> None:  # noqa: ARG002 (as Stepping)
        """Take a step with learning rate lr."""
        self.network.step(gradients, lr)

    def state_dict(self) -> dict[str, Array]:
        """Return nothing: no checkpoint is written of such a trial."""
        return {}

    def load_state_dict(self, values: Mapping[str, Array]) -> None:
        """Restore nothing."""


@dataclass(frozen=True)
class OwnEngine:
    """The engine of one class of networks (`base.Engine`)."""

    name: str

    def train(
        self, trials: Sequence[Trial], data: Data, device: str = "cpu",  # noqa: ARG002 (as base.Engine)
        dtype: DTypeLike = np.float32, options: EngineOptions = DEFAULT_OPTIONS,
    ) -> Outcome:  # fmt: skip
        """Train one trial; the arguments are those of `base.Engine.train`."""
        (trial,) = trials
        own = own_networks.find(self.name)
        with np.errstate(all="ignore"):
            network = OwnTrainable(own, trial, dtype)
            optimizer: Stepping = NumpyOptimizer(trial, network.parameters)
            if own.has("step"):
                optimizer = OwnOptimizer(network.network)
                options = replace(options, checkpoints=NEVER, keep_state=False)
            return driver.run(OwnTraining(trial, data, network, optimizer, options.metrics), options)

    def select(self, state: State, trials: Sequence[Trial], keep: Sequence[int]) -> State:
        """Return the state of the only trial."""
        return select_alone(state, trials, keep)

    def join(
        self, states: Sequence[State], trials: Sequence[Sequence[Trial]], order: Sequence[int] = ()
    ) -> State:
        """Return the state of the only trial."""
        return join_alone(states, trials, order)

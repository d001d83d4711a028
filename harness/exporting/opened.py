"""A checkpoint, opened: the state of each of its trials as ordinary state_dicts of PyTorch.

    checkpoint = harness.open_checkpoint("results/lr/checkpoints/g0abdafc4aa7a-t975bb719db6f.safetensors")
    state = checkpoint["t975bb719db6f"]
    model.load_state_dict(state.model)
    optimizer.load_state_dict(state.optimizer)

Whatever engine wrote it, models are those of `harness.engines.classifier.Classifier`, and optimizers those of
torch.optim, where it has them.
"""

from __future__ import annotations

import html
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from harness.axes.optimizers import optimizers
from harness.data.batches import Budget
from harness.data.datasets import Dataset, datasets
from harness.data.samples import shape_of, train_size
from harness.engines import engine
from harness.engines.base import learning_rates, steps_before
from harness.engines.classifier import Classifier, load_weights, shapes_in_words
from harness.engines.loop import UpdateOptimizer, make_optimizer
from harness.engines.outcome import observed
from harness.engines.regularisation import SeededDropout
from harness.engines.states import State
from harness.errors import UsageError, did_you_mean
from harness.exporting.engine_states import READERS, Arrays
from harness.results import Results, TrainedTrial, checkpoints, kept_states
from harness.results.checkpoints import CheckpointHeader, DamagedError
from harness.results.trained import trained
from harness.settings import Value
from harness.settings.schema import EPOCHS
from harness.study.starts import OF_A_START
from harness.study.trials import Trial

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LambdaLR

TORCH_NAMES = {
    "SGD": {"velocity": "momentum_buffer"},
    "Adam": {"mean": "exp_avg", "square": "exp_avg_sq", "largest": "max_exp_avg_sq"},
    "AdamW": {"mean": "exp_avg", "square": "exp_avg_sq", "largest": "max_exp_avg_sq"},
    "RMSprop": {"square": "square_avg", "velocity": "momentum_buffer", "mean": "grad_avg"},
    "Adagrad": {"total": "sum"},
}
"""Names of optimizers' states in torch.optim, by its class and the harness's own name."""
COUNTED = ("Adam", "AdamW", "RMSprop", "Adagrad")
"""Classes of torch.optim that keep the number of steps, for each parameter."""


@dataclass(frozen=True)
class TrialState:
    """The state of one trial in training.

    Attributes:
        trial_id: its id.
        step: the steps that it has taken.
        epoch: the epochs that they make up.
        settings: its settings, by name; `harness.model(**settings, seed=seed)` makes its network.
        seed: its seed.
        model: the state_dict of its network, as `harness.model` makes it.
        optimizer: the state_dict of its optimizer, as `harness.optimizer` makes it; its learning rate is the
            next step's.
        scheduler: the state_dict of its schedule, as `harness.scheduler` makes it.
        curve: loss and accuracy so far: columns epoch, step, split, loss, accuracy, and tracked metrics.
    """

    trial_id: str
    step: int
    epoch: float
    settings: dict[str, Value] = field(repr=False)
    seed: int
    model: OrderedDict[str, Tensor] = field(repr=False)
    optimizer: dict[str, Any] = field(repr=False)
    scheduler: dict[str, Any] = field(repr=False)
    curve: pd.DataFrame = field(repr=False)

    def load_into(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: LambdaLR | None = None,
    ) -> None:
        """Load the state into a network, an optimizer and a schedule, as harness.model and so on make them.

        Beyond their `load_state_dict` it sets the step of dropout, whose next draws belong to the next step.

        Raises:
            UsageError: the network or optimizer is another one than the trial's; nothing is loaded.
        """
        if not isinstance(model, nn.Module):
            raise UsageError(f"got {type(model).__name__}; allowed: a torch.nn.Module, and its optimizer")
        there, here = ({n: tuple(v.shape) for n, v in s.items()} for s in (model.state_dict(), self.model))
        if there != here:
            raise UsageError(
                f"the network is not that of trial {self.trial_id}: it has {shapes_in_words(there)}; "
                f"the state has {shapes_in_words(here)}. harness.model(**state.settings) makes one that fits"
            )
        if optimizer is not None:
            own, kept = (set(s["param_groups"][0]) for s in (optimizer.state_dict(), self.optimizer))
            if own - {"initial_lr"} != kept:  # a scheduler adds that one
                raise UsageError(
                    f"the optimizer, {type(optimizer).__name__}, is not that of trial {self.trial_id}: "
                    f"{self.settings['optimizer']}. harness.optimizer(model, **state.settings) makes one"
                )
        model.load_state_dict(self.model)
        for module in model.modules():
            if isinstance(module, SeededDropout):
                module.step = self.step + 1
        if optimizer is not None:
            optimizer.load_state_dict(self.optimizer)
        if scheduler is not None:
            scheduler.load_state_dict(self.scheduler)


class Checkpoint(Mapping[str, TrialState]):
    """A checkpoint or kept state: the state of each of its trials, by trial_id.

    Where it holds one trial, `model`, `optimizer`, `step` and so on are that one's.
    """

    def __init__(self, path: Path, header: CheckpointHeader, state: State, trained_by: str) -> None:
        self.path, self._header, self._state, self._engine = path, header, state, trained_by
        self._datasets: dict[str, Dataset] = {}

    @property
    def trials(self) -> list[str]:
        """The ids of its trials."""
        return list(self._header.trials)

    def __getitem__(self, trial_id: str) -> TrialState:
        if trial_id not in self._header.trials:
            raise UsageError(f"{self.path} has no trial {trial_id!r}; {did_you_mean(trial_id, self.trials)}")
        return self.only(trial_id)._opened()

    def __iter__(self) -> Iterator[str]:
        return iter(self._header.trials)

    def __len__(self) -> int:
        return len(self._header.trials)

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, step {self._state.step}, trials {', '.join(self.trials)})"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"

    @property
    def _one(self) -> TrialState:
        if len(self) > 1:
            raise UsageError(
                f"{self.path} holds {len(self)} trials that train together; choose one: "
                f"checkpoint[{self.trials[0]!r}]. Their ids are checkpoint.trials"
            )
        return self[self.trials[0]]

    @property
    def model(self) -> OrderedDict[str, Tensor]:
        """The state_dict of the only trial's network."""
        return self._one.model

    @property
    def optimizer(self) -> dict[str, Any]:
        """The state_dict of the only trial's optimizer."""
        return self._one.optimizer

    @property
    def scheduler(self) -> dict[str, Any]:
        """The state_dict of the only trial's schedule."""
        return self._one.scheduler

    @property
    def settings(self) -> dict[str, Value]:
        """The settings of the only trial."""
        return self._one.settings

    @property
    def curve(self) -> pd.DataFrame:
        """The learning curve of the only trial so far."""
        return self._one.curve

    @property
    def step(self) -> int:
        """The steps that all of its trials have taken."""
        return self._state.step

    @property
    def epoch(self) -> float:
        """The epochs that these steps make up."""
        settings = self._trials()[0].arm.settings
        return Budget.of(settings, train_size(settings)).epoch_of(self.step)

    def only(self, trial_id: str) -> Checkpoint:
        """Give the state of one of its trials as a checkpoint of its own; KeyError if it has no such one."""
        if trial_id not in self.trials:
            raise KeyError(trial_id)
        k, trials, state = self.trials.index(trial_id), self._trials(), self._state
        if len(trials) > 1:
            state = engine(self._engine).select(state, trials, [k])
        header = replace(self._header, trials=[trial_id], members=[self._header.members[k]])
        alone = Checkpoint(self.path, header, state, self._engine)
        alone._datasets = self._datasets
        return alone

    def load_into(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: LambdaLR | None = None,
    ) -> None:
        """Load the state of the only trial, as `TrialState.load_into`."""
        self._one.load_into(model, optimizer, scheduler)

    def _trials(self) -> list[Trial]:
        return self._header.made_of(self._datasets)

    def _opened(self) -> TrialState:
        """Open the state of the only trial."""
        (trial,), state = self._trials(), self._state
        settings = trial.arm.settings
        model = Classifier(trial, shape_of(settings), len(settings.facts.classes)).float()
        network, slots = READERS[self._engine](state, trial)
        named = {name.removeprefix("net."): torch.from_numpy(array) for name, array in network.items()}
        if self._engine == "loop" or set(named) == set(model.net.state_dict()):
            model.net.load_state_dict(named)
        else:
            load_weights(model, network)
        budget = Budget.of(settings, train_size(settings))
        rates = learning_rates([trial], budget)[:, 0]
        rate = float(rates[min(state.step, len(rates) - 1)])
        counted = state.step - steps_before(trial)
        return TrialState(
            trial.trial_id,
            state.step,
            budget.epoch_of(state.step),
            {name: value for name, value in settings.items() if name not in OF_A_START},
            trial.seed,
            model.state_dict(),
            _optimizer(trial, model, slots, counted, rate),
            _schedule(settings.lr, rate, state.step - budget.first),
            _curve(state),
        )


@overload
def open_checkpoint(given: str | Path) -> Checkpoint: ...


@overload
def open_checkpoint(given: TrainedTrial | Results) -> TrialState: ...


def open_checkpoint(given: str | Path | TrainedTrial | Results) -> Checkpoint | TrialState:
    """Open a checkpoint or a kept state as ordinary state_dicts of model and optimizer.

    Args:
        given: a file in checkpoints/ or states/ of a results folder; or a trained trial
            (`results.trial()`) of a study with keep_state = "all"; or results or their folder, of which the
            best trial by val is meant.

    Returns:
        Of a file, its trials by id: `checkpoint["t97.."].model`. Of a trained trial, its state: `.model`,
        `.optimizer`, `.scheduler`, `.step`, `.epoch`, `.settings`, `.curve`.

    Raises:
        UsageError: it is no such file, is damaged, or the trial's state was not kept.

    Example:
        >>> harness.open_checkpoint(results.trial()).optimizer  # doctest: +SKIP
    """
    if not isinstance(given, str | Path):
        chosen = trained(given)
        return _kept(chosen)[chosen.trial_id]
    path = Path(given)
    if path.is_dir():
        return _kept(trained(path))
    if not path.is_file():
        raise UsageError(
            f"there is no file {path}; checkpoints are in results/<study>/checkpoints/ while a stack trains, "
            'and states in results/<study>/states/ of a study with keep_state = "all"'
        )
    try:
        origin, header, state = checkpoints.opened(path)
    except DamagedError as error:
        raise UsageError(
            f"{path} is no checkpoint of this version, or it is damaged: {error}. Allowed: a .safetensors "
            "file of checkpoints/ or states/ in a results folder"
        ) from error
    if origin.engine not in READERS:
        raise UsageError(
            f"{path} is of the engine {origin.engine!r}; those of {', '.join(READERS)} can be opened"
        )
    if not header.members:
        raise UsageError(f"{path} was written by a version that kept no settings in it: train its stack anew")
    checkpoint = Checkpoint(path, header, state, origin.engine)
    checkpoint._datasets = _declared(path, header)
    return checkpoint


def _kept(given: TrainedTrial) -> Checkpoint:
    """Open the kept state of a trained trial alone."""
    results, trial_id = given.results, given.trial_id
    for state in kept_states.listed(results.folder):
        if trial_id in state.trials:
            return open_checkpoint(state.path).only(trial_id)
    raise UsageError(
        f'the state of trial {trial_id} was not kept: set keep_state = "all" under [study] and train into a '
        "new folder. Its network alone is harness.module_of(trial)"
    )


def _declared(path: Path, header: CheckpointHeader) -> dict[str, Dataset]:
    """Give the data sets that the study of a checkpoint's folder declares, where they are not registered."""
    names = {member["settings"]["dataset"] for member in header.members}
    if all(name in datasets for name in names):
        return {}
    from harness.results import read
    from harness.results.trained_on import study_dataset

    results = read(path.parent.parent)
    found = {name: study_dataset(results, name) for name in names}
    return {name: dataset for name, dataset in found.items() if dataset is not None}


def _optimizer(
    trial: Trial, model: Classifier, slots: Sequence[Arrays], counted: int, rate: float
) -> dict[str, Any]:
    """Make the state_dict of a trial's optimizer from the states of its parameters."""
    made = make_optimizer(trial, model)
    described = made.state_dict()
    in_torch = not isinstance(made, UpdateOptimizer)
    for group in described["param_groups"]:
        group["lr"] = rate
        if not in_torch:
            group["t"] = counted
    own = (optimizers[trial.arm.settings.optimizer].torch_class or "") if in_torch else ""
    names = TORCH_NAMES.get(own, {})
    for i, values in enumerate(slots):
        named = {names.get(name, name): _tensor(value) for name, value in values.items()}
        if own in COUNTED and "step" not in named:
            named["step"] = torch.tensor(float(counted))
        if named:
            described["state"][i] = named
    return described


def _schedule(base: float, rate: float, step: int) -> dict[str, Any]:
    """Make the state_dict of a LambdaLR of one group after its own first steps."""
    return {
        "base_lrs": [base], "last_epoch": step, "_step_count": step + 1, "_last_lr": [rate],
        "lr_lambdas": [None],
    }  # fmt: skip


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def _curve(state: State) -> pd.DataFrame:
    """Tabulate the learning curve of a state of one trial; a start has none."""
    curve, measured = state.under("curve."), state.under("metrics.")
    if not observed(state):
        return pd.DataFrame(columns=EPOCHS[1:])
    columns = {name: curve[name] for name in ("epoch", "step", "split")}
    per_trial = {"loss": curve["loss"], "accuracy": curve["accuracy"], **measured}
    return pd.DataFrame(columns | {name: values[:, 0] for name, values in per_trial.items()})

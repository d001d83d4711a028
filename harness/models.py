"""A trained trial as an ordinary PyTorch module: chosen, rebuilt, exported, loaded.

    model = harness.load_model("exported/t0123456789ab")     # a torch.nn.Module in inference mode

Weights come from the results folder where they were kept, else from training the trial's stack once more,
which gives the same bits on the same machine. Nothing here loads a pickle.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import safetensors.numpy
from numpy.typing import NDArray

from harness import files, notes, plugins, results, selection, weights
from harness.arm_settings import Settings
from harness.axes.datasets import datasets
from harness.data import Split, prepare
from harness.engines.outcome import EVALUATION_BATCH
from harness.errors import MachineError, UsageError
from harness.plan import make
from harness.results import Results
from harness.stacks import Stack
from harness.study import load as load_study
from harness.tasks import quiet_arithmetic, undisturbed
from harness.trained_on import study_dataset
from harness.trials import Arm, Trial, is_still

if TYPE_CHECKING:
    import torch

    from harness.engines.loop import Classifier
    from harness.engines.outcome import Floats

FORMAT = 1
"""The version of an exported folder."""
ROUNDING = 0.001  # of the test images: what another order of sums may flip


@dataclass(frozen=True)
class Model:
    """A trained network with all that it takes to use it.

    Args:
        row: the trial's row of trials.csv.
        trial: who it is: settings and seed.
        classifier: its module, in inference mode: pixels (B, D) -> the head's output (B, C).
        kept: whether its weights were kept; if not, its stack was trained again.
    """

    row: pd.Series[Any]
    trial: Trial
    classifier: Classifier
    kept: bool


def choose(found: Results, trial: str | None, where: str | None = None) -> pd.Series[Any]:
    """The trial that is meant by its id, or by "best": the best by val accuracy of those that meet `where`.

    Raises:
        UsageError: no finished trial is meant, or several are.
    """
    if trial != "best":
        return selection.choose(found, trial, where)
    rows = selection.best(found, where)
    if len(rows) > 1:
        names = " or ".join(f"--where dataset={name}" for name in rows["dataset"])
        raise UsageError(f"{found.folder}: each data set has a best trial of its own; say {names}")
    return rows.iloc[0]


# ----------------------------------------------------------------------------------------------- rebuilding


def restore(found: Results, row: pd.Series[Any]) -> Model:
    """Rebuild a finished trial's network with its final weights.

    Raises:
        UsageError: the folder's study does not mean this trial any more, or its data or plugins have changed.
        MachineError: the weights cannot be read.
    """
    path = weights.file_of(found, str(row["trial_id"]))
    kept = path.is_file()
    trial = _vouched_for(found, path, row) if kept else None
    if trial is None:
        stack, trial = _planned(found, str(row["trial_id"]))
        if not kept:
            return Model(row, trial, rebuild(trial, _trained_again(stack, trial, row)), kept=False)
    named = weights.kept(found, trial.trial_id, str(row["group"]))
    try:
        return Model(row, trial, rebuild(trial, named), kept)
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise MachineError(
            f"the weights {path} are not those of the trial's network ({error}). {weights.REMOVE}"
        ) from error


def rebuild(trial: Trial, named: Mapping[str, Floats]) -> Classifier:
    """A trial's module with these weights, in inference mode."""
    from harness.engines.loop import Classifier, load_weights

    facts = trial.arm.settings.facts
    model = Classifier(trial, int(np.prod(facts.shape)), len(facts.classes)).float()
    load_weights(model, named)
    return model.eval()


def _vouched_for(found: Results, path: Path, row: pd.Series[Any]) -> Trial | None:
    """Give the trial that a file of weights is of, if its id says so, too, and all of it is known here.

    Then the folder's study is not needed, nor a plugin that the study names for other trials.
    """
    try:
        read = weights.read(path, study_dataset(found, str(row["dataset"]))).trial
        trial = replace(read, arm=replace(read.arm, name=str(row["arm"])))
        same = trial.trial_id == row["trial_id"] and is_still(trial, plugins.sources())
    except (UsageError, MachineError, KeyError, TypeError):
        return None  # of a component or data set that the study may declare, or damaged, which is told later
    return trial if same else None


def _planned(found: Results, trial_id: str) -> tuple[Stack, Trial]:
    """The stack and the trial that a folder's plan calls by this id."""
    study = load_study(found.folder / "study.toml")
    digests = {name: study.dataset(name).facts.digest for name in found.trials["dataset"].unique()}
    known = results.check_same(found.folder, study, digests)
    for stack in make(study, known=results.stacks_of(known)).stacks:
        for trial in stack.trials:
            if trial.trial_id == trial_id:
                return stack, trial
    raise UsageError(
        f"trial {trial_id} is not what the study in {found.folder} means today: a plugin's source or the "
        "version of the harness has changed since it was trained. Use the version it was trained with."
    )


def _trained_again(stack: Stack, trial: Trial, row: pd.Series[Any]) -> Mapping[str, Floats]:
    notes.tell(
        f"the weights of {trial.trial_id} were not kept; training its stack of {len(stack.trials)} again ..."
    )
    engine = importlib.import_module(f"harness.engines.{stack.engine}")
    data = prepare(trial.arm.settings)
    with quiet_arithmetic(stack.engine), undisturbed():
        outcome = engine.train(stack.trials, data)
    k = stack.trials.index(trial)
    if outcome.diverged_step[k]:
        raise MachineError(
            f"trial {trial.trial_id} diverged this time: this machine or version rounds otherwise"
        )
    again = float(outcome.final["test"].accuracy[k])
    if round(abs(again - row["test_accuracy"]), 7) > 0:
        other = (
            "its stack is another one now" if stack.group != row["group"] else "another machine or version"
        )
        notes.warn(
            f"test accuracy {again:.4f} this time, {row['test_accuracy']:.4f} in trials.csv: {other}, "
            "which rounds differently"
        )
    named: Mapping[str, Floats] = outcome.weights[k]
    return named


# --------------------------------------------------------------------------------------------------- using


def probabilities(found: Results, row: pd.Series[Any], split: Split = "test") -> NDArray[np.floating[Any]]:
    """The class probabilities (n, C) that a trial gives the samples of a split, in the split's order.

    Softmax of logits, exp of log-probabilities, scores divided by their sum; rows add to one.
    """
    model = restore(found, row)
    return np.concatenate(list(_probabilities(model, split)))


def _probabilities(model: Model, split: Split) -> Iterator[NDArray[np.floating[Any]]]:
    from harness.engines.outputs import probabilities

    for output in _outputs(model.classifier, model.trial.arm.settings, split):
        yield probabilities(model.classifier.output, output).numpy()


def _outputs(classifier: Classifier, settings: Settings, split: Split) -> Iterator[torch.Tensor]:
    """The module's outputs (B, C) on a split, in its order."""
    import torch

    with torch.no_grad():
        for x in torch.from_numpy(prepare(settings)[split].x).split(EVALUATION_BATCH):
            yield classifier(x)


def right(classifier: Classifier, settings: Settings, split: Split = "test") -> int:
    """How many samples of a split a module gets right."""
    import torch

    predicted = torch.cat([output.argmax(1) for output in _outputs(classifier, settings, split)])
    return int((predicted.numpy() == prepare(settings)[split].y).sum())


# ----------------------------------------------------------------------------------------------- exporting


@dataclass(frozen=True)
class Exported:
    """An exported folder, and how many of the test images its network gets right; trials.csv has `stored`."""

    folder: Path
    right: int
    stored: int
    images: int


def export(found: Results, row: pd.Series[Any], out: Path) -> Exported:
    """Write a finished trial into a new folder that PyTorch can read without the harness, and check it.

    model.safetensors and model.pt hold the network's state_dict under torch.nn.Sequential's names (model.pt
    for `torch.load(weights_only=True)`), trial.json the settings to rebuild it and what it reached. The
    folder is there whole or not at all, and only once the network loaded from it was seen to be the trial's.

    Raises:
        UsageError: the trial cannot be rebuilt, or the folder is there and is not empty.
        MachineError: the folder cannot be written, or the kept weights are not those of the trial.
    """
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out} is there already; name a new or empty folder with --out")
    if math.isnan(float(row["test_accuracy"])):
        raise UsageError(
            f"trial {row['trial_id']} was trained to tune by, and its test set is closed. The tuned arms are "
            f"in {found.folder.parent / 'tuned'}: export one of those"
        )
    model = restore(found, row)
    state = model.classifier.net.state_dict()
    about = _about(found, model)
    arrays = {name: value.numpy() for name, value in state.items()}
    strings = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    draft = out.with_name(f".tmp-{out.name}")
    try:
        shutil.rmtree(draft, ignore_errors=True)  # an earlier one's, killed
        results.write(draft / "model.safetensors", files.steady(safetensors.numpy.save(arrays, strings)))
        results.write(draft / "model.pt", _saved(state))
        results.write(draft / "trial.json", json.dumps(about, indent=1).encode())
        exported = _checked(draft, out, model)
        draft.replace(out)
    except OSError as error:
        raise MachineError(
            f"{out} cannot be written: {error.strerror or error}; name another --out"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return exported


def _checked(draft: Path, out: Path, model: Model) -> Exported:
    """Load what was written, and hold it against trials.csv."""
    settings, test_accuracy = model.trial.arm.settings, float(model.row["test_accuracy"])
    images = settings.facts.test
    got = right(load_model(draft), settings)  # this process knows its components
    exported = Exported(out, got, round(test_accuracy * images), images)
    if model.kept and abs(exported.right - exported.stored) > ROUNDING * images:
        raise MachineError(
            f"the kept weights of trial {model.trial.trial_id} get {exported.right:,} of {images:,} test "
            f"images right, and trials.csv has {exported.stored:,}: they are damaged, or not its own. Remove "
            f"weights/{model.trial.trial_id}.safetensors; then the trial is trained again"
        )
    return exported


def _saved(state: Mapping[str, torch.Tensor]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def _about(found: Results, model: Model) -> dict[str, Any]:
    """What trial.json says."""
    facts = model.trial.arm.settings.facts
    reached = ("parameters", "train_accuracy", "val_accuracy", "test_accuracy")
    return {
        "format": FORMAT,
        "trial_id": model.trial.trial_id,
        "study": str(found.study.get("study", {}).get("name", "")),
        "arm": model.trial.arm.name,
        "seed": model.trial.seed,
        "settings": dict(model.trial.arm.settings),
        "plugins": [str((found.folder / file).resolve()) for file in found.study["study"]["plugins"]],
        "image": list(facts.shape),
        "classes": list(facts.classes),
        "data": facts.digest,
        "network": str(model.classifier),
        **{name: _number(model.row[name]) for name in reached},
    }


def _number(value: Any) -> float | int | None:
    if pd.isna(value):
        return None
    return int(value) if float(value).is_integer() and value > 1 else float(value)


def load_model(folder: Path | str, plugin_files: Sequence[Path | str] = ()) -> Classifier:
    """Load what `harness export` wrote: a torch.nn.Module in inference mode, pixels (B, D) -> output (B, C).

    Args:
        folder: the exported folder.
        plugin_files: the files that define components of your own that the network uses; they are run.

    Raises:
        UsageError: it is no exported folder, of another version, or needs a component that is not known.
        MachineError: the weights cannot be read.
    """
    folder = Path(folder)
    if not (folder / "trial.json").is_file():
        raise UsageError(f"{folder} is no exported trial: it has no trial.json. `harness export` writes one.")
    about = _json(folder / "trial.json")
    if about.get("format") != FORMAT:
        raise UsageError(
            f"{folder} was exported in format {about.get('format')!r}; this version reads {FORMAT}. "
            "Export the trial again."
        )
    plugins.load_installed()
    for file in plugin_files:
        plugins.load_file(Path(file))
    arrays, _ = weights.arrays(folder / "model.safetensors")
    try:
        return _rebuilt(about, arrays)
    except UsageError as error:
        listed = about.get("plugins") or ["a package that is not installed here, or a notebook"]
        sources = ", ".join(map(str, listed))
        raise UsageError(f"{error}. It was defined in {sources}: name it in plugin_files") from error
    except (*files.DAMAGE, AttributeError, IndexError) as error:
        raise UsageError(
            f"{folder} does not hold one whole export ({error}). Export the trial again."
        ) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return files.json_table(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}. Export the trial again.") from error


def _rebuilt(about: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Classifier:
    import torch

    from harness.engines.loop import Classifier

    trial = Trial(about["trial_id"], Arm(about["arm"], Settings(about["settings"])), about["seed"])
    if trial.arm.settings.dataset in datasets and not is_still(trial, plugins.sources()):
        warnings.warn(
            f"{trial.trial_id} is not what it was when it was trained: a component's source, the data or the "
            "version of the harness has changed since, so that its outputs may differ",
            stacklevel=3,
        )
    model = Classifier(trial, int(np.prod(about["image"])), len(about["classes"])).float()
    model.net.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model.eval()

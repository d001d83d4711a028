"""A trained trial as an ordinary PyTorch module: rebuilt, exported, loaded.

    model = harness.load_model("exported/t0123456789ab")     # a torch.nn.Module in inference mode

Weights come from the results folder if they were kept; if not, the trial's stack is trained again, which
gives the same bits on the same machine. Nothing here loads a pickle.
"""

from __future__ import annotations

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

from harness import notes
from harness.axes import plugins
from harness.axes.own_networks import is_own
from harness.data.arm_settings import Settings
from harness.data.datasets import datasets
from harness.data.images import channels_first
from harness.data.samples import Split, prepare, shape_of
from harness.engines import arithmetic, engine
from harness.engines.outcome import EVALUATION_BATCH
from harness.errors import MachineError, UsageError
from harness.planning.plan import make
from harness.planning.stack import Stack
from harness.results import Results, TrainedTrial, documents, folder_with, read, trained, weights
from harness.study.trials import Arm, Trial, is_still
from harness.system import files
from harness.training.tasks import quiet_arithmetic, undisturbed

if TYPE_CHECKING:
    import torch

    from harness.engines.classifier import Classifier
    from harness.engines.outcome import Floats

FORMAT = 1
"""Version of an exported folder."""
FILES = ("model.safetensors", "model.pt", "model.py", "trial.json")
"""Files of an exported folder."""
ROUNDING = 0.001
"""Share of the test images whose predictions another order of sums may flip."""


@dataclass(frozen=True)
class Model:
    """A trained network, ready to use.

    Attributes:
        row: the trial's row of trials.csv.
        trial: its settings and seed.
        classifier: its module, in inference mode: pixels (B, D) -> the head's output (B, C).
        kept: whether its weights were kept; if not, its stack was trained again.
    """

    row: pd.Series[Any]
    trial: Trial
    classifier: Classifier
    kept: bool


def restore(results: Results, row: pd.Series[Any]) -> Model:
    """Rebuild a finished trial's network with its final weights.

    Raises:
        UsageError: the folder's study does not contain this trial any more, or its data or plugins changed.
        MachineError: the weights cannot be read.
    """
    path = weights.file_of(results, str(row["trial_id"]))
    kept = path.is_file()
    trial = trained.vouched_for(results, path, row) if kept else None
    if not kept and is_own(str(row["engine"])):
        raise UsageError(
            f"trial {row['trial_id']} was trained by a person's own network ({row['engine']}), and no "
            "weights of it are here. They are kept with keep_weights = 'all' in [study], where the network "
            "computes what the trial's settings say"
        )
    if trial is None:
        stack, trial = _planned(results, str(row["trial_id"]))
        if not kept:
            return Model(row, trial, rebuild(trial, _trained_again(stack, trial, row)), kept=False)
    named = weights.kept(results, trial.trial_id, str(row["group"]))
    try:
        return Model(row, trial, rebuild(trial, named), kept)
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise MachineError(
            f"the weights {path} are not those of the trial's network ({error}). {weights.REMOVE}"
        ) from error


def rebuild(trial: Trial, named: Mapping[str, Floats]) -> Classifier:
    """Build a trial's module with these weights, in inference mode."""
    from harness.engines.classifier import Classifier, load_weights

    facts = trial.arm.settings.facts
    model = Classifier(trial, shape_of(trial.arm.settings), len(facts.classes)).float()
    load_weights(model, named)
    return model.eval()


def _planned(results: Results, trial_id: str) -> tuple[Stack, Trial]:
    """Find the stack and the trial of this id in a folder's plan."""
    study, known = trained.study_of(results)
    stacks = make(study, known=documents.stacks_of(known)).stacks
    trial = trained.find([trial for stack in stacks for trial in stack.trials], trial_id, results)
    return next(stack for stack in stacks if trial in stack.trials), trial


def _trained_again(stack: Stack, trial: Trial, row: pd.Series[Any]) -> Mapping[str, Floats]:
    notes.tell(
        f"the weights of {trial.trial_id} were not kept; training its stack of {len(stack.trials)} again ..."
    )
    data = prepare(trial.arm.settings)
    with quiet_arithmetic(arithmetic(stack.engine, stack.trials, data)), undisturbed():
        outcome = engine(stack.engine).train(stack.trials, data)
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
    return outcome.weights[k]


def probabilities(results: Results, row: pd.Series[Any], split: Split = "test") -> NDArray[np.floating[Any]]:
    """Compute a trial's class probabilities (n, C) for the samples of a split, in the split's order.

    They are the softmax of logits, exp of log-probabilities, or scores divided by their sum; rows add to one.
    """
    model = restore(results, row)
    return np.concatenate(list(_probabilities(model, split)))


def _probabilities(model: Model, split: Split) -> Iterator[NDArray[np.floating[Any]]]:
    from harness.axes.heads import probabilities

    for output in _outputs(model.classifier, model.trial.arm.settings, split):
        yield probabilities(model.classifier.output, output).numpy()


def _outputs(classifier: Classifier, settings: Settings, split: Split) -> Iterator[torch.Tensor]:
    """Compute the module's outputs (B, C) on a split, in its order."""
    import torch

    with torch.no_grad():
        for x in torch.from_numpy(prepare(settings)[split].x).split(EVALUATION_BATCH):
            yield classifier(x)


def count_right(classifier: Classifier, settings: Settings) -> int:
    """Count the test samples that a module predicts right."""
    import torch

    predicted = torch.cat([output.argmax(1) for output in _outputs(classifier, settings, "test")])
    return int((predicted.numpy() == prepare(settings).test.y).sum())


@dataclass(frozen=True)
class Exported:
    """An exported folder, and how many test images its network predicts right; trials.csv has `stored`.

    `files` are those in the folder; `no_code` says why model.py is not among them.
    """

    folder: Path
    right: int
    stored: int
    images: int
    files: tuple[str, ...] = ()
    no_code: str = ""


def export(
    trial: str | TrainedTrial | None = "best",
    out: Path | str | None = None,
    *,
    results: Results | Path | str | None = None,
    where: str | None = None,
) -> Exported:
    """Write a trained trial's network into a folder: weights, plain PyTorch code, settings, classes.

    Args:
        trial: a trained trial (`results.trial()`); a trial_id; or "best": by val accuracy, or a search's
            confirmed winner.
        out: a new folder; exported/<trial_id> by default.
        results: the trial's results or their folder; looked for in results/ by its id if not given.
        where: conditions on the settings, as "loss=ql,seed=0", instead of an id, or for the best among them.

    Raises:
        UsageError: there is no such trial, several meet the conditions, or it cannot be rebuilt.
        MachineError: the folder cannot be written.

    Example:
        >>> harness.export(results.trial(where="seed=0"), "exported/first")  # doctest: +SKIP
    """
    if trial is None and where is None:
        raise UsageError('which trial? Name a trial_id, "best", or conditions: where loss=ql,seed=0')
    if not isinstance(trial, TrainedTrial):
        folder = results if isinstance(results, Results) else read(results or folder_with(trial))
        trial = trained.choose(folder, trial, where)
    return write_model(trial.results, trial.row, Path(out or Path("exported") / trial.trial_id))


def write_model(results: Results, row: pd.Series[Any], out: Path) -> Exported:
    """Write a finished trial into a new folder that PyTorch can read without the harness, and check it.

    model.safetensors and model.pt hold the network's state_dict under its modules' names (model.pt for
    `torch.load(weights_only=True)`), model.py the network's class in plain PyTorch, which loads it, and
    trial.json the settings to rebuild it and its results. A network that cannot be written as code is told.
    The folder appears as a whole, once the network loaded from it has been checked against the trial.

    Raises:
        UsageError: the trial cannot be rebuilt, or the folder exists and is not empty.
        MachineError: the folder cannot be written, or the kept weights are not those of the trial.
    """
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out} exists already; name a new or empty folder (out)")
    if math.isnan(float(row["test_accuracy"])):
        raise UsageError(f"trial {row['trial_id']} {_closed(results)}")
    import torch

    model, buffer = restore(results, row), io.BytesIO()
    state = model.classifier.net.state_dict()
    about = _about(results, model)
    # A person's module may keep a weight transposed; safetensors writes memory as it lies, and no strides.
    arrays = {name: np.asarray(value.numpy(), order="C") for name, value in state.items()}
    strings = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    draft = out.with_name(f".tmp-{out.name}")
    try:
        shutil.rmtree(draft, ignore_errors=True)  # an earlier one's, killed
        files.write(draft / "model.safetensors", files.steady(safetensors.numpy.save(arrays, strings)))
        torch.save(dict(state), buffer)
        files.write(draft / "model.pt", buffer.getvalue())
        files.write(draft / "trial.json", json.dumps(about, indent=1).encode())
        no_code = _write_code(draft, model, about)
        written = tuple(name for name in FILES if (draft / name).is_file())
        exported = replace(_checked(draft, out, model), files=written, no_code=no_code)
        draft.replace(out)
    except OSError as error:
        raise MachineError(
            f"{out} cannot be written: {error.strerror or error}; name another folder (out)"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return exported


def _closed(results: Results) -> str:
    """Say why the test set of a folder's trials is closed, and which ones to export instead."""
    phase = results.study["study"].get("phase")
    if phase not in {"search", "finalists"}:
        return (
            "was trained to tune by, and its test set is closed. The tuned arms are in "
            f"{results.folder.parent / 'tuned'}: export one of those"
        )
    folder = results.folder if phase == "search" else results.folder.parent
    return (
        "is a search's suggestion, and its test set is closed. `harness search STUDY --results "
        f"{folder}`, with the file of the study, confirms the best: then export one in "
        f"{folder / 'confirmed'}. harness.module_of gives this one's network as it is"
    )


def _write_code(draft: Path, model: Model, about: Mapping[str, Any]) -> str:
    """Write model.py; say why there is none where the network cannot be written as plain code."""
    from harness.exporting import plain_code

    try:
        files.write(draft / "model.py", plain_code.source(model.classifier, about).encode())
    except plain_code.NotPlainError as error:
        notes.warn(
            f"no model.py was written, as the network is no plain PyTorch code: {error}. "
            "harness.load_model gives it; or load model.pt into a class of yours with the same names"
        )
        return str(error)
    return ""


def _checked(draft: Path, out: Path, model: Model) -> Exported:
    """Load the exported network, and compare it with trials.csv."""
    settings, test_accuracy = model.trial.arm.settings, float(model.row["test_accuracy"])
    images = settings.facts.test
    got = count_right(load_model(draft), settings)  # this process knows its components
    exported = Exported(out, got, round(test_accuracy * images), images)
    if model.kept and abs(exported.right - exported.stored) > ROUNDING * images:
        raise MachineError(
            f"the kept weights of trial {model.trial.trial_id} get {exported.right:,} of {images:,} test "
            f"images right, and trials.csv has {exported.stored:,}: they are damaged, or another trial's. "
            f"Remove weights/{model.trial.trial_id}.safetensors; then the trial is trained again"
        )
    return exported


def _about(results: Results, model: Model) -> dict[str, Any]:
    """Make the content of trial.json."""
    facts = model.trial.arm.settings.facts
    reached = ("parameters", "train_accuracy", "val_accuracy", "test_accuracy")
    shape = shape_of(model.trial.arm.settings)
    inputs = math.prod(shape)
    return {
        "format": FORMAT,
        "trial_id": model.trial.trial_id,
        "study": str(results.study.get("study", {}).get("name", "")),
        "arm": model.trial.arm.name,
        "seed": model.trial.seed,
        "settings": dict(model.trial.arm.settings),
        "plugins": [str((results.folder / file).resolve()) for file in results.study["study"]["plugins"]],
        "image": list(facts.shape),
        # Where its preprocessing changes them.
        **({"inputs": inputs} if inputs != np.prod(facts.shape) else {}),
        **({"shape": list(shape)} if shape != facts.image_shape else {}),
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
    """Load an exported folder as a torch.nn.Module in inference mode: pixels (B, D) -> output (B, C).

    Args:
        folder: the exported folder.
        plugin_files: the files that define components of your own that the network uses; they are run.

    Raises:
        UsageError: it is not an exported folder, is of another version, or needs an unknown component.
        MachineError: the weights cannot be read.

    Example:
        >>> model = harness.load_model("best")  # doctest: +SKIP
    """
    folder = Path(folder)
    if not (folder / "trial.json").is_file():
        raise UsageError(
            f"{folder} is not an exported trial: it has no trial.json. `harness export` writes one."
        )
    with documents.readable(folder / "trial.json", "Export the trial again."):
        about = files.json_table(folder / "trial.json")
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
            f"{folder} does not hold a whole export ({error}). Export the trial again."
        ) from error


def _shape(about: Mapping[str, Any]) -> tuple[int, int, int]:
    """Read the shape (C, H, W) of what a network sees of an image; earlier exports have but its size."""
    image = channels_first(about["image"])
    inputs = int(about.get("inputs", math.prod(image)))
    channels, height, width = about.get("shape", image if math.prod(image) == inputs else (1, 1, inputs))
    return int(channels), int(height), int(width)


def _rebuilt(about: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Classifier:
    import torch

    from harness.engines.classifier import Classifier

    trial = Trial(about["trial_id"], Arm(about["arm"], Settings(about["settings"])), about["seed"])
    if trial.arm.settings.dataset in datasets and not is_still(trial, plugins.sources()):
        warnings.warn(
            f"{trial.trial_id} has changed since it was trained: a component's source, the data or the "
            "version of the harness is another one, so that its outputs may differ",
            stacklevel=3,
        )
    model = Classifier(trial, _shape(about), len(about["classes"])).float()
    model.net.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model.eval()

"""Fields: each column of a results folder's tables by its name: its type, its unit and its meaning.

This is the one place that says so. `harness.read` types its frames by it, datapackage.json is written of it,
and docs/tables.md repeats it in words. A study's own columns, such as settings of third-party components and
tracked metrics, are described by what declares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from harness.axes.architectures import architectures
from harness.axes.augmentations import augmentations
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.axes.schedules import schedules
from harness.results.derived import tracked
from harness.settings import TYPES, Setting, limited
from harness.settings.schema import EPOCHS, MEASURES, OF_ARM, PARENT, SEED_BLOCK, SPLITS
from harness.study.checker import known_settings
from harness.study.searches import STATES

Kind: TypeAlias = Literal["string", "integer", "number", "boolean"]
"""Type of a column, as Frictionless' Table Schema names it."""
NOTHING: Mapping[str, Any] = {}
SHARE = "share, 0 to 1"
STATUSES = ("ok", "diverged", "pruned", "failed", "skipped")
KINDS: Mapping[str, Kind] = {
    "string": "string", "integer": "integer", "number": "number", "boolean": "boolean", "array": "string",
}  # fmt: skip
"""Type of a column by that of the setting in it, as JSON Schema names it; a list is its text, `[32, 32]`."""
LIMITS = ("minimum", "maximum", "enum")
"""Limits of a setting that a Table Schema has, too."""


@dataclass(frozen=True)
class Field:
    """A column: its name, type, unit and meaning.

    `required` says that no cell of it is empty; `constraints` are those of a Table Schema (minimum, enum ..).
    """

    name: str
    type: Kind
    unit: str = ""
    meaning: str = ""
    required: bool = False
    constraints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """The dtype of the column in a frame that `harness.read` gives."""
        whole = "int64" if self.required else "Int64"
        return {"string": "str", "integer": whole, "number": "float64", "boolean": "boolean"}[self.type]

    def descriptor(self) -> dict[str, Any]:
        """Describe it as datapackage.json does."""
        described: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.unit:
            described["unit"] = self.unit
        described["description"] = self.meaning
        if self.type == "boolean":
            described |= {"trueValues": ["true"], "falseValues": ["false"]}
        constraints = {**({"required": True} if self.required else {}), **self.constraints}
        return described | ({"constraints": constraints} if constraints else {})


def _text(name: str, meaning: str, *, required: bool = False, enum: Iterable[str] = ()) -> Field:
    return Field(name, "string", "", meaning, required, {"enum": list(enum)} if enum else {})


def _count(name: str, unit: str, meaning: str, *, required: bool = False, least: int = 0) -> Field:
    return Field(name, "integer", unit, meaning, required, {"minimum": least})


def _number(name: str, unit: str, meaning: str, *, required: bool = False) -> Field:
    limited = {"minimum": 0, "maximum": 1} if unit == SHARE else {"minimum": 0} if unit == "seconds" else {}
    return Field(name, "number", unit, meaning, required, limited)


UNTIL = "up to the first evaluation that reached the study's target; empty if none did."
OWN_LOSS = "the loss's own; nats for ce and nll"
TRIAL_ID = _text("trial_id", "The trial: a hash of all that decides its result.", required=True)
ARM = _text("arm", "The arm's name: its settings that the study varies.", required=True)
BLOCK = _count(
    SEED_BLOCK, "", "The block of seeds that chose the arm's settings, from 1 on; only where blocks choose.",
    required=True, least=1,
)  # fmt: skip
SPLIT = _text("split", "The split of the data set: train, val or test.", required=True, enum=SPLITS)
LOSS = _number("loss", OWN_LOSS, "Mean loss over the split, in inference mode.")
ACCURACY = _number("accuracy", SHARE, "Share of the split's images whose most probable class is their label.")
GROUP = _text("group", "The stack that the trial trained in; empty if it was not trained.")
SEED = _count("seed", "", "Seed of initial weights and batch order.", required=True)


def _by_name(*fields: Field) -> dict[str, Field]:
    return {one.name: one for one in fields}


OUTCOMES = _by_name(
    _text(
        "status", "How the trial ended; empty if it is not trained yet. diverged: its loss was not finite.",
        enum=STATUSES,
    ),
    _text("reason", "Why it did not end well, or is not trained, in words."),
    _count("diverged_step", "steps", "The step at which its loss was not finite.", least=1),
    _count("parameters", "", "Weights and biases of the network.", least=1),
    _count("flops", "operations", "Multiplications and additions of its products, for one image."),
    Field("epochs_done", "number", "epochs", "Epochs that were trained.", False, {"minimum": 0}),
    _count("steps_done", "steps", "Steps that were trained."),
    _text("engine", "The engine that trained it."),
    _text("device", "The device that it trained on, such as cpu or cuda:0."),
    GROUP,
    _count("group_size", "trials", "Trials that trained together with it, itself included.", least=1),
    _number("group_seconds", "seconds", "Time that these took together, by the clock."),
    _text("kernels", "What decided its float bits: name and digest; after a + those of its components."),
    _text("host", "The machine that trained it; of several, one after the other, with a / between."),
    _text(PARENT, "The trial whose final state it began with; empty if it began anew."),
    _count("steps_to", "steps", f"Steps {UNTIL}"),
    Field("epochs_to", "number", "epochs", f"Epochs {UNTIL}", False, {"minimum": 0}),
)  # fmt: skip
SETTINGS: Mapping[str, tuple[str, str]] = {
    "dataset": ("", "Data set."),
    "preprocessing": ("", "How pixels become inputs."),
    "val_fraction": (SHARE, "Share of the train images that are held out as val."),
    "val_split": ("", "How val is chosen among them."),
    "split_seed": ("", "Seed of that choice."),
    "architecture": ("", "Kind of network."),
    "activation": ("", "Function between layers."),
    "head": ("", "What turns the last layer's outputs into the network's."),
    "loss": ("", "Loss function that is trained on."),
    "optimizer": ("", "Optimizer."),
    "schedule": ("", "How the learning rate changes over training."),
    "batch_size": ("images", "Images of a batch."),
    "epochs": ("epochs", "Length of training; empty where it is given in steps."),
    "steps": ("steps", "Length of training; empty where it is given in epochs."),
    "sampling": ("", "How batches are drawn from train."),
    "match": ("", "Whether a loss takes only the kinds of output that it is made for."),
    "eval_every": ("", "How often train and val are evaluated."),
    "label_noise": (SHARE, "Share of the train labels that are flipped."),
    "label_noise_seed": ("", "Seed of the flipping."),
    "label_smoothing": (SHARE, "Share of the target that is spread over all classes."),
    "augmentation": ("", "What changes the training images at random, at every step."),
    "start_seed": ("", "Seed of the initial weights, where it is not the trial's."),
    "order_seed": ("", "Seed of the order of the batches, where it is not the trial's."),
    "dropout_seed": ("", "Seed of what dropout leaves out, where it is not the trial's."),
    "augmentation_seed": ("", "Seed of what augmentation changes, where it is not the trial's."),
    "hidden": ("units", "Widths of the hidden layers, as a list."),
    "dropout": (SHARE, "Share of the hidden units that a step leaves out."),
    "norm": ("", "Normalisation of a layer's outputs before its activation."),
    "skip": ("", "Whether a layer's input is added to its output where shapes agree."),
    "initial_weights": ("", "Rule by which an mlp's weights are drawn; a column where a study names it."),
    "channels": ("channels", "Channels of each convolution, as a list; of resnet those of its first stage."),
    "kernel": ("pixels", "Side of the convolutions' kernels."),
    "pooling": ("", "How the image is halved between convolutions."),
    "readout": ("", "What the last layers see: the mean of each channel, or all values."),
    "blocks": ("blocks", "Blocks of two convolutions in each stage of resnet."),
    "ccql_weight": ("", "Weight of the true class's term in ccql."),
    "lr": ("", "Learning rate."),
    "weight_decay": ("", "Weight decay."),
    "momentum": ("", "Momentum: what a step keeps of the velocity."),
    "dampening": ("", "What momentum leaves out of a gradient."),
    "alpha": ("", "What rmsprop keeps of the running mean of squares."),
    "eps": ("", "Added to the denominator of an adaptive optimizer's step."),
    "centered": ("", "Whether rmsprop takes the mean off the squares."),
    "betas": ("", "What Adam keeps of its two running means, as a list."),
    "amsgrad": ("", "Whether Adam keeps the largest mean of squares."),
    "lr_decay": ("", "How fast adagrad lowers its learning rate."),
    "initial_accumulator_value": ("", "What adagrad's sum of squares starts with."),
    "gamma": ("", "Factor on the learning rate after each epoch, of schedule exponential."),
    "shift_pixels": ("pixels", "How far shift moves an image, at most, each way."),
    "flip_probability": (SHARE, "Share of the images that flip mirrors."),
    "rotate_degrees": ("degrees", "How far rotate turns an image, at most, either way."),
    "erase_probability": (SHARE, "Share of the images in which erase empties a rectangle."),
    "erase_share": (SHARE, "Least and largest share of an image that erase empties, as a list."),
    "mixup_alpha": ("", "Both parameters of the Beta distribution from which mixup draws its weight."),
    "pixel_dropout_share": (SHARE, "Share of the pixels that pixel_dropout empties at a step."),
}
"""Unit and meaning of the harness's own settings. An empty cell of one means that it does not apply."""
PARTS = {
    "hidden.depth": ("layers", "Hidden layers."), "hidden.width": ("units", "Units of a hidden layer."),
    "channels.depth": ("layers", "Convolutions."),
    "channels.width": ("channels", "Channels of a convolution."),
}  # fmt: skip
"""Unit and meaning of a search's parameters that together make one setting."""
EMPTY = " Empty where it does not apply."
ALWAYS = frozenset({
    "dataset", "preprocessing", "architecture", "head", "loss", "optimizer", "schedule", "batch_size",
})  # fmt: skip
"""Settings that apply to every trial."""
METRIC_UNITS = {"top3": SHARE, "true_probability": SHARE, "nll": "nats", "brier": ""}
METRIC_LIMITS = {"nll": {"minimum": 0}, "brier": {"minimum": 0, "maximum": 2}}
CURVES = _by_name(
    TRIAL_ID,
    Field(
        "epoch",
        "number",
        "epochs",
        "Epochs trained before the evaluation; 0: none.",
        True,
        {"minimum": 0},
    ),
    _count("step", "steps", "Steps that were trained before the evaluation.", required=True),
    replace(SPLIT, meaning="The split that was evaluated: train or val."),
    LOSS,
    ACCURACY,
)
CONFUSIONS = _by_name(
    TRIAL_ID,
    replace(SPLIT, meaning="The split that was predicted: val or test."),
    _count("label", "class", "The true class, from 0 on.", required=True),
    _count("prediction", "class", "The predicted class, from 0 on.", required=True),
    _count("count", "images", "Images of this label with this prediction.", required=True, least=1),
)
MEASURED = _by_name(
    TRIAL_ID,
    SPLIT,
    _text("metric", "What was measured: loss, accuracy, or a tracked metric.", required=True),
    Field("value", "number", "the metric's", "The mean over the split, of the trial's final weights.", True),
)
OF_STACKS = _by_name(
    replace(GROUP, meaning="The stack.", required=True),
    _count("trials", "trials", "Trials of this table that it trained.", required=True, least=1),
    _count("arms", "arms", "Arms that these are of.", required=True, least=1),
    _count("seeds", "seeds", "Seeds that these have.", required=True, least=1),
    _count("group_size", "trials", "Trials that trained together; of one in shares, the largest.", least=1),
    _number("group_seconds", "seconds", "Time that it took, by the clock."),
    _count("parameters", "", "Weights and biases of all its trials' networks.", least=1),
    _count("steps_done", "steps", "Steps that it took."),
    _text("kernels", "What decided its float bits, without components; empty where its trials differ."),
)  # fmt: skip
CHOICES = _by_name(
    _text("dataset", "Data set.", required=True),
    ARM,
    BLOCK,
    _number("val_accuracy", SHARE, "Val accuracy of the chosen setting, averaged over the tuning seeds."),
    _count("seeds", "seeds", "Tuning seeds.", required=True, least=1),
    _count("tried", "settings", "Settings that the arm tried.", required=True, least=1),
    _count("unfinished", "settings", "Settings of these that did not finish with every seed.", required=True),
    _text("edge", "Which chosen settings are the lowest or highest tried, in words."),
)
SUGGESTED = _by_name(
    _count("number", "", "The suggestion's number, from 0 on.", required=True),
    _text("arm", "Its name as an arm of trials.csv.", required=True),
    _text("sampler", "Who asked for it: the sampler, or sampler and pruner of an Optuna study outside."),
    _count("batch", "", "The batch of suggestions that it was asked for in, from 0 on.", required=True),
    _text("state", "How it ended.", required=True, enum=STATES),
    _text("reason", "Why it was pruned or failed, in words."),
    _count("evaluations", "evaluations", "Evaluations that it trained for.", required=True),
    _number(
        "seconds", "seconds", "Time of the search until its batch was told, by the clock.", required=True
    ),
    _count("refused", "points", "Points drawn before it that break a constraint and were not trained."),
    _number("training_flops", "operations", "Multiplications and additions of its training."),
    _number("flops", "operations", "Multiplications and additions of a forward pass of one image."),
    _number("latency", "microseconds", "Time that onnxruntime takes for one image on one core, a median."),
    Field("parameters", "number", "", "Weights and biases of its network.", False, {"minimum": 1}),
)
OPENED = _by_name(
    _count("number", "", "The suggestion for which the test set was opened.", required=True),
    _count("suggestions", "suggestions", "How many suggestions there were then; empty if that is not known."),
)
KNOWN: Mapping[str, Mapping[str, Field]] = {
    "trials": {**_by_name(TRIAL_ID, ARM, SEED), **OUTCOMES}, "epochs": CURVES, "confusion": CONFUSIONS,
    "scores": MEASURED, "stacks": {**OUTCOMES, **OF_STACKS}, "chosen": CHOICES, "suggestions": SUGGESTED,
    "winners": OPENED,
}  # fmt: skip
"""Table -> the columns that any study's may have, by name."""


def describe(
    table: str, columns: Sequence[str], study: Mapping[str, Any], declared: Mapping[str, Kind] = NOTHING
) -> dict[str, Field]:
    """Describe those columns of a table that the code, the study or its folder knows, by name.

    Args:
        table: such as "trials".
        columns: its columns.
        study: the tables of study.toml, which name the linked axes and the objectives of a search.
        declared: types by name that datapackage.json gives, for columns that are not the harness's own: the
            components that have them need not be loaded, or may be others by now.
    """
    known, settings = KNOWN[table], known_settings()
    linked = [name for given in ("axes", "space") for name in _linked(study.get(given, {}))]
    measured = _measured(table, columns, study)
    described: dict[str, Field] = {}
    for name in columns:
        found = known.get(name) or measured.get(name) or _label(name, linked)
        if found is None and name in declared and name not in SETTINGS:
            found = Field(name, declared[name])
        found = found or _setting(name, settings, always=table in {"trials", "stacks"} and name in ALWAYS)
        if found:
            described[name] = found
    return described


def _linked(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the axes, or the entries of a space, whose values are linked settings under names."""
    for name, values in given.items():
        if isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
            yield name


def _measured(table: str, columns: Sequence[str], study: Mapping[str, Any]) -> dict[str, Field]:
    """Describe the columns of metrics: `val_top3` where a row is a trial, `top3` of an evaluation."""
    if table == "epochs":
        return {name: _metric(name, name, "Mean over the split") for name in columns if name not in EPOCHS}
    if table == "trials":
        named = [f"{split}_{metric}" for metric in tracked(columns) for split in SPLITS]
    elif table == "suggestions":
        named = [str(name) for name in study.get("search", {}).get("objective", []) if name in columns]
    else:
        return {}
    when = "of the final weights" if table == "trials" else "that the search was told"
    return {name: _score(name, when) for name in named if name not in KNOWN[table]}


def _score(name: str, when: str) -> Field:
    """Describe a column such as `val_loss`."""
    split, _, metric = name.partition("_")
    if metric not in MEASURES:
        return _metric(name, metric, f"Mean over {split} {when}")
    one = LOSS if metric == "loss" else ACCURACY
    what = "Mean loss" if metric == "loss" else "Share of images whose most probable class is their label"
    return replace(one, name=name, meaning=f"{what}, over {split}, {when}.")


def _metric(column: str, name: str, mean: str) -> Field:
    """Describe a column of a tracked metric, which the study's plugins may have registered, or not."""
    summary = metrics.entry(name).summary if name in {entry.name for entry in metrics} else ""
    unit = METRIC_UNITS.get(name, "the metric's own")
    meaning = f"{mean}, of {name}: {summary}" if summary else f"{mean}, of the tracked metric {name}."
    constraints = METRIC_LIMITS.get(name, {"minimum": 0, "maximum": 1} if unit == SHARE else {})
    return Field(column, "number", unit, meaning, False, constraints)


def _setting(name: str, known: Mapping[str, Setting], *, always: bool) -> Field | None:
    """Describe a setting's column, or one of its parameters in a search, such as `hidden.width.1`."""
    own = name if name in known else _part(name)
    if not own:
        return None
    schema = limited(known.get(own, Setting(own, None)))
    constraints = {key: value for limit in LIMITS for key, value in schema.items() if key == limit}
    # A limit that a value must not reach is told as one that it may reach: no value is refused for it.
    constraints |= {
        limit: schema[f"exclusive{limit.title()}"]
        for limit in ("minimum", "maximum")
        if f"exclusive{limit.title()}" in schema
    }
    unit, meaning = SETTINGS.get(name) or PARTS.get(own) or ("", "")
    meaning = meaning or f"Setting of {' and '.join(_owners(name)) or own}."
    return Field(name, KINDS[schema["type"]], unit, meaning + ("" if always else EMPTY), always, constraints)


def _part(name: str) -> str:
    """Name the longest known part of a search's parameter: hidden.width of `hidden.width.1`; else ""."""
    while "." in name:
        if name in TYPES:
            return name
        name = name.rpartition(".")[0]
    return ""


def _owners(name: str) -> Iterator[str]:
    """Yield the components that declare a setting, such as "optimizer lion"."""
    for registry in (architectures, losses, optimizers, schedules, augmentations):
        for entry in registry:
            if name in entry.component.settings:
                yield f"{registry.axis} {entry.name}"


def _label(name: str, linked: Iterable[str]) -> Field | None:
    """Describe a column of names: of an axis of linked settings, or of the arm that a tried setting is of."""
    if name == OF_ARM:
        return _text(name, "The arm whose settings it tries.", required=True)
    if name == SEED_BLOCK:
        return BLOCK
    return _text(name, f"Axis {name}: the name of its linked settings.") if name in linked else None

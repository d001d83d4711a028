"""Continued training: a trained trial goes on with other settings, as a trial of its own.

    again = harness.continue_training(results.trial(), epochs=3, lr=0.01)

Its id contains its parent's and the SHA-256 of the state that it begins with, so it is never taken for a
trial that was trained from the start. Its batches are those of the epochs after its parent's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from harness import notes
from harness.axes import plugins
from harness.axes.optimizers import optimizers
from harness.axes.own_networks import ENGINES
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.samples import train_size
from harness.engines import engine
from harness.errors import UsageError, did_you_mean, quoted
from harness.planning.plan import Plan, draw
from harness.planning.stack import Engine, Stack
from harness.results import Results, TrainedTrial, checkpoints, kept_states, trained
from harness.results.checkpoints import EVERY, CheckpointHeader, DamagedError
from harness.results.origins import Origin
from harness.settings import Setting, Value
from harness.study.about import LONGEST_NAME
from harness.study.checker import known_settings
from harness.study.reading import parse
from harness.study.starts import FILE, OF_A_START, Start
from harness.study.study import PHASES, Study
from harness.study.trials import Trial, resolve, settings_of
from harness.system.lazy import torch
from harness.training import folder_runs, runs, starts
from harness.training.options import RunOptions

KEEPS_LAYERS = "a trained network keeps its layers"
FIXED = {
    "a trained network keeps its images and their splits": (
        "dataset", "preprocessing", "val_fraction", "val_split", "split_seed", "label_noise",
        "label_noise_seed",
    ),
    KEEPS_LAYERS: ("architecture", "activation", "head"),
    "a trained network has its weights already": ("initial_weights",),
    "a trial that goes on keeps its seed": ("seed", "seeds", "start_seed"),
}  # fmt: skip
"""Settings that cannot change, and why."""
OF_COMPONENT = ("optimizer", "schedule", "loss", "augmentation")
"""Axes whose component may change: settings of the old one are left out then."""
MAY_CHANGE = (
    "optimizer, schedule, loss and augmentation and their settings, batch_size, sampling, dropout, "
    "label_smoothing, match, eval_every, order_seed, dropout_seed, augmentation_seed, and epochs or steps"
)
"""What can change, in words."""
CONTINUED = re.compile(r"-continued-t[0-9a-f]{12}$")
Spelling: TypeAlias = "Callable[[str, object], str]"
"""A function (setting, value) -> how whoever changes the setting has written that, for messages."""


def in_python(name: str, value: object) -> str:
    """Write a change as Python has it."""
    return f"{name} = {quoted(value)}"


def continue_training(  # noqa: PLR0913 (a person's keywords)
    trial: TrainedTrial | Results | Path | str,
    *,
    epochs: int | None = None,
    lr: float | None = None,
    optimizer_state: bool | None = None,
    out: Path | str | None = None,
    live: bool = False,
    checkpoint_every: str = EVERY,
    **settings: Any,
) -> Results:
    """Train a trained trial further, with other settings, as a trial of its own in a folder of its own.

    It begins with its parent's final weights, and sees the batches of the epochs after its parent's. Its
    learning curve begins where its parent's ends; its column `parent` names that trial. It can be shown,
    exported and continued like any other. The parent's own results stay as they are.

    Args:
        trial: the trial: `results.trial()`; or results or their folder, of which the best by val is meant.
        epochs: how many more epochs; or `steps=`, how many more steps.
        lr: the learning rate from here on; if not given the parent's own, or with another optimizer that
            one's default. A schedule begins anew with it.
        optimizer_state: True: the optimizer goes on from its kept state (keep_state = "all" in the study);
            False: it begins afresh. If not given, it goes on where its state was kept and still fits.
        out: the results folder; results/<study>-continued-<its id>/ if not given.
        live: draw the loss curve while it is trained.
        checkpoint_every: such as "60 seconds", "5 epochs" or "never".
        settings: other settings that change: optimizer, schedule, loss or augmentation and their settings,
            batch_size, sampling, dropout, label_smoothing, match, eval_every, steps, and the seeds
            order_seed, dropout_seed and augmentation_seed.

    Returns:
        The results of the continued trial.

    Raises:
        UsageError: a setting cannot change, is unknown or does not apply to the trial; the trial did not
            finish, or its state is missing.

    Example:
        >>> harness.continue_training(results.trial(), epochs=3, lr=0.01)  # doctest: +SKIP
    """
    given = {"epochs": epochs, "lr": lr, **settings}
    changes = {name: value for name, value in given.items() if value is not None}
    return go_on(trial, changes, optimizer_state, out, live=live, checkpoint_every=checkpoint_every)


def go_on(  # noqa: PLR0913 (what a person gives, and how)
    trial: TrainedTrial | Results | Path | str,
    given: Mapping[str, Any],
    optimizer_state: bool | None = None,
    out: Path | str | None = None,
    *,
    live: bool = False,
    checkpoint_every: str = EVERY,
    spelled: Spelling = in_python,
) -> Results:
    """Train a trial further as `continue_training` does, with the changes in one mapping.

    `spelled` writes a change in messages: on the command line, as its option.
    """
    parent = _Parent.of(trained.trained(trial))
    changes = checked(given, parent, spelled)
    begun = parent.begin(changes, optimizer_state)
    study = _study(parent, changes, begun.start)
    drawn = _drawn(study, parent)
    suffix = f"-continued-{drawn.trials[0].trial_id}"
    name = CONTINUED.sub("", study.name)[: LONGEST_NAME - len(suffix)] + suffix
    study = replace(study, about=study.about.model_copy(update={"name": name}))
    drawn = replace(drawn, study=study)
    folder = runs.folder_of(study, out)
    folder_runs.check_folder(folder, drawn, RunOptions(parent.engine, checkpoint_every=checkpoint_every))
    _write(folder, drawn, begun, parent.engine)
    notes.tell(f"trial {drawn.trials[0].trial_id} goes on from {parent.trial.trial_id}, {begun.words}")
    return runs.run(
        study, folder, live=live, engine=parent.engine, checkpoint_every=checkpoint_every, workers=1
    )


def checked(given: Mapping[str, Any], parent: _Parent, spelled: Spelling = in_python) -> dict[str, Value]:
    """Check the settings that change, before anything is trained: the parent's weights may have to be.

    Raises:
        UsageError: one is unknown, cannot change, does not apply to the trial, or has a value that is not
            allowed; there is no budget; or a plugin of the parent's has changed.
    """
    nothing = Start(parent=parent.trial.trial_id, digest="0" * 64, step=0, updates=0)  # not known yet
    _study(parent, {}, nothing)  # which reads the plugins of its study, and so their components
    trained.planned(parent.given)  # is it still what they say?
    layers = {KEEPS_LAYERS: _layers(str(parent.settings["architecture"]))}
    for name, value in given.items():
        for why, fixed in (*FIXED.items(), *layers.items()):
            if name in fixed:
                raise UsageError(
                    f"{spelled(name, value)}: {why}. Allowed are {MAY_CHANGE}; for another network, train a "
                    "study from its start"
                )
    if ("epochs" in given) == ("steps" in given):
        raise UsageError("how much more? Give epochs=3, or steps=500; one of the two")
    known = known_settings()
    changes = {name: _allowed(name, value, known, spelled) for name, value in given.items()}
    study = _study(parent, changes, nothing)
    settings = settings_of(study)
    for name, value in given.items():
        if name not in settings:
            raise UsageError(f"{spelled(name, value)}: {_without_effect(name, settings, spelled)}")
    _drawn(study, parent)
    return changes


def _allowed(name: str, value: object, known: Mapping[str, Setting], spelled: Spelling) -> Value:
    """Check the value that a setting changes to; return it in canonical form."""
    if name not in known:
        raise UsageError(f"{spelled(name, value)}: no such setting; {did_you_mean(name, known)}")
    try:
        done = known[name].check(value)
    except ValueError as error:
        raise UsageError(f"{spelled(name, value)}: allowed: {error}") from error
    names = [entry.name for entry in plugins.registries().get(name, ())]
    if names and done not in names:
        raise UsageError(f"{spelled(name, value)}: unknown {name}; {did_you_mean(done, names)}")
    return done


def _without_effect(name: str, settings: Settings, spelled: Spelling) -> str:
    """Say why a setting does not apply to a trial, and what to do."""
    for axis in (*OF_COMPONENT, "architecture"):
        having = [entry.name for entry in plugins.registries()[axis] if name in entry.component.settings]
        if settings[axis] in having:
            return f"it has no effect beside the other settings of {axis} {settings[axis]!r}; leave it out"
        if having:
            others = f" (or {', '.join(having[1:])})" if having[1:] else ""
            add = f"add {spelled(axis, having[0])}{others}, or " if axis in OF_COMPONENT else ""
            return f"{axis} {settings[axis]!r} has no such setting; {add}leave it out"
    return "the trial draws nothing by it, so it has no effect; leave it out"


def _drawn(study: Study, parent: _Parent) -> Plan:
    """Plan the study of the continued trial alone; raise UsageError if it cannot be trained."""
    drawn = draw(study, parent.engine)
    for reason in drawn.skipped.values():
        raise UsageError(reason)
    return drawn


@dataclass(frozen=True)
class _Begun:
    """The state that a trial begins with, and what is said of it."""

    start: Start
    values: Mapping[str, Any]
    words: str


@dataclass(frozen=True)
class _Parent:
    """The trial that is continued, and what was kept of it."""

    given: TrainedTrial
    trial: Trial
    engine: Engine

    @classmethod
    def of(cls, given: TrainedTrial) -> _Parent:
        """Find the trial in its study; raise UsageError if it did not finish, or cannot be trained here."""
        row = given.row
        if row["status"] != "ok":
            raise UsageError(
                f"trial {given.trial_id} has status {row['status'] or 'not trained yet'!r}: only one that "
                "finished goes on. Choose another: results.trial(), or results.trials for all of them"
            )
        if row["engine"] not in ENGINES:
            raise UsageError(
                f"trial {given.trial_id} was trained by {row['engine']}; allowed: {', '.join(ENGINES)}. "
                "Its study with more epochs goes on from its kept state (keep_state = 'all' in [study])"
            )
        return cls(given, trained.planned(given), row["engine"])

    @property
    def sealed(self) -> bool:
        """True where test is closed for it, and so for what continues it."""
        study = self.given.results.study
        phase = PHASES[study["study"].get("phase", "fixed")]
        return phase.sealed or bool(study.get("start", {}).get("sealed"))

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.trial.arm.settings

    def begin(self, changes: Mapping[str, Value], wanted: bool | None) -> _Begun:
        """Return the state that a trial with some changes begins with.

        Raises:
            UsageError: the optimizer's state is wanted, and was not kept, or is another optimizer's.
        """
        kept = self._kept_state()
        misfit = "its state was not kept" if kept is None else self._misfit(changes)
        if wanted and misfit:
            raise UsageError(
                f"optimizer_state = True: {misfit}. Allowed: False, which begins with a fresh optimizer; or "
                'train the study with keep_state = "all" under [study] in a new folder'
            )
        goes_on = wanted is not False and not misfit
        values = self._weights() if kept is None else dict(kept)
        if not goes_on:
            prefixes = ("update.", "optimizer.")
            values = {name: value for name, value in values.items() if not name.startswith(prefixes)}
        done = int(self.given.row["steps_done"])
        before = Budget.of(self.settings, train_size(self.settings))
        step, updates = self._first_step(changes, done, before), 0
        if goes_on:
            updates = done - before.first + self.settings.parent_updates
        start = Start(parent=self.trial.trial_id, digest=starts.digest(values), step=step, updates=updates)
        why = f" ({misfit})" if misfit and wanted is None else ""
        return _Begun(start, values, "its optimizer too" if goes_on else f"with a fresh optimizer{why}")

    def _first_step(self, changes: Mapping[str, Value], done: int, before: Budget) -> int:
        """Return the step before the first, in batches of the new size; whole epochs if it changes."""
        size = changes.get("batch_size", before.batch_size)
        if size == before.batch_size:
            return done
        return math.ceil(before.epoch_of(done)) * math.ceil(before.n / int(str(size)))

    def _kept_state(self) -> dict[str, Any] | None:
        """Return what was kept of the engine's state, without the learning curve; None if nothing was."""
        for kept in kept_states.listed(self.given.results.folder):
            if self.trial.trial_id not in kept.trials or kept.origin.engine != self.engine:
                continue
            try:
                _, header, state = checkpoints.opened(kept.path)
            except DamagedError as error:
                notes.warn(f"the state {kept.path} is damaged ({error}): the final weights are taken")
                continue
            k = header.trials.index(self.trial.trial_id)
            members = header.made_of({self.settings.dataset: self.settings.data})
            state = engine(self.engine).select(state, members, [k])
            aside = ("curve.", "metrics.", "diverged_step")
            return {name: value for name, value in state.values.items() if not name.startswith(aside)}
        return None

    def _misfit(self, changes: Mapping[str, Value]) -> str:
        """Say why the optimizer's state does not fit what it becomes; "" if it does."""
        before, after = (self._slots({**self.settings, **new}) for new in ({}, changes))
        return "" if before == after else "its state is of another optimizer"

    def _slots(self, settings: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what decides which states an optimizer has."""
        made = optimizers[settings["optimizer"]]
        known = {name: value for name, value in settings.items() if name in known_settings()}
        chosen = resolve(known, {self.settings.dataset: self.settings.data})
        zeros = set(made.zeros(chosen)) - {"weight_decay", "eps", "lr_decay", "dampening"}
        return made.name, made.switches(chosen), sorted(zeros)

    def _weights(self) -> dict[str, Any]:
        """Return the final weights as the engine's state has them; the trial is trained again if need be."""
        from harness.engines.classifier import weights
        from harness.exporting import models

        classifier = models.restore(self.given.results, self.given.row).classifier
        if self.engine == "loop":
            return {f"model.net.{name}": value.numpy() for name, value in classifier.state_dict().items()}
        named = {name: np.asarray(array, np.float32) for name, array in weights(classifier).items()}
        if self.engine == "numpy":
            return {f"network.{name}": array for name, array in named.items()}
        if not self.settings.plain_mlp:
            from harness.engines.modules.values import MemberValues

            rows = MemberValues([classifier.net], torch.device("cpu"), torch.float32).state_dict()
            return {f"block.0.{name}": value.numpy() for name, value in rows.items()}
        first, *rest = named.values()
        flat = np.concatenate([array.ravel() for array in rest])
        return {"block.0.first": first.reshape(1, -1), "block.0.rest": flat[None]}


def _study(parent: _Parent, changes: Mapping[str, Value], start: Start) -> Study:
    """Make the study of the continued trial alone."""
    before, about = parent.given.results.study, parent.given.results.study["study"]
    dropped = {"epochs", "steps", *OF_A_START}
    for axis in OF_COMPONENT:
        if changes.get(axis, parent.settings[axis]) != parent.settings[axis]:
            dropped |= _own_settings(axis, str(parent.settings[axis]))
    kept = {name: value for name, value in parent.settings.items() if name not in dropped}
    tables: dict[str, Any] = {
        "study": {
            **{key: about[key] for key in ("name", "plugins", "metrics", "keep_predictions") if key in about},
            "seeds": [parent.trial.seed], "keep_weights": "all", "keep_state": "all",
        },
        "baseline": {**kept, **changes},
        "start": start.model_copy(update={"sealed": parent.sealed}).table(),
    }  # fmt: skip
    if before.get("datasets"):
        tables["datasets"] = before["datasets"]
    return parse(tables, path=parent.given.results.folder / "study.toml")


def _own_settings(axis: str, name: str) -> set[str]:
    """Name the settings that a component declares."""
    return set(plugins.registries()[axis][name].settings)


def _layers(architecture: str) -> set[str]:
    """Name the settings that make a network: an architecture's own, but for built-in ones' dropout."""
    entry = plugins.registries()["architecture"].entry(architecture)
    return set(entry.component.settings) - (set() if entry.third_party else {"dropout"})


def _write(folder: Path, drawn: Plan, begun: _Begun, trained_by: Engine) -> None:
    """Write the state that a continued trial begins with into its folder."""
    trial = drawn.trials[0]
    stack = Stack.of(trained_by, [trial])
    header = CheckpointHeader.of(stack.group, [trial], 0.0, ())
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.write(folder / FILE, Origin.here(stack, "cpu"), header, begun.start.step, begun.values)

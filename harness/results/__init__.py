"""Results: a results folder, read.

    <folder>/
      trials.csv  epochs.csv  confusion.csv    tidy, in the plan's order; remade from the parts (`tables`);
                                               the last two, and scores, may be packed by gzip (a kept folder)
      scores.csv  stacks.csv                   of trials.csv (`derived`): a row a measured number, a stack
      datapackage.json                         the tables' fields for other programs: type, unit, meaning
      parts/<group>.zip                        all that one stack gave; the truth, written atomically
      predictions/<group>.npz                  predicted class and its probability, per sample
      weights/<trial_id>.safetensors           final weights
      checkpoints/<group>-<trial_id>.safetensors   long stacks in training; gone when they are finished
      states/<group>-<trial_id>.safetensors    final states of stacks, if the study keeps them
      start.safetensors                        the state that a continued trial begins with
      study.toml  plan.json  provenance.json   the study, its stacks, and where the numbers come from
      checksums.json                           the SHA-256 of the CSVs, of weights and predictions
      planned.csv.gz                           the planned trials' rows, from which trials.csv is remade
      retrain.json                             the stacks that are still to be trained anew, if any

Everything here is DataFrames and text; nothing imports torch, nor pandas before a folder is read.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import notes
from harness.errors import MachineError, UsageError
from harness.results import columns, csv_rows, datapackage, derived, documents, part_files, standing, tables
from harness.results.columns import TABLES
from harness.settings.schema import SPLITS, TRIES, TUNING
from harness.text import count
from harness.text.cards import card

if TYPE_CHECKING:
    import pandas as pd

REMAKE = "`harness run` of its study writes it anew from parts/"


@dataclass(frozen=True)
class Results:
    """A results folder, read: tidy frames, the study's tables, and the provenance of it all.

    Attributes:
        folder: where it is.
        trials: a row a trial: trial_id, arm, a column a setting, then train_loss, val_accuracy and others.
        epochs: a row an evaluation of train or val: trial_id, epoch, step, split, loss, accuracy. Settings
            are in `trials`: `results.epochs.merge(results.trials[["trial_id", "lr"]])`.
        confusion: a row a trial, split, label and prediction, with its count.
        study: the tables of the study file.
        provenance: versions, machine, data and runs that it comes from.

    A column has the same dtype in every folder: text is str, a number float64, a whole number Int64 (int64
    where no cell may be empty, such as seed), true or false boolean. docs/tables.md lists them all.
    """

    folder: Path
    trials: pd.DataFrame
    epochs: pd.DataFrame
    confusion: pd.DataFrame
    study: dict[str, Any]
    provenance: dict[str, Any]

    def __repr__(self) -> str:
        return f"Results {str(self.folder)!r}: {self._counts()}"

    def __fspath__(self) -> str:
        """Give the folder's path, so that results stand wherever their folder is asked for."""
        return str(self.folder)

    def _repr_html_(self) -> str:
        """Show the results in a notebook: how many trials, and the best arms of each data set."""
        rows, left = standing.best_rows(csv_rows.table(csv_rows.written(self.trials)))
        more = f"the best arms; {left} others are in .trials" if left else ""
        lines = [self._counts(), str(self.folder), more]
        return card(f"results of {self.study['study']['name']}", lines, standing.COLUMNS, rows)

    def _counts(self) -> str:
        counts = count_statuses(self.trials).items()
        told = ", ".join(f"{n} {status or 'not trained yet'}" for status, n in counts)
        return f"{count(len(self.trials), 'trial')}, {told}" if told else "no trials"

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row a number that was measured of a trial's final weights: trial_id, split, metric, value.

        It has the numbers of `trials`, long, with those of test; a trial that diverged has no rows.
        """
        return self._derived("scores")

    @cached_property
    def stacks(self) -> pd.DataFrame:
        """A row a stack of `trials`: group, its trials, arms and seeds, group_seconds, engine, device, ...

        `trials` says of each trial how long its stack took; sum the seconds here.
        """
        return self._derived("stacks")

    def _derived(self, table: str) -> pd.DataFrame:
        """Make a table of the trials; raise UsageError if a column is not what a run writes."""
        try:
            text = derived.DERIVED[table](csv_rows.table(csv_rows.written(self.trials))).written()
        except (ValueError, KeyError, OverflowError) as error:
            raise UsageError(
                f"{table} of {self.folder} cannot be made: in its trials, {error}. {documents.COPY_AGAIN}."
            ) from error
        return columns.typed(csv_rows.read(io.StringIO(text)), table, self.study)

    def trial(self, trial_id: str = "best", where: str = "") -> TrainedTrial:
        """Choose one trained trial, for the functions that show it, rebuild it or train it further.

        Args:
            trial_id: as in the column trial_id of `trials`; or "best", by val accuracy, of those that meet
                the conditions (of a search: of its confirmed winner).
            where: conditions on the settings, such as "loss=ce,seed=0" or "dataset=mnist".

        Returns:
            The trial: its `settings`, its `row` of `trials`, and its `results`.

        Raises:
            UsageError: there is no such trial, it has not finished, or each of several data sets has a best.

        Example:
            >>> results.trial(where="optimizer=adam,seed=0").settings  # doctest: +SKIP
        """
        # By name: the modules that choose among results import this one.
        chosen: TrainedTrial = importlib.import_module("harness.results.trained").choose(
            self, trial_id, where
        )
        return chosen


@dataclass(frozen=True, eq=False)
class TrainedTrial:
    """A trained trial of a results folder; `harness.module_of` gives its network.

    Attributes:
        results: the results folder, read.
        row: its row of `results.trials`: settings, seed, losses and accuracies.
    """

    results: Results
    row: pd.Series[Any]

    @property
    def trial_id(self) -> str:
        """Its id, as in the column trial_id."""
        return str(self.row["trial_id"])

    @property
    def arm(self) -> str:
        """The name of its arm."""
        return str(self.row["arm"])

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.row["seed"])

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings by name, those that apply: `harness.model(**trial.settings, seed=trial.seed)`."""
        settings: dict[str, Any] = importlib.import_module("harness.results.trained").settings_of(self)
        return settings

    def __repr__(self) -> str:
        reached = [f"{split} {accuracy}" for split, _, accuracy in self._reached()]
        told = [f"TrainedTrial {self.trial_id}: {self.arm}", f"seed {self.seed}", f"on {self.row['dataset']}"]
        return f"{', '.join(told)}; accuracy: {', '.join(reached)}"

    def _repr_html_(self) -> str:
        """Show the trial in a notebook: its arm and seed, and the loss and accuracy that it reached."""
        lines = [f"{self.arm}, seed {self.seed}, on {self.row['dataset']}", str(self.results.folder)]
        return card(f"trained trial {self.trial_id}", lines, ("split", "loss", "accuracy"), self._reached())

    def _reached(self) -> list[tuple[str, str, str]]:
        """Put loss and accuracy of each split into words; of one without images, or closed, there is none."""
        pairs = {split: (self.row[f"{split}_loss"], self.row[f"{split}_accuracy"]) for split in SPLITS}
        return [
            (split, f"{loss:.4g}", f"{accuracy:.2%}".replace("%", " %"))
            for split, (loss, accuracy) in pairs.items()
            if accuracy == accuracy  # not NaN
        ]


def read(folder: PathLike[str] | str) -> Results:
    """Read a results folder; after a run that was killed, from its parts.

    Args:
        folder: such as "results/lab2_losses".

    Raises:
        UsageError: it is not a results folder, or cannot be read.

    Example:
        >>> harness.read("results/lab2_losses").trials  # doctest: +SKIP
    """
    folder = Path(folder)
    study = _study(folder)
    frames = _read_tables(folder, TABLES, study)
    provenance = documents.provenance(folder)
    return Results(folder, frames["trials"], frames["epochs"], frames["confusion"], study, provenance)


def read_trials(folder: Path | str) -> pd.DataFrame:
    """Read only the trials of a results folder: the other tables of a large study take seconds.

    Raises:
        UsageError: it is not a results folder, or cannot be read.
    """
    return _read_tables(Path(folder), ["trials"], _study(Path(folder)))["trials"]


def readable_trials(folder: Path | str) -> pd.DataFrame | None:
    """Read the trials of a results folder that may have been killed before it had its tables.

    Returns:
        What `read_trials` gives; None where trials.csv or study.toml is gone or damaged, or of an earlier
        form: the next run of the study makes them anew from parts/.
    """
    try:
        return read_trials(folder)
    except UsageError:
        return None


def read_epochs(folder: Path | str) -> pd.DataFrame:
    """Read only the evaluations of a results folder, a row an evaluation of a trial on a split.

    Raises:
        UsageError: it is not a results folder, or cannot be read.
    """
    return _read_tables(Path(folder), ["epochs"], _study(Path(folder)))["epochs"]


def _study(folder: Path) -> dict[str, Any]:
    """Read study.toml; raise UsageError if the folder is not a results folder."""
    if not (folder / "trials.csv").is_file():
        raise UsageError(
            f"{folder} is not a results folder: it has no trials.csv. Results are in results/<study>/."
        )
    return documents.study(folder)


def _read_tables(folder: Path, names: Sequence[str], study: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Read some tables, typed by the study's columns, and check them."""
    frames: dict[str, pd.DataFrame] = {}
    name = "trials"
    try:
        current, declared = tables.read(folder, names), datapackage.declared(folder)
        for name in names:
            frame = csv_rows.read(io.StringIO(current[name]))
            frames[name] = columns.typed(frame, name, study, declared.get(name, {}))
            columns.check_table(name, frames[name])
    except (OSError, ValueError, KeyError) as error:
        advice = REMAKE if part_files.paths(folder) else documents.COPY_AGAIN
        raise UsageError(
            f"{folder / name}.csv cannot be read, it was changed by another program or is damaged: {error}. "
            f"{advice}."
        ) from error
    return frames


def count_statuses(trials: pd.DataFrame) -> dict[str, int]:
    """Count the trials of each status; an empty one means not trained yet."""
    return columns.count(map(str, trials["status"].fillna("")))


def folder_with(trial: str | None, under: Path = Path("results")) -> Path:
    """Find the results folder under `under` that has a trial of this id.

    Raises:
        UsageError: there is no such folder, or there are several; says to name one.
    """
    folders = sorted(path.parent for path in under.glob("**/trials.csv"))
    # Trials to choose by are not results; and a tuned trial that is also a fixed one is found there.
    to_choose_by = {TUNING, TRIES}
    folders = [path for path in folders if path.name not in to_choose_by and (path / "study.toml").is_file()]
    anyone = trial in {None, "best"}
    having = folders if anyone else [folder for folder in folders if trial in _trial_ids(folder)]
    having = [folder for folder in having if folder.parent not in having]
    if len(having) == 1:
        return having[0]
    listed = having or [folder for folder in folders if folder.parent not in folders]
    question = "which results folder?" if having else f"no results folder there has a trial {trial!r}."
    names = ", ".join(map(str, listed)) or "none"
    raise UsageError(f"{question} Name one (results); under {under}/ there are: {names}")


def _trial_ids(folder: Path) -> set[str]:
    """Collect the trial_ids of a results folder; none of one that cannot be read, which a note says."""
    try:
        return set(read_trials(folder)["trial_id"])
    except (UsageError, MachineError) as error:
        notes.warn(str(error))
        return set()

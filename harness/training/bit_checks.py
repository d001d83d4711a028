"""Checks of the bits that a run asks for: of its trials, of the folder it goes on with, of this machine.

A person's own network, whose code decides them, is checked with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.axes.own_networks import is_own, label_of
from harness.engines.compiled import engine as compiled
from harness.errors import MachineError, UsageError
from harness.planning import compilation, portability
from harness.planning.plan import Plan
from harness.results import part_files, run_folder
from harness.results.part_files import Parts
from harness.study.trials import Trial
from harness.training.options import RunOptions


def check_bits(drawn: Plan, options: RunOptions, folder: Path | None = None) -> None:
    """Raise UsageError where trials cannot have the bits that are asked for, before anything is trained.

    Of a results folder, if there is one, what is finished must have the same.
    """
    if options.bits == "portable":
        todo = [trial for trial in drawn.trials if trial.trial_id not in drawn.skipped]
        portability.check(todo, drawn.study.metrics)
    if folder is not None and (folder / "plan.json").is_file():
        check_earlier(folder, drawn, run_folder.finished(folder), options)


def check_earlier(
    folder: Path, drawn: Plan, finished: Mapping[str, str], options: RunOptions, parts: Parts | None = None
) -> None:
    """Raise UsageError where a folder's finished trials have other bits than those that are asked for.

    So, too, where another person's own network trained them, whose name changes with its code: trial ids do
    not tell.
    """
    parts = parts or part_files.read_all(folder)
    _check_earlier_network(folder, drawn, run_folder.made_by(folder, finished, parts, "engine"), options)
    made = run_folder.bits_of(folder, finished, parts)
    kept = [made[trial.trial_id] for trial in drawn.trials if trial.trial_id in made]
    others = Counter(bits for bits in kept if bits != options.bits)
    whole = options.bits == "native" and len(kept) == len(drawn.trials) - len(drawn.skipped)
    if others and not whole:  # a native run that has nothing to train mixes nothing
        [(other, count)] = others.items()
        raise UsageError(
            f"{folder} has {count} finished trials of a run with --bits {other}, and this one is "
            f"with --bits {options.bits}: their rows must not be mixed. Take another folder (--results), the "
            "same bits, or train all anew (--retrain)"
        )


def _check_earlier_network(folder: Path, drawn: Plan, made: Mapping[str, str], options: RunOptions) -> None:
    """Raise UsageError where finished trials (trial_id -> engine) and this run's are not of one network."""
    here = options.engine
    kept = Counter(made[trial.trial_id] for trial in drawn.trials if trial.trial_id in made)
    others = [name for name in kept if name != here and (is_own(name) or is_own(here))]
    if not others:
        return
    same = label_of(others[0]) == label_of(here)
    there = (
        f"{label_of(others[0])}, whose code, or a value that it reads, has changed since"
        if same
        else f"engine {others[0]}"
    )
    raise UsageError(
        f"{folder} has {kept[others[0]]} finished trials of {there}; this run's is {here}. Their rows must "
        "not be mixed. Take another folder (--results), or train all anew (--retrain, in Python "
        "retrain=True); `harness report` and `compare` read what is there"
    )


def compile_portable(drawn: Plan, trials: Sequence[Trial]) -> None:
    """Compile and check what is new of the components of trials for the same bits on every processor.

    Raises:
        MachineError: the kernels cannot be had on this machine, or are wrong.
        UsageError: a component's compiled form is not to be used.
    """
    if missing := compiled.compile_new(trials, drawn.study.metrics):
        raise MachineError(
            f"--bits portable needs compiled code, and there is none here: {missing}. Install a C compiler "
            "(gcc or clang), or name one in CC; or take --bits native"
        )
    for trial in {id(trial.arm): trial for trial in trials}.values():
        if why := compilation.why_not(trial.arm.settings, drawn.study.metrics):
            raise UsageError(f"--bits portable: arm {trial.arm.name!r}: {why}. {portability.ADVICE}")

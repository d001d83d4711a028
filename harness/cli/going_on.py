"""`harness continue`: a trained trial goes on with other settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from harness.cli import json_output
from harness.cli.json_output import json_option
from harness.cli.show import plugin_option
from harness.errors import MachineError, UsageError, quoted

OPTIMIZER_STATES = {"auto": None, "kept": True, "fresh": False}


@click.command("continue")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--trial",
    default="best",
    show_default=True,
    help="A trial_id; or best, by val accuracy, of those --where leaves.",
)
@click.option("--where", metavar="CONDITIONS", help="Conditions on the settings: loss=ql,seed=0.")
@click.option("--epochs", type=int, help="How many more epochs.")
@click.option("--steps", type=int, help="How many more steps, instead.")
@click.option(
    "--lr",
    type=float,
    help="The learning rate from here on; by default the trial's own, or that of another optimizer.",
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Another setting that changes. Repeatable."
)
@click.option(
    "--optimizer-state", type=click.Choice(list(OPTIMIZER_STATES)), default="auto", show_default=True,
    help="auto: the optimizer goes on where its state was kept (keep_state) and fits.",
)  # fmt: skip
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Its folder; results/<study>-continued-<trial_id>/ by default.",
)
@plugin_option
@json_option
def continue_(  # noqa: PLR0913 (options of a command)
    results: Path, trial: str, where: str | None, changes: Sequence[str], optimizer_state: str,
    out: Path | None, as_json: bool, **budget: Any,
) -> None:  # fmt: skip
    """Train a trained trial further, with other settings, as a trial of its own in a folder of its own."""
    from harness.cli import answers, output
    from harness.exporting.continuing import go_on
    from harness.results import read
    from harness.study.overrides import read_value

    given = {name: value for name, value in budget.items() if value is not None}
    chosen = read(results).trial(trial, where or "")
    texts = _split(changes)
    read_changes = {name: read_value(text) for name, text in texts.items()}

    def spelled(name: str, value: object) -> str:
        """Write a change as the option that makes it."""
        if name in given:
            return f"--{name} {value}"
        return f"--set {name}={quoted(texts.get(name, value), str)}"

    continued = go_on(
        chosen, {**read_changes, **given}, OPTIMIZER_STATES[optimizer_state], out, spelled=spelled
    )
    row = continued.trials.iloc[0]
    if row["status"] == "failed":
        raise MachineError(f"trial {row['trial_id']} failed: {row['reason']}")
    output.show_trial(continued, row)
    click.echo(f"results: {continued.folder}/trials.csv, epochs.csv, confusion.csv")
    if as_json:
        trained = answers.trial(continued, row)
        json_output.show("continue", folder=continued.folder, trial=trained)


def _split(changes: Sequence[str]) -> dict[str, str]:
    """Split what --set gives into settings and their texts, as in `harness run`."""
    texts: dict[str, str] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {change!r}: allowed: KEY=VALUE")
        if texts.setdefault(name.strip(), text.strip()) != text.strip():
            raise UsageError(
                f"--set {name.strip()} is given twice, as {texts[name.strip()]} and as {text.strip()}"
            )
    return texts

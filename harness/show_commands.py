"""The commands for trained models: `harness show` draws their predictions, `harness export` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

import click

from harness import notes, places
from harness.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from harness.results import Results


class _ImageOptions(TypedDict):
    split: Literal["train", "val", "test"]
    count: int | None
    seed: int
    sample: str


def _run_plugins(_: click.Context, __: click.Parameter, files: Sequence[Path]) -> None:
    """Run the plugin files that a person trusts."""
    from harness import plugins

    for file in files:
        plugins.load_file(file)


plugin_option = click.option(
    "--plugin",
    type=click.Path(path_type=Path),
    multiple=True,
    expose_value=False,
    callback=_run_plugins,
    help="A plugin file to run, which you trust. One that the study.toml of a results folder names is run by "
    "no command without this, or your yes. Repeatable.",
)


figures_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("figures"),
    show_default=True,
    help="The folder that gets the figures.",
)


def note_missing_letters() -> None:
    """Tell which letters of names are missing in figures, because no font of this machine has them."""
    from harness.plots import fonts

    if fonts.note():
        notes.warn(fonts.note())


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("kinds", nargs=-1, metavar="[predictions|probabilities|failures]...")
@click.option("--trial", help="Its trial_id; or best: by val accuracy, of each data set.  [default: best]")
@click.option("--where", metavar="CONDITIONS", help="Choose by settings instead: loss=ql,seed=0.")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    default="test",
    show_default=True,
    help="The split; those that the study's keep_predictions names are there.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 200),
    help="How many images: 18 predictions, 6 probabilities, 10 failures a class by default.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which random images.")
@click.option(
    "--sample",
    metavar="INDEX,...",
    default="",
    help="These images, by index or file name, as predictions and probabilities.",
)
@figures_option
@plugin_option
def show(
    results: Path,
    kinds: Sequence[str],
    trial: str | None,
    where: str | None,
    out: Path,
    **images: Unpack[_ImageOptions],
) -> None:
    """Draw a trained model's predictions of single images: of the best by validation, or --trial, or --where.

    predictions: random images with label and prediction. probabilities: images beside a bar a class.
    failures: misclassified images, a row a class. By default all three. Writes PNG and SVG.
    """
    from harness import display, gallery, models
    from harness.results import read

    places.check_folder(out)
    for kind in kinds:
        if kind not in gallery.KINDS:
            raise UsageError(f"unknown kind {kind!r}: {did_you_mean(kind, gallery.KINDS)}")
    samples = tuple(filter(None, map(str.strip, images["sample"].split(","))))
    if samples and kinds and set(kinds) == {"failures"}:
        raise UsageError(
            "--sample works with predictions and probabilities; failures always shows all of them"
        )
    request = gallery.Asked(
        cast("Sequence[gallery.Kind]", kinds) or gallery.KINDS,
        split=images["split"],
        count=images["count"],
        seed=images["seed"],
        samples=samples,
    )
    folder, rows = _chosen(read(results), trial, where)
    for row in rows:
        display.show_trial(folder, row)
        for kind, png in gallery.draw(folder, row, request, out, models.probabilities):
            click.echo(f"{kind} of {request.split}")
            click.echo(f"  written: {png} and .svg")
    note_missing_letters()


def _chosen(
    results: Results, trial: str | None, conditions: str | None
) -> tuple[Results, list[pd.Series[Any]]]:
    """Return the trials that --trial and --where choose, or the best of each data set, and their folder."""
    from harness import selection

    if trial in {None, "best"}:
        results, conditions = _winner(results, conditions)
    if trial == "best" or (trial is None and not conditions):
        return results, [row for _, row in selection.best(results, conditions).iterrows()]
    return results, [selection.choose(results, trial, conditions)]


def _winner(results: Results, conditions: str | None) -> tuple[Results, str | None]:
    """Return the confirmed winner instead of a search's folder where the best trial is to be chosen."""
    from harness.results import read
    from harness.schema import BASELINE, CONFIRMED, WINNER

    if conditions or results.study["study"].get("phase") != "search":
        return results, conditions
    if not (results.folder / CONFIRMED / "trials.csv").is_file():
        raise UsageError(
            f"{results.folder}: the search's winner is not confirmed yet. Run `harness search` again to "
            "go on, or choose a suggestion with --where arm=..."
        )
    confirmed = read(results.folder / CONFIRMED)
    # Where the search found nothing better than the baseline's own settings, they are the winner.
    return confirmed, f"arm={WINNER if confirmed.trials['arm'].eq(WINNER).any() else BASELINE}"


@click.command()
@click.argument("trial", required=False)
@click.option(
    "--results", type=click.Path(path_type=Path), help="Its results folder; looked for in results/ by id."
)
@click.option("--where", metavar="CONDITIONS", help="Choose by settings instead: loss=ql,seed=0.")
@click.option("--out", type=click.Path(path_type=Path), help="A new folder; exported/<trial_id> by default.")
@plugin_option
def export(trial: str | None, results: Path | None, where: str | None, out: Path | None) -> None:
    """Write a trained trial for PyTorch: its weights, and the settings to rebuild it.

    TRIAL is a trial_id, or "best" (by val accuracy; with --where, of those that meet the conditions; of a
    search, its confirmed winner).
    """
    from harness import results as storage

    places.check_folder(out or Path("exported"))
    if trial is None and where is None:
        raise UsageError('which trial? Name a trial_id, "best", or choose with --where loss=ql,seed=0')
    source = storage.read(results or storage.folder_with(trial))
    if trial == "best":
        source, where = _winner(source, where)
    from harness import models

    row = models.choose(source, trial, where)
    done = models.export(source, row, out or Path("exported") / str(row["trial_id"]))
    same = "as trials.csv has it" if done.right == done.stored else f"trials.csv has {done.stored:,}"
    click.echo(f"{done.folder}: model.safetensors, model.pt, trial.json")
    click.echo(f"loaded again, it gets {done.right:,} of {done.images:,} test images right, {same}")
    click.echo(f"harness.load_model({str(done.folder)!r}) gives the network as a torch.nn.Module")

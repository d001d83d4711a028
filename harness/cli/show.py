"""The commands for trained models: `harness show` draws their predictions, `harness export` writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

import click

from harness import notes
from harness.cli import json_output
from harness.cli.json_output import json_option
from harness.errors import UsageError, did_you_mean
from harness.system import output_folder

if TYPE_CHECKING:
    import pandas as pd

    from harness.results import Results


PLUGINS = f"{__name__}.plugins"
"""The key under which a command's context keeps the plugin files that were named."""
ARM_KINDS = ("confusion", "curves")
TRIAL_KINDS = (*ARM_KINDS, "activations", "filters")
"""Figures of a whole trial, not of its single images; ARM_KINDS are of all its arm's seeds, too."""


class _ImageOptions(TypedDict):
    split: Literal["train", "val", "test"]
    count: int | None
    seed: int
    sample: str
    combine: Literal["sum", "mean"] | None


def _run_plugins(context: click.Context, _: click.Parameter, files: Sequence[Path]) -> None:
    from harness.axes import plugins

    context.meta[PLUGINS] = files
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
    "--out", type=click.Path(path_type=Path), default=Path("figures"), show_default=True,
    help="The folder that gets the figures.",
)  # fmt: skip


def drawn(title: str, path: Path) -> dict[str, Any]:
    """Return a figure for a JSON object: its title and its files, of which an image has two."""
    return {"title": title, "files": [path, path.with_suffix(".svg")] if path.suffix == ".png" else [path]}


def note_missing_letters() -> None:
    """Tell which letters of names are missing in figures, because no font of this machine has them."""
    from harness.plots import fonts

    if fonts.note():
        notes.warn(fonts.note())


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument(
    "kinds",
    nargs=-1,
    metavar="[predictions|probabilities|failures|confusion|curves|activations|filters]...",
)
@click.option("--trial", help="Its trial_id; or best: by val accuracy, of each data set.  [default: best]")
@click.option("--where", metavar="CONDITIONS", help="Choose by settings instead: loss=ql,seed=0.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True,
    help="The split; those that the study's keep_predictions names are there.",
)  # fmt: skip
@click.option(
    "--count",
    type=click.IntRange(1, 200),
    help="How many images: 18 predictions, 6 probabilities, 10 failures a class by default.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which random images.")
@click.option(
    "--sample", metavar="INDEX,...", default="",
    help="These images, by index or file name, as predictions and probabilities.",
)  # fmt: skip
@click.option(
    "--combine",
    type=click.Choice(["sum", "mean"]),
    help="Draw confusion and curves of all seeds of the trial's arm; confusion counts are summed, or means.",
)
@figures_option
@plugin_option
@json_option
def show(
    results: Path, kinds: Sequence[str], trial: str | None, where: str | None, out: Path, as_json: bool,
    **images: Unpack[_ImageOptions],
) -> None:  # fmt: skip
    """Draw a trained model's predictions of single images: of the best by validation, or --trial, or --where.

    predictions: random images with label and prediction. probabilities: images beside a bar a class.
    failures: misclassified images, a row a class. By default these three. confusion: the confusion matrix.
    curves: loss and accuracy over the epochs, of train and val. activations: dead units and saturation of
    each layer, on images of val. filters: the first layer's weights as images. Writes PNG and SVG.
    """
    from harness.cli import answers, output
    from harness.gallery import prediction_pages
    from harness.results import read

    output_folder.check_folder(out)
    for kind in kinds:
        if kind not in (known := (*prediction_pages.KINDS, *TRIAL_KINDS)):
            raise UsageError(f"unknown kind {kind!r}: {did_you_mean(kind, known)}")
    samples = tuple(filter(None, map(str.strip, images["sample"].split(","))))
    if samples and kinds and not set(kinds) & {"predictions", "probabilities"}:
        raise UsageError("--sample works with predictions and probabilities; the others show all samples")
    if images["combine"] and not set(kinds) & set(ARM_KINDS):
        raise UsageError("--combine works with confusion and curves; the others are of one trial")
    # Of several seeds, the arm of the best is meant.
    chosen = trial or ("best" if images["combine"] else None)
    folder, rows = _chosen(read(results), chosen, where)
    shown = []
    for row in rows:
        output.show_trial(folder, row)
        figures = []
        for title, png in _drawn(folder, row, kinds or prediction_pages.KINDS, (images, samples, out)):
            click.echo(title)
            click.echo(f"  written: {png} and .svg")
            figures.append(drawn(title, png))
        shown.append({**answers.trial(folder, row), "figures": figures})
    note_missing_letters()
    if as_json:
        json_output.show("show", folder=folder.folder, trials=shown)


def _drawn(
    folder: Results, row: pd.Series[Any], kinds: Sequence[str], how: tuple[_ImageOptions, Sequence[str], Path]
) -> Iterator[tuple[str, Path]]:
    """Draw a trial as `show` says; yield a title and the PNG of each figure."""
    from harness.exporting import models
    from harness.gallery import prediction_pages
    from harness.reporting import trial_figures

    images, samples, out = how
    asked = cast("Sequence[prediction_pages.Kind]", [kind for kind in kinds if kind not in TRIAL_KINDS])
    request = prediction_pages.PredictionRequest(
        asked, split=images["split"], count=images["count"], seed=images["seed"], samples=samples
    )
    if asked:
        for kind, png in prediction_pages.draw(folder, row, request, out, models.probabilities):
            yield f"{kind} of {images['split']}", png
    if "confusion" in kinds:
        yield trial_figures.draw_confusion(folder, row, images["split"], images["combine"], out)
    if "curves" in kinds:
        yield from trial_figures.draw_curves(folder, row, out, seeds=images["combine"] is not None)
    yield from trial_figures.draw_network(folder, row, out, set(kinds))


@click.command("show-component")
@click.argument("name")
@click.option(
    "--axis", metavar="AXIS", help="activation, head or loss, where several have the name; else the first."
)
@click.option(
    "--range", "ends", metavar="LOW,HIGH", default="-5,5", show_default=True,
    help="The range of x: --range=-10,10.",
)  # fmt: skip
@figures_option
@plugin_option
@json_option
def show_component(name: str, axis: str | None, ends: str, out: Path, as_json: bool) -> None:
    """Draw an activation, head or loss and its derivative, and say what it is.

    Of a head or a loss, x is one class's logit, the true one's, with the others at 0. Writes PNG and SVG.
    """
    from harness.axes import function_values
    from harness.reporting import trial_figures

    output_folder.check_folder(out)
    try:
        low, high = map(float, ends.split(","))
    except ValueError:
        raise UsageError(
            f"--range {ends!r}: allowed: two numbers, the lower one first: --range=-5,5"
        ) from None
    found = function_values.found(name, axis)
    table = function_values.values(found, low, high)
    facts = list(function_values.facts(found, table))
    for line in facts:
        click.echo(line)
    png = trial_figures.draw_function(found, table, out)
    click.echo(f"  written: {png} and .svg")
    if as_json:
        json_output.show("show-component", name=name, facts=facts, figures=[drawn(name, png)])


def _chosen(
    results: Results, trial: str | None, conditions: str | None
) -> tuple[Results, list[pd.Series[Any]]]:
    """Return the trials that --trial and --where choose, or the best of each data set, and their folder."""
    from harness.results import selection

    if trial == "best" or (trial is None and not conditions):
        results, conditions = selection.confirmed_winner(results, conditions)
        return results, [row for _, row in selection.best(results, conditions).iterrows()]
    return results, [selection.choose(results, trial, conditions)]


@click.command()
@click.argument("trial", required=False)
@click.option(
    "--results", type=click.Path(path_type=Path), help="Its results folder; looked for in results/ by id."
)
@click.option("--where", metavar="CONDITIONS", help="Choose by settings instead: loss=ql,seed=0.")
@click.option("--out", type=click.Path(path_type=Path), help="A new folder; exported/<trial_id> by default.")
@plugin_option
@json_option
def export(
    trial: str | None, results: Path | None, where: str | None, out: Path | None, as_json: bool
) -> None:
    """Write a trained trial for PyTorch: its weights, and the settings to rebuild it.

    TRIAL is a trial_id, or "best" (by val accuracy; with --where, of those that meet the conditions; of a
    search, its confirmed winner).
    """
    from harness.exporting import models

    output_folder.check_folder(out or Path("exported"))
    done = models.export(trial, out, results=results, where=where)
    same = "as trials.csv has it" if done.right == done.stored else f"trials.csv has {done.stored:,}"
    click.echo(f"{done.folder}: {', '.join(done.files)}")
    click.echo(f"loaded again, it gets {done.right:,} of {done.images:,} test images right, {same}")
    click.echo(f"harness.load_model({str(done.folder)!r}) gives the network as a torch.nn.Module")
    if as_json:
        counts = {"right": done.right, "stored": done.stored, "images": done.images}
        json_output.show("export", folder=done.folder, files=list(done.files), **counts)

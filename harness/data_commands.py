"""The `harness data` commands: fetch, check, export and look at data sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from harness import places
from harness.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from harness.study import Study


@click.group()
def data() -> None:
    """Fetch, check and look at data sets."""


@data.command()
@click.argument("names", nargs=-1)
def fetch(names: Sequence[str]) -> None:
    """Bring data sets into the cache, verified: NAMES, or all."""
    from harness import sources

    for name in names or sources.PINS:
        click.echo(f"{name}: {sources.fetch(name)}")


def _declared_in(study: str | None) -> Sequence[str]:
    """The data sets that a study file declares, now known like all others; installed components too."""
    from harness import plugins

    if study is None:
        plugins.load_installed()
        return ()
    from harness.study import load

    return tuple(load(study).datasets)


_study_option = click.option("--study", metavar="STUDY", help="A study whose [datasets.NAME] are known too.")


@data.command()
@_study_option
@click.argument("names", nargs=-1)
def check(names: Sequence[str], study: str | None) -> None:
    """Check data byte for byte: NAMES, or all that are fetched; with --study, all that it declares.

    Says where images are the same that should differ.

    Exit code 1 if a file of the cache is missing or damaged, 2 if a declared folder is not what it should be.
    """
    from harness import sources
    from harness.axes.datasets import datasets

    declared = _declared_in(study)
    sound = True
    for name in names or declared or sources.PINS:
        if name in declared or (name in datasets and name not in sources.PINS):
            facts = datasets[name].facts
            height, width = facts.shape
            word = "read, but look at it again" if facts.warnings else "ok"
            click.echo(
                f"{name}: {word}: {facts.train:,} train and {facts.test:,} test images of {height} x {width} "
                f"pixels, {len(facts.classes)} classes, SHA-256 {facts.digest}"
            )
            _say_of(name)
            continue
        for state in sources.check(name):
            click.echo(str(state))
            sound = sound and state.status == "ok"
    if not sound:
        sys.exit(1)


def _say_of(name: str) -> None:
    """Say what a reader of a data set's numbers should know: how it was divided, what in it is the same."""
    from harness.axes.datasets import datasets

    known = datasets[name]
    for sentence in (*filter(None, [known.remark]), *known.facts.warnings):
        click.echo(f"note: {name}: {sentence}")


@data.command("export")
@_study_option
@click.argument("dataset")
@click.argument("format", type=click.Choice(["png", "npy", "idx", "idx.gz"]))
@click.argument("folder", type=click.Path(path_type=Path))
def export_data(dataset: str, format: str, folder: Path, study: str | None) -> None:  # noqa: A002 (its name in the help)
    """Write DATASET into the new or empty FOLDER, in a format that a study file can declare.

    png: train/LABEL_NUMBER.png; npy: train_imgs/img_NUMBER.npy; idx: MNIST's four files. Prints the table to
    paste into a study file.
    """
    from harness import exports
    from harness.axes.datasets import datasets

    places.check_folder(folder, "FOLDER")
    _declared_in(study)
    table = exports.export(datasets[dataset], cast("exports.Format", format), folder)
    click.echo(f"# {folder}: whole. To use it, paste this into a study file:")
    click.echo(table, nl=False)


@data.command()
@_study_option
@click.option(
    "--label", "--digit", metavar="CLASS", help="Draw random images of this class, by its name or number."
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="The split that --label (default: train) or --hardest (test) draws from.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 200),
    help="How many images --label (default: 10) or --hardest (18) draws.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which ones are drawn."
)
@click.option("--grid", is_flag=True, help="Draw evenly spaced training images, 3 x 6, with their labels.")
@click.option(
    "--hardest",
    type=click.Path(path_type=Path),
    metavar="RESULTS",
    help="Draw the images that most trained models of a results folder get wrong; all of them in a CSV.",
)
@click.option(
    "--where",
    metavar="CONDITIONS",
    help="The trained models that --hardest asks, chosen as by harness show: lr=0.1,seed=0.  [default: all]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="How to divide the data: val_split=stratified,balanced draws both. Repeatable.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("figures"),
    show_default=True,
    help="The folder that gets the figures.",
)
@click.argument("what", metavar="DATASET|STUDY")
def show(what: str, study: str | None, overrides: Sequence[str], out: Path, grid: bool, **asked: Any) -> None:
    """Draw a data set, or those of a study: label counts of train, val and test, and one image a class.

    With --label, --grid or --hardest, draws these instead. Writes PNG and SVG.
    """  # fmt: skip
    places.check_folder(out)
    asked = {name: value for name, value in asked.items() if value is not None}
    if "hardest" in asked:
        if grid or "label" in asked:
            raise UsageError("--hardest draws no --label and no --grid: ask for them one by one")
        if study or overrides:
            raise UsageError("--hardest takes --where, --split, --count and --out; its results say the rest")
        _hardest(what, asked, out)
        return
    if "where" in asked:
        raise UsageError("--where says which trained models --hardest asks: give --hardest RESULTS too")
    dataset, chosen = _shown(what, study, overrides)
    from harness import looks

    for name in dict.fromkeys(str(part["dataset"]) for part in looks.divisions(chosen, dataset).values()):
        _say_of(name)
    kinds: tuple[looks.Kind, ...] = ("counts", "row")
    if grid or "label" in asked:
        kinds = ("grid",) if grid else ()
    for words, png in looks.draw(chosen, looks.ImageRequest(kinds, **asked), out, dataset):
        click.echo(words)
        click.echo(f"  written: {png} and .svg")


def _hardest(dataset: str, asked: dict[str, Any], out: Path) -> None:
    from harness import gallery
    from harness.results import read

    found = read(asked["hardest"])
    known = list(dict.fromkeys(found.trials["dataset"]))
    if dataset not in known:
        raise UsageError(
            f"{found.folder} has no trial on a data set {dataset!r}: {did_you_mean(dataset, known)}"
        )
    wanted = asked.get("split", "test"), asked.get("count", 18)
    for words, path in gallery.draw_hardest(
        found, *wanted, folder=out, dataset=dataset, conditions=asked.get("where", "")
    ):
        click.echo(words)
        click.echo(f"  written: {path}{' and .svg' if path.suffix == '.png' else ''}")


def _shown(what: str, study: str | None, overrides: Sequence[str]) -> tuple[str | None, Study]:
    """The data set to show (None for all of the study's) and the study that divides it."""
    from harness import plugins
    from harness.axes.datasets import datasets
    from harness.study import find, load, parse

    if study is not None:
        loaded = load(study, overrides)
        return datasets.entry(what).name, loaded
    plugins.load_installed()
    if what in datasets:
        return what, parse({"study": {"name": "show"}, "baseline": {"dataset": what}}, overrides)
    try:
        path = find(what)
    except UsageError as error:
        names = [entry.name for entry in datasets]
        raise UsageError(f"{error}. It is no data set either: {did_you_mean(what, names)}") from None
    return None, load(path, overrides)

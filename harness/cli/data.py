"""The `harness data` commands: fetch, check, export and look at data sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, cast

import click

from harness.cli.show import figures_option
from harness.errors import UsageError, did_you_mean
from harness.system import output_folder

if TYPE_CHECKING:
    from harness.data.datasets import Dataset
    from harness.study.study import Study


@click.group()
def data() -> None:
    """Fetch, check and look at data sets."""


@data.command()
@click.argument("names", nargs=-1)
def fetch(names: Sequence[str]) -> None:
    """Download data sets into the cache and verify them: NAMES, or all."""
    from harness.data import cache, download

    for name in names or cache.PINS:
        click.echo(f"{name}: {download.download(name)}")


def _study_of(study: str | None) -> Study:
    """Load the study that declares further data sets, or make one that declares none."""
    from harness.study.study import load, parse

    return load(study) if study is not None else parse({"study": {"name": "data"}})


_study_option = click.option("--study", metavar="STUDY", help="A study whose [datasets.NAME] are known too.")


@data.command()
@_study_option
@click.argument("names", nargs=-1)
def check(names: Sequence[str], study: str | None) -> None:
    """Check data byte for byte: NAMES, or all that are fetched; with --study, all that it declares.

    Reports images that are the same but should differ.

    Exit code 1 if a cached file is missing or damaged, 2 if a declared folder is faulty.
    """
    from harness.data import cache
    from harness.data.datasets import datasets

    known = _study_of(study)
    sound = True
    for name in names or tuple(known.datasets) or cache.PINS:
        if name in known.datasets or (name in datasets and name not in cache.PINS):
            facts = known.dataset(name).facts
            height, width = facts.shape
            word = "read, but look at it again" if facts.warnings else "ok"
            click.echo(
                f"{name}: {word}: {facts.train:,} train and {facts.test:,} test images of {height} x {width} "
                f"pixels, {len(facts.classes)} classes, SHA-256 {facts.digest}"
            )
            _show_notes(known.dataset(name))
            continue
        for state in cache.verify(name):
            click.echo(str(state))
            sound = sound and state.status == "ok"
    if not sound:
        sys.exit(1)


def _show_notes(dataset: Dataset) -> None:
    for sentence in (*filter(None, [dataset.remark]), *dataset.facts.warnings):
        click.echo(f"note: {dataset.name}: {sentence}")


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
    from harness.exporting import image_files

    output_folder.check_folder(folder, "FOLDER")
    table = image_files.export(_study_of(study).dataset(dataset), cast("image_files.Format", format), folder)
    click.echo(f"# {folder}: whole. To use it, paste this into a study file:")
    click.echo(table, nl=False)


class _DrawOptions(TypedDict):
    label: str | None
    split: Literal["train", "val", "test"] | None
    count: int | None
    seed: int
    hardest: Path | None
    where: str | None


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
    "--hardest", type=click.Path(path_type=Path), metavar="RESULTS",
    help="Draw the images that most trained models of a results folder get wrong; all of them in a CSV.",
)  # fmt: skip
@click.option(
    "--where",
    metavar="CONDITIONS",
    help="The trained models that --hardest asks, chosen as by harness show: lr=0.1,seed=0.  [default: all]",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE",
    help="How to divide the data: val_split=stratified,balanced draws both. Repeatable.",
)  # fmt: skip
@figures_option
@click.argument("what", metavar="DATASET|STUDY")
def show(
    what: str, study: str | None, overrides: Sequence[str], out: Path, grid: bool,
    **options: Unpack[_DrawOptions],
) -> None:  # fmt: skip
    """Draw a data set, or those of a study: label counts of train, val and test, and one image a class.

    With --label, --grid or --hardest, draws these instead. Writes PNG and SVG.
    """
    output_folder.check_folder(out)
    label = options["label"]
    if options["hardest"] is not None:
        if grid or label is not None:
            raise UsageError("--hardest draws no --label and no --grid: ask for them one by one")
        if study or overrides:
            raise UsageError("--hardest takes --where, --split, --count and --out; its results say the rest")
        _draw_hardest(what, options["hardest"], options, out)
        return
    if options["where"] is not None:
        raise UsageError("--where says which trained models --hardest asks: give --hardest RESULTS too")
    dataset, chosen = _shown(what, study, overrides)
    from harness.gallery import dataset_pages

    for name in dict.fromkeys(part.dataset for part in dataset_pages.divisions(chosen, dataset).values()):
        _show_notes(chosen.dataset(name))
    kinds: tuple[dataset_pages.Kind, ...] = (
        ("grid",) if grid else () if label is not None else ("counts", "row")
    )
    images = options["split"] or "train", options["count"] or 10, options["seed"]
    for title, png in dataset_pages.draw(
        chosen, dataset_pages.ImageRequest(kinds, label, *images), out, dataset
    ):
        click.echo(title)
        click.echo(f"  written: {png} and .svg")


def _draw_hardest(dataset: str, folder: Path, options: _DrawOptions, out: Path) -> None:
    from harness.gallery import prediction_pages
    from harness.results import read

    results = read(folder)
    known = list(dict.fromkeys(results.trials["dataset"]))
    if dataset not in known:
        raise UsageError(
            f"{results.folder} has no trial on a data set {dataset!r}: {did_you_mean(dataset, known)}"
        )
    split, count = options["split"] or "test", options["count"] or 18
    drawn = prediction_pages.draw_hardest(results, split, count, out, dataset, options["where"] or "")
    for title, path in drawn:
        click.echo(title)
        click.echo(f"  written: {path}{' and .svg' if path.suffix == '.png' else ''}")


def _shown(what: str, study: str | None, overrides: Sequence[str]) -> tuple[str | None, Study]:
    """Return the data set to show (None for all of the study's) and the study that divides it."""
    from harness.axes import plugins
    from harness.data.datasets import datasets
    from harness.study.study import find, load, parse

    if study is not None:
        loaded = load(study, overrides)
        return loaded.dataset(what).name, loaded
    plugins.load_installed()
    if what in datasets:
        return what, parse({"study": {"name": "show"}, "baseline": {"dataset": what}}, overrides)
    try:
        path = find(what)
    except UsageError as error:
        names = [entry.name for entry in datasets]
        raise UsageError(f"{error}. It is not a data set either: {did_you_mean(what, names)}") from None
    return None, load(path, overrides)

"""The `harness data` commands: fetch, check, export and look at data sets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

import click

from harness.cli import json_output
from harness.cli.json_output import json_option
from harness.cli.show import drawn, figures_option
from harness.errors import MachineError, UsageError, did_you_mean
from harness.system import output_folder

if TYPE_CHECKING:
    from harness.data.datasets import Dataset
    from harness.gallery.dataset_pages import ImageRequest, Kind
    from harness.study.study import Study

COUNTS: tuple[Kind, ...] = ("counts", "row")
"""The figures of a data set of which no images are asked for."""


@click.group()
def data() -> None:
    """Fetch, check and look at data sets."""


@data.command()
@click.argument("names", nargs=-1)
@json_option
def fetch(names: Sequence[str], as_json: bool) -> None:
    """Download data sets into the cache and verify them: NAMES, or mnist and fashion_mnist.

    The others are kmnist, emnist-letters (562 MB), qmnist, cifar10 (170 MB) and usps. Files that were put
    into a data set's folder of the cache by hand are verified, too, and used.
    """
    from harness.data import cache, download

    fetched, failed = [], []
    for name in map(_plain, names or cache.USUAL):
        try:
            folder = download.download(name)
        except MachineError as error:  # others may still be had
            failed.append(str(error))
            continue
        click.echo(f"{name}: {folder}")
        fetched.append({"name": name, "folder": folder})
    if failed:
        raise MachineError("\n".join(failed))
    if as_json:
        json_output.show("data fetch", datasets=fetched)


def _plain(name: str) -> str:
    """Give a data set's name as studies write it: emnist_letters for emnist-letters."""
    from harness.data.datasets import datasets

    plain = name.replace("-", "_")
    return plain if name not in datasets and plain in datasets else name


def _study_of(study: str | None) -> Study:
    """Load the study that declares further data sets, or make one that declares none."""
    from harness.study.reading import load, parse

    return load(study) if study is not None else parse({"study": {"name": "data"}})


_study_option = click.option("--study", metavar="STUDY", help="A study whose [datasets.NAME] are known too.")


@data.command("card")
@_study_option
@click.argument("names", nargs=-1)
@json_option
def card_(names: Sequence[str], study: str | None, as_json: bool) -> None:
    """Show what there is to know of data sets: NAMES, or all; nothing is downloaded for that.

    Counts, sizes, classes, licence, citation, wrong labels that were counted, and by whom.
    """
    from harness.data import cards
    from harness.data.datasets import datasets

    known = _study_of(study)
    chosen = [*map(_plain, names)] or [*known.datasets] or [entry.name for entry in datasets]
    shown = [cards.card(known.dataset(name)) for name in chosen]
    for one in shown:
        click.echo("\n".join(one.words()))
    if as_json:
        json_output.show("data card", cards=[one.row() for one in shown])


@data.command()
@_study_option
@click.argument("names", nargs=-1)
@json_option
def check(names: Sequence[str], study: str | None, as_json: bool) -> None:
    """Check data byte for byte: NAMES, or all that are fetched; with --study, all that it declares.

    Reports images that are the same but should differ.

    Exit code 1 if a cached file is missing or damaged, 2 if a declared folder is faulty.
    """
    from harness.data import cache
    from harness.data.datasets import datasets

    known, found = _study_of(study), []
    for name in map(_plain, names or tuple(known.datasets) or cache.fetched()):
        if name in known.datasets or (name in datasets and name not in cache.PINS):
            found.append(_checked(known.dataset(name)))
            continue
        states = cache.verify(name)
        for state in states:
            click.echo(str(state))
        files = [{"path": state.path, "status": state.status} for state in states]
        sound = all(state.status == "ok" for state in states)
        found.append({"name": name, "ok": sound, "facts": None, "files": files})
    if as_json:
        json_output.show("data check", datasets=found)
    if not all(one["ok"] for one in found):
        sys.exit(1)


def _checked(dataset: Dataset) -> dict[str, Any]:
    """Show what a data set that was read holds, and return that."""
    from harness.data.images import size_in_words

    facts = dataset.facts
    channels, height, width = facts.image_shape
    word = "read, but look at it again" if facts.warnings else "ok"
    click.echo(
        f"{dataset.name}: {word}: {facts.train:,} train and {facts.test:,} test images of "
        f"{size_in_words(facts.shape)}, {len(facts.classes)} classes, SHA-256 {facts.digest}"
    )
    _show_notes(dataset)
    read = {"train": facts.train, "test": facts.test, "height": height, "width": width, "channels": channels}
    told = {"classes": list(facts.classes), "digest": facts.digest, "warnings": _sentences(dataset)}
    return {"name": dataset.name, "ok": True, "facts": {**read, **told}, "files": []}


def _show_notes(dataset: Dataset) -> None:
    for sentence in _sentences(dataset):
        click.echo(f"note: {dataset.name}: {sentence}")


def _sentences(dataset: Dataset) -> list[str]:
    """List what a person should know of a data set."""
    return [*filter(None, [dataset.remark]), *dataset.facts.said, *dataset.facts.warnings]


@data.command("export")
@_study_option
@click.argument("dataset")
@click.argument("format", type=click.Choice(["png", "npy", "idx", "idx.gz"]))
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def export_data(dataset: str, format: str, folder: Path, study: str | None, as_json: bool) -> None:  # noqa: A002 (its name in the help)
    """Write DATASET into the new or empty FOLDER, in a format that a study file can declare.

    png: train/LABEL_NUMBER.png; npy: train_imgs/img_NUMBER.npy; idx: MNIST's four files. Prints the table to
    paste into a study file.
    """
    from harness.exporting import image_files

    output_folder.check_folder(folder, "FOLDER")
    dataset = _plain(dataset)
    table = image_files.export(_study_of(study).dataset(dataset), cast("image_files.Format", format), folder)
    click.echo(f"# {folder}: whole. To use it, paste this into a study file:")
    click.echo(table, nl=False)
    if as_json:
        json_output.show("data export", dataset=dataset, format=format, folder=folder, table=table)


class _DrawOptions(TypedDict):
    label: str | None
    split: Literal["train", "val", "test"] | None
    number: str | None
    first: int | None
    count: int | None
    seed: int | None
    as_given: bool
    grid: bool
    captions: str | None
    ink: str
    hardest: Path | None
    where: str | None


_choosing = (
    click.option(
        "--label", "--digit", metavar="CLASS",
        help="Draw images of this class, by its name or number: some at random, or the --first ones.",
    ),
    click.option(
        "--split", type=click.Choice(["train", "val", "test"]),
        help="The split that images (default: train) or --hardest (test) are drawn from.",
    ),
    click.option(
        "--number", metavar="NUMBER,...",
        help="Draw the images of these numbers: 15, or 25-29, or several: 3,15,25-29.",
    ),
    click.option("--first", type=click.IntRange(1, 200), help="Draw so many images, as they come."),
    click.option(
        "--count", type=click.IntRange(1, 200),
        help="How many images are drawn at random (10 by default) or by --hardest (18).",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), metavar="SEED",
        help="Draw the same random images again; without it, others each time, and the title has the seed.",
    ),
    click.option("--grid", is_flag=True, help="Draw evenly spaced images of the split, 3 x 6, with labels."),
    click.option(
        "--as-given", is_flag=True,
        help="Show the data as the files come: all of train, without a val split taken out of it.",
    ),
    click.option(
        "--captions", metavar="WORDS",
        help="What stands above an image: name (file or index), label, 'Label: 5', both, none, or a text "
        "with {name}, {label} or {number}.",
    ),
    click.option(
        "--ink", type=click.Choice(["auto", "light", "dark"]), default="auto", show_default=True,
        help="light on dark, or dark on light; auto: as the pixels are stored.",
    ),
)  # fmt: skip


def _image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_choosing):
        command = option(command)
    return command


@data.command()
@_study_option
@_image_options
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
@json_option
def show(
    what: str, study: str | None, overrides: Sequence[str], out: Path, as_json: bool,
    **options: Unpack[_DrawOptions],
) -> None:  # fmt: skip
    """Draw a data set, or those of a study: label counts of train, val and test, and one image a class.

    With --number, --first, --label, --count, --grid or --hardest, draws these images instead. Of a data set
    that no --set divides, images are counted as the files come. Writes PNG and SVG.
    """
    output_folder.check_folder(out)
    figures = []
    for title, path in _asked_for(_plain(what), study, overrides, options, out):
        click.echo(title)
        click.echo(f"  written: {path}{' and .svg' if path.suffix == '.png' else ''}")
        figures.append(drawn(title, path))
    if as_json:
        json_output.show("data show", figures=figures)


def _asked_for(
    what: str, study: str | None, overrides: Sequence[str], options: _DrawOptions, out: Path
) -> Iterator[tuple[str, Path]]:
    """Draw the figures of data, or of the images that models get wrong; yield a title and a file of each."""
    if options["hardest"] is not None:
        if any(options[name] for name in ("grid", "label", "number", "first", "as_given", "captions")):
            raise UsageError("--hardest draws no other images: ask for them one by one")
        if study or overrides:
            raise UsageError("--hardest takes --where, --split, --count and --out; its results say the rest")
        yield from _hardest(what, options["hardest"], options, out)
        return
    if options["where"] is not None:
        raise UsageError("--where says which trained models --hardest asks: give --hardest RESULTS too")
    if options["as_given"] and (overrides or options["split"] == "val"):
        raise UsageError("--as-given divides nothing: it goes with no --set and no --split val")
    yield from _drawn(what, study, overrides, options, out)


def _drawn(
    what: str, study: str | None, overrides: Sequence[str], options: _DrawOptions, out: Path
) -> Iterator[tuple[str, Path]]:
    """Draw the figures of data that the options ask for; yield a title and the PNG of each."""
    from harness.data import cards
    from harness.gallery import dataset_pages, views

    dataset, chosen = _shown(what, study, overrides)
    names = dict.fromkeys(part.dataset for part in views.divisions(chosen, dataset).values())
    request = _request(options)
    for name in names:
        _show_notes(chosen.dataset(name))
        if request.kinds == COUNTS:
            click.echo("\n".join(cards.card(chosen.dataset(name)).words(with_remark=False)))
    undivided = dataset is not None and not study and not overrides and options["split"] != "val"
    whole = options["as_given"] or (undivided and request.kinds != COUNTS)
    if not whole:
        yield from dataset_pages.draw(chosen, request, out, dataset)
        return
    for name in names:
        stem = f"{name}-as-given" if request.kinds == COUNTS else name
        yield from dataset_pages.draw_view(views.as_given(chosen.dataset(name)), request, out, stem)


def _request(options: _DrawOptions) -> ImageRequest:
    from harness.gallery.dataset_pages import ImageRequest
    from harness.gallery.image_choice import ImageChoice

    choice, split = None, options["split"] or "train"
    names: tuple[Literal["number", "first", "label", "count"], ...] = ("number", "first", "label", "count")
    if any(options[name] is not None for name in names):
        choice = ImageChoice(
            split, options["label"], options["number"], options["first"],
            options["count"], options["seed"],
        )  # fmt: skip
    kinds: tuple[Kind, ...] = ("grid",) if options["grid"] else () if choice else COUNTS
    return ImageRequest(kinds, choice, options["captions"], options["ink"], options["seed"] or 0, split)


def _hardest(dataset: str, folder: Path, options: _DrawOptions, out: Path) -> Iterator[tuple[str, Path]]:
    """Draw the images that most trained models of a folder get wrong; yield a title and a file of each."""
    from harness.gallery import prediction_pages
    from harness.results import read

    results = read(folder)
    known = list(dict.fromkeys(results.trials["dataset"]))
    if dataset not in known:
        raise UsageError(
            f"{results.folder} has no trial on a data set {dataset!r}: {did_you_mean(dataset, known)}"
        )
    split, count = options["split"] or "test", options["count"] or 18
    yield from prediction_pages.draw_hardest(results, split, count, out, dataset, options["where"] or "")


def _shown(what: str, study: str | None, overrides: Sequence[str]) -> tuple[str | None, Study]:
    """Return the data set to show (None for all of the study's) and the study that divides it."""
    from harness.gallery import views
    from harness.study.reading import load

    if study is None:
        return views.named(what, overrides)
    loaded = load(study, overrides)
    return loaded.dataset(what).name, loaded

"""Export and reading again: the same pixels, labels, order and class names."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import cache, decoded_cache
from harness.data.datasets import Dataset, datasets
from harness.data.images import Images
from harness.errors import MachineError, UsageError
from harness.exporting import image_files
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import runs

SETTINGS = {"epochs": 2, "hidden": [8]}
METRICS = [f"{split}_{metric}" for split in ("train", "val", "test") for metric in ("loss", "accuracy")]


def declared(table: str) -> Study:
    return parse({"study": {"name": "own"}, **tomllib.loads(table)})


def round_trip(name: str, form: image_files.Format, folder: Path) -> tuple[Images, Dataset]:
    """The images read again, and the data set that the printed table declares."""
    study = declared(image_files.export(datasets[name], form, folder))
    (dataset,) = study.datasets.values()
    return dataset.load(), dataset


def assert_same(images: Images, dataset: Dataset, name: str) -> None:
    original = datasets[name]
    expected = original.load()
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(images, part), getattr(expected, part))
    facts, known = dataset.facts, original.facts
    assert (facts.digest, facts.classes, facts.pixel_max) == (known.digest, known.classes, known.pixel_max)


def require_cached(name: str) -> None:
    if any(state.status != "ok" for state in cache.verify(name)):
        pytest.skip(f"{name} is not in the cache; `harness data fetch {name}` puts it there")


@pytest.mark.parametrize("form", image_files.FORMATS)
def test_exported_digits_are_read_back_unchanged(form: image_files.Format, tmp_path: Path) -> None:
    assert_same(*round_trip("digits", form, tmp_path / "new" / "folder"), "digits")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_70_000_images_are_read_back_from_idx(name: str, tmp_path: Path) -> None:
    require_cached(name)
    assert_same(*round_trip(name, "idx", tmp_path), name)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["png", "npy"])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_70_000_images_are_read_back_from_a_file_each(
    name: str, form: image_files.Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_cached(name)
    monkeypatch.setattr(decoded_cache, "SLOW", 3600.0)  # nothing is left in the person's own cache
    assert_same(*round_trip(name, form, tmp_path), name)


def test_a_study_on_the_copies_gives_the_numbers_of_the_original(tmp_path: Path) -> None:
    forms: tuple[image_files.Format, ...] = ("png", "npy", "idx")
    tables = [image_files.export(datasets["digits"], form, tmp_path / form) for form in forms]
    study = parse(
        {
            "study": {"name": "copies", "seeds": 2},
            "baseline": SETTINGS,
            "axes": {"dataset": ["digits", "digits_png", "digits_npy", "digits_idx"]},
            **tomllib.loads("\n".join(tables)),
        }
    )
    # Two workers: spawned processes know the study's data sets too.
    trials = runs.run(study, tmp_path / "results", workers=2, device="cpu").trials
    assert trials["status"].tolist() == ["ok"] * 8
    assert trials["trial_id"].is_unique
    original = trials[trials["dataset"].eq("digits")][["seed", *METRICS]].to_numpy()
    for _, copy in trials.groupby("dataset"):
        np.testing.assert_array_equal(copy[["seed", *METRICS]].to_numpy(), original)


def test_hundreds_of_classes_their_names_and_flat_images_survive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(300), 2))
    pixels = rng.integers(0, 256, (600, 3, 5), np.uint8)
    names = tuple(f"kind {i}" for i in range(300))
    many = Dataset("many", lambda: Images(pixels, labels, pixels[:300], labels[:300]), names)
    for form in image_files.FORMATS:
        (copy,) = declared(image_files.export(many, form, tmp_path / form)).datasets.values()
        assert copy.facts == many.facts
    assert (tmp_path / "png" / "train" / f"{labels[0]:03d}_000000.png").is_file()


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    for copy in "ab":
        image_files.export(datasets["digits"], "idx.gz", tmp_path / copy)
    written = sorted((tmp_path / "a").iterdir())
    assert len(written) == 4
    for path in written:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_only_a_new_or_empty_folder_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty: it holds 'notes\.txt'"):
        image_files.export(datasets["digits"], "idx", tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        image_files.export(datasets["digits"], "idx", tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("error", "seen"),
    [(OSError(28, "No space left"), MachineError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_an_export_that_stops_leaves_nothing(
    error: BaseException, seen: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _image: Any) -> None:
        if "000009" in path.name:
            raise error

    monkeypatch.setattr(image_files, "_write_png", full)
    with pytest.raises(seen):
        image_files.export(datasets["digits"], "png", tmp_path)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_export_are_not_a_data_set_and_are_overwritten(tmp_path: Path) -> None:
    image_files.export(datasets["digits"], "npy", tmp_path)
    left = tmp_path / f"{image_files.UNFINISHED}x1"
    left.mkdir()
    for path in list(tmp_path.iterdir()):
        if path != left:
            path.rename(left / path.name)
    killed = declared(f"[datasets.killed]\nformat = 'npy'\npath = '{tmp_path}'").datasets["killed"]
    with pytest.raises(UsageError, match=r"train_labels\.npy: is missing"):
        killed.load()
    assert_same(*round_trip("digits", "npy", tmp_path), "digits")
    assert not left.exists()

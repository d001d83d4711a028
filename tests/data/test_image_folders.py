"""A person's own folders: read whole, or refused with the file's name; declared in a study."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from numpy.typing import NDArray
from PIL import Image

import harness
from harness import results
from harness.data import idx
from harness.data.datasets import Dataset, datasets
from harness.data.images import Images
from harness.data.samples import prepare
from harness.errors import UsageError
from harness.exporting import image_files
from harness.gallery import predicted_images, views
from harness.planning.plan import make
from harness.registry import PACKAGE_ROOT
from harness.results import predictions
from harness.study.reading import load, parse
from harness.study.study import Study
from harness.study.trials import arms, trials
from harness.training import runs

Damage = Callable[[Path], object]
Writer = Callable[[image_files.Format], Path]
TRAIN, TEST = 40, 20
DIGITS = datasets["digits"].load()
SMALL = Images(
    DIGITS.train_images[:TRAIN],
    DIGITS.train_labels[:TRAIN],
    DIGITS.test_images[:TEST],
    DIGITS.test_labels[:TEST],
)
"""40 real digits to train on, beginning with 0 to 9 three times, and 20 to test."""


@pytest.fixture
def folder_of(tmp_path: Path) -> Writer:
    """SMALL, written in a format."""

    def make(form: image_files.Format) -> Path:
        image_files.export(Dataset("small", lambda: SMALL, classes=None), form, tmp_path / "scans")
        return tmp_path / "scans"

    return make


def declared(folder: Path, form: str, **table: Any) -> Study:
    """A study that trains on a folder."""
    return parse(
        {
            "study": {"name": "own", "seeds": 1},
            "baseline": {
                "dataset": "scans",
                "epochs": 1,
                "hidden": [4],
                "batch_size": 4,
                "val_split": "random",
            },
            "datasets": {"scans": {"format": form, "path": str(folder), **table}},
        }
    )


def read(folder: Path, form: str, **table: Any) -> Images:
    return declared(folder, form, **table).datasets["scans"].load()


def ids(study: Study) -> set[str]:
    return {trial.trial_id for trial in trials(study)[0]}


# ------------------------------------------------------------------------------------------------ formats


def test_png_files_come_class_after_class_unless_asked_by_number(folder_of: Writer) -> None:
    folder = folder_of("png")
    images = read(folder, "png")
    order = np.argsort(SMALL.train_labels, kind="stable")
    np.testing.assert_array_equal(images.train_labels, np.sort(SMALL.train_labels))
    np.testing.assert_array_equal(images.train_images, SMALL.train_images[order])
    assert images.train_names[:2] == ("0_000000.png", "0_000010.png")
    np.testing.assert_array_equal(read(folder, "png", order="number").train_images, SMALL.train_images)


def test_names_are_those_of_the_files(folder_of: Writer) -> None:
    images = read(folder_of("npy"), "npy")
    assert images.test_names[:2] == ("img_00000.npy", "img_00001.npy")
    assert (len(images.train_names), len(images.test_names)) == (TRAIN, TEST)


def test_idx_takes_test_for_t10k_and_gz_beside_raw(folder_of: Writer) -> None:
    folder = folder_of("idx")
    for path in list(folder.glob("t10k-*")):
        path.rename(path.with_name(path.name.replace("t10k", "test")))
    labels = folder / "train-labels-idx1-ubyte"
    (folder / f"{labels.name}.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    images = read(folder, "idx")
    np.testing.assert_array_equal(images.test_images, SMALL.test_images)
    np.testing.assert_array_equal(images.train_labels, SMALL.train_labels)
    assert images.train_names == ()


def test_files_of_file_browsers_are_ignored(folder_of: Writer) -> None:
    folder = folder_of("png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._7_000001.png"):
        (folder / "train" / name).write_bytes(b"litter")
    assert len(read(folder, "png").train_labels) == TRAIN


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_images_of_fewer_bits_are_scaled(mode: str, folder_of: Writer) -> None:
    folder = folder_of("png")
    diagonal = np.eye(8, dtype=np.uint8) * 255
    Image.fromarray(diagonal).convert(mode).save(folder / "train" / "0_000000.png")
    np.testing.assert_array_equal(read(folder, "png").train_images[0], diagonal)


def test_npy_files_of_any_version_and_memory_order_are_read(folder_of: Writer) -> None:
    folder = folder_of("npy")
    np.save(folder / "train_imgs" / "img_00000.npy", np.asfortranarray(SMALL.train_images[0]))
    with (folder / "train_imgs" / "img_00001.npy").open("wb") as file:
        np.lib.format.write_array(file, SMALL.train_images[1], version=(2, 0))
    np.save(folder / "test_labels.npy", SMALL.test_labels.astype(np.uint8))
    images = read(folder, "npy")
    np.testing.assert_array_equal(images.train_images, SMALL.train_images)
    np.testing.assert_array_equal(images.test_labels, SMALL.test_labels)


# -------------------------------------------------------------------------------------------------- faults


def write(name: str, content: bytes = b"") -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def remove(pattern: str) -> Damage:
    def damage(folder: Path) -> None:
        found = list(folder.glob(pattern))
        assert found
        for path in found:
            path.unlink()

    return damage


def remove_folder(name: str) -> Damage:
    return lambda folder: shutil.rmtree(folder / name)


def cut(name: str, by: int = 20) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-by])


def save(name: str, array: NDArray[Any]) -> Damage:
    return lambda folder: np.save(folder / name, array)


def picture(name: str, image: Image.Image, form: str = "PNG") -> Damage:
    return lambda folder: image.save(folder / name, form)


def rename(old: str, new: str) -> Damage:
    return lambda folder: (folder / old).rename(folder / new)


def pack(name: str, array: NDArray[Any]) -> Damage:
    return write(name, idx.pack(array))


def replace(name: str, old: bytes, new: bytes) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new))

    return damage


def widen_test(folder: Path) -> None:
    for path in (folder / "test").iterdir():
        WIDE.save(path)


BLACK = np.zeros((8, 8, 3), np.uint8)
COLOUR, DEEP = Image.fromarray(BLACK), Image.fromarray(BLACK[..., 0].astype(np.uint16))
GREY, WIDE = Image.fromarray(BLACK[..., 0]), Image.fromarray(np.zeros((8, 9), np.uint8))
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TO_NINE = list(range(1, 10))
NPY = "train_imgs/img_00005.npy"
FAULTS: dict[str, tuple[image_files.Format, Damage, str]] = {
    "png cut": ("png", cut("train/3_000013.png", 40), r"train/3_000013\.png: .*copy it again"),
    "png cut in its header": ("png", cut("train/3_000013.png", 75), r"train/3_000013\.png: "),
    "png empty": ("png", write("test/3_000003.png"), r"3_000003\.png: is not a PNG.*copy it again"),
    "a jpeg": ("png", picture("train/0_000000.png", GREY, "JPEG"), r"0_000000\.png: is not a PNG"),
    "colour": (
        "png",
        picture("train/0_000000.png", COLOUR),
        r"0_000000\.png: .* 3 channels, .*one number of channels",
    ),
    "a palette": (
        "png",
        picture("train/0_000000.png", COLOUR.convert("P")),
        r"0_000000\.png: .* 3 channels, .*one number of channels",
    ),
    "16 bits": (
        "png",
        picture("train/0_000000.png", DEEP),
        r"0_000000\.png: .* of 16 bits, .*one number of bits",
    ),
    "png size": (
        "png",
        picture("train/7_000007.png", WIDE),
        r"7_000007\.png: is 8 x 9 .*8 x 8 pixels; allowed is one",
    ),
    "test of another size": ("png", widen_test, r"train/\S+: is 8 x 8 pixels, test/\S+ 8 x 9"),
    "label in words": (
        "png",
        rename("train/7_000007.png", "train/seven_1.png"),
        r"seven_1\.png: the name does",
    ),
    "no label": ("png", rename("train/7_000007.png", "train/7.png"), r"7\.png: .*named LABEL_NUMBER\.png"),
    "no png": ("png", write("train/7_000099.jpg"), r"7_000099\.jpg: the name does not fit"),
    "a folder inside": ("png", lambda f: (f / "train/7").mkdir(), r"train/7: is not a file; move it away"),
    "png class without image": (
        "png",
        remove("train/4_*"),
        r"train: no train image of class 4, of classes 0\.\.9",
    ),
    "absurd label": (
        "png",
        rename("train/7_000007.png", "train/999999999_1.png"),
        r"of class 10, 11, .* more, of",
    ),
    "missing folder": ("png", remove_folder("test"), r"scans/test: is missing; allowed: files named LABEL"),
    "empty folder": ("png", remove("test/*"), r"scans/test: contains no file"),
    "one class": ("png", remove("*/[1-9]_*"), r"every label is 0; allowed: at least 2 classes"),
    "missing image": (
        "npy",
        remove("train_imgs/img_00013.npy"),
        r"train_imgs: no img_00013\.npy; .*39 are there",
    ),
    "too many images": (
        "npy",
        save("train_imgs/img_00040.npy", BLACK),
        r"40 labels for 41 images: none for img_00040",
    ),
    "too few labels": (
        "npy",
        save("train_labels.npy", np.arange(3)),
        r"3 labels for 40 images: .*and 32 more",
    ),
    "number twice": (
        "npy",
        save("train_imgs/img_5.npy", BLACK),
        r"img_5\.npy: has the same number as img_00005",
    ),
    "no number": ("npy", rename(NPY, "train_imgs/one.npy"), r"one\.npy: the name does not fit"),
    "npy cut": (
        "npy",
        cut(NPY),
        r"img_00005\.npy: is cut .*64 bytes after its header, got 44; copy it again",
    ),
    "npy cut in its header": ("npy", cut(NPY, 100), r"img_00005\.npy: .*header"),
    "npy empty": ("npy", write(NPY), r"img_00005\.npy: is not a \.npy file"),
    "npy header": (
        "npy",
        replace(NPY, b"'descr'", b"'d(scr'"),
        r"img_00005\.npy: its \.npy header is damaged",
    ),
    "floats": (
        "npy",
        save(NPY, np.ones((8, 8))),
        r"img_00005\.npy: got float64 of shape \(8, 8\); allowed: uint8",
    ),
    "npy colour": ("npy", save(NPY, BLACK), r"img_00005\.npy: is 8 x 8 pixels in 3 channels, .*one number"),
    "npy size": ("npy", save(NPY, BLACK[:, :, 0]), r"img_00005\.npy: is 8 x 8 pixels, .* 8 x 9"),
    "no labels": (
        "npy",
        remove("train_labels.npy"),
        r"train_labels\.npy: is missing; allowed: whole numbers",
    ),
    "text": ("npy", save("train_labels.npy", np.array(["a"] * TRAIN)), r"labels are not numbers: got <U1"),
    "float labels": (
        "npy",
        save("train_labels.npy", np.zeros(TRAIN)),
        r"labels: got float64 of shape \(40,\); .*labels = labels\.astype\(np\.int64\)",
    ),
    "objects": ("npy", save("train_labels.npy", np.array([None] * TRAIN)), r"holds Python objects"),
    "one-hot": ("npy", save("train_labels.npy", np.eye(TRAIN, dtype=int)), r"got int64 of shape \(40, 40\)"),
    "labels cut": ("npy", cut("train_labels.npy"), r"train_labels\.npy: is cut or damaged: .*got 300"),
    "negative": (
        "npy",
        save("train_labels.npy", np.array([-1, *TO_NINE] * 4)),
        r"label 0 is -1; allowed: 0 and up",
    ),
    "npy class without image": (
        "npy",
        save("train_labels.npy", np.array([9, *TO_NINE] * 4)),
        r"of class 0, of",
    ),
    "npy missing folder": (
        "npy",
        remove_folder("test_imgs"),
        r"test_imgs: is missing; allowed: files named img_",
    ),
    "missing file": ("idx", remove("t10k-labels*"), r"t10k-labels-idx1-ubyte: is missing; .* or test-labels"),
    "idx cut": ("idx", cut(IMAGES), r"train-images-idx3-ubyte: cut"),
    "gz cut": ("idx.gz", cut(f"{IMAGES}.gz"), r"train-images-idx3-ubyte\.gz: damaged or cut gzip"),
    "idx count": (
        "idx",
        pack(LABELS, np.arange(10, dtype=np.uint8)),
        r"ubyte: 10 labels, and 40 images in train",
    ),
    "idx colour": (
        "idx",
        pack(IMAGES, np.zeros((40, 3, 8, 8), np.uint8)),
        r"ubyte: got .*\(40, 3, 8, 8\).*images = np\.moveaxis\(images, 1, -1\)",
    ),
    "idx floats": (
        "idx",
        pack(LABELS, np.zeros(TRAIN)),
        r"labels-idx1-ubyte: labels: got float64 of shape \(40,\)",
    ),
    "idx size": (
        "idx",
        pack(IMAGES, np.zeros((40, 8, 9), np.uint8)),
        r"images are 8 x 8 pixels, .*train\S+ 8 x 9",
    ),
    "t10k and test": (
        "idx",
        pack(LABELS.replace("train", "test"), np.zeros(TEST, np.uint8)),
        r"both are there",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_reported_with_its_file_before_training(
    fault: str, folder_of: Writer, tmp_path: Path
) -> None:
    form, damage, words = FAULTS[fault]
    folder = folder_of(form)
    if fault == "npy size":
        for path in (folder / "test_imgs").iterdir():
            np.save(path, np.zeros((8, 9), np.uint8))
        for path in (folder / "train_imgs").iterdir():
            np.save(path, np.zeros((8, 9), np.uint8))
    damage(folder)
    study = declared(folder, form.removesuffix(".gz"))
    with pytest.raises(UsageError, match=words) as caught:
        runs.train(study, tmp_path / "results")
    assert f"data set 'scans', {form.removesuffix('.gz')} folder {folder}" in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_faults_are_reported_together_and_many_are_counted(folder_of: Writer) -> None:
    folder = folder_of("png")
    for path in list((folder / "train").iterdir()):
        path.write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        read(folder, "png")
    assert "40 problems, nothing was run" in str(caught.value)
    assert str(caught.value).count("is not a PNG") == 10
    assert str(caught.value).endswith("- and 30 more")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"classes": list("abcdefgh")}, r"8_000008\.png: its label is 8; allowed: 0\.\.7, for its 8 classes"),
        ({"classes": list("abcdefghijkl")}, r"no train image of class 10 \(k\), 11 \(l\), of .*name fewer"),
        ({"pixel_max": 9}, r"_0000\d\d\.png: has a pixel of 1[0-6]; allowed: 0\.\.9, the study's pixel_max"),
    ],
)
def test_a_folder_that_contradicts_its_table_is_refused(
    table: dict[str, Any], words: str, folder_of: Writer
) -> None:
    folder = folder_of("png")
    with pytest.raises(UsageError, match=words):
        read(folder, "png", **table)


def test_order_by_number_needs_numbers_each_once(folder_of: Writer) -> None:
    folder = folder_of("png")
    (folder / "train" / "0_000000.png").rename(folder / "train" / "0_000001.png")
    with pytest.raises(UsageError, match=r"1_000001\.png: has the same number as 0_000001\.png"):
        read(folder, "png", order="number")
    (folder / "train" / "0_000001.png").rename(folder / "train" / "0_a.png")
    with pytest.raises(UsageError, match=r"0_a\.png: the name does not fit"):
        read(folder, "png", order="number")
    assert "0_a.png" in read(folder, "png").train_names


# ------------------------------------------------------------------------------------------------- studies


def test_problems_of_tables_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        parse(
            {
                "study": {"name": "bad"},
                "baseline": {"dataset": "scan"},
                "datasets": {
                    "mnist": {"format": "png", "path": str(tmp_path)},
                    "scans": {"format": "jpeg", "path": str(tmp_path / "none"), "clases": ["a"]},
                    "more": {"format": "idx", "path": str(tmp_path), "classes": ["a", "a"]},
                    "other": {"format": "npy", "path": str(tmp_path), "order": "number"},
                    "1st": {"format": "png"},
                    "text": "scans/",
                },
            }
        )
    told = str(caught.value)
    for words in (
        "[datasets.mnist]: the name is taken by a data set in harness/data/datasets.py",
        "datasets.scans.format = 'jpeg': allowed: 'png', 'folders', 'npy', 'npz', 'idx' or 'cifar'",
        f"datasets.scans.path = '{tmp_path / 'none'}': allowed: a folder that is there",
        "datasets.scans.clases: unknown key; did you mean 'classes'?",
        "datasets.more.classes = ['a', 'a']: allowed: a name for each class, none twice",
        "order = 'number' with format = 'png' only",
        "[datasets.1st]: the name does not fit",
        "datasets.1st.path: missing; give it a path",
        "datasets.text = 'scans/': allowed: a table",
        "did you mean 'scans'?",
    ):
        assert words in told


def test_paths_are_relative_to_the_study_file_and_become_absolute(folder_of: Writer, tmp_path: Path) -> None:
    folder_of("idx")
    tables = declared(tmp_path / "scans", "idx").tables()
    tables["datasets"]["scans"]["path"] = "scans/"
    (tmp_path / "own.toml").write_text(tomli_w.dumps(tables))
    study = load(tmp_path / "own.toml")
    runs.train(study, tmp_path / "results", workers=1, device="cpu")
    again = load(tmp_path / "results" / "study.toml")
    assert ids(again) == ids(study)
    summary = runs.train(again, tmp_path / "results", workers=1, device="cpu")
    assert (summary.trained, summary.statuses) == (0, {"ok": 1})


def test_pixels_labels_order_and_scale_decide_the_trial_id(folder_of: Writer) -> None:
    folder = folder_of("png")
    found = [ids(declared(folder, "png")), ids(declared(folder, "png", order="number"))]
    found += [ids(declared(folder, "png", pixel_max=16))]
    (folder / "train" / "0_000000.png").rename(folder / "train" / "1_000000.png")
    found += [ids(declared(folder, "png"))]
    Image.fromarray(SMALL.train_images[0][::-1]).save(folder / "train" / "1_000000.png")
    found += [ids(declared(folder, "png"))]
    assert len(set.union(*found)) == len(found) == 5
    assert ids(declared(folder, "png", classes=list("abcdefghij"))) == found[-1]


def test_a_changed_folder_is_refused_for_old_results(folder_of: Writer, tmp_path: Path) -> None:
    folder = folder_of("png")
    runs.train(declared(folder, "png"), tmp_path / "results", workers=1, device="cpu")
    before = results.read(tmp_path / "results").trials
    (folder / "train" / "0_000000.png").unlink()
    changed = declared(folder, "png")
    with pytest.raises(UsageError, match="trained on other data called 'scans'"):
        runs.train(changed, tmp_path / "results", workers=1, device="cpu")
    assert results.read(tmp_path / "results").trials.equals(before)


def test_two_studies_may_call_different_folders_the_same(folder_of: Writer, tmp_path: Path) -> None:
    folder = folder_of("npy")
    other = dataclasses.replace(SMALL, train_images=SMALL.train_images[:, ::-1])
    image_files.export(Dataset("turned", lambda: other, classes=None), "npy", tmp_path / "turned")
    first, second = declared(folder, "npy"), declared(tmp_path / "turned", "npy")
    for study, images in ((first, SMALL), (second, other), (first, SMALL)):
        assert next(arms(study)).settings.data is study.dataset("scans")
        data = prepare(make(study).trials[0].arm.settings)
        expected = images.train_images[data.train.index].reshape(len(data.train.index), -1) / 255
        np.testing.assert_allclose(data.train.x, expected, rtol=1e-6)
    assert not ids(first) & ids(second)


@pytest.fixture
def two_studies(folder_of: Writer, tmp_path: Path) -> tuple[Study, Study]:
    """Two studies, both loaded, that call different folders "scans": 40 images of 10 classes, 24 of 2."""
    first = declared(folder_of("npy"), "npy")
    chosen, tested = SMALL.train_labels < 2, SMALL.test_labels < 2
    few = Images(
        np.tile(SMALL.train_images[chosen], (3, 1, 1)), np.tile(SMALL.train_labels[chosen], 3),
        SMALL.test_images[tested], SMALL.test_labels[tested],
    )  # fmt: skip
    image_files.export(Dataset("few", lambda: few, classes=None), "npy", tmp_path / "few")
    return first, declared(tmp_path / "few", "npy")


def test_a_study_keeps_its_own_images_after_another_was_loaded(two_studies: tuple[Study, Study]) -> None:
    first, second = two_studies
    seen = {}
    for study in (first, second, first):
        facts = study.dataset("scans").facts
        data = prepare(next(arms(study)).settings)
        ((_, settings),) = views.divisions(study).items()
        divided = views.view(settings)
        assert (len(data.train.y) + len(data.val.y), len(data.classes)) == (facts.train, len(facts.classes))
        assert (divided.facts, len(divided.labels["test"])) == (facts, facts.test)
        assert make(study).datasets["scans"].facts == facts
        seen[facts.digest] = facts
    assert [(facts.train, len(facts.classes)) for facts in seen.values()] == [(40, 10), (24, 2)]


def test_loaders_take_a_studys_own_data_set(two_studies: tuple[Study, Study]) -> None:
    first, second = (harness.split_dataset(study.dataset("scans"), "test") for study in two_studies)
    assert (len(first.classes), len(second.classes)) == (10, 2)
    batch, _ = next(iter(harness.loader(two_studies[0].dataset("scans"), "test", batch_size=4)))
    assert torch.equal(batch, first.x[:4])
    with pytest.raises(UsageError, match=r"belongs to the study: give study\.dataset\('scans'\)"):
        harness.loader("scans", "test")


def test_a_notebook_may_load_two_studies_and_then_run_the_first(
    two_studies: tuple[Study, Study], tmp_path: Path
) -> None:
    for name, study, classes in zip(("first", "second"), two_studies, (10, 2), strict=True):
        found = runs.run(study, tmp_path / name, workers=1, device="cpu")
        assert list(found.trials["status"]) == ["ok"]
        assert set(found.trials["trial_id"]) == ids(study)
        pictures_of = predicted_images.originals(found, "scans", "train")
        assert len(pictures_of.facts.classes) == classes
        assert pictures_of.facts == study.dataset("scans").facts
        assert set(predictions.table(found, found.trials.iloc[0], "test")["label"]) <= set(range(classes))


def test_a_study_without_the_folder_does_not_know_the_name(folder_of: Writer) -> None:
    assert declared(folder_of("idx"), "idx").dataset("scans").facts.train == TRAIN
    assert "scans" not in datasets
    with pytest.raises(UsageError, match="unknown dataset; "):
        parse({"study": {"name": "other"}, "baseline": {"dataset": "scans"}})


def test_planning_on_a_folder_needs_no_torch(folder_of: Writer, tmp_path: Path) -> None:
    tables = declared(folder_of("png"), "png").tables()
    (tmp_path / "own.toml").write_text(tomli_w.dumps(tables))
    code = (
        "import sys; from harness.study.reading import load; from harness.planning.plan import make; "
        f"print(len(make(load({str(tmp_path / 'own.toml')!r})).trials), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PACKAGE_ROOT.parent
    )
    assert done.stdout.split() == ["1", "False"]

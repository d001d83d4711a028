"""Every format that a person's own images may have: written here from real digits, read to the pixel."""

from __future__ import annotations

import gzip
import io
import itertools
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import harness
from harness import results
from harness.cli.main import harness as command
from harness.data import decoded_cache, idx
from harness.data.datasets import Dataset, datasets
from harness.data.images import Images
from harness.errors import UsageError
from harness.study.reading import parse
from harness.study.study import Study
from harness.system import resources

DIGITS = datasets["digits"].load()
SHADES = (DIGITS.train_images[:80].astype(np.uint16) * 15 + 7).astype(np.uint8)
LABELS = DIGITS.train_labels[:80]
COLOUR = np.stack([SHADES, 255 - SHADES, SHADES // 2], -1)
"""80 real digits, 8 x 8, of which the parts below are taken; in colour: bright on its complement."""
WIDE = np.kron(COLOUR, np.ones((1, 4, 4, 1), np.uint8))
"""The same, 32 x 32."""
PARTS = {"train": slice(0, 40), "val": slice(40, 60), "test": slice(60, 80)}


def study(path: Path, form: str, **table: Any) -> Study:
    baseline = {"dataset": "mine", "epochs": 1, "hidden": [4], "batch_size": 8, "val_split": "random"}
    own = {"mine": {"format": form, "path": str(path), **table}}
    return parse({"study": {"name": "own", "seeds": 1}, "baseline": baseline, "datasets": own})


def dataset(path: Path, form: str, **table: Any) -> Dataset:
    return study(path, form, **table).dataset("mine")


def check(
    found: Dataset, train: NDArray[Any], test: NDArray[Any], labels: Sequence[NDArray[Any]] = ()
) -> Images:
    images = found.load()
    trained, tested = labels or (LABELS[PARTS["train"]], LABELS[PARTS["test"]])
    for got, expected in (
        (images.train_images, train), (images.test_images, test),
        (images.train_labels, trained), (images.test_labels, tested),
    ):  # fmt: skip
        np.testing.assert_array_equal(got, expected)
    assert images.train_images.dtype == train.dtype
    assert images.train_images.flags.writeable
    assert found.facts.shape == train.shape[1:]
    return images


def split(images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return images[PARTS["train"]], images[PARTS["test"]]


def fault(path: Path, form: str, **table: Any) -> str:
    with pytest.raises(UsageError) as caught:
        dataset(path, form, **table).load()
    return str(caught.value)


# ----------------------------------------------------------------------------------------------------- png


def pngs(
    folder: Path, images: NDArray[Any], save: Callable[[NDArray[Any], Path], object] | None = None
) -> Path:
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        for i in range(80)[PARTS[part]]:
            path = folder / part / f"{LABELS[i]}_{i:04d}.png"
            (save or (lambda image, path: Image.fromarray(image).save(path)))(images[i], path)
    return folder


@pytest.mark.parametrize(
    "images", [SHADES, COLOUR, SHADES.astype(np.uint16) * 257], ids=["grey", "rgb", "deep"]
)
def test_png_keeps_channels_and_bits(images: NDArray[Any], tmp_path: Path) -> None:
    table = {"order": "number", "pixel_max": int(np.iinfo(images.dtype).max)}
    check(dataset(pngs(tmp_path / "a", images), "png", **table), *split(images))


def opaque(image: NDArray[Any], path: Path) -> None:
    Image.fromarray(image).convert("RGBA").save(path)


def palette(image: NDArray[Any], path: Path) -> None:
    """At most 64 colours, each by its number."""
    colours, numbers = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    picture = Image.fromarray(numbers.reshape(8, 8).astype(np.uint8)).convert("P")
    picture.putpalette(colours.astype(np.uint8).tobytes())
    picture.save(path)


@pytest.mark.parametrize("save", [opaque, palette])
def test_full_alpha_and_palettes_are_colours(save: Callable[..., None], tmp_path: Path) -> None:
    check(dataset(pngs(tmp_path / "a", COLOUR, save), "png", order="number"), *split(COLOUR))


def test_grey_with_full_alpha_is_grey(tmp_path: Path) -> None:
    folder = pngs(tmp_path / "a", SHADES, lambda a, path: Image.fromarray(a).convert("LA").save(path))
    check(dataset(folder, "png", order="number"), *split(SHADES))


def test_16_bits_are_turned_upright_like_any_other(tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6
    deep = SHADES.astype(np.uint16) * 100
    save = lambda a, path: Image.fromarray(np.rot90(a).copy()).save(path, exif=tag)  # noqa: E731
    check(dataset(pngs(tmp_path / "a", deep, save), "png", order="number", pixel_max=25_500), *split(deep))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(kind: int, row: bytes) -> bytes:
    """A PNG of 8 x 8 pixels of 16 bits a channel."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, kind, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress((b"\0" + row) * 8)) + chunk(b"IEND", b"")
    )


def spoil(name: str, content: bytes | Image.Image) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = next(folder.glob(name))
        path.write_bytes(content) if isinstance(content, bytes) else content.save(path, "PNG")

    return damage


PNG_FAULTS = {
    "mixed channels": (
        spoil("train/3_*", Image.fromarray(COLOUR[0])),
        r"3_0013\.png: is 8 x 8 pixels in 3 channels, test/0_0072\.png 8 x 8 pixels; allowed is one number",
    ),
    "mixed bits": (
        spoil("test/3_*", Image.fromarray(SHADES[0].astype(np.uint16))),
        r"test/3_\d+\.png: is 8 x 8 pixels of 16 bits, test/0_0072\.png 8 x 8 pixels; allowed is one number",
    ),
    "deep colour": (spoil("train/3_*", png(2, bytes(48))), r"3_0013\.png: is a PNG of mode RGB with 16 bits"),
    "deep alpha": (spoil("train/3_*", png(6, bytes(64))), r"3_0013\.png: is a PNG of mode RGBA with 16 b"),
    "transparent": (
        spoil("train/3_*", Image.fromarray(np.concatenate([COLOUR[0], COLOUR[0][..., :1]], -1))),
        r"mode RGBA \(transparent\); allowed: grey or colour without",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PNG_FAULTS)
def test_pngs_that_differ_or_would_lose_something_are_refused(kind: str, tmp_path: Path) -> None:
    damage, words = PNG_FAULTS[kind]
    damage(pngs(tmp_path / "a", SHADES))
    with pytest.raises(UsageError, match=words):
        dataset(tmp_path / "a", "png").load()


def test_16_bits_need_the_value_of_a_full_pixel(tmp_path: Path) -> None:
    said = fault(pngs(tmp_path / "a", SHADES.astype(np.uint16) * 16), "png")
    assert "The images have 16 bits a pixel, up to" in said
    assert "pixel_max = 65535, or the largest that the camera or scanner can give (4095 of 12 bits)" in said


# ------------------------------------------------------------------------------------------------- folders


def class_folders(
    folder: Path, images: NDArray[Any] = COLOUR, end: str = "png", names: str = "abcdefghij"
) -> Path:
    for part in ("train", "val", "test"):
        for i in range(80)[PARTS[part]]:
            path = folder / part / names[LABELS[i]] / f"{i:04d}.{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[i]).save(path)
    return folder


def by_class(*parts: str) -> list[int]:
    return [i for part in parts for i in sorted(range(80)[PARTS[part]], key=lambda i: (LABELS[i], i))]


def test_a_folder_a_class_gives_names_and_joins_val(tmp_path: Path) -> None:
    found = dataset(class_folders(tmp_path / "a"), "folders")
    train, test = by_class("train", "val"), by_class("test")
    images = check(found, COLOUR[train], COLOUR[test], (LABELS[train], LABELS[test]))
    assert found.facts.classes == tuple("abcdefghij")
    assert images.train_names[0] == "a/0000.png"
    assert found.facts.said == (
        (
            "its 20 images of val/ are the last of train's 60: val is drawn from all of them, unless "
            "val_split = 'last' and val_fraction = 0.333333 keep these"
        ),
    )


def test_without_test_the_images_of_val_are_test_and_that_is_said(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a")
    (folder / "test").rename(tmp_path / "away")
    (folder / "val").rename(folder / "valid")
    found = dataset(folder, "folders")
    train, test = by_class("train"), by_class("val")
    check(found, COLOUR[train], COLOUR[test], (LABELS[train], LABELS[test]))
    assert "the images of valid/ are test" in found.facts.said[0]


def test_a_fraction_of_undivided_folders_is_test_whatever_else_they_get(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a", SHADES) / "train"
    found = dataset(folder, "folders", test_fraction=0.25)
    images = found.load()
    counts = np.bincount(LABELS[PARTS["train"]])
    np.testing.assert_array_equal(np.bincount(images.test_labels), np.round(counts * 0.25))
    assert sorted([*images.train_names, *images.test_names]) == [
        f"{'abcdefghij'[LABELS[i]]}/{i:04d}.png" for i in by_class("train")
    ]
    for name, image in zip(images.test_names, images.test_images, strict=True):
        np.testing.assert_array_equal(image, SHADES[int(name[2:6])])
    for i in range(80)[PARTS["val"]]:
        Image.fromarray(SHADES[i]).save(folder / "abcdefghij"[LABELS[i]] / f"{i:04d}.png")
    more = dataset(folder, "folders", test_fraction=0.25).load()
    kept = set(images.test_names) & set(more.test_names)
    assert len(kept) >= 0.7 * len(images.test_names)  # the first of the names' hashes stay first
    assert "by their names' SHA-256" in found.facts.said[0]


def test_jpegs_are_what_pillow_decodes(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a", WIDE, "jpg")
    first = np.asarray(Image.open(folder / "train" / "a" / "0000.jpg"))
    assert abs(first.astype(int) - WIDE[0]).mean() < 20
    np.testing.assert_array_equal(dataset(folder, "folders").load().train_images[0], first)


def unlink(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.unlink()


FOLDER_FAULTS: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "empty class": (
        lambda f: unlink(f / "train/d"),
        {},
        "train/d: contains no file; allowed: PNG or JPEG images of this class",
    ),
    "class of test alone": (
        lambda f: (f / "test/z").mkdir(),
        {},
        "test: has a folder z, and train has none of",
    ),
    "a loose file": (lambda f: (f / "train/x.png").touch(), {}, "train: holds x.png beside the folders"),
    "no picture": (lambda f: (f / "train/a/x.txt").touch(), {}, "x.txt: is not an image that is read"),
    "no train": (
        lambda f: (f / "train").rename(f.parent / "t"),
        {},
        "train/ is missing; allowed: train/CLASS",
    ),
    "both": (lambda _: None, {"test_fraction": 0.2}, "has train/ and test/, and the table test_fraction"),
    "sizes": (
        lambda f: Image.fromarray(WIDE[0]).save(f / "val/b/0041.png"),
        {},
        "b/0041.png: is 32 x 32 pixels in 3 channels, a/0072.png 8 x 8",
    ),
    "cmyk": (
        lambda f: Image.fromarray(WIDE[0]).convert("CMYK").save(f / "train/a/0000.jpg"),
        {},
        "is a JPEG of mode CMYK; allowed: grey or RGB",
    ),
    "cut jpeg": (
        lambda f: (f / "train/a/0000.jpg").write_bytes(jpeg(WIDE[0])[:-40]),
        {},
        "0000.jpg: cannot be read (image file is truncated",
    ),
}


def jpeg(image: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize("kind", FOLDER_FAULTS)
def test_faulty_class_folders_are_named(kind: str, tmp_path: Path) -> None:
    damage, table, words = FOLDER_FAULTS[kind]
    folder = class_folders(tmp_path / "a")
    damage(folder)
    assert words in fault(folder, "folders", **table)


def test_undivided_folders_are_told_both_ways_out(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a") / "train"
    assert "give the table test_fraction = 0.2 (that share of each class is test), or move" in fault(
        folder, "folders"
    )
    assert "leaves 0 for test" in fault(folder, "folders", test_fraction=0.01)


# -------------------------------------------------------------------------------------------- npy and npz


def arrays(
    images: NDArray[Any], labels: NDArray[Any] = LABELS, names: str = "{part}_{what}"
) -> dict[str, Any]:
    return {
        names.format(part=part, what=what): array[PARTS[part]]
        for part in ("train", "test")
        for what, array in (("images", images), ("labels", labels))
    }


@pytest.mark.parametrize(
    "images", [SHADES, COLOUR, COLOUR.astype(">u2")], ids=["grey", "rgb", "deep, big-endian"]
)
def test_npy_of_an_image_each_and_of_all_images_are_the_same_data(
    images: NDArray[Any], tmp_path: Path
) -> None:
    for name, array in arrays(images).items():
        (tmp_path / "whole").mkdir(exist_ok=True)
        np.save(tmp_path / "whole" / f"{name}.npy", array)
    for part in ("train", "test"):
        (tmp_path / "each" / f"{part}_imgs").mkdir(parents=True)
        np.save(tmp_path / "each" / f"{part}_labels.npy", LABELS[PARTS[part], None])
        for i, image in enumerate(images[PARTS[part]]):
            np.save(tmp_path / "each" / f"{part}_imgs" / f"img_{i:05d}.npy", image)
    native = images.astype(images.dtype.newbyteorder("="))
    each = dataset(tmp_path / "each", "npy")
    whole = dataset(tmp_path / "whole", "npy")
    check(each, *split(native))
    check(whole, *split(native))
    assert each.facts.digest == whole.facts.digest


def test_one_channel_is_grey(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays(SHADES[..., None]))
    check(dataset(tmp_path / "a.npz", "npz"), *split(SHADES))


def medmnist(path: Path, images: NDArray[Any] = COLOUR, labels: NDArray[Any] = LABELS[:, None]) -> Path:
    """An archive as MedMNIST writes it: np.savez_compressed, labels of shape (N, 1)."""
    named: dict[str, Any] = {}
    for part, place in PARTS.items():
        named |= {f"{part}_images": images[place], f"{part}_labels": labels[place].astype(np.uint8)}
    np.savez_compressed(path, **named)
    return path


def test_medmnists_archive_by_file_and_by_folder(tmp_path: Path) -> None:
    path = medmnist(tmp_path / "bloodmnist.npz")
    for place in (path, tmp_path):
        found = dataset(place, "npz")
        check(found, COLOUR[:60], COLOUR[60:], (LABELS[:60], LABELS[60:]))
        assert "its 20 images of val are the last of train's 60" in found.facts.said[0]
    kept = harness.split_dataset(found, "val", val_split="last", val_fraction=0.333333)
    assert kept.index.tolist() == list(range(40, 60))


@pytest.mark.parametrize("names", ["x_{part}", "X_{part}"])
def test_kerass_names_are_known(names: str, tmp_path: Path) -> None:
    named = {key.replace("labels", "y").replace("images", names[0]): a for key, a in arrays(SHADES).items()}
    np.savez(tmp_path / "a.npz", **{"_".join(reversed(key.split("_"))): a for key, a in named.items()})
    check(dataset(tmp_path / "a.npz", "npz"), *split(SHADES))


def test_an_archive_an_array_as_kuzushiji_mnist_has_them(tmp_path: Path) -> None:
    for part, what in itertools.product(("train", "test"), ("imgs", "labels")):
        np.savez_compressed(
            tmp_path / f"kmnist-{part}-{what}.npz", (SHADES if what == "imgs" else LABELS)[PARTS[part]]
        )
    check(dataset(tmp_path, "npz"), *split(SHADES))


def bomb() -> bytes:
    """An archive of 64 MB of zeros that its header calls 40 images."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (40, 8, 8)})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("train_images.npy", "w") as member:
            member.write(head.getvalue())
            for _ in range(4):
                member.write(bytes(1 << 24))
        for name in ("train_labels", "test_images", "test_labels"):
            np.save(array := io.BytesIO(), arrays(SHADES)[name])
            archive.writestr(f"{name}.npy", array.getvalue())
    return stream.getvalue()


def huge() -> bytes:
    """An archive whose header says more than any machine holds."""
    head = io.BytesIO()
    shape = (1 << 20, 1 << 12, 1 << 12)
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in arrays(SHADES):
            archive.writestr(f"{name}.npy", head.getvalue())
    return stream.getvalue()


def edited(**changes: NDArray[Any] | None) -> Callable[[], bytes]:
    def write() -> bytes:
        stream = io.BytesIO()
        named: dict[str, Any] = {**arrays(SHADES), **changes}
        np.savez(stream, **{name: array for name, array in named.items() if array is not None})
        return stream.getvalue()

    return write


def flipped() -> bytes:
    content = bytearray(edited()())
    content[content.index(SHADES[3].tobytes())] ^= 1
    return bytes(content)


NPZ_FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "objects": (
        edited(train_labels=np.array([None] * 40, object)),
        "train_labels: holds Python objects, which only unpickling could read, and that runs code",
    ),
    "object images": (
        edited(test_images=np.array([SHADES[0], "x"], object)),
        "test_images: holds Python objects",
    ),
    "labels absent": (
        edited(test_labels=None),
        "no test_labels; it holds train_images, train_labels, test_images; ",
    ),
    "other names": (
        lambda: edited()().replace(b"train_", b"tryin_"),
        "no train_images, train_labels; it holds tryin_",
    ),
    "count": (edited(train_labels=LABELS[:39]), "train_labels: 39 labels, and 40 images in"),
    "several labels": (
        edited(train_labels=np.tile([1, 0, 1], (40, 1))),
        "several columns of an image are set, or none: a network here learns one class an image",
    ),
    "one-hot": (
        edited(train_labels=np.eye(10, dtype=int)[LABELS[:40]]),
        "(one-hot): labels = labels.argmax(1)",
    ),
    "channels first": (
        edited(train_images=COLOUR[:40].transpose(0, 3, 1, 2)),
        (
            "got uint8 of shape (40, 3, 8, 8); allowed: uint8 or uint16 of shape (N, height, width), or (N, "
            "height, width, channels), up to 4 channels, at least one image; put the "
            "channels behind: images = np.moveaxis(images, 1, -1)"
        ),
    ),
    "volumes": (
        edited(train_images=np.zeros((40, 8, 8, 8), np.uint8)),
        "volumes and more channels are not read",
    ),
    "floats": (edited(train_images=SHADES[:40] / 255), "train_images: got float64 of shape (40, 8, 8)"),
    "another shape": (
        edited(test_images=COLOUR[60:]),
        "test_images: images are 8 x 8 pixels in 3 channels, those of",
    ),
    "from 1": (
        edited(train_labels=LABELS[:40] + 1, test_labels=LABELS[60:] + 1),
        "no train image of class 0, of classes 0..10",
    ),
    "cut": (lambda: edited()()[:-200], "is not an .npz archive, or is cut"),
    "nothing": (bytes, "is not an .npz archive, or is cut"),
    "damaged": (flipped, "train_images: is damaged or cut (Bad CRC-32"),
    "a bomb": (bomb, "train_images: is cut or damaged: shape (40, 8, 8) makes 2560 bytes"),
    "huge": (huge, "is cut or damaged: shape (1048576, 4096, 4096) makes 17592186044416 bytes"),
}


@pytest.mark.parametrize("kind", NPZ_FAULTS)
def test_faulty_archives_are_named_and_nothing_is_unpickled(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, words = NPZ_FAULTS[kind]
    content = write()
    monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr(pickle, "loads", None)
    (tmp_path / "a.npz").write_bytes(content)
    said = fault(tmp_path / "a.npz", "npz")
    assert words in said
    if kind == "from 1":
        assert "If the labels count from 1, lower each by 1" in said


def test_arrays_that_memory_cannot_hold_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medmnist(tmp_path / "a.npz")
    monkeypatch.setattr(resources, "memory", lambda: 5_000)
    assert "train_images: its values take 0.0 GB, and this machine has 0.0 GB" in fault(
        tmp_path / "a.npz", "npz"
    )


# ----------------------------------------------------------------------------------------------------- idx


def idx_set(
    folder: Path, images: NDArray[Any], labels: NDArray[Any], prefix: str, table: str = "idx1-ubyte"
) -> Path:
    folder.mkdir(exist_ok=True)
    for part in ("train", "test"):
        place = PARTS[part]
        for what, array in ((f"images-idx{images.ndim}-ubyte", images), (f"labels-{table}", labels)):
            path = folder / f"{prefix}{part}-{what}.gz"
            path.write_bytes(gzip.compress(idx.pack(np.ascontiguousarray(array[place]))))
    return folder


def emnist(folder: Path, name: str = "letters", first: int = 1) -> Path:
    """As EMNIST comes: each image written column by column; the labels of letters count from 1."""
    columns = np.array([image.T for image in SHADES])
    mapping = "".join(f"{first + i} {65 + i} {97 + i}\n" for i in range(10))
    idx_set(folder, columns, (LABELS + first).astype(np.uint8), f"emnist-{name}-")
    (folder / f"emnist-{name}-mapping.txt").write_text(mapping)
    return folder


def test_emnist_is_turned_upright_and_its_letters_count_from_0(tmp_path: Path) -> None:
    found = dataset(emnist(tmp_path / "a"), "idx")
    check(found, *split(SHADES))
    assert found.facts.classes[:3] == ("A", "B", "C")
    turned, lowered = found.facts.said
    assert "emnist-letters are written column by column, and were turned upright" in turned
    assert "count from 1, and were lowered by 1" in lowered


def test_emnist_of_several_sets_is_asked_for_one(tmp_path: Path) -> None:
    emnist(emnist(tmp_path / "a"), "digits", 0)
    said = fault(tmp_path / "a", "idx")
    assert (
        "holds several sets, emnist-digits, emnist-letters; give the table one: prefix = 'emnist-letters'"
        in said
    )
    found = dataset(tmp_path / "a", "idx", prefix="emnist-digits")
    check(found, *split(SHADES))
    assert len(found.facts.said) == 1
    assert "no emnist-byclass-train-images" in fault(tmp_path / "a", "idx", prefix="emnist-byclass")


def test_whether_images_are_turned_may_be_said(tmp_path: Path) -> None:
    emnist(tmp_path / "a")
    np.testing.assert_array_equal(
        dataset(tmp_path / "a", "idx", transposed=False).load().train_images[0], SHADES[0].T
    )
    idx_set(tmp_path / "b", np.array([image.T for image in SHADES]), LABELS.astype(np.uint8), "")
    check(dataset(tmp_path / "b", "idx", transposed=True), *split(SHADES))


def test_qmnists_classes_are_the_first_column_of_its_table(tmp_path: Path) -> None:
    table = np.stack([LABELS, *[np.arange(80) + k for k in range(7)]], 1).astype(np.int32)
    found = dataset(idx_set(tmp_path / "a", SHADES, table, "qmnist-", "idx2-int"), "idx")
    check(found, *split(SHADES))
    assert found.facts.said == ("labels are the first of the 8 numbers of an image in QMNIST's table",)
    idx_set(tmp_path / "a", SHADES, table[:, :5], "qmnist-", "idx2-int")
    assert "qmnist-train-labels-idx2-int.gz: labels: got int32 of shape (40, 5)" in fault(
        tmp_path / "a", "idx"
    )


def test_idx_of_colour(tmp_path: Path) -> None:
    check(dataset(idx_set(tmp_path / "a", COLOUR, LABELS.astype(np.uint8), ""), "idx"), *split(COLOUR))


def test_labels_from_1_are_told(tmp_path: Path) -> None:
    idx_set(tmp_path / "a", SHADES, (LABELS + 1).astype(np.uint8), "")
    assert "If the labels count from 1, lower each by 1: class 0 is the first" in fault(tmp_path / "a", "idx")


# --------------------------------------------------------------------------------------------------- cifar


def records(place: slice, *columns: NDArray[Any]) -> bytes:
    """Records as the CIFAR page has them: labels, then all red, all green, all blue, row by row."""
    return b"".join(
        bytes([*(int(column[i]) for column in columns)])
        + b"".join(WIDE[i, :, :, channel].tobytes() for channel in range(3))
        for i in range(80)[place]
    )


def cifar10(folder: Path) -> Path:
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(records(slice(0, 15), LABELS))
    (folder / "data_batch_2.bin").write_bytes(records(slice(15, 40), LABELS))
    (folder / "test_batch.bin").write_bytes(records(slice(60, 80), LABELS))
    (folder / "batches.meta.txt").write_text("\n".join([*"abcdefghij", "", ""]))
    return folder


def cifar100(folder: Path) -> Path:
    folder.mkdir()
    for name in ("train", "test"):
        (folder / f"{name}.bin").write_bytes(records(PARTS[name], LABELS // 5, LABELS))
    (folder / "fine_label_names.txt").write_text("\n".join("abcdefghij"))
    (folder / "coarse_label_names.txt").write_text("low\nhigh\n")
    return folder


def test_cifar_10_in_the_order_of_its_batches(tmp_path: Path) -> None:
    found = dataset(cifar10(tmp_path / "cifar-10-batches-bin"), "cifar")
    check(found, *split(WIDE))
    assert found.facts.classes == tuple("abcdefghij")
    assert dataset(tmp_path, "cifar").facts == found.facts  # the folder that the archive was unpacked in


def test_cifar_100_by_fine_and_by_coarse_classes(tmp_path: Path) -> None:
    folder = cifar100(tmp_path / "a")
    fine, coarse = dataset(folder, "cifar"), dataset(folder, "cifar", labels="coarse")
    check(fine, *split(WIDE))
    check(coarse, *split(WIDE), (LABELS[:40] // 5, LABELS[60:] // 5))
    assert (fine.facts.classes, coarse.facts.classes) == (tuple("abcdefghij"), ("low", "high"))


def test_own_class_names_come_before_those_of_the_files(tmp_path: Path) -> None:
    found = dataset(cifar10(tmp_path / "a"), "cifar", classes=list("klmnopqrst"))
    assert found.facts.classes == tuple("klmnopqrst")


CIFAR_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (
        lambda f: (f / "data_batch_2.bin").write_bytes(records(slice(15, 40), LABELS)[:-1]),
        "data_batch_2.bin: got 76,824 bytes; allowed: whole records of 3,073 bytes, at least one",
    ),
    "empty": (lambda f: (f / "data_batch_2.bin").write_bytes(b""), "data_batch_2.bin: got 0 bytes; allowed:"),
    "no test": (lambda f: (f / "test_batch.bin").unlink(), "test_batch.bin: is missing"),
    "label": (
        lambda f: (f / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072)),
        "test_batch.bin: label 0 is 10; allowed: 0..9, for the 10 classes that the files name",
    ),
    "both": (
        lambda f: (f / "train.bin").touch(),
        "CIFAR-10's data_batch_*.bin and CIFAR-100's train.bin; keep",
    ),
    "pickles": (
        lambda f: [path.rename(path.with_suffix("")) for path in list(f.glob("*.bin"))],
        "holds data_batch_1, data_batch_2, test_batch, CIFAR's Python version: it is pickled, and reading a",
    ),
    "nothing": (
        unlink,
        "no data_batch_1.bin and no train.bin",
    ),
}


@pytest.mark.parametrize("kind", CIFAR_FAULTS)
def test_faulty_files_of_cifar_are_named(kind: str, tmp_path: Path) -> None:
    damage, words = CIFAR_FAULTS[kind]
    folder = cifar10(tmp_path / "a")
    damage(folder)
    assert words in fault(folder, "cifar")


def one_array(folder: Path) -> None:
    folder.mkdir()
    np.save(folder / "train_images.npy", SHADES)


def archive(folder: Path) -> Path:
    folder.mkdir()
    medmnist(folder / "a.npz")
    return folder


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (archive, "npz"),
        (emnist, "idx"),
        (cifar100, "cifar"),
        (lambda folder: class_folders(folder, WIDE, "jpg"), "folders"),
    ],
)
def test_a_flipped_or_cut_file_is_refused_in_words_or_read_as_it_stands(
    make: Callable[[Path], Path], form: str, tmp_path: Path
) -> None:
    folder = make(tmp_path / "a")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(20):
        path = files[rng.integers(len(files))]
        whole = path.read_bytes()
        damaged = bytearray(whole[: rng.integers(len(whole)) if rng.integers(3) else None])
        for place in rng.integers(len(damaged), size=2) if damaged else ():
            damaged[place] ^= 255
        path.write_bytes(damaged)
        try:
            dataset(folder, form).load()
        except UsageError:  # nothing else may be raised
            refused += 1
        path.write_bytes(whole)
    assert refused >= 5
    dataset(folder, form).load()


# --------------------------------------------------------------------------------- recognised, kept, trained


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (class_folders, "'folders' (a folder a class: a, b, c, d, e and 5 more)"),
        (emnist, "'idx'"),
        (cifar10, "'cifar'"),
        (cifar100, "'cifar'"),
        (archive, "'npz'"),
        (one_array, "'npy'"),
    ],
)  # fmt: skip
def test_a_folder_of_another_format_is_recognised(
    make: Callable[[Path], object], form: str, tmp_path: Path
) -> None:
    make(tmp_path / "a")
    said = fault(tmp_path / "a", "png")
    assert f"it looks like format = {form}, and the table says 'png'" in said


def test_undivided_class_folders_are_recognised(tmp_path: Path) -> None:
    class_folders(tmp_path / "a")
    said = fault(tmp_path / "a" / "train", "png")
    assert "'folders' (a folder a class: a, b, c, d, e and 5 more; with a test_fraction)" in said


@pytest.mark.parametrize("images", [COLOUR, SHADES.astype(np.uint16) * 257], ids=["rgb", "deep"])
def test_the_cache_keeps_channels_and_bits(
    images: NDArray[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_cache, "SLOW", -1.0)
    monkeypatch.setattr(decoded_cache, "SETTLED", -60.0)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    folder = class_folders(tmp_path / "a", images)
    train = images[by_class("train", "val")]
    np.testing.assert_array_equal(dataset(folder, "folders", pixel_max=65_535).load().train_images, train)
    monkeypatch.setitem(decoded_cache.DECODERS, "picture", None)
    np.testing.assert_array_equal(dataset(folder, "folders", pixel_max=65_535).load().train_images, train)


def test_keys_of_another_format_are_refused(tmp_path: Path) -> None:
    for key, value in (("test_fraction", 0.2), ("prefix", "x"), ("transposed", True), ("labels", "coarse")):
        with pytest.raises(UsageError, match=f"{key} = .* only"):
            study(tmp_path, "png", **{key: value})
    with pytest.raises(UsageError, match=r"path = .*: allowed: a folder that is there"):
        study(Path(__file__), "png")
    with pytest.raises(UsageError, match=r"path = .*: allowed: an \.npz file or a folder that is there"):
        study(tmp_path / "none.npz", "npz")


def test_a_network_of_images_trains_on_a_colour_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    medmnist(tmp_path / "blood.npz", WIDE)
    tables = {
        "study": {"name": "own", "seeds": 1},
        "baseline": {
            "dataset": "blood",
            "architecture": "lenet5",
            "steps": 3,
            "batch_size": 8,
            "val_split": "random",
        },
        "datasets": {"blood": {"format": "npz", "path": "blood.npz"}},
    }
    (tmp_path / "own.toml").write_text(tomli_w.dumps(tables))
    done = CliRunner().invoke(
        command, ["run", "own.toml", "--results", "out", "--workers", "1"], standalone_mode=False
    )
    assert done.exception is None
    assert "its 20 images of val are the last of train's 60" in done.stderr
    (row,) = results.read(tmp_path / "out").trials.to_dict("records")
    assert (row["status"], row["dataset"]) == ("ok", "blood")
    checked = CliRunner().invoke(command, ["data", "check", "--study", "own.toml"], standalone_mode=False)
    assert "blood: ok: 60 train and 20 test images of 32 x 32" in checked.output

"""A person's own images: what is refused has a way in that works, what is taken is the same picture."""

from __future__ import annotations

import gzip
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import harness
from harness.cli.main import harness as command
from harness.data.images import Images
from harness.errors import UsageError
from harness.study.reading import load

Pixels = NDArray[np.uint8]
Save = Callable[[Path, Pixels], object]
DIGITS = load_digits()
SHADES = (DIGITS.images * 15.9375).round().astype(np.uint8)  # 0..16 -> 0..255
TRAIN, TEST = range(40), range(40, 60)
DOCS = Path(harness.__file__).parents[1] / "docs" / "own-images.md"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plain(path: Path, image: Pixels) -> None:
    Image.fromarray(image).save(path)


def pngs(save: Save = plain, folder: str = "mine", name: str = "{y}_{i:05d}.png") -> None:
    """Real digits in train/ and test/, each written by `save`."""
    for part, places in (("train", TRAIN), ("test", TEST)):
        Path(folder, part).mkdir(parents=True)
        for i in places:
            path = Path(folder, part, name.format(y=DIGITS.target[i], i=i))
            path.parent.mkdir(exist_ok=True)
            save(path, SHADES[i])


def npys(images: NDArray[Any] = SHADES, labels: NDArray[Any] = DIGITS.target) -> None:
    for part, places in (("train", TRAIN), ("test", TEST)):
        Path("mine", f"{part}_imgs").mkdir(parents=True)
        np.save(f"mine/{part}_labels.npy", labels[list(places)])
        for j, i in enumerate(places):
            np.save(f"mine/{part}_imgs/img_{j:05d}.npy", images[i])


def idx_bytes(array: NDArray[Any], code: int = 8) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()


def idxs(name: str = "{}-idx{}-ubyte", pack: Callable[[bytes], bytes] = bytes) -> None:
    for prefix, places in (("train", list(TRAIN)), ("t10k", list(TEST))):
        for what, array in (("images", SHADES[places]), ("labels", DIGITS.target[places].astype(np.uint8))):
            path = Path("mine", name.format(f"{prefix}-{what}", array.ndim))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pack(idx_bytes(array)))


def study(form: str = "png", table: str = "", axes: str = "") -> None:
    Path("own.toml").write_text(
        '[study]\nname = "own"\nseeds = 1\n[baseline]\ndataset = "mine"\nepochs = 1\nhidden = [8]\n'
        "batch_size = 8\n"
        f'val_split = "random"\n{axes}[datasets.mine]\nformat = "{form}"\npath = "mine"\n{table}'
    )


def run(*words: str) -> Any:
    return CliRunner().invoke(command, list(words), standalone_mode=False)


def check(form: str = "png", table: str = "") -> str:
    """What `harness data check` says: words, whether it reads the folder or refuses it (exit code 2)."""
    study(form, table)
    with warnings.catch_warnings(record=True) as noise:
        warnings.simplefilter("always")
        result = run("data", "check", "--study", "own.toml")
    assert not [one for one in noise if "PIL" in str(one.filename)]
    if result.exception is None:
        return str(result.output)
    if not isinstance(result.exception, UsageError):
        raise result.exception
    assert "data set 'mine'" in str(result.exception)
    return str(result.exception)


def images() -> Images:
    """The images that the study just checked trains on."""
    return load("own.toml").dataset("mine").load()


def by_name(places: range) -> Pixels:
    """Digits as the png format orders them: class by class."""
    ordered: Pixels = SHADES[sorted(places, key=lambda i: (DIGITS.target[i], i))]
    return ordered


# ------------------------------------------------------------------------------- advice that can be pasted


def ink(path: Path, image: Pixels) -> None:
    """Black ink, drawn in the alpha channel."""
    Image.fromarray(drawn(image)).save(path)


def drawn(image: Pixels) -> Pixels:
    pixels = np.zeros((*image.shape, 4), np.uint8)
    pixels[..., 3] = image
    return pixels


def grey_ink(path: Path, image: Pixels) -> None:
    Image.merge("LA", (Image.new("L", (8, 8)), Image.fromarray(image))).save(path)


def cut_out(path: Path, image: Pixels) -> None:
    """Two near shades of grey, of which one is transparent: the background."""
    Image.fromarray((image < 128).astype(np.uint8)).save(path, transparency=1)


def see_through_palette(path: Path, image: Pixels) -> None:
    palette = Image.fromarray((image < 128).astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 0])
    palette.save(path, transparency=bytes([255, 0]))


def reddish(path: Path, image: Pixels) -> None:
    Image.fromarray(np.stack([image, image // 2, image // 4], -1)).save(path)


def sideways(path: Path, image: Pixels) -> None:
    """As a camera held sideways writes it: turned pixels, orientation 6."""
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(np.rot90(image).copy()).save(path, exif=tag)


BLACK_ON_WHITE = np.where(SHADES < 128, 255, 0).astype(np.uint8)
KINDS: dict[str, tuple[Save, NDArray[Any], str]] = {
    "alpha": (ink, 255 - SHADES, "transparent"),
    "grey and alpha": (grey_ink, 255 - SHADES, "transparent"),
    "a transparent grey": (cut_out, BLACK_ON_WHITE, "transparent"),
    "a transparent palette": (see_through_palette, BLACK_ON_WHITE, "transparent"),
    "alpha, held sideways": (lambda p, a: sideways(p, drawn(a)), 255 - SHADES, "transparent"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_png_converted_as_advised_is_the_same_image(kind: str) -> None:
    save, expected, word = KINDS[kind]
    pngs(save)
    said = check()
    assert word in said
    assert "60 problems" in said
    (code,) = set(re.findall(r": (image = .*)", said))
    for path in Path("mine").rglob("*.png"):
        scope: dict[str, Any] = {"Image": Image, "ImageOps": ImageOps, "np": np, "image": Image.open(path)}
        exec(code, scope)  # noqa: S102 (it is what a person would paste)
        scope["plain"].save(path)
    assert "mine: ok: 40 train" in check()
    order = sorted(TRAIN, key=lambda i: (DIGITS.target[i], i))
    np.testing.assert_allclose(
        images().train_images.astype(int), np.stack([expected[order].astype(int)] * 3, -1), atol=1
    )


def test_the_advice_is_one_for_a_mixed_folder() -> None:
    pngs(lambda path, image: (ink if image.sum() % 2 else reddish)(path, image))
    said = check()
    assert "(transparent)" in said
    assert len(set(re.findall(r": (image = .*)", said))) == 1


COLOURS = np.stack([SHADES, SHADES // 2, 255 - SHADES], -1)
ARRAYS: dict[str, tuple[NDArray[Any], Pixels]] = {
    "float64, white 1.0": (SHADES / 255, SHADES),
    "float32 of a colour": (COLOURS.astype(np.float32) / 255, COLOURS),
    "bool": (SHADES > 127, np.where(SHADES > 127, 255, 0).astype(np.uint8)),
    "int64": (SHADES.astype(np.int64), SHADES),
    "big-endian": (SHADES.astype(">i4"), SHADES),
    "a channel in front": (SHADES[:, None], SHADES),
    "colour in front": (COLOURS.transpose(0, 3, 1, 2), COLOURS),
    "flat": (SHADES.reshape(-1, 64), SHADES),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_converted_as_advised_is_the_same_image(kind: str) -> None:
    given, expected = ARRAYS[kind]
    npys(given)
    said = check("npy")
    assert (
        f"got {given.dtype.newbyteorder('=')} of shape {given.shape[1:]}; allowed: uint8 or uint16 of shape ("
        in said
    )
    code = re.findall(r"image = .*?(?= if |\n|$)", said)[0]
    for path in Path("mine").glob("*_imgs/*.npy"):
        scope: dict[str, Any] = {"np": np, "image": np.load(path)}
        exec(code, scope)  # noqa: S102
        np.save(path, scope["image"])
    assert "mine: ok: 40 train" in check("npy")
    np.testing.assert_array_equal(images().train_images, expected[list(TRAIN)])


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (np.eye(10)[DIGITS.target], "one-hot"),
        (DIGITS.target.astype(float), "labels: got float64 of shape (40,)"),
        (np.array(list("abcdefghij"))[DIGITS.target], "labels are not numbers: got <U1 of shape (40,)"),
    ],
)
def test_labels_converted_as_advised_are_the_same(given: NDArray[Any], word: str) -> None:
    npys(labels=given)
    said = check("npy")
    assert word in said
    (code,) = set(re.findall(r"((?:names, )?labels = .*?)(?:, and |\n|$)", said))
    for part in ("train", "test"):
        scope: dict[str, Any] = {"np": np, "labels": np.load(f"mine/{part}_labels.npy")}
        exec(code, scope)  # noqa: S102
        np.save(f"mine/{part}_labels.npy", scope["labels"])
    assert "mine: ok: 40 train" in check("npy")
    np.testing.assert_array_equal(images().train_labels, DIGITS.target[list(TRAIN)])


# ------------------------------------------------------------------------------------- the same pictures


def test_exif_orientation_is_applied() -> None:
    pngs(lambda path, image: (sideways if image.sum() % 2 else plain)(path, image))
    assert "mine: ok" in check()
    digest = load("own.toml").dataset("mine").facts.digest
    np.testing.assert_array_equal(images().train_images, by_name(TRAIN))
    pngs(folder="upright")
    Path("mine").rename("turned")
    Path("upright").rename("mine")
    check()
    assert load("own.toml").dataset("mine").facts.digest == digest  # the pixels as trained


def test_sideways_images_have_their_upright_size() -> None:
    pngs(lambda path, image: (sideways if image.sum() % 2 else plain)(path, image[:, 1:7]))
    assert "images of 8 x 6 pixels" in check()


# ------------------------------------------------------------------ the same where it should be different

SAME: dict[str, tuple[Save, str]] = {
    "all": (
        lambda p, _: plain(p, np.full((8, 8), 255, np.uint8)),
        "all 40 images of train are the same, every pixel 25",
    ),
    "test": (
        lambda p, a: plain(p, SHADES[0] if p.parent.name == "test" else a),
        "all 20 images of test are the same",
    ),
    "a class": (
        lambda p, a: plain(p, SHADES[0] if p.name.startswith("3_") else a),
        "all train images of a class are the same, in class 3 (",
    ),
    "train in test": (
        lambda p, _: plain(p, SHADES[int(p.stem[2:]) % 40]),
        "20 of 20 test images are in train too",
    ),
    "two labels": (
        lambda p, a: plain(p, SHADES[0] if p.name in {"0_00000.png", "1_00001.png"} else a),
        "1 images are in train under two labels: 1_00001.png",
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_duplicate_images_are_reported_by_check_and_plan(kind: str) -> None:
    save, words = SAME[kind]
    pngs(save)
    said = check()
    assert words in said
    assert ": ok:" not in said
    assert words in run("plan", "own.toml").stderr


def test_images_that_differ_are_ok_without_a_note() -> None:
    pngs()
    assert "note" not in check()
    assert "ok: 40 train and 20 test images" in check()


def test_facts_of_digits_equal_scikit_learns() -> None:
    train, test = DIGITS.data[:1437], DIGITS.data[1437:]
    nearest = KNeighborsClassifier(1)
    across = 1 - nearest.fit(train, DIGITS.target[:1437]).score(test, DIGITS.target[1437:])
    neighbours = nearest.kneighbors(return_distance=False)[:, 0]  # of each image among the others
    alone = (DIGITS.target[neighbours] != DIGITS.target[:1437]).mean()
    words = (
        f"{100 * alone:.2f} % of the 1,437 are wrong (each left out once), and {100 * across:.2f} % of test"
    )
    assert words in run("data", "show", "digits", "--label", "3", "--count", "1").output
    assert f"{100 * alone:.2f} % of the 1,437" in DOCS.read_text(encoding="utf-8")
    assert f"{100 * across:.2f} % of test" in DOCS.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------ names and layouts


@pytest.mark.parametrize(
    "name",
    [
        "{}.idx{}-ubyte",
        "{0}-idx{1}-ubyte/{0}-idx{1}-ubyte",
        "{0}-idx{1}-ubyte/{0}.idx{1}-ubyte",
        "{}.idx{}-ubyte.gz",
    ],
)
def test_idx_files_are_found_as_archives_unpack_them(name: str) -> None:
    idxs(name, gzip.compress if name.endswith(".gz") else bytes)
    assert "mine: ok: 40 train" in check("idx")
    np.testing.assert_array_equal(images().test_images, SHADES[list(TEST)])


def test_two_spellings_are_one_file_only_if_they_hold_the_same() -> None:
    idxs()
    idxs("{0}-idx{1}-ubyte-x/{0}")  # another folder's, which nobody asks for
    idxs("{0}.idx{1}-ubyte")
    assert "mine: ok" in check("idx")
    Path("mine/train-labels.idx1-ubyte").write_bytes(idx_bytes(np.zeros(40, np.uint8)))
    assert "train-labels.idx1-ubyte: both are there; keep one of them" in check("idx")


def write_lines(folder: str) -> None:
    Path(folder).mkdir()
    for part, places in (("train", list(TRAIN)), ("test", list(TEST))):
        rows = [[DIGITS.target[i], *SHADES[i].ravel()] for i in places]
        head = ",".join(["label", *(f"pixel{i}" for i in range(64))])
        np.savetxt(Path(folder, f"{part}.csv"), rows, "%d", ",", header=head, comments="")


def write_words(folder: str) -> None:
    for part, places in (("train", TRAIN), ("test", TEST)):
        Path(folder, part).mkdir(parents=True)
        for i in places:
            plain(Path(folder, part, f"{'abcdefghij'[DIGITS.target[i]]}_{i:05d}.png"), SHADES[i])


def write_any(folder: str) -> None:
    pngs(lambda path, image: ink(path, 255 - image), folder)
    for path in Path(folder).rglob("0_*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))[..., 3]).convert("CMYK").save(
            path.with_suffix(".tiff")
        )
        path.unlink()


WAYS: dict[str, tuple[Callable[[str], None], str, str]] = {
    "Images of any kind": (write_any, "photos", "train/ holds 0_00000.tiff, 0_00010.tiff"),
    "Names that begin": (write_words, "photos", "a class in words, a, b, c, d, e and 5 more"),
    "Tables": (write_lines, ".", "it holds test.csv, train.csv, tables"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_conversion_of_the_docs_works_and_is_suggested(way: str) -> None:
    make, place, words = WAYS[way]
    make("mine")
    said = check()
    assert words in said
    assert "own-images.md" in said
    Path("mine").rename("photos")
    if place == ".":
        for path in Path("photos").iterdir():
            path.rename(path.name)
    code = re.search(rf"{way}.*?```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    exec(code[1], {})  # noqa: S102
    assert ": ok: " in check()
    trained = images()
    assert len(trained.train_labels) + len(trained.test_labels) == 60
    found = {
        image.tobytes(): label for image, label in zip(trained.test_images, trained.test_labels, strict=True)
    }
    for i in TEST:
        assert found[SHADES[i].tobytes()] == DIGITS.target[i]


def test_another_format_is_named() -> None:
    idxs()
    assert "it looks like format = 'idx', and the table says 'png'" in check()


def test_special_files_neither_hang_nor_count_as_images() -> None:
    pngs()
    for name in (".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini"):
        Path("mine/train", name).write_bytes(b"x")
    Path("mine/train/__MACOSX").mkdir()
    assert "mine: ok: 40 train" in check()
    os.mkfifo("mine/train/3_pipe.png")
    Path("mine/train/4_loop.png").symlink_to("4_loop.png")
    Path("mine/train/5_zero.png").symlink_to("/dev/zero")
    assert re.findall(r"(\w+)\.png: is not a file; move it away", check()) == ["3_pipe", "4_loop", "5_zero"]


def test_pipes_in_place_of_arrays_are_not_waited_for() -> None:
    npys()
    Path("mine/train_labels.npy").unlink()
    os.mkfifo("mine/train_labels.npy")
    assert "train_labels.npy: is not a file" in check("npy")
    idxs()
    Path("mine/train-labels-idx1-ubyte").unlink()
    os.mkfifo("mine/train-labels-idx1-ubyte")
    assert "train-labels-idx1-ubyte: is not a file" in check("idx")


@pytest.mark.parametrize("name", [b"3_\xff.png", b"3_\r.png", b"3_a\nb.png"])
def test_unprintable_names_are_escaped(name: bytes) -> None:
    pngs()
    Path(os.fsdecode(b"mine/train/" + name)).write_bytes(Path("mine/train/3_00003.png").read_bytes())
    said = check()
    assert "a file name contains a control character: '3_" in said
    said.encode("ascii")


# ----------------------------------------------------------------------------------------- bombs and damage


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")


def npy_of(shape: str, descr: str = "'|u1'", data: bytes = bytes(64)) -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def film() -> bytes:
    frames = [Image.fromarray(image) for image in SHADES[:3]]
    frames[0].save("film.png", save_all=True, append_images=frames[1:])
    return Path("film.png").read_bytes()


IMAGE = "train-images-idx3-ubyte"
PNG, NPY = "train/3_00003.png", "train_imgs/img_00003.npy"
BOMBS: dict[str, tuple[str, str, Callable[[], bytes], str]] = {
    "pixels": ("png", PNG, lambda: png_of(20_000, 30_000), "is 30000 x 20000 pixels; allowed: up to"),
    "a warning": ("png", PNG, lambda: png_of(10_000, 10_000), "is 10000 x 10000 pixels; allowed: up"),
    "quiet": ("png", PNG, lambda: png_of(5_000, 5_000), "is 5000 x 5000 pixels; allowed: up to"),
    "a film": ("png", PNG, film, "3_00003.png: is an animation of 3 pictures; allowed: 1"),
    "nothing": ("png", PNG, bytes, "3_00003.png: is not a PNG"),
    "65 dimensions": (
        "idx",
        IMAGE,
        lambda: bytes([0, 0, 8, 65]) + bytes(260),
        "its header says 65 dimensions",
    ),
    "sizes": (
        "idx",
        IMAGE,
        lambda: b"\0\0\x08\3" + b"\xff" * 12,
        "images-idx3-ubyte: cut: shape (4294967295, ",
    ),
    "none": (
        "idx",
        IMAGE,
        lambda: b"\0\0\x08\3" + bytes(4) + b"\xff" * 8,
        "images-idx3-ubyte: its header says shape (0",
    ),
    "packed sizes": (
        "idx",
        IMAGE,
        lambda: gzip.compress(b"\0\0\x08\3" + b"\xff" * 12),
        "GB, and this machine has",
    ),
    "packed longer": (
        "idx",
        IMAGE,
        lambda: gzip.compress(b"\0\0\x08\3\0\0\0\x28\0\0\0\x08\0\0\0\x08" + bytes(1 << 24)),
        "longer than its header says: shape (40, 8, 8) of uint8 makes 2576 bytes, got at least 2577",
    ),
    "boolean": ("npy", NPY, lambda: npy_of("(True, 64)"), "a shape (True, 64)"),
    "negative": ("npy", NPY, lambda: npy_of("(-8, -8)"), "a shape (-8, -8)"),
    "large": ("npy", NPY, lambda: npy_of("(99999999, 99999999)"), "pixels; allowed: up to"),
    "objects": ("npy", NPY, lambda: npy_of("(8, 8)", "'|O'"), "holds Python objects"),
    "label objects": ("npy", "train_labels.npy", lambda: npy_of("(40,)", "'|O'"), "holds Python objects"),
    "no size": ("npy", "train_labels.npy", lambda: npy_of("(40,)", "'|S0'", b""), "holds values of no size"),
    "many labels": ("npy", "train_labels.npy", lambda: npy_of(f"({'9' * 15},)"), "is cut"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_header_that_exceeds_its_file_is_refused(bomb: str) -> None:
    form, name, content, words = BOMBS[bomb]
    make: dict[str, Callable[[], None]] = {"png": pngs, "npy": npys, "idx": idxs}
    make[form]()
    path = Path("mine", name)
    path.write_bytes(content())
    said = check(form)
    assert words in said
    assert str(path) in said


def test_arrays_in_any_order_of_bytes_and_memory_are_the_same() -> None:
    npys(labels=DIGITS.target.astype(">u2"))
    for path in Path("mine").glob("*_imgs/*.npy"):
        np.save(path, np.asfortranarray(np.load(path)))
    assert "mine: ok: 40 train" in check("npy")
    np.testing.assert_array_equal(images().train_images, SHADES[list(TRAIN)])
    np.testing.assert_array_equal(images().train_labels, DIGITS.target[list(TRAIN)])


@pytest.mark.parametrize("form", ["png", "npy", "idx", "idx.gz"])
def test_a_flipped_or_cut_file_is_refused_in_words_or_read_as_it_stands(form: str) -> None:
    if form == "png":
        pngs()
    elif form == "npy":
        npys()
    else:
        idxs("{}-idx{}-ubyte" + form.removeprefix("idx"), gzip.compress if form == "idx.gz" else bytes)
    files = sorted(path for path in Path("mine").rglob("*") if path.is_file())
    rng = np.random.default_rng(0)
    for _ in range(15):
        path = files[rng.integers(len(files))]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        if rng.integers(3):
            for place in rng.integers(min(len(whole), 200), size=rng.integers(1, 4)):
                damaged[place] = rng.integers(256)
        else:
            del damaged[rng.integers(len(whole)) :]
        path.write_bytes(damaged)
        said = check(form.removesuffix(".gz"))  # raises what is no UsageError
        assert ": ok: 40 train" in said or "look at it again" in said or path.name.split("-")[0] in said
        path.write_bytes(whole)
    assert "mine: ok: 40 train" in check(form.removesuffix(".gz"))


def test_a_flipped_byte_anywhere_in_the_cache_of_pixels_changes_no_pixel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.data.decoded_cache.SLOW", -1.0)
    monkeypatch.setattr("harness.data.decoded_cache.SETTLED", -60.0)
    monkeypatch.setenv("HARNESS_DATA", str(Path("cache").absolute()))
    pngs()
    check()
    (path,) = Path("cache/folders").glob("*.npz")
    whole = path.read_bytes()
    expected = by_name(TRAIN)
    rng = np.random.default_rng(0)
    for place in [
        *range(0, 60, 3),
        *rng.integers(len(whole), size=9),
        *range(len(whole) - 120, len(whole), 9),
    ]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        check()
        np.testing.assert_array_equal(images().train_images, expected)


def test_leftovers_of_killed_writers_are_removed_and_files_of_live_ones_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.data.decoded_cache.SLOW", -1.0)
    monkeypatch.setattr("harness.data.decoded_cache.SETTLED", -60.0)
    monkeypatch.setenv("HARNESS_DATA", str(Path("cache").absolute()))
    pngs()
    Path("cache/folders").mkdir(parents=True)
    for name in ("left", "live"):
        Path(f"cache/folders/.tmp-{name}").write_bytes(b"half")
    os.utime("cache/folders/.tmp-left", (0, 0))
    check()
    assert [path.name for path in Path("cache/folders").glob(".tmp-*")] == [".tmp-live"]


def test_two_exports_do_not_write_into_one_folder() -> None:
    Path("out").mkdir()
    with FileLock("out/.export-lock"):
        said = str(run("data", "export", "digits", "idx", "out").exception)
    assert "another export is writing into it" in said
    assert run("data", "export", "digits", "idx", "out").exception is None
    assert len(list(Path("out").iterdir())) == 4


def test_an_impossible_home_folder_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", "~nobody-of-this-name/cache")
    error = run("data", "check", "mnist").exception
    assert isinstance(error, UsageError)
    assert "HARNESS_DATA = '~nobody-of-this-name/cache'" in str(error)


def test_any_data_set_can_be_checked_by_its_name() -> None:
    said = run("data", "check", "digits").output
    assert "digits: ok: 1,437 train and 360 test images of 8 x 8 pixels" in said
    assert "note: digits: val is drawn at random from the first 1,437 images" in said


# -------------------------------------------------------------------------------------- trained on, and after


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of digits: good and useless networks."""
    folder = tmp_path_factory.mktemp("results") / "digits"
    tables = {
        "study": {"name": "hard", "seeds": 1, "keep_weights": "all"},
        "baseline": {"dataset": "digits", "epochs": 2, "hidden": [8], "optimizer": "adam"},
        "axes": {"lr": [0.01, 1e-9], "head": ["identity", "log_softmax"], "loss": ["ce", "nll"]},
    }
    harness.run(harness.parse(tables), folder, workers=1, device="cpu")
    return folder


def test_hardest_uses_the_models_that_where_selects(trained: Path) -> None:
    def table(*words: str) -> NDArray[Any]:
        result = run("data", "show", "digits", "--hardest", str(trained), "--count", "1", *words)
        if result.exception is not None:
            raise result.exception
        name = next(line for line in result.output.splitlines() if line.endswith(".csv")).split()[-1]
        return np.genfromtxt(name, delimiter=",", names=True, dtype=None, encoding="utf-8")

    rows = [table(), table("--where", "lr=0.01,loss=ce,seed=0")]
    assert {len(row) for row in rows} == {360}
    assert set(rows[0]["trials"]) == {4}
    assert set(rows[1]["trials"]) == {1}
    right = (
        harness.read(trained)
        .trials.query("lr == 0.01 and loss == 'ce' and status == 'ok'")
        .test_accuracy.item()
    )
    assert 1 - rows[1]["wrong_share"].mean() == pytest.approx(right)
    assert rows[0]["wrong_share"].mean() > rows[1]["wrong_share"].mean()
    assert "give --hardest RESULTS too" in str(run("data", "show", "digits", "--where", "lr=0.01").exception)
    with pytest.raises(UsageError, match="no such column"):
        table("--where", "rate=1")


@pytest.mark.parametrize("where", ["lr=0.01,loss=ce", "lr=0.01,loss=nll"])
def test_an_exported_state_dict_is_that_of_the_loaded_model(where: str, trained: Path) -> None:
    result = run("export", "best", "--results", str(trained), "--where", where, "--out", "best")
    assert result.exception is None
    state = torch.load("best/model.pt", weights_only=True)
    model = harness.load_model("best")
    test = harness.loader("digits", "test", batch_size=360)
    (x, y) = next(iter(test))
    before = model(x)
    assert list(model.state_dict()) == list(state) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert not torch.equal(model(x), before)
    model.load_state_dict(state)
    assert torch.equal(model(x), before)
    plain_one = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
    plain_one.load_state_dict(model.state_dict())
    assert torch.equal(plain_one(x).argmax(1), before.argmax(1))
    earlier = {f"net.{name}": value for name, value in state.items()}
    model.load_state_dict(earlier)
    nested = torch.nn.Sequential(model)
    nested.load_state_dict(nested.state_dict())
    assert torch.equal(nested(x), before)
    row = (
        harness.read(trained)
        .trials.query(f"lr == 0.01 and loss == {where[13:]!r} and status == 'ok'")
        .iloc[0]
    )
    assert (before.argmax(1) == y).double().mean().item() == pytest.approx(row.test_accuracy)

"""The id of a trial tells the whole truth: whatever decides a component's result is part of it."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import harness
from harness.axes import plugins
from harness.axes.activations import activations
from harness.axes.metrics import metrics
from harness.cli import main
from harness.data.datasets import DIGITS, Facts, datasets
from harness.data.preprocessing import preprocessings
from harness.errors import MachineError, UsageError
from harness.registry import PACKAGE_ROOT
from harness.training import executors

ABLATIONS = PACKAGE_ROOT.parent / "ablations"
IMPORTS = "import torch\nfrom harness.axes.activations import activations\n"
MINE = IMPORTS + '\n@activations.register("mine")\ndef mine(x):\n    """My own."""\n    return {}\n'
STUDY = """
[study]
name = "own"
seeds = 2
plugins = ["own.py"]
[baseline]
dataset = "digits"
activation = "mine"
epochs = 5
"""
SMALL = ["epochs=1", "hidden=[4]", "seeds=1"]
TANH, SIGN = 0.8924, 0.5243
"""Mean val accuracy on digits: 5 epochs, seeds 0 and 1, as folders trained by fresh processes have it."""


@pytest.fixture(autouse=True)
def as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of its own, and take out again what a test brought in."""
    before = {axis: dict(registry._entries) for axis, registry in plugins.catalogue().items()}
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for axis, registry in plugins.catalogue().items():
        registry._entries.clear()
        registry._entries.update(before[axis])
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a notebook's cells; a new kernel, unless `again`, has none of the components of the one before."""

    def run(*cells: str, again: bool = False) -> None:
        if not again:
            monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
            for registry in plugins.catalogue().values():
                registry.remove_of("__main__")
        for cell in cells:
            exec(compile(cell, "<a cell>", "exec"), vars(sys.modules["__main__"]))  # noqa: S102 (a notebook does)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study with a plugin beside it."""
    (tmp_path / "own.toml").write_text(STUDY)
    (tmp_path / "own.py").write_text(MINE.format("torch.tanh(x)"))
    return tmp_path


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def command(*words: str) -> Result:
    return CliRunner().invoke(main.harness, words)


def run(study: harness.study.study.Study, where: str, **how: Any) -> tuple[float, int]:
    """The mean val accuracy, rounded, and how many trials were trained."""
    found = harness.run(study, where, workers=1, device="cpu", **how)
    return (
        round(float(found.trials.val_accuracy.mean()), 4),
        found.provenance["runs"][-1]["trials_trained"],
    )


def losses_of(tables: dict[str, Any], where: str) -> list[float]:
    """The losses of train."""
    found = harness.run(harness.parse(tables), where, workers=1, device="cpu")
    return [float(loss) for loss in found.trials.train_loss]


def in_notebook(seeds: int = 1) -> harness.study.study.Study:
    return harness.parse(
        {
            "study": {"name": "cells", "seeds": seeds},
            "baseline": {"dataset": "digits", "activation": "mine", "epochs": 1, "hidden": [4]},
        }
    )


def digest(axis: str = "activation", name: str = "mine") -> str:
    return plugins.catalogue()[axis].entry(name).source_digest


# --------------------------------------------------------------------------------------- what must stay

COMMITTED = {
    "best-mlp-fashion": "85265a43e9b88645", "best-mlp-mnist": "92397309fb6c57dc",
    "best-small-fashion": "6401a6e32d7e4f50", "best-small-mnist": "714b85a7e133b2d0",
    "choices": "fc0fcd53d48a92b3", "lab1_learning_rate": "ed08d521af4236af",
    "lab2_losses": "2690ae6514cd7787", "lab3_fashion": "58cd6ac79b222823",
    "lab3_numpy": "8b9c9a8007393dfe", "lab4_steps": "524613862919de43", "lab5_ladder": "b23dcd3f96470216",
    "losses": "a2f0be85835c2055", "lr_losses": "b69cd2f36658ab00",
    "pitfalls": "e2659d6cf3f2ded5", "search": "d7da834e162e76cf",
    "time_to_target": "cc95ca2934b4f742", "cnn": "95c942a9bcb3bc1e", "normalisation": "46df74f42fed86c6",
    "augmentation": "f06b19bc5a116167", "variance": "bfd700a2f4bd7984",
    "losses_noise": "db1afd31d72b3d27", "single_runs_losses": "0bdb091d04a09562",
    "single_runs_networks": "05f258acee2cd78c",
}  # fmt: skip
"""Study -> the first digits of the SHA-256 of its trial_ids, in order, as commit 78458cf has them.

lr_losses, time_to_target, variance, the best MLPs, those of networks, of noise and of single runs are newer.
"""
OF_PLUGINS = {
    "mnist_val_is_test": (70_000, "9abe3c96463d7c416350879a5439a175e46e54a5d93b475b6783646b13c195c9"),
    "mnist_50000_val_is_test": (60_000, "a60cf226b7d30b21114eef8928ce22c4f7d0ec9576afa80b5b32d34ffd7fc14e"),
    "fashion_mnist_val_is_test": (70_000, "15c7a3abb9fe6773b8c2548ca0531dfab78f7b664295dc24b283e2c809394fd1"),
    "mnist_46_percent_permuted": (60_000, "cab54d1b0fb5a7a8ad170bb53abbe65dff2cd4d077446fbeaf6c2c4d42f2f4b5"),
    "mnist_sorted": (60_000, "87beb13ab14c60a39f8dbb54c3e90d91e3633920049fd45cd0aaaedd96c1fa21"),
}
"""Train images and digest of data sets of plugins, so that none is read to know who its trials are."""


def know_data_of_plugins() -> None:
    """Give the data sets of OF_PLUGINS that are registered what is to be known of their images."""
    for data, (train, sha) in OF_PLUGINS.items():
        if data in datasets:
            facts = Facts((28, 28), datasets[data].classes or DIGITS, train, 10_000, 255, sha)
            datasets[data]._found.setdefault("facts", facts)


def test_the_ids_of_committed_studies_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's digest is its SHA-256, as it was, where the file says all there is."""
    monkeypatch.setattr(harness.study.trials, "SEMANTICS", 1)  # of that commit
    assert {path.stem for path in ABLATIONS.glob("*.toml")} == set(COMMITTED)
    for name, expected in COMMITTED.items():
        study = harness.load(ABLATIONS / f"{name}.toml")
        know_data_of_plugins()
        ids = [trial.trial_id for trial in harness.study.trials.trials(study)[0]]
        assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == expected, name
    source = (ABLATIONS / "sorted_mnist.py").read_bytes()
    assert digest("dataset", "mnist_sorted") == hashlib.sha256(source).hexdigest()


PUBLISHED = {
    "zalando": "a6dfd52192dd331e", "nielsen": "b0feb4bdfa4cdcd1", "lecun": "922895377f193ea6",
    "simard": "9e1bac341f1a5b36", "hinton": "8c8e8c956e8d9a24", "keras": "d6492638068e4dbc",
    "chollet": "603afce96da0fb9e", "tensorflow": "aac2001ccfbd78a4", "rapela": "e3c740798d76c621",
    "goldberger": "3d297fc55ded6dc7",
}  # fmt: skip
"""The same of the studies in ablations/published, of today."""


def test_the_ids_of_published_studies_stay() -> None:
    assert {path.stem for path in ABLATIONS.glob("published/*.toml")} == set(PUBLISHED)
    for name, expected in PUBLISHED.items():
        study = harness.load(ABLATIONS / "published" / f"{name}.toml")
        know_data_of_plugins()
        ids = [trial.trial_id for trial in harness.study.trials.trials(study)[0]]
        assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == expected, name


@pytest.mark.parametrize(
    "text",
    [
        MINE.format("torch.tanh(x)"),
        MINE.format("x * BETA") + "\nBETA = 2.0\n",
        MINE.format("helper(x, 3)") + "\ndef helper(x, n, *, power=(1, 2)):\n    return x * n\n",
        MINE.format("pi * x") + "\nfrom math import pi\n",
        MINE.format("Own.scale * Own.of(x)")
        + "\nclass Own:\n    scale = 2\n    @staticmethod\n    def of(x):\n        return mine and x\n",
    ],
)
def test_a_self_contained_file_is_identified_by_its_bytes(folder: Path, text: str) -> None:
    (folder / "own.py").write_text(text)
    harness.load("own.toml")
    assert digest() == hashlib.sha256(text.encode()).hexdigest()


# ------------------------------------------------------------------------------------------- notebooks


def test_a_fixed_cell_in_a_new_kernel_is_trained_again(kernel: Callable[..., None]) -> None:
    kernel(MINE.format("torch.tanh(x)"))
    tanh = run(in_notebook(), "a")
    kernel(MINE.format("torch.sign(x)"))
    sign = run(in_notebook(), "a")
    assert sign == run(in_notebook(), "fresh")
    assert (tanh[1], sign[1]) == (1, 1)
    assert tanh[0] > sign[0]
    assert run(in_notebook(), "a") == (sign[0], 0)


SCALED = "S = {}\n" + MINE.format("x * S")
MADE = IMPORTS + 'def make(b):\n    activations.register("mine")(lambda x: x * b)\nmake({})\n'
HELPED = MINE.format("h(x)") + "\ndef h(x):\n    return {}\n"
OBJECT = """class Own:
    def __init__(self, b):
        self.b = b
    def __call__(self, x):
        return x {} self.b
"""
PAIRS = {
    "a name it calls": (MINE.format("torch.tanh(x)"), MINE.format("torch.sign(x)")),
    "a constant": (MINE.format("x * 1"), MINE.format("x * 1.0")),
    "a global": (SCALED.format("1.0"), SCALED.format("-9.0")),
    "a global list": (SCALED.format("[1, 2]"), SCALED.format("[2, 1]")),
    "a global set": (SCALED.format("{'a', 'b'}"), SCALED.format("{'a', 'c'}")),
    "a global array": (
        SCALED.format("__import__('torch').zeros(3)"),
        SCALED.format("__import__('torch').ones(3)"),
    ),
    "a closure": (MADE.format(1), MADE.format(2)),
    "a default": (
        MINE.replace("mine(x)", "mine(x, b=1)").format("x * b"),
        MINE.replace("mine(x)", "mine(x, b=2)").format("x * b"),
    ),
    "a keyword's default": (
        MINE.replace("mine(x)", "mine(x, *, b=1)").format("x * b"),
        MINE.replace("mine(x)", "mine(x, *, b=2)").format("x * b"),
    ),
    "a function it calls": (HELPED.format("x + 1"), HELPED.format("x - 1")),
    "a derivative it was registered with": (
        MINE.replace('"mine")', '"mine", backward=lambda g, x, y: g)').format("x"),
        MINE.replace('"mine")', '"mine", backward=lambda g, x, y: 2 * g)').format("x"),
    ),
    "an object's class": (
        IMPORTS + OBJECT.format("+") + 'activations.register("mine")(Own(1))',
        IMPORTS + OBJECT.format("-") + 'activations.register("mine")(Own(1))',
    ),
    "an object's state": (
        IMPORTS + OBJECT.format("+") + 'activations.register("mine")(Own(1))',
        IMPORTS + OBJECT.format("+") + 'activations.register("mine")(Own(2))',
    ),
    "a function of torch's": (
        IMPORTS + 'activations.register("mine")(torch.tanh)',
        IMPORTS + 'activations.register("mine")(torch.sin)',
    ),
    "a module's settings": (
        IMPORTS + 'activations.register("mine")(torch.nn.LeakyReLU(0.1))',
        IMPORTS + 'activations.register("mine")(torch.nn.LeakyReLU(0.2))',
    ),
}


@pytest.mark.parametrize("what", PAIRS)
def test_a_cells_digest_contains_everything_that_decides_it(kernel: Callable[..., None], what: str) -> None:
    digests = []
    for cell in PAIRS[what]:
        kernel(cell)
        digests.append(digest())
        kernel("# a comment more\n\n" + cell.replace("My own.", "Mine, in other words."))
        digests.append(digest())
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_a_global_counts_as_it_is_when_the_study_is_run(kernel: Callable[..., None]) -> None:
    kernel(SCALED.format("1.0"))
    first = digest()
    kernel("S = -9.0", again=True)
    assert digest() != first
    kernel("S = 1.0", again=True)
    assert digest() == first


def test_digests_are_the_same_in_every_process(tmp_path: Path) -> None:
    """An inner function, a set of texts and an object give no digest an address or an order."""
    cell = (
        "from harness.axes.activations import activations\n"
        "NAMES = {'one', 'two', 'three'}\n" + OBJECT.format("+") + "own = Own(NAMES)\n"
        "@activations.register('mine')\ndef mine(x):\n"
        "    return (lambda z: own(z) if z in {'p', 'q', 'r'} or NAMES else z)(x)\n"
    )
    (tmp_path / "own.py").write_text(cell)
    tell = "print(activations.entry('mine').source_digest)\n"
    done = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
        ).stdout
        for code in (cell + tell, "import sys; sys.path.insert(0, ''); from own import *\n" + tell)
        for seed in ("1", "2")
    ]  # fmt: skip
    assert done[0] == done[1]
    assert done[2] == done[3]
    assert len(done[0].strip()) == len(done[2].strip()) == 64


PLACED = """
import pathlib
from harness.data.datasets import datasets
HERE = pathlib.Path(__file__).parent
@datasets.register("placed", classes=("a", "b"))
def placed():
    'Images of a file beside this one.'
    return HERE / "images.npy", __file__, __name__
"""


def test_the_place_of_a_file_is_in_no_digest(tmp_path: Path) -> None:
    digests = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "placed.py").write_text(PLACED)
        plugins.load_file(tmp_path / name / "placed.py", quiet=True)
        digests.append(datasets.entry("placed").source_digest)
        datasets.remove("placed")
    assert digests[0] == digests[1] == hashlib.sha256(PLACED.encode()).hexdigest()


def test_a_cell_that_is_run_again_replaces_what_it_registered(kernel: Callable[..., None]) -> None:
    cell = (
        MINE.format("torch.tanh(x)") + "from harness.axes.metrics import metrics\n"
        "@metrics.register('own_metric')\ndef own_metric(p, target):\n    return (p * target).sum(-1)\n"
    )
    kernel(cell)
    kernel(cell.replace("tanh", "sign"), again=True)
    assert activations["mine"].forward(harness.system.lazy.torch.tensor(0.5)) == 1
    assert metrics.entry("own_metric").module == "__main__"
    with pytest.raises(UsageError, match=r"'relu' is defined twice: in harness/axes/activations\.py"):
        kernel(MINE.format("x").replace('"mine"', '"relu"'), again=True)


def test_a_name_defined_by_two_files_is_an_error(folder: Path) -> None:
    harness.load("own.toml")
    (folder / "other.py").write_text(MINE.format("x"))
    with pytest.raises(UsageError, match=r"'mine' is defined twice: in own.py:4 and in other.py:4. Rename"):
        plugins.load_file(folder / "other.py")
    (folder / "other.py").write_text((MINE + MINE).format("x", "-x").replace("mine", "twice"))
    with pytest.raises(UsageError, match=r"'twice' is defined twice: in other.py:4 and in other.py:11"):
        plugins.load_file(folder / "other.py")


# ---------------------------------------------------------------------------------------- files and helpers


def test_an_edited_plugin_is_loaded_again_in_one_session(folder: Path) -> None:
    assert run(harness.load("own.toml"), "a") == (TANH, 2)
    rewrite(folder / "own.py", "torch.tanh", "torch.sign")  # of the same length, perhaps in the same second
    assert run(harness.load("own.toml"), "a") == (SIGN, 2)
    rewrite(folder / "own.py", "torch.sign", "torch.tanh")
    assert run(harness.load("own.toml"), "a") == (TANH, 0)


def test_a_plugin_that_failed_halfway_can_be_fixed(folder: Path) -> None:
    rewrite(folder / "own.py", "torch.tanh(x)", "torch.tanh(x)\n1 / 0")
    with pytest.raises(UsageError, match="ZeroDivisionError"):
        harness.load("own.toml")
    rewrite(folder / "own.py", "\n1 / 0", "")
    harness.load("own.toml")


HELPER = "import torch\ndef f(x):\n    return torch.tanh(x)\n"
HELPERS = {
    "at its top": {"own.py": "from my_helpers import f\n" + MINE.format("f(x)"), "my_helpers.py": HELPER},
    "in a function": {
        "own.py": MINE.format("g(x)") + "\ndef g(x):\n    import my_helpers\n    return my_helpers.f(x)\n",
        "my_helpers.py": HELPER,
    },
    "by another": {
        "own.py": "import between\n" + MINE.format("between.f(x)"),
        "between.py": "from my_helpers import f\n",
        "my_helpers.py": HELPER,
    },
    "in a package": {
        "own.py": "from parts.more import f\n" + MINE.format("f(x)"),
        "parts/__init__.py": "",
        "parts/more.py": "from .my_helpers import f\n",
        "parts/my_helpers.py": HELPER,
    },
}


@pytest.mark.parametrize("how", HELPERS)
def test_a_changed_helper_makes_another_component(folder: Path, how: str) -> None:
    for name, text in HELPERS[how].items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    half, digests = torch.tensor(0.5), []
    (path,) = folder.rglob("my_helpers.py")
    for name, right in (("tanh", half.tanh()), ("sign", half.sign())):
        rewrite(path, "torch.tanh", f"torch.{name}")
        harness.load("own.toml")
        digests.append(digest())
        harness.load("own.toml")
        assert digest() == digests[-1]
        assert activations["mine"].forward(half) == right
    assert digests[0] != digests[1]


def test_a_changed_helper_is_trained_again(folder: Path) -> None:
    for name, text in HELPERS["at its top"].items():
        (folder / name).write_text(text)
    tanh = run(harness.load("own.toml", SMALL), "a")
    rewrite(folder / "my_helpers.py", "torch.tanh", "torch.sign")
    sign = run(harness.load("own.toml", SMALL), "a")
    (folder / "own.py").write_text(MINE.format("torch.sign(x)"))
    assert run(harness.load("own.toml", SMALL), "b") == sign
    assert sign[0] != tanh[0]
    assert sign[1] == 1


def package(site: Path, name: str, version: str) -> None:
    """An installed package, as pip leaves it."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    (site / f"{name}.py").write_text("def f(x):\n    return x\n")


def test_the_version_of_a_package_that_the_harness_does_not_need_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own.py").write_text("import scipy, third_lib\n" + MINE.format("third_lib.f(x)"))
    digests = []
    for version in ("1.0", "2.0"):
        site = folder / version / "site-packages"
        package(site, "third_lib", version)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(site))
            sys.modules.pop("third_lib", None)
            sys.modules.pop(plugins.module_of(folder / "own.py"), None)
            activations._entries.pop("mine", None)
            plugins.load_file(folder / "own.py")
            digests.append(digest())
        (site / "third_lib.py").unlink()
    assert digests[0] != digests[1]


def test_a_value_that_is_set_from_outside_counts(folder: Path) -> None:
    (folder / "own.py").write_text(MINE.format("x * BETA") + "\nBETA = 1.0\n")
    study = harness.load("own.toml", SMALL)
    module = sys.modules[plugins.module_of(folder / "own.py")]
    first = run(study, "a")
    module.BETA = -9.0  # type: ignore[attr-defined]
    second = run(study, "a")
    assert second[1] == 1
    assert second[0] != first[0]
    module.BETA = 1.0  # type: ignore[attr-defined]
    assert run(study, "a") == (first[0], 0)


def test_data_and_preprocessing_follow_the_values_they_read(kernel: Callable[..., None]) -> None:
    """Pixels that are kept in memory are those of the values that are set now."""
    cell = (
        "from harness.data.preprocessing import preprocessings\n"
        "from harness.data.datasets import DIGITS, Images, datasets\n"
        "SCALE, COUNT = 1.0, 1000\n"
        "@preprocessings.register('scaled')\ndef scaled(x, pixels):\n    return x * SCALE / pixels.max\n"
        "@datasets.register('some', classes=DIGITS, pixel_max=16)\ndef some():\n"
        "    d = datasets['digits'].load()\n"
        "    return Images(d.train_images[:COUNT], d.train_labels[:COUNT], d.test_images, d.test_labels)\n"
    )
    kernel(cell)
    assert preprocessings.entry("scaled").third_party
    tables = {
        "study": {"name": "data", "seeds": 1},
        "baseline": {"dataset": "some", "preprocessing": "scaled", "epochs": 1, "hidden": [4]},
    }
    first = losses_of(tables, "a")
    kernel("SCALE, COUNT = 0.5, 500", again=True)
    second = losses_of(tables, "b")
    kernel(cell.replace("1.0, 1000", "0.5, 500"))
    assert losses_of(tables, "fresh") == second
    assert first != second


# --------------------------------------------------------------------------------- while a study is running


def test_a_plugin_that_is_edited_between_two_phases_stops_the_study(folder: Path) -> None:
    text = (
        STUDY + "[tune]\nseeds = 1\nbudget = 2\n[tune.space]\nlr = { low = 0.01, high = 1.0, log = true }\n"
    )
    (folder / "own.toml").write_text(text)

    @contextmanager
    def editing(_: object) -> Iterator[None]:
        yield
        rewrite(folder / "own.py", "torch.tanh", "torch.sign")

    study = harness.load("own.toml", ["seeds=[7]", *SMALL[:2]])
    with pytest.raises(MachineError, match=r"own.py changed while the study was running; start it again"):
        harness.run(study, "a", workers=1, device="cpu", display=editing)
    assert list(harness.read("a").trials.status) == ["ok"]  # the phase that was over
    assert not (folder / "a" / "tuning" / "trials.csv").exists()
    rewrite(folder / "own.py", "torch.sign", "torch.tanh")
    assert run(harness.load("own.toml", ["seeds=[7]", *SMALL[:2]]), "a")[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("edit", [("torch.tanh", "torch.sign"), ("return", "retrun")])
def test_workers_with_another_version_of_a_file_refuse(
    folder: Path, monkeypatch: pytest.MonkeyPatch, edit: tuple[str, str]
) -> None:
    warm = executors.warm

    def edited(*arguments: Any) -> None:
        rewrite(folder / "own.py", *edit)
        warm(*arguments)

    monkeypatch.setattr(executors, "warm", edited)
    monkeypatch.setattr(
        "harness.planning.grouping.GATHERED", 0
    )  # two stacks, so that two workers are started
    with pytest.raises(MachineError, match=r"own\.py changed while the study was running; start it again"):
        harness.run(harness.load("own.toml", SMALL[:2]), "a", workers=2, device="cpu")
    assert set(harness.read("a").trials.status.fillna("")) == {""}


@pytest.mark.slow
def test_workers_refuse_if_a_value_was_set_only_in_the_parent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own.py").write_text(MINE.format("x * BETA") + "\nBETA = 1.0\n")
    study = harness.load("own.toml", SMALL[:2])
    sys.modules[plugins.module_of(folder / "own.py")].BETA = 2.0  # type: ignore[attr-defined]
    monkeypatch.setattr("harness.planning.grouping.GATHERED", 0)
    with pytest.raises(MachineError, match=r"another activation 'mine' \(own.py:4\).*--workers 1 trains in"):
        harness.run(study, "a", workers=2, device="cpu")
    assert run(study, "a")[1] == 2  # as it advises


# -------------------------------------------------------------------------------- what cannot be looked into


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "x * float(BETA.read_text())\nfrom pathlib import Path\nBETA = Path('beta.txt')",
            "reads by read_text",
        ),
        ("x * float(torch.load('beta.pt'))", "what mine reads by torch.load"),
        ("x * TABLE[0]\nTABLE = memoryview(b'ab')", "TABLE (memoryview)"),
        ("x * importlib.import_module('math').e\nimport importlib", "what mine reads by import_module"),
        ("x * COUNT.setdefault(1, 2)\nCOUNT = {}", "COUNT, which mine changes itself"),
    ],
)
def test_the_plan_names_what_no_id_contains(folder: Path, body: str, told: str) -> None:
    (folder / "own.py").write_text(MINE.format(body))
    (folder / "beta.txt").write_text("1")
    torch.save(torch.ones(()), folder / "beta.pt")
    done = command("plan", "own.toml")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "activation 'mine' (own.py:4): a trial's id does not tell if this changes" in said
    assert told in said
    assert "harness run --retrain" in said


READ = "float(__import__('pathlib').Path('beta.txt').read_text())"
BETA = MINE.format(f"x * {READ}")


def set_words() -> list[str]:
    return [word for setting in SMALL for word in ("--set", setting)]


def test_retrain_trains_finished_trials_again(folder: Path) -> None:
    (folder / "beta.txt").write_text("1")
    (folder / "own.py").write_text(
        MINE.format("x * float(__import__('pathlib').Path('beta.txt').read_text())")
    )
    words = ["run", "own.toml", "--workers", "1", "--device", "cpu", "--results", "a", *set_words()]
    command(*words)
    before = harness.read("a").trials.val_accuracy.tolist()
    (folder / "beta.txt").write_text("0")
    assert "0 trials trained" in command(*words).output
    assert harness.read("a").trials.val_accuracy.tolist() == before
    done = command(*words, "--retrain")
    assert done.exit_code == 0, done.output
    assert "1 trial" in done.output
    after = harness.read("a").trials.val_accuracy.tolist()
    assert after != before
    assert after == harness.run(harness.load("own.toml", SMALL), "b", workers=1).trials.val_accuracy.tolist()
    assert "0 trials trained" in command(*words).output


@pytest.mark.usefixtures("a_stack_a_seed")
def test_an_interrupted_retraining_loses_nothing_and_continues_without_the_option(folder: Path) -> None:
    (folder / "beta.txt").write_text("1")
    (folder / "own.py").write_text(
        MINE.format("x * float(__import__('pathlib').Path('beta.txt').read_text())")
    )
    study = harness.load("own.toml", SMALL[:2])
    run(study, "a")
    first = harness.read("a").trials
    (folder / "beta.txt").write_text("0")

    @contextmanager
    def stopped(progress: Any) -> Iterator[None]:
        note = progress.note

        def stop(*arguments: Any) -> None:
            note(*arguments)
            if progress.done == 2:
                raise KeyboardInterrupt

        progress.note = stop
        yield

    with pytest.raises(KeyboardInterrupt):
        run(study, "a", retrain=True, display=stopped)
    half = harness.read("a").trials
    assert half.status.tolist() == ["ok", "ok"]
    assert sum(half.train_loss.to_numpy() != first.train_loss.to_numpy()) >= 1
    accuracy, trained = run(study, "a")
    assert trained == 1  # the one whose end was not noted
    assert accuracy == run(study, "fresh")[0]
    assert run(study, "a")[1] == 0
    assert not (folder / "a" / "retrain.json").exists()


def test_a_retraining_of_fewer_trials_leaves_the_others_to_be_trained(folder: Path) -> None:
    """Trials that share a stack with those that are trained anew are old, too: none is there twice."""
    (folder / "beta.txt").write_text("1")
    (folder / "own.py").write_text(BETA)
    run(harness.load("own.toml", [*SMALL[:2], "seeds=3"]), "a")
    (folder / "beta.txt").write_text("0")
    assert run(harness.load("own.toml", [*SMALL[:2], "seeds=2"]), "a", retrain=True)[1] == 2
    grown = harness.load("own.toml", [*SMALL[:2], "seeds=3"])
    trained = run(grown, "a")
    found, fresh = harness.read("a"), harness.run(grown, "b", workers=1, device="cpu")
    assert trained[1] >= 1
    assert found.trials.val_accuracy.tolist() == pytest.approx(fresh.trials.val_accuracy.tolist(), abs=0.01)
    assert not found.epochs.duplicated(["trial_id", "step", "split"]).any()
    assert run(grown, "a")[1] == 0


def test_a_retraining_that_fails_leaves_the_old_part_beside(folder: Path) -> None:
    (folder / "beta.txt").write_text("1")
    (folder / "own.py").write_text(MINE.format(f"x / (x.numel() < 100 or {READ})"))
    study = harness.load("own.toml", SMALL)
    run(study, "a")
    (folder / "beta.txt").write_text("?")
    summary = CliRunner().invoke(
        main.harness, ["run", "own.toml", "--retrain", "--workers", "1", "--results", "a", *set_words()]
    )
    assert summary.exit_code == 1
    assert harness.read("a").trials.status.tolist() == ["failed"]
    assert len(list((folder / "a" / "parts").glob("*.replaced"))) == 1
    (folder / "beta.txt").write_text("1")
    assert run(study, "a")[1] == 1


# --------------------------------------------------------------------------- what may be registered, and how

SAME = {
    "a module": ("torch.nn.Tanh()", "torch.tanh(x)"),
    "a function of torch's": ("torch.tanh", "torch.tanh(x)"),
    "a partial": (
        "__import__('functools').partial(torch.nn.functional.leaky_relu, negative_slope=0.3)",
        "torch.nn.functional.leaky_relu(x, 0.3)",
    ),
    "a method": ("torch.nn.Tanh().forward", "torch.tanh(x)"),
    "an object": ("type('Own', (), {'__call__': lambda self, x: torch.tanh(x)})()", "torch.tanh(x)"),
}


@pytest.mark.parametrize("what", SAME)
def test_any_callable_can_be_a_component(folder: Path, what: str) -> None:
    given, body = SAME[what]
    (folder / "own.py").write_text(f'{IMPORTS}activations.register("mine")({given})\n')
    assert command("plan", "own.toml").exit_code == 0
    x = torch.linspace(-2, 2, 5)
    assert torch.equal(activations["mine"].forward(x), eval(body, {"torch": torch, "x": x}))  # noqa: S307


@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_a_module_trains_as_the_function_does(folder: Path, engine: Any) -> None:
    given, body = SAME["a module"]
    (folder / "own.py").write_text(f'{IMPORTS}activations.register("mine")({given})\n')
    got = run(harness.load("own.toml", SMALL), "a", engine=engine)
    (folder / "own.py").write_text(MINE.format(body))
    assert run(harness.load("own.toml", SMALL), "b", engine=engine) == got


@pytest.mark.parametrize(
    ("registered", "told"),
    [
        (
            'activations.register("mine")(torch.nn.PReLU())',
            "PReLU has parameters (weight), which no optimizer",
        ),
        ('activations.register("mine")(3)', "got int; allowed is a function"),
        ("activations.register(torch.nn.Mish())", 'register("mish")(...)'),
        ("@activations.register\ndef mine(x):\n    return x", '@register("mine") above a function'),
    ],
)
def test_invalid_components_are_reported(folder: Path, registered: str, told: str) -> None:
    (folder / "own.py").write_text(IMPORTS + registered)
    done = command("plan", "own.toml")
    assert isinstance(done.exception, UsageError)
    assert told in str(done.exception)


def test_a_loss_without_a_readable_signature_is_reported(folder: Path) -> None:
    (folder / "own.py").write_text(
        "import torch\nfrom harness.axes.losses import losses\n"
        'losses.register("mine", takes="logits")(torch.poisson_nll_loss)\n'
    )
    with pytest.raises(UsageError, match=r"loss 'mine' \(own.py:3\) cannot be registered"):
        harness.load("own.toml")


def test_a_module_that_is_reloaded_replaces_what_it_registered(tmp_path: Path) -> None:
    path = tmp_path / "third_plain.py"
    path.write_text(MINE.format("torch.tanh(x)"))
    module = importlib.import_module("third_plain")
    first = digest()
    path.write_text(MINE.format("torch.sign(x)  # another length"))
    importlib.reload(module)
    assert digest() != first

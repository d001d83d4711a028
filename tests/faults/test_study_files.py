"""Mistakes in a study file or a --set are told at once, in words, before any compute."""

from __future__ import annotations

import codecs
import copy
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import harness
from harness.cli.main import harness as command
from harness.errors import UsageError
from harness.planning.plan import make

SMALL: dict[str, Any] = {"study": {"name": "small", "seeds": 2}, "baseline": {"dataset": "digits"}}
SEARCH: dict[str, Any] = {
    "study": {"name": "sought", "design": "search", "seeds": 1},
    "baseline": {"dataset": "digits"},
    "search": {"suggestions": 4, "batch": 2},
    "space": {"lr": {"low": 0.1, "high": 1.0}},
}
TUNED: dict[str, Any] = {**SMALL, "tune": {"space": {"lr": [0.1, 0.2]}}}
NESTED: list[Any] = []
for _ in range(50):
    NESTED = [NESTED]


def changed(study: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """The study with one key, such as "baseline.lr", set."""
    tables = copy.deepcopy(study)
    *path, last = key.split(".")
    inner = tables
    for name in path:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return tables


def problems(tables: dict[str, Any], *overrides: str) -> str:
    """Give the error of tables that are wrong."""
    with pytest.raises(UsageError) as told:
        harness.parse(tables, overrides)
    return str(told.value)


ONE_SEED = (
    "study.seeds = 20261128: allowed: a list of seeds, or a count of them up to 100,000: that is a count; "
    "for this one seed write [20261128]"
)
TOO_LARGE: list[tuple[dict[str, Any], str, object, str]] = [
    (
        SMALL, "study.seeds", 20261128,
        ONE_SEED,
    ),
    (SMALL, "study.seeds", 10**12, "for this one seed write [1000000000000]"),
    (SMALL, "study.seeds", 10**40, "a count of them up to 100,000"),
    (SMALL, "study.seeds", [2**63], "study.seeds.0 = 9223372036854775808: allowed: at most"),
    (TUNED, "tune.seeds", 10**9, "for this one seed write [1000000000]"),
    (SEARCH, "search.seeds", 10**9, "for this one seed write [1000000000]"),
    (SMALL, "baseline.epochs", 10**10, "baseline.epochs = 10000000000: allowed: at most 1,000,000: "),
    (SMALL, "baseline.epochs", 2**70, "allowed: at most 1,000,000: "),
    (SMALL, "baseline.steps", 2**63, "allowed: at most 1,000,000,000: "),
    (SMALL, "baseline.batch_size", 10**10, "batch_size = 10000000000: allowed: at most 1,000,000,000"),
    (SMALL, "baseline.hidden", [8, 10**9], "baseline.hidden = [8, 1000000000]: allowed: at most 1,000,000"),
    (SMALL, "baseline.hidden", [1] * 2000, "allowed: at most 1,000 layers, these are 2,000"),
    (SMALL, "baseline.split_seed", 2**63, "allowed: at most 9,223,372,036,854,775,807"),
    (SMALL, "baseline.label_noise_seed", 2**64, "allowed: at most 9,223,372,036,854,775,807"),
    (SMALL, "baseline.eval_every", "9" * 40 + " steps", "allowed: '1 epoch', '5 epochs', '50 steps'"),
    (SMALL, "baseline.eval_every", 10**30, "allowed: '1 epoch', '5 epochs', '50 steps'"),
    (TUNED, "tune.budget", 10**9, "tune.budget = 1000000000: allowed: at most 100,000"),
    (SEARCH, "search.suggestions", 10**9, "search.suggestions = 1000000000: allowed: at most 100,000"),
    (SEARCH, "search.batch", 10**9, "search.batch = 1000000000: allowed: at most 10,000"),
    (SEARCH, "search.seed", 2**63, "search.seed = 9223372036854775808: allowed: at most"),
    (SEARCH, "search.pruner", {"name": "halving", "first": 10**9}, "search.pruner.first = 1000000000"),
    (
        SEARCH, "space.hidden", {"depth": {"low": 1, "high": 10**9}, "width": 8},
        "space.hidden.depth = {'low': 1, 'high': 1000000000}: allowed: at most 1,000: layers of one network",
    ),
    (
        SEARCH, "space.hidden", {"depth": 2, "width": {"low": 1, "high": 10**12}},
        "allowed: at most 1,000,000: units of one layer",
    ),
    (SEARCH, "space.epochs", {"low": 1, "high": 10**12}, "allowed: at most 1,000,000"),
]  # fmt: skip


@pytest.mark.parametrize(("study", "key", "value", "words"), TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_a_number_too_large_is_reported_with_its_bound(
    study: dict[str, Any], key: str, value: object, words: str
) -> None:
    assert words in problems(changed(study, key, value))


def test_the_advice_for_one_seed_works() -> None:
    assert harness.parse(changed(SMALL, "study.seeds", [20261128])).seeds == [20261128]
    assert list(harness.parse(changed(SMALL, "study.seeds", 100_000)).seeds) == list(range(100_000))


def test_the_number_of_trials_is_computed_without_making_them() -> None:
    axes = {"lr": [i / 1000 for i in range(1, 1001)], "batch_size": list(range(1, 1001))}
    told = problems(changed(SMALL, "axes", axes))
    assert "[axes]: 1,000,000 arms x 2 seeds = 2,000,000 trials; allowed: up to 1,000,000" in told
    tuning = {"seeds": 1000, "budget": 1000, "space": {"lr": {"low": 0.1, "high": 1.0}}}
    tuned = {**SMALL, "axes": {"activation": ["relu", "tanh"]}, "tune": tuning}
    told = problems(tuned)
    assert "[tune]: 2 arms x 1,000 settings to try x 1,000 tuning seeds = 2,000,000 trials" in told
    many = changed(changed(SEARCH, "search.suggestions", 100_000), "search.seeds", 11)
    assert "search.suggestions: 100,000 suggestions x 11 seeds = 1,100,000 trials" in problems(many)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"epochs": 1_000_000, "batch_size": 1},
            "epochs = 1,000,000 with batch_size = 1: 1,293,000,000 steps",
        ),
        (
            {"steps": 10**6, "eval_every": "1 step"},
            "1,000,000 evaluations in 1,000,000 steps; allowed: up to",
        ),
        ({"hidden": [100_000, 100_000]}, "10,007,600,010 parameters; allowed: up to 2,147,483,647"),
    ],
)
def test_the_plan_bounds_the_size_that_settings_imply(settings: dict[str, Any], words: str) -> None:
    study = harness.parse({**SMALL, "baseline": {"dataset": "digits", **settings}})
    with pytest.raises(UsageError) as told:
        make(study)
    assert words in str(told.value)


def test_the_plans_advice_on_evaluations_works() -> None:
    with pytest.raises(UsageError) as told:
        make(harness.parse(SMALL, ["epochs=900000"]))
    advised = str(told.value).split("eval_every = '")[-1].split("'")[0]
    assert make(harness.parse(SMALL, ["epochs=900000", f"eval_every={advised}"])).trials
    with pytest.raises(UsageError, match="evaluations in all 2,000 trials, two rows"):
        make(harness.parse(SMALL, ["epochs=90000", "seeds=2000"]))


def test_a_search_is_bounded_like_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for space, words in (
        ({"hidden": {"depth": 3, "width": [8, 100_000]}}, "20,007,700,010 parameters"),
        ({"epochs": [1, 900_000]}, "900,000 evaluations in 36,900,000 steps"),
    ):
        with pytest.raises(UsageError, match=words):
            harness.search(harness.parse({**SEARCH, "space": space}), tmp_path / "out")


@pytest.mark.slow
def test_a_search_of_very_deep_networks_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deep.toml").write_text(
        '[study]\nname = "deep"\ndesign = "search"\nseeds = 1\n[baseline]\ndataset = "digits"\n'
        "[search]\nsuggestions = 2\n[space]\nhidden = { depth = [1, 700], width = 8 }\n"
    )
    done = CliRunner().invoke(command, ["plan", "deep.toml"], standalone_mode=False)
    assert done.exception is None
    assert "2 of at least 2 suggestions" in done.output


ODD: list[tuple[dict[str, Any], str, object, str]] = [
    (SMALL, "baseline.lr", math.nan, "baseline.lr = NaN: allowed: a finite number"),
    (SMALL, "baseline.lr", math.inf, "baseline.lr = Infinity: allowed: a finite number"),
    (SMALL, "baseline.lr", True, "baseline.lr = true: allowed: a valid number"),
    (SMALL, "baseline.epochs", math.inf, "baseline.epochs = Infinity: allowed: a"),
    (SMALL, "baseline.epochs", True, "baseline.epochs = true: allowed: a valid integer"),
    (SMALL, "axes.lr", [1, 1.0], "axes.lr: a value is listed twice"),
    (SMALL, "axes.lr", [], "axes.lr = []: an axis needs at least one value"),
    (SMALL, "axes.lr", [0.1, "sgd"], 'axes.lr = "sgd": allowed: a valid number'),
    (SMALL, "axes.lr", {"low": 0.1}, "axes.lr = {'low': 0.1}: allowed: a list of values"),
    (SMALL, "study.seeds", [1, 1], "study.seeds = [1, 1]: allowed: every seed once"),
    (TUNED, "tune.seeds", [1000, 1000], "tune.seeds = [1000, 1000]: allowed: every seed once"),
    (SMALL, "chosen", {"x": []}, "chosen.x = []: allowed: a table of settings"),
    (SMALL, "chosen", {"x": {"lr": 0.1}}, "[chosen]: only in a study.toml that tuning or a search wrote"),
    (SMALL, "study.phase", "tuned", "study.phase = 'tuned': only for a study with [tune]"),
    (SMALL, "study.phase", "confirmed", "study.phase = 'confirmed': only for design = 'search'"),
    (SMALL, "tune", 3, "tune = 3: allowed: a table"),
    (SMALL, "study.plugins", [3], "study.plugins.0 = 3: allowed: a valid string"),
    (SMALL, "study.plugins", "own.py", "study.plugins = 'own.py': allowed: a valid list"),
    (SMALL, "study.plugins", ["\0"], "plugin '\\x00' is not a path of a file (embedded null byte); correct"),
    (SMALL, "study.plugins", ["x" * 300], "is not a path of a file (file name too long); correct `plugins`"),
    (SMALL, "study.plugins", ["."], "is not a Python file that can be read; correct `plugins` in the study"),
    (SMALL, "study.seeds", "5", "or a count of them, such as [100, 101, 102] or 3"),
    (SMALL, "baseline.seed", 4, "baseline.seed: no setting; `seeds` in [study] gives trials their seeds"),
    (SMALL, "baseline.seed", {"start": 4}, "and seed.start = 8 under [axes] varies one alone"),
    (SMALL, "axes.seed", [1, 2], "axes.seed: no setting; `seeds` in [study] gives trials their seeds"),
    (SMALL, "study.seeds", True, "study.seeds = True: allowed: a list of seeds, or a count of them"),
    (SMALL, "contrasts.pairs", [["a"]], "contrasts.pairs.0 = ['a']: allowed: at least 2 items"),
    (SMALL, "study.name", "x" * 300, "allowed: at most 100 characters"),
    (SMALL, "study.name", "a b", "allowed: letters, digits, _ . -, a letter or digit first"),
    (SMALL, "study.name", "..", "study.name = '..': allowed: "),
    (SMALL, "study.name", "a.", "allowed: a name that does not end with a dot"),
    (SMALL, "study.name", "reference", "results/reference holds the results that are kept"),
    (SMALL, "datasets.own", {"format": "idx", "path": "~nobody-called-so/x"}, "a folder; could not"),
    (SMALL, "datasets.own", {"format": "idx", "path": "x" * 300}, "allowed: a folder; file name too long"),
    (SMALL, "datasets.own", {"format": "idx", "path": "\0"}, "allowed: a folder that is there"),
    (
        changed(SMALL, "baseline.val_fraction", 0), "contrasts.metric", "val_accuracy",
        "contrasts.metric = 'val_accuracy': val_fraction = 0 leaves no images to measure it on",
    ),
    (SMALL, "baseline.deep", NESTED, "has brackets nested too deeply; allowed: up to 20"),
    (SMALL, "baseline.lr", 10**5000, "is a whole number of more than 4,300 digits; allowed are those of 64"),
    (SMALL, "baseline", {1: 2}, "baseline: the key 1 is int; allowed: text"),
    (SEARCH, "space.batch_size", {"low": 1, "high": 9, "step": 10**400}, "goes beyond high = 9 at once"),
]  # fmt: skip


@pytest.mark.parametrize(("study", "key", "value", "words"), ODD, ids=range(len(ODD)))
def test_a_value_of_the_wrong_kind_is_reported(
    study: dict[str, Any], key: str, value: object, words: str
) -> None:
    assert words in problems(changed(study, key, value))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lr=" + "[" * 1000, "has brackets nested too deeply; allowed: up to 20"),
        ("lr=" + "1" * 5000, "has a whole number of more than 4,300 digits"),
        ("epochs=1e400", "baseline.epochs = Infinity: allowed: a"),
        ("lr=0.1]\n[study", 'baseline.lr = "0.1]\\n[study": allowed: a valid number'),
        ("seeds=20261128", "for this one seed write [20261128]"),
    ],
)  # fmt: skip
def test_an_invalid_set_option_is_reported(override: str, words: str) -> None:
    assert words in problems(SMALL, override)


def test_negative_zero_equals_zero() -> None:
    assert str(harness.parse(changed(SMALL, "baseline.weight_decay", -0.0)).baseline["weight_decay"]) == "0.0"


def test_many_problems_are_counted_and_equal_ones_shown_once() -> None:
    told = problems(changed(SMALL, "axes.lr", [-i for i in range(1000)]))
    assert told.startswith("study: 1000 problems, nothing was run\n")
    assert told.endswith("\n  - and 950 more")
    assert problems(changed(SMALL, "axes.lr", [-1] * 1000)).startswith("study: 1 problem, ")
    assert len(problems(changed(SMALL, "axes", "x" * 10_000))) < 1000
    assert len(problems(changed(SMALL, "baseline." + "x" * 10_000, 1))) < 3000


def test_a_plan_warns_of_too_little_memory_or_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(TEXT)
    plain = CliRunner().invoke(command, ["plan", "small.toml"], standalone_mode=False)
    assert "are needed" not in plain.output + plain.stderr
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr("harness.system.resources.memory", lambda: 1000)
    short = CliRunner().invoke(command, ["plan", "small.toml", "--workers", "1"], standalone_mode=False)
    assert short.exception is None
    assert f"note: about 0.0 GB on disk are needed, and 0.0 GB are free in {tmp_path}: " in short.stderr
    assert "GB of memory are needed for 1 stacks at once, and this machine has 0.0 GB: lower" in short.stderr
    settings = ["epochs=1000000", "eval_every=100 epochs", "batch_size=2"]
    asked = [text for setting in settings for text in ("--set", setting)]
    long = CliRunner().invoke(
        command, ["plan", "small.toml", "--engine", "loop", *asked], standalone_mode=False
    )
    assert re.search(r"about \d+ days on", long.output)


# ------------------------------------------------------------------------------------------ the file itself

TEXT = '[study]\nname = "small"\n[baseline]\ndataset = "digits"\n[axes]\nlr = [0.1, 0.2]\n'


def planned(path: Path) -> tuple[int, str]:
    """Exit code and output of `harness plan`, and that no traceback is in it."""
    done = CliRunner().invoke(command, ["plan", str(path)], standalone_mode=False)
    if done.exception is None:
        return 0, done.output
    assert isinstance(done.exception, UsageError)
    return done.exception.exit_code, str(done.exception)


@pytest.mark.parametrize(
    "content",
    [codecs.BOM_UTF8 + TEXT.encode(), TEXT.replace("\n", "\r\n").encode()],
    ids=["a byte order mark", "CRLF"],
)
def test_files_of_windows_editors_are_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_bytes(content)
    code, told = planned(tmp_path / "small.toml")
    assert code == 0
    assert "2 arms x 3 seeds = 6 trials" in told


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TEXT.encode("utf-16"), "is UTF-16 text; allowed is UTF-8. In your editor, save it with"),
        (TEXT.replace("small", "sm\u00e4ll").encode("latin-1"), "byte 18 (line 2, column 11) is 0xe4"),
        (b"", "study.name: missing; give the study a name"),
        (b"a = " + b"[" * 5000, "has brackets nested too deeply; allowed: up to 20"),
        (b"a = " + b"1" * 5000, "has a whole number of more than 4,300 digits"),
        (b"a = ", "is not valid TOML: "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_why(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_bytes(content)
    code, told = planned(tmp_path / "small.toml")
    assert code == 2
    assert words in told


def test_a_folder_in_place_of_a_study_file_is_reported(tmp_path: Path) -> None:
    code, told = planned(tmp_path)
    assert code == 2
    assert told == f"{tmp_path} is a folder; allowed: a study file, such as {tmp_path / 'study.toml'}"


# ------------------------------------------------------------------------------------- without a val split


def test_trials_without_val_images_count_as_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = TEXT.replace('"digits"', '"digits"\nhidden = []\nepochs = 1\nval_fraction = 0\noptimizer = "adam"')
    Path("small.toml").write_text(text)
    done = CliRunner().invoke(command, ["run", "small.toml", "--workers", "1"], standalone_mode=False)
    assert done.exception is None
    assert done.output.startswith("digits: arms, unranked without val images, mean")
    assert done.output.count("no val images") == 2
    assert "no finished trial" not in done.output
    trials = harness.read(Path("results/small")).trials
    for accuracy in trials.groupby("arm")["test_accuracy"].mean():
        assert f" {accuracy:.4f} " in done.output
    done = CliRunner().invoke(
        command, ["export", "best", "--results", "results/small"], standalone_mode=False
    )
    assert "no trial has a val accuracy, and nothing is selected on test" in str(done.exception)

"""The command: what it answers, and what it says to bad input: a message on stderr, without a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.axes import plugins
from harness.cli import main
from harness.registry import PACKAGE_ROOT

GOOD = """
[study]
name = "good"
seeds = 1

[baseline]
dataset = "digits"
hidden = [4]
epochs = 1
"""
AXES = """
[axes]
activation = ["relu", "tanh"]
output = [
    { name = "softmax + CE", head = "identity", loss = "ce", lr = 0.1 },
    { name = "softmax + MSE", head = "softmax", loss = "mse", lr = 0.5 },
]
"""


class Answer(NamedTuple):
    """What a command gave back."""

    code: int
    stdout: str
    stderr: str


Harness = Callable[..., Answer]


@pytest.fixture
def harness(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Harness]:
    """The command in this process, in an empty folder."""
    before = {axis: dict(registry._entries) for axis, registry in plugins.catalogue().items()}
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main.main()
        code = exit_.value.code
        assert isinstance(code, int)
        return Answer(code, *capsys.readouterr())

    yield call
    for axis, registry in plugins.catalogue().items():
        registry._entries.clear()
        registry._entries.update(before[axis])


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make importing torch an error, as far as nobody has it yet."""
    monkeypatch.setitem(sys.modules, "torch", None)


def study(text: str, name: str = "study.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def real(*arguments: str | Path, cwd: Path, forbid_torch: bool = False) -> Answer:
    """The real command in a process of its own."""
    forbidden = "import sys; sys.modules['torch'] = None; from harness.cli.main import main; main()"
    start = ["-c", forbidden] if forbid_torch else ["-m", "harness"]
    done = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def in_order(text: str, *patterns: str) -> None:
    """Every pattern is found, each behind the one before."""
    at = 0
    for pattern in patterns:
        found = re.compile(pattern).search(text, at)
        assert found, f"{pattern!r} is not in {text[at:]!r}"
        at = found.end()


# ------------------------------------------------------------------------------------------------ bad studies

BASELINE = '[baseline]\ndataset = "digits"\n'
HEAD = '[study]\nname = "bad"\n'
BAD_STUDIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "a typo in a key": (
        '[study]\nname = "bad"\nsedes = 3\n',
        (r"study\.sedes: unknown key", "did you mean 'seeds'", "Allowed: design, hypothesis"),
    ),
    "a typo in a setting": (
        HEAD + "[baseline]\nbatchsize = 3\n",
        (r"baseline\.batchsize: unknown setting", "did you mean 'batch_size'", "Allowed: "),
    ),
    "a typo in a component": (
        HEAD + '[baseline]\nactivation = "rellu"\n',
        (r'baseline\.activation = "rellu": unknown activation', "did you mean 'relu'", "Allowed: elu, gelu"),
    ),
    "a typo in a table": (
        HEAD + "[basline]\nlr = 1\n",
        (r"\[basline\]: unknown table", "did you mean 'baseline'", "Allowed: axes"),
    ),
    "a typo in an axis": (
        HEAD + '[axes]\nactivaton = ["relu", "tanh"]\n',
        (r"axes\.activaton: unknown setting", "did you mean 'activation'"),
    ),
    "a typo in a linked setting": (
        HEAD + '[axes]\noutput = [{ name = "a", haed = "softmax" }]\n',
        (r"axes\.output\[0\]\.haed: unknown setting", "did you mean 'head'"),
    ),
    "an unknown component on an axis": (
        HEAD + '[axes]\noptimizer = ["sgd", "adma"]\n',
        (r'axes\.optimizer = "adma"', "did you mean 'adam'"),
    ),
    "a wrong type": (
        HEAD + '[baseline]\nlr = "fast"\n',
        (r'baseline\.lr = "fast": allowed: a valid number',),
    ),
    "a float that means a count": (
        HEAD + "[baseline]\nepochs = 2.5\n",
        (r"baseline\.epochs = 2\.5: allowed: ",),
    ),
    "true for a number": (
        HEAD + "[baseline]\nlr = true\n",
        (r"baseline\.lr = true: allowed: a valid number",),
    ),
    "a list for a value": (
        HEAD + "[baseline]\nlr = [0.1, 0.2]\n",
        (r"baseline\.lr = \[0\.1, 0\.2\]: allowed: ",),
    ),
    "a date": (HEAD + "[baseline]\nlr = 2020-01-01\n", (r"baseline\.lr = .*2020.*: allowed: ",)),
    "not a number": (HEAD + "[baseline]\nlr = nan\n", (r"baseline\.lr = NaN: allowed: a finite number",)),
    "a negative lr": (HEAD + "[baseline]\nlr = -0.1\n", (r"baseline\.lr = -0\.1: allowed: greater than 0",)),
    "no lr at all": (HEAD + "[axes]\nlr = [0.1, 0]\n", (r"axes\.lr = 0: allowed: greater than 0",)),
    "hidden as a number": (
        HEAD + "[baseline]\nhidden = 32\n",
        (r"baseline\.hidden = 32: allowed: a list, such as \[32, 32\]",),
    ),
    "an interval in words": (
        HEAD + '[baseline]\neval_every = "often"\n',
        (r"baseline\.eval_every = \"often\": allowed: '1 epoch', '5 epochs', '50 steps'",),
    ),
    "no choice of three": (
        HEAD + '[baseline]\nval_split = "fair"\n',
        (r"baseline\.val_split = \"fair\": allowed: 'stratified', 'balanced', 'random', 'blocks' or 'last'",),
    ),
    "an empty axis": (HEAD + "[axes]\nlr = []\n", (r"axes\.lr = \[\]: an axis needs at least one value",)),
    "an axis that is no list": (HEAD + "[axes]\nlr = 0.1\n", (r"axes\.lr = 0\.1: allowed: a list",)),
    "axes that are no table": (
        HEAD.replace("[study]", "axes = 3\n[study]"),
        (r"\[axes\] = 3: allowed: a table",),
    ),
    "a study that is no table": ("study = 3\n", (r"\[?study\]? = 3: allowed: ",)),
    "a baseline that is no table": ("baseline = 3\n" + HEAD, (r"\[baseline\] = 3: allowed: a table",)),
    "an unknown design": (
        HEAD + 'design = "factorial"\n',
        (r"study\.design = 'factorial': allowed: ", "'grid', 'one-factor', 'ladder' or 'search'"),
    ),
    "no name": ("[study]\nseeds = 2\n", (r"study\.name: missing",)),
    "a name that is a path": ('[study]\nname = "../x"\n', (r"study\.name = '\.\./x': allowed: ",)),
    "no seeds": (HEAD + "seeds = 0\n", (r"study\.seeds = 0: allowed: .*at least 1 seed",)),
    "a seed twice": (HEAD + "seeds = [1, 1]\n", (r"study\.seeds = \[1, 1\]: allowed: .*twice",)),
    "a value twice": (HEAD + "[axes]\nlr = [1, 1.0]\n", (r"axes\.lr: a value is listed twice",)),
    "linked settings without a name": (
        HEAD + '[axes]\noutput = [{ head = "softmax" }]\n',
        (r"axes\.output\[0\] = .*softmax.*: allowed: a table with a name",),
    ),
    "linked settings with a name twice": (
        HEAD + '[axes]\noutput = [{ name = "a", lr = 1.0 }, { name = "a", lr = 2.0 }]\n',
        (r"axes\.output\[1\]: the name 'a' is there twice",),
    ),
    "linked settings called like a setting": (
        HEAD + '[axes]\nlr = [{ name = "a", lr = 1.0 }]\n',
        (r"axes\.lr: linked settings need a name that is not a setting's own",),
    ),
    "linked settings called like a column": (
        HEAD + '[axes]\nstatus = [{ name = "a", lr = 1.0 }]\n',
        (r"axes\.status: ", "column"),
    ),
    "two axes that set one thing": (
        HEAD + '[axes]\nlr = [0.1]\noutput = [{ name = "a", lr = 1.0 }]\n',
        (r"axes\.output and axes\.lr both set lr",),
    ),
    "a step without a name": (
        HEAD + 'design = "ladder"\n[[steps]]\nlr = 0.1\n',
        (r"steps\[0\] = .*: allowed: a table with a name",),
    ),
    "a ladder without steps": (HEAD + 'design = "ladder"\n', (r"a ladder needs \[\[steps\]\]",)),
    "a ladder with axes": (
        HEAD + 'design = "ladder"\n[axes]\nlr = [0.1]\n[[steps]]\nname = "a"\nlr = 0.1\n',
        (r"\[axes\]: a ladder has \[\[steps\]\] and no axes",),
    ),
    "steps without a ladder": (
        HEAD + '[[steps]]\nname = "a"\nlr = 0.1\n',
        (r"\[\[steps\]\]: only for design = 'ladder'",),
    ),
    "one factor of none": (HEAD + 'design = "one-factor"\n', (r"'one-factor': needs \[axes\]",)),
    "two budgets": (HEAD + "[baseline]\nepochs = 1\nsteps = 10\n", (r"epochs and steps are both set",)),
    "a batch above the train split": (
        HEAD + '[baseline]\ndataset = "digits"\nbatch_size = 1294\n',
        (r"batch_size = 1294", "digits has 1293 training images", "val_fraction = 0.1", "allowed: 1 to 1293"),
    ),
    "a validation split of nothing": (
        HEAD + '[baseline]\ndataset = "digits"\nval_fraction = 0.0001\n',
        (r"val_fraction = 0\.0001 of 1437 images leaves 0 for validation",),
    ),
    "two arms of one name": (
        HEAD + 'design = "one-factor"\n[axes]\n'
        'output = [{ name = "new", head = "softmax" }]\nrate = [{ name = "new", lr = 0.3 }]\n',
        (r"two different arms are both called 'new'",),
    ),
    "a split seed under resample_split": (
        HEAD + "resample_split = true\n[axes]\nsplit_seed = [0, 1]\n",
        (r"split_seed and study\.resample_split = true",),
    ),
    "no TOML": ("[study\n", (r"study\.toml is not valid TOML: ",)),
    "an empty file": ("", (r"study\.name: missing",)),
    "a plugin that is not there": (
        HEAD + 'plugins = ["mine.py"]\n',
        (r"plugin .*mine\.py is not a Python file that can be read", "correct `plugins`"),
    ),
    "plugins that are no list": (
        HEAD + 'plugins = "mine.py"\n',
        (r"study\.plugins = 'mine\.py': allowed: ",),
    ),
}


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("case", BAD_STUDIES)
def test_a_bad_study_is_reported_before_any_work(harness: Harness, case: str, command: str) -> None:
    text, patterns = BAD_STUDIES[case]
    answer = harness(command, study(text))
    assert answer.code == 2
    in_order(answer.stderr, r"^error: ", *patterns)
    assert answer.stdout == ""
    assert [path.name for path in Path().iterdir()] == ["study.toml"]


def test_all_problems_of_a_file_are_reported_at_once(harness: Harness) -> None:
    bad = """
    [study]
    name = "bad"
    sedes = 1
    [baseline]
    lr = -1
    activation = "rellu"
    [axes]
    batch_size = [0, "many", 0.5]
    momentm = [0.1, 0.2]
    """
    answer = harness("run", study(bad))
    assert answer.code == 2
    assert answer.stderr.startswith("error: study.toml: 7 problems, nothing was run\n")
    problems = [line for line in answer.stderr.splitlines() if line.startswith("  - ")]
    assert len(problems) == len(set(problems)) == 7
    for key in ("study.sedes", "baseline.lr", "baseline.activation", "axes.momentm"):
        assert sum(f"- {key}" in problem for problem in problems) == 1
    assert sum("axes.batch_size = " in problem for problem in problems) == 3


@pytest.mark.parametrize(
    ("overrides", "patterns"),
    [
        (["lr"], (r"--set 'lr': allowed: KEY=VALUE",)),
        (["=3"], (r"--set '=3': allowed: KEY=VALUE",)),
        (["epochs=1", "epochs=2"], (r"1 problem", r"--set epochs is given twice, as '1' and as '2'")),
        (["learning_rat=0.1"], (r"learning_rat: unknown setting",)),
        (["lr=0.3"], (r"--set lr: axis 'output' sets lr in every arm",)),
        (["output=softmax"], (r"--set output: .*Allowed: softmax \+ CE, softmax \+ MSE",)),
        (["activation=rellu"], (r'axes\.activation = "rellu"', "did you mean 'relu'")),
        (
            ["epochs=3", "steps=100"],
            (
                r"1 problem",
                r"--set epochs and --set steps: a budget",
            ),
        ),
        (
            ["steps=100", "epochs=3"],
            (
                r"1 problem",
                r"--set epochs and --set steps: a budget",
            ),
        ),
        (["epochs=1,2", "steps=100"], (r"epochs and steps",)),
        (["epochs=-1"], (r"baseline\.epochs = -1: allowed: ",)),
        (["epochs="], (r"baseline\.epochs = .*: allowed: ",)),
        (["seeds=none"], (r"study\.seeds = 'none': allowed: ",)),
        (["design=ladder"], (r"a ladder needs \[\[steps\]\]",)),
    ],
)
@pytest.mark.usefixtures("no_torch")
def test_contradictory_overrides_are_refused(
    harness: Harness, overrides: list[str], patterns: tuple[str, ...]
) -> None:
    flags = [part for override in overrides for part in ("--set", override)]
    answer = harness("run", study(GOOD + AXES), *flags)
    assert answer.code == 2
    in_order(answer.stderr, r"^error: study\.toml: (?=\d problems?, nothing was run)", *patterns)
    assert not Path("results").exists()


@pytest.mark.parametrize(
    "tables", ["study = 3", "axes = 3\n[study]\nname = 'x'", "baseline = 3\n[study]\nname = 'x'"]
)
def test_overrides_of_malformed_tables_are_refused(harness: Harness, tables: str) -> None:
    answer = harness(
        "plan", study(tables), "--set", "lr=0.1", "--set", "seeds=2", "--set", "head=softmax,sigmoid"
    )
    assert answer.code == 2
    in_order(answer.stderr, r"^error: study\.toml: ", r"= 3: allowed: ")


# ---------------------------------------------------------------------------------- studies that are no files


@pytest.mark.usefixtures("no_torch")
def test_a_missing_study_is_reported(harness: Harness) -> None:
    answer = harness("run", "choises")
    assert answer.code == 2
    in_order(
        answer.stderr,
        r"^error: there is no study 'choises'",
        "did you mean 'choices'",
        r"path to a \.toml file",
    )
    Path("mine.toml").write_text("")
    answer = harness("run", "mine")
    in_order(answer.stderr, r"^error: there is no study 'mine': did you mean mine\.toml\? Allowed: ")
    answer = harness("run", "missing.toml")
    assert (answer.code, answer.stderr) == (2, "error: there is no study file missing.toml\n")
    Path("folder.toml").mkdir()
    assert harness("run", "folder.toml") == (2, "", "error: there is no study file folder.toml\n")
    answer = harness("run", "x" * 300)
    assert answer.code == 2
    in_order(answer.stderr, r"^error: there is no study 'xxx")


@pytest.mark.usefixtures("no_torch")
def test_a_study_that_is_not_text_is_reported(harness: Harness) -> None:
    Path("binary.toml").write_bytes(b"\xff\x00")
    answer = harness("run", "binary.toml")
    assert answer.code == 2
    in_order(
        answer.stderr,
        r"^error: study file binary\.toml is not UTF-8 text: byte 0 \(line 1, column 1\) is 0xff",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any file")
def test_an_unreadable_study_is_reported(harness: Harness) -> None:
    study(GOOD).chmod(0)
    answer = harness("run", "study.toml")
    assert answer.code == 2
    in_order(answer.stderr, r"^error: study file study\.toml cannot be read: .*Permission denied")


@pytest.mark.parametrize(
    ("plugin", "patterns"),
    [
        ("1 / 0\n", (r"plugin .*mine\.py fails when it is run", "ZeroDivisionError", "division by zero")),
        ("def (\n", (r"plugin .*mine\.py fails when it is run", "SyntaxError")),
        (
            "from harness.axes.activations import activations as a\n@a.register('relu')\ndef f(x): ...\n",
            (r"activation 'relu' is defined twice: in harness/axes/activations\.py:\d+ and in mine\.py:2",),
        ),
        (
            "from harness.axes.heads import heads as h\n@h.register('mine', kind='logit')\ndef f(x): ...\n",
            (r"head 'mine' has kind 'logit'; allowed: logits, scores",),
        ),
        (
            "from harness.axes.heads import heads\n@heads.register('mine', colour=1)\ndef f(x): ...\n",
            (r"head 'mine' \(mine\.py:2\) cannot be registered: .*colour",),
        ),
    ],
)
def test_a_plugin_that_fails_to_run_is_reported(
    harness: Harness, plugin: str, patterns: tuple[str, ...]
) -> None:
    Path("mine.py").write_text(plugin)
    answer = harness("plan", study(GOOD.replace("seeds = 1", 'plugins = ["mine.py"]')))
    assert answer.code == 2
    in_order(answer.stderr, *patterns)
    assert "Traceback" not in answer.stderr


RAISING = """
from harness.axes.activations import activations

@activations.register("mine")
def mine(x):
    '''Never works.'''
    raise ValueError("never")
"""


@pytest.mark.parametrize("command", [("plan",), ("run", "--workers", "1", "--results", "out")])
def test_a_component_that_raises_is_reported_before_training(
    harness: Harness, command: tuple[str, ...]
) -> None:
    Path("mine.py").write_text(RAISING)
    path = study(
        GOOD.replace("seeds = 1", 'seeds = 1\nplugins = ["mine.py"]')
        + '[axes]\nactivation = ["mine", "relu"]'
    )
    answer = harness(command[0], path, *command[1:])
    assert answer.code == 2
    assert "mine.py:4: activation 'mine' raises ValueError: never" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not Path("out").exists()


# -------------------------------------------------------------------------------------------- results folders


@pytest.fixture
def finished(harness: Harness) -> Path:
    """A finished results folder of the study `study.toml`."""
    answer = harness("run", study(GOOD), "--workers", "1", "--device", "cpu")
    assert answer.code == 0, answer.stderr
    return Path("results/good")


def edit_plan(folder: Path, **changes: object) -> None:
    path = folder / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("plan", "patterns"),
    [
        ({"schema": 99}, (r"good was written with results schema 99; this version reads and writes 1",)),
        ({"study": "other"}, (r"good holds results of the study 'other', not of 'good'",)),
        (
            {"data": {"digits": "f" * 64}},
            (r"good was trained on other data called 'digits': digest ffffffffffff",),
        ),
    ],
)
def test_a_folder_of_another_schema_study_or_data_is_refused(
    harness: Harness,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    plan: dict[str, object],
    patterns: tuple[str, ...],
) -> None:
    edit_plan(finished, **plan)
    before = contents(finished)
    monkeypatch.setitem(sys.modules, "torch", None)
    answer = harness("run", "study.toml", "--set", "seeds=2")
    assert answer.code == 2
    in_order(
        answer.stderr, r"^error: ", *patterns, r"Choose another folder with --results, or move this one away"
    )
    assert contents(finished) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": 1}', "\0"])
def test_a_damaged_plan_is_reported(harness: Harness, finished: Path, text: str) -> None:
    (finished / "plan.json").write_text(text)
    before = contents(finished)
    answer = harness("run", "study.toml", "--set", "seeds=2")
    assert answer.code == 2
    in_order(answer.stderr, r"^error: results/good")
    assert contents(finished) == before


def test_a_folder_without_results_is_reported(harness: Harness) -> None:
    mine = Path("mine")
    mine.mkdir()
    (mine / "thesis.tex").write_text("dear to me")
    answer = harness("run", study(GOOD), "--results", "mine")
    assert answer.code == 2
    in_order(
        answer.stderr,
        r"^error: mine holds 'thesis\.tex' and no plan\.json, so it is not a results folder",
        "--results",
    )
    assert contents(mine) == {"thesis.tex": b"dear to me"}


def test_a_file_in_place_of_the_results_folder_is_reported(harness: Harness) -> None:
    Path("mine").write_text("dear to me")
    answer = harness("run", study(GOOD), "--results", "mine")
    assert answer.code == 2
    in_order(answer.stderr, r"^error: mine is a file", "--results")
    answer = harness("run", study(GOOD), "--results", "mine/below")
    assert answer.code in {1, 2}
    in_order(answer.stderr, r"^error: .*mine", "--results")
    assert Path("mine").read_text() == "dear to me"


def mounted(folder: Path, *options: str) -> bool:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A place for a small file system; skipped where this test may not mount any."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root on Linux may mount")
    folder = tmp_path / "disk"
    if not mounted(folder, "-o", "size=1m"):
        pytest.skip("this sandbox does not allow to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder_is_reported(harness: Harness, mount: Path) -> None:
    harness("run", study(GOOD), "--workers", "1", "--results", mount)
    before = contents(mount)
    subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
    answer = harness("run", "study.toml", "--workers", "1", "--results", mount, "--set", "seeds=2")
    assert answer.code == 1
    in_order(
        answer.stderr, r"^error: results folder .*disk cannot be written: Read-only file system", "--results"
    )
    assert contents(mount) == before
    answer = harness("run", "study.toml", "--results", mount / "new")
    assert answer.code == 1
    in_order(answer.stderr, r"^error: results folder .*new cannot be written: Read-only file system")


def test_a_full_disk_is_reported_and_the_next_run_continues(harness: Harness, mount: Path) -> None:
    harness("run", study(GOOD), "--workers", "1", "--results", mount)
    before = contents(mount)
    ballast = mount / "parts" / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(mount).free))
    answer = harness("run", "study.toml", "--workers", "1", "--results", mount, "--set", "seeds=2")
    assert answer.code == 1
    in_order(
        answer.stderr, r"^error: .*disk/.* cannot be written: No space left on device", "free some space"
    )
    assert "Traceback" not in answer.stderr
    ballast.unlink()
    assert contents(mount) == before
    answer = harness("run", "study.toml", "--workers", "1", "--results", mount, "--set", "seeds=2")
    assert answer.code == 0, answer.stderr
    assert answer.stdout.count("1 trials trained") == 1
    for name, content in before.items():
        if name.startswith("parts/"):
            assert (mount / name).read_bytes() == content


# -------------------------------------------------------------------------------------------- what it answers


@pytest.mark.usefixtures("no_torch")
def test_help_lists_the_commands(harness: Harness) -> None:
    answer = harness("--help")
    assert answer.code == 0
    for command in ("data", "list", "plan", "report", "run"):
        assert re.search(rf"^  {command} +\w", answer.stdout, re.MULTILINE)
    assert "--set KEY=VALUE" in harness("run", "--help").stdout


@pytest.mark.usefixtures("no_torch")
def test_unknown_commands_options_and_axes_are_refused(harness: Harness) -> None:
    for arguments, patterns in (
        (
            ["rnu"],
            (
                "unknown command 'rnu': did you mean 'run'",
                "Allowed: cluster, compare, .*list",
            ),
        ),
        (["data", "chek"], ("'chek'", "[Dd]id you mean 'check'")),
        (
            ["list", "activatoin"],
            ("unknown axis 'activatoin': did you mean 'activation'", "Allowed: activation"),
        ),
        (["run"], ("Missing argument 'STUDY'",)),
        (["run", "choices", "--sett", "lr=1"], ("No such option.*--sett", "--set")),
        (["run", "choices", "--workers", "0"], ("--workers", "0 is not in the range x>=1")),
        (
            ["run", "choices", "--engine", "steam"],
            ("engine 'steam': allowed: loop, numpy, stacked; or a network of your own",),
        ),
        (["report", "nowhere"], ("nowhere is not a results folder",)),
    ):
        answer = harness(*arguments)
        assert answer.code == 2, arguments
        in_order(answer.stderr, *patterns)
        assert "Traceback" not in answer.stderr


@pytest.mark.usefixtures("no_torch")
def test_list_shows_every_component_with_a_line(harness: Harness) -> None:
    answer = harness("list")
    assert answer.code == 0
    lines = answer.stdout.splitlines()
    for axis, registry in plugins.catalogue().items():
        assert axis in lines
        for entry in registry:
            assert any(re.match(rf"  {entry.name} +\S", line) for line in lines), entry.name
    one = harness("list", "optimizer").stdout
    assert "lr=0.1, weight_decay=0.0" in one
    assert "softmax" not in one
    assert "ccql_weight=by classes" in harness("list", "loss").stdout


@pytest.mark.usefixtures("no_torch")
def test_plan_shows_arms_trials_and_costs(harness: Harness) -> None:
    text = GOOD.replace("seeds = 1", 'seeds = 3\nhypothesis = "It matters."') + (
        '[axes]\nactivation = ["relu", "tanh"]\nmatch = ["kind", "ignore"]\nloss = ["ce", "nll"]\n'
    )
    answer = harness("plan", study(text))
    assert answer.code == 0
    in_order(
        answer.stdout,
        "good: grid", "It matters.", "6 arms x 3 seeds = 18 trials, 12 to train",
        r"  [\d,]+ trainable parameters",
        "trained once: activation=relu, match=ignore, loss=ce mean the same as activation=relu, match=kind",
        r"6 trials skipped: loss 'nll' takes log_probabilities; head 'identity' gives logits",
        r"\d+ stacks? of (\d+ to )?\d+ trials?", r"about \d+ s on \d+ cores, [\d.]+ MB on disk",
    )  # fmt: skip
    assert [path.name for path in Path().iterdir()] == ["study.toml"]


def test_plan_of_a_study_whose_run_was_killed_before_its_tables(harness: Harness) -> None:
    path = study(GOOD.replace("seeds = 1", 'seeds = 1\nmetrics = ["top3"]'))
    assert harness("run", path, "--device", "cpu", "--workers", "1").code == 0
    folder = Path("results/good")
    for file in [*folder.glob("*.csv*"), *(folder / "parts").iterdir(), folder / "study.toml"]:
        file.unlink()
    answer = harness("plan", path)
    assert answer.code == 0, answer.stderr
    assert "1 arm x 1 seed = 1 trial, 1 to train" in answer.stdout


def test_plan_of_the_default_study_needs_neither_torch_nor_data(tmp_path: Path) -> None:
    empty = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent), "HARNESS_DATA": str(tmp_path / "data")}
    forbidden = (
        "import sys; sys.modules |= dict(torch=None, pooch=None); from harness.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", forbidden, "plan", "choices"],
        cwd=tmp_path, env=empty, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "240 arms x 3 seeds = 720 trials, 720 to train" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_works(tmp_path: Path) -> None:
    answer = real("--help", cwd=tmp_path, forbid_torch=True)
    assert answer.code == 0
    assert answer.stdout.startswith("Usage:")
    assert "Usage: python -m harness " in real("--help", cwd=tmp_path).stdout
    (tmp_path / "bad.toml").write_text('[study]\nname = "bad"\n[baseline]\nactivation = "rellu"\n')
    answer = real("run", "bad.toml", cwd=tmp_path, forbid_torch=True)
    assert answer.code == 2
    assert answer.stdout == ""
    in_order(answer.stderr, r"^error: bad\.toml: 1 problem", "did you mean 'relu'")
    assert "Traceback" not in answer.stderr
    answer = real("rnu", cwd=tmp_path, forbid_torch=True)
    assert answer.code == 2
    in_order(answer.stderr, "^Usage: ", "did you mean 'run'")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def test_a_run_ends_with_a_table_of_results(harness: Harness) -> None:
    answer = harness(
        "run", study(GOOD + AXES), "--workers", "1", "--device", "cpu", "--set", "output=softmax + CE"
    )
    assert answer.code == 0, answer.stderr
    next_line = "verdicts: harness report results/good, or this command with --json"
    in_order(answer.stdout, "2 trials trained in .*2 ok", "results: results/good/trials.csv", next_line)
    assert "activation=tanh, softmax + CE" in " ".join(answer.stdout.split())
    again = harness("run", "study.toml", "--workers", "1", "--device", "cpu", "--set", "output=softmax + CE")
    assert again.code == 0
    in_order(again.stdout, "0 trials trained in .*2 ok")


def test_data_check_says_what_is_missing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    answer = harness("data", "check", "mnist")
    assert answer.code == 1
    assert len(answer.stdout.splitlines()) == 4
    assert answer.stdout.count("missing") == 4
    answer = harness("data", "check", "mnits")
    assert answer.code == 2
    in_order(answer.stderr, "'mnits'", "did you mean 'mnist'")


# ------------------------------------------------------------------------------------------------- searches

SEARCH = """
[study]
name = "found"
design = "search"
seeds = 2
[baseline]
dataset = "digits"
hidden = [4]
epochs = 3
[search]
suggestions = 4
batch = 2
pruner = "halving"
[space]
lr = { low = 0.001, high = 1.0, log = true }
activation = ["relu", "tanh"]
"""


def test_a_search_prints_its_winner(harness: Harness) -> None:
    answer = harness("search", study(SEARCH), "--workers", 1)
    assert answer.code == 0, answer.stderr
    in_order(
        answer.stdout, "the best suggestions, by val", r"4 suggestions: .*complete", "4 of them now, in",
        "the finalists, by val accuracy", "picked: suggestion ", r"winner - baseline on test: [+-]",
        r"the winner's val accuracy: [\d.]+ % in the search, [\d.]+ % with fresh seeds; the search ",
        r"winner: suggestion \d, activation \w+, lr [\d.]+", r"results: results/found/suggestions\.csv",
    )  # fmt: skip
    again = harness("search", study(SEARCH), "--workers", 1, "--set", "search.suggestions=5")
    assert again.code == 0, again.stderr
    in_order(again.stdout, "5 suggestions: ", "1 of them now")


def test_a_search_stops_at_its_target_and_goes_on_to_another(harness: Harness) -> None:
    eight = ("search", study(SEARCH), "--workers", 1, "--set", "search.suggestions=8")
    low = harness(*eight, "--until", "val_accuracy=0.01")
    assert low.code == 0, low.stderr
    in_order(
        low.stdout, r"\d suggestions: ",
        r"suggestion \d has val accuracy of at least 1\s%: no more are asked for, after [246] of 8",
    )  # fmt: skip
    assert "the space holds no more" not in low.stderr
    high = harness(*eight, "--until", "val_accuracy=1.0")
    assert high.code == 0, high.stderr
    in_order(high.stdout, "8 suggestions: ", r"[246] of them now")
    assert "no suggestion has val accuracy of at least 100\u00a0%" in high.stderr
    planned = harness("plan", study(SEARCH), "--until", "val_accuracy=0.5")
    assert "until a complete suggestion has val accuracy of at least 50\u00a0%" in planned.stdout
    for given in ("val_accuracy", "=0.9", "val_accuracy="):
        wrong = harness("search", study(SEARCH), "--until", given)
        assert wrong.code == 2
        assert f"--until {given!r}: allowed: OBJECTIVE=LEVEL, such as val_accuracy=0.9" in wrong.stderr


def test_plan_shows_a_search(harness: Harness) -> None:
    answer = harness("plan", study(SEARCH), "--workers", 2)
    assert answer.code == 0, answer.stderr
    in_order(
        answer.stdout, "found: search", "4 suggestions in batches of 2, sampler tpe", "maximize val_accuracy",
        r"activation +one of relu, tanh", r"lr +0\.001 to 1, log", r"halving: asked after evaluation 1 of 3",
        "about .* on 2 cores",
        "then its best 3, whole, with 5 seeds of their own, by val, in finalists/: about ",
        "then the best of these and the baseline with 2 fresh seeds and test, in confirmed/: about ",
    )  # fmt: skip
    assert [path.name for path in Path().iterdir()] == ["study.toml"]


def test_the_plan_of_a_search_says_what_is_there_its_network_and_what_trains_in_pytorch(
    harness: Harness,
) -> None:
    given = study(SEARCH.replace("hidden = [4]", 'architecture = "cnn"\nchannels = [4]'))
    planned = harness("plan", given)
    in_order(
        planned.stdout, r"baseline: dataset digits, architecture cnn, .*channels \[4\]",
        "of 64 random suggestions:", "64 trials of architecture 'cnn' train in PyTorch, in stacks",
    )  # fmt: skip
    assert "in the results folder" not in planned.stdout
    assert harness("search", given, "--workers", 1).code == 0
    more = harness("plan", given, "--set", "search.suggestions=6")
    assert "4 finished in the results folder, 2 to ask for" in more.stdout
    Path("other.toml").write_text(Path(given).read_text().replace('"found"', '"lost"'))
    other = harness("plan", "other.toml", "--results", "results/found")
    assert other.code == 2
    assert "holds results of the study 'found', not of 'lost'" in other.stderr


def test_the_plan_says_when_a_pruner_stops_nothing(harness: Harness) -> None:
    answer = harness("plan", study(SEARCH), "--set", "epochs=1")
    assert answer.code == 0
    assert "pruner halving stops nothing: no suggestion gets more than 1 evaluations" in answer.stderr


@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        ("run", SEARCH, "found is a study of design 'search': use `harness search`, not `harness run`"),
        ("search", GOOD, "good is a study of design 'grid': use `harness run`, not `harness search`"),
        ("search", SEARCH.replace("low = 0.001", "low = 2"), "space.lr: low = 2 must lie below high = 1"),
        (
            "search",
            SEARCH.replace("= 4", "= 0"),
            "search.suggestions = 0: allowed: greater than or equal to 1",
        ),
    ],
)
@pytest.mark.usefixtures("no_torch")
def test_search_refuses_a_study_of_another_design(
    harness: Harness, command: str, text: str, message: str
) -> None:
    answer = harness(command, study(text))
    assert answer.code == 2
    assert message in answer.stderr
    assert [path.name for path in Path().iterdir()] == ["study.toml"]

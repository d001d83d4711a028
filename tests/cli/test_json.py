"""`--json`: real objects of every command against their schemas, exit codes, and nothing else on stdout."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import harness
from harness.cli import guide, json_output, main, schemas
from harness.registry import PACKAGE_ROOT
from harness.text.json_values import plain

UGLY = '"}'
"""A name of an arm that ends JSON for whoever writes it by hand."""
TINY = """
[study]
name = "tiny"
design = "one-factor"
seeds = 3
metrics = ["top3"]
until = { val_accuracy = 0.12 }
[baseline]
dataset = "digits"
hidden = [4]
epochs = 1
eval_every = "10 steps"
[axes]
batch_size = [64]
output = [
    { name = '"}', head = "softmax", loss = "mse" },
    { name = "größer 🙂", lr = 0.2 },
    { name = "NaN", loss = "mse", lr = 1e6 },
    { name = "wrong", head = "softmax", loss = "nll" },
]
"""
TUNED = """
[study]
name = "tuned"
seeds = 2
[baseline]
dataset = "digits"
hidden = [4]
epochs = 1
[axes]
activation = ["relu", "tanh"]
[tune]
seeds = 1
[tune.space]
lr = [0.1, 0.2]
"""
FOUND = """
[study]
name = "found"
design = "search"
seeds = 2
[search]
suggestions = 4
batch = 4
sampler = "random"
[baseline]
dataset = "digits"
hidden = [4]
epochs = 1
[space]
lr = { low = 0.01, high = 1.0, log = true }
activation = ["relu", "tanh"]
batch_size = { values = [16, 32], when = { activation = ["tanh"] } }
"""
FAILING = """
import os

from harness import losses

print("printed by the plugin")
os.write(1, b"printed by C\\n")


@losses.register("mine", takes="logits")
def mine(logits, target):
    \"\"\"Cross-entropy that fails in training.\"\"\"
    print("printed in training")
    if logits.shape[-1] == 10:
        raise ValueError('no "} way')
    return -(target * logits.log_softmax(-1)).sum(-1)
"""
ONE = ("--workers", "1", "--device", "cpu")
CALLS: Mapping[str, Sequence[Sequence[str]]] = {
    "list": [(), ("loss",)],
    "plan": [("tiny.toml",), ("tuned.toml",), ("found.toml",), ("choices", "--results", "none")],
    "run": [("tiny.toml", *ONE), ("tuned.toml", *ONE)],
    "search": [("found.toml", *ONE)],
    "merge": [("results/tiny", "other", "--out", "merged"), ("results/tuned", "--out", "merged tuned")],
    "report": [("results/tiny",)],
    "compare": [("results/tiny", "other"), ("results/tiny", "other", "--fail-on", "worse", "--out", "out")],
    "noise": [("tiny.toml", "--seeds", "3", *ONE)],
    "try": [("tiny.toml", "--set", "lr=0.3", "--max-seeds", "5", *ONE)],
    "judge": [
        ("results/tiny/trials.csv", "--arm", "arm", "--metric", "val_accuracy"),
        ("results/tuned/trials.csv", "--arm", "arm", "--metric", "val_accuracy", "--out", "page.html"),
    ],
    "show": [("results/tiny", "confusion")],
    "show-component": [("gelu",)],
    "export": [("best", "--results", "results/tiny", "--out", "exported/new")],
    "continue": [("results/tiny", "--epochs", "1", "--out", "longer")],
    "cluster ray": [("tiny.toml", "--head", "10.0.0.1", "--host", "node2")],
    "cluster slurm": [("tiny.toml", "--nodes", "2", "--gpus", "1")],
    "cluster check": [("local:1", "tiny.toml")],
    "data fetch": [("mnist",)],
    "data card": [("cifar10", "emnist-letters"), ()],
    "data check": [("digits",), ("mnist",)],
    "data show": [("digits", "--number", "3")],
    "data export": [("digits", "idx", "images")],
}
"""Calls of every command that answers in JSON, on real images; they may use what earlier ones wrote."""
OPEN = (
    "axes", "settings", "labels", "drawn", "values", "metrics", "allowed", "when", "default", "read_as",
    "differences", "target", "horizons", "until", "constraints",
)  # fmt: skip
"""Fields whose keys or values a schema leaves open, because a person's study decides them."""


class Given:
    """What a call gave: its exit code, its object, and its words."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def object(self) -> dict[str, Any]:
        assert self.out.endswith("\n"), self.err
        assert self.out.count("\n") == 1, self.out
        found: dict[str, Any] = json.loads(self.out, parse_constant=pytest.fail)
        return found


Call = Callable[..., Given]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three studies, trained: of one factor, tuned, a search."""
    here = tmp_path_factory.mktemp("json")
    for name, text in (("tiny", TINY), ("tuned", TUNED), ("found", FOUND)):
        (here / f"{name}.toml").write_text(text, encoding="utf-8")
        study = harness.load(here / f"{name}.toml")
        (harness.search if name == "found" else harness.run)(study, here / "results" / name, workers=1)
    shutil.copytree(here / "results" / "tiny", here / "other")
    return here


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """The command in this process."""

    def called(*arguments: str | Path) -> Given:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        return Given(end.value.code, *capsys.readouterr())

    yield called
    assert sys.stdout is not sys.stderr


def validator(command: str) -> Any:
    return jsonschema.Draft202012Validator(schemas.schema(command))


def problems(command: str, found: object) -> list[str]:
    """What a schema has against an object."""
    return [f"{error.json_path}: {error.message[:200]}" for error in validator(command).iter_errors(found)]


# -------------------------------------------------------------------------------------------- the contract


def test_every_command_with_json_has_a_schema_and_is_called_here() -> None:
    answering = {name for name, command in guide.every_command(main.harness) if guide.takes_json(command)}
    assert answering == set(schemas.commands()) == set(CALLS)


def test_all_commands_but_those_without_an_answer_take_json() -> None:
    silent = {name for name, command in guide.every_command(main.harness) if not guide.takes_json(command)}
    assert silent <= {"guide", "watch"}


@pytest.mark.parametrize("command", schemas.commands())
def test_a_schema_is_one_says_what_numbers_mean_and_is_closed(command: str) -> None:
    schema = schemas.schema(command)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$defs"]["answer"]["properties"]["command"] == {"const": command}
    for place, part in parts(schema):
        kinds = part.get("type", ())
        if {"integer", "number"} & ({kinds} if isinstance(kinds, str) else set(kinds)):
            assert part.get("description"), place
        if "properties" in part:
            assert part["additionalProperties"] is False, place
            assert set(part.get("required", ())) <= set(part["properties"]), place


def test_a_trial_is_the_same_wherever_it_is_shown() -> None:
    shown = schemas.schema("show")["$defs"]["answer"]["properties"]["trials"]["items"]["properties"]
    trial = schemas.schema("continue")["$defs"]["trial"]["properties"]
    assert {name: part for name, part in shown.items() if name != "figures"} == trial


def parts(schema: object, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema that describes a field of its own, with its place."""
    if isinstance(schema, dict):
        for key, inner in schema.items():
            if key in {"properties", "$defs"}:
                for name, part in inner.items():
                    yield f"{place}.{name}", part
                    yield from parts(part, f"{place}.{name}")
            else:
                yield from parts(inner, place)
    elif isinstance(schema, list):
        for inner in schema:
            yield from parts(inner, place)


@pytest.mark.parametrize(
    ("command", "arguments"), [(command, call) for command, calls in CALLS.items() for call in calls]
)
def test_a_real_object_meets_its_schema_and_no_changed_one_does(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch, command: str, arguments: Sequence[str]
) -> None:
    monkeypatch.chdir(folder)
    for left in ("exported", "longer", "images"):
        shutil.rmtree(left, ignore_errors=True)
    # Its figures take longer than all else here, and tests of the report draw them.
    monkeypatch.setattr("harness.reporting.write", lambda results, out: out or results / "report.html")
    given = call(*command.split(), *arguments, "--json")
    found = given.object
    assert given.code == found.get("exit_code", 0), given.err
    assert problems(command, found) == []
    assert "error" not in found
    assert (found["command"], found["schema"]) == (command, json_output.SCHEMA)
    accepts = validator(command).is_valid
    changed = 0
    for what, other in changes(found):
        changed += 1
        assert not accepts(other), what
    assert changed > 3


def changes(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Copies of an object, each wrong in one place: a key more, a key less, a value of another type."""
    places = list(tables(found))
    for place in places:
        for key in (*at(found, place), "surprise"):
            other = copy.deepcopy(dict(found))
            table = at(other, place)
            if key in table:
                del table[key]
            else:
                table[key] = 1
            yield f"{place}: {key} taken out or put in", other
            if key in at(found, place) and key not in OPEN:
                other = copy.deepcopy(dict(found))
                at(other, place)[key] = {"of": "another type"}
                yield f"{place}.{key}: another type", other


def tables(found: object, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of the objects whose keys a schema decides: of a list's, the first's."""
    if isinstance(found, Mapping):
        yield place
        for key, inner in found.items():
            if key not in OPEN:
                yield from tables(inner, (*place, key))
    elif isinstance(found, list) and found:
        yield from tables(found[0], (*place, 0))


def at(found: Any, place: Sequence[Any]) -> dict[str, Any]:
    for key in place:
        found = found[key]
    table: dict[str, Any] = found
    return table


# ---------------------------------------------------------------------------------------- right contents


def test_a_run_says_what_its_tables_say(folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = call("run", "tiny.toml", *ONE, "--json").object
    trials = harness.read("results/tiny").trials
    assert found["trained"] == 0
    counts = {name: count for name, count in found["statuses"].items() if count}
    assert counts == {"ok": 12, "diverged": 3, "skipped": 3}
    arms = {arm["arm"]: arm for arm in found["arms"]}
    assert set(arms) == set(trials["arm"]) == {"baseline", "batch_size=64", UGLY, "größer 🙂", "NaN", "wrong"}
    mean = trials[trials["arm"].eq("größer 🙂")].test_accuracy.mean()
    assert arms["größer 🙂"]["test_accuracy"]["mean"] == pytest.approx(mean, rel=1e-6)
    assert arms["NaN"]["val_accuracy"] == {"n": 0, "mean": None, "low": None, "high": None}
    assert (arms["NaN"]["rank"], arms["NaN"]["diverged"]) == (None, 3)
    ranked = [arm["val_accuracy"]["mean"] for arm in found["arms"] if arm["rank"]]
    assert ranked == sorted(ranked, reverse=True)
    contrasts = {row["arm"]: row for row in found["contrasts"]["rows"]}
    by_seed = trials.pivot_table(index="seed", columns="arm", values="test_accuracy")
    difference = (by_seed[UGLY] - by_seed["baseline"]).mean()
    assert contrasts[UGLY]["difference"] == pytest.approx(difference, rel=1e-5)
    assert contrasts["NaN"]["verdict"] == "no data"
    times = found["times_to_target"]
    assert (times["target"], times["unit"]) == ({"val_accuracy": 0.12}, "epochs")
    by_seed = trials.assign(time=trials["epochs_to"].fillna(1.0)).pivot_table("time", "seed", "arm")
    row = next(row for row in times["rows"] if row["arm"] == "größer 🙂")
    assert row["difference"] == pytest.approx((by_seed["größer 🙂"] - by_seed["baseline"]).mean())


def test_a_plan_says_what_is_skipped_and_what_is_finished(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = call("plan", "tiny.toml", "--json").object
    assert (found["trials"], found["finished"], found["to_train"]) == (18, 15, 0)
    assert found["skipped"] == [{"trials": 3, "reason": found["arms"][-1]["skipped"]}]
    assert "nll" in found["skipped"][0]["reason"]
    assert found["settings"]["hidden"] == [4]
    assert {arm["arm"]: arm["settings"]["lr"] for arm in found["arms"]}["größer 🙂"] == 0.2
    anew = call("plan", "tiny.toml", "--results", "nowhere", "--json").object
    assert (anew["finished"], anew["to_train"], anew["seconds"] > 0) == (0, 15, True)
    assert anew["contrasts"]["pairs"][0] == ["batch_size=64", "baseline"]


def test_notes_are_told_and_stand_in_the_object(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    given = call("plan", "tiny.toml", "--set", "gamma=0.5", "--json")
    (note,) = given.object["notes"]
    assert "gamma is set in [baseline] and applies to no arm" in note
    assert f"note: {note}" in given.err
    assert call("plan", "tiny.toml", "--json").object["notes"] == []


def test_a_search_says_its_winner_and_the_verdict_on_it(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = call("search", "found.toml", *ONE, "--json").object
    table = harness.search(harness.load("found.toml"), "results/found", workers=1).suggestions
    means = harness.read("results/found/finalists").trials.groupby("arm")["val_accuracy"].mean()
    told = found["finalists"]
    assert {row["arm"]: row["mean"] for row in told["arms"]} == pytest.approx(means.to_dict(), rel=1e-6)
    assert told["arms"][0]["mean"] == pytest.approx(means.max())
    assert told["picked"] == told["arms"][0]["number"] == found["winner"]["number"]
    assert sum(row["wins"] for row in told["arms"]) == pytest.approx(1)
    assert [row["reference"] for row in told["differences"]] == [row["arm"] for row in told["arms"][1:]]
    searched = table.set_index("number")["val_accuracy"][told["picked"]]
    assert found["winner"]["values"]["val_accuracy"] == pytest.approx(searched)
    assert found["winner"]["settings"]["lr"] == pytest.approx(found["winner"]["drawn"]["lr"])
    assert found["suggestions"] == {"complete": 4, "pruned": 0, "failed": 0}
    trials = harness.read("results/found/confirmed").trials.pivot_table(
        index="seed", columns="arm", values="test_accuracy"
    )
    fresh = harness.read("results/found/confirmed").trials.query("arm == 'winner'")["val_accuracy"].mean()
    assert found["optimism"]["optimism"] == pytest.approx(searched - fresh, abs=1e-6)
    assert found["until"] is None
    difference = (trials["winner"] - trials["baseline"]).mean()
    assert found["difference"]["difference"] == pytest.approx(difference, rel=1e-5, abs=1e-9)
    assert found["verdict"] == found["difference"]["verdict"]


def test_a_search_says_what_it_refused_and_what_it_knew(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    given = [
        "found.toml", "--set", "search.sampler=tpe", "--set", "search.warm_start=results/found",
        "--set", "search.constraints.parameters=400", "--set", "hidden=[4]", "--json",
    ]  # fmt: skip
    known = {"folder": "results/found", "complete": 4, "suggestions": 4}
    planned = call("plan", *given).object["search"]
    assert (planned["constraints"], planned["known"]) == ({"parameters": 400}, known)
    found = call("search", *given, *ONE, "--results", "warm").object
    assert (found["refused"], found["known"]) == (0, known)


def test_what_list_allows_is_what_a_study_takes(call: Call) -> None:
    found = call("list", "optimizer", "--json").object
    assert list(found["axes"]) == ["optimizer"]
    lr = next(one for one in found["axes"]["optimizer"][0]["settings"] if one["name"] == "lr")
    batch = next(one for one in found["settings"] if one["name"] == "batch_size")
    split = next(one for one in found["settings"] if one["name"] == "val_split")
    for setting, right, wrong in ((lr, 0.1, -1), (batch, 16, 0.5), (split, "random", "none")):
        jsonschema.validate(right, setting["allowed"])
        assert not jsonschema.Draft202012Validator(setting["allowed"]).is_valid(wrong)
        for value, taken in ((right, True), (wrong, False)):
            study = {"study": {"name": "x"}, "baseline": {"dataset": "digits", setting["name"]: value}}
            if taken:
                harness.parse(study)
            else:
                with pytest.raises(harness.errors.UsageError):
                    harness.parse(study)


# ------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("arguments", "command", "message"),
    [
        (("run",), "run", "Missing argument 'STUDY'"),
        (("run", "nope"), "run", "there is no study 'nope'"),
        (("run", "tiny.toml", "--workers", "0"), "run", "--workers"),
        (("run", "tiny.toml", "--epoch", "3"), "run", "--epoch"),
        (("run", "found.toml"), "run", "use `harness search`"),
        (("plan", "tiny.toml", "--set", "lr=fast"), "plan", "baseline.lr"),
        (("list", "los"), "list", "did you mean 'loss'"),
        (("compare", "results/tiny", "nowhere"), "compare", "nowhere is not a results folder"),
        (("show", "results/tiny", "--trial", "t0"), "show", "t0"),
        (("data", "check", "nothing"), "data check", "nothing"),
        (("data", "chek"), "data", "chek"),
        (("runn", "tiny.toml"), "harness", "did you mean 'run'"),
        (("export", "best", "--results", "nowhere"), "export", "nowhere"),
    ],
)
def test_wrong_usage_is_an_object_and_the_same_words_and_code_as_without_json(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], command: str,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    plain, given = call(*arguments), call(*arguments, "--json")
    assert (plain.code, given.code, plain.out) == (2, 2, "")
    assert given.err == plain.err
    found = given.object
    assert found["command"] == command
    assert found["error"]["exit_code"] == 2
    assert message in found["error"]["message"]
    assert problems(command if command in schemas.commands() else "run", found) == []
    del found["error"]["exit_code"]
    assert problems("run", found) != []


def test_a_gate_has_its_verdict_and_its_code_with_and_without_json(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    gate = ("compare", "results/tiny", "other", "--fail-on", "worse")
    undecided = ("compare", "results/tiny", "results/tiny", "--fail-on", "worse")
    call("run", "tiny.toml", *ONE, "--results", "worse", "--set", "epochs=3")
    worse = ("compare", "worse", "other", "--fail-on", "worse", "--metric", "val_accuracy")
    for arguments, code, verdict in (
        (gate, 0, "not worse"),
        (worse, 1, "worse"),
        (undecided, 2, "cannot tell"),
    ):
        plain, given = call(*arguments), call(*arguments, "--json")
        assert (plain.code, given.code) == (code, code), plain.err
        assert given.object["verdict"] == verdict
        assert problems("compare", given.object) == []
        assert given.object["gate"]["passed"] is (code == 0)
    assert call(*gate[:3], "--json").object["verdict"] is None


def real(*arguments: str, cwd: Path, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own, with pipes in place of a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments], cwd=cwd, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}, **{"capture_output": True, **keywords},
    )  # fmt: skip


def test_a_failed_trial_is_exit_code_1_and_a_whole_object_whatever_a_plugin_and_workers_print(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.py").write_text(FAILING)
    text = TINY.replace('metrics = ["top3"]', 'plugins = ["own.py"]').replace(
        "batch_size = [64]\n", 'loss = ["mine"]\n'
    )
    cases = 'output = [{ name = "mine", loss = "mine", batch_size = 50 }, { name = \'"}\', lr = 0.2 }]\n'
    text = re.sub(r'loss = \["mine"\]\noutput = \[.*\n\]\n', lambda _: cases, text, flags=re.DOTALL)
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    with (tmp_path / "out.json").open("w") as out, (tmp_path / "err.txt").open("w") as err:
        arguments = ("run", "tiny.toml", "--json", "--workers", "2", "--verbose")
        done = real(*arguments, cwd=tmp_path, capture_output=False, stdout=out, stderr=err)
    given = Given(done.returncode, (tmp_path / "out.json").read_text(), (tmp_path / "err.txt").read_text())
    assert given.code == 1, given.err
    found = given.object
    assert problems("run", found) == []
    assert {arm["arm"]: arm["ok"] for arm in found["arms"]} == {"baseline": 3, UGLY: 3, "mine": 0}
    assert found["statuses"]["failed"] == 3
    failures = found["failures"]
    assert {seed for failure in failures for seed in failure["seeds"]} == {0, 1, 2}
    assert all('no "} way' in failure["message"] and failure["arms"] == ["mine"] for failure in failures)
    assert "printed by the plugin" in given.err
    assert "printed by C" in given.err
    assert "Traceback" not in given.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupt_is_an_error_object(tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "tiny.toml").write_text(
        TINY.replace("epochs = 1", "epochs = 9000").replace("10 steps", "5 epochs"), encoding="utf-8"
    )
    command = [sys.executable, "-m", "harness", "run", "tiny.toml", "--json", "--verbose", "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        while "val loss" not in (line := process.stderr.readline()):
            assert line, "it ended by itself"
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    given = Given(process.returncode, out, err)
    assert given.code == code, err
    found = given.object
    assert found["error"]["exit_code"] == code
    assert "what is finished is kept in results/tiny" in found["error"]["message"]
    assert problems("run", found) == []


def test_what_is_trained_is_told_though_words_on_it_fail(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no words")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("harness.reporting.first_screen.headline.of_study", broken)
    monkeypatch.setattr("harness.reporting.contrasts.judge", broken)
    given = call("run", "tiny.toml", *ONE, "--json")
    assert given.code == 0
    found = given.object
    assert problems("run", found) == []
    assert (found["headline"], found["contrasts"], len(found["arms"])) == (None, None, 6)
    assert found["notes"] == [f"no {what}: ZeroDivisionError: no words" for what in ("headline", "verdicts")]


def test_a_machine_that_fails_is_exit_code_1(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("harness.reporting.write", full)
    plain, given = call("report", "results/tiny"), call("report", "results/tiny", "--json")
    assert (plain.code, given.code) == (1, 1)
    assert given.object["error"] == {
        "message": "the machine could not do it: [Errno 28] No space left on device", "exit_code": 1,
    }  # fmt: skip
    assert problems("report", given.object) == []


# -------------------------------------------------------------------------------------------- the screen


def test_a_reader_that_has_gone_is_no_error_and_a_full_device_is_said(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = real("list", "--json", cwd=tmp_path, capture_output=False, stdout=gone, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "")
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = real(
                "list", "--json", cwd=tmp_path, capture_output=False, stdout=full, stderr=subprocess.PIPE
            )
        assert done.returncode == 1
        assert "error: the output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("arguments", [("list",), ("list", "loss"), ("plan", "tiny.toml"), ("guide",)])
def test_what_answers_at_once_answers_at_once_in_json(tmp_path: Path, arguments: Sequence[str]) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.replace('metrics = ["top3"]', ""), encoding="utf-8")
    asked = [*arguments, *(["--json"] if arguments != ("guide",) else [])]
    code = (
        "import atexit, sys\n"
        "heavy = lambda: [name for name in ('torch', 'pandas') if name in sys.modules]\n"
        "atexit.register(lambda: print('HEAVY', heavy(), file=sys.stderr))\n"
        f"sys.argv = ['harness', *{asked!r}]\nfrom harness.cli.main import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "HEAVY []"


def test_a_screen_that_is_closed_changes_nothing(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m harness list loss --json'
    done = subprocess.run(
        ["sh", "-c", f"{command} 2>&-; {command} >&-"], cwd=tmp_path, capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
    )  # fmt: skip
    assert problems("list", json.loads(done.stdout)) == []
    words = subprocess.run(
        ["sh", "-c", f"{command} >&- && {command.removesuffix(' --json')} >&-"], cwd=tmp_path,
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
    )  # fmt: skip
    assert (words.stdout, words.stderr) == ("", "")


def test_plain_gives_types_of_json() -> None:
    import numpy as np
    import pandas as pd

    given = {"a": np.float32(0.5), "b": float("inf"), "c": np.int64(3), "d": Path("x/y"), 1: (True, None)}
    assert plain(given) == {"a": 0.5, "b": None, "c": 3, "d": "x/y", "1": [True, None]}
    assert plain(pd.DataFrame({"x": [1.0, float("nan")]})) == [{"x": 1.0}, {"x": None}]


def test_a_schema_of_no_command_is_refused(call: Call) -> None:
    given = call("guide", "--schema", "runn")
    assert given.code == 2
    assert "no schema of 'runn': did you mean 'run'" in given.err
    assert json.loads(call("guide", "--schema", "data check").out)["title"] == "harness data check --json"

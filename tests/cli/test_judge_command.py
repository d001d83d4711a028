"""`harness judge`: what it says, what it writes, and its exit codes; and each line of docs/judging.md."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from harness.cli import main, schemas

DOCS = Path(__file__).parents[2] / "docs" / "judging.md"


def table(folder: Path, new: float = 0.01, noise: float = 0.0005) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        {"model": arm, "seed": seed, "accuracy": 0.9 + shift + 0.001 * seed + rng.normal(0, noise)}
        for arm, shift in (("baseline", 0.0), ("new", new))
        for seed in range(6)
    ]
    path = folder / "runs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run a command line; give its exit code, its standard output, and what else it said."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main.main()
        captured = capfd.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def test_it_says_how_it_read_the_table_and_what_it_found(command: Any, tmp_path: Path) -> None:
    code, out, err = command("judge", table(tmp_path))
    assert code == 0
    assert not err
    assert out.startswith(
        "read as: long; arm = model (2), seed = seed (6), metric = accuracy, higher is better; "
        "reference = baseline; margin 0.2 points"
    )
    assert "new is better than baseline by 0.99 points" in out
    assert out.rstrip().endswith("verdict: better")


def test_the_last_line_is_no_answer_for_the_whole_table(command: Any, tmp_path: Path) -> None:
    whole = pd.concat(
        [
            pd.read_csv(table(tmp_path)).assign(data="digits"),
            pd.read_csv(table(tmp_path, new=-0.01)).assign(data="cifar"),
        ]
    )
    whole.to_csv(tmp_path / "both.csv", index=False)
    _, out, _ = command("judge", tmp_path / "both.csv", "--block", "data")
    assert out.rstrip().endswith("2 contrasts: 1 better and 1 worse.")
    code, out, _ = command("judge", tmp_path / "both.csv", "--block", "data", "--fail-on", "worse")
    assert (code, out.splitlines()[-1]) == (1, "for --fail-on worse: worse (new on cifar)")


EXAMPLE = {
    "baseline": (0.9700, 0.9706, 0.9691, 0.9698, 0.9712, 0.9701),
    "gelu": (0.9781, 0.9790, 0.9769, 0.9776, 0.9798, 0.9780),
    "tanh": (0.9742, 0.9660, 0.9779, 0.9713, 0.9771, 0.9748),
}


def test_the_example_of_the_page_is_what_is_printed(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    rows = [(arm, seed, value) for arm, values in EXAMPLE.items() for seed, value in enumerate(values)]
    pd.DataFrame(rows, columns=["model", "seed", "accuracy"]).to_csv("runs.csv", index=False)
    _, typed, _, shown, _ = DOCS.read_text(encoding="utf-8").split("```", 4)
    _, out, _ = command(*shlex.split(typed.splitlines()[1])[1:])
    assert shown.split() == out.split()


@pytest.mark.parametrize(
    ("new", "noise", "code", "verdict"),
    [(0.01, 0.0005, 0, "better"), (-0.01, 0.0005, 1, "worse"), (0.0, 0.02, 2, "cannot tell")],
)
def test_the_gate(new: float, noise: float, code: int, verdict: str, command: Any, tmp_path: Path) -> None:
    path = table(tmp_path, new, noise)
    assert command("judge", path)[0] == 0  # without the gate a verdict is an answer, whatever it is
    ended, out, _ = command("judge", path, "--fail-on", "worse", "--json")
    found = json.loads(out)
    assert (ended, found["verdict"], found["command"]) == (code, verdict, "judge")


def test_one_seed_is_no_answer(command: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("model,seed,accuracy\nbaseline,0,0.9\nnew,0,0.95\n")
    code, _, err = command("judge", path)
    assert code == 2
    assert "one seed gives no verdict" in err
    code, out, _ = command("judge", path, "--json")
    assert (code, json.loads(out)["verdict"]) == (2, "one seed")


def test_a_machine_that_fails_is_not_worse(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.errors import MachineError
    from harness.reporting import judged_page

    def full(*_: object) -> None:
        raise MachineError("the disk is full")

    monkeypatch.setattr(judged_page, "write", full)
    asked = ("judge", table(tmp_path), "--out", tmp_path / "page.html")
    assert command(*asked)[0] == 1
    code, out, err = command(*asked, "--fail-on", "worse", "--json")
    assert (code, json.loads(out)["error"]) == (2, {"message": "the disk is full", "exit_code": 2})
    assert "the disk is full" in err


def test_json_has_everything(command: Any, tmp_path: Path) -> None:
    path = table(tmp_path)
    path.write_text(path.read_text() + "new,6,\nnew,7,0.9\n")
    _, out, _ = command("judge", path, "--json", "--margin", "none")
    found = json.loads(out)
    parts = {"command", "verdict", "read_as", "contrasts", "arms", "left_out", "notes", "written"}
    assert parts <= set(found)
    (contrast,) = found["contrasts"]
    names = {
        "block", "arm", "reference", "n", "mean", "reference_mean", "difference", "sd", "low", "high", "p",
        "p_holm", "p_same", "p_same_holm", "verdict", "within_margin", "detectable", "more_seeds",
    }  # fmt: skip
    assert set(contrast) == names
    assert contrast["n"] == 6
    assert contrast["p_same"] is None
    assert found["read_as"]["arms"] == ["baseline", "new"]
    assert found["read_as"]["margin"] is None
    assert [part["rows"] for part in found["left_out"]] == [1, 2]
    _, out, _ = command("judge", path, "--json", "--unpaired")
    jsonschema.validate(json.loads(out), schemas.schema("judge"))
    assert json.loads(out)["contrasts"][0]["reference_n"] == 6


def test_a_page_or_a_folder(command: Any, tmp_path: Path) -> None:
    path = table(tmp_path)
    _, out, _ = command("judge", path, "--out", tmp_path / "page.html")
    assert f"written: {tmp_path / 'page.html'}" in out
    assert {file.name for file in tmp_path.iterdir()} == {"runs.csv", "page.html"}
    command("judge", path, "--out", tmp_path / "judged")
    names = {"judgement.html", "verdicts.csv", "verdicts.tex", "arms.csv", "arms.tex"}
    assert {file.name for file in (tmp_path / "judged").iterdir()} == names
    assert pd.read_csv(tmp_path / "judged" / "verdicts.csv")["verdict"].tolist() == ["better"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arm", "modle"], "did you mean 'model'"),
        (["--margin", "wide"], "--margin wide: allowed is a number"),
        (["--margin", "0"], "--margin 0: allowed is a difference above 0"),
        (["--out", "runs.csv"], "is not a folder"),
        (["--alpha", "2"], "--alpha 2: allowed is an error rate"),
        (["runs.csv"], "2 files: several files are read as samples"),
    ],
)
def test_wrong_usage(
    words: list[str], message: str, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path)
    code, out, err = command("judge", "runs.csv", "--out", "judged", *words)
    assert code == 2
    assert not out
    assert message in err
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"runs.csv"}


def lines_to_type() -> list[str]:
    """Every command line of docs/judging.md."""
    return re.findall(r"^harness judge .+$|(?<=`)harness judge [^`]+(?=`)", DOCS.read_text(), re.MULTILINE)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The files that docs/judging.md names, small."""
    runs = pd.DataFrame(
        [(arm, seed, 0.9 + shift + 0.001 * seed + 0.0001 * (seed * seed % 5) * (shift > 0))
         for arm, shift in (("baseline", 0.0), ("gelu", 0.01)) for seed in range(6)],
        columns=["model", "seed", "accuracy"],
    )  # fmt: skip
    runs.assign(dataset="mnist").to_csv(tmp_path / "runs.csv", sep=";", decimal=",", index=False)
    wide = runs.pivot_table("accuracy", "seed", "model")
    wide.to_csv(tmp_path / "sheet.csv")
    runs.to_json(tmp_path / "log.jsonl", orient="records", lines=True)
    trials = runs.rename(
        columns={"model": "params_activation", "seed": "user_attrs_seed", "accuracy": "value"}
    )
    trials.assign(state="COMPLETE", number=range(12)).to_csv(tmp_path / "trials.csv")
    exported = runs.rename(columns={"accuracy": "val/acc"}).assign(
        Name="x", State="finished", Created="", Runtime=1
    )
    exported.to_csv(tmp_path / "wandb_export.csv", index=False)
    chart = {"Step": [100, 200]}
    for arm, seed, value in runs.itertuples(index=False):
        for end in ("", "__MIN", "__MAX"):
            chart[f"{arm}-seed{seed} - val_acc{end}"] = [value - 0.1, value]
    pd.DataFrame(chart).to_csv(tmp_path / "chart.csv", index=False)
    for model, right in (("a", [1.0] * 20), ("b", [1.0] * 10 + [0.0] * 10)):
        path = tmp_path / "OUT" / model / "samples_arc_2026-08-21T10-56-54.1.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(
            "".join(json.dumps({"doc_id": i, "acc": value}) + "\n" for i, value in enumerate(right))
        )
    (tmp_path / "results").symlink_to(DOCS.parents[1] / "results")
    return tmp_path


@pytest.mark.parametrize("line", lines_to_type())
def test_each_line_of_the_docs(line: str, command: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    code, out, err = command(*shlex.split(line)[1:], "--json")
    assert code == 0, err
    found = json.loads(out)
    jsonschema.validate(found, schemas.schema("judge"))
    assert found["verdict"] in {"better", "worse"}, line
    assert len(found["contrasts"]) >= 1


def test_the_docs_have_a_line_for_each_tool() -> None:
    assert len(lines_to_type()) == 9


@pytest.mark.parametrize(("gate", "code"), [([], 1), (["--fail-on", "worse"], 2), (["--fail-on=worse"], 2)])
def test_a_gate_whose_machine_fails_does_not_say_worse(
    gate: list[str], code: int, tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.reporting.judged_page.write", full)
    assert command("judge", table(tmp_path), *gate, "--out", tmp_path / "out")[0] == code

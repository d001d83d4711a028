"""Tables as they come: what cannot be judged gets one clear message, what can be is read and said."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness
from harness.comparison.judging.judge import Judgement
from harness.comparison.judging.options import JudgeKeywords
from harness.errors import UsageError

HEAD = "model,seed,accuracy\n"
GOOD = HEAD + "".join(
    f"{arm},{seed},{0.9 + shift + 0.001 * (seed * 7 % 5) + 0.0002 * (seed * place % 3):.4f}\n"
    for place, (arm, shift) in enumerate({"baseline": 0.0, "new": 0.01}.items())
    for seed in range(6)
)


def judge(folder: Path, content: str | bytes, **options: Any) -> Judgement:
    path = folder / "runs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return harness.judge(path, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (HEAD, "a header and no rows"),
        (GOOD + "new,6", r"line 14 has 2 cells and the header 3: the line may be cut off"),
        (GOOD + "new,6,0,97\n", r"line 14 has 4 cells .* quotes around its comma"),
        (GOOD + 'new,6,"0.9', r"line 14: .*cut off, or a quote may not be closed"),
        (GOOD + "new,6,high\n", r"line 14: accuracy is 'high', which is not a number"),
        (GOOD + "new,6,0x1F\n", r"line 14: accuracy is '0x1F', which is not a number"),
        (GOOD + ",6,0.9\n", r"1 row without an arm \(model is empty in line 14\)"),
        (GOOD + "new,,0.9\nnew,,0.8\n", r"2 rows without a seed \(seed is empty in lines 14, 15\)"),
        (GOOD + "new,5,0.9\n", r"seed 5 of new has 2 rows \(lines 13, 14\)"),
        (GOOD + GOOD.removeprefix(HEAD), r"seed 0 of baseline .* and 11 more have several\. They are equal"),
        (GOOD.replace("baseline", "new"), "seed 0 of new has 2 rows"),
        (HEAD + "a,0,0.9\na,1,0.8\n", "only one arm, 'a'"),
        (HEAD + "a,0,.9\na,1,.9\nb,2,.9\nb,3,.9\n", r"no arm shares a seed.*a has '0', '1'; b has '2', '3'"),
        (HEAD + "a,0,\nb,0,\n", "no row has a number for accuracy"),
        ("model,seed,seed,accuracy\na,0,0,.9\nb,0,0,.9\n", "'seed' is the name of several columns"),
        ("model,accuracy\na,.9\nb,.8\n", r"no column is named like a seed; type --seed.*nothing to pair"),
        ("who,seed,accuracy\na,0,.9\nb,0,.8\n", "no column is named like an arm; type --arm COLUMN"),
        ("model,seed,x,y\na,0,.9,1\nb,0,.8,2\n", "which column is judged.*x, y"),
        (GOOD.encode() + b"new,\0,0.9\n", "not a text file"),
        (b"PK\x03\x04 and so on", "save the sheet as CSV"),
        (b"PAR1 and so on", "is Parquet"),
        (b"\x1f\x8b\x08 and so on", "gunzip"),
    ],
)  # fmt: skip
def test_one_message(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        judge(tmp_path, content)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "modle"}, "--arm modle: runs.csv has no such column; did you mean 'model'"),
        ({"seed": "sed"}, "--seed sed: .* did you mean 'seed'"),
        ({"metric": "acuracy"}, "--metric acuracy: .* did you mean 'accuracy'"),
        ({"block": "data"}, "--block data: runs.csv has no such column"),
        ({"block": "seed"}, "--block seed and --seed seed: a column can be one of them"),
        ({"where": ["model"]}, "--where model: allowed is COLUMN=VALUE"),
        ({"where": ["model=old"]}, "--where model=old: no row has it"),
        ({"arms": "acc_*"}, r"--arms acc_\*: no such column"),
        ({"metric": "model", "arm": "seed", "seed": "accuracy"}, "line 2: model is 'baseline', which is not"),
    ],
)
def test_options_that_do_not_fit(options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        judge(tmp_path, GOOD, **options)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    with pytest.raises(UsageError, match="pickle"):
        judge(tmp_path, pickle.dumps(Trap()))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,
        GOOD.encode("utf-16"),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(",", ";").replace(".", ","),
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t").replace(".", ","),
        GOOD.replace("\n", "\n\n"),
        GOOD.replace("0.9", " 0.9").replace("new", "  new "),
        "".join(f'"{line}"\n'.replace(",", '","') for line in GOOD.splitlines()),
        GOOD.replace(",", ";").replace("\n", ";;\n"),
    ],
    ids=["mark", "utf-16", "crlf", "comma", "semicolon", "tab", "blank lines", "blanks", "quotes", "empty"],
)  # fmt: skip
def test_other_ways_to_write_it_read_the_same(content: str | bytes, tmp_path: Path) -> None:
    if ";;" in str(content):
        content = str(content).replace("accuracy;;", "accuracy;;", 1)
    plain = judge(tmp_path, GOOD).contrasts
    pd.testing.assert_frame_equal(judge(tmp_path, content).contrasts, plain)


def test_decimal_commas_are_said_and_doubtful_ones_asked(tmp_path: Path) -> None:
    commas = GOOD.replace(",", ";").replace(".", ",")
    assert any("decimal commas" in note for note in judge(tmp_path, commas).notes)
    thousands = "model;seed;tokens\na;0;1,234\na;1;2,345\nb;0;3,456\nb;1;1,500\n"
    with pytest.raises(UsageError, match=r"may be 1\.234 or 1234\. Say which: --decimal ,"):
        judge(tmp_path, thousands, metric="tokens")
    assert judge(tmp_path, thousands, metric="tokens", decimal=",").contrasts["mean"][0] == pytest.approx(
        2.478
    )


def test_other_encodings_are_read_and_said(tmp_path: Path) -> None:
    judgement = judge(tmp_path, GOOD.replace("new", "größer").encode("cp1252"))
    assert list(judgement.contrasts["arm"]) == ["größer"]
    assert any("Windows-1252" in note for note in judgement.notes)


def test_percent_signs(tmp_path: Path) -> None:
    rows = [line.split(",") for line in GOOD.splitlines()[1:]]
    text = HEAD + "".join(f"{arm},{seed},{100 * float(value):.2f}%\n" for arm, seed, value in rows)
    judgement = judge(tmp_path, text)
    assert judgement.scale.kind == "percent"
    assert judgement.verdict == "better"


def test_cells_without_a_number_are_left_out_and_said(tmp_path: Path) -> None:
    lines = GOOD.splitlines()
    for place, cell in ((1, ""), (2, "NaN"), (3, "inf")):
        lines[place] = lines[place].rsplit(",", 1)[0] + "," + cell
    judgement = judge(tmp_path, "\n".join(lines))
    assert [(part.rows, part.reason, part.where) for part in judgement.left_out] == [
        (2, "no accuracy", "lines 2, 3"),
        (1, "accuracy is not finite", "line 4"),
    ]
    assert judgement.contrasts["n"][0] == 3


def test_runs_that_did_not_finish_are_left_out(tmp_path: Path) -> None:
    lines = GOOD.splitlines()
    rows = [f"{line},{'failed' if number == 4 else 'ok'}" for number, line in enumerate(lines[1:])]
    judgement = judge(tmp_path, "\n".join([lines[0] + ",status", *rows]))
    assert next((part.rows, part.reason) for part in judgement.left_out) == (1, "status is failed")
    assert judgement.contrasts["n"][0] == 5
    more = "\n".join([lines[0] + ",status,host", *(f"{row},a" for row in rows)])
    assert judge(tmp_path, more, where=["host=a"]).contrasts["n"][0] == 5
    with pytest.raises(UsageError, match="only one arm"):
        judge(tmp_path, more, where=["status=failed"])


def test_doubled_rows_name_the_column_that_tells_them_apart(tmp_path: Path) -> None:
    frame = pd.concat(
        [pd.read_csv(io.StringIO(GOOD)).assign(site=site, loss=0.123) for site in ("ulm", "bonn")]
    )
    frame["loss"] = np.linspace(0.1, 0.2, len(frame))  # tells rows apart, and is no block
    with pytest.raises(UsageError, match=r"'site' tells.*--block site .*--where site=ulm .*--arm model,site"):
        judge(tmp_path, frame.to_csv(index=False), metric="accuracy")
    blocks = judge(tmp_path, frame.to_csv(index=False), metric="accuracy", block="site")
    assert list(blocks.contrasts["block"]) == ["ulm", "bonn"]
    one = judge(tmp_path, frame.to_csv(index=False), metric="accuracy", where=["site=ulm"])
    pd.testing.assert_frame_equal(one.contrasts, judge(tmp_path, GOOD).contrasts)


@pytest.mark.parametrize("make", [Path.mkdir, lambda _path: None])
def test_a_folder_or_nothing(make: Any, tmp_path: Path) -> None:
    place = tmp_path / "place"
    make(place)
    with pytest.raises(UsageError, match=r"without samples_\*.jsonl|cannot be read: No such file"):
        harness.judge(place)


def test_a_frame_of_any_dtypes(tmp_path: Path) -> None:
    frame = pd.read_csv(io.StringIO(GOOD))
    plain = judge(tmp_path, GOOD).contrasts
    kinds: list[pd.DataFrame] = [
        frame, frame.astype({"model": "category", "seed": "Int64", "accuracy": "Float64"}),
        frame.astype(object), frame.set_index(pd.Index([7] * len(frame))), frame.astype(str),
        frame.assign(seed=pd.to_datetime("2026-01-01") + pd.to_timedelta(frame["seed"], unit="D")),
    ]  # fmt: skip
    for kind in kinds:
        pd.testing.assert_frame_equal(harness.judge(kind).contrasts, plain)
    with pytest.raises(UsageError, match="no rows"):
        harness.judge(frame.head(0))
    with pytest.raises(UsageError, match="row 3: accuracy is 'bad'"):
        harness.judge(frame.astype(object).replace({"accuracy": {frame["accuracy"][3]: "bad"}}))


def test_lines_of_an_old_mac_and_a_line_for_excel_are_read(tmp_path: Path) -> None:
    expected = judge(tmp_path, GOOD).contrasts
    for content in (
        GOOD.replace("\n", "\r"),
        "sep=;\n" + GOOD.replace(",", ";"),
        '"sep=,"\n' + GOOD,
        "sep=;\r\n" + GOOD.replace(",", ";").replace(".", ",").replace("\n", "\r\n"),
    ):
        pd.testing.assert_frame_equal(judge(tmp_path, content).contrasts, expected)


def test_true_and_false_are_right_and_wrong_samples(tmp_path: Path) -> None:
    rows = [(arm, seed, int((seed * place) % 3 == 0)) for place, arm in enumerate("ab") for seed in range(12)]
    numbers = pd.DataFrame(rows, columns=["model", "sample", "correct"])
    asked: JudgeKeywords = {"arm": "model", "seed": "sample", "metric": "correct"}
    told = judge(tmp_path, numbers.assign(correct=numbers["correct"].eq(1)).to_csv(index=False), **asked)
    pd.testing.assert_frame_equal(told.contrasts, harness.judge(numbers, **asked).contrasts)
    assert told.observations.unit == "sample"
    with pytest.raises(UsageError, match="accuracy is 'True', which is not a number"):
        judge(tmp_path, HEAD + "a,0,True\nb,0,0.9\n")


def test_names_cannot_steer_the_terminal_that_shows_them(tmp_path: Path) -> None:
    arms = judge(tmp_path, GOOD.replace("new", '"n\x1b]0;x\x07\u202ee\nw"')).contrasts["arm"]
    assert list(arms) == ["n\\x1b]0;x\\x07\\u202ee\\nw"]
    assert judge(tmp_path, GOOD.replace("accuracy", "\x1b[2J accuracy")).metric == "\\x1b[2J accuracy"


def test_an_arm_that_pandas_took_for_missing_is_told() -> None:
    content = GOOD.replace("baseline", "None")
    with pytest.raises(
        UsageError, match=r"6 rows without an arm \(model is empty in .*keep_default_na=False"
    ):
        harness.judge(pd.read_csv(io.StringIO(content)))
    kept = harness.judge(pd.read_csv(io.StringIO(content), keep_default_na=False))
    assert set(kept.observations.rows["arm"]) == {"None", "new"}

"""Tables of other tools, made by the tool itself or as its own export is, are recognised and read."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

import harness
from harness.errors import UsageError

ARMS = {"relu": 0.0, "gelu": 0.01}


def accuracy(arm: str, seed: int) -> float:
    return round(
        0.9 + float(ARMS[arm] + 0.003 * np.sin(seed) + 0.0005 * np.cos(3 * seed + len(arm) * ARMS[arm])), 5
    )


def long_table(seeds: int = 5) -> pd.DataFrame:
    return pd.DataFrame(
        [(a, s, accuracy(a, s)) for a in ARMS for s in range(seeds)], columns=["arm", "seed", "acc"]
    )


@pytest.fixture
def plain() -> pd.DataFrame:
    """The contrasts of the same runs in a plain table."""
    return harness.judge(long_table(), margin=0.002).contrasts


def same(found: pd.DataFrame, plain: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found.reset_index(drop=True), plain.reset_index(drop=True))


def test_wide_tables(plain: pd.DataFrame, tmp_path: Path) -> None:
    wide = long_table().pivot_table("acc", "seed", "arm")[list(ARMS)]
    path = tmp_path / "wide.csv"
    wide.to_csv(path)
    judgement = harness.judge(path, margin=0.002)
    assert judgement.observations.form == "wide, a column an arm"
    same(judgement.contrasts, plain)
    other = wide.add_suffix("_acc").assign(seconds=3.0, host="a").reset_index()
    with pytest.raises(UsageError, match=r"host is 'a', which is not a number.*name the columns of arms"):
        harness.judge(other, wide=True)
    chosen = harness.judge(other, arms="*_acc", metric="accuracy")
    assert chosen.scale.kind == "share"
    assert chosen.scale.margin == 0.002
    same(chosen.contrasts.replace({"gelu_acc": "gelu", "relu_acc": "relu"}), plain)


def test_a_row_a_metric(plain: pd.DataFrame) -> None:
    scores = pd.concat([
        long_table().rename(columns={"acc": "value"}).assign(split=split, metric=metric)
        for split in ("test", "val") for metric in ("accuracy", "loss")
    ])  # fmt: skip
    with pytest.raises(UsageError, match=r"--metric is missing.*allowed: accuracy, loss"):
        harness.judge(scores)
    with pytest.raises(UsageError, match="'split' tells them apart"):
        harness.judge(scores, metric="accuracy")
    same(harness.judge(scores, metric="accuracy", where=["split=test"]).contrasts, plain)


def test_a_run_a_line_of_json(plain: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in long_table().to_dict("records")))
    same(harness.judge(path).contrasts, plain)
    path.write_text(path.read_text() + '{"arm": "relu", "se')
    with pytest.raises(UsageError, match="line 11 is not JSON"):
        harness.judge(path)


# Optuna


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    """A grid of two arms and five seeds, of which one trial is pruned and one fails."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    grid = {"activation": list(ARMS), "seed": [*range(5), 5, 6]}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.GridSampler(grid, seed=0))

    def objective(trial: optuna.Trial) -> float:
        arm = trial.suggest_categorical("activation", list(ARMS))
        seed = trial.suggest_categorical("seed", grid["seed"])
        trial.set_user_attr("seed", seed)
        trial.report(0.3, step=0)
        if seed == 5:
            raise optuna.TrialPruned
        if seed == 6:
            raise RuntimeError
        return accuracy(arm, seed)

    study.optimize(objective, n_trials=14, catch=RuntimeError)
    return study


def test_optuna(study: optuna.Study, plain: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    study.trials_dataframe().to_csv(path)
    judgement = harness.judge(path, reference="relu", margin=0.002)
    assert judgement.observations.form == "Optuna's trials_dataframe"
    assert judgement.observations.words["arm"] == "params_activation"
    numbers = ["n", "difference", "low", "high", "p", "p_holm", "verdict"]
    same(judgement.contrasts[numbers], plain[numbers])
    told = {(part.rows, part.reason.split(" (")[0]) for part in judgement.left_out}
    assert told == {(2, "state is PRUNED"), (2, "state is FAIL")}
    assert any("does not say" in note for note in judgement.notes)  # which way "value" is better
    for frame in (study.trials_dataframe(), study.trials_dataframe(multi_index=True)):
        same(
            harness.judge(frame, arm="activation", reference="relu", margin=0.002).contrasts,
            judgement.contrasts,
        )
    study.trials_dataframe(multi_index=True).to_csv(path)
    with pytest.raises(UsageError, match="without multi_index"):
        harness.judge(path)


def test_optuna_with_names_of_metrics(study: optuna.Study, plain: pd.DataFrame) -> None:
    frame = study.trials_dataframe().rename(columns={"value": "value_accuracy"})  # as set_metric_names has it
    same(harness.judge(frame, metric="accuracy", reference="relu").contrasts, plain)


def test_optuna_without_arms_or_seeds(study: optuna.Study) -> None:
    frame = study.trials_dataframe()
    with pytest.raises(UsageError, match="set_user_attr"):
        harness.judge(frame.drop(columns=["user_attrs_seed", "params_seed"]))
    with pytest.raises(UsageError, match=r"params of its own, so no arm has two seeds.*--arm activation"):
        harness.judge(frame.assign(params_lr=np.linspace(0, 1, len(frame))))


# Weights & Biases: quoted cells, "-" for empty notes, columns as its table of runs and its charts export them

RUNS = ["Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "act", "optimizer.lr",
        "seed", "epoch", "val/acc", "val/loss"]  # fmt: skip


def quoted(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return path


def test_wandb_table_of_runs(plain: pd.DataFrame, tmp_path: Path) -> None:
    rows = [
        [f"sweet-dust-{i}", "finished", "-", "me", "", "2026-01-01T00:00:00.000Z", "99", "", arm, "0.001",
         seed, 9, value, 0.3]
        for i, (arm, seed, value) in enumerate(long_table().itertuples(index=False))
    ]  # fmt: skip
    rows += [
        [
            "gone",
            "crashed",
            "-",
            "me",
            "",
            "2026-01-01T00:00:00.000Z",
            "9",
            "",
            "gelu",
            "0.001",
            0,
            1,
            "NaN",
            "",
        ]
    ]
    path = quoted(tmp_path / "wandb_export.csv", RUNS, rows)
    with pytest.raises(UsageError, match=r"which config column names the arm.*act"):
        harness.judge(path)
    judgement = harness.judge(path, arm="act")
    assert judgement.observations.form == "Weights & Biases, table of runs"
    assert judgement.observations.words["metric"] == "val/acc"
    assert [(part.rows, part.reason, part.where) for part in judgement.left_out] == [
        (1, "State is crashed", "line 12")
    ]
    same(judgement.contrasts, plain)


def curves(path: Path, names: Sequence[str], last: Sequence[float], step: str = "Step") -> Path:
    """A chart: each curve rises to its last value; the first one ends a step early."""
    header = [step, *(f"{name} - val_acc{end}" for name in names for end in ("", "__MIN", "__MAX"))]
    rows = []
    for number in range(4):
        values = [value - 0.1 * (3 - number) / 3 for value in last]
        cells: list[Any] = [v for value in values for v in (value, value, value)]
        if number == 3:
            cells[:3] = ["", "", ""]
        rows.append([number * 100, *cells])
    return quoted(path, header, rows)


def test_wandb_chart(tmp_path: Path) -> None:
    names = [f"{arm}-seed{seed}" for arm in ARMS for seed in range(5)]
    last = [accuracy(arm, seed) for arm in ARMS for seed in range(5)]
    path = curves(tmp_path / "chart.csv", names, last)
    judgement = harness.judge(path)
    assert judgement.observations.form == "Weights & Biases, a chart's curves"
    assert judgement.references == ("relu",)
    expected = long_table()
    expected["acc"] -= np.where(
        expected.index == 0, 0.1 / 3, 0.0
    )  # the run that ended early, at its own last step
    np.testing.assert_allclose(
        judgement.contrasts["difference"], harness.judge(expected).contrasts["difference"], rtol=1e-9
    )
    assert any("end at different steps" in note for note in judgement.notes)
    early = harness.judge(path, step=200)
    np.testing.assert_allclose(
        early.contrasts["difference"], harness.judge(long_table()).contrasts["difference"]
    )
    with pytest.raises(UsageError, match="--metric loss: no such curve"):
        harness.judge(path, metric="loss")
    lean = pd.read_csv(path)  # as exported with no ends of intervals
    lean = lean[[name for name in lean if not str(name).endswith(("__MIN", "__MAX"))]]
    pd.testing.assert_frame_equal(harness.judge(lean).contrasts, judgement.contrasts)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["imperial-droid-52", "sweet-dust-7"], 'do not say arm and seed.*"relu-seed0" does'),
        (["epochs: 10", "epochs: 20"], "are groups.*averaged already"),
    ],
)
def test_wandb_charts_without_seeds(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        harness.judge(curves(tmp_path / "chart.csv", names, [0.9, 0.8]))


# lm-eval: OUT/<model>/samples_<task>_<date>.jsonl, a line a document and filter

WHEN = "2026-08-21T10-56-54.123456"


def samples(folder: Path, model: str, right: Sequence[float], task: str = "arc_easy", **more: Any) -> Path:
    path = folder / model / f"samples_{task}_{WHEN}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {"doc_id": number, "doc": {"question": "?"}, "target": "1", "resps": [], "filter": "none",
         "metrics": ["acc", "acc_norm"], "doc_hash": f"hash{number}", "acc": value, "acc_norm": 0.0, **more}
        for number, value in enumerate(right)
    ]  # fmt: skip
    with path.open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_samples_of_lm_eval(tmp_path: Path) -> None:
    paths = [
        samples(tmp_path, "org__small", [1.0] * 120 + [0.0] * 100),
        samples(tmp_path, "org__large", [1.0] * 110 + [0.0] * 10 + [1.0] * 30 + [0.0] * 70),
    ]
    judgement = harness.judge(paths, metric="acc", reference="org__small")
    row = judgement.contrasts.iloc[0]
    assert (row["block"], row["arm"], row["n"]) == ("arc_easy", "org__large", 220)
    assert (row["only_arm"], row["only_reference"]) == (30, 10)
    assert row["p"] == pytest.approx(0.002221, rel=1e-3)  # 2 P(Binomial(40, 1/2) <= 10)
    text = paths[0].read_text()  # documents are written as they are, whatever their ends of lines
    paths[0].write_text(text.replace('"?"', '"a\u2028b\x85c"'))
    folder = harness.judge(tmp_path, reference="org__small")
    pd.testing.assert_frame_equal(folder.contrasts, judgement.contrasts)


def test_filters_of_lm_eval_are_judged_apart(tmp_path: Path) -> None:
    for model, right in (("a", [1.0, 0.0, 1.0]), ("b", [1.0, 1.0, 1.0])):
        for name in ("strict-match", "flexible-extract"):
            samples(tmp_path, model, right, "gsm8k", filter=name)
    both = harness.judge(tmp_path)
    assert list(both.contrasts["block"]) == ["gsm8k, strict-match", "gsm8k, flexible-extract"]
    one = harness.judge(tmp_path, where=["filter=strict-match"])
    assert list(one.contrasts["block"]) == ["gsm8k"]
    assert one.contrasts["n"][0] == 3
    with pytest.raises(UsageError, match="did you mean 'strict-match'"):
        harness.judge(tmp_path, where=["filter=strict"])


def test_samples_that_cannot_be_paired(tmp_path: Path) -> None:
    first = samples(tmp_path / "x", "a", [1.0, 0.0])
    other = samples(tmp_path / "x", "b", [1.0, 0.0], doc_hash="another")
    with pytest.raises(UsageError, match=r"2 doc_ids .* with another doc_hash"):
        harness.judge([first, other])
    with pytest.raises(UsageError, match=r"--metric f1: .*line 1 has none"):
        harness.judge([first, other], metric="f1")
    with pytest.raises(UsageError, match="only one arm"):
        harness.judge([first])
    samples(tmp_path / "x", "a", [1.0, 0.0])  # lm_eval appends
    with pytest.raises(UsageError, match=r"doc_id 0 of a in arc_easy has 2 rows.*written twice"):
        harness.judge([first, samples(tmp_path / "y", "b", [1.0, 1.0])])
    first.write_text('{"doc_id": 0, "acc"')
    with pytest.raises(UsageError, match="line 1 is not JSON"):
        harness.judge([first, other])


def test_a_metric_of_samples_that_is_no_right_or_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for model in ("a", "b"):
        samples(tmp_path, model, list(rng.random(30).round(3)))
    judgement = harness.judge(tmp_path)
    assert judgement.observations.unit == "sample"
    assert judgement.contrasts["n"][0] == 30
    assert "only_arm" not in judgement.contrasts


def test_arms_named_with_their_block_are_the_same_arms_in_every_block() -> None:
    rows = [
        {"arm": f"dataset={name}, {arm}", "dataset": name, "seed": seed, "val_accuracy": 0.9 + 0.01 * shift}
        for name in ("digits", "mnist")
        for arm, shift in (("relu", 0), ("tanh", 1))
        for seed in range(3)
    ]
    found = harness.judge(pd.DataFrame(rows))
    assert found.contrasts[["block", "arm", "reference", "n"]].to_numpy().tolist() == [
        ["digits", "tanh", "relu", 3],
        ["mnist", "tanh", "relu", 3],
    ]
    rows[0]["arm"] = "relu"
    assert "dataset=digits, tanh" in set(harness.judge(pd.DataFrame(rows)).observations.rows["arm"])


def test_less_time_to_a_target_is_better_and_runs_that_never_reach_it_are_told() -> None:
    table = pd.DataFrame(
        {"arm": list("aaabbb"), "seed": [0, 1, 2] * 2, "steps_to": [90, 80, 95, 30, 25, None]}
    )
    found = harness.judge(table, metric="steps_to")
    assert not found.scale.higher_is_better
    assert not found.scale.assumed
    assert any("never reached its target" in note for note in found.notes)
    assert not any("never" in note for note in harness.judge(table.dropna(), metric="steps_to").notes)

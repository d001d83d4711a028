"""The words of verdicts and intervals: what is equal is said to be, and no interval leaves what can be."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib import font_manager

import harness
from harness import plots, reporting, stats
from harness.cli import main
from harness.plots import fonts

REPORTS = Path(harness.__file__).parent.parent / "reports"
SAME = "the same in all seeds"


def accuracies(values: dict[str, list[float]]) -> pd.DataFrame:
    """A row a trial of arms with these val and test accuracies, a seed each."""
    rows = [
        {"dataset": "d", "arm": arm, "seed": seed, "status": "ok", "val_accuracy": v, "test_accuracy": v}
        for arm, of in values.items()
        for seed, v in enumerate(of)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> harness.Results:
    """A loss written in two ways: the same arithmetic in real numbers, and the same accuracies."""
    outputs = [
        {"name": "logits + CE", "head": "identity", "loss": "ce"},
        {"name": "log-softmax + NLL", "head": "log_softmax", "loss": "nll"},
    ]
    study = harness.parse(
        {
            "study": {"name": "twins", "seeds": 2},
            "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
            "axes": {"output": outputs},
        }
    )
    return harness.run(study, tmp_path_factory.mktemp("twins") / "twins", workers=1)


# ------------------------------------------------------------------------------------------------ verdicts


def test_arms_equal_in_all_seeds_are_reported_as_equal(twins: harness.Results) -> None:
    judged = reporting.judgement(reporting.read(twins.folder))
    said = " ".join(judged.answers[0])
    assert "have the same test accuracy in all 2 seeds" in said
    assert "undecided" not in said
    (table,) = judged.tables
    assert table.data is not None
    assert table.data["verdict"].tolist() == [SAME]


def test_a_comparison_calls_equal_accuracies_the_same(twins: harness.Results, tmp_path: Path) -> None:
    found = harness.compare(twins.folder, twins.folder)
    assert set(found.arms["verdict"]) == {SAME}
    done = CliRunner().invoke(
        main.harness, ["compare", str(twins.folder), str(twins.folder), "--out", str(tmp_path)]
    )
    assert "cannot tell" not in done.output
    assert pd.read_csv(tmp_path / "differences.csv")["verdict"].tolist() == [SAME, SAME]


def test_a_difference_that_is_the_same_in_all_seeds_is_not_called_equal() -> None:
    trials = accuracies({"a": [0.5, 0.6], "b": [0.6, 0.7], "c": [0.5, 0.6]})
    pairs = pd.DataFrame({"arm": ["b", "c"], "reference": "a"})
    judged = stats.verdicts(stats.paired_differences(trials, pairs), margin=0.002)
    assert judged.set_index("arm")["verdict"].to_dict() == {"b": "cannot tell", "c": SAME}


# ----------------------------------------------------------------------------------------------- intervals


def test_an_interval_of_accuracies_stays_within_0_and_1_and_has_a_width() -> None:
    trials = accuracies({"wild": [0.7222, 0.8056], "tied": [0.7639, 0.7639], "low": [0.01, 0.05]})
    ranked = stats.rank_arms(trials).set_index("arm")
    assert ranked.loc[["wild"], "low"].tolist() == pytest.approx([0.2341], abs=1e-3)
    assert ranked.loc[["wild"], "high"].tolist() == [1.0]
    assert ranked.loc["low", "low"] == 0
    untold = ["low", "high", "shown_low", "shown_high"]
    assert ranked.loc[["tied"], untold].isna().all(axis=None)
    assert ranked.loc["tied", "mean"] == pytest.approx(0.7639)


def test_differences_of_accuracies_stay_within_their_limits_too() -> None:
    trials = accuracies({"a": [0.0, 0.9], "b": [1.0, 0.1]})
    pairs = pd.DataFrame({"arm": ["b"], "reference": "a"})
    (row,) = stats.contrasts(trials, pairs).to_dict("records")
    assert (row["low"], row["high"]) == (-1.0, 1.0)
    losses = pd.DataFrame({"arm": "a", "test_loss": [0.1, 9.0]})
    assert stats.summarise(losses, ["arm"], "test_loss")["high"][0] > 9  # a loss has no greatest value


def test_the_screen_shows_no_impossible_interval(tmp_path: Path) -> None:
    (tmp_path / "tail.toml").write_text(
        '[study]\nname = "tail"\nseeds = 2\n[baseline]\ndataset = "digits"\nepochs = 1\n'
        "[axes]\nlr = [0.1, 0.01]\n"
    )
    arguments = ["run", tmp_path / "tail.toml", "--results", tmp_path / "tail", "--workers", 1]
    done = CliRunner().invoke(main.harness, [*map(str, arguments)], env={"COLUMNS": "120"})
    assert "0.2118 [0.0000, 0.8736]" in done.output
    assert "0.1042 [one value in all seeds]" in done.output


# ------------------------------------------------------------------------------------------------- figures


def test_names_in_letters_that_no_font_has_get_numbers_and_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_numbers", {})
    known = font_manager.fontManager
    bundled_fonts = [font for font in known.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(known, "ttflist", bundled_fonts)  # as on a machine without other fonts
    names = ["\u5b66\u7fd2\u7387 \u5c0f", "\u5927\u304d\u3044 \U0001f680", "ReLU \u00e9"]
    effects = pd.DataFrame({"dataset": "d", "axis": "variant", "level": names, "mean": 0.5, "n": 2})
    effects = effects.assign(effect=[-0.1, 0.0, 0.1], low=np.nan, high=np.nan)
    seeds = effects[["dataset", "axis", "level", "effect"]].assign(seed=0, value=0.5)
    figure = plots.effects_figure(effects, seeds)
    with fonts.readable(figure):
        figure.canvas.draw()  # pytest makes an error of the warning that a letter is missing
        shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == ["[1]", "[2]", "ReLU \u00e9"]
    assert f"[1] is {names[0]}, [2] is {names[1]}" in fonts.note()
    _, svg = plots.save(figure, tmp_path / "effects")
    assert all(name in svg.read_text() for name in names)


# ------------------------------------------------------------------------------------------------- scripts


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("confusion_and_curves.py", ["nowhere"], "nowhere is not a results folder"),
        ("confusion_and_curves.py", ["RESULTS", "--where", "activatoin=relu"], "did you mean 'activation'"),
        ("which_choice_matters.py", ["nowhere"], "nowhere is not a results folder"),
    ],
)
def test_a_report_script_says_what_is_wrong(
    twins: harness.Results, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, script: str, arguments: list[str], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = [str(twins.folder) if word == "RESULTS" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", [script, *given])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPORTS / script), run_name="__main__")
    assert ended.value.code == 2
    assert words in capsys.readouterr().err

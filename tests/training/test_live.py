"""The live curve: its numbers are the results', its picture is always whole, and it stops no training."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import harness
from harness import results
from harness.study.study import Study
from harness.training import live, progress
from harness.training import runs as training

Make = Callable[..., Study]
PNG, END = b"\x89PNG\r\n", b"IEND\xaeB`\x82"
OUTPUTS = [
    {"name": "CE", "head": "identity", "loss": "ce"},
    {"name": "MSE", "head": "softmax", "loss": "mse"},
    {"name": "NLL", "head": "softmax", "loss": "nll"},
]
"""The last of these is skipped: its head and loss do not fit."""


@pytest.fixture
def drawn_figures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Sequence[live.CurvePanel], Figure]]:
    """Every picture that is drawn: its heading, panels and figure. As often as there is something new."""
    made: list[tuple[str, Sequence[live.CurvePanel], Figure]] = []
    whole = live.figure

    def figure(panels: Sequence[live.CurvePanel], heading: str) -> Figure:
        made.append((heading, panels, whole(panels, heading)))
        return made[-1][2]

    monkeypatch.setattr(live, "figure", figure)
    monkeypatch.setattr(live, "EVERY", 0.01)
    monkeypatch.setattr(live, "SHARE", 0.9)
    return made


def expected(folder: Path) -> dict[str, pd.Series]:
    """Kind of loss -> means over seeds by arm, split and epoch, straight from the two CSVs."""
    trials, epochs = (pd.read_csv(folder / f"{name}.csv") for name in ("trials", "epochs"))
    table = epochs.merge(trials[["trial_id", "arm", "loss"]].rename(columns={"loss": "kind"}), on="trial_id")
    return {
        str(kind): here.groupby(["arm", "split", "epoch"])["loss"].mean()
        for kind, here in table.groupby("kind")
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_the_last_live_figure_shows_the_numbers_of_the_results(
    study_of: Make, tmp_path: Path, drawn_figures: list[Any], workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of({"activation": ["relu", "tanh"], "output": OUTPUTS}, epochs=3)
    found = harness.run(study, tmp_path, device="cpu", workers=workers, live=True)
    assert capsys.readouterr().err == ""
    heading, panels, figure = drawn_figures[-1]
    assert heading == "small: the run is over: 8 ok, 4 skipped"
    means = expected(tmp_path)
    assert [panel.title for panel in panels] == ["ce", "mse"]
    for ax, panel in zip(figure.axes, panels, strict=True):
        assert ax.get_yscale() == "log"
        got = panel.lines.set_index(["arm", "split", "epoch"])["value"]
        pd.testing.assert_series_equal(
            got.sort_index(),
            means[panel.title].sort_index(),
            check_names=False,
            check_exact=True,
            check_index_type=False,
        )
        lines = [line for line in ax.get_lines() if len(np.asarray(line.get_xdata()))]
        assert [line.get_linestyle() for line in lines] == ["--", "-"] * 2
        for line, (_, values) in zip(lines, means[panel.title].groupby(level=["arm", "split"]), strict=True):
            np.testing.assert_array_equal(np.asarray(line.get_ydata()), values.to_numpy())
    assert list(found.trials["status"]).count("ok") == 8
    picture = (tmp_path / "live.png").read_bytes()
    assert picture.startswith(PNG)
    assert picture.endswith(END)
    assert 'src="live.png"' in (tmp_path / "live.html").read_text()
    assert not list(tmp_path.rglob(".tmp-*"))


def test_the_live_curve_equals_the_written_results(study_of: Make, tmp_path: Path) -> None:
    runs: list[progress.Progress] = []

    def listen(progress: progress.Progress) -> Any:
        runs.append(progress)
        return contextlib.nullcontext()

    study = study_of({"batch_size": [32, 64], "lr": [0.1, 1e25]}, loss="mse", eval_every="20 steps")
    training.train(study, tmp_path, device="cpu", workers=1, display=listen)
    by, epochs = ["trial_id", "split", "epoch"], results.read(tmp_path).epochs
    seen = live.curves_of(runs[0]).set_index(by)["loss"].sort_index()
    written = epochs[np.isfinite(epochs["loss"])].set_index(by)["loss"].sort_index()
    seen = seen[seen.index.isin(written.index)]  # a curve is cut where its trial diverged
    pd.testing.assert_series_equal(seen, written, rtol=1e-6, check_index_type=False)


def test_a_resumed_run_draws_earlier_trials_too(
    study_of: Make, tmp_path: Path, drawn_figures: list[Any]
) -> None:
    training.train(study_of(study={"seeds": 1}), tmp_path, device="cpu", workers=1)
    before = expected(tmp_path)["ce"]

    def begin(progress: progress.Progress) -> Any:
        drawing = live._LiveCurve(tmp_path, progress)
        drawing.begin()
        drawing.draw()
        return live.drawing(tmp_path, progress)

    training.train(study_of(study={"seeds": 2}), tmp_path, device="cpu", workers=1, display=begin)
    heading, (panel,), _ = drawn_figures[0]
    assert heading == "small: 0 of 1 trials trained, 1 before"
    assert panel.lines["value"].tolist() == before.tolist()
    assert drawn_figures[-1][1][0].lines["value"].tolist() == expected(tmp_path)["ce"].tolist()


def test_beyond_some_arms_the_median_and_the_range_are_drawn(
    study_of: Make, tmp_path: Path, drawn_figures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_ARMS", 2)
    harness.run(study_of({"lr": [0.1, 0.2, 0.4]}), tmp_path, device="cpu", workers=1, live=True)
    (ax,) = drawn_figures[-1][2].axes
    over = expected(tmp_path)["ce"].groupby(level=["split", "epoch"])
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.get_lines()}
    for split in ("train", "val"):
        np.testing.assert_array_equal(lines[f"{split}, median"], over.median()[split])
    (band,) = ax.collections
    drawn_range = band.get_paths()[0].vertices
    assert isinstance(drawn_range, np.ndarray)
    assert set(over.min()["val"]) | set(over.max()["val"]) == set(drawn_range[:, 1])
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][-1] == "val, range of 3 arms"


def test_a_failure_of_drawing_is_reported_once_and_stops_nothing(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(live, "EVERY", 0.001)
    monkeypatch.setattr(live, "figure", broken)
    found = harness.run(study_of(), tmp_path, device="cpu", workers=1, live=True)
    assert list(found.trials["status"]) == ["ok", "ok"]
    told = capsys.readouterr().err
    assert told.count("the live curve cannot be drawn (OSError('no space left')); training goes on") == 1
    assert told.count("\n") == 1


@pytest.mark.usefixtures("a_stack_a_seed")
def test_an_interrupted_run_leaves_the_curve_of_what_is_finished(
    study_of: Make, tmp_path: Path, drawn_figures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "note", stop)
    with pytest.raises(KeyboardInterrupt):
        harness.run(study_of(), tmp_path, device="cpu", workers=1, live=True)
    assert drawn_figures[-1][0] == "small: the run is over: 1 ok, 1 not trained yet"
    assert (tmp_path / "live.png").read_bytes().endswith(END)


def test_a_study_that_is_finished_is_drawn_too(
    study_of: Make, tmp_path: Path, drawn_figures: list[Any]
) -> None:
    training.train(study_of(), tmp_path, device="cpu", workers=1)
    harness.run(study_of(), tmp_path, device="cpu", workers=1, live=True)
    assert drawn_figures[-1][0] == "small: the run is over: 2 ok"
    assert drawn_figures[-1][1][0].lines["value"].tolist() == expected(tmp_path)["ce"].tolist()


def test_arms_are_named_by_the_settings_that_differ() -> None:
    arms = [
        "dataset=digits, hidden=[8, 8], activation=relu",
        "dataset=digits, hidden=[8, 4], activation=tanh",
    ]
    assert list(live.short_names(arms).values()) == ["hidden=[8, 8] · relu", "hidden=[8, 4] · tanh"]
    assert live.short_names(["baseline"]) == {"baseline": "baseline"}
    assert list(live.short_names(["a=true", "a=0.5"]).values()) == ["a=true", "a=0.5"]


# ----------------------------------------------------------------------------------------------- notebooks


class Pictures:
    """Stands for IPython.display: what a cell shows, and every picture that took its place."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def update(self, what: Any) -> None:
        self.shown.append(what)

    def module(self) -> ModuleType:
        module: Any = ModuleType("IPython.display")
        module.HTML = str
        module.Image = lambda *, data, format, retina: data  # noqa: A006, ARG005 (IPython's own names)

        def display(what: Any, *, display_id: bool) -> Pictures:
            assert display_id
            self.shown.append(what)
            return self

        module.display = display
        made: ModuleType = module
        return made


@pytest.mark.parametrize("in_notebook", [True, False])
def test_in_a_notebook_the_picture_takes_the_place_of_the_last(
    study_of: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    drawn_figures: list[Any],
    in_notebook: bool,
) -> None:
    pictures, ipython = Pictures(), ModuleType("IPython")
    shell = type("Shell", (), {"kernel": None} if in_notebook else {})()
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", pictures.module())
    harness.run(study_of(epochs=1), tmp_path, device="cpu", workers=1, live=True)
    assert (tmp_path / "live.png").read_bytes().endswith(END)
    if not in_notebook:
        assert pictures.shown == []
        return
    assert pictures.shown[0] == "live curve: nothing was evaluated yet"
    assert len(pictures.shown) == 1 + len(drawn_figures)
    assert pictures.shown[-1] == (tmp_path / "live.png").read_bytes()

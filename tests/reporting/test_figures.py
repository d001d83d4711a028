"""`harness.figures` and `harness.tables`: the figure says what the table has, and both what was asked for."""

from __future__ import annotations

import gc
import inspect
import io
import re
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import harness
from harness.data.datasets import datasets
from harness.errors import UsageError
from harness.gallery import prediction_pages
from harness.results import Results, weights

DIGITS = datasets["digits"].load()
figures, tables = harness.figures, harness.tables
UNTYPED: Any = figures
RNG = np.random.default_rng(0)
Y, SAID = RNG.integers(0, 4, 200), RNG.integers(0, 4, 200)

NO_NUMBER: Any = "a"


@pytest.fixture
def results(kept_results: Path) -> Results:
    return harness.read(kept_results)


def only(panels: Any) -> Axes:
    assert isinstance(panels, Axes)
    return panels


def title(panels: Any) -> str:
    return only(panels).get_title(loc="left").replace("\n", " ")


def widths(ax: Axes) -> list[float]:
    return [patch.get_width() for patch in ax.patches]  # type: ignore[attr-defined]


def pictures(panels: Any) -> list[Any]:
    return [np.asarray(ax.images[0].get_array()) for ax in np.atleast_1d(panels)]


def test_every_figure_has_a_table_of_the_same_name_and_arguments() -> None:
    drawing = {"ax", "columns", "ink", "captions", "images", "labels", "log"}
    assert sorted(figures.__all__) == dir(figures) == dir(tables)
    for name in figures.__all__:
        of_figure = dict(inspect.signature(getattr(figures, name)).parameters)
        of_table = dict(inspect.signature(getattr(tables, name)).parameters)
        missing = set(of_figure) - set(of_table) - drawing
        assert not missing, f"tables.{name} lacks {missing}"
        assert set(of_table) - set(of_figure) <= {"points", "count"}, name
        assert inspect.getdoc(getattr(figures, name)), name
        assert "Example: " in str(inspect.getdoc(getattr(figures, name))), name


def test_label_counts_are_bars_a_split_with_a_named_axis_and_no_empty_panel() -> None:
    panels = figures.label_counts("digits")
    table = tables.label_counts("digits")
    assert [ax.get_title() for ax in panels] == ["train: 1,437 images", "test: 360 images"]
    for ax, split in zip(panels, ("train", "test"), strict=True):
        assert widths(ax) == table.loc[table["split"].eq(split), "images"].tolist()
    assert panels[0].get_ylabel() == "class"
    assert len(figures.label_counts("digits", val_fraction=0)) == 2
    assert len(figures.label_counts("digits", val_fraction=0.2)) == 3
    one = only(figures.label_counts("digits", "val"))
    assert one.get_title() == "val: 144 images"
    assert "val is" in one.figure.get_suptitle()


def test_images_are_those_of_the_table_in_rows_of_five() -> None:
    panels = figures.images("digits", label=7, count=10, seed=3)
    table = tables.images("digits", label=7, count=10, seed=3)
    for image, number in zip(pictures(panels), table["number"], strict=True):
        np.testing.assert_array_equal(image, DIGITS.train_images[number])
    assert [ax.get_title() for ax in panels] == table["name"].tolist()
    spec = panels[0].get_subplotspec()
    assert (spec.get_gridspec().ncols, spec.get_gridspec().nrows) == (5, 2)
    fifteen = only(figures.images("digits", number=15))
    np.testing.assert_array_equal(pictures(fifteen)[0], DIGITS.train_images[15])
    assert fifteen.get_title() == f"index 15\n{DIGITS.train_labels[15]}"


def test_ink_turns_images_over_and_auto_leaves_them() -> None:
    maps = {ink: only(figures.images("digits", number=3, ink=ink)).images[0].cmap.name
            for ink in ("auto", "light", "dark")}  # fmt: skip
    assert maps == {"auto": "gray", "light": "gray", "dark": "gray_r"}
    inverted = type(
        "Mine", (), {"images": 255 - harness.dataset("mnist", "test").images[:50], "labels": [0] * 50}
    )
    maps = {ink: only(figures.images(inverted, number=3, ink=ink)).images[0].cmap.name
            for ink in ("auto", "light", "dark")}  # fmt: skip
    assert maps == {"auto": "gray", "light": "gray_r", "dark": "gray"}


def test_the_grid_is_3_by_6_with_labels() -> None:
    panels, table = figures.grid("digits"), tables.grid("digits")
    assert [ax.get_title() for ax in panels] == [f"Label: {label}" for label in table["label"]]
    assert len(panels) == 18
    assert table["number"].iloc[[0, -1]].tolist() == [0, 1436]


def test_a_panel_goes_into_axes_of_ones_own(results: Results) -> None:
    figure, axes = plt.subplots(2, 3)
    try:
        figures.images("digits", number=3, ax=axes[0, 0])
        figures.label_counts("digits", "test", ax=axes[0, 1])
        figures.confusion(labels=Y, predictions=SAID, ax=axes[0, 2])
        figures.curves(results.trial(), ax=axes[1, 0])
        figures.function("gelu", ax=axes[1, 1])
        figures.probabilities([0.25, 0.75], ax=axes[1, 2])
        assert all(ax.has_data() for ax in axes.flat)
        calls: list[Callable[[], object]] = [
            lambda: figures.images("digits", first=3, ax=axes[0, 0]),
            lambda: figures.label_counts("digits", ax=axes[0, 0]),
            lambda: figures.probabilities(np.eye(2), ax=axes[0, 0]),
        ]
        for call in calls:
            with pytest.raises(UsageError, match="ax= takes one panel, and there are"):
                call()
        with pytest.raises(UsageError, match=r"of an array of them, axes\[0\]"):
            figures.function("gelu", ax=axes)
    finally:
        plt.close(figure)


def test_predictions_and_failures_are_the_trials_own(results: Results) -> None:
    trial = results.trial()
    table = tables.predictions(trial)
    assert len(table) == 360
    assert table["wrong"].mean() == pytest.approx(1 - trial.row["test_accuracy"])
    assert table["label"].tolist() == DIGITS.test_labels[table["index"]].tolist()
    page = only(figures.predictions(trial, samples=[17, 3]))
    for image, number in zip(page.images, (17, 3), strict=True):
        np.testing.assert_array_equal(np.asarray(image.get_array()), DIGITS.test_images[number])
    assert tables.predictions(trial, samples="17,3")["index"].tolist() == [17, 3]
    mistakes = tables.failures(trial, per_class=2)
    assert mistakes["wrong"].all()
    assert mistakes.groupby("label").size().max() == 2
    assert len(tables.failures(trial, per_class=None)) == table["wrong"].sum()
    assert len(only(figures.failures(trial, per_class=2)).images) == len(mistakes)


def test_probabilities_of_a_trial_are_its_networks(results: Results) -> None:
    trial = results.trial()
    table = tables.probabilities(trial)
    kept = weights.probabilities(weights.read(weights.file_of(results, trial.trial_id)), "test")
    np.testing.assert_allclose(table.to_numpy(), kept, atol=1e-6)
    panels = figures.probabilities(trial, samples=[5])
    assert widths(only(panels)) == pytest.approx(table.iloc[5].tolist(), abs=1e-6)


def test_own_probabilities_are_bars_of_their_own_numbers() -> None:
    given = torch.randn(5, 10, generator=torch.Generator().manual_seed(0)).softmax(1)
    panels = figures.probabilities(given, classes="abcdefghij", labels=[0, 1, 2, 3, 4])
    for ax, row, label in zip(panels, given, range(5), strict=True):
        assert widths(ax) == pytest.approx(row.tolist())
        green = [i for i, bar in enumerate(ax.patches) if bar.get_facecolor()[:3] == prediction_pages.TRUE]
        assert green == [label]
    unlabelled = only(figures.probabilities(given[0]))
    red = colors.to_rgb(prediction_pages.RED)
    assert not [bar for bar in unlabelled.patches if bar.get_facecolor()[:3] in {red, prediction_pages.TRUE}]
    images = DIGITS.test_images[:5]
    assert len(figures.probabilities(given, images=images)) == 5
    assert tables.probabilities(given, classes="abcdefghij").iloc[1].tolist() == pytest.approx(
        given[1].tolist()
    )


def test_confusion_of_arrays_counts_true_rows_and_predicted_columns() -> None:
    table = tables.confusion(labels=Y, predictions=torch.from_numpy(SAID), classes="abcd")
    expected = pd.crosstab(pd.Series(Y, name="true"), pd.Series(SAID, name="predicted"))
    np.testing.assert_array_equal(table.to_numpy(), expected.to_numpy())
    assert (table.index.name, table.columns.name, list(table.index)) == ("true", "predicted", list("abcd"))
    ax = only(figures.confusion(labels=Y, predictions=SAID))
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("true", "predicted")
    assert [text.get_text() for text in ax.texts] == [str(n) for n in expected.to_numpy().ravel()]
    assert f"200 samples, {np.mean(Y == SAID):.2%} right".replace("%", "\u00a0%") in ax.get_title(loc="left")


def test_confusion_of_a_trial_and_of_its_arms_seeds(results: Results) -> None:
    trial = results.trial()
    one = tables.confusion(trial)
    assert np.trace(one.to_numpy()) == round(360 * trial.row["test_accuracy"])
    kept = tables.predictions(trial, "val")
    of_val = tables.confusion(labels=kept["label"], predictions=kept["predicted"], classes=range(10))
    np.testing.assert_array_equal(tables.confusion(trial, "val").to_numpy(), of_val.to_numpy())
    seeds = results.trials[results.trials["arm"].eq(trial.arm)]
    each = [tables.confusion(results.trial(name)) for name in seeds["trial_id"]]
    where = f"lr={trial.row['lr']},head={trial.row['head']}"
    calls: list[Callable[[str], pd.DataFrame]] = [
        lambda how: tables.confusion(trial, combine=how),
        lambda how: tables.confusion(results, where=where, combine=how),
        lambda how: tables.confusion(results.folder, combine=how),
    ]
    for call in calls:
        np.testing.assert_array_equal(call("sum").to_numpy(), each[0].to_numpy() + each[1].to_numpy())
        np.testing.assert_allclose(call("mean").to_numpy(), (each[0].to_numpy() + each[1].to_numpy()) / 2)
    assert "sum over 2 seeds" in title(figures.confusion(results, where=where))
    assert "mean over 2 seeds" in title(figures.confusion(trial, combine="mean"))


def test_curves_of_a_trial_are_its_rows_of_epochs(results: Results) -> None:
    trial = results.trial()
    ax = only(figures.curves(trial, "accuracy"))
    own = results.epochs[results.epochs["trial_id"].eq(trial.trial_id)]
    drawn = {tuple(np.round(np.asarray(line.get_ydata(), float), 6)) for line in ax.lines}
    assert drawn == {tuple(rows["accuracy"].round(6)) for _, rows in own.groupby("split")}
    assert only(figures.curves(trial)).get_yscale() == "log"
    assert only(figures.curves(trial, log=False)).get_yscale() == "linear"
    table = tables.curves(trial)
    assert table["value"].tolist() == own["loss"].tolist()
    of_arms = tables.curves(results, "accuracy", where="lr=0.1")
    assert set(of_arms["arm"]) == set(results.trials.loc[results.trials["lr"].eq(0.1), "arm"])


def test_the_hardest_images_are_ranked_by_the_trials_asked(results: Results) -> None:
    table = tables.hardest(results, split="val", where="lr=0.1", count=5)
    assert len(table) == 5
    assert table["trials"].eq(8).all()
    page = only(figures.hardest(results, split="val", where="lr=0.1", count=5))
    for image, number in zip(page.images, table["index"], strict=True):
        np.testing.assert_array_equal(np.asarray(image.get_array()), DIGITS.train_images[number])


def test_a_function_is_drawn_with_its_derivative() -> None:
    ax, table = only(figures.function("tanh", -2, 2)), tables.function("tanh", -2, 2)
    for line, column in zip(ax.lines[-2:], ("value", "derivative"), strict=True):
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), table[column])
    assert "activation tanh" in title(ax)
    assert "true class has logit x, the 9 other logits at 0" in title(figures.function("ce"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda _: figures.confusion(labels=Y), "labels= and predictions=, both"),
        (lambda _: figures.confusion(), "labels= and predictions=, both"),
        (lambda r: figures.confusion(r, labels=Y, predictions=SAID), "not both"),
        (lambda _: figures.confusion(labels=Y, predictions=SAID[:9]), "200 labels and 9 predictions"),
        (lambda _: figures.confusion(labels=Y, predictions=np.eye(4)[SAID]), r"outputs.argmax\(1\)"),
        (lambda _: figures.confusion(labels=Y * 1.0, predictions=SAID), "labels: got float64"),
        (
            lambda _: figures.confusion(labels=Y, predictions=SAID, classes="abc"),
            "allowed is 0..2, for 3 classes",
        ),
        (lambda _: figures.confusion(labels=Y - 1, predictions=SAID), "labels -1..2"),
        (lambda _: figures.confusion(labels=Y + 10**9, predictions=SAID), "up to 1,000,000,003: allowed are"),
        (lambda _: figures.function("gelu", low=NO_NUMBER), "range a to 5: allowed: two numbers"),
        (lambda r: figures.probabilities(r.trial(), samples=[]), r"samples = \[\]: no image; allowed"),
        (lambda r: figures.predictions(r.trial(), seed=NO_NUMBER), "seed = 'a': allowed: a whole number"),
        (lambda r: r.trial(3), "has no trial 3"),
        (lambda r: r.trial(where=3), "where = 3: allowed: a text"),
        (lambda r: figures.confusion(r, where="lr=0.1"), "the seeds of one arm are combined"),
        (lambda r: figures.confusion(r, combine="max"), "allowed: mean, sum"),
        (lambda r: figures.confusion(r, "tets"), "did you mean 'test'"),
        (lambda r: figures.confusion(r, "train"), "has no predictions of train"),
        (lambda _: figures.probabilities(torch.eye(3) * 2), "row 0 of the probabilities adds to 2, not to 1"),
        (lambda _: figures.probabilities(torch.tensor([[-1.0, 2.0]])), "are they logits"),
        (lambda _: figures.probabilities([[0.5, np.nan]]), "not finite"),
        (
            lambda _: figures.probabilities(np.full((3, 2), 0.5), classes="abc"),
            "is it \\(C, n\\), transposed",
        ),
        (lambda _: figures.probabilities(np.eye(2), labels=[0]), "1 labels and 2 predictions"),
        (lambda _: figures.probabilities(np.eye(2), labels=[0, 2]), "allowed is 0..1"),
        (lambda _: figures.probabilities(np.eye(2), images=np.zeros((3, 4, 4))), r"allowed are images \(2, "),
        (lambda _: figures.probabilities(np.zeros((2, 2, 2))), r"allowed is \(n, C\)"),
        (lambda r: figures.probabilities(r, classes="ab"), "go with an array of one's own"),
        (lambda r: figures.predictions(r, samples=[360]), "sample '360': not in test"),
        (lambda r: figures.predictions(r, count=0), "count = 0: allowed: a whole number from 1 to 200"),
        (lambda r: figures.failures(r, per_class=-1), "per_class = -1: allowed"),
        (lambda r: figures.hardest(r, count=500), "count = 500: allowed"),
        (lambda r: figures.probabilities(r, count=1000), "count = 1000: allowed"),
        (lambda _: figures.images("digits", columns=0), "columns = 0: allowed: a whole number from 1 to 30"),
        (lambda _: figures.images("digits", seed=-1), "seed = -1: allowed: a whole number from 0 on"),
        (lambda _: UNTYPED.function("gelu", "a", 5), "range a to 5: allowed: two numbers"),
        (lambda _: figures.grid("digits", rows=100, columns=100), "rows x columns = 10000: allowed"),
        (lambda r: figures.predictions(r, "train"), "no predictions of train"),
        (lambda _: figures.predictions(3), "a trained trial"),
        (lambda r: figures.hardest(r, "mnist"), "no trial on a data set 'mnist'"),
        (lambda r: figures.curves(r, "acuracy"), "did you mean 'accuracy'"),
        (lambda r: figures.curves(r, where="status=diverged"), "no finished trial"),
    ],
)
def test_what_cannot_be_drawn_is_one_message(
    call: Callable[[Results], object], said: str, results: Results
) -> None:
    with pytest.raises(UsageError, match=said):
        call(results)


def test_many_figures_of_a_script_leave_nothing_behind(recwarn: pytest.WarningsRecorder) -> None:
    alive = [weakref.ref(only(figures.function("relu")).figure) for _ in range(25)]
    gc.collect()
    assert not [figure for figure in alive if figure() is not None]
    assert plt.get_fignums() == []
    assert not [warning for warning in recwarn if "figures" in str(warning.message)]


def test_a_figure_of_a_script_is_written_in_the_houses_style(tmp_path: Path) -> None:
    ax = only(figures.function("gelu"))
    assert isinstance(ax.figure, Figure)
    ax.figure.savefig(tmp_path / "gelu.png")
    assert (tmp_path / "gelu.png").read_bytes().startswith(b"\x89PNG")
    assert {label.get_fontsize() for label in ax.get_xticklabels()} == {9}  # not matplotlib's own 10


def test_the_names_are_found_by_tab_and_cost_nothing_until_used() -> None:
    assert {"figures", "tables"} <= set(dir(harness))
    code = "import sys, harness; dir(harness); print('matplotlib' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


PAGE = Path(__file__).parents[2] / "docs" / "looking.md"
LINES = re.findall(r"`(harness\.figures\.[^`]+)`", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("line", LINES)
def test_each_line_of_the_page_on_looking_draws(line: str, results: Results) -> None:
    names = {"harness": harness, "np": np, "results": results, "p": np.eye(4)[SAID[:6]], "y": Y[:6]}
    panels = eval(line.replace("mnist", "digits"), names)  # noqa: S307 (our own page)
    assert all(isinstance(ax, Axes) for ax in np.atleast_1d(panels))


def test_the_page_on_looking_has_every_figure() -> None:
    assert {line.split("(")[0].removeprefix("harness.figures.") for line in LINES} == set(figures.__all__)


def test_letters_that_the_houses_font_lacks_leave_no_warning_when_a_figure_is_drawn_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lacking = "\U0001fae8 face"
    ax = only(figures.confusion(labels=[0, 1], predictions=[1, 1], classes=["$x_1^2$", lacking]))
    figure: Any = ax.figure
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO())
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert shown[0] == "$x_1^2$"
    assert shown[1].endswith(" face")
    if shown[1] != lacking:  # no font of this machine has the letter
        assert f"{shown[1].split()[0]} is \U0001fae8" in capsys.readouterr().err

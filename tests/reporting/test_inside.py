"""The report's and `harness.figures`' look into networks: activations by depth, and first-layer filters."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import harness
from harness import plots, reporting, results
from harness.errors import UsageError
from harness.reporting import inside
from harness.reporting.model import Section
from harness.results import selection, weights
from harness.study.reading import parse
from harness.training import runs

STUDY: dict[str, Any] = {
    "study": {"name": "seeing", "seeds": 1, "keep_weights": "all"},
    "baseline": {"dataset": "digits", "steps": 20, "eval_every": "20 steps", "optimizer": "adam"},
    "axes": {
        "network": [
            {"name": "cnn", "architecture": "cnn", "channels": [4, 6], "kernel": 5},
            {"name": "mlp", "architecture": "mlp", "hidden": [9], "lr": 0.01},
        ]
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "seeing"
    runs.train(parse(STUDY), out, workers=1)
    return out


def looked(at: Path) -> Section:
    (section,) = inside.sections(reporting.read(at))
    (part,) = section.parts
    return part


def test_the_best_network_and_the_best_convolutional_one_are_looked_into(folder: Path) -> None:
    """The mlp is better after so few steps; its layer has a table, and the other arm its filters."""
    read = results.read(folder)
    best = selection.best(read).iloc[0]
    assert best["architecture"] == "mlp"
    part = looked(folder)
    assert [figure.name for figure in part.figures] == ["activations-digits", "filters-digits"]
    (table,) = part.tables
    expected = harness.tables.activations(read.trial())
    assert table.data is not None
    pd.testing.assert_frame_equal(table.data[list(expected)], expected)
    assert set(table.data["trial_id"]) == {best["trial_id"]}
    assert not part.words
    activity, filters = part.figures
    assert "saturated values: " in activity.caption
    assert filters.caption.startswith(
        "The 4 filters of the first layer, from the kept weights of cnn, seed 0."
    )


def test_figures_and_tables_say_the_same_of_a_trial(folder: Path) -> None:
    trial = results.read(folder).trial(where="architecture=cnn")
    table = harness.tables.activations(trial, "test", count=50)
    shares, values = harness.figures.activations(trial, "test", count=50)
    drawn = [bar.get_width() for bar in shares.patches]
    assert drawn == pytest.approx([*table["dead"], *table["saturated"]])
    assert values.lines[0].get_xdata() == pytest.approx(table["mean"].to_numpy())
    kept = weights.read(weights.file_of(trial.results, trial.trial_id)).named["layer1.conv.weight"]
    long = harness.tables.filters(trial)
    assert len(long) == kept.size
    rebuilt = long.pivot_table("weight", ["unit", "channel", "row"], "column").to_numpy().reshape(kept.shape)
    np.testing.assert_allclose(rebuilt, kept)
    panels = harness.figures.filters(trial)
    tops = {image.get_clim() for ax in panels for image in ax.images}
    assert tops == {(-float(np.abs(kept).max()), float(np.abs(kept).max()))}
    for ax, filter_ in zip(panels, kept, strict=True):
        np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), filter_[0])
    only = harness.figures.filters(trial, count=1)
    assert len(only.images) == 1


def test_filters_of_colour_images_are_colours_about_grey() -> None:
    """The largest weight of all is full or none of its colour, 0 is the grey between."""
    values = np.zeros((2, 3, 2, 2))
    values[0, 0, 0, 0], values[1, 2, 1, 1] = 4, -2
    figure = plots.filters_figure(values)
    first, second = (np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images)
    assert first[0, 0].tolist() == [1, 0.5, 0.5]
    assert second[1, 1].tolist() == [0.5, 0.5, 0.25]
    assert (first[1] == 0.5).all()


def test_other_channels_are_drawn_by_their_mean() -> None:
    values = np.arange(8.0).reshape(1, 2, 2, 2)
    figure = plots.filters_figure(values)
    image = next(image for ax in figure.axes for image in ax.images)
    np.testing.assert_array_equal(np.asarray(image.get_array()), [[2, 3], [4, 5]])
    assert image.get_cmap() == mpl.colormaps["RdBu_r"]


def test_without_weights_it_is_said_in_words(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "copied")
    shutil.rmtree(copied / "weights")
    part = looked(copied)
    assert not part.figures
    assert not part.tables
    (words,) = part.words
    assert words.startswith(
        "Not shown: the activity of the layers and the first filters. Reason: the weights of this model were "
        "not kept."
    )


def test_the_page_has_it_folded_under_its_own_heading(folder: Path, tmp_path: Path) -> None:
    page = reporting.write(folder, tmp_path / "report.html").read_text(encoding="utf-8")
    section = page.partition('<details class="part" id="inside">')[2].partition('<details class="part"')[0]
    assert "Inside the networks" in section
    assert section.count('src="data:image') == 2
    table = pd.read_csv(tmp_path / "tables" / "activations-digits.csv")
    assert list(table["depth"]) == [1]
    assert list(table["units"]) == [9]


def test_counts_and_trials_that_are_none_are_refused(folder: Path) -> None:
    trial = results.read(folder).trial()
    for call in (harness.figures.activations, harness.tables.activations, harness.figures.filters):
        with pytest.raises(UsageError, match="count = 0"):
            call(trial, count=0)
    with pytest.raises(UsageError, match="split = 'vall'"):
        harness.tables.activations(trial, "vall")

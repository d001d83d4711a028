"""Figures show the numbers, names and intervals that they were given, in edge cases too."""

from __future__ import annotations

import itertools
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.figure import Figure
from matplotlib.text import Text

from harness import plots

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes


def texts(figure: Figure) -> list[str]:
    """Every word of a figure that is drawn."""
    figure.canvas.draw()
    return [t.get_text() for t in figure.findobj(Text) if t.get_text() and t.get_visible()]


def points(ax: Axes) -> list[tuple[float, float]]:
    """The seeds' points as (value, row)."""
    offsets = [np.asarray(c.get_offsets()) for c in ax.collections if "Path" in type(c).__name__]
    return [(float(x), float(y)) for x, y in np.vstack([o for o in offsets if o.size])]


def ranking(arms: int, seeds: int = 3, **changes: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """An arms table and its seeds' values, best first."""
    mean = np.linspace(0.97, 0.12, arms)
    spread = 0.01 if seeds > 1 else math.nan
    table = pd.DataFrame(
        {
            "label": [f"arm {i}" for i in range(arms)],
            "mean": mean,
            "low": mean - spread,
            "high": mean + spread,
        }
    )
    shown: dict[str, Any] = {"n": seeds, "planned": seeds, "shown_mean": mean - 0.005}
    table = table.assign(**(shown | changes))
    offsets = np.linspace(-0.005, 0.005, seeds) if seeds > 1 else np.zeros(1)
    values = pd.DataFrame(
        [(f"arm {i}", mean[i] + offset) for i in range(arms) for offset in offsets],
        columns=["label", "value"],
    )
    return table, values


def curve(levels: list[str], seeds: int = 3, start: float = 2.3, decay: float = 0.5) -> pd.DataFrame:
    """A learning-curve table as from `stats.mean_curves`."""
    return pd.DataFrame(
        [
            {
                "level": level,
                "split": split,
                "epoch": epoch,
                "seed": seed,
                "value": start * decay**epoch + seed / 1e3,
            }
            for level in levels
            for split in ("train", "val")
            for epoch in range(4)
            for seed in range(seeds)
        ]
    )


# ------------------------------------------------------------------------------------------- dots and arms


def test_every_seed_is_a_point_in_its_row() -> None:
    table, seeds = ranking(3)
    ax = plots.arms_figure(table, seeds).axes[0]
    drawn = points(ax)
    assert len(drawn) == 9
    for label, value in seeds.itertuples(index=False):
        assert any(math.isclose(value, x) and round(y) == int(label.split()[1]) for x, y in drawn)


def test_intervals_and_test_means_lie_inside_the_axes() -> None:
    table, seeds = ranking(3, shown_mean=0.05)
    ax = plots.arms_figure(table, seeds).axes[0]
    low, high = ax.get_xlim()
    assert low < 0.05, "the test mean"
    assert high > table["high"].max(), "the widest interval"


@pytest.mark.filterwarnings("error")
def test_a_very_long_name_leaves_room_for_what_is_drawn(tmp_path: Path) -> None:
    table, seeds = ranking(3)
    long = {"arm 0": "first " + "x" * 300 + " last", "arm 1": "</script>"}
    figure = plots.arms_figure(table.replace({"label": long}), seeds.replace({"label": long}))
    plots.save(figure, tmp_path / "arms")
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert any(name.startswith("first x") and name.endswith("x last") and len(name) == 80 for name in names)
    assert all(tick.get_window_extent().x0 >= 0 for tick in figure.axes[0].get_yticklabels())


@pytest.mark.filterwarnings("error")
def test_a_very_long_title_leaves_room_for_a_matrix(tmp_path: Path) -> None:
    both = {name: counts(3, wrong=0) for name in ("x" * 300 + "\nsum over 3 seeds", "y" * 300)}
    figure = plots.confusion_figure(both, list("012"))
    plots.save(figure, tmp_path / "confusion")
    assert figure.axes[0].get_title(loc="left").endswith("x\nsum over 3 seeds")


def test_twenty_arms_are_all_shown_and_forty_are_the_best_and_worst() -> None:
    twenty = plots.arms_figure(*ranking(20))
    assert len(twenty.axes) == 1
    forty = plots.arms_figure(*ranking(40))
    words = texts(forty)
    assert "arm 0" in words
    assert "arm 39" in words
    assert "arm 20" not in words
    assert "best 10 of 40 arms" in words
    assert "worst 10 of 40 arms" in words


def test_labels_at_twenty_arms_do_not_overlap() -> None:
    figure = plots.arms_figure(*ranking(20))
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_an_arm_with_missing_seeds_says_so() -> None:
    table, seeds = ranking(2, n=[3, 2], planned=3)
    assert "arm 1 (2 of 3 seeds)" in texts(plots.arms_figure(table, seeds))


def test_one_arm_with_one_seed_draws_its_point_and_no_interval() -> None:
    figure = plots.arms_figure(*ranking(1, seeds=1))
    assert len(points(figure.axes[0])) == 1
    assert "the arm" in texts(figure)


# ------------------------------------------------------------------------------------------------ effects


def effects(
    levels: int = 3, datasets: tuple[str, ...] = ("mnist", "digits"), seeds: int = 3
) -> list[pd.DataFrame]:
    """Tables as from `stats.main_effects` and `stats.seed_effects`."""
    rows = [
        {
            "dataset": d,
            "axis": "activation",
            "level": f"level {i}",
            "seed": s,
            "effect": (i - 1) / 10,
            "value": 0.9,
        }
        for d in datasets
        for i in range(levels)
        for s in range(seeds)
    ]
    points = pd.DataFrame(rows)
    table = points.groupby(["dataset", "axis", "level"], sort=False)["effect"].mean().reset_index()
    half = 0.02 if seeds > 1 else math.nan
    return [table.assign(mean=0.9, n=seeds, low=table["effect"] - half, high=table["effect"] + half), points]


def test_effects_are_in_points_with_the_mean_beside() -> None:
    figure = plots.effects_figure(*effects())
    assert sorted({round(x, 6) for x, _ in points(figure.axes[0])}) == [-10, 0, 10]
    words = texts(figure)
    assert "activation on mnist" in words
    assert words.count("90.0\u00a0%") == 6
    assert "effect on val accuracy (points)" in words


def test_an_axis_missing_on_one_data_set_says_no_data() -> None:
    table, seeds = effects()
    figure = plots.effects_figure(
        pd.concat([table, table.query("dataset == 'mnist'").assign(axis="optimizer")]),
        pd.concat([seeds, seeds.query("dataset == 'mnist'").assign(axis="optimizer")]),
    )
    assert texts(figure).count("no data") >= 1


def test_effects_with_one_seed_draw_points_without_intervals() -> None:
    figure = plots.effects_figure(*effects(seeds=1))
    assert len(points(figure.axes[0])) == 3


def test_differences_are_labelled_with_their_size() -> None:
    table = pd.DataFrame(
        {
            "dataset": "digits",
            "label": ["adam", "tanh"],
            "difference": [0.01, -0.02],
            "low": 0.0,
            "high": 0.03,
        }
    )
    seeds = pd.DataFrame({"dataset": "digits", "label": ["adam", "tanh"], "difference": [0.01, -0.02]})
    words = texts(plots.differences_figure(table, seeds, "points from the baseline"))
    assert "+1.00" in words
    assert "\u22122.00" in words
    assert "points from the baseline" in words


# ------------------------------------------------------------------------------------------------- curves


def test_each_seed_is_a_thin_line_and_the_mean_a_thick_one() -> None:
    ax = plots.curves_figure([plots.Panel("relu", "loss", curve(["relu"]))], "level").axes[0]
    widths = sorted(line.get_linewidth() for line in ax.lines)
    assert widths == [0.8] * 6 + [2.0] * 2, "three seeds and a mean, for train and for val"


def test_one_seed_draws_no_second_line() -> None:
    ax = plots.curves_figure([plots.Panel("relu", "loss", curve(["relu"], seeds=1))], "level").axes[0]
    assert len(ax.lines) == 2


@pytest.mark.parametrize("decades", [1, 2, 4, 9, 30])
def test_a_log_axis_has_ticks_however_far_it_spans(decades: int) -> None:
    figure = Figure()
    ax = figure.add_subplot()
    ax.plot([0, 1], [0.03, 0.03 * 10.0**decades])
    plots.log_axis(ax)
    figure.canvas.draw()
    low, high = ax.get_ylim()
    assert 2 <= sum(low <= tick <= high for tick in ax.get_yticks()) <= 12


def test_a_loss_gets_a_log_axis_only_where_it_spans_much() -> None:
    wide = plots.Panel("ce", "loss", curve(["relu"]))
    flat = plots.Panel("ql", "loss", curve(["relu"], decay=0.9))
    figure = plots.curves_figure([wide, flat], "level")
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear"]


def test_accuracy_is_in_percent_and_guessing_does_not_squeeze_it() -> None:
    table = curve(["relu"], seeds=1).assign(
        value=lambda t: np.where(t["epoch"].eq(0), 0.1, 0.9 + t["epoch"] / 100)
    )
    figure = plots.curves_figure([plots.Panel("accuracy", "accuracy", table)], "level")
    assert figure.axes[0].get_ylim()[0] > 0.8
    assert any(word.endswith("\u00a0%") for word in texts(figure))


def test_a_very_flat_accuracy_has_ticks_that_differ() -> None:
    table = curve(["relu"], seeds=1).assign(value=lambda t: 0.1123 + t["epoch"] * 0.00003)
    figure = plots.curves_figure([plots.Panel("accuracy", "accuracy", table)], "level")
    ticks = [word for word in texts(figure) if word.endswith("\u00a0%")]
    assert len(set(ticks)) == len(ticks) > 2


def test_different_losses_never_share_an_axis() -> None:
    panels = [plots.Panel(name, "loss", curve(["relu"])) for name in ("ce", "mse")]
    figure = plots.curves_figure(panels, "level")
    assert len(figure.axes) == 2
    assert not figure.axes[0].get_shared_y_axes().joined(*figure.axes)


def test_a_panel_says_that_nothing_finished() -> None:
    empty = curve(["relu"]).iloc[:0]
    figure = plots.curves_figure([plots.Panel("ce", "loss", empty)], "level")
    assert "no finished trial" in texts(figure)


def test_curves_name_their_levels_and_splits() -> None:
    words = texts(plots.curves_figure([plots.Panel("ce", "loss", curve(["relu", "tanh"]))], "level"))
    assert {"relu", "tanh", "val", "train", "epoch", "loss"} <= set(words)
    words = texts(plots.curves_figure([plots.Panel("ce", "loss", curve(["relu"]))], "split"))
    assert words.count("val") == 1


# ---------------------------------------------------------------------------------------------- confusion


def counts(classes: int, right: int = 90, wrong: int = 3) -> pd.DataFrame:
    """A matrix with one kind of mistake, class 0 for class 1."""
    table = np.diag([right] * classes)
    table[0, 1] = wrong
    return pd.DataFrame(table)


@pytest.mark.parametrize("classes", [2, 10, 26])
def test_confusion_counts_are_readable_and_named(classes: int) -> None:
    names = [f"class {i}" for i in range(classes)]
    figure = plots.confusion_figure({"best arm": counts(classes)}, names)
    words = texts(figure)
    assert words.count("90") >= classes
    assert "3" in words
    assert "0" not in {cell.get_text() for cell in figure.axes[0].texts}, "zero cells stay empty"
    assert {"true", "predicted", "best arm", names[0], names[-1]} <= set(words)
    sizes = [float(t.get_fontsize()) for t in figure.findobj(Text) if t.get_text()]
    assert min(sizes) >= 9


@pytest.mark.parametrize(("right", "wrong"), [(2900, 60), (3, 800)])
def test_confusion_colours_span_the_mistakes_only(right: int, wrong: int) -> None:
    ax = plots.confusion_figure({"arm": counts(10, right, wrong)}, list("0123456789")).axes[0]
    mesh = ax.collections[0]
    assert mesh.get_clim() == (0, wrong)
    shades = np.asarray(mesh.get_array()).reshape(10, 10)
    assert (np.diag(shades) > wrong).all(), "the diagonal lies beyond the scale"


def test_a_matrix_without_mistakes_has_its_diagonal_and_empty_cells_beside_it() -> None:
    ax = plots.confusion_figure({"arm": counts(2, wrong=0)}, ["benign", "malignant"]).axes[0]
    assert [cell.get_text() for cell in ax.texts] == ["90", "", "", "90"]
    shades = np.asarray(ax.collections[0].get_array()).reshape(2, 2)
    low, high = ax.collections[0].get_clim()
    assert low < high, "a scale without a mistake is a scale"
    assert (np.diag(shades) > high).all()
    assert (shades[~np.eye(2, dtype=bool)] == low).all()


# ------------------------------------------------------------------------------------- changes of a matrix


def change_cells(change: list[list[int]]) -> tuple[Any, list[list[str]]]:
    """What a drawn change says and its value on the scale from worse (below 0) to better (above)."""
    classes = len(change)
    names = [str(label) for label in range(classes)]
    ax = plots.confusion_figure({}, names, {"change": pd.DataFrame(change)}).axes[0]
    words = np.array([cell.get_text() for cell in ax.texts]).reshape(classes, classes)
    return ax, words.tolist()


def test_better_is_blue_on_and_off_the_diagonal() -> None:
    ax, words = change_cells([[30, -30, 0], [0, -5, 5], [0, 0, 0]])
    assert words == [["+30", "\u221230", ""], ["", "\u22125", "+5"], ["", "", ""]]
    mesh = ax.collections[0]
    assert mesh.get_clim() == (-30, 30), "centred on no change"
    colors = mesh.to_rgba(np.asarray(mesh.get_array()).reshape(3, 3))
    red, blue = colors[..., 0], colors[..., 2]
    assert (blue > red)[0, :2].all(), "more right answers, and fewer mistakes"
    assert (red > blue)[1, 1:].all(), "fewer right answers, and more mistakes"
    frames = [patch.get_xy() for patch in ax.patches]
    assert frames == [(0, 0), (1, 1), (2, 2)], "the diagonal is framed"


def test_a_change_is_scaled_by_mistakes_not_by_the_sums_on_the_diagonal() -> None:
    ax, _ = change_cells([[50, -30, -20], [0, 0, 0], [0, 0, 0]])
    assert ax.collections[0].get_clim() == (-30, 30)


def test_no_change_at_all_draws_an_empty_matrix() -> None:
    ax, words = change_cells([[0, 0], [0, 0]])
    assert words == [["", ""], ["", ""]]
    assert ax.collections[0].get_clim() == (-1, 1)


# -------------------------------------------------------------------------------------------------- ladder


def climb(rungs: int, seeds: int = 3) -> dict[str, pd.DataFrame]:
    """The tables of a ladder each of whose rungs adds 5 points, of val and of test."""
    offsets = np.linspace(-0.01, 0.01, seeds) if seeds > 1 else np.zeros(1)
    half = 0.02 if seeds > 1 else math.nan
    made: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("accuracy", "accuracies", "changes", "differences")
    }
    for split, number in itertools.product(("val", "test"), range(rungs)):
        row, mean = {"label": f"rung {number}", "split": split}, 0.5 + 0.05 * number
        made["accuracy"].append({**row, "mean": mean, "low": mean - half, "high": mean + half})
        made["accuracies"] += [{**row, "value": mean + offset} for offset in offsets]
        if number:
            ends = {"difference": 0.05, "low": 0.05 - half, "high": 0.05 + half, "words": f"+5.0 ({number})"}
            made["changes"].append(row | ends)
            made["differences"] += [{**row, "difference": 0.05 + offset} for offset in offsets]
    return {name: pd.DataFrame(rows) for name, rows in made.items()}


def drawn_points(ax: Axes, marker: str) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for line in ax.lines
        if line.get_marker() == marker
        for x, y in zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)
    ]


def test_each_seed_of_val_and_test_is_a_point_in_its_steps_row() -> None:
    left, right = plots.ladder_figure({f"rung {i}": f"{i} step" for i in range(4)}, **climb(4)).axes
    for marker, side in (("o", -1), ("D", 1)):
        seen = drawn_points(left, marker)
        assert len(seen) == 12
        for x, y in seen:
            assert abs(x - (0.5 + 0.05 * round(y))) < 0.011, "in the row of its rung"
            assert (y - round(y)) * side > 0, "val above the row's middle, test below"
        changes = drawn_points(right, marker)
        assert len(changes) == 9
        assert all(abs(x - 5) < 1.01 for x, _ in changes), "in points"


def test_changes_are_written_between_their_steps() -> None:
    figure = plots.ladder_figure({f"rung {i}": f"{i} step" for i in range(3)}, **climb(3))
    figure.canvas.draw()
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["0 step", "1 step", "2 step"]
    rows = {text.get_text(): text.get_position()[1] for text in right.texts}
    assert set(rows) == {f"{split} +5.0 ({i})" for split in ("val", "test") for i in (1, 2)}
    assert all(int(words[-2]) - 1 < y < int(words[-2]) for words, y in rows.items())
    low, high = right.get_xlim()
    assert low < 0 < 7 < high, "no change, and the whole interval"


@pytest.mark.parametrize("rungs", [2, 10])
def test_long_names_of_steps_do_not_overlap(rungs: int) -> None:
    name = "a rung whose name is so long that\nit takes a second line\n1 diverged of 3 seeds"
    figure = plots.ladder_figure({f"rung {i}": name for i in range(rungs)}, **climb(rungs))
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0, "nothing is cut"
    words = [text.get_window_extent() for text in figure.axes[1].texts]
    assert max(box.x1 for box in words) <= figure.bbox.x1
    assert not any(a.overlaps(b) for a, b in itertools.combinations(words, 2))


def test_a_step_without_a_common_seed_says_so_in_place_of_its_change() -> None:
    tables = climb(3)
    holed = {
        name: table[table["label"].ne("rung 2")] if name in {"changes", "differences"} else table
        for name, table in tables.items()
    }
    right = plots.ladder_figure({f"rung {i}": f"{i}" for i in range(3)}, **holed).axes[1]
    (missing,) = [text for text in right.texts if text.get_text() == "no seed finished both"]
    assert missing.get_position()[1] == 1.5


def test_a_ladder_with_one_seed_draws_no_interval() -> None:
    figure = plots.ladder_figure({f"rung {i}": f"{i}" for i in range(2)}, **climb(2, seeds=1))
    assert "interval" not in texts(figure)
    assert {"val, each seed", "test, each seed"} <= set(texts(figure))


# ---------------------------------------------------------------------------------------------- all figures


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    files = [plots.save(plots.arms_figure(*ranking(3)), tmp_path / name) for name in ("a", "b")]
    for first, second in zip(*files, strict=True):
        assert first.read_bytes() == second.read_bytes()
    svg = files[0][1].read_text()
    assert "arm 2" in svg, "text stays text"
    assert "<dc:date>" not in svg


def test_figures_leave_no_global_state() -> None:
    before = dict(mpl.rcParams)
    plots.curves_figure([plots.Panel("ce", "loss", curve(["relu"]))], "level")
    assert dict(mpl.rcParams) == before
    assert not Gcf.get_all_fig_managers(), "no figure is left open in pyplot"


def test_colours_are_seaborns_colour_blind_safe_ones() -> None:
    levels = [f"level {i}" for i in range(plots.MAX_LINES)]
    ax = plots.curves_figure([plots.Panel("ce", "loss", curve(levels, seeds=1))], "level").axes[0]
    drawn = {mpl.colors.to_hex(line.get_color()) for line in ax.lines}
    assert drawn == {mpl.colors.to_hex(color) for color in plots.COLORS}
    npt.assert_equal(len(drawn), plots.MAX_LINES)

"""A look at models: the right images, under the words that the predictions say, and all of it as commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from harness import results
from harness.cli import main, output
from harness.data.datasets import Facts, datasets
from harness.errors import UsageError
from harness.gallery import predicted_images, prediction_pages
from harness.gallery.predicted_images import ModelPredictions, Pictures
from harness.results import Results, predictions, selection, weights

DIGITS = datasets["digits"].load()
BLACK = "#000000"


@pytest.fixture
def kept_trials(kept_results: Path) -> Results:
    return results.read(kept_results)


@pytest.fixture
def model_predictions(kept_trials: Results) -> ModelPredictions:
    return predicted_images.see(kept_trials, selection.best(kept_trials).iloc[0])


def toy(
    label: Sequence[int], predicted: Sequence[int], names: Sequence[str], confidence: float = 0.9
) -> ModelPredictions:
    """Images full of their index, 2 high and 3 wide."""
    n = len(label)
    pixels = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 2, 3))
    facts = Facts((2, 3), tuple(names), n, n, 255, "")
    images = Pictures("toy", facts, pixels, np.array(label), [f"index {i}" for i in range(n)])
    table = pd.DataFrame(
        {"index": range(n), "label": label, "predicted": predicted, "confidence": confidence}
    )
    return ModelPredictions(
        "t0", "arm", "test", images, table.assign(wrong=table["label"] != table["predicted"])
    )


def tiles(figure: Figure) -> list[tuple[NDArray[Any], list[tuple[str, str]]]]:
    """Each image of a page and the lines above it with their colours, top to bottom."""
    ax = figure.axes[0]
    kept_trials = []
    for image in ax.images:
        left, right, _, top = image.get_extent()
        middle, lines = (left + right) / 2, []
        for text in ax.texts:
            x, y = text.get_position()
            if abs(x - middle) < 0.01 and top - 0.8 < y < top:
                lines.append((y, text.get_text(), to_hex(text.get_color())))
        kept_trials.append((np.asarray(image.get_array()), [line[1:] for line in sorted(lines)]))
    return kept_trials


def words(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def bars(ax: Axes) -> list[float]:
    return [patch.get_width() for patch in ax.patches if isinstance(patch, Rectangle)]


# ------------------------------------------------------------------------------------------------- figures


def test_predictions_stand_above_their_images_and_wrong_ones_are_red(
    model_predictions: ModelPredictions,
) -> None:
    rows = pd.concat(
        [
            model_predictions.table[model_predictions.table["wrong"]].head(4),
            model_predictions.table[~model_predictions.table["wrong"]].head(4),
        ]
    )
    shown = tiles(prediction_pages.predictions_figure(model_predictions, rows))
    assert len(shown) == 8
    for (image, lines), row in zip(shown, rows.to_dict("records"), strict=True):
        np.testing.assert_array_equal(image, DIGITS.test_images[row["index"]])
        assert lines[0][0] == f"index {row['index']}"
        assert lines[1] == (f"label {DIGITS.test_labels[row['index']]}", BLACK)
        said = f"predicted {row['predicted']}, {100 * row['confidence']:.0f}\u00a0%"
        assert lines[2] == (said, prediction_pages.RED if row["wrong"] else BLACK)
    assert "4 predicted wrongly" in words(prediction_pages.predictions_figure(model_predictions, rows))[0]


def test_failures_are_a_row_a_true_class_surest_first_and_titled_with_their_number(
    model_predictions: ModelPredictions,
) -> None:
    figure = prediction_pages.failures_figure(model_predictions)
    expected = [
        (row["index"], row["predicted"])
        for label in range(10)
        for row in predictions.mistakes(model_predictions.table, label, 10).to_dict("records")
    ]
    shown = tiles(figure)
    assert len(shown) == len(expected) > 30
    for (image, lines), (index, predicted) in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(image, DIGITS.test_images[index])
        assert lines[0][0].split()[0] == str(predicted) != str(DIGITS.test_labels[index])
        assert lines[0][1] == prediction_pages.RED
    title = " ".join(words(figure)[0].split())
    assert f"{model_predictions.table['wrong'].sum()} mistakes of 360" in title
    tops = {label: [] for label in range(10)}  # type: dict[int, list[float]]
    for drawn, (index, _) in zip(figure.axes[0].images, expected, strict=True):
        tops[int(DIGITS.test_labels[index])].append(drawn.get_extent()[3])
    rows = [set(np.round(top, 6)) for top in tops.values() if top]
    assert all(len(row) == 1 for row in rows)
    assert [min(row) for row in rows] == sorted({min(row) for row in rows})


def test_a_class_without_mistakes_says_so_and_few_are_all_shown() -> None:
    figure = prediction_pages.failures_figure(toy([0, 0, 0, 1, 1], [0, 1, 1, 1, 1], ("cat", "dog", "emu")))
    assert len(tiles(figure)) == 2
    assert [w for w in words(figure) if w.startswith("no ")] == ["no mistake", "no image"]
    assert {"cat\n2 of 3", "dog\n0 of 2", "emu\n0 of 0"} <= set(words(figure))
    assert "2 mistakes of 5 (40.00\u00a0%)" in words(figure)[0]
    assert not tiles(prediction_pages.failures_figure(toy([0, 1], [0, 1], ("cat", "dog"))))


def test_of_very_many_classes_those_with_most_mistakes_are_shown() -> None:
    labels = [*range(30), 29, 29]
    predicted = [(label + 1) % 30 if label >= 5 else label for label in labels]
    figure = prediction_pages.failures_figure(toy(labels, predicted, [f"kind {i}" for i in range(30)]))
    assert len(tiles(figure)) == 22
    assert "kind 29\n3 of 3" in words(figure)
    assert "the 20 of 30 classes with most" in " ".join(words(figure)[0].split())


def test_no_page_cuts_its_words_or_images(model_predictions: ModelPredictions) -> None:
    long = toy([0, 1, 2], [1, 2, 0], ("a name that is far too long", "$x^2_$", "another of such names"), 1)
    pages = [prediction_pages.failures_figure(model_predictions), prediction_pages.failures_figure(long)]
    pages += [
        prediction_pages.predictions_figure(long, long.table),
        prediction_pages.predictions_figure(model_predictions, model_predictions.table[:1]),
    ]
    pages.append(prediction_pages.probabilities_figure(long, long.table, np.eye(3)[[1, 2, 0]]))
    for figure in pages:
        figure.draw_without_rendering()
        for ax in figure.axes:
            ticks = [*ax.get_xticklabels(), *ax.get_yticklabels()] if ax.axison else []
            for artist in [*ax.texts, *ax.images, *ticks]:
                box = artist.get_window_extent()
                assert box.x0 >= 0, artist
                assert box.y0 >= 0, artist
                assert box.x1 <= figure.bbox.x1, artist
                assert box.y1 <= figure.bbox.y1, artist


def test_bars_are_the_probabilities_add_to_one_and_mark_the_label(
    kept_trials: Results, model_predictions: ModelPredictions
) -> None:
    given = weights.probabilities(
        weights.read(weights.file_of(kept_trials, model_predictions.trial_id)), "test"
    )
    rows = predictions.telling(model_predictions.table)
    page, *plots = prediction_pages.probabilities_figure(model_predictions, rows, given[rows.index]).axes
    assert len(page.images) == len(plots) == 6
    for image, ax, row in zip(page.images, plots, rows.to_dict("records"), strict=True):
        np.testing.assert_array_equal(np.asarray(image.get_array()), DIGITS.test_images[row["index"]])
        assert sum(bars(ax)) == pytest.approx(1, abs=1e-5)
        assert np.argmax(bars(ax)) == row["predicted"]
        ticks = [(tick.get_text(), to_hex(tick.get_color())) for tick in ax.get_yticklabels()]
        assert [name for name, _ in ticks] == [str(c) for c in range(10)]
        assert ticks[row["label"]][1] == to_hex(prediction_pages.TRUE)
        assert (ticks[row["predicted"]][1] == prediction_pages.RED) == row["wrong"]


def test_bars_of_many_classes_keep_the_label_and_sum_up_the_rest() -> None:
    many = toy([7], [3], [f"kind {i}" for i in range(40)])
    given = np.full((1, 40), 0.5 / 39)
    given[0, 3], given[0, 7] = 0.5 + 0.5 / 39, 0.0
    ax = prediction_pages.probabilities_figure(many, many.table, given).axes[1]
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(names) == prediction_pages.MOST_BARS
    assert {"kind 7", "kind 3", "29 others"} <= set(names)
    assert sum(bars(ax)) == pytest.approx(1)


def test_the_hardest_images_come_with_label_vote_and_share(kept_trials: Results) -> None:
    table = predicted_images.hardest(kept_trials, "digits", "val")
    figure = prediction_pages.hardest_figure(
        predicted_images.originals(kept_trials, "digits", "val"), table, "val", 12
    )
    shown = tiles(figure)
    assert len(shown) == 12
    for (image, lines), row in zip(shown, table.to_dict("records"), strict=False):
        np.testing.assert_array_equal(image, DIGITS.train_images[row["index"]])
        assert [line for line, _ in lines] == [
            row["name"],
            f"label {DIGITS.train_labels[row['index']]}",
            f"mostly {row['prediction_name']}",
            f"{100 * row['wrong_share']:.0f}\u00a0% wrong",
        ]
        assert lines[2][1] == (prediction_pages.RED if row["prediction"] != row["label"] else BLACK)


# ------------------------------------------------------------------------------------------------ commands


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main.harness, [*map(str, arguments)])


def test_show_describes_the_trial_and_writes_all_figures(kept_results: Path, tmp_path: Path) -> None:
    done = run("show", kept_results, "--out", tmp_path / "figures")
    assert done.exit_code == 0, done.output
    (best,) = selection.best(results.read(kept_results))["trial_id"]
    lines = done.output.splitlines()
    assert lines[0].startswith(f"{best}: ")
    assert "hidden [16]" in lines[1]
    assert "head " in lines[1]
    assert "1,210 trainable parameters; accuracy: train" in lines[2]
    names = [f"digits-{best}-test-{kind}" for kind in prediction_pages.KINDS]
    made = {f"{name}.{suffix}" for name in names for suffix in ("png", "svg")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == made


def test_a_trial_is_described_by_its_varied_and_non_default_settings(kept_trials: Results) -> None:
    row = selection.choose(kept_trials, conditions="lr=0.1,head=identity,seed=0")
    told = output.telling_settings(kept_trials, row)
    # head is at its default, yet varied; lr at that of its optimizer, and varied too.
    assert told == {"head": "identity", "match": "ignore", "epochs": "3", "hidden": "[16]", "lr": "0.1"}
    other = row.copy()
    other["activation"], other["optimizer"], other["momentum"] = "tanh", "momentum", 0.9
    more = {"activation": "tanh", "optimizer": "momentum"}
    assert output.telling_settings(kept_trials, other) == {**told, **more}
    other["optimizer"] = "nobody's"
    assert output.telling_settings(kept_trials, other)["optimizer"] == "nobody's"


def test_show_draws_the_requested_figures(kept_results: Path, tmp_path: Path) -> None:
    where = "lr=0.1,head=sigmoid,seed=1"
    done = run("show", kept_results, "failures", "--where", where, "--split", "val", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    (png,) = tmp_path.glob("*.png")
    assert png.name.endswith("-val-failures.png")
    trial_id = png.name.split("-")[1]
    again = run(
        "show", kept_results, "predictions", "--trial", trial_id, "--sample", "7,3", "--out", tmp_path
    )
    assert again.exit_code == 0, again.output
    assert again.output.startswith(trial_id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["failure"], "did you mean 'failures'"),
        (["--split", "train"], "no predictions of train"),
        (["--trial", "t000"], "has no trial"),
        (["--where", "lr=1e25,head=identity"], "so it predicts nothing"),
        (["--where", "lr=0.1"], "They differ in"),
        (["--sample", "360"], "indices from 0 to 359"),
    ],
)
def test_impossible_requests_of_show_are_usage_errors(
    kept_results: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = run("show", kept_results, *arguments, "--out", tmp_path / "figures")
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert not (tmp_path / "figures").exists()


def test_a_usage_error_of_show_answers_without_torch(kept_results: Path) -> None:
    code = (
        f"import sys; sys.argv = ['harness', 'show', {str(kept_results)!r}, '--split', 'train']\n"
        "from harness.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    print('code', stop.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no predictions of train" in done.stderr
    assert done.stdout.endswith("code 2 False\n")


def test_hardest_writes_a_figure_and_a_table_of_all_images(kept_results: Path, tmp_path: Path) -> None:
    done = run("data", "show", "digits", "--hardest", kept_results, "--split", "val", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg", ".csv"}
    table = pd.read_csv(tmp_path / "digits-val-hardest.csv")
    assert len(table) == 144
    assert list(table.columns)[:4] == ["index", "name", "label", "label_name"]
    np.testing.assert_array_equal(table["label"], DIGITS.train_labels[table["index"]])
    assert table["wrong_share"].is_monotonic_decreasing


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digit"], "did you mean 'digits'"),
        (["digits", "--grid"], "--hardest draws no other images"),
        (["digits", "--set", "val_split=balanced"], "--hardest takes --where, --split, --count and --out"),
        (["digits", "--split", "train"], "no predictions of train"),
    ],
)
def test_impossible_requests_of_hardest_are_usage_errors(
    kept_results: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = run("data", "show", *arguments, "--hardest", kept_results, "--out", tmp_path)
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_a_file_in_place_of_the_figures_folder_is_reported(kept_results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("show", kept_results, "failures", "--out", tmp_path / "file")
    assert isinstance(done.exception, UsageError)
    assert "--out" in str(done.exception)

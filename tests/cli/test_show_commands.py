"""`harness show RESULTS confusion curves` and `harness show-component`, as a person types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import harness
from harness.cli.main import harness as command
from harness.errors import UsageError


def ok(*words: object) -> str:
    result = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_confusion_and_curves_of_the_best_trial(kept_results: Path, tmp_path: Path) -> None:
    trial = harness.read(kept_results).trial()
    told = ok("show", kept_results, "confusion", "curves", "--out", tmp_path)
    assert told.startswith(f"{trial.trial_id}: ")
    accuracy = f"{trial.row['test_accuracy']:.2%}".replace("%", "\u00a0%")
    assert f"digits test: {accuracy} of 360 right" in told
    stem = f"digits-{trial.trial_id}"
    names = {f"{stem}-test-confusion.png", f"{stem}-curves-loss.png", f"{stem}-curves-accuracy.png"}
    assert {path.name for path in tmp_path.glob("*.png")} == names


def test_activations_on_val_and_filters_of_the_best_trial(kept_results: Path, tmp_path: Path) -> None:
    trial = harness.read(kept_results).trial()
    told = ok("show", kept_results, "activations", "filters", "--out", tmp_path)
    assert "digits: activations, first 144 images of val" in told
    assert "digits: weights of the first layer, 16 units" in told
    stem = f"digits-{trial.trial_id}"
    names = {f"{stem}-activations.png", f"{stem}-filters.png"}
    assert {path.name for path in tmp_path.glob("*.png")} == names


def test_an_arms_seeds_are_combined_and_the_title_says_how(kept_results: Path, tmp_path: Path) -> None:
    where = ("--where", "lr=0.1,head=softmax", "--out", tmp_path)
    told = ok("show", kept_results, "confusion", "curves", "--combine", "mean", *where)
    assert "lr=0.1, head=softmax, digits test: mean over 2 seeds" in told
    assert "loss over epochs: digits, lr=0.1, head=softmax, 2 seeds" in told
    assert len(list(tmp_path.glob("*-test-confusion-mean.svg"))) == 1
    assert len(list(tmp_path.glob("*-curves-loss-seeds.svg"))) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["confuson"], "did you mean 'confusion'"),
        (["confusion", "--sample", "3"], "--sample works with predictions and probabilities"),
        (["failures", "--combine", "sum"], "--combine works with confusion and curves"),
        (["filters", "--combine", "sum"], "--combine works with confusion and curves"),
        (["confusion", "--split", "train"], "has no predictions of train"),
    ],
)
def test_what_cannot_be_shown_is_one_message(
    words: list[str], said: str, kept_results: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        ok("show", kept_results, *words, "--out", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_component_is_drawn_and_told(tmp_path: Path) -> None:
    told = ok("show-component", "gelu", "--out", tmp_path)
    assert told.startswith("activation gelu: x times the normal distribution function")
    values = harness.tables.function("gelu")["value"]
    assert f"value for x from -5 to 5: {values.min():.4g} to 5\n" in told
    assert "derivative: drawn by autograd, trained with a closed form" in told
    assert {path.name for path in tmp_path.iterdir()} == {"activation-gelu.png", "activation-gelu.svg"}


def test_a_range_an_axis_and_a_loss(tmp_path: Path) -> None:
    told = ok("show-component", "sigmoid", "--axis", "head", "--range=-2,3", "--out", tmp_path)
    low, high = 1 / (1 + np.exp([2, -3]))
    assert f"value for x from -2 to 3: {low:.4g} to {high:.4g}\n" in told
    assert "gives scores" in told
    assert "also an activation: --axis activation shows that" in told
    told = ok("show-component", "ccql", "--range", "-1,1", "--out", tmp_path)
    assert "takes logits, scores, probabilities, log_probabilities; ccql_weight = 2" in told


def test_a_persons_own_component_is_drawn_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from harness.axes.activations import activations\n"
        "@activations.register('square')\n"
        "def square(x):\n"
        '    """x times x."""\n'
        "    return x * x\n"
    )
    told = ok("show-component", "square", "--plugin", tmp_path / "own.py", "--out", tmp_path)
    assert "activation square: x times x." in told
    assert "value for x from -5 to 5: 0 to 25\n" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gleu"], "did you mean 'gelu'"),
        (["adam"], "adam is a name of axis optimizer"),
        (["gelu", "--axis", "loss"], "there is no loss 'gelu'"),
        (["gelu", "--range", "5"], "--range '5': allowed: two numbers"),
        (["gelu", "--range", "5,-5"], "range 5 to -5: allowed"),
        (["gelu", "--range", "a,b"], "--range 'a,b': allowed"),
    ],
)
def test_a_component_that_is_not_there_is_one_message(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        ok("show-component", *words, "--out", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_tells_each_evaluation_on_request(tmp_path: Path) -> None:
    study = tmp_path / "own.toml"
    study.write_text(
        '[study]\nname = "own"\nseeds = 1\n[baseline]\ndataset = "digits"\nepochs = 2\nhidden = [8]\n'
    )
    words = ("run", study, "--workers", "1", "--device", "cpu", "--results", tmp_path / "own")
    told = [line for line in ok(*words, "--verbose").splitlines() if line.startswith("epoch ")]
    last = harness.read(tmp_path / "own").trials.iloc[0]
    assert [line.split(":")[0] for line in told] == ["epoch 0", "epoch 1", "epoch 2"]
    assert f"val loss {last['val_loss']:.4g}, " in told[-1]
    assert not [line for line in ok(*words, "--retrain").splitlines() if line.startswith("epoch ")]

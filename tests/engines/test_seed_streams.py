"""Each stream of a trial can have a seed of its own, in every engine and beside any others in a stack."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.data.batches import Budget
from harness.data.samples import prepare
from harness.engines import engine
from harness.engines.base import batch_indices
from harness.engines.compiled import engine as compiled
from harness.engines.outcome import Outcome
from harness.rng import StepSeeds
from harness.settings import CORE
from harness.settings.schema import STREAM_SEEDS
from harness.study.trials import Trial, lone_trial, resolve

DIGITS: dict[str, Any] = {"dataset": "digits", "dropout": 0.3, "batch_size": 32}
MLP: dict[str, Any] = {**DIGITS, "hidden": [12], "steps": 45, "eval_every": "45 steps"}
CNN: dict[str, Any] = {
    **DIGITS, "architecture": "cnn", "channels": [4, 4], "steps": 12, "eval_every": "12 steps"
}  # fmt: skip
AUGMENTED: dict[str, Any] = {**MLP, "augmentation": "shift"}
GLOROT: dict[str, Any] = {**MLP, "initial_weights": "glorot_uniform"}
WAYS = ("numpy", "loop", "stacked", "PyTorch")


def trial(base: dict[str, Any], seed: int, **seeds: int) -> Trial:
    return lone_trial(resolve({**base, **seeds}), seed)


def trained(
    way: str, trials: Sequence[Trial], monkeypatch: pytest.MonkeyPatch, dtype: Any = np.float32
) -> list[dict[str, NDArray[Any]]]:
    """Train the trials, as one stack where the engine has stacks; return their final weights."""
    with monkeypatch.context() as patch:
        if way == "PyTorch":
            patch.setattr(compiled, "why_not", lambda *_: "this test wants PyTorch")
        data = prepare(trials[0].arm.settings, dtype)
        name = "stacked" if way == "PyTorch" else way
        lists = [list(trials)] if name == "stacked" else [[one] for one in trials]
        outcomes: list[Outcome] = [engine(name).train(some, data, dtype=dtype) for some in lists]
    return [weights for outcome in outcomes for weights in outcome.weights]


def same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one | other)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "base", [MLP, CNN, AUGMENTED, GLOROT], ids=["mlp", "cnn", "augmented", "by another rule"]
)
def test_all_streams_of_another_seed_are_that_seeds_trial(
    way: str, base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = trial(base, 3, **dict.fromkeys(STREAM_SEEDS, 5))
    one, other, own = trained(way, [given, trial(base, 5), trial(base, 3)], monkeypatch)
    assert same(one, other)
    assert not same(one, own)


@pytest.mark.parametrize("way", WAYS)
def test_each_stream_alone_changes_a_trial(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [trial(AUGMENTED, 3), *(trial(AUGMENTED, 3, **{name: 5}) for name in STREAM_SEEDS)]
    weights = trained(way, every, monkeypatch)
    assert not any(same(one, other) for one, other in itertools.combinations(weights, 2))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("base", [MLP, CNN], ids=["mlp", "cnn"])
def test_mixed_seeds_in_a_stack_train_as_alone(
    way: str, base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = [
        trial(base, 0), trial(base, 1, order_seed=0), trial(base, 0, start_seed=7),
        trial(base, 1, dropout_seed=7, order_seed=4), trial(base, 2, start_seed=7, dropout_seed=0),
    ]  # fmt: skip
    if base is MLP:
        mixed.append(trial(GLOROT, 0, start_seed=7))
    together = trained(way, mixed, monkeypatch)
    for one, weights in zip(mixed, together, strict=True):
        assert same(weights, trained(way, [one], monkeypatch)[0])


@pytest.mark.parametrize("base", [MLP, CNN], ids=["mlp", "cnn"])
def test_the_engines_agree(base: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    one = [trial(base, 2, start_seed=7, order_seed=4, dropout_seed=1)]
    first, *others = (trained(way, one, monkeypatch, np.float64)[0] for way in WAYS)
    for weights in others:
        for name, array in weights.items():
            assert array == pytest.approx(first[name], rel=1e-6, abs=1e-9)


def test_the_same_trial_again_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in WAYS:
        one, again = (trained(way, [trial(MLP, 3, start_seed=1)], monkeypatch)[0] for _ in range(2))
        assert same(one, again)


def test_step_seeds_are_those_of_what_is_drawn() -> None:
    plain = {**MLP, "dropout": 0.0}
    assert trial(plain, 3).step_seed == trial(plain, 3, start_seed=1).step_seed == 3
    assert trial(plain, 3, order_seed=8).step_seed == 8  # nothing else is drawn: batches are seed 8's
    assert trial(MLP, 3, order_seed=8).step_seed == StepSeeds(8, 3, 8)
    assert trial(AUGMENTED, 3, dropout_seed=8).step_seed == StepSeeds(3, 8, 3)
    assert trial(MLP, 3, start_seed=1).start_seed == 1
    assert trial(MLP, 3, dropout_seed=8).dropout_seed == 8


def test_the_order_is_that_of_its_seed() -> None:
    one, other, own = trial(MLP, 3, order_seed=5), trial(MLP, 5), trial(MLP, 3)
    budget = Budget.of(one.arm.settings, 1293)
    orders = [np.concatenate(list(batch_indices(each, budget))) for each in (one, other, own)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


def test_seeds_of_streams_that_draw_nothing_are_left_out() -> None:
    seeds = dict.fromkeys(STREAM_SEEDS, 5)
    kept = resolve({"dataset": "digits", **seeds}).keys() & set(STREAM_SEEDS)
    assert kept == {"start_seed", "order_seed"}
    assert "order_seed" not in resolve({"dataset": "digits", "sampling": "sequential", "order_seed": 5})
    assert resolve({**AUGMENTED, **seeds}).keys() >= set(STREAM_SEEDS)


def test_an_id_without_these_settings_is_what_it_was() -> None:
    assert all(CORE[name].default is None for name in STREAM_SEEDS)
    assert not resolve({"dataset": "digits"}).keys() & set(STREAM_SEEDS)
    given = [trial(AUGMENTED, 3), *(trial(AUGMENTED, 3, **{name: 3}) for name in STREAM_SEEDS)]
    assert len({one.trial_id for one in given}) == 5

"""Plans: what is trained together, what is skipped and why, and what a person should be told."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.axes import plugins
from harness.axes.activations import activations
from harness.axes.optimizers import optimizers
from harness.data.batches import Budget
from harness.data.samples import train_size
from harness.errors import UsageError
from harness.planning import compilation
from harness.planning.cost import Cost, cost, stack_seconds
from harness.planning.grouping import SAME_IN_A_GROUP, cut, side_by_side
from harness.planning.plan import Plan, make
from harness.planning.stack import (
    MEMORY_BYTES,
    STACK_BYTES,
    STACK_BYTES_CUDA,
    Stack,
    budget_of,
    member_bytes,
    stack_bytes,
)
from harness.registry import PACKAGE_ROOT
from harness.study.reading import parse
from harness.study.study import Study

Make = Callable[..., Study]
WIDE = {
    "activation": ["relu", "tanh"],
    "optimizer": ["sgd", "adam"],
    "batch_size": [16, 64],
    "hidden": [[8], [16, 8], []],
    "loss": ["ce", "nll"],
}


def stacked_ids(plan: Plan) -> list[str]:
    return [trial.trial_id for stack in plan.stacks for trial in stack.trials]


def as_known(plan: Plan) -> list[tuple[str, Any, list[str]]]:
    return [(s.group, s.engine, [t.trial_id for t in s.trials]) for s in plan.stacks]


# ----------------------------------------------------------------------------------------------- what it says


def test_levels_that_no_contrast_has_are_told(study_of: Make) -> None:
    """By hand: sgd has no momentum, so no arm of it is the same as one of momentum or rmsprop otherwise."""
    told = make(
        study_of({"optimizer": ["sgd", "momentum", "rmsprop", "adam"], "momentum": [0.5, 0.9]})
    ).warnings
    (said,) = [words for words in told if "no contrast" in words]
    assert said.startswith(
        "optimizer = momentum, rmsprop: no contrast, for no arm of optimizer = sgd is the same"
    )
    told = make(study_of({"augmentation": ["none", "flip"], "flip_probability": [0.1, 0.5]})).warnings
    (said,) = [words for words in told if "no contrast" in words]
    assert said.startswith("augmentation = flip: no contrast, for no arm of augmentation = none is")
    for axes in ({"optimizer": ["sgd", "adam"]}, {"lr": [0.1, 0.2], "momentum": [0.5], "optimizer": ["sgd"]}):
        assert not any("no contrast" in words for words in make(study_of(axes)).warnings)


def test_a_plan_counts_skipped_and_merged_trials(study_of: Make) -> None:
    plan = make(study_of({"loss": ["ce", "nll"], "match": ["kind", "ignore"]}, study={"seeds": 3}))
    assert len(plan.trials) == 9
    assert list(plan.arms) == ["loss=ce, match=kind", "loss=nll, match=kind", "loss=nll, match=ignore"]
    assert plan.merged == {"loss=ce, match=kind": ["loss=ce, match=ignore"]}
    misfits = [t.trial_id for t in plan.trials if t.arm.name == "loss=nll, match=kind"]
    assert list(plan.skipped) == misfits
    assert set(plan.skipped.values()) == {
        (
            "loss 'nll' takes log_probabilities; head 'identity' gives logits "
            "(match = 'ignore' trains it anyway)"
        )
    }
    assert len(stacked_ids(plan)) == 6


def test_a_study_of_misfits_has_nothing_to_train(study_of: Make) -> None:
    plan = make(study_of(loss="nll"))
    assert plan.stacks == []
    assert len(plan.skipped) == len(plan.trials) == 2
    assert cost(plan.stacks, plan.study, 2, flops=lambda: 1e11).bytes == 0


@pytest.mark.parametrize(
    ("axes", "baseline", "warnings"),
    [
        ({}, {}, []),
        ({}, {"gamma": 0.5}, ["gamma is set in [baseline] and applies to no arm"]),
        ({"schedule": ["constant", "exponential"]}, {"gamma": 0.5}, []),
        ({"skip": [False, True]}, {"hidden": [4, 3]}, ["skip is an axis, and no two arms differ in it"]),
        ({"skip": [False, True]}, {"hidden": [4, 4]}, []),
        ({}, {"momentum": 0.5, "betas": [0.5, 0.5]}, ["momentum is set", "betas is set"]),
        ({}, {"steps": 10}, []),
        ({}, {"val_fraction": 0, "split_seed": 3}, ["split_seed is set in [baseline]"]),
        (
            {"optimizer": ["sgd", "adam"]},
            {"lr": 0.1},
            ["lr = 0.1 also applies to adam, 100 times its default"],
        ),
        ({"optimizer": ["sgd", "adam"]}, {"lr": 0.005}, []),
        ({"optimizer": ["sgd", "adam"], "lr": [0.1]}, {}, []),
        (
            {"optimizer": ["adam", "adamw"]},
            {"lr": 0.001, "weight_decay": 0.01},
            ["weight_decay = 0.01 of adam is an L2 penalty, which adam divides"],
        ),
        ({}, {"optimizer": "adam", "lr": 0.001, "weight_decay": 1e-4}, []),
        ({}, {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.01}, []),
    ],
)
def test_a_plan_warns_of_probable_mistakes(
    study_of: Make, axes: dict[str, Any], baseline: dict[str, Any], warnings: list[str]
) -> None:
    if "steps" in baseline:
        told = make(parse({"study": {"name": "x"}, "baseline": {"dataset": "digits", **baseline}})).warnings
    else:
        told = make(study_of(axes, **baseline)).warnings
    assert len(told) == len(warnings)
    for text, expected in zip(told, warnings, strict=True):
        assert text.startswith(expected)


def test_numbers_of_logspace_are_warned_of(study_of: Make) -> None:
    lrs = [0.01, 10**-1.5, 0.1, 0.3, 1e-05]
    (warning,) = make(study_of({"lr": lrs})).warnings
    assert warning.startswith("lr = 0.03162277660168379: the last digits of a computed number (np.logspace)")
    assert make(study_of({"lr": [float(f"{lr:.6g}") for lr in lrs]})).warnings == []


def test_a_split_by_blocks_needs_a_data_set_with_blocks(study_of: Make) -> None:
    assert make(study_of(val_split="blocks")).stacks
    assert make(study_of(dataset="mnist", val_split="blocks", val_fraction=0)).stacks
    with pytest.raises(UsageError, match=r"val_split = 'blocks' is for .* and digits_writers"):
        make(study_of(dataset="mnist", val_split="blocks"))


def test_a_batch_may_be_the_train_split_and_no_larger(study_of: Make) -> None:
    assert make(study_of(batch_size=1293)).stacks
    assert make(study_of(batch_size=1437, val_fraction=0)).stacks
    with pytest.raises(
        UsageError, match=r"batch_size = 1294 \(arm 'baseline'\): digits has 1293 .*1 to 1293"
    ):
        make(study_of(batch_size=1294))
    with pytest.raises(UsageError, match=r"batch_size = 9999 \(arm 'batch_size=9999'\)"):
        make(study_of({"batch_size": [32, 9999]}))


# ----------------------------------------------------------------------------------------------------- stacks


def test_groups_share_batches(study_of: Make) -> None:
    plan = make(study_of(WIDE))
    for stack in plan.stacks:
        for name in SAME_IN_A_GROUP:
            assert len({str(trial.arm.settings.get(name)) for trial in stack.trials}) == 1, name
    # Nothing else keeps the arms of a seed apart: at most a stack a seed, batch size and shape.
    assert 2 * 2 <= len(plan.stacks) <= 2 * 2 * 3
    assert sorted(stacked_ids(plan)) == sorted({t.trial_id for t in plan.trials} - plan.skipped.keys())


@pytest.mark.parametrize(
    ("arms", "batch_size", "processes", "seeds"),
    [
        (1, 1, 1, [5]),  # dispatch is all it costs
        (1, 1, 2, [2, 3]),  # no core is left idle
        (1, 1, 9, [1, 1, 1, 1, 1]),
        (4, 32, 1, [2, 3]),  # 128 images gathered for each seed
        (4, 128, 1, [1, 1, 1, 1, 1]),  # more is gathered than dispatch costs
    ],
)
def test_seeds_share_a_stack_where_it_pays(
    study_of: Make, arms: int, batch_size: int, processes: int, seeds: list[int]
) -> None:
    axes = {"lr": [0.01 * (i + 1) for i in range(arms)]}
    plan = make(study_of(axes, batch_size=batch_size, study={"seeds": 5}), processes=processes)
    assert sorted(len({trial.seed for trial in stack.trials}) for stack in plan.stacks) == seeds
    assert sorted(len(stack.trials) for stack in plan.stacks) == [arms * count for count in seeds]


def test_splits_that_go_with_the_seed_keep_seeds_apart(study_of: Make) -> None:
    plan = make(study_of(study={"seeds": 3, "resample_split": True}))
    assert [len(stack.trials) for stack in plan.stacks] == [1, 1, 1]


def test_a_stack_is_never_wider_than_its_bytes(study_of: Make) -> None:
    study = study_of({"lr": [0.01 * i for i in range(1, 101)]}, hidden=[512], study={"seeds": 1})
    plan = make(study)
    height = 4 * 512 * 64
    sizes = [len(stack.trials) for stack in plan.stacks]
    assert max(sizes) * height <= STACK_BYTES < (max(sizes) + 1) * height * 2
    assert sum(sizes) == 100
    assert max(sizes) - min(sizes) <= 1


def test_a_gpus_stacks_are_as_wide_as_their_memory(study_of: Make) -> None:
    lrs = [0.001 * i for i in range(1, 1001)]
    for hidden, epochs in (([32, 32], 10), ([32, 32], 30_000), ([4096, 4096], 10)):
        budget: dict[str, Any] = {"epochs": epochs, "eval_every": "1000 epochs"}
        stacks = make(
            study_of({"lr": lrs}, study={"seeds": 1}, hidden=hidden, **budget), device="cuda"
        ).stacks
        sizes = [len(stack.trials) for stack in stacks]
        assert sum(sizes) == 1000
        each = stack_bytes(stacks[0]) // sizes[0] + 8 * budget_of(stacks[0]).steps  # a learning rate a step
        assert max(sizes) * each <= STACK_BYTES_CUDA
        assert (len(sizes) > 1) == (1000 * each > STACK_BYTES_CUDA)


def test_seeds_share_a_stack_sooner_on_a_gpu(study_of: Make) -> None:
    study = study_of({"lr": [0.01 * i for i in range(1, 41)]}, study={"seeds": 3})
    assert len(make(study).stacks) == 3
    assert len(make(study, device="cuda:0").stacks) == 1
    assert len(make(study, device="cuda:0", processes=2).stacks) >= 2


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9))
def test_a_group_is_cut_evenly_and_whole(count: int, widest: int, least: int) -> None:
    tables = {
        "study": {"name": "x", "seeds": 1},
        "baseline": {"dataset": "digits", "hidden": [32]},
        "axes": {"lr": [0.001 * i for i in range(1, count + 1)]},
    }
    members = make(parse(tables)).trials
    pieces = cut(members, lambda _: widest, least)
    assert sorted(t.trial_id for piece in pieces for t in piece) == sorted(t.trial_id for t in members)
    widths = [len(piece) for piece in pieces]
    assert max(widths) - min(widths) <= 1
    assert len(pieces) >= min(least, count)
    assert max(widths) <= widest


SHAPES = [[], [16], [16, 16], [40], [16, 40, 16]]


def shapes_of(stack: Stack) -> list[str]:
    return [str(trial.arm.settings["hidden"]) for trial in stack.trials]


def test_shapes_share_a_stack_where_none_fills_one(study_of: Make) -> None:
    axes = {"hidden": SHAPES, "optimizer": ["sgd", "momentum", "adam"]}
    study = study_of(axes, batch_size=128, study={"seeds": 2})
    plan = make(study)
    assert [len(stack.trials) for stack in plan.stacks] == [15, 15]
    for stack in plan.stacks:
        assert len({trial.seed for trial in stack.trials}) == 1
        runs = [shape for shape, _ in itertools.groupby(shapes_of(stack))]
        assert sorted(runs) == sorted(map(str, SHAPES)), "the members of a shape are in one place"
        assert stack.trials == tuple(side_by_side(stack.trials))
        assert stack_bytes(stack) == sum(member_bytes(trial.arm.settings) for trial in stack.trials)
        assert stack_seconds(stack) > 0
    again = make(study, known=as_known(plan))
    assert as_known(again) == as_known(plan)


def test_a_shape_that_fills_half_a_stack_stays_by_itself(study_of: Make) -> None:
    half = STACK_BYTES // 2 // (4 * 64 * 128)  # members of 64-128-..
    for count, mixed in ((half - 1, True), (half, False)):
        rates = [0.001 * (i + 1) for i in range(count)]
        axes = {"hidden": [[128], [8], [9]], "lr": rates}
        plan = make(study_of(axes, batch_size=128, study={"seeds": 1}))
        together = [set(shapes_of(stack)) for stack in plan.stacks]
        assert any({"[8]", "[9]"} <= shapes for shapes in together)
        assert any({"[8]", "[128]"} <= shapes for shapes in together) is mixed


def test_shapes_are_cut_where_their_bytes_fill_a_stack(study_of: Make) -> None:
    shapes = [[256 + i] * (1 + i % 3) for i in range(100)]
    plan = make(study_of({"hidden": shapes}, study={"seeds": 1}))
    assert 1 < len(plan.stacks) < 10
    for stack in plan.stacks:
        first = sum(4 * 64 * trial.arm.settings["hidden"][0] for trial in stack.trials)  # type: ignore[index, misc]
        assert first <= STACK_BYTES
        assert stack_bytes(stack) <= MEMORY_BYTES


def test_seeds_that_share_a_stack_keep_to_their_shape(study_of: Make) -> None:
    plan = make(study_of({"hidden": SHAPES}, batch_size=8, study={"seeds": 3}))
    assert sorted(len(stack.trials) for stack in plan.stacks) == [3] * 5
    assert all(len(set(shapes_of(stack))) == 1 for stack in plan.stacks)


def test_a_stack_fits_in_memory_whatever_its_shape(study_of: Make) -> None:
    rates = [0.001 * i for i in range(1, 41)]
    for hidden in ([8, 4096, 4096], [4096], [8], []):
        plan = make(study_of({"lr": rates}, study={"seeds": 1}, hidden=hidden))
        assert all(stack_bytes(stack) <= MEMORY_BYTES for stack in plan.stacks)
        assert sum(len(stack.trials) for stack in plan.stacks) == len(rates)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_compiled_trials_share_stacks_of_their_own(study_of: Make, device: str) -> None:
    """So that they are not held up by what a component of PyTorch alone takes."""

    def cosine(x: Any) -> Any:
        """cos x, twice over: its second half is drawn, which nothing compiles."""
        return x.cos() + 0 * torch.rand_like(x)

    activations.register("drawn")(cosine)
    axes: dict[str, Any] = {
        "dropout": [0.0, 0.3], "activation": ["relu", "gelu", "drawn"], "loss": ["ce", "mse"],
    }  # fmt: skip
    plan = make(study_of(axes, study={"seeds": 1}), device=device)
    own = [{not compilation.why_not(one.arm.settings) for one in stack.trials} for stack in plan.stacks]
    assert sorted(len(stack.trials) for stack in plan.stacks) == ([4, 8] if device == "cpu" else [12])
    assert all(len(kinds) == (1 if device == "cpu" else 2) for kinds in own)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, ""),
        ({"dropout": 0.3, "preprocessing": "standardize", "optimizer": "rmsprop"}, ""),
        ({"hidden": [1025]}, ""),
        ({"hidden": [2] * 31}, "hidden has 31 layers; more than 30"),
    ],
)
def test_compilation_is_refused_in_words(study_of: Make, settings: dict[str, Any], why: str) -> None:
    arm = make(study_of(**settings)).trials[0].arm.settings
    reason = compilation.why_not(arm)
    assert reason.startswith(why)
    assert bool(reason) is bool(why)


def test_dropout_makes_no_stack_too_large(study_of: Make) -> None:
    """Its bytes in memory count, whichever member has it."""
    rates = [0.001 * i for i in range(1, 41)]
    large: dict[str, Any] = {"hidden": [8, 2000], "batch_size": 1024, "study": {"seeds": 1}}
    plan = make(study_of({"dropout": [0.0, 0.3], "lr": rates}, **large))
    assert all(stack_bytes(stack) <= MEMORY_BYTES for stack in plan.stacks)


def test_there_are_stacks_for_all_processes(study_of: Make) -> None:
    study = study_of({"lr": [0.1, 0.2, 0.3, 0.4]}, study={"seeds": 1})
    assert [len(s.trials) for s in make(study).stacks] == [4]
    assert [len(s.trials) for s in make(study, processes=2).stacks] == [2, 2]
    assert [len(s.trials) for s in make(study, processes=16).stacks] == [1, 1, 1, 1]


def test_the_loop_engine_trains_one_by_one(study_of: Make) -> None:
    plan = make(study_of({"lr": [0.1, 0.2]}), "loop")
    assert {(stack.engine, len(stack.trials)) for stack in plan.stacks} == {("loop", 1)}
    assert len(plan.stacks) == 4
    assert plan.routed == {}


def test_known_stacks_are_kept_as_they_are(study_of: Make) -> None:
    study = study_of({"lr": [0.1, 0.2, 0.3]})
    first = make(study, processes=4)
    assert make(study, known=as_known(first)).stacks == first.stacks
    assert make(study, "loop", known=as_known(first)).stacks == first.stacks
    grown = make(study_of({"lr": [0.1, 0.2, 0.3, 0.4]}), known=as_known(first))
    assert grown.stacks[: len(first.stacks)] == first.stacks
    assert len(stacked_ids(grown)) == len(set(stacked_ids(grown))) == 8
    shrunk = make(study_of({"lr": [0.3]}), known=as_known(first))
    assert sorted(stacked_ids(shrunk)) == sorted(t.trial_id for t in shrunk.trials)


def test_finished_trials_share_no_new_stack_with_others(study_of: Make) -> None:
    study = study_of({"lr": [0.1, 0.2, 0.3]}, study={"seeds": 1})
    done = {make(study).trials[1].trial_id}
    stacks = [{t.trial_id for t in stack.trials} for stack in make(study, done=done).stacks]
    assert done in stacks
    assert sorted(map(len, stacks)) == [1, 2]


def test_a_stack_is_named_by_engine_and_members(study_of: Make) -> None:
    study = study_of({"lr": [0.1, 0.2]}, study={"seeds": 1})
    (one,), (same,) = (
        make(study).stacks,
        make(study_of({"lr": [0.1, 0.2]}, study={"seeds": 1, "name": "y"})).stacks,
    )
    assert one.group == same.group
    names = {s.group for s in [one, *make(study, "loop").stacks, *make(study, processes=2).stacks]}
    assert len(names) == 5
    assert all(name.startswith("g") and len(name) == 13 for name in names)


# ----------------------------------------------------------------------------------------------------- routes

PLUGIN = """
import torch
from harness.axes.activations import activations
from harness.axes.optimizers import optimizers

@activations.register("whole")
def whole(x):
    '''Centred over everything it is given: no stack may share it.'''
    return x - x.mean()

@activations.register("plain")
def plain(x):
    '''Elementwise, and may be stacked.'''
    return x.abs()

@optimizers.register("declared", stackable=False)
def declared(param, grad, state, t, *, lr=0.1):
    '''Says itself that it cannot be stacked.'''
    param.sub_(lr * grad / grad.norm())
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[None]:
    """Third-party components, gone afterwards."""
    before = {axis: dict(registry._entries) for axis, registry in plugins.catalogue().items()}
    (tmp_path / "mine.py").write_text(PLUGIN)
    plugins.load_file(tmp_path / "mine.py")
    yield
    for axis, registry in plugins.catalogue().items():
        registry._entries.clear()
        registry._entries.update(before[axis])


@pytest.mark.usefixtures("plugin")
def test_unstackable_trials_go_to_the_loop_engine_with_a_reason(study_of: Make) -> None:
    plan = make(study_of({"activation": ["relu", "whole", "plain"], "optimizer": ["sgd", "declared"]}))
    assert plan.routed == {
        "activation 'whole' mixes the samples of a batch: its value for one changes with the others": 2,
        "optimizer 'declared' is declared stackable = False": 6,
    }
    engines = {
        (t.arm.settings["activation"], t.arm.settings["optimizer"]): stack.engine
        for stack in plan.stacks
        for t in stack.trials
    }
    assert {pair for pair, engine in engines.items() if engine == "stacked"} == {
        ("relu", "sgd"),
        ("plain", "sgd"),
    }
    assert all(len(stack.trials) == 1 for stack in plan.stacks if stack.engine == "loop")


# ------------------------------------------------------------------------------------------------------ costs


def test_cost_grows_with_the_work(study_of: Make) -> None:
    def of(processes: int = 1, **settings: Any) -> Cost:
        study = study_of(study={"seeds": 4}, batch_size=500, **settings)
        return cost(make(study).stacks, study, processes, flops=lambda: 1e11)

    assert of(epochs=20).seconds > of(epochs=5).seconds > 0
    assert of(processes=2).seconds == pytest.approx(of().seconds / 2)
    assert of(processes=99).seconds == pytest.approx(of().seconds / 4)
    assert of(epochs=20).bytes > of().bytes > 0


def test_bytes_depend_on_what_is_kept(study_of: Make) -> None:
    def of(**head: Any) -> int:
        study = study_of(study=head)
        return cost(make(study).stacks, study, 1, flops=lambda: 1e11).bytes

    assert of(keep_weights="none") < of(keep_weights="all")
    assert of(keep_predictions=[]) < of() < of(keep_predictions=["train", "val", "test"])


@pytest.mark.parametrize("optimizer", [entry.name for entry in optimizers])
def test_every_stack_has_a_cost(study_of: Make, optimizer: str) -> None:
    for stack in make(study_of({"hidden": [[], [8]]}, optimizer=optimizer)).stacks:
        assert stack_seconds(stack) > 0
        loop = Stack(stack.group, "loop", stack.trials)
        settings = stack.trials[0].arm.settings
        assert stack_seconds(loop) > Budget.of(settings, train_size(settings)).steps * 1e-4


# ------------------------------------------------------------------------------------------------ large plans

MEASURED = """
import json, pathlib, re, resource, sys, time
sys.modules["torch"] = None
from harness.planning.cost import cost
from harness.planning.plan import make
from harness.study import load
start = time.perf_counter()
plan = make(load(sys.argv[1]))
cost(plan.stacks, plan.study, 2, flops=lambda: 1e11)
if sys.platform == "linux":  # where ru_maxrss begins at the peak of the process that started this one
    peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seconds = time.perf_counter() - start
print(json.dumps({"trials": len(plan.trials), "stacks": len(plan.stacks), "seconds": seconds,
                  "bytes": peak}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_a_plan_of_100_000_trials_takes_under_a_gigabyte(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_text(
        '[study]\nname = "large"\nseeds = 10\n[axes]\n'
        f"lr = {[round(0.001 * i, 3) for i in range(1, 51)]}\nweight_decay = {[0.01 * i for i in range(5)]}\n"
        'activation = ["relu", "tanh", "sigmoid", "gelu", "elu"]\nbatch_size = [16, 64]\n'
        'optimizer = ["sgd", "adam"]\ndataset = ["mnist", "fashion_mnist"]\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path / "large.toml"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    measured = json.loads(done.stdout)
    print(measured)
    assert measured["trials"] == 100_000
    assert measured["bytes"] < 1e9

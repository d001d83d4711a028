"""Axes of seeds: one source of randomness varied at a time, whatever else the study varies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from harness.axes.architectures import architectures
from harness.errors import UsageError
from harness.planning.plan import draw
from harness.settings.schema import FIXED_SEED, STREAM_SEEDS
from harness.study import seed_axes
from harness.study.reading import parse
from harness.study.study import Study

BASELINE = {"dataset": "digits", "hidden": [8], "epochs": 2}


def study(axes: Mapping[str, Any], overrides: Sequence[str] = (), **tables: Any) -> Study:
    about = {"name": "sources", "seeds": 3, **tables.pop("study", {})}
    baseline = {**BASELINE, **tables.pop("baseline", {})}
    baseline = {key: value for key, value in baseline.items() if value is not None}
    return parse({"study": about, "baseline": baseline, "axes": axes, **tables}, overrides)


def names(given: Study) -> list[str]:
    return [str(value["name"]) for value in given.axes[FIXED_SEED]]


def test_each_source_is_varied_alone_in_every_cell_of_the_other_axes() -> None:
    given = study({"schedule": ["constant", "linear"], "seed": {"start": 2, "order": [5, 6]}})
    assert names(given) == ["none", "start 0", "start 1", "order 5", "order 6"]
    arms = {trial.arm.name: trial.arm.settings for trial in draw(given).trials}
    assert len(arms) == 2 * 5
    for name, settings in arms.items():
        given_seeds = {key: settings[key] for key in STREAM_SEEDS if key in settings}
        source, _, seed = name.rpartition(" ")
        own = name in {"schedule=constant", "schedule=linear"}
        expected = {} if own else {f"{source.split()[-1]}_seed": int(seed)}
        assert given_seeds == expected


def test_a_dotted_key_and_a_table_are_the_same() -> None:
    assert study({"seed.start": 2}).axes == study({"seed": {"start": 2}}).axes


def test_the_splits_of_a_study_count_its_own() -> None:
    assert names(study({"seed.split": 3})) == ["none", "split 1", "split 2"]
    moved = study({"seed.split": 3}, baseline={"split_seed": 2})
    assert names(moved) == ["none", "split 0", "split 1"]


def test_all_seeds_fixed_leave_nothing_to_a_trials_own() -> None:
    given = study({"seed.all": [4]})
    (fixed,) = {
        tuple(trial.arm.settings.get(key) for key in STREAM_SEEDS)
        for trial in draw(given).trials
        if trial.arm.labels[FIXED_SEED] == "all 4"
    }
    assert fixed == (4, 4, None, None)  # nothing is dropped or augmented


def test_what_is_written_into_a_results_folder_reads_back_the_same() -> None:
    given = study({"schedule": ["constant", "linear"], "seed.start": 2, "seed.split": 2})
    again = parse(given.tables())
    assert [trial.trial_id for trial in draw(again).trials] == [
        trial.trial_id for trial in draw(given).trials
    ]


def test_arms_with_a_fixed_seed_are_in_no_contrast() -> None:
    given = study({"schedule": ["constant", "linear"], "seed.start": 2})
    assert [levels.axis for levels in given.contrasts.levels] == ["schedule"]


@pytest.mark.parametrize("override", ["seed.start=2", "seed.start=0,1"])
@pytest.mark.parametrize("axes", [{"lr": [0.1]}, {"lr": [0.1], "seed.start": 5}], ids=["new", "another"])
def test_an_override_gives_or_changes_an_axis(override: str, axes: Mapping[str, Any]) -> None:
    assert names(study(axes, [override])) == ["none", "start 0", "start 1"]


@pytest.mark.parametrize(
    ("axes", "tables", "words"),
    [
        ({"seed.begin": 3}, {}, r"axes\.seed\.begin: unknown source of randomness; .*start"),
        ({"seed.start": 2}, {"study": {"design": "one-factor"}}, r"seed\.start: only for design = 'grid'"),
        ({"seed.start": 1}, {}, r"axes\.seed\.start = 1: allowed: at least 2 seeds"),
        ({"seed.start": "many"}, {}, r"axes\.seed\.start = 'many': allowed: a list of seeds, or a count"),
        ({"seed.start": [1, 1]}, {}, r"axes\.seed\.start = \[1, 1\]: allowed: every seed once"),
        ({"seed.start": [1, -1]}, {}, r"seed\.start = \[1, -1\]: allowed: .*greater than or equal to 0"),
        ({"seed.start": 2, FIXED_SEED: [{"name": "a", "lr": 0.1}]}, {}, r"axes\.fixed_seed: the name of"),
        ({FIXED_SEED: [{"name": "a", "lr": 0.1}]}, {}, r"axes\.fixed_seed: 'a' is no source of randomness"),
        ({"seed.start": 2}, {"baseline": {"start_seed": 0}}, r"seed\.start and baseline\.start_seed: arms"),
        ({"seed.all": [0]}, {"baseline": {"order_seed": 0}}, r"seed\.all and baseline\.order_seed: arms"),
        ({"seed.all": [0]}, {"study": {"resample_split": True}}, r"seed\.all and study\.resample_split"),
        ({"seed.split": 2}, {"study": {"resample_split": True}}, r"split_seed and study\.resample_split"),
        ({"seed.start": 2, "start_seed": [1]}, {}, r"axes\.\w+ and axes\.\w+ both set start_seed"),
        (
            {"seed.start": 2},
            {"tune": {"seeds": 2, "space": {"lr": [0.1, 0.2]}}},
            r"axes\.fixed_seed and \[tune\]: each arm would choose",
        ),
        (
            {"seed.start": 2},
            {"contrasts": {"levels": [{"axis": FIXED_SEED}]}},
            r"arms that differ in a fixed seed are no contrast",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_varied_is_said(
    axes: Mapping[str, Any], tables: Mapping[str, dict[str, Any]], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        study(axes, (), **tables)


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        ("dropout", {}, "dropout is off in every arm"),
        ("dropout", {"architecture": "lenet5"}, "dropout is off in every arm"),
        ("dropout", {"hidden": [], "dropout": 0.2}, "dropout is off in every arm"),
        ("label_noise", {"label_noise": 0.0}, "label_noise is off in every arm"),
        ("augmentation", {}, "augmentation is off in every arm"),
        ("order", {"sampling": "sequential"}, "sampling is 'sequential' in every arm"),
        ("split", {"val_fraction": 0}, r"val_fraction is 0, .* in every arm"),
        ("split", {"val_split": "last"}, r".*val_split 'last' in every arm"),
    ],
)
def test_a_source_that_is_off_in_every_arm_cannot_be_varied(
    source: str, settings: dict[str, Any], words: str
) -> None:
    usual = {} if "architecture" not in settings else {"hidden": None}
    given = study({"seed.start": 2, f"seed.{source}": 3}, baseline={**usual, **settings})
    with pytest.raises(UsageError, match=rf"^axes\.seed\.{source}: {words}"):
        draw(given)


def test_what_a_network_of_ones_own_draws_is_not_known_to_be_off() -> None:
    def dropping(shape: Sequence[int], classes: int) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Dropout(0.3), torch.nn.Linear(math.prod(shape), classes)
        )

    architectures.register("dropping")(dropping)
    given = study({"seed.dropout": 2}, baseline={"architecture": "dropping", "hidden": None})
    assert [trial.dropout_seed for trial in draw(given).trials if trial.seed == 2] == [2, 0, 1]


@pytest.mark.parametrize("source", ["dropout", "label_noise"])
def test_a_source_that_is_on_in_some_arm_can_be_varied(source: str) -> None:
    given = study({source: [0.0, 0.2], f"seed.{source}": 2})
    drawn = {trial.arm.name for trial in draw(given).trials}
    assert sum(f"{source} " in name.rpartition(", ")[2] for name in drawn) == (
        2 if source == "dropout" else 1
    )


def test_every_source_is_a_seed_of_settings() -> None:
    assert {key for keys in seed_axes.SOURCES.values() for key in keys} == {
        *STREAM_SEEDS, "split_seed", "label_noise_seed"
    }  # fmt: skip

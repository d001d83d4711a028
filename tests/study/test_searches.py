"""[search]: what it must not say, told before anything is imported that trains."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.registry import PACKAGE_ROOT
from harness.searching import checks
from harness.study import searches
from harness.study.reading import parse
from harness.study.study import Study

HEAD: dict[str, Any] = {"name": "s", "design": "search", "seeds": 2}
BASELINE: dict[str, Any] = {"dataset": "digits", "hidden": [8], "epochs": 2}
LR = {"low": 0.01, "high": 1.0, "log": True}


def study(
    search: str = "", tables: dict[str, Any] | None = None, overrides: list[str] | None = None
) -> Study:
    plain = {"study": HEAD, "baseline": BASELINE, "search": tomllib.loads(search), "space": {"lr": LR}}
    return parse(plain | (tables or {}), overrides or [])


def problems(*arguments: Any, **named: Any) -> list[str]:
    with pytest.raises(UsageError) as raised:
        checks.check(study(*arguments, **named))
    return [line.removeprefix("  - ") for line in str(raised.value).splitlines()[1:]]


def test_defaults_of_a_search_are_resolved() -> None:
    found = study("seeds = 2\nobjective = 'val_loss'\npruner = 'halving'").search
    assert found is not None
    assert (found.sampler, found.seeds, found.directions) == ("tpe", [2000, 2001], ["minimize"])
    assert found.pruner.name == "halving"
    assert (found.finalists, found.finalist_seeds, found.until) == (3, [3000, 3001, 3002, 3003, 3004], None)
    assert study(tables={"search": searches.table(found)}).search == found.model_copy(
        update={"direction": ["minimize"]}
    )


@pytest.mark.parametrize(
    ("design", "tables", "said"),
    [
        ("search", {"constraints": {"parameters": 5000}}, "write [search.constraints]"),
        ("search", {"pruner": {"name": "median"}}, "write [search.pruner]"),
        ("search", {"until": {"val_accuracy": 0.9}}, "write [search.until]"),
        ("search", {"sampler": "random"}, "write sampler in [search]"),
        ("search", {"seeds": 3}, "write seeds in [study] or seeds in [search] or seeds in [tune]"),
        ("grid", {"pruner": {}}, "write [search.pruner], in a study of design = 'search'"),
        ("grid", {"until": {"val_accuracy": 0.9}}, "write [study.until]"),
        ("grid", {"looks": [3, 5]}, "write looks in [contrasts]"),
        ("grid", {"axis": {}}, "did you mean 'axes'?"),
    ],
)
def test_a_table_at_the_wrong_level_is_told_its_place(design: str, tables: dict[str, Any], said: str) -> None:
    (name,) = tables
    with pytest.raises(UsageError) as raised:
        parse({"study": {**HEAD, "design": design}, "baseline": BASELINE, **tables})
    assert f"  - [{name}]: unknown table; {said}" in str(raised.value)


def test_a_table_of_its_own_inside_of_search_is_told_its_place() -> None:
    told = problems("space = { lr = [0.1] }")
    assert told == ["search.space: unknown key; it is a table of its own: write [space]"]


BAD = {
    "a typo in a key": ("sugestions = 3", "search.sugestions: unknown key; did you mean 'suggestions'?"),
    "a typo in a sampler": ("sampler = 'tpee'", "search.sampler = 'tpee': allowed: 'random', 'qmc', 'tpe'"),
    "a typo in a pruner": (
        "pruner = 'hyperbandd'",
        "search.pruner.name = 'hyperbandd': allowed: 'none', 'median', 'percentile', 'patient', 'halving'",
    ),
    "a typo in a pruner's table": (
        "pruner = { name = 'halving', reductoin = 3 }",
        "search.pruner.reductoin: unknown key; did you mean 'reduction'? Allowed: confidence, control,",
    ),
    "a pruner without a name": (
        "pruner = { reduction = 3 }",
        "search.pruner = {'reduction': 3}: allowed: a name, or a table with a name",
    ),
    "a pruner that keeps all": (
        "pruner = { name = 'halving', reduction = 1 }",
        "search.pruner.reduction = 1: allowed: greater than or equal to 2",
    ),
    "a key of another pruner": (
        "pruner = { name = 'median', keep = 5 }",
        "search.pruner.keep: 'median' does not use it; allowed with 'median': startup, warmup",
    ),
    "top-k and a sampler that learns": (
        "pruner = 'top-k'",
        "search.pruner = 'top-k' with search.sampler = 'tpe': all suggestions are asked for before one is",
    ),
    "top-k that keeps all": (
        "sampler = 'random'\nsuggestions = 3\npruner = { name = 'top-k', keep = 3 }",
        "search.pruner.keep = 3 of 3 suggestions stops none; allowed: less than search.suggestions",
    ),
    "top-k that keeps none": (
        "pruner = { name = 'top-k', keep = 0 }",
        "search.pruner.keep = 0: allowed: greater than or equal to 1",
    ),
    "an extrapolation from no curve": (
        "suggestions = 19\npruner = 'extrapolation'",
        "search.pruner = 'extrapolation' with confidence 0.95 stops nothing before 19 suggestions are",
    ),
    "an extrapolation of two batches": (
        "suggestions = 64\npruner = 'extrapolation'",
        "of search.suggestions = 64 in batches of 32, 0 are when the last batch is asked for",
    ),
    "a confidence that no search can reach": (
        "pruner = { name = 'extrapolation', confidence = 1.0 }",
        "search.pruner.confidence = 1.0: allowed: less than or equal to 0.999",
    ),
    "two objectives and top-k": (
        "objective = ['val_accuracy', 'parameters']\npruner = 'top-k'",
        "search.pruner = 'top-k': allowed with two objectives: 'none'",
    ),
    "no suggestions": ("suggestions = 0", "search.suggestions = 0: allowed: greater than or equal to 1"),
    "half a suggestion": ("suggestions = 1.5", "search.suggestions = 1.5: allowed: a valid integer"),
    "quoted suggestions": ("suggestions = '50'", "search.suggestions = '50': allowed: a valid integer"),
    "empty batches": ("batch = 0", "search.batch = 0: allowed: greater than or equal to 1"),
    "no seeds": ("seeds = 0", "search.seeds = 0: allowed: a suggestion needs at least 1 seed"),
    "a seed twice": ("seeds = [5, 5]", "search.seeds = [5, 5]: allowed: every seed once"),
    "a negative seed": ("seeds = [-1]", "search.seeds.0 = -1: allowed: greater than or equal to 0"),
    "seeds that confirm": ("seeds = [1, 7]", "search.seeds: [1] are seeds of the study too"),
    "seeds of finalists that searched": (
        "seeds = [2000, 3001]",
        "search.finalist_seeds: [3001] are seeds of search.seeds, by which finalists are chosen; take",
    ),
    "seeds of finalists that confirm": (
        "finalist_seeds = [1, 9]",
        "search.finalist_seeds: [1] are seeds of study.seeds, with which the winner is confirmed; take",
    ),
    "no finalists": ("finalists = 0", "search.finalists = 0: allowed: greater than or equal to 1"),
    "too many finalists": ("finalists = 11", "search.finalists = 11: allowed: at most 10: each is trained"),
    "finalists without seeds": ("finalist_seeds = 0", "allowed: a finalist needs at least 1 seed"),
    "a target in percent": (
        "until = { val_accuracy = 90 }",
        "search.until = { val_accuracy = 90 }: allowed: a share above 0 and up to 1: 90\u00a0% is 0.9;",
    ),
    "a target on test": (
        "until = { test_accuracy = 0.9 }",
        "search.until: 'test_accuracy' is no objective of this search; did you mean 'val_accuracy'?",
    ),
    "a target in words": ("until = { val_accuracy = 'high' }", "allowed: a number for val_accuracy, as in"),
    "a target without its objective": (
        "until = 0.9",
        "search.until = 0.9: allowed: a table with a level for",
    ),
    "to choose by test": (
        "objective = 'test_accuracy'",
        "search.objective = 'test_accuracy': test chooses nothing; allowed: val_accuracy",
    ),
    "an objective without its split": ("objective = 'accuracy'", "did you mean 'val_accuracy'?"),
    "a metric that is not tracked": (
        "objective = 'val_nll'",
        "unknown 'val_nll'; did you mean 'val_loss'? Allowed: flops, latency, parameters, training_flops,",
    ),
    "constraints that are no table": (
        "constraints = 5",
        "allowed: a table of upper bounds, as in constraints =",
    ),
    "a constraint on what is no cost": (
        "constraints = { params = 5 }",
        "did you mean 'parameters'? Allowed: flops, latency, parameters, training_flops",
    ),
    "a bound of nothing": ("constraints = { flops = 0 }", "for flops a number above 0"),
    "a bound in words": ("constraints = { flops = 'few' }", "for flops a number above 0"),
    "three objectives": (
        "objective = ['val_accuracy', 'parameters', 'training_flops']",
        "allowed: one objective, or two",
    ),
    "no objective": ("objective = []", "search.objective = []: allowed: one objective, or two"),
    "an objective twice": (
        "objective = ['val_loss', 'val_loss']",
        "search.objective = ['val_loss', 'val_loss']: an objective is listed twice",
    ),
    "costs alone": ("objective = 'parameters'", "costs alone do not say how well a network does"),
    "two objectives and a pruner": (
        "objective = ['val_accuracy', 'parameters']\nsampler = 'nsga2'\npruner = 'median'",
        "search.pruner = 'median': allowed with two objectives: 'none'",
    ),
    "two objectives and cmaes": (
        "objective = ['val_accuracy', 'parameters']\nsampler = 'cmaes'",
        (
            "search.sampler = 'cmaes' optimizes one objective; allowed for two: "
            "random, qmc, tpe, optuna, gp, nsga2"
        ),
    ),
    "two objectives and a worst value": (
        "objective = ['val_accuracy', 'parameters']\ndiverged = 0.0",
        "search.diverged: with two objectives a diverged suggestion fails; allowed: 'fail'",
    ),
    "one objective for nsga2": ("sampler = 'nsga2'", "search.sampler = 'nsga2' needs two objectives"),
    "a direction in short": ("direction = 'max'", "allowed: 'maximize' or 'minimize'"),
    "a direction too many": (
        "direction = ['maximize', 'minimize']",
        "search.direction = ['maximize', 'minimize']: allowed: one for each of ['val_accuracy']",
    ),
    "the wrong direction": (
        "direction = 'minimize'",
        "search.direction = 'minimize': allowed for val_accuracy: maximize; or take it out",
    ),
    "a worst value in words": (
        "diverged = 'worst'",
        "search.diverged = 'worst': allowed: 'fail', or a number that a suggestion counts as that diverged",
    ),
    "a worst value that is none": ("diverged = nan", "search.diverged = nan: allowed: 'fail', or a number"),
    "a worst value that is the best": (
        "diverged = 1.0",
        "search.diverged = 1: no suggestion has a better val_accuracy; allowed: 'fail', or a value as bad",
    ),
    "the least loss as the worst": (
        "objective = 'val_loss'\ndiverged = 0.0",
        "no suggestion has a better val_loss",
    ),
    "a negative sampler seed": ("seed = -1", "search.seed = -1: allowed: greater than or equal to 0"),
    "a typo in a storage": (
        "storage = 'sqlit'",
        "search.storage = 'sqlit': allowed: sqlite, journal, or an SQLAlchemy URL such as postgresql",
    ),
    "a storage that forgets": ("storage = 'sqlite:///:memory:'", "allowed: one that lasts: sqlite (a file"),
    "numbers for cmaes": (
        "sampler = 'cmaes'",
        "search.sampler = 'cmaes' varies numbers that every suggestion has: lr; it needs at least 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_each_problem_of_a_search_is_reported_once(case: str) -> None:
    text, message = BAD[case]
    [told] = problems(text)
    assert message in told


TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "axes": ({"axes": {"lr": [0.1, 0.2]}}, "[axes]: a search has [space] instead"),
    "a tune table": ({"tune": {"budget": 2, "space": {"lr": [0.1, 0.2]}}}, "[tune]: a search has [space]"),
    "steps": ({"steps": [{"name": "a", "lr": 0.1}]}, "[[steps]]: only for design = 'ladder'"),
    "no validation split": (
        {"baseline": BASELINE | {"val_fraction": 0}},
        "baseline.val_fraction = 0 leaves no validation split to choose by",
    ),
    "a split a seed": (
        {"study": HEAD | {"resample_split": True}},
        "study.resample_split = true: a search compares on one validation split",
    ),
    "contrasts": (
        {"contrasts": {"pairs": [["a", "b"]]}},
        "[contrasts]: a search compares its winner with [baseline]; take pairs and levels out",
    ),
    "a judge that chose": (
        {"contrasts": {"metric": "val_accuracy"}},
        "contrasts.metric = 'val_accuracy': the winner is chosen by val, which cannot judge it",
    ),
    "an unknown metric": ({"study": HEAD | {"metrics": ["nlll"]}}, "study.metrics: unknown metric 'nlll'"),
    "a space in a grid": (
        {"study": {"name": "s"}, "search": {}},
        "[space]: only for design = 'search', this study's is 'grid'",
    ),
    "more suggestions than there are": (
        {"space": {"activation": ["relu", "tanh"], "optimizer": ["sgd", "adam"]}},
        "search.suggestions = 100, and [space] holds 4 different settings; allowed: at most 4",
    ),
    "settings that mean the same": (
        {"space": {"activation": ["relu", "tanh"], "hidden": [[], [8]]}},
        "search.suggestions = 100, and [space] holds 3 different settings; allowed: at most 3",
    ),
    "a batch above the train split": (
        {"space": {"batch_size": {"low": 16, "high": 5000}}},
        "batch_size can be 5000, and digits has 1293 training images; lower it in [space] or [baseline]",
    ),
    "a baseline that cannot be confirmed": (
        {"baseline": BASELINE | {"batch_size": 2000}, "space": {"batch_size": {"low": 1, "high": 900}}},
        "batch_size can be 2000, and digits has 1293 training images",
    ),
    "a baseline that does not fit": (
        {"baseline": BASELINE | {"head": "sigmoid"}},
        "[baseline], which the winner is compared with: loss 'ce' takes logits or",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_that_contradict_a_search_are_refused(case: str) -> None:
    tables, message = TABLES[case]
    [told] = problems(tables=tables)
    assert message in told


def test_an_objective_of_ones_own_needs_a_direction() -> None:
    from harness.axes.metrics import metrics

    tables = {"study": HEAD | {"metrics": ["nll"]}}
    found = study("objective = 'val_nll'", tables).search
    assert found is not None
    assert found.directions == ["minimize"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_entries", dict(metrics._entries))
        metrics.register("margin")(lambda p, target: (p * target).sum(-1))
        tables = {"study": HEAD | {"metrics": ["margin"]}}
        told = problems("objective = 'val_margin'", tables)
        assert told == ["search.direction: missing; is val_margin to be maximized or minimized?"]
        assert study("objective = 'val_margin'\ndirection = 'maximize'", tables)


def test_seeds_of_finalists_matter_only_where_there_are_some() -> None:
    given = {"study": HEAD | {"seeds": [3000, 3001]}}
    assert "search.finalist_seeds: [3000, 3001] are seeds of study.seeds" in problems(tables=given)[0]
    assert study("finalists = 1", given).search is not None


def test_the_command_line_changes_search_and_space() -> None:
    found = study(
        overrides=["search.suggestions=7", "search.objective=val_loss", "space.lr=0.1,0.2", "lr=0.3"]
    )
    assert found.search is not None
    assert found.space is not None
    assert (found.search.suggestions, found.search.directions) == (7, ["minimize"])
    assert [point["lr"] for point in found.space.points()] == ["0.1", "0.2"]
    assert found.baseline["lr"] == 0.3
    assert "did you mean 'suggestions'" in problems(overrides=["search.sugestions=7"])[0]
    assert problems(overrides=["lr=0.1,0.2"]) == ["[axes]: a search has [space] instead"]


def test_the_search_in_a_results_folder_is_the_same() -> None:
    space = {"lr": LR, "hidden": {"depth": {"low": 0, "high": 2}, "width": [4, 8]}}
    given = study("seeds = 2\npruner = 'hyperband'\nsuggestions = 5", {"space": space})
    again = parse(given.in_phase("search", {"suggestion 0": {"lr": 0.1}}).tables())
    assert again.space == given.space
    assert again.search is not None
    assert searches.table(again.search) == searches.table(given.search)  # type: ignore[arg-type]


BAD_FILE = """
[study]
name = "bad"
design = "search"
[baseline]
dataset = "digits"
[search]
sampler = "tpee"
seeds = [0]
[space]
lr = { low = 1.0, high = 0.1 }
momentm = [0.1, 0.2]
"""


@pytest.mark.parametrize(("command", "good"), [("search", False), ("plan", False), ("plan", True)])
def test_neither_a_bad_file_nor_a_plan_imports_torch(tmp_path: Path, command: str, good: bool) -> None:
    text = BAD_FILE
    if good:
        for wrong, right in [("tpee", "qmc"), ("[0]", "2"), ("low = 1.0", "low = 0.01")]:
            text = text.replace(wrong, right)
        text = text.replace("momentm = [0.1, 0.2]", 'optimizer = ["sgd", "adam"]')
    (tmp_path / "bad.toml").write_text(text)
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([m for m in ('torch', 'optuna') if m in sys.modules]))\n"
        f"sys.argv = ['harness', {command!r}, 'bad.toml']\nfrom harness.cli.main import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
    )  # fmt: skip
    assert done.returncode == (0 if good else 2), done.stderr
    assert done.stdout.splitlines()[-1] == ("['optuna']" if good else "[]")
    assert good or "bad.toml: 3 problems, nothing was run" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def test_a_constraint_is_set_by_its_own_name() -> None:
    tables = {
        "study": {"name": "s", "design": "search"},
        "baseline": {"dataset": "digits", "epochs": 1},
        "search": {"constraints": {"flops": 10_000}},
        "space": {"lr": {"low": 0.01, "high": 0.1}},
    }
    given = parse(tables, ["search.constraints.parameters=500"])
    assert given.search is not None
    assert given.search.constraints == {"flops": 10_000, "parameters": 500}
    assert given.search.columns[-4:] == ["refused", "val_accuracy", "flops", "parameters"]
    assert "constraints" not in searches.table(parse(tables | {"search": {}}).search or searches.Search())

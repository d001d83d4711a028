"""[space] as a study file has it: what it means, and what it must not say."""

from __future__ import annotations

import tomllib
from functools import partial
from typing import Any

import pytest

from harness.errors import UsageError
from harness.study.reading import parse
from harness.study.space import Choices, Floats, Ints, Parameter, Space

BASELINE = {"dataset": "digits", "hidden": [8], "epochs": 2}
OUTPUT = """output = [
    { name = "CE", head = "identity", loss = "ce" },
    { name = "MSE", head = "softmax", loss = "mse" },
]"""


def space(text: str, **baseline: Any) -> Space:
    tables = {"study": {"name": "s", "design": "search"}, "baseline": {**BASELINE, **baseline}}
    found = parse({**tables, "space": tomllib.loads(text)}).space
    assert found is not None
    return found


def values(text: str, **baseline: Any) -> dict[str, Any]:
    return {parameter.name: parameter.values for parameter in space(text, **baseline).parameters}


def problems(text: str, **baseline: Any) -> list[str]:
    with pytest.raises(UsageError) as raised:
        space(text, **baseline)
    first, *lines = str(raised.value).splitlines()
    assert first == f"study: {len(lines)} problem{'s' if len(lines) > 1 else ''}, nothing was run"
    return [line.removeprefix("  - ") for line in lines]


# ---------------------------------------------------------------------------------------------- what it means


def test_numbers_have_the_type_of_their_setting() -> None:
    assert values("lr = { low = 1, high = 10 }") == {"lr": Floats(1.0, 10.0)}
    assert values("lr = { low = 1e-4, high = 1, log = true }") == {"lr": Floats(1e-4, 1.0, log=True)}
    assert values("lr = { low = 0.1, high = 0.5, step = 0.1 }") == {"lr": Floats(0.1, 0.5, step=0.1)}
    assert values("epochs = { low = 3, high = 9, step = 2 }") == {"epochs": Ints(3, 9, step=2)}
    assert values("batch_size = { low = 8, high = 64, log = true }") == {"batch_size": Ints(8, 64, log=True)}


def test_lists_are_choices_by_their_text() -> None:
    assert values("lr = [0.1, 1]") == {"lr": Choices(("0.1", "1"))}
    found = space("hidden = [[], [8], [8, 4]]")
    assert found.settings({"hidden": "[8, 4]"}) == {"hidden": [8, 4]}


def test_channels_are_drawn_by_depth_and_widths() -> None:
    found = space("channels = { depth = { low = 1, high = 2 }, width = [4, 8] }", architecture="cnn")
    assert [parameter.name for parameter in found.parameters] == [
        "channels.depth", "channels.width.1", "channels.width.2"
    ]  # fmt: skip
    drawn = [found.settings(point)["channels"] for point in found.points()]
    assert drawn == [[4], [8], [4, 4], [4, 8], [8, 4], [8, 8]]
    doubled = space("channels = { depth = [1, 3], width = [4, 6], double = true }", architecture="cnn")
    drawn = [doubled.settings(point)["channels"] for point in doubled.points()]
    assert drawn == [[4], [6], [4, 8, 16], [6, 12, 24]]


def test_channels_of_a_resnet_are_a_number() -> None:
    found = values("channels = { low = 4, high = 16 }\nblocks = { low = 1, high = 3 }", architecture="resnet")
    assert found == {"channels": Ints(4, 16), "blocks": Ints(1, 3)}
    assert values("channels = [[4], [4, 8]]", architecture="cnn") == {"channels": Choices(("[4]", "[4, 8]"))}


def test_hidden_layers_of_a_cnn_are_drawn_with_a_dense_readout_alone() -> None:
    found = space('hidden = [[8], [16]]\nreadout = ["global", "dense"]', architecture="cnn")
    assert list(found.points()) == [
        {"readout": "global"}, {"readout": "dense", "hidden": "[8]"}, {"readout": "dense", "hidden": "[16]"}
    ]  # fmt: skip
    [told] = problems("hidden = [[8], [16]]", architecture="cnn")
    assert told.startswith("space.hidden: nothing in this search has it")
    assert space("hidden = [[8], [16]]", architecture="cnn", readout="dense")


def test_an_augmentations_setting_is_drawn_with_it() -> None:
    found = space('augmentation = ["none", "shift"]\nshift_pixels = [1, 2]')
    assert list(found.points()) == [
        {"augmentation": "none"},
        {"augmentation": "shift", "shift_pixels": "1"}, {"augmentation": "shift", "shift_pixels": "2"},
    ]  # fmt: skip


def test_layers_have_a_parameter_each() -> None:
    found = values("hidden = { depth = { low = 1, high = 3 }, width = { low = 4, high = 8 } }")
    assert list(found) == ["hidden.depth", "hidden.width.1", "hidden.width.2", "hidden.width.3"]
    found = values("hidden = { depth = [1, 3], width = [4, 8], same = true }")
    assert found == {"hidden.depth": Choices(("1", "3")), "hidden.width": Choices(("4", "8"))}


def test_components_come_before_what_depends_on_them() -> None:
    text = 'momentum = { low = 0.5, high = 0.9 }\nhidden = [[8], []]\noptimizer = ["sgd", "momentum"]'
    assert list(values(text)) == ["optimizer", "hidden", "momentum"]


def test_free_heads_and_losses_are_pairs_that_fit() -> None:
    found = values('loss = ["ce", "mse"]\nhead = ["identity", "sigmoid"]')
    assert found == {"head, loss": Choices(("identity + ce", "identity + mse", "sigmoid + mse"))}
    found = values('loss = ["ce", "mse"]\nhead = ["identity", "sigmoid"]', match="ignore")
    assert set(found) == {"head", "loss"}


def test_a_condition_may_name_a_linked_value_or_a_setting_it_sets() -> None:
    for when in ('output = "MSE"', 'loss = ["mse"]', '"hidden.depth" = [2]'):
        layers = "hidden = { depth = { low = 1, high = 2 }, width = [4, 8] }"
        found = space(f"{OUTPUT}\n{layers}\nlr = {{ low = 0.1, high = 1.0, when = {{ {when} }} }}")
        assert {"lr" in drawn for drawn in walked(found)} == {True, False}


def walked(found: Space) -> list[dict[str, Any]]:
    """Some points: the first and the last of every choice."""

    def ends(parameter: Parameter, last: bool) -> Any:
        numbers = parameter.values
        if isinstance(numbers, Choices):
            return numbers.names[-1 if last else 0]
        return numbers.high if last else numbers.low

    return [found.walk(partial(ends, last=last))[0] for last in (False, True)]


# -------------------------------------------------------------------------------------- what it must not say

LR = "lr = { low = 0.1, high = 1.0 }\n"
BAD: dict[str, tuple[str, str]] = {
    "an unknown setting": (
        "lrr = [0.1, 1.0]",
        "space.lrr: unknown setting; did you mean 'lr'? Allowed: activation",
    ),
    "no table": ("", "[space]: missing; which settings is the search to vary?"),
    "a number": (
        "lr = 0.1",
        "space.lr = 0.1: allowed: a list of at least two values, or { low = .., high = .. }",
    ),
    "a component": ('optimizer = "sgd"', "space.optimizer = 'sgd': allowed: a list of at least two values"),
    "bounds the wrong way round": (
        "lr = { low = 1.0, high = 0.1 }",
        "space.lr: low = 1 must lie below high = 0.1",
    ),
    "bounds that are one": ("lr = { low = 1, high = 1 }", "space.lr: low = 1 must lie below high = 1"),
    "a bound that is missing": ("lr = { low = 0.1 }", "space.lr.high: missing"),
    "a bound of another name": (
        "lr = { low = 0.1, high = 1.0, logg = true }",
        "space.lr.logg: unknown key; allowed: low, high, log, step, when",
    ),
    "a bound beyond the setting's": (
        "dropout = { low = 0.0, high = 1.5 }",
        "space.dropout = {'low': 0.0, 'high': 1.5}: allowed: less than 1",
    ),
    "no lr at all": (
        "lr = { low = 0.0, high = 1.0 }",
        "space.lr = {'low': 0.0, 'high': 1.0}: allowed: greater than 0",
    ),
    "a bound that is no number": ("lr = { low = nan, high = 1.0 }", "allowed: a finite number"),
    "a bound without end": ("lr = { low = 0.1, high = inf }", "allowed: a finite number"),
    "quoted bounds": (
        'lr = { low = "0.1", high = "1" }',
        "space.lr = {'low': '0.1', 'high': '1'}: allowed: a valid number",
    ),
    "quoted values": ('lr = ["0.1", 1.0]', 'space.lr = "0.1": allowed: a valid number'),
    "floats for a count": (
        "batch_size = { low = 16.0, high = 64.5 }",
        "space.batch_size = {'low': 16.0, 'high': 64.5}: allowed: a valid integer",
    ),
    "log with 0": (
        "weight_decay = { low = 0, high = 0.1, log = true }",
        "space.weight_decay: low = 0: with log = true it must be above 0",
    ),
    "log in words": (
        'lr = { low = 0.1, high = 1, log = "yes" }',
        "space.lr: log = 'yes': allowed: true or false",
    ),
    "log and a step": (
        "lr = { low = 0.1, high = 1, log = true, step = 0.1 }",
        "space.lr: step and log = true: allowed is one of them",
    ),
    "a step backwards": (
        "lr = { low = 0.1, high = 1.0, step = -0.1 }",
        "space.lr: step = -0.1: allowed: a number above 0",
    ),
    "half a step": (
        "epochs = { low = 1, high = 3, step = 0.5 }",
        "space.epochs: step = 0.5: allowed: a whole number above 0",
    ),
    "a step too far": (
        "lr = { low = 0.1, high = 1.0, step = 2 }",
        "space.lr: step = 2 goes beyond high = 1 at once",
    ),
    "steps that miss the end": (
        "epochs = { low = 1, high = 4, step = 2 }",
        "space.epochs: steps of 2 from low = 1 miss high = 4; allowed: 3 or 5",
    ),
    "float steps that miss the end": (
        "lr = { low = 0.1, high = 0.35, step = 0.1 }",
        "steps of 0.1 from low = 0.1 miss high = 0.35; allowed: 0.3 or 0.4",
    ),
    "one value": (
        'optimizer = ["sgd"]',
        "space.optimizer: its one value 'sgd' leaves nothing to choose; put it into [baseline]",
    ),
    "no value": ("lr = []", "space.lr: no value leaves nothing to choose"),
    "a value twice": ("lr = [1, 1.0]", "space.lr: a value is listed twice"),
    "an unknown component": (
        'optimizer = ["sgd", "adma"]',
        "space.optimizer = \"adma\": unknown optimizer; did you mean 'adam'?",
    ),
    "a range of components": (
        'optimizer = { low = "adam", high = "sgd" }',
        "it has no order; allowed: a list of values",
    ),
    "a range of lists": (
        'betas = { low = 0.1, high = 0.9 }\noptimizer = ["sgd", "adam"]',
        "space.betas = {'low': 0.1, 'high': 0.9}: it has no order",
    ),
    "bounds beside values": (
        "lr = { values = [0.1, 0.2], low = 0.1 }",
        "space.lr.low: unknown key beside values; allowed: when",
    ),
    "the data set": (
        'dataset = ["digits", "mnist"]',
        "space.dataset: is the same for all suggestions, or they could not be compared",
    ),
    "the validation split": (
        "val_fraction = [0.1, 0.2]",
        "space.val_fraction: is the same for all suggestions",
    ),
    "when it is measured": (
        'eval_every = ["1 epoch", "2 epochs"]',
        "space.eval_every: is the same for all suggestions",
    ),
    "a linked data set": (
        'x = [{ name = "a", dataset = "digits" }, { name = "b", dataset = "mnist" }]',
        "space.x: dataset is the same for all suggestions",
    ),
    "two budgets": (
        "epochs = [1, 2]\nsteps = [10, 20]",
        "space.epochs and steps: a budget is one or the other",
    ),
    "layers without a width": (
        "hidden = { depth = [1, 2] }",
        "allowed: a list of lists of widths, or { depth = .., width = .. }",
    ),
    "layers of no width": (
        "hidden = { depth = [1, 2], width = [0, 8] }",
        "space.hidden.width = 0: allowed: greater than or equal to 1",
    ),
    "half a layer": (
        "hidden = { depth = { low = 1.5, high = 3 }, width = [4, 8] }",
        "space.hidden.depth = {'low': 1.5, 'high': 3}: allowed: a valid integer",
    ),
    "layers that are the same and doubled": (
        "hidden = { depth = [1, 2], width = [4, 8], same = true, double = true }",
        "twice the width from layer to layer",
    ),
    "layers that are the same in words": (
        'hidden = { depth = [1, 2], width = [4, 8], same = "yes" }',
        "'same': 'yes'}: allowed: ",
    ),
    "linked settings without a name": (
        'x = [{ lr = 0.1 }, { name = "b", lr = 0.2 }]',
        "space.x[0] = {'lr': 0.1}: allowed: a table with a name and settings",
    ),
    "linked settings and a name": (
        'x = ["a", { name = "b", lr = 0.2 }]',
        "space.x[0] = 'a': allowed: a table with a name and settings",
    ),
    "linked settings of one name": (
        'x = [{ name = "a", lr = 0.1 }, { name = "a", lr = 0.2 }]',
        "space.x[1]: the name 'a' is there twice",
    ),
    "one linked value": (
        'x = [{ name = "a", lr = 0.1 }]',
        "space.x: its one value 'a' leaves nothing to choose",
    ),
    "linked settings called like a setting": (
        'lr = [{ name = "a", lr = 0.1 }, { name = "b", lr = 0.2 }]',
        "space.lr: linked settings need a name of their own; 'lr' is a setting",
    ),
    "linked settings called like a column": (
        'number = [{ name = "a", lr = 0.1 }, { name = "b", lr = 0.2 }]',
        "space.number: linked settings need a name of their own; 'number' is a column of the results",
    ),
    "a typo in a linked setting": (
        'x = [{ name = "a", lrr = 0.1 }, { name = "b", lr = 0.2 }]',
        "space.x[0].lrr: unknown setting; did you mean 'lr'?",
    ),
    "a setting that is linked and free": (
        LR + 'x = [{ name = "a", lr = 0.1 }, { name = "b", lr = 0.2 }]',
        "space.lr and space.x both set lr",
    ),
    "a setting that nothing has": (
        'momentum = { low = 0.5, high = 0.9 }\noptimizer = ["adam", "sgd"]',
        "space.momentum: nothing in this search has it; optimizer 'momentum', optimizer 'nesterov'",
    ),
    "listed values that nothing has": (
        "momentum = [0.5, 0.9]",
        "space.momentum: nothing in this search has it",
    ),
    "a head that no loss takes": (
        'head = ["softmax", "sigmoid"]',
        "space.head: 'sigmoid' fits no loss of ce; take it out, or see match = 'ignore'",
    ),
    "a linked head and its loss": (
        'x = [{ name = "a", head = "sigmoid" }, { name = "b", head = "softmax" }]',
        "space.x 'a': loss 'ce' takes logits or probabilities; head 'sigmoid' gives scores",
    ),
    "a linked head and a free loss": (
        'x = [{ name = "a", head = "sigmoid" }, { name = "b", head = "softmax" }]\nloss = ["mse", "ce"]',
        "space.x 'a' with space.loss 'ce': loss 'ce' takes",
    ),
    "a condition that is no table": (
        'lr = { low = 0.1, high = 1, when = "adam" }',
        "space.lr.when = 'adam': allowed: a table such as { optimizer = ['sgd'] }",
    ),
    "a condition of nothing": (
        'lr = { low = 0.1, high = 1, when = { optimiser = "sgd" } }',
        "space.lr.when.optimiser: unknown; did you mean 'optimizer'?",
    ),
    "a condition of itself": (
        "lr = { low = 0.1, high = 1, when = { lr = 0.1 } }",
        "space.lr.when: lr cannot depend on itself",
    ),
    "a condition of what comes later": (
        'optimizer = { values = ["sgd", "adam"], when = { dropout = 0.1 } }\ndropout = [0.1, 0.2]',
        "space.optimizer.when: dropout is drawn after optimizer: components come first",
    ),
    "a condition of a range": (
        "dropout = { low = 0.0, high = 0.5 }\nlr = { low = 0.1, high = 1, when = { dropout = 0.2 } }",
        "space.lr.when: dropout is a number from a range",
    ),
    "a condition of no value": (
        "lr = { low = 0.1, high = 1, when = { optimizer = [] } }",
        "space.lr.when: optimizer = [] can never be true; allowed: sgd",
    ),
    "a condition with a typo": (
        'optimizer = ["sgd", "adam"]\nlr = { low = 0.1, high = 1, when = { optimizer = ["sgd", "adm"] } }',
        "space.lr.when: unknown optimizer 'adm'; did you mean 'adam'?",
    ),
    "a condition that never comes true": (
        'optimizer = ["sgd", "adam"]\nlr = { low = 0.1, high = 1, when = { optimizer = ["adamw"] } }',
        "space.lr.when: optimizer is never adamw; it is adam, sgd",
    ),
    "a condition on a linked name that is not there": (
        OUTPUT + '\nlr = { low = 0.1, high = 1, when = { output = "QL" } }',
        "space.lr.when: output is never QL; it is CE, MSE",
    ),
    "a condition under which nothing has it": (
        'optimizer = ["adam", "momentum"]\nmomentum = { values = [0.5, 0.9], when = { optimizer = "adam" } }',
        "space.momentum: nothing in this search has it where its `when` is true",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_each_problem_of_a_space_is_reported_once(case: str) -> None:
    text, message = BAD[case]
    found = problems(text)
    assert len(found) == 1, found
    assert message in found[0]


@pytest.mark.parametrize("setting", ["dropout = { low = 0.1, high = 0.5 }", 'activation = ["relu", "tanh"]'])
def test_a_network_without_hidden_layers_has_neither_dropout_nor_activation(setting: str) -> None:
    [told] = problems(setting, hidden=[])
    assert told.endswith("a network without hidden layers (hidden = []) has none")
    assert space(f"hidden = [[], [8]]\n{setting}")


def test_a_budget_in_steps_stands_against_one_in_epochs() -> None:
    [told] = problems("epochs = { low = 1, high = 3 }", epochs=5, steps=20)[-1:]
    assert "a budget is one or the other" in told
    assert values("steps = { low = 10, high = 30 }")  # a study file's own epochs are only the baseline's


def test_all_problems_of_a_space_are_reported_at_once() -> None:
    told = problems(
        'lr = { low = 1, high = 0.1 }\noptimzer = ["sgd"]\nmomentum = [0.1, 0.2]\nbatch_size = [16]',
        activation="rellu",
        head="sofmax",
    )
    assert [line.partition(":")[0] for line in told] == [
        'baseline.activation = "rellu"', 'baseline.head = "sofmax"',
        "space.lr", "space.optimzer", "space.batch_size", "space.momentum",
    ]  # fmt: skip


def test_a_misspelt_value_is_one_problem() -> None:
    told = problems('head = ["softmax", "sigmoid"]\nloss = ["ce", "nope"]')
    assert told == ['space.loss = "nope": unknown loss; allowed: ccql, ce, mse, nll, ql']

"""What mutated study files are made of: studies to begin with, values that fit, and values that do not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

SMALL: Mapping[str, Any] = {"dataset": "digits", "hidden": [4], "epochs": 1}
OUTPUTS = [
    {"name": "softmax + CE", "head": "identity", "loss": "ce"},
    {"name": "softmax + QL", "head": "softmax", "loss": "ql", "lr": 0.3},
]
BASES: Sequence[Mapping[str, Any]] = (
    {"study": {"name": "one", "seeds": 1}, "baseline": SMALL},
    {
        "study": {"name": "grid", "seeds": 2, "metrics": ["brier"], "keep_weights": "all"},
        "baseline": {**SMALL, "eval_every": "20 steps"},
        "axes": {"activation": ["relu", "tanh"], "output": OUTPUTS},
        "contrasts": {"margin": 0.01, "levels": [{"axis": "activation", "within": ["output"]}]},
    },
    {
        "study": {"name": "factor", "design": "one-factor", "seeds": [3, 5], "resample_split": True},
        "baseline": {**SMALL, "batch_size": 64, "optimizer": "adam", "label_noise": 0.1},
        "axes": {"lr": [0.01, 0.1], "dropout": [0.0, 0.5]},
        "contrasts": {"metric": "val_accuracy", "alpha": 0.1, "pairs": [["lr=0.1", "lr=0.01"]]},
    },
    {
        "study": {"name": "ladder", "design": "ladder", "seeds": 1, "keep_predictions": ["val", "test"]},
        "baseline": {"dataset": "digits", "hidden": [4], "steps": 30, "sampling": "replacement"},
        "steps": [{"name": "ReLU", "activation": "relu"}, {"name": "Adam", "optimizer": "adam", "lr": 0.01}],
    },
    {
        "study": {"name": "tune", "seeds": 1},
        "baseline": SMALL,
        "axes": {"optimizer": ["sgd", "adam"]},
        "tune": {"seeds": 1, "budget": 2, "space": {"lr": {"low": 0.01, "high": 1.0, "log": True}}},
    },
    {
        "study": {"name": "search", "design": "search", "seeds": 1},
        "baseline": {**SMALL, "epochs": 2},
        "search": {"suggestions": 4, "batch": 2, "pruner": {"name": "halving", "reduction": 2}},
        "space": {
            "lr": {"low": 0.001, "high": 1.0, "log": True},
            "optimizer": ["sgd", "momentum", "adam"],
            "momentum": {"low": 0.0, "high": 0.9, "step": 0.3, "when": {"optimizer": ["momentum"]}},
            "hidden": {"depth": {"low": 1, "high": 2}, "width": [4, 8]},
            "output": OUTPUTS,
        },
    },
    {
        "study": {"name": "two", "design": "search", "seeds": 1, "metrics": ["top3"]},
        "baseline": SMALL,
        "search": {"suggestions": 2, "batch": 2, "sampler": "nsga2", "objective": ["val_loss", "parameters"],
                   "diverged": "fail", "seeds": [77], "storage": "journal"},
        "space": {"batch_size": {"low": 16, "high": 64}, "activation": ["relu", "elu"]},
    },
    {
        "study": {"name": "own", "seeds": 1},
        "baseline": {**SMALL, "dataset": "scans"},
        "datasets": {"scans": {"format": "png", "path": ".", "classes": ["a", "b"], "order": "number"}},
    },
)  # fmt: skip

FITTING: Mapping[str, Sequence[Any]] = {
    "dataset": ["digits", "mnist"], "preprocessing": ["unit", "signed", "invert", "raw", "standardize"],
    "val_fraction": [0.1, 0.2, 0.0], "val_split": ["stratified", "balanced", "random"], "split_seed": [0, 7],
    "architecture": ["mlp"], "hidden": [[], [4], [8, 4], [3, 3, 3]], "dropout": [0.0, 0.2],
    "activation": ["relu", "tanh", "gelu", "sigmoid", "softplus"], "initial_weights": ["he_normal", "normal"],
    "head": ["identity", "softmax", "sigmoid", "log_softmax"], "loss": ["ce", "nll", "mse", "ql", "ccql"],
    "optimizer": ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"], "lr": [0.01, 0.3, 1, 1e-30],
    "momentum": [0.0, 0.5], "betas": [[0.9, 0.99]], "alpha": [0.9], "eps": [1e-8, 0.0],
    "weight_decay": [0.0, 0.01], "schedule": ["constant", "linear", "exponential", "cosine"],
    "gamma": [0.9, 1.0], "batch_size": [1, 32, 100], "epochs": [1, 2], "steps": [1, 20],
    "sampling": ["shuffle", "sequential", "replacement"], "match": ["kind", "ignore"],
    "eval_every": ["1 epoch", "2 epochs", "5 steps", 1], "label_noise": [0.0, 0.3],
    "label_noise_seed": [0, 3], "start_seed": [0, 3], "order_seed": [0, 3], "dropout_seed": [0, 3],
    "augmentation_seed": [0, 3], "seed.start": [2, [0, 5]], "seed.all": [[1]],
    "label_smoothing": [0.0, 0.1], "name": ["a", "A-1.b", "1.10"], "hypothesis": ["", "Better?"],
    "design": ["grid", "one-factor", "ladder", "search"], "seeds": [1, 2, [0, 5]],
    "metrics": [[], ["top3"], "brier"], "resample_split": [True, False], "plugins": [[]],
    "keep_predictions": [[], ["val", "test"]], "keep_weights": ["best", "all", "none"],
    "phase": ["fixed", "tuned", "search", "finalists", "confirmed"],
    "metric": ["test_accuracy", "val_accuracy"],
    "margin": [0.001, 0.1], "alpha ": [0.05], "declared": [True, False], "changed_after": [0, 3],
    "until": [{"val_accuracy": 0.9}, {"train_loss": 1.0}, {}], "target_after": [0, 3],
    "pairs": [[], [["a", "b"]]], "levels": [[], [{"axis": "activation"}]], "axis": ["activation", "lr"],
    "within": [[], ["output"]], "reference": ["relu", 0.1], "budget": [2, 3], "log": [True, False],
    "low": [0.001, 1], "high": [2, 1.0], "step": [1, 0.5],
    "sampler": ["tpe", "random", "nsga2", "cmaes", "grid"],
    "pruner": ["none", "median", {"name": "hyperband"}, {"name": "percentile", "percentile": 50.0}],
    "suggestions": [2, 6], "batch": [1, 4], "objective": ["val_loss", ["val_accuracy", "seconds"]],
    "direction": ["maximize", ["minimize"]], "diverged": ["fail", 0.0, 10.0], "seed": [0, 9],
    "storage": ["sqlite", "journal", "sqlite:///x.db"], "format": ["png", "npy", "idx"], "path": [".", "no"],
    "classes": [["a", "b", "c"]], "pixel_max": [255, 16], "order": ["name", "number"],
    "depth": [1, {"low": 1, "high": 2}],
    "width": [4, {"low": 2, "high": 8}], "same": [True], "when": [{"optimizer": ["sgd"]}], "values": [[1, 2]],
    "space": [{"lr": [0.1, 0.2]}], "tune": [{"lr": [0.1, 1.0]}], "startup": [0], "warmup": [2],
    "patience": [1],
    "reduction": [2, 3], "first": [1], "percentile": [25.0], "ccql_weight": [1.0], "dampening": [0.1],
}  # fmt: skip
"""Key -> values that it may have somewhere."""

NAMES = [
    "", " ", ".", "..", "../x", "/", "a/b", "None", "nan", "1.10", "1e-3", "true", "baseline", "winner",
    "trial_id", "label", "a,b", "a=b", 'say "x"', "it's", "[/]", "[bold]x[/bold]", "$x$", "$", "$a $b", "_{",
    "\\frac", "a\rb", "a\nb", "a\tb", "\u0000", "\u001b[31m", "\u200b", "\u202ex", "=1+1", "@x", "-x", "+x",
    "ß",
    "中文", "한국어", "😀", "\ud83d".encode("utf-16", "surrogatepass").decode("utf-16", "replace"), "x" * 300,
    "CON", "~nobody_there/x", "%s", "{}", "{0}", "<script>", "&amp;", "name", "tune", "test_accuracy",
]  # fmt: skip
"""Texts that are somebody's markup, path, formula or number."""
NUMBERS = [
    0, -1, 1, 2, 3, 255, 256, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 10**20, -(2**63), 0.0, -0.0, 0.5,
    1.0,
    1e-320, 1e-45, 1e38, 1e300, float("inf"), float("-inf"), float("nan"), 0.1 + 0.2,
]  # fmt: skip
LARGE = [10**6, 20261128, 10**9, 10**12, 10**100]
"""Counts that are sound as numbers, and no machine has the room or the time for."""
OTHERS: Sequence[Any] = [
    True, False, [], {}, [[]], [{}], {"name": ""}, {"name": "x"}, {"low": 1}, {"low": 1, "high": 0},
    {"low": 0.0, "high": 1.0, "log": True}, {"low": 1, "high": 9, "step": 5}, {"values": []},
    {"values": [1, 1]}, [1, "a"], [1, 1], [None] * 0, dt.date(2026, 1, 1), dt.time(1, 2),
    dt.datetime(2026, 1, 1, 1, 1, tzinfo=dt.UTC), [[1, 2], [1, 2]], ["relu", "relu"],
    "1 step", "0 epochs", "1 epochs ", "9999999999 steps", [0.9, 1.0], [-1], [0], [4, 0], [1.5],
]  # fmt: skip

SLIPS: Sequence[Mapping[str, Any]] = (
    {"axes": {"activation": []}}, {"baseline": {"batch_size": 5000}}, {"space": {"batch_size": [32, 5000]}},
    {"study": {"phase": "confirmed"}}, {"study": {"phase": "tuning"}}, {"study": {"seeds": [1, 1]}},
    {"contrasts": {"pairs": [["baseline", "baseline"]]}}, {"contrasts": {"pairs": [["lr=0.1", "baseline"]]}},
    {"contrasts": {"levels": [{"axis": "dataset"}]}},
    {"contrasts": {"levels": [{"axis": "activation", "within": ["activation"]}]}},
    {"search": {"sampler": "gp"}},
    {"search": {"sampler": "cmaes"}, "space": {"activation": ["relu", "tanh"]}},
    {"search": {"sampler": "cmaes", "pruner": "median"}}, {"search": {"sampler": "random", "pruner": "none"}},
    {"search": {"sampler": "qmc", "pruner": "halving"}}, {"search": {"sampler": "grid", "pruner": "halving"}},
    {"search": {"sampler": "nsga2", "pruner": "none"}}, {"search": {"pruner": {"reduction": 3}}},
    {"search": {"objective": []}}, {"search": {"objective": "test_accuracy"}},
    {"search": {"storage": ":memory:"}},
    {"search": {"storage": "sqlite:///:memory:"}}, {"search": {"storage": "somewhere"}},
    {"search": {"objective": ["val_loss"], "direction": ["minimize", "maximize"], "pruner": "none"}},
    {"search": {"objective": "val_top3"}, "study": {"metrics": ["top3"]}},
    {"search": {"objective": "val_top3"}},
    {"search": {"diverged": 2.0}}, {"search": {"objective": "val_loss", "diverged": -1.0}},
    {"search": {"objective": ["val_loss", "val_loss"], "pruner": "none", "sampler": "nsga2"}},
    {"search": {"objective": ["parameters"]}},
    {"search": {"objective": ["val_loss", "seconds"], "sampler": "gp"}},
    {"search": {"seeds": [9, 9]}}, {"search": {"seeds": [0]}}, {"search": {"suggestions": 1000}},
    {"search": {"objective": ["val_loss", "parameters"], "pruner": "median", "sampler": "nsga2"}},
    {"search": {"objective": "val_loss", "direction": "maximize"}},
    {"search": {"objective": ["val_loss", "parameters"], "diverged": 9.0, "pruner": "none",
    "sampler": "nsga2"}},
    {"space": {"lr": {"low": 0.0, "high": 1.0, "log": True}}}, {"space": {"epochs": [1, 2], "steps": [3, 4]}},
    {"space": {"lr": {"low": 0.1, "high": 1.0, "log": True, "step": 0.1}}},
    {"space": {"head": ["identity", "softmax"],
    "loss": {"values": ["ce", "ql"], "when": {"optimizer": "sgd"}}}},
    {"space": {"head": ["identity", "softmax"], "loss": ["ce", "ql"]}},
    {"space": {"head": ["sigmoid", "softmax"]}},
    {"space": {"activation": {"values": ["relu", "tanh"], "low": 1}}}, {"space": {"lr": {"low": 1, "up": 2}}},
    {"space": {"momentum": {"low": 0.1, "high": 0.9, "when": {"momentum": ["0.1"]}}}},
    {"space": {"batch_size": {"low": 8, "high": 64, "when": {"lr": ["0.1"]}}}},
    {"space": {"optimizer": {"values": ["sgd", "adam"], "when": {"batch_size": ["8"]}},
    "batch_size": [8, 16]}},
    {"space": {"hidden": {"depth": 1}}}, {"space": {"dataset": ["digits", "mnist"]}},
    {"space": {"schedule": ["linear"]}},
    {"space": {"output": {"values": OUTPUTS, "when": {"nothing": ["x"]}}}},
    {"space": {"activation": ["relu", "relu"]}},
    {"tune": {"space": {"lr": {"low": 0.0, "high": 1.0, "log": True}}}}, {"tune": {"space": [1]}},
    {"tune": {"space": {"epochs": [1, 2]}}}, {"tune": {"space": {"lr": [0.1]}}}, {"tune": {"seeds": [0]}},
    {"tune": {"space": {"optimizer": ["sgd", "adam"]}}}, {"tune": {"budget": 5, "space": {"lr": [0.1, 0.2]}}},
    {"baseline": {"val_fraction": 0.0}}, {"axes": {"val_fraction": [0.0, 0.1]}},
    {"baseline": {"epochs": 1, "steps": 1}},
    {"datasets": {"1 x": {"format": "png", "path": "."}}},
    {"datasets": {"digits": {"format": "npy", "path": "."}}},
    {"datasets": {"a": 1}}, {"datasets": {"b": {"format": "npy", "path": ".", "order": "number"}}},
    {"datasets": {"c": {"format": "idx", "path": ".", "classes": ["x", "x"]}}},
    {"contrasts": {"metric": "val_accuracy"}}, {"axes": {"brier": OUTPUTS}, "study": {"metrics": ["brier"]}},
    {"study": {"metrics": ["top4"]}}, {"study": {"metrics": ["top3", "top3"]}},
    {"study": {"plugins": ["none.py"]}},
    {"axes": {"seed": OUTPUTS}}, {"axes": {"lr": OUTPUTS}}, {"axes": {"lr": [0.1, 0.1]}},
    {"axes": {"x": [1]}},
    {"axes": {"one": OUTPUTS, "two": OUTPUTS}}, {"steps": [{"name": "x"}, {"name": "x"}]}, {"steps": []},
    {"axes": {"dataset": ["digits", "mnist"]}},
    {"study": {"resample_split": True}, "baseline": {"split_seed": 1}},
    {"axes": {"seed": {"start": 1}}}, {"axes": {"seed.begin": 2}}, {"axes": {"seed.dropout": 2}},
    {"axes": {"seed.order": 2}, "tune": {"space": {"lr": [0.1, 0.2]}}},
    {"chosen": {"a": {"lr": 0.1}}}, {"chosen": {"a": 1}}, {"study": {"seeds": 0}}, {"study": {"seeds": []}},
)  # fmt: skip
"""What people get wrong: each is merged into a study, and wants a word of the checker's own."""

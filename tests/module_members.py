"""Members of stacks of modules, for tests of their states: some that share a stack in every way they may."""

from __future__ import annotations

from typing import Any

from harness.planning.grouping import side_by_side
from harness.study.trials import Arm, Trial, resolve


def trial(name: str, seed: int = 0, **settings: Any) -> Trial:
    base: dict[str, Any] = {
        "dataset": "digits", "steps": 100, "batch_size": 16, "eval_every": "25 steps", "architecture": "cnn",
        "channels": [3, 4], "norm": "batch", "dropout": 0.2,
    }  # fmt: skip
    return Trial(name, Arm(name, resolve({**base, **settings})), seed)


MEMBERS = side_by_side([
    trial("a"), trial("b", 1, optimizer="adam", amsgrad=True, activation="tanh"),
    trial("c", optimizer="momentum", dropout=0.4), trial("d", 1, optimizer="momentum", lr=0.01),
])  # fmt: skip
CASES = {
    "cnn": MEMBERS,
    "augmented": [trial("e", augmentation="shift"), trial("f", augmentation="shift", activation="tanh")],
    "mlp": [
        trial(f"g{seed}", seed, architecture="mlp", hidden=[6, 6], norm="batch", optimizer="adam")
        for seed in (0, 1)
    ],
}

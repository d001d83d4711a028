"""An Optuna study of one's own, and an optimizer that is not Optuna's, evaluated by stacks.

python docs/examples/own_optimizer.py
"""

# ruff: noqa: T201 (it prints what it finds)

import numpy as np
import optuna

import harness

SPACE = {
    "study": {"name": "own_optimizer", "design": "search"},
    "baseline": {"dataset": "digits", "hidden": [16], "epochs": 3},
    "space": {"lr": {"low": 1e-3, "high": 1.0, "log": True}, "activation": ["relu", "tanh"]},
}


def with_optuna(space):
    """Optimize a study with its own sampler and pruner."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial({"lr": 0.1, "activation": "tanh"})
    frame = harness.StackedStudy(study, space).optimize(16, batch=8)
    print(frame[["trial", "state", "val_accuracy", "lr", "activation"]])
    print("best:", study.best_params, study.best_value)


def with_own_optimizer(space):
    """Ask and tell: a random walk in the logarithm of lr that keeps what is better."""
    stacked, rng = harness.StackedStudy(None, space), np.random.default_rng(0)
    best, lr = -1.0, 0.1
    for _ in range(2):
        rates = np.clip(lr * 10 ** rng.normal(0, 0.3, size=8), 1e-3, 1.0)
        values = stacked.evaluate([{"lr": rate, "activation": "relu"} for rate in rates])["val_accuracy"]
        if values.max() > best:
            best, lr = values.max(), rates[values.argmax()]
    print(f"best: lr {lr:.3g}, {best:.3f}")


if __name__ == "__main__":  # worker processes run this file again
    space = harness.parse(SPACE)
    with_optuna(space)
    with_own_optimizer(space)

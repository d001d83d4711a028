"""Two parts of a Keras network: sigmoids in place of a softmax, and a rate that decays by step."""

import numpy as np
import torch
from torch import Tensor

from harness.axes.heads import heads
from harness.axes.schedules import Clock, Factors, schedules


@heads.register("normalised_sigmoid", kind="probabilities")
def normalised_sigmoid(z: Tensor) -> Tensor:
    """A sigmoid of each class, over their sum: what Keras' categorical cross-entropy makes of sigmoids."""
    scores = torch.sigmoid(z)
    return scores / scores.sum(-1, keepdim=True)


@schedules.register("inverse_time")
def inverse_time(clock: Clock, *, rate_decay: float = 2e-6) -> Factors:
    """1 / (1 + rate_decay * step): `decay` of Keras' first optimizers."""
    return np.asarray(1 / (1 + rate_decay * clock.step), np.float64)

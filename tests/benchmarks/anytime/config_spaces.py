"""A problem's space in ConfigSpace, in which SMAC and DEHB search."""

from __future__ import annotations

import ConfigSpace
from problem import Problem


def space(problem: Problem, seed: int) -> ConfigSpace.ConfigurationSpace:
    """Translate a problem; ConfigSpace's log-integers are even in their logarithm from end to end."""
    made = ConfigSpace.ConfigurationSpace(seed=seed)
    for parameter in problem.parameters:
        if parameter.whole:
            ends = (int(parameter.low), int(parameter.high))
            made.add(ConfigSpace.Integer(parameter.name, ends, log=parameter.log))
        else:
            bounds = (parameter.low, parameter.high)
            made.add(ConfigSpace.Float(parameter.name, bounds, log=parameter.log))
    return made

"""The forms in which a backward pass is written, and calls of one in each of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.check import calling
from harness.check.calling import Array, OwnFunction
from harness.errors import ComponentError
from harness.text import count

OUTPUT_NAMES = {
    "y", "f", "p", "s", "a", "out", "output", "probs", "probabilities", "activated", "softmax", "sigmoid",
}  # fmt: skip
"""Names of parameters by which a person says that backward takes what forward gave."""


@dataclass(frozen=True)
class BackwardForm:
    """A way in which backward is called.

    Args:
        vjp: whether it takes the gradient at forward's result first, and gives the one at the inputs.
        takes: what it takes else: "inputs", "output" (what forward gave), "both", or "nothing", where an
            object's forward has kept what its backward needs.
    """

    vjp: bool
    takes: str

    def arguments(
        self, grad: Array, inputs: Sequence[Array], fixed: Sequence[Array], y: Array
    ) -> list[Array]:
        """Give the arguments of a call."""
        given = {
            "inputs": [*inputs, *fixed],
            "output": [y, *fixed],
            "both": [*inputs, *fixed, y],
            "nothing": [],
        }[self.takes]
        return [*([grad] if self.vjp else []), *given]

    def told(self, letters: str) -> str:
        """Write the arguments down: "grad, x"."""
        given = {"inputs": letters, "output": "y", "both": f"{letters}, y", "nothing": ""}[self.takes]
        return ", ".join(filter(None, ["grad" if self.vjp else "", given]))


def forms(
    forward: Callable[..., object],
    backward: Callable[..., object],
    arguments: tuple[int, int],
    *,
    alike: bool,
) -> Iterator[BackwardForm]:
    """Yield the forms that backward's parameters allow, the usual ones first.

    Args:
        forward: the function; a method of the object that backward is one of may keep what backward needs.
        backward: its derivative.
        arguments: how many arrays forward is differentiated by, and how many more it takes.
        alike: whether what it gives has the shape of what it is given, so that its derivative may take it.
    """
    inputs, fixed = arguments
    n = inputs + fixed
    needed, most = calling.positional(backward) or (1, n + 1)
    if of_one_object(forward, backward) or most == 0:
        for vjp in (True, False):
            if needed <= vjp <= most:
                yield BackwardForm(vjp, "nothing")
    if needed <= n + 1 <= most:
        yield BackwardForm(vjp=True, takes="inputs")
    if needed <= n <= most:
        yield BackwardForm(vjp=False, takes="inputs")
    if needed == n + 2:
        yield BackwardForm(vjp=True, takes="both")
    if inputs == 1 and alike:
        for vjp in (True, False):
            if needed <= 1 + fixed + vjp <= most:
                yield BackwardForm(vjp, "output")


def of_one_object(forward: object, backward: object) -> bool:
    """Tell whether two functions are methods of one object."""
    owner = getattr(forward, "__self__", None)
    return owner is not None and owner is getattr(backward, "__self__", None)


def named_output(backward: Callable[..., object], form: BackwardForm) -> bool:
    """Tell whether the name of backward's parameter says that it takes forward's result."""
    try:
        names = list(inspect.signature(backward).parameters)
    except (TypeError, ValueError):
        return False
    return any(name.lower() in OUTPUT_NAMES for name in names[int(form.vjp) : int(form.vjp) + 1])


def call(own: OwnFunction, arguments: Sequence[Array], several: int) -> list[Array]:
    """Give backward's arrays, one for each input; `several` is how many a tuple should have, or 0."""
    result = own.raw(*map(own.given, arguments))
    parts = list(result) if several and isinstance(result, (tuple, list)) else [result]
    if len(parts) != max(several, 1):
        raise ComponentError(
            f"{own.name} gives {count(len(parts), 'gradient')}; forward takes {several} arrays: give a "
            "tuple, one gradient for each"
        )
    return [calling.as_array(own.name, part).astype(float) for part in parts]

"""A person's function, called with NumPy arrays or tensors, in double or single precision, as it was written.

Nothing of a call stays: what decides numbers in the whole process is put back, and what the function prints
goes to stderr.
"""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.check.result import CheckResult
from harness.errors import ComponentError, MachineError, UsageError, did_you_mean, in_words
from harness.registry import place
from harness.registry.digest import code_of, inner_of
from harness.settings import Setting
from harness.system.lazy import torch
from harness.system.process_state import kept

Array: TypeAlias = NDArray[Any]
Library = Literal["torch", "numpy"]
DEPTH = 4  # calls of helpers that are followed to find which library a function uses


@dataclass
class Findings:
    """A check's findings as it goes on: what `CheckResult` will say."""

    what: str
    problems: list[str] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def result(self) -> CheckResult:
        """Give the result."""
        problems, notes = dict.fromkeys(self.problems), dict.fromkeys(self.notes)
        return CheckResult(self.what, tuple(problems), tuple(self.compared), tuple(notes))


@contextmanager
def checking(what: str) -> Iterator[Findings]:
    """Collect findings; a fault that ends the check is its last problem, and the process is as it was."""
    findings = Findings(what)
    loaded = "torch" in sys.modules
    generator = torch.random.fork_rng(devices=[]) if loaded else nullcontext()
    with kept(), np.errstate(all="ignore"), generator:
        warnings.simplefilter("ignore")
        try:
            yield findings
        except ComponentError as fault:
            findings.problems.append(str(fault))


def name_of(function: Any, unnamed: str = "your function") -> str:
    """Name a function as its author does; a lambda has no name."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return unnamed if name == "<lambda>" else str(name)


def check_callable(role: str, function: object) -> None:
    """Raise UsageError where something that should be a function is none."""
    if inspect.isclass(function):
        raise UsageError(
            f"{role} = {function.__name__}: a class. Give an instance of it: {function.__name__}()"
        )
    if not callable(function):
        raise UsageError(
            f"{role} = {function!r:.80}: not a function. Give the function itself, without calling it: "
            "my_function, not my_function(..)"
        )


def checked_settings(what: str, known: Mapping[str, Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a component in canonical form.

    Raises:
        UsageError: the component does not have one of them, or a study could not have the value.
    """
    checked = {}
    for name, value in given.items():
        if name not in known:
            others = did_you_mean(name, known) if known else "it has none"
            raise UsageError(f"{name} is no setting of {what}; {others}")
        try:
            checked[name] = known[name].check(value)
        except ValueError as error:
            raise UsageError(f"{name} = {value!r:.80}: allowed: {error}") from error
    return checked


@dataclass(frozen=True)
class OwnFunction:
    """A person's function of arrays, by the library and the precision with which it works.

    Args:
        name: what messages call it.
        function: the function.
        library: whether it is given tensors or NumPy arrays.
        dtype: the float type of what it is given: float64, or float32 where that fails.
    """

    name: str
    function: Callable[..., Any]
    library: Library
    dtype: type[np.floating[Any]] = np.float64

    def given(self, array: Array) -> Any:
        """Turn an array into what the function is given, a copy; whole numbers stay whole numbers."""
        copy = np.array(array, dtype=self.dtype if array.dtype.kind == "f" else array.dtype)
        return torch.from_numpy(copy) if self.library == "torch" else copy

    def raw(self, *given: Any) -> Any:
        """Call it; raise ComponentError if it raises or changes what it was given."""
        before = [x.detach().clone() if hasattr(x, "detach") else np.array(x) for x in given]
        try:
            result = self.function(*given)
        except (UsageError, MachineError, KeyboardInterrupt):
            raise
        except BaseException as error:
            shapes = ", ".join(str(tuple(x.shape)) for x in given)
            where = line_of(error, self.function)
            raise ComponentError(
                f"{self.name} raises {in_words(error)} ({where}called with {shapes}){hint_of(error)}"
            ) from error
        for number, (x, old) in enumerate(zip(given, before, strict=True), 1):
            if not np.array_equal(_plain(x), _plain(old), equal_nan=_plain(x).dtype.kind == "f"):
                raise ComponentError(
                    f"{self.name} changes its argument {number} in place, which others read: make a new array"
                )
        return result

    def __call__(self, *arrays: Array) -> Array:
        """Call it with arrays and give its result as an array."""
        return as_array(self.name, self.raw(*map(self.given, arrays)))

    def again(self, *arrays: Array) -> Array:
        """Call it where it has been called before: whether it changes what it is given is not looked at."""
        try:
            return np.asarray(_plain(self.function(*map(self.given, arrays))), dtype=np.float64)
        except Exception:  # noqa: BLE001 (then with words for it)
            return self(*arrays).astype(np.float64)

    def stays_in_torch(self, *arrays: Array) -> bool:
        """Tell whether a function of tensors hands none to NumPy, which refuses those with a gradient."""
        given = [self.given(x) for x in arrays]
        try:
            self.function(*(x.requires_grad_() if x.is_floating_point() else x for x in given))
        except (RuntimeError, TypeError) as error:
            return "numpy" not in str(error).lower()
        except Exception:  # noqa: BLE001 (whatever it is, it is not for want of a gradient)
            return True
        return True

    def with_gradient(
        self, weights: Callable[[Array], Array], x: Array, *rest: Array
    ) -> tuple[Array, Array | None]:
        """Give its value and, of a function in PyTorch, autograd's gradient of <weights(value), value> at x.

        None where PyTorch has no gradient.
        """
        if self.library != "torch":
            return self(x, *rest), None
        leaf = self.given(x).requires_grad_()
        result = self.raw(leaf, *map(self.given, rest))
        value = as_array(self.name, result)
        if not getattr(result, "requires_grad", False):
            return value, None
        grad = torch.from_numpy(np.asarray(weights(value), dtype=value.dtype))
        (derived,) = torch.autograd.grad(result, leaf, grad, allow_unused=True)
        return value, np.zeros(x.shape) if derived is None else derived.numpy()


def find(
    name: str, function: Callable[..., Any], *arrays: Array, usual: Library = "torch"
) -> tuple[OwnFunction, Array]:
    """Find the library and precision with which a function works, by trying; give its result, too.

    `usual` is the library of a function that mentions none.

    Raises:
        ComponentError: it fails with all; the words are those of the most probable one.
    """
    first: ComponentError | None = None
    for library in libraries(function, usual):
        for dtype in (np.float64, np.float32):
            own = OwnFunction(name, function, library, dtype)
            try:
                result = own(*arrays)
                if library == "numpy" or own.stays_in_torch(*arrays):
                    return own, result
            except ComponentError as fault:
                first = first or fault
    if first is None:
        raise ComponentError(f"{name} works neither with NumPy's arrays nor with PyTorch's tensors")
    raise first


def as_array(name: str, result: object) -> Array:
    """Give a function's result as an array; raise ComponentError if it is not of numbers."""
    if result is None:
        raise ComponentError(f"{name} gives None: is its `return` missing?")
    if _is_module(result):
        raise ComponentError(f"{name} gives a module: give an instance, {name}(), not the class")
    try:
        array = np.asarray(_plain(result))
    except (TypeError, ValueError, RuntimeError):
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        shown = f"{type(result).__name__}: {result!r:.60}"
        raise ComponentError(f"{name} gives {shown}; allowed: an array or tensor of real numbers")
    return array


def accepted(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the settings that a function has a parameter for."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(settings)
    return {name: value for name, value in settings.items() if name in parameters}


def positional(function: Callable[..., Any]) -> tuple[int, int] | None:
    """Count the positional parameters that a function needs and those that it takes; None if unknown."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    several = [parameter for parameter in parameters if parameter.kind in kinds]
    needed = sum(parameter.default is parameter.empty for parameter in several)
    endless = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return needed, sys.maxsize if endless else len(several)


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _is_module(value: object) -> bool:
    return ("torch.nn.modules.module", "Module") in [(k.__module__, k.__name__) for k in type(value).__mro__]


def hint_of(error: BaseException) -> str:
    """Say what the cause of an exception may be, or ""."""
    text = str(error)
    if "could not be broadcast" in text or "must match the size of tensor" in text:
        return ": is keepdims=True (keepdim=True in PyTorch) missing in a sum or maximum?"
    return ""


def line_of(error: BaseException, function: Callable[..., Any]) -> str:
    """Say in which line of a person's code an exception was raised: "own.py:7, "."""
    code = code_of(function) or code_of(vars(type(function)).get("__call__"))
    lines = [
        place(frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if code is not None and frame.f_code.co_filename == code.co_filename
    ]
    return f"{lines[-1]}, " if lines else ""


def libraries(function: Callable[..., Any], usual: Library) -> Sequence[Library]:
    """Order the libraries by how probable it is that a function was written for them."""
    used = set(_used(function, DEPTH))
    first = "torch" if "torch" in used else "numpy" if "numpy" in used else usual
    return ("numpy", "torch") if first == "numpy" else ("torch", "numpy")


def _used(function: Any, depth: int) -> Iterator[str]:
    """Yield the packages whose names a function's code and its helpers' code mention."""
    function = inner_of(function)
    yield _package(function)
    yield _package(type(function))
    if code_of(function) is None:
        function = vars(type(function)).get("__call__")
    code = code_of(function)
    if code is None or depth == 0:
        return
    scope = getattr(function, "__globals__", {})
    cells = zip(code.co_freevars, getattr(function, "__closure__", None) or (), strict=False)
    scope = {**scope, **{name: cell.cell_contents for name, cell in cells if _filled(cell)}}
    for name in _names(code):
        value = scope.get(name)
        if isinstance(value, types.FunctionType) and value is not function:
            yield from _used(value, depth - 1)
        elif value is not None:
            yield _package(value)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _names(code: types.CodeType) -> Iterator[str]:
    yield from (*code.co_names, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _package(value: Any) -> str:
    module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    top = str(module or "").partition(".")[0]
    return "numpy" if top == "scipy" else top

"""Networks of a person's own, in NumPy: a class in a Python file or in a notebook, which an engine trains.

    class Network:
        def __init__(self, weights, settings): ...   # [(W (out, in), b (out,)), ...]: the trial's start
        parameters = [...]                           # the arrays that are trained, changed in place
        def forward(self, x): ...                    # x (B, D) -> the output (B, C)
        def gradients(self, x, target): ...          # target (B, C) -> one array a parameter

`named` finds one and gives the name of its engine, "own:my_network@0123456789", in which the digits are a
digest of the class and of all that it reads: a changed network has another name. `Network` calls one, with
checks of what comes back.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from harness import notes
from harness.axes import plugins
from harness.axes.architectures import initial_layers
from harness.axes.formulas import Array
from harness.data.arm_settings import Settings
from harness.data.samples import inputs_of
from harness.errors import ComponentError, MachineError, UsageError, did_you_mean, few, in_words
from harness.registry import NOTEBOOK, digest, python_files
from harness.rng import stream

ENGINES = ("stacked", "loop", "numpy")
"""Names of the harness's own engines."""
PREFIX = "own:"
NAME = re.compile(rf"{PREFIX}\w+@[0-9a-f]{{10}}")
"""Form of the name of an engine that trains a person's own network."""
NEEDED = ("forward", "gradients")
CLASS = "Network"
FLOATS = (np.float32, np.float64)
FORM = "class Network with __init__(self, weights, settings), parameters, forward(x) and gradients(x, target)"


@dataclass(frozen=True)
class NetworkClass:
    """A person's class of networks: `name` is its engine's, `file` is None of a class given in Python.

    `unseen` says what the class reads that its name does not tell.
    """

    name: str
    kind: type
    label: str
    file: Path | None = None
    unseen: tuple[str, ...] = ()

    def has(self, method: str) -> bool:
        """Tell whether the class has an optional method: `losses`, `step`."""
        return callable(getattr(self.kind, method, None))

    @property
    def takes_masks(self) -> bool:
        """Tell whether `gradients` has a parameter `masks`: dropout's, one (B, out) a hidden layer."""
        return "masks" in inspect.signature(getattr(self.kind, NEEDED[1])).parameters


_known: dict[str, NetworkClass] = {}


def is_own(engine: str) -> bool:
    """Tell whether an engine's name is that of a person's own network."""
    return engine.startswith(PREFIX)


def label_of(engine: str) -> str:
    """Give the name of an engine for a person: without its digest."""
    return engine.partition("@")[0]


def is_known(engine: str) -> bool:
    """Tell whether this process has the network of an engine's name."""
    return engine in _known


def find(engine: str) -> NetworkClass:
    """Return the network of an engine's name.

    Raises:
        MachineError: this process has not loaded it, or its file has changed since.
    """
    if engine not in _known:
        raise MachineError(
            f"the network of engine {engine} is not here: its file changed while the study was running, or "
            "another one trained this. Start it again; one worker (workers 1) trains in one process"
        )
    return _known[engine]


def named(engine: object) -> str:
    """Return the name of an engine; of a file or a class, load it, and name the engine that trains it.

    Raises:
        UsageError: the file is missing, does not run, or has no class that fits.
    """
    if isinstance(engine, type):
        return _of_class(engine)
    if isinstance(engine, Path) or (isinstance(engine, str) and engine.endswith(".py")):
        return load(Path(engine))
    if not isinstance(engine, str):
        kind = type(engine).__name__
        made = "the class itself, not an object of it" if hasattr(engine, NEEDED[1]) else f"got {kind}"
        raise UsageError(f"engine = {engine!r:.60}: {made}. Allowed: a name, a file my_network.py, or {FORM}")
    if engine not in ENGINES and not is_own(engine):
        raise UsageError(
            f"engine {engine!r}: {did_you_mean(engine, ENGINES)}; or a network of your own, my_network.py"
        )
    return engine


def load(path: Path, *, quiet: bool = False) -> str:
    """Run a person's file, and return the name of the engine that trains its network; as `named`."""
    path = path.resolve()
    if not path.is_file():
        allowed = f"{', '.join(ENGINES)}, or a Python file"
        raise UsageError(f"engine {path}: there is no such file. Allowed: {allowed}")
    module = plugins.module_of(path)
    if not quiet and module not in sys.modules:
        notes.tell(f"running your network {path}")
    plugins.load_file(path, quiet=True, what="network")
    kind = _class_in(vars(sys.modules[module]), module, path)
    file = python_files.known(path)
    return _known_as(kind, path.name, file, module, path)


def _of_class(kind: type) -> str:
    module = kind.__module__
    _check_class(kind, kind.__name__)
    return _known_as(kind, kind.__name__, None if module == NOTEBOOK else _file_of(kind), module)


def _file_of(kind: type) -> python_files.PythonFile | None:
    try:
        return python_files.known(Path(inspect.getfile(kind)))
    except (OSError, TypeError):
        return None


def _known_as(
    kind: type, label: str, file: python_files.PythonFile | None, module: str, path: Path | None = None
) -> str:
    found = digest.digest_component(kind, {}, file, module)
    plain = re.sub(r"\W+", "_", label.removesuffix(".py"), flags=re.ASCII)
    name = f"{PREFIX}{plain}@{found.digest[:10]}"
    _known[name] = NetworkClass(name, kind, label, path, found.unseen)
    return name


def _class_in(names: Mapping[str, Any], module: str, path: Path) -> type:
    """Return the class of a file: the one called Network, or the only one with the methods."""
    named = names.get(CLASS)
    if named is not None and not isinstance(named, type):
        raise UsageError(
            f"{path.name}: {CLASS} is not a class, but of type {type(named).__name__}. Allowed: {FORM}"
        )
    own = [v for v in names.values() if isinstance(v, type) and v.__module__ == module]
    fitting = [v for v in own if all(callable(getattr(v, method, None)) for method in NEEDED)]
    if named is None and len(fitting) > 1:
        listed = ", ".join(v.__name__ for v in fitting)
        raise UsageError(f"{path.name} has {len(fitting)} networks: {listed}. Call the one to train {CLASS}")
    candidates = [named] if named else fitting or own
    if not candidates:
        there = [name for name in names if not name.startswith("_")]
        raise UsageError(f"{path.name} has no class (it has: {few(there) or 'nothing'}). Allowed: {FORM}")
    _check_class(candidates[0], path.name)
    return candidates[0]


def _check_class(kind: type, label: str) -> None:
    """Raise UsageError where a class lacks a method, or its methods take other arguments."""
    called = label if label == kind.__name__ else f"{label}, class {kind.__name__}"
    missing = [method for method in NEEDED if not callable(getattr(kind, method, None))]
    if missing:
        raise UsageError(f"{called} has no method {' and no '.join(missing)}. Allowed: {FORM}")
    for method, given in (("__init__", 2), ("forward", 1), ("gradients", 2)):
        signature = inspect.signature(getattr(kind, method))
        named = {"masks": None} if method == "gradients" and "masks" in signature.parameters else {}
        try:
            signature.bind(*[None] * (given + 1), **named)
        except TypeError:
            got = f"{method}{signature} takes other arguments"
            raise UsageError(f"{called}: {got}. Allowed: {FORM}") from None


class Network:
    """A person's network of a trial, called with checks: what comes back has the shapes that it must have.

    `start` is what it was given: weights (out, in) and biases (out,), layer by layer.
    """

    def __init__(self, own: NetworkClass, settings: Settings, seed: int, dtype: DTypeLike) -> None:
        widths = [inputs_of(settings), *settings.hidden, len(settings.facts.classes)]
        drawn = initial_layers(widths, stream(seed, "weights"), settings.initial_weights)
        self.own, self.classes = own, widths[-1]
        self.start = [(layer.weight.astype(dtype), layer.bias.astype(dtype)) for layer in drawn]
        given = [(weight.copy(), bias.copy()) for weight, bias in self.start]
        self.network = self._call("__init__", own.kind, given, {**settings, "seed": seed})
        self.parameters: list[Array] = self._parameters()

    def _parameters(self) -> list[Array]:
        """Return the arrays that are trained: the very ones that the network computes with."""
        values = getattr(self.network, "parameters", None)
        values = self._call("parameters", values) if callable(values) else values
        if not isinstance(values, Sequence) or not values:
            got = "has no attribute parameters" if values is None else f"parameters is {_shown(values)}"
            raise self._fault(f"{got}. Allowed: a list of the arrays to train, [W1, b1, W2, b2, ...]")
        for i, array in enumerate(values):
            if not isinstance(array, np.ndarray) or array.dtype not in FLOATS:
                allowed = "an array of float32 or float64"
                raise self._fault(f"parameters[{i}] is {_shown(array)}. Allowed: {allowed}")
        if len({id(array) for array in values}) < len(values):
            raise self._fault("parameters has one array twice: it would be updated twice a step")
        return list(values)

    def forward(self, x: Array) -> Array:
        """Compute the output (B, C) of x (B, D)."""
        output = self._call("forward", self.network.forward, _read_only(x))
        wanted = (len(x), self.classes)
        if not isinstance(output, np.ndarray) or output.shape != wanted or output.dtype.kind != "f":
            turned = isinstance(output, np.ndarray) and output.shape == wanted[::-1] != wanted
            hint = "; transposed?" if turned else ""
            raise self._fault(
                f"forward(x) gives {_shown(output)} for x {x.shape}. Allowed: floats of shape {wanted}, a "
                f"row an image and a column a class{hint}"
            )
        return output

    def gradients(self, x: Array, t: Array, masks: Sequence[Array] = ()) -> list[Array]:
        """Compute the gradients of a batch's mean loss, one a parameter; t (B, C) are the targets."""
        more = {"masks": list(masks)} if self.own.takes_masks else {}
        given = self._call("gradients", self.network.gradients, _read_only(x), _read_only(t), **more)
        if not isinstance(given, Sequence) or len(given) != len(self.parameters):
            got = f"{len(given)} arrays" if isinstance(given, Sequence) else _shown(given)
            raise self._fault(
                f"gradients(x, target) gives {got}. Allowed: a list of {len(self.parameters)}, one a "
                "parameter, in the order of parameters"
            )
        for i, (array, parameter) in enumerate(zip(given, self.parameters, strict=True)):
            if not isinstance(array, np.ndarray) or array.shape != parameter.shape or array.dtype.kind != "f":
                turned = isinstance(array, np.ndarray) and array.shape == parameter.shape[::-1]
                hint = "; transposed?" if turned and array.ndim == 2 else ""
                raise self._fault(
                    f"gradients(x, target)[{i}] is {_shown(array)}. Allowed: floats of the shape of "
                    f"parameters[{i}], {parameter.shape}{hint}"
                )
        return list(given)

    def losses(self, f: Array, t: Array) -> Array:
        """Compute its own loss of each sample (B,), where the class has `losses(output, target)`."""
        values = self._call("losses", self.network.losses, f, t)
        if not isinstance(values, np.ndarray) or values.shape != (len(f),):
            raise self._fault(
                f"losses(output, target) gives {_shown(values)} for an output {f.shape}. Allowed: one loss a "
                f"sample, shape ({len(f)},), not their mean"
            )
        return values

    def step(self, gradients: Sequence[Array], lr: float) -> None:
        """Take its own step, where the class has `step(gradients, lr)`."""
        self._call("step", self.network.step, list(gradients), lr)

    def _call(self, method: str, function: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except (KeyboardInterrupt, ComponentError):
            raise
        except BaseException as error:
            if method == "__init__" and "takes no arguments" in str(error):
                raise self._fault(f"has no __init__. Allowed: {FORM}") from error
            hint = "; x and target must not be changed in place" if "read-only" in str(error) else ""
            place = python_files.line_of(error)
            raise self._fault(f"{method} raises {in_words(error)}{place}{hint}") from error

    def _fault(self, what: str) -> ComponentError:
        return ComponentError(f"{self.own.label}: {what}")


def _read_only(x: Array) -> Array:
    """Return a view that cannot be changed: the same images train and test other trials."""
    view = x.view()
    view.flags.writeable = False
    return view


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return "None" if value is None else f"a {type(value).__name__}"

"""Settings of the whole process that decide numbers: seen, and put back where another's code changes them.

A third party's file or component runs in the harness's own process. What it sets there for its own ends
(torch's default dtype, a folder to read from) would hold for every component, also for those of others.
Needs no torch: where that is not imported, it is as it comes.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import ComponentError, MachineError, UsageError, in_words

SWITCHES = "HARNESS_"
"""Prefixes of the environment variables that the harness itself reads."""


class _Setting(NamedTuple):
    """A setting: its value, a function that sets it, and of most of torch's the value after an import."""

    value: Any
    put_back: Callable[[Any], object]
    initial: Any = None


def _torch_settings() -> dict[str, _Setting]:
    """Return torch's settings by name in words."""
    torch: Any = sys.modules["torch"]

    def set_device(device: Any) -> None:
        torch.set_default_device(None if device.type == "cpu" else device)

    def set_deterministic(both: tuple[bool, bool]) -> None:
        torch.use_deterministic_algorithms(both[0], warn_only=both[1])

    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic = (torch.are_deterministic_algorithms_enabled(), warn_only)
    precision = torch.get_float32_matmul_precision()
    settings = {
        "default dtype": _Setting(torch.get_default_dtype(), torch.set_default_dtype, torch.float32),
        "default device": _Setting(torch.get_default_device(), set_device, torch.device("cpu")),
        "number of threads": _Setting(torch.get_num_threads(), torch.set_num_threads),
        "deterministic algorithms": _Setting(deterministic, set_deterministic, (False, False)),
        "float32 matmul precision": _Setting(precision, torch.set_float32_matmul_precision, "highest"),
        "gradients": _Setting(torch.is_grad_enabled(), torch._C._set_grad_enabled, True),
    }
    return {f"torch's {name}": setting for name, setting in settings.items()}


def _switch(name: str) -> Callable[[str | None], object]:
    return lambda value: os.environ.pop(name, "") if value is None else os.environ.update({name: value})


def _settings() -> dict[str, _Setting]:
    """Return all settings by name in words."""
    own_settings = {
        f"the environment variable {name}": _Setting(value, _switch(name))
        for name, value in os.environ.items()
        if name.startswith(SWITCHES)
    }
    torch = _torch_settings() if hasattr(sys.modules.get("torch"), "get_default_dtype") else {}
    return {"the current folder": _Setting(str(Path.cwd()), os.chdir), **own_settings, **torch}


@contextmanager
def kept() -> Iterator[list[str]]:
    """Put back, at the block's end, what decides numbers; what is printed in the block goes to stderr.

    Gives a list that holds, after the block, what had been changed, in words.
    """
    before: Mapping[str, Any] = {name: setting.value for name, setting in _settings().items()}
    had_torch = any(name.startswith("torch") for name in before)
    changed: list[str] = []
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            yield changed
    finally:
        now = _settings()
        if not had_torch:
            before = {**before, **{name: s.initial for name, s in now.items() if s.initial is not None}}
        for name, (value, put_back, _) in now.items():
            new = name.startswith("the environment") and name not in before
            if new or (name in before and before[name] != value):
                changed.append(f"{name} to {value}")
                put_back(before.get(name))
        for name in before.keys() - now.keys():  # an environment variable that is gone
            changed.append(name)
            _switch(name.removeprefix("the environment variable "))(before[name])


@contextmanager
def one_thread() -> Iterator[None]:
    """Have PyTorch compute in one thread, as workers do: on busy cores, several wait for each other."""
    from harness.system.lazy import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def called(what: str, function: Callable[..., Any], *given: Any, note: str = "") -> Any:
    """Call a component, with its settings a functools.partial, and leave the process as it was.

    Arguments are given by position: what a person's parameters are called is their own. Where it raises, ends
    the process, or changes what decides numbers in all of it, a ComponentError says so, and the `note`.
    """
    try:
        with kept() as changed:
            result = function(*given)
    except (UsageError, MachineError, KeyboardInterrupt):  # in words already, or a person's wish
        raise
    except BaseException as error:
        raise ComponentError(f"{what} raises {in_words(error)}{note}") from error
    if changed:
        raise ComponentError(f"{what} changes settings of the whole process: {', '.join(changed)}")
    return result


def shape_in_words(result: Any) -> str:
    """Return an array's shape, or its values if they are not numbers.

    >>> import numpy as np
    >>> shape_in_words(np.zeros((2, 3))), shape_in_words(np.asarray(None))
    ('shape (2, 3)', 'None')
    """
    return f"shape {result.shape}" if result.dtype.kind in "biuf" else f"{result.tolist()!r:.60}"

"""Notes of what a network's layers were given while it was built, so that a start of its own is noticed.

A person's code may initialise a layer itself, behind the layer's own `reset_parameters`. Such weights are the
network's start, and no other numbers are drawn in their place.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

RESETS = ("reset_parameters", "_reset_parameters")
"""Methods by which PyTorch's modules draw their weights."""
_given: MutableMapping[nn.Module, dict[str, Tensor]] = weakref.WeakKeyDictionary()
"""Weights of layers as their own reset left them, by name."""


def reset_of(kind: type[nn.Module]) -> Callable[..., Any] | None:
    """Return the function that draws the weights of a class of modules; None if it has none."""
    return next((getattr(kind, name) for name in RESETS if hasattr(kind, name)), None)


@contextmanager
def noticing() -> Iterator[None]:
    """Take note of what each of PyTorch's layers draws for itself while a network is built."""
    replaced = [(kind, name, vars(kind)[name]) for kind, name in _resetting()]
    try:
        for kind, name, reset in replaced:
            setattr(kind, name, _noting(reset))
        yield
    finally:
        for kind, name, reset in replaced:
            setattr(kind, name, reset)


@functools.cache
def _resetting() -> Sequence[tuple[type[nn.Module], str]]:
    """List the classes of torch.nn that draw weights, each with the method's name."""
    found: dict[tuple[type[nn.Module], str], None] = {}
    for exported in vars(nn).values():
        if isinstance(exported, type) and issubclass(exported, nn.Module):
            found |= {(c, n): None for c in exported.__mro__ for n in RESETS if n in vars(c)}
    return list(found)


def _noting(reset: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(reset)
    def note(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        result = reset(module, *args, **kwargs)
        _given[module] = {name: p.detach().clone() for name, p in module.named_parameters(recurse=False)}
        return result

    return note


def remade(module: nn.Module) -> set[str]:
    """Name the parameters of a layer that are not, any more, what its own reset gave while it was built."""
    given = _given.get(module)
    if given is None:
        return set()
    own = dict(module.named_parameters(recurse=False))
    return {name for name, p in own.items() if name not in given or not _same(p.detach(), given[name])}


def _same(now: Tensor, given: Tensor) -> bool:
    return now.shape == given.shape and torch.equal(now.to(given.device, given.dtype), given)


def complete(network: nn.Module, shape: Sequence[int]) -> nn.Module:
    """Give lazy layers their sizes, by a pass of two images of a shape; leave other networks as they are."""
    if isinstance(network, nn.Module) and any(map(is_lazy, network.parameters())):
        training = network.training
        with torch.no_grad():
            network.eval()(torch.zeros(2, *shape))
        network.train(training)
    return network

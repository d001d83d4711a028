"""Graphs of networks: what a network does with its pixels, found by torch.fx, which runs it on symbols."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, fx, nn

from harness.errors import in_words


class NotStackedError(Exception):
    """Raised where a network has no stacked form; the message is a clause that says why."""


class MemberActivation(nn.Module):
    """A trial's activation in a network: members of a stack may differ in it.

    `last` tells that nothing else in the network reads what it is given.
    """

    last = False

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function."""
        return self.function(x)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Keep activations as they are, and the layers of torch."""
        return isinstance(m, MemberActivation) or super().is_leaf_module(m, module_qualified_name)


def graph_of(net: nn.Module, *, training: bool) -> fx.Graph:
    """Trace a network in training or inference mode; raise NotStackedError where it cannot be.

    It is left in the mode it was in.
    """
    before = net.training
    net.train(training)
    try:
        graph = _Tracer().trace(net)
    except Exception as error:  # (a person's own code runs on symbols, and may raise anything)
        raise NotStackedError(_refusal(error)) from error
    finally:
        net.train(before)
    if sum(node.op == "placeholder" for node in graph.nodes) != 1:
        raise NotStackedError("its forward takes more than pixels")
    return graph


def _refusal(error: Exception) -> str:
    """Say why a network could not be traced."""
    words = str(error)
    if "control flow" in words or "bool" in words:
        return "it branches on values"
    return f"torch.fx cannot trace it ({in_words(error)})"

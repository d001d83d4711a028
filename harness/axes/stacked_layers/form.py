"""The stacked form of a network: its graph, run for K members at once.

Where one member's code has images (B, ..), the stack has (K, B, ..); pixels that all members see are
(1, B, ..) until a layer tells the members apart. Memory is laid out as the layers leave it: nothing is copied
between them that need not be.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from harness.axes.stacked_layers import functions, layers
from harness.axes.stacked_layers.chains import chains
from harness.axes.stacked_layers.functions import aligned, folded
from harness.axes.stacked_layers.graphs import MemberActivation, NotStackedError, graph_of
from harness.axes.stacked_layers.layers import Pass

Known: TypeAlias = "dict[fx.Node, Any]"
Run: TypeAlias = Callable[[Pass, Known], Any]
PLAIN_MODULES = {"_operator", "builtins", "math"}
"""Homes of functions of numbers."""


class Kind(enum.Enum):
    """The form of a value: (1, B, ..) of all members, (K, B, ..), weights (K, ..), or a number."""

    SHARED, SAMPLES, WEIGHTS, NUMBER = range(4)


@dataclass
class Step:
    """One node of a graph, and the nodes whose values no later one reads."""

    node: fx.Node
    run: Run
    forget: list[fx.Node] = field(default_factory=list)


class StackedForm:
    """The stacked form of a network in training or inference mode.

    Args:
        net: one member's network, which is traced and keeps its layers' settings for all.
        training: the mode.
        shared: whether all members see the same pixels.

    Raises:
        NotStackedError: something in the network is not known here, or torch.fx cannot trace it.
    """

    def __init__(self, net: nn.Module, *, training: bool, shared: bool) -> None:
        self.net, self.training, self.shared = net, training, shared
        self.names = canonical_names(net)
        self.kinds: dict[fx.Node, Kind] = {}
        self.counts: set[fx.Node] = set()  # numbers of images
        self.pixels = torch.empty(0)
        graph = graph_of(net, training=training)
        self.chains = {node: chain for chain in chains(graph, net) for node in chain.nodes}
        self.steps = [self._step(node) for node in graph.nodes]
        self.steps = [step for step in self.steps if not self._inside(step.node)]
        last = {given: step for step in self.steps for given in self._first(step.node).all_input_nodes}
        for node, step in last.items():
            step.forget.append(node)

    def __call__(self, done: Pass, x: Tensor) -> Tensor:
        """Compute logits (K, B, C) of pixels (B, ..), which all members share, or (K, B, ..)."""
        known: Known = {}
        self.pixels = x[None] if self.shared else x
        result: Any = None
        for step in self.steps:
            known[step.node] = result = step.run(done, known)
            for node in step.forget:
                del known[node]
        self.pixels = x[:0]
        logits: Tensor = result
        return logits

    def _inside(self, node: fx.Node) -> bool:
        """Tell whether a node is in a chain, and not its last."""
        return node in self.chains and node is not self.chains[node].nodes[-1]

    def _first(self, node: fx.Node) -> fx.Node:
        """Return the first node of a chain that a node ends, or the node."""
        return self.chains[node].nodes[0] if node in self.chains else node

    def _step(self, node: fx.Node) -> Step:
        kind, run = {
            "placeholder": self._placeholder, "get_attr": self._attribute, "call_module": self._module,
            "call_function": self._function, "call_method": self._function, "output": self._output,
        }[node.op](node)  # fmt: skip
        self.kinds[node] = kind
        if node in self.chains:
            chain = self.chains[node]
            given: Any = self._first(node).args[0]
            return Step(node, lambda done, known: chain(done, known[given]))
        return Step(node, run)

    def _kind(self, node: fx.Node) -> Kind:
        """Tell the form of what a node makes of its arguments."""
        found = {self.kinds[given] for given in node.all_input_nodes}
        if Kind.SAMPLES in found or {Kind.SHARED, Kind.WEIGHTS} <= found:
            return Kind.SAMPLES
        return next((kind for kind in (Kind.SHARED, Kind.WEIGHTS) if kind in found), Kind.NUMBER)

    def _placeholder(self, _node: fx.Node) -> tuple[Kind, Run]:
        return (Kind.SHARED if self.shared else Kind.SAMPLES), lambda _done, _known: self.pixels

    def _output(self, node: fx.Node) -> tuple[Kind, Run]:
        value: Any = node.args[0]
        if not isinstance(value, fx.Node) or self.kinds[value] not in {Kind.SHARED, Kind.SAMPLES}:
            raise NotStackedError("its output is no tensor that depends on pixels")
        return Kind.SAMPLES, lambda done, known: known[value].expand(done.members, *known[value].shape[1:])

    def _attribute(self, node: fx.Node) -> tuple[Kind, Run]:
        name = str(node.target)
        if name not in self.names:
            raise NotStackedError(f"{name} is no parameter and no buffer, or a number drawn at random")
        own = self.names[name]
        return Kind.WEIGHTS, lambda done, _known: done.values[own]

    def _module(self, node: fx.Node) -> tuple[Kind, Run]:
        name, kind = str(node.target), self._kind(node)
        module = self.net.get_submodule(name)
        what = f"layer {name} ({type(module).__name__})"
        if len(node.args) != 1 or node.kwargs or kind not in {Kind.SHARED, Kind.SAMPLES}:
            raise NotStackedError(f"{what} is called with more than images")
        given: Any = node.args[0]
        if type(module) in layers.ELEMENTWISE:
            return kind, lambda _done, known: module(known[given])
        if type(module) in layers.FOLDED:
            return kind, lambda _done, known: folded(module, (known[given],), {})
        layer = layers.LAYERS.get(type(module)) or layers.ALIKE.get(type(module))
        if layer is None:
            raise NotStackedError(f"{what} has no stacked form")
        if any(self.names[f"{name}.{each}"] != f"{name}.{each}" for each, _ in module.named_parameters()):
            raise NotStackedError(f"{what} shares a weight with another layer")
        if isinstance(module, MemberActivation):
            module.last = _fresh(given, self.net)
        run = layer  # of this module
        if type(module) in layers.ALIKE:
            return kind, self._layer_without_weights(module, node)
        if type(module) in layers.OF_SHARED:
            return Kind.SAMPLES, lambda done, known: run(done, module, name, known[given])
        return Kind.SAMPLES, lambda done, known: run(
            done, module, name, known[given].expand(done.members, *known[given].shape[1:])
        )

    @staticmethod
    def _layer_without_weights(module: nn.Module, node: fx.Node) -> Run:
        given: Any = node.args[0]
        layer = layers.ALIKE[type(module)]
        return lambda done, known: layer(done, module, "", known[given])

    def _function(self, node: fx.Node) -> tuple[Kind, Run]:
        target: Any = node.target
        kind, call = self._kind(node), getattr(Tensor, target, None) if isinstance(target, str) else target
        if call is None:
            raise NotStackedError(f"{_words(target)} is no method of a tensor")
        if kind is Kind.NUMBER:
            return kind, self._number(node, call)
        if target in functions.SIZES or (target is getattr and node.args[1] in functions.FACTS):
            return Kind.NUMBER, self._size(node, call)
        weights = Kind.WEIGHTS in {self.kinds[argument] for argument in node.all_input_nodes}
        if weights and kind is Kind.SAMPLES and target in functions.WEIGHTED:
            weighted = functions.WEIGHTED[target]
            return kind, self._call(node, weighted)
        if target in functions.ELEMENTWISE:
            return kind, self._call(node, lambda _done, args, kwargs: aligned(call, args, kwargs))
        if target in functions.POOLINGS and (pooling := functions.pooling_of(node)) is not None:
            return kind, self._layer_without_weights(pooling, node)
        if weights and target not in functions.WEIGHTED:
            return self._unknown(node, call, f"{_words(target)} of a parameter has no stacked form")
        if target in functions.MOVED:
            moved = functions.MOVED[target]
            return kind, self._call(node, lambda _done, args, kwargs: moved(*args, **kwargs))
        if target in functions.FOLDED:
            return kind, self._folded(node, call)
        return self._unknown(node, call, f"{_words(target)} is not known to see one image at a time")

    def _unknown(self, node: fx.Node, call: Callable[..., Any], why: str) -> tuple[Kind, Run]:  # noqa: ARG002
        """Refuse a node that has no stacked form, saying why."""
        raise NotStackedError(why)

    @staticmethod
    def _call(node: fx.Node, function: Callable[[Pass, Any, Any], Any]) -> Run:
        """Return a call of a function with the values of a node's arguments."""

        def run(done: Pass, known: Known) -> Any:
            return function(done, *fx.node.map_arg((node.args, node.kwargs), known.__getitem__))

        return run

    def _folded(self, node: fx.Node, call: Callable[..., Any]) -> Run:
        """Return a call with (K * B, ..), to which counts of images are raised."""
        counts = self.counts & set(node.all_input_nodes)
        lead = 1 if self._kind(node) is Kind.SHARED else 0

        def run(done: Pass, known: Known) -> Any:
            def given(argument: fx.Node) -> Any:
                value = known[argument]
                return _times(value, lead or done.members) if argument in counts else value

            return folded(call, *fx.node.map_arg((node.args, node.kwargs), given))

        return run

    def _size(self, node: fx.Node, call: Callable[..., Any]) -> Run:
        """Return a question about the shape of one member's images."""
        if self.kinds[node.all_input_nodes[0]] is Kind.WEIGHTS:
            raise NotStackedError("it asks for the shape of a parameter")
        if node.target in {"size", getattr} and node.args[1:] in {(), (0,), ("shape",)}:
            self.counts.add(node)
        return self._call(node, lambda _done, args, kwargs: call(args[0][0], *args[1:], **kwargs))

    def _number(self, node: fx.Node, call: Callable[..., Any]) -> Run:
        """Return arithmetic on numbers; what is made of a count of images is taken for one."""
        if getattr(call, "__module__", "") not in PLAIN_MODULES:
            raise NotStackedError(f"{_words(node.target)} makes a tensor of its own")
        other = node.target is operator.getitem and isinstance(node.args[1], int) and node.args[1] != 0
        if not other and self.counts & set(node.all_input_nodes):
            self.counts.add(node)
        return self._call(node, lambda _done, args, kwargs: call(*args, **kwargs))


def _fresh(node: fx.Node, net: nn.Module) -> bool:
    """Tell whether a node's value is one that a layer with weights made, for one reader alone."""
    made = node.op == "call_module" and type(net.get_submodule(str(node.target))) in layers.MAKERS
    return made and len(node.users) == 1


class MixedForm(StackedForm):
    """A stacked form in which torch.func.vmap computes what is not known here, function by function."""

    def _unknown(self, node: fx.Node, call: Callable[..., Any], why: str) -> tuple[Kind, Run]:  # noqa: ARG002
        """Return a call under vmap."""
        kind, kinds = self._kind(node), self.kinds
        nodes = [given for given in node.all_input_nodes if kinds[given] is not Kind.NUMBER]
        whole = tuple(
            0 if kind is Kind.SHARED or kinds[given] is not Kind.SHARED else None for given in nodes
        )

        def run(_done: Pass, known: Known) -> Any:
            def one(*values: Any) -> Any:
                mine = dict(zip(nodes, values, strict=True))
                args, kwargs = fx.node.map_arg(
                    (node.args, node.kwargs), lambda given: mine[given] if given in mine else known[given]
                )
                return call(*args, **kwargs)

            given = [known[n] if dim == 0 else known[n][0] for n, dim in zip(nodes, whole, strict=True)]
            return torch.func.vmap(one, whole, randomness="error")(*given)

        return kind, run


def _times(value: Any, members: int) -> Any:
    """Count the images of all members: a number of them, or the first one of a shape."""
    if isinstance(value, int):
        return value * members
    first, *rest = value
    return torch.Size([first * members, *rest])


def _words(target: Any) -> str:
    """Name a function or a method."""
    return f".{target}()" if isinstance(target, str) else str(getattr(target, "__name__", target))


def canonical_names(net: nn.Module) -> dict[str, str]:
    """Map each name of a parameter or buffer to the first that it has: tied ones have several."""
    first: dict[int, str] = {}
    names = {}
    for every in (net.named_parameters, net.named_buffers):
        for name, value in every(remove_duplicate=False):
            names[name] = first.setdefault(id(value), name)
    return names

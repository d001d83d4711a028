"""Traced graphs translated to expressions: elementwise operations, and reductions over the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.errors import in_words
from harness.lowering.expressions import CALLS, COMPARISONS, Expression, Sheet, unknown
from harness.lowering.refusals import NotLoweredError
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

Operand: TypeAlias = Any
"""An expression, a constant tensor, or a Python object."""

SAME_SHAPE = frozenset({
    "clone", "alias", "detach", "lift_fresh", "lift_fresh_copy", "contiguous", "alias_copy", "detach_copy",
    "expand", "expand_copy", "permute", "permute_copy", "transpose", "transpose_copy", "t", "unsqueeze",
    "unsqueeze_copy", "squeeze", "squeeze_copy",
})  # fmt: skip
"""Operations that move axes or repeat along them: each element stays what it is."""
RESHAPES = frozenset(
    {"slice", "slice_copy", "view", "_unsafe_view", "reshape", "view_copy", "_reshape_alias", "flatten"}
)
FILLED: Mapping[str, float] = {
    "zeros_like": 0.0, "ones_like": 1.0, "new_zeros": 0.0, "new_ones": 1.0, "empty_like": 0.0,
    "new_empty": 0.0, "empty_permuted": 0.0, "new_empty_strided": 0.0,
}  # fmt: skip
"""Tensors of one number, which has no argument; what is empty is filled before it is read."""
FILLED_BY = {"full_like": 1, "new_full": 2, "fill": 1}
"""The place of the argument that a tensor is filled with."""
REDUCTIONS = {
    "sum": "sum",
    "mean": "sum",
    "amax": "max",
    "amin": "min",
    "prod": "prod",
    "any": "max",
    "all": "min",
}
LOGIC = {
    "logical_and": "and", "logical_or": "or", "logical_xor": "xor", "bitwise_and": "and", "bitwise_or": "or",
    "bitwise_xor": "xor", "__and__": "and", "__or__": "or", "__xor__": "xor",
}  # fmt: skip
PLAIN = frozenset({"add", "sub", "mul", "div", *COMPARISONS, *CALLS}) - {"pow", "whole_power", "where", "not"}
RENAMED = {"clamp_min": "maximum", "clamp_max": "minimum", "sgn": "sign", "special_erfc": "erfc"}
NO_MATTER = frozenset(
    {"dtype", "layout", "device", "pin_memory", "memory_format", "alpha", "rounding_mode", "correction"}
)
"""Named arguments that are read where they matter."""
MOST_OPERATIONS = 4000
"""Beyond, a graph is a loop of Python's over the classes, and a compiler takes minutes."""


def translate(sheet: Sheet, graph: GraphModule, inputs: Sequence[Expression]) -> list[Expression]:
    """Translate a graph's outputs, given its inputs; raise NotLoweredError for what has no form in C."""
    nodes = list(graph.graph.nodes)
    if len(nodes) > MOST_OPERATIONS:
        raise NotLoweredError(f"{len(nodes)} operations; allowed: {MOST_OPERATIONS}")
    translation = _Translation(sheet, graph)
    given = iter(inputs)
    for node in nodes:
        if node.op == "placeholder":
            translation.values[node] = next(given)
        elif node.op == "output":
            return [translation.expression(x) for x in node.args[0]]
        else:
            translation.values[node] = translation.value_of(node)
    raise NotLoweredError("a graph without an output")


class _Translation:
    """The values of a graph's nodes so far: expressions, and constant tensors."""

    def __init__(self, sheet: Sheet, graph: GraphModule) -> None:
        self.sheet, self.graph = sheet, graph
        self.values: dict[Node, Operand] = {}

    def value_of(self, node: Node) -> Operand:
        """Return the value of a node: known now if all that it is made of is."""
        if node.op == "get_attr":
            constant = self.graph
            for part in str(node.target).split("."):
                constant = getattr(constant, part)
            return constant
        name = operation(node)
        tags = getattr(node.target, "tags", ())
        if torch.Tag.nondeterministic_seeded in tags:
            raise NotLoweredError(f"aten.{name}: random numbers")
        if not any(isinstance(self.values.get(x), Expression) for x in node.all_input_nodes):
            return self._known(node, name)
        unread = set(node.kwargs) - NO_MATTER
        if unread:
            raise NotLoweredError(f"aten.{name} with {', '.join(sorted(unread))}: it has no compiled form")
        return self._translated(node, name)

    def _known(self, node: Node, name: str) -> Operand:
        """Compute what depends on no input, as torch does; in double precision, as REAL may be double."""
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda x: _double(self.values[x]))
        kwargs = {key: torch.float64 if value == torch.float32 else value for key, value in kwargs.items()}
        target: Any = node.target
        try:
            return target(*args, **kwargs)
        except Exception as error:
            raise NotLoweredError(f"aten.{name}: {in_words(error)}") from error

    def expression(self, x: Operand) -> Expression:
        """Return an argument as an expression."""
        value = self.values[x] if isinstance(x, torch.fx.Node) else x
        if isinstance(value, Expression):
            return value
        if isinstance(value, torch.Tensor):
            return self._constant(value)
        if isinstance(value, (bool, int, float)):
            return self.sheet.number(float(value), mask=isinstance(value, bool))
        raise NotLoweredError(f"a {type(value).__name__} among the numbers")

    def _constant(self, tensor: torch.Tensor) -> Expression:
        """Return a constant tensor: one number, or numbers by class."""
        if type(tensor) is not torch.Tensor and not isinstance(tensor, torch.nn.Parameter):
            raise NotLoweredError("a tensor whose values are not known when it is traced")
        if tensor.is_complex() or tensor.numel() == 0:
            raise NotLoweredError(f"a constant {tensor.dtype} of shape {tuple(tensor.shape)}")
        tensor, mask = tensor.detach().double(), tensor.dtype == torch.bool
        first = tensor.reshape(-1)[0]
        if bool(((tensor == first) | (tensor.isnan() & first.isnan())).all()):
            return self.sheet.number(float(first), mask=mask)
        axes = [d for d, size in enumerate(tensor.shape) if size == self.sheet.classes and size]
        if len(axes) == 1:
            rows = tensor.movedim(axes[0], -1).reshape(-1, self.sheet.classes)
            if bool(((rows == rows[0]) | (rows.isnan() & rows[0].isnan())).all()):
                table = self.sheet.table(rows[0].tolist())
                return self.sheet.truth(table) if mask else table
        axis = "a number or one a class" if self.sheet.classes else "a number"
        raise NotLoweredError(f"a constant tensor of shape {tuple(tensor.shape)}; compiled is {axis}")

    def _translated(self, node: Node, name: str) -> Expression:
        args = node.args
        if name in SAME_SHAPE:
            return self.expression(args[0])
        if name in RESHAPES:
            return self._reshaped(node, name)
        if name in FILLED or name in FILLED_BY:
            return (
                self.expression(args[FILLED_BY[name]])
                if name in FILLED_BY
                else self.sheet.number(FILLED[name])
            )
        if name in REDUCTIONS:
            return self._reduced(node, name)
        if name in LOGIC:
            return self.sheet.call(LOGIC[name], *(self.sheet.truth(self.expression(x)) for x in args))
        special = SPECIAL.get(name)
        if special is not None:
            return special(self, node)
        name = RENAMED.get(name, name)
        if name in PLAIN:
            return self.sheet.call(name, *map(self.expression, args))
        raise unknown(operation(node))

    def _reshaped(self, node: Node, name: str) -> Expression:
        before, after = ([size for size in _shape_and_dtype(x)[0] if size != 1] for x in (node.args[0], node))
        if before != after:
            raise NotLoweredError(f"aten.{name} from {before} to {after}: axes may not be cut or joined")
        return self.expression(node.args[0])

    def _converted(self, x: Expression, dtype: Any) -> Expression:
        """Return numbers as another type: only what is no real number changes."""
        if dtype is None:
            return x
        if dtype == torch.bool:
            return self.sheet.truth(x)
        if dtype.is_complex:
            raise NotLoweredError(f"aten._to_copy to {dtype}: it has no compiled form")
        x = self.sheet.counted(x)
        return x if dtype.is_floating_point or x.whole else self.sheet.call("trunc", x)

    def _reduced(self, node: Node, name: str) -> Expression:
        shape, _ = _shape_and_dtype(node.args[0])
        given: Any = node.args[1] if len(node.args) > 1 else None
        if given is None or given == []:
            given = range(len(shape))
        dims = [given] if isinstance(given, int) else list(given)
        sizes = {shape[d] for d in dims} - {1}
        x = self.expression(node.args[0])
        if name in {"any", "all"}:
            x = self.sheet.counted(self.sheet.truth(x))
        if not sizes:
            return x
        if not self.sheet.classes or sizes != {self.sheet.classes}:
            axis = "samples" if self.sheet.classes else "units or parameters"
            raise NotLoweredError(f"aten.{name} over {axis}: each is computed by itself")
        result = self.sheet.reduced(REDUCTIONS[name], x)
        if name == "mean":
            return self.sheet.call("div", result, self.sheet.number(self.sheet.classes))
        return self.sheet.truth(result) if name in {"any", "all"} else result

    def converted(self, node: Node) -> Expression:
        """Translate a copy of another type."""
        return self._converted(self.expression(node.args[0]), node.kwargs.get("dtype"))

    def copied(self, node: Node) -> Expression:
        """Translate a copy into a tensor, which keeps its type."""
        return self._converted(self.expression(node.args[1]), _shape_and_dtype(node.args[0])[1])

    def scattered(self, node: Node) -> Expression:
        """Translate a[:] = b."""
        if _shape_and_dtype(node.args[0])[0] != _shape_and_dtype(node.args[1])[0]:
            raise NotLoweredError("aten.slice_scatter: a part of an axis is changed")
        return self.expression(node.args[1])

    def scaled(self, node: Node) -> Expression:
        """Translate a + alpha * b, or a - alpha * b."""
        first, second = map(self.expression, node.args[:2])
        alpha = node.kwargs.get("alpha", node.args[2] if len(node.args) > 2 else 1)
        return self.sheet.call(operation(node), first, self.sheet.call("mul", second, self.expression(alpha)))

    def subtracted_from(self, node: Node) -> Expression:
        """Translate rsub, b - alpha * a."""
        first, second = map(self.expression, node.args[:2])
        alpha = node.kwargs.get("alpha", node.args[2] if len(node.args) > 2 else 1)
        return self.sheet.call("sub", second, self.sheet.call("mul", first, self.expression(alpha)))

    def divided(self, node: Node) -> Expression:
        """Translate a / b, rounded or not."""
        quotient = self.sheet.call("div", *map(self.expression, node.args[:2]))
        mode = node.kwargs.get("rounding_mode")
        return quotient if mode is None else self.sheet.call(str(mode), quotient)

    def power(self, node: Node) -> Expression:
        """Translate a ^ b."""
        return self.sheet.power(*(self.sheet.counted(self.expression(x)) for x in node.args[:2]))

    def chosen(self, node: Node) -> Expression:
        """Translate where(mask, a, b); masks among a and b count as numbers unless both are."""
        mask, *both = map(self.expression, node.args)
        if not all(x.mask for x in both):
            both = list(map(self.sheet.counted, both))
        return self.sheet.call("where", self.sheet.truth(mask), *both)

    def clamped(self, node: Node) -> Expression:
        """Translate clamp(x, least, most), of which one may be missing."""
        x = self.expression(node.args[0])
        bounds = [*node.args[1:], None, None][:2]
        for bound, call in zip(bounds, ("maximum", "minimum"), strict=True):
            if bound is not None:
                x = self.sheet.call(call, x, self.expression(bound))
        return x

    def negated(self, node: Node) -> Expression:
        """Translate the negation of a mask."""
        return self.sheet.call("not", self.sheet.truth(self.expression(node.args[0])))

    def inverse(self, node: Node) -> Expression:
        """Translate 1 / x."""
        return self.sheet.call("div", self.sheet.number(1), self.expression(node.args[0]))

    def inverse_root(self, node: Node) -> Expression:
        """Translate 1 / sqrt(x)."""
        return self.sheet.power(self.expression(node.args[0]), self.sheet.number(-0.5))

    def not_a_number(self, node: Node) -> Expression:
        """Translate isnan(x)."""
        x = self.expression(node.args[0])
        return self.sheet.call("ne", x, x)

    def shrunk(self, node: Node) -> Expression:
        """Translate the gradient of softshrink and hardshrink: 0 in the middle."""
        grad, x, bound = map(self.expression, node.args)
        inside = self.sheet.call("le", self.sheet.call("abs", x), bound)
        return self.sheet.call("where", inside, self.sheet.number(0), grad)

    def cumulated(self, node: Node) -> Expression:
        """Translate cumsum over the classes."""
        shape, _ = _shape_and_dtype(node.args[0])
        dim: Any = node.args[1]
        if not self.sheet.classes or shape[dim] != self.sheet.classes:
            raise NotLoweredError("aten.cumsum over samples, units or parameters: each is computed by itself")
        return self.sheet.running_sum(self.expression(node.args[0]))

    def varied(self, node: Node) -> Expression:
        """Translate the variance over the classes."""
        shape, _ = _shape_and_dtype(node.args[0])
        given: Any = node.args[1] if len(node.args) > 1 else None
        dims = range(len(shape)) if given is None else [given] if isinstance(given, int) else given
        if not self.sheet.classes or {shape[d] for d in dims} - {1} != {self.sheet.classes}:
            raise NotLoweredError("aten.var over samples, units or parameters: each is computed by itself")
        call, sheet = self.sheet.call, self.sheet
        correction: Any = node.kwargs.get("correction", 1)
        x, count = sheet.counted(self.expression(node.args[0])), sheet.number(sheet.classes)
        away = call("sub", x, call("div", sheet.reduced("sum", x), count))
        left = sheet.number(max(0.0, sheet.classes - float(1 if correction is None else correction)))
        return call("div", sheet.reduced("sum", call("mul", away, away)), left)


SPECIAL: Mapping[str, Callable[[_Translation, Any], Expression]] = {
    "_to_copy": _Translation.converted,
    "copy": _Translation.copied,
    "slice_scatter": _Translation.scattered,
    "add": _Translation.scaled,
    "sub": _Translation.scaled,
    "rsub": _Translation.subtracted_from,
    "div": _Translation.divided,
    "pow": _Translation.power,
    "where": _Translation.chosen,
    "clamp": _Translation.clamped,
    "logical_not": _Translation.negated,
    "bitwise_not": _Translation.negated,
    "reciprocal": _Translation.inverse,
    "rsqrt": _Translation.inverse_root,
    "hardshrink_backward": _Translation.shrunk,
    "softshrink_backward": _Translation.shrunk,
    "isnan": _Translation.not_a_number,
    "cumsum": _Translation.cumulated,
    "var": _Translation.varied,
}


def _double(x: Any) -> Any:
    return x.double() if isinstance(x, torch.Tensor) and x.dtype == torch.float32 else x


def operation(node: Node) -> str:
    """Name the operation of a node: "add" of aten.add.Tensor."""
    target: Any = node.target
    packet = getattr(target, "overloadpacket", None)
    return str(getattr(packet, "__name__", None) or getattr(target, "__name__", target))


def _shape_and_dtype(node: Any) -> tuple[Sequence[int], Any]:
    value = node.meta["val"]
    return tuple(value.shape), value.dtype

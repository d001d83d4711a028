"""Expressions written as C: scalars once, vectors a block of samples, and loops over the classes.

Loops over the classes are as few as reductions allow: an expression's stage says how many must be done before
it. What is dear to compute and needed in several loops is kept in an array; the rest is computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.lowering.expressions import (
    CALLS,
    DEAR,
    INFIX,
    LOGIC,
    REDUCTIONS,
    Expression,
    Span,
    spelled_double,
    spelled_number,
)

PART = 32
"""Classes that are summed by themselves where there are more: long sums lose digits."""
CHEAP = 3
"""Operations that are rather repeated in a later loop than kept in an array."""


def ordered(roots: Iterable[Expression]) -> list[Expression]:
    """Return all that some expressions are made of, arguments first."""
    seen: dict[int, Expression] = {}
    left = list(roots)
    while left:
        x = left.pop()
        if x.index not in seen:
            seen[x.index] = x
            left += x.arguments
    return [seen[index] for index in sorted(seen)]


@dataclass
class Writer:
    """Writes expressions as C. `scalars` are the names that scalars have in vectors' code, if they do."""

    names: dict[int, str] = field(default_factory=dict)
    scalars: Mapping[int, str] = field(default_factory=dict)
    tables: dict[tuple[float, ...], str] = field(default_factory=dict)

    def name(self, x: Expression) -> str:
        """Return the name of the variable that holds an expression."""
        return self.names.setdefault(x.index, f"v{len(self.names)}")

    def double(self, x: Expression) -> str:
        """Return a number or scalar as an operand among doubles."""
        if x.span == Span.NUMBER:
            return spelled_double(x.number)
        return x.text if x.operation == "leaf" else self.name(x)

    def _real(self, x: Expression) -> str:
        """Return a scalar as one REAL among vectors."""
        if x.span == Span.NUMBER:
            return spelled_number(x.number)
        return self.scalars.get(x.index) or f"(REAL){self.double(x)}"

    def vector(self, x: Expression) -> str:
        """Return an operand that must be a vector, or a mask of one."""
        if x.span <= Span.SCALAR:
            if x.mask:
                return f"mask_of({int(x.number) if x.span == Span.NUMBER else self.double(x)})"
            return f"all_of({self._real(x)})"
        return self.name(x)

    def _operand(self, x: Expression) -> str:
        """Return an operand beside a vector."""
        return self._real(x) if x.span <= Span.SCALAR and not x.mask else self.vector(x)

    def text(self, x: Expression) -> str:
        """Return the C of an operation on variables."""
        if x.operation == "leaf":
            return x.text
        if x.operation == "table":
            return f"all_of({self.tables.setdefault(x.table, f'table{len(self.tables)}')}[j])"
        wide = x.span >= Span.LANES
        if x.operation in INFIX:
            first, second = map(self._operand if wide else self.double, x.arguments)
            return f"{first} {INFIX[x.operation]} {second}"
        operands = map(self.vector if wide else self.double, x.arguments)
        if x.operation in LOGIC:
            return f" {LOGIC[x.operation][not wide]} ".join(operands)
        return CALLS[x.operation][not wide].format(*operands)

    def declaration(self, x: Expression) -> str:
        """Return the statement that computes an expression."""
        if x.span <= Span.SCALAR:
            kind = "int" if x.mask else "double"
        else:
            kind = "integers" if x.mask else "vector"
        return f"const {kind} {self.name(x)} = {self.text(x)};"

    def scalar_statements(self, roots: Iterable[Expression]) -> list[str]:
        """Compute the scalars that some expressions are made of."""
        made = (x for x in ordered(roots) if x.span == Span.SCALAR and x.operation != "leaf")
        return [self.declaration(x) for x in made]

    def straight(self, roots: Sequence[Expression]) -> list[str]:
        """Compute expressions without classes, their scalars apart; leaves keep their names."""
        lines = []
        for x in ordered(roots):
            if x.span == Span.LANES:
                if x.operation == "leaf":
                    self.names[x.index] = x.text
                else:
                    lines.append(self.declaration(x))
        return lines


@dataclass
class ClassLoop:
    """A loop over the classes: what it computes in each, and stores for later loops."""

    made: list[Expression] = field(default_factory=list)
    loaded: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)


class Stages:
    """The loops over the classes that some expressions take, and the C of them."""

    def __init__(self, writer: Writer, classes: int, roots: Sequence[Expression]) -> None:
        self.writer, self.classes = writer, classes
        self.all = ordered(roots)
        self.by_class = [x for x in roots if x.span == Span.CLASSES]
        stages = [x.stage for x in self.all]
        self.loops = [ClassLoop() for _ in range(max(stages, default=0) + 1)]
        self.costs: dict[int, int] = {}
        for stage in range(len(self.loops)):
            self._fill(stage)

    def _targets(self, stage: int) -> Iterator[Expression]:
        """Yield what the loop of a stage is there for."""
        for x in self.all:
            if x.operation in REDUCTIONS and x.arguments[0].stage == stage:
                yield x.arguments[0]
        yield from (x for x in self.by_class if x.stage == stage)

    def _fill(self, stage: int) -> None:
        loop, left = self.loops[stage], list(self._targets(stage))
        before = {x.index: earlier for earlier in self.loops[:stage] for x in earlier.made}
        seen: dict[int, Expression] = {}
        while left:
            x = left.pop()
            if x.index in seen or x.span != Span.CLASSES:
                continue
            seen[x.index] = x
            if x.index in before and self._cost(x) > CHEAP:
                before[x.index].kept.add(x.index)
                loop.loaded.add(x.index)
            else:
                left += x.arguments
        loop.made = [seen[index] for index in sorted(seen) if index not in loop.loaded]

    def _cost(self, x: Expression) -> int:
        """Return about how many operations a class it takes to compute an expression from what is kept."""
        if x.index not in self.costs:
            own = 0 if x.operation in {"leaf", "table"} else 1
            if x.operation in DEAR or x.operation == "running":
                own = CHEAP + 1
            below = (self._cost(y) for y in x.arguments if y.span == Span.CLASSES)
            self.costs[x.index] = own + sum(cost for cost in below if cost <= CHEAP)
        return self.costs[x.index]

    def lines(self, write: Mapping[int, str]) -> list[str]:
        """Return the statements; `write` has one for each expression by class, by its index."""
        lines = []
        for loop in self.loops:
            kinds = {x.index: "integers" if x.mask else "vector" for x in loop.made}
            lines += [
                f"{kinds[i]} kept_{self.writer.names.setdefault(i, f'v{len(self.writer.names)}')}[CLASSES];"
                for i in sorted(loop.kept)
            ]
        for stage, loop in enumerate(self.loops):
            lines += [
                self.writer.declaration(x)
                for x in self.all
                if x.span == Span.LANES and x.stage == stage and x.operation not in REDUCTIONS
            ]
            lines += self._loop(stage, loop, write)
        return lines

    def _loop(self, stage: int, loop: ClassLoop, write: Mapping[int, str]) -> list[str]:
        reductions = [x for x in self.all if x.operation in REDUCTIONS and x.arguments[0].stage == stage]
        written = [x for x in self.by_class if x.stage == stage]
        if not reductions and not written:
            return []
        name = self.writer.name
        sums = {x.index for x in reductions if x.operation == "sum" and self.classes > PART}
        lines = [f"vector {name(x)} = all_of({REDUCTIONS[x.operation][1]});" for x in reductions]
        lines += [f"vector sum_{name(x)} = {{0}};" for x in loop.made if x.operation == "running"]
        body = [self._load(x) for x in self.all if x.index in loop.loaded]
        for x in loop.made:
            body += self._made(x, kept=x.index in loop.kept)
        for x in reductions:
            to = f"part_{name(x)}" if x.index in sums else name(x)
            body.append(f"{to} = {REDUCTIONS[x.operation][0].format(to, name(x.arguments[0]))};")
        body += [write[x.index] for x in written]
        if not sums:
            return [*lines, "for (int j = 0; j < CLASSES; j++) {", *_deeper(body), "}"]
        parts = [name(x) for x in reductions if x.index in sums]
        inner = [f"for (int j = first; j < CLASSES && j < first + {PART}; j++) {{", *_deeper(body), "}"]
        opened = [f"vector part_{part} = {{0}};" for part in parts]
        closed = [f"{part} = {part} + part_{part};" for part in parts]
        outer = f"for (int first = 0; first < CLASSES; first += {PART}) {{"
        return [*lines, outer, *_deeper([*opened, *inner, *closed]), "}"]

    def _load(self, x: Expression) -> str:
        kind, name = "integers" if x.mask else "vector", self.writer.name(x)
        return f"const {kind} {name} = kept_{name}[j];"

    def _made(self, x: Expression, *, kept: bool) -> list[str]:
        name = self.writer.name(x)
        if x.operation == "running":
            made = f"const vector {name} = sum_{name} += {self.writer.name(x.arguments[0])};"
        else:
            made = self.writer.declaration(x)
        return [made, f"kept_{name}[j] = {name};"] if kept else [made]


def _deeper(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]

"""Whole C texts of components: activations, heads with losses, metrics, optimizers.

A text begins with a line of facts in JSON (`lowered.facts_of`), and is the same on every machine: it is
compiled with REAL as float and as double, and with as many LANES as the machine's vectors have.
`headers/component.h` has what a component and its caller agree on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from harness.axes.activations import Activation
from harness.axes.heads import Head
from harness.axes.losses import Form
from harness.axes.metrics import Metric
from harness.axes.optimizers import Optimizer
from harness.lowering import tracing
from harness.lowering.calls import MOST_STATES
from harness.lowering.expressions import Expression, Sheet, Span, spelled_number
from harness.lowering.refusals import NotLoweredError
from harness.lowering.statements import Stages, Writer, ordered
from harness.lowering.translation import translate

LOSS = """
REAL loss(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, REAL keep,
          REAL spread, const double *restrict settings, REAL *restrict grad)
{{
    const vector hit = all_of(keep + spread), miss = all_of(spread), scale = all_of(1 / (REAL)count);
    vector total = {{0}};
    {scalars}
    for (int64_t i = 0; i < b; i += LANES) {{
        const integers own = *(const integers *)(label + i);
        const integers inside = lane_numbers() < (int_of_real)(count - i);
        {body}
        total += chosen(inside, {loss}, (vector){{0}});
    }}
    REAL sum = 0;
    for (int u = 0; u < LANES; u++) sum += total[u];
    return sum / (REAL)count;
}}
"""
JUDGE = """
void judge(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count,
           const double *restrict settings, double *loss, int64_t *hits, int64_t *best, REAL *sure)
{{
    const vector hit = all_of(1), miss = all_of(0);
    {scalars}
    for (int64_t i = 0; i < b; i += LANES) {{
        const integers own = *(const integers *)(label + i);
        {body}
        const vector lost = {loss}, first = {first}, probability = {probability};
        for (int u = 0; u < LANES && i + u < count; u++) {{
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }}
    }}
}}
"""
MEASURE = """
void measure(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, double *sum)
{{
    const vector hit = all_of(1), miss = all_of(0);
    for (int64_t i = 0; i < b; i += LANES) {{
        const integers own = *(const integers *)(label + i);
        {body}
        const vector value = {value};
        for (int u = 0; u < LANES && i + u < count; u++) *sum += value[u];
    }}
}}
"""
ACTIVATION = """
INLINE vector forward(vector x)
{{
    {forward}
}}

INLINE vector backward(vector grad, vector x, vector y)
{{
    {backward}
}}

void activate(const REAL *restrict x, REAL *restrict y, int64_t n)
{{
    for (int64_t i = 0; i < n; i += LANES) *(vector *)(y + i) = forward(*(const vector *)(x + i));
}}

void derive(REAL *restrict grad, const REAL *restrict x, const REAL *restrict y, int64_t n)
{{
    for (int64_t i = 0; i < n; i += LANES) {{
        vector *g = (vector *)(grad + i);
        *g = backward(*g, *(const vector *)(x + i), *(const vector *)(y + i));
    }}
}}
"""


def _whole_text(facts: Mapping[str, Any], *parts: str) -> str:
    text = f'// {json.dumps(facts, sort_keys=True)}\n#include "component.h"\n' + "".join(parts)
    return re.sub(r"\n +(?=\n)", "", text)  # where a part has no statements


def _indented(lines: Iterable[str], depth: int) -> str:
    return ("\n" + 4 * depth * " ").join(lines)


def activation(component: Activation) -> str:
    """Return the C of an activation and its derivative; raise NotLoweredError if it has none."""
    graphs = tracing.activation(component)
    sheet = Sheet()
    x, grad, y = (sheet.leaf(name, Span.LANES) for name in ("x", "grad", "y"))
    (forward,) = translate(sheet, graphs.forward, [x])
    if graphs.closed:
        (backward,) = translate(sheet, graphs.backward, [grad, x, y])
    else:
        again, derived = translate(sheet, graphs.backward, [x, grad])
        backward = _replaced(sheet, derived, again, y)
    text = ACTIVATION.format(
        forward=_indented(_function_body(forward), 1), backward=_indented(_function_body(backward), 1)
    )
    return _whole_text({"kind": "activation", "name": component.name, "settings": []}, text)


def _function_body(result: Expression) -> list[str]:
    writer = Writer()
    lines = [*writer.scalar_statements([result]), *writer.straight([result])]
    return [*lines, f"return {writer.vector(result)};"]


def _replaced(sheet: Sheet, x: Expression, before: Expression, after: Expression) -> Expression:
    """Return an expression in which another one is known by a shorter name, if it is not known already."""
    if before.span != Span.LANES or before.operation == "leaf":
        return x
    made: dict[int, Expression] = {before.index: after}
    for y in ordered([x]):
        if y.index in made:
            continue
        arguments = [made.get(z.index, z) for z in y.arguments]
        same = all(new is old for new, old in zip(arguments, y.arguments, strict=True))
        made[y.index] = y if same else sheet.call(y.operation, *arguments)
    return made[x.index]


def _inputs(sheet: Sheet, settings: Sequence[str]) -> list[Expression]:
    """Return what a graph of outputs is given: logits, targets made of the labels, settings."""
    return [
        sheet.leaf("*(const vector *)(z + j * b + i)", Span.CLASSES),
        sheet.leaf("chosen(own == (int_of_real)j, hit, miss)", Span.CLASSES),
        *(sheet.leaf(f"settings[{i}]", Span.SCALAR) for i in range(len(settings))),
    ]


def output(head: Head, form: Form, classes: int, settings: Sequence[str]) -> str:
    """Return the C of a loss on a head's output, in training and in evaluation.

    Raises:
        NotLoweredError: it has none.
    """
    tables: dict[tuple[float, ...], str] = {}
    sheet, writer = Sheet(classes), Writer(tables=tables)
    loss, grad = translate(sheet, tracing.output(head, form, classes, settings), _inputs(sheet, settings))
    written = "*(vector *)(grad + j * b + i) = chosen(inside, {} * scale, (vector){{0}});"
    body = Stages(writer, classes, [loss, grad]).lines({grad.index: written.format(writer.name(grad))})
    if grad.span < Span.CLASSES:
        body.append(f"for (int j = 0; j < CLASSES; j++) {written.format(writer.vector(grad))}")
    training = LOSS.format(
        scalars=_indented(writer.scalar_statements([loss, grad]), 1),
        body=_indented(body, 2),
        loss=writer.vector(loss),
    )
    evaluation = _judge(head, form, classes, settings, tables)
    facts = {"kind": "output", "head": head.name, "classes": classes, "settings": list(settings)}
    return _whole_text(facts, _definitions(classes, tables), training, evaluation)


def _judge(
    head: Head, form: Form, classes: int, settings: Sequence[str], tables: dict[tuple[float, ...], str]
) -> str:
    sheet, writer = Sheet(classes), Writer(tables=tables)
    graph = tracing.judgement(head, form, classes, settings)
    loss, first, probability = results = translate(sheet, graph, _inputs(sheet, settings))
    body = Stages(writer, classes, results).lines({})
    return JUDGE.format(
        scalars=_indented(writer.scalar_statements(results), 1),
        body=_indented(body, 2),
        loss=writer.vector(loss),
        first=writer.vector(first),
        probability=writer.vector(probability),
    )


def _definitions(classes: int, tables: Mapping[tuple[float, ...], str]) -> str:
    lines = [f"#define CLASSES {classes}"]
    for values, name in tables.items():
        lines.append(f"static const REAL {name}[CLASSES] = {{{', '.join(map(spelled_number, values))}}};")
    return "\n".join(lines) + "\n"


def metric(head: Head, component: Metric, classes: int) -> str:
    """Return the C of a metric of a head's probabilities; raise NotLoweredError if it has none."""
    sheet, writer = Sheet(classes), Writer()
    (value,) = translate(sheet, tracing.metric(head, component, classes), _inputs(sheet, ()))
    value = sheet.counted(value)
    body = Stages(writer, classes, [value]).lines({})
    text = MEASURE.format(body=_indented(body, 2), value=writer.vector(value))
    facts = {
        "kind": "metric",
        "head": head.name,
        "metric": component.name,
        "classes": classes,
        "settings": [],
    }
    return _whole_text(facts, _definitions(classes, writer.tables), text)


def optimizer(component: Optimizer, switches: Mapping[str, bool | str], zeros: Collection[str]) -> str:
    """Return the C of an optimizer's steps, with the settings that are exactly 0 left out of it.

    Raises:
        NotLoweredError: it has none.
    """
    graphs = tracing.optimizer(component, switches, zeros)
    if len(graphs.states) > MOST_STATES:
        raise NotLoweredError(
            f"{len(graphs.states)} states ({', '.join(graphs.states)}); allowed: {MOST_STATES}"
        )
    sheet = Sheet()
    w, g = sheet.leaf("w", Span.LANES), sheet.leaf("g", Span.LANES)
    states = [sheet.leaf(f"old{i}", Span.LANES) for i in range(len(graphs.states))]
    settings = [sheet.leaf(f"settings[{i}]", Span.SCALAR) for i in range(len(graphs.settings))]
    t = sheet.leaf("t", Span.SCALAR, whole=True)
    first = translate(sheet, graphs.first, [sheet.number(1), w, g, *settings])
    later = translate(sheet, graphs.later, [t, w, g, *states, *settings])
    steps = {"first": first, "later": later}
    slots = {name: _slots(results) for name, results in steps.items()}
    count = max(map(len, slots.values()))
    facts = {
        "kind": "optimizer", "name": component.name, "settings": list(graphs.settings),
        "states": list(graphs.states), "scalars": count,
    }  # fmt: skip
    functions = [_step(name, results, slots[name]) for name, results in steps.items()]
    differ = int(first != later)
    defined = f"#define STATES {len(states)}\n#define SCALARS {count}\n#define FIRST_DIFFERS {differ}\n"
    return _whole_text(facts, defined, *functions, _scalars(slots), '\n#include "optimizer.h"\n')


def _slots(results: Sequence[Expression]) -> list[Expression]:
    """Return the scalars that vectors' code reads, in the order of their places."""
    every = ordered(results)
    used = {y.index: y for x in every if x.span == Span.LANES for y in x.arguments}
    used |= {x.index: x for x in results}
    return [used[index] for index in sorted(used) if used[index].span == Span.SCALAR]


def _step(name: str, results: Sequence[Expression], slots: Sequence[Expression]) -> str:
    writer = Writer(scalars={x.index: f"u[{place}]" for place, x in enumerate(slots)})
    read = {x.text for x in ordered(results) if x.operation == "leaf"}
    # Read before any is written: a state may become another one's value.
    lines = [f"const vector old{i} = s[{i}];" for i in range(len(results) - 1) if f"old{i}" in read]
    lines += writer.straight(results)
    new = [writer.vector(x) for x in results]
    lines += [f"s[{i}] = {text};" for i, text in enumerate(new[1:]) if text != f"old{i}"]
    return (
        f"\nINLINE vector step_{name}(const REAL *u, vector w, vector g, vector *s)\n{{\n    "
        f"{_indented([*lines, f'return {new[0]};'], 1)}\n}}\n"
    )


def _scalars(slots: Mapping[str, Sequence[Expression]]) -> str:
    """Return the function that computes a member's scalars at a step, in double precision."""
    lines = []
    for name, kept in slots.items():
        writer = Writer()
        statements = writer.scalar_statements(kept)
        statements += [f"to[{place}] = (REAL){writer.double(x)};" for place, x in enumerate(kept)]
        opening = "if (t == 1) {" if name == "first" else "} else {"
        lines += [opening, *(f"    {line}" for line in statements)]
    return (
        "\nvoid scalars(double t, const double *settings, REAL *to)\n{\n    "
        f"{_indented([*lines, '}'], 1)}\n}}\n"
    )

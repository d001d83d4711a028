"""The texts of the harness's own components, shipped so that no run of them needs to trace.

`python -m harness.lowering.shipping` makes `shipped/` again, and is to be run after a change of a component
or of the translation; a test compares. Left out are settings of 0 that hardly anybody chooses (an eps of 0):
such an optimizer is traced at its first use.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import Optimizer, optimizers
from harness.lowering import components
from harness.lowering.lowered import ComponentOrigin

NEVER_ZERO = frozenset({"lr", "eps", "alpha", "betas.1"})


def origins() -> Iterator[ComponentOrigin]:
    """Yield all that is shipped: what fits, in all combinations."""
    own_heads = [entry.component for entry in heads if not entry.third_party]
    own_metrics = [entry.name for entry in metrics if not entry.third_party]
    yield from (
        ComponentOrigin("activation", (entry.name,)) for entry in activations if not entry.third_party
    )
    for head in own_heads:
        for entry in losses:
            if not entry.third_party and head.kind in entry.component.forms:
                yield ComponentOrigin("output", (head.name, entry.name), components.CLASSES)
        yield from (ComponentOrigin("metric", (head.name, name), components.CLASSES) for name in own_metrics)
    for optimizer in optimizers:
        if not optimizer.third_party:
            yield from _variants(optimizer.component)


def _variants(optimizer: Optimizer) -> Iterator[ComponentOrigin]:
    """Yield an optimizer with every choice of its switches and of the settings that may be 0."""
    switches, columns = [], []
    for name, setting in optimizer.settings.items():
        if isinstance(setting.default, bool):
            switches.append(name)
        elif isinstance(setting.default, list):
            columns += [f"{name}.{place}" for place in range(len(setting.default))]
        else:
            columns.append(name)
    columns = sorted(set(columns) - NEVER_ZERO)
    for on in itertools.product((False, True), repeat=len(switches)):
        for chosen in itertools.product((False, True), repeat=len(columns)):
            zeros = tuple(itertools.compress(columns, chosen))
            pairs = tuple(sorted(zip(switches, on, strict=True)))
            yield ComponentOrigin("optimizer", (optimizer.name,), switches=pairs, zeros=zeros)


def write() -> None:
    """Write all texts, and take away what is not shipped any more."""
    texts = {components.shipped(origin): components.text_of(origin) for origin in origins()}
    for path in components.SHIPPED.glob("*.c"):
        if path not in texts:
            path.unlink()
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write()

"""The shipped texts are what the harness's own components are lowered to."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from calling import shared_object

from harness.axes.optimizers import optimizers
from harness.lowering import components, shipping
from harness.lowering.lowered import ComponentOrigin, facts_of

EVERY = list(shipping.origins())
SAMPLE = [origin for origin in EVERY if origin.kind != "optimizer"] + [
    ComponentOrigin("optimizer", (entry.name,), switches=tuple((n, True) for n in switches))
    for entry in optimizers
    for switches in [[n for n, s in entry.component.settings.items() if isinstance(s.default, bool)]]
    if not entry.third_party
]
LIBM = re.compile(r"\b(exp|expm1|exp2|log|log1p|log2|pow|tanh|erf|erfc|sqrt|fmax|fmin|floor|rint)f?\b")


def test_the_shipped_texts_are_those_of_the_components() -> None:
    """After a change of a component or of the translation: python -m harness.lowering.shipping."""
    paths = {components.shipped(origin) for origin in EVERY}
    assert len(paths) == len(EVERY)
    assert set(components.SHIPPED.glob("*.c")) == paths
    for origin in EVERY:
        path = components.shipped(origin)
        assert path.read_text(encoding="utf-8") == components.text_of(origin), path.name


@pytest.mark.parametrize("origin", SAMPLE, ids=lambda origin: origin.name)
def test_no_shipped_component_calls_libm_in_single_precision(origin: ComponentOrigin) -> None:
    built = shared_object(components.shipped(origin).read_text(), "float32")
    done = subprocess.run(["nm", "-D", "--undefined-only", built], check=True, capture_output=True, text=True)
    assert not LIBM.search(done.stdout), done.stdout


def test_shipped_texts_are_found_without_torch() -> None:
    code = (
        "import sys, json; from harness.lowering import components as c; "
        "found = [c.activation('gelu'), c.output('softmax', 'ql', 'kind', 10), "
        "c.metric('identity', 'top3', 10), "
        "c.optimizer('adam', {'amsgrad': False}, frozenset({'weight_decay'}))]; "
        "print(json.dumps([[x.name for x in found], 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names, torch_is_there = json.loads(done.stdout)
    assert len(names) == 4
    assert not torch_is_there


def test_every_text_says_what_it_is() -> None:
    for origin in EVERY:
        facts = facts_of(components.shipped(origin).read_text())
        assert facts["kind"] == origin.kind
        assert set(facts) >= {"settings"}

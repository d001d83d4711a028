"""The self-test of the harness's own components as this machine compiles them.

`python -m harness.lowering.self_test BITS` compiles for native or portable bits. It reads a JSON list of
[origin, C text] from its input, and prints a list of complaints, "" for one that computes what its function
does; or one text, where nothing can be compiled.
"""

from __future__ import annotations

import json
import sys

from harness.lowering import builds, checks
from harness.lowering.compiler import UnavailableError
from harness.lowering.lowered import ComponentOrigin, Lowered
from harness.system.lazy import torch


def answered(request: str) -> str:
    """Answer a request, JSON as its answer is."""
    components = [Lowered(ComponentOrigin.unpacked(origin), text) for origin, text in json.loads(request)]
    try:
        return json.dumps(checks.examined(components))
    except UnavailableError as error:
        return json.dumps(str(error))


if __name__ == "__main__":
    torch.set_num_threads(1)
    builds.inherit(builds.named(sys.argv[1]))
    print(answered(sys.stdin.read()))

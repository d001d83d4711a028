"""The CUDA C++ of the members of a group: their shape, their components and the kernel, in one text.

The same text is compiled for a processor by the tests. `shared_bytes` of a `Program` is what a block needs.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

from harness.lowering.compiler import HEADERS, REALS
from harness.lowering.lowered import Lowered

KERNEL = Path(__file__).with_name("kernel.h")
EDGE = 8
"""Rows and columns of matrices are filled up to a multiple of it: EDGE in the kernel."""
THREADS = 384
"""Threads of a block, at most: each has 168 registers then, enough for the sums of its tile."""
MOST_HIDDEN = 30
"""Hidden layers at most: MOST_HIDDEN in the kernel."""
SLICED = 256
"""Threads that a product is cut into slices of its inputs for."""
MOST_SLICES = 32
PALETTE = 256


@dataclass(frozen=True)
class GroupFacts:
    """The facts that a group's members have in common, and all components that some of them have.

    `widths` are those of inputs, hidden layers and classes; `coded` images are bytes and a palette; `dropout`
    says whether a member leaves units out; `pixels_shared` whether a batch's pixels are in shared memory.
    """

    widths: tuple[int, ...]
    batch: int
    activations: tuple[Lowered, ...]
    outputs: tuple[Lowered, ...]
    optimizer: Lowered
    real: str
    coded: bool
    dropout: bool
    pixels_shared: bool = True

    @property
    def loss_settings(self) -> int:
        """Count the settings of a loss, at most; at least one."""
        return max(1, *(len(output.settings) for output in self.outputs))


@dataclass(frozen=True)
class Program:
    """A text, and what a block of it needs: threads, bytes of shared memory, numbers for pixels elsewhere."""

    text: str
    threads: int
    shared_bytes: int
    scratch: int


def digest() -> str:
    """Digest what all programs have in common; a text has, besides, a group's components and shape."""
    paths = (Path(__file__), KERNEL, HEADERS / "lanes.h", HEADERS / "one_lane.h")
    return hashlib.sha256(b"\n".join(path.read_bytes() for path in paths)).hexdigest()


def filled(n: int) -> int:
    """Round up to a multiple of EDGE."""
    return -(-n // EDGE) * EDGE


def program(facts: GroupFacts) -> Program:
    """Write the text of a group."""
    room = _Room(facts)
    items = max(SLICED, *(layer.items for layer in room.layers))
    threads = min(THREADS, -(-items // 32) * 32)
    parts = [_opening(facts, threads), *_components(facts), room.defines(), _texts(KERNEL)]
    size = REALS[facts.real][1]
    scratch = 0 if facts.pixels_shared else room.pixels
    return Program("".join(parts), threads, size * room.end, scratch)


def _texts(*paths: Path) -> str:
    """Join texts as C++ reads them, which has no literals of a struct in brackets."""
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    return _as_cpp(text)


def _as_cpp(text: str) -> str:
    for kind in ("vector", "integers"):
        text = text.replace(f"({kind}){{", f"{kind}{{")
    lines = (line for line in text.splitlines() if not line.startswith(("#pragma once", '#include "')))
    return "\n".join(lines) + "\n"


def _opening(facts: GroupFacts, threads: int) -> str:
    real, size = REALS[facts.real]
    defines = {"REAL": real, "REAL_BYTES": size, "ONE_LANE": 1, "THREADS": threads}
    lines = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    lanes = (HEADERS / "lanes.h").read_text(encoding="utf-8")
    one = (HEADERS / "one_lane.h").read_text(encoding="utf-8")
    return lines + _as_cpp(lanes.replace('#include "one_lane.h"', one))


def _components(facts: GroupFacts) -> list[str]:
    """Write each component in a namespace of its own, and functions that call a member's."""
    named = [
        *((f"activation{i}", lowered) for i, lowered in enumerate(facts.activations)),
        *((f"output{i}", lowered) for i, lowered in enumerate(facts.outputs)),
        ("optimizer", facts.optimizer),
    ]
    texts = [f"#undef CLASSES\nnamespace {name} {{\n{_as_cpp(lowered.text)}}}\n" for name, lowered in named]
    activations, outputs = len(facts.activations), len(facts.outputs)
    calls = [
        _choice("REAL activate_one(int which, REAL x)", "activation{}::forward(vector(x)).x", activations),
        _choice(
            "REAL derive_one(int which, REAL grad, REAL x, REAL y)",
            "activation{}::backward(vector(grad), vector(x), vector(y)).x",
            activations,
        ),
        _choice(
            "REAL loss_one(int which, const REAL *z, const int_of_real *label, REAL keep, REAL spread, "
            "const double *settings, REAL *grad)",
            "output{}::loss(z, label, 1, 1, keep, spread, settings, grad)",
            outputs,
        ),
    ]
    return [*texts, *calls, STEP]


STEP = """
INLINE REAL step_one(bool first, const REAL *u, REAL w, REAL g, REAL *s)
{
    vector own[STATES + 1];
    EACH(i, STATES) own[i] = vector(s[i]);
    const vector next = first ? optimizer::step_first(u, vector(w), vector(g), own)
                              : optimizer::step_later(u, vector(w), vector(g), own);
    EACH(i, STATES) s[i] = own[i].x;
    return next.x;
}
using optimizer::scalars;
"""


def _choice(head: str, call: str, count: int) -> str:
    """Write a function that calls one of several, by a number that is the same in all threads of a block."""
    cases = "".join(f"    case {i}: return {call.format(i)};\n" for i in range(1, count))
    cases += f"    default: return {call.format(0)};\n"
    return f"INLINE {head}\n{{\n    switch (which) {{\n{cases}    }}\n}}\n"


@dataclass(frozen=True)
class _Layer:
    """A layer's shape, and how its work is cut for threads.

    A thread computes `tile` x `tile` outputs in the forward pass, over one of `slices` of the inputs, and the
    gradient of `tile_in` x `tile_out` weights.
    """

    inputs: int
    outputs: int
    tile: int
    slices: int
    tile_in: int
    tile_out: int

    @classmethod
    def of(cls, inputs: int, outputs: int, batch: int) -> _Layer:
        tile = 8 if inputs >= 128 else 4  # long sums are worth large tiles
        tiles = filled(outputs) * filled(batch) // tile**2
        slices = max(1, min(inputs // 8, SLICED // tiles, MOST_SLICES))
        return cls(inputs, outputs, tile, slices, *cls._tile_of_weights(inputs, outputs))

    @staticmethod
    def _tile_of_weights(inputs: int, outputs: int) -> tuple[int, int]:
        """Choose the tile that takes the fewest turns of a processor's four schedulers.

        A turn takes as long as the products, or as reading what they need from shared memory.
        """

        def turns(tile: tuple[int, int]) -> int:
            rows, columns = tile
            items = -(-inputs // rows) * filled(outputs) // columns
            return math.ceil(items / 128) * max(rows * columns, 4 * (rows + columns))

        return min(itertools.product((8, 7, 6, 5, 4), (8, 4)), key=turns)

    @property
    def items(self) -> int:
        """Count the threads that work at its gradient."""
        return -(-self.inputs // self.tile_in) * filled(self.outputs) // self.tile_out


class _Room:
    """The places of all arrays in a block's shared memory, in numbers."""

    def __init__(self, facts: GroupFacts) -> None:
        self.facts, self.at = facts, 0
        pairs = list(itertools.pairwise(facts.widths))
        columns = filled(facts.batch)
        self.layers = [_Layer.of(*pair, facts.batch) for pair in pairs]
        self.palette = self._take(PALETTE if facts.coded else 0)
        self.losses, self.label = self._take(columns), self._take(columns)
        self.scalars = self._take(facts.optimizer.scalars + 1)
        self.weights = [self._take(i * filled(o)) for i, o in pairs]
        self.biases = [self._take(filled(o)) for _, o in pairs]
        self.z = [self._take(columns * filled(o)) for _, o in pairs]
        self.y = [self._take(columns * filled(o)) for _, o in pairs[:-1]]
        self.pixels = facts.widths[0] * columns
        self.x = self.at
        self.end = self.at + (self.pixels if facts.pixels_shared else 0)

    def _take(self, count: int) -> int:
        at, self.at = self.at, self.at + filled(count)
        return at

    def defines(self) -> str:
        """Write the constants and lists that the kernel reads."""
        facts, widths = self.facts, self.facts.widths
        defines = {
            "INPUTS": widths[0], "BATCH": facts.batch, "CLASSES_ALL": widths[-1],
            "HIDDEN": len(widths) - 2, "SETTINGS": len(facts.optimizer.settings),
            "LOSS_SETTINGS": facts.loss_settings, "CODED": int(facts.coded), "DROPOUT": int(facts.dropout),
            "X_SHARED": int(facts.pixels_shared), "FIRST_SIZE": widths[0] * widths[1],
            "REST_SIZE": sum((i + 1) * o for i, o in itertools.pairwise(widths)) - widths[0] * widths[1],
            "PALETTE_AT": self.palette, "LOSSES_AT": self.losses, "LABEL_AT": self.label,
            "SCALARS_AT": self.scalars, "X_AT": self.x, "LOGITS_AT": self.z[-1],
        }  # fmt: skip
        lines = [f"#define {name} {value}" for name, value in defines.items()]
        return "\n".join([*lines, self._forwards(), self._backwards(), ""])

    def _forwards(self) -> str:
        calls, rest, inputs = [], self.layers[0].outputs, [self.x, *self.y]
        for i, layer in enumerate(self.layers):
            y = self.y[i] if i < len(self.y) else 0
            places = (self.weights[i], self.biases[i], inputs[i], self.z[i], y, rest if i else 0)
            shape = (layer.tile, layer.slices, layer.tile_in, layer.tile_out)
            calls.append(f"DO({', '.join(map(str, (i, layer.inputs, layer.outputs, *places, *shape)))})")
            rest += (layer.inputs + 1) * layer.outputs if i else 0
        return f"#define LAYERS_OF(DO) {' '.join(calls)}"

    def _backwards(self) -> str:
        calls = []
        for i in range(len(self.layers) - 1, 0, -1):
            layer = self.layers[i]
            places = (self.weights[i], self.z[i], self.y[i - 1], self.z[i - 1])
            calls.append(f"DO({', '.join(map(str, (i - 1, layer.inputs, layer.outputs, *places)))})")
        return f"#define BACK_OF(DO) {' '.join(calls)}"

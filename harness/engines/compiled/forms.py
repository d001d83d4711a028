"""The forms of a batch in layer one: in full, or without the pixels that have a common value.

Leaving pixels out saves arithmetic, and costs regularity: from some density of the others on, arithmetic on
all of them is faster. From which one depends on processor, compiler and batch size. Products and gradients
do not choose each for itself: to lay a batch out in full, or to turn it, is work that they share. All four
forms are measured, once a machine, by the kernels' self-test (engines/self_test.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.engines import kernels


@dataclass(frozen=True)
class Forms:
    """The choice for a batch size: images in full for layer one's products, and for its gradients."""

    products: bool
    gradients: bool

    @property
    def either(self) -> bool:
        """Return whether something reads images in full."""
        return self.products or self.gradients


FORMS = (Forms(False, False), Forms(True, False), Forms(False, True), Forms(True, True))
CELLS = 20
"""Cells of equal width that densities from 0 to 1 are cut into: each has one form."""
UNMEASURED = ((1, "0" * CELLS), (8, "0" * 10 + "1" * 2 + "3" * 8))
"""Forms where nothing was measured: HARNESS_KERNELS=on, and bits that must not depend on a machine."""


def chosen(density: float, batch: int) -> Forms:
    """Choose the fastest form for batches of some size, of images that differ from c in a share of pixels."""
    measured = kernels.measured().forms or UNMEASURED
    _, cells = max(row for row in measured if row[0] <= max(batch, measured[0][0]))
    return FORMS[int(cells[min(int(density * CELLS), CELLS - 1)])]

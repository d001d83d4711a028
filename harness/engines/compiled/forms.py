"""The forms of a batch in layer one: in full, or without the pixels that have a common value.

Leaving pixels out saves arithmetic, and costs regularity: from some density of the others on, arithmetic on
all of them is faster. From which one depends on processor, compiler and batch size, so it is measured, once a
machine, by the kernels' self-test (engines/self_test.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.engines import kernels

UNMEASURED = ((1, 1.1, 1.1), (8, 0.5, 0.6))
"""Thresholds where nothing was measured: HARNESS_KERNELS=on, and bits that must not depend on a machine."""


@dataclass(frozen=True)
class Forms:
    """The choice for a batch size: images in full for layer one's products, and for its gradients."""

    products: bool
    gradients: bool

    @property
    def either(self) -> bool:
        """Return whether something reads images in full."""
        return self.products or self.gradients


def chosen(density: float, batch: int) -> Forms:
    """Choose the faster forms for batches of some size, of images that differ from c in a share of pixels."""
    thresholds = kernels.measured().thresholds or UNMEASURED
    _, products, gradients = max(row for row in thresholds if row[0] <= max(batch, thresholds[0][0]))
    return Forms(density >= products, density >= gradients)

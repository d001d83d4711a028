"""Comparison of two results folders, with a gate for regressions; verdicts on any table of runs; tries.

Of two folders, A is the old run, B the new one: every difference is B minus A, paired by seed. Of a table,
every arm is compared with its reference (`judge`). Neither imports torch. A try trains: a changed baseline
against the baseline (`trying`), and the baseline alone (`noise`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.comparison.comparing import ALPHA as ALPHA
    from harness.comparison.comparing import MARGIN as MARGIN
    from harness.comparison.comparing import Comparison as Comparison
    from harness.comparison.comparing import Metric as Metric
    from harness.comparison.comparing import compare as compare
    from harness.comparison.gates import Gate as Gate
    from harness.comparison.gates import gate as gate
    from harness.comparison.judging.judge import Judgement as Judgement
    from harness.comparison.judging.judge import judge as judge
    from harness.comparison.text import write as write

_HOMES = {
    **dict.fromkeys(("ALPHA", "MARGIN", "Comparison", "Metric", "compare"), "comparing"),
    **dict.fromkeys(("Gate", "gate"), "gates"),
    **dict.fromkeys(("Judgement", "judge"), "judging.judge"),
    "write": "text",
}
__all__ = [
    "ALPHA", "MARGIN", "Comparison", "Gate", "Judgement", "Metric", "compare", "gate", "judge", "write",
]  # fmt: skip
# Imported on demand, so that what is wrong with a try is told before pandas and SciPy are loaded.
__getattr__, __dir__ = public_names(__name__, _HOMES)

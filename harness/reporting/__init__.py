"""A results folder -> report.html and figures: the question, the answer, and the evidence for it.

Every word about a number is generated from that number, every selection reads the validation split, and
a part without data says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.reporting.arm_figures import arm_confusion as arm_confusion
    from harness.reporting.arm_figures import arm_panels as arm_panels
    from harness.reporting.data import ReportData as ReportData
    from harness.reporting.data import prepare as prepare
    from harness.reporting.data import rank as rank
    from harness.reporting.data import read as read
    from harness.reporting.data import read_tables as read_tables
    from harness.reporting.data import where as where
    from harness.reporting.model import Figure as Figure
    from harness.reporting.model import Page as Page
    from harness.reporting.model import Section as Section
    from harness.reporting.model import Table as Table
    from harness.reporting.page import answers as answers
    from harness.reporting.page import draw as draw
    from harness.reporting.page import judgement as judgement
    from harness.reporting.page import save as save
    from harness.reporting.page import write as write

# On demand: the live page needs neither pandas nor matplotlib.
_HOMES = {
    **dict.fromkeys(("arm_confusion", "arm_panels"), "arm_figures"),
    **dict.fromkeys(("ReportData", "prepare", "rank", "read", "read_tables", "where"), "data"),
    **dict.fromkeys(("Figure", "Page", "Section", "Table"), "model"),
    **dict.fromkeys(("answers", "draw", "judgement", "save", "write"), "page"),
}
__all__ = [
    "Figure", "Page", "ReportData", "Section", "Table", "answers", "arm_confusion", "arm_panels", "draw",
    "judgement", "prepare", "rank", "read", "read_tables", "save", "where", "write",
]  # fmt: skip
__getattr__, __dir__ = public_names(__name__, _HOMES)

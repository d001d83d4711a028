"""A results folder -> report.html and figures: the question, the answer, and the evidence for it.

Every word about a number is generated from that number, every selection reads the validation split, and
a part without data says so.
"""

from harness.report.figures import arm_confusion, arm_panels
from harness.report.model import Figure, Page, Section, Table
from harness.report.page import answers, draw, judgement, save, write
from harness.report.reading import ReportData, prepare, rank, read, where

__all__ = [
    "Figure", "Page", "ReportData", "Section", "Table", "answers", "arm_confusion", "arm_panels", "draw",
    "judgement", "prepare", "rank", "read", "save", "where", "write",
]  # fmt: skip

"""A study's evidence: its family of contrasts, judged at fixed settings and, if it tunes, at tuned ones."""

from __future__ import annotations

from dataclasses import dataclass

from harness.reporting import contrasts, tuned
from harness.reporting.contrasts import Verdicts
from harness.reporting.data import ReportData
from harness.reporting.tuned import Tuned


@dataclass(frozen=True)
class Evidence:
    """A results folder of arms with its verdicts."""

    reading: ReportData  # the folder
    fixed: Verdicts  # the family at the settings that the study gives
    tuned: Tuned | None  # the tuned comparison; None if the study has none

    @property
    def tuned_verdicts(self) -> Verdicts | None:
        """The verdicts of tuned arms; None without any."""
        judged = None if self.tuned is None else self.tuned.judged
        return None if judged is None or judged.table.empty else judged

    @property
    def main(self) -> Verdicts:
        """The verdicts that the page tells first: those of tuned arms where there are any."""
        return self.tuned_verdicts or self.fixed

    @property
    def asks_what_matters(self) -> bool:
        """The page ranks choices before verdicts: of a grid without contrasts, tuned arms and looks.

        The looks of a study decided by its verdicts when it stopped.
        """
        family = self.fixed.family
        told = family.declared or family.looks or self.tuned_verdicts is not None
        return self.reading.design == "grid" and not told

    @property
    def main_reading(self) -> ReportData:
        """The trials of the verdicts that the page tells first."""
        tuned_trials = None if self.tuned is None or self.tuned_verdicts is None else self.tuned.reading
        return tuned_trials or self.reading


def gather(reading: ReportData) -> Evidence:
    """Judge the family of contrasts of a results folder.

    Raises:
        UsageError: the [contrasts] of its study.toml cannot be read.
    """
    fixed = contrasts.judge(reading, contrasts.read_family(reading))
    return Evidence(reading, fixed, tuned.read(reading, fixed))

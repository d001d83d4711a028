"""What A/A studies say, in words and as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aa_rates
import pandas as pd

from harness.system import files

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from harness.results import Results

ASKED = {
    aa_rates.FALSE_POSITIVES: "Arms that are the same, found different (p <= .05): at most about 5 %",
    aa_rates.SAME_SEEDS: "One training under two names, the same seeds, found different: never",
    aa_rates.FAMILY_WISE: "Five arms that are the same, any found better or worse (Holm): at most 5 %",
    aa_rates.COVERAGE: "95 % intervals that have the true difference, zero, in them: 95 %",
    aa_rates.COVERAGE_APART: "95 % intervals of two arms that really differ: 95 %",
    aa_rates.BOOTSTRAP: "The same studies, percentile bootstrap: why the harness takes Student's t",
    aa_rates.AT_MARGIN: "Arms exactly a margin apart, called the same (TOST): at most 5 %",
    aa_rates.LOOKED_AT: "Looked at after 3, 5, 7, .. 20 seeds (harness try), found different: at most 5 %",
    aa_rates.TWINS: "The same, one training under two names with the same seeds: never",
    aa_rates.NAIVE: "The same looks, each at p <= .05 without a correction: why harness try has one",
    aa_rates.COVERAGE_AT_ANY_LOOK: "Repeated intervals with zero in them at the last look: at least 95 %",
    aa_rates.SAME_AT_MARGIN: "Arms exactly a margin apart, called the same at any look: at most 5 %",
    aa_rates.POWER: "Power: a known shift (in SDs of the paired differences) that is found; as predicted",
}


def told(rates: pd.DataFrame, equality: pd.DataFrame) -> Iterator[str]:
    """The tables as lines to print."""
    row = equality.iloc[0]
    yield "MSE at 5 lr against QL at lr, seed by seed: the same training but for float rounding"
    yield (
        f"  {row['apart']:,} of {row['pairs']:,} pairs differ in test accuracy, {row['accuracy']:.2%} at most"
        f"; test losses agree to {row['loss']:.1g}{_verdict(row['ok'])}"
    )
    yield ""
    yield from answers(rates, ASKED)
    yield from closing(rates, equality)


def answers(rates: pd.DataFrame, asked: Mapping[str, str]) -> Iterator[str]:
    """Each question that has rates, under its heading."""
    for question, heading in asked.items():
        rows = rates[rates["question"].eq(question)]
        if len(rows):
            yield heading
            yield from _curves(rows) if question == aa_rates.POWER else map(_line, rows.to_dict("records"))
            yield ""


def closing(*tables: pd.DataFrame) -> Iterator[str]:
    """How to read the rates, and how many rows of the tables are out of bounds."""
    yield "In brackets: exact 95 % intervals, each by itself; of so many, a few miss by chance."
    yield "So a rate is out of bounds only if its interval at 95 % for all rates together is (column ok)."
    wrong = sum(int((~table["ok"]).sum()) for table in tables)
    yield f"{wrong} out of bounds" if wrong else "All within bounds."


def _line(row: Mapping[Hashable, Any]) -> str:
    name = f"{row['source']}, n = {row['n']}"
    interval = f"[{row['low']:6.1%}, {row['high']:6.1%}]"
    return (
        f"  {name:<36} {row['rate']:6.1%} {interval}  {row['events']:,} of {row['studies']:,}"
        f"{_verdict(row['ok'])}"
    )


def _curves(rates: pd.DataFrame) -> Iterator[str]:
    """A line a curve: measured, and in brackets predicted, at each shift."""
    shifts = sorted(set(rates["shift"]))
    yield " " * 39 + "".join(f"{f'{shift:g} SD':>16}" for shift in shifts)
    for (source, n), one in rates.groupby(["source", "n"], sort=False):
        cells = (
            f"{row['rate']:8.1%} ({row['predicted']:.1%})".rjust(16)
            for row in one.sort_values("shift").to_dict("records")
        )
        yield f"  {f'{source}, n = {n}':<36} {''.join(cells)}{_verdict(bool(one['ok'].all()))}"


def _verdict(ok: bool) -> str:
    return "" if ok else "  OUT OF BOUNDS"


def write(
    folder: Path, tables: Mapping[str, pd.DataFrame], summary: str, lines: Sequence[str],
    sources: Sequence[Results],
) -> None:  # fmt: skip
    """Write tables as CSV, by their names without an ending, and a text, with where trials were made."""
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        files.write(folder / f"{name}.csv", text.encode())
    files.write(folder / summary, "\n".join([*lines, "", *_environment(sources), ""]).encode())


def _environment(sources: Sequence[Results]) -> Iterator[str]:
    """Where and how long each source was trained."""
    for source in sources:
        about = source.provenance
        yield f"{source.study['study']['name']}: {len(source.trials):,} trials"
        yield f"  {about.get('cpu')}, {about.get('cores')} cores"
        for run in about.get("runs", []):
            if run.get("trials_trained"):
                versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
                yield (
                    f"  {run['trials_trained']:,} trained in {run['seconds']:.0f} s from {run['started']}, "
                    f"commit {run['commit']}, {versions}"
                )

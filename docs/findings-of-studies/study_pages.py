"""Write the pages of this folder: their numbers are read from results folders, and none is typed.

python docs/findings-of-studies/study_pages.py            the pages whose results are in results/reference
python docs/findings-of-studies/study_pages.py PAGE       one of them
python docs/findings-of-studies/study_pages.py --results results      from what was just trained

A page is NAME.md, made of templates/NAME.md.jinja; beside it are its tables, NAME-TABLE.csv, and its figure.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import noisy_losses
import single_run_page
import variance
from page_parts import Finding

from harness import plots
from harness.errors import UsageError
from harness.results import csv_rows
from harness.system import files

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
REFERENCE = CHECKOUT / "results" / "reference"
WIDTH = 118
UNFILLED = re.compile(r"[|#>!]")
"""Paragraphs that begin so stay as they are: tables, headings, quotations and figures."""
ITEM = "- "


@dataclass(frozen=True)
class Page:
    """A page: its name, the studies whose results it needs, and what makes its numbers of their folders."""

    name: str
    studies: Sequence[str]
    finding: Callable[[Mapping[str, Path]], Finding]

    def missing(self, results: Path) -> list[str]:
        """List the studies that have no results yet."""
        return [study for study in self.studies if not (results / study / "trials.csv").is_file()]

    def read(self, results: Path) -> Finding:
        """Read the results folders of its studies, which are all in `results`.

        Raises:
            UsageError: one of them is not a results folder.
            OSError: one has no report yet.
        """
        return self.finding({study: results / study for study in self.studies})


PAGES = {
    page.name: page
    for page in (
        Page("variance", [variance.STUDY], variance.finding),
        Page("losses-under-noise", [noisy_losses.STUDY], noisy_losses.finding),
        Page(
            "single-run-tables",
            [name for compared in single_run_page.STUDIES for name in (compared.careful, compared.tables)],
            single_run_page.finding,
        ),
    )
}


def text(name: str, finding: Finding) -> str:
    """Fill the template of a page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, autoescape=False,  # noqa: S701 (Markdown of our own numbers)
    )  # fmt: skip
    filled = environment.get_template(f"{name}.md.jinja").render(finding.words)
    return wrapped(filled).replace("\u00a0", " ")  # no line ends between a number and its %


def wrapped(page: str) -> str:
    """Break the lines of a page's paragraphs and lists anew; tables, headings and figures stay."""
    paragraphs = re.split(r"\n\s*\n", page.strip())
    return "\n\n".join(map(_filled, paragraphs)) + "\n"


def _filled(paragraph: str) -> str:
    if UNFILLED.match(paragraph):
        return paragraph
    is_list = paragraph.startswith(ITEM)
    fill = textwrap.TextWrapper(
        WIDTH, subsequent_indent=" " * len(ITEM) * is_list, break_long_words=False, break_on_hyphens=False
    ).fill
    return "\n".join(map(fill, paragraph.splitlines())) if is_list else fill(paragraph)


def write(page: Page, finding: Finding, into: Path) -> Path:
    """Write a page with its tables and its figure into a folder."""
    (into / "figures").mkdir(parents=True, exist_ok=True)
    for name, table in finding.tables.items():
        files.write(into / f"{page.name}-{name}.csv", csv_rows.written(table, "%.7g").encode())
    plots.save(finding.figure, into / "figures" / page.name)
    path = into / f"{page.name}.md"
    files.write(path, text(page.name, finding).encode())
    return path


def main(given: Sequence[str] | None = None) -> None:
    """Write the pages that are asked for, and say which wait for results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"of {', '.join(PAGES)}; none: all")
    parser.add_argument("--results", type=Path, default=REFERENCE, help="the folder of results folders")
    parser.add_argument("--into", type=Path, default=HERE, help="where pages go")
    options = parser.parse_args(given)
    if unknown := [name for name in options.pages if name not in PAGES]:
        parser.error(f"unknown page {', '.join(unknown)}; allowed: {', '.join(PAGES)}")
    for name in options.pages or PAGES:
        page = PAGES[name]
        if missing := page.missing(options.results):
            print(f"{name}: not written, {options.results} has no results of {', '.join(missing)}")
            continue
        try:
            print(write(page, page.read(options.results), options.into))
        except UsageError as error:
            parser.exit(error.exit_code, f"error: {error}\n")
        except FileNotFoundError as error:
            advice = "`harness report` of its results folder writes it"
            parser.exit(UsageError.exit_code, f"error: there is no {error.filename}: {advice}\n")


if __name__ == "__main__":
    main()

"""`harness watch`: a live page of a run or search that trains in another terminal."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path

import click


@click.command("watch")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8321, show_default=True,
    help="The port of the page; 0 takes a free one.",
)  # fmt: skip
@click.option("--open/--no-open", "opens", default=False, help="Open the page in a browser.")
def watch_(results: Path, port: int, opens: bool) -> None:
    """Watch a run or search while it trains: a live page, on 127.0.0.1 alone. Ctrl-C ends it, not the run.

    RESULTS is the folder that the run writes into, in another terminal; it may be started before or after
    this. The page shows progress, time to go, arms and curves so far, failures as they happen, and the end.
    """
    from harness.reporting.live.watching import watch

    with suppress(KeyboardInterrupt), watch(results, port) as page:
        click.echo(f"{results} is shown at {page.address} (Ctrl-C ends this page, not the run)")
        if opens and not webbrowser.open(page.address):
            click.echo("note: no browser could be opened; open the address yourself", err=True)
        page.wait()
    click.echo("the live page is closed", err=True)

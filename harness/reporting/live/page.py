"""The live page: one HTML file with its style and scripts, which asks the server for the state."""

from __future__ import annotations

import jinja2


def page(nonce: str) -> str:
    """Return the page; `nonce` marks its scripts as its own."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.reporting"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("watch.html").render(nonce=nonce, charts=_charts())


def _charts() -> str:
    """Return the scripts of charts that can be explored."""
    from harness.reporting import charts

    return charts.scripts()

"""The live curve: loss on a logarithmic axis while a study trains, as live.png, live.html and in a notebook.

It is drawn in a thread of the parent process, from the board that stacks write to, and at the end from the
folder. What goes wrong in it is told once, and stops no training.
"""

from __future__ import annotations

import contextvars
import html
import importlib
import io
import math
import re
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import notes, results
from harness.board import LOSS
from harness.data import TRAINED_ON
from harness.selection import shown_arms
from harness.stacks import budget_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.training import Display, Progress

EVERY = 2.0  # seconds between two pictures, at least
SHARE = 0.1  # of one core's time that drawing may take: pictures of large studies come more slowly
MAX_ARMS = 10  # lines a panel, in as many colours; of more arms, the median and the range are drawn
COLUMNS = ["trial_id", "epoch", "split", "loss"]
DASHES = {"train": (0, (3, 2)), "val": "-"}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{name}: live</title>
<style>body {{ margin: 1rem; background: white; }} img {{ max-width: 100%; }}</style>
<img id="curve" src="live.png" alt="loss of {name} over epochs">
<script>
setInterval(() => {{
  const next = new Image();
  next.onload = () => {{ document.getElementById("curve").src = next.src; }};
  next.src = "live.png?" + Date.now();  // another address each time, or the browser would not look again
}}, 3000);
</script>
</html>
"""


@dataclass(frozen=True)
class Panel:
    """One kind of loss on one data set: its arms, in the plan's order, and what has been seen of them.

    `lines` has arm, split, epoch, value: the mean over the seeds that have come so far.
    """

    title: str
    arms: Sequence[str]
    lines: pd.DataFrame


# ------------------------------------------------------------------------------------------------- numbers


def seen(progress: Progress) -> pd.DataFrame:
    """What the stacks of this run have told so far: trial_id, epoch, split, loss."""
    ids = np.array([trial.trial_id for stack in progress.stacks for trial in stack.trials])
    epochs = np.full(progress.board.shape[:2], np.nan)
    for first, stack in zip(progress.board.first, progress.stacks, strict=False):
        budget = budget_of(stack)
        # Written in seven digits, as in epochs.csv, so that the same moment has the same epoch in both.
        times = [float(f"{budget.epoch_of(step):.7g}") for step in budget.eval_steps]
        epochs[first : first + len(stack.trials), : len(times)] = times
    loss = progress.board.seen[..., LOSS].astype(float)
    trial, evaluation, split = np.nonzero(np.isfinite(loss))
    return pd.DataFrame(
        {
            "trial_id": ids[trial],
            "epoch": epochs[trial, evaluation],
            "split": np.array(TRAINED_ON)[split],
            "loss": loss[trial, evaluation, split],
        },
        columns=COLUMNS,
    )


def panels(curves: pd.DataFrame, trials: pd.DataFrame) -> list[Panel]:
    """A panel a data set and kind of loss, since losses of different kinds share no axis.

    All planned trials count, so that a panel and a line's colour stay what they are while curves come in.

    Args:
        curves: trial_id, epoch, split, loss.
        trials: trial_id, arm, dataset, loss (its kind), status.
    """
    planned = trials[trials["status"].ne("skipped")]
    table = curves[np.isfinite(curves["loss"])].merge(planned[["trial_id", "arm"]], on="trial_id")
    means = table.groupby(["arm", "split", "epoch"], sort=True)["loss"].mean().reset_index(name="value")
    datasets = planned["dataset"].nunique()
    made = []
    for (dataset, kind), here in planned.groupby(["dataset", "loss"], sort=False):
        arms = list(dict.fromkeys(here["arm"]))
        title = f"{kind} on {dataset}" if datasets > 1 else str(kind)
        made.append(Panel(title, arms, means[means["arm"].isin(arms)]))
    return made


def short(arms: Sequence[str]) -> dict[str, str]:
    """Arms -> what tells them apart: without the parts that all of them have; a word speaks for itself."""
    parts = {arm: re.split(r", (?![^\[]*\])", arm) for arm in arms}  # a comma in a list parts nothing
    common = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    left = {arm: [part for part in own if part not in common] or own for arm, own in parts.items()}
    return {
        arm: textwrap.fill(" · ".join(re.sub(r"^\w+=(?=[A-Za-z])(?!true|false)", "", p) for p in own), 30)
        for arm, own in left.items()
    }


# ------------------------------------------------------------------------------------------------- drawing


def figure(made: Sequence[Panel], heading: str) -> Figure:
    """Loss over epochs on a logarithmic axis, train dashed and val solid; a panel a kind of loss.

    Args:
        made: as from `panels`; an empty one says that nothing was evaluated yet.
        heading: above all panels.
    """
    import matplotlib as mpl
    from matplotlib import figure as mpl_figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from harness.plots import STYLE

    columns = min(2, max(1, len(made)))
    rows = max(1, math.ceil(len(made) / columns))
    lines = max((_legend_lines(panel) for panel in made), default=0)
    height = max(3.4, 0.19 * lines + 0.8)  # inches: no legend may be higher than its panel
    with mpl.rc_context(STYLE):
        drawn = mpl_figure.Figure(figsize=(7.4 * columns, height * rows + 0.4), layout="constrained")
        FigureCanvasAgg(drawn)
        axes = [ax for row in drawn.subplots(rows, columns, squeeze=False) for ax in row]
        for ax, panel in zip(axes, made, strict=False):
            _draw(ax, panel)
        for ax in axes[len(made) :]:
            ax.set_axis_off()
        drawn.suptitle(heading, fontsize=10, ha="left", x=0.01)
    return drawn


def png(drawn: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    import matplotlib as mpl

    from harness.plots import STYLE, fonts

    buffer = io.BytesIO()
    # A figure asks for its fonts when it is laid out, which is now.
    with mpl.rc_context(STYLE), fonts.readable(drawn):
        drawn.savefig(buffer, dpi=144, format="png")
    return buffer.getvalue()


def _legend_lines(panel: Panel) -> int:
    """Lines of text in a panel's legend, those of the splits included."""
    if len(panel.arms) > MAX_ARMS:
        return 3
    return sum(name.count("\n") + 1 for name in short(panel.arms).values()) + 2


def _draw(ax: Axes, panel: Panel) -> None:
    from harness.plots import COLORS, GREY, TEST, VAL

    ax.set_title(panel.title, loc="left")
    if panel.lines.empty:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "nothing was evaluated yet", ha="center", color=GREY, transform=ax.transAxes)
        return
    if len(panel.arms) <= MAX_ARMS:
        for arm, color in zip(panel.arms, COLORS, strict=False):
            for split, line in panel.lines[panel.lines["arm"].eq(arm)].groupby("split"):
                ax.plot(line["epoch"], line["value"], color=color, ls=DASHES[str(split)])
    else:
        for split, lines in panel.lines.groupby("split"):
            over, which = lines.groupby("epoch")["value"].agg(["median", "min", "max"]), str(split)
            color = VAL if which == "val" else TEST
            ax.plot(over.index, over["median"], color=color, ls=DASHES[which], lw=2, label=f"{which}, median")
            if which == "val":
                named: dict[str, Any] = {"label": f"val, range of {len(panel.arms)} arms"}
                ax.fill_between(over.index, over["min"], over["max"], color=VAL, alpha=0.15, lw=0, **named)
    _axes(ax, panel)


def _axes(ax: Axes, panel: Panel) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    from harness.plots import COLORS, GREY, log_axis

    log_axis(ax)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set(xlabel="epoch", ylabel="loss")
    keys, _ = ax.get_legend_handles_labels()
    if len(panel.arms) <= MAX_ARMS:
        names = short(panel.arms).values()  # put in by hand: a plot's name that begins with "_" is left out
        keys = [Line2D([], [], color=color, label=name) for name, color in zip(names, COLORS, strict=False)]
        keys += [Line2D([], [], color=GREY, ls=DASHES[split], label=split) for split in ("val", "train")]
    ax.legend(handles=keys, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)


# -------------------------------------------------------------------------------------------------- showing


def beside(folder: Path, display: Display | None = None) -> Display:
    """A display that draws the live curve into a results folder, beside another display."""

    @contextmanager
    def both(progress: Progress) -> Iterator[None]:
        with (display or nullcontext)(progress), drawn(folder, progress):
            yield

    return both


@contextmanager
def drawn(folder: Path, progress: Progress) -> Iterator[None]:
    """Draw while the block runs, in a thread of its own, and once more at its end, from the folder."""
    drawing = _Drawing(folder, progress)
    drawing.begin()
    stop = threading.Event()
    # A notebook's output knows its cell by context variables, which a thread does not inherit.
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(drawing.until, stop), daemon=True, name="live curve"
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        drawing.end()


def _told_once(draw: Callable[[_Drawing], None]) -> Callable[[_Drawing], None]:
    """Say the first failure on stderr, and go on: nothing of drawing may stop a training."""

    def attempt(self: _Drawing) -> None:
        try:
            draw(self)
        except Exception as error:  # noqa: BLE001 (whatever it is, the training goes on)
            if not self.failed:
                notes.warn(f"the live curve cannot be drawn ({error!r}); training goes on")
            self.failed = True

    return attempt


class _Drawing:
    """A live curve: what earlier runs left, where it is shown, and how much has been drawn."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress
        self.show: Callable[[bytes], None] | None = None
        self.failed = False
        self._points = -1

    @_told_once
    def begin(self) -> None:
        """Read what there is already, and lay out the page and the notebook's place."""
        self.name, self.trials, finished = _read(self.folder)
        mine = {trial.trial_id for stack in self.progress.stacks for trial in stack.trials}
        self.finished = finished[~finished["trial_id"].isin(mine)]
        self.show = _notebook()
        results.write(self.folder / "live.html", PAGE.format(name=html.escape(self.name)).encode())

    def until(self, stop: threading.Event) -> None:
        """Draw again and again, as often as it may."""
        spent = 0.0
        while not stop.wait(max(EVERY, spent * (1 / SHARE - 1)) if spent else 0):
            start = time.thread_time()
            self.now()
            spent = time.thread_time() - start or 1e-9

    @_told_once
    def now(self) -> None:
        """Draw what has been seen so far, if it is more than the last time."""
        curves = seen(self.progress)
        if len(curves) == self._points:
            return
        self._points = len(curves)
        curves = pd.concat([self.finished, curves]) if len(self.finished) else curves
        done = int(self.progress.trials)
        earlier = self.finished["trial_id"].nunique()
        before = f", {earlier} before" if earlier else ""
        self._write(curves, f"{done} of {self.progress.total} trials trained{before}")

    @_told_once
    def end(self) -> None:
        """Draw the final state, from the folder: digit for digit what epochs.csv says."""
        _, self.trials, curves = _read(self.folder)
        counts = results.count_statuses(self.trials)
        words = ", ".join(f"{n} {status or 'not trained yet'}" for status, n in counts.items())
        self._write(curves, f"the run is over: {words}")

    def _write(self, curves: pd.DataFrame, state: str) -> None:
        picture = png(figure(panels(curves, self.trials), f"{self.name}: {state}"))
        results.check_there(self.folder)
        results.write(self.folder / "live.png", picture)
        if self.show is not None:
            self.show(picture)


def _read(folder: Path) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """A results folder's study, trials, and curves."""
    found = results.read(folder)
    trials = found.trials
    if found.study["study"].get("design") == "one-factor":
        trials = trials.assign(arm=trials["arm"].map(shown_arms(trials)))
    return str(found.study["study"]["name"]), trials, found.epochs[COLUMNS]


def _notebook() -> Callable[[bytes], None] | None:
    """Where a notebook's cell shows pictures, one in place of the other; None where there is no notebook."""
    ipython = sys.modules.get("IPython")
    if ipython is None or not hasattr(ipython.get_ipython(), "kernel"):
        return None
    shown: Any = importlib.import_module("IPython.display")
    handle = shown.display(shown.HTML("live curve: nothing was evaluated yet"), display_id=True)

    def show(picture: bytes) -> None:
        handle.update(shown.Image(data=picture, format="png", retina=True))

    return show

"""The live curve: loss on a logarithmic axis while a study trains, as live.png, live.html and in a notebook.

It is drawn in a thread of the parent process, from the shared progress that stacks write to, and at the end
from the folder. Its errors are told once, and stop no training.
"""

from __future__ import annotations

import html
import io
import math
import re
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness import notes, results
from harness.data.samples import TRAINED_ON
from harness.notes.notebook import drawn_beside, ipython_display
from harness.planning.stack import budget_of
from harness.results.selection import shown_arms
from harness.system import files, locks
from harness.training.progress import LOSS, Display, Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVERY = 2.0  # seconds between two images, at least
SHARE = 0.1  # of one core's time that drawing may take: images of large studies come more slowly
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
class CurvePanel:
    """One kind of loss on one data set: its arms, in the plan's order, and their curves so far.

    `lines` has arm, split, epoch, value: the mean over the seeds that have come so far.
    """

    title: str
    arms: Sequence[str]
    lines: pd.DataFrame


def curves_of(progress: Progress) -> pd.DataFrame:
    """Return the curves of this run's stacks so far: trial_id, epoch, split, loss."""
    ids = np.array([trial.trial_id for stack in progress.stacks for trial in stack.trials])
    epochs = np.full(progress.shared.shape[:2], np.nan)
    for first, stack in zip(progress.shared.first, progress.stacks, strict=False):
        budget = budget_of(stack)
        # Written in seven digits, as in epochs.csv, so that the same moment has the same epoch in both.
        times = [float(f"{budget.epoch_of(step):.7g}") for step in budget.eval_steps]
        epochs[first : first + len(stack.trials), : len(times)] = times
    loss = progress.shared.curves[..., LOSS].astype(float)
    trial, evaluation, split = there = np.nonzero(np.isfinite(loss))
    values = (ids[trial], epochs[trial, evaluation], np.array(TRAINED_ON)[split], loss[there])
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def panels_of(curves: pd.DataFrame, trials: pd.DataFrame) -> list[CurvePanel]:
    """Make a panel a data set and kind of loss, since losses of different kinds share no axis.

    All planned trials count, so that a panel and a line's colour stay what they are while curves come in.
    `curves` are as of `curves_of`; of `trials`, trial_id, arm, dataset, loss (its kind) and status are read.
    """
    planned = trials[trials["status"].ne("skipped")]
    table = curves[np.isfinite(curves["loss"])].merge(planned[["trial_id", "arm"]], on="trial_id")
    means = table.groupby(["arm", "split", "epoch"], sort=True)["loss"].mean().reset_index(name="value")
    datasets = planned["dataset"].nunique()
    panels = []
    for (dataset, kind), rows in planned.groupby(["dataset", "loss"], sort=False):
        arms = list(dict.fromkeys(rows["arm"]))
        title = f"{kind} on {dataset}" if datasets > 1 else str(kind)
        panels.append(CurvePanel(title, arms, means[means["arm"].isin(arms)]))
    return panels


def short_names(arms: Sequence[str]) -> dict[str, str]:
    """Shorten the names of arms: without the parts that all of them have, and "activation=" of a word."""
    parts = {arm: re.split(r", (?![^\[]*\])", arm) for arm in arms}  # a comma in a list parts nothing
    common = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    telling = {arm: [part for part in words if part not in common] or words for arm, words in parts.items()}
    return {
        arm: textwrap.fill(" · ".join(re.sub(r"^\w+=(?=[A-Za-z])(?!true|false)", "", p) for p in shown), 30)
        for arm, shown in telling.items()
    }


def figure(panels: Sequence[CurvePanel], heading: str) -> Figure:
    """Draw loss over epochs on a logarithmic axis, train dashed and val solid; a panel a kind of loss.

    An empty panel says that nothing was evaluated yet.
    """
    import matplotlib as mpl
    from matplotlib import figure as mpl_figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from harness.plots import STYLE

    columns = min(2, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    lines = max((_legend_lines(panel) for panel in panels), default=0)
    height = max(3.4, 0.19 * lines + 0.8)  # inches: no legend may be higher than its panel
    with mpl.rc_context(STYLE):
        drawn = mpl_figure.Figure(figsize=(7.4 * columns, height * rows + 0.4), layout="constrained")
        FigureCanvasAgg(drawn)
        axes = [ax for row in drawn.subplots(rows, columns, squeeze=False) for ax in row]
        for ax, panel in zip(axes, panels, strict=False):
            _draw(ax, panel)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        drawn.suptitle(heading, fontsize=10, ha="left", x=0.01)
    return drawn


def png(drawn: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    import matplotlib as mpl

    from harness.plots import STYLE, fonts

    buffer = io.BytesIO()
    # A figure asks for its fonts when it is laid out, which is now.
    with mpl.rc_context(STYLE), fonts.readable(drawn):
        drawn.savefig(buffer, dpi=144, format="png")
    return buffer.getvalue()


def _legend_lines(panel: CurvePanel) -> int:
    """Count the lines of text in a panel's legend, those of the splits included."""
    if len(panel.arms) > MAX_ARMS:
        return 3
    return sum(name.count("\n") + 1 for name in short_names(panel.arms).values()) + 2


def _draw(ax: Axes, panel: CurvePanel) -> None:
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
            over, name = lines.groupby("epoch")["value"].agg(["median", "min", "max"]), str(split)
            color = VAL if name == "val" else TEST
            ax.plot(over.index, over["median"], color=color, ls=DASHES[name], lw=2, label=f"{name}, median")
            if name == "val":
                label = f"val, range of {len(panel.arms)} arms"
                ax.fill_between(
                    over.index, over["min"], over["max"], color=VAL, alpha=0.15, lw=0, label=label
                )
    _axes(ax, panel)


def _axes(ax: Axes, panel: CurvePanel) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    from harness.plots import COLORS, GREY, log_axis

    log_axis(ax)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set(xlabel="epoch", ylabel="loss")
    keys, _ = ax.get_legend_handles_labels()
    if len(panel.arms) <= MAX_ARMS:
        # By hand: a plot leaves out a name that begins with "_".
        names = short_names(panel.arms).values()
        keys = [Line2D([], [], color=color, label=name) for name, color in zip(names, COLORS, strict=False)]
        keys += [Line2D([], [], color=GREY, ls=DASHES[split], label=split) for split in ("val", "train")]
    ax.legend(handles=keys, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)


def live_display(folder: Path, display: Display | None = None) -> Display:
    """Return a display that draws the live curve into a results folder, beside another display."""

    @contextmanager
    def both(progress: Progress) -> Iterator[None]:
        with (display or nullcontext)(progress), drawing(folder, progress):
            yield

    return both


@contextmanager
def drawing(folder: Path, progress: Progress) -> Iterator[None]:
    """Draw while the block runs, in a thread of its own, and once more at its end, from the folder."""
    curve = _LiveCurve(folder, progress)
    curve.begin()
    try:
        with drawn_beside(curve.draw_until):
            yield
    finally:
        curve.end()


def _safe(draw: Callable[[_LiveCurve], None]) -> Callable[[_LiveCurve], None]:
    """Tell the first error of drawing, and go on: drawing may stop no training."""

    def attempt(self: _LiveCurve) -> None:
        try:
            draw(self)
        except Exception as error:  # noqa: BLE001 (whatever it is, the training goes on)
            if not self.failed:
                notes.warn(f"the live curve cannot be drawn ({error!r}); training goes on")
            self.failed = True

    return attempt


class _LiveCurve:
    """A live curve: the curves of earlier runs, the notebook that shows it, and how much has been drawn."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress
        self.show: Callable[[bytes], None] | None = None
        self.failed = False
        self._points = -1

    @_safe
    def begin(self) -> None:
        """Read the earlier curves, and lay out the page and the notebook's place."""
        self.name, self.trials, finished = _read(self.folder)
        now = {trial.trial_id for stack in self.progress.stacks for trial in stack.trials}
        self.finished = finished[~finished["trial_id"].isin(now)]
        self.show = _notebook()
        files.write(self.folder / "live.html", PAGE.format(name=html.escape(self.name)).encode())

    def draw_until(self, stop: threading.Event) -> None:
        """Draw again and again until `stop` is set, as often as it may."""
        spent = 0.0
        while not stop.wait(max(EVERY, spent * (1 / SHARE - 1)) if spent else 0):
            start = time.thread_time()
            self.draw()
            spent = time.thread_time() - start or 1e-9

    @_safe
    def draw(self) -> None:
        """Draw the curves so far, if they are longer than the last time."""
        curves = curves_of(self.progress)
        if len(curves) == self._points:
            return
        self._points = len(curves)
        curves = pd.concat([self.finished, curves]) if len(self.finished) else curves
        done = int(self.progress.trials)
        earlier = self.finished["trial_id"].nunique()
        before = f", {earlier} before" if earlier else ""
        self._write(curves, f"{done} of {self.progress.total} trials trained{before}")

    @_safe
    def end(self) -> None:
        """Draw the final state from the folder, with the digits of epochs.csv."""
        _, self.trials, curves = _read(self.folder)
        counts = results.count_statuses(self.trials)
        words = ", ".join(f"{n} {status or 'not trained yet'}" for status, n in counts.items())
        self._write(curves, f"the run is over: {words}")

    def _write(self, curves: pd.DataFrame, state: str) -> None:
        image = png(figure(panels_of(curves, self.trials), f"{self.name}: {state}"))
        locks.check_there(self.folder)
        files.write(self.folder / "live.png", image)
        if self.show is not None:
            self.show(image)


def _read(folder: Path) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Read the name of a results folder's study, its trials, and its curves."""
    read = results.read(folder)
    trials = read.trials
    if read.study["study"].get("design") == "one-factor":
        trials = trials.assign(arm=trials["arm"].map(shown_arms(trials)))
    return str(read.study["study"]["name"]), trials, read.epochs[COLUMNS]


def _notebook() -> Callable[[bytes], None] | None:
    """Return a function that shows an image in a notebook's cell, in place of the last; None without one."""
    display = ipython_display()
    if display is None:
        return None
    placeholder = display.HTML("live curve: nothing was evaluated yet")
    handle = display.display(placeholder, display_id=True)

    def show(image: bytes) -> None:
        handle.update(display.Image(data=image, format="png", retina=True))

    return show

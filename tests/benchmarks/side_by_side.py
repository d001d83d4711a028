"""The benchmark: every peer does the same work, side by side and in turn.

First all peers must reach the same accuracy. Then each cell's peers choose the best of their forms by a short
try, which warms them up too. Then come rounds: in each, every peer of every cell once, in an order that
rotates; ratios are taken within a round (`ratios`).
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any

import pandas as pd
from cells import COUNTED, Selection, optimizers_of, short
from crews import Crews, PeerError, as_one, missing
from peers import HARNESS, PEERS, Form
from work import SLICE, Extent, Work, words

from harness.results.provenance import _commit, _cpu
from harness.system.resources import cores

TRY = 0.3  # seconds of steps in a short try
SAME = 0.015  # accuracies that differ by less are the same
PACKAGES = ("torch", "numpy", "jax", "scikit-learn", "lightning", "ray")
GEMM = Form(a_core=True)
Tell = Callable[[str], None]
Row = dict[str, Any]


@dataclass
class Bench:
    """A benchmark under way.

    Attributes:
        selection: what is measured.
        crews: the peers' processes.
        tell: what a person sees while it goes on.
        absent: why a peer does not take part.
        best: (peer, work) -> the form that a short try chose.
        rows: a row a timing, or a failure.
    """

    selection: Selection
    crews: Crews
    tell: Tell
    absent: dict[str, str] = field(default_factory=dict)
    best: dict[tuple[str, Work], Form] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def time(self, name: str, form: Form, work: Work, extent: Extent, seconds: float = SLICE) -> Row:
        """Time a peer once; `failed` says why it could not be."""
        peer = PEERS[name]
        device = self.selection.device if peer.cuda else "cpu"
        try:
            timings = self.crews.time(peer, form, work, extent=extent, device=device, slice=seconds)
        except PeerError as error:
            self.tell(f"  {peer.title} failed: {error}")
            return {"peer": name, "form": form.words, "failed": str(error), "accuracies": []}
        accuracies = [one for timing in timings for one in timing.accuracies]
        told = {"peer": name, "form": form.words, "failed": "", "accuracies": accuracies}
        return {**told, **as_one(timings)}

    def forms(self, name: str) -> Sequence[Form]:
        """A peer's forms; on a GPU those with one process."""
        forms = PEERS[name].forms
        if self.selection.device == "cpu" or not PEERS[name].cuda:
            return forms
        return list(dict.fromkeys(Form(members=form.members, variant=form.variant) for form in forms))

    def taking_part(self, work: Work) -> list[str]:
        """Who takes part in a cell."""
        return [name for name in self.selection.of(work) if name not in self.absent]


def run(selection: Selection, tell: Tell = print) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure everything.

    Returns:
        rounds: a row a round, cell and peer, with seconds, what was extrapolated, and where it was measured;
        accuracies: a row an optimizer and peer.

    Raises:
        AssertionError: the peers do not reach the same accuracy; nothing is timed then.
    """
    began = time.perf_counter()
    with Crews() as crews:
        bench = Bench(selection, crews, tell)
        for name in selection.peers:
            if why := missing(PEERS[name]):
                bench.absent[name] = why
                tell(f"{PEERS[name].title} is left out: {why}")
        accuracies = check_accuracies(bench)
        for work in selection.cells:
            choose_forms(bench, work)
        count_trials(bench)
        for i in range(selection.rounds):
            before = time.perf_counter()
            for work in selection.cells:
                one_round(bench, work, i)
            passed = time.perf_counter() - before
            if time.perf_counter() - began + passed > 60 * selection.minutes and i + 1 < selection.rounds:
                tell(
                    f"{i + 1} of {selection.rounds} rounds: another would pass {selection.minutes:g} minutes"
                )
                break
    return pd.DataFrame([*bench.rows, *_absent_rows(bench)]).assign(**machine()), accuracies


def check_accuracies(bench: Bench) -> pd.DataFrame:
    """Every peer's test accuracy of the reference trials, which must be the harness's but for noise."""
    rows = []
    for optimizer in optimizers_of(bench.selection.cells):
        work = Work(optimizer=optimizer).reference()
        names = [
            name for name in dict.fromkeys([HARNESS, *bench.selection.peers]) if name not in bench.absent
        ]
        for name in names:
            found = bench.time(name, bench.forms(name)[0], work, "all")["accuracies"]
            accuracy = mean(found) if found else float("nan")
            rows.append(
                {"optimizer": optimizer, "peer": name, "trials": len(found), "test_accuracy": accuracy}
            )
            bench.tell(f"same work? {words(work)}: {PEERS[name].title}: {accuracy:.4f}")
    table = pd.DataFrame(rows)
    ours = table[table["peer"].eq(HARNESS)].set_index("optimizer")["test_accuracy"]
    table["difference"] = table["test_accuracy"] - table["optimizer"].map(ours)
    others = table[~(table["difference"].abs() < SAME)]
    if len(others):
        raise AssertionError(
            f"not the same work: test accuracies that differ from the harness's by {SAME} or more (or none, "
            f"where a peer failed):\n{others.to_string(index=False)}"
        )
    return table


def choose_forms(bench: Bench, work: Work) -> None:
    """The best form of each of a cell's peers, by a short try of each."""
    for name in bench.taking_part(work):
        forms = distinct(still_open(bench, name, work), work)
        if len(forms) == 1:
            bench.best[name, work] = forms[0]
            continue
        tried = {
            form: bench.time(name, form, work, "parts", TRY).get("seconds", float("inf")) for form in forms
        }
        bench.best[name, work] = min(tried, key=tried.__getitem__)
        told = "; ".join(f"{form.words}: {seconds:.1f} s" for form, seconds in tried.items())
        bench.tell(f"{words(work)}: {PEERS[name].title}: {told}")


def still_open(bench: Bench, name: str, work: Work) -> Sequence[Form]:
    """The forms to try: processes and variant as in an earlier cell of this shape and optimizer, any K."""
    for (peer, other), best in bench.best.items():
        if (peer, other.hidden, other.optimizer) == (name, work.hidden, work.optimizer):
            like = (best.a_core, best.threads, best.variant)
            return [f for f in bench.forms(name) if (f.a_core, f.threads, f.variant) == like]
    return bench.forms(name)


def distinct(forms: Sequence[Form], work: Work) -> list[Form]:
    """Forms less those that are another's with so few trials: a process has no more members than trials."""
    kept: dict[Form, Form] = {}
    for form in forms:
        most = math.ceil(work.trials / cores()) if form.a_core else work.trials
        kept.setdefault(replace(form, members=min(form.members, most)), form)
    return list(kept.values())


def one_round(bench: Bench, work: Work, i: int) -> None:
    """Every peer of a cell once, and the machine's GEMM rate."""
    names = bench.taking_part(work)
    turn = i % len(names)
    rate, product = bench.crews.of("gemm", GEMM).rates()
    for name in [*names[turn:], *names[:turn]]:
        extent: Extent = "group" if PEERS[name].whole else "parts"
        row = bench.time(name, bench.best[name, work], work, extent)
        note(bench, {"round": i, **row, "gemm_gflops": rate, "gemm": product}, work)


def note(bench: Bench, row: Row, work: Work) -> None:
    """Keep a timing, and tell it."""
    accuracies = row.pop("accuracies")
    row["test_accuracy"] = mean(accuracies) if accuracies else None
    bench.rows.append({**cell(work), **row})
    if not row["failed"]:
        told = f" ({row['extrapolated']})" if row["extrapolated"] else ""
        title, seconds = PEERS[row["peer"]].title, row["seconds"]
        bench.tell(f"round {row['round'] + 1}: {words(work)}: {title}: {seconds:.2f} s{told}")


def count_trials(bench: Bench) -> None:
    """What short trials cost, by their number: each number once, after a warm-up."""
    for i, n in enumerate(bench.selection.counts):
        work = short(n)
        for name in [name for name in bench.taking_part(work) if name in COUNTED]:
            extent: Extent = "group" if PEERS[name].whole else "parts"
            form = _for_short(bench, name)
            if i == 0:
                bench.time(name, form, work, extent)
            note(bench, {"round": 0, **bench.time(name, form, work, extent)}, work)


def _for_short(bench: Bench, name: str) -> Form:
    """The form that was chosen for the first cell."""
    chosen = [form for (peer, _), form in bench.best.items() if peer == name]
    return chosen[0] if chosen else bench.forms(name)[0]


def cell(work: Work) -> Row:
    """A cell as columns."""
    return {
        "cell": words(work), "dataset": work.dataset, "shape": work.shape, "batch_size": work.batch_size,
        "optimizer": work.optimizer, "trials": work.trials, "epochs": work.epochs, "steps": work.steps,
        "gflop": work.flops / 1e9,
    }  # fmt: skip


def machine() -> Row:
    """Where and with what it was measured, as columns."""
    found: Row = {"cpu": _cpu(), "cores": cores(), "commit": _commit(), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _absent_rows(bench: Bench) -> list[Row]:
    return [
        {**cell(work), "peer": name, "failed": why}
        for work in bench.selection.cells
        for name, why in bench.absent.items()
        if name in bench.selection.of(work)
    ]

"""The bench's arithmetic: what is counted, kept, compared and judged. Nothing is timed here."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bench
import bench_figure
import cells
import gate
import instructions
import jax_side
import measuring
import numpy as np
import own_components
import pandas as pd
import pytest
import sides
import tables
import torch
import worktrees
from cells import CELLS, GROUPS, Cell
from click.testing import CliRunner
from peers import PEERS, Form, crews, groups, in_memory, shares, sklearn_mlp, vmap
from peers.shares import Share, Timing
from rich.console import Console
from rows import Measured, NotMeasuredError, Rows
from sides import HARNESS, JAX, OTHER

from harness import study
from harness.axes import plugins
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.samples import Data, Split, prepare
from harness.errors import UsageError
from harness.planning.plan import make
from harness.plots.style import save


def take_own_ones_back() -> None:
    """Unregister the plugin of `cells`: other tests in this process see the harness alone."""
    for registry in plugins.catalogue().values():
        registry.remove_of(own_components.__name__)


take_own_ones_back()


@pytest.fixture(autouse=True)
def own_ones() -> Iterator[None]:
    """The plugin, as `cells` registers it."""
    importlib.reload(own_components)
    yield
    take_own_ones_back()


DIGITS = Cell("digits", {"dataset": "digits", "hidden": [8]}, trials=2, epochs=2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass when a test says so: `clock[0] += 1`; half of them are the processor's."""
    now = [0.0]
    monkeypatch.setattr(groups, "now", lambda: np.array([now[0], now[0] / 2]))
    return now


class Ticking:
    """A group whose step takes 2 ms, evaluation of train 30 s, val 3 s and test 5 s."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock
        self.steps = 0

    def train(self, steps: int) -> None:
        self.clock[0] += 0.002 * steps
        self.steps += steps

    def evaluate(self, split: Split) -> Sequence[float]:
        self.clock[0] += {"train": 30.0, "val": 3.0, "test": 5.0}[split]
        return [0.5]


# -- cells


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_a_study_with_as_many_trials_as_it_says(name: str) -> None:
    cell = CELLS[name]
    asked = cell.tables()
    asked["study"].pop("plugins", None)  # it is imported here already
    found = study.load(worktrees.ROOT / "ablations" / cell.study) if cell.study else study.parse(asked)
    assert len(make(found, "stacked").trials) == cell.trials


def test_the_cells_that_were_asked_for_are_there() -> None:
    whole = {name: cell.whole for name, cell in CELLS.items()}
    assert {one["batch_size"] for one in whole.values()} >= {1, 8, 16, 32, 64, 128, 512}
    assert {one["optimizer"] for one in whole.values()} >= {"sgd", "momentum", "adam", "rmsprop", "adagrad"}
    wide = CELLS["wide"]
    assert (wide.widths, wide.batch_size, wide.trials, wide.epochs) == ((784, 512, 512, 10), 128, 8, 1)
    assert (CELLS["h128"].widths, CELLS["h128"].optimizer, CELLS["h128"].batch_size) == (
        (784, 128, 10),
        "adam",
        64,
    )
    assert CELLS["rgb"].widths == (3072, 64, 10)
    assert {name for group in GROUPS.values() for name in group} <= set(CELLS)


def test_a_cell_counts_as_the_harness_does() -> None:
    plan = make(study.parse(DIGITS.tables()), "stacked")
    for trial in plan.trials:
        budget = Budget.of(trial.arm.settings, DIGITS.sizes[0])
        assert (budget.steps, len(budget.eval_steps)) == (DIGITS.steps, DIGITS.epochs + 1)
    data = DIGITS.load()
    assert tuple(len(data[split].y) for split in ("train", "val", "test")) == DIGITS.sizes
    assert (data.inputs, len(data.classes)) == (DIGITS.widths[0], DIGITS.widths[-1])


@pytest.mark.parametrize("trials", [1, 8, 64, 10_000])
def test_learning_rates_differ_and_lie_around_the_default(trials: int) -> None:
    rates = Cell("", {"optimizer": "adam"}, trials).rates
    assert len(set(rates)) == trials
    assert min(rates) == pytest.approx(0.001 / 8)
    assert max(rates) <= 0.002


def test_loops_take_only_what_they_can_train() -> None:
    plain = {name for name, cell in CELLS.items() if cell.plain}
    assert {"ce-1", "adam", "momentum", "wide", "fashion", "digits"} <= plain
    assert {"lenet5", "cnn-norm", "centres"} <= plain
    assert not plain & {"ql", "gelu", "standardize", "dropout", "rmsprop", "own", "ragged", "choices"}


def test_cells_are_chosen_by_name_and_by_group() -> None:
    assert list(cells.chosen("few,adam,few-adam")) == [*GROUPS["few"], "adam"]
    short = cells.chosen("ragged,ce-32", trials=4, epochs=1)
    assert [(one.trials, one.epochs, len(one.shapes)) for one in short.values()] == [(4, 1, 4), (4, 1, 0)]
    assert short["ce-32"].title == "batch 32 (only 4 x 1)"
    assert CELLS["ce-32"].shorter(100, None) == CELLS["ce-32"]
    with pytest.raises(UsageError, match=r"--cells adm: .*adam"):
        cells.chosen("adm")


def test_sides_and_instruction_sets_are_chosen_by_name() -> None:
    assert bench.chosen_sides("jax,pytorch") == [HARNESS, "jax", "pytorch"]
    assert not {name for name, peer in PEERS.items() if peer.slow} & set(bench.chosen_sides(""))
    with pytest.raises(UsageError, match=r"--sides jacks: .*jax"):
        bench.chosen_sides("jacks")
    assert bench.chosen_instructions("native,avx2,avx2") == ["native", "avx2"]
    with pytest.raises(UsageError, match=r"--instructions avx: .*avx2"):
        bench.chosen_instructions("avx")


# -- rows


KEY = {"machine": "M", "cores": 2, "cell": "ce-32", "trials": 64, "epochs": 3, "side": HARNESS,
       "instructions": "native", "version": "1, 2", "round": 0}  # fmt: skip
ABOUT = {"title": "batch 32", "measured": "", "load": 1.0, "commit": "abc"}


def test_rows_are_read_again_and_only_their_own_key_is_there(tmp_path: Path) -> None:
    first = Rows(tmp_path / "rows.csv")
    first.add(KEY, ABOUT, Measured(2.5, 2.5, 3.0, accuracy=None, form="a, b"))
    again = Rows(tmp_path / "rows.csv")
    assert KEY in again
    for name, other in {"round": 1, "version": "1, 3", "cores": 4, "side": JAX, "epochs": 1}.items():
        assert {**KEY, name: other} not in again
    (row,) = again.table().to_dict("records")
    assert (row["cpu"], row["form"], row["failed"]) == (2.5, "a, b", "")
    assert np.isnan(row["accuracy"])


def test_a_line_that_was_cut_off_loses_one_measurement(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    kept = Rows(file)
    for i in range(3):
        kept.add({**KEY, "round": i}, ABOUT, Measured(1.0 + i, 1.0, 1.0))
    os.truncate(file, file.stat().st_size - 9)
    again = Rows(file)
    assert [{**KEY, "round": i} in again for i in range(3)] == [True, True, False]
    again.add({**KEY, "round": 2}, ABOUT, Measured(9.0, 9.0, 9.0))
    assert Rows(file).table()["cpu"].tolist() == [1.0, 2.0, 9.0]


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    kept = Rows(tmp_path / "rows.csv")
    kept.add(KEY, ABOUT, Measured(failed="two\nlines"))
    assert KEY not in Rows(tmp_path / "rows.csv")
    kept.add(KEY, ABOUT, Measured(1.0, 1.0, 1.0))
    assert Rows(tmp_path / "rows.csv").table()["failed"].tolist() == [""]


def test_another_programs_rows_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("cell,dataset\nx,mnist\n")
    with pytest.raises(UsageError, match="name another --out"):
        Rows(file)
    assert file.read_text() == "cell,dataset\nx,mnist\n"


# -- rounds


@dataclasses.dataclass
class Made:
    """A side that takes what it is told, and notes when it was asked."""

    cpu: Iterator[float]
    asked: list[str] = dataclasses.field(default_factory=list)
    accuracy: float = 0.9

    def takes(self, cell: Cell) -> bool:
        return cell.jax

    def version(self, held: str) -> str:
        return f"made {held}"

    def warm_up(self, cell: Cell, held: str) -> None:
        self.asked.append(f"warm {cell.title}, {held}")

    def remember(self, row: Mapping[str, object]) -> None:
        self.asked.append(f"remember {row['form']}")

    def measure(self, cell: Cell, held: str) -> Measured:
        self.asked.append(f"{cell.title}, {held}")
        cpu = next(self.cpu)
        if cpu < 0:
            raise NotMeasuredError("it broke")
        return Measured(cpu, cpu, cpu, accuracy=self.accuracy)


def a_bench(folder: Path, made: dict[str, Made], names: Sequence[str] = ("ce-32",)) -> measuring.Bench:
    chosen = {name: CELLS[name] for name in names}
    return measuring.Bench(chosen, made, Rows(folder / "rows.csv"), "abc", lambda _: None)


def test_a_second_call_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    def made() -> dict[str, Made]:
        return {HARNESS: Made(itertools.repeat(1.0)), OTHER: Made(itertools.repeat(2.0))}

    first = a_bench(tmp_path, made())
    assert first.one_round(0)
    lines = (tmp_path / "rows.csv").read_text().splitlines(keepends=True)
    (tmp_path / "rows.csv").write_text("".join(lines[:-1]))  # it was killed before its last row
    second = a_bench(tmp_path, both := made())
    assert second.missing(0) == [("ce-32", OTHER, "native")]
    assert second.one_round(0)
    assert [one.asked for one in both.values()] == [[], ["warm batch 32, native", "batch 32, native"]]
    assert (len(second.table()), second.missing(0), len(second.missing(1))) == (2, [], 2)


def test_each_call_warms_up_whatever_its_first_round_is(tmp_path: Path) -> None:
    """Another revision's checkout is a new one in each call, with no compiled modules."""
    for i in range(2):
        bench_ = a_bench(tmp_path, made := {HARNESS: Made(itertools.repeat(1.0))})
        assert bench_.one_round(2 * i)
        assert bench_.one_round(2 * i + 1)
        assert made[HARNESS].asked == ["warm batch 32, native", *["batch 32, native"] * 2]


def test_forms_of_an_earlier_call_are_taken_again(tmp_path: Path) -> None:
    version = a_bench(tmp_path, {HARNESS: Made(itertools.repeat(1.0))}).key("ce-32", HARNESS, "native", 0)
    kept = Rows(tmp_path / "rows.csv")
    kept.add(version, ABOUT, Measured(1.0, 1.0, 1.0, form="rows 8"))
    kept.add({**version, "version": "older"}, ABOUT, Measured(1.0, 1.0, 1.0, form="rows 9"))
    again = a_bench(tmp_path, made := {HARNESS: Made(itertools.repeat(1.0))})
    again.remember()
    assert made[HARNESS].asked == ["remember rows 8"]


def test_the_order_rotates_and_a_side_takes_what_it_can(tmp_path: Path) -> None:
    both = {HARNESS: Made(itertools.repeat(1.0)), OTHER: Made(itertools.repeat(2.0))}
    found = a_bench(tmp_path, both, ("ce-32", "adam"))
    found.instructions = ("native", "avx2")
    assert [side for _, side, _ in found.planned(0)] == [HARNESS, OTHER] * 4
    assert [side for _, side, _ in found.planned(1)] == [OTHER, HARNESS] * 4
    assert {held for _, _, held in found.planned(0)} == {"native", "avx2"}


def test_nothing_begins_after_the_deadline(tmp_path: Path) -> None:
    found = a_bench(tmp_path, {HARNESS: Made(itertools.repeat(1.0))})
    found.deadline = 0.0
    assert not found.one_round(0)
    assert len(found.table()) == 0


def test_what_breaks_is_a_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    both = {HARNESS: Made(itertools.repeat(1.0)), OTHER: Made(itertools.repeat(-1.0))}
    found = a_bench(tmp_path, both)
    assert found.one_round(0)
    assert found.one_round(1)
    assert found.table()["failed"].tolist() == ["", "it broke", ""]  # it is not tried twice in a call
    (problem,) = tables.different(found.table())
    assert "the other revision: it broke" in problem


# -- ratios


def table_of(cpu: dict[str, Sequence[float]], accuracy: float = 0.9) -> pd.DataFrame:
    """Rows as the bench keeps them; the seconds are twice the processor's."""
    return pd.DataFrame([
        {**KEY, **ABOUT, **dataclasses.asdict(Measured(one, one, 2 * one, accuracy=accuracy)),
         "side": side, "round": i}
        for side, all_of_it in cpu.items()
        for i, one in enumerate(all_of_it)
    ])  # fmt: skip


def test_ratios_are_taken_within_a_round() -> None:
    found = tables.summary(table_of({HARNESS: [10.0, 20.0, 40.0], JAX: [20.0, 20.0, 20.0]}))
    ours, jax = found.to_dict("records")
    assert (jax["ratio"], jax["low"], jax["high"], jax["rounds"]) == (1.0, 0.5, 2.0, 3)
    assert (ours["ratio"], ours["low"], ours["high"]) == (1.0, 1.0, 1.0)
    assert (ours["cpu"], ours["wall"]) == (20.0, 40.0)


def test_sides_that_do_other_work_are_told() -> None:
    same, other = table_of({HARNESS: [1.0]}), table_of({JAX: [1.0]}, accuracy=0.88)
    assert not tables.different(pd.concat([same, table_of({JAX: [2.0]}, accuracy=0.891)]))
    (problem,) = tables.different(pd.concat([same, other]))
    assert "batch 32: not the same work" in problem
    assert "JAX, its best form 0.8800" in problem


def test_the_table_and_the_figure_have_every_side(tmp_path: Path) -> None:
    rounds = table_of({HARNESS: [10.0, 12.0], "vmap": [50.0, 40.0]})
    console = Console(width=170, record=True, file=(tmp_path / "screen").open("w"))
    tables.show(rounds, console)
    console.file.close()
    told = console.export_text()
    assert "4.17 (3.33 to 5.00)" in told
    assert "torch.func vmap" in told
    assert "loops are checked once an optimizer" in told
    figure = bench_figure.figure(rounds)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["batch 32"]
    assert ax.get_xlim()[0] < 1 < 5 < ax.get_xlim()[1]
    assert all(path.stat().st_size for path in save(figure, tmp_path / "bench"))


# -- the gate


def builds(
    slower: Sequence[float], noise: float, rounds: int = gate.LOOKS[-1], seed: int = 0
) -> pd.DataFrame:
    """Logarithms of ratios of as many cells, each slower by a factor, with noise of a heavy tail."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame([
        {"cell": f"c{c}", "round": i, "log_ratio": np.log(factor) + noise * rng.standard_t(4) / np.sqrt(2)}
        for i in range(rounds)
        for c, factor in enumerate(slower)
    ])  # fmt: skip


def code_after(found: pd.DataFrame) -> tuple[int, int]:
    """The gate's exit code, and after how many rounds."""
    for n in gate.LOOKS:
        if (code := gate.decided(gate.judged(found[found["round"] < n]))) != gate.UNKNOWN:
            return code, n
    return gate.UNKNOWN, gate.LOOKS[-1]


@pytest.mark.parametrize(
    ("slower", "noise", "code"),
    [
        ([1.0] * 6, 0.01, gate.NOTHING),
        ([1.0, 1.0, 1.0, 1.1, 1.0, 1.0], 0.02, gate.SLOWER),
        ([0.5] * 6, 0.02, gate.NOTHING),
        ([0.5] * 5 + [1.2], 0.02, gate.SLOWER),  # what got faster pays for nothing
        ([1.02] * 6, 0.003, gate.NOTHING),  # there, and within the margin
        ([1.0] * 6, 0.3, gate.UNKNOWN),
    ],
)
def test_the_gate_decides(slower: Sequence[float], noise: float, code: int) -> None:
    assert code_after(builds(slower, noise))[0] == code


def test_the_gate_stops_as_soon_as_it_knows() -> None:
    assert code_after(builds([1.3] * 6, 0.02)) == (gate.SLOWER, gate.LOOKS[0])
    assert code_after(builds([1.0] * 6, 0.01)) == (gate.NOTHING, gate.LOOKS[0])


def test_both_errors_of_the_gate_are_rare() -> None:
    """100 gates each: of equal builds, and of a cell that is slower by just the margin."""
    equal = [code_after(builds([1.0] * 6, 0.06, seed=seed))[0] for seed in range(100)]
    assert equal.count(gate.SLOWER) <= 100 * gate.ALPHA
    worse = [
        code_after(builds([1.0] * 5 + [1 + gate.MARGIN], 0.03, seed=seed))[0] for seed in range(100, 200)
    ]
    assert worse.count(gate.NOTHING) <= 100 * gate.ALPHA


def test_intervals_of_the_gate_by_hand() -> None:
    found = pd.DataFrame({"cell": "a", "round": range(4), "log_ratio": np.log([1.0, 1.1, 1.0, 1.1])})
    (row,) = gate.judged(found).to_dict("records")
    mean, error = np.log(1.1) / 2, np.log(1.1) / np.sqrt(3) / 2
    assert row["ratio"] == pytest.approx(np.exp(mean))
    # Student's t with 3 degrees of freedom leaves 0.05 / 3 above 3.7399 (one cell, three looks).
    assert row["low"] == pytest.approx(np.exp(mean - 3.7399 * error), rel=1e-4)
    assert row["high"] == pytest.approx(np.exp(mean + 3.7399 * error), rel=1e-4)


def test_only_rounds_that_both_builds_have_are_judged() -> None:
    rounds = table_of({HARNESS: [2.0, 4.0, 6.0], OTHER: [1.0, 4.0]})
    found = gate.ratios(rounds, 6)
    assert found[["round", "log_ratio"]].to_numpy().tolist() == [[0, np.log(2)], [1, 0.0]]
    assert len(gate.ratios(rounds, 1)) == 1


@pytest.mark.parametrize(("factor", "code"), [(1.0, gate.NOTHING), (1.3, gate.SLOWER)])
def test_a_gate_from_rows_to_exit_code(tmp_path: Path, factor: float, code: int) -> None:
    rng = np.random.default_rng(1)

    def seconds(by: float) -> Iterator[float]:
        while True:
            yield float(by * np.exp(0.01 * rng.standard_normal()))

    found = a_bench(tmp_path, {HARNESS: Made(seconds(factor)), OTHER: Made(seconds(1.0))})
    answer = gate.run(found, gate.MARGIN, lambda _: None)
    assert (answer.code, len(found.table())) == (code, 2 * gate.LOOKS[0])


def test_builds_that_break_or_train_otherwise_are_no_verdict(tmp_path: Path) -> None:
    broken = a_bench(
        tmp_path / "a", {HARNESS: Made(itertools.repeat(1.0)), OTHER: Made(itertools.repeat(-1.0))}
    )
    answer = gate.run(broken, gate.MARGIN, lambda _: None)
    assert (answer.code, "it broke" in answer.words) == (gate.UNKNOWN, True)
    worse = Made(itertools.repeat(1.0), accuracy=0.5)
    other = a_bench(tmp_path / "b", {HARNESS: worse, OTHER: Made(itertools.repeat(1.0))})
    answer = gate.run(other, gate.MARGIN, lambda _: None)
    assert (answer.code, "not the same work" in answer.words) == (gate.UNKNOWN, True)


def test_a_gate_without_time_cannot_tell(tmp_path: Path) -> None:
    found = a_bench(tmp_path, {HARNESS: Made(itertools.repeat(1.0)), OTHER: Made(itertools.repeat(1.0))})
    found.deadline = 0.0
    answer = gate.run(found, gate.MARGIN, lambda _: None)
    assert (answer.code, "nobody can tell after 0 of" in answer.words) == (gate.UNKNOWN, True)


def test_a_revision_that_does_not_exist_is_exit_code_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(bench.main, ["--gate", "no-such-revision", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "'no-such-revision': no commit of this repository" in done.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sides", "jax"], "--gate with --sides: "),
        (["--against", "HEAD", "--rounds", "3"], "--gate with --against and --rounds: "),
        (["--jax", "python"], "--gate with --jax: "),
    ],
)
def test_the_gate_refuses_what_it_would_ignore(tmp_path: Path, options: list[str], words: str) -> None:
    told = CliRunner().invoke(bench.main, ["--gate", "no-such-revision", "--out", str(tmp_path), *options])
    assert told.exit_code == 2
    assert words in told.output
    assert "Allowed beside it: --cells" in told.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gate", ""], "--gate and --against: got an empty text"),
        (["--against", ""], "--gate and --against: got an empty text"),
        (["--gate", "HEAD", "--margin", "nan"], "--margin and --minutes: got nan"),
    ],
)
def test_options_that_would_compare_nothing_are_refused(
    options: Sequence[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "Crews", pytest.fail)  # no bench begins
    done = CliRunner().invoke(bench.main, [*options, "--out", str(tmp_path)])
    assert (done.exit_code, words in done.output) == (2, True)


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match=r"--out .*: File exists; allowed is a folder"):
        Rows(tmp_path / "out" / "rows.csv")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a harness that can be imported, and one (`broken`) that cannot."""
    root = tmp_path / "repository"
    (root / "harness").mkdir(parents=True)

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)

    git("init", "-b", "main")
    for name, text in {"good": "", "broken": "raise ImportError('cannot build')\n"}.items():
        (root / "harness" / "__init__.py").write_text(f'"""{name}"""\n{text}')
        git("add", "-A")
        git("commit", "-m", name)
        git("tag", name)
    return root


def test_a_worktree_is_of_the_revision_and_gone_afterwards(repository: Path) -> None:
    with worktrees.worktree(repository, "good") as place:
        assert (place / "harness" / "__init__.py").read_text() == '"""good"""\n'
    assert not place.exists()
    assert worktrees.git(repository, "worktree", "list").stdout.count("\n") == 1


def test_a_revision_that_does_not_build_is_told(repository: Path) -> None:
    told = pytest.raises(UsageError, match=r"(?s)'broken' cannot be measured: .*cannot build")
    with told, worktrees.worktree(repository, "broken"):
        pass
    assert worktrees.git(repository, "worktree", "list").stdout.count("\n") == 1


# -- JAX


def known(*flags: str, version: str = "0.9") -> object:
    """A Python whose JAX knows these flags."""
    return lambda _python, asked: version if all(one in flags for one in asked.split()) else ""


def test_flags_that_a_version_does_not_know_are_left_out() -> None:
    newest, missing = jax_side.environments(["p"], "native", known(*jax_side.ALWAYS, jax_side.FUSION))  # type: ignore[arg-type]
    assert [one.title for one in newest] == ["0.9", "0.9 without reduce fusion"]
    assert newest[1].flags.endswith(jax_side.FUSION)
    assert not missing
    (old,), missing = jax_side.environments(["p"], "native", known(jax_side.ALWAYS[1]))  # type: ignore[arg-type]
    assert old.flags == jax_side.ALWAYS[1]
    none, missing = jax_side.environments(["p"], "avx2", known())  # type: ignore[arg-type]
    assert not none
    assert "cannot be held to avx2" in missing[0]


def test_a_python_without_jax_is_told() -> None:
    none, missing = jax_side.environments([sys.executable + "-not-there"], "native")
    assert not none
    assert "JAX cannot be imported in" in missing[0]


def test_the_best_form_is_of_all_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"new": 2.0, "old": 1.0}
    told: list[str] = []
    environments = [jax_side.Environment(title, "p", "") for title in [*taken, "dead"]]
    jax = jax_side.Jax({"native": environments}, tmp_path, told.append)

    def run(
        _self: object, _cell: Cell, env: jax_side.Environment, asked: list[dict[str, list[str]]]
    ) -> object:
        if env.title == "dead":
            raise NotMeasuredError("dead")
        return [{"tried": {form: taken[env.title] + len(form) for form in one["tries"]}} for one in asked]

    monkeypatch.setattr(jax_side.Jax, "_run", run)
    assert jax.best_form(CELLS["ce-32"], "native", [[0.1] * 32, [0.1] * 32]) == "old, rows 16"
    assert any("dead" in one for one in told)


@pytest.mark.parametrize("preprocessing", ["unit", "standardize"])
def test_jax_gets_the_harnesss_pixels(tmp_path: Path, preprocessing: str) -> None:
    cell = Cell("", {"dataset": "digits", "preprocessing": preprocessing})
    images = jax_side.Jax({}, tmp_path, print)._images(cell)
    wanted = prepare(Settings(cell.whole))
    for split in jax_side.SPLITS:
        raw = np.load(Path(images["images"]) / f"{split}_x.npy")
        assert raw.dtype == np.uint8
        np.testing.assert_allclose(raw * images["scale"] + images["shift"], wanted[split].x, atol=2e-6)
        np.testing.assert_array_equal(np.load(Path(images["images"]) / f"{split}_y.npy"), wanted[split].y)


def test_jax_judges_images_in_equal_pieces() -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    from peers import jax_components

    counts = {54_000: 250, 10_800: 240, 144: 144, 1294: 1294, 1: 1}
    assert {n: jax_components.piece_of(n) for n in counts} == counts


@pytest.mark.parametrize("form", ["images 2", "members 2", "rows 2"])
def test_jax_trains_as_the_harness_does(form: str, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    cell = Cell("", {"dataset": "digits", "batch_size": 16}, trials=2, epochs=20, octaves=(0.0, 1.0))
    found = jax_side.Jax({}, tmp_path, print)
    taken = jax_side.Environment("here", sys.executable, "")
    (one,) = found._run(cell, taken, [{"rates": list(cell.rates), "form": form}])
    ours = sides.HarnessSide(worktrees.ROOT, tmp_path).measure(cell, "native")
    assert np.mean(one["accuracies"]) == pytest.approx(ours.accuracy, abs=0.03)
    assert json.dumps(sorted(one["cpu"])) == '["compile", "evaluate", "load", "start", "train"]'


# -- loops


def test_shares_hold_every_trial_once() -> None:
    cell = Cell("", trials=7)
    dealt = shares.shares(cell, 3, members=16)
    assert sorted(itertools.chain(*(share.rates for share in dealt))) == sorted(cell.rates)
    assert [share.members for share in dealt] == [3, 2, 2]  # no wider than there are trials
    assert len(shares.shares(Cell("", trials=2), 16)) == 2
    share = dataclasses.replace(dealt[0], extent="group", variant="fused")
    sent = json.loads(json.dumps(shares.as_json(share)))
    assert shares.from_json(sent).rates == share.rates
    assert shares.from_json(sent).work.rates == cell.rates


def test_steps_and_evaluations_are_multiplied(clock: list[float]) -> None:
    cell = Cell("", trials=6, epochs=3)
    share = Share(cell, cell.rates, members=2, slice=1.0)
    group = Ticking(clock)

    def start(_data: Data, _share: Share) -> Ticking:
        clock[0] += 7.0
        return group

    timing = groups.in_parts(share, start, DIGITS.load(), 100, 5)
    one = 7.0 + cell.steps * 0.002 + 4 * 33.0 + 5.0
    assert timing.wall == pytest.approx(3 * one)  # 6 trials, 2 a group
    assert timing.cpu == pytest.approx(1.5 * one)
    assert group.steps == 505  # one second of them, after the warm-up
    assert "500 of 5064 steps of 2 of 6 trials" in timing.extrapolated


@pytest.mark.parametrize(("extent", "groups_trained"), [("group", 1), ("all", 3)])
def test_whole_groups_are_counted_for_the_others(
    clock: list[float], extent: shares.Extent, groups_trained: int
) -> None:
    cell = dataclasses.replace(DIGITS, trials=3)
    share = Share(cell, cell.rates, members=1, extent=extent)
    timing = groups.time(share, lambda _data, _share: Ticking(clock))
    one = cell.steps * 0.002 + 3 * 33.0 + 5.0
    assert timing.wall == pytest.approx(3 * one)
    assert timing.cpu == pytest.approx(1.5 * one)
    assert len(timing.accuracies) == groups_trained
    assert bool(timing.extrapolated) == (groups_trained < 3)


def test_processor_seconds_add_up_and_the_slowest_process_is_waited_for() -> None:
    both = crews.as_one([Timing(3.0, 1.0, 2), Timing(4.0, 2.0, 1)])
    assert (both.wall, both.cpu, both.trials) == (4.0, 3.0, 3)


def test_forms_that_few_trials_make_the_same_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "cores", lambda: 2)
    forms = PEERS["vmap"].forms
    assert sides._distinct(forms, Cell("", trials=512)) == list(forms)
    assert sides._distinct(forms, Cell("", trials=8)) == [Form(True, 8)]
    assert [f.members for f in sides._distinct(forms, Cell("", trials=32))] == [8, 16]


def test_a_loop_whose_form_is_known_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = PEERS["vmap"]
    loop = sides.LoopSide(
        peer, crews.Crews(), sides.Reference(sides.HarnessSide(worktrees.ROOT, worktrees.ROOT))
    )
    loop.remember({"title": "t", "instructions": "native", "form": peer.forms[1].words})
    timed: list[tuple[Form, Cell]] = []

    def time(_self: object, _peer: object, form: Form, cell: Cell, *_: object, **__: object) -> Timing:
        timed.append((form, cell))
        return Timing(1.0, 2.0, 3)

    monkeypatch.setattr(crews.Crews, "time", time)
    cell = Cell("t")
    loop.warm_up(cell, "native")
    assert loop.measure(cell, "native").cpu == 2.0
    assert timed == [(peer.forms[1], cell)]


def test_networks_that_are_no_mlps_are_for_some_sides(tmp_path: Path) -> None:
    cell, mlp = CELLS["lenet5"], CELLS["ce-32"]
    loop = sides.HarnessSide(worktrees.ROOT, tmp_path, engine="loop")
    assert [loop.takes(one) for one in (cell, mlp)] == [True, False]
    takes = {name for name, peer in PEERS.items() if sides.LoopSide(peer, None, None).takes(cell)}  # type: ignore[arg-type]
    assert takes == {"in_memory_cores", "vmap"}
    assert "hidden" not in cell.whole
    assert "hidden" in mlp.whole


@pytest.mark.parametrize(
    "settings",
    [
        *({"hidden": [16], "optimizer": optimizer} for optimizer in cells.LOOPS_OPTIMIZERS),
        {"architecture": "cnn", "norm": "batch", "channels": [4, 6]},
    ],
    ids=str,
)
def test_members_of_vmap_train_as_with_torch_optim(settings: dict[str, Any]) -> None:
    cell = Cell("", {"dataset": "digits", **settings}, 3, 1)
    share = Share(cell, cell.rates, members=3)
    data = cell.load()
    together = vmap.Members(data, share)
    alone = in_memory.Trial(data, share, cell.rates[2])
    mine = dict(alone.model.named_parameters())
    with torch.no_grad():
        for name, stacked in together.parameters.items():
            mine[name].copy_(stacked[2])
    for group in (together, alone):
        with torch.random.fork_rng():
            torch.manual_seed(3)  # the order of the images
            group.train(cell.steps)
    kept = dict(alone.model.named_buffers())
    for name, stacked in (together.parameters | together.buffers).items():
        torch.testing.assert_close((mine | kept)[name].detach(), stacked[2], rtol=1e-4, atol=1e-5)
    assert together.evaluate("test")[2] == pytest.approx(alone.evaluate("test")[0], abs=0.003)


def test_a_classifier_of_scikit_learn_begins_as_torch_does_and_learns() -> None:
    cell = Cell("", {"dataset": "digits", "hidden": [16]}, trials=1, epochs=3, octaves=(0.0, 0.0))
    model = sklearn_mlp.Classifier(cell.load(), Share(cell, cell.rates))
    assert max(abs(w).max() for w in model.model.coefs_[:1]) <= 64**-0.5
    before = model.evaluate("test")[0]
    for _ in range(cell.epochs):
        model.train(cell.steps_per_epoch)
    assert before < 0.3 < 0.6 < model.evaluate("test")[0]


def test_a_peer_that_fails_says_why() -> None:
    wrong = Cell("", {"dataset": "nowhere", "hidden": [8]}, trials=1)
    with crews.Crews() as opened, pytest.raises(crews.PeerError, match="nowhere"):
        opened.of("in_memory", Form()).all_do("time", [Share(wrong, (0.1,))])


def test_a_missing_peer_is_told() -> None:
    absent = dataclasses.replace(PEERS["ray"], needs=("no_such_library",))
    assert crews.missing(absent).startswith("no_such_library is not installed")
    assert not crews.missing(PEERS["in_memory"])


# -- the harness


def test_a_run_of_the_harness_is_counted(tmp_path: Path) -> None:
    found = sides.HarnessSide(worktrees.ROOT, tmp_path).measure(DIGITS, instructions.NATIVE)
    assert (found.trials_done, found.extrapolated, found.failed) == (2, "", "")
    assert found.cpu is not None
    assert found.cpu > 0.1  # an interpreter starts
    assert not list(tmp_path.iterdir())


def test_code_that_differs_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = sides.code_of(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("2")
    assert sides.code_of(tmp_path) == before
    (tmp_path / "a.py").write_text("2")
    assert sides.code_of(tmp_path) != before

"""Runs by a network of a person's own: whose rows a folder holds, in which processes, and what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness
from harness.axes import own_networks
from harness.cli import main
from harness.errors import UsageError
from harness.registry import PACKAGE_ROOT
from harness.results import part_files
from harness.study.study import Study
from harness.training import folder_runs

GOOD = (PACKAGE_ROOT.parent / "docs" / "examples" / "my_network.py").read_text(encoding="utf-8")
OTHER = GOOD.replace("self.h > 0", "self.h >= 0")
SOFTMAX = {"hidden": [12], "head": "softmax", "epochs": 1}
Make = Callable[..., Study]


@pytest.fixture
def study(study_of: Make) -> Study:
    return study_of({"lr": [0.1, 0.5]}, study={"seeds": 2}, **SOFTMAX)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(GOOD, encoding="utf-8")
    return path


def trials_of(folder: Path) -> pd.DataFrame:
    return harness.read(folder).trials.set_index("trial_id").sort_index()


def run(study: Study, folder: Path, engine: Any, **options: Any) -> pd.DataFrame:
    harness.run(study, folder, engine=engine, device="cpu", **options)
    return trials_of(folder)


def test_workers_and_one_process_and_the_numpy_engine_say_the_same(
    study: Study, file: Path, tmp_path: Path
) -> None:
    one = run(study, tmp_path / "one", file, workers=1)
    two = run(study, tmp_path / "two", str(file), workers=2)  # torch is imported: they are spawned
    theirs = run(study, tmp_path / "theirs", "numpy", workers=1)
    name = own_networks.named(file)
    assert set(one["engine"]) == set(two["engine"]) == {name}
    assert set(one["status"]) == {"ok"}
    assert one["kernels"].str.fullmatch(rf"own-{name[-10:]}-numpy-.*").all()
    columns = [column for column in map(str, one) if column.endswith(("_loss", "_accuracy"))]
    pd.testing.assert_frame_equal(one[columns], two[columns], check_exact=True)
    pd.testing.assert_frame_equal(one[columns], theirs[columns], rtol=1e-5)
    compared = harness.compare(tmp_path / "one", tmp_path / "theirs")
    assert (compared.arms["difference"].abs() < 0.003).all()


@pytest.mark.parametrize("other", ["stacked", "numpy", OTHER])
def test_a_folder_holds_the_rows_of_one_network(study: Study, file: Path, tmp_path: Path, other: str) -> None:
    folder = tmp_path / "results"
    first = run(study, folder, file, workers=1)
    pd.testing.assert_frame_equal(run(study, folder, file, workers=1), first)  # nothing to train
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    engine: Any = other
    if other == OTHER:
        file.write_text(OTHER, encoding="utf-8")
        engine = file
    words = (
        "own:net, whose code, or a value that it reads, has changed since"
        if other == OTHER
        else "engine own:net@"
    )
    with pytest.raises(UsageError, match=f"has 4 finished trials of {words}.*must not be mixed.*--retrain"):
        run(study, folder, engine, workers=1)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    anew = run(study, folder, engine, workers=1, retrain=True)
    assert set(anew["engine"]) == {own_networks.named(engine)}
    assert not part_files.to_renew(folder)
    assert len(list((folder / "parts").glob("*.zip"))) == len(set(anew["group"]))
    assert len(list((folder / "parts").glob("*.replaced"))) == 4


def test_an_own_network_does_not_go_on_with_anothers_rows(study: Study, file: Path, tmp_path: Path) -> None:
    first = run(study, tmp_path / "results", "numpy", workers=1)
    with pytest.raises(UsageError, match="has 4 finished trials of engine numpy; this run's is own:net@"):
        run(study, tmp_path / "results", file, workers=1)
    pd.testing.assert_frame_equal(trials_of(tmp_path / "results"), first)


def test_what_fails_while_it_trains_is_tried_again_with_the_mended_file(
    study: Study, file: Path, tmp_path: Path
) -> None:
    fails = "self.n = getattr(self, 'n', 0) + 1\n        assert self.n < 12, 'too often'\n        d2 ="
    file.write_text(GOOD.replace("d2 =", fails), encoding="utf-8")
    failed = run(study, tmp_path / "results", file, workers=1)
    assert set(failed["status"]) == {"failed"}
    reason = r"net\.py: gradients raises AssertionError: too often, line \d+ of net\.py"
    assert all(re.match(reason, text) for text in failed["reason"])
    file.write_text(GOOD.replace("d2 =", fails).replace("too often", "again"), encoding="utf-8")
    assert run(study, tmp_path / "results", file, workers=1)["reason"].str.contains("again").all()
    file.write_text(GOOD, encoding="utf-8")
    assert set(run(study, tmp_path / "results", file, workers=1)["status"]) == {"ok"}


def test_a_diverging_network_is_marked_as_the_harnesss_is(study_of: Make, file: Path, tmp_path: Path) -> None:
    study = study_of({"lr": [1e20]}, study={"seeds": 1}, **SOFTMAX)
    mine = run(study, tmp_path / "mine", file, workers=1)
    assert set(mine["status"]) == {"diverged"}


def test_a_class_trains_in_this_process(study: Study, file: Path, tmp_path: Path) -> None:
    kind = own_networks.find(own_networks.named(file)).kind
    trials = run(study, tmp_path / "results", kind, workers=2)
    assert set(trials["engine"]) == {own_networks.named(kind)}
    assert folder_runs.third_party_modules(harness.plan(study, kind), own_networks.named(kind)) is None


def test_export_refuses_what_only_the_persons_code_computes(study: Study, file: Path, tmp_path: Path) -> None:
    file.write_text(GOOD.replace("z = self.h", "z = 3 * self.h"), encoding="utf-8")
    run(study, tmp_path / "results", file, workers=1)
    assert not list((tmp_path / "results").glob("weights/*"))
    with pytest.raises(UsageError, match=r"was trained by a person's own network \(own:net@.*no weights"):
        harness.export("best", tmp_path / "out", results=tmp_path / "results")


def test_export_of_a_network_that_the_settings_describe(study: Study, file: Path, tmp_path: Path) -> None:
    trials = run(study, tmp_path / "results", file, workers=1)
    exported = harness.export("best", tmp_path / "out", results=tmp_path / "results")
    assert exported.right == exported.stored
    assert np.isclose(exported.stored / exported.images, trials["test_accuracy"]).any()


def test_a_search_takes_no_own_network(study: Study, file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a search trains with stacked, loop, numpy, not with a network"):
        harness.search(study, tmp_path / "results", engine=str(file))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_an_own_network_computes_on_the_processor(
    study: Study, file: Path, tmp_path: Path, device: str
) -> None:
    with pytest.raises(UsageError, match=f"device {device!r}: a network of your own in NumPy computes on"):
        harness.run(study, tmp_path / "results", engine=file, device=device)
    with pytest.raises(UsageError, match="--bits portable with --engine own:net@"):
        harness.run(study, tmp_path / "results", engine=file, bits="portable")


def test_a_folder_is_read_without_the_file(study: Study, file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    first = run(study, folder, file, workers=1)
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    pd.testing.assert_frame_equal(trials_of(folder), first)
    harness.compare(folder, folder)
    harness.report(folder)
    harness.export("best", tmp_path / "out", results=folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_wrong_network_ends_the_command_before_the_folder_is_there(
    file: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "s.toml").write_text(
        '[study]\nname = "s"\nseeds = 1\n[baseline]\ndataset = "digits"\nhidden = [12]\nhead = "softmax"\n'
        "[axes]\nlr = [0.1, 0.5]\n",
        encoding="utf-8",
    )
    file.write_text(GOOD.replace("d1.T @ x", "x.T @ d1"), encoding="utf-8")
    words = [command, str(tmp_path / "s.toml"), "--engine", str(file), "--results", str(tmp_path / "results")]
    with pytest.raises(UsageError, match=r"(?s)nothing was run.*gradients\(x, target\)\[0\] is .*transposed"):
        main.harness.main(words, standalone_mode=False)
    assert not (tmp_path / "results").exists()

"""What computed trials, and where: the columns kernels and host, words on them, and folders without."""

from __future__ import annotations

import io
import platform
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness import comparison, reporting, results
from harness.comparison import text as comparison_text
from harness.engines import bits
from harness.results import computation, csv_rows
from harness.study.study import Study
from harness.system import machine
from harness.training import runs

Make = Callable[..., Study]
NEW = ["kernels", "host"]


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["status", "kernels", "host"])


# ---------------------------------------------------------------------------------------------- the columns


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (None, "lab3"),
        ("", ""),
        ("node 7, rack B", "node-7-rack-B"),
        ("=cmd()", "cmd"),
        ("a.b", "a.b"),
        ("x" * 99, "x" * 40),
    ],
)
def test_a_host_is_the_machines_name_or_what_a_person_wants(
    given: str | None, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "node", lambda: "lab3.example.org")
    if given is None:
        monkeypatch.delenv(machine.HOST, raising=False)
    else:
        monkeypatch.setenv(machine.HOST, given)
    assert machine.host() == written


def test_rows_say_what_computed_them_and_where(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(machine.HOST, "12e3")  # which looks like a number
    runs.train(study_of({"lr": [0.1, 1e30]}, epochs=1), tmp_path, device="cpu", workers=1, engine="numpy")
    rows = results.read(tmp_path).trials
    assert set(rows["host"]) == {"12e3"}
    assert rows["kernels"].str.fullmatch(r"numpy-[0-9.]+-[0-9a-f]{8}").all()
    assert len(set(rows["kernels"])) == 1
    told = results.read(tmp_path).provenance
    assert told["host"] == told["runs"][0]["host"] == "12e3"


def test_each_engine_has_a_name_of_its_own(study_of: Make, tmp_path: Path) -> None:
    names = {}
    for engine in ("stacked", "loop", "numpy"):
        runs.train(study_of(epochs=1), tmp_path / engine, device="cpu", workers=1, engine=engine)
        (names[engine],) = set(results.read(tmp_path / engine).trials["kernels"])
    assert len(set(names.values())) == 3
    assert names["loop"].startswith("torch-")


def test_failed_trials_say_the_host_and_no_kernels(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("out of paper")

    monkeypatch.setenv(machine.HOST, "lab3")
    monkeypatch.setattr(bits, "of_trials", fail)
    runs.train(study_of(epochs=1), tmp_path, device="cpu", workers=1)
    rows = results.read(tmp_path).trials
    assert set(rows["status"]) == {"failed"}
    assert rows["kernels"].isna().all()
    assert set(rows["host"]) == {"lab3"}


# ------------------------------------------------------------------------------------------------- in words


def test_finished_trials_are_counted_by_kernels_and_host() -> None:
    trials = table(
        ("ok", "c-1+a", "p"), ("diverged", "c-1+b", "p"), ("failed", "", "q"), ("", "", ""), ("ok", "t", "p")
    )
    assert computation.computed(trials) == {("c-1", "p"): 2, ("t", "p"): 1}
    whole = {("c-1+a", "p"): 1, ("c-1+b", "p"): 1, ("t", "p"): 1}
    assert computation.computed(trials, components=True) == whole
    assert computation.computed(trials[["status"]]) == {("", ""): 3}


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ([{("c-1", "p"): 2}, {("c-1", "q"): 2}], "the kernels are the same, and so are float bits"),
        (
            [{("torch-1", "p"): 2}, {("torch-1", "q"): 2}],
            "the kernels are the same, and so are float bits, if as many trials trained together",
        ),
        ([{("c-1", "p"): 2}, {("c-2", "p"): 2}], "float bits may differ between them"),
        ([{("c-1", "p"): 2}, {("", ""): 2}], "float bits may differ between them"),
        ([{("", "p"): 2}, {("", "q"): 2}], "it is unknown whether float bits are the same"),
    ],
)
def test_the_consequence_is_as_sure_as_what_is_known(
    sides: list[dict[tuple[str, str], int]], words: str
) -> None:
    assert computation.differ(sides)
    assert computation.consequence(sides).startswith(words)


def test_a_side_is_put_into_words_the_most_trials_first() -> None:
    assert (
        computation.words({("c-1", "p"): 1, ("c-2", ""): 40})
        == "kernels c-2 (40 trials); kernels c-1 on host p (1 trial)"
    )
    assert computation.words({("", ""): 2}) == "kernels unknown (2 trials)"
    assert not computation.differ([{("", ""): 2}, {("", ""): 5}])


# ------------------------------------------------------------------------------- folders of earlier versions


@pytest.fixture
def grown(study_of: Make, tmp_path: Path) -> tuple[Path, Callable[[int], None]]:
    """A folder as an earlier version left it, without the columns, and a run of so many seeds into it."""
    folder = tmp_path / "results"

    def train(seeds: int) -> None:
        study = study_of({"activation": ["relu", "tanh"]}, epochs=1, study={"seeds": seeds})
        runs.train(study, folder, device="cpu", workers=1)

    train(2)
    (folder / "trials.csv").write_text(_without_columns((folder / "trials.csv").read_text()))
    for path in (folder / "parts").glob("*.zip"):
        _rewrite(path)
    (folder / "checksums.json").unlink()
    return folder, train


def _without_columns(text: str) -> str:
    rows = csv_rows.table(text)
    return rows.only([name for name in rows.columns if name not in NEW]).written()


def _rewrite(part: Path) -> None:
    with zipfile.ZipFile(part) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    texts["trials.csv"] = _without_columns(texts["trials.csv"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    part.write_bytes(buffer.getvalue())


def test_an_old_folder_is_read_and_nothing_is_said_of_it(
    grown: tuple[Path, Callable[[int], None]], tmp_path: Path
) -> None:
    folder, _ = grown
    assert results.read(folder).trials[NEW].isna().all().all()  # merged from its parts
    shutil.rmtree(folder / "parts")  # as it is published
    assert not set(NEW) & set(results.read(folder).trials)
    assert "kernels" not in judged(folder)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert not [
        line for line in comparison_text.overview(comparison.compare(folder, copy)) if "kernels" in line
    ]


def test_an_old_folder_goes_on_and_gets_the_columns(grown: tuple[Path, Callable[[int], None]]) -> None:
    folder, train = grown
    train(4)
    rows = results.read(folder).trials
    assert list(rows.columns[-2:]) == NEW
    assert rows.groupby("seed")["kernels"].count().to_dict() == {0: 0, 1: 0, 2: 2, 3: 2}
    page = str(reporting.judgement(reporting.read(folder)).answers)
    assert "In 1 of 1 contrast, not all trials were computed alike: tanh: kernels " in page
    assert "kernels unknown (2 trials)" in page
    assert "float bits may differ between them" in page


# --------------------------------------------------------------------------------------- report and compare


def edited(folder: Path, kernels: str, host: str, activation: str) -> None:
    """Change the kernels and host of the trials of an activation, as if another machine had trained them."""
    path = folder / "trials.csv"
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    chosen = rows["activation"].eq(activation)
    rows.loc[chosen, NEW] = [kernels, host]
    rows.to_csv(path, index=False, lineterminator="\n")


@pytest.fixture
def published(study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three activations, as it is published: without parts and checksums."""
    monkeypatch.setenv(machine.HOST, "lab3")
    folder = tmp_path / "published"
    study = study_of({"activation": ["relu", "tanh", "gelu"]}, epochs=1)
    runs.train(study, folder, device="cpu", workers=1)
    shutil.rmtree(folder / "parts")
    (folder / "checksums.json").unlink()
    for name in ("relu", "tanh", "gelu"):  # one build, other components
        edited(folder, f"c-0123456789+{name}", "lab3", name)
    return folder


def compared(a: Path, b: Path) -> list[str]:
    """What a comparison says of kernels."""
    return [line for line in comparison_text.overview(comparison.compare(a, b)) if "kernels" in line]


def judged(folder: Path) -> str:
    return "".join(" ".join(lines) for lines in reporting.judgement(reporting.read(folder)).answers)


def test_arms_that_differ_in_components_alone_were_computed_alike(published: Path) -> None:
    assert "computed alike" not in judged(published)


def test_a_report_names_the_arms_of_contrasts_that_were_computed_differently(published: Path) -> None:
    edited(published, "c-ffffffffff+gelu", "lab4", "gelu")
    assert (
        "In 1 of 2 contrasts, not all trials were computed alike: gelu: kernels c-ffffffffff on host lab4 "
        "(2 trials); relu: kernels c-0123456789 on host lab3 (2 trials); float bits may differ between them, "
        "in the last digits; paired seeds still pair." in judged(published)
    )


def test_compare_says_which_trials_were_computed_otherwise(published: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(published, tmp_path / "other"))
    edited(other, "c-0123456789+relu", "lab4", "relu")
    (line,) = compared(published, other)
    assert line == (
        "  2 trials computed otherwise: kernels c-0123456789 on host lab3 (2 trials) in A, kernels "
        "c-0123456789 on host lab4 (2 trials) in B; the kernels are the same, and so are float bits, as far "
        "as can be known"
    )
    edited(other, "c-0123456789+mish", "lab3", "relu")  # its source has changed: the same trial, other bits
    (line,) = compared(published, other)
    assert "kernels c-0123456789+relu on host lab3 (2 trials) in A" in line
    assert "float bits may differ" in line

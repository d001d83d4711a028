"""Merging: folders of one study become one, whatever their order, and nothing is mixed, lost or doubled."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import results
from harness.errors import MachineError, UsageError
from harness.results import checksums, csv_rows, part_files, predictions, tables
from harness.results.merging import accounts, gaps, merge, writing
from harness.results.merging.gaps import Gap
from harness.results.merging.placing import LinkedFiles
from harness.study.reading import parse
from harness.study.study import Study
from harness.system import files
from harness.training import runs

ELSEWHERE = {"group", "group_size", "group_seconds"}
"""Columns in which the tables of merged folders differ from those of one run."""
TABLES: dict[str, Any] = {
    "study": {"name": "merged", "seeds": 4, "metrics": ["top3"], "until": {"val_accuracy": 0.2}},
    "baseline": {"dataset": "digits", "hidden": [4], "epochs": 1},
    "axes": {
        "activation": ["relu", "tanh"],
        "output": [
            {"name": "=formula", "head": "softmax", "loss": "mse"},
            {"name": "diverges", "lr": 1e25},
            {"name": "skipped", "head": "softmax", "loss": "nll", "lr": 0.2},
            {"name": "misfit", "head": "identity", "loss": "nll"},
        ],
    },
}


def study(**about: Any) -> Study:
    return parse({**TABLES, "study": {**TABLES["study"], **about}})


def trained(folder: Path, **about: Any) -> Path:
    runs.train(study(**about), folder, device="cpu", workers=1)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all seeds, and two of half of them each."""
    here = tmp_path_factory.mktemp("merging")
    for name, about in (("whole", {}), ("a", {"seeds": [0, 2]}), ("b", {"seeds": [1, 3]})):
        trained(here / name, **about)
    return here


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """Copies to do things to."""
    for name in ("whole", "a", "b"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file but the lock's."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in ELSEWHERE} for row in csv.DictReader(file)]


def changed_part(folder: Path, change: Callable[[csv_rows.TextTable], None]) -> str:
    """Rewrite the first part of a folder with other trials, as if its run had written it; give its group."""
    path = next((folder / "parts").glob("*.zip"))
    part = part_files.read(path)
    assert part is not None
    frames = {name: part.table(name) for name in ("trials", "epochs", "confusion")}
    change(frames["trials"])
    part_files.write(folder, part.group, frames, part.files)
    record = checksums.read(folder)
    assert record is not None
    parts = {**record.parts, path.name: checksums.digest(path.read_bytes())}
    files.write(folder / checksums.FILE, checksums.Record(record.tables, parts, record.files).content())
    return part.group


# ------------------------------------------------------------------------------------------ what comes out


def test_the_tables_are_those_of_one_run_of_all_seeds(here: Path) -> None:
    merged = merge([here / "b", here / "a"], here / "c")
    for name in ("trials", "epochs", "confusion", "scores"):
        assert rows(here / "c" / f"{name}.csv") == rows(here / "whole" / f"{name}.csv"), name
    for name in ("study.toml", "datapackage.json"):
        assert (here / "c" / name).read_bytes() == (here / "whole" / name).read_bytes(), name
    assert dict(merged.statuses) == {"ok": 14, "diverged": 2, "skipped": 16}
    assert (merged.shared, merged.gaps) == (0, [])
    read, one = (harness.read(here / name) for name in ("c", "whole"))
    assert read.trial().trial_id == one.trial().trial_id
    assert sorted(read.stacks["trials"]) == sorted(harness.read(here / "a").stacks["trials"]) * 2


def test_a_run_makes_the_same_tables_of_what_was_merged(here: Path) -> None:
    """Merging writes rows from files without a name, a run from its memory: both give the same bytes."""
    merge([here / "a", here / "b"], here / "c")
    names = ["trials", "epochs", "confusion", "scores", "stacks"]
    before = {name: (here / "c" / f"{name}.csv").read_bytes() for name in names}
    tables.consolidate(here / "c")
    assert {name: (here / "c" / f"{name}.csv").read_bytes() for name in names} == before


def test_a_run_goes_on_and_trains_nothing_twice(here: Path) -> None:
    merge([here / "a", here / "b"], here / "c")
    assert runs.train(study(), here / "c", device="cpu", workers=1).trained == 0
    assert json.loads((here / "c" / "provenance.json").read_bytes())["sources"]
    assert runs.train(study(seeds=5), here / "c", device="cpu", workers=1).trained == 4


@pytest.mark.parametrize("name", ["report", "compare", "continue"])
def test_commands_work_on_what_was_merged(here: Path, name: str) -> None:
    merged = merge([here / "a", here / "b"], here / "c")
    if name == "report":
        assert harness.report(merged.folder).is_file()
    elif name == "compare":
        assert not harness.compare(here / "c", here / "whole").arms["difference"].any()
    else:
        trial = harness.read(merged).trial()
        assert len(harness.continue_training(trial, epochs=1, out=here / "longer").trials) == 1


# ------------------------------------------------------------------------- the order and number of merges


def test_neither_order_nor_repetition_nor_grouping_decides_a_byte(here: Path) -> None:
    a, b, whole = (here / name for name in ("a", "b", "whole"))
    merge([a, b, whole], here / "c")
    expected = contents(here / "c")
    merge([a, b], here / "c")
    assert contents(here / "c") == expected
    merge([whole, b, a], here / "backwards")
    merge([a], here / "first")
    merge([whole, here / "first"], here / "second")
    merge([here / "second", b], here / "third")
    merge([b, whole], here / "added")
    merge([a], here / "added")
    for name in ("backwards", "third", "added"):
        assert contents(here / name) == expected, name


def test_a_merge_that_is_killed_at_any_write_is_finished_by_the_next(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = here / "a", here / "b"
    merge([a, b], here / "c")
    expected = contents(here / "c")
    write, place, link = files.write, files.DraftFile.place, LinkedFiles.put
    for deaths in range(40):
        left = deaths

        def dies(act: Callable[..., Any], *given: Any) -> Any:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return act(*given)

        with monkeypatch.context() as patch:
            patch.setattr(files, "write", lambda *given: dies(write, *given))
            patch.setattr(files.DraftFile, "place", lambda *given: dies(place, *given))
            patch.setattr(LinkedFiles, "put", lambda *given: dies(link, *given))
            out = here / f"killed-{deaths}"
            try:
                merge([a, b], out)
            except KeyboardInterrupt:
                pass
            else:
                break
        if (out / "trials.csv").is_file():
            results.read(out)
        merge([b, a], out)
        assert contents(out) == expected, deaths
    assert 15 < deaths < 39


def test_a_full_disk_is_told_in_words_and_leaves_no_draft(here: Path) -> None:
    """A limit on the size of files stands for a full disk: writing fails, and closing what waits, too."""
    resource = pytest.importorskip("resource", reason="no limits here")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (here / "whole" / "confusion.csv").stat().st_size
    for most in (size // 2, size - 100, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            with pytest.raises(MachineError, match="cannot be written"):
                merge([here / "a", here / "b"], here / "c")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not [path for path in (here / "c").rglob(".tmp*") if path.is_file()], most
    merge([here / "a", here / "b"], here / "c")
    assert rows(here / "c" / "confusion.csv") == rows(here / "whole" / "confusion.csv")


def test_files_are_linked_and_copied_only_where_they_cannot_be(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = merge([here / "a", here / "b"], here / "c")
    assert (merged.placed.linked, merged.placed.copied) == (6, 0)
    for folder in ("parts", "predictions"):
        for path in (here / "c" / folder).iterdir():
            sources = [here / name / folder / path.name for name in "ab"]
            assert any(source.exists() and path.samefile(source) for source in sources)

    def other_system(*_: object) -> None:
        raise OSError(18, "another file system")

    monkeypatch.setattr("os.link", other_system)
    copied = merge([here / "a", here / "b"], here / "d")
    assert (copied.placed.linked, copied.placed.copied) == (0, 6)
    assert "6 files copied" in copied.notes[-1]
    assert contents(here / "d") == contents(here / "c")


def test_files_that_a_source_has_lost_are_told(tmp_path: Path) -> None:
    for name, seeds in (("a", [0]), ("b", [1])):
        trained(tmp_path / name, seeds=seeds, keep_weights="all")
    assert not merge([tmp_path / "a", tmp_path / "b"], tmp_path / "whole").notes
    for folder in ("weights", "predictions"):
        next((tmp_path / "b" / folder).iterdir()).unlink()
    (told,) = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c").notes
    assert told.startswith("lost before the merge: 2 files written with a stack, so not in ")
    assert str(tmp_path / "b" / "predictions") in told


def test_predictions_and_weights_are_those_of_the_stack_that_gives_the_trial(here: Path) -> None:
    merge([here / "a", here / "whole"], here / "c")
    read = harness.read(here / "c")
    for group in set(read.trials["group"].dropna()) - {""}:
        stack = predictions.read(predictions.file_of(read, group), "test")
        done = read.trials[read.trials["group"].eq(group) & read.trials["status"].eq("ok")]
        assert set(done["trial_id"]) <= set(stack.trial_ids)
    weights = [path.stem for path in (here / "c" / "weights").iterdir()]
    assert weights == [read.trial().trial_id]


def test_counts_that_are_too_many_stay_in_the_parts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merge([here / "a", here / "b"], here / "c")
    counts = (here / "c" / "confusion.csv").read_text(encoding="utf-8")
    monkeypatch.setattr(writing, "MOST_COUNTS", 10)
    merge([here / "a", here / "b"], here / "c")
    assert not (here / "c" / "confusion.csv").exists()
    listed = json.loads((here / "c" / "datapackage.json").read_bytes())["resources"]
    assert [one["name"] for one in listed] == ["trials", "epochs", "scores", "stacks"]
    assert tables.read(here / "c", ["confusion"])["confusion"] == counts
    assert len(harness.read(here / "c").confusion) == counts.count("\n") - 1


# --------------------------------------------------------------------------------------- what is refused


def refused(folders: list[Path], out: Path) -> str:
    """The words with which a merge is refused, after which nothing is there."""
    before = {folder: contents(folder) for folder in folders}
    there = contents(out) if out.exists() else None
    with pytest.raises(UsageError) as error:
        merge(folders, out)
    assert (contents(out) if out.exists() else None) == there
    assert {folder: contents(folder) for folder in folders} == before
    return str(error.value)


def test_two_outcomes_of_a_trial_are_refused_by_name(here: Path) -> None:
    def another(trials: csv_rows.TextTable) -> None:
        place = trials.columns.index("val_loss")
        first = next(row for row in trials.rows if row[place])
        first[place] = "0.125"

    shutil.copytree(here / "a", here / "other")
    group = changed_part(here / "other", another)
    words = refused([here / "a", here / "other"], here / "c")
    assert f"parts/{group}.zip" in words
    assert "val_loss" in words
    assert "0.125" in words
    assert "t" + words.partition("trial t")[2][:12] in (here / "a" / "trials.csv").read_text()


def test_who_computed_a_trial_and_how_long_it_took_is_no_outcome(here: Path) -> None:
    def elsewhere(trials: csv_rows.TextTable) -> None:
        for row in trials.rows:
            for name, cell in (("host", "another"), ("group_seconds", "99"), ("kernels", "c-other")):
                row[trials.columns.index(name)] = cell

    shutil.copytree(here / "a", here / "other")
    changed_part(here / "other", elsewhere)
    merged = merge([here / "a", here / "other"], here / "c")
    assert merged.shared == 8
    merge([here / "other", here / "a"], here / "d")
    assert contents(here / "c") == contents(here / "d")


def test_a_trial_that_failed_in_one_folder_is_the_finished_one_of_another(here: Path) -> None:
    def failed(trials: csv_rows.TextTable) -> None:
        for row in trials.rows:
            kept = {"trial_id": row[0], "status": "failed", "reason": "no\nmemory"}
            kept["group"] = row[trials.columns.index("group")]
            row[:] = [kept.get(name, "") for name in trials.columns]

    shutil.copytree(here / "a", here / "other")
    changed_part(here / "other", failed)
    alone = merge([here / "other"], here / "failed")
    assert alone.statuses["failed"] == 8
    assert alone.gaps[0].trials == 8
    assert f"--results {here / 'other'}" in alone.gaps[0].command
    for place, order in enumerate(("a other", "other a", "failed a")):
        merged = merge([here / name for name in order.split()], here / f"c{place}")
        assert "failed" not in merged.statuses
        assert merged.gaps == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"study": {"name": "other"}}, "of study 'merged' and .* of 'other'"),
        ({"baseline": {"lr": 0.3}}, "baseline.lr: not given and 0.3"),
        ({"study": {"keep_weights": "all"}}, "study.keep_weights: 'best' and 'all'"),
        ({"axes": {"activation": ["relu"]}}, "axes.activation"),
    ],
)
def test_another_study_is_refused(here: Path, changes: dict[str, Any], words: str) -> None:
    changed = {name: {**table, **changes.get(name, {})} for name, table in TABLES.items()}
    runs.train(parse(changed), here / "other", device="cpu", workers=1)
    with pytest.raises(UsageError, match=words):
        merge([here / "a", here / "other"], here / "c")
    assert not (here / "c").exists()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("data", {"digits": "0" * 64}, "other data called 'digits'"),
        ("semantics", 1, "another version of what training means"),
        ("components", {"loss mine": "1" * 64}, "another 'loss mine'"),
        ("shard", [1, 3], "one of 2 shards and .* one of 3"),
        ("phase", "tries", "holds tries of changes"),
        ("shards", {"count": 2, "numbers": [7]}, "shards = "),
        ("merged", ["relu"], "merged = "),
    ],
)
def test_what_plans_say_must_agree(here: Path, key: str, value: object, words: str) -> None:
    for name, said in (("a", {"loss mine": "0" * 64} if key == "components" else [1, 2]), ("b", value)):
        path = here / name / "plan.json"
        plan = json.loads(path.read_bytes())
        if name == "b" or key in {"components", "shard"}:
            plan[key] = said
        path.write_text(json.dumps(plan))
    with pytest.raises(UsageError, match=words):
        merge([here / "a", here / "b"], here / "c")
    assert not (here / "c").exists()


def test_one_trial_with_two_ids_is_refused(here: Path) -> None:
    """Older folders do not say with which components they were trained; their ids do."""
    shutil.copytree(here / "a", here / "other")
    shutil.rmtree(here / "other" / "parts")
    (here / "other" / "trials.csv").unlink()
    rows = tables.planned(here / "other")
    rows.rows[0][0] = "t0123456789ab"
    tables.write_planned(here / "other", rows, (), [])
    words = refused([here / "a", here / "other"], here / "c")
    assert "t0123456789ab" in words
    assert "with seed 0" in words


def test_a_damaged_part_is_refused(here: Path) -> None:
    path = next((here / "b" / "parts").glob("*.zip"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert path.name in refused([here / "a", here / "b"], here / "c")


@pytest.mark.parametrize("changed", ["no plan", "no parts", "retrain", "no folder", "held", "out is strange"])
def test_other_folders_are_refused(here: Path, changed: str) -> None:
    folders, out = [here / "a", here / "b"], here / "c"
    if changed == "no plan":
        (here / "b" / "plan.json").unlink()
    elif changed == "no parts":
        shutil.rmtree(here / "b" / "parts")
    elif changed == "retrain":
        part_files.mark_old(here / "b")
    elif changed == "no folder":
        folders.append(here / "nowhere")
    elif changed == "out is strange":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    with (here / "b" / ".lock").open("w") as lock:
        if changed == "held":
            fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError):
            merge(folders, out)
    assert {path.name for path in here.iterdir()} == {"whole", "a", "b"} | ({"c"} if out.exists() else set())


# -------------------------------------------------------------------------------------------- what is missing


def test_grown_shards_are_added_to_what_was_merged_before(tmp_path: Path) -> None:
    sources = [tmp_path / "1", tmp_path / "2"]
    for seeds, name in (([3, 1], "early"), ([3, 1, 2], "grown")):
        for number, folder in enumerate(sources, 1):
            runs.train(study(seeds=seeds), folder, device="cpu", workers=1, shard=f"{number}/2")
        merge(sources, tmp_path / "c")
        trained(tmp_path / name, seeds=seeds)
        for table in ("trials", "epochs", "confusion"):
            assert rows(tmp_path / "c" / f"{table}.csv") == rows(tmp_path / name / f"{table}.csv")
    early = shutil.copytree(tmp_path / "early", tmp_path / "other")
    plan = json.loads((early / "plan.json").read_bytes())
    (early / "plan.json").write_text(json.dumps({**plan, "shards": {"count": 2, "numbers": [1]}}))
    with pytest.raises(UsageError, match="merge into a new folder"):
        merge(sources, early)


def test_what_is_missing_is_said_with_the_command_that_trains_it(here: Path) -> None:
    merged = merge([here / "a"], here / "c")
    assert merged.gaps == []  # the study of folder a has two seeds
    for number, name in enumerate(("a", "b"), 1):
        path = here / name / "plan.json"
        plan = json.loads(path.read_bytes())
        path.write_text(json.dumps({**plan, "shard": [number, 3]}))
        text = (here / name / "study.toml").read_text(encoding="utf-8")
        seeds = text.partition("seeds = [")[2].partition("]")[0]
        (here / name / "study.toml").write_text(text.replace(seeds, "0, 1, 2, 3, 4, 5"), encoding="utf-8")
    merged = merge([here / "b", here / "a"], here / "d")
    (gap,) = merged.gaps
    assert (gap.trials, gap.shard, gap.folder) == (16, "3/3", "")
    assert gap.command == "harness run merged --shard 3/3"
    assert json.loads((here / "d" / "plan.json").read_bytes())["shards"] == {"count": 3, "numbers": [1, 2]}


def test_what_is_missing_is_trained_with_the_options_that_decided_the_trials(here: Path) -> None:
    for number, name in enumerate(("a", "b"), 1):
        path = here / name / "plan.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "shard": [number, 3]}))
        study_file = here / name / "study.toml"
        text = study_file.read_text(encoding="utf-8")
        seeds = text.partition("seeds = [")[2].partition("]")[0]
        study_file.write_text(text.replace(seeds, "0, 1, 2, 3"), encoding="utf-8")
        record = here / name / "provenance.json"
        content = json.loads(record.read_bytes())
        content["runs"][0]["command"] = (
            f"harness run --set steps=5 'my study.toml' --workers 8 --bits=portable --plugin 'a b.py' "
            f"--shard {number}/3 --report"
        )
        record.write_text(json.dumps(content))
    (gap,) = merge([here / "b", here / "a"], here / "d").gaps
    assert gap.command == (
        "harness run 'my study.toml' --set steps=5 --bits=portable --plugin 'a b.py' --shard 3/3"
    )


def test_sources_are_listed_however_they_were_merged(here: Path) -> None:
    merge([here / "a"], here / "c")
    merge([here / "c", here / "b"], here / "d")
    sources = json.loads((here / "d" / "provenance.json").read_bytes())["sources"]
    assert sorted(one["folder"] for one in sources) == ["a", "b"]
    assert all(one["runs"][0]["trials_trained"] == 8 for one in sources)
    assert [run["trials_trained"] for run in harness.read(here / "d").provenance["runs"]] == [8, 8]


def test_arms_of_a_seed_that_were_trained_on_other_kinds_of_processor_are_told() -> None:
    same = accounts.kind_notes([("c-1", "a"), ("c-1", "b"), ("torch-2", "b")], [{"a", "b"}, {"a"}])
    assert same == []
    (note,) = accounts.kind_notes([("c-1", "a"), ("c-2", "b"), ("c-1", "d")], [{"a", "b"}, {"a", "d"}, {"b"}])
    assert note.startswith("in 1 of 3 seeds the arms were trained on processors of different kinds")


def test_gaps_of_one_command_are_one() -> None:
    found = [Gap(2, "1/2", "a", "run it"), Gap(3, "1/2", "a/tuned", "run it"), Gap(1, "", "", "run all")]
    assert gaps.together(found) == [Gap(5, "1/2", "a", "run it"), Gap(1, "", "", "run all")]
    assert gaps.together([Gap(None, "1/2", "", "x"), Gap(2, "1/2", "", "x")])[0].trials is None

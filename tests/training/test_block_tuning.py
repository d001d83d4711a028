"""Blocks of seeds that choose by themselves: what is trained, chosen and written, halving or not."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import results, stats
from harness.comparison.comparing import OF_BLOCKS, compare
from harness.errors import UsageError
from harness.planning import plan
from harness.results.merging import merge
from harness.settings.schema import SEED_BLOCK
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import runs, tuning

OUTPUT: list[dict[str, Any]] = [
    {"name": "CE", "head": "identity", "loss": "ce"},
    {"name": "MSE", "head": "softmax", "loss": "mse", "tune": {"lr": [0.5, 5.0, 50.0, 500.0]}},
    {"name": "boom", "head": "identity", "loss": "ql", "tune": {"lr": [1e25, 1e26, 1e27, 1e28]}},
]
BASELINE = {
    "dataset": "digits", "steps": 20, "batch_size": 16, "hidden": [4], "eval_every": "20 steps",
}  # fmt: skip
BLOCKS = 3


def tables(output: list[dict[str, Any]] = OUTPUT, seeds: Any = 2 * BLOCKS, **tune: Any) -> dict[str, Any]:
    return {
        "study": {"name": "blocks", "seeds": seeds, "keep_weights": "all"},
        "baseline": BASELINE,
        "axes": {"output": output},
        "tune": {"seeds": 2 * BLOCKS, "blocks": BLOCKS, "space": {"lr": [0.01, 0.1, 0.5, 1.0]}, **tune},
    }  # fmt: skip


def study(output: list[dict[str, Any]] = OUTPUT, **tune: Any) -> Study:
    return parse(tables(output, **tune))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "blocks"
    runs.train(study(), folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "halved"
    runs.train(study(OUTPUT[:2], halving=True), folder, workers=1)
    return folder


# ---------------------------------------- the choices


def test_each_block_chooses_the_best_setting_by_its_own_tuning_seeds(folder: Path) -> None:
    tried = results.read(folder / "tuning").trials.query("status == 'ok'")
    chosen = tuning.read(folder)
    seeds = study().in_phase("tuning")
    for arm in ("CE", "MSE"):
        for block in range(1, BLOCKS + 1):
            of_block = tried[tried["of_arm"].eq(arm) & tried["seed"].isin(seeds.seeds_of(block))]
            means = of_block.groupby("lr")["val_accuracy"].mean()
            (row,) = chosen[chosen["arm"].eq(arm) & chosen[SEED_BLOCK].eq(block)].to_dict("records")
            assert float(str(row["lr"])) == means.idxmax()
            assert row["val_accuracy"] == pytest.approx(means.max(), abs=1e-6)
            assert (row["seeds"], row["tried"]) == (2, 4)


def test_each_block_trains_its_choice_with_its_own_seeds(folder: Path) -> None:
    tuned = results.read(folder / "tuned").trials.query("status == 'ok'")
    chosen = tuning.read(folder).set_index(["arm", SEED_BLOCK])["lr"]
    assert tuned.groupby("arm")["seed"].apply(list).to_dict() == {"CE": [*range(6)], "MSE": [*range(6)]}
    assert tuned[SEED_BLOCK].tolist() == (tuned["seed"] // 2 + 1).tolist()
    for row in tuned.to_dict("records"):
        assert row["lr"] == float(str(chosen[row["arm"], row[SEED_BLOCK]]))


def test_an_arm_that_nothing_finished_for_chooses_nothing_in_any_block(folder: Path) -> None:
    rows = tuning.read(folder).query("arm == 'boom'")
    assert rows[SEED_BLOCK].tolist() == [1, 2, 3]
    assert all(math.isnan(float(str(lr))) for lr in rows["lr"])
    assert rows["unfinished"].tolist() == [4, 4, 4]
    boom = results.read(folder / "tuned").trials.query("arm == 'boom'")
    assert boom["reason"].str.endswith("every tuning seed of block 3").sum() == 2
    assert set(boom["status"]) == {"skipped"}


def test_a_finished_study_trains_nothing_again(folder: Path, halved: Path) -> None:
    for place, given in ((folder, study()), (halved, study(OUTPUT[:2], halving=True))):
        before = {path: path.read_bytes() for path in place.rglob("*.csv")}
        assert runs.train(given, place, workers=1).trained == 0
        assert {path: path.read_bytes() for path in place.rglob("*.csv")} == before


def test_a_tuned_trial_is_rebuilt_from_its_folder(folder: Path) -> None:
    from harness.exporting import models
    from harness.results import selection

    found = results.read(folder / "tuned")
    row = selection.choose(found, conditions="output=CE,seed=5")
    model = models.restore(found, row)
    assert model.trial.arm.settings["lr"] == row["lr"]
    assert model.trial.trial_id == row["trial_id"]


def test_more_blocks_keep_the_first_ones(folder: Path, tmp_path: Path) -> None:
    more = shutil.copytree(folder, tmp_path / "more")
    summary = runs.train(
        parse(tables(seeds=8) | {"tune": tables(blocks=4)["tune"] | {"seeds": 8}}), more, workers=1
    )
    assert summary.trained == 2 * 3 + 2 * 3 * 4 + 2 * 2  # fixed; tuning; tuned, where boom has no choice
    before, after = (tuning.read(place).set_index(["arm", SEED_BLOCK])["lr"] for place in (folder, more))
    assert after.loc[before.index].equals(before)


def test_the_verdicts_count_blocks(folder: Path) -> None:
    from harness.reporting import contrasts, data

    reading = data.read(folder / "tuned")
    judged = contrasts.judge(reading, contrasts.read_family(reading))
    rows = judged.table.set_index("arm")
    assert judged.unit == "block"
    assert (rows.loc["MSE", "n"], rows.loc["MSE", "planned"]) == (BLOCKS, BLOCKS)
    assert (rows.loc["boom", "n"], rows.loc["boom", "verdict"]) == (0, "no data")
    done = reading.trials.query("status == 'ok'")
    means = done.pivot_table(index=SEED_BLOCK, columns="arm", values="test_accuracy")
    assert rows.loc["MSE", "difference"] == pytest.approx((means["MSE"] - means["CE"]).mean())
    assert rows.loc["MSE", "sd"] == pytest.approx((means["MSE"] - means["CE"]).std())


# ---------------------------------------- halving


def test_halving_trains_the_better_half_of_each_block_with_more_seeds(halved: Path) -> None:
    tried = results.read(halved / "tuning").trials
    given = study(OUTPUT[:2], halving=True).in_phase("tuning")
    for arm in ("CE", "MSE"):
        for block in given.blocks:
            first, second = given.seeds_of(block)
            mine = tried[tried["of_arm"].eq(arm)]
            one, other = (mine[mine["seed"].eq(seed)].set_index("lr") for seed in (first, second))
            assert set(one["status"]) == {"ok"}
            best = one["val_accuracy"].sort_values(ascending=False, kind="stable").index[:2]
            assert set(other.index[other["status"].eq("ok")]) == set(best)
            left = other[~other.index.isin(best)]
            assert set(left["status"]) == {"skipped"}
            assert left["reason"].str.startswith("halving: ").all()
    rows = tuning.read(halved)
    assert rows["unfinished"].tolist() == [0] * 6
    assert len(tried[tried["status"].eq("ok")]) == 2 * BLOCKS * (4 + 2)


def test_halving_chooses_among_what_is_left(halved: Path) -> None:
    tried = results.read(halved / "tuning").trials.query("status == 'ok'")
    given = study(OUTPUT[:2], halving=True).in_phase("tuning")
    for row in tuning.read(halved).to_dict("records"):
        mine = tried[tried["of_arm"].eq(row["arm"]) & tried["seed"].isin(given.seeds_of(row[SEED_BLOCK]))]
        whole = mine.groupby("lr")["val_accuracy"].agg(["mean", "size"]).query("size == 2")
        assert float(str(row["lr"])) == whole["mean"].idxmax()


def test_a_setting_that_diverges_goes_no_further_and_counts_as_unfinished(tmp_path: Path) -> None:
    runs.train(study([OUTPUT[0], OUTPUT[2]], halving=True), tmp_path / "x", workers=1)
    rows = tuning.read(tmp_path / "x")
    assert rows["arm"].tolist() == ["CE"] * BLOCKS + ["boom"] * BLOCKS
    assert rows["unfinished"].tolist() == [0] * BLOCKS + [4] * BLOCKS
    assert rows["val_accuracy"].isna().tolist() == [False] * BLOCKS + [True] * BLOCKS
    boom = results.read(tmp_path / "x" / "tuning").trials.query("of_arm == 'boom'")
    assert boom["status"].value_counts().to_dict() == {"diverged": 4 * BLOCKS, "skipped": 4 * BLOCKS}


def test_a_killed_halving_goes_on_where_it_stopped(
    halved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    really, rounds = tuning.in_round, []

    def in_round(drawn: plan.Plan, folder: Path, number: int) -> plan.Plan:
        rounds.append(number)
        if len(rounds) == 2:
            raise Killed
        return really(drawn, folder, number)

    given = study(OUTPUT[:2], halving=True)
    monkeypatch.setattr(tuning, "in_round", in_round)
    with pytest.raises(Killed):
        runs.train(given, tmp_path / "x", workers=1)
    first = len(results.read(tmp_path / "x" / "tuning").trials.query("status == 'ok'"))
    assert first == 2 * BLOCKS * 4
    summary = runs.train(given, tmp_path / "x", workers=1)
    assert summary.trained == 2 * BLOCKS * 2 + 2 * 2 * BLOCKS  # the second round, and the tuned arms
    assert (tmp_path / "x" / "chosen.csv").read_bytes() == (halved / "chosen.csv").read_bytes()


def test_the_plan_prices_blocks_and_halving(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import output

    given = study(OUTPUT[:2], halving=True)
    tries = tuning.expected(plan.draw(given.in_phase("tuning")))
    arranged = plan.arrange(tries, "stacked", (), "cpu", 2, ())
    assert sum(len(stack.trials) for stack in arranged.stacks) == 2 * BLOCKS * 6
    output.show_tuning_plan(plan.make(given), arranged, 2)
    told = capsys.readouterr().out
    assert "2 arms x 4 settings x 3 blocks x 2 other seeds = 48 trials, of which halving trains 36" in told
    assert "then tuned: 12 trials at what each of 3 blocks of seeds chose for its arm" in told


# ---------------------------------------- shards and merging


def test_shards_merge_to_what_one_run_chooses(tmp_path: Path) -> None:
    given = study(OUTPUT[:2], halving=True)
    whole = tmp_path / "whole"
    runs.train(given, whole, workers=1)
    for number in (1, 2):
        runs.train(given, tmp_path / str(number), workers=1, shard=f"{number}/2")
    merge([tmp_path / "1", tmp_path / "2"], tmp_path / "merged")
    for name in ("chosen.csv", "tuned/study.toml"):
        assert (tmp_path / "merged" / name).read_bytes() == (whole / name).read_bytes(), name
    one, other = (results.read(place / "tuned").trials for place in (whole, tmp_path / "merged"))
    columns = ["trial_id", "arm", SEED_BLOCK, "seed", "lr", "test_accuracy"]
    assert one[columns].equals(other[columns])


def test_folders_of_other_seeds_have_other_blocks_and_are_not_merged(tmp_path: Path) -> None:
    for name, seeds in (("a", [0, 1]), ("b", [2, 3])):
        given = tables(OUTPUT[:1], seeds) | {"tune": {"seeds": 2, "blocks": 2, "space": {"lr": [0.1, 1.0]}}}
        runs.train(parse(given), tmp_path / name, workers=1)
    with pytest.raises(UsageError, match="2 blocks of seeds choose in each"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")


# ---------------------------------------- report


def test_the_report_shows_what_blocks_chose_and_counts_them(folder: Path) -> None:
    from harness import reporting
    from harness.reporting import judgement, learning_rates

    made = judgement(reporting.read(folder))
    text = " ".join(" ".join(said) for said in made.answers).replace("\u00a0", " ")
    assert "each of 3 blocks of seeds chose an arm's settings on val by 2 tuning seeds of its own" in text
    assert "trained them with 2 fresh seeds" in text
    assert "over 3 blocks" in text
    assert "These intervals do not cover that another choice was possible" not in text
    assert "No setting finished with every tuning seed of 3 blocks of an arm" in text
    shown = {table.name: table for table in made.tables}
    chosen = shown["chosen"]
    assert chosen.data is not None
    data = chosen.data.set_index("arm")
    times = tuning.read(folder).query("arm == 'CE'")["lr"].astype(float).value_counts()
    assert data.loc["CE", "choices"] == len(times)
    assert f"({times.iloc[0]})" in str(data.loc["CE", "chosen"])
    assert data.loc["boom", "without"] == 3
    spreads = stats.choice_spreads(results.read(folder / "tuned").trials).set_index("arm")
    assert data.loc["CE", "choice_sd"] == pytest.approx(spreads.loc["CE", "choice_sd"])
    assert [column.name for column in shown["verdicts-tuned"].columns][2] == "blocks"
    assert [column.name for column in shown["verdicts"].columns][2] == "seeds"
    assert list(learning_rates.draw(reporting.read(folder)))


def test_a_tuned_folders_own_report_counts_blocks(folder: Path) -> None:
    from harness import reporting
    from harness.reporting import judgement

    reading = reporting.read(folder / "tuned")
    text = " ".join(" ".join(said) for said in judgement(reading).answers)
    assert "A block is what is counted" in text
    assert "seeds and this spread" not in text
    assert reporting.rank(reading)["n"].tolist()[:2] == [BLOCKS, BLOCKS]


def test_choices_other_than_the_trained_ones_are_noticed(folder: Path, tmp_path: Path) -> None:
    from harness import reporting
    from harness.reporting import judgement

    copy = shutil.copytree(folder, tmp_path / "blocks")
    path = copy / "chosen.csv"
    rows = path.read_text(encoding="utf-8").split("\n")
    place = next(place for place, row in enumerate(rows) if ",CE,2," in row)
    cells = rows[place].split(",")
    cells[3] = "0.02"
    rows[place] = ",".join(cells)
    path.write_text("\n".join(rows), encoding="utf-8")
    (copy / "checksums.json").unlink()  # which would tell that it was changed
    text = " ".join(" ".join(said) for said in judgement(reporting.read(copy)).answers)
    assert "tuned/ was trained with other choices than chosen.csv has" in text


def test_judge_counts_blocks(folder: Path) -> None:
    import harness

    judgement = harness.judge(folder / "tuned")
    rows = judgement.contrasts.set_index("arm")
    assert rows.loc["output MSE", "n"] == BLOCKS
    assert any("n and more_seeds count blocks" in note for note in judgement.notes)


def test_compare_counts_blocks_and_says_so(folder: Path, tmp_path: Path) -> None:
    again = shutil.copytree(folder, tmp_path / "again")
    found = compare(folder / "tuned", again / "tuned")
    assert found.arms["n"].max() == BLOCKS
    assert OF_BLOCKS in found.notes
    assert OF_BLOCKS not in compare(folder, again).notes


def test_judge_counts_blocks_of_the_bare_table_too(folder: Path, tmp_path: Path) -> None:
    import harness

    table = tmp_path / "arms.csv"
    tuned = results.read(folder / "tuned").trials.query("status == 'ok'")
    tuned[["arm", "seed", SEED_BLOCK, "test_accuracy"]].to_csv(table, index=False)
    (row,) = harness.judge(table, reference="CE").contrasts.to_dict("records")
    (of_folder,) = harness.judge(folder / "tuned").contrasts.query("n > 0").to_dict("records")
    assert row["n"] == BLOCKS
    assert row["p"] == pytest.approx(of_folder["p"])


@pytest.mark.parametrize("lost", [["trials.csv"], ["trials.csv", "planned.csv.gz"], ["study.toml"]])
def test_files_of_tuning_that_are_gone_are_remade_from_its_parts(
    lost: list[str], halved: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(halved, again)
    for name in ("chosen.csv", *(f"tuning/{name}" for name in lost)):
        (again / name).unlink()
    summary = runs.train(study(OUTPUT[:2], halving=True), again, workers=1)
    assert summary.trained == 0
    for name in ("chosen.csv", *(f"tuning/{name}" for name in lost)):
        assert (again / name).read_bytes() == (halved / name).read_bytes()


def test_finished_tuning_is_not_written_over_where_its_parts_and_study_are_gone(
    halved: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(halved, again)
    shutil.rmtree(again / "tuning" / "parts")
    (again / "tuning" / "study.toml").unlink()
    before = (again / "tuning" / "trials.csv").read_bytes()
    with pytest.raises(UsageError, match=r"finished trials in trials.csv, but the parts/ .* are missing"):
        runs.train(study(OUTPUT[:2], halving=True), again, workers=1)
    assert (again / "tuning" / "trials.csv").read_bytes() == before


def test_a_run_killed_before_tuning_had_any_table_goes_on(halved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(halved, again, ignore=shutil.ignore_patterns("tuning", "tuned", "chosen.csv"))
    (again / "tuning").mkdir()
    shutil.copy(halved / "tuning" / "plan.json", again / "tuning")  # what a run writes first
    runs.train(study(OUTPUT[:2], halving=True), again, workers=1)
    assert (again / "chosen.csv").read_bytes() == (halved / "chosen.csv").read_bytes()
    numbers, before = (results.read(folder / "tuned").trials.val_accuracy for folder in (again, halved))
    assert numbers.equals(before)

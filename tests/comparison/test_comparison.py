"""Two results folders side by side: what matches, what is said of it, and what a gate lets pass."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

import harness
from harness import comparison
from harness.cli import main
from harness.comparison.comparing import p_below
from harness.comparison.text import arms_shown
from harness.errors import UsageError
from harness.settings.schema import METRICS, TUNED
from harness.study.reading import parse
from harness.text import p_value_column, signed_points
from harness.training import runs

Trained = Callable[..., Path]
Edit = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Results folders of real studies on digits, two activations and three seeds if not told otherwise."""

    @functools.cache
    def make(
        copy: int = 0,
        seeds: int = 3,
        steps: int = 160,
        activation: tuple[str, ...] = ("relu", "tanh"),
        optimizer: tuple[str, ...] = ("sgd",),
        **settings: Any,
    ) -> Path:
        folder = tmp_path_factory.mktemp(f"results{copy}") / "small"
        axes = {"activation": list(activation), "optimizer": list(optimizer)}
        own = {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}  # were hashable
        baseline = {"dataset": "digits", "hidden": [16], "steps": steps, **own}
        study = {"name": "small", "seeds": seeds}
        runs.train(parse({"study": study, "baseline": baseline, "axes": axes}), folder, workers=1)
        return folder

    return make


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """A copy of a folder with its trials.csv, as text, or its plan.json changed."""

    def make(folder: Path, trials: Edit | None = None, **plan: Any) -> Path:
        copy = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        # As it is published, and of before there were checksums: else what is edited is read from the parts.
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("parts", "checksums.json", "planned*"))
        if trials is not None:
            frame = pd.read_csv(copy / "trials.csv", dtype=str, keep_default_na=False)
            trials(frame).to_csv(copy / "trials.csv", index=False, lineterminator="\n")
        content = json.loads((copy / "plan.json").read_text())
        (copy / "plan.json").write_text(json.dumps({**content, **plan}))
        return copy

    return make


class Answer(NamedTuple):
    """What a command gave back."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """The command `harness compare`, in this process, on a screen of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["harness", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main.main()
        code = exit_.value.code
        assert isinstance(code, int)
        return Answer(code, *capsys.readouterr())

    return call


Compare = Callable[..., Answer]
Edited = Callable[..., Path]
GATE = ("--fail-on", "worse")


def where(frame: pd.DataFrame, status: str, *arms: str, seeds: int = 9) -> pd.DataFrame:
    """Trials of these arms and of the first seeds, with another status and no numbers."""
    chosen = frame["arm"].str.contains("|".join(arms)) & frame["seed"].astype(int).lt(seeds)
    frame.loc[chosen, "status"] = status
    for name in METRICS:
        frame.loc[chosen, name] = ""
    return frame


# ---------------------------------------------------------------------------------------- what it is made for


def test_the_same_code_passes_its_own_gate(trained: Trained, compare: Compare) -> None:
    answer = compare(trained(), trained(copy=1), *GATE)
    assert answer.code == 0
    assert "6 of 6 have the same numbers to the last digit" in answer.stdout
    assert answer.stdout.count("the same numbers") == 3
    assert "gate: passed: of 2 arms none is significantly worse by more than 0.2 points" in answer.stdout
    assert answer.stderr == ""


def test_a_tenth_of_the_steps_fails_the_gate(trained: Trained, compare: Compare) -> None:
    answer = compare(trained(), trained(steps=16), *GATE)
    assert answer.code == 1
    assert "they differ in steps: 160 in A, 16 in B" in answer.stdout
    for arm in ("relu", "tanh"):
        assert f"worse: digits, activation={arm}, optimizer=sgd: test_accuracy -" in answer.stderr
    assert "3 seeds: significantly below -0.20 (one-sided, Holm-corrected p 0.0" in answer.stderr
    assert "gate: failed" in answer.stderr
    assert compare(trained(steps=16), trained(), *GATE).code == 0
    assert compare(trained(), trained(steps=16)).code == 0  # without a gate nothing fails


def test_no_line_is_wider_than_the_screen(trained: Trained, compare: Compare) -> None:
    answer = compare(trained(), trained(steps=16))
    table = answer.stdout[answer.stdout.index("digits:") :]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "activation=relu," in table
    assert "…" not in table


def test_compare_is_a_public_function(trained: Trained) -> None:
    found = harness.compare(trained(), trained(steps=16), metric="val_accuracy", margin=0.01)
    assert isinstance(found, comparison.Comparison)
    assert (found.metric, found.margin, len(found.trials), len(found.arms)) == ("val_accuracy", 0.01, 6, 2)
    assert not found.notes
    read = harness.compare(harness.read(found.a), harness.read(found.b), metric="val_accuracy", margin=0.01)
    pd.testing.assert_frame_equal(read.arms, found.arms)


# ------------------------------------------------------------------------------------------------ the numbers


def test_the_numbers_are_those_of_a_paired_t_test(trained: Trained) -> None:
    a, b = trained(), trained(lr=0.07)
    found = comparison.compare(a, b)
    before, after = (
        pd.read_csv(folder / "trials.csv").pivot_table("test_accuracy", "seed", "arm") for folder in (a, b)
    )
    differences = after - before
    for row in found.arms.to_dict("records"):
        x = differences[row["arm"]]
        assert row["difference"] == pytest.approx(x.mean())
        assert row["b"] - row["a"] == pytest.approx(x.mean())
        assert row["p"] == pytest.approx(scipy_stats.ttest_1samp(x, 0).pvalue)
        assert row["p_below"] == pytest.approx(
            scipy_stats.ttest_1samp(x, -0.002, alternative="less").pvalue
        )  # fmt: skip
    assert found.arms["p_below_holm"].min() == pytest.approx(min(1, 2 * found.arms["p_below"].min()))
    (pooled,) = found.pooled.to_dict("records")
    within = differences.mean(axis="columns")  # over the arms of a seed
    assert (pooled["arms"], pooled["n"], pooled["left_out"]) == (2, 3, 0)
    assert pooled["difference"] == pytest.approx(within.mean())
    half = scipy_stats.t.ppf(0.975, 2) * within.std() / np.sqrt(3)
    assert pooled["high"] - pooled["difference"] == pytest.approx(half)


def test_the_pooled_mean_leaves_out_arms_without_all_seeds(trained: Trained, edited: Edited) -> None:
    b = edited(trained(), lambda t: where(t, "diverged", "tanh", seeds=1))
    (pooled,) = comparison.compare(trained(), b).pooled.to_dict("records")
    assert (pooled["arms"], pooled["left_out"], pooled["n"]) == (1, 1, 3)


def test_p_below_is_the_one_sided_t_test() -> None:
    x = np.array([-0.01, -0.02, -0.004, -0.013])
    expected = scipy_stats.ttest_1samp(x, -0.002, alternative="less").pvalue
    told = p_below(
        [x.mean(), 0.0, -0.1, -0.001, 0.5], [x.std(ddof=1), 0, 0, 0, np.nan], [4, 3, 3, 3, 1], 0.002
    )
    assert told[:4] == pytest.approx([expected, 1, 0.125, 1])  # equal differences: a sign test
    assert np.isnan(told[4])


def test_numbers_in_words() -> None:
    assert [signed_points(-0.00421), signed_points(0.1), signed_points(np.nan)] == ["-0.42", "+10.00", ""]
    assert [p_value_column(p) for p in (0.04126, 1e-9, np.nan)] == ["0.0413", "< 0.0001", ""]


# -------------------------------------------------------------------------------------------- what is matched


def test_arms_that_one_folder_has_alone_are_listed(trained: Trained, compare: Compare) -> None:
    answer = compare(trained(), trained(activation=("tanh", "gelu")), *GATE)
    assert answer.code == 0
    assert "only in A: 3 trials: activation=relu, optimizer=sgd on digits (3)" in answer.stdout
    assert "only in B: 3 trials: activation=gelu" in answer.stdout
    assert "of 1 arm none" in answer.stdout
    assert "not judged: 1 arm of A that B does not have" in answer.stdout


def test_seeds_that_one_folder_has_alone_are_listed(trained: Trained) -> None:
    found = comparison.compare(trained(seeds=2), trained())
    assert found.trials["inside"].value_counts().to_dict() == {"both": 4, "b": 2}
    assert found.arms["n"].tolist() == [2, 2]


def test_a_setting_that_a_newer_version_has_counts_as_its_default(trained: Trained, edited: Edited) -> None:
    a = edited(trained(), lambda t: t.drop(columns="label_noise"))
    found = comparison.compare(a, trained(copy=1))
    assert found.trials["identical"].all()
    assert found.matched.assumed.to_dict("records") == [{"setting": "label_noise", "side": "a", "value": "0"}]
    b = edited(trained(), lambda t: t.assign(label_noise="0.3"))
    (differing,) = comparison.compare(a, b).matched.differing.to_dict("records")
    assert differing == {"setting": "label_noise", "a": "0", "b": "0.3"}


@pytest.mark.parametrize("hidden", [[16], []])
def test_a_folder_from_before_dropout_matches(trained: Trained, edited: Edited, hidden: list[int]) -> None:
    """Of networks without hidden layers too, to which dropout does not apply."""
    new = trained(hidden=tuple(hidden))
    old = edited(new, lambda t: t.drop(columns=["dropout", "label_smoothing"]))
    found = comparison.compare(old, new)
    assert found.matched.by == "settings"
    assert found.trials["identical"].all()
    assert set(found.matched.assumed["setting"]) == {"label_smoothing", *(["dropout"] if hidden else [])}


def test_known_settings_keep_their_defaults_beside_an_unknown_component(
    trained: Trained, edited: Edited
) -> None:
    a = edited(trained(), lambda t: t.drop(columns="label_noise").assign(optimizer="mine"))
    found = comparison.compare(a, edited(trained(), lambda t: t.assign(optimizer="mine")))
    assert found.trials["identical"].all()
    assert found.matched.assumed["value"].tolist() == ["0"]


def test_an_unknown_setting_gets_no_default(trained: Trained, edited: Edited) -> None:
    def grown(trials: pd.DataFrame) -> pd.DataFrame:
        settings, rest = trials.loc[:, :"gamma"], trials.loc[:, "seed":]
        return pd.concat([settings.assign(drop_connect=["0.1", *["0"] * 5]), rest], axis="columns")

    found = comparison.compare(trained(), edited(trained(), grown))
    assert found.matched.by == "arm"
    assert found.matched.differing.to_dict("records") == [
        {"setting": "drop_connect", "a": "not applicable", "b": "0.1, 0"}
    ]


def test_arms_match_by_name_if_no_settings_agree(trained: Trained, compare: Compare) -> None:
    both = {"activation": ("relu",), "optimizer": ("sgd", "adam"), "seeds": 2}
    answer = compare(trained(**both), trained(**both, lr=0.05))  # lr varies in A: 0.1 and 0.001
    assert "matched by the arms' names and seed: 4 trials" in answer.stdout
    assert "they differ in lr: 0.1, 0.001 in A, 0.05 in B" in answer.stdout


def test_an_arm_whose_settings_changed_is_not_compared_and_not_passed(
    trained: Trained, edited: Edited, compare: Compare
) -> None:
    def changed(trials: pd.DataFrame) -> pd.DataFrame:
        trials.loc[trials["arm"].str.contains("tanh"), "lr"] = "0.2"
        return trials

    answer = compare(trained(), edited(trained(), changed), *GATE)
    assert answer.code == 2
    assert "not compared: activation=tanh, optimizer=sgd on digits is another arm in B: lr 0.1 -> 0.2" in (
        answer.stdout
    )
    assert "cannot tell whether B is worse: digits, activation=tanh" in answer.stderr


def test_trials_are_not_matched_by_their_ids(trained: Trained, edited: Edited) -> None:
    b = edited(trained(), lambda t: t.assign(trial_id="x" + t["trial_id"]), stacks=[])
    found = comparison.compare(trained(), b)
    assert found.trials["identical"].all()
    assert "6 of 6 matched trials have another trial_id" in found.notes[0]


def test_differences_in_provenance_are_reported(trained: Trained, edited: Edited) -> None:
    b = edited(trained(), lambda t: t.assign(engine="loop"))
    path = b / "provenance.json"
    content = json.loads(path.read_text())
    content["runs"][0]["versions"]["torch"] = "9.9"
    path.write_text(json.dumps(content))
    found = comparison.compare(trained(), b).provenance.set_index("what")
    assert found["b"].to_dict() == {"torch": "9.9", "engine": "loop"}
    idle = {**content["runs"][0], "versions": {"torch": "8.8"}, "commit": "other", "trials_trained": 0}
    path.write_text(json.dumps({**content, "runs": [*content["runs"], idle]}))
    found = comparison.compare(trained(), b).provenance.set_index("what")
    assert found["b"].to_dict() == {"torch": "9.9", "engine": "loop"}, (
        "a run that trained nothing made no row"
    )
    path.unlink()
    assert comparison.compare(trained(), b).provenance.set_index("what")["b"]["torch"] == ""


# ------------------------------------------------------------------------------------ what a gate cannot pass


def test_a_trial_that_no_longer_finishes_is_worse(trained: Trained, edited: Edited, compare: Compare) -> None:
    b = edited(trained(), lambda t: where(t, "diverged", "relu", seeds=2))
    answer = compare(trained(), b, *GATE)
    assert answer.code == 1
    assert "relu, optimizer=sgd: 2 trials ok in A diverged in B (seed 0, 1)" in answer.stderr
    assert "without a result in B: 2 diverged" in answer.stdout
    assert compare(b, trained(), *GATE).code == 0  # what diverged in A and finishes in B is no worse


def test_an_arm_that_diverged_throughout_has_no_data(trained: Trained, edited: Edited) -> None:
    gone = edited(trained(), lambda t: where(t, "diverged", "relu"))
    found = comparison.compare(trained(), gone)
    # Ties of few seeds show little, yet these are no ties.
    assert found.arms["verdict"].tolist() == ["no data", "the same in all seeds"]
    assert found.arms["identical"].tolist() == [0, found.arms["trials"][1]]
    judged = comparison.gate(found)
    assert (judged.exit_code, judged.judged, len(judged.worse)) == (1, 2, 1)
    nothing = edited(trained(), lambda t: where(t, "diverged", "relu", "tanh"))
    assert comparison.gate(comparison.compare(nothing, trained())).undecided == (
        "no trial finished in both folders",
    )


def test_one_seed_is_judged_only_where_its_numbers_are_the_same(trained: Trained, compare: Compare) -> None:
    answer = compare(trained(seeds=1), trained(seeds=1, steps=16), *GATE)
    assert answer.code == 2
    assert "one seed, with other numbers than in A, gives no interval" in answer.stderr
    assert "one seed" in answer.stdout
    assert compare(trained(seeds=1), trained(seeds=1, copy=1), *GATE).code == 0


def test_untrained_arms_cannot_pass_the_gate(trained: Trained, edited: Edited, compare: Compare) -> None:
    answer = compare(trained(), edited(trained(), lambda t: where(t, "", "relu", seeds=1)), *GATE)
    assert answer.code == 2
    assert "is not finished: 1 of 6 trials are not trained yet" in answer.stderr
    assert "trials that are ok in A have no outcome in B" in answer.stderr


def test_a_folder_cannot_pass_by_itself(trained: Trained, compare: Compare) -> None:
    answer = compare(trained(), trained(), *GATE)
    assert answer.code == 2
    assert "A and B are the same folder" in answer.stderr
    assert compare(trained(), trained()).code == 0


def test_an_equal_fall_in_every_seed_cannot_pass(trained: Trained, edited: Edited) -> None:
    def fallen(trials: pd.DataFrame) -> pd.DataFrame:
        lower = trials["test_accuracy"].astype(float) - 0.05
        return trials.assign(test_accuracy=lower.map("{:.7g}".format))

    judged = comparison.gate(comparison.compare(trained(), edited(trained(), fallen)))
    assert judged.exit_code == 2
    assert "every seed fell by the same" in judged.undecided[0]


def test_other_images_under_the_same_name_are_not_compared(trained: Trained, edited: Edited) -> None:
    def two(trials: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([trials, trials.assign(dataset="other", trial_id="x" + trials["trial_id"])])

    data = json.loads((trained() / "plan.json").read_text())["data"]
    a = edited(trained(), two, data={**data, "other": "0" * 64})
    found = comparison.compare(a, edited(trained(), two, data={**data, "other": "1" * 64}))
    assert set(found.trials["dataset"]) == {"digits"}
    assert "'other' is not compared: its images differ (digest 000000000000 in A, 1111" in found.set_aside[0]
    assert comparison.gate(found).exit_code == 2
    assert comparison.gate(comparison.compare(a, edited(a))).exit_code == 0
    with pytest.raises(UsageError, match="no data set in common: data set 'digits' is not compared"):
        comparison.compare(trained(), edited(trained(), data={"digits": "0" * 64}))
    with pytest.raises(UsageError, match="lacks the digest of its images"):
        comparison.compare(trained(), edited(trained(), data={}))
    with pytest.raises(UsageError, match="A has digits, B has other"):
        comparison.compare(trained(), edited(trained(), lambda t: t.assign(dataset="other")))


# -------------------------------------------------------------------------------------------------- bad input


def _cut(folder: Path) -> None:
    path = folder / "trials.csv"
    path.write_bytes(path.read_bytes()[:-40])


def _no_parts(folder: Path) -> None:
    (folder / "epochs.csv").unlink()


def _without_last_line(folder: Path) -> None:
    path = folder / "trials.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


BAD: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "trials.csv").unlink(), "is not a results folder"),
    (lambda folder: (folder / "plan.json").unlink(), "has no plan.json"),
    (lambda folder: (folder / "plan.json").write_text("{"), "plan.json cannot be read"),
    (lambda folder: (folder / "study.toml").write_text("["), "cannot be read"),
    (lambda folder: (folder / "confusion.csv").unlink(), "confusion.csv is missing"),
    (lambda folder: (folder / "trials.csv").write_text("\n"), "cannot be read"),
    (lambda folder: (folder / "trials.csv").write_bytes(b"\xff\xfe\n"), "cannot be read"),
    (_no_parts, "epochs.csv is missing. Copy the whole results folder again"),
    (_cut, "its last line is cut off"),
    (_without_last_line, "1 trials of plan.json are not in it"),
]


@pytest.mark.parametrize(("damage", "message"), BAD, ids=[message for _, message in BAD])
def test_a_damaged_folder_is_reported(
    trained: Trained, edited: Edited, compare: Compare, damage: Callable[[Path], object], message: str
) -> None:
    folder = edited(trained())
    damage(folder)
    for arguments in ((trained(), folder), (folder, trained())):
        answer = compare(*arguments)
        assert answer.code == 2
        assert message in answer.stderr
        assert "Traceback" not in answer.stderr
        assert answer.stdout == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="test_accuracy"), "it has no column test_accuracy"),
        (lambda t: t.drop(columns="dataset"), "it has no column dataset"),
        (lambda t: t.assign(val_loss="many"), "val_loss is not a number everywhere"),
        (lambda t: t.assign(seed=""), "seed is not a number everywhere"),
        (lambda t: t.assign(seed="0"), "4 trials have the settings and the seed of another"),
        (lambda t: t.assign(test_accuracy=""), "has no test_accuracy for its 6 finished trials"),
        (lambda t: t.assign(seed=["3", "4", "5"] * 2), "no trial in common"),
        (lambda t: t.iloc[:0], "6 trials of plan.json are not in it"),
    ],
)
def test_a_changed_table_is_reported(trained: Trained, edited: Edited, change: Edit, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        comparison.compare(trained(), edited(trained(), change))
    assert message in str(caught.value)


def test_another_schema_is_reported(trained: Trained, edited: Edited) -> None:
    with pytest.raises(UsageError, match="results schema 7; this version reads and writes 1"):
        comparison.compare(edited(trained(), schema=7), trained())


def test_another_study_is_compared_with_a_note(trained: Trained, edited: Edited) -> None:
    found = comparison.compare(trained(), edited(trained(), study="other"))
    assert "the studies differ: A is 'small', B is 'other'" in found.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metric", "accuracy"), "'test_accuracy'"),
        (("--margin", "2"), "allowed are shares between 0 and 1"),
        (("--margin", "nan"), "allowed are shares between 0 and 1"),
        (("--alpha", "0"), "--alpha 0.0: allowed is an error rate"),
        (("--fail-on", "better"), "'worse'"),
    ],
)
def test_an_invalid_option_is_reported(
    trained: Trained, compare: Compare, options: tuple[str, str], message: str
) -> None:
    answer = compare(trained(), trained(copy=1), *options)
    assert answer.code == 2
    assert message in answer.stderr


# -------------------------------------------------------------------------------------------------- the files


def test_the_tables_are_written(trained: Trained, compare: Compare, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    answer = compare(trained(), trained(steps=16), "--out", out)
    assert f"written: {out / 'differences.csv'}" in answer.stdout
    table = pd.read_csv(out / "differences.csv")
    assert table["regressed"].tolist() == [True, True]
    text = (out / "differences.tex").read_text()
    assert r"\toprule" in text
    assert "activation=relu, optimizer=sgd & 3 & " in text
    assert r"\(-\)" in text


def test_names_are_escaped_for_latex(trained: Trained, edited: Edited, tmp_path: Path) -> None:
    folders = [edited(trained(), lambda t: t.assign(arm=t["arm"] + " 5 % & my_own")) for _ in range(2)]
    comparison.write(comparison.compare(*folders), tmp_path / "out")
    assert r"sgd 5 \% \& my\_own & 3" in (tmp_path / "out" / "differences.tex").read_text()


def test_a_file_in_place_of_the_output_folder_is_reported_first(
    trained: Trained, compare: Compare, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    answer = compare(trained(), trained(copy=1), "--out", tmp_path / "file")
    assert (answer.code, answer.stdout) == (2, "")
    assert "is not a folder; name a new folder, or one that exists" in answer.stderr


def test_a_long_table_shows_the_decided_arms_and_counts_the_rest(trained: Trained) -> None:
    arms = comparison.compare(trained(), trained(steps=16)).arms
    same = comparison.compare(trained(), trained(copy=1)).arms
    shown, left = arms_shown(pd.concat([same] * 9 + [arms], ignore_index=True), 5)
    assert shown["arm"].tolist() == arms.sort_values("difference")["arm"].tolist()
    assert left == ["18 more arms: 18 the same numbers"]
    shown, left = arms_shown(same, 5)
    assert (len(shown), left) == (2, [])


def test_arms_that_are_the_same_trials_are_compared_once(trained: Trained, edited: Edited) -> None:
    """As tuned arms are that chose the same settings: rows of one trial_id under two names."""

    def twin(trials: pd.DataFrame) -> pd.DataFrame:
        again = trials[trials["arm"].str.contains("tanh")]
        return pd.concat([trials, again.assign(arm="twin")], ignore_index=True)

    a, b = edited(trained(), twin), edited(trained(copy=1), twin)
    alone, found = comparison.compare(trained(), trained(copy=1)), comparison.compare(a, b)
    pd.testing.assert_frame_equal(found.arms, alone.arms)
    (told, _) = (note for note in found.notes if "the same trials as another" in note)
    assert "compared once: twin (" in told
    assert "tanh" in told


def test_a_note_says_that_tuned_arms_are_not_compared(
    trained: Trained, edited: Edited, compare: Compare
) -> None:
    a, b = edited(trained()), edited(trained(copy=1))
    assert "tuned arms" not in compare(a, b).stdout
    for folder in (a, b):
        shutil.copytree(trained(), folder / TUNED)
    told = f"tuned arms are in {a / TUNED} and {b / TUNED}, which are not compared here"
    assert any(note.startswith(told) for note in comparison.compare(a, b).notes)
    answer = compare(a, b, *GATE)
    assert answer.code == 0
    assert "compare those folders by themselves" in " ".join((answer.stdout + answer.stderr).split())
    assert not any("tuned arms" in note for note in comparison.compare(a / TUNED, b / TUNED).notes)


def test_a_tuned_arm_with_another_choice_is_another_arm(trained: Trained, edited: Edited) -> None:
    def retuned(trials: pd.DataFrame) -> pd.DataFrame:
        changed = trials["arm"].str.contains("relu")
        return trials.assign(lr=trials["lr"].mask(changed, "0.05"))

    found = comparison.compare(trained(), edited(trained(copy=1), retuned))
    judged = comparison.gate(found)
    assert judged.exit_code == 2
    assert any("is another arm in B (lr 0.1 -> 0.05)" in told for told in judged.undecided)

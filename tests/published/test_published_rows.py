"""Published rows: what a row must say, its band, the readings of trials, and the page of them all."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import published_page
import published_results
import published_rows
import pytest
import reproduce
from published_rows import EDGE, INSIDE, OUTSIDE, STUDIES, Published, Row, Source
from scipy import stats as scipy_stats
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import harness
from harness.training import runs

ROW: dict[str, Any] = {
    "source": "keras", "network": "784-10", "data": "MNIST", "accuracy": "95.42", "chose": "epoch 5",
    "where": "table 1", "arm": "one", "reads": "test",
}  # fmt: skip
SOURCE = Source(name="keras", title="A source", read="all of it", minutes=2)
PUBLISHED = published_rows.read()


def row(**changed: Any) -> Row:
    return Row.model_validate({**ROW, **changed})


# ----------------------------------------------------------------------------------------------- the file


def test_there_are_rows_of_many_sources_and_each_source_has_some() -> None:
    assert len(PUBLISHED.rows) >= 15
    assert all(PUBLISHED.rows_of(source) for source in PUBLISHED.sources)
    assert {source.study_file for source in PUBLISHED.sources} == set(STUDIES.glob("*.toml"))


@pytest.mark.parametrize("source", PUBLISHED.sources, ids=lambda source: source.name)
def test_each_row_and_reason_names_an_arm_in_which_its_accuracy_is_known(source: Source) -> None:
    study = source.study()
    assert study.name == source.name
    assert len(study.seeds) == 5
    arms = {given.name: given.settings for given in study.combinations()}
    for each in PUBLISHED.rows_of(source):
        readings = [(each.arm, each.reads), *((r.arm, r.reads or each.reads) for r in each.reasons)]
        for arm, reads in readings:
            settings = arms[arm]
            val_is_test = str(settings["dataset"]).endswith("val_is_test")
            if reads == "test":  # test is opened once, after the last step
                assert not val_is_test
            else:
                assert val_is_test or settings["val_split"] == "last"
                assert reads == "val" or "eval_every" not in settings  # after each epoch


def test_a_row_says_one_number_of_a_listed_source(tmp_path: Path) -> None:
    for changed in (
        {"error": "4.58"},
        {"accuracy": ""},
        {"accuracy": "101"},
        {"accuracy": "0.9542", "images": 0},
    ):
        with pytest.raises(ValueError, match="validation error"):
            row(**changed)
    file = tmp_path / "rows.toml"
    keys = "\n".join(f'{key} = "{value}"' for key, value in {**ROW, "source": "nobody"}.items())
    file.write_text(f'[[sources]]\nname = "keras"\ntitle = "A"\nread = "B"\nminutes = 1\n[[rows]]\n{keys}\n')
    with pytest.raises(ValueError, match="rows of nobody; sources listed: keras"):
        published_rows.read(file)


@pytest.mark.parametrize(
    ("given", "share", "half_a_unit"),
    [
        ({"accuracy": "95.42"}, 0.9542, 0.00005), ({"accuracy": "98.40"}, 0.984, 0.00005),
        ({"accuracy": "", "error": "4.7"}, 0.953, 0.0005), ({"accuracy": "98"}, 0.98, 0.005),
        ({"accuracy": "", "error": "3.05"}, 0.9695, 0.00005),
    ],
)  # fmt: skip
def test_a_band_is_two_standard_errors_and_half_of_the_last_digit(
    given: dict[str, str], share: float, half_a_unit: float
) -> None:
    found = row(**given)
    assert found.share == pytest.approx(share)
    half = 2 * scipy_stats.binom.std(10_000, share) / 10_000 + half_a_unit
    assert found.band == pytest.approx((share - half, share + half))
    assert row(**given, images=100).band[0] < found.band[0]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.91, 0.94, INSIDE), (0.90, 0.95, INSIDE), (0.89, 0.93, EDGE), (0.93, 0.97, EDGE),
        (0.88, 0.99, EDGE), (0.80, 0.89, OUTSIDE), (0.951, 0.96, OUTSIDE), (math.nan, math.nan, ""),
    ],
)  # fmt: skip
def test_an_interval_is_inside_at_the_edge_or_outside(low: float, high: float, said: str) -> None:
    assert published_rows.judge(low, high, (0.90, 0.95)) == said


# --------------------------------------------------------------------------------------------- the trials


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-2])
def test_training_stops_where_scikit_learn_stops(activation: str, tolerance: float) -> None:
    x, y = load_digits(return_X_y=True)
    network = MLPClassifier(
        (16,), activation=activation, tol=tolerance, n_iter_no_change=2, max_iter=1000, random_state=0
    ).fit(x[:600] / 16, y[:600])
    assert network.n_iter_ < 1000
    assert published_results.stop(network.loss_curve_, tolerance) == network.n_iter_


def test_training_whose_loss_falls_has_not_stopped() -> None:
    assert published_results.stop([1.0, 0.9, 0.8, 0.7, 0.6]) is None
    assert published_results.stop([1.0, 1.0, 1.0, 1.0]) == 4
    assert published_results.stop([1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0]) == 7
    assert published_results.stop([]) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Really trained: digits with val after each epoch, and without val."""
    linked = [
        {"name": "one", "hidden": [8], "val_fraction": 0.2},
        {"name": "without val", "hidden": [8], "val_fraction": 0.0},
    ]  # fmt: skip
    study = harness.parse({
        "study": {"name": "small", "hypothesis": "None.", "design": "grid", "seeds": 3},
        "baseline": {"dataset": "digits", "epochs": 6, "optimizer": "adam", "lr": 0.01},
        "axes": {"network": linked},
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("published") / "small"
    runs.train(study, folder, workers=1)
    return folder


def test_a_trial_is_read_at_its_last_and_at_its_best_epoch(folder: Path) -> None:
    results = harness.read(folder)
    seeds = published_results.trials_of(results)
    assert list(seeds) == published_results.COLUMNS
    assert list(seeds["trial_id"]) == list(results.trials["trial_id"])
    assert list(seeds["test"]) == list(results.trials["test_accuracy"])
    val = results.epochs.query("split == 'val' and epoch > 0")
    for trial in seeds[seeds["arm"].eq("one")].to_dict("records"):
        curve = val[val["trial_id"].eq(trial["trial_id"])].set_index("epoch")["accuracy"]
        assert len(curve) == 6
        assert trial["val"] == curve.loc[6]
        assert trial["best_val"] == curve.max()
        assert trial["best_epoch"] == curve.idxmax()
        assert math.isnan(trial["stopped_val"])  # six epochs, in which the loss falls
    assert seeds[seeds["arm"].eq("without val")][["val", "best_val", "stopped_val"]].isna().all(axis=None)


def test_the_epoch_where_training_stopped_is_read_in_val(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_results, "stop", lambda losses: len(losses) - 2)
    results = harness.read(folder)
    seeds = published_results.trials_of(results)
    val = results.epochs.query("split == 'val' and epoch == 4").set_index("trial_id")["accuracy"]
    for trial in seeds[seeds["arm"].eq("one")].to_dict("records"):
        assert trial["stopped_epoch"] == 4
        assert trial["stopped_val"] == val.loc[trial["trial_id"]]


def test_accuracies_by_epoch_are_those_of_val(folder: Path, tmp_path: Path) -> None:
    results = harness.read(folder)
    curves, seeds = published_results.curves_of(results), published_results.trials_of(results)
    assert list(curves) == published_results.CURVES
    assert curves.groupby(["arm", "seed"]).size().to_dict() == {("one", seed): 6 for seed in range(3)}
    last = curves[curves["epoch"].eq(6)].set_index("seed")["val"]
    assert last.to_dict() == seeds[seeds["arm"].eq("one")].set_index("seed")["val"].to_dict()
    published_results.keep("small", seeds, curves, tmp_path)
    first = (tmp_path / "small-epochs.csv.gz").read_bytes()
    published_results.keep("small", seeds, curves, tmp_path)
    assert (tmp_path / "small-epochs.csv.gz").read_bytes() == first
    again = published_results.kept_curves("small", tmp_path)
    pd.testing.assert_frame_equal(again, curves.reset_index(drop=True), check_dtype=False, rtol=1e-12)
    assert published_results.kept_curves("other", tmp_path).empty


def kept_curve(values: Sequence[float], arm: str = "one") -> pd.DataFrame:
    """Accuracies on val of three seeds, a tenth of a point apart, after each epoch."""
    rows = [
        (arm, seed, float(epoch), value + 0.001 * (seed - 1))
        for seed in range(3)
        for epoch, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows, columns=published_results.CURVES)


def test_the_epochs_at_which_an_arm_is_inside_are_found() -> None:
    curves = pd.concat([kept_curve([0.90, 0.951, 0.953, 0.97, 0.952]), kept_curve([0.95] * 2, arm="other")])
    # The interval of three seeds that are 0.001 apart reaches 0.00248 to either side.
    assert published_results.epochs_inside(curves, "one", (0.948, 0.956)) == [2, 3, 5]
    assert published_results.epochs_inside(curves, "one", (0.950, 0.956)) == [3]
    assert published_results.epochs_inside(curves, "third", (0.0, 1.0)) == []
    assert published_page.ranges([2, 3, 5]) == "2 to 3, 5"
    assert published_page.ranges([]) == ""


def kept_rows(values: Sequence[float], statuses: Sequence[str] = (), arm: str = "one") -> pd.DataFrame:
    """Trials as they are kept, with these accuracies on test."""
    statuses = statuses or ["ok"] * len(values)
    rows = [
        {"arm": arm, "seed": seed, "trial_id": f"t{seed}", "status": status, "test": value}
        for seed, (value, status) in enumerate(zip(values, statuses, strict=True))
    ]
    return pd.DataFrame(rows, columns=published_results.COLUMNS)


def test_an_arm_is_students_interval_of_its_seeds_and_a_diverged_one_is_counted() -> None:
    values = [0.95, 0.953, 0.951, 0.956]
    seeds = kept_rows([*values, math.nan], [*["ok"] * 4, "diverged"])
    ours = published_results.measured(seeds, "one", "test")
    low, high = scipy_stats.t.interval(0.95, 3, np.mean(values), scipy_stats.sem(values))
    assert (ours.mean, ours.low, ours.high) == pytest.approx((np.mean(values), low, high))
    assert (ours.n, ours.of) == (4, 5)
    nothing = published_results.measured(seeds, "one", "best val")
    assert (nothing.n, nothing.of) == (0, 5)
    assert math.isnan(nothing.mean)
    assert published_results.measured(seeds, "another", "test").of == 0


# ----------------------------------------------------------------------------------------------- the page


def test_the_page_shows_rows_and_the_arms_behind_those_that_are_not_inside(tmp_path: Path) -> None:
    seeds = pd.concat([kept_rows([0.970, 0.971, 0.972]), kept_rows([0.954, 0.9545, 0.9538], arm="other")])
    published_results.keep("keras", seeds, kept_curve([0.90, 0.954, 0.97], arm="other"), tmp_path)
    reasons = [{"arm": "other", "differs": "other weights"}]
    rows = [row(reasons=reasons), row(arm="other", network="784-5-10"), row(arm="third")]
    written = published_page.tables(Published([SOURCE], rows), tmp_path)
    assert written.startswith("3 rows: 1 inside, 0 at the edge, 1 outside, 1 not trained yet.")
    assert "Of the 1 that are not inside, 1 have an arm" in written
    low, high = (f"{100 * bound:.2f}" for bound in rows[0].band)
    assert (
        f"| 95.42 | epoch 5 (table 1) | {low} to {high} | 97.10 (96.85 to 97.35) | last epoch | 3 | outside |"
        in written
    )
    assert "| 784-10, MNIST | other | other weights | 95.41 (95.32 to 95.50) | 3 | inside |  |" in written
    assert written.count("other weights") == 1
    assert "|  | last epoch |  | not trained yet |" in written


def test_the_page_shows_when_an_arm_was_inside(tmp_path: Path) -> None:
    seeds = pd.concat([kept_rows([0.970, 0.971, 0.972]), kept_rows([0.97, 0.975, 0.98], arm="other")])
    seeds["val"] = seeds["test"]
    curves = pd.concat([kept_curve([0.90, 0.954, 0.97]), kept_curve([0.94, 0.95, 0.953], arm="other")])
    published_results.keep("keras", seeds, curves, tmp_path)
    given = row(reads="val", epochs_unsaid=True, reasons=[{"arm": "other", "differs": "less training"}])
    assert "Its hypothesis" not in published_page.tables(Published([SOURCE], [given]), tmp_path)
    source = SOURCE.model_copy(update={"outcome": "rejected, since one is outside"})
    written = published_page.tables(Published([source], [given]), tmp_path)
    assert "\nIts hypothesis: rejected, since one is outside.\n" in written
    assert "| one | the epoch | 97.10 (96.85 to 97.35) | 3 | outside | 2 |" in written
    assert "| other | less training |" in written
    said = " ".join(written.split())
    assert "0 have an arm of another setting or epoch, planned before it was trained, that is;" in said
    assert "1 more only an arm or an epoch that was looked for afterwards; 0 are as further" in said
    assert "| outside | 3 |" in written
    of_thirty = given.model_copy(update={"epochs_unsaid": False})
    written = published_page.tables(Published([source], [of_thirty]), tmp_path)
    assert "| outside | nothing yet |" in written, "another epoch than the source's own is no explanation"


def test_what_was_looked_for_afterwards_is_no_planned_reason(tmp_path: Path) -> None:
    seeds = pd.concat([kept_rows([0.970, 0.971, 0.972]), kept_rows([0.954, 0.9545, 0.9538], arm="other")])
    published_results.keep("keras", seeds, kept_curve([]), tmp_path)
    for afterwards, counts in ((False, "1 have"), (True, "0 have")):
        given = row(reasons=[{"arm": "other", "differs": "other weights", "afterwards": afterwards}])
        written = published_page.tables(Published([SOURCE], [given]), tmp_path)
        assert f"Of the 1 that are not inside, {counts} an arm of another setting" in written
        assert ("other weights (looked for afterwards)" in written) == afterwards
        why = "an arm or epoch looked for afterwards" if afterwards else "a planned arm or reading"
        assert f"| 3 | outside | {why} |" in written


def test_an_arm_that_is_no_nearer_to_the_number_is_no_reason(tmp_path: Path) -> None:
    """Of two arms with equal narrow intervals inside the band, the one counts that is nearer."""
    wide = kept_rows([0.945, 0.955, 0.9629])  # at the edge on both sides, 0.01 points from the number
    for middle, said in ((0.9545, "nothing yet"), (0.95416, "a planned arm or reading")):
        arm = kept_rows([middle - 0.00005, middle, middle + 0.00005], arm="other")
        published_results.keep("keras", pd.concat([wide, arm]), kept_curve([]), tmp_path)
        given = row(reasons=[{"arm": "other", "differs": "other weights"}], trainings=100)
        written = published_page.tables(Published([SOURCE], [given]), tmp_path)
        assert "| 3 | inside |  |" in written
        assert f"| at the edge | {said} |" in written, middle


@pytest.mark.parametrize(
    ("values", "printed", "held", "counts"),
    [
        ([0.946, 0.950, 0.954], "95.42", True, True),
        ([0.930, 0.940, 0.950], "95.42", True, False),  # wider than five bands
        ([0.938, 0.940, 0.942], "95.42", False, False), ([0.9405, 0.940, 0.9395], "94.35", False, False),
    ],
)  # fmt: skip
def test_a_number_may_be_one_more_training(
    tmp_path: Path, values: list[float], printed: str, held: bool, counts: bool
) -> None:
    """Of three seeds, one more is within t = 4.303 standard deviations times sqrt(1 + 1/3) of their mean."""
    published_results.keep("keras", kept_rows(values), kept_curve([]), tmp_path)
    given = row(accuracy=printed)
    written = published_page.tables(Published([SOURCE], [given]), tmp_path)
    explained = (
        "1 are as further trainings of ours could be; not explained: 0" if counts else "not explained: 1"
    )
    assert explained in " ".join(written.split())
    half = 4.302653 * np.std(values, ddof=1) * math.sqrt(4 / 3)
    low, high = (f"{100 * (np.mean(values) + side * half):.2f}" for side in (-1, 1))
    words = "holds theirs" if held else "without theirs"
    assert f" | {'the scatter of trainings' if counts else 'nothing yet'} |" in written
    assert f"| one | 95 % of further trainings | {low} to {high} | 3 | {words} |  |" in written


def test_the_best_of_further_trainings_is_above_their_mean() -> None:
    """Of one, it is Student's interval; of 30, that of trainings drawn one by one."""
    values = np.array([0.9401, 0.9382, 0.9425, 0.9390, 0.9414])
    seeds = kept_rows(list(values))
    alone = published_results.predicted(seeds, "one", "test", 1)
    assert published_results.predicted(seeds, "one", "test", 1, best=True) == pytest.approx(alone, abs=2e-4)
    rng = np.random.default_rng(1)
    spread = values.std(ddof=1) * np.sqrt(4 / rng.chisquare(4, 40_000))
    mean = rng.normal(values.mean(), spread / math.sqrt(5))
    best = rng.normal(mean[:, None], spread[:, None], (40_000, 30)).max(axis=1)
    found = published_results.predicted(seeds, "one", "test", 30, best=True)
    assert found == pytest.approx(np.quantile(best, [0.025, 0.975]), abs=3e-4)


def test_the_mean_of_many_further_trainings_scatters_less() -> None:
    seeds = kept_rows([0.93, 0.94, 0.95, 0.94])
    one, thirty = (published_results.predicted(seeds, "one", "test", number) for number in (1, 30))
    spread = np.std([0.93, 0.94, 0.95, 0.94], ddof=1)
    for interval, further in ((one, 1), (thirty, 30)):
        half = scipy_stats.t.ppf(0.975, 3) * spread * math.sqrt(1 / further + 1 / 4)
        assert interval == pytest.approx((0.94 - half, 0.94 + half))
    assert all(math.isnan(end) for end in published_results.predicted(seeds[:1], "one", "test", 1))


def test_a_page_without_its_marks_is_told() -> None:
    begin, end = published_page.BEGIN, published_page.END
    assert published_page.with_tables(f"a\n{begin}\nold\n{end}\nb\n", "new") == f"a\n{begin}\nnew\n{end}\nb\n"
    for page in ("a\n", f"{begin}\n", f"{end}\n{begin}\n", f"{begin}\n{end}\n{begin}\n{end}\n"):
        with pytest.raises(ValueError, match="each once"):
            published_page.with_tables(page, "new")


def test_the_page_is_that_of_the_results_that_are_kept() -> None:
    page = published_page.PAGE.read_text(encoding="utf-8")
    again = published_page.with_tables(page, published_page.tables(PUBLISHED))
    assert page == again, "`nox -s published -- --tables` writes docs/published.md anew"


def test_readme_counts_the_rows_as_the_page_does() -> None:
    readme = " ".join((published_rows.CHECKOUT / "README.md").read_text(encoding="utf-8").split())
    verdicts, behind = published_page.counted(PUBLISHED)
    trained = [word for word in verdicts if word != published_page.MISSING]
    inside, edge, outside = (trained.count(word) for word in (INSIDE, EDGE, OUTSIDE))
    assert (
        f"Of {len(trained)} numbers {inside} are inside their bands, {edge} at the edge, {outside} outside"
        in readme
    )
    planned, afterwards, scatter, nothing = (
        behind.count(reason)
        for reason in (published_page.ARM, published_page.AFTERWARDS, published_page.SCATTER, "")
    )
    assert f"For {planned} of these {len(behind)} an arm that was planned before is inside" in readme
    assert (
        f"for {afterwards} an arm or an epoch that was looked for afterwards; {scatter} may be one more "
        f"training of ours, by the scatter of seeds; not explained: {nothing} ("
    ) in readme


@pytest.mark.parametrize("source", PUBLISHED.sources, ids=lambda source: source.name)
def test_what_is_kept_of_a_source_is_of_its_study_as_it_is_today(source: Source) -> None:
    seeds = published_results.kept(source.name)
    if seeds.empty:
        pytest.skip(f"`nox -s published -- {source.name}` has not been run")
    study = source.study()
    planned = {(given.name, seed) for given in study.combinations() for seed in study.seeds}
    found = set(zip(seeds["arm"], seeds["seed"], strict=True))
    assert found == planned, f"`nox -s published -- {source.name}` makes it anew"


# -------------------------------------------------------------------------------------------- the command


def test_a_wrong_name_ends_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in (
        (["pascal"], "unknown pascal; allowed: all, zalando, nielsen"),
        (["keras", "--set", "lr=1"], "--into"),
    ):
        with pytest.raises(SystemExit) as stopped:
            reproduce.main(given)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


def test_without_a_name_the_sources_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    reproduce.main([])
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == [source.name for source in PUBLISHED.sources]


def test_a_source_is_trained_into_another_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, Sequence[str]]] = []

    def train(source: Source, into: Path, changes: Sequence[str] = ()) -> None:
        trained.append((source.name, changes))
        into.parent.mkdir(parents=True)
        into.symlink_to(folder)

    monkeypatch.setattr(reproduce, "train", train)
    page = published_page.PAGE.read_bytes()
    reproduce.main(["keras", "--into", str(tmp_path), "--set", "epochs=1"])
    assert trained == [("keras", ["epochs=1"])]
    assert published_results.kept("keras", tmp_path)["arm"].tolist() == ["one"] * 3 + ["without val"] * 3
    assert published_page.PAGE.read_bytes() == page


def test_a_run_that_fails_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        reproduce.main(["keras", "--into", str(tmp_path), "--set", "no_such_setting=1"])
    assert not (tmp_path / "keras.csv").exists()

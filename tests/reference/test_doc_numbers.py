"""The numbers that README and docs state are those of the committed results."""

from __future__ import annotations

from pathlib import Path

import doc_numbers
import pandas as pd
import pytest
import reference_values
from doc_numbers import Claim, agrees, claims, differences_of, write, written
from reference_folders import CHECKOUT, KEPT


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: f"{claim.folder}: {claim.text.strip()[:40]}")
def test_a_page_states_what_the_results_say(claim: Claim) -> None:
    found = list(differences_of(claim))
    assert not found, (
        f"{found}: `nox -s reference -- --numbers --write` writes them, then read the words again"
    )


def test_claims_are_of_folders_that_are_there_and_of_sentences_with_numbers() -> None:
    every = claims()
    assert {claim.folder for claim in every} <= {*KEPT, "validity"}
    assert all(claim.text.count(doc_numbers.SLOT) for claim in every)
    assert {claim.folder for claim in claims("cnn")} == {"cnn"}
    assert sum(claim.text.count(doc_numbers.SLOT) for claim in every) > 200


@pytest.mark.parametrize(
    ("printed", "value", "expected"),
    [
        ("95.0", 94.95, True), ("95.0", 94.9, False), ("+1.1", -1.1, False), ("+1.1", 1.12, True),
        ("1,920", 1920.0, True), ("1,920", 1921.0, False), ("40", 40.4, True), ("40", 40.6, False),
    ],
)  # fmt: skip
def test_a_number_agrees_when_it_is_the_value_rounded_to_its_digits(
    printed: str, value: float, expected: bool
) -> None:
    assert agrees(printed, value) == expected


def test_numbers_are_written_as_those_before_them_were() -> None:
    assert [written(1234.56, like) for like in ("5,000", "5000", "+2.05")] == ["1,235", "1235", "+1234.56"]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(doc_numbers, "CHECKOUT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text("First, GELU gets\n96.8 % (by +0.40 points);\n  of 1,920 trials. GELU gets more.\n")
    return path


def claim_of(text: str, *values: float) -> Claim:
    return Claim("page.md", "cnn", text, lambda: values)


@pytest.mark.usefixtures("page")
def test_a_claim_finds_its_sentence_across_lines_and_tells_what_differs() -> None:
    text = "gets {} % (by {} points); of {} trials."
    assert list(differences_of(claim_of(text, 96.84, 0.4, 1920))) == []
    (told,) = differences_of(claim_of(text, 96.84, 0.7, 1920))
    assert told.startswith("page.md, of cnn: +0.40 should be +0.70 ('gets {} % (by {}")
    (told,) = differences_of(claim_of(text, 96.84, 0.4))
    assert "2 numbers are computed" in told
    (told,) = differences_of(claim_of("it gets {} %", 96.84))
    assert "its words stand there 0 times" in told
    (told,) = differences_of(claim_of("GELU gets"))
    assert "its words stand there 2 times" in told

    def fail() -> list[float]:
        return [float(reference_values.row(pd.DataFrame({"arm": ["a"]}), {"arm": "b"})["arm"])]

    (told,) = differences_of(Claim("page.md", "cnn", "gets {} %", fail))
    assert "no rows where {'arm': 'b'}" in told


def test_numbers_that_differ_are_written_into_the_page(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = claim_of("gets {} % (by {} points); of {} trials.", 97.12, 0.412, 12345)
    gone = claim_of("nobody wrote {}", 1.0)
    monkeypatch.setattr(doc_numbers, "claims", lambda _folder="": [changed, gone])
    told = write()
    expected = "First, GELU gets\n97.1 % (by +0.41 points);\n  of 12,345 trials. GELU gets more.\n"
    assert page.read_text() == expected
    assert told[0].startswith("1 sentence changed")
    assert len(told) == 2
    assert "nobody wrote" in told[1]


def test_means_are_over_seeds_and_differences_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({
        "arm": ["a", "b"] * 3, "seed": [0, 0, 1, 1, 2, 2],
        "val_accuracy": [0.5, 0.6, 0.6, 0.8, 0.7, 1.0],
    })  # fmt: skip
    monkeypatch.setattr(reference_values, "trials", lambda _folder: frame)
    found = reference_values.mean("any", "val_accuracy", {"arm": "a"})
    assert found == pytest.approx((60.0, 35.158, 84.842), abs=0.001)
    both = reference_values.mean("any", "val_accuracy", {"arm": ["a", "b"]}).mean
    assert both == pytest.approx(70.0)
    gain = reference_values.difference("any", "val_accuracy", {"arm": "b"}, {"arm": "a"})
    assert gain == pytest.approx((20.0, -4.842, 44.842), abs=0.001)
    with pytest.raises(ValueError, match="3 rows where"):
        reference_values.row(frame, {"arm": "a"})


def test_pages_that_are_claimed_of_exist() -> None:
    assert all((CHECKOUT / claim.page).is_file() for claim in claims())

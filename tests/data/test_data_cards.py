from __future__ import annotations

import pytest

from harness.cli import main
from harness.data import cache, cards
from harness.data.datasets import datasets
from harness.study.reading import parse

OURS = [entry.name for entry in datasets if not entry.third_party]


@pytest.mark.parametrize("name", OURS)
def test_every_registered_set_has_a_card_that_needs_no_data(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    card = cards.card(datasets[name])
    assert card.train > card.test > 0 or name == "qmnist"
    for text in (card.summary, card.licence, card.publisher, card.citation):
        assert text
    assert bool(card.label_errors) == bool(card.label_errors_source)
    assert bool(card.verified_by) == (name in cache.PINS)
    assert len(card.words()) > 7


def test_no_card_is_of_nothing_and_none_has_an_unknown_field() -> None:
    assert set(cards._table()) == set(OURS)
    allowed = {
        "publisher",
        "licence",
        "citation",
        "bytes",
        "label_errors",
        "label_errors_source",
        "duplicates",
    }
    assert all(set(told) <= allowed for told in cards._table().values())


def test_counted_errors_are_those_published() -> None:
    """Northcutt et al. (2021)."""
    assert "15 of the 10,000" in cards.card(datasets["mnist"]).label_errors
    assert "54 of the 10,000" in cards.card(datasets["cifar10"]).label_errors


def test_a_card_is_shown_by_any_spelling(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["harness", "data", "card", "emnist-letters", "usps"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "emnist_letters: Handwritten letters" in said
    assert "124,800 train, 20,800 test; 28 x 28, pixels 0 to 255" in said
    assert "wrong labels: no count is published" in said
    assert "verified by MD5, which tells damage but no forgery" in said


def test_a_card_of_a_persons_own_data_says_what_the_images_say() -> None:
    own = parse({"study": {"name": "s"}, "datasets": {"curves": {"generate": "mnist1d"}}}).dataset("curves")
    words = cards.card(own).words()
    assert [line.split(":")[0].strip() for line in words] == ["curves", "images", "classes", "digest"]
    assert "4,000 train, 1,000 test; 1 x 40" in words[1]

"""A page says which finalist was picked, how sure that is, and how much the search flattered it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from searches import confirm, make_finalists, suggestions, write

from harness import reporting
from harness.reporting.first_screen import headline
from harness.reporting.search import confirmation, finalists
from harness.reporting.search import data as search_data
from harness.reporting.search import page as search_page
from harness.reporting.search.data import SearchData


def read(folder: Path) -> SearchData:
    return search_data.read(reporting.read(folder))


def best(count: int) -> pd.DataFrame:
    """The best suggestions of the known search."""
    table = suggestions()
    return table[table["state"].eq("complete")].nlargest(count, "val_accuracy").reset_index(drop=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The known search with three finalists: its second one is picked, its third one is near."""
    place = write(tmp_path / "known", suggestions(), finalist_seeds=[3000, 3001, 3002, 3003])
    first, second, third = best(3)["arm"]
    make_finalists(
        place,
        {
            first: [0.90, 0.91, 0.90, 0.89], second: [0.95, 0.93, 0.94, 0.96],
            third: [0.94, 0.95, 0.93, 0.95],
        },
    )  # fmt: skip
    return place


def plain(words: list[str]) -> str:
    return " ".join(words).replace("\u00a0", " ")


def test_the_first_screen_tells_the_pick_and_how_often_it_would_win(folder: Path) -> None:
    search, picked = read(folder), best(3).iloc[1]
    assert search.chosen is not None
    assert search.chosen["arm"] == picked["arm"] != search.best["arm"]  # type: ignore[index]
    screen = headline.of_search(search)
    assert plain([screen.answers[0]]).startswith(
        f"The winner: {picked['arm']}, picked of the search's best 3 by val accuracy with 4 seeds of "
        "their own, 94.50 %; with other seeds it would win "
    )
    sureness = dict(screen.sureness)["Rank"]
    near = best(3)["arm"][2]
    assert sureness == f"of 3 finalists, 4 seeds each, the winner is not shown to be better than {near}."
    drawn = dict(screen.sureness)["Settings"]
    assert f"lr = {picked['lr']:.4g}" in drawn
    assert drawn.endswith(f"({picked['arm']}).")
    settings = " ".join(search_page.answers(search)[0])
    assert f"lr = {picked['lr']:.4g}" in settings


def test_the_section_shows_each_finalist_with_its_interval_and_its_difference(folder: Path) -> None:
    section = finalists.section(read(folder))
    assert section is not None
    words = plain(list(section.words))
    assert "seeds that had no part in it (3000 to 3003)" in words
    assert "Run the search again" not in words
    (table,) = section.tables
    first, second, third = best(3)["arm"]
    data = table.data
    assert data is not None
    assert data["arm"].tolist() == [second, third, first]
    assert data["searched"].tolist() == [
        *best(3).set_index("arm").loc[[second, third, first], "val_accuracy"]
    ]
    assert data["verdict"].tolist()[1:] == ["cannot tell", "better"]
    assert data["difference"].tolist()[1:] == pytest.approx([0.0025, 0.045])
    assert data["wins"].sum() == pytest.approx(1)
    assert data["wins"][1] > 0.1
    assert table.rows[1][4].text == "+0.25"
    assert "all 3 pairs of finalists" in table.note
    assert [figure.name for figure in section.figures] == ["search-finalists"]


def test_the_optimism_of_the_search_has_an_interval(folder: Path) -> None:
    picked = best(3).iloc[1]
    confirm(folder, picked["lr"], picked["optimizer"], float(picked["val_accuracy"]) - 0.03)
    search = read(folder)
    assert search_data.confirmed_number(search) == picked["number"]
    words = plain(list(confirmation.flattered(search)))
    assert "the 2nd highest of 32 such numbers" in words
    # Three fresh seeds at -1, 0 and +1 points: half an interval is 4.303 * 0.01 / sqrt(3).
    assert "3.0 points worse: the search flattered it by that much (0.52 to 5.5)" in words
    assert "Run the search again" not in words


def test_a_confirmation_of_another_than_the_picked_one_is_told(folder: Path) -> None:
    first, second = best(3)["arm"][:2]
    row = best(1).iloc[0]
    confirm(folder, row["lr"], row["optimizer"], 0.9)
    words = plain(list(confirmation.flattered(read(folder))))
    assert words.startswith(
        f"{first.capitalize()} was confirmed; {second} has since become the best and is not."
    )


def test_a_search_that_went_on_since_says_that_its_best_are_others(folder: Path) -> None:
    table = suggestions()
    table.loc[table["arm"].eq(best(4)["arm"][3]), "val_accuracy"] = 0.999
    table.to_csv(folder / "suggestions.csv", index=False)
    search = read(folder)
    assert search.went_on
    section = finalists.section(search)
    assert section is not None
    assert "The search has gone on since" in plain(list(section.words))


def test_while_a_finalist_has_no_result_no_winner_is_named(folder: Path) -> None:
    first, second, third = best(3)["arm"]
    make_finalists(folder, {first: [0.9, 0.9], second: [0.8, 0.8], third: [0.7, 0.7]}, status="failed")
    search = read(folder)
    said = headline.of_search(search).answers
    assert said[0] == "No winner is picked of the best 3: no result of 1 of the finalists' 6 trials."
    assert said[1].startswith(f"The best of 32 complete suggestions by val accuracy: {first}, ")
    assert "Rank" not in dict(headline.of_search(search).sureness)


def test_finalists_that_cannot_be_read_are_said_and_the_rest_reported(folder: Path) -> None:
    (folder / "finalists" / "trials.csv").write_text("broken\n1,2\n", encoding="utf-8")
    search = read(folder)
    assert search.finalists is None
    assert "finalists/ cannot be read" in dict(headline.of_search(search).sureness)["Doubts"]


def test_the_page_tells_whether_the_target_was_reached(tmp_path: Path) -> None:
    table = suggestions()
    level = float(table["val_accuracy"][:12].max())
    place = write(tmp_path, table[:16], until={"val_accuracy": level})
    number = int(np.argmax(table["val_accuracy"][:12]))
    said = plain(search_page.answers(read(place))[-1])
    assert f"Suggestion {number} reached the target, val accuracy of at least {100 * level:.6g} %" in said
    assert "16 of 40 suggestions" in said
    assert "not trained yet" not in dict(headline.of_search(read(place)).sureness)["Missing"]
    place = write(tmp_path, table, until={"val_accuracy": 0.99})
    said = plain(search_page.answers(read(place))[-1])
    assert "No suggestion has reached the target, val accuracy of at least 99 %." in said

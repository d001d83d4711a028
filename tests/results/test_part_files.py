"""Part files: a trial that several parts have counts once, with the rows of one of them."""

from __future__ import annotations

from harness.results.part_files import Part, each_once


def part(name: str, **statuses: str) -> Part:
    """A part of trials with these statuses, whose epochs say which part they are of."""
    trials = "".join(f"{trial_id},{status}\n" for trial_id, status in statuses.items())
    rows = "".join(f"{trial_id},{name}\n" for trial_id in statuses)
    return Part(name, "", f"trial_id,status\n{trials}", f"trial_id,epoch\n{rows}", f"trial_id,split\n{rows}")


def test_a_trial_counts_where_it_came_to_its_end_else_where_it_finished_else_first() -> None:
    first = part("1", a="failed", b="pruned", c="ok", d="failed", e="diverged")
    second = part("2", a="pruned", b="ok", c="ok", d="failed", f="ok")
    kept = each_once([first, second])
    for name in ("trials", "epochs", "confusion"):
        found = [table.table(name)["trial_id"] for table in kept]
        assert found == [["c", "d", "e"], ["a", "b", "f"]], name
    assert each_once([first]) == [first]

"""Part files: a trial that several parts have counts once, with the rows of one of them."""

from __future__ import annotations

from harness.results.part_files import Part, each_once


def part(name: str, **ends: str) -> Part:
    """A part of trials with these statuses and steps, whose epochs say which part they are of."""
    trials = "trial_id,status,steps_done\n" + "".join(f"{trial_id},{end}\n" for trial_id, end in ends.items())
    rows = "".join(f"{trial_id},{name}\n" for trial_id in ends)
    return Part(name, "", trials, f"trial_id,epoch\n{rows}", f"trial_id,split\n{rows}")


def test_a_trial_counts_where_it_came_to_its_end_else_where_it_finished_with_most_steps() -> None:
    first = part("1", a="failed,", b="pruned,30", c="ok,20", d="failed,", e="diverged,7", g="pruned,10")
    second = part("2", a="pruned,10", b="ok,20", c="ok,20", d="failed,", f="ok,20", g="pruned,30")
    kept = each_once([first, second])
    for name in ("trials", "epochs", "confusion"):
        found = [table.table(name)["trial_id"] for table in kept]
        assert found == [["c", "d", "e"], ["a", "b", "f", "g"]], name
    assert each_once([first]) == [first]

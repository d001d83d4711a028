"""`nox -s chaos`: a cluster on this machine, and faults of it while studies train."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from chaos import faults, machines, records
from chaos.clusters import Cluster, ray_is_missing
from chaos.records import Record
from chaos.rounds import SHORT, Campaign, Size

NO_ROUND = -1
"""The round of kinds that this machine does not allow."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--only", multiple=True, help="A kind of fault; repeatable. All by default.")
@click.option("--count", type=click.IntRange(min=1), default=200, show_default=True,
              help="Faults in all, those of earlier campaigns among them.")  # fmt: skip
@click.option("--round", "one", type=click.IntRange(min=0), help="One round by its number, its seed.")
@click.option("--short", is_flag=True, help="One small round of the digits, as among the fast tests.")
@click.option("--nodes", type=click.IntRange(min=4), default=4, show_default=True)
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Of the study: the longer, the more faults a round."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/chaos"), show_default=True,
              help="The folder of faults.csv.")  # fmt: skip
def main(
    only: tuple[str, ...], count: int, one: int | None, short: bool, nodes: int, epochs: int | None, out: Path
) -> None:
    """Kill, suspend, cut off, fill and replace what studies train on; compare their rows.

    Exit code 1 where a row was lost, doubled or different, in this campaign or in one before it.
    """
    if reason := ray_is_missing():
        raise click.UsageError(reason)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left running
    path = out.absolute() / "faults.csv"
    known = records.read(path)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        versions = out.absolute() / "versions"
        kinds = faults.kinds(versions)
        if unknown := sorted(set(only) - set(kinds)):
            raise click.UsageError(f"unknown kind {unknown[0]!r}; allowed: {', '.join(kinds)}")
        allowed, forbidden = faults.allowed({name: kinds[name] for name in only or kinds})
        known = [record for record in known if record.run]
        known += [Record(NO_ROUND, "", k, "", 0.0, "", f"not run: {why}") for k, why in forbidden.items()]
        data = Path(os.environ.get("HARNESS_DATA") or Path.home() / ".cache" / "ablation-harness")
        cluster = Cluster(folder, stack.enter_context(machines.network()), kernels=data / "kernels")
        stack.callback(cluster.stop)
        cluster.fresh = "" if short else cluster.fresh
        size = SHORT if short else Size() if epochs is None else Size(epochs=epochs)
        campaign = Campaign(out.absolute(), cluster, allowed, size, versions, data, 3 if short else nodes)
        _rounds(campaign, known, path, count, [0] if short else None if one is None else [one])
    known = records.read(path)
    click.echo("\n".join(records.table(known)))
    if any(record.lost or record.doubled or record.different for record in known):
        sys.exit(1)


def _rounds(
    campaign: Campaign, known: list[Record], path: Path, count: int, numbers: list[int] | None
) -> None:
    """Run the next rounds until there are so many faults, or the rounds of some numbers."""
    done = records.rounds_done(known)
    following = iter(numbers) if numbers else (number for number in range(10_000) if number not in done)
    for number in following:
        if not numbers and sum(record.run for record in known) >= count:
            break
        known = [record for record in known if record.round != number]
        known += campaign.round(number)
        records.write(path, known)
        of_round = [record for record in known if record.round == number]
        run = sum(record.run for record in known)
        last = of_round[-1] if of_round else None
        words = (
            f"{last.ended}; {last.lost} lost, {last.doubled} doubled, {last.different} different"
            if last
            else ""
        )
        click.echo(f"round {number} ({len(of_round)} faults, {run} in all): {words}", err=True)


if __name__ == "__main__":
    main()

"""`harness cluster`: recipes that start a Ray cluster, and a look at one before a study trains on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from harness.cli import json_output
from harness.cli.json_output import json_option
from harness.cli.show import plugin_option

if TYPE_CHECKING:
    from harness.planning.plan import Plan
    from harness.training.cluster.survey import Surveyed


@click.group("cluster")
def cluster() -> None:
    """Train on a Ray cluster: recipes that start one, and a check of one that runs.

    `harness run STUDY --cluster ADDRESS` trains on it. Docs: docs/clusters.md.
    """


@cluster.command("ray")
@click.argument("study")
@click.option(
    "--head", default="127.0.0.1", show_default=True,
    help="The address of the host that the script runs on, as the others reach it.",
)  # fmt: skip
@click.option("--host", "hosts", multiple=True, help="Another host, which ssh reaches. Repeatable.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=6379, show_default=True, help="The head's port."
)
@json_option
def ray_(study: str, head: str, hosts: Sequence[str], port: int, as_json: bool) -> None:
    """Print a shell script: Ray on hosts of your own, by ssh, with a token, and STUDY on it."""
    from harness.training.cluster import recipes

    _show("cluster ray", recipes.ray(study, head, hosts, port), as_json=as_json)


@cluster.command("slurm")
@click.argument("study")
@click.option("--nodes", type=click.IntRange(1), default=4, show_default=True, help="Nodes.")
@click.option("--cores", type=click.IntRange(1), default=8, show_default=True, help="Cores of a node.")
@click.option("--gpus", type=click.IntRange(0), default=0, show_default=True, help="GPUs of a node.")
@click.option("--time", default="04:00:00", show_default=True, help="The time limit, as sbatch takes it.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=6379, show_default=True, help="The head's port."
)
@json_option
def slurm(study: str, as_json: bool, **options: Any) -> None:
    """Print a batch script for Slurm: Ray on the nodes of an allocation, and STUDY on it."""
    from harness.training.cluster import recipes

    _show("cluster slurm", recipes.slurm(study, **options), as_json=as_json)


def _show(command: str, script: str, *, as_json: bool) -> None:
    click.echo(script, nl=False)
    if as_json:
        json_output.show(command, script=script)


@cluster.command("check")
@click.argument("address")
@click.argument("study", required=False)
@plugin_option
@json_option
def check(address: str, study: str | None, as_json: bool) -> None:
    """List the nodes of the cluster at ADDRESS, and which of them would train STUDY; nothing is trained.

    ADDRESS is what `harness run --cluster` takes: auto, HOST:PORT, ray://HOST:PORT, or local:CORES, which
    starts one on this machine for the look. A node that has other versions than this process is refused, in
    words.
    """
    from harness.training.cluster import survey

    found = survey.survey(address, _drawn(study) if study else None)
    for line in lines(found, address, with_study=study is not None):
        click.echo(line)
    if as_json:
        json_output.show("cluster check", address=address, nodes=answer(found))
    survey.check_some(found, address)


def _drawn(study: str) -> Plan:
    """Draw a study's trials; of a search, one of each component that it may choose."""
    from harness.planning.plan import draw
    from harness.searching import checks
    from harness.study.reading import load

    loaded = load(study)
    return draw(loaded if loaded.search is None else checks.every_component(loaded))


def lines(found: Sequence[Surveyed], address: str, *, with_study: bool) -> list[str]:
    """Say what each node offers, and whether it trains."""
    from harness.text import count

    cores, gpus = (sum(getattr(one.node, name) for one in found) for name in ("cores", "gpus"))
    listed = [f"{address}: {count(len(found), 'node')}, {count(cores, 'core')}, {count(gpus, 'GPU')}"]
    for one in found:
        offered = count(one.node.cores, "core") + (
            f", {count(one.node.gpus, 'GPU')}" if one.node.gpus else ""
        )
        takes = "would train the study" if with_study else "has what this process has"
        takes += f"; is sent the images of {', '.join(one.lacking)}" if one.lacking else ""
        takes = (
            takes if one.trains else f"refused: {one.refusal}" if one.refusal else "has nothing to train on"
        )
        listed.append(f"  {one.node}: {offered}; {takes}")
    return listed


def answer(found: Sequence[Surveyed]) -> list[dict[str, Any]]:
    """Return the nodes as JSON has them."""
    return [
        {
            "node": one.node.node_id,
            "host": one.node.host,
            "address": one.node.address,
            "cores": one.node.cores,
            "gpus": one.node.gpus,
            "refusal": one.refusal,
            "lacking": list(one.lacking),
            "versions": {name: one.facts.get(name, "") for name in VERSIONS},
        }
        for one in found
    ]


VERSIONS = ("python", "ray", "torch", "numpy", "harness", "sources", "processor")

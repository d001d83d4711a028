"""A survey of a cluster: what each node has, and whether it would train a study."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.training.cluster import connection
from harness.training.cluster.actors import Joined, StackActor
from harness.training.cluster.connection import ClusterNode, first_line
from harness.training.cluster.joining import Joining
from harness.training.cluster.nodes import NodeChecks
from harness.training.folder_runs import third_party_modules

ANSWER = 120.0
"""Seconds for all nodes to load a study's components."""


@dataclass(frozen=True)
class Surveyed:
    """A node, its facts, why it would be refused ("": it would not), and the data sets that it lacks."""

    node: ClusterNode
    facts: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""
    lacking: Sequence[str] = ()

    @property
    def trains(self) -> bool:
        """Tell whether it would be given stacks."""
        return not self.refusal and bool(self.node.cores or self.node.gpus)


def survey(address: str, drawn: Plan | None = None) -> list[Surveyed]:
    """Ask all nodes of a cluster what they have, and, with a study's trials, have them load its components.

    Raises:
        UsageError: the address has another form, or Ray is not installed.
        MachineError: the cluster cannot be reached.
    """
    with connection.connected(address):
        cluster = connection.current()
        checks, nodes = (
            NodeChecks(cluster),
            sorted(cluster.nodes(), key=lambda node: (node.host, node.node_id)),
        )
        said = checks.survey(nodes)
        found = [Surveyed(node, checks.facts.get(node.node_id, {}), said[node.node_id]) for node in nodes]
        if drawn is None:
            return found
        joining = Joining(drawn, third_party_modules(drawn), "stacked")
        asked = [None if one.refusal else _ask(cluster, one.node, joining) for one in found]
        until = time.monotonic() + ANSWER
        return [_joined(cluster, one, asked_, until) for one, asked_ in zip(found, asked, strict=True)]


def _ask(cluster: connection.Connection, node: ClusterNode, joining: Joining) -> tuple[object, object]:
    """Have a process on a node load the study's components; returns it, and the reference of its answer."""
    actor = cluster.ray.remote(num_cpus=0)(StackActor)
    handle = actor.options(scheduling_strategy=cluster.on(node)).remote()
    return handle, joining.ask(handle)


def _joined(
    cluster: connection.Connection, one: Surveyed, asked: tuple[object, object] | None, until: float
) -> Surveyed:
    if asked is None:
        return one
    try:
        answer: Joined = cluster.ray.get(asked[1], timeout=max(0.0, until - time.monotonic()))
    except cluster.ray.exceptions.GetTimeoutError:
        return replace(one, refusal=f"has not loaded the study's components within {ANSWER:.0f} s")
    except cluster.ray.exceptions.RayError as error:
        return replace(one, refusal=f"cannot load the study's components: {first_line(error)}")
    return replace(one, refusal=answer.refusal, lacking=answer.lacking)


def check_some(found: Sequence[Surveyed], address: str) -> None:
    """Raise UsageError where no node of a cluster would train."""
    if not any(one.trains for one in found):
        raise UsageError(f"no node of {address} would train: see the list above, node by node")

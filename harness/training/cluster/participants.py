"""Participants: the nodes that trained a run's stacks, for provenance.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.training.cluster.connection import ClusterNode


@dataclass
class Participant:
    """A node, its processor, and what it has trained: stacks or stages, and their processor time (s)."""

    host: str
    address: str
    processor: str
    cores: int
    gpus: int
    tasks: int = 0
    cpu_seconds: float = 0.0


@dataclass
class Participants:
    """The nodes that have trained something, by their ids, in the order in which they came."""

    nodes: dict[str, Participant] = field(default_factory=dict)

    def note(self, node: ClusterNode, host: str, processor: str, cpu_seconds: float) -> None:
        """Count a task that a node has trained; `host` and `processor` are as the node itself names them."""
        new = Participant(host or node.host, node.address, processor, node.cores, node.gpus)
        one = self.nodes.setdefault(node.node_id, new)
        one.tasks += 1
        one.cpu_seconds += cpu_seconds

    def facts(self, address: str, version: str, refused: Mapping[str, str]) -> dict[str, Any]:
        """Return what provenance.json says of a cluster at an address, with this version of Ray."""
        nodes = [asdict(one) | {"cpu_seconds": round(one.cpu_seconds, 2)} for one in self.nodes.values()]
        facts: dict[str, Any] = {"address": address, "ray": version, "nodes": nodes}
        return facts | ({"refused": list(refused.values())} if refused else {})

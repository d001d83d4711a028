"""Joining: what happens between a node and the driver before the node trains the first stack."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data import received_images
from harness.data.datasets import Dataset
from harness.data.samples import load
from harness.errors import MachineError
from harness.planning.plan import Plan
from harness.training.cluster import connection, shipment
from harness.training.cluster.actors import Joined
from harness.training.cluster.connection import ClusterNode, first_line
from harness.training.cluster.nodes import NodeChecks


class Joining:
    """The nodes' way into a run: they say what they have, load the components, and get the images.

    Args:
        drawn: the study and its trials; this process is connected to a cluster.
        modules: those of `folder_runs.third_party_modules`.
        engine: the engine's name.
        device: the kind of device that nodes train on.

    Raises:
        UsageError: a component is a notebook's, which no other machine can load.
    """

    def __init__(self, drawn: Plan, modules: Sequence[str] | None, engine: str, device: str = "cpu") -> None:
        self._connection = connection.current()
        self.shipment = shipment.pack(drawn, modules, engine, device)
        self._packed = pickle.dumps(self.shipment)
        self._datasets: Mapping[str, Dataset] = drawn.datasets
        self._images: dict[str, Any] = {}
        self._checks = NodeChecks(self._connection)

    def why_not(self, node: ClusterNode) -> str | None:
        """Say why a node gets no stack, "" if it may have some; None while it has not said what it has."""
        return "" if self._connection.own else self._checks.judge(node)

    def ask(self, actor: Any) -> Any:
        """Send an actor what it needs of the study; returns the reference of its answer, a Joined."""
        return actor.join.remote(self._packed)

    def send(self, actor: Any, answer: Joined) -> Any:
        """Send an actor the next images that it lacks; returns the reference of its next answer.

        Raises:
            MachineError: Ray's object store does not take them.
        """
        name = answer.lacking[0]
        if name not in self._images:  # once, and once from there to each node
            self._images[name] = self._put(name)
        return actor.receive.remote(self.shipment.data[name].digest, self._images[name])

    def _put(self, name: str) -> Any:
        ray, arrays = self._connection.ray, received_images.arrays_of(load(self._datasets[name]))
        try:
            return ray.put(arrays)
        except ray.exceptions.RayError as error:
            size = sum(array.nbytes for array in arrays.values()) / 1e6
            raise MachineError(
                f"Ray's object store does not take images of {name} ({size:,.0f} MB): {first_line(error)}. "
                "Start Ray with a larger one (ray start --object-store-memory=BYTES), or free its disk"
            ) from error

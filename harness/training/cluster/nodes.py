"""Nodes: what each of a cluster's nodes has, and whether it would train as the driver does.

A node of other versions is refused before it gets a stack: its rows would stand beside the others' under the
same trial ids.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import notes
from harness.errors import in_words
from harness.training.cluster import probe
from harness.training.cluster.connection import ClusterNode, Connection

ANSWER = 60.0
"""Seconds after which it is told that a node has not said yet what it has; a loaded one takes that long."""
MOST_ASKED = 3
"""Times that a node is asked whose answer fails, before it is refused."""
WAIT = 0.2
COMPARED = {"python": "Python", "torch": "torch", "numpy": "NumPy"}
"""Facts that have to be the driver's, and what a person calls them; of the harness, its files have to be."""
ADVICE = "Install there what the driver has, and start Ray there again; or go on without this node"


def refusal(driver: Mapping[str, str], node: Mapping[str, str]) -> str:
    """Say why a node gets no stack, in words that follow its name; empty where it would train the same.

    Args:
        driver: the facts of the driver, as `probe.facts` gives them.
        node: those of the node.
    """
    if node["sources"] == "none":
        return f"has no ablation-harness; the driver has {_harness(driver)}. {ADVICE}"
    listed = [
        f"{title} {node[name]} (the driver: {driver[name]})"
        for name, title in COMPARED.items()
        if node[name] != driver[name]
    ]
    if node["sources"] != driver["sources"]:
        listed.append(f"another harness, {_harness(node)} (the driver: {_harness(driver)})")
    return f"has {' and '.join(listed)}. Trials of a study need the same. {ADVICE}" if listed else ""


def _harness(facts: Mapping[str, str]) -> str:
    return f"{facts['harness']}, digest {facts['sources'][:10]}"


@dataclass(frozen=True)
class _Asked:
    """A question to a node: the reference of its answer, when it was asked first, and how often by now."""

    answer: Any
    since: float
    times: int = 1
    told: bool = False


class NodeChecks:
    """Asks each node of a cluster once what it has, and judges it; no call waits for an answer.

    `facts` maps a node's id to what it said.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._ray, self._driver = connection, connection.ray, probe.facts()
        self._asked: dict[str, _Asked] = {}
        self.facts: dict[str, Mapping[str, str]] = {}

    def judge(self, node: ClusterNode) -> str | None:
        """Say why a node gets no stack, "" if it may have some; None while it has not answered."""
        known = self.facts.get(node.node_id)
        if known is not None:
            return refusal(self._driver, known)
        asked = self._asked.get(node.node_id)
        if asked is None:
            self._asked[node.node_id] = _Asked(self._ask(node), time.monotonic())
            return None
        done, _ = self._ray.wait([asked.answer], timeout=0.0)
        if not done:
            self._tell_late(node, asked)
            return None
        try:
            self.facts[node.node_id] = self._ray.get(asked.answer)
        except self._ray.exceptions.RayError as error:  # it died, or has no memory for a process
            if asked.times >= MOST_ASKED:
                return f"cannot say what it has: {in_words(error).splitlines()[0]}"
            self._asked[node.node_id] = _Asked(self._ask(node), asked.since, asked.times + 1, asked.told)
            return None
        return self.judge(node)

    def survey(self, found: Sequence[ClusterNode], seconds: float = ANSWER) -> dict[str, str]:
        """Judge nodes and wait for their answers; maps ids to refusals, "" of those that may train."""
        until = time.monotonic() + seconds
        said: dict[str, str] = {}
        while waiting := [node for node in found if node.node_id not in said]:
            for node in waiting:
                judged = self.judge(node)
                if judged is None and time.monotonic() > until:
                    judged = (
                        f"does not say within {seconds:.0f} s what it has; look at its load and its Ray logs"
                    )
                if judged is not None:
                    said[node.node_id] = judged
            time.sleep(WAIT)
        return said

    def _ask(self, node: ClusterNode) -> Any:
        """Ask a node for its facts; returns the reference of its answer."""
        cloudpickle = self._ray.cloudpickle
        cloudpickle.register_pickle_by_value(probe)  # a node may have another harness, or none
        try:
            asked = self._ray.remote(num_cpus=0, max_retries=0)(probe.facts)
            return asked.options(scheduling_strategy=self._connection.on(node)).remote()
        finally:
            cloudpickle.unregister_pickle_by_value(probe)

    def _tell_late(self, node: ClusterNode, asked: _Asked) -> None:
        if not asked.told and time.monotonic() - asked.since > ANSWER:
            notes.warn(f"{node} has not said within {ANSWER:.0f} s what it has; it gets no stack until then")
            self._asked[node.node_id] = _Asked(asked.answer, asked.since, asked.times, told=True)

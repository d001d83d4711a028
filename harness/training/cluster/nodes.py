"""Nodes: what each of a cluster's nodes has, and whether it would train as the driver does.

A node of other versions is refused before it gets a stack: its rows would stand beside the others' under the
same trial ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import in_words
from harness.training.cluster import probe

ANSWER = 60.0
"""Seconds for a node to say what it has: a worker process starts for that, and reads the harness's files."""
COMPARED = ("python", "torch", "numpy")
"""Facts that have to be the driver's; of the harness, its sources have to be."""
TITLES = {"python": "Python", "torch": "torch", "numpy": "NumPy", "harness": "the harness"}


@dataclass(frozen=True)
class Node:
    """A node of a cluster: its id and address, how many cores and GPUs it offers, and its facts.

    `fault` says in words why it gets no stack; empty where it may have some.
    """

    node_id: str
    address: str
    cpus: int
    gpus: int
    facts: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    @property
    def label(self) -> str:
        """Name the node for a person: "node alpha (10.0.0.7)"."""
        host = self.facts.get("host", "")
        return f"node {host} ({self.address})" if host else f"node {self.address}"


def differences(driver: Mapping[str, str], node: Mapping[str, str]) -> list[str]:
    """List, in words, what of a node is not as the driver has it; empty where it would train the same."""
    if node["sources"] == "none":
        return ["it has no ablation-harness"]
    listed = [
        f"{TITLES[name]} {node[name]}, where the driver has {driver[name]}"
        for name in COMPARED
        if node[name] != driver[name]
    ]
    if node["sources"] != driver["sources"]:
        listed.append(
            f"another harness ({_harness(node)}), where the driver has {_harness(driver)}: their files differ"
        )
    return listed


def _harness(facts: Mapping[str, str]) -> str:
    return f"{facts['harness']} in {facts['folder']}, digest {facts['sources'][:10]}"


def refusal(driver: Mapping[str, str], node: Mapping[str, str]) -> str:
    """Say why a node gets no stack, and what to do; empty where it gets some."""
    listed = differences(driver, node)
    if not listed:
        return ""
    return (
        f"it has {'; '.join(listed)}. Trials of one study need the same. Install there what the driver has, "
        "start Ray there again, and run the same command, or go on without this node"
        if listed[0][:2] != "it"
        else f"{listed[0]}. Install there what the driver has ({_harness(driver)})"
    )


def alive(known: Collection[str] = ()) -> list[Node]:
    """List the nodes that are alive, but for those whose ids are known, in the order of their addresses."""
    import ray

    nodes = [
        Node(
            node["NodeID"],
            node["NodeManagerAddress"],
            int(node["Resources"].get("CPU", 0)),
            int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in known
    ]
    return sorted(nodes, key=lambda node: (node.address, node.node_id))


def ask(node: Node) -> Any:
    """Ask a node for its facts; returns the reference of its answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(probe)
    try:
        asked = ray.remote(num_cpus=0, max_retries=0)(probe.facts)
        pinned = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        return asked.options(scheduling_strategy=pinned).remote()
    finally:
        ray.cloudpickle.unregister_pickle_by_value(probe)


def judged(node: Node, answer: Any, driver: Mapping[str, str], seconds: float = ANSWER) -> Node:
    """Return a node with its facts, or with its fault: it does not answer, or it is refused.

    Args:
        node: the node that was asked.
        answer: the reference that `ask` gave.
        driver: `probe.facts()` of the driver.
        seconds: how long to wait for the answer.
    """
    import ray

    try:
        facts = ray.get(answer, timeout=seconds)
    except ray.exceptions.GetTimeoutError:
        fault = f"it does not say within {seconds:g} s what it has. Look at its load and its Ray logs"
        return _with(node, {}, fault)
    except ray.exceptions.RayError as error:
        return _with(node, {}, f"it cannot say what it has: {in_words(error).splitlines()[0]}")
    return _with(node, facts, refusal(driver, facts))


def survey(driver: Mapping[str, str], known: Collection[str] = (), seconds: float = ANSWER) -> list[Node]:
    """Ask all nodes that are alive, at once, but for known ones, and judge them."""
    asked = [(node, ask(node)) for node in alive(known)]
    return [judged(node, answer, driver, seconds) for node, answer in asked]


def _with(node: Node, facts: Mapping[str, str], fault: str) -> Node:
    return Node(node.node_id, node.address, node.cpus, node.gpus, facts, fault)


def none_left(nodes: Iterable[Node]) -> str:
    """Say, in words, that no node of a cluster can train, and why not, node by node."""
    listed: Sequence[str] = [f"{node.label}: {node.fault}" for node in nodes if node.fault]
    return "no node of the cluster can train this study. " + " ".join(f"{line}." for line in listed)

"""A Ray driver that answers questions, a line of JSON each: which nodes live; fill a node's object store."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import time
from contextlib import suppress
from typing import Any

ray: Any = importlib.import_module("ray")  # parts of it are untyped
PIECE = 4 * 2**20  # bytes of an object that fills a store
FEW_TRIES = 3  # of joining it, for which Ray itself tries half a minute
MOST_TRIES = 1000  # of reaching the head, a fifth of a second apart


class Filler:
    """Holds objects in its node's store: seen ones, which can be neither moved to a disk nor dropped."""

    def __init__(self) -> None:
        self.held: list[Any] = []

    def fill(self, size: int, seconds: float) -> str:
        """Hold objects of `size` bytes together, for so long; tells how many bytes the store took."""
        import numpy as np

        try:
            for _ in range(max(1, size // PIECE)):
                reference = ray.put(np.zeros(PIECE, np.uint8))
                self.held.append((reference, ray.get(reference)))
            refusal = ""
        except ray.exceptions.RayError as error:
            refusal = f", then {type(error).__name__}"
        time.sleep(seconds)
        return f"{len(self.held) * PIECE / 2**20:.0f} MiB held for {seconds:.0f} s{refusal}"


def _wait_for(address: str) -> None:
    """Wait until the head listens, so that Ray need not be asked again and again."""
    host, _, port = address.rpartition(":")
    for _ in range(MOST_TRIES):
        with suppress(OSError), socket.create_connection((host, int(port)), 5.0):
            return
        time.sleep(0.2)


def nodes() -> dict[str, bool]:
    """Return by address whether a node lives: of several with one address, the last one."""
    alive: dict[str, bool] = {}
    for node in ray.nodes():
        address = node["NodeManagerAddress"]
        alive[address] = alive.get(address, False) or node["Alive"]
    return alive


def main() -> None:
    """Answer questions until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints to the standard output
    _wait_for(sys.argv[1])
    for _ in range(FEW_TRIES):
        with suppress(ConnectionError):
            ray.init(address=sys.argv[1], log_to_driver=False, namespace="chaos", logging_level="error")
            break
    fillers: dict[str, Any] = {}
    actor = ray.remote(num_cpus=0, max_restarts=0)(Filler)
    for line in sys.stdin:
        question = json.loads(line)
        address = question.get("address", "")
        if question["do"] == "nodes":
            answer: Any = nodes()
        elif question["do"] == "fill":
            (place,) = [
                node["NodeID"]
                for node in ray.nodes()
                if node["NodeManagerAddress"] == address and node["Alive"]
            ][:1] or [""]
            if place:
                where = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(place, soft=False)
                filler = actor.options(scheduling_strategy=where).remote()
                fillers[address] = filler, filler.fill.remote(question["bytes"], question["seconds"])
            answer = bool(place)
        else:
            filler, told = fillers.pop(address, (None, None))
            try:
                answer = "no filler" if filler is None else ray.get(told, timeout=question["most"])
            except (ray.exceptions.RayError, TimeoutError) as error:
                answer = f"the filler ended: {type(error).__name__}"
            if filler is not None:
                ray.kill(filler)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

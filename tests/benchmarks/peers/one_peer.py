"""One process of a peer: does what comes on stdin, a JSON line each, and answers on stdout, a JSON line each.

    python -m peers.one_peer MODULE CORE THREADS

CORE is the core it stays on, or -1; THREADS are its libraries' threads, or 0 for what they take.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from dataclasses import asdict
from typing import Any

POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def settle(core: int, threads: int) -> None:
    """Keep to a core and so many threads; before any library is imported that asks."""
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    if threads:
        os.environ.update({pool: str(threads) for pool in POOLS})


def answer(module: str, asked: dict[str, Any]) -> Any:
    """Do one thing of a peer: import it, prepare or time a share."""
    from peers.shares import from_json

    peer = importlib.import_module(f"peers.{module}")
    if asked["do"] == "prepare":
        peer.prepare(from_json(asked["share"]))
        return None
    return asdict(peer.time(from_json(asked["share"])))


def main() -> None:
    """Answer until stdin ends."""
    module, core, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    settle(core, threads)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        try:
            reply = {"done": answer(module, json.loads(line))}
        except Exception:  # noqa: BLE001 (whatever a peer fails with is told by the benchmark)
            reply = {"failed": traceback.format_exc(limit=-4)}
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()

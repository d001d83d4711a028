"""The choice of what trains: this machine's own processes, or the actors of a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from harness.planning.plan import Plan
from harness.training.executors import Executor, Workers
from harness.training.options import RunOptions
from harness.training.progress import SharedProgress


def workers_for(
    options: RunOptions, count: int, device: str, modules: Sequence[str] | None,
    shared: SharedProgress | None = None, *, drawn: Plan,
) -> Executor:  # fmt: skip
    """Return the executor of a run or search: `count` train at once, on the kind of `device`.

    `modules` and `shared` are those of `executors.Workers`, `drawn` has the trials and the study. With
    `options.cluster` this process is connected.
    """
    if not options.cluster:
        return Workers(count, modules, shared)
    from harness.training.cluster.executor import RayWorkers
    from harness.training.cluster.joining import Joining

    return RayWorkers(options.workers, device, Joining(drawn, modules, options.engine, device), shared)

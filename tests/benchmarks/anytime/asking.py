"""Two processes that train what an ask-and-tell interface asks for, until the cell's time is over."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from problem import WORKERS, Cell, Configuration, OutOfTimeError, train

Token = TypeVar("Token")


@dataclass(frozen=True)
class Request(Generic[Token]):
    """Train a configuration until an epoch; `token` is how the tool knows its suggestion again."""

    token: Token
    configuration: Configuration
    until: int
    checkpoint: Path | None = None


def search(
    cell: Cell, ask: Callable[[], Request[Token] | None], tell: Callable[[Request[Token], float], None]
) -> None:
    """Train until the time is over: whenever a process is free, ask; whenever it is done, tell.

    Args:
        cell: whose deadline holds.
        ask: the next request; None if the tool waits for results first.
        tell: of a request and its val accuracy, NaN if training diverged; in the order of their ends.

    Raises:
        RuntimeError: the tool has nothing to ask for although nothing is in training.
    """
    running: dict[Future[tuple[int, float]], Request[Token]] = {}
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        try:
            while cell.left > 0:
                while len(running) < WORKERS and (request := ask()) is not None:
                    arguments = (request.configuration, request.until, request.checkpoint)
                    running[pool.submit(train, cell, *arguments)] = request
                if not running:
                    raise RuntimeError("the tool has nothing to ask for, and nothing is in training")
                done, _ = wait(running, timeout=max(0.0, cell.left), return_when=FIRST_COMPLETED)
                for future in done:
                    _, accuracy = future.result()
                    tell(running.pop(future), accuracy)
        except OutOfTimeError:
            return

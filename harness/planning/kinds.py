"""Kinds of processor in one run: which stacks go to which kind, so that both arms of a seed are made on one.

A contrast subtracts trials of one seed on one data set. Stacks that share such a seed are a *block*, and a
block goes to one kind as a whole, as long as that keeps no kind waiting for long.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from harness.planning.stack import Stack
from harness.text import count, joined, listed

Kind: TypeAlias = str
"""Name of a kind of processor; any text that tells kinds apart."""
PATIENCE = 1.5
"""How many times as long as without a thought of pairs a run may take, so that blocks stay whole."""
NAMED = 4
"""Blocks that words name."""


@dataclass
class Deal:
    """Stacks dealt over kinds of processor, and taken from there one by one.

    Attributes:
        places: the group of each stack -> the kind it goes to.
        parted: the blocks (groups of their stacks) that are dealt over several kinds.
        blocks: all blocks, those with the most seconds first.
    """

    stacks: Mapping[str, Stack]
    seconds: Mapping[str, float]
    places: dict[str, Kind]
    parted: Sequence[Sequence[str]]
    blocks: Sequence[Sequence[str]] = field(default=())

    def choose(self, waiting: Sequence[str], kind: Kind, workers: Mapping[Kind, int]) -> str | None:
        """Choose the stack that a free worker of a kind trains next, of the groups that wait, in order.

        It is the first of its own kind, or of a kind that has no `workers` any more. Without one the worker
        rests, unless it can take over a whole block that nobody has begun from a kind that would need longer
        for all that waits for it than this worker for the block.
        """
        for group in waiting:
            if self.places.get(group, kind) == kind or not workers.get(self.places[group]):
                self.places[group] = kind
                return group
        return self._taken_over(waiting, kind, workers)

    def _taken_over(self, waiting: Sequence[str], kind: Kind, workers: Mapping[Kind, int]) -> str | None:
        there, loads = set(waiting), dict[Kind, float]()
        for group in waiting:
            loads[self.places[group]] = loads.get(self.places[group], 0.0) + self.seconds[group]
        for block in reversed(self.blocks):  # the smallest first
            theirs = self.places[block[0]]
            if not there.issuperset(block) or any(self.places[group] != theirs for group in block):
                continue
            alone = sum(self.seconds[group] for group in block) / max(1, workers.get(kind, 1))
            if alone < loads[theirs] / workers[theirs]:
                self.places.update(dict.fromkeys(block, kind))
                return next(group for group in waiting if group in block)
        return None

    def words(self) -> list[str]:
        """Say how the seeds of contrasts are dealt over the kinds; nothing where there is one kind."""
        found = list(dict.fromkeys(self.places.values()))
        if len(found) < 2:
            return []
        train = f"nodes of {len(found)} kinds of processor train: {joined(sorted(found))}"
        if not self.parted:
            return [f"{train}; both arms of a seed are made on one kind, so that contrasts stay paired"]
        named = [_block_words([self.stacks[group] for group in block]) for block in self.parted]
        told = (
            f"{train}. Arms of one seed are made on several kinds, as whole seeds cannot be dealt evenly, or "
            f"a kind has left ({listed(named, NAMED)}). Float bits may differ between kinds in the last "
            "digits, and the report says where. Nodes of one kind alone avoid it"
        )
        return [told]


def deal(
    stacks: Sequence[Stack],
    seconds: Sequence[float],
    workers: Mapping[Kind, int],
    begun: Mapping[str, Kind] | None = None,
) -> Deal:
    """Deal stacks over the kinds of processor of a run's workers.

    Blocks go one after the other, those with the most seconds first, to the kind that would end first with
    it. Where a run would so take more than PATIENCE times as long as with every stack dealt by itself, blocks
    of the kind that ends last are dealt stack by stack. The same arguments give the same deal.

    Args:
        stacks: what is to be trained.
        seconds: the cost of each, by estimate, on one worker.
        workers: kind -> the number of its workers.
        begun: the group of a stack that was trained already, or is -> the kind; its block stays there.

    Raises:
        ValueError: there are no workers.
    """
    if not any(workers.values()):
        raise ValueError("no kind of processor has a worker; allowed: one worker or more")
    cost = {stack.group: duration for stack, duration in zip(stacks, seconds, strict=True)}
    known = {kind: many for kind, many in sorted(workers.items()) if many}
    blocks = _blocks(stacks, cost)
    fixed = begun or {}
    places = _dealt(blocks, cost, known, fixed)
    parted: list[Sequence[str]] = []
    best = _end(_dealt([[group] for block in blocks for group in block], cost, known, {}), cost, known)
    whole = list(blocks)
    while len(known) > 1 and _end(places, cost, known) > PATIENCE * best:
        last = max(known, key=lambda kind: (_ends(places, cost, known)[kind], kind))
        large = next((b for b in whole if len(b) > 1 and places[b[0]] == last), None)
        if large is None:
            break
        whole.remove(large)
        parted.append(large)
        pieces = [*whole, *([group] for block in parted for group in block)]
        places = _dealt(pieces, cost, known, fixed)
    places |= fixed
    parted = [block for block in blocks if len({places[group] for group in block}) > 1]
    return Deal({stack.group: stack for stack in stacks}, cost, places, parted, blocks)


def _seeds(stack: Stack) -> set[tuple[str, int]]:
    return {(trial.arm.settings.dataset, trial.seed) for trial in stack.trials}


def _blocks(stacks: Sequence[Stack], cost: Mapping[str, float]) -> list[list[str]]:
    """List the blocks: groups of stacks that share a seed on a data set, directly or by way of others."""
    block_of: dict[tuple[str, int], list[str]] = {}
    for stack in stacks:
        mine = [stack.group]
        for seed in sorted(_seeds(stack)):
            other = block_of.get(seed)
            if other is not None and other is not mine:
                large, small = (other, mine) if len(other) >= len(mine) else (mine, other)
                large += small
                block_of |= {key: large for key, block in block_of.items() if block is small}
                mine = large
            block_of[seed] = mine
    blocks = list({id(block): block for block in block_of.values()}.values())
    return sorted(blocks, key=lambda block: (-sum(cost[group] for group in block), min(block)))


def _dealt(
    pieces: Collection[Sequence[str]], cost: Mapping[str, float], workers: Mapping[Kind, int],
    begun: Mapping[str, Kind],
) -> dict[str, Kind]:  # fmt: skip
    """Give each piece to the kind that began it, else to the one that would end first with it.

    The largest pieces go first.
    """
    sums = [(sum(cost[group] for group in piece), piece) for piece in pieces]
    loads, places = dict.fromkeys(workers, 0.0), dict[str, Kind]()
    for total, piece in sorted(sums, key=lambda one: (-one[0], min(one[1]))):
        before = [begun[group] for group in piece if begun.get(group) in workers]
        kind = min(before or workers, key=lambda name: ((loads[name] + total) / workers[name], name))
        loads[kind] += total
        places |= dict.fromkeys(piece, kind)
    return places


def _ends(
    places: Mapping[str, Kind], cost: Mapping[str, float], workers: Mapping[Kind, int]
) -> dict[Kind, float]:
    """Estimate when each kind is done, if each of its workers takes the longest stack that is left."""
    ends = {kind: [0.0] * many for kind, many in workers.items()}
    for group in sorted(places, key=lambda name: -cost[name]):
        heapq.heapreplace(ends[places[group]], ends[places[group]][0] + cost[group])
    return {kind: max(times) for kind, times in ends.items()}


def _end(places: Mapping[str, Kind], cost: Mapping[str, float], workers: Mapping[Kind, int]) -> float:
    return max(_ends(places, cost, workers).values())


def _block_words(stacks: Sequence[Stack]) -> str:
    """Name a block by its data sets and its seeds."""
    found = sorted({seed for stack in stacks for seed in _seeds(stack)})
    datasets = list(dict.fromkeys(name for name, _ in found))
    seeds = sorted({seed for _, seed in found})
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return f"{which} on {joined(datasets)} in {count(len(stacks), 'stack')}"

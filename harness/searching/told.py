"""told.jsonl: what was known when each batch was asked for and, without barriers, who was judged and how.

A line is a JSON object. A batch that is asked for before the one before it has ended is asked for with what
is known then; a search that is killed asks for it again with the same, unless the suggestions that were in
training are others by now, as with another sampler. Under an asynchronous pruner the order
in which stacks arrive is the machine's, so every judgement is written down before it takes effect, and a
search that goes on repeats it. Lines are only appended; a last line that a kill has torn does not count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from harness.errors import MachineError, UsageError
from harness.searching.ask_tell import Known, SuggestionResult
from harness.settings.schema import TOLD
from harness.study.space import Drawn


class Told:
    """The log of a search in its folder.

    `known` is what was known of earlier suggestions, by the number of the batch that was asked for then, or
    that would have been if it had been wanted; `wanted` are the numbers of batches that were.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / TOLD
        self.known: dict[int, Known] = {}
        self.wanted: set[int] = set()
        self._drawn: dict[int, Drawn] = {}
        self._judged: dict[tuple[int, int], bool] = {}
        self._reported: dict[int, dict[int, float]] = {}
        for number, line in enumerate(self._lines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise UsageError(
                    f"{self._path} is damaged: line {number} is not of a search's log. Bring back a copy, or "
                    "remove the file: what was in training when the search stopped is then asked for anew."
                ) from error

    def _lines(self) -> list[bytes]:
        """Return the whole lines, and cut off the rest of one that was torn."""
        try:
            content = self._path.read_bytes() if self._path.is_file() else b""
            end = content.rfind(b"\n") + 1
            if end < len(content):
                os.truncate(self._path, end)
        except OSError as error:
            raise MachineError(f"{self._path} cannot be read: {error.strerror or error}") from error
        return content[:end].splitlines()

    def _take(self, line: object) -> None:
        match line:
            case {"batch": int(batch), "known": dict(known), **rest}:
                self.known[batch] = {int(number): _result(entry) for number, entry in known.items()}
                self.wanted |= {batch} if rest.get("wanted") else set()
            case {"drawn": dict(drawn)}:
                self._draw({int(number): dict(point) for number, point in drawn.items()})
            case {"evaluation": int(evaluation), "reported": dict(reported), "stopped": list(stopped)}:
                for number, curve in reported.items():
                    self._judged[int(number), evaluation] = int(number) in stopped
                    values = {int(i): float(value) for i, value in curve.items()}
                    self._reported.setdefault(int(number), {}).update(values)
            case _:
                raise ValueError("no line of this log")

    def note_known(self, batch: int, known: Known, *, wanted: bool = True) -> None:
        """Note what a batch is asked for with, unless an earlier run has noted it; and whether it is wanted.

        One that is not wanted may be asked for in a later run, of a search that is extended.
        """
        if batch not in self.known:
            self.known[batch] = known
            self.wanted |= {batch} if wanted else set()
            entries = {str(n): None if result is None else _entry(result) for n, result in known.items()}
            self._append({"batch": batch, "known": entries, "wanted": wanted})

    def note_drawn(self, drawn: Mapping[int, Drawn]) -> None:
        """Note what was asked for; forget what is known of other suggestions that had these numbers."""
        if any(self._drawn.get(number) != point for number, point in drawn.items()):
            self._append({"drawn": {str(number): point for number, point in drawn.items()}})
        self._draw(drawn)

    def _draw(self, drawn: Mapping[int, Drawn]) -> None:
        """Take up what was asked for, as `note_drawn`."""
        others = {n for n, point in drawn.items() if self._drawn.get(n, point) != point}
        if others:  # then what was asked for behind them will be others, too
            others |= {n for n in self._drawn if n > max(drawn)}
            self._drawn = {n: point for n, point in self._drawn.items() if n not in others}
        self.known = {batch: known for batch, known in self.known.items() if not others & {*known}}
        self.wanted &= set(self.known)
        self._judged = {key: stop for key, stop in self._judged.items() if key[0] not in others}
        self._reported = {n: curve for n, curve in self._reported.items() if n not in others}
        self._drawn |= drawn

    def was_drawn(self, number: int) -> bool:
        """Tell whether a suggestion was asked for under this number, by this run or an earlier one."""
        return number in self._drawn

    def reported(self, number: int) -> Mapping[int, float]:
        """Return what a suggestion had reported in an earlier run, by evaluation."""
        return self._reported.get(number, {})

    def judged(self, number: int, evaluation: int) -> bool | None:
        """Return whether a suggestion was stopped after an evaluation; None if it was not judged there."""
        return self._judged.get((number, evaluation))

    def note_judged(
        self, evaluation: int, reported: Mapping[int, Mapping[int, float]], stopped: Sequence[int]
    ) -> None:
        """Note that suggestions were judged, with what they had reported, and who of them was stopped."""
        self._append(
            {
                "evaluation": evaluation,
                "reported": {
                    str(n): {str(i): value for i, value in curve.items()} for n, curve in reported.items()
                },
                "stopped": list(stopped),
            }
        )

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MachineError(
                f"{self._path} cannot be written: {error.strerror or error}. What is finished is safe; free "
                "some space, then run the same command again: it goes on from here."
            ) from error


def _entry(result: SuggestionResult) -> list[Any]:
    curve = {str(i): value for i, value in result.intermediate.items()}
    return [result.state.name, list(result.values), curve, result.reached]


def _result(entry: Sequence[Any] | None) -> SuggestionResult | None:
    if entry is None:
        return None
    state, values, curve, reached = entry
    intermediate = {int(i): float(value) for i, value in curve.items()}
    return SuggestionResult(TrialState[state], [float(value) for value in values], intermediate, reached)

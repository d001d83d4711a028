"""Verdicts on compiled components, each held against its own function before anything trains with it.

Compiled code may crash, hang or be wrong. It is called in a process of its own (`calls`), and what it gives
is compared with its function's values (`cases`): for the harness's own in another process (`self_test`),
which imports torch in this one's place. A verdict is kept in the cache, beside the shared object.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import LONGEST, MachineError, in_words
from harness.lowering import builds, calls, cases, compiler
from harness.lowering.calls import Arrays
from harness.lowering.compiler import UnavailableError
from harness.lowering.expectations import Case
from harness.lowering.lowered import Lowered, surroundings
from harness.system import files, process_state
from harness.system.lazy import torch

TIMEOUT = 60.0
"""Seconds for compiled code to answer."""
RIGHT, WRONG = "right", "wrong: "
"""Beginnings of a kept verdict."""
PASSING = tuple(
    f"its compiled form {how}"
    for how in (
        "takes more than",
        "ends with exit status",
        *(f"ends its process by signal {n}" for n in (9, 15)),
    )
)
"""Beginnings of complaints that may be the machine's, by a lack of time or memory: they are not kept."""
_verdicts: dict[tuple[Any, ...], str] = {}
_unknown: set[tuple[Any, ...]] = set()
"""Components whose verdict was looked for in the cache, so that it is looked for once."""


def verdict(lowered: Lowered) -> str:
    """Return why a component's compiled form is not to be used, or ""; check it if need be."""
    return verdicts([lowered])[0]


def known(lowered: Lowered) -> str:
    """Return why a component's compiled form is not to be used as far as is known by now, or "".

    Nothing is compiled or checked for this: a kept verdict is read.
    """
    key = _key(lowered)
    if key not in _verdicts and key not in _unknown:
        _unknown.add(key)
        built = compiler.there(lowered.text, "float32", lowered.name)
        kept = None if built is None else _kept(_place(lowered, built))
        if kept is not None:
            _verdicts[key] = kept
    return _verdicts.get(key, "")


def verdicts(components: Sequence[Lowered]) -> list[str]:
    """Return each component's verdict; those that are new are compiled at the same time, and then checked."""
    keys = [_key(lowered) for lowered in components]
    new = {key: lowered for key, lowered in zip(keys, components, strict=True) if key not in _verdicts}
    missing = [x for x in new.values() if compiler.there(x.text, "float32", x.name) is None]
    if len(missing) > 1:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(_built, missing))
    unchecked: list[tuple[Lowered, Path]] = []
    for key, lowered in new.items():
        built = _built(lowered)
        kept = None
        if isinstance(built, str):
            kept = built
        elif compiler.trusted():
            kept = ""
        else:
            place = _place(lowered, built)
            kept = _kept(place)
            if kept is None:
                unchecked.append((lowered, place))
        if kept is not None:
            _verdicts[key] = kept
    found = dict(
        zip((key for key, lowered in new.items() if key not in _verdicts), _check(unchecked), strict=True)
    )
    _verdicts.update(found)
    return [_verdicts[key] for key in keys]


def forget() -> None:
    """Ask for verdicts again at their next use, because something has changed."""
    _verdicts.clear()
    _unknown.clear()


def _key(lowered: Lowered) -> tuple[Any, ...]:
    environment = (os.environ.get(name) for name in (compiler.SWITCH, "CC", "HARNESS_DATA"))
    return lowered, lowered.origin.digests, builds.bits(), *environment


def _built(lowered: Lowered) -> Path | str:
    """Return the path of a component's shared object, or why it has none."""
    try:
        return compiler.compiled(lowered.text, "float32", lowered.name)
    except UnavailableError as error:
        return str(error)


# -------------------------------------------------------------------------------------------- verdicts, kept


def _place(lowered: Lowered, built: Path) -> Path:
    """Return the path of a verdict: what it depends on beside the shared object is in its name."""
    parts = [*lowered.origin.digests, lowered.origin.packed(), surroundings()]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return built.with_name(f"{built.stem}-{digest}.verdict")


def _kept(place: Path) -> str | None:
    """Read a verdict; None where there is none, or a damaged one."""
    with suppress(*files.DAMAGE, MachineError):
        text = files.text(place)
        if text == RIGHT or text.startswith(WRONG):
            return text.removeprefix(RIGHT).removeprefix(WRONG)
    return None


# --------------------------------------------------------------------------------------------------- checking


def _check(components: Sequence[tuple[Lowered, Path]]) -> list[str]:
    """Check components and keep the verdicts; one that could not be found is asked for again elsewhere."""
    complaints = [""] * len(components)
    for third_party, examine in ((False, _examined_elsewhere), (True, examined)):
        group = [i for i, (lowered, _) in enumerate(components) if lowered.origin.third_party is third_party]
        if not group:
            continue
        try:
            found = examine([components[i][0] for i in group])
        except UnavailableError as error:
            found = [str(error)] * len(group)
        else:
            for i, complaint in zip(group, found, strict=True):
                if complaint.startswith(PASSING):
                    continue
                with suppress(MachineError):  # then the next process checks it again
                    files.write(components[i][1], (WRONG + complaint if complaint else RIGHT).encode())
        for i, complaint in zip(group, found, strict=True):
            complaints[i] = complaint
    return complaints


def _examined_elsewhere(components: Sequence[Lowered]) -> list[str]:
    """Hold components of the harness's own against their functions, in a process that imports torch."""
    request = json.dumps([[lowered.origin.packed(), lowered.text] for lowered in components])
    seconds = TIMEOUT * (2 + len(components))
    answer, fault = _talk(("self_test", builds.bits()), request.encode(), seconds)
    if fault:
        raise UnavailableError(f"the self-test of compiled components {fault}")
    try:
        complaints = json.loads(answer)
    except ValueError as error:
        raise UnavailableError("the self-test of compiled components gives no answer") from error
    if isinstance(complaints, str):
        raise UnavailableError(complaints)
    return [str(complaint) for complaint in complaints]


def examined(components: Sequence[Lowered]) -> list[str]:
    """Hold components against their functions, called in this process; return each one's complaint, or ""."""
    lanes = compiler.lanes()
    complaints: dict[int, str] = {}
    asked: list[tuple[int, Case, Arrays]] = []
    for number, lowered in enumerate(components):
        path = str(compiler.compiled(lowered.text, "float32", lowered.name))
        try:
            with process_state.kept() as changed, torch.random.fork_rng(devices=[]):
                made = list(cases.cases(lowered, lanes))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (a third party's function may raise anything)
            why = in_words(error)[:LONGEST]
            complaints[number] = f"its function cannot be called for a comparison: {why}"
            continue
        if changed:
            complaints[number] = f"it changes settings of the whole process: {', '.join(changed)}"
            continue
        asked += [(number, case, _framed(path, case)) for case in made]
    for number, complaint in _differing(asked):
        complaints.setdefault(number, complaint)
    return [complaints.get(number, "") for number in range(len(components))]


def _framed(path: str, case: Case) -> Arrays:
    return {**case.given, "path": np.array(path), "what": np.array(case.what)}


def _differing(asked: Sequence[tuple[int, Case, Arrays]]) -> Iterable[tuple[int, str]]:
    """Call compiled code case by case; yield (number of its component, complaint)."""
    waiting = list(asked)
    while waiting:
        answers, fault = _answers([given for _, _, given in waiting])
        for (number, case, _), answer in zip(waiting, answers, strict=False):
            if complaint := case.complaint(answer):
                yield number, f"its compiled form differs from its function: {complaint}"
        rest = waiting[len(answers) :]
        if rest:
            culprit = rest[0][0]
            yield culprit, f"its compiled form {fault}"
            rest = [each for each in rest if each[0] != culprit]
        waiting = rest


def _answers(given: Sequence[Arrays]) -> tuple[list[dict[str, Any]], str]:
    """Return the answers of a process that calls compiled code, and how it ended before the last one."""
    request = b"".join(calls.frame(arrays) for arrays in given)
    answer, fault = _talk(("calls",), request, TIMEOUT)
    return list(calls.frames(BytesIO(answer)))[: len(given)], fault or "gives no answer"


def _talk(call: Sequence[str], request: bytes, seconds: float) -> tuple[bytes, str]:
    """Run a module of this room in a process; return its answer, and how it failed, or "".

    `call` is the module's name, and its arguments.
    """
    module, *arguments = call
    command = [sys.executable, "-P", "-m", f"harness.lowering.{module}", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
    except OSError as error:
        raise UnavailableError(
            f"no process can be started to check compiled code: {error.strerror}"
        ) from error
    try:
        answer, complaints = process.communicate(request, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0], f"takes more than {seconds:g} s"
    except BaseException:
        process.kill()
        process.wait()
        raise
    return answer, _ending(process.returncode, complaints.decode(errors="replace"))


def _ending(status: int, complaints: str) -> str:
    """Say how a process has failed, or ""."""
    if status < 0:
        return f"ends its process by signal {-status}"
    last = " ".join(complaints.strip().splitlines()[-1:])
    return f"ends with exit status {status} {last}".strip() if status else ""

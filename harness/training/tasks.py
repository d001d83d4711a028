"""Tasks of executors: each trains one stack, and a fault of the stack is a result, not an exception.

A StackTask trains to the end and writes a part of a results folder; a search's tasks train to the next rung.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from threadpoolctl import threadpool_limits

from harness import notes
from harness.axes.planned_components import raised_in
from harness.data.samples import Data, prepare
from harness.engines import Arithmetic, arithmetic, engine, kernels
from harness.errors import ComponentError, MachineError, UsageError, in_words
from harness.lowering import compiler
from harness.planning.stack import Stack
from harness.results import brought, checkpoints
from harness.results.checkpoints import BeginningState, Cadence
from harness.results.origins import Origin
from harness.study.study import Study
from harness.system import files, process_state, signals
from harness.training.progress import ProgressWriter, SharedProgress

Result = TypeVar("Result")
GONE = ("CUDA error", "CUDA driver", "No CUDA GPUs", "NVIDIA driver")
"""Words of PyTorch's about a GPU that has failed, or that is not there any more."""
SOURCE = "states/source.safetensors"
"""Name of the state that a stack goes on from, in the folder of another machine."""
ASSERTED = "device-side assert"
"""Words of PyTorch's about a stack's own fault on a GPU, such as a component's index beyond an array."""


@dataclass(frozen=True)
class Task(ABC, Generic[Result]):
    """One stack of a study to train on a device: all that a worker process needs to know for it."""

    stack: Stack
    device: str
    study: Study

    def run(self, shared: SharedProgress | None = None) -> Result:
        """Train the stack. A fault of the stack is a result, not an exception.

        What is not is raised: MachineError, or UsageError such as of a checkpoint of another version.
        """
        try:
            return self.train(prepare(self.stack.trials[0].arm.settings), shared)
        except ComponentError as error:
            return self.failed(str(error).replace("\n", " "))
        except (MachineError, KeyboardInterrupt):
            raise
        except UsageError as error:
            component = raised_in(error)
            if not component:
                raise
            return self.failed(f"{error}{component}")
        except BaseException as error:
            if lost_device(error, self.device):  # no stack would train on it, in this process
                raise MachineError(
                    f"the GPU ({self.device}) does not go on: {in_words(error)}. What is finished is safe; "
                    f"the same command trains the rest, with {compiler.SWITCH}=off without the harness's own "
                    "kernels, and with --device cpu without a GPU"
                ) from error
            return self.failed(in_words(error) + raised_in(error))

    @abstractmethod
    def train(self, data: Data, shared: SharedProgress | None) -> Result:
        """Train the stack on its data."""

    @abstractmethod
    def failed(self, message: str) -> Result:
        """Return the result of a task that failed in this process."""

    def died(self, message: str) -> Result:
        """Return the result of a task whose worker died too often."""
        return self.failed(message)

    def retry(self, deaths: int) -> Self:  # noqa: ARG002 (what subclasses need)
        """Return the task to try after so many deaths of its worker."""
        return self

    def files(self) -> dict[str, bytes]:
        """Read the files that another machine needs to go on: name -> content."""
        return {}

    def on_node(self, folder: Path) -> Self:  # noqa: ARG002 (what subclasses need)
        """Return the task as another machine runs it, with its files in a folder there."""
        return self

    def accept(self, result: Result, made: Mapping[str, bytes]) -> Result:  # noqa: ARG002
        """Take the result that another machine sent, and write the files that it made."""
        return result

    def keep(self, made: Mapping[str, bytes]) -> None:
        """Write checkpoints that another machine has sent."""


def lost_device(error: BaseException, device: str) -> bool:
    """Tell whether an error says that a GPU has failed or is gone.

    Full memory, and an assertion of a component's, are the stack's own.
    """
    if not device.startswith("cuda") or not isinstance(error, RuntimeError) or out_of_memory(error):
        return False
    text = in_words(error)
    return ASSERTED not in text and any(words in text for words in GONE)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory is full, of a processor or of a GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or ("memory" in text and "illegal memory access" not in text)


@contextmanager
def quiet_arithmetic(library: Arithmetic) -> Iterator[None]:
    """Compute in one thread, without subnormal numbers, which would slow a whole stack, and without TF32.

    PyTorch's new tensors are float32 and have gradients, whatever a notebook has set. All is put back: the
    process may be a notebook's. Torch is imported only where it computes; NumPy has no switch for
    subnormal numbers.
    """
    if library == "numpy":
        with threadpool_limits(1, user_api="blas"):
            yield
        return
    if library == "compiled":
        with kernels.without_subnormals():
            yield
        return
    import torch

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("highest")  # float32 is float32, on every device
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Raise ComponentError where a component changes how the process computes: no number can be believed."""
    with process_state.kept() as changed:
        yield
    if changed:
        raise ComponentError(f"a component changed settings of the whole process: {', '.join(changed)}")


@dataclass(frozen=True)
class StackResult:
    """The number of a stack's trials by status; or the message of its failure.

    `notes` say what its engine did otherwise than expected.
    """

    stack: Stack
    statuses: dict[str, int] = field(default_factory=dict)
    failure: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class StackTask(Task[StackResult]):
    """A stack to train to its end and to write as a part of a results folder.

    `place` is the stack's in the shared progress; in `shares` the stack is trained from the start, or from
    the states of a `source`.
    """

    folder: Path = Path()
    place: int = 0
    shares: int = 1
    checkpoint_every: Cadence = field(default_factory=Cadence)
    source: BeginningState | None = None

    def run(self, shared: SharedProgress | None = None) -> StackResult:
        """Train the stack, write its part, and remove its checkpoints; write one when told to end."""
        with nullcontext() if self.checkpoint_every.never else signals.saving():
            return self._run(shared)

    def _run(self, shared: SharedProgress | None) -> StackResult:
        result = super().run(shared)
        if not result.failure:
            checkpoints.remove(self.folder, self.stack.group)
        return result

    def train(self, data: Data, shared: SharedProgress | None) -> StackResult:
        """Train the stack and write its part."""
        from harness.results import kept_states, parts

        about, stack = self.study.about, self.stack
        library = arithmetic(stack.engine, stack.trials, data, self.device, self.study.metrics)
        with quiet_arithmetic(library), undisturbed():
            shares = _train_in_shares(self, data, shared)
        if about.keep_state == "all":
            shares = [replace(share, library=library) for share in shares]
            kept_states.write(self.folder, stack, shares, self.study.metrics)
        statuses = parts.write(
            self.folder, self.stack, data, shares, about.keep_predictions, about.keep_weights
        )
        engine_notes = [note for share in shares for note in share.outcome.notes]
        return StackResult(self.stack, statuses, notes=engine_notes)

    def failed(self, message: str) -> StackResult:
        """Write that the stack failed, and why."""
        from harness.results import parts

        message += checkpoints.resume_hint(self.folder, self.stack.group)
        parts.write_failure(self.folder, self.stack, message)
        return StackResult(self.stack, {"failed": len(self.stack.trials)}, message)

    def died(self, message: str) -> StackResult:
        """Return the failure, which the parent process writes."""
        return StackResult(self.stack, failure=message)

    def files(self) -> dict[str, bytes]:
        """Read the stack's checkpoints, and the state that it goes on from."""
        content = brought.read(self.folder, brought.checkpoints_of(self.folder, self.stack.group))
        if self.source is not None:
            content[SOURCE] = files.content_of(self.source.path)
        return content

    def on_node(self, folder: Path) -> Self:
        """Return the task as another machine runs it: alone, in a folder there.

        What was begun on another kind of machine is begun again: its bits would be neither one's.
        """
        stack, source = self.stack, self.source and self.source.at(folder / SOURCE)
        for remark in checkpoints.drop_unlike(folder, stack, self.device, self.study.metrics):
            notes.warn(remark)
        if source and (why := source.unlike(Origin.here(stack, self.device, self.study.metrics))):
            notes.warn(f"stack {stack.group} starts again: its state is of another kind of machine ({why})")
            source = None
        return replace(self, folder=folder, place=0, source=source)

    def accept(self, result: StackResult, made: Mapping[str, bytes]) -> StackResult:
        """Write all that the stack has made, its part last; with the checkpoints of one that failed."""
        brought.accept(self.folder, self.stack.group, made, failed=bool(result.failure))
        return result

    def keep(self, made: Mapping[str, bytes]) -> None:
        """Write the stack's checkpoints."""
        brought.write(self.folder, made)

    def retry(self, deaths: int) -> Self:
        """Try the stack whole once more, so that a stray kill changes no number; then in halves."""
        return replace(self, shares=2 ** (deaths - 1))


def _train_in_shares(task: StackTask, data: Data, shared: SharedProgress | None) -> list[Any]:
    """Train a stack whole; where memory runs out, in halves of halves."""
    from harness.engines import bits
    from harness.engines.base import EngineOptions
    from harness.results.parts import ShareOutcome

    trials, count = task.stack.trials, min(task.shares, len(task.stack.trials))
    ends = [round(i * len(trials) / count) for i in range(count + 1)]
    todo = [trials[a:b] for a, b in itertools.pairwise(ends)]
    outcomes: list[ShareOutcome] = []
    while todo:
        share = todo.pop(0)
        checkpoint = checkpoints.ShareCheckpoint(
            task.folder, task.stack, share, task.device, task.checkpoint_every, task.study.metrics
        )
        checkpoint.source = task.source
        before = sum(len(outcome.trials) for outcome in outcomes)
        writer = ProgressWriter(shared, task.place, before, len(share))
        keep_state = task.study.about.keep_state == "all"
        options = EngineOptions(
            writer, task.study.metrics, checkpoint, task.study.sealed, keep_state=keep_state
        )
        try:
            outcome = engine(task.stack.engine).train(share, data, task.device, options=options)
        except (MemoryError, RuntimeError) as error:
            if len(share) == 1 or not out_of_memory(error):
                raise
            todo = [share[: len(share) // 2], share[len(share) // 2 :], *todo]
            continue
        outcome.kernels = bits.of_trials(
            task.stack.engine, share, data, task.device, task.study.metrics, outcome.steps
        )
        writer(1.0, outcome)
        outcomes.append(
            ShareOutcome(share, outcome, checkpoint.seconds, task.device, parents=checkpoint.parents)
        )
    return outcomes

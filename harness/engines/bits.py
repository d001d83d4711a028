"""Names of what decides the float bits of a trial: the column `kernels` of trials.csv.

Trials of one id with one name are computed by the same kernels on the same kind of processor, and so nearly
always get the same numbers. Not in a name is the Python that decides bits beside them: the start, schedules,
preprocessing, the choice of a form. How many trials trained together is in another column: in PyTorch, it may
change the last bits. A name is that of the arithmetic, such as c-0123456789, torch-2.13.0-01234567 or, on a
GPU, torch-2.13.0-resident-01234567, and for kernels of the harness, behind a "+", that of the trial's
compiled components. Of a person's own network the digest of its code comes first:
own-0123456789-numpy-2.3.5-01234567.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np

from harness.axes.own_networks import is_own
from harness.data.samples import Data
from harness.engines import arithmetic, kernels
from harness.lowering import builds, components
from harness.lowering.builds import Bits
from harness.lowering.lowered import looking_once
from harness.study.trials import Trial
from harness.system import machine

COMPONENTS = "+"
"""Character between the name of the arithmetic and that of a trial's components."""
PORTABLE = "portable-"
"""Beginning of the names of arithmetic that gives the same bits on every processor."""
THEN = "/"
"""Character between the names of what computed a trial first, and of what computed the rest of it."""


def of_trials(
    engine: str, trials: Sequence[Trial], data: Data, device: str, metrics: Sequence[str], steps: str = ""
) -> list[str]:
    """Name what decides the bits of each trial of a stack.

    The arguments are those of its training, and the kind of steps (`Outcome.steps`) that it took.
    """
    library = arithmetic(engine, trials, data, device, metrics)
    if library == "compiled":
        return _with_components(build(), trials)
    if library == "numpy":
        return [f"{_own(engine)}{_numpy()}"] * len(trials)
    if device.startswith("cuda"):
        name = _cuda(device, steps)
        return _with_components(name, trials) if steps == "resident" else [name] * len(trials)
    layer_one = _layer_one(trials, data) if engine == "stacked" else ""
    return [_torch(layer_one, stacked=engine == "stacked")] * len(trials)


def _layer_one(trials: Sequence[Trial], data: Data) -> str:
    """Name the kernels that compute layer one of a stack of PyTorch's, or images; empty where it does."""
    if not trials[0].arm.settings.plain_mlp:
        from harness.engines.modules import image_kernels

        return image_kernels.identity()
    from harness.engines.stacked import tiled

    return kernels.identity(data.train.dtype) if tiled.pays(trials, data) else ""


def without_components(name: str) -> str:
    """Give the name of the arithmetic alone, by which trials of different components can be compared."""
    return name.partition(COMPONENTS)[0]


def kind(name: str) -> Bits:
    """Tell native from portable bits by the name of what decided them; "", of older versions, is native.

    >>> kind("portable-0123456789+012345"), kind("torch-2.13.0-01234567"), kind("")
    ('portable', 'native', 'native')
    """
    return "portable" if name.startswith(PORTABLE) else "native"


def of_both(before: str, after: str) -> str:
    """Name what decided the bits of a trial that one arithmetic, or host, began and another went on with.

    >>> of_both("c-0123456789+abcdef", "c-9876543210+abcdef"), of_both("lab1/lab2", "lab1")
    ('c-0123456789/c-9876543210+abcdef', 'lab1/lab2')
    """
    first, _, components = before.partition(COMPONENTS)
    then, _, others = after.partition(COMPONENTS)
    names = THEN.join(dict.fromkeys(filter(None, [*first.split(THEN), *then.split(THEN)])))
    texts = THEN.join(dict.fromkeys(filter(None, [*components.split(THEN), *others.split(THEN)])))
    return f"{names}{COMPONENTS}{texts}" if texts else names


def build() -> str:
    """Name the build of the kernels: C text, compiler, options and processor, which all decide its bits.

    Of a portable build, neither compiler nor processor does: it has one name everywhere.
    """
    if builds.portable():
        return f"{PORTABLE}{_digest([kernels.text_digest(), repr(builds.current().decisive)], 10)}"
    return f"c-{_digest([kernels.identity()], 10)}"


@looking_once()
def _with_components(arithmetic_name: str, trials: Sequence[Trial]) -> list[str]:
    """Name the kernels and each trial's compiled components; metrics change no weight, and do not count."""
    arms = {id(trial.arm.settings): trial.arm.settings for trial in trials}
    texts = {arm: [part.text for part in components.of_trial(settings)] for arm, settings in arms.items()}
    names = {arm: f"{arithmetic_name}{COMPONENTS}{_digest(text, 6)}" for arm, text in texts.items()}
    return [names[id(trial.arm.settings)] for trial in trials]


def _cuda(device: str, steps: str) -> str:
    """Name PyTorch on a GPU, and the kind of steps: the resident kernel has other bits than CUDA graphs."""
    import torch

    place = torch.cuda.get_device_properties(device)
    facts = [torch.__version__, "", place.name, f"{place.major}.{place.minor}", str(torch.version.cuda)]
    facts += [steps] if steps else []
    if steps == "resident":
        from harness.engines.resident import nvrtc

        facts += [nvrtc.identity()]
    return "-".join(["torch", _short(torch.__version__), *filter(None, [steps]), _digest(facts, 8)])


def _torch(layer_one: str, *, stacked: bool) -> str:
    """Name PyTorch on a processor; `layer_one` is the identity of the kernels where these have layer one."""
    import torch

    from harness.engines.stacked import products

    facts = [torch.__version__, layer_one, torch.backends.cpu.get_cpu_capability()]
    facts += [machine.processor(), *machine.tuning()]
    facts += [products.identity()] if stacked else []
    return f"torch-{_short(torch.__version__)}-{_digest(facts, 8)}"


def _own(engine: str) -> str:
    """Name a person's own network by the digest of its code, such as "own-0123456789-"; empty for others."""
    return f"own-{engine.partition('@')[2]}-" if is_own(engine) else ""


def _numpy() -> str:
    """Name NumPy and its BLAS on this processor."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    facts = [np.__version__, json.dumps(blas, sort_keys=True), machine.processor(), *machine.tuning()]
    return f"numpy-{_short(np.__version__)}-{_digest(facts, 8)}"


def _short(version: str) -> str:
    """Give a version without the label of its build, such as +cpu, which the digest has."""
    return version.partition("+")[0]


def _digest(facts: Iterable[str], digits: int) -> str:
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:digits]

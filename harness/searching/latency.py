"""Latency: microseconds that onnxruntime takes for one image on one core, measured once a network.

A measured value is noisy and of one machine, so it is kept in the results folder: a search that goes on, and
one that was killed and asks for the same batch again, find the value that they had. Weights do not matter for
it, so a network is measured before it is trained.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import notes
from harness.axes import plugins
from harness.axes.architectures import architectures
from harness.data.arm_settings import Settings
from harness.data.samples import shape_of
from harness.errors import UsageError
from harness.settings.schema import LATENCY
from harness.study.trials import lone_trial
from harness.system import files, machine
from harness.system.lazy import torch
from harness.text import as_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

PACKAGES = ("onnx", "onnxruntime")
"""Packages of the extra `latency`: torch writes the network with the first, the second runs it."""
WARM_UP = 20
"""Runs before those that count."""
SECONDS, FEWEST, MOST = 0.05, 30, 1000
"""A network runs for so many seconds, but at least and at most so many times."""
WITHOUT_EFFECT = ("dropout",)
"""Settings of architectures that change nothing once a network is trained."""


def missing() -> list[str]:
    """Name the packages that a measurement needs and that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


@dataclass(frozen=True)
class Latency:
    """A measured latency: the median of `runs` runs, and their quartiles, in microseconds."""

    microseconds: float
    low: float
    high: float
    runs: int
    network: str
    host: str
    onnxruntime: str


class Latencies:
    """The latencies of networks that a results folder keeps; in memory alone without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / LATENCY
        self._known: dict[str, Latency] | None = None

    def of(self, settings: Settings) -> float:
        """Return the latency of an arm's network in microseconds, and measure it if it is not known."""
        if self._known is None:
            self._known = {} if self._path is None else read(self._path)
        key = _key(settings)
        if key not in self._known:
            self._known[key] = measure(settings)
            if self._path is not None:
                content = {key: asdict(latency) for key, latency in self._known.items()}
                files.write(self._path, (json.dumps({"networks": content}, indent=1) + "\n").encode())
        return self._known[key].microseconds


def read(path: Path) -> dict[str, Latency]:
    """Read the latencies that a folder keeps, by network; none where the file is missing or damaged."""
    if not path.exists():
        return {}
    try:
        networks = files.json_table(path)["networks"]
        known = {str(key): Latency(**entry) for key, entry in networks.items()}
        if all(math.isfinite(latency.microseconds) for latency in known.values()):
            return known
        reason = "a latency is not a number"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error)
    notes.warn(f"{path} cannot be read ({reason}): its networks are measured again")
    return {}


def measure(settings: Settings) -> Latency:
    """Measure the latency of an arm's network with new weights, without its training.

    Raises:
        UsageError: a package is not installed, or the network cannot be written as ONNX.
    """
    absent = missing()
    if absent:
        raise UsageError(needs(absent))
    run = _runner(settings)
    for _ in range(WARM_UP):
        run()
    nanoseconds: list[int] = []
    end = time.perf_counter() + SECONDS
    while len(nanoseconds) < FEWEST or (len(nanoseconds) < MOST and time.perf_counter() < end):
        start = time.perf_counter_ns()
        run()
        nanoseconds.append(time.perf_counter_ns() - start)
    import onnxruntime

    low, median, high = (
        float(f"{value / 1000:.4g}") for value in np.quantile(nanoseconds, (0.25, 0.5, 0.75))
    )
    told = ", ".join(f"{name} {as_text(settings[name])}" for name in _deciding(settings) if name in settings)
    return Latency(median, low, high, len(nanoseconds), told, machine.host(), onnxruntime.__version__)


def needs(absent: list[str]) -> str:
    """Put into words that packages are not installed."""
    return (
        f"latency is measured by onnxruntime, and {' and '.join(absent)} "
        f"{'is' if len(absent) == 1 else 'are'} not installed. Install them (pip install "
        f"{' '.join(absent)}), or use parameters or flops"
    )


def _runner(settings: Settings) -> Callable[[], Any]:
    """Return a function that runs an arm's network on one image, in one thread."""
    import onnxruntime

    from harness.engines.classifier import Classifier

    shape = shape_of(settings)
    network = Classifier(lone_trial(settings, 0), shape, len(settings.facts.classes)).eval()
    image = np.random.default_rng(0).random((1, math.prod(shape)), np.float32)
    try:
        content = _as_onnx(network.to(torch.float32), torch.from_numpy(image))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        session.run(None, {"x": image})
    except Exception as error:  # the exporter, onnxruntime and a person's network raise anything
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(
            f"the latency of {settings.architecture} with {settings.activation} cannot be measured: torch or "
            f"onnxruntime says {why}. Take out what ONNX does not have, or use parameters or flops in place "
            "of latency"
        ) from error
    return lambda: session.run(None, {"x": image})


def _as_onnx(network: nn.Module, image: Tensor) -> bytes:
    """Write a network as ONNX."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that this exporter is the older one: it needs no onnxscript
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network, (image,), path, dynamo=False, input_names=["x"])
        return path.read_bytes()


def _deciding(settings: Settings) -> list[str]:
    """Name the settings that decide how long a trained network takes for an image."""
    own = (name for name in architectures[settings.architecture].settings if name not in WITHOUT_EFFECT)
    return ["dataset", "preprocessing", "architecture", "activation", "head", *own]


def _key(settings: Settings) -> str:
    """Identify a network by what decides its latency, aside from the machine."""
    sources = plugins.sources()
    digests = [
        sources(axis, entry.name) for axis, entry in plugins.chosen_by([settings]) if entry.third_party
    ]
    content = [settings.facts.digest, digests, [str(settings.get(name)) for name in _deciding(settings)]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

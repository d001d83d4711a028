"""Shipments: all that a process on another machine needs before it trains trials of a study.

Those are the files that define the study's components, their digests, the facts of its data sets, and the
build. Images are sent apart, and only to a node that has none of their digest.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from harness import notes
from harness.axes import own_networks, plugins
from harness.axes.metrics import metrics
from harness.data import cache, received_images
from harness.data.datasets import Facts, datasets
from harness.engines import kernels
from harness.errors import MachineError, UsageError
from harness.lowering import builds, compiler
from harness.planning.plan import Plan
from harness.registry import python_files
from harness.registry.python_files import PythonFile
from harness.study.trials import components_of
from harness.system import locks
from harness.training import executors

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIRST = 300.0
"""Seconds to wait for the process of this machine that compiles first."""


@dataclass(frozen=True)
class Shipment:
    """All that a node needs of a study, but for its stacks and images.

    `files` maps a path in the folder that they are written into to bytes; its first part is a folder to
    import from. `modules` are loaded there in their order: such a path of a plugin, of a person's own network
    behind own_networks.PREFIX, or a module's name. `components` maps (axis, name) to a digest, which has to
    be the same there, `data` the name of a data set to its facts. The study itself declares the data sets
    `declared`. By what was `measured` here, equal machines choose the same forms, and have the same bits.
    """

    bits: builds.Bits
    level: int
    engine: str
    files: Mapping[str, bytes]
    modules: Sequence[str]
    components: Mapping[tuple[str, str], str]
    data: Mapping[str, Facts]
    declared: Sequence[str] = ()
    device: str = "cpu"
    measured: Mapping[str, kernels.Measured] = field(default_factory=dict)

    def open(self, folder: Path) -> str:
        """Load the components in this process; return why it cannot train, in words, or "".

        Args:
            folder: an empty folder of this process's own, which stays until it ends.
        """
        try:
            modules = self._placed(folder)
        except OSError as error:
            return f"cannot write the study's files into {folder}: {error.strerror}"
        if why := executors.become_worker(modules, self.level, self.bits):
            return f"cannot load the study's components: {why}"
        others = [f"{axis} {name!r}" for axis, name in self.components if not self._has(axis, name)]
        if own_networks.is_own(self.engine) and not own_networks.is_known(self.engine):
            others.append("network of your own")
        if others:
            return (
                f"has another {', '.join(others)} than the driver: another version of the package that "
                "defines it, or of one that this imports. Install there what the driver has"
            )
        for name, facts in self.data.items():
            if name not in self.declared:
                datasets[name].take(facts)
        if self.engine == "stacked" and self.device == "cpu":
            kernels.prefer(self.measured)
            _compile()
        return self._why_not_portable()

    def _placed(self, folder: Path) -> list[str]:
        """Write the files, have Python find them, and return the modules as this process can load them."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        roots = dict.fromkeys(str(folder / PurePosixPath(name).parts[0]) for name in self.files)
        sys.path[:0] = [root for root in roots if root not in sys.path]
        importlib.invalidate_caches()
        placed = []
        for module in self.modules:
            prefix = own_networks.PREFIX if own_networks.is_own(module) else ""
            name = module.removeprefix(prefix)
            placed.append(f"{prefix}{folder / name}" if name in self.files else module)
        return placed

    def _has(self, axis: str, name: str) -> bool:
        registry = plugins.catalogue()[axis]
        return name in registry and registry.entry(name).source_digest == self.components[axis, name]

    def _why_not_portable(self) -> str:
        why = kernels.why_not() if self.bits == "portable" else ""
        return f"has no compiled code, which --bits portable needs: {why}" if why else ""

    def lacking(self) -> list[str]:
        """Say of which data sets this process needs the images: it has not their digest in its cache.

        Raises:
            UsageError: the cache has other files under a data set's name.
        """
        here = (_fetched if name in cache.PINS and name not in self.declared else _kept for name in self.data)
        return [name for name, there in zip(self.data, here, strict=True) if not there(name, self.data[name])]


def _compile() -> None:
    """Compile the harness's kernels and try them, one process of a machine at a time.

    The trial measures which forms are fast, once for all; beside others of itself it would measure those.
    """
    place, lock = compiler.folder() / ".lock-first", None
    with suppress(OSError, MachineError, Timeout):  # without a lock each does it, which is only slower
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = locks.hold(place, "", FIRST)
    kernels.why_not()
    if lock is not None:
        lock.release()


def _kept(_name: str, facts: Facts) -> bool:
    """Tell whether this machine has the images of a data set, as they were sent to it once."""
    return received_images.find(facts.digest)


def _fetched(name: str, facts: Facts) -> bool:
    """Tell whether this machine has the images of a data set, as they were sent, or in its own files."""
    if _kept(name, facts):
        return True
    folder = cache.cache_root() / name
    if not all((folder / file).is_file() for file in cache.pins_of(name)):
        return False

    def read() -> dict[str, NDArray[Any]]:
        damaged = [state for state in cache.verify(name) if state.status == "damaged"]
        if damaged:
            raise UsageError(
                f"has other data of the name {name}: {damaged[0]}. Remove the file there: then the driver's "
                "images are sent"
            )
        return received_images.arrays_of(datasets[name].load())

    received_images.take(facts.digest, read)
    return True


def pack(plan: Plan, modules: Sequence[str] | None, engine: str, device: str = "cpu") -> Shipment:
    """Put together what nodes need to train a plan's trials.

    Args:
        plan: the study and its trials.
        modules: those of `folder_runs.third_party_modules`: names, and files of plugins and own networks.
        engine: the engine's name.
        device: the kind of device that nodes train on.

    Raises:
        UsageError: a component is a notebook's, which no other machine can load.
    """
    if modules is None:
        raise UsageError(
            "--cluster: a component of this study, or its network, is defined in a notebook or in the script "
            "that was started, which cannot be sent to other machines. Write it into a file, my_axes.py, and "
            "name that in the study's `plugins` (a network's: --engine); or train without --cluster"
        )
    files, sent = _files(modules)
    entries = [*components_of(plan.trials), *(("metric", metrics.entry(name)) for name in plan.study.metrics)]
    digests = {(axis, entry.name): entry.source_digest for axis, entry in entries if entry.third_party}
    facts = {name: dataset.facts for name, dataset in plan.datasets.items()}
    declared = [name for name in facts if name in plan.study.datasets]
    measured = kernels.measurements() if engine == "stacked" and device == "cpu" else {}
    level = notes.logger.level
    return Shipment(builds.bits(), level, engine, files, sent, digests, facts, declared, device, measured)


def _files(modules: Iterable[str]) -> tuple[dict[str, bytes], list[str]]:
    """Return the bytes of all files that modules need, by their places, and the modules with their places.

    An installed package's are not among them: it is compared.
    """
    files: dict[str, bytes] = {}
    places: dict[Path, str] = {}
    roots: dict[Path, int] = {}
    sent = []

    def place(file: PythonFile) -> str:
        if file.path not in places:
            root = _root(file.path)
            number = roots.setdefault(root, len(roots))
            places[file.path] = f"{number}/{file.path.relative_to(root).as_posix()}"
            files[places[file.path]] = file.content
        return places[file.path]

    for module in modules:
        prefix = own_networks.PREFIX if own_networks.is_own(module) else ""
        name = module.removeprefix(prefix)
        if name.endswith(".py"):
            path = Path(name).resolve()
            reached = _reached(path, plugins.module_of(path))
            sent.append(prefix + place(reached[0]))
        else:
            sent.append(name)
            spec = python_files.spec_of(name)
            origin = Path(spec.origin).resolve() if spec and spec.has_location and spec.origin else None
            reached = _reached(origin, name) if origin and not python_files.installed(origin) else []
        for file in reached:
            place(file)
    return files, sent


def _reached(path: Path, module: str) -> list[PythonFile]:
    """Give a file, and those of its own that it imports, as they were when they were loaded."""
    file = python_files.known(path)
    if file is None:
        raise UsageError(f"{path} cannot be read any more, so that it cannot be sent to the cluster's nodes")
    others = (other for other in python_files.reached(file, module) if other.path != path)
    return [file, *others, *_packages(path, module)]


def _packages(path: Path, module: str) -> list[PythonFile]:
    """Give the `__init__` files of the packages that a module is in."""
    depth = module.count(".")
    folders = list(path.parents)[1 if path.stem == "__init__" else 0 :][:depth]
    inits = (folder / "__init__.py" for folder in folders)
    return [file for init in inits if init.is_file() and (file := python_files.known(init))]


def _root(path: Path) -> Path:
    """Give the folder that Python finds a file from: the nearest one of its path that is above it."""
    above = [Path(entry).resolve() for entry in sys.path]
    above = [folder for folder in above if path.is_relative_to(folder) and folder.is_dir()]
    return max(above, key=lambda folder: len(folder.parts), default=path.parent)

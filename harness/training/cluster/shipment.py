"""Shipments: all that a process on another machine needs before it trains trials of a study.

Those are the files that define the study's components, their digests, the facts of its data sets, and the
build. Images are sent apart, and only to a node that has none of their digest.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness import notes
from harness.axes import own_networks, plugins
from harness.axes.metrics import metrics
from harness.data import cache, received_images
from harness.data.datasets import Facts, datasets
from harness.engines import kernels
from harness.errors import UsageError, in_words
from harness.lowering import builds
from harness.planning.plan import Plan
from harness.registry import python_files
from harness.registry.python_files import PythonFile
from harness.study.trials import components_of
from harness.training import executors


@dataclass(frozen=True)
class Shipment:
    """All that a node needs of a study, but for its stacks and images.

    `files` maps a path in the folder that they are written into to bytes; its first part is a folder to
    import from. `modules` are loaded there in their order: such a path of a plugin, of a person's own network
    behind own_networks.PREFIX, or a module's name. `components` maps (axis, name) to a digest, which has to
    be the same there, `data` the name of a data set to its facts.
    """

    bits: builds.Bits
    level: int
    engine: str
    files: Mapping[str, bytes]
    modules: Sequence[str]
    components: Mapping[tuple[str, str], str]
    data: Mapping[str, Facts]

    def open(self, folder: Path) -> str:
        """Load the components in this process; return why it cannot train, in words, or "".

        Args:
            folder: an empty folder of this process's own, which stays until it ends.
        """
        builds.inherit(self.bits)
        notes.logger.setLevel(self.level)
        try:
            self._load(folder)
        except BaseException as error:  # noqa: BLE001 (a component's file raises whatever it will)
            why = str(error) if isinstance(error, UsageError) else in_words(error)
            return f"it cannot load the study's components: {why}"
        others = [f"{axis} {name!r}" for axis, name in self.components if not self._has(axis, name)]
        if others:
            return (
                f"it has another {', '.join(others)} than the driver: another version of the package that "
                "defines it, or of one that this imports. Install there what the driver has"
            )
        for name, facts in self.data.items():
            if name in datasets:
                datasets[name].take(facts)
        executors.begin_apart()
        return self._why_not_portable()

    def _load(self, folder: Path) -> None:
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        roots = dict.fromkeys(str(folder / PurePosixPath(name).parts[0]) for name in self.files)
        sys.path[:0] = [root for root in roots if root not in sys.path]
        importlib.invalidate_caches()
        executors.load([self._placed(folder, module) for module in self.modules])
        if own_networks.is_own(self.engine):
            own_networks.find(self.engine)

    def _placed(self, folder: Path, module: str) -> str:
        """Give a module as this process finds it: a file that was sent is in the folder."""
        prefix = own_networks.PREFIX if own_networks.is_own(module) else ""
        name = module.removeprefix(prefix)
        return f"{prefix}{folder / name}" if name in self.files else module

    def _has(self, axis: str, name: str) -> bool:
        registry = plugins.catalogue()[axis]
        return name in registry and registry.entry(name).source_digest == self.components[axis, name]

    def _why_not_portable(self) -> str:
        why = kernels.why_not() if self.bits == "portable" else ""
        return f"--bits portable needs compiled code, and there is none there: {why}" if why else ""

    def wanting(self) -> list[str]:
        """Say of which data sets this process needs the images: it has not their digest in its cache.

        Raises:
            UsageError: the cache has other files under a data set's name.
        """
        return [name for name, facts in self.data.items() if not _there(name, facts)]


def _there(name: str, facts: Facts) -> bool:
    """Tell whether this machine has the images of a data set, as they were sent or as they were fetched."""
    if received_images.find(facts.digest):
        return True
    if name not in cache.PINS or name not in datasets:
        return False
    states = cache.verify(name)
    if damaged := [state for state in states if state.status == "damaged"]:
        raise UsageError(
            f"it has other data of the name {name}: {damaged[0]}. Remove the file there, and the driver's "
            "images are sent"
        )
    return all(state.status == "ok" for state in states)


def pack(plan: Plan, modules: Sequence[str] | None, engine: str) -> Shipment:
    """Put together what nodes need to train a plan's trials.

    Args:
        plan: the study and its trials.
        modules: those of `runs.third_party_modules`: names, and files of plugins and own networks.
        engine: the engine's name.

    Raises:
        UsageError: a component is a notebook's, which no other machine can load.
    """
    if modules is None:
        raise UsageError(
            "a component of this study, or its network, is defined in a notebook or in the script that was "
            "started, which cannot be sent to other machines. Write it into a file, my_axes.py, and name that "
            "under plugins in the study (a network: engine='my_network.py'), or import it from there"
        )
    files, sent = _files(modules)
    entries = [*components_of(plan.trials), *(("metric", metrics.entry(name)) for name in plan.study.metrics)]
    digests = {(axis, entry.name): entry.source_digest for axis, entry in entries if entry.third_party}
    facts = {name: dataset.facts for name, dataset in plan.datasets.items()}
    return Shipment(builds.bits(), notes.logger.level, engine, files, sent, digests, facts)


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

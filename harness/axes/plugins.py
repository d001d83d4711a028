"""Third-party components: the three doors to the registries.

A Python entry point in the group `harness.components` (a module to import), a file named by a study's
`plugins`, or a plain import in a notebook. All three run `@registry.register(...)` and nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import notes, registry
from harness.errors import MachineError, UsageError, in_words
from harness.registry import NOTEBOOK, python_files
from harness.system import process_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import ModuleType

    from harness.data.arm_settings import Settings
    from harness.registry import Entry, Registry
    from harness.registry.python_files import PythonFile

MOST_TOLD = 4  # values that a component's digest cannot include
GROUP = "harness.components"


@functools.cache
def registries() -> Mapping[str, Registry[Any]]:
    """Map each axis to its registry."""
    from harness.axes.activations import activations
    from harness.axes.architectures import architectures
    from harness.axes.augmentations import augmentations
    from harness.axes.heads import heads
    from harness.axes.losses import losses
    from harness.axes.optimizers import optimizers
    from harness.axes.schedules import schedules
    from harness.data.datasets import datasets
    from harness.data.preprocessing import preprocessings

    axes: list[Registry[Any]] = [
        datasets, preprocessings, augmentations, architectures, activations, heads, losses, optimizers,
        schedules,
    ]  # fmt: skip
    return {registry.axis: registry for registry in axes}


def catalogue() -> Mapping[str, Registry[Any]]:
    """Map each kind of component to its registry: the axes and the metrics."""
    from harness.axes.metrics import metrics

    return {**registries(), metrics.axis: metrics}


def chosen_by(arms: Iterable[Settings]) -> Iterator[tuple[str, Entry[Any]]]:
    """Give (axis, component) of all registered components that settings choose, each once, axis by axis."""
    arms = list(arms)
    for axis, components in registries().items():
        chosen = arms if axis != "dataset" else [arm for arm in arms if not arm.study_dataset]
        names = dict.fromkeys(settings.get(axis) for settings in chosen)
        names.pop(None, None)
        for name in names:
            yield axis, components.entry(str(name))


def load_installed() -> None:
    """Import installed packages' entry points; raise UsageError where one of them cannot be imported."""
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            with _undisturbed(f"package entry point {point.name}", quiet=True):
                point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            package = point.dist.name if point.dist else "unknown"
            raise UsageError(
                f"the components of package {package!r} (entry point {point.name} = {point.value}) "
                f"cannot be imported: {in_words(error)}. Fix or uninstall it."
            ) from error


FILE = registry.PLUGIN
_loaded: dict[str, Sequence[PythonFile]] = {}
"""Module of a plugin file -> it and the files that it imports, as they were when it was loaded."""


def module_of(path: Path) -> str:
    """Name the module that a plugin file becomes, the same in every process of a machine."""
    path = path.resolve()
    return f"{FILE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"


def file_of(module: str) -> Path:
    """Return the plugin file that has become a module of this process."""
    return _loaded[module][0].path


def load_file(path: Path, *, quiet: bool = False, what: str = "plugin") -> None:
    """Run a study's plugin file, with a note, because it runs code; `what` is the word for it.

    It runs once, and again after a change of it or of a file beside it that it imports: then its components
    are replaced. A file that is missing or does not run is a UsageError.
    """
    path, name = path.resolve(), module_of(path)
    if name in sys.modules and not python_files.changed(_loaded.get(name, ())):
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(
            f"{what} {path} is not a Python file that can be read; correct `plugins` in the study"
        )
    if not quiet:
        notes.tell(f"running the study's plugin {path}")
    _unload(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Compiled from the bytes that are remembered: Python's own cache may be of a file of the same second.
        file = python_files.remember(path, path.read_bytes())
        code = compile(file.content, str(path), "exec", dont_inherit=True)
        with _undisturbed(f"{what} {path}", quiet=quiet):
            exec(code, vars(module))  # noqa: S102 (a plugin)
    except BaseException as error:
        _unload(name)
        if isinstance(error, (UsageError, KeyboardInterrupt)):
            raise
        raise UsageError(f"{what} {path} fails when it is run: {in_words(error)}") from error
    _loaded[name] = python_files.reached(file, name)


def ask_first(path: Path, whose: Path) -> None:
    """Ask a person before running a plugin file that a results folder's study.toml, `whose`, names.

    Nothing is asked of one that has run already. The answer no, or no terminal to ask at, is a UsageError.
    """
    path = path.resolve()
    if module_of(path) in sys.modules:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        import click

        if click.confirm(f"{whose} names the plugin {path}, which is code. Run it?", err=True):
            return
    raise UsageError(
        f"{whose} names the plugin {path}, which is code, and it was not run: a results folder may be "
        f"anybody's. Read it; if you trust it, say --plugin {path} (in Python: "
        f"harness.load(.., plugin_files=[{str(path)!r}]))"
    )


@contextmanager
def _undisturbed(what: str, *, quiet: bool) -> Iterator[None]:
    """Restore settings of the process that a third party's file changes, with a note unless `quiet`."""
    with process_state.kept() as changed:
        yield
    if changed and not quiet:
        notes.warn(f"{what} sets {', '.join(changed)}; put back, because it would hold for every component")


def _unload(name: str) -> None:
    """Remove a plugin's components, and modules beside it that have changed or import a changed one."""
    for components in catalogue().values():
        components.remove_of(name)
    sys.modules.pop(name, None)
    files = _loaded.pop(name, ())
    for file in python_files.dependents(files, python_files.changed(files)):
        modules = [key for key, module in sys.modules.items() if _is_of(module, file) and key != NOTEBOOK]
        for key in modules:
            del sys.modules[key]
        with suppress(OSError):  # another's folder: the file's own time tells Python
            Path(importlib.util.cache_from_source(str(file.path))).unlink(missing_ok=True)
        python_files.forget([file])
    importlib.invalidate_caches()


def _is_of(module: ModuleType, file: PythonFile) -> bool:
    origin = getattr(module, "__file__", None)
    return isinstance(origin, str) and origin.endswith(file.path.name) and Path(origin).resolve() == file.path


def sources() -> Callable[[str, str], str]:
    """Make a map of (axis, name) to a component's source digest as it is now; each is looked at once."""
    axes = registries()
    return functools.cache(lambda axis, name: axes[axis].entry(name).source_digest)


def check_unchanged(components: Iterable[Entry[Any]]) -> None:
    """Raise MachineError where a file that defines third-party components is not the one that was loaded.

    What a script or a notebook itself defines is trained in its own process, whatever its file says by now.
    """
    digests = [entry.take_digest() for entry in components if entry.take_digest and entry.module != NOTEBOOK]
    changed = python_files.changed({file.path: file for digest in digests for file in digest.files}.values())
    if changed:
        names = ", ".join(sorted(file.path.name for file in changed))
        raise MachineError(
            f"{names} changed while the study was running; start it again (in Python: load the study again; "
            "a module that was imported, in a new process)"
        )


def unseen(components: Iterable[tuple[str, Entry[Any]]], advice: str) -> list[str]:
    """List, in words, what third-party components depend on that a trial's id does not include.

    `components` are pairs of axis and component; `advice` says how to have trials trained all the same.
    """
    warnings = []
    for axis, entry in components:
        # Of a data set, images count.
        parts = entry.take_digest().unseen if entry.take_digest and axis != "dataset" else ()
        if parts:
            listed = "; ".join(parts[:MOST_TOLD]) + ("; ..." if len(parts) > MOST_TOLD else "")
            warnings.append(
                f"{axis} {entry.name!r} ({entry.where}): a trial's id does not tell if this changes: "
                f"{listed}. {advice}"
            )
    return warnings

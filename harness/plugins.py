"""Third-party components: the three doors to the registries.

A Python entry point in the group `harness.components` (a module to import), a file named by a study's
`plugins`, or a plain import in a notebook. All three run `@registry.register(...)` and nothing else.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import process_state
from harness.errors import UsageError, in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.registry import Registry

GROUP = "harness.components"


def registries() -> Mapping[str, Registry[Any]]:
    """Setting -> the registry it chooses from."""
    from harness.axes.activations import activations
    from harness.axes.architectures import architectures
    from harness.axes.datasets import datasets
    from harness.axes.heads import heads
    from harness.axes.losses import losses
    from harness.axes.optimizers import optimizers
    from harness.axes.preprocessing import preprocessings
    from harness.axes.schedules import schedules

    axes: list[Registry[Any]] = [
        datasets, preprocessings, architectures, activations, heads, losses, optimizers, schedules
    ]  # fmt: skip
    return {registry.axis: registry for registry in axes}


def catalogue() -> Mapping[str, Registry[Any]]:
    """Kind of component -> its registry: those that settings choose from, and the metrics."""
    from harness.axes.metrics import metrics

    return {**registries(), metrics.axis: metrics}


def load_installed() -> None:
    """Import what installed packages offer under the entry point group.

    Raises:
        UsageError: one of them cannot be imported; names the package.
    """
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            with _undisturbed(f"package entry point {point.name}", quiet=True):
                point.load()
        except (Exception, SystemExit) as error:
            package = point.dist.name if point.dist else "unknown"
            raise UsageError(
                f"the components of package {package!r} (entry point {point.name} = {point.value}) "
                f"cannot be imported: {in_words(error)}. Mend or uninstall it."
            ) from error


FILE = "harness_plugin_"


def module_of(path: Path) -> str:
    """The name of the module that a plugin file becomes in this process."""
    path = path.resolve()
    return f"{FILE}{path.stem}_{abs(hash(str(path))):x}"


def load_file(path: Path, *, quiet: bool = False) -> None:
    """Run a study's plugin file, once a process however often it is named; says so, because it runs code.

    Raises:
        UsageError: the file is missing or does not run.
    """
    path, name = path.resolve(), module_of(path)
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(
            f"plugin {path} is not a Python file that can be read; correct `plugins` in the study"
        )
    if not quiet:
        print(f"running the study's plugin {path}", file=sys.stderr)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _undisturbed(f"plugin {path}", quiet=quiet):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, (UsageError, KeyboardInterrupt)):
            raise
        raise UsageError(f"plugin {path} fails when it is run: {in_words(error)}") from error


@contextmanager
def _undisturbed(what: str, *, quiet: bool) -> Iterator[None]:
    """Put back what a third party's file sets for the whole process, and say so unless `quiet`."""
    with process_state.kept() as changed:
        yield
    if changed and not quiet:
        print(
            f"note: {what} sets {', '.join(changed)}; put back, because it would hold for every component",
            file=sys.stderr,
        )

"""The contract of a registered component, checked: the same calls as a plan makes, and one on a stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.axes import contracts, planned_components, plugins
from harness.axes.metrics import metrics
from harness.check.result import CheckResult
from harness.check.stacking import STACKED, why_alone
from harness.data.arm_settings import Settings
from harness.errors import UsageError, did_you_mean
from harness.settings import DEFAULTS


def component(axis: str, name: str) -> CheckResult:
    """Check a registered component's contract: described, finite, differentiable, stackable if it says so.

    Args:
        axis: the kind: "activation", "head", "loss", "optimizer", "schedule", "architecture",
            "preprocessing", "augmentation", "metric" or "dataset".
        name: the name under which it is registered.

    Returns:
        A result that is true where the component keeps its contract, and says which part it breaks
        (docs/component-contracts.md).

    Raises:
        UsageError: there is no such kind or no such component.

    Example:
        >>> component("activation", "relu")
        right: activation 'relu' keeps its contract
          compared: as a plan tries it, and on a stack of three
    """
    registries = plugins.catalogue()
    if axis not in registries:
        raise UsageError(f"axis {axis!r}: {did_you_mean(str(axis), registries)}")
    registries[axis].entry(name)
    stacked = ", and on a stack of three" if axis in STACKED else ""
    problem = next(_problems(axis, name), "")
    return CheckResult(
        f"{axis} {name!r} keeps its contract",
        (problem,) if problem else (),
        (f"as a plan tries it{stacked}",),
    )


def _problems(axis: str, name: str) -> Iterator[str]:
    """Say how a component breaks its contract; later ones may follow from the first."""
    entry = plugins.catalogue()[axis].entry(name)
    if not entry.summary:
        yield f"{axis} {name!r} needs a docstring for `harness list`"
    if fault := _fault(axis, name, entry.component):
        yield fault
    if axis in STACKED and getattr(entry.component, "stackable", True) and (reason := why_alone(axis, name)):
        yield reason


def _fault(axis: str, name: str, component: Any) -> str:
    """Say how a component breaks its contract; one that needs settings has the defaults, on digits."""
    if axis in contracts.CHECKS:
        return contracts.fault(axis, name, component)
    if axis == "dataset":
        try:
            component.facts  # noqa: B018 (which are found by loading, unless they are known)
        except UsageError as error:
            return str(error)
        return ""
    settings = {key: setting.default for key, setting in getattr(component, "settings", {}).items()}
    values = {**DEFAULTS, "dataset": "digits", "activation": "identity", **settings}
    arm = Settings({key: value for key, value in values.items() if value is not None})
    return next(planned_components.faults(axis, name, component, [arm]), "")


def metric_fault(name: str) -> str:
    """Return the fault of a metric in words, or "".

    It gives finite values, one a sample, and to the members of a stack what it gives to each alone.
    """
    fault = contracts.fault("metric", name, metrics[name])
    return fault.removeprefix(f"metric {name!r}").removeprefix(":").strip()

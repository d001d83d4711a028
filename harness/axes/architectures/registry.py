"""The registry of architectures, and how a network is built from one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.registry import Registry
from harness.settings import Setting, check_declared, declared
from harness.text import as_text

if TYPE_CHECKING:
    from torch import nn

Shape: TypeAlias = "tuple[int, int, int]"
"""Channels, height and width of an image."""


@dataclass(frozen=True)
class Architecture:
    """A registered architecture: a function that builds an nn.Module, which gives logits (B, classes).

    The function is given what its parameters name: `shape` (C, H, W), or `inputs` (C * H * W); `classes`;
    `activation`, which makes one activation module; and its settings, which have defaults. A network of a
    `shape` gets images (B, C, H, W), one of `inputs` gets flattened pixels (B, inputs).

    `idle` names, of settings, those without effect beside the others. `misfit` says why there is no network
    of some settings for images of a shape; empty where there is.
    """

    name: str
    build: Callable[..., nn.Module]
    idle: Callable[[Mapping[str, Any]], Collection[str]] | None = None
    misfit: Callable[[Shape, Mapping[str, Any]], str] | None = None

    def __post_init__(self) -> None:
        check_declared(self.build)

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings this architecture declares."""
        return declared(self.build)

    @property
    def takes_images(self) -> bool:
        """Tell whether its networks get images (B, C, H, W), not flattened pixels (B, inputs)."""
        return "shape" in inspect.signature(self.build).parameters

    def without_effect(self, settings: Mapping[str, Any]) -> Collection[str]:
        """Name what has no effect on its network beside settings; those not given are at their defaults."""
        if self.idle is None:
            return ()
        defaults = {name: setting.default for name, setting in self.settings.items()}
        return self.idle(self.canonical({**defaults, **settings}))

    def canonical(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Give settings with a list where this architecture has one, and a single number was given."""
        given = dict(settings)
        for name, setting in self.settings.items():
            if isinstance(setting.default, list) and isinstance(given.get(name), int):
                given[name] = [given[name]]
        return given

    def problem(self, shape: Shape, settings: Mapping[str, Any], *, rows: bool) -> str:
        """Say why there is no network of these settings for images of a shape; empty where there is.

        `rows`: the preprocessing left no height and width.
        """
        for name, setting in self.settings.items():
            if isinstance(setting.default, int) and isinstance(settings.get(name), list):
                given = as_text(settings[name])
                return f"{name} = {given}; allowed: a whole number, such as {setting.default}"
        if self.misfit is None:
            return ""
        if rows and self.takes_images:
            return (
                f"it needs images with height and width, and the preprocessing gives rows of {shape[-1]:,} "
                "numbers. Allowed: another preprocessing, or an architecture of rows, such as mlp"
            )
        return self.misfit(shape, settings)

    def network(
        self, shape: Shape, classes: int, activation: Callable[[], nn.Module], settings: Mapping[str, Any]
    ) -> nn.Module:
        """Build a network for images of a shape; settings that are not there are at their defaults."""
        given = {name: settings[name] for name in self.settings if name in settings}
        size = shape if self.takes_images else math.prod(shape)
        from harness.axes.architectures import building  # imports torch

        with building.noticing():
            network = self.build(*self._arguments(size, classes, activation), **given)
            image = shape if self.takes_images else (math.prod(shape),)
            return building.complete(network, image)  # or what else a person's function gave

    def _arguments(self, *given: Any) -> list[Any]:
        """Order what there is to give as the function's parameters name it; other names go by position."""
        kinds = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        names = [p.name for p in inspect.signature(self.build).parameters.values() if p.kind in kinds]
        size, classes, activation = given
        known = {"shape": size, "inputs": size, "classes": classes, "activation": activation}
        if set(names) <= set(known):
            return [known[name] for name in names]
        return list(given)


architectures: Registry[Architecture] = Registry("architecture", Architecture)

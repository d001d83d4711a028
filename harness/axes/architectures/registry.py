"""The registry of architectures, and how a network is built from one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.registry import Registry
from harness.settings import Setting, check_declared, declared

if TYPE_CHECKING:
    from torch import nn

Shape: TypeAlias = "tuple[int, int, int]"
"""Channels, height and width of an image."""


@dataclass(frozen=True)
class Architecture:
    """A registered architecture: a function that builds an nn.Module, which gives logits (B, classes).

    The function is given what its parameters name: `shape` (C, H, W), or `inputs` (C * H * W); `classes`;
    `activation`, which makes one activation module; and its settings, which have defaults. A network of a
    `shape` gets images (B, C, H, W), one of `inputs` gets flattened pixels (B, inputs). `idle` names, of
    resolved settings, those without effect beside the others.
    """

    name: str
    build: Callable[..., nn.Module]
    idle: Callable[[Mapping[str, Any]], Collection[str]] | None = None

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

    def unused(self, settings: Mapping[str, Any]) -> list[str]:
        """Name the settings, of some that are resolved, that have no effect on its network."""
        names = self.idle(settings) if self.idle is not None else ()
        return [name for name in names if name in settings]

    def network(
        self, shape: Shape, classes: int, activation: Callable[[], nn.Module], settings: Mapping[str, Any]
    ) -> nn.Module:
        """Build a network for images of a shape; settings that are not there are at their defaults."""
        given = {name: settings[name] for name in self.settings if name in settings}
        size = shape if self.takes_images else math.prod(shape)
        return self.build(size, classes, activation, **given)


architectures: Registry[Architecture] = Registry("architecture", Architecture)

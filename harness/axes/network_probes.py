"""Probes of a network that an architecture has built: what cannot be trained truly is told before it is.

A batch of noise goes through it, as in training and as in evaluation. Each problem names what is wrong with
the module, and what to write in its place.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.axes.probes import call, noise, tensor
from harness.errors import ComponentError
from harness.registry import python_files
from harness.system.lazy import torch
from harness.text import listed

if TYPE_CHECKING:
    from torch import Tensor, nn

PAIRED = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")
"""Modules of torch.nn whose masks the harness draws from the trial's own stream."""
READS = frozenset({"__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy", "nonzero"})
"""Methods that bring a tensor's values into Python, where members of a stack cannot differ."""
FEW = 4  # parameters that a sentence names


def check(what: str, net: nn.Module, x: Tensor, classes: int) -> None:
    """Check a network of `what` on images or rows of pixels x (B, ...); B at least 4.

    Raises:
        ComponentError: it keeps complex numbers, gives no logits (B, classes), learns nothing, draws random
            numbers of its own, branches on data, keeps state outside parameters and buffers, has parameters
            that no gradient reaches, or tells an image otherwise beside others.
    """
    if not list(net.parameters()):
        raise ComponentError(f"{what} has no parameters: keep its layers in attributes or an nn.ModuleList")
    named = f"the network of {what}"
    _check_numbers(named, net)
    net = net.float().train()
    _leave_nothing_out(net)
    _check_logits(named, net, x, classes)
    _check_draws(named, net, x)
    _check_branches(named, net, x)
    _check_state(named, net, x)
    _check_gradients(named, net, x)
    _check_images_apart(named, net, x)


def check_lone_image(what: str, net: nn.Module, x: Tensor, remedy: str) -> None:
    """Check that a network trains on x, the batch of one image that a pass ends with; else `remedy` helps."""
    try:
        call(f"the network of {what}", net.float().train(), x)
    except ComponentError as error:
        raise ComponentError(f"{error}: a pass ends with a batch of one image. {remedy}") from error


def _check_numbers(named: str, net: nn.Module) -> None:
    """Raise ComponentError for complex numbers, of which training would lose the imaginary part."""
    found = [name for name, value in (*net.named_parameters(), *net.named_buffers()) if value.is_complex()]
    if found:
        raise ComponentError(
            f"{named} keeps complex numbers: {listed(found, FEW)}. Networks train in real ones, and "
            "imaginary parts would be lost. Allowed: pairs of real numbers (..., 2), with "
            "torch.view_as_complex in forward"
        )


def _leave_nothing_out(net: nn.Module) -> None:
    """Set the shares of dropout modules to 0: the harness draws their masks."""
    for module in net.modules():
        if type(module).__name__ in PAIRED and isinstance(getattr(module, "p", None), float):
            vars(module)["p"] = 0.0


def _check_logits(named: str, net: nn.Module, x: Tensor, classes: int) -> None:
    means = f"logits of {classes} classes for pixels {tuple(x.shape)}"
    try:
        logits = call(named, copy.deepcopy(net), x)
    except ComponentError as error:
        place = python_files.line_of(error.__cause__) if error.__cause__ else ""
        raise ComponentError(f"{error}{place}") from error
    y = tensor(named, logits, (len(x), classes), means)
    if not y.requires_grad:
        raise ComponentError(f"{named} gives logits without a gradient: nothing of it would be learned")
    if not y.isfinite().all():
        raise ComponentError(f"{named} gives logits that are not finite on ordinary numbers")


def _check_draws(named: str, net: nn.Module, x: Tensor) -> None:
    first, other = (call(named, copy.deepcopy(net), x, seed=seed).detach() for seed in (0, 1))
    if not torch.equal(first, other):
        raise ComponentError(
            f"{named} draws random numbers of its own (torch.randn, F.dropout, nn.RReLU ..?): they would "
            "differ between engines and stacks, and arms of a seed would not be paired. Allowed: nn.Dropout "
            "and nn.Dropout2d as modules, whose masks the harness draws"
        )


def _check_branches(named: str, net: nn.Module, x: Tensor) -> None:
    net = copy.deepcopy(net)
    own = {id(value) for value in (*net.parameters(), *net.buffers())}
    found: list[str] = []

    class ValueReads(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, given: Any = (), named: Mapping[str, Any] | None = None
        ) -> Any:
            name = getattr(function, "__name__", "")
            if name in READS and id(given[0]) not in own:
                found.append(name)
            return function(*given, **(named or {}))

    def forward(images: Tensor) -> Tensor:
        with ValueReads():
            logits: Tensor = net(images)
        return logits

    call(named, forward, x)
    if found:
        what = {"__bool__": "if, and, while"}.get(found[0], f".{found[0]}()".replace("__", ""))
        raise ComponentError(
            f"{named} branches on data: it reads a tensor's values into Python ({what}), and in a stack "
            "those are of all members. Allowed: torch.where, or arithmetic"
        )


def _check_state(named: str, net: nn.Module, x: Tensor) -> None:
    """Raise ComponentError where a call changes what is in no state_dict, and so in no checkpoint."""
    net = copy.deepcopy(net)
    kept = copy.deepcopy(net.state_dict())
    loose = {name: value.clone() for name, value in net.named_buffers() if name not in kept}
    first = call(named, net, x).detach()
    moved = [name for name, value in loose.items() if not torch.equal(value, dict(net.named_buffers())[name])]
    if moved:
        raise ComponentError(
            f"{named} changes the buffer {listed(moved, FEW)} while it trains, which is in no state_dict, so "
            "that no checkpoint has it. Allowed: register_buffer(.., persistent=True)"
        )
    net.load_state_dict(kept)
    if not torch.equal(first, call(named, net, x).detach()):
        raise ComponentError(
            f"{named} gives other logits when it is called again: it keeps state outside its parameters and "
            "buffers, which no checkpoint has. Allowed: tensors by register_buffer, changed in place"
        )


def _check_gradients(named: str, net: nn.Module, x: Tensor) -> None:
    net = copy.deepcopy(net)
    logits = call(named, net, x)
    logits.backward(noise(*logits.shape).to(logits.dtype))
    unreached = [name for name, value in net.named_parameters() if value.requires_grad and value.grad is None]
    if unreached:
        raise ComponentError(
            f"{named} has parameters that no gradient reaches: {listed(unreached, FEW)}. They would be "
            "counted and never trained: use them in forward, take them out, or requires_grad_(False)"
        )


def _check_images_apart(named: str, net: nn.Module, x: Tensor) -> None:
    """Raise ComponentError where an evaluation depends on which images stand beside an image."""
    net = copy.deepcopy(net).eval()
    with torch.no_grad():
        together, apart = call(named, net, x), call(named, net, x[: len(x) // 2])
    if not torch.allclose(together[: len(apart)], apart, rtol=1e-3, atol=1e-4):
        raise ComponentError(
            f"{named} gives an image other logits beside other images, in evaluation (.eval()) too, so that "
            "an accuracy would depend on how images are put together. Allowed: batch statistics in training "
            "alone, as nn.BatchNorm2d does"
        )

"""Network stacking: how the networks of an arm's trials can train as one stack, found by trying.

Layer by layer ("layers") where each node of a network's graph has a stacked form; by torch.func ("mapped")
where vmap gives each member what it gets alone; one by one in the loop engine ("loop") else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.axes.activations import activations
from harness.axes.architectures import Shape, architectures
from harness.data.arm_settings import Settings
from harness.data.samples import shape_of
from harness.errors import LONGEST, in_words
from harness.system import process_state
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

Way = Literal["layers", "mapped", "loop"]
FormName = Literal["stacked", "mixed", "mapped"]
WAYS: tuple[tuple[Way, FormName], ...] = (("layers", "stacked"), ("mapped", "mixed"), ("mapped", "mapped"))
"""Ways and forms, the best one first: of a mixed one, only what has no stacked form is mapped."""
MEMBERS, IMAGES = 2, 4
"""Of a trial: networks, and the images that each sees."""


@dataclass(frozen=True)
class Sizes:
    """Values that a network keeps of an image until its backward pass: of its widest layer, and of all.

    `tensors` are those that hold them, nearly as many as it has layers.
    """

    widest: int = 1
    all: int = 1
    tensors: int = 1


@dataclass(frozen=True)
class Stacking:
    """The way in which networks of one architecture train together.

    `reason` says in a clause or two why it is no better one; empty where there is none better.
    """

    way: Way
    reason: str
    sizes: Sizes
    form: FormName = "stacked"


_found: dict[str, Stacking] = {}


def how(settings: Settings) -> Stacking:
    """Tell how the networks of an arm's trials train together; they are built for it, once for each form."""
    key = _key(settings)
    if key not in _found:
        _found[key] = _try(settings)
    return _found[key]


def deciding(settings: Settings) -> list[str]:
    """Name the settings that decide a network's form: not dropout, as members have shares of their own.

    A person's own network may use a setting of that name for anything else, too: there it decides.
    """
    entry = architectures.entry(settings.architecture)
    own = entry.component.settings
    return ["architecture", *(name for name in own if name != "dropout" or entry.third_party)]


def form(settings: Settings) -> str:
    """Name the form of an arm's network, which members of a stack have in common."""
    if settings.plain_mlp:
        return str(settings.hidden)
    own = {name: settings.get(name) for name in deciding(settings)}
    return str([*own.values(), settings.dropout > 0])  # without any, there is no module for it


def _key(settings: Settings) -> str:
    entry = architectures.entry(settings.architecture)
    values = [settings.get(name) for name in deciding(settings)]
    data = [shape_of(settings), len(settings.facts.classes)]
    return str([values, settings.dropout > 0, settings.activation, data, entry.code_digest])


def template(settings: Settings, shape: Shape) -> nn.Module:
    """Build a network of these settings as a stack's form is made of: its activations are the members'."""
    from harness.axes.stacked_layers.graphs import MemberActivation

    function = activations[settings.activation].forward
    architecture = architectures[settings.architecture]
    classes = len(settings.facts.classes)
    with torch.random.fork_rng(devices=[]):
        return architecture.network(shape, classes, lambda: MemberActivation(function), settings)


def _try(settings: Settings) -> Stacking:
    """Try the ways on small batches of noise, the best one first."""
    from harness.axes.stacked_layers.graphs import NotStackedError

    reasons: list[str] = []
    sizes = Sizes()
    alone = process_state.one_thread()
    with alone, process_state.kept(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        try:
            probe = _Probe(settings)
            sizes = probe.sizes()
            if fickle := probe.fickle():
                return Stacking("loop", fickle, sizes)
        except Exception as error:  # noqa: BLE001 (a third party's module may raise anything)
            return Stacking("loop", f"it fails on a batch of {IMAGES} images ({in_words(error)})", sizes)
        for way, form in WAYS:
            try:
                fault = probe.fault(form_of(form))
            except NotStackedError as error:
                fault = str(error)
            except Exception as error:  # noqa: BLE001
                fault = in_words(error)[:LONGEST]
            if not fault:
                return Stacking(way, "; ".join(reasons[:1]), sizes, form)
            reasons.append(fault if form != "mapped" else f"under torch.func: {fault}")
    return Stacking("loop", "; ".join(dict.fromkeys(reasons)), sizes)


def form_of(name: FormName) -> Any:
    """Return the class of a stacked form by its name."""
    from harness.axes.stacked_layers.form import MixedForm, StackedForm
    from harness.axes.stacked_layers.mapped import MappedForm

    return {"stacked": StackedForm, "mixed": MixedForm, "mapped": MappedForm}[name]


class _Alone:
    """The parts of a pass as one network after the other has them (`stacked_layers.layers.LayerParts`)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.rectifies = function is activations["relu"].forward

    def chain(self, x: Tensor, weights: Any, running: Any, form: Any) -> Tensor:
        """Compute layer after layer."""
        weight, bias, *affine = weights
        out = self.convolve(x, weight, bias, form.stride, form.padding)
        out = out if form.rule is None else self.batch_norm(out, affine, running, form.rule)
        out = out.relu() if form.rectified else out
        return out if form.kind is None else self.pool(out, form.window, form.kind)

    def activate(self, x: Tensor, *, last: bool) -> Tensor:  # noqa: ARG002 (the protocol's)
        """Apply the arm's activation."""
        return self.function(x)

    def batch_norm(self, x: Tensor, affine: Any, running: Any, rule: Any) -> Tensor:
        """Normalise member by member."""
        from harness.axes.stacked_layers.normalisation import batch_norms

        return batch_norms(x, affine, running, rule)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any) -> Tensor:
        """Convolve member by member."""
        images = x.expand(len(weight), *x.shape[1:])
        biases = [None] * len(weight) if bias is None else bias
        members = zip(images, weight, biases, strict=True)
        return torch.stack([torch.conv2d(*member, stride, padding) for member in members])

    def pool(self, x: Tensor, window: tuple[int, int], kind: Literal["average", "max"]) -> Tensor:
        """Pool all members' images as one batch."""
        functions = torch.nn.functional
        pool = functions.max_pool2d if kind == "max" else functions.avg_pool2d
        pooled: Tensor = pool(x.flatten(0, 1), window)
        return pooled.view(*x.shape[:2], *pooled.shape[1:])

    def dropout(self, name: str, x: Tensor, *, channels: bool) -> Tensor:  # noqa: ARG002 (the protocol's)
        """Leave nothing out."""
        return x


class _Probe:
    """A few networks of an arm, and what each gives alone."""

    def __init__(self, settings: Settings) -> None:
        from harness.axes.probes import noise  # imports torch

        shape = shape_of(settings)
        self.nets = [_network(settings, shape, seed) for seed in range(MEMBERS)]
        images = noise(MEMBERS + 1, IMAGES, *shape)
        self.x = images if architectures[settings.architecture].takes_images else images.flatten(2)
        self.parts = _Alone(activations[settings.activation].forward)

    def fickle(self) -> str:
        """Say why a network gives other logits when it is called again; empty where it does not."""
        first, again = (copy.deepcopy(self.nets[0]) for _ in range(2))
        logits = []
        for seed, net in enumerate((first, again)):
            torch.default_generator.manual_seed(seed)
            logits.append(net.train()(self.x[0]).detach())
        if not torch.equal(*logits):
            return "it draws random numbers, other than a dropout module's"
        if not torch.equal(*(first.eval()(self.x[0]).detach() for _ in range(2))):
            return "it gives other logits when it is called again: it keeps state outside its buffers"
        return ""

    def sizes(self) -> Sizes:
        """Count what a network keeps of an image for its backward pass."""
        net = copy.deepcopy(self.nets[0]).train()
        values = {value.data_ptr() for value in (*net.parameters(), *net.buffers())}
        kept: dict[int, int] = {}

        def pack(saved: Tensor) -> Tensor:
            if saved.data_ptr() not in values:
                kept[saved.data_ptr()] = max(kept.get(saved.data_ptr(), 0), saved.numel() // IMAGES)
            return saved

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
            logits = net(self.x[0])
        del logits
        first = self.x[0].numel() // IMAGES
        return Sizes(max(first, *kept.values(), 1), max(first, sum(kept.values())), max(1, len(kept)))

    def fault(self, form: Any) -> str:
        """Say what a stack gives that its members alone do not; empty where all is the same."""
        alone = [copy.deepcopy(net) for net in self.nets]
        states = [{**dict(net.named_parameters()), **dict(net.named_buffers())} for net in alone]
        values = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        for name, parameter in alone[0].named_parameters():
            values[name].requires_grad_(parameter.requires_grad)
        from harness.axes.stacked_layers.layers import Pass

        forms: dict[tuple[bool, bool], Any] = {}
        for mode in ((True, True), (True, False), (False, True), (False, True)):  # the last one twice
            training, shared = mode
            done = Pass(MEMBERS, values, self.parts, training)
            x = self.x[0] if shared else self.x[1:]
            if mode not in forms:
                forms[mode] = form(alone[0], training=training, shared=shared)
            together = forms[mode](done, x)
            apart = [net.train(training)(x if shared else x[k]) for k, net in enumerate(alone)]
            if fault := _differs(together, apart, values, alone):
                return fault
        return ""


def _network(settings: Settings, shape: Shape, seed: int) -> nn.Module:
    """Build a network in float64 that leaves nothing out; each seed has other weights."""
    torch.default_generator.manual_seed(seed)
    net = template(settings, shape).double()
    for module in net.modules():
        if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout1d, torch.nn.Dropout2d)):
            module.p = 0.0
    return net


def _differs(together: Tensor, apart: Sequence[Tensor], values: Mapping[str, Tensor], nets: Any) -> str:
    """Say in what a stack's logits, gradients or buffers differ from those of networks alone."""
    if not _same(together, torch.stack(list(apart))):
        return "it gives a member of a stack other logits than alone"
    above = torch.cos(together.detach())
    trained = {name: value for name, value in values.items() if value.requires_grad}
    found = torch.autograd.grad(together, list(trained.values()), above, allow_unused=True)
    for k, net in enumerate(nets):
        own = [parameter for _, parameter in net.named_parameters() if parameter.requires_grad]
        right = torch.autograd.grad(apart[k], own, above[k], allow_unused=True)
        for name, mine, alone in zip(trained, found, right, strict=True):
            if alone is not None and (mine is None or not _same(mine[k], alone)):
                return f"it gives {name} of a member another gradient than alone"
        for name, buffer in net.named_buffers():
            if not _same(values[name][k], buffer):
                return f"it keeps another {name} of a member than alone"
    return ""


def _same(mine: Tensor, right: Tensor) -> bool:
    """Tell whether numbers are equal to rounding."""
    return mine.shape == right.shape and torch.allclose(mine, right, rtol=1e-8, atol=1e-10)

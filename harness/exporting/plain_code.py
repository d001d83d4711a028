"""A trained network as plain PyTorch code: model.py of an exported folder, which needs no harness.

The network is traced (torch.fx): its class has the same modules under the same names, so that it loads the
same state_dict, and a forward that is written out. What cannot be written so is told, and no code is written.
"""

from __future__ import annotations

import builtins
import math
import operator
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from harness.axes.heads import Head
from harness.engines.classifier import Classifier
from harness.errors import in_words

MOST_WRITTEN = 4096
"""Numbers of a constant tensor that are written into code, at most."""
IMAGES = 3  # on which the code is compared with the network
CLOSE = 1e-5
"""How far outputs may differ: the same operations in the same order give the same bits."""
USUAL = {
    "device": "from torch import device", "inf": "from math import inf", "nan": "from math import nan",
    "NoneType": "NoneType = type(None)", "torch": "",
}  # fmt: skip
"""Names that torch.fx uses in code, and the lines that define them."""
SIMPLE = (bool, int, float, str, type(None))
"""Types of a module's attributes, or of their items, by which two modules are compared."""
UNCOMPARED = frozenset({"training", "_is_full_backward_hook", "init"})
"""Attributes that say nothing of a trained module's outputs."""


class NotPlainError(Exception):
    """A network cannot be written as plain code; the message says why."""


def source(classifier: Classifier, about: Mapping[str, Any]) -> str:
    """Write a module whose class Network computes what a classifier computes; checked on random pixels.

    Args:
        classifier: the network, in inference mode.
        about: the content of the export's trial.json.

    Raises:
        NotPlainError: it cannot be traced, or has modules that are not PyTorch's.
    """
    network = classifier.net
    logits, graph, names = _forward(network, "logits")
    head, _, more = _of_head(classifier.output)
    body = [*_made(network, graph), *_constants(network, graph)]
    imports = [line for line in dict.fromkeys([*names, *more]) if line]
    shape = (-1, *classifier.shape) if classifier.shape is not None else (-1, classifier.inputs)
    images = f", or images (B, {', '.join(map(str, classifier.shape))})" if classifier.shape else ""
    code = TEMPLATE.format(
        about=_about(about), imports="".join(f"{line}\n" for line in imports),
        modules="\n".join(f"        {line}" for line in body), logits=_indented(logits),
        head=_indented(head), shape=", ".join(map(str, shape)), classes=list(about["classes"]),
        inputs=classifier.inputs, images=images, count=len(about["classes"]),
    )  # fmt: skip
    _check(code, classifier)
    return code


TEMPLATE = '''"""{about}

    import torch
    from model import Network

    network = Network()
    network.load_state_dict(torch.load("model.pt", weights_only=True))
    network.eval()
"""

import torch
from torch import nn
{imports}
CLASSES = {classes!r}


class Network(nn.Module):
    """Network that gives {count} outputs, (B, {count}), for pixels (B, {inputs}){images}."""

    def __init__(self):
        super().__init__()
{modules}

    def forward(self, x):
        return self.head(self.logits(x.reshape({shape})))

{logits}

    @staticmethod
{head}
'''


def _about(about: Mapping[str, Any]) -> str:
    """Say what the code is of, in a line without quotes or backslashes."""
    settings = about["settings"]
    words = (
        f"Trial {about['trial_id']}: architecture {settings['architecture']} on {settings['dataset']}, head "
        f"{settings['head']}, pixels as preprocessing {settings['preprocessing']} gives them."
    )
    return re.sub(r'["\\]', "'", words)


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.splitlines())


class _Headed(nn.Module):
    """A function as a module, to trace it."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, z: Tensor) -> Tensor:
        return self.head.forward(z)


def _of_head(head: Head) -> tuple[str, fx.Graph, list[str]]:
    code, graph, names = _forward(_Headed(head), "head")
    if any(node.op in {"get_attr", "call_module"} for node in graph.nodes):
        raise NotPlainError(f"head {head.name!r} keeps tensors of its own")
    return code.replace("def head(self, ", "def head(", 1), graph, names


def _forward(module: nn.Module, name: str) -> tuple[str, fx.Graph, list[str]]:
    """Write the forward of a module as a method; give its graph, and the imports it needs, too."""
    try:
        graph = fx.Tracer().trace(module)
    except Exception as error:  # a person's network may raise anything
        raise NotPlainError(f"it cannot be traced: {in_words(error)}") from error
    written = graph.python_code("self")
    code = written.src[written.src.index("def forward(") :].strip()
    code = re.sub(r";\s+(?:\w+ = )+None(?=\n|$)", "", code)
    code = re.sub(r"\btorch\._C\._nn\.(\w+)", r"nn.functional.\1", code)  # where they are public
    code = re.sub(r"def forward\(self, (\w+)[^)]*\)[^\n]*:", rf"def {name}(self, \1):", code, count=1)
    names = [_imported(n, v) for n, v in written.globals.items() if re.search(rf"\b{n}\b", code)]
    return code, graph, names


def _imported(name: str, value: Any) -> str:
    """Write the line that defines a name in traced code."""
    if name in USUAL:
        return USUAL[name]
    for home in (math, operator, builtins):
        own = getattr(value, "__name__", "")
        if own and getattr(home, own, None) is value:
            return f"from {home.__name__} import {own} as {name}"
    raise NotPlainError(f"it calls {getattr(value, '__qualname__', name)}, which is not PyTorch's")


def _made(network: nn.Module, graph: fx.Graph) -> Iterator[str]:
    """Yield the lines that make a network's modules, parameters and buffers, under their names."""
    called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    first: dict[int, str] = {}
    inside = ""
    for name, module in network.named_modules(remove_duplicate=False):
        if (inside and name.startswith(inside)) or not _needed(name, module, called):
            continue
        if id(module) in first:
            yield f"{_assigned(name)}{_path(first[id(module)])}{_closed(name)}"
            continue
        first[id(module)] = name
        inside = f"{name}." if _is_torchs(module) else ""
        if name in called and not inside:
            raise NotPlainError(f"module {name!r} ({type(module).__name__}) is not of torch.nn")
        if name:
            yield f"{_assigned(name)}{_call(name, module) if inside else 'nn.Module()'}{_closed(name)}"
        elif inside:
            raise NotPlainError("it is one module of PyTorch's; put it into a torch.nn.Sequential")
        yield from _frozen(name, module) if inside else _tensors(name, module)
    yield from _tied(network)


def _needed(name: str, module: nn.Module, called: Collection[str]) -> bool:
    """Tell whether a module is called, or has parameters or buffers, or holds one that is or does."""
    inside = {f"{name}.{part}".lstrip(".") if part else name for part, _ in module.named_modules()}
    return not name or bool(inside & {*called}) or bool([*module.parameters(), *module.buffers()])


def _is_torchs(module: nn.Module) -> bool:
    """Tell whether a module is of a class of torch.nn that does something itself."""
    kind = type(module)
    holders = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return kind is not nn.Module and getattr(nn, kind.__name__, None) is kind and kind not in holders


def _call(name: str, module: nn.Module) -> str:
    """Write the call that makes a module of PyTorch's: of its repr what makes the same."""
    # Texts are printed without quotes.
    written = re.sub(r"=(?!(?:True|False|None)\b)([A-Za-z_]\w*)", r"='\1'", f"nn.{module!r}")
    if "\n" in written:
        raise NotPlainError(f"module {name!r} ({type(module).__name__}) cannot be written as one call")
    if not _makes(written, module):
        raise NotPlainError(f"module {name!r} ({type(module).__name__}) is not what it prints")
    for argument in re.findall(r", \w+=(?:\([^()]*\)|[^,()]+)", written):
        shorter = written.replace(argument, "", 1)
        written = shorter if _makes(shorter, module) else written
    return written


def _makes(call: str, module: nn.Module) -> bool:
    """Tell whether a call makes a module like this."""
    try:
        with torch.device("meta"):
            again = eval(call, {"nn": nn})  # noqa: S307 (the repr of a class of torch.nn)
    except (TypeError, ValueError, NameError, SyntaxError, AttributeError):
        return False
    return _facts(again) == _facts(module)


def _facts(module: nn.Module) -> dict[str, Any]:
    """Give what two equal modules have in common: attributes, and the shapes of their state."""
    simple = {
        name: value for name, value in vars(module).items() if name not in UNCOMPARED and _is_simple(value)
    }
    return {**simple, **{f"{name}.shape": tuple(v.shape) for name, v in module.state_dict().items()}}


def _is_simple(value: Any) -> bool:
    return isinstance(value, SIMPLE) or (isinstance(value, list | tuple) and all(map(_is_simple, value)))


def _path(name: str) -> str:
    """Write the way to a module or a tensor of a network, such as self.layer1.conv."""
    path = "self"
    for part in filter(None, name.split(".")):
        path = f"{path}.{part}" if part.isidentifier() else f'getattr({path}, "{part}")'
    return path


def _assigned(name: str) -> str:
    parent, _, last = name.rpartition(".")
    return f"{_path(parent)}.{last} = " if last.isidentifier() else f'{_path(parent)}.add_module("{last}", '


def _closed(name: str) -> str:
    return "" if name.rpartition(".")[2].isidentifier() else ")"


def _tensors(name: str, module: nn.Module) -> Iterator[str]:
    """Yield the lines that make a module's own parameters and buffers; values come with the state_dict."""
    path = _path(name)
    for own, parameter in module.named_parameters(recurse=False):
        frozen = "" if parameter.requires_grad else ", requires_grad=False"
        yield f"{path}.{own} = nn.Parameter(torch.zeros({tuple(parameter.shape)}){frozen})"
    for own, buffer in module.named_buffers(recurse=False):
        if own in module._non_persistent_buffers_set:
            yield f'{path}.register_buffer("{own}", {_literal(own, buffer)}, persistent=False)'
        else:
            zeros = f"torch.zeros({tuple(buffer.shape)}, dtype={buffer.dtype})"
            yield f'{path}.register_buffer("{own}", {zeros})'


def _frozen(name: str, module: nn.Module) -> Iterator[str]:
    """Yield the lines that freeze what a module of PyTorch's does not learn."""
    for own, parameter in module.named_parameters(recurse=False):
        if not parameter.requires_grad:
            yield f"{_path(name)}.{own}.requires_grad_(False)"


def _tied(network: nn.Module) -> Iterator[str]:
    """Yield the lines that give several names to one parameter."""
    first: dict[int, str] = {}
    modules = dict(network.named_modules())
    for name, parameter in network.named_parameters(remove_duplicate=False):
        before = first.setdefault(id(parameter), name)
        if before != name and name.rpartition(".")[0] in modules:
            yield f"{_path(name)} = {_path(before)}"


def _constants(network: nn.Module, graph: fx.Graph) -> Iterator[str]:
    """Yield the lines that make the tensors a forward reads and no state_dict has."""
    state = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    state |= {name for name, _ in network.named_parameters(remove_duplicate=False)}
    for target in dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "get_attr"):
        if target not in state:
            value: Any = network
            for part in target.split("."):
                value = getattr(value, part)
            yield f"{_path(target)} = {_literal(target, value)}"


def _literal(name: str, value: Any) -> str:
    if not isinstance(value, Tensor) or value.numel() > MOST_WRITTEN:
        raise NotPlainError(f"{name} is a constant that is too large to be written into code")
    return f"torch.tensor({value.tolist()!r}, dtype={value.dtype})"


def _check(code: str, classifier: Classifier) -> None:
    """Raise NotPlainError unless the code's network loads the state and gives the same outputs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(IMAGES, classifier.inputs, generator=generator)
    namespace: dict[str, Any] = {"__name__": "model"}
    try:
        exec(compile(code, "model.py", "exec"), namespace)  # noqa: S102 (written above)
        network = namespace["Network"]()
        network.load_state_dict(classifier.net.state_dict())
        with torch.no_grad():
            same = torch.allclose(network.eval()(x), classifier(x), CLOSE, CLOSE, equal_nan=True)
    except Exception as error:
        raise NotPlainError(f"its code fails: {in_words(error)}") from error
    if not same:
        raise NotPlainError("its code gives other outputs: it branches on data, or draws its own numbers")

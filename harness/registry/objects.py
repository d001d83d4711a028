"""Objects, seen from outside: what their classes hold, their state, and names of what is written in C."""

from __future__ import annotations

import hashlib
import sys
import types
from typing import Any

HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a `class` statement
OF_A_CLASS = {
    "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__slots__",
    "__match_args__", "__dataclass_fields__", "__dataclass_params__", "__abstractmethods__", "_abc_impl",
    "__parameters__", "__orig_bases__", "__hash__",
}  # fmt: skip


def is_full(cell: types.CellType) -> bool:
    """Tell whether a closure's variable has a value by now."""
    try:
        cell.cell_contents  # noqa: B018 (an empty cell raises)
    except ValueError:
        return False
    return True


def members(kind: type) -> dict[str, Any]:
    """Say what a class holds, without what Python puts there."""
    return {name: value for name, value in vars(kind).items() if name not in OF_A_CLASS}


def plain_function(member: object) -> types.FunctionType | None:
    """Give the plain function of a class's member; None if it is none."""
    inner = member.__func__ if isinstance(member, staticmethod | classmethod) else member
    inner = inner.fget if isinstance(inner, property) else inner
    return inner if isinstance(inner, types.FunctionType) else None


def compiled_name(value: object) -> str | None:
    """Give the full name of a function that is written in C; None of anything else."""
    if type(value).__name__ == "ufunc" and type(value).__module__ == "numpy":
        return f"numpy.{getattr(value, '__name__', '')}"
    compiled = (
        types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
        types.MethodWrapperType, types.ClassMethodDescriptorType, types.GetSetDescriptorType,
        types.MemberDescriptorType,
    )  # fmt: skip
    if not isinstance(value, compiled):
        return None
    owner = getattr(value, "__objclass__", None) or type(getattr(value, "__self__", None))
    module = getattr(value, "__module__", None) or owner.__module__
    return f"{module}.{getattr(value, '__qualname__', value.__name__)}"


def keeps_in_c(kind: type) -> bool:
    """Tell whether a class, or a base of it, is written in C: it may have a state that no attribute shows."""
    return any(not base.__flags__ & HEAP_TYPE and base is not object for base in kind.__mro__)


def state_of(value: object) -> dict[str, Any]:
    """Give the attributes of an object, in its `__dict__` and its slots."""
    state = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                state[name] = getattr(value, name)
    return state


def array(value: Any) -> str:
    """Give an array, a tensor or one of their types; empty if it is none."""
    top = type(value).__module__.partition(".")[0]
    if top == "torch" and hasattr(value, "detach") and hasattr(value, "layout"):
        try:
            description = f"{type(value).__name__} {value.dtype} {tuple(value.shape)}"
            plain = value.detach().cpu().contiguous().flatten().view(sys.modules["torch"].uint8)
            return f"{description} {hashlib.sha256(plain.numpy().tobytes()).hexdigest()}"
        except (RuntimeError, TypeError, NotImplementedError):
            return ""
    if top == "numpy" and hasattr(value, "tobytes") and not value.dtype.hasobject:
        return f"{value.dtype.str} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if top in {"torch", "numpy"} and type(value).__name__ in {"dtype", "device", "Size", "layout"}:
        return f"{top} {value}"
    return f"{top} {value}" if type(value).__module__ == "torch._ops" else ""

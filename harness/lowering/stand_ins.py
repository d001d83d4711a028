"""Numbers that stand in for t and for settings while an optimizer is traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.lowering.refusals import NotLoweredError

if TYPE_CHECKING:
    from torch import Tensor


class StandIn:
    """A number of which Python may ask a little: a tensor in arithmetic and in functions of torch's."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    __hash__ = object.__hash__

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], _types: object, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Apply a function of torch's to the tensor."""
        named = {name: _tensor_of(value) for name, value in (kwargs or {}).items()}
        return function(*map(_tensor_of, args), **named)

    def __add__(self, other: Any) -> Any:
        return self.tensor + _tensor_of(other)

    def __sub__(self, other: Any) -> Any:
        return self.tensor - _tensor_of(other)

    def __rsub__(self, other: Any) -> Any:
        return other - self.tensor

    def __mul__(self, other: Any) -> Any:
        return self.tensor * _tensor_of(other)

    def __truediv__(self, other: Any) -> Any:
        return self.tensor / _tensor_of(other)

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.tensor

    def __pow__(self, other: Any) -> Any:
        return self.tensor ** _tensor_of(other)

    def __rpow__(self, other: Any) -> Any:
        return other**self.tensor

    def __neg__(self) -> Any:
        return -self.tensor

    __radd__, __rmul__ = __add__, __mul__

    def __mod__(self, _other: object) -> Any:
        raise NotLoweredError("aten.remainder: t % n tells steps apart, which have one compiled form")

    __floordiv__ = __divmod__ = __mod__

    def __index__(self) -> int:
        raise NotLoweredError("aten._local_scalar_dense: Python asks for the value of t or of a setting")

    def __int__(self) -> int:
        return self.__index__()

    def __float__(self) -> float:
        return float(self.__index__())

    def __getattr__(self, name: str) -> Any:
        """Give what a tensor has: t.to(dtype)."""
        return getattr(self.tensor, name)


class GivenSetting(StandIn):
    """A setting that is not 0, as Python may ask (`if weight_decay:`)."""

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (int, float)) and other == 0:
            return False
        raise NotLoweredError(f"a setting compared with {other!r}: Python may ask whether it is 0, no more")

    def __ne__(self, other: object) -> bool:
        return not self.__eq__(other)

    __hash__ = object.__hash__


class StepNumber(StandIn):
    """The number of a step, of which Python may ask whether it is the first."""

    def __init__(self, tensor: Tensor, *, first: bool) -> None:
        super().__init__(tensor)
        self.first = first

    def _is_first(self, other: object, first: int) -> bool:
        if isinstance(other, (int, float)) and other == first:
            return self.first
        raise NotLoweredError(f"t compared with {other!r}: Python may ask whether t is 1, nothing else of it")

    def __eq__(self, other: object) -> bool:
        return self._is_first(other, 1)

    def __ne__(self, other: object) -> bool:
        return not self._is_first(other, 1)

    def __le__(self, other: object) -> bool:
        return self._is_first(other, 1)

    def __gt__(self, other: object) -> bool:
        return not self._is_first(other, 1)

    def __lt__(self, other: object) -> bool:
        return self._is_first(other, 2)

    def __ge__(self, other: object) -> bool:
        return not self._is_first(other, 2)

    __hash__ = object.__hash__


def _tensor_of(value: Any) -> Any:
    return value.tensor if isinstance(value, StandIn) else value

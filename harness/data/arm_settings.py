"""Arm settings: the resolved settings of an arm, by type, and the data set that they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from harness.data.datasets import datasets

if TYPE_CHECKING:
    from harness.data.datasets import Dataset, Facts
    from harness.settings import Value


T = TypeVar("T")


class _Typed(Generic[T]):
    """A setting by its type; one with a `default` has that value in arms to which it does not apply."""

    def __init__(self, kind: Callable[[Any], T], default: object = None) -> None:
        self.kind, self.default = kind, default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, settings: Settings, owner: type) -> T:
        values = settings._values
        return self.kind(values[self.name] if self.default is None else values.get(self.name, self.default))


class Settings(Mapping[str, "Value"]):
    """An arm's settings in canonical form, which do not change.

    An attribute gives a setting that every network of the harness has, with its type; what applies to no such
    arm has the value that means nothing happens ("identity", no hidden layer, no dropout). A component's own
    settings are read by name: `settings["momentum"]`, or `settings.number("momentum")`.

    Args:
        values: name -> value.
        study_dataset: the data set that `dataset` names, where the study declares it; else it is registered.
    """

    __slots__ = ("_values", "study_dataset")

    def __init__(self, values: Mapping[str, Value], study_dataset: Dataset | None = None) -> None:
        self._values: dict[str, Any] = dict(values._values if isinstance(values, Settings) else values)
        self.study_dataset = study_dataset

    def __getitem__(self, name: str) -> Value:
        value: Value = self._values[name]
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:  # a Mapping's own asks for the value, and catches KeyError
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """Give a setting, or the default where it does not apply."""
        return self._values.get(name, default)

    def values_of(self, names: Iterable[str]) -> tuple[Any, ...]:
        """Give settings by their names; None where one does not apply."""
        return tuple(map(self._values.get, names))

    def as_dict(self) -> dict[str, Value]:
        """Give the settings as a dictionary of the caller's own."""
        return dict(self._values)

    def __or__(self, other: Mapping[str, Value]) -> Settings:
        return Settings({**self._values, **other}, self.study_dataset)

    def __repr__(self) -> str:
        return f"Settings({self._values!r})"

    def number(self, name: str) -> float:
        """Give a setting that is a number."""
        return float(self._values[name])

    dataset = _Typed(str)
    preprocessing = _Typed(str)
    val_fraction = _Typed(float)  # share of the training images that the validation split takes
    val_split = _Typed(str, "random")  # the way in which the validation split is drawn
    split_seed = _Typed(int, 0)
    label_noise = _Typed(float, 0.0)  # share of wrong labels in the train split
    label_noise_seed = _Typed(int, 0)
    label_smoothing = _Typed(float, 0.0)  # share of a target that is spread over all classes
    augmentation = _Typed(str, "none")  # what changes the training images at every step
    architecture = _Typed(str)
    hidden: _Typed[list[int]] = _Typed(list, ())  # units of each hidden layer of an mlp
    activation = _Typed(str, "identity")
    norm = _Typed(str, "none")  # of a network that has norms: "batch" or "layer"
    skip = _Typed(bool, False)  # connections around layers
    initial_weights = _Typed(str, "uniform_fan_in")  # the rule by which an mlp's weights are drawn
    dropout = _Typed(float, 0.0)  # share of hidden units that are dropped
    head = _Typed(str)
    loss = _Typed(str)
    match = _Typed(str)  # "kind" where head and loss must fit, "ignore" where they need not
    optimizer = _Typed(str)
    lr = _Typed(float)  # before the schedule
    schedule = _Typed(str)
    batch_size = _Typed(int)
    sampling = _Typed(str)  # the order in which training images are drawn
    parent_steps = _Typed(int, 0)  # the step at which a trial that continues another begins
    parent_updates = _Typed(int, 0)  # updates of the optimizer until then: 0 where it begins afresh
    eval_every = _Typed(str)  # the interval between evaluations, in words: "1 epoch", "50 steps"

    @property
    def plain_mlp(self) -> bool:
        """Tell whether the network is an mlp without norms and skip connections."""
        values = self._values
        plain = values.get("norm", "none") == "none" and not values.get("skip")
        return bool(values["architecture"] == "mlp" and plain)

    @property
    def data(self) -> Dataset:
        """The data set: the study's own, or the registered one of this name."""
        return self.study_dataset or datasets[self.dataset]

    @property
    def facts(self) -> Facts:
        """The data set's facts."""
        return self.data.facts

    @property
    def epochs(self) -> int | None:
        """Passes over the training images; None where `steps` is the budget."""
        return self._values.get("epochs")

    @property
    def steps(self) -> int | None:
        """Updates; None where `epochs` is the budget."""
        return self._values.get("steps")


def once_an_arm(function: Callable[[Settings], T]) -> Callable[[Settings], T]:
    """Make a function that computes a value of each arm once: trials of an arm share its settings.

    It holds the arms that it was asked about.
    """
    known: dict[int, tuple[Settings, T]] = {}

    def find(settings: Settings) -> T:
        found = known.get(id(settings))
        if found is None:
            found = known[id(settings)] = settings, function(settings)
        return found[1]

    return find

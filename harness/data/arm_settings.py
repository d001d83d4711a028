"""Arm settings: the resolved settings of an arm, by type, and the data set that they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.data.datasets import datasets

if TYPE_CHECKING:
    from harness.data.datasets import Dataset, Facts
    from harness.settings import Value


class Settings(Mapping[str, "Value"]):
    """An arm's settings in canonical form, which do not change.

    A property gives a setting that every network of the harness has, with its type; what applies to no such
    arm has the value that means nothing happens ("identity", no hidden layer, no dropout). A component's own
    settings are read by name: `settings["momentum"]`, or `settings.number("momentum")`.

    Args:
        values: name -> value.
        study_dataset: the data set that `dataset` names, where the study declares it; else it is registered.
    """

    __slots__ = ("_values", "study_dataset")

    def __init__(self, values: Mapping[str, Value], study_dataset: Dataset | None = None) -> None:
        self._values: dict[str, Any] = dict(values)
        self.study_dataset = study_dataset

    def __getitem__(self, name: str) -> Value:
        value: Value = self._values[name]
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __or__(self, other: Mapping[str, Value]) -> Settings:
        return Settings({**self._values, **other}, self.study_dataset)

    def __repr__(self) -> str:
        return f"Settings({self._values!r})"

    def number(self, name: str) -> float:
        """Give a setting that is a number."""
        return float(self._values[name])

    @property
    def data(self) -> Dataset:
        """The data set: the study's own, or the registered one of this name."""
        return self.study_dataset or datasets[self.dataset]

    @property
    def facts(self) -> Facts:
        """The data set's facts."""
        return self.data.facts

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self._values["dataset"])

    @property
    def preprocessing(self) -> str:
        """The preprocessing's name."""
        return str(self._values["preprocessing"])

    @property
    def val_fraction(self) -> float:
        """The share of the training images that the validation split takes."""
        return float(self._values["val_fraction"])

    @property
    def val_split(self) -> str:
        """The way in which the validation split is drawn."""
        return str(self._values.get("val_split", "random"))

    @property
    def split_seed(self) -> int:
        """The seed of the validation split."""
        return int(self._values.get("split_seed", 0))

    @property
    def label_noise(self) -> float:
        """The share of wrong labels in the train split."""
        return float(self._values.get("label_noise", 0.0))

    @property
    def label_noise_seed(self) -> int:
        """The seed that draws the wrong labels."""
        return int(self._values.get("label_noise_seed", 0))

    @property
    def label_smoothing(self) -> float:
        """The share of a target that is spread over all classes."""
        return float(self._values.get("label_smoothing", 0.0))

    @property
    def architecture(self) -> str:
        """The architecture's name."""
        return str(self._values["architecture"])

    @property
    def hidden(self) -> list[int]:
        """Units of each hidden layer of an mlp."""
        return list(self._values.get("hidden", ()))

    @property
    def activation(self) -> str:
        """The activation's name; "identity" without hidden layers."""
        return str(self._values.get("activation", "identity"))

    @property
    def dropout(self) -> float:
        """The share of hidden units that are dropped."""
        return float(self._values.get("dropout", 0.0))

    @property
    def head(self) -> str:
        """The head's name."""
        return str(self._values["head"])

    @property
    def loss(self) -> str:
        """The loss's name."""
        return str(self._values["loss"])

    @property
    def match(self) -> str:
        """The rule for head and loss: "kind" where they must fit, "ignore" where they need not."""
        return str(self._values["match"])

    @property
    def optimizer(self) -> str:
        """The optimizer's name."""
        return str(self._values["optimizer"])

    @property
    def lr(self) -> float:
        """The learning rate before the schedule."""
        return float(self._values["lr"])

    @property
    def schedule(self) -> str:
        """The schedule's name."""
        return str(self._values["schedule"])

    @property
    def batch_size(self) -> int:
        """Images of a batch."""
        return int(self._values["batch_size"])

    @property
    def epochs(self) -> int | None:
        """Passes over the training images; None where `steps` is the budget."""
        return self._values.get("epochs")

    @property
    def steps(self) -> int | None:
        """Updates; None where `epochs` is the budget."""
        return self._values.get("steps")

    @property
    def sampling(self) -> str:
        """The order in which training images are drawn."""
        return str(self._values["sampling"])

    @property
    def eval_every(self) -> str:
        """The interval between evaluations, in words: "1 epoch", "50 steps"."""
        return str(self._values["eval_every"])

"""Matching of the trials of two results folders, by settings and seed.

trial_ids are not compared: they also hash the data, third-party sources and the version of the training, and
matching serves to compare two versions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.axes import plugins
from harness.errors import UsageError
from harness.settings import CORE
from harness.settings.schema import METRICS
from harness.study.trials import resolve
from harness.text import NOT_APPLICABLE, as_text, as_word

if TYPE_CHECKING:
    from harness.results import Results

SIDES = ("a", "b")
KEPT = ["trial_id", "arm", "status", "reason", "diverged_step", *METRICS, "kernels", "host", "device"]
"""Columns of trials.csv that each side of a match keeps, with _a or _b behind their names."""


@dataclass(frozen=True)
class Matched:
    """The trials of two results folders, side by side.

    Attributes:
        trials: a row a trial of either, in A's order, then B's: dataset, arm (A's name for it; B's where only
            B has it), seed, inside ("both", "a", "b"), and the columns KEPT of each side.
        by: the key of the match: "settings", or "arm" where no settings agreed.
        differing: setting, a, b (as text): settings in which matched trials differ.
        assumed: setting, side (that has no such column), value (this version's default, taken for it).
        namesakes: dataset, arm, differing: arms of one name that no settings match, hence not compared.
    """

    trials: pd.DataFrame
    by: str
    differing: pd.DataFrame
    assumed: pd.DataFrame
    namesakes: pd.DataFrame


def match(a: Results, b: Results) -> Matched:
    """Match the trials of two folders by data set, settings and seed.

    A setting with one value throughout A and another throughout B distinguishes the folders, not their arms:
    it is left out of the key and reported. If nothing matches even so, arms are matched by their names.

    Raises:
        UsageError: a folder has two trials of the same settings and seed.
    """
    known = [setting_columns(a.trials), setting_columns(b.trials)]
    columns = list(dict.fromkeys([*known[0], *known[1]]))
    words, assumed = [], []
    for side, folder, present in zip(SIDES, (a, b), known, strict=True):
        spelled, taken = _words(folder.trials, present, columns)
        words.append(spelled)
        assumed += [(name, side, value) for name, value in taken.items()]
    assumed = [entry for entry in assumed if _applies(words[0][entry[0]], words[1][entry[0]])]
    differing = [n for n in columns if n != "dataset" and _distinguishes_folders(words[0][n], words[1][n])]
    trials = _side_by_side(a, b, [frame.drop(columns=differing) for frame in words])
    by, changed = "settings", _differing(words[0], words[1], differing)
    if not trials["inside"].eq("both").any():
        named, named_changes = _by_arm(a, b, words)
        if named["inside"].eq("both").any():
            trials, by, changed = named, "arm", named_changes
    return Matched(
        trials.drop(columns=["place_a", "place_b"]), by, changed,
        pd.DataFrame(assumed, columns=["setting", "side", "value"]), _namesakes(trials, words),
    )  # fmt: skip


def setting_columns(trials: pd.DataFrame) -> list[str]:
    """List the columns of trials.csv that are settings; names of linked values are not."""
    return [str(name) for name in trials.loc[:, "dataset":"seed"].columns[:-1]]


def _words(
    trials: pd.DataFrame, present: Sequence[str], columns: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Write all `columns` as words, a row a trial; also map settings without a column to their defaults.

    A version without a setting behaved like its default today. A default that is unknown here (a third
    party's setting) stays "not applicable", which matches no value.
    """
    spelled = {name: trials[name].map(as_word) for name in present}
    axes = [name for name in (*plugins.registries(), "hidden") if name in present and name != "dataset"]
    parts = list(zip(*(spelled[name] for name in axes), strict=True))
    taken = {}
    for name in columns:
        if name not in spelled:
            usual = [as_word(as_text(_usual(tuple(axes), part).get(name))) for part in parts]
            spelled[name] = pd.Series(usual, index=trials.index, dtype=str)
            taken[name] = ", ".join(dict.fromkeys(word for word in usual if word != NOT_APPLICABLE))
    return pd.DataFrame(spelled, columns=list(columns)), {
        name: value for name, value in taken.items() if value
    }


@functools.cache
def _usual(axes: tuple[str, ...], components: tuple[str, ...]) -> dict[str, Any]:
    """Resolve the defaults of these components and `hidden`; of unknown ones, those every trial has."""
    given: dict[str, Any] = dict(zip(axes, components, strict=True))
    if given.pop("hidden", "") == "[]":  # without hidden layers some settings mean nothing
        given["hidden"] = []
    with suppress(UsageError):
        return dict(resolve(given))
    return {name: value for name, value in resolve({}).items() if name in CORE}


def _values(words: pd.Series[str]) -> set[str]:
    return set(words) - {NOT_APPLICABLE}


def _applies(first: pd.Series[str], second: pd.Series[str]) -> bool:
    return bool(_values(first) and _values(second))


def _distinguishes_folders(first: pd.Series[str], second: pd.Series[str]) -> bool:
    """Tell whether a setting has one value throughout one folder, and another throughout the other.

    Only trials to which it applies count, as for a momentum.
    """
    one, other = set(first), set(second)
    if _applies(first, second):
        one, other = _values(first), _values(second)
    return len(one) == len(other) == 1 and one != other


def _differing(first: pd.DataFrame, second: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    rows = [(name, _listed(first[name]), _listed(second[name])) for name in columns]
    return pd.DataFrame(rows, columns=["setting", *SIDES])


def _listed(words: pd.Series[str]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word != NOT_APPLICABLE)) or NOT_APPLICABLE


def _side_by_side(a: Results, b: Results, keys: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join both folders' trials on `keys` and the seed (outer); place_a, place_b are their rows."""
    sides = []
    for side, folder, key in zip(SIDES, (a, b), keys, strict=True):
        joined = ["\x1f".join(row) for row in key.itertuples(index=False)]
        columns = folder.trials.reindex(columns=KEPT).add_suffix(f"_{side}")
        sides.append(columns.assign(key=joined, seed=folder.trials["seed"], dataset=folder.trials["dataset"]))
        twice = sides[-1].duplicated(["key", "seed", "dataset"])
        if twice.any():
            listed = ", ".join(sides[-1].loc[twice, f"trial_id_{side}"].astype(str).head(3))
            raise UsageError(
                f"{folder.folder}: {int(twice.sum())} trials have the settings and the seed of another "
                f"({listed}), so that they cannot be matched. Was trials.csv changed by hand? "
                "`harness run` remakes it from parts/."
            )
        sides[-1][f"place_{side}"] = range(len(sides[-1]))
    table = sides[0].merge(sides[1], on=["key", "seed", "dataset"], how="outer", indicator="inside")
    table["inside"] = table["inside"].astype(str).replace({"left_only": "a", "right_only": "b"})
    table["arm"] = table["arm_a"].where(table["inside"].ne("b"), table["arm_b"])
    table = table.sort_values(["place_a", "place_b"]).reset_index(drop=True)
    kept = [f"{name}_{side}" for side in SIDES for name in KEPT]
    return table[["dataset", "arm", "seed", "inside", *kept, "place_a", "place_b"]]


def _namesakes(trials: pd.DataFrame, words: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tabulate arms of one name in both folders without a common trial: dataset, arm, differing (words)."""
    place = {
        side: trials[trials["inside"].eq(side)].drop_duplicates(["dataset", "arm"]) for side in SIDES
    }  # fmt: skip
    shared = trials.loc[trials["inside"].eq("both"), ["dataset", "arm"]].drop_duplicates()
    pairs = place["a"].merge(place["b"], on=["dataset", "arm"], suffixes=("", "_other"))
    pairs = pairs.merge(shared, on=["dataset", "arm"], how="left", indicator="shared")
    pairs = pairs[pairs["shared"].eq("left_only")]
    rows = []
    for dataset, arm, i, j in zip(
        pairs["dataset"], pairs["arm"], pairs["place_a"], pairs["place_b_other"], strict=True
    ):
        one, other = words[0].iloc[int(i)], words[1].iloc[int(j)]
        changes = [f"{name} {one[name]} -> {other[name]}" for name in one.index if one[name] != other[name]]
        rows.append((dataset, arm, ", ".join(changes)))
    return pd.DataFrame(rows, columns=["dataset", "arm", "differing"])


def _by_arm(a: Results, b: Results, words: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Match trials by the arms' names; also tabulate the settings in which matched trials differ."""
    trials = _side_by_side(a, b, [folder.trials[["dataset", "arm"]].astype(str) for folder in (a, b)])
    both = trials[trials["inside"].eq("both")]
    one, other = (
        frame.iloc[both[f"place_{side}"].astype(int)].reset_index(drop=True)
        for frame, side in zip(words, SIDES, strict=True)
    )
    changed = [str(name) for name in one if one[name].ne(other[name]).any()]
    return trials, _differing(one, other, changed)

"""Text of a noise floor."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.comparison.tries.looks import is_share
from harness.comparison.tries.text import amount
from harness.text import duration, spaced

if TYPE_CHECKING:
    from harness.comparison.tries.noise import Noise


def lines(noise: Noise) -> Iterator[str]:
    """Say how large a noise floor is, and what differences show above it."""
    for row in noise.baselines.to_dict("records"):
        yield from _spread(noise, row)
        yield f"  {'seeds':>5}   {'smallest difference seen, at worst':<38}{'both arms take':>16}"
        table = noise.detectable[noise.detectable["dataset"].eq(row["dataset"])]
        yield from (_detectable(one, noise.metric) for one in table.to_dict("records"))
    yield "In brackets: 95 % intervals. Smallest difference: of two arms, paired; 80 % power, alpha 0.05."
    yield "At worst: if the arms' noise is unrelated, so that their difference has sqrt(2) times this SD."
    yield "Arms share a seed's initial weights and batches, which mostly makes it less; a try measures it."


def following(noise: Noise, study: str, overrides: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """Return the line to type for a try of the same baseline; of the first of several data sets.

    `options` belong to it; a metric but accuracy wants its margin, too.
    """
    names = [str(name) for name in noise.baselines["dataset"]]
    both = [text for text in overrides if not (len(names) > 1 and text.startswith("dataset="))]
    both += [f"dataset={names[0]}"] if len(names) > 1 else []
    base = [part for text in both for part in ("--base", text)]
    margin = [] if noise.metric == "val_accuracy" else ["--margin", "MARGIN"]
    return shlex.join(["harness", "try", study, "--set", "KEY=VALUE", *base, *options, *margin])


def _spread(noise: Noise, row: Mapping[Any, Any]) -> Iterator[str]:
    metric, unit = noise.metric, _unit(noise.metric)
    mean = f"{_value(row['mean'], metric)}{' %' if unit else ''}"
    yield f"{noise.study}, baseline on {row['dataset']}: {spaced(metric)} {mean}"
    if row["diverged"]:
        yield f"  {row['diverged']} of {row['seeds']} seeds diverged and are left out: the others flatter it"
    sd, low, high = (_value(row[name], metric) for name in ("sd", "sd_low", "sd_high"))
    yield f"  SD over {row['n']} seeds: {sd}{unit} [{low}, {high}]"
    if not math.isnan(row["sampling_sd"]):
        moved = _value(row["sampling_sd"], metric)
        yield (
            f"  another {row['val_images']:,} val images would move it by {moved}{unit} (SD), whatever "
            "the seeds; arms share these images"
        )


def _detectable(row: Mapping[Any, Any], metric: str) -> str:
    sizes = [_value(row[name], metric) for name in ("difference", "difference_low", "difference_high")]
    shown = f"{sizes[0]}{_unit(metric)} [{sizes[1]}, {sizes[2]}]"
    return f"  {row['seeds']:>5}   {shown:<38}{duration(row['seconds']):>16}"


def _value(value: float, metric: str) -> str:
    if math.isnan(value):
        return "-"
    return amount(value, metric, sign=False, digits=3)


def _unit(metric: str) -> str:
    return " points" if is_share(metric) else ""

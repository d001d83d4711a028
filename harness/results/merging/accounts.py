"""Accounts of a merged folder's sources: provenance.json, and the notes on versions and machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.results.documents import OF_TRAINING, trained_runs
from harness.results.merging.sources import SourceFolder
from harness.text import count, listed

MOST_TOLD = 4  # values that a note names


def entries(sources: Sequence[SourceFolder]) -> list[dict[str, Any]]:
    """List the folders that runs trained, those that merged folders came from among them, each once.

    An entry has the folder's name, its shard, what describes its machine, and its runs. Their order is that
    of their content.
    """
    found = {_text(entry): entry for source in sources for entry in _entries(source)}
    ordered = [found[text] for text in sorted(found)]
    # A folder that was merged before has been trained further since.
    return [one for one in ordered if not any(_is_earlier(one, other) for other in ordered)]


def _entries(source: SourceFolder) -> Iterator[dict[str, Any]]:
    content = source.provenance
    before = content.get("sources", [])
    yield from before
    known = {_text(run) for entry in before for run in entry.get("runs", [])}
    runs = [run for run in content.get("runs", []) if _text(run) not in known]
    if runs or not before:
        shard = source.plan.get("shard")
        about = {key: content[key] for key in OF_TRAINING if key in content}
        yield {
            "folder": source.path.resolve().name,
            **({"shard": list(shard)} if shard else {}),
            **about,
            "runs": runs,
        }


def _is_earlier(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether an entry is of the same folder as another, before its last runs."""
    runs, later = one["runs"], other["runs"]
    same = one["folder"] == other["folder"] and one.get("shard") == other.get("shard")
    return same and bool(runs) and len(runs) < len(later) and _started(runs) == _started(later)[: len(runs)]


def _started(runs: Sequence[Mapping[str, Any]]) -> list[tuple[object, object]]:
    return [(run.get("started"), run.get("host")) for run in runs]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def provenance(sources: Sequence[SourceFolder]) -> dict[str, Any]:
    """Make provenance.json: the newest run's machine, the data, all runs by their start, and the sources."""
    made = entries(sources)
    runs = sorted(
        (run for entry in made for run in entry["runs"]),
        key=lambda run: (str(run.get("started")), _text(run)),
    )
    newest = max(
        made,
        key=lambda entry: (max((str(run.get("started")) for run in entry["runs"]), default=""), _text(entry)),
    )
    data: dict[str, Any] = {}
    metrics: dict[str, list[str]] = {}
    for source in sources:
        data |= source.provenance.get("data", {})
        for name, digests in source.provenance.get("metrics", {}).items():
            metrics[name] = sorted({*metrics.get(name, []), *digests})
    about = {key: newest[key] for key in OF_TRAINING if key in newest}
    sorted_data = dict(sorted(data.items()))
    return {
        **about,
        "data": sorted_data,
        "metrics": dict(sorted(metrics.items())),
        "runs": runs,
        "sources": made,
    }


def kind_notes(computed: Iterable[tuple[str, str]], hosts: Iterable[set[str]]) -> list[str]:
    """Say in how many seeds arms were trained on processors of different kinds.

    Args:
        computed: the pairs of kernels, without components, and host of all trials. Hosts with kernels of one
            name are of one kind, since the name holds the processor.
        hosts: those of the trials of each seed.
    """
    kind: dict[str, str] = {}
    by_kernels: dict[str, str] = {}
    for kernels, host in sorted(computed):
        one, other = kind.setdefault(host, host), by_kernels.setdefault(kernels, kind[host])
        if one != other:
            kind = {name: other if found == one else found for name, found in kind.items()}
            by_kernels = {name: other if found == one else found for name, found in by_kernels.items()}
    seeds = [{kind[host] for host in one if host} for one in hosts]
    mixed = sum(len(kinds) > 1 for kinds in seeds)
    told = (
        f"in {mixed} of {count(len(seeds), 'seed')} the arms were trained on processors of different kinds: "
        "float bits may differ in their last digits, and seconds do not compare. `harness report` says of "
        "each contrast how many seeds are of one kind"
    )
    return [told] if mixed else []


def version_notes(sources: Sequence[SourceFolder]) -> list[str]:
    """Say which versions and builds differ between the runs of the folders: ids and rows do not mix them."""
    said: dict[str, dict[str, list[str]]] = {}
    for entry in entries(sources):
        for run in trained_runs(entry) or [entry]:
            about = {"commit": run.get("commit"), "bits": run.get("bits"), **run.get("versions", {})}
            for name, value in about.items():
                folders = said.setdefault(str(name), {}).setdefault(str(value or "unknown"), [])
                if entry["folder"] not in folders:
                    folders.append(entry["folder"])
    told = []
    for name, values in said.items():
        where = [f"{value} in {listed(folders, 2)}" for value, folders in values.items()]
        told += [f"{name} differs: {listed(where, MOST_TOLD)}"] if len(values) > 1 else []
    return told

"""Contents of the JSON objects of a search: its plan, and its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import notes
from harness.cli import answers, search_output, winner_output
from harness.planning.cost import cost
from harness.planning.doubts import unseen
from harness.searching import pruners, samplers, suggestions, warm_start
from harness.searching.ask_tell import arm_of, drawn_of
from harness.searching.checks import evaluations_of, size_of
from harness.settings.schema import KNOWN
from harness.study.searches import STATES
from harness.study.space import Choices, Parameter
from harness.study.trials import settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.planning.stack import Engine
    from harness.searching.search_result import SearchResult
    from harness.searching.warm_start import KnownSuggestions
    from harness.study.space import SpaceEntry
    from harness.study.study import Study

SHOWN = 10  # of the best suggestions


def plan(study: Study, engine: Engine, folder: Path, processes: int) -> dict[str, Any]:
    """Return the plan of a search; what only its suggestions decide is None."""
    search = study.search
    assert search is not None  # noqa: S101 (asked of searches only)
    most = max(evaluations_of(study))
    sampled = search_output.sampled(study, engine)
    for note in (*samplers.remarks(search, study.space), *unseen(study, sampled.trials)):
        notes.warn(note)
    seconds = cost(sampled.stacks, sampled.study, processes).seconds
    unknown = (
        "trials", "to_train", "finished", "skipped", "merged", "routed", "uncompiled", "stacks", "bytes",
        "state_bytes", "contrasts", "tuning", "shard", "power",
    )  # fmt: skip
    return {
        **answers.study_facts(study, folder, processes),
        "settings": dict(settings_of(study)),
        "arms": [],
        "seeds": list(study.about.seeds),
        **dict.fromkeys(unknown),
        "seconds": seconds
        * search.suggestions
        / search_output.SAMPLED
        * (pruners.trained_share(search, most) or 1.0),
        "search": {
            "suggestions": search.suggestions,
            "settings": size_of(study, search.suggestions),
            "seeds": list(search.seeds),
            "until": search.until,
            "finalists": search.finalists,
            "finalist_seeds": list(search.finalist_seeds) if search.finalists > 1 else [],
            "batch": search.batch,
            "sampler": search.sampler,
            "pruner": search.pruner.name,
            "asked_after": list(pruners.rungs(search.pruner, most)),
            "evaluations": most,
            "objectives": _objectives(study),
            "constraints": search.constraints,
            "known": _known(warm_start.known(study, folder)),
            "space": [_parameter(entry, one) for entry in study.space.entries for one in entry.parameters],
        },
    }


def _known(known: KnownSuggestions | None) -> dict[str, Any] | None:
    """Return what a sampler knew of an earlier search."""
    if known is None:
        return None
    return {"folder": known.folder, "complete": known.complete, "suggestions": len(known.suggestions)}


def _objectives(study: Study) -> list[dict[str, Any]]:
    search = study.search
    assert search is not None  # noqa: S101
    pairs = zip(search.objective, search.directions, strict=True)
    return [{"name": name, "direction": direction} for name, direction in pairs]


def _parameter(entry: SpaceEntry, parameter: Parameter) -> dict[str, Any]:
    values = parameter.values
    when = {key: list(names) for key, names in entry.when.items()}
    if isinstance(values, Choices):
        return {"name": parameter.name, "choices": list(values.names), "when": when}
    limits = {"low": values.low, "high": values.high, "log": values.log, "step": values.step}
    return {"name": parameter.name, **limits, "when": when}


def results(result: SearchResult, study: Study) -> dict[str, Any]:
    """Return the results of a search: its best suggestions, how all ended, and the confirmation."""
    search = study.search
    assert search is not None  # noqa: S101 (it was searched)
    order = suggestions.ranked(result.trials, search)[:SHOWN]
    confirmed, verdict = result.confirmed, None
    if confirmed is not None:
        verdict = next(iter(answers.rows(search_output.confirmed_verdicts(result, study))), None)
        if verdict is None:
            notes.warn("the best suggestion is the baseline itself")
    failures = suggestions.failures(result.trials)
    return {
        "verdict": verdict and verdict["verdict"],
        "headline": answers.headline(result.folder),
        "folder": result.folder,
        "storage": result.storage,
        "objectives": _objectives(study),
        "asked": result.asked,
        "seconds": round(result.seconds, 2),
        "optuna_seconds": round(result.optuna_seconds, 2),
        "busy": round(result.busy, 3),
        "refused": suggestions.refused(result.trials, result.folder),
        "known": _known(warm_start.read(result.folder / KNOWN)),
        "suggestions": dict.fromkeys(STATES, 0) | suggestions.counted(result.trials),
        "failures": [{"suggestions": many, "message": reason} for reason, many in failures.items()],
        "winner": None if result.winner is None else _suggestion(result, study, result.winner),
        "best": [_suggestion(result, study, number) for number in order],
        **winner_output.facts(result, study),
        "difference": verdict,
        "confirmed": confirmed and answers.run(confirmed),
    }


def _suggestion(result: SearchResult, study: Study, number: int) -> dict[str, Any]:
    """Return a suggestion: what was drawn, the settings that it means, and its objectives."""
    trial = result.trials[number]
    values: Sequence[float] = trial.values or ()
    reached: Mapping[str, float] = dict(zip([one["name"] for one in _objectives(study)], values, strict=True))
    settings = study.space.settings(drawn_of(trial))
    drawn = dict(trial.params)
    return {"number": number, "arm": arm_of(number), "values": reached, "drawn": drawn, "settings": settings}

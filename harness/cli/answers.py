"""Contents of the JSON objects of list, plan, run, compare and show: what the screen says, as data.

Accuracies and their differences are shares in 0..1, times seconds, sizes bytes. Names are those of the
results' columns. The schemas in cli/schemas/ say what every field means.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import notes
from harness.errors import PlainError, in_words
from harness.text.json_values import plain

if TYPE_CHECKING:
    import pandas as pd

    from harness.comparison import Comparison, Gate
    from harness.planning.plan import Plan
    from harness.registry import Entry, Registry
    from harness.reporting import ReportData
    from harness.reporting.contrasts import Verdicts
    from harness.results import Results
    from harness.settings import Setting
    from harness.training.folder_runs import RunSummary

DIGITS = ".7g"
"""The format of outcomes; CSVs have as many digits. Settings keep all of theirs."""
WHOLE = (
    "rank", "n", "more_seeds", "diverged_step", "steps_done", "parameters", "flops", "group_size", "planned",
    "diverged", "failed", "seeds", "seeds_low", "seeds_high",
)  # fmt: skip
"""Columns of whole numbers, which are floats in a frame that lacks one."""
UNTRAINED = "not_trained"
"""The word for the empty status: not trained yet."""


def listed(registries: Mapping[str, Registry[Any]]) -> dict[str, Any]:
    """Return the components of axes, with their settings, and the settings that every trial has."""
    from harness.settings import CORE

    return {
        "axes": {axis: [_component(entry) for entry in registry] for axis, registry in registries.items()},
        "settings": [setting_facts(setting) for setting in CORE.values()],
    }


def _component(entry: Entry[Any]) -> dict[str, Any]:
    settings = getattr(entry.component, "settings", {})
    return {
        "name": entry.name,
        "summary": entry.summary,
        "settings": [setting_facts(setting) for setting in settings.values()],
        "third_party": entry.third_party,
        "where": entry.where,
    }


def setting_facts(setting: Setting) -> dict[str, Any]:
    """Return a setting's name, its default, and the values it allows, as a JSON schema."""
    from harness.settings import limited

    allowed = {key: value for key, value in limited(setting).items() if key != "default"}
    return {"name": setting.name, "default": setting.default, "allowed": allowed}


def plan(
    planned: Plan, folder: Path, processes: int, finished: Container[str], uncompiled: Sequence[str],
    tries: Plan | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the plan of a study: as `output.show_plan` and `output.show_tuning_plan` show it.

    `finished`: ids of trials that the results folder already has; the estimates leave them out.
    """
    from harness.planning.cost import cost, state_bytes

    study = planned.study
    for warning in planned.warnings:
        notes.warn(warning)
    stacks = [s for s in planned.stacks if any(trial.trial_id not in finished for trial in s.trials)]
    estimate = cost(stacks, study, processes)
    skipped = Counter(planned.skipped.values())
    return {
        **study_facts(study, folder, processes),
        **_arms(planned),
        "seeds": list(study.seeds),
        "shard": _shard(planned),
        "trials": len(planned.trials),
        "to_train": sum(len([t for t in stack.trials if t.trial_id not in finished]) for stack in stacks),
        "finished": sum(trial.trial_id in finished for trial in planned.trials),
        "skipped": [{"trials": many, "reason": reason} for reason, many in skipped.items()],
        "merged": [{"arm": arm, "same": list(others)} for arm, others in planned.merged.items()],
        "routed": [{"trials": many, "reason": reason} for reason, many in planned.routed.items()],
        "uncompiled": list(uncompiled),
        "stacks": len(stacks),
        "seconds": estimate.seconds,
        "bytes": estimate.bytes,
        "state_bytes": state_bytes(stacks, study),
        "contrasts": _family(planned),
        "tuning": None if tries is None else _tuning(tries, planned, processes),
        "search": None,
    }


def _shard(planned: Plan) -> dict[str, Any] | None:
    """Return which shard of how many trials a plan is of; None if of all."""
    if planned.shard is None or planned.whole is None:
        return None
    from harness.planning import shards

    every, count = planned.whole.trials, planned.shard.count
    split, _ = shards.pairings(planned.study, every, count)
    return {"number": planned.shard.number, "count": count, "of_trials": len(every), "split_seeds": split}


def study_facts(study: Any, folder: Path, processes: int) -> dict[str, Any]:
    """Return the fields that the plans of all studies have."""
    about = study.about
    facts = {"study": study.name, "design": about.design, "hypothesis": about.hypothesis}
    return {**facts, "until": about.until, "folder": folder, "processes": processes}


def _arms(planned: Plan) -> dict[str, Any]:
    """Return the settings that all arms share, and the arms with those that they do not."""
    settings = {name: dict(arm.settings) for name, arm in planned.arms.items()}
    first: dict[str, Any] = next(iter(settings.values()), {})
    common = {
        key: value
        for key, value in first.items()
        if all(key in one and one[key] == value for one in settings.values())
    }
    skipped = {trial.arm.name: planned.skipped.get(trial.trial_id) for trial in planned.trials}
    parameters, flops = planned.parameters, planned.flops
    arms = [
        {
            "arm": name,
            "labels": dict(planned.arms[name].labels),
            "settings": {key: value for key, value in own.items() if key not in common},
            "parameters": parameters.get(name),
            "flops": flops.get(name),
            "skipped": skipped[name],
        }
        for name, own in settings.items()
    ]
    return {"settings": common, "arms": arms}


def _family(planned: Plan) -> dict[str, Any]:
    """Return the contrasts that the report will judge together."""
    family = planned.contrasts
    levels = [
        {"axis": level.axis, "reference": level.reference, "within": level.within} for level in family.levels
    ]
    names = ("metric", "margin", "alpha", "declared", "looks", "pairs")
    facts = {name: getattr(family, name) for name in names}
    spending = family.spending if family.looks else None
    return {**facts, "spending": spending, "levels": levels}


def _tuning(tries: Plan, planned: Plan, processes: int) -> dict[str, Any]:
    from harness.planning.cost import cost
    from harness.training.tuning import left_behind

    tuning, tuned = (cost(one.stacks, one.study, processes).seconds for one in (tries, planned))
    tune = planned.study.tune
    facts: dict[str, Any] = {"trials": len(tries.trials) - left_behind(tries), "seconds": tuning}
    facts |= {"seeds": list(tries.study.seeds), "blocks": None if tune is None else tune.blocks}
    return {**facts, "tuned_trials": len(planned.trials), "tuned_seconds": tuned}


def run(summary: RunSummary) -> dict[str, Any]:
    """Return the outcome of a run: its counts, failures, arms, and the verdicts of its contrasts."""
    for note in summary.notes:
        notes.warn(note)
    if summary.unchosen:
        notes.warn(f"not tuned: {summary.unchosen}. Run the same command again")
    return {
        "trained": summary.trained,
        "seconds": round(summary.seconds, 2),
        "statuses": counted(summary.statuses),
        **outcome(summary.folder),
        "tuned": None if summary.tuned is None else {**outcome(summary.tuned), "chosen": _chosen(summary)},
        "unchosen": summary.unchosen or None,
    }


def counted(statuses: Mapping[str, int]) -> dict[str, int]:
    """Count trials by status: every status, also where no trial has it."""
    from harness.results.columns import STATUSES

    return {status or UNTRAINED: statuses.get(status, 0) for status in STATUSES}


def outcome(folder: Path) -> dict[str, Any]:
    """Return what stands in a results folder: failed trials, arms in order of val, verdicts, files."""
    from harness import results

    found = results.read(folder)
    return {
        "folder": folder,
        "failures": _failures(found.trials),
        "arms": arms(found.trials),
        **_verdicts(found),
        "files": sorted(
            path.name for path in folder.iterdir() if path.suffix in {".csv", ".json", ".toml", ".html"}
        ),
    }


def _failures(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row a stack that failed for a reason: its trials, and the message."""
    failed = trials[trials["status"].eq("failed")]
    return [
        {
            "stack": stack,
            "trial_ids": list(rows["trial_id"]),
            "arms": list(dict.fromkeys(rows["arm"].astype(str))),
            "seeds": sorted(set(rows["seed"])),
            "message": message,
        }
        for (stack, message), rows in failed.groupby(["group", "reason"], sort=False, dropna=False)
    ]


def arms(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row an arm and data set, best by val first: counts of its trials, and its accuracies."""
    from harness import stats
    from harness.results.columns import STATUSES

    statuses = [status for status in STATUSES if status]
    ranked = stats.rank_arms(trials.assign(arm=trials["arm"].astype(str)))
    table = []
    for row in rows(ranked):
        means = {
            f"{split}_accuracy": {"n": row[f"{start}n"], **_interval(row, start)}
            for split, start in (("val", ""), ("test", "shown_"))
        }
        counts = {name: row.get(name, 0) for name in statuses}
        identity = {"dataset": row["dataset"], "arm": row["arm"], "rank": row["rank"]}
        table.append({**identity, "seeds": row["planned"], **counts, **means})
    return table


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table: numbers with as many digits as CSVs have, counts whole, None for NaN."""
    return [
        {str(name): _cell(value, whole=name in WHOLE) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _cell(value: Any, *, whole: bool) -> Any:
    value = plain(value)
    if not isinstance(value, float):
        return value
    return int(value) if whole else float(f"{value:{DIGITS}}")


def _interval(row: Mapping[Any, Any], start: str) -> dict[str, Any]:
    return {name: row[f"{start}{name}"] for name in ("mean", "low", "high")}


def _verdicts(found: Results) -> dict[str, Any]:
    """Return the verdicts on a folder's contrasts as in its report: of accuracy, and of times to a target."""
    from harness.reporting import contrasts, data

    try:
        reading = data.prepare(found)
        judged = contrasts.judge(reading, contrasts.read_family(reading))
        return {"contrasts": _judged(judged), "times_to_target": _times(reading)}
    except Exception as error:  # noqa: BLE001 (what is trained is told, whatever ails the words on it)
        notes.warn(f"no verdicts: {_why(error)}")
        return {"contrasts": None, "times_to_target": None}


def _judged(judged: Verdicts) -> dict[str, Any]:
    family = judged.family
    facts = {name: getattr(family, name) for name in ("metric", "margin", "alpha", "declared", "looks")}
    look = judged.look or None
    return {**facts, "look": look, "rows": rows(judged.table), "doubts": list(judged.doubts)}


def _times(reading: ReportData) -> dict[str, Any] | None:
    """Return the verdicts on the times to a study's target; None if it has none, or nothing reached it."""
    from harness.reporting import time_to_target
    from harness.results import targets
    from harness.settings.schema import TO_TARGET

    target = targets.of_study(reading.results.study.get("study", {}))
    ended = reading.trials["status"].isin(["ok", "diverged"]).any()
    if target is None or not ended or not set(TO_TARGET) <= set(reading.trials):
        return None
    times = time_to_target.read(reading, target)
    if not times.table["reached"].any():
        return None
    found = {"target": {target.column: target.level}, "unit": times.unit, "resolution": times.resolution}
    return {**found, "horizons": dict(times.horizons), **_judged(time_to_target.judge(reading, times))}


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, PlainError) else in_words(error)


def headline(folder: Path) -> dict[str, Any] | None:
    """Return what the first screen of a folder's report says; None, with a note, if nothing can be said."""
    from harness.reporting import data
    from harness.reporting.evidence import gather
    from harness.reporting.first_screen import headline
    from harness.reporting.search import data as search_data

    try:
        reading = data.read(folder)
        if search_data.is_search(reading):
            said = headline.of_search(search_data.read(reading))
        else:
            said = headline.of_study(gather(reading))
    except Exception as error:  # noqa: BLE001 (as above)
        notes.warn(f"no headline: {_why(error)}")
        return None
    sureness = [{"of": label, "words": words} for label, words in said.sureness]
    return {"question": said.question, "answers": list(said.answers), "sureness": sureness}


def _chosen(summary: RunSummary) -> list[dict[str, Any]]:
    """Return what each arm chose, and where that lies at an edge of its space."""
    from harness.settings.schema import SEED_BLOCK
    from harness.training import tuning

    known = ("dataset", "arm", "val_accuracy", "seeds", "tried", "unfinished")
    beside = {*known, "edge", SEED_BLOCK}
    return [
        {
            **{name: row[name] for name in known},
            **({SEED_BLOCK: row[SEED_BLOCK]} if SEED_BLOCK in row else {}),
            "edge": row["edge"] or None,
            "settings": {name: value for name, value in row.items() if name not in beside},
        }
        for row in rows(tuning.read(summary.folder))
    ]


def compared(result: Comparison, gate: Gate | None) -> dict[str, Any]:
    """Return a comparison: how trials matched, its arms, and the gate's answer where one is asked."""
    from harness.comparison.comparing import BLOCK

    trials = result.trials
    for note in (*result.notes, *result.set_aside):
        notes.warn(note)
    inside = {name: int(trials["inside"].eq(name).sum()) for name in ("both", "a", "b")}
    return {
        "verdict": None if gate is None else GATES[gate.exit_code],
        "a": result.a,
        "b": result.b,
        "metric": result.metric,
        "margin": result.margin,
        "alpha": result.alpha,
        "matched_by": result.matched.by,
        **({"unit": "block"} if result.unit == BLOCK else {}),
        "trials": {**inside, "identical": int(trials["identical"].sum())},
        "arms": rows(result.arms),
        "pooled": rows(result.pooled),
        "provenance": result.provenance.to_dict("records"),
        "gate": None if gate is None else {"passed": gate.exit_code == 0, **vars(gate)},
    }


GATES = {0: "not worse", 1: "worse", 2: "cannot tell"}
"""The verdict of a gate, by its exit code."""


def trial(results: Results, row: pd.Series[Any]) -> dict[str, Any]:
    """Return a trial: its settings that apply, how it ended, its parameters and accuracies."""
    from harness.settings.schema import OUTCOME, PARENT
    from harness.text import NOT_APPLICABLE, as_word

    names: Iterable[str] = map(str, results.trials.loc[:, "dataset":"seed"].columns[1:-1])
    settings = {name: _value(row[name]) for name in names if as_word(row[name]) != NOT_APPLICABLE}
    identity = {name: row[name] for name in ("trial_id", "arm", "dataset", "seed")}
    outcomes = {name: _cell(row.get(name), whole=name in WHOLE) for name in (*OUTCOME, PARENT)}
    after = results.trials.loc[:, "seed":].columns[1:]  # tracked metrics, times to a target
    metrics = {str(name): _cell(row[name], whole=False) for name in after if name not in outcomes}
    return {**identity, "settings": settings, **outcomes, "metrics": metrics}


def _value(cell: Any) -> Any:
    """Return a setting as study files have it: lists are text in trials.csv."""
    return json.loads(cell) if isinstance(cell, str) and cell.startswith("[") else cell

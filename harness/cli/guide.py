"""`harness guide`: one page by which a person or a program can use it all.

guide.md is the page; what the code decides (keys, settings, components, commands, columns) is filled in from
the code, so that it is never out of date.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import json_output

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.registry import Entry
    from harness.settings import Setting

PAGE = Path(__file__).with_name("guide.md")
WIDTH = 120
INTERNAL = ("phase", "declared", "changed_after", "target_after", "own")
"""Keys that the harness itself writes into study.toml."""


@click.command()
@click.option(
    "--schema", metavar="COMMAND",
    help="Print the JSON schema (2020-12) of what a command writes with --json: run, 'data check' ..",
)  # fmt: skip
@click.pass_context
def guide(context: click.Context, schema: str | None) -> None:
    """Print one page that says how to use it all, for a person or a program."""
    if schema is not None:
        from harness.cli import schemas

        click.echo(json.dumps(schemas.schema(schema), indent=1, ensure_ascii=False))
        return
    group = context.find_root().command
    click.echo(text(group if isinstance(group, click.Group) else click.Group()), nl=False)


def text(group: click.Group) -> str:
    """Return the guide to a group of commands."""
    from harness.results.columns import STATUSES
    from harness.results.csv_rows import CONFUSION
    from harness.settings import CORE
    from harness.settings.schema import EPOCHS, OUTCOME, SCORES

    columns = {
        "scores": SCORES,
        "outcome": OUTCOME,
        "epochs": EPOCHS,
        "confusion": CONFUSION,
        "statuses": STATUSES[:-1],
    }
    parts = {
        "keys": _keys(), "settings": ", ".join(map(_setting, CORE.values())), "components": _components(),
        "commands": _commands(group), "without_json": _without_json(group),
        **{name: ", ".join(names) for name, names in columns.items()},
    }  # fmt: skip
    page = PAGE.read_text(encoding="utf-8")
    for name, part in parts.items():
        page = page.replace(f"{{{{{name}}}}}", part)
    return "\n".join(line for long in page.split("\n") for line in _folded(long))


def _folded(line: str) -> list[str]:
    """Fold what the code has filled in; a line that fits stays as it is."""
    fits = len(line) <= WIDTH
    return [line] if fits else textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _keys() -> str:
    from harness.study.about import About
    from harness.study.contrasts import Contrasts, Levels
    from harness.study.searches import Pruning, Search
    from harness.study.tuning_space import Tune

    tables: Mapping[str, type[BaseModel]] = {
        "[study]": About, "[contrasts]": Contrasts, "[[contrasts.levels]]": Levels, "[tune]": Tune,
        "[search]": Search, "[search.pruner]": Pruning,
    }  # fmt: skip
    return "\n".join(f"{name} {', '.join(_key_words(model))}" for name, model in tables.items())


def _key_words(model: type[BaseModel]) -> Iterator[str]:
    """Yield the keys of a table: each with its default, and with its other values where they are few."""
    described = model.model_json_schema()
    for name, facts in described["properties"].items():
        if name not in INTERNAL:
            required = name in described.get("required", [])
            yield name if required else _given(name, facts.get("default"), facts.get("enum", []))


def _given(name: str, default: Any, allowed: Sequence[Any]) -> str:
    """Write a name with its default, as `--set` takes it, and what else it may be, if that is a few words."""
    if isinstance(default, dict):
        default = default.get("name")
    shown = "none" if default is None else json.dumps(default, ensure_ascii=False)
    others = [str(one) for one in allowed if one != default]
    return f"{name}={shown}" + (f" ({', '.join(others)})" if others else "")


def _setting(setting: Setting) -> str:
    from harness.settings import limited

    return _given(setting.name, setting.default, limited(setting).get("enum", []))


def _components() -> str:
    from harness.axes import plugins

    plugins.load_installed()
    return "\n".join(
        f"{axis}: {', '.join(map(_component, registry))}" for axis, registry in plugins.catalogue().items()
    )


def _component(entry: Entry[Any]) -> str:
    settings = getattr(entry.component, "settings", {}).values()
    own = [f"{s.name} by classes" if s.default is None else _setting(s) for s in settings]
    return f"{entry.name} ({', '.join(own)})" if own else entry.name


def every_command(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group by their names; those of a group in it by both names, "data check"."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def takes_json(command: click.Command) -> bool:
    """Tell whether a command has --json."""
    return any(json_output.FLAG in parameter.opts for parameter in command.params)


def _commands(group: click.Group) -> str:
    return "\n".join(
        f"{_usage(name, command)}: {_summary(command)}" for name, command in every_command(group)
    )


def _usage(name: str, command: click.Command) -> str:
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    words = [one.metavar or str(one.name).upper() for one in arguments]
    words = [
        word if one.required or word.startswith("[") else f"[{word}]"
        for one, word in zip(arguments, words, strict=True)
    ]
    return " ".join([name, *words])


def _summary(command: click.Command) -> str:
    """Return the first clause of a command's help."""
    paragraph = " ".join((command.help or "").split("\n\n", maxsplit=1)[0].split())
    return paragraph.split(". ")[0].split(": ")[0].rstrip(".") + "."


def _without_json(group: click.Group) -> str:
    without = [name for name, command in every_command(group) if not takes_json(command)]
    return f"All but {' and '.join(without)} take --json."

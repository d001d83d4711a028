"""The `harness` command. Imports nothing heavy until it is needed: help and errors answer at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import click

from harness.cli import json_output
from harness.cli.cluster import cluster
from harness.cli.data import data
from harness.cli.going_on import continue_
from harness.cli.guide import guide
from harness.cli.json_output import json_option
from harness.cli.judge import judge_
from harness.cli.merge import merge_
from harness.cli.show import export, show, show_component
from harness.cli.studies import draw_report, plan, run, search
from harness.cli.trying import noise_, try_
from harness.cli.watch import watch_
from harness.errors import MachineError, UsageError, did_you_mean, in_words
from harness.registry import Registry
from harness.settings import limited
from harness.system import output_folder, signals

INTERRUPTED = 130  # the shell's own code for Ctrl-C
WRITERS = {
    __name__,
    "click.utils",
    "rich.console",
    "harness.cli.json_output",
}  # the modules that write to the screen


class _Commands(click.Group):
    """A group whose unknown commands get a "did you mean"."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            ctx.fail(f"unknown command {args[0]!r}: {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="ablation-harness")
def harness() -> None:
    """Ablation studies of small image classifiers: plan them, train them as stacks, report what matters."""


def main() -> None:
    """Run the command; report errors in words, without a traceback."""
    _open_closed_streams()
    with signals.stopping() as came:
        code = _code(came)
    sys.exit(code)


def _open_closed_streams() -> None:
    """Send nowhere what would go to an output that the caller has closed (`>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _code(came: Sequence[int]) -> Any:
    """Run the command and return its exit code; `came`: the signals that stopped it."""
    wants_json = json_output.anew(sys.argv[1:])
    try:
        code = _returned()
        sys.stdout.flush()  # here its failure has words
    except BaseException as error:  # noqa: BLE001 (the last net: unforeseen errors become words, too)
        code, words = _reported(error, came)
        if code == 1 and _is_gate(sys.argv[1:]):
            code = UsageError.exit_code
        if wants_json and words:
            with suppress(OSError):
                json_output.show_error(command_of(sys.argv[1:]), words, code)
    return code


def _is_gate(arguments: Sequence[str]) -> bool:
    """Tell whether exit code 1 of a command says "worse", so that no failure may end with it."""
    gated = any(argument.startswith("--fail-on") for argument in arguments)
    return command_of(arguments) == "try" or gated


def _reported(error: BaseException, came: Sequence[int]) -> tuple[int, str]:
    """Report the error that ended a command; return its exit code and its words ("" if nobody reads any)."""
    if isinstance(error, click.ClickException):
        with suppress(OSError):
            error.show()
        return 2, error.format_message()
    if isinstance(error, UsageError | MachineError):
        _say(f"error: {error}")
        return error.exit_code, str(error)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        words = str(error.__cause__ or error)
        if words:
            _say(f"\n{words}")
        return signals.code(came, INTERRUPTED), words or "interrupted"
    words = "" if _is_of_output(error) else _unforeseen(error)
    return signals.code(came, 1), words


def command_of(arguments: Sequence[str]) -> str:
    """Return the name of the command that arguments call, such as "data check"; "harness" if they call none.

    >>> command_of(["data", "check", "digits"]), command_of(["--help"])
    ('data check', 'harness')
    """
    names: list[str] = []
    group: click.Command | None = harness
    for argument in arguments:
        if isinstance(group, click.Group) and not argument.startswith("-"):
            group = group.commands.get(argument)
            names += [argument] if group else []
    return " ".join(names) or "harness"


def _returned() -> Any:
    """Return the command's exit code, also if it ended by sys.exit."""
    try:
        return harness.main(standalone_mode=False) or 0
    except SystemExit as end:
        return end.code


def _is_of_output(error: BaseException) -> bool:
    """Return whether the error is a failure to write to the screen; report it unless the reader has gone."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if not isinstance(error, OSError) or last is None or last.tb_frame.f_globals["__name__"] not in WRITERS:
        return False
    if not isinstance(error, BrokenPipeError):
        _say(
            f"error: the output cannot be written: {error.strerror or error}. Files that were written before "
            "are whole; after a training, the same command shows its results without training again"
        )
    with suppress(OSError, ValueError):  # or the interpreter would try once more, at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _say(words: str) -> None:
    with suppress(OSError):
        click.echo(words, err=True)


def _unforeseen(error: BaseException) -> str:
    """Report an unforeseen error, and return its words; HARNESS_TRACEBACK=1 shows its traceback."""
    if os.environ.get("HARNESS_TRACEBACK"):
        raise error
    if isinstance(error, MemoryError):
        words = "there is not memory enough for this. End what else runs, or ask for less"
    elif isinstance(error, OSError):
        words = f"the machine could not do it: {error}"
    else:
        words = (
            f"{in_words(error)}. This is a fault of the harness. Please report it with what "
            "the same command says after HARNESS_TRACEBACK=1 in its environment."
        )
    _say(f"error: {words}")
    return words


@click.command("list")
@click.argument("axis", required=False)
@json_option
def list_(axis: str | None, as_json: bool) -> None:
    """List every registered component of every axis and all metrics, one line each.

    Of one AXIS, also what its components' settings mean.
    """
    from harness.axes import plugins

    plugins.load_installed()
    registries = plugins.catalogue()
    if axis is not None and axis not in registries:
        raise UsageError(f"unknown axis {axis!r}: {did_you_mean(axis, registries)}")
    asked = {name: registry for name, registry in registries.items() if axis in {None, name}}
    if as_json:
        from harness.cli import answers

        json_output.show("list", **answers.listed(asked))
        return
    for name, registry in asked.items():
        click.secho(name, bold=True)
        for entry in registry:
            origin = f"  [{entry.where}]" if entry.third_party else ""
            click.echo(f"  {entry.name:<16} {entry.summary}{_settings(entry.component)}{origin}")
    if axis is not None:
        _show_meanings(registries[axis])


def _show_meanings(registry: Registry[Any]) -> None:
    """Show what the settings of an axis's components mean, and the texts that are allowed."""
    from harness.results.fields import SETTINGS

    own = {
        name: setting
        for entry in registry
        for name, setting in getattr(entry.component, "settings", {}).items()
        if name in SETTINGS
    }
    if own:
        click.secho("settings", bold=True)
    for name, setting in own.items():
        allowed = limited(setting).get("enum", [])
        values = f" {', '.join(allowed)}." if allowed else ""
        click.echo(f"  {name:<16} {SETTINGS[name][1]}{values}")


def _settings(component: object) -> str:
    settings = getattr(component, "settings", {})
    defaults = [f"{name}={'by classes' if s.default is None else s.default}" for name, s in settings.items()]
    return f"  ({', '.join(defaults)})" if defaults else ""


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The page; RESULTS/report.html by default.")
@json_option
def report(results: Path, out: Path | None, as_json: bool) -> None:
    """Draw a results folder's figures and its report.html."""
    page = draw_report(results, out)
    if as_json:
        from harness.cli import answers

        json_output.show("report", folder=results, report=page, headline=answers.headline(results))


class _CompareOptions(TypedDict):
    metric: Literal["test_accuracy", "val_accuracy"]
    margin: float
    alpha: float


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--metric", type=click.Choice(["test_accuracy", "val_accuracy"]), default="test_accuracy",
    show_default=True, help="What is compared.",
)  # fmt: skip
@click.option(
    "--margin", type=float, default=0.002, show_default=True,
    help="Differences within it are the same; a share: 0.002 are 0.2 points.",
)  # fmt: skip
@click.option(
    "--alpha", type=float, default=0.05, show_default=True,
    help="The error rate of all verdicts together (Holm).",
)  # fmt: skip
@click.option(
    "--fail-on",
    type=click.Choice(["worse"]),
    help="A gate: exit code 1 where B is worse by more than the margin, 2 if it cannot be decided.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder that gets differences.csv and differences.tex."
)
@json_option
def compare_(
    a: Path, b: Path, fail_on: str | None, out: Path | None, as_json: bool,
    **options: Unpack[_CompareOptions],
) -> None:  # fmt: skip
    """Compare two results folders: B minus A, trial by trial of equal settings and seed, arm by arm.

    A is the old run, B the new one: two commits, two machines, or one changed setting.
    """
    from harness import comparison
    from harness.cli import answers, output

    if out is not None:
        output_folder.check_folder(out)
    result = comparison.compare(a, b, **options)
    if not as_json:
        output.show_comparison(result)
    files = comparison.write(result, out) if out else []
    for path in files:
        click.echo(f"written: {path}")
    decided = comparison.gate(result) if fail_on else None
    if as_json:
        json_output.show("compare", **answers.compared(result, decided), files=files)
    if decided is not None:
        sys.exit(output.show_gate(result, decided))


for command in (
    guide, list_, plan, run, search, merge_, watch_, report, compare_, noise_, try_, judge_, show, export,
    continue_, show_component, data, cluster,
):  # fmt: skip
    harness.add_command(command)

"""The `editloom` command. Its exit codes are those of `cli.exits`: 0 done, 1 not done, 2 wrong usage."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli import build, compare, curve, edit, evaluate, exits, export, fetch, segment, train
from cli.options import say
from cli.pairs_of_files import ExampleCommand

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.command(name="plan")(build.plan_command)
app.command(name="fetch")(fetch.fetch_command)
app.command(name="build")(build.build_command)
app.command(name="status")(build.status_command)
app.command(name="verify")(build.verify_command)
app.command(name="explain")(build.explain_command)
app.command(name="retry")(build.retry_command)
app.command(name="clean")(build.clean_command)
app.command(name="report")(build.report_command)
app.command(name="train")(train.train_command)
app.command(name="edit", cls=ExampleCommand)(edit.edit_command)
app.command(name="segment")(segment.segment_command)
app.command(name="evaluate")(evaluate.evaluate_command)
app.command(name="compare")(compare.compare_command)
app.command(name="curve")(curve.curve_command)
app.command(name="export")(export.export_command)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        say(f"editloom {version('editloom')}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit")
    ] = False,
) -> None:
    """Build datasets of image edits, train editing models on them, edit images and evaluate editors.

    Exit codes: 0 all done, 1 it could not be done or something is wrong, 2 wrong usage.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit code. See `cli.exits`."""
    sys.exit(exits.run(app, argv))

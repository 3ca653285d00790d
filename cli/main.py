"""The `editloom` command. Exit codes: 0 all done, 1 it could not be done or something is wrong, 2 wrong usage."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from cli import build, edit, evaluate, exits, train

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.command(name="plan")(build.plan_command)
app.command(name="build")(build.build_command)
app.command(name="status")(build.status_command)
app.command(name="verify")(build.verify_command)
app.command(name="explain")(build.explain_command)
app.command(name="retry")(build.retry_command)
app.command(name="clean")(build.clean_command)
app.command(name="report")(build.report_command)
app.command(name="train")(train.train_command)
app.command(name="edit")(edit.edit_command)
app.command(name="evaluate")(evaluate.evaluate_command)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit code; see `cli.exits` for the ladder."""
    sys.exit(exits.run(app, argv))

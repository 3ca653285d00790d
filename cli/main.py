"""The `editloom` command. Exit codes: 0 all done, 1 the run could not finish or something is wrong, 2 wrong usage."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from core.errors import EditloomError, UsageError, one_line

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan
    from pipeline.store.storage import Storage

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

ManifestArg = Annotated[Path, typer.Argument(help="Manifest, a TOML file")]
ShardsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shards",
        help=r"Input: brace list, glob, folder, URL, or a text file of them; what exists under the very name is no "
        r"pattern, elsewhere a backslash makes the next sign literal (\{)",
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        help="Run folder: a path or any fsspec URL; default: runs/ and the manifest's path below manifests/ or this "
        "folder, with - for / (manifests/tiny/iedit.toml: runs/tiny-iedit)",
    ),
]
OnlyOption = Annotated[str | None, typer.Option("--only", help="Go no further than this stage")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take only so many shards")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout")]
TYPERS_INTERRUPTED = 130
"""Exit code that typer gives a KeyboardInterrupt."""
MESSAGE_CHARS = 8000
"""Longest error message: a list of all that is missing has a place in it."""


def main() -> None:
    """Run the command line; every error raised on purpose and every fault of the machine is one line on stderr.

    Anything else is a bug: its traceback is shown, and the exit code is 1.
    """
    try:
        code = app(standalone_mode=False)  # without standalone mode `typer.Exit` comes back as a return value
    except UsageError as error:
        _die(one_line(error, MESSAGE_CHARS), 2)
    except EditloomError as error:
        _die(one_line(error, MESSAGE_CHARS), 1)
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # no system call failed
            raise
        _die(one_line(error, MESSAGE_CHARS), 1)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # a usage error of the command line itself
            _die(error.format_message() or "which command? see editloom --help", error.exit_code)
        raise
    if code == TYPERS_INTERRUPTED:
        _die("interrupted", 1)
    sys.exit(code or 0)


def _die(message: str, code: int) -> None:
    print(f"editloom: {message}", file=sys.stderr)  # noqa: T201  the command's one way to say what went wrong
    sys.exit(code)


def _say(text: str) -> None:
    print(text)  # noqa: T201  a command's result


def _open(
    manifest: Path, out: str | None, shards: list[str] | None, only: str | None = None, limit: int | None = None
) -> tuple[Plan, Storage]:
    from pipeline.plan.manifest import default_out, load_manifest
    from pipeline.plan.plan import make_plan
    from pipeline.store.storage import Storage

    plan = make_plan(load_manifest(manifest), out or default_out(manifest), shards, only=only, limit=limit)
    return plan, Storage(plan.out)


@app.command()
def plan(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None, only: OnlyOption = None,
    limit: LimitOption = None,
    probe: Annotated[int, typer.Option(min=0, help="Run so many rows to estimate rows, disk and time")] = 0,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Type-check the chain and show stages, fingerprints and what is cached; nothing is run without --probe."""
    from pipeline.build.status import status

    made, storage = _open(manifest, out, shards, only, limit)
    report = status(made, storage)
    result: dict[str, Any] = {
        "manifest": made.manifest.name, "out": made.out, "shards": len(made.shards),
        "input_bytes": made.num_input_bytes, "stages": report["stages"],
    }  # fmt: skip
    if probe:
        from pipeline.build.probe import probe as run_probe

        estimates = {e.stage: e for e in run_probe(made, probe)}
        for stage in result["stages"]:
            e = estimates[stage["stage"]]
            stage |= {"estimated_rows": e.rows_out, "estimated_bytes": e.num_bytes, "estimated_worker_s": e.seconds}
    if as_json:
        _say(json.dumps(result))
        return
    from cli.display import show_plan

    show_plan(result)


@app.command()
def build(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None, only: OnlyOption = None,
    limit: LimitOption = None,
    executor: Annotated[Literal["ray", "inprocess"], typer.Option(help="Where stages run")] = "ray",
    workers: Annotated[int | None, typer.Option(min=1, help="Ray workers (default: all cores)")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster (default: RAY_ADDRESS, else a local Ray)")] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Build the dataset, or go on where an earlier build of the same run folder ended."""
    from pipeline.build.run import run_build
    from pipeline.build.summary import build_summary

    made, storage = _open(manifest, out, shards, only, limit)
    result = run_build(made, storage, executor=executor, workers=workers, address=address, quiet=as_json)
    summary = build_summary(made, result)
    if as_json:
        _say(json.dumps(summary))
    else:
        from cli.display import show_build

        show_build(summary)
    if not summary["ok"]:
        raise typer.Exit(1)


@app.command(name="status")
def status_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """Say how far a run folder is, and who is at work on it."""
    from cli.display import show_status
    from pipeline.build.status import status

    made, storage = _open(manifest, out, shards)
    result = status(made, storage)
    if as_json:
        _say(json.dumps(result))
    else:
        show_status(result)


@app.command(name="verify")
def verify_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None,
    deep: Annotated[bool, typer.Option("--deep", help="Hash every file and read every tar")] = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Check records, files and the dataset against each other; exit 1 when something is wrong."""
    from pipeline.build.verify import verify

    made, storage = _open(manifest, out, shards)
    wrong = verify(made, storage, deep=deep)
    if as_json:
        _say(json.dumps({"out": made.out, "ok": not wrong, "wrong": wrong}))
    else:
        _say("\n".join(wrong) if wrong else f"{made.out}: all records, files and counts agree")
    if wrong:
        raise typer.Exit(1)


@app.command(name="explain")
def explain_command(
    manifest: ManifestArg, sample_id: Annotated[str, typer.Argument(help="A sample id, of a sample or a reject")],
    shards: ShardsOption = None, out: OutOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Tell the story of one sample: what each stage wrote for it, or why it was rejected."""
    from cli.display import show_story
    from pipeline.build.explain import explain

    made, storage = _open(manifest, out, shards)
    story = explain(made, storage, sample_id)
    if as_json:
        _say(json.dumps(story, default=str))
    elif story:
        show_story(story)
    if not story:
        raise EditloomError(f"no stage of {made.out} knows sample {sample_id!r}")


@app.command(name="retry")
def retry_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what failed for good")] = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Have the next build try again what the source could not fetch, and nothing else of it."""
    from pipeline.build.retry import mark_retries
    from pipeline.store.lock import hold

    made, storage = _open(manifest, out, shards)
    with hold(storage):
        marked = mark_retries(made, storage, everything=everything)
    storage.close()
    if as_json:
        _say(json.dumps({"rows": sum(marked.values()), "shards": marked}))
    else:
        _say(f"{sum(marked.values())} rows of {len(marked)} shards will be tried again by the next build")


def _elsewhere(module: str, function: str, context: typer.Context) -> None:
    """A command that lives in a package which the engine does not import."""
    main: Any = getattr(importlib.import_module(module), function)
    raise typer.Exit(main(context.args))


PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(name="train", context_settings=PASSED_ON)
def train_command(context: typer.Context) -> None:
    """Train an editing model on a dataset: `editloom train --help`."""
    _elsewhere("cli.train", "main", context)


@app.command(name="edit", context_settings=PASSED_ON)
def edit_command(context: typer.Context) -> None:
    """Edit images with a trained model: `editloom edit --help`."""
    _elsewhere("cli.edit", "edit_main", context)


@app.command(name="evaluate", context_settings=PASSED_ON)
def evaluate_command(context: typer.Context) -> None:
    """Score an editing model, or ready outputs, by a protocol: `editloom evaluate --help`."""
    _elsewhere("cli.edit", "evaluate_main", context)


@app.command(name="clean")
def clean_command(
    manifests: Annotated[list[Path], typer.Argument(help="Manifests whose results are kept")],
    out: OutOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove stage results that none of the manifests refers to."""
    from pipeline.build.clean import clean
    from pipeline.plan.manifest import default_out, load_manifest
    from pipeline.plan.plan import plan_stages
    from pipeline.store.lock import hold
    from pipeline.store.storage import Storage

    if out is None and len(manifests) > 1:
        raise UsageError(f"clean keeps the results of {len(manifests)} manifests in one run folder; say which by --out")
    storage = Storage(out or default_out(manifests[0]))
    needed = {stage.folder for path in manifests for stage in plan_stages(load_manifest(path))}
    with hold(storage):
        storage.clear_scratch()
        gone = clean(needed, storage, dry_run=dry_run)
    storage.close()
    if as_json:
        _say(json.dumps({"removed": [{"folder": f, "bytes": b} for f, b in gone], "dry_run": dry_run}))
    else:
        verb = "would remove" if dry_run else "removed"
        _say("\n".join(f"{verb} {folder} ({size:,} bytes)" for folder, size in gone) or "nothing to remove")


@app.command(name="report")
def report_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None,
    to: Annotated[Path, typer.Option("--to", help="Folder for the pages")] = Path("report"),
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Write the report, the data card and the tables of a finished build again, without touching the dataset."""
    from pipeline.build.report import write_report

    made, storage = _open(manifest, out, shards)
    written = write_report(made, storage, to)
    _say(json.dumps({"written": [str(p) for p in written]}) if as_json else "\n".join(str(p) for p in written))

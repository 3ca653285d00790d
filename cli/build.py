"""The commands on a manifest: build, plan, status, verify, explain, retry, clean, report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.options import JsonOption, say
from core.errors import EditloomError, UsageError

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan
    from pipeline.store.storage import Storage

ManifestArg = Annotated[Path, typer.Argument(help="Manifest, a TOML file")]
ShardsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shards",
        help=r"Input: brace list, glob, folder, URL, or a text file of them; a path that exists as written is no "
        r"pattern; in any other a backslash makes the next character literal (\{)",
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        help="Run folder: a path or any fsspec URL; default: runs/ and the manifest's path below manifests/ or this "
        "folder, with - for / (manifests/tiny/instructions.toml: runs/tiny-instructions)",
    ),
]
OnlyOption = Annotated[str | None, typer.Option("--only", help="Go no further than this stage")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take only so many shards")]


def _open(
    manifest: Path, out: str | None, shards: list[str] | None, only: str | None = None, limit: int | None = None,
    *, all_shards: bool = False,
) -> tuple[Plan, Storage]:  # fmt: skip
    """The plan and its run folder. With a quota the plan has the shards that were built, unless `all_shards`."""
    from pipeline.build.quota import within_quota
    from pipeline.plan.manifest import default_out, load_manifest
    from pipeline.plan.plan import make_plan
    from pipeline.store.storage import Storage

    plan = make_plan(load_manifest(manifest), out or default_out(manifest), shards, only=only, limit=limit)
    storage = Storage(plan.out)
    return plan if all_shards else within_quota(plan, storage), storage


def plan_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None, only: OnlyOption = None,
    limit: LimitOption = None,
    probe: Annotated[int, typer.Option(min=0, help="Run so many rows to estimate rows, disk and time")] = 0,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Type-check the chain and show stages, fingerprints and what is cached. Nothing is run without --probe."""
    from pipeline.build.quota import within_quota
    from pipeline.build.status import status
    from pipeline.plan.licences import expected_licences

    whole, storage = _open(manifest, out, shards, only, limit, all_shards=True)
    made = within_quota(whole, storage)
    report = status(made, storage)
    result: dict[str, Any] = {
        "manifest": made.manifest.name, "out": made.out, "shards": len(made.shards),
        "shards_of_input": len(whole.shards), "input_bytes": made.num_input_bytes,
        "stages": report["stages"], "licences": expected_licences(made),
    }  # fmt: skip
    if probe:
        from pipeline.build.probe import probe as run_probe

        estimates = {e.stage: e for e in run_probe(made, probe)}
        for stage in result["stages"]:
            e = estimates[stage["stage"]]
            stage |= {"estimated_rows": e.rows_out, "estimated_bytes": e.num_bytes, "estimated_worker_s": e.seconds}
    if as_json:
        say(json.dumps(result))
        return
    from cli.display import show_plan

    show_plan(result)


def build_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None, only: OnlyOption = None,
    limit: LimitOption = None,
    executor: Annotated[
        Literal["auto", "processes", "ray", "inprocess"],
        typer.Option(help="Where stages run; auto: Ray for a cluster or GPUs, else processes of this machine"),
    ] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Workers (default: all cores)")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster (default: RAY_ADDRESS)")] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Build the dataset, or continue where an earlier build of the same run folder ended."""
    from pipeline.build.run import run_build
    from pipeline.build.summary import build_summary

    made, storage = _open(manifest, out, shards, only, limit, all_shards=True)
    result = run_build(made, storage, executor=executor, workers=workers, address=address, quiet=as_json)
    summary = build_summary(result)
    if as_json:
        say(json.dumps(summary))
    else:
        from cli.display import show_build

        show_build(summary)
    if not summary["ok"]:
        raise typer.Exit(1)


def status_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """Show how much of a build is done, and which process is building."""
    from cli.display import show_status
    from pipeline.build.status import status

    made, storage = _open(manifest, out, shards)
    result = status(made, storage)
    if as_json:
        say(json.dumps(result))
    else:
        show_status(result)


def verify_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None,
    deep: Annotated[bool, typer.Option("--deep", help="Hash every file and read every tar")] = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Check records, files and the dataset against each other. The exit code is 1 when something is wrong."""
    from pipeline.build.verify import verify

    made, storage = _open(manifest, out, shards)
    wrong = verify(made, storage, deep=deep)
    if as_json:
        say(json.dumps({"out": made.out, "ok": not wrong, "wrong": wrong}))
    else:
        say("\n".join(wrong) if wrong else f"{made.out}: all records, files and counts agree")
    if wrong:
        raise typer.Exit(1)


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
        say(json.dumps(story, default=str))
    elif story:
        show_story(story)
    if not story:
        raise EditloomError(f"no stage of {made.out} knows sample {sample_id!r}")


def retry_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also failures that will probably repeat")] = False,
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
        say(json.dumps({"rows": sum(marked.values()), "shards": marked}))
    else:
        say(f"{sum(marked.values())} rows of {len(marked)} shards will be tried again by the next build")


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
        say(json.dumps({"removed": [{"folder": f, "bytes": b} for f, b in gone], "dry_run": dry_run}))
    else:
        verb = "would remove" if dry_run else "removed"
        say("\n".join(f"{verb} {folder} ({size:,} bytes)" for folder, size in gone) or "nothing to remove")


def report_command(
    manifest: ManifestArg, shards: ShardsOption = None, out: OutOption = None,
    to: Annotated[Path, typer.Option("--to", help="Folder for the pages")] = Path("report"),
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Write the report, the data card and the tables of a finished build again, without touching the dataset."""
    from pipeline.build.report import write_report

    made, storage = _open(manifest, out, shards)
    written = write_report(made, storage, to)
    say(json.dumps({"written": [str(p) for p in written]}) if as_json else "\n".join(str(p) for p in written))

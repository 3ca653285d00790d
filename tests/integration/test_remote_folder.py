"""A run folder behind an fsspec URL: built, resumed and verified like a local one."""

import fsspec
from _builds import ROOT

from pipeline.build.run import run_build
from pipeline.build.status import status
from pipeline.build.summary import build_summary
from pipeline.build.verify import verify
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import make_plan
from pipeline.store.storage import Storage

OUT = "memory://remote-run"


def test_a_run_folder_on_an_object_store_is_built_resumed_and_verified(light):
    plan = make_plan(load_manifest(light), OUT, [str(ROOT / "data" / "tiny")])
    assert run_build(plan, Storage(OUT), executor="inprocess", quiet=True).ok
    again = run_build(plan, Storage(OUT), executor="inprocess", quiet=True)
    assert build_summary(again)["nothing_to_do"]
    assert verify(plan, Storage(OUT), deep=True) == []
    assert status(plan, Storage(OUT))["complete"]
    files = [path.rsplit("/", 1)[-1] for path in fsspec.filesystem("memory").find("/remote-run/dataset")]
    tars = [f"{n:05d}.tar" for n in range(4)]
    assert files == [
        *tars,
        "README.md",
        "licences.json",
        "rejects.parquet",
        "report.html",
        "samples.parquet",
        "shards.json",
    ]

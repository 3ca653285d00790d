"""A table of URLs on disk, with the stage that reads it and its store, and downloads without a table."""

import pyarrow as pa
import pyarrow.parquet as pq
from _web import FolderStore

from pipeline.context import Context
from stages.download.settings import DownloadSpeed
from stages.download.shard import download
from stages.download.status import UrlStatus, read_statuses
from stages.download.store import Spool
from stages.download.url_guard import AddressGuard, GuardedResolver
from stages.read_laion import ReadLaion

FAST = {"allowed_hosts": ("127.0.0.1",), "attempts": 1, "backoff_s": 0.01, "timeout_s": 5.0}


def laion_stage(**options):
    """The stage with fast settings where `options` name no others. Those of its section `speed` are named like all."""
    given = FAST | options
    speed = {name: given.pop(name) for name in list(given) if name in DownloadSpeed.model_fields}
    return ReadLaion(**given, speed=DownloadSpeed(**speed))


class Table:
    """A table on disk, the stage and its store."""

    def __init__(self, folder, rows, row_group_size=None, **options):
        self.path = folder / "part.parquet"
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows)
        pq.write_table(table, self.path, row_group_size=row_group_size)
        self.store = FolderStore(folder / "store")
        self.stage = laion_stage(**options)
        self.shards = self.stage.list_shards([str(self.path)])

    def read(self, *, is_rereading=False):
        """(rows, notes) of all shards."""
        ctx = Context(stage_name="read_laion", store=self.store, is_rereading=is_rereading)
        read = self.stage.open(ctx)
        return [r for shard in self.shards for t in read(shard) for r in t.to_pylist()], dict(ctx.notes)

    def statuses(self, number=0):
        return read_statuses(self.store.folder / f"{self.shards[number].name}.status.parquet")

    def tar(self, number=0):
        return self.store.folder / f"{self.shards[number].name}.tar"


def fetched(tmp_path, urls, *, lookup=None, **options):
    """(statuses, {key: image}) of the URLs."""
    stage = laion_stage(**options)
    statuses = [UrlStatus(key=f"{n:09d}", url=url, caption="x", metadata="{}") for n, url in enumerate(urls)]
    resolver = None if lookup is None else GuardedResolver(AddressGuard(stage.allowed_hosts), lookup)
    with Spool(tmp_path) as spool:
        download(statuses, stage, spool, resolver)
        images = {s.key: spool[s.key] for s in statuses if s.key in spool}
    assert all(s.status for s in statuses)
    assert sorted(images) == [s.key for s in statuses if s.status == "success"]
    return statuses, images


def rows_of(web, count, **columns):
    return [
        {"URL": web.url(f"/{n}.jpg"), "TEXT": f"caption {n}", **{k: v[n] for k, v in columns.items()}}
        for n in range(count)
    ]

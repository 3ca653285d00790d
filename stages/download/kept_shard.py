"""What a source stage that downloads does for a shard: provide it, or read again what was provided, with its notes.

Modules with heavy imports are loaded when a shard is asked for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from core.errors import ContractError, PlanError
from stages.download.status import SUCCESS

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipeline.context import Context, ShardStore
    from stages.download.settings import DownloadSettings, DownloadSpeed
    from stages.download.status import UrlStatus


def check_proxies(speed: DownloadSpeed) -> None:
    """Raise `PlanError` for a proxy of the environment that is to be used and cannot be."""
    from stages.download.proxy import Proxies, ProxyError

    try:
        Proxies(is_used=speed.proxy_from_environment)
    except ProxyError as error:
        raise PlanError(str(error)) from None


def store_of(ctx: Context) -> ShardStore:
    """The store for downloads. Raises `ContractError` for a context without one."""
    if ctx.store is None:
        raise ContractError("no store for downloads: this context was made without one")
    return ctx.store


@contextlib.contextmanager
def kept_shard(
    ctx: Context, shard: str, make_statuses: Callable[[], list[UrlStatus]], options: DownloadSettings
) -> Iterator[tuple[Path, list[UrlStatus]]]:
    """(tar, statuses) of the shard for the block, downloaded before unless the store has it.

    A later stage that reads the source again never downloads.
    """
    from stages.download.shard import provide
    from stages.download.store import reread

    store = store_of(ctx)
    kept = reread(store, shard, ctx.stage_name) if ctx.is_rereading else provide(store, shard, make_statuses, options)
    with kept as (tar, statuses):
        _note(statuses, options.speed, ctx.notes)
        yield tar, statuses


def _note(statuses: Sequence[UrlStatus], speed: DownloadSpeed, notes: Counter[str]) -> None:
    for status in statuses:
        notes["URLs that took more than one attempt"] += status.attempts > 1
        is_shrunk = status.status == SUCCESS and status.width != status.original_width
        notes["images shrunk on arrival"] += is_shrunk
    from stages.download.proxy import variables_set

    unused = [] if speed.proxy_from_environment else variables_set()
    if unused:
        names = ", ".join(unused)
        notes[f"shards asked for without the proxy that {names} names (speed.proxy_from_environment is false)"] += 1

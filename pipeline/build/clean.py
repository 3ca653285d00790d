"""Removes results that no manifest refers to any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.store.run_folder import STAGES

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipeline.store.storage import Storage


def clean(needed: Collection[str], storage: Storage, *, dry_run: bool) -> list[tuple[str, int]]:
    """Remove stage folders that are not in `needed`, unless `dry_run`. Returns the folder and bytes of each."""
    folders = [f"{STAGES}/{name}" for name in storage.folders(STAGES)]
    gone = [(folder, storage.tree_bytes(folder)) for folder in folders if folder not in needed]
    if not dry_run:
        for folder, _ in gone:
            storage.remove(folder)
    return gone

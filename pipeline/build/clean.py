"""Removes results that no manifest refers to any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.store.run_folder import ANSWERS, STAGES

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipeline.store.storage import Storage


def clean(needed: Collection[str], storage: Storage, *, dry_run: bool) -> list[tuple[str, int]]:
    """Remove stage folders that are not in `needed`, unless `dry_run`. Returns the folder and bytes of each.

    The answers that a stage keeps go when no stage of that name is needed: a changed setting may use them again.
    """
    stages = {folder.removeprefix(f"{STAGES}/").rpartition("-")[0] for folder in needed}
    folders = [f"{STAGES}/{name}" for name in storage.folders(STAGES)]
    kept = [f"{ANSWERS}/{name}" for name in storage.folders(ANSWERS) if name not in stages]
    unused = [*(folder for folder in folders if folder not in needed), *kept]
    gone = [(folder, storage.tree_bytes(folder)) for folder in unused]
    if not dry_run:
        for folder, _ in gone:
            storage.remove(folder)
    return gone

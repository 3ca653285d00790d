"""BAGEL: Parquet with a session a row, images and instructions in the order of its turns, and parquet_info.json."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from export.format import Content, Format, Guide
from export.layouts.image_files import one_source
from export.layouts.tables import DATA, Table, open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

INFO, REGISTRY = "parquet_info.json", "dataset_info.py"
SESSIONS, CHAINED = "rows of the tables, a session each", "rows that continue a session"
ROWS_PER_GROUP = 16
"""BAGEL deals row groups to its readers, so a group is small."""
USAGE = """\
Add the entry in `dataset_info.py` to `DATASET_INFO` of BAGEL's `data/dataset_info.py`, and `unified_edit` with the
name of the dataset to a file of `data/configs/`, as TRAIN.md of BAGEL says:

```bash
torchrun --nproc_per_node=1 train/pretrain_unified_navit.py --dataset_config_file data/configs/MINE.yaml …
```

A row has the images of a session, and for each pair of neighbours the wordings of the instruction between them. Turns
are in one row where they lie one after another and the source image of a turn is the target image of the one before,
byte for byte; any other row is a session of its own."""


class Bagel(Format):
    """A row a session: `image_list` (bytes), `instruction_list` (wordings of each instruction)."""

    name: ClassVar = "bagel"
    version: ClassVar = 1
    reader: ClassVar = "BAGEL (`unified_edit`)"
    source: ClassVar = (
        "ByteDance-Seed/Bagel `TRAIN.md` at 0c2cee9, `data/interleave_datasets/interleave_t2i_dataset.py` at 055ef1e, "
        "`edit_dataset.py` beside it as in ZCMax/Bagel at 501df42"
    )
    carries: ClassVar = {Content.TURNS: "images and instructions of one row, in the order of the turns"}

    root: str | None = None
    """The folder that paths in BAGEL's files begin with; none: the output folder, as an absolute path."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Collect a session, and write it when the next one begins."""
        import pyarrow as pa

        columns = {"image_list": pa.list_(pa.binary()), "instruction_list": pa.list_(pa.list_(pa.string()))}
        with open_table(shard, columns, rows_per_group=ROWS_PER_GROUP) as table:
            session = _Session(table, shard)

            def add(row: Row) -> None:
                source = one_source(row, "a turn has one")
                session.add(row, source.content, row.image("target_image").content, row.text(self.caption))

            yield add
            session.end()

    def finish(self, export: Exported) -> Guide:
        """Write how many row groups each file has, and the entry for BAGEL's list of datasets."""
        import pyarrow.parquet as pq

        begin = (self.root if self.root is not None else str(export.out.resolve())).rstrip("/")
        info: dict[str, Any] = {}
        for record in export.records:
            if record.rows:
                read = pq.read_metadata(export.out / DATA / f"{record.shard}.parquet")
                groups = {"num_row_groups": read.num_row_groups, "num_rows": read.num_rows}
                info[f"{begin}/{DATA}/{record.shard}.parquet"] = groups
        export.write(INFO, json.dumps(info, indent=1) + "\n")
        entry = {
            "data_dir": f"{begin}/{DATA}", "num_files": len(info), "num_total_samples": export.notes[SESSIONS],
            "parquet_info_path": f"{begin}/{INFO}",
        }  # fmt: skip
        export.write(REGISTRY, json.dumps({"unified_edit": {export.dataset.name: entry}}, indent=4) + "\n")
        files = {
            f"{DATA}/<shard>.parquet": "the sessions of a shard", INFO: "rows and row groups of each file",
            REGISTRY: "the entry for BAGEL's list of datasets",
        }  # fmt: skip
        return Guide(usage=USAGE, files=files)


class _Session:
    """The session that is being collected."""

    def __init__(self, table: Table, shard: ShardFolder) -> None:
        self._table, self._shard = table, shard
        self._images: list[bytes] = []
        self._instructions: list[list[str]] = []
        self._next: tuple[Any, Any] | None = None
        """Session and turn of a row that would continue it."""

    def add(self, row: Row, source: bytes, target: bytes, instruction: str) -> None:
        """Add a row, to the session where it continues it, else to a new one."""
        name, turn = row.light.get("session_id", row.sample_id), row.light.get("turn", 1)
        if self._images and self._next == (name, turn) and self._images[-1] == source:
            self._shard.notes[CHAINED] += 1
        else:
            self.end()
            self._images = [source]
        self._images.append(target)
        self._instructions.append([instruction])
        self._next = (name, turn + 1 if isinstance(turn, int) else None)

    def end(self) -> None:
        """Write the session, if there is one."""
        if self._images:
            self._shard.notes[SESSIONS] += 1
            row = {"image_list": self._images, "instruction_list": self._instructions}
            self._table.add(row, sum(map(len, self._images)))
        self._images, self._instructions, self._next = [], [], None

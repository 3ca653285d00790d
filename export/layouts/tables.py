"""Parquet files, one a shard, as `datasets` of Hugging Face reads them: images are PIL images when they are loaded.

Owns how a row becomes a row of a table, and the size of row groups. Rows are held until a row group is full, so memory
does not grow with the shard. Nothing is compressed a second time: nearly all bytes are those of images.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.errors import ExportError
from export.format import Guide
from export.texts import cleaned
from samples.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from export.rows import Encoded, Row
    from export.shard_folder import ShardFolder

DATA = "data"
"""Folder of the Parquet files."""
ROWS_PER_GROUP = 100
BYTES_PER_GROUP = 32 << 20
"""A row group is written when it has so many rows, or images of so many bytes."""
IMAGE = "image"
"""In the place of an Arrow type: an image with its bytes and a name."""


class Table:
    """The Parquet file of one shard. It is there once it has a row."""

    def __init__(self, shard: ShardFolder, schema: pa.Schema, rows_per_group: int) -> None:
        self._shard, self._schema, self._rows_per_group = shard, schema, rows_per_group
        self._relative = f"{DATA}/{shard.name}.parquet"
        self._rows: list[dict[str, Any]] = []
        self._num_bytes = 0
        self._writer: Any = None

    def add(self, row: dict[str, Any], num_bytes: int) -> None:
        """Add a row; `num_bytes` are those of its images."""
        self._rows.append(row)
        self._num_bytes += num_bytes
        if len(self._rows) >= self._rows_per_group or self._num_bytes >= BYTES_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pa.Table.from_pylist(self._rows, self._schema)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise ExportError(
                f"{self._relative}: a value does not fit its column ({' '.join(str(error).split())[:200]}); build the "
                "dataset again"
            ) from None
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._shard.path(self._relative), self._schema, compression="none", use_dictionary=False,
                write_statistics=False,
            )  # fmt: skip
        self._writer.write_table(table, row_group_size=len(self._rows))
        self._rows, self._num_bytes = [], 0


@contextmanager
def open_table(
    shard: ShardFolder, columns: Mapping[str, Any], *, rows_per_group: int = ROWS_PER_GROUP
) -> Iterator[Table]:
    """Open the shard's file `data/<shard>.parquet` with these columns: name -> Arrow type, IMAGE or [IMAGE]."""
    table = Table(shard, schema_of(columns), rows_per_group)
    yield table
    table.close()


def table_guide(usage: str, *, split: str = "train", tags: str = "") -> Guide:
    """The guide of an export of tables alone. The card's head names them as one split, for `datasets`."""
    head = f'configs:\n- config_name: default\n  data_files:\n  - split: {split}\n    path: "{DATA}/*.parquet"{tags}'
    return Guide(usage=usage, files={f"{DATA}/<shard>.parquet": "the rows of a shard"}, front_matter=head)


def schema_of(columns: Mapping[str, Any]) -> pa.Schema:
    """The Arrow schema, with what `datasets` needs to know of it in the metadata."""
    import pyarrow as pa

    features = {name: _feature(kind) for name, kind in columns.items()}
    fields = [(name, _arrow_type(kind)) for name, kind in columns.items()]
    return pa.schema(fields, metadata={b"huggingface": json.dumps({"info": {"features": features}})})


def stored(image: Encoded, row: Row) -> dict[str, Any]:
    """An image as a value of an IMAGE column."""
    return {"bytes": image.content, "path": f"{row.sample_id}.{image.suffix}"}


def light_types(columns: Sequence[str]) -> dict[str, pa.DataType]:
    """Light columns with their Arrow types."""
    return {name: COLUMNS[name].type for name in columns}


def light_values(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """The row's values of light columns, None where it has none."""
    return {name: cleaned(row.light.get(name)) for name in columns}


def _arrow_type(kind: Any) -> pa.DataType:
    import pyarrow as pa

    if isinstance(kind, list):
        return pa.list_(_arrow_type(kind[0]))
    return pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if kind == IMAGE else kind


def _feature(kind: Any) -> Any:
    """A column in the words of `datasets` (version 4 and later)."""
    import pyarrow as pa

    if isinstance(kind, list):
        return {"feature": _feature(kind[0]), "_type": "List"}
    if isinstance(kind, str):
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {kind.field(place).name: _feature(kind.field(place).type) for place in range(kind.num_fields)}
    names = {pa.bool_(): "bool", pa.float32(): "float32", pa.float64(): "float64"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}

"""Which light columns a dataset has: the declared ones of its samples.parquet that JSON members hold, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import DatasetError
from core.locations import connect
from samples.columns import COLUMNS, SAMPLE_ID

if TYPE_CHECKING:
    from samples.shards import ShardList

TABLE = "samples.parquet"
NOT_IN_JSON = ("dataset_shard", "source_dhash")
"""Columns of the table that JSON members do not hold (`stages/emit.py`)."""


def light_columns(dataset: ShardList) -> list[str]:
    """Names of the light columns, in the table's order. Empty where the dataset has no table.

    Only the table's schema is read. Raises DatasetError for a table that cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fs, path = connect(f"{dataset.url.rstrip('/')}/{TABLE}")
    try:
        with fs.open(path, "rb") as file:
            names = pq.read_schema(file).names
    except FileNotFoundError:
        return []
    except pa.ArrowException as error:
        raise DatasetError(f"{dataset.url}/{TABLE} cannot be read: {' '.join(str(error).split())}") from None
    left_out = {SAMPLE_ID, *NOT_IN_JSON}
    return [name for name in names if name in COLUMNS and not COLUMNS[name].bulk and name not in left_out]

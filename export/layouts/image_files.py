"""Image files of a row: source, target and mask under folders of their own, one name for all files of a row.

Most formats put them as `target/<shard>/<sample_id>.jpg`, `source/<shard>/<sample_id>.jpg`, and further source images
as `source_2/…`. Images keep the encoding in which the dataset stores them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from export.format import LeftOut, LeftOutError

if TYPE_CHECKING:
    from export.rows import Encoded, Row
    from export.shard_folder import ShardFolder

MaskColumn = Literal["region_mask_png", "source_mask_png", "target_mask_png", "soft_mask_png", "selective_mask_png"]
FIRST_MASKS: tuple[MaskColumn, ...] = ("region_mask_png", "source_mask_png")
"""Columns whose mask is taken where the setting `mask` is `first`, in this order."""
MaskChoice = MaskColumn | Literal["first"] | None
WITH_MASK, WITHOUT_MASK = "rows with a mask", "rows without a mask"
"""Words of the card for the numbers of such rows."""


def mask_of(row: Row, choice: MaskChoice, shard: ShardFolder) -> Encoded | None:
    """The row's mask, white inside, or None where it has none or none is asked for. The card has the numbers."""
    if choice is None:
        return None
    columns = FIRST_MASKS if choice == "first" else (choice,)
    found = next((row.image(column) for column in columns if row.has(column)), None)
    shard.notes[WITHOUT_MASK if found is None else WITH_MASK] += 1
    return found


def put_image(shard: ShardFolder, above: str, row: Row, image: Encoded) -> str:
    """Write an image of a row below the folder `above`. Returns its path below the output folder."""
    return shard.put(f"{above}/{shard.folder}/{row.sample_id}.{image.suffix}", image.content)


def put_sources(shard: ShardFolder, above: str, row: Row) -> list[str]:
    """Write the source images of a row: the first below `above`, the second below `<above>_2` and so on."""
    return [
        put_image(shard, f"{above}_{number}" if number > 1 else above, row, image)
        for number, image in enumerate(row.images("source_images"), start=1)
    ]


def one_source(row: Row, why: str) -> Encoded:
    """The row's one source image. Raises LeftOutError, with the reason, for a row with several."""
    sources = row.images("source_images")
    if len(sources) > 1:
        raise LeftOutError(LeftOut.SEVERAL_SOURCES, f"{len(sources)} source images; {why}")
    return sources[0]

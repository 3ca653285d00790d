"""InstructPix2Pix: a folder a pair with prompt.json, `0_0.jpg` and `0_1.jpg`, and seeds.json."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Format, Guide
from export.layouts.encodings import in_one_of
from export.layouts.image_files import one_source
from export.texts import json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

SEEDS = "seeds.json"
SEED = "0"
"""The seed in the names of a pair's files: each folder has one pair."""
USAGE = """\
Name this folder as `path` of the data in a training file, such as `configs/train.yaml`:

```bash
python main.py --name default --base configs/train.yaml --train --gpus 0
```"""


class InstructPix2Pix(Format):
    """A folder a pair, below a folder a shard."""

    name: ClassVar = "instruct-pix2pix"
    version: ClassVar = 1
    reader: ClassVar = "InstructPix2Pix (`EditDataset`)"
    source: ClassVar = "timothybrooks/instruct-pix2pix `edit_dataset.py` at 2afcb7e"
    carries: ClassVar = {
        Content.CAPTIONS: "`input` and `output` of prompt.json",
        Content.IDS: "the name of the folder",
    }
    encoding: ClassVar = "JPEG as stored, byte for byte; PNG and WebP as JPEG of quality 95, as file names end in .jpg"

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's folder and its line of the list."""
        with shard.lines(SEEDS) as lines:

            def add(row: Row) -> None:
                pair = (one_source(row, "it takes one"), row.image("target_image"))
                images = [in_one_of(one, ("jpg",), "jpg", shard) for one in pair]
                folder = f"{shard.folder}/{row.sample_id}"
                prompt = {
                    "input": row.text("source_caption"), "edit": row.text(self.caption),
                    "output": row.text("target_caption"),
                }  # fmt: skip
                files = {f"{SEED}_{number}.jpg": image.content for number, image in enumerate(images)}
                shard.put_folder(folder, {**files, "prompt.json": json_line(prompt)})
                lines.add([folder, [SEED]])

            yield add

    def finish(self, export: Exported) -> Guide:
        """Join the list of pairs."""
        export.join(SEEDS, as_array=True)
        return Guide(usage=USAGE, files={SEEDS: "the folders of all pairs, with the seeds in their file names"})

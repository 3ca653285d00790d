"""FireRed-Image-Edit: pairs.jsonl with instruction and inverse instruction, beside image files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Guide
from export.layouts.image_files import put_image, put_sources
from export.layouts.lines import START, LinesFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

LINES = "pairs.jsonl"
USAGE = f"""\
First extract embeddings with the extraction of the repository's `train/` folder, then train on its output:

```bash
torchrun --nproc_per_node=1 src/extract_vlm_embeds.py EXPORT/pairs.jsonl \\
  --output_jsonl_dir META/pairs --embeddings_save_dir EMBEDDINGS --model_path MODEL
```

with this folder for `EXPORT`. Rows without a reverse instruction have an empty one: add `--disable_inverse` where no
row has one. The target is there under both keys that the trainer's files use, `target_image` (its README) and
`edit_image` (its code). {START}"""


class FireRed(LinesFormat):
    """A line a pair. The keys for Chinese texts are there, and empty."""

    name: ClassVar = "firered"
    version: ClassVar = 1
    reader: ClassVar = "FireRed-Image-Edit (`train/`)"
    source: ClassVar = (
        "FireRedTeam/FireRed-Image-Edit `train/README.md` at 2721157, `train/src/data_provider.py` and "
        "`train/src/extract_vlm_embeds.py` at f475bfe"
    )
    carries: ClassVar = {
        Content.SOURCES: "a list under `source_image`",
        Content.REVERSE: "`inverse_instruction`",
        Content.IDS: "the name of the image files",
    }

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images and its line."""
        with shard.lines(LINES) as lines:

            def add(row: Row) -> None:
                sources = self.all_placed(put_sources(shard, "source", row))
                target = self.placed(put_image(shard, "target", row, row.image("target_image")))
                lines.add({
                    "source_image": sources[0] if len(sources) == 1 else sources, "target_image": target,
                    "edit_image": target, "instruction": row.text(self.caption), "instruction_cn": "",
                    "inverse_instruction": row.text("reverse_instruction"), "inverse_instruction_cn": "",
                })  # fmt: skip

            yield add

    def finish(self, export: Exported) -> Guide:
        """Join the lines."""
        export.join(LINES)
        return Guide(usage=USAGE, files={LINES: "a line a row"})

"""DiffSynth-Studio: metadata.jsonl with `image`, `prompt` and `edit_image`, beside image files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

from export.format import Content, Format, Guide
from export.layouts.image_files import put_image, put_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

METADATA = "metadata.jsonl"
USAGE = """\
Name this folder and its metadata in the training command, and the key of the source images among the files:

```bash
accelerate launch examples/qwen_image/model_training/train.py \\
  --dataset_base_path EXPORT --dataset_metadata_path EXPORT/metadata.jsonl \\
  --data_file_keys image,KEY --extra_inputs KEY
```

with this folder for `EXPORT`, `KEY` for `KEY`, and the model's own options."""


class DiffSynth(Format):
    """A line a pair. Qwen-Image-Edit, FLUX.2 and FireRed read `edit_image`, FLUX.1 Kontext `kontext_images`."""

    name: ClassVar = "diffsynth"
    version: ClassVar = 1
    reader: ClassVar = "DiffSynth-Studio (`examples/*/model_training/train.py`)"
    source: ClassVar = "modelscope/DiffSynth-Studio `diffsynth/core/data/unified_dataset.py` at 030ebe6"
    carries: ClassVar = {
        Content.SOURCES: "a list of paths under the key of the source images",
        Content.IDS: "the name of the image files",
    }

    key: Literal["edit_image", "kontext_images"] = "edit_image"
    """The key of the source images: which one a model reads is in its example script."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images and its line."""
        with shard.lines(METADATA) as lines:

            def add(row: Row) -> None:
                sources = put_sources(shard, "source", row)
                target = put_image(shard, "target", row, row.image("target_image"))
                one_or_more = sources[0] if len(sources) == 1 else sources
                lines.add({"image": target, "prompt": row.text(self.caption), self.key: one_or_more})

            yield add

    def finish(self, export: Exported) -> Guide:
        """Join the lines."""
        export.join(METADATA)
        files = {METADATA: "a line a row: paths below this folder, and the text"}
        return Guide(
            usage=USAGE.replace("KEY", self.key).replace(f"`{self.key}` for `{self.key}`, and", "and"), files=files
        )

"""OmniGen2: edit.jsonl with instruction, input images and output image, and the file that names it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Guide
from export.layouts.image_files import put_image, put_sources
from export.layouts.lines import START, LinesFormat
from export.layouts.paired import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

LINES, CONFIG = "edit.jsonl", "mix.yml"
USAGE = f"""\
Name `mix.yml` as `data_path` in the training options of OmniGen2, such as `options/ft.yml`, and follow its
`docs/FINETUNE.md`:

```bash
accelerate launch train.py --config options/ft.yml
```

{START}"""


class OmniGen2(LinesFormat):
    """A line a pair, with the task type `edit`."""

    name: ClassVar = "omnigen2"
    version: ClassVar = 1
    reader: ClassVar = "OmniGen2 (`data_path` of the training options)"
    source: ClassVar = "VectorSpaceLab/OmniGen2 `omnigen2/dataset/omnigen2_train_dataset.py` at 63a3b7b"
    carries: ClassVar = {Content.SOURCES: "`input_images`, in their order", Content.IDS: "the name of the image files"}

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images and its line."""
        with shard.lines(LINES) as lines:

            def add(row: Row) -> None:
                sources = put_sources(shard, "source", row)
                target = put_image(shard, "target", row, row.image("target_image"))
                lines.add({
                    "task_type": "edit", "instruction": row.text(self.caption),
                    "input_images": self.all_placed(sources), "output_image": self.placed(target),
                })  # fmt: skip

            yield add

    def finish(self, export: Exported) -> Guide:
        """Join the lines, and write the file that names them."""
        export.join(LINES)
        export.write(
            CONFIG, f"ratio_type: inside_ratio\n\ndata:\n  - path: {quoted(self.placed(LINES))}\n    ratio: 1\n"
        )
        files = {LINES: "a line a row", CONFIG: "the list of data with its share, for `data_path`"}
        return Guide(usage=USAGE, files=files)

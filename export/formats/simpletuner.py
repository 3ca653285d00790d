"""SimpleTuner: paired folders in which files of a row have the same name, and multidatabackend.json."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from export.format import Content, Guide
from export.layouts.encodings import in_the_same, white_mask
from export.layouts.image_files import MaskChoice, mask_of
from export.layouts.paired import MASK, TARGET, PairedFormat, group_of, images_of, pair_folders, put_pair, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

CONFIG = "multidatabackend.json"
MOST_SOURCES = 3
USAGE = """\
Name `multidatabackend.json` as `data_backend_config` of a training, for example of a model family that edits:

```bash
simpletuner train --data_backend_config EXPORT/multidatabackend.json …
```

with this folder for `EXPORT`. Folders that begin with `2-sources/` or more are for models that take as many reference
images, such as `edit-v2` of `qwen_image`: leave their entries out for others. The caches of latents and texts lie
below `cache/`. Where `mask` is set, files of a row are PNG, since SimpleTuner wants one name and one ending for all
files of a row, and a mask as JPEG would have no sharp edge."""


class SimpleTuner(PairedFormat):
    """Targets with captions, up to three folders of references, masks as a further conditioning set."""

    name: ClassVar = "simpletuner"
    version: ClassVar = 1
    reader: ClassVar = "SimpleTuner (`data_backend_config`)"
    source: ClassVar = (
        "bghira/SimpleTuner `documentation/quickstart/QWEN_EDIT.md` at 2bc39ed, `documentation/DATALOADER.md`"
    )
    carries: ClassVar = {
        Content.SOURCES: "a conditioning set each, up to three; rows with more are left out",
        Content.MASK: "a conditioning set of the type `mask`, white where the loss counts, if `mask` is set",
        Content.IDS: "the name of the files",
    }
    encoding: ClassVar = "as stored, byte for byte; where files of a row have several encodings, as PNG"

    mask: MaskChoice = None
    """The column of the mask, or `first`: region_mask_png where a row has it, else source_mask_png."""
    conditioning_type: Literal["reference_strict", "reference_loose"] = "reference_strict"
    """Strict: references are cut as their targets are. Loose: they keep their own shape."""
    resolution: int = Field(default=1024, ge=64)
    """Side of images in pixels, for the trainer's file."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images, caption and mask, all with one ending."""

        def add(row: Row) -> None:
            images = images_of(row, MOST_SOURCES, self.name)
            if self.mask is None:
                put_pair(shard, row, in_the_same(images, shard), row.text(self.caption), None)
                return
            mask = mask_of(row, self.mask, shard) or white_mask(images[0])
            put_pair(shard, row, in_the_same([*images, mask], shard)[:-1], row.text(self.caption), mask)

        yield add

    def finish(self, export: Exported) -> Guide:
        """Write the list of data backends."""
        numbers = sorted({folder.num_sources for folder in pair_folders(export)})
        backends = [backend for number in numbers for backend in self._backends(self.begin(export), number)]
        texts = {
            "id": "texts", "type": "local", "dataset_type": "text_embeds", "default": True,
            "cache_dir": f"{self.begin(export)}/cache/texts",
        }  # fmt: skip
        export.write(CONFIG, json.dumps([*backends, texts], indent=2, ensure_ascii=False) + "\n")
        return Guide(usage=USAGE, files={CONFIG: "the data backends: targets, references, masks, cache of texts"})

    def _backends(self, begin: str, num_sources: int) -> Iterator[dict[str, Any]]:
        group = group_of(num_sources)
        prefix = group.replace("/", "-")
        sources = {source_of(number): str(self.conditioning_type) for number in range(1, num_sources + 1)}
        conditioning = sources | ({MASK: "mask"} if self.mask is not None else {})
        shared = {"type": "local", "resolution": self.resolution, "resolution_type": "pixel"}
        yield {
            "id": f"{prefix}{TARGET}", **shared, "instance_data_dir": f"{begin}/{group}{TARGET}",
            "caption_strategy": "textfile", "conditioning_data": [f"{prefix}{name}" for name in conditioning],
            "cache_dir_vae": f"{begin}/cache/vae/{prefix}{TARGET}",
        }  # fmt: skip
        for name, kind in conditioning.items():
            yield {
                "id": f"{prefix}{name}", **shared, "dataset_type": "conditioning", "conditioning_type": kind,
                "instance_data_dir": f"{begin}/{group}{name}", "source_dataset_id": f"{prefix}{TARGET}",
                "caption_strategy": None, "cache_dir_vae": f"{begin}/cache/vae/{prefix}{name}",
            }  # fmt: skip

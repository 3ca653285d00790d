"""SimpleTuner's Flow-DPO: a folder of better edits with texts, one of rejected edits, and one of masks if asked for."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from export.format import Content, Guide
from export.layouts.encodings import in_the_same, white_mask
from export.layouts.image_files import MaskChoice, loss_mask_of
from export.layouts.paired import MASK, TARGET, PairedFormat, put_target
from export.layouts.preferences import NEEDS, REJECTED, check_sizes, edits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

CONFIG = "multidatabackend.json"
USAGE = """\
Name `multidatabackend.json` as `data_backend_config` of a training of a LoRA on a flow-matching model:

```bash
simpletuner train --data_backend_config EXPORT/multidatabackend.json --model_type lora \\
  --distillation_method flow_dpo …
```

with this folder for `EXPORT`. Flow-DPO takes the first set of the type `reference_strict` as the rejected images, so
there is no place for the source images: the models see the text alone, and the text describes the edited image. Rows
whose two edits differ in size are left out, because the trainer stops at such a batch. Where `mask` is set, the loss
counts inside of the mask, and files of a row are PNG."""


class SimpleTunerDpo(PairedFormat):
    """Better edits with texts, rejected edits as strict references, masks as a further conditioning set."""

    name: ClassVar = "simpletuner-dpo"
    version: ClassVar = 2
    reader: ClassVar = "SimpleTuner (`distillation_method = flow_dpo`)"
    source: ClassVar = (
        "bghira/SimpleTuner `documentation/experimental/FLOW_DPO.md`, "
        "`simpletuner/helpers/distillation/flow_dpo/distiller.py` at 1b1d39b"
    )
    direction: ClassVar = (
        "The better edit carries the text (`{caption}`), the rejected edit is its strict reference. The source image "
        "has no place."
    )
    needs: ClassVar = NEEDS
    carries: ClassVar = {
        Content.REJECTED: "`rejected/`, under the name of the better edit",
        Content.MASK: "a set of the type `mask`, white where the loss counts, where the setting `mask` asks for it",
        Content.IDS: "the name of the files",
    }
    encoding: ClassVar = "as stored, byte for byte; where files of a row have several encodings, as PNG"

    caption: Literal["instruction", "target_caption"] = "target_caption"
    """The text of both edits. The instruction alone describes no image."""
    mask: MaskChoice = None
    """The column of the mask, or `first`: region_mask_png where a row has it, else source_mask_png."""
    resolution: int = Field(default=1024, ge=64)
    """Side of images in pixels, for the trainer's file."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's two edits, text and mask, all with one ending."""

        def add(row: Row) -> None:
            edits = edits_of(row)
            check_sizes(*edits)
            masks = [] if self.mask is None else [loss_mask_of(row, self.mask, shard) or white_mask(edits[0])]
            chosen, *others = in_the_same([*edits, *masks], shard)
            name = f"{shard.folder}/{row.sample_id}"
            for folder, image in zip((REJECTED, MASK), others, strict=False):
                shard.put(f"{folder}/{name}.{image.suffix}", image.content)
            put_target(shard, f"{TARGET}/{name}", chosen, row.text(self.caption))

        yield add

    def finish(self, export: Exported) -> Guide:
        """Write the list of data backends."""
        export.write(CONFIG, json.dumps(list(self._backends(self.begin(export))), indent=2, ensure_ascii=False) + "\n")
        return Guide(
            usage=USAGE, files={CONFIG: "the data backends: better edits, rejected edits, masks, cache of texts"}
        )

    def _backends(self, begin: str) -> Iterator[dict[str, Any]]:
        shared = {"type": "local", "resolution": self.resolution, "resolution_type": "pixel"}
        conditioning = {REJECTED: "reference_strict"} | ({} if self.mask is None else {MASK: "mask"})
        yield {
            "id": TARGET, **shared, "dataset_type": "image", "instance_data_dir": f"{begin}/{TARGET}",
            "caption_strategy": "textfile", "conditioning_data": list(conditioning),
            "cache_dir_vae": f"{begin}/cache/vae/{TARGET}",
        }  # fmt: skip
        for name, kind in conditioning.items():
            yield {
                "id": name, **shared, "dataset_type": "conditioning", "conditioning_type": kind,
                "instance_data_dir": f"{begin}/{name}", "source_dataset_id": TARGET, "caption_strategy": None,
                "cache_dir_vae": f"{begin}/cache/vae/{name}",
            }  # fmt: skip
        yield {
            "id": "texts", "type": "local", "dataset_type": "text_embeds", "default": True,
            "cache_dir": f"{begin}/cache/texts",
        }  # fmt: skip

"""OneTrainer: one folder of targets, with captions, masks and one condition image beside them, and concepts.json."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Guide
from export.layouts.encodings import in_one_of
from export.layouts.image_files import MaskChoice, mask_of
from export.layouts.paired import TARGET, PairedFormat, images_of, put_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

CONFIG = "concepts.json"
USAGE = """\
Use `concepts.json` as the file of concepts of a configuration, or add its entry in the window of concepts. Switch on
*Masked training* for the masks, and *Custom conditioning image* for the source images.

OneTrainer takes a condition image only for models that fill in a part of an image (FLUX.1 Fill, inpainting models of
Stable Diffusion). It does not train FLUX.1 Kontext, FLUX.2 or Qwen-Image-Edit on pairs: for those models it sees
targets and captions alone. A row without a mask is trained on whole."""


class OneTrainer(PairedFormat):
    """A target with its caption, `-condlabel.png` (source) and `-masklabel.png` (mask, white is trained)."""

    name: ClassVar = "onetrainer"
    version: ClassVar = 1
    reader: ClassVar = "OneTrainer (concepts)"
    source: ClassVar = "Nerogar/OneTrainer `modules/dataLoader/mixin/DataLoaderText2ImageMixin.py` at 0069c35"
    carries: ClassVar = {
        Content.MASK: "`<sample_id>-masklabel.png`: white where the loss counts",
        Content.IDS: "the name of the files",
    }
    encoding: ClassVar = "targets as stored, byte for byte; source images as PNG"

    mask: MaskChoice = "first"
    """The column of the mask; `first` is region_mask_png where a row has it, else source_mask_png."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's files side by side."""

        def add(row: Row) -> None:
            target, source = images_of(row, 1, self.name)
            condition = in_one_of(source, ("png",), "png", shard)
            mask = mask_of(row, self.mask, shard)
            place = f"{TARGET}/{shard.folder}/{row.sample_id}"
            shard.put(f"{place}-condlabel.png", condition.content)
            if mask is not None:
                shard.put(f"{place}-masklabel.png", mask.content)
            put_target(shard, place, target, row.text(self.caption))

        yield add

    def finish(self, export: Exported) -> Guide:
        """Write the concept: the folder of targets with its sub-folders."""
        concept = {
            "name": export.dataset.name, "path": f"{self.begin(export)}/{TARGET}", "enabled": True,
            "include_subdirectories": True, "text": {"prompt_source": "sample"},
        }  # fmt: skip
        export.write(CONFIG, json.dumps([concept], indent=2, ensure_ascii=False) + "\n")
        return Guide(usage=USAGE, files={CONFIG: "the concept, which includes all sub-folders"})

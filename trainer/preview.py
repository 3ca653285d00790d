"""Sample grids: a few sources, edited with the weights as they are, next to their targets if any.

An editor is given its image and the fields that it needs, each from the column of the same meaning. Fields that it only
uses where they are there are left out, so that a preview shows the weights and not a mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.errors import ContractError
from models.protocols import EditRequest
from trainer.batch import collate
from trainer.data import first_samples
from trainer.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.protocols import Editor
    from samples.shards import ShardList
    from trainer.batch import Batch
    from trainer.decode import Sample

COLUMNS = {
    "instruction": "instruction", "source_caption": "source_caption", "target_caption": "target_caption",
    "mask": "source_mask_png",
}  # fmt: skip
"""Field of an EditRequest -> column that has it."""
SOURCE, TARGET = "source_images", "target_image"


class Previewer:
    """The editor of a training and the first samples of its datasets, by columns that the recipe need not read."""

    def __init__(self, editor: Editor, datasets: Sequence[ShardList], size_px: int) -> None:
        """Raises ContractError for an editor that needs a field which no column has."""
        for field in sorted(editor.needs - {"image"}):
            if field not in COLUMNS:
                raise ContractError(
                    f"the recipe's editor needs {field!r}, which previews cannot give it; set run_on.preview_every=0"
                )
        self._editor, self._datasets = editor, datasets
        self._fields = [field for field in COLUMNS if field in editor.needs]
        needed = (SOURCE, *(COLUMNS[field] for field in self._fields))
        self._decoder = Decoder(size_px=size_px, required=needed, optional=(TARGET,))

    def grid(self, num_samples: int, seed: int) -> Image.Image:
        """One row a sample, as many of each dataset: source, edit, target. `seed` and the row decide the noise."""
        samples: list[Sample] = []
        for place, dataset in enumerate(self._datasets):
            count = (num_samples - place - 1) // len(self._datasets) + 1
            samples += first_samples(dataset, self._decoder, count)
        batch = collate(samples, self._decoder, "the preview")
        seeds = [(seed * 1009 + row) % 2**63 for row in range(len(batch))]
        edited = self._editor.edit(self._requests(batch), seeds=seeds)
        targets = [as_images(batch[TARGET])] if TARGET in batch else []
        return _grid([as_images(batch[SOURCE][0]), edited, *targets])

    def _requests(self, batch: Batch) -> list[EditRequest]:
        images = as_images(batch[SOURCE][0])
        given = {field: batch[COLUMNS[field]] for field in self._fields}
        if "mask" in given:
            given["mask"] = (given["mask"][:, 0] > 0.5).cpu().numpy()
        return [
            EditRequest(image=image, **{field: values[row] for field, values in given.items()})
            for row, image in enumerate(images)
        ]


def _grid(columns: list[list[Image.Image]]) -> Image.Image:
    width, height = columns[0][0].size
    canvas = Image.new("RGB", (len(columns) * width, len(columns[0]) * height))
    for place, images in enumerate(columns):
        for row, image in enumerate(images):
            canvas.paste(image, (place * width, row * height))
    return canvas


def as_images(image_BCHW: Tensor) -> list[Image.Image]:
    """Images from -1 to 1 as Pillow's."""
    pixels_BHWC = ((image_BCHW.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(pixels_HWC)) for pixels_HWC in pixels_BHWC]

"""Sample grids: a few sources, edited with the weights as they are, next to their targets if any.

An editor is given its image and the fields that it needs or was trained on, each from the column of the same meaning,
and of examples the first.
Other fields that it can use are left out, so that a preview shows the weights and not a mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from PIL import Image

from core.errors import ContractError
from models.protocols import EditRequest
from trainer.data import first_samples
from trainer.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.protocols import Editor
    from samples.shards import ShardList
    from trainer.decode import Sample

COLUMNS = {
    "instruction": "instruction", "source_caption": "source_caption", "target_caption": "target_caption",
    "mask": "source_mask_png",
}  # fmt: skip
"""Field of an EditRequest -> column that has it."""
TRAINED_COLUMNS = {"mask": "region_mask_png", "target_caption": "target_caption"}
"""Field that a network is trained on, where a sample has it -> column that has it."""
EXAMPLES = ("example_source_images", "example_target_images")
"""Columns of an editor's examples, where it is trained on them."""
SOURCE, TARGET = "source_images", "target_image"


@runtime_checkable
class DrawsPictures(Protocol):
    """An editor that can show how it understands requests."""

    def pictures(self, requests: Sequence[EditRequest]) -> list[Image.Image]:
        """One picture a request, all of one size where the images are, and as high as its image."""
        ...


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
        needed = {field: name for field, name in COLUMNS.items() if field in editor.needs}
        trained = {field: name for field, name in TRAINED_COLUMNS.items() if field in editor.trained_on}
        self._columns = {**needed, **trained}
        examples = EXAMPLES if "examples" in editor.trained_on else ()
        self._decoder = Decoder(
            size_px=size_px, required=(SOURCE, *needed.values()), optional=(TARGET, *trained.values(), *examples)
        )

    def grid(self, num_samples: int, seed: int) -> Image.Image:
        """One row a sample, as many of each dataset: source, the editor's own picture if any, edit, target.

        `seed` and the row decide the noise.
        """
        samples: list[Sample] = []
        for place, dataset in enumerate(self._datasets):
            count = (num_samples - place - 1) // len(self._datasets) + 1
            samples += first_samples(dataset, self._decoder, count)
        requests = [self._request(sample) for sample in samples]
        edited = self._editor.edit(requests, seeds=[(seed * 1009 + row) % 2**63 for row in range(len(samples))])
        sources = [request.image for request in requests]
        targets = [Image.fromarray(sample.values[TARGET]) for sample in samples if TARGET in sample.values]
        pictures = self._editor.pictures(requests) if isinstance(self._editor, DrawsPictures) else []
        columns = [sources, pictures, edited, targets if len(targets) == len(samples) else []]
        return _grid([images for images in columns if images])

    def _request(self, sample: Sample) -> EditRequest:
        given = {field: sample.values[name] for field, name in self._columns.items() if name in sample.values}
        before, after = (sample.values.get(name, ())[:1] for name in EXAMPLES)
        pairs = zip(before, after, strict=False)
        examples = tuple((Image.fromarray(one), Image.fromarray(other)) for one, other in pairs)
        return EditRequest(image=Image.fromarray(sample.values[SOURCE][0]), examples=examples, **given)


def _grid(columns: list[list[Image.Image]]) -> Image.Image:
    height = columns[0][0].height
    canvas = Image.new("RGB", (sum(images[0].width for images in columns), len(columns[0]) * height))
    left = 0
    for images in columns:
        for row, image in enumerate(images):
            canvas.paste(image, (left, row * height))
        left += images[0].width
    return canvas

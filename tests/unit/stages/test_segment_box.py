"""Masks of boxes as 8-bit PNG files."""

import io

import numpy as np
from _inputs import jpeg, table
from PIL import Image

from models.protocols import BoxMasks
from pipeline.context import Context
from samples.stored_images import mask_array
from stages.regions.shapes import filled_boxes
from stages.segment_box import SegmentBox


class Filler:
    """The mask of a box is the box."""

    def segment_boxes(self, images, boxes_BN4):
        masks = [
            [filled_boxes([box], image.height, image.width) for box in boxes_N4]
            for image, boxes_N4 in zip(images, boxes_BN4, strict=True)
        ]
        return [BoxMasks(np.array(of_image), np.ones(len(of_image))) for of_image in masks]


def test_every_box_has_a_mask_of_the_images_size():
    rows = table(
        source_images=[[jpeg(1)], [jpeg(2, (50, 40))], [jpeg(3)]],
        object_boxes=[[[0, 0, 10, 10], [5, 6, 7, 9]], [[1, 1, 3, 2]], None],
    )
    ctx = Context(stage_name="segment_box", loader=lambda *_: Filler())
    found = SegmentBox(model="zoo:sam").open(ctx)(rows)["object_masks_png"].to_pylist()
    assert [len(pngs) for pngs in found] == [2, 1, 0]
    image = Image.open(io.BytesIO(found[0][1]))
    assert (image.mode, image.size) == ("L", (96, 80))
    assert mask_array(found[0][1]).sum() == 6
    assert mask_array(found[1][0]).shape == (40, 50)

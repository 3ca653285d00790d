"""Segment Anything through transformers: the mask of the thing in a box.

Source  Kirillov et al. 2023, Segment Anything. A box is one prompt, and for a single prompt the paper takes the three
masks of the ambiguity-aware head (appendix A: the fourth, single mask is returned for several prompts only) and goes
on with the most confident one (appendix D.4, boxes of a detector). So does this wrapper: of three masks the one with
the highest predicted IoU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import as_rgb, same_length
from models.placement import in_batches
from models.pretrained import load_pretrained
from models.protocols import BoxMasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

BOXES_AT_ONCE = 16
"""Boxes of one image that are decoded together; bounds the memory their masks take at the image's size."""

# B rows, N boxes, K masks a box, h w the model's pixels, H W pixels


class Sam:
    """A BoxSegmenter over a `SamModel` checkpoint, for example facebook/sam-vit-huge."""

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from transformers import SamModel, SamProcessor

        self._processor, self._model = load_pretrained(SamProcessor, SamModel, weights, placement)
        self._batch_size = placement.batch_size

    def segment_boxes(self, images: Sequence[Image], boxes_BN4: Sequence[Floats]) -> list[BoxMasks]:
        """For each image one mask a box (x0, y0, x1, y1 in pixels). An image without boxes gets none.

        An image is embedded once, however many boxes it has, and not at all without any. Raises ValueError when the
        two lists differ in length.
        """
        same_length(images=images, boxes=boxes_BN4)
        asked = [row for row, boxes_N4 in enumerate(boxes_BN4) if len(boxes_N4)]
        results = in_batches(self._segment, [(images[row], boxes_BN4[row]) for row in asked], self._batch_size)
        found = dict(zip(asked, results, strict=True))
        return [found[row] if row in found else _nothing(image) for row, image in enumerate(images)]

    def _segment(self, rows: Sequence[tuple[Image, Floats]]) -> list[BoxMasks]:
        import torch

        inputs = [self._inputs(image, boxes_N4) for image, boxes_N4 in rows]
        pixels_BCHW = torch.cat([entry["pixel_values"] for entry in inputs])
        with torch.inference_mode():
            emb_BDhw = self._model.get_image_embeddings(pixels_BCHW.to(self._model.device, self._model.dtype))
            return [self._decode(emb_Dhw[None], entry) for emb_Dhw, entry in zip(emb_BDhw, inputs, strict=True)]

    def _inputs(self, image: Image, boxes_N4: Floats) -> Any:
        """The processor's tensors: the image as the model takes it, the boxes in its pixels, both sizes."""
        boxes = [[float(edge) for edge in box] for box in boxes_N4]
        return self._processor(images=as_rgb([image]), input_boxes=[boxes], return_tensors="pt")

    def _decode(self, emb_1Dhw: Any, inputs: Any) -> BoxMasks:
        import numpy as np

        boxes_1N4 = inputs["input_boxes"].float()
        masks, scores = [], []
        for boxes in boxes_1N4.split(BOXES_AT_ONCE, dim=1):
            out = self._model(
                image_embeddings=emb_1Dhw, input_boxes=boxes.to(self._model.device), multimask_output=True
            )
            iou_NK, mask_NKhw = out.iou_scores[0].float(), out.pred_masks[0].float()
            best_N = iou_NK.argmax(dim=1)
            best_N1hw = mask_NKhw[range(len(best_N)), best_N][:, None]
            sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
            mask_N1HW = self._processor.post_process_masks([best_N1hw], *sizes)[0]
            masks.append(mask_N1HW[:, 0].cpu().numpy())
            scores.append(iou_NK.amax(dim=1).cpu().numpy())
        return BoxMasks(np.concatenate(masks), np.concatenate(scores))


def _nothing(image: Image) -> BoxMasks:
    import numpy as np

    return BoxMasks(np.zeros((0, image.height, image.width), np.bool_), np.zeros(0, np.float32))

"""Grounding DINO through transformers: boxes of the things that phrases name.

Source  Liu et al. 2023, Grounding DINO. The phrases of an image are read together, "red car. blue cat.", in lower case;
the library's post-processing gives boxes and scores (a box's score is its strongest token's).

Which phrase a box answers: the one whose tokens have the highest mean probability for that box, the earlier one when
two are equal. So the authors map tokens to classes in their COCO evaluation; and unlike the library's text labels,
which string together every token above a threshold ("red cat", "car cat"), the answer is always one of the phrases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import alike, as_rgb, same_length
from models.placement import in_batches
from models.pretrained import load_pretrained
from models.protocols import Detections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

# Q queries, N boxes, L tokens, P phrases


class GroundingDino:
    """A Detector over a `GroundingDinoForObjectDetection` checkpoint, for example IDEA-Research/grounding-dino-base."""

    def __init__(self, weights: Weights, placement: Placement) -> None:
        from transformers import AutoProcessor, GroundingDinoForObjectDetection

        self._processor, self._model = load_pretrained(
            AutoProcessor, GroundingDinoForObjectDetection, weights, placement
        )
        self._batch_size = placement.batch_size

    def detect(
        self, images: Sequence[Image], phrases: Sequence[Sequence[str]], *, threshold: float
    ) -> list[Detections]:
        """Boxes scoring at least `threshold`, for each image the phrases asked of it, as they were written there.

        Boxes lie within the image. Phrases that differ only in case, spaces or full stops count as the first of them;
        without any, the image is not looked at. Raises ValueError when the two lists differ in length, or when an
        image's phrases are more tokens than the model reads.
        """
        import numpy as np

        same_length(images=images, phrases=phrases)
        asked = [_normalised(of_image) for of_image in phrases]
        just_below = float(np.nextafter(np.float32(threshold), np.float32(-1)))  # the library keeps what is above

        def run(part: Sequence[int]) -> list[Detections]:
            return self._detect(as_rgb(images[row] for row in part), [asked[row] for row in part], just_below)

        found = dict.fromkeys(range(len(images)), _nothing())
        for rows in alike(image.size for image in images):
            to_ask = [row for row in rows if asked[row]]
            found |= zip(to_ask, in_batches(run, to_ask, self._batch_size), strict=True)
        return list(found.values())

    def _detect(self, images: list[Image], asked: list[dict[str, str]], above: float) -> list[Detections]:
        import torch

        texts = [". ".join(phrases) + "." for phrases in asked]
        inputs = self._processor(images=images, text=texts, padding=True, return_tensors="pt").to(self._model.device)
        self._check_length(inputs["input_ids"], texts)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            out = self._model(**inputs)
        out.logits, out.pred_boxes = out.logits.float(), out.pred_boxes.float()
        results = self._processor.post_process_grounded_object_detection(
            out, inputs["input_ids"], threshold=above, target_sizes=[(image.height, image.width) for image in images]
        )
        detections = []
        for row, (image, result) in enumerate(zip(images, results, strict=True)):
            prob_QL = out.logits[row].sigmoid()
            prob_NL = prob_QL[prob_QL.amax(dim=1) > above].cpu().numpy()
            encoding = self._processor.tokenizer(texts[row]).encodings[0]
            detections.append(_sorted(result, _answers(prob_NL, encoding, asked[row]), image))
        return detections

    def _check_length(self, ids_BL: Any, texts: list[str]) -> None:
        most = self._model.config.max_text_len
        if ids_BL.shape[1] > most:
            longest = max(texts, key=len)
            raise ValueError(
                f"the phrases of one image are {ids_BL.shape[1]} tokens, but the detector reads {most}; "
                f"ask for fewer phrases at once than {longest.count('.')}, or for shorter ones"
            )


def _normalised(phrases: Sequence[str]) -> dict[str, str]:
    """Each phrase as the model reads it, in lower case without separators -> as the caller wrote it, in order."""
    asked: dict[str, str] = {}
    for phrase in phrases:
        text = " ".join(phrase.lower().replace(".", " ").replace("?", " ").split())
        if text:
            asked.setdefault(text, phrase)
    return asked


def _answers(prob_NL: Floats, encoding: Any, asked: dict[str, str]) -> list[str]:
    """For each box the phrase whose tokens have the highest mean probability, as the caller wrote it."""
    import numpy as np

    mean_PN = np.full((len(asked), len(prob_NL)), -1.0)
    start = 0
    for place, phrase in enumerate(asked):
        end = start + len(phrase)
        tokens = [token for token, (first, last) in enumerate(encoding.offsets) if start <= first < last <= end]
        if tokens:
            mean_PN[place] = prob_NL[:, tokens].mean(axis=1)
        start = end + len(". ")
    written = list(asked.values())
    return [written[best] for best in mean_PN.argmax(axis=0)]


def _sorted(result: dict[str, Any], phrases: list[str], image: Image) -> Detections:
    import numpy as np

    scores_N = result["scores"].cpu().numpy()
    boxes_N4 = np.clip(result["boxes"].cpu().numpy(), 0, [image.width, image.height] * 2).astype(np.float32)
    order = np.argsort(-scores_N, kind="stable")
    return Detections(boxes_N4[order], scores_N[order], tuple(phrases[place] for place in order))


def _nothing() -> Detections:
    import numpy as np

    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())

"""An image model behind OpenAI's interface for image edits (`/v1/images/edits`), local or hosted.

Its images are not pinned: the interface has no seed, no number of steps and no guidance, and a server may change its
weights under the same name.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models.batches import as_rgb, same_length
from models.diffusion.masked import as_mask_image, check_mask_sizes, composed
from models.endpoint import Endpoint
from samples.image_limits import ImageProblem
from samples.images import decode_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Bools
    from models.schemes.weights import Weights

# H W pixels of the image

WITHOUT_FORMAT = ("gpt-image", "chatgpt-image")
"""Beginnings of names of models that refuse `response_format`, and always send the image itself."""
MAX_PIXELS = 4096 * 4096
"""Largest answer that is decoded."""


class OpenaiImages:
    """An EditSynthesizer that asks an endpoint, one request an image: image and mask as PNG files, and the prompt."""

    def __init__(self, weights: Weights, placement: Placement, *, timeout_s: float = 300.0) -> None:
        """Open no connection yet."""
        self._endpoint = Endpoint(weights, placement, "images/edits", "edited image", timeout_s=timeout_s)

    def inpaint(
        self,
        images: Sequence[Image],
        masks: Sequence[Bools],
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        num_steps: int,  # noqa: ARG002  the interface has none
        guidance_scale: float,  # noqa: ARG002  the same
    ) -> list[Image]:
        """One image a row, RGB, at the image's own size. Where the (H, W) mask is true it is repainted.

        Seeds, steps and guidance are not sent. An answer of another size is resized (Lanczos), and pixels outside the
        mask are copied from the input. Raises ConnectionError where the server does not answer, ModelError for a
        refused request or key and for an answer that is no image, ValueError for lists of different length and a mask
        of another size than its image.
        """
        same_length(images=images, masks=masks, prompts=prompts, seeds=seeds)
        check_mask_sizes(images, masks)
        inputs, mask_images = as_rgb(images), [as_mask_image(mask_HW) for mask_HW in masks]
        requests = [self._request(*row) for row in zip(inputs, mask_images, prompts, strict=True)]
        try:
            repainted = [self._image(answer) for answer in self._endpoint.send(requests)]
        except ValueError as error:
            raise ModelError(str(error)) from error
        return list(map(composed, inputs, mask_images, repainted))

    def _request(self, image: Image, mask: Image, prompt: str) -> dict[str, Any]:
        model = self._endpoint.model
        form = {"model": model, "prompt": prompt, "n": "1"}
        if not model.startswith(WITHOUT_FORMAT):
            form["response_format"] = "b64_json"
        cut_out = image.copy()
        cut_out.putalpha(mask.point(lambda value: 255 - value))  # transparent where it is to be repainted
        files = {
            "image": ("image.png", _png(image), "image/png"),
            "mask": ("mask.png", _png(cut_out), "image/png"),
        }
        return {"data": form, "files": files}

    def _image(self, answer: Any) -> Image:
        """The image of an answer. Raises ValueError for another answer, and for an image that is too large."""
        try:
            stored = base64.b64decode(answer["data"][0]["b64_json"], validate=True)
        except (KeyError, IndexError, TypeError, ValueError):
            raise self._endpoint.malformed(answer) from None
        try:
            return decode_image(stored, max_pixels=MAX_PIXELS)
        except ImageProblem as problem:
            raise self._endpoint.malformed(problem) from None


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()

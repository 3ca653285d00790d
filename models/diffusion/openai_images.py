"""An image model behind OpenAI's interface for image edits (`/v1/images/edits`), local or hosted.

Its images are not pinned: the interface has no seed, no number of steps and no guidance, and a server may change its
weights under the same name.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models.batches import as_rgb, same_length
from models.diffusion.masked import as_mask_image, check_mask_sizes, composed
from models.diffusion.openai_answers import image_of_edits
from models.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Bools
    from models.schemes.weights import Weights

# H W pixels of the image

WITHOUT_FORMAT = ("gpt-image", "chatgpt-image")
"""Beginnings of names of models that refuse `response_format`, and always send the image itself."""


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
        files = {"image": png_file("image", image), "mask": png_file("mask", cut_out(image, mask))}
        return {"data": form_of(self._endpoint.model, prompt), "files": files}

    def _image(self, answer: Any) -> Image:
        """The image of an answer. Raises ValueError for another answer, and for an image that is too large."""
        try:
            return image_of_edits(answer)
        except ValueError as problem:
            raise self._endpoint.malformed(problem) from None


def form_of(model: str, prompt: str) -> dict[str, str]:
    """The texts of a request for one edited image."""
    form = {"model": model, "prompt": prompt, "n": "1"}
    return form if model.startswith(WITHOUT_FORMAT) else {**form, "response_format": "b64_json"}


def cut_out(image: Image, mask: Image) -> Image:
    """The image, transparent where the mask is white: OpenAI's way to say where it is to be repainted."""
    found = image.copy()
    found.putalpha(mask.point(lambda value: 255 - value))
    return found


def png_file(name: str, image: Image) -> tuple[str, bytes, str]:
    """A file of a form: its name, its bytes, its type."""
    return f"{name}.png", png_of(image), "image/png"


def png_of(image: Image) -> bytes:
    """The image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()

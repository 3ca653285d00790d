"""An image editor behind OpenAI's interfaces: `/v1/images/edits`, or a chat whose messages hold images.

Hosted models are asked in OpenAI's own fields. vLLM-Omni serves open models (Qwen-Image-Edit, FLUX.2-klein) and also
takes a seed, steps, guidance and a mask that is white inside. Images are not pinned: a server may change its weights
under the same name. Sources: vLLM-Omni's docs/serving/image_edit_api.md at 00a3619, chat_completions_api.md at 1c153fe.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar

from core.errors import ModelError
from models.batches import as_rgb, same_length
from models.diffusion.edit_requests import check_masks, texts_of
from models.diffusion.masked import as_mask_image
from models.diffusion.openai_answers import image_of_chat, image_of_edits, tokens_of
from models.diffusion.openai_images import cut_out, form_of, png_file, png_of
from models.diffusion.openai_settings import OpenaiEditorSettings
from models.endpoint import Endpoint, RefusedRequest, ServerFault
from models.protocols import EditAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.endpoint import Reply
    from models.placement import Placement
    from models.protocols import EditRequest
    from models.schemes.weights import Weights

PATHS = {"images": "images/edits", "chat": "chat/completions"}


class OpenaiEditor:
    """An Editor that asks an endpoint, one request an image; `placement.batch_size` of them are under way at once.

    An image with a side longer than `max_side_px` is sent smaller. An answer of another size is resized (Lanczos) to
    that of the image, unless its shape differs by more than `max_shape_difference`.
    """

    Settings: ClassVar = OpenaiEditorSettings
    needs: frozenset[str] = frozenset({"instruction"})
    uses: frozenset[str] = frozenset({"mask"})
    """A chat takes no mask: then it is empty."""
    trained_on: frozenset[str] = frozenset()

    def __init__(
        self, weights: Weights, placement: Placement, settings: OpenaiEditorSettings, *, timeout_s: float = 300.0
    ) -> None:
        """Open no connection yet."""
        self._settings = settings
        self._endpoint = Endpoint(weights, placement, PATHS[settings.ask], "edited image", timeout_s=timeout_s)
        self.uses = self.uses if settings.ask == "images" else frozenset()

    def edit(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[Image]:
        """One image a request, RGB, at the image's own size. Raises as `answer`, and ModelError for the first fault."""
        images = []
        for answer in self.answer(requests, seeds=seeds):
            if answer.image is None:
                raise ModelError(answer.detail)
            images.append(answer.image)
        return images

    def answer(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[EditAnswer]:
        """What came of each request: an image, or the fault of that request alone.

        Raises ConnectionError where the server does not answer, ModelError for a refused key and an unknown address or
        model, ValueError for lists of different length, a request without instruction, a mask of another size, and a
        mask in a chat.
        """
        same_length(requests=requests, seeds=seeds)
        texts = texts_of(requests, "instruction", "this editor is led by it")
        check_masks(requests)
        if self._settings.ask == "chat" and any(one.mask is not None for one in requests):
            raise ValueError('a chat takes no mask; leave it out, or set ask = "images"')
        images = as_rgb(one.image for one in requests)
        make = self._form if self._settings.ask == "images" else self._chat
        bodies = [make(*row) for row in zip(requests, images, texts, seeds, strict=True)]
        replies = self._endpoint.send_each(bodies)
        raise_faults(replies)
        return [self._answer(reply, image) for reply, image in zip(replies, images, strict=True)]

    def _form(self, request: EditRequest, image: Image, text: str, seed: int) -> dict[str, Any]:
        sent = self._sent(image)
        files = {"image": png_file("image", sent)}
        if request.mask is not None:
            mask = as_mask_image(request.mask).resize(sent.size)
            is_white_inside = self._settings.server == "vllm-omni"
            name, picture = ("mask_image", mask) if is_white_inside else ("mask", cut_out(sent, mask))
            files[name] = png_file("mask", picture)
        further = {name: _form_text(value) for name, value in self._settings.sampling(seed).items()}
        return {"data": form_of(self._endpoint.model, text) | further, "files": files}

    def _chat(self, _request: EditRequest, image: Image, text: str, seed: int) -> dict[str, Any]:
        url = f"data:image/png;base64,{base64.b64encode(png_of(self._sent(image))).decode()}"
        content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        body = {"model": self._endpoint.model, "messages": [{"role": "user", "content": content}]}
        further = self._settings.sampling(seed)
        if self._settings.server == "vllm-omni":
            return {"json": {**body, "extra_body": further}}
        return {"json": {**body, **further}}

    def _sent(self, image: Image) -> Image:
        """The image as it is sent: a copy, smaller where a side is too long."""
        sent = image.copy()
        sent.thumbnail((self._settings.max_side_px, self._settings.max_side_px))
        return sent

    def _answer(self, reply: Reply, image: Image) -> EditAnswer:
        if reply.problem is not None:
            return EditAnswer(
                fault="refused" if isinstance(reply.problem, RefusedRequest) else "no_image",
                detail=str(reply.problem), seconds=reply.seconds,
            )  # fmt: skip
        first, second = tokens_of(reply.answer)
        found, detail = None, ""
        try:
            edited = (image_of_edits if self._settings.ask == "images" else image_of_chat)(reply.answer)
            found = self._fitted(edited, image.size)
        except ValueError as problem:
            detail = str(self._endpoint.malformed(problem))
        return EditAnswer(
            image=found, fault=None if found else "no_image", detail=detail, input_tokens=first, output_tokens=second,
            seconds=reply.seconds,
        )  # fmt: skip

    def _fitted(self, edited: Image, size: tuple[int, int]) -> Image:
        """The answer at the size of the image. Raises ValueError for one of another shape."""
        from PIL import Image

        ratio = edited.width / edited.height / (size[0] / size[1])
        if max(ratio, 1 / ratio) > 1 + self._settings.max_shape_difference:
            raise ValueError(f"it has {edited.width} x {edited.height} px, the image {size[0]} x {size[1]}")
        return edited if edited.size == size else edited.resize(size, Image.Resampling.LANCZOS)


def raise_faults(replies: Sequence[Reply]) -> None:
    """Raise what is the server's fault: it was not reached or was busy, or it failed at every request.

    A request at which it fails every time (HTTP 500) costs no other while another one is answered.
    """
    faults = [reply.problem for reply in replies if isinstance(reply.problem, ConnectionError)]
    for fault in faults:
        if not isinstance(fault, ServerFault) or len(faults) == len(replies):
            raise fault


def _form_text(value: Any) -> str:
    """A value as a form has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)

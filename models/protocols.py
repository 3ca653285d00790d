"""Protocols of models, one a task, each served by several libraries.

Images are RGB PIL images of any size, one or many; sizes may differ within a call. Arrays come back in numpy on the
CPU. Wrappers batch inside: callers pass what they have. A shape suffix names the axes: B rows, D embedding, N boxes,
H W pixels of the image that was passed in. Protocols of losses are in `models.loss_protocols`.

Besides its task a wrapper may have `prepare_images(images)`: the part of its work on images that needs no network, on
the CPU, safe in any thread. What it returns may be passed in the place of the images and gives the same numbers, and
`prepare_images` returns that unchanged. Stages call it by `models.batches.prepared`. A Detector that knows a fixed set
of things, and not any phrase, has `labels`, as an ImageClassifier has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    Floats = npt.NDArray[np.float32]
    Bools = npt.NDArray[np.bool_]


class Detections(NamedTuple):
    """Boxes of one image: (x0, y0, x1, y1) in pixels, scores 0 to 1 from high to low, phrases."""

    boxes_N4: Floats
    scores_N: Floats
    phrases: tuple[str, ...]


class BoxMasks(NamedTuple):
    """Masks of one image's boxes, and the model's own estimate of each mask's IoU, about 0 to 1."""

    masks_NHW: Bools
    scores_N: Floats


class Segments(NamedTuple):
    """A panoptic map of one image: each pixel's segment number (-1: none), each segment's label and score 0 to 1."""

    segment_HW: npt.NDArray[np.int32]
    labels: tuple[str, ...]
    scores: tuple[float, ...]


class Captioner(Protocol):
    """Describes images in a sentence."""

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image, stripped, never empty on purpose."""
        ...


class TextGenerator(Protocol):
    """Writes text from a prompt: an instruction-tuned language model."""

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        json_schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
    ) -> list[str]:
        """One continuation a prompt, without the prompt. Valid JSON under `json_schema` where one is given.

        With temperature 0 the likeliest tokens; else sampled, each prompt by its own seed. A continuation cut off at
        `max_new_tokens` may be unfinished JSON.
        """
        ...


class ImageTextEncoder(Protocol):
    """Encodes images and texts in one space, where the dot product is the cosine.

    `scale`, where an encoder has it, is what its training multiplied cosines by before the softmax.
    """

    dim: int

    def encode_images(self, images: Sequence[Image]) -> Floats:
        """(B, D), each row of length 1."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """(B, D), each row of length 1. A text longer than the model reads is cut."""
        ...


class ImageEncoder(Protocol):
    """Encodes images in a space where the dot product is the cosine."""

    dim: int

    def encode_images(self, images: Sequence[Image]) -> Floats:
        """(B, D), each row of length 1."""
        ...


class LatentEncoder(Protocol):
    """Encodes images in the latent space of a diffusion model."""

    factor: int

    def encode_latents(self, images: Sequence[Image]) -> list[Floats]:
        """(C, h, w) for each image, scaled as the UNet takes them. Images have one size, a multiple of `factor`."""
        ...


class TextConditioner(Protocol):
    """Encodes texts as the UNet of a diffusion model is conditioned on them."""

    def encode_prompts(self, texts: Sequence[str]) -> list[tuple[Floats, Floats | None]]:
        """Hidden states (L, D) of each text, padded or cut to L tokens, and its pooled embedding (D,) or None.

        Every text of a model has the same L and D. A row does not depend on the other texts, up to rounding.
        """
        ...


class TextSegmenter(Protocol):
    """Finds where a phrase is on an image."""

    def segment_phrases(self, images: Sequence[Image], phrases: Sequence[str]) -> list[Floats]:
        """One phrase an image: a (H, W) map of probabilities at the image's own size."""
        ...


class InstructionSegmenter(Protocol):
    """Finds where an instruction changes an image."""

    threshold: float
    """The probability above which its training took a pixel for the region."""

    def segment_instructions(self, images: Sequence[Image], instructions: Sequence[str]) -> list[Floats]:
        """One instruction an image: a (H, W) map of probabilities at the image's own size."""
        ...


class Detector(Protocol):
    """Finds boxes of the things that phrases name."""

    def detect(
        self, images: Sequence[Image], phrases: Sequence[Sequence[str]], *, threshold: float
    ) -> list[Detections]:
        """Boxes scoring at least `threshold`, for each image the phrases asked of it."""
        ...


class BoxSegmenter(Protocol):
    """Finds the mask of the thing in each box."""

    def segment_boxes(self, images: Sequence[Image], boxes_BN4: Sequence[Floats]) -> list[BoxMasks]:
        """For each image one mask a box (x0, y0, x1, y1 in pixels). An image without boxes gets none."""
        ...


class PanopticSegmenter(Protocol):
    """Divides an image into segments, each pixel once."""

    def segment_panoptic(self, images: Sequence[Image]) -> list[Segments]:
        """One map an image, at the image's own size."""
        ...


class Tagger(Protocol):
    """Gives words for the things on an image."""

    def tag(
        self, images: Sequence[Image], *, threshold: float, also: Sequence[Sequence[str]] = ()
    ) -> list[list[tuple[str, float]]]:
        """For each image (tag, score) from high to low, scores of at least `threshold`.

        `also` has, for each image, words that are tried on it besides the tagger's own, such as nouns of its caption.
        """
        ...


class ImageSynthesizer(Protocol):
    """Draws images from text."""

    def generate(
        self, prompts: Sequence[str], *, seeds: Sequence[int], num_steps: int, guidance_scale: float
    ) -> list[Image]:
        """One image a prompt at the model's own size. The noise depends on the seed alone."""
        ...


class EditSynthesizer(Protocol):
    """Paints a part of an image anew."""

    def inpaint(
        self,
        images: Sequence[Image],
        masks: Sequence[Bools],
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        num_steps: int,
        guidance_scale: float,
    ) -> list[Image]:
        """One image a row, at the image's own size. Pixels outside the (H, W) mask are those of the input."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairRequest:
    """What all candidates of one pair share: two captions, the image they are drawn over, and where they may change it.

    `anchor` None draws from noise alone. With a `region`, (H, W) of the anchor, what is outside stays as in the anchor.
    Inside `region` and outside `core`, the soft ring, each candidate says how much is made anew. `core` None: no ring.
    `edit` says how attention is shared: `refine` keeps the maps of words that both captions have, `replace` gives each
    word the map of the word at its place, where the captions have as many words, and refines elsewhere. `word_weights`
    are factors of the attention to words of the target caption while it is shared. `blend_words`, words of the source
    and of the target caption, keep the target as the source where neither is attended to.
    """

    source_caption: str
    target_caption: str
    anchor: Image | None = None
    region: Bools | None = None
    core: Bools | None = None
    edit: Literal["refine", "replace"] = "refine"
    word_weights: Mapping[str, float] = field(default_factory=dict)
    blend_words: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCandidate:
    """How one pair is drawn. What it leaves to chance hangs on `seed` alone.

    `num_steps` count from pure noise; the last `num_steps_run` of them are run. Without an anchor all are, whatever the
    strength. `cross_attention_frac` and `self_attention_frac` are shares of the run steps in which the target has the
    source's attention. `ring_frac` is the soft ring's value, None for 1.
    """

    seed: int
    num_steps: int
    strength: float = 1.0
    guidance_scale: float = 0.0
    cross_attention_frac: float = 0.5
    self_attention_frac: float = 0.5
    ring_frac: float | None = None

    @property
    def num_steps_run(self) -> int:
        """floor(num_steps * strength), at least 1."""
        # 0.57 * 100 is a little less than 57
        return min(self.num_steps, max(1, math.floor(self.num_steps * self.strength + 1e-9)))


class PairSynthesizer(Protocol):
    """Draws pairs of images that differ as their captions do."""

    def prepare(self, requests: Sequence[PairRequest]) -> list[Any]:
        """For each request all that no candidate changes: encoded captions, aligned words, latents, masks."""
        ...

    def synthesise(self, prepared: Sequence[Any], candidates: Sequence[PairCandidate]) -> list[tuple[Image, Image]]:
        """(source, target) a candidate, of the anchor's size, RGB. `prepared` has its request's; many may share one.

        A pair does not depend on the other pairs of the call, up to rounding.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EditRequest:
    """One edit: an image and how to change it. A field that is not known is None or empty.

    `instruction` says what to do. `source_caption` and `target_caption` describe the image before and after the edit.
    The image may change where `mask`, (H, W) of the image, is true. `examples` are pairs of images before and after.
    """

    image: Image
    instruction: str | None = None
    source_caption: str | None = None
    target_caption: str | None = None
    mask: Bools | None = None
    examples: tuple[tuple[Image, Image], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EditAnswer:
    """What came of one edit request: an image of the request's own size, or the fault that it has instead.

    `refused`: the request was not accepted, and `no_image`: nothing that can be used came back; `detail` says more.
    Tokens are those that the editor billed, None where it names none. `seconds` is the time until the answer.
    """

    image: Image | None = None
    fault: Literal["refused", "no_image"] | None = None
    detail: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0


class Editor(Protocol):
    """Changes images as requests say. How it samples is decided by its settings, when it is made.

    An editor that can fail on one request and serve the others also has `answer(requests, *, seeds)`, which gives an
    EditAnswer for each request. Stages call it by `models.edit_answers.answers_of`.
    """

    needs: frozenset[str]
    """Names of the EditRequest fields that every request must have."""
    uses: frozenset[str]
    """Names of the EditRequest fields that are used where a request has them."""
    trained_on: frozenset[str]
    """Those of `uses` that the network itself takes, as it did in training: a preview of a training gives them too."""

    def edit(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[Image]:
        """One image a request, at the request's own size. The noise depends on the request's seed alone."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgeRequest:
    """One edit to be judged: the image before, the image after, and what was asked for. Texts may be None.

    `region`, (H, W) of the source, is where the edit was meant to change it, or None where that is not known.
    """

    source: Image
    edited: Image
    instruction: str
    source_caption: str | None = None
    target_caption: str | None = None
    region: Bools | None = None


class JudgeReply(NamedTuple):
    """The raw text of a judge, or the fact that there is none. Nothing in it is a score yet."""

    text: str
    kind: Literal["text", "refused", "no_reply"] = "text"
    """`refused`: the judge's interface says so. `no_reply`: the judge works, and nothing came back for this request."""
    prompt_tokens: int = 0
    """Tokens that were read and written, 0 where the judge does not count them."""
    completion_tokens: int = 0


class EditJudge(Protocol):
    """Says in words how good edits are. Its replies are read, and never guessed, by `models.judges.replies`."""

    prompt_sha256: str | None
    """Hash of the words that it is asked with, None for a judge that is not asked in words."""

    def judge(
        self, requests: Sequence[JudgeRequest], *, seeds: Sequence[int]
    ) -> Sequence[JudgeReply | ConnectionError | ValueError]:
        """One reply a request, in order. What a reply leaves to chance hangs on the request's seed alone.

        A judge that can fail on one request returns the error in the place of its reply, so that the other replies are
        kept: a ConnectionError is a fault of the machine, a ValueError one of the row. Raises ConnectionError where no
        request at all can be answered.
        """
        ...


class ImageClassifier(Protocol):
    """Says how likely an image is of each of some classes."""

    labels: tuple[str, ...]
    """The labels of its classes; none where it takes any text as a label."""

    def classify(self, images: Sequence[Image], labels: Sequence[str]) -> Floats:
        """(B, K): the probability, 0 to 1, of each of these labels.

        A trained classifier knows its own labels alone, and the others that it has take a share of the probability. A
        model that takes any text divides it among the labels that it is given here.
        """
        ...


class ImageRater(Protocol):
    """Rates each image by one number, such as how good it looks."""

    def rate_images(self, images: Sequence[Image]) -> Floats:
        """(B,), higher is better, in the unit that its training used."""
        ...

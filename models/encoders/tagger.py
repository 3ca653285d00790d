"""Zero-shot tagging: the words of a vocabulary that an encoder places near to an image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from models.batches import same_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PIL.Image import Image

    from models.protocols import Floats, ImageTextEncoder

TEMPLATE = "a photo of a {}"
"""The prompt of Radford et al. 2021, section 3.1.4."""
KEPT_WORDS = 20_000
"""Words besides the vocabulary whose vectors are kept: 60 MB with 768 values each."""

# B rows, T tags, D embedding


class ZeroShotTagger:
    """A Tagger: a tag's score is the cosine (-1 to 1) of the image and the tag in a template.

    The tags are encoded once, at construction, words of single images when they first come. Cosines differ from encoder
    to encoder (CLIP's lie around 0.1 to 0.35), and so must thresholds.
    """

    def __init__(self, encoder: ImageTextEncoder, tags: Sequence[str], *, template: str = TEMPLATE) -> None:
        """Encode `tags`. Raises ValueError when there are none, one twice, or the template lacks its `{}`."""
        if "{}" not in template:
            raise ValueError(f"the tag template {template!r} has no {{}}; mark with it where the tag goes")
        self._tags = tuple(tags)
        if not self._tags:
            raise ValueError("the vocabulary has no tags; give at least one")
        twice = sorted(tag for tag, count in Counter(self._tags).items() if count > 1)
        if twice:
            raise ValueError(f"the vocabulary has {twice[0]!r} more than once; name each tag once")
        self._encoder, self._template = encoder, template
        self._tag_emb_TD = self._encoded(self._tags)
        self._known = frozenset(self._tags)
        self._word_emb_D: dict[str, Floats] = {}

    def tag(
        self, images: Sequence[Image], *, threshold: float, also: Sequence[Sequence[str]] = ()
    ) -> list[list[tuple[str, float]]]:
        """For each image (tag, cosine) from `threshold` up, high to low. Equal ones keep the order of the list.

        Words of `also` come after the vocabulary; one that is in it, or twice, counts once. Raises ValueError where
        there are words but not for each image.
        """
        import numpy as np

        words = [self._others(of_image) for of_image in also] if len(also) else [()] * len(images)
        same_length(images=images, also=words)
        self._remember(word for of_image in words for word in of_image)
        tagged = []
        for emb_D, of_image in zip(self._encoder.encode_images(images), words, strict=True):
            cos_T = np.concatenate([self._tag_emb_TD @ emb_D, [self._word_emb_D[word] @ emb_D for word in of_image]])
            names = (*self._tags, *of_image)
            order = [int(tag) for tag in (-cos_T).argsort(kind="stable") if cos_T[tag] >= threshold]
            tagged.append([(names[tag], float(cos_T[tag])) for tag in order])
        return tagged

    def _others(self, words: Sequence[str]) -> tuple[str, ...]:
        """The words that are not in the vocabulary, each once."""
        return tuple(word for word in dict.fromkeys(words) if word not in self._known)

    def _remember(self, words: Iterable[str]) -> None:
        """Encode the words that are new. With more than KEPT_WORDS those of earlier calls are forgotten."""
        wanted = dict.fromkeys(words)
        new = [word for word in wanted if word not in self._word_emb_D]
        if len(self._word_emb_D) + len(new) > KEPT_WORDS:
            self._word_emb_D, new = {}, list(wanted)
        if new:
            self._word_emb_D |= zip(new, self._encoded(new), strict=True)

    def _encoded(self, words: Sequence[str]) -> Floats:
        return self._encoder.encode_texts([self._template.replace("{}", word) for word in words])

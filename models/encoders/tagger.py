"""Zero-shot tagging: the words of a vocabulary that an encoder places near to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.protocols import ImageTextEncoder

TEMPLATE = "a photo of a {}"
"""The prompt of Radford et al. 2021, section 3.1.4."""

# B rows, T tags, D embedding


class ZeroShotTagger:
    """A Tagger: a tag's score is the cosine (-1 to 1) of the image and the tag in a template.

    The tags are encoded once, at construction. Cosines differ from encoder to encoder (CLIP's lie around 0.1 to 0.35),
    and so must thresholds.
    """

    def __init__(self, encoder: ImageTextEncoder, tags: Sequence[str], *, template: str = TEMPLATE) -> None:
        """Encode `tags`. Raises ValueError when there are none, one twice, or the template lacks its `{}`."""
        if "{}" not in template:
            raise ValueError(f"the tag template {template!r} has no {{}}; mark with it where the tag goes")
        self._tags = tuple(tags)
        if not self._tags:
            raise ValueError("the vocabulary has no tags; give at least one")
        twice = sorted({tag for tag in self._tags if self._tags.count(tag) > 1})
        if twice:
            raise ValueError(f"the vocabulary has {twice[0]!r} more than once; name each tag once")
        self._encoder = encoder
        self._tag_emb_TD = encoder.encode_texts([template.replace("{}", tag) for tag in self._tags])

    def tag(self, images: Sequence[Image], *, threshold: float) -> list[list[tuple[str, float]]]:
        """For each image (tag, cosine) from `threshold` up, high to low. Equal ones keep the order of the list."""
        cos_BT = self._encoder.encode_images(images) @ self._tag_emb_TD.T
        return [
            [(self._tags[tag], float(cos_T[tag])) for tag in (-cos_T).argsort(kind="stable") if cos_T[tag] >= threshold]
            for cos_T in cos_BT
        ]

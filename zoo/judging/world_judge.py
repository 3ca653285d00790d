"""Judges edits of the miniature world by rules on pixels: `code:zoo.judging.world_judge:WorldJudge`.

It reads both images as scenes and the instruction as a wish, and compares. It never sees the true result. Where it
cannot read an image or the instruction it says so in words, which is an abstention.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models.batches import as_rgb
from models.protocols import JudgeReply
from zoo.judging.comparing import Verdict, followed, kept_facts, kept_pixels
from zoo.judging.reading import read_scene
from zoo.judging.wanted_change import read_wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.placement import Placement
    from models.protocols import JudgeRequest
    from models.schemes.weights import Weights

SIDES_PX = range(32, 257)
"""Sides of the squares that are read: the backgrounds of a larger one take gigabytes."""
MAX_MISFIT = 6.0
"""Mean difference in levels from the nearest scene, above which the source is no image of this world."""
LEVELS_A_POINT = 2.0
"""Mean difference in levels that costs the edited image one point of quality."""
SAME_LEVELS = 0.5
"""Mean difference in levels below which two images are equal."""


class WorldJudge:
    """An EditJudge that draws what it believes to see, and compares that with what it was given."""

    serves: ClassVar = ("EditJudge",)
    version: ClassVar = 1
    prompt_sha256: ClassVar[str | None] = None

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Nothing is loaded."""

    def judge(self, requests: Sequence[JudgeRequest], *, seeds: Sequence[int]) -> list[JudgeReply]:  # noqa: ARG002  nothing is left to chance
        """One reply a request, the same JSON that chat models are asked for."""
        return [JudgeReply(_reply(request)) for request in requests]


def _reply(request: JudgeRequest) -> str:
    source, edited = as_rgb([request.source, request.edited])
    if source.size != edited.size or source.width != source.height or source.width not in SIDES_PX:
        return f"I compare squares of one size, 32 to 256 pixels, and these have {source.size} and {edited.size}."
    wish = read_wish(request.instruction, request.source_caption, request.target_caption)
    if wish is None:
        return "I do not understand the request."
    before, after = np.asarray(source), np.asarray(edited)
    seen, made = read_scene(before), read_scene(after)
    if seen.misfit > MAX_MISFIT:
        return "Image 1 is no scene that I know."
    instruction = followed(wish, seen.scene, made.scene)
    if instruction is None:
        return f"I see no {wish.old} in image 1."
    if float(np.abs(before.astype(np.int16) - after).mean()) < SAME_LEVELS:
        instruction = Verdict(0, "both images are equal")
    kept = min(
        kept_facts(wish, seen.scene, made.scene),
        kept_pixels(wish, (seen.scene, before), (made.scene, after), request.region),
        key=lambda verdict: verdict.score,
    )
    quality = Verdict(
        max(0, 10 - round(made.misfit / LEVELS_A_POINT)), f"{made.misfit:.1f} levels from the nearest scene"
    )
    verdicts = {"instruction": instruction, "preservation": kept, "quality": quality}
    fields: dict[str, str | int] = {}
    for name, verdict in verdicts.items():
        fields |= {f"{name}_reason": verdict.reason, f"{name}_score": verdict.score}
    return json.dumps(fields)

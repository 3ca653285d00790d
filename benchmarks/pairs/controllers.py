"""The test that controllers have to pass: the target has the source's attention, with guidance and without.

One tiny pipeline with random weights and SDXL's blocks, five steps, the shares of Data-Juicer's operator: all steps of
cross-attention, the first two of self-attention. The captions differ in one word and have as many tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import CLIPTokenizer

from benchmarks.pairs.attention import recorded, shared_places, verdict
from benchmarks.pairs.plain import draw_pairs
from models.placement import Placement
from models.registry import load

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.pairs.operator_pairs import Operator

CAPTIONS = ("a red car on a beach", "a blue car on a beach")
NUM_STEPS = 5
SHARED_STEPS = 2
LATENTS = 16
MOST_PLACES = (LATENTS // 4) ** 2
GUIDED, UNGUIDED = 7.5, 1.0
OURS, RELEASED, OPERATOR = "ours", "UltraEdit, as released", "Data-Juicer's operator"


def verdicts(operator: Operator, folder: Path) -> list[dict[str, Any]]:
    """One row for each controller, without guidance and with it."""
    rows = []
    for scale in (UNGUIDED, GUIDED):
        for count in (1, 3):
            rows += [
                _row(OURS, scale, count, our_verdict(folder, scale, count)),
                _row(RELEASED, scale, count, our_verdict(folder, scale, count, as_released=True)),
            ]
        operator.ask(
            "open", folder=str(folder), num_steps=NUM_STEPS, guidance_scale=scale, device="cpu", dtype="float32"
        )
        found = operator.ask("attention", captions=CAPTIONS, num_steps=SHARED_STEPS, most_places=MOST_PLACES)
        rows.append(_row(OPERATOR, scale, 1, found))
    return rows


def our_verdict(folder: Path, guidance_scale: float, num_pairs: int, **settings: Any) -> dict[str, Any]:
    """Of `models.diffusion.prompt_to_prompt`, whose rows are the sources, then the targets."""
    placement = Placement(device="cpu", dtype="float32", batch_size=num_pairs)
    ours = load("PairSynthesizer", f"path:{folder}", placement, **settings)
    with recorded() as calls:
        draw_pairs(ours, [CAPTIONS] * num_pairs, NUM_STEPS, guidance_scale)
    per_step = len({id(call.layer) for call in calls})
    first = len(calls[0].hidden_BTD) - 2 * num_pairs
    pairs = [(first + pair, first + num_pairs + pair) for pair in range(num_pairs)]
    shared = shared_places(CLIPTokenizer.from_pretrained(folder / "tokenizer"), *CAPTIONS)
    return verdict(calls[: SHARED_STEPS * per_step], pairs, shared, MOST_PLACES).as_json()


def _row(controller: str, guidance_scale: float, num_pairs: int, found: dict[str, Any]) -> dict[str, Any]:
    return {"controller": controller, "guidance_scale": guidance_scale, "num_pairs": num_pairs, **found}

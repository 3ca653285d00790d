"""The prompt of a captioner as its processor encodes it, which is the same for every image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# L tokens


def prompt_inputs(processor: Any, prompt: str) -> dict[str, Tensor]:
    """(1, L) of each of the model's inputs for the text, as the processor makes them beside an image; none for ""."""
    from PIL import Image

    if not prompt:
        return {}
    inputs = processor(images=[Image.new("RGB", (32, 32))], text=[prompt], return_tensors="pt")
    return {name: values for name, values in inputs.items() if name != "pixel_values"}

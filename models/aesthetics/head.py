"""A rating from a trained head over the embedding of an encoder of images and texts, as LAION's predictor has it.

Source  christophschuhmann/improved-aesthetic-predictor: the head reads the embedding divided by its length, and gives
        ratings of about 1 to 10. The files of a head: `models.aesthetics.head_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models import registry
from models.aesthetics.head_file import WEIGHTS_FILE, read_config, read_layers
from models.batches import prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats, ImageTextEncoder
    from models.schemes.weights import Weights

# B rows, D values of a layer, E values of the next


class AestheticHead:
    """An ImageRater over a folder of the two files above."""

    def __init__(
        self, weights: Weights, placement: Placement, *, label_values: Sequence[tuple[str, float]] = ()
    ) -> None:
        """Load both. Raises ModelError for files that are no head, and for one that does not fit its encoder."""
        if label_values:
            raise ModelError(f"{weights.model_id} is a head, which has no labels; remove the setting label_values")
        folder = Path(weights.location)
        self._layers = read_layers(folder / WEIGHTS_FILE)
        encoder = read_config(folder).encoder
        self._encoder: ImageTextEncoder = registry.load("ImageTextEncoder", encoder, placement)
        taken = self._layers[0][0].shape[1]
        if taken != self._encoder.dim:
            raise ModelError(
                f"{folder} takes {taken} numbers, and {encoder} gives {self._encoder.dim}; name the encoder that the "
                "head was trained over in config.json"
            )

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """What the encoder prepares."""
        return prepared(self._encoder, images)

    def rate_images(self, images: Sequence[Image]) -> Floats:
        """(B,), about 1 to 10 for LAION's weights."""
        value_BD = self._encoder.encode_images(images)
        for weight_ED, bias_E in self._layers:
            value_BD = value_BD @ weight_ED.T + bias_E
        rating_B: Floats = value_BD[:, 0]
        return rating_B

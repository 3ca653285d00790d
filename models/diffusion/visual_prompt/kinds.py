"""Names of the parts of which a control network for visual prompts is made, for settings."""

from __future__ import annotations

from typing import Literal

HintEncoderKind = Literal["conv", "vit", "vmamba"]
"""The encoder of the grid: ControlNet's own convolutions, a vision transformer, or VMamba blocks."""
ZeroLayerKind = Literal["conv", "vmamba"]
"""The layers that hand features on to the UNet: ControlNet's own zero convolutions, or a VMamba block before each."""

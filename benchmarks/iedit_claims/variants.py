"""The rows of iEdit's ablation (table 2) in miniature, and what the paper claims between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Data = Literal["edit", "caption"]
"""Built from captions that a model wrote (`manifests/tiny/iedit.toml`), or from alt-text as found (`noisy.toml`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One row: which data and losses a model is trained with (none: the base model), and masks when editing or not."""

    name: str
    trained: str = ""
    """Name of the training, shared by rows that differ only when editing; empty for the base model."""
    data: Data = "edit"
    settings: dict[str, Any]
    with_masks: bool = False


PAIRED = {"latent_loss": "paired", "global_loss": True, "local_loss": False, "perceptual_loss": False}
LOCAL = PAIRED | {"local_loss": True}
PERCEPTUAL = LOCAL | {"perceptual_loss": True}
MASK = PERCEPTUAL | {"latent_loss": "mask"}

VARIANTS = (
    Variant(name="SDEdit", settings={}),
    Variant(name="SDEdit, masked", settings={}, with_masks=True),
    Variant(name="captions as found: global + paired", trained="caption", data="caption", settings=PAIRED),
    Variant(name="written captions: global + paired + loc", trained="local", settings=LOCAL),
    Variant(name="... + perc", trained="perceptual", settings=PERCEPTUAL),
    Variant(name="global + mask + loc + perc (iEdit)", trained="mask", settings=MASK),
    Variant(name="iEdit, masked (iEdit-M)", trained="mask", settings=MASK, with_masks=True),
)
BY_NAME = {variant.name: variant for variant in VARIANTS}
CAPTION, LOC, PERC, IEDIT, IEDIT_M = (variant.name for variant in VARIANTS[2:])


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The paper says that `better` has more (`up`) or less of a measure than `worse`."""

    text: str
    better: str
    worse: str
    measure: str
    up: bool = True


CLAIMS = (
    Claim(text="written captions: higher CLIPScore (said; its table has 65.62 after 65.95)", better=LOC, worse=CAPTION,
          measure="clip_score"),
    Claim(text="written captions: higher SSIM outside", better=LOC, worse=CAPTION, measure="ssim_not_m"),
    Claim(text="perceptual loss: higher CLIPScore", better=PERC, worse=LOC, measure="clip_score"),
    Claim(text="perceptual loss: lower FID", better=PERC, worse=LOC, measure="fid", up=False),
    Claim(text="L_mask for L_LDM: higher CLIPScore", better=IEDIT, worse=PERC, measure="clip_score"),
    Claim(text="L_mask for L_LDM: lower FID", better=IEDIT, worse=PERC, measure="fid", up=False),
    Claim(text="masks when editing: higher CLIPScore", better=IEDIT_M, worse=IEDIT, measure="clip_score"),
    Claim(text="masks when editing: lower FID", better=IEDIT_M, worse=IEDIT, measure="fid", up=False),
    Claim(text="masks when editing: higher SSIM outside", better=IEDIT_M, worse=IEDIT, measure="ssim_not_m"),
    Claim(text="iEdit over SDEdit: higher CLIPScore", better=IEDIT, worse="SDEdit", measure="clip_score"),
    Claim(text="iEdit over SDEdit: higher SSIM outside", better=IEDIT, worse="SDEdit", measure="ssim_not_m"),
    Claim(text="iEdit over SDEdit: lower FID", better=IEDIT, worse="SDEdit", measure="fid", up=False),
    Claim(text="iEdit-M over SDEdit: higher CLIPScore", better=IEDIT_M, worse="SDEdit", measure="clip_score"),
)  # fmt: skip

"""The rows of iEdit's ablation (table 2) in miniature, and what the paper claims between them.

The paper's rows 2 and 3 name L_LDM, equation 1. Its text calls L_paired a change of that equation, X
mean either: L_LDM is taken as written, with the source's noise, and two further rows have L_paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Data = Literal["edit", "caption"]
"""Built from captions that a model wrote (`manifests/tiny/iedit.toml`), or from alt-text as found (`noisy.toml`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One row: the data and losses of a training (none: the base model), and masks when editing or not."""

    name: str
    trained: str = ""
    """Name of the training, shared by rows that differ only when editing; empty for the base model."""
    data: Data = "edit"
    settings: dict[str, Any]
    with_masks: bool = False


PAIRED = {"latent_loss": "paired", "global_loss": True, "local_loss": False, "perceptual_loss": False}
LOCAL = PAIRED | {"latent_loss": "ldm", "local_loss": True}
PERCEPTUAL = LOCAL | {"perceptual_loss": True}
PAIRED_ALL = PERCEPTUAL | {"latent_loss": "paired"}
MASK = PERCEPTUAL | {"latent_loss": "mask"}

VARIANTS = (
    Variant(name="SDEdit", settings={}),
    Variant(name="SDEdit, masked", settings={}, with_masks=True),
    Variant(name="captions as found: global + paired", trained="caption", data="caption", settings=PAIRED),
    Variant(name="written captions: global + paired", trained="paired", settings=PAIRED),
    Variant(name="global + LDM + loc", trained="local", settings=LOCAL),
    Variant(name="global + LDM + loc + perc", trained="perceptual", settings=PERCEPTUAL),
    Variant(name="global + paired + loc + perc", trained="paired-all", settings=PAIRED_ALL),
    Variant(name="global + mask + loc + perc (iEdit)", trained="mask", settings=MASK),
    Variant(name="iEdit, masked (iEdit-M)", trained="mask", settings=MASK, with_masks=True),
)
BY_NAME = {variant.name: variant for variant in VARIANTS}
CAPTION, WRITTEN, LOC, PERC, PAIRS, IEDIT, IEDIT_M = (variant.name for variant in VARIANTS[2:])


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The paper says that `better` has more (`up`) or less of a measure than `worse`."""

    text: str
    better: str
    worse: str
    measure: str
    up: bool = True


CLAIMS = (
    Claim(text="written captions, row 2 over row 1: higher CLIPScore (said; its table has 65.62 after 65.95)",
          better=LOC, worse=CAPTION, measure="clip_score"),
    Claim(text="written captions, row 2 over row 1: higher SSIM outside", better=LOC, worse=CAPTION,
          measure="ssim_not_m"),
    Claim(text="written captions, losses alike: higher CLIPScore", better=WRITTEN, worse=CAPTION, measure="clip_score"),
    Claim(text="written captions, losses alike: higher SSIM outside", better=WRITTEN, worse=CAPTION,
          measure="ssim_not_m"),
    Claim(text="perceptual loss: higher CLIPScore", better=PERC, worse=LOC, measure="clip_score"),
    Claim(text="perceptual loss: lower FID", better=PERC, worse=LOC, measure="fid", up=False),
    Claim(text="L_mask for L_LDM: higher CLIPScore", better=IEDIT, worse=PERC, measure="clip_score"),
    Claim(text="L_mask for L_LDM: lower FID", better=IEDIT, worse=PERC, measure="fid", up=False),
    Claim(text="L_mask for L_paired: higher CLIPScore", better=IEDIT, worse=PAIRS, measure="clip_score"),
    Claim(text="L_mask for L_paired: lower FID", better=IEDIT, worse=PAIRS, measure="fid", up=False),
    Claim(text="masks when editing: higher CLIPScore", better=IEDIT_M, worse=IEDIT, measure="clip_score"),
    Claim(text="masks when editing: lower FID", better=IEDIT_M, worse=IEDIT, measure="fid", up=False),
    Claim(text="masks when editing: higher SSIM outside", better=IEDIT_M, worse=IEDIT, measure="ssim_not_m"),
    Claim(text="iEdit over SDEdit: higher CLIPScore", better=IEDIT, worse="SDEdit", measure="clip_score"),
    Claim(text="iEdit over SDEdit: higher SSIM outside", better=IEDIT, worse="SDEdit", measure="ssim_not_m"),
    Claim(text="iEdit over SDEdit: lower FID", better=IEDIT, worse="SDEdit", measure="fid", up=False),
    Claim(text="iEdit-M over SDEdit: higher CLIPScore", better=IEDIT_M, worse="SDEdit", measure="clip_score"),
)  # fmt: skip

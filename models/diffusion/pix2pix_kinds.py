"""Kinds of instruction editors: pipelines whose UNet takes the source image, and the region too, with the noisy latent.

Owns names alone. A region editor has the files of the class of diffusers in the table, but four input channels more
(noisy latent, source, region), so it is saved under a name of its own: diffusers could load it but not run it.

Source  Brooks et al. 2023, InstructPix2Pix; Zhao et al. 2024, UltraEdit, appendix A.4.
"""

PIX2PIX = "StableDiffusionInstructPix2PixPipeline"
PIX2PIX_XL = "StableDiffusionXLInstructPix2PixPipeline"
REGION_PIX2PIX = "StableDiffusionRegionInstructPix2PixPipeline"
REGION_PIX2PIX_XL = "StableDiffusionXLRegionInstructPix2PixPipeline"

CLASS_OF = {
    PIX2PIX: PIX2PIX,
    PIX2PIX_XL: PIX2PIX_XL,
    REGION_PIX2PIX: PIX2PIX,
    REGION_PIX2PIX_XL: PIX2PIX_XL,
}
"""Kind -> class of diffusers that loads its files."""
REGION_OF = {PIX2PIX: REGION_PIX2PIX, PIX2PIX_XL: REGION_PIX2PIX_XL}
"""Kind without region -> the kind with region."""
LORA_FOLDER = "lora"
"""Folder of a saved editor that holds LoRA weights, beside the pipeline that they belong to."""

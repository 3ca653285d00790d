"""Kinds of instruction editors that trainings save, and the class of diffusers that loads the files of each.

Owns names alone. A region editor has four input channels more than the class of diffusers in the table runs (noisy
latent, source, region), and a visual-prompt editor a control network beside the pipeline. So each is saved under a name
of its own: diffusers could load its files but not run it.

Source  Brooks et al. 2023, InstructPix2Pix; Zhao et al. 2024, UltraEdit, appendix A.4; Meng et al. 2024, InstructGIE.
"""

PIX2PIX = "StableDiffusionInstructPix2PixPipeline"
PIX2PIX_XL = "StableDiffusionXLInstructPix2PixPipeline"
REGION_PIX2PIX = "StableDiffusionRegionInstructPix2PixPipeline"
REGION_PIX2PIX_XL = "StableDiffusionXLRegionInstructPix2PixPipeline"
VISUAL_PROMPT = "StableDiffusionVisualPromptPipeline"

CLASS_OF = {
    PIX2PIX: PIX2PIX,
    PIX2PIX_XL: PIX2PIX_XL,
    REGION_PIX2PIX: PIX2PIX,
    REGION_PIX2PIX_XL: PIX2PIX_XL,
    VISUAL_PROMPT: "StableDiffusionPipeline",
}
"""Kind -> class of diffusers that loads its files."""
REGION_OF = {PIX2PIX: REGION_PIX2PIX, PIX2PIX_XL: REGION_PIX2PIX_XL}
"""Kind without region -> the kind with region."""
LORA_FOLDER = "lora"
"""Folder of a saved editor that holds LoRA weights, beside the pipeline that they belong to."""
CONTROL_FOLDER = "controlnet"
"""Folder of a saved visual-prompt editor that holds its control network, beside the pipeline."""

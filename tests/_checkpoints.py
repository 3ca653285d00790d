"""Random checkpoints of the production classes, shrunk to kilobytes: written by `save_pretrained`, read by a wrapper.

Widths and depths are small, everything else is as in the checkpoint that the function names. Tokenizers are made here.
"""

import numpy as np
from PIL import Image

from models.placement import Placement
from models.schemes.weights import Weights

LENGTH = 16
"""Tokens a text encoder reads."""

WORDS = ("red", "blue", "cat", "car", "photo", "a", "of", "on", "the", "grass")


def weights_at(folder):
    return Weights(f"path:{folder}", "path", str(folder), None, is_local=True)


def placement(batch_size=2):
    return Placement(device="cpu", dtype="float32", batch_size=batch_size)


def make_image(width, height, seed=0):
    """Smooth noise, so that resizing keeps what there is to see."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


SIZES_PX = [(40, 30), (28, 28), (40, 30), (21, 50), (40, 30)]
IMAGES = [make_image(width, height, seed) for seed, (width, height) in enumerate(SIZES_PX, 1)]


def stirred(model, spread=0.05):
    """The model in evaluation mode, moved off the zeros and ones that layers start with, the same at every call."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=spread)
    return model.eval()


def seeded():
    """A fixed state for layers that are made after it."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


def clip_tokenizer(length=LENGTH):
    """Byte-level BPE as CLIP's, with merges for a few words. The end of text has the highest id."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    symbols = sorted(ByteLevel.alphabet())
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols)]
    merges = []
    for word in WORDS:
        left = word[0]
        for place, letter in enumerate(word[1:], start=1):
            right = letter if place < len(word) - 1 else f"{letter}</w>"
            if (left, right) not in merges:
                merges.append((left, right))
                vocabulary.append(left + right)
            left += right
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={s: i for i, s in enumerate(vocabulary)}, merges=merges, model_max_length=length)


def bert_tokenizer():
    """WordPiece with BERT's ids of special tokens, which Grounding DINO has in its code."""
    from transformers import BertTokenizer

    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    pieces = [fixed.get(index, f"[unused{index}]") for index in range(1030)]
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces += [*WORDS, *(letter for letter in letters if letter not in WORDS), *(f"##{letter}" for letter in letters)]
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, model_max_length=512)


def _clip_text(tokenizer, **more):
    return {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": LENGTH, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, **more,
    }  # fmt: skip


def _vit(**more):
    return {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, **more}


def save_clip(folder, hidden_act="quick_gelu", **text_settings):
    """openai/clip-vit-large-patch14."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    seeded()
    tokenizer = clip_tokenizer()
    text = _clip_text(tokenizer, projection_dim=24, hidden_act=hidden_act) | text_settings
    vision = _vit(image_size=28, patch_size=14, projection_dim=24, hidden_act=hidden_act)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    stirred(CLIPModel(config)).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def save_siglip(folder):
    """google/siglip-so400m-patch14-384, its tokenizer a CLIP one: the model sees numbers only."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    seeded()
    tokenizer = clip_tokenizer()
    text = _vit(vocab_size=len(tokenizer), max_position_embeddings=LENGTH, projection_size=32)
    config = SiglipConfig(text_config=text, vision_config=_vit(image_size=28, patch_size=14))
    stirred(SiglipModel(config)).save_pretrained(folder)
    SiglipProcessor(SiglipImageProcessor(size={"height": 28, "width": 28}), tokenizer).save_pretrained(folder)
    return folder


def save_dinov2(folder):
    """facebook/dinov2-base."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    seeded()
    config = Dinov2Config(**_vit(image_size=28, patch_size=14, mlp_ratio=2))
    stirred(Dinov2Model(config)).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


def save_vit(folder):
    """facebook/dino-vitb8: no pooler in the checkpoint."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    seeded()
    model = ViTModel(ViTConfig(**_vit(image_size=16, patch_size=8)), add_pooling_layer=False)
    stirred(model).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def save_clipseg(folder):
    """CIDAS/clipseg-rd64-refined: reduced to 64, refined by transposed convolutions, run above its own image size."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessor

    seeded()
    tokenizer = clip_tokenizer()
    config = CLIPSegConfig(
        text_config=_clip_text(tokenizer), vision_config=_vit(image_size=32, patch_size=16), projection_dim=24,
        reduce_dim=64, extract_layers=[0, 1], conditional_layer=0, use_complex_transposed_convolution=True,
        decoder_num_attention_heads=4, decoder_intermediate_size=32,
    )  # fmt: skip
    model = stirred(CLIPSegForImageSegmentation(config))
    model.decoder.transposed_convolution[-1].weight.data *= 0.004  # else logits in the hundreds, which are all rounding
    model.save_pretrained(folder)
    CLIPSegProcessor(ViTImageProcessor(size={"height": 48, "width": 48}), tokenizer).save_pretrained(folder)
    return folder


def _swin(**more):
    from transformers import SwinConfig

    return SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, image_size=32, **more)


def save_grounding_dino(folder):
    """IDEA-Research/grounding-dino-base."""
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    seeded()
    tokenizer = bert_tokenizer()
    bert = BertConfig(**_vit(hidden_size=16, vocab_size=len(tokenizer), max_position_embeddings=64))
    config = GroundingDinoConfig(
        backbone_config=_swin(out_indices=[2, 3, 4]), text_config=bert, d_model=32, num_queries=12, max_text_len=32,
        encoder_layers=1, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=32, decoder_ffn_dim=32,
    )  # fmt: skip
    stirred(GroundingDinoForObjectDetection(config), spread=0.2).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 72, "longest_edge": 128})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def save_sam(folder):
    """facebook/sam-vit-huge."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    seeded()
    vision = _vit(
        hidden_size=16, mlp_dim=32, output_channels=16, image_size=64, patch_size=16, window_size=3,
        global_attn_indexes=[1], num_pos_feats=8, initializer_range=0.1,
    )  # fmt: skip
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 16}
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    stirred(SamModel(config), spread=0.2).save_pretrained(folder)
    square = {"height": 64, "width": 64}
    SamProcessor(SamImageProcessor(size={"longest_edge": 64}, pad_size=square)).save_pretrained(folder)
    return folder


def save_mask2former(folder, size):
    """facebook/mask2former-swin-large-coco-panoptic."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor

    seeded()
    config = Mask2FormerConfig(
        backbone_config=_swin(out_features=["stage1", "stage2", "stage3", "stage4"]), feature_size=32,
        mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32, dim_feedforward=32, encoder_layers=1,
        decoder_layers=3, num_attention_heads=4, num_queries=8, id2label={0: "cat", 1: "car", 2: "grass"},
    )  # fmt: skip
    model = stirred(Mask2FormerForUniversalSegmentation(config), spread=0.1)
    model.class_predictor.weight.data *= 20  # sure of itself, so that segments pass the library's threshold
    model.save_pretrained(folder)
    Mask2FormerImageProcessor(size=size, size_divisor=32).save_pretrained(folder)
    return folder


def _vae():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4, norm_num_groups=8,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, layers_per_block=1, sample_size=32,
    )  # fmt: skip


def _unet(in_channels=4, **more):
    from diffusers import UNet2DConditionModel

    shrunk = {
        "block_out_channels": (16, 32), "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "attention_head_dim": 2,
        "cross_attention_dim": 32,
    }  # fmt: skip
    return UNet2DConditionModel(
        sample_size=4, in_channels=in_channels, layers_per_block=1, norm_num_groups=8, **{**shrunk, **more}
    )


def _text_encoder(tokenizer):
    from transformers import CLIPTextConfig, CLIPTextModel

    return stirred(CLIPTextModel(CLIPTextConfig(**_clip_text(tokenizer, hidden_act="quick_gelu"))))


def _parts(in_channels):
    from diffusers import PNDMScheduler

    tokenizer = clip_tokenizer()
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    return {
        "vae": stirred(_vae()), "unet": stirred(_unet(in_channels)), "text_encoder": _text_encoder(tokenizer),
        "tokenizer": tokenizer, "scheduler": scheduler, "safety_checker": None, "feature_extractor": None,
        "requires_safety_checker": False,
    }  # fmt: skip


def save_stable_diffusion(folder):
    """stable-diffusion-v1-5/stable-diffusion-v1-5, without its safety checker."""
    from diffusers import StableDiffusionPipeline

    seeded()
    StableDiffusionPipeline(**_parts(in_channels=4)).save_pretrained(folder)
    return folder


def save_stable_diffusion_2(folder):
    """stabilityai/stable-diffusion-2-1: linear projections, velocities predicted, DDIM."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    seeded()
    parts = _parts(in_channels=4)
    parts["unet"] = stirred(_unet(use_linear_projection=True, attention_head_dim=(2, 4)))
    parts["scheduler"] = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    StableDiffusionPipeline(**parts).save_pretrained(folder)
    return folder


def save_stable_diffusion_inpainting(folder):
    """stable-diffusion-v1-5/stable-diffusion-inpainting: nine channels in."""
    from diffusers import StableDiffusionInpaintPipeline

    seeded()
    StableDiffusionInpaintPipeline(**_parts(in_channels=9)).save_pretrained(folder)
    return folder


def save_sdxl(folder):
    """stabilityai/stable-diffusion-xl-base-1.0: two text encoders, and the size as a condition."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    seeded()
    tokenizer = clip_tokenizer()
    second = CLIPTextConfig(**_clip_text(tokenizer, projection_dim=24))
    unet = _unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2), attention_head_dim=(2, 4), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 24,
        cross_attention_dim=64,
    )  # fmt: skip
    pipeline = StableDiffusionXLPipeline(
        vae=stirred(_vae()), unet=stirred(unet), text_encoder=_text_encoder(tokenizer), tokenizer=tokenizer,
        text_encoder_2=stirred(CLIPTextModelWithProjection(second)), tokenizer_2=clip_tokenizer(),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def save_pix2pix(folder, base, channels=8, **scheduler_settings):
    """timbrooks/instruct-pix2pix, or its SDXL kind: the pipeline in the folder `base` with random new channels.

    Twelve channels are those of an editor with regions.
    """
    import diffusers
    import torch

    from models.diffusion.editor_kinds import PIX2PIX, PIX2PIX_XL, REGION_OF
    from trainer.diffusion.conv_in import widen_conv_in

    seeded()
    pipeline = diffusers.DiffusionPipeline.from_pretrained(base)
    widen_conv_in(pipeline.unet, channels)
    with torch.no_grad():
        pipeline.unet.conv_in.weight[:, 4:].normal_(std=0.1)
    if scheduler_settings:
        pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, **scheduler_settings)
    kind = PIX2PIX_XL if hasattr(pipeline, "text_encoder_2") else PIX2PIX
    getattr(diffusers, kind).from_pipe(pipeline).save_pretrained(folder)
    if channels == 12:
        index = folder / "model_index.json"
        index.write_text(index.read_text().replace(kind, REGION_OF[kind]))
    return folder

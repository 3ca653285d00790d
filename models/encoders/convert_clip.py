"""Turns a CLIP checkpoint of transformers into a folder that open_clip loads by `local-dir:`.

    python -m models.encoders.convert_clip CLIP_MODEL_FOLDER OPEN_CLIP_FOLDER

Both then give the same embeddings. Covers ViT image towers as `CLIPModel` has them; the tokenizer goes along.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
ACTIVATIONS = {"quick_gelu": True, "gelu": False}
RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of filters to open_clip's names."""

TOWERS = (("vision_model.", "visual."), ("text_model.", ""))
NAMES = (
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding.weight", "conv1.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("embeddings.token_embedding.weight", "token_embedding.weight"),
    ("pre_layrnorm.", "ln_pre."),
    ("post_layernorm.", "ln_post."),
    ("final_layer_norm.", "ln_final."),
    ("encoder.layers.", "transformer.resblocks."),
    (".self_attn.out_proj.", ".attn.out_proj."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
"""Parts of parameter names, transformers' and open_clip's."""


def convert(source: Path, target: Path) -> None:
    """Write weights, configuration and tokenizer of the CLIPModel folder `source` into the folder `target`.

    The weights keep their dtype. Raises ValueError for a model or preprocessing that open_clip does not express.
    """
    from safetensors.torch import save_file
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    model: Any = CLIPModel.from_pretrained(source, dtype="auto", use_safetensors=True, local_files_only=True)
    processor: Any = AutoImageProcessor.from_pretrained(source, local_files_only=True)
    size_px = model.config.vision_config.image_size
    config = {"model_cfg": model_config(model.config), "preprocess_cfg": preprocess_config(processor, size_px)}
    target.mkdir(parents=True, exist_ok=True)
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(target)
    save_file(open_clip_parameters(model.state_dict()), target / WEIGHTS)
    (target / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def model_config(config: Any) -> dict[str, Any]:
    """open_clip's `model_cfg` of a CLIPConfig. Raises ValueError when the towers' activations are not CLIP's."""
    vision, text = config.vision_config, config.text_config
    if vision.hidden_act != text.hidden_act or text.hidden_act not in ACTIVATIONS:
        raise ValueError(
            f"the towers' activations are {vision.hidden_act} and {text.hidden_act}; open_clip has one for both, "
            f"{' or '.join(ACTIVATIONS)}"
        )
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": ACTIVATIONS[text.hidden_act],
        "vision_cfg": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "width": vision.hidden_size,
            "layers": vision.num_hidden_layers,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
            "norm_kwargs": {"eps": vision.layer_norm_eps},
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "hf_tokenizer_name": "local",  # of a local-dir open_clip reads the tokenizer from the folder itself
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
            "norm_kwargs": {"eps": text.layer_norm_eps},
            # transformers keeps the 2 of CLIP's first configurations as a sign for "the highest id ends the text"
            "pool_type": "argmax" if text.eos_token_id == 2 else "eos",
            "eos_id": text.eos_token_id,
        },
    }


def preprocess_config(processor: Any, size_px: int) -> dict[str, Any]:
    """open_clip's `preprocess_cfg` of a CLIPImageProcessor, for a model that takes squares of `size_px`.

    Raises ValueError for an interpolation, or a way to the square, that open_clip does not have.
    """
    if int(processor.resample) not in RESAMPLING:
        known = " or ".join(RESAMPLING.values())
        raise ValueError(f"images are resized with Pillow's filter {int(processor.resample)}; open_clip has {known}")
    square = {"height": size_px, "width": size_px}
    edge = {"shortest_edge": size_px}
    size, crop = dict(processor.size), dict(processor.crop_size or {}) if processor.do_center_crop else None
    if (size, crop) not in ((edge, square), (square, None), (square, square)):
        raise ValueError(
            f"images are resized to {size} and cropped to {crop}, the model takes {size_px}; "
            "open_clip resizes straight to what the model takes"
        )
    return {
        "mean": list(processor.image_mean),
        "std": list(processor.image_std),
        "interpolation": RESAMPLING[int(processor.resample)],
        "resize_mode": "shortest" if size == edge else "squash",
    }


def open_clip_parameters(state: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a CLIPModel under open_clip's names: projections transposed, query, key and value in one."""
    import torch

    parameters = {
        "logit_scale": state["logit_scale"],
        "text_projection": state["text_projection.weight"].T,
        "visual.proj": state["visual_projection.weight"].T,
    }
    for name, tensor in state.items():
        if not name.startswith(("text_model.", "vision_model.")) or name.endswith("position_ids"):
            continue
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            joined = torch.cat([state[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"])
            parameters[_renamed(name.replace(".self_attn.q_proj.", ".attn.in_proj_"))] = joined
        else:
            parameters[_renamed(name)] = tensor
    return {name: tensor.contiguous() for name, tensor in parameters.items()}


def _renamed(name: str) -> str:
    for old, new in (*TOWERS, *NAMES):
        name = name.replace(old, new)
    return name


def main(arguments: list[str] | None = None) -> int:
    """Convert one folder. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.encoders.convert_clip", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of a transformers CLIPModel with its processor")
    parser.add_argument("target", type=Path, help="folder to write")
    chosen = parser.parse_args(arguments)
    convert(chosen.source, chosen.target)
    sys.stdout.write(f"open_clip: now at {chosen.target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The head: its equations, padding, shapes over CLIP models of full size, and its files."""

import json

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from core.errors import ModelError
from models.loss_protocols import TextTokens
from models.model_ids import find
from models.placement import Placement
from models.regions.head import RegionHead
from models.regions.head_file import RegionConfig, load_head, make_head, read_config, save_head
from models.registry import missing

CONFIG = RegionConfig(
    dim=16, num_heads=4, hidden=8, clip_model="zoo:clip", clip_revision="r", patch_layer=-1, generator="zoo:sd-inpaint",
    threshold=0.5,
)  # fmt: skip
CPU = Placement(device="cpu")


def inputs(num_rows=2, num_patches=9, length=5, dim=16):
    generator = torch.Generator().manual_seed(0)
    patch, token = (torch.randn(num_rows, n, dim, generator=generator) for n in (num_patches, length))
    is_token = torch.arange(length)[None] < torch.tensor([length, 3])[:num_rows, None]
    return patch, TextTokens(token, is_token, torch.zeros(num_rows, dim))


def head():
    torch.manual_seed(0)
    return make_head(CONFIG).eval()


def attended(module, query, key, is_token):
    """Multi-head attention, written out."""
    dim, heads = module.embed_dim, module.num_heads
    parts = zip(module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3), strict=True)
    q, k, v = (one @ w.T + b for one, (w, b) in zip((query, key, key), parts, strict=True))
    q, k, v = (one.unflatten(-1, (heads, dim // heads)).transpose(0, 1) for one in (q, k, v))
    weight = (q @ k.transpose(1, 2) / (dim // heads) ** 0.5).masked_fill(~is_token, -torch.inf).softmax(-1)
    return (weight @ v).transpose(0, 1).flatten(1) @ module.out_proj.weight.T + module.out_proj.bias


def normed(module, value):
    return layer_norm(value, (value.shape[-1],), module.weight, module.bias)


def test_equations_are_those_of_the_docstring():
    model, (patch, words) = head(), inputs()
    with torch.no_grad():
        found = model(patch, words)
        for row in range(2):
            key, is_token = normed(model.text_norm, words.token_BLD[row]), words.is_token_BL[row]
            query = normed(model.image_norm, patch[row])
            edited = patch[row] + attended(model.cross_attention, query, key, is_token)
            own = normed(model.edited_norm, edited)
            region = edited + attended(model.self_attention, own, own, torch.ones(9, dtype=torch.bool))
            norm, first, _, second = model.region
            logit = (gelu(normed(norm, region) @ first.weight.T + first.bias) @ second.weight.T + second.bias)[:, 0]
            torch.testing.assert_close(found.logit_BN[row], logit, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(found.original_BD[row], model.semantic(patch[row]).mean(0))
            torch.testing.assert_close(found.edited_BD[row], model.semantic(edited).mean(0), atol=1e-5, rtol=1e-4)


def test_padding_of_an_instruction_changes_nothing():
    model, (patch, words) = head(), inputs()
    other = words._replace(token_BLD=torch.where(words.is_token_BL[..., None], words.token_BLD, 7.0))
    with torch.no_grad():
        torch.testing.assert_close(model(patch, words).logit_BN, model(patch, other).logit_BN)


@pytest.mark.parametrize(
    ("size_px", "patch_px", "width", "dim", "layers"),
    [(224, 16, 768, 512, 12), (224, 14, 1024, 768, 24)],
    ids=["B/16", "L/14"],
)
def test_shapes_over_clip_of_full_size(size_px, patch_px, width, dim, layers):
    """On torch's meta device, which has shapes and no values."""
    from transformers import CLIPConfig, CLIPModel

    from models.encoders.clip_tokens import ClipTokens

    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 64}
    vision = {**sizes, "image_size": size_px, "patch_size": patch_px, "intermediate_size": 4 * width}
    with torch.device("meta"):
        model = CLIPModel(CLIPConfig(vision_config=vision, projection_dim=dim)).eval()
        tokens = ClipTokens.__new__(ClipTokens)
        tokens._model, tokens.size_px, tokens._layer = model, (size_px, size_px), -1
        tokens._mean = tokens._std = (0.5, 0.5, 0.5)
        found = tokens.image_tokens(torch.zeros(2, 3, size_px, size_px))
        words = TextTokens(torch.zeros(2, 77, dim), torch.ones(2, 77, dtype=torch.bool), torch.zeros(2, dim))
        region = RegionHead(dim, num_heads=8, hidden=256)(found.patch_BND, words)
    num_patches = (size_px // patch_px) ** 2
    assert found.patch_BND.shape == (2, num_patches, dim)
    assert region.logit_BN.shape == (2, num_patches)
    assert region.original_BD.shape == region.edited_BD.shape == (2, dim)


@pytest.mark.parametrize("field", ["clip_model", "generator"])
def test_head_that_names_a_server_is_refused(tmp_path, field):
    """Or else a downloaded file could send the user's images and key to any address."""
    server = "openai:m@http://127.0.0.1:1/v1"
    save_head(head(), CONFIG.model_copy(update={field: server}), tmp_path)
    with pytest.raises(ModelError, match="as a head must not choose a server"):
        load_head(find(f"path:{tmp_path}"), CPU)


def test_head_that_names_itself_is_a_line(tmp_path):
    own = f"path:{tmp_path}"
    save_head(head(), CONFIG.model_copy(update={"clip_model": own}), tmp_path)
    (lack,) = missing(own, "InstructionSegmenter")
    assert "which cannot serve ImageTextTokens" in lack.message


def test_what_an_editor_lacks_has_its_generator(tmp_path):
    save_head(head(), CONFIG.model_copy(update={"generator": "path:nowhere"}), tmp_path)
    assert missing(f"path:{tmp_path}", "InstructionSegmenter") == []
    (lack,) = missing(f"path:{tmp_path}", "Editor")
    assert "nowhere" in lack.message


def test_a_saved_head_is_the_same_head(tmp_path):
    model, (patch, words) = head(), inputs()
    save_head(model, CONFIG, tmp_path)
    assert read_config(tmp_path) == CONFIG
    found, config = load_head(find(f"path:{tmp_path}"), CPU)
    assert config == CONFIG
    with torch.no_grad():
        torch.testing.assert_close(found(patch, words).logit_BN, model(patch, words).logit_BN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 2}, "cannot be read"),
        ({"patch_layer": 0}, "cannot be read"),
        ({"num_heads": 3}, "16 channels cannot have 3 heads"),
        ({"hidden": 9}, "is no such head"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, change, message):
    save_head(head(), CONFIG, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message) as caught:
        load_head(find(f"path:{tmp_path}"), CPU)
    assert "\n" not in str(caught.value)

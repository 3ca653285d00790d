"""Embeddings of texts against those of the pipelines of diffusers."""

import numpy as np
import pytest
from _checkpoints import placement, save_sdxl, save_stable_diffusion, save_stable_diffusion_2, weights_at

from models.diffusion.text_conditioner import ClipTextConditioner
from models.model_ids import find

TEXTS = [
    "a red car",
    "",
    "the cat on the grass",
    "a photo of a cat on the grass on the blue car of a red cat",
    "a red car",
]
"""One is empty, one is longer than the encoders read, one is there twice."""
SAVED = {"SD 1": save_stable_diffusion, "SD 2": save_stable_diffusion_2, "SDXL": save_sdxl}


@pytest.fixture(scope="module", params=["zoo:sd", *SAVED])
def weights(request, tmp_path_factory):
    if request.param == "zoo:sd":
        return find("zoo:sd")
    return weights_at(SAVED[request.param](tmp_path_factory.mktemp("checkpoint")))


def of_diffusers(folder, texts):
    """(hidden states, pooled embeddings or None) as the pipeline that the checkpoint names makes them."""
    import torch
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        found = pipeline.encode_prompt(
            prompt=texts, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    return found[0].numpy(), found[2].numpy() if len(found) == 4 else None


def test_embeddings_are_those_of_the_pipeline(weights):
    text_BLD, pooled_BD = of_diffusers(weights.location, TEXTS)
    found = ClipTextConditioner(weights, placement()).encode_prompts(TEXTS)
    for row, (text_LD, pooled_D) in enumerate(found):
        np.testing.assert_allclose(text_LD, text_BLD[row], atol=1e-5)
        if pooled_BD is None:
            assert pooled_D is None
        else:
            np.testing.assert_allclose(pooled_D, pooled_BD[row], atol=1e-5)


def test_a_text_does_not_depend_on_the_others(weights):
    conditioner = ClipTextConditioner(weights, placement(batch_size=3))
    for text, (together_LD, _) in zip(TEXTS, conditioner.encode_prompts(TEXTS), strict=True):
        ((alone_LD, _),) = conditioner.encode_prompts([text])
        np.testing.assert_allclose(alone_LD, together_LD, atol=1e-5)


def test_equal_texts_are_encoded_once(weights, monkeypatch):
    conditioner = ClipTextConditioner(weights, placement())
    asked = []
    encode = conditioner._encode
    monkeypatch.setattr(conditioner, "_encode", lambda texts: asked.extend(texts) or encode(texts))
    found = conditioner.encode_prompts(TEXTS)
    assert asked == TEXTS[:4]
    assert found[0] is found[4]


def test_no_texts_give_no_embeddings(weights):
    assert ClipTextConditioner(weights, placement()).encode_prompts([]) == []


def test_a_folder_without_text_encoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no folder text_encoder; name a pipeline that diffusers saved"):
        ClipTextConditioner(weights_at(tmp_path), placement())

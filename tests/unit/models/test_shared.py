"""One network in memory for all wrappers of a process."""

import gc
import weakref

import pytest
from _checkpoints import save_clip, save_stable_diffusion, weights_at
from _language_models import save_blip, save_llama

from models import registry
from models.captioners.blip import Blip
from models.diffusion.latents import VaeEncoder
from models.diffusion.text_conditioner import ClipTextConditioner
from models.encoders import convert_clip
from models.encoders.clip import Clip
from models.language.transformers_text import TransformersText
from models.placement import Placement

ONE, MANY = Placement(device="cpu", batch_size=1), Placement(device="cpu", batch_size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


def test_wrappers_of_any_batch_size_and_settings_share_the_network(folder, tmp_path):
    clip = Clip(weights_at(folder), ONE)
    assert Clip(weights_at(folder), MANY)._model is clip._model
    tagger = registry.load("Tagger", f"path:{folder}", MANY, tags=("car", "cat"))
    assert tagger._encoder._model is clip._model
    blip = weights_at(save_blip(tmp_path / "blip"))
    captioner = Blip(blip, ONE)
    assert Blip(blip, MANY, prompt="a c", num_beams=1)._model is captioner._model
    diffusion = weights_at(save_stable_diffusion(tmp_path / "sd"))
    latents, texts = VaeEncoder(diffusion, ONE), ClipTextConditioner(diffusion, ONE)
    assert VaeEncoder(diffusion, MANY)._vae is latents._vae
    assert ClipTextConditioner(diffusion, MANY)._parts[0][1] is texts._parts[0][1]
    llama = weights_at(save_llama(tmp_path / "llama"))
    writer = TransformersText(llama, ONE)
    assert TransformersText(llama, MANY, system_prompt="be brief")._model is writer._model


def test_wrappers_of_open_clip_share_the_network(folder, tmp_path):
    assert convert_clip.main([str(folder), str(tmp_path / "made")]) == 0
    encoder = registry.load("ImageTextEncoder", f"path:{tmp_path / 'made'}", ONE)
    again = registry.load("ImageTextEncoder", f"path:{tmp_path / 'made'}", MANY)
    tokens = registry.load("ImageTextTokens", f"path:{tmp_path / 'made'}", MANY)
    assert encoder._model is again._model is tokens._model


def test_precision_and_changed_files_make_another_network(tmp_path):
    clip = Clip(weights_at(save_clip(tmp_path)), ONE)
    half = Clip(weights_at(tmp_path), Placement(device="cpu", dtype="bfloat16"))
    assert half._model is not clip._model
    save_clip(tmp_path)
    assert Clip(weights_at(tmp_path), ONE)._model is not clip._model


def test_a_network_that_no_wrapper_uses_is_given_up(folder):
    clip = Clip(weights_at(folder), ONE)
    network = weakref.ref(clip._model)
    del clip
    gc.collect()
    assert network() is None

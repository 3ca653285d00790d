import numpy as np
import pytest
from _checkpoints import IMAGES, make_image, placement, save_clip, save_siglip, save_vit, weights_at
from PIL import Image

from models.encoders.clip import Clip
from models.placement import Placement

TEXTS = ["a red car", "the cat on the grass", "blue", "a photo of a cat"]
LONG = "the red cat on the grass " * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory):
    return save_siglip(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="module")
def clip(folder):
    return Clip(weights_at(folder), placement())


def unit(features):
    rows = features.pooler_output.detach().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def assert_valid(emb, num_rows, dim):
    assert emb.shape == (num_rows, dim)
    assert emb.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(emb, axis=1), 1, rtol=1e-5)


def test_embeddings_are_those_of_the_library(folder, clip):
    from transformers import CLIPModel, CLIPProcessor

    model, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder)
    inputs = processor(text=TEXTS, images=IMAGES, padding=True, return_tensors="pt")
    images, texts = clip.encode_images(IMAGES), clip.encode_texts(TEXTS)
    assert_valid(images, len(IMAGES), 24)
    assert_valid(texts, len(TEXTS), 24)
    assert clip.dim == 24
    np.testing.assert_allclose(images, unit(model.get_image_features(inputs["pixel_values"])), atol=1e-4)
    expected = model.get_text_features(inputs["input_ids"], attention_mask=inputs["attention_mask"])
    np.testing.assert_allclose(texts, unit(expected), atol=1e-4)


def test_siglip_reads_its_texts_padded_to_full_length(siglip_folder):
    from transformers import SiglipModel, SiglipProcessor

    siglip = Clip(weights_at(siglip_folder), placement())
    model, processor = SiglipModel.from_pretrained(siglip_folder), SiglipProcessor.from_pretrained(siglip_folder)
    inputs = processor(text=TEXTS, images=IMAGES, padding="max_length", return_tensors="pt")
    assert inputs["input_ids"].shape[1] == 16
    images, texts = siglip.encode_images(IMAGES), siglip.encode_texts(TEXTS)
    assert_valid(images, len(IMAGES), siglip.dim)
    np.testing.assert_allclose(images, unit(model.get_image_features(inputs["pixel_values"])), atol=1e-4)
    expected = unit(model.get_text_features(input_ids=inputs["input_ids"]))
    np.testing.assert_allclose(texts, expected, atol=1e-4)
    masked = model.get_text_features(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    assert np.abs(unit(masked) - expected).max() > 1e-3  # the tokenizer here gives a mask, and it would matter


def test_a_row_does_not_depend_on_its_batch(clip):
    images, texts = clip.encode_images(IMAGES), clip.encode_texts(TEXTS)
    np.testing.assert_allclose(np.concatenate([clip.encode_images([p]) for p in IMAGES]), images, atol=1e-4)
    np.testing.assert_allclose(np.concatenate([clip.encode_texts([t]) for t in TEXTS]), texts, atol=1e-4)
    assert np.abs(images[0] - images[1]).max() > 1e-3


def test_nothing_in_gives_nothing_out(clip):
    assert clip.encode_images([]).shape == (0, 24)
    assert clip.encode_texts([]).shape == (0, 24)


def test_a_text_longer_than_the_model_reads_is_cut(clip):
    np.testing.assert_allclose(clip.encode_texts([LONG]), clip.encode_texts([LONG + "blue"]), atol=1e-4)
    assert_valid(clip.encode_texts(["", LONG]), 2, 24)


def test_images_of_other_modes_are_read_as_rgb(clip):
    grey = make_image(28, 28).convert("L")
    np.testing.assert_allclose(clip.encode_images([grey]), clip.encode_images([grey.convert("RGB")]), atol=1e-4)
    assert_valid(clip.encode_images([Image.new("RGBA", (9, 30))]), 1, 24)


def test_half_precision_gives_nearly_the_same_embeddings(folder, clip):
    half = Clip(weights_at(folder), Placement(device="cpu", dtype="bfloat16"))
    emb = half.encode_images(IMAGES)
    assert emb.dtype == np.float32
    assert (emb * clip.encode_images(IMAGES)).sum(axis=1).min() > 0.99


def test_a_checkpoint_without_both_towers_is_refused(folder, tmp_path):
    from transformers import AutoProcessor

    save_vit(tmp_path)
    AutoProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a ViTModel, which does not embed both images and texts"):
        Clip(weights_at(tmp_path), placement())

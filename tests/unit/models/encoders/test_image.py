import numpy as np
import pytest
from _checkpoints import IMAGES, placement, save_dinov2, save_vit, weights_at

from models.encoders.image import DinoEncoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_dinov2(tmp_path_factory.mktemp("dinov2"))


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory):
    return save_vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def encoder(folder):
    return DinoEncoder(weights_at(folder), placement())


def unit(rows):
    rows = rows.detach().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_dinov2_embeddings_are_the_librarys_pooled_output(folder, encoder):
    from transformers import AutoImageProcessor, Dinov2Model

    inputs = AutoImageProcessor.from_pretrained(folder)(IMAGES, return_tensors="pt")
    emb = encoder.encode_images(IMAGES)
    assert emb.shape == (len(IMAGES), encoder.dim)
    assert emb.dtype == np.float32
    np.testing.assert_allclose(emb, unit(Dinov2Model.from_pretrained(folder)(**inputs).pooler_output), atol=1e-4)


def test_dino_embeddings_are_the_cls_token_of_the_last_layer(vit_folder):
    from transformers import AutoImageProcessor, ViTModel

    inputs = AutoImageProcessor.from_pretrained(vit_folder)(IMAGES, return_tensors="pt")
    tokens = ViTModel.from_pretrained(vit_folder, add_pooling_layer=False)(**inputs).last_hidden_state
    emb = DinoEncoder(weights_at(vit_folder), placement()).encode_images(IMAGES)
    np.testing.assert_allclose(emb, unit(tokens[:, 0]), atol=1e-4)


def test_a_row_does_not_depend_on_its_batch(encoder):
    alone = np.concatenate([encoder.encode_images([image]) for image in IMAGES])
    np.testing.assert_allclose(alone, encoder.encode_images(IMAGES), atol=1e-4)


def test_nothing_in_gives_nothing_out(encoder):
    assert encoder.encode_images([]).shape == (0, encoder.dim)

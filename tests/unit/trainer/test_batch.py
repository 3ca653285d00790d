import numpy as np
import pytest
import torch

from trainer.batch import collate
from trainer.decode import TEXTS, Sample

GENERATOR = np.random.default_rng(0)


def sample(number, **more):
    pixels = GENERATOR.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    masks = GENERATOR.random((2, 8, 8)) < 0.5
    fields = {
        "number": number, "epoch": 0, "key": str(number), "source_HWC": pixels[0], "target_HWC": pixels[1],
        "source_mask_HW": masks[0], "target_mask_HW": masks[1],
        "source_latent_Chw": np.full((4, 2, 2), number, np.float16), "target_latent_Chw": None,
        "texts": {name: f"{name} {number}" for name in TEXTS},
    }  # fmt: skip
    return Sample(**{**fields, **more})


def test_images_go_from_minus_one_to_one_and_masks_to_shares_of_latent_cells():
    samples = [sample(3), sample(5)]
    batch = collate(samples, 2)
    for row, one in enumerate(samples):
        expected = one.target_HWC.transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(batch.target_BCHW[row], expected, atol=1e-6)
        cells = one.source_mask_HW.reshape(2, 4, 2, 4).mean((1, 3))
        np.testing.assert_allclose(batch.source_mask_B1hw[row, 0], cells, atol=1e-6)
        assert (batch.source_mask_B1HW[row, 0].numpy() == one.source_mask_HW).all()
    assert batch.number_B.tolist() == [3, 5]
    assert batch.target_captions == ("target_caption 3", "target_caption 5")
    assert (batch.source_latent_BChw[:, 0, 0, 0] == torch.tensor([3.0, 5.0])).all()
    assert batch.source_latent_BChw.dtype == torch.float32
    assert len(batch) == 2


def test_what_one_sample_lacks_the_batch_lacks():
    lacking = sample(1, source_latent_Chw=None, source_mask_HW=None)
    batch = collate([sample(0), lacking], 2)
    assert batch.source_latent_BChw is batch.source_mask_B1HW is batch.source_mask_B1hw is None
    assert batch.target_latent_BChw is None
    assert batch.target_mask_B1HW is not None


def test_tensors_move_to_a_device_but_for_the_numbers():
    batch = collate([sample(0)], 2).to(torch.device("meta"))
    assert batch.source_BCHW.device.type == batch.source_mask_B1hw.device.type == "meta"
    assert batch.number_B.device.type == "cpu"
    assert batch.target_latent_BChw is None
    with pytest.raises(AttributeError):
        batch.keys = ()

import numpy as np
import pytest
import torch

from core.errors import ContractError
from trainer.batch import collate
from trainer.decode import Decoder, Sample

GENERATOR = np.random.default_rng(0)
READS = ("source_images", "target_image", "target_caption", "turn", "retrieval_cos")
IF_PRESENT = ("source_mask_png", "source_latent", "instruction")
DECODER = Decoder(size_px=8, required=READS, optional=IF_PRESENT)


def sample(number, **more):
    pixels = GENERATOR.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    values = {
        "source_images": (pixels[0], pixels[1]), "target_image": pixels[2],
        "source_mask_png": GENERATOR.random((8, 8)) < 0.5, "source_latent": np.full((4, 2, 2), number, np.float16),
        "target_caption": f"caption {number}", "instruction": "", "turn": number, "retrieval_cos": 1,
    }  # fmt: skip
    kept = {name: value for name, value in {**values, **more}.items() if value is not None}
    return Sample(number=number, epoch=0, key=str(number), size=(8, 8), values=kept)


def made(*samples):
    return collate(samples, DECODER, "recipe x")


def test_columns_are_tensors_or_texts_by_their_kind():
    samples = [sample(3), sample(5)]
    batch = made(*samples)
    for row, one in enumerate(samples):
        expected = one.values["target_image"].transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(batch["target_image"][row], expected, atol=1e-6)
        assert (batch["source_mask_png"][row, 0].numpy() == one.values["source_mask_png"]).all()
    assert batch["target_caption"] == ("caption 3", "caption 5")
    assert (batch["source_latent"][:, 0, 0, 0] == torch.tensor([3.0, 5.0])).all()
    assert batch["source_latent"].dtype == batch["retrieval_cos"].dtype == torch.float32
    assert (batch["turn"].dtype, batch["turn"].tolist()) == (torch.int64, [3, 5])
    assert batch.number_B.tolist() == [3, 5]
    assert len(batch) == 2


def test_source_images_are_as_many_as_every_sample_has():
    one, other = sample(0), sample(1)
    assert [image.shape for image in made(one, other)["source_images"]] == [(2, 3, 8, 8)] * 2
    single = sample(2, source_images=other.values["source_images"][:1])
    (first,) = made(one, single)["source_images"]
    np.testing.assert_allclose(first[0], one.values["source_images"][0].transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)


def test_what_one_sample_lacks_the_batch_lacks():
    batch = made(sample(0), sample(1, source_latent=None, source_mask_png=None))
    assert "source_latent" not in batch
    assert "source_mask_png" not in batch
    assert "target_image" in batch
    with pytest.raises(ContractError, match=r"recipe x asks for source_latent, which samples of this batch lack"):
        batch["source_latent"]


def test_array_that_some_samples_lack_is_completed_row_by_row():
    samples = [sample(0), sample(1, source_latent=None), sample(2), sample(3, source_latent=None)]
    batch = made(*samples)
    assert "source_latent" not in batch
    asked = []

    def make(rows):
        asked.append(rows)
        return torch.full((len(rows), 4, 2, 2), -1.0) * torch.tensor(rows)[:, None, None, None]

    whole = batch.completed("source_latent", make)
    assert whole[:, 0, 0, 0].tolist() == [0, -1, 2, -3]
    assert asked == [batch.rows_without("source_latent")] == [[1, 3]]
    assert made(samples[1], samples[3]).completed("source_latent", make)[:, 0, 0, 0].tolist() == [0, -1]
    assert made(samples[0], samples[2]).completed("source_latent", make)[:, 0, 0, 0].tolist() == [0, 2]
    assert len(asked) == 2
    with pytest.raises(ContractError, match="asks for the column 'target_latent', which it does not read"):
        batch.completed("target_latent", make)


def test_column_that_was_not_declared_is_an_error():
    reported = (
        r"recipe x asks for the column 'target_mask_png', which it does not read; name it in `reads` or "
        r"`reads_if_present` \(it reads: source_images, target_image, "
    )
    with pytest.raises(ContractError, match=reported):
        made(sample(0))["target_mask_png"]
    with pytest.raises(ContractError, match=reported):
        assert "target_mask_png" in made(sample(0))


def test_tensors_move_to_a_device_but_for_the_numbers():
    batch = made(sample(0)).to(torch.device("meta"))
    assert batch["target_image"].device.type == batch["source_images"][0].device.type == "meta"
    assert batch.number_B.device.type == "cpu"
    assert batch["target_caption"] == ("caption 0",)
    with pytest.raises(AttributeError):
        batch.keys = ()


def test_some_samples_of_a_batch_have_their_values_in_the_order_asked_for():
    batch = made(*[sample(number) for number in (3, 5, 8)])
    some = batch.select([2, 0])
    assert (some.keys, some.epochs, some.number_B.tolist()) == (("8", "3"), (0, 0), [8, 3])
    assert torch.equal(some["target_image"], batch["target_image"][[2, 0]])
    for one, whole in zip(some["source_images"], batch["source_images"], strict=True):
        assert torch.equal(one, whole[[2, 0]])
    assert torch.equal(some["source_mask_png"], batch["source_mask_png"][[2, 0]])
    assert some["source_latent"][:, 0, 0, 0].tolist() == [8.0, 3.0]
    assert some["target_caption"] == ("caption 8", "caption 3")
    assert (some["turn"].tolist(), some["turn"].dtype) == ([8, 3], torch.int64)
    assert (len(some), some.reader, some.declared) == (2, batch.reader, batch.declared)


def test_all_samples_of_a_batch_are_the_batch():
    batch = made(sample(0), sample(1, source_latent=None, source_mask_png=None))
    same = batch.select(range(2))
    assert same.columns.keys() == batch.columns.keys()
    assert torch.equal(same["target_image"], batch["target_image"])
    assert torch.equal(same.number_B, batch.number_B)
    assert same.rows_without("source_latent") == [1]


@pytest.mark.parametrize(
    ("rows", "lacking"), [([0, 1, 3], [1]), ([3, 1, 0, 2], [1, 3]), ([1], [0]), ([2, 0], [0]), ([3, 0], []), ([0], [])]
)
def test_array_that_some_of_the_batch_have_stays_with_its_samples(rows, lacking):
    """Samples 0 and 3 have a latent, 1 and 2 have none. Those of one kind alone are complete, or have nothing."""
    batch = made(*[sample(number, **({} if number in (0, 3) else {"source_latent": None})) for number in range(4)])
    some, asked = batch.select(rows), []

    def make(places):
        asked.append(places)
        return torch.full((len(places), 4, 2, 2), -1.0)

    whole = some.completed("source_latent", make)
    assert whole[:, 0, 0, 0].tolist() == [float(row) if row in (0, 3) else -1.0 for row in rows]
    assert some.rows_without("source_latent") == lacking
    assert asked == ([lacking] if lacking else [])
    assert ("source_latent" in some) == (not lacking)

import io
import json
import pickle

import numpy as np
import pytest
from _datasets import encoded
from PIL import Image

from core.errors import SampleError
from trainer.decode import Decoder, LatentSpec

SPEC = LatentSpec("zoo:sd", "r1", 8, (4, 2, 2))
DECODER = Decoder(size_px=8, needs_masks=True, latents=SPEC)
TOLD = {
    "target_caption": "a blue cat",
    "target_phrase": None,
    "latent_model": "zoo:sd",
    "latent_revision": "r1",
    "latent_size_px": 8,
}


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def steps(height=16, width=24):
    """Grey levels that rise from left to right."""
    return np.repeat(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], height, 0).repeat(3, 2)


def raw(**more):
    mask = (steps()[..., 0] > 127).astype(np.uint8) * 255
    members = {
        "source.png": encoded(steps(), "PNG"), "target.webp": encoded(steps()[:, ::-1], "WEBP", lossless=True),
        "source_mask.png": encoded(mask, "PNG"), "target_mask.png": encoded(mask[:, ::-1], "PNG"),
        "source_latent.npy": npy(np.ones((4, 2, 2), np.float16)), "target_latent.npy": npy(np.ones((4, 2, 2), "f2")),
        "json": json.dumps(TOLD).encode(),
    }  # fmt: skip
    return {"__key__": "k", **members, **{name.replace("__", "."): value for name, value in more.items()}}


def decode(members, decoder=DECODER, *, is_mirrored=False):
    return decoder.decode(members, shard="s.tar", number=7, epoch=1, is_mirrored=is_mirrored)


def refusal(members):
    with pytest.raises(SampleError) as caught:
        decode(members)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_and_masks_are_cut_alike():
    sample = decode(raw())
    middle = Image.fromarray(steps()[:, 4:20])
    expected = np.asarray(middle.resize((8, 8), Image.Resampling.BICUBIC))
    assert sample.source_HWC.shape == (8, 8, 3)
    assert np.abs(sample.source_HWC.astype(int) - expected).max() <= 1
    assert (sample.source_mask_HW == (sample.source_HWC[..., 0] > 127)).all()
    assert (sample.target_mask_HW == sample.source_mask_HW[:, ::-1]).all()
    assert (sample.number, sample.epoch, sample.key) == (7, 1, "k")
    assert sample.texts["target_caption"] == "a blue cat"
    assert sample.texts["target_phrase"] == sample.texts["instruction"] == ""


def test_latents_of_encode_latents_are_of_the_same_square():
    from stages.encode_latents import EncodeLatents

    stage = EncodeLatents(model="zoo:sd", size_px=8)
    expected = np.asarray(stage._square(Image.fromarray(steps())))
    assert (decode(raw()).source_HWC == expected).all()


def test_mirroring_turns_images_and_masks():
    plain, mirrored = decode(raw()), decode(raw(), is_mirrored=True)
    assert (mirrored.source_HWC == plain.source_HWC[:, ::-1]).all()
    assert (mirrored.target_mask_HW == plain.target_mask_HW[:, ::-1]).all()


def test_latents_are_taken_only_where_they_are_of_this_model_and_size():
    assert (decode(raw()).source_latent_Chw == 1).all()
    for other in (
        LatentSpec("zoo:other", "r1", 8, (4, 2, 2)),
        LatentSpec("zoo:sd", "r2", 8, (4, 2, 2)),
        LatentSpec("zoo:sd", "r1", 16, (4, 2, 2)),
        None,
    ):
        sample = decode(raw(), Decoder(size_px=8, needs_masks=True, latents=other))
        assert sample.source_latent_Chw is sample.target_latent_Chw is None


def test_masks_that_nobody_needs_may_be_missing():
    members = {name: value for name, value in raw().items() if "mask" not in name}
    assert decode(members, Decoder(size_px=8, needs_masks=False)).source_mask_HW is None
    assert refusal(members) == "shard s.tar, sample k: source_mask.png is not there"


@pytest.mark.parametrize(
    ("name", "masks", "latents"),
    [
        ("k.json", True, True), ("k.source.jpg", True, True), ("k.target.webp", True, True),
        ("k.source1.jpg", False, False), ("k.source_mask.png", True, False), ("k.target_latent.npy", False, True),
        ("k.txt", False, False),
    ],
)  # fmt: skip
def test_only_members_that_are_used_are_read(name, masks, latents):
    bare = Decoder(size_px=8, needs_masks=False)
    assert DECODER.wants(name) == (masks or latents)
    assert bare.wants(name) == (masks and latents)


def giant():
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f2", "fortran_order": False, "shape": (1 << 40,)})
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    np.savez(buffer, np.ones((4, 2, 2), "f2"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"source__png": b"nonsense"}, "source.jpg|png|webp cannot be read: no image format that is read"),
        ({"source__png": encoded(steps(), "PNG")[:60]}, "source.jpg|png|webp cannot be read: "),
        ({"source__png": encoded(steps(), "TIFF")}, "source.jpg|png|webp cannot be read: no image format that is read"),
        ({"target_mask__png": b""}, "target_mask.png cannot be read: "),
        ({"source_latent__npy": npy(np.ones((4, 3, 3), "f2"))}, "float16 of shape (4, 3, 3); expected finite float16"),
        ({"source_latent__npy": npy(np.full((4, 2, 2), np.nan, "f2"))}, "expected finite float16 of shape (4, 2, 2)"),
        ({"source_latent__npy": npy(np.ones((4, 2, 2), "f8"))}, "float64 of shape (4, 2, 2); expected finite"),
        ({"source_latent__npy": b"\x93NUMPY"}, "source_latent.npy cannot be read: "),
        ({"source_latent__npy": npy(np.ones((4, 2, 2), "f2"))[:-1]}, "31 bytes of values; expected finite float16"),
        ({"source_latent__npy": npy(np.ones((4, 2, 2), "f2")) + b"x"}, "33 bytes of values; expected finite float16"),
        ({"source_latent__npy": giant()}, "float16 of shape (1099511627776,); expected finite float16"),
        ({"source_latent__npy": archive()}, "source_latent.npy cannot be read: "),
        ({"source_latent__npy": b"\x93NUMPY\x09\x00" + bytes(99)}, "source_latent.npy cannot be read: "),
        ({"json": b"[" * 100_000}, "json cannot be read: "),
        ({"json": b"{"}, "json cannot be read: "),
        ({"json": b"[]"}, "json cannot be read: it states no target_caption"),
        ({"json": b"{}"}, "json cannot be read: it states no target_caption"),
        ({"json": json.dumps({**TOLD, "instruction": 3}).encode()}, "json cannot be read: instruction is no text"),
        ({"json": b"\xff"}, "json cannot be read: "),
    ],
)
def test_damaged_member_is_named_with_shard_and_key(members, message):
    told = refusal(raw(**members))
    assert told.startswith("shard s.tar, sample k: ")
    assert message in told


def test_sample_without_an_image_is_refused():
    members = raw()
    del members["source.png"]
    assert refusal(members) == "shard s.tar, sample k: source.jpg|png|webp is not there"


def test_pickle_in_an_array_is_not_opened():
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    assert "object of shape (1,); expected finite float16" in refusal(
        raw(source_latent__npy=buffer.getvalue() + pickle.dumps([Trap()]))
    )


def test_image_of_absurd_size_is_not_decoded():
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    assert "exceeds limit" in refusal(raw(source__png=bomb.getvalue()))
    medium = io.BytesIO()
    Image.new("1", (10_000, 9_000)).save(medium, "PNG")
    assert "more than 50331648 pixels" in refusal(raw(source__png=medium.getvalue()))

import io
import json
import pickle

import numpy as np
import pytest
from _datasets import encoded
from PIL import Image

from core.errors import ContractError, SampleError
from trainer.arrays import ArraySpec
from trainer.decode import Decoder

READS = ("source_images", "target_image", "source_mask_png", "target_mask_png", "target_caption")
LATENTS = ("source_latent", "target_latent")
TEXTS = ArraySpec(
    made_by={"text_model": "zoo:sd", "text_revision": "t1"},
    shapes={"instruction_emb": (3, 2), "instruction_pooled_emb": (2,)},
)


def latents(model="zoo:sd", revision="r1", size_px=8):
    made_by = {"latent_model": model, "latent_revision": revision, "latent_size_px": size_px}
    return ArraySpec(made_by=made_by, shapes=dict.fromkeys(LATENTS, (4, 2, 2)))


IF_PRESENT = (*LATENTS, "target_phrase", "instruction", "turn", "retrieval_cos")
DECODER = Decoder(size_px=8, required=READS, optional=IF_PRESENT, arrays=(latents(),))
METADATA = {
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
        "json": json.dumps(METADATA).encode(),
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
    values = sample.values
    (source,) = values["source_images"]
    assert source.shape == (8, 8, 3)
    assert np.abs(source.astype(int) - expected).max() <= 1
    assert (values["source_mask_png"] == (source[..., 0] > 127)).all()
    assert (values["target_mask_png"] == values["source_mask_png"][:, ::-1]).all()
    assert (sample.number, sample.epoch, sample.key) == (7, 1, "k")
    assert values["target_caption"] == "a blue cat"
    assert values["target_phrase"] == values["instruction"] == ""


def test_further_source_images_are_read_in_their_order():
    first, second = decode(raw(source1__jpg=encoded(steps()[:, ::-1], quality=95))).values["source_images"]
    assert np.abs(second.astype(int) - first[:, ::-1]).max() <= 8


def test_numbers_are_read_and_may_be_absent():
    reported = json.dumps({**METADATA, "turn": 2}).encode()
    values = decode(raw(json=reported)).values
    assert values["turn"] == 2
    assert "retrieval_cos" not in values


@pytest.mark.parametrize(
    ("name", "value"),
    [("turn", 1.5), ("turn", 2**63), ("turn", "2"), pytest.param("retrieval_cos", 10**400, id="retrieval_cos-1e400")],
)
def test_number_that_its_column_cannot_hold_is_named(name, value):
    message = refusal(raw(json=json.dumps({**METADATA, name: value}).encode()))
    assert message.startswith("shard s.tar, sample k: json cannot be read: ")


def test_column_that_no_training_can_read_is_refused():
    with pytest.raises(ContractError, match=r"column 'neighbour_ids' \(list<.*>\) cannot be read by a training"):
        Decoder(size_px=8, required=("neighbour_ids",))
    with pytest.raises(ContractError, match=r"column 'target_imge' is not declared .* \(did you mean 'target_image'"):
        Decoder(size_px=8, required=("target_imge",))


def test_latents_of_encode_latents_are_of_the_same_square():
    from samples.stored_images import centre_square

    expected = np.asarray(centre_square(Image.fromarray(steps()), 8))
    assert (decode(raw()).values["source_images"][0] == expected).all()


def test_region_and_anchor_are_read_beside_records_of_candidates():
    metadata = METADATA | {"candidates": [{"number": 1, "pair_l1": None}], "is_whole_image": True, "pair_l1": 0.5}
    region = np.full((16, 24), 255, np.uint8)
    members = raw(region_mask__png=encoded(region, "PNG"), anchor__png=encoded(steps(), "PNG"))
    members["json"] = json.dumps(metadata).encode()
    reads = ("source_images", "anchor_image", "region_mask_png", "is_whole_image", "pair_l1")
    values = decode(members, Decoder(size_px=8, required=reads)).values
    assert values["region_mask_png"].all()
    assert (values["anchor_image"] == values["source_images"][0]).all()
    assert (values["is_whole_image"], values["pair_l1"]) == (True, 0.5)


def test_mirroring_turns_images_and_masks():
    plain, mirrored = decode(raw()).values, decode(raw(), is_mirrored=True).values
    assert (mirrored["source_images"][0] == plain["source_images"][0][:, ::-1]).all()
    assert (mirrored["target_mask_png"] == plain["target_mask_png"][:, ::-1]).all()


def test_latents_are_taken_only_where_they_are_of_this_model_and_size():
    assert (decode(raw()).values["source_latent"] == 1).all()
    for other in (
        (latents(model="zoo:other"),),
        (latents(revision="r2"),),
        (latents(size_px=16),),
        (),
    ):
        decoder = Decoder(size_px=8, required=READS, optional=IF_PRESENT, arrays=other)
        assert not decode(raw(), decoder).values.keys() & set(LATENTS)


def test_latents_that_a_recipe_cannot_do_without_must_be_usable():
    def decoder(*arrays):
        return Decoder(size_px=8, required=("source_latent",), arrays=arrays)

    assert (decode(raw(), decoder(latents())).values["source_latent"] == 1).all()
    for arrays, is_mirrored in (((latents(revision="r2"),), False), ((), False), ((latents(),), True)):
        with pytest.raises(SampleError, match=r"source_latent.npy cannot be read: it is of another model, revision"):
            decode(raw(), decoder(*arrays), is_mirrored=is_mirrored)


def with_texts(**light):
    reported = {**METADATA, "text_model": "zoo:sd", "text_revision": "t1", **light}
    return raw(
        json=json.dumps(reported).encode(),
        instruction_emb__npy=npy(np.ones((3, 2), "f2")), instruction_pooled_emb__npy=npy(np.ones(2, "f2")),
    )  # fmt: skip


def test_mirrored_sample_has_embeddings_of_texts_and_no_latents():
    decoder = Decoder(size_px=8, required=READS, optional=(*IF_PRESENT, *TEXTS.shapes), arrays=(latents(), TEXTS))
    plain, mirrored = (decode(with_texts(), decoder, is_mirrored=one).values.keys() for one in (False, True))
    assert plain - mirrored == set(LATENTS)
    assert mirrored >= set(TEXTS.shapes)
    assert not decode(with_texts(text_revision="t2"), decoder).values.keys() & set(TEXTS.shapes)


def test_embedding_of_another_shape_is_named():
    decoder = Decoder(size_px=8, required=(), optional=tuple(TEXTS.shapes), arrays=(TEXTS,))
    with pytest.raises(SampleError, match=r"instruction_emb.npy cannot be read: float16 of shape \(3, 4\); expected"):
        decode(with_texts() | {"instruction_emb.npy": npy(np.ones((3, 4), "f2"))}, decoder)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("place", ["required", "optional"])
def test_mask_that_a_sample_lacks_is_filled(place, value):
    columns = {"required": (), place: ("region_mask_png",)}
    decoder = Decoder(size_px=8, filled={"region_mask_png": value}, **columns)
    mask = decode(raw(), decoder).values["region_mask_png"]
    assert (mask.dtype, mask.shape) == (bool, (8, 8))
    assert (mask == bool(value)).all()
    stored = encoded(np.full((16, 24), 255 * (1 - int(value)), np.uint8), "PNG")
    assert (decode(raw(region_mask__png=stored), decoder).values["region_mask_png"] != bool(value)).all()


def test_sample_whose_text_names_a_side_is_not_mirrored():
    decoder = Decoder(size_px=8, required=READS, sided_texts=("instruction", "target_caption"))

    def is_mirrored(**light):
        members = raw(json=json.dumps({**METADATA, **light}).encode())
        source = decode(members, decoder, is_mirrored=True).values["source_images"][0]
        return bool(source[0, 0, 0] > source[0, -1, 0])

    assert is_mirrored()
    assert is_mirrored(instruction="make it bright")
    assert not is_mirrored(instruction="move the cat to the LEFT")
    assert not is_mirrored(target_caption="a cat right of a dog")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"arrays": (ArraySpec(made_by={}, shapes={"target_image": (3,)}),)}, "arrays names 'target_image', which is"),
        (
            {"sided_texts": ("turn",)},
            "`sided_texts` names 'turn', which is of kind number; expected columns of kind te",
        ),
        ({"filled": {"target_image": 1.0}}, "`filled` names 'target_image', which is of kind image"),
        ({"filled": {"region_mask_png": 1.0}}, "`filled` has 'region_mask_png': 1.0; expected a column that is read"),
        ({"filled": {"source_mask_png": 0.5}}, "`filled` has 'source_mask_png': 0.5; expected a column that is read"),
    ],
)
def test_declaration_that_is_of_the_wrong_kind_is_refused(more, message):
    with pytest.raises(ContractError, match=message):
        Decoder(size_px=8, required=READS, **more)


def test_masks_that_nobody_needs_may_be_missing():
    members = {name: value for name, value in raw().items() if "mask" not in name}
    decoder = Decoder(size_px=8, required=READS[:2], optional=READS[2:])
    assert "source_mask_png" not in decode(members, decoder).values
    assert refusal(members) == "shard s.tar, sample k: source_mask.png is not there"


@pytest.mark.parametrize(
    ("name", "is_wanted", "is_wanted_bare"),
    [
        ("k.json", True, True), ("k.source.jpg", True, True), ("k.target.webp", True, False),
        ("k.source1.jpg", True, True), ("k.source_mask.png", True, False), ("k.target_latent.npy", True, False),
        ("k.txt", False, False), ("k.target1.jpg", False, False),
    ],
)  # fmt: skip
def test_only_members_that_are_used_are_read(name, is_wanted, is_wanted_bare):
    bare = Decoder(size_px=8, required=("source_images",), optional=LATENTS)
    assert DECODER.wants(name) == is_wanted
    assert bare.wants(name) == is_wanted_bare


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
        ({"json": b"[]"}, "json cannot be read: it is no object"),
        ({"json": b"{}"}, "json cannot be read: it states no target_caption"),
        ({"json": json.dumps({**METADATA, "instruction": 3}).encode()}, "json cannot be read: instruction is no text"),
        ({"json": json.dumps({**METADATA, "turn": "2"}).encode()}, "json cannot be read: turn is no number"),
        ({"json": json.dumps({**METADATA, "turn": 1.5}).encode()}, "json cannot be read: turn is no number"),
        ({"json": json.dumps({**METADATA, "turn": 2**63}).encode()}, "json cannot be read: turn is no number"),
        ({"json": json.dumps({**METADATA, "retrieval_cos": float("nan")}).encode()}, "retrieval_cos is no number"),
        ({"json": b"\xff"}, "json cannot be read: "),
    ],
)
def test_damaged_member_is_named_with_shard_and_key(members, message):
    reported = refusal(raw(**members))
    assert reported.startswith("shard s.tar, sample k: ")
    assert message in reported


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

"""The target and the mask of an input, beside the source image that was normalised."""

import io

import numpy as np
import pytest
from _inputs import apply, encoded, make_image, png_file, table
from PIL import Image

from pipeline.context import Context
from stages.normalise_image import NormaliseImage
from stages.normalise_target import NormaliseTarget, TargetReject


def edit(source, target, mask=None, **options):
    """The row of one edit after both stages."""
    (first,) = apply(NormaliseImage(min_side_px=8, format="png", **options), table(source_raw=[source]))
    names = ("source_format", "width_px", "height_px", "original_width_px", "original_height_px")
    given = {name: [first[name]] for name in names}
    fit = options.get("fit", "keep_ratio")
    (row,) = apply(NormaliseTarget(fit=fit), table(target_raw=[target], mask_raw=[mask], **given))
    return first, row


def array(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def png(image):
    return encoded(image, "PNG")


@pytest.mark.parametrize("fit", ["keep_ratio", "center_crop", "pad"])
@pytest.mark.parametrize("size", [(90, 60), (60, 90), (400, 260)])
def test_target_equal_to_the_source_gets_the_same_pixels(fit, size):
    image = png(make_image(1, size))
    source, row = edit(image, image, fit=fit, shorter_side_px=48)
    assert (array(row["target_image"]) == array(source["source_images"][0])).all()
    assert row["target_format"] == "png"


def test_target_of_another_scale_is_brought_to_the_size_of_the_source():
    source, row = edit(png(make_image(1, (90, 60))), encoded(make_image(2, (180, 120)), "JPEG"), shorter_side_px=60)
    assert array(row["target_image"]).shape == (60, 90, 3)
    assert (source["width_px"], source["height_px"]) == (90, 60)


def test_mask_is_binary_and_its_share_is_known():
    mask = Image.new("RGB", (90, 60))
    mask.paste("white", (0, 0, 45, 60))
    _, row = edit(png(make_image(1, (90, 60))), png(make_image(2, (90, 60))), png(mask), shorter_side_px=30)
    assert set(np.unique(array(row["region_mask_png"]))) == {0, 255}
    assert array(row["region_mask_png"]).shape == (30, 45)
    assert row["core_mask_png"] == row["region_mask_png"]
    assert row["region_frac"] == pytest.approx(0.5, abs=0.03)
    assert row["is_whole_image"] is False


def test_edit_without_mask_may_change_the_whole_image():
    _, row = edit(png(make_image(1, (90, 60))), png(make_image(2, (90, 60))), shorter_side_px=30)
    assert (array(row["region_mask_png"]) == 255).all()
    assert (row["region_frac"], row["is_whole_image"]) == (1.0, True)


def with_hole(box, size=(90, 60), mode="RGBA"):
    """An image that is transparent inside of the box, as MagicBrush's masks are."""
    image = make_image(3, size).convert("RGBA")
    image.paste((255, 255, 255, 0), box)
    return png(image.convert(mode))


def masked_row(mask, mask_region="transparent", **options):
    image = png(make_image(1, (90, 60)))
    names = ("width_px", "height_px", "original_width_px", "original_height_px")
    given = dict(zip(names, ([90], [60], [90], [60]), strict=True))
    stage = NormaliseTarget(mask_region=mask_region, **options)
    (row,) = apply(stage, table(target_raw=[image], mask_raw=[mask], source_format=["png"], **given))
    return row


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("scale", [1, 2])
def test_transparent_pixels_are_the_region_where_the_settings_say_so(mode, scale):
    mask = with_hole((0, 0, 30 * scale, 20 * scale), (90 * scale, 60 * scale), mode)
    inside = array(masked_row(mask)["region_mask_png"])
    expected = np.zeros((60, 90), np.uint8)
    expected[:20, :30] = 255
    assert (inside == expected).all()


def test_bars_beside_an_image_are_outside_of_its_transparent_region_too():
    row = masked_row(with_hole((0, 0, 60, 30), (120, 60)), fit="pad", max_shape_difference=0.9)
    inside = array(row["region_mask_png"])
    assert inside[8:22, :44].all()
    assert not inside[:7].any()


def test_mask_that_cannot_be_transparent_is_rejected_where_it_should_be():
    row = masked_row(png(Image.new("L", (90, 60), 255)))
    assert row["reject_reason"] == TargetReject.NO_TRANSPARENCY
    assert row["reject_detail"] == "mask: has no transparency; mask_region is 'transparent'"
    assert masked_row(None)["is_whole_image"] is True


def test_mask_of_which_nothing_is_transparent_lets_nothing_change():
    assert masked_row(png(make_image(3, (90, 60)).convert("RGBA")))["region_frac"] == 0


def test_bomb_as_transparent_mask_is_rejected():
    assert masked_row(png_file(60_000, 60_000, b"", colour_type=6))["reject_reason"] == TargetReject.PIXEL_BOMB


def test_mask_without_a_white_pixel_is_counted():
    image = png(make_image(1, (90, 60)))
    given = {"source_format": ["png"] * 3, **{name: [side] * 3 for name, side in (
        ("width_px", 90), ("height_px", 60), ("original_width_px", 90), ("original_height_px", 60))}}  # fmt: skip
    masks = [png(Image.new("L", (90, 60), grey)) for grey in (0, 1, 255)]
    ctx = Context(stage_name="test")
    rows = NormaliseTarget().open(ctx)(table(target_raw=[image] * 3, mask_raw=masks, **given)).to_pylist()
    assert [row["region_frac"] for row in rows] == [0, 0, 1]
    assert ctx.notes == {"masks without a white pixel": 2}


def test_bars_beside_an_image_are_outside_of_its_mask():
    mask = png(Image.new("L", (90, 60), 255))
    _, row = edit(png(make_image(1, (90, 60))), png(make_image(2, (90, 60))), mask, fit="pad", shorter_side_px=90)
    inside = array(row["region_mask_png"])
    assert inside.shape == (90, 90)
    assert not inside[:15].any()
    assert inside[15:75].all()


@pytest.mark.parametrize(
    ("target", "mask", "reason", "detail"),
    [
        (None, None, TargetReject.NO_TARGET, "the input has no target image"),
        (b"no image", None, TargetReject.UNDECODABLE, "target: no image format that is read"),
        (
            png(make_image(2, (60, 90))),
            None,
            TargetReject.SHAPE_DIFFERS,
            "target: 60 x 90 px, the source image 90 x 60",
        ),
        (png(make_image(2, (90, 60))), b"\x89PNG", TargetReject.UNDECODABLE, "mask: "),
        (png_file(60_000, 40_000, b""), None, TargetReject.PIXEL_BOMB, "target: "),
        (png(make_image(2, (90, 60)))[:-60], None, TargetReject.TRUNCATED, "target: "),
    ],
)
def test_target_that_cannot_serve_is_a_reject(target, mask, reason, detail):
    _, row = edit(png(make_image(1, (90, 60))), target, mask, shorter_side_px=30)
    assert row["reject_reason"] == reason.value
    assert row["reject_detail"].startswith(detail)
    assert row["target_image"] is None

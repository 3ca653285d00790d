"""Which images the filters measure, and how often."""

import io

import pyarrow as pa
import pytest
from PIL import Image

from stages.image_filters.areas import covered_frac
from stages.image_filters.both_images import columns_of, measure_both


def png(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def rows(sources, targets=None):
    columns = {"source_images": pa.array([[png(one)] for one in sources], pa.list_(pa.binary()))}
    if targets is not None:
        columns["target_image"] = pa.array([None if one is None else png(one) for one in targets], pa.binary())
    return pa.table(columns)


class Shades:
    """Measures the shade of an image, and counts the images that it is shown."""

    def __init__(self):
        self.shown = []

    def measure(self, images):
        self.shown += [image.getpixel((0, 0))[0] for image in images]
        return {"nsfw_score": [image.getpixel((0, 0))[0] / 255 for image in images]}

    def __call__(self, table):
        found = measure_both(self, ("nsfw_score",), self.measure)(table)
        return [
            [None if value is None else round(value * 255) for value in found[name].to_pylist()]
            for name in ("source_nsfw_score", "target_nsfw_score")
        ]


def test_source_and_target_of_each_row_are_measured():
    assert Shades()(rows([1, 2, 3], [4, 5, 6])) == [[1, 2, 3], [4, 5, 6]]


def test_image_of_several_rows_is_shown_once():
    shades = Shades()
    assert shades(rows([9, 9, 9], [4, 9, 4])) == [[9, 9, 9], [4, 9, 4]]
    assert shades.shown == [9, 4]


def test_row_without_a_target_has_no_value():
    assert Shades()(rows([1, 2], [None, 3])) == [[1, 2], [None, 3]]
    assert Shades()(rows([1, 2])) == [[1, 2], [None, None]]


def test_empty_batch_asks_the_model_nothing():
    shades = Shades()
    assert shades(rows([], [])) == [[], []]
    assert shades.shown == []


def test_columns_are_those_of_both_images():
    assert columns_of("num_faces", "face_frac") == (
        "source_num_faces", "source_face_frac", "target_num_faces", "target_face_frac",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], 0.0),
        ([[0, 0, 10, 5]], 0.5),
        ([[0, 0, 10, 5], [0, 0, 10, 5], [2, 1, 4, 3]], 0.5),
        ([[0, 0, 2, 5], [8, 0, 10, 5]], 0.2),
        ([[-3, -3, 1.2, 99]], 0.1),
    ],
)
def test_overlapping_boxes_cover_their_union(boxes, expected):
    assert covered_frac(boxes, (10, 10)) == pytest.approx(expected)

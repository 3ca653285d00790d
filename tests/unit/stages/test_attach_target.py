from _stage_inputs import images_by_id, png, rows

from pipeline.context import Context
from stages.attach_target import AttachTarget


def test_target_comes_with_pixels_and_licence_of_its_own_row():
    attach = AttachTarget().open(Context(stage_name="attach_target", gatherer=images_by_id))
    table = attach(rows(target_id=["b", "a"], source_licence=["mit", None]))
    assert table["target_image"].to_pylist() == [png(2), png(1)]
    assert table["target_licence"].to_pylist() == ["cc-by-4.0"] * 2
    assert table["source_licence"].to_pylist() == ["mit", None]

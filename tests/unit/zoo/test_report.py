import numpy as np

from models.protocols import Segments
from zoo import report
from zoo.world import panoptic, scene_of


def test_panoptic_maps_are_coloured_by_segment_and_wrong_labels_marked(monkeypatch):
    scenes = [scene_of(5, index) for index in range(3)]

    class Segmenter:
        def segment_panoptic(self, images):
            whole = np.full((64, 64), -1, np.int32)
            whole[:32] = 0
            return [Segments(whole, ("zebra",), (1.0,)) for _ in images]

    monkeypatch.setattr(report.registry, "load", lambda *_: Segmenter())
    section = report._panoptic(scenes)
    assert [len(figure.images) for figure in section.figures] == [3, 3, 3]
    assert all(figure.lines == [report.Line("zebra", is_wrong=True)] for figure in section.figures)
    assert panoptic(scenes[0])[0].dtype == np.uint8


def test_a_missing_model_is_named_and_the_rest_of_the_page_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "folder_of", lambda name: tmp_path / name)
    page = report.gallery()
    assert page.count("This model is not there.") == 9
    assert page.count("data:image/png;base64,") == report.SHOWN
    assert "<script" not in page

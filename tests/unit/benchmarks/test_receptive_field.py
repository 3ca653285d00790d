import pytest
import torch
from PIL import Image

from benchmarks.receptive_field import run
from benchmarks.receptive_field.run import area, field, reach

pytestmark = pytest.mark.usefixtures("one_thread")


def test_area_is_the_smallest_share_that_holds_the_mass():
    field_HW = torch.tensor([[0.1, 0.0], [0.6, 0.3]], dtype=torch.float64)
    assert [area(field_HW, mass) for mass in (0.5, 0.6, 0.8, 0.99)] == [0.25, 0.25, 0.5, 0.75]
    assert reach(field_HW) == 0.75


def test_even_field_needs_the_share_itself():
    assert area(torch.ones(10, 10, dtype=torch.float64), 0.9) == pytest.approx(0.9, abs=0.011)


def test_convolutions_reach_a_square_of_47_pixels():
    field_HW = field("conv", 64, 1, 1)
    assert field_HW.sum().item() == pytest.approx(1)
    assert int((field_HW.sum(0) > 0).sum()) == int((field_HW.sum(1) > 0).sum()) == 47


def test_table_and_image_are_written(tmp_path, monkeypatch, capsys):
    options = ["--size-px", "32", "--inits", "1", "--images", "1", "--image"]
    monkeypatch.setattr("sys.argv", ["run.py", *options, str(tmp_path / "fields.png"), "--out", str(tmp_path)])
    run.main()
    assert "| VMamba | 100.00 % | " in capsys.readouterr().out
    with Image.open(tmp_path / "fields.png") as image:
        assert image.size == (832, 300)

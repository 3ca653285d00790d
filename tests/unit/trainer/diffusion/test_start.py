import json
import shutil

import pytest

from core.errors import ModelError, UsageError
from models.schemes.zoo import ZOO
from trainer.diffusion.start import read_start

KINDS = ("StableDiffusionPipeline", "StableDiffusionRegionInstructPix2PixPipeline")


def copied(tmp_path):
    shutil.copytree(ZOO / "sd", tmp_path / "sd")
    return tmp_path / "sd"


def test_kind_and_widths_are_those_of_the_small_files(tmp_path):
    start = read_start("zoo:sd", KINDS)
    assert (start.kind, start.in_channels, start.latent_channels) == ("StableDiffusionPipeline", 4, 4)
    assert (start.latent_factor, start.num_halvings) == (4, 1)
    folder = copied(tmp_path)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": KINDS[1]}))
    region = read_start(f"path:{folder}", KINDS)
    assert (region.kind, region.pipeline_class) == (KINDS[1], "StableDiffusionInstructPix2PixPipeline")


def test_kind_that_is_not_asked_for_is_refused():
    with pytest.raises(
        UsageError, match="'zoo:clip' is of kind 'clip'; this trainer takes a StableDiffusionPipeline or"
    ):
        read_start("zoo:clip", KINDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "unet/config.json cannot be read"),
        ('{"in_channels": "8"}', "unet/config.json states in_channels '8'; expected a whole num"),
        ('{"block_out_channels": 3}', "unet/config.json states block_out_channels 3; expected a list"),
    ],
)
def test_damaged_description_names_its_file(tmp_path, content, message):
    folder = copied(tmp_path)
    (folder / "unet" / "config.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        read_start(f"path:{folder}", KINDS)

"""Generated images are made once for each image, box, description and seed, and kept on disk."""

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.recipes.regions.composite import Box
from trainer.recipes.regions.generated import GeneratedImages, Generator

WHOLE, LEFT = Box(0, 0, 8, 8), Box(0, 0, 8, 4)


class Painter:
    """An EditSynthesizer that paints the mask in a grey of the prompt's length and the seed. It keeps the calls."""

    def __init__(self):
        self.calls = []

    def inpaint(self, images, masks, prompts, *, seeds, num_steps, guidance_scale):
        self.calls.append((len(images), num_steps, guidance_scale))
        found = []
        for image, mask, prompt, seed in zip(images, masks, prompts, seeds, strict=True):
            pixels = np.array(image)
            pixels[mask] = (len(prompt), seed % 251, 0)
            found.append(Image.fromarray(pixels))
        return found


def sources(count=2):
    return (torch.arange(count)[:, None, None, None] / 255 + torch.full((count, 3, 8, 8), 0.2)).contiguous()


def kept(folder, painter, **changes):
    settings = {"identity": "painter 1", "num_steps": 4, "guidance_scale": 2.0, "batch_size": 4, **changes}
    return GeneratedImages(Generator(painter, **settings), folder)


def test_an_image_is_generated_once(tmp_path):
    painter = Painter()
    generated = kept(tmp_path, painter)
    first = generated.images(sources(), [WHOLE, LEFT], ["a", "bb"], [0, 0])
    again = generated.images(sources(), [WHOLE, LEFT], ["a", "bb"], [0, 0])
    other = kept(tmp_path, painter).images(sources(), [WHOLE, LEFT], ["a", "bb"], [0, 0])  # as a resumed training
    assert torch.equal(first, again)
    assert torch.equal(first, other)
    assert painter.calls == [(2, 4, 2.0)]
    assert (generated.num_generated, generated.num_read) == (2, 2)


def test_only_the_box_is_repainted(tmp_path):
    found = kept(tmp_path, Painter()).images(sources(1), [LEFT], ["abc"], [0])
    assert found.shape == (1, 3, 8, 8)
    assert (found[0, 0, :, :4] == 3 / 255).all()
    torch.testing.assert_close(found[0, :, :, 4:], sources(1)[0, :, :, 4:], atol=1 / 255, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": [LEFT]}, {"descriptions": ["b"]}, {"seeds": [1]}, {"source": sources() + 0.1},
        {"identity": "painter 2"}, {"num_steps": 5}, {"guidance_scale": 3.0},
    ],
)  # fmt: skip
def test_whatever_decides_an_image_makes_another(tmp_path, change):
    painter = Painter()
    asked = {"source": sources(), "boxes": [WHOLE], "descriptions": ["a"], "seeds": [0]}
    of_generator = {name: value for name, value in change.items() if name not in asked}
    for more, settings in (({}, {}), ({k: v for k, v in change.items() if k in asked}, of_generator)):
        values = {**asked, **more}
        kept(tmp_path, painter, **settings).images(
            values["source"][:1], values["boxes"], values["descriptions"], values["seeds"]
        )
    assert len(painter.calls) == 2


def test_one_image_asked_for_twice_in_a_batch_is_generated_once(tmp_path):
    painter = Painter()
    source = sources(1).repeat(3, 1, 1, 1)
    found = kept(tmp_path, painter).images(source, [WHOLE] * 3, ["a"] * 3, [0, 0, 0])
    assert painter.calls == [(1, 4, 2.0)]
    assert torch.equal(found[0], found[2])


def test_a_file_that_was_cut_off_is_generated_again(tmp_path):
    painter = Painter()
    first = kept(tmp_path, painter).images(sources(1), [WHOLE], ["a"], [0])
    (path,) = tmp_path.rglob("*.png")
    path.write_bytes(path.read_bytes()[:40])
    assert torch.equal(kept(tmp_path, painter).images(sources(1), [WHOLE], ["a"], [0]), first)
    assert len(painter.calls) == 2
    assert [one.name for one in tmp_path.rglob(".*.png*")] == []


def test_images_are_written_batch_by_batch(tmp_path):
    class Fails(Painter):
        def inpaint(self, images, *more, **settings):
            if self.calls:
                raise ConnectionError("no answer")
            return super().inpaint(images, *more, **settings)

    with pytest.raises(ConnectionError):
        kept(tmp_path, Fails(), batch_size=2).images(sources(3), [WHOLE] * 3, ["a"] * 3, [0, 0, 0])
    assert len(list(tmp_path.rglob("*.png"))) == 2

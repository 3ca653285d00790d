import pytest
import torch
from _language_models import cpu, make_images, save_blip, weights_at
from transformers import AutoProcessor, BlipForConditionalGeneration

from models import registry
from models.captioners.blip import Blip


@pytest.fixture(scope="module", params=[{"depth": 2, "width": 32}, {"depth": 3, "width": 48}], ids=["base", "large"])
def folder(request, tmp_path_factory):
    return save_blip(tmp_path_factory.mktemp("blip"), **request.param)


def generated(folder, image, prompt=None, **decoding):
    processor, model = AutoProcessor.from_pretrained(folder), BlipForConditionalGeneration.from_pretrained(folder)
    inputs = processor(images=image, text=prompt, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, **decoding)
    return processor.decode(tokens[0], skip_special_tokens=True).strip()


def test_captions_are_those_of_the_librarys_generate_image_by_image(folder):
    images = make_images()
    captions = Blip(weights_at(folder), cpu(batch_size=2)).caption(images)
    assert captions == [generated(folder, image, num_beams=3, max_new_tokens=30) for image in images]
    assert len(set(captions)) == len(images)
    assert all(caption and caption == caption.strip() for caption in captions)


def test_the_registry_passes_the_prompt_and_settings_to_the_captioner(folder):
    captioner = registry.load("Captioner", f"path:{folder}", cpu(), prompt="a c", num_beams=1, max_new_tokens=5)
    captions = captioner.caption(make_images())
    assert captions == [generated(folder, image, "a c", num_beams=1, max_new_tokens=5) for image in make_images()]
    assert all(caption.startswith("a c") for caption in captions)


def test_any_mode_of_image_is_read_and_none_is_fine(folder):
    captioner = Blip(weights_at(folder), cpu())
    grey = make_images()[0].convert("L")
    assert captioner.caption([grey]) == captioner.caption([grey.convert("RGB")])
    assert captioner.caption([]) == []

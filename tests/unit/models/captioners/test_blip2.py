import json

import pytest
import torch
from _language_models import cpu, make_images, save_blip2, weights_at
from transformers import AutoProcessor, Blip2ForConditionalGeneration

from models.captioners.blip2 import Blip2


@pytest.fixture(scope="module", params=["opt", "t5"])
def folder(request, tmp_path_factory):
    return save_blip2(tmp_path_factory.mktemp("blip2"), language=request.param)


def generated(folder, image, prompt, **decoding):
    """The library's result for one image, with tokens given or, without a prompt, made by the model."""
    processor, model = AutoProcessor.from_pretrained(folder), Blip2ForConditionalGeneration.from_pretrained(folder)
    inputs = processor(images=image, text=prompt, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, **decoding)[0]
    if model.config.use_decoder_only_language_model:
        given = inputs["input_ids"].shape[1] if prompt else model.config.num_query_tokens + 1
        tokens = tokens[given:]
    return processor.decode(tokens, skip_special_tokens=True).strip()


@pytest.mark.parametrize("prompt", ["", "Question: what is this? Answer:"])
def test_captions_are_those_of_the_librarys_generate_image_by_image(folder, prompt):
    captions = Blip2(weights_at(folder), cpu(batch_size=2), prompt=prompt).caption(make_images())
    alone = [generated(folder, image, prompt or None, num_beams=5, max_new_tokens=30) for image in make_images()]
    assert captions == alone
    assert len(set(captions)) > 1
    assert not any(prompt in caption for caption in captions if prompt)


def test_processor_without_places_for_the_image_is_refused(tmp_path):
    folder = save_blip2(tmp_path)
    settings = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({**settings, "num_query_tokens": None}))
    with pytest.raises(
        ValueError, match=r"processor and model disagree on the image's tokens \(None of id \d+, 4 of id"
    ):
        Blip2(weights_at(folder), cpu())

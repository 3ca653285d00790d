import pytest
import torch
from _language_models import cpu, make_images, save_qwen2_vl, weights_at
from transformers import AutoModelForImageTextToText, AutoProcessor

from models import registry
from models.captioners.chat import PROMPT, ChatCaptioner


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_qwen2_vl(tmp_path_factory.mktemp("qwen"))


def generated(folder, image, prompt, max_new_tokens):
    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    turn = {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": prompt}]}
    inputs = processor.apply_chat_template(
        [turn], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    return " ".join(processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).split())


def test_captions_of_a_padded_batch_equal_the_librarys_one_by_one(folder):
    images = make_images()
    captions = ChatCaptioner(weights_at(folder), cpu(), max_new_tokens=16).caption(images)
    assert captions == [generated(folder, image, PROMPT, 16) for image in images]
    assert len(set(captions)) == len(images)


def test_prompt_can_be_set_and_arrives_through_the_registry(folder):
    captioner = registry.load("Captioner", f"path:{folder}", cpu(batch_size=2), prompt="What is it?", max_new_tokens=8)
    assert captioner.caption(make_images()) == [generated(folder, image, "What is it?", 8) for image in make_images()]
    assert captioner.caption([]) == []


def test_checkpoint_without_a_chat_template_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no chat template; name an instruction-tuned checkpoint"):
        ChatCaptioner(weights_at(save_qwen2_vl(tmp_path, chat=False)), cpu())

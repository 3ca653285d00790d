"""Each wrapper on its miniature checkpoint gives what the library's own code gives on the same input.

Weights are stored in half precision and computed in single precision on both sides. Tolerances: 1e-5 for embeddings and
scores, 1e-4 for probabilities, equal texts, equal masks but for one pixel in a thousand, equal pixels but for one grey
level.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from models import registry
from zoo.evaluation.generation import edit_prompt, inpainting_tasks
from zoo.export import WEIGHTS
from zoo.world import boxes, caption, render, scene_of, thing_masks

pytestmark = pytest.mark.usefixtures("one_thread")

SCENES = [scene_of(77, index) for index in range(4)]
IMAGES = [Image.fromarray(render(scene)) for scene in SCENES]
PHRASES = [scene.things[0].phrase for scene in SCENES]
SAFE = {"use_safetensors": True}


def single(model):
    return model.float().eval()


def test_clip_gives_the_librarys_embeddings():
    from transformers import CLIPModel, CLIPProcessor

    model, processor = (
        single(CLIPModel.from_pretrained(WEIGHTS / "clip", **SAFE)),
        CLIPProcessor.from_pretrained(WEIGHTS / "clip"),
    )
    texts = [caption(scene) for scene in SCENES]
    inputs = processor(text=texts, images=IMAGES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        out = model(**inputs)
    clip = registry.load("ImageTextEncoder", "zoo:clip")
    np.testing.assert_allclose(clip.encode_images(IMAGES), out.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(clip.encode_texts(texts), out.text_embeds.numpy(), atol=1e-5)


def test_blip_says_what_the_librarys_generate_says():
    from transformers import BlipForConditionalGeneration, BlipProcessor

    model = single(BlipForConditionalGeneration.from_pretrained(WEIGHTS / "blip", **SAFE))
    processor = BlipProcessor.from_pretrained(WEIGHTS / "blip")
    tokens = model.generate(**processor(images=IMAGES, return_tensors="pt"), num_beams=3, max_new_tokens=30)
    expected = [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]
    assert registry.load("Captioner", "zoo:blip").caption(IMAGES) == expected


def test_clipseg_gives_the_librarys_probabilities():
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    model = single(CLIPSegForImageSegmentation.from_pretrained(WEIGHTS / "clipseg", **SAFE))
    processor = CLIPSegProcessor.from_pretrained(WEIGHTS / "clipseg")
    with torch.inference_mode():
        expected = model(**processor(text=PHRASES, images=IMAGES, padding=True, return_tensors="pt")).logits.sigmoid()
    found = registry.load("TextSegmenter", "zoo:clipseg").segment_phrases(IMAGES, PHRASES)
    np.testing.assert_allclose(np.stack(found), expected.numpy(), atol=1e-4)


def test_grounding_dino_gives_the_librarys_boxes():
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    model = single(GroundingDinoForObjectDetection.from_pretrained(WEIGHTS / "grounding-dino", **SAFE))
    processor = GroundingDinoProcessor.from_pretrained(WEIGHTS / "grounding-dino")
    found = registry.load("Detector", "zoo:grounding-dino").detect(
        IMAGES, [[phrase] for phrase in PHRASES], threshold=0.1
    )
    for image, phrase, one in zip(IMAGES, PHRASES, found, strict=True):
        inputs = processor(images=image, text=f"{phrase}.", return_tensors="pt")
        with torch.inference_mode():
            out = model(**inputs)
        expected = processor.post_process_grounded_object_detection(
            out, inputs["input_ids"], threshold=0.1, target_sizes=[(64, 64)]
        )[0]
        order = expected["scores"].argsort(descending=True)
        np.testing.assert_allclose(one.scores_N, expected["scores"][order].numpy(), atol=1e-5)
        np.testing.assert_allclose(one.boxes_N4, expected["boxes"][order].numpy().clip(0, 64), atol=1e-3)


def test_sam_gives_the_librarys_masks():
    from transformers import SamModel, SamProcessor

    model, processor = (
        single(SamModel.from_pretrained(WEIGHTS / "sam", **SAFE)),
        SamProcessor.from_pretrained(WEIGHTS / "sam"),
    )
    true = [boxes(thing_masks(scene)) for scene in SCENES]
    for image, box_N4, one in zip(
        IMAGES, true, registry.load("BoxSegmenter", "zoo:sam").segment_boxes(IMAGES, true), strict=True
    ):
        inputs = processor(image, input_boxes=[box_N4.tolist()], return_tensors="pt")
        with torch.inference_mode():
            out = model(**inputs)
        masks = processor.post_process_masks(out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"])[
            0
        ]
        best = out.iou_scores[0].argmax(1)
        np.testing.assert_allclose(one.scores_N, out.iou_scores[0].max(1).values.numpy(), atol=1e-5)
        assert (one.masks_NHW == masks.numpy()[np.arange(len(best)), best.numpy()]).mean() > 0.999


def test_mask2former_gives_the_librarys_segments():
    from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

    model = single(Mask2FormerForUniversalSegmentation.from_pretrained(WEIGHTS / "mask2former", **SAFE))
    processor = AutoImageProcessor.from_pretrained(WEIGHTS / "mask2former")
    with torch.inference_mode():
        out = model(**processor(images=IMAGES, return_tensors="pt"))
    expected = processor.post_process_panoptic_segmentation(
        out, label_ids_to_fuse=set(), target_sizes=[(64, 64)] * len(IMAGES)
    )
    found = registry.load("PanopticSegmenter", "zoo:mask2former").segment_panoptic(IMAGES)
    for one, other in zip(found, expected, strict=True):
        assert one.labels == tuple(model.config.id2label[info["label_id"]] for info in other["segments_info"])
        for place, info in enumerate(other["segments_info"]):
            assert ((one.segment_HW == place) == (other["segmentation"].numpy() == info["id"])).mean() > 0.999


def test_dino_gives_the_librarys_class_token():
    from transformers import AutoImageProcessor, Dinov2Model

    model, processor = (
        single(Dinov2Model.from_pretrained(WEIGHTS / "dino", **SAFE)),
        AutoImageProcessor.from_pretrained(WEIGHTS / "dino"),
    )
    with torch.inference_mode():
        token = model(**processor(images=IMAGES, return_tensors="pt")).last_hidden_state[:, 0]
    expected = torch.nn.functional.normalize(token, dim=-1).numpy()
    np.testing.assert_allclose(registry.load("ImageEncoder", "zoo:dino").encode_images(IMAGES), expected, atol=1e-5)


def test_llm_writes_what_the_librarys_generate_writes():
    from transformers import AutoTokenizer, LlamaForCausalLM

    model, tokenizer = (
        single(LlamaForCausalLM.from_pretrained(WEIGHTS / "llm", **SAFE)),
        AutoTokenizer.from_pretrained(WEIGHTS / "llm"),
    )
    prompts = [edit_prompt(scene) for scene in SCENES]
    expected = []
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False, return_token_type_ids=False)
        out = model.generate(**inputs, max_new_tokens=120, do_sample=False)
        expected.append(tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    assert registry.load("TextGenerator", "zoo:llm").generate(prompts, max_new_tokens=120) == expected


def generators(count):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def close_pixels(one, other):
    return np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max() <= 1


def test_sd_draws_what_the_librarys_pipeline_draws():
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / "sd", dtype=torch.float32, safety_checker=None, **SAFE)
    pipeline.set_progress_bar_config(disable=True)
    texts = [caption(scene) for scene in SCENES]
    expected = pipeline(texts, num_inference_steps=4, guidance_scale=4.0, generator=generators(4)).images
    drawn = registry.load("ImageSynthesizer", "zoo:sd").generate(texts, seeds=range(4), num_steps=4, guidance_scale=4.0)
    assert all(close_pixels(one, other) for one, other in zip(drawn, expected, strict=True))


def test_sd_inpaint_draws_as_the_library_and_keeps_the_rest():
    from diffusers import StableDiffusionInpaintPipeline

    pipeline = StableDiffusionInpaintPipeline.from_pretrained(
        WEIGHTS / "sd-inpaint", dtype=torch.float32, safety_checker=None, **SAFE
    )
    pipeline.set_progress_bar_config(disable=True)
    sources, targets, holes = zip(*inpainting_tasks(4), strict=True)
    images = [Image.fromarray(render(scene)) for scene in sources]
    texts = [caption(scene) for scene in targets]
    masks = [Image.fromarray(hole.astype(np.uint8) * 255) for hole in holes]
    settings = {"num_inference_steps": 4, "guidance_scale": 4.0, "strength": 1.0, "height": 64, "width": 64}
    expected = pipeline(texts, image=images, mask_image=masks, generator=generators(4), **settings).images
    drawn = registry.load("EditSynthesizer", "zoo:sd-inpaint").inpaint(
        images, holes, texts, seeds=range(4), num_steps=4, guidance_scale=4.0
    )
    for one, other, image, hole in zip(drawn, expected, images, holes, strict=True):
        assert close_pixels(np.asarray(one)[hole], np.asarray(other)[hole])
        assert (np.asarray(one)[~hole] == np.asarray(image)[~hole]).all()

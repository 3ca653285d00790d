import numpy as np
import pytest
from _checkpoints import IMAGES, bert_tokenizer, placement, save_grounding_dino, weights_at

from models.segmenters.grounding_dino import GroundingDino, _answers, _normalised

PHRASES = [["red car", "blue cat"], ["grass"], ["the photo of a cat", "car", "x-ray"], [], ["a cat"]]
LOW = 0.05


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_grounding_dino(tmp_path_factory.mktemp("grounding_dino"))


@pytest.fixture(scope="module")
def detector(folder):
    return GroundingDino(weights_at(folder), placement())


@pytest.fixture(scope="module")
def found(detector):
    return detector.detect(IMAGES, PHRASES, threshold=LOW)


def library_results(folder, threshold):
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    model = GroundingDinoForObjectDetection.from_pretrained(folder)
    processor = GroundingDinoProcessor.from_pretrained(folder)
    for image, phrases in zip(IMAGES, PHRASES, strict=True):
        if not phrases:
            yield None
            continue
        inputs = processor(images=image, text=". ".join(phrases) + ".", return_tensors="pt")
        sizes = [(image.height, image.width)]
        yield processor.post_process_grounded_object_detection(
            model(**inputs), inputs["input_ids"], threshold=threshold, target_sizes=sizes
        )[0]


def test_boxes_and_scores_are_those_of_the_librarys_post_processing(folder, found):
    num_boxes = 0
    for image, result, expected in zip(IMAGES, found, library_results(folder, LOW), strict=True):
        if expected is None:
            continue
        num_boxes += len(result.scores_N)
        order = np.argsort(-expected["scores"].detach().numpy(), kind="stable")
        np.testing.assert_allclose(result.scores_N, expected["scores"].detach().numpy()[order], atol=1e-5)
        boxes = np.clip(expected["boxes"].detach().numpy()[order], 0, [image.width, image.height] * 2)
        np.testing.assert_allclose(result.boxes_N4, boxes, atol=1e-3)
        assert result.boxes_N4.dtype == result.scores_N.dtype == np.float32
    assert num_boxes > 20


def test_every_box_answers_a_phrase_that_was_asked_of_its_image(found):
    assert [len(result.phrases) for result in found] == [len(result.scores_N) for result in found]
    assert all(set(result.phrases) <= set(phrases) for result, phrases in zip(found, PHRASES, strict=True))
    assert {phrase for result in found for phrase in result.phrases} > {"grass", "a cat"}


def test_scores_run_from_high_to_low_and_reach_the_threshold(detector, found):
    scores = found[0].scores_N
    assert (np.diff(scores) <= 0).all()
    exactly = detector.detect(IMAGES[:1], PHRASES[:1], threshold=float(scores[2]))[0]
    assert len(exactly.scores_N) == (scores >= scores[2]).sum()
    assert exactly.scores_N.min() == pytest.approx(scores[2])


def test_a_row_does_not_depend_on_its_batch(detector, found):
    for image, phrases, result in zip(IMAGES, PHRASES, found, strict=True):
        alone = detector.detect([image], [phrases], threshold=LOW)[0]
        np.testing.assert_allclose(alone.scores_N, result.scores_N, atol=1e-5)
        np.testing.assert_allclose(alone.boxes_N4, result.boxes_N4, atol=1e-3)
        assert alone.phrases == result.phrases


def test_images_of_one_size_share_a_batch(detector, monkeypatch):
    batches = []
    detect = detector._detect
    monkeypatch.setattr(detector, "_detect", lambda images, *rest: batches.append(len(images)) or detect(images, *rest))
    detector.detect(IMAGES, [["cat"]] * 5, threshold=LOW)
    assert batches == [2, 1, 1, 1]


def test_an_image_asked_nothing_has_no_boxes(detector, found):
    assert found[3].boxes_N4.shape == (0, 4)
    assert found[3].scores_N.shape == (0,)
    assert found[3].phrases == ()
    assert detector.detect(IMAGES[:1], [[" . "]], threshold=0)[0].phrases == ()


def test_nothing_in_gives_nothing_out(detector):
    assert detector.detect([], [], threshold=0.3) == []


def test_phrases_are_asked_in_lower_case_and_without_the_separator():
    asked = _normalised(["Red  Car.", "red car", "is it a cat?", ""])
    assert asked == {"red car": "Red  Car.", "is it a cat": "is it a cat?"}


def test_a_box_answers_the_phrase_with_the_highest_mean_over_its_tokens():
    encoding = bert_tokenizer()("red car. blue car.", return_tensors="pt").encodings[0]
    assert encoding.tokens == ["[CLS]", "red", "car", ".", "blue", "car", ".", "[SEP]"]
    prob_NL = np.zeros((4, 32), np.float32)
    prob_NL[0, [1, 2, 4, 5]] = [0.5, 0.6, 0.1, 0.7]  # the strongest token alone would say blue
    prob_NL[1, [1, 2, 4, 5]] = [0.1, 0.3, 0.3, 0.3]
    prob_NL[2, [1, 2, 4, 5]] = [0.2, 0.2, 0.2, 0.2]  # equal: the earlier phrase
    prob_NL[3, [0, 3, 4]] = [0.9, 0.9, 0.1]  # special tokens belong to no phrase
    answers = _answers(prob_NL, encoding, {"red car": "Red car", "blue car": "blue car"})
    assert answers == ["Red car", "blue car", "Red car", "blue car"]


def test_tokens_of_split_words_belong_to_their_phrase():
    encoding = bert_tokenizer()("x-ray. cat.", return_tensors="pt").encodings[0]
    prob_NL = np.zeros((2, 32), np.float32)
    prob_NL[0, encoding.tokens.index("##y")] = 0.9
    prob_NL[1, encoding.tokens.index("cat")] = 0.1
    assert _answers(prob_NL, encoding, {"x-ray": "x-ray", "cat": "cat"}) == ["x-ray", "cat"]


def test_more_phrases_than_the_model_reads_are_refused(detector):
    many = [f"cat {letter}" for letter in "abcdefghij"]
    message = "are 39 tokens, but the detector reads 32; ask for fewer phrases at once than 11, or for shorter ones"
    with pytest.raises(ValueError, match=message):
        detector.detect(IMAGES[:1], [[*many, "the red car on the grass"]], threshold=LOW)


def test_lists_of_different_length_are_refused(detector):
    with pytest.raises(ValueError, match=r"differ in length \(5 images, 1 phrases\)"):
        detector.detect(IMAGES, [["cat"]], threshold=LOW)

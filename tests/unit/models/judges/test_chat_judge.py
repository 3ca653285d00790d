"""Vision-language chat models as judges, with a tiny checkpoint of random weights."""

import json

import jsonschema
import pytest
from _language_models import cpu, make_images, save_qwen2_vl, weights_at

from models import registry
from models.judges.chat_judge import ChatJudge
from models.judges.prompt import REASON_CHARS, prompt_sha256, schema
from models.judges.replies import read_scores
from models.protocols import JudgeRequest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_qwen2_vl(tmp_path_factory.mktemp("qwen"))


def make_requests():
    one, two, three = make_images()
    return [
        JudgeRequest(source=one, edited=two, instruction="make it snow"),
        JudgeRequest(source=two, edited=three, instruction="a", source_caption="a cat", target_caption="a dog"),
    ]


def test_random_weights_still_write_json_that_can_be_read(folder):
    made = registry.load("EditJudge", f"path:{folder}", cpu(), max_new_tokens=900)
    replies = made.judge(make_requests(), seeds=[0, 1])
    for reply in replies:
        jsonschema.validate(json.loads(reply.text), schema(REASON_CHARS))
        assert read_scores(reply.text) is not None
        assert (reply.kind, reply.completion_tokens > 0) == ("text", True)
    assert made.prompt_sha256 == prompt_sha256()
    assert made.judge([], seeds=[]) == []


def test_a_reply_that_is_cut_off_has_no_scores(folder):
    made = ChatJudge(weights_at(folder), cpu(), max_new_tokens=12)
    for reply in made.judge(make_requests(), seeds=[0, 1]):
        assert reply.text == '{"instructio'  # a token is a byte
        assert read_scores(reply.text) is None
        assert reply.completion_tokens == 12


def test_a_batch_gives_the_replies_of_its_rows_and_what_they_read(folder):
    made = ChatJudge(weights_at(folder), cpu(batch_size=2), max_new_tokens=60)
    alone = [made.judge([one], seeds=[0])[0] for one in make_requests()]
    assert made.judge(make_requests(), seeds=[5, 6]) == alone
    assert alone[0].prompt_tokens != alone[1].prompt_tokens > 100


def test_checkpoint_without_a_chat_template_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no chat template; name an instruction-tuned checkpoint"):
        ChatJudge(weights_at(save_qwen2_vl(tmp_path, chat=False)), cpu())

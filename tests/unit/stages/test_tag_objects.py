"""Tags of images: which words are tried, which are kept."""

import json

import numpy as np
import pytest
from _inputs import jpeg, table
from pydantic import ValidationError

from models.language.wordnet import WordNet
from pipeline.context import Context
from stages.tag_objects import TagObjects


class Tags:
    """Gives every word it is asked to try, longer ones surer; its own words first. It keeps its vocabulary."""

    def __init__(self, tags):
        self.tags = tags

    def tag(self, images, *, threshold, also=()):
        self.asked = [image.size for image in images], threshold, list(also)
        words = [[*self.tags[:2], *of_image] for of_image in also or [()] * len(images)]
        return [[(word, len(word) / 100 + 1e-8 * n) for n, word in enumerate(of_image)] for of_image in words]


def tagged(captions=("a red car", None), artifacts=None, **settings):
    """(rows, the tagger) of images with these captions."""
    made = []

    def load(protocol, _model, **more):
        if protocol == "WordNet":
            return WordNet()
        made.append(Tags(**more))
        return made[0]

    rows = table(source_images=[[jpeg(n)] for n in range(len(captions))], caption=list(captions))
    ctx = Context(stage_name="tag_objects", loader=load, artifacts=artifacts or {})
    return TagObjects(model="zoo:clip", **settings).open(ctx)(rows).to_pylist(), made[0]


def test_words_and_nouns_of_each_caption_are_tried():
    rows, tagger = tagged(words=("cat", "horse"), threshold=0.3)
    assert tagger.tags == ("cat", "horse")
    assert tagger.asked == ([(96, 80)] * 2, 0.3, [("car",), ()])
    assert [row["object_tags"] for row in rows] == [["horse", "car", "cat"], ["horse", "cat"]]
    assert rows[0]["object_tag_cos"] == [np.float32(0.05), np.float32(0.03), np.float32(0.03)]


def test_equal_tags_are_in_the_order_of_the_alphabet_and_the_most_are_cut():
    rows, _ = tagged(words=("dog", "cat"), max_tags=2)
    assert [row["object_tags"] for row in rows] == [["car", "cat"], ["cat", "dog"]]


def test_without_a_lexicon_captions_are_not_read():
    assert TagObjects(model="zoo:clip", lexicon=None).needs_columns() == ()
    assert TagObjects(model="zoo:clip", caption_column="source_caption").needs_columns() == ("source_caption",)
    _, tagger = tagged(lexicon=None)
    assert tagger.asked[2] == []
    assert "traffic light" in tagger.tags


def test_the_nouns_of_all_captions_are_a_vocabulary(tmp_path):
    (tmp_path / "v.json").write_text(json.dumps({"captions": 9, "words": {"dogs": 5, "sitting": 9, "cat": 4}}))
    _, tagger = tagged(vocabulary="captions", artifacts={"vocabulary": tmp_path / "v.json"})
    assert tagger.tags == ("dog",)
    assert TagObjects(model="zoo:clip", vocabulary="captions").needs_artifacts() == ("vocabulary",)
    assert TagObjects(model="zoo:clip", vocabulary="captions", words=("dog",)).needs_artifacts() == ()


def test_nouns_of_captions_need_a_lexicon():
    with pytest.raises(ValidationError, match="vocabulary = 'captions' needs a lexicon to know the nouns; name one"):
        TagObjects(model="zoo:clip", vocabulary="captions", lexicon=None)


@pytest.mark.parametrize(
    ("words", "message"),
    [(("cat", "dog", "cat"), "'cat' is there more than once; name each once"), (("cat", " "), "one of them is empty")],
)
def test_words_that_cannot_be_a_vocabulary_are_refused_by_the_plan(words, message):
    with pytest.raises(ValidationError, match=message):
        TagObjects(model="zoo:clip", words=words)

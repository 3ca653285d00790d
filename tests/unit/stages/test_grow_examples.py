"""The growth of an example set, with a model and an encoder of which every answer is known."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from _inputs import table

from models.language.example_sets import EditExamples, ExampleEdit, read_examples
from pipeline.context import Context
from pipeline.plan.plugins import load_model
from stages.grow_examples import GrowExamples
from stages.language_edits.settings import EXAMPLES_FILE
from zoo.world import caption, sample_scene

THINGS = ("cat", "dog", "horse", "sheep", "cow", "pig", "goat", "fox")
NEW = ("lamp", "chair", "table", "vase", "clock", "piano")
CAPTIONS = [f"a {thing} in a {place}" for thing in THINGS for place in ("field", "forest", "garden")]
SEEDS = EditExamples(
    tuple(
        ExampleEdit(
            id=f"seed-{kind}", caption="a bird on a roof", edit_type=kind, instruction=instruction, object="bird",
            target_caption="a roof", reverse_instruction="add a bird",
        )
        for kind, instruction in (("replace", "Replace the bird with a kite."), ("add", "Add a sock."))
    )
)  # fmt: skip


class Grower:
    """Replaces or adds things, drawn by the seed; every fourth answer has a fault."""

    def __init__(self):
        self.prompts, self.seeds = [], []

    def generate(self, prompts, *, seeds, **_):
        self.prompts += prompts
        self.seeds += seeds
        return [
            self.answer(prompt.rpartition("Caption: ")[2], seed) for prompt, seed in zip(prompts, seeds, strict=True)
        ]

    def answer(self, asked, seed):
        caption, _, kind = asked.partition("\nEdit type: ")
        old, new, kind = caption.split()[1], NEW[seed // 4 % len(NEW)], kind.partition("\n")[0]
        if seed % 4 == 0 or kind not in ("replace", "add"):
            return "{"
        replaces = kind == "replace"
        answer = {
            "edit_type": kind, "object": old if replaces else new,
            "instruction": f"replace the {old} with a {new}" if replaces else f"add a {new} next to the {old}",
            "target_caption": caption.replace(old, new) if replaces else f"{caption} with a {new}",
            "reverse_instruction": f"replace the {new} with a {old}" if replaces else f"remove the {new}",
        }  # fmt: skip
        return json.dumps(answer)


class ByThing:
    """Texts that name the same new thing have the same vector."""

    dim = len(NEW) + 1

    def __init__(self):
        self.texts = []

    def encode_texts(self, texts):
        self.texts += texts
        places = [next((n for n, new in enumerate(NEW) if new in text), len(NEW)) for text in texts]
        return np.eye(self.dim, dtype=np.float32)[places]


def grow(tmp_path, tables, encoder=None, seed=0, **settings):
    """(examples of the artifact, its lines as JSON, notes, model)."""
    model = Grower()
    models = {"EditExamples": SEEDS, "TextGenerator": model, "ImageTextEncoder": encoder}
    tmp_path.mkdir(exist_ok=True)
    ctx = Context(
        stage_name="grow_examples", seed=seed, artifact_dir=tmp_path, loader=lambda protocol, *_: models[protocol]
    )
    names = {"encoder": "zoo:clip"} if encoder else {}
    stage = GrowExamples(model="zoo:llm", examples="path:x.jsonl", **names, **settings)
    assert list(stage.open(ctx)(lambda: tables)) == []
    path = tmp_path / "examples" / EXAMPLES_FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return read_examples(path).edits, lines, ctx.notes, model


def shards(captions=CAPTIONS):
    rows = table(caption=captions)
    return [("a", rows.slice(0, 5)), ("b", rows.slice(5))]


def test_pool_grows_to_its_size_and_keeps_the_seeds_first(tmp_path):
    edits, _, notes, _ = grow(tmp_path, shards(), target_size=20, captions_per_round=8)
    assert len(edits) == 20
    assert edits[:2] == SEEDS.edits
    assert len({edit.instruction for edit in edits}) == len({edit.id for edit in edits}) == 20
    assert notes["examples grown"] == 18
    assert notes["edit answers: unparsable"] > 0


def test_every_grown_example_says_where_it_comes_from(tmp_path):
    edits, lines, _, model = grow(tmp_path, shards(), target_size=12, captions_per_round=4, num_examples=2,
                                  num_instructions=3)  # fmt: skip
    captions = {row["sample_id"]: row["caption"] for _, rows in shards() for row in rows.to_pylist()}
    known = {edit.id for edit in SEEDS.edits}
    assert all("grown" not in line for line in lines[:2])
    for line in lines[2:]:
        origin = line["grown"]
        assert captions[origin["caption_id"]] == line["caption"]
        assert (origin["model"], 0 <= origin["seed"] < 2**32) == ("zoo:llm", True)
        earlier = {one["id"] for one in lines if one.get("grown", {"round": 0})["round"] < origin["round"]}
        assert set(origin["shown"]) <= earlier
        assert len(origin["shown"]) == min(5, len(earlier))
    assert known <= {name for line in lines[2:] for name in line["grown"]["shown"]}
    later = next(edit for edit in edits[2:] if any(edit.instruction in prompt for prompt in model.prompts))
    assert later, "a grown example is shown to the model"


def test_pool_depends_on_neither_shards_nor_their_order(tmp_path):
    settings = {"target_size": 15, "captions_per_round": 4}
    _, first, _, _ = grow(tmp_path / "a", shards(), **settings)
    rows = table(caption=CAPTIONS)
    backwards = [("z", rows.take(pa.array(range(len(CAPTIONS) - 1, -1, -1))))]
    assert grow(tmp_path / "b", backwards, **settings)[1] == first
    assert grow(tmp_path / "c", shards(), seed=1, **settings)[1] != first


def test_caption_that_is_too_long_is_not_asked_about(tmp_path):
    captions = ["a cat in a field", "x" * 2001, "cat " * 61, " "]
    _, _, _, model = grow(tmp_path, shards(captions), target_size=12, captions_per_round=4, max_rounds=1)
    assert {prompt.rpartition("Caption: ")[2].partition("\n")[0] for prompt in model.prompts} == {captions[0]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": {"add": 0}}, "shares are all 0; give at least one type of edit a weight"),
        ({"min_caption_words": 61}, "min_caption_words = 61 is above max_caption_words = 60; lower it"),
    ],
)
def test_settings_that_let_nothing_pass_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GrowExamples(model="zoo:llm", **settings)


def test_types_are_balanced_by_the_shares(tmp_path):
    edits, _, _, _ = grow(tmp_path, shards(), target_size=38, captions_per_round=6, shares={"replace": 3, "add": 1})
    counts = Counter(edit.edit_type for edit in edits)
    assert sum(counts.values()) == 38
    assert 2 < counts["replace"] / counts["add"] < 4


def test_type_of_which_no_answer_passes_does_not_get_all_questions(tmp_path):
    shares = {"replace": 1, "turn_around": 1}
    edits, _, _, model = grow(tmp_path, shards(), target_size=200, max_rounds=5, captions_per_round=20, shares=shares,
                              max_retries=0)  # fmt: skip
    last_round = [prompt.rpartition("Edit type: ")[2].partition("\n")[0] for prompt in model.prompts[-20:]]
    assert 10 < last_round.count("turn_around") < 20
    assert len(edits) > 10


def test_near_duplicates_are_left_out_by_words_and_by_vectors(tmp_path):
    edits, _, notes, _ = grow(tmp_path / "words", shards(), target_size=1000, max_rounds=30)
    assert len(edits) - 2 == len({edit.instruction for edit in edits[2:]}) <= 2 * len(THINGS) * len(NEW)
    assert notes["examples left out: the words of another one"] > 0
    encoder = ByThing()
    edits, _, notes, _ = grow(tmp_path / "vectors", shards(), encoder, target_size=1000, max_rounds=30)
    assert len(edits) - 2 == len(NEW)
    assert encoder.texts[:2] == [edit.instruction for edit in SEEDS.edits]
    assert notes["examples left out: near another one"] > 0
    assert len(grow(tmp_path / "loose", shards(), ByThing(), target_size=12, max_cos=1.0)[0]) == 12


def test_growth_ends_after_its_rounds_with_what_there_is(tmp_path):
    edits, _, notes, model = grow(
        tmp_path, shards(), target_size=1000, max_rounds=2, captions_per_round=3, max_retries=0
    )
    assert notes["rounds of growth"] == 2
    assert len(model.prompts) == 6
    assert 2 <= len(edits) <= 8


@pytest.mark.parametrize("captions", [[], [None, "", " ", "word " * 99]])
def test_input_without_usable_captions_leaves_the_seeds(tmp_path, captions):
    rows = table(caption=captions) if captions else table(caption=["a cat"]).slice(0, 0)
    edits, _, notes, model = grow(tmp_path, [("a", rows)])
    assert edits == SEEDS.edits
    assert not model.prompts
    assert not notes


def test_full_set_asks_for_nothing(tmp_path):
    edits, _, _, model = grow(tmp_path, shards(), target_size=1)
    assert (edits, model.prompts) == (SEEDS.edits, [])


def test_miniature_model_grows_the_examples_of_the_world(tmp_path):
    rng = random.Random(4)
    rows = table(caption=[caption(sample_scene(rng)) for _ in range(16)])
    stage = GrowExamples(
        model="zoo:llm", examples="path:zoo/edit_examples.jsonl", encoder="zoo:clip", num_instructions=0,
        num_examples=0, max_rounds=1, captions_per_round=16, max_retries=0, target_size=1000,
    )  # fmt: skip
    ctx = Context(stage_name="grow_examples", artifact_dir=tmp_path, loader=load_model)
    list(stage.open(ctx)(lambda: [("a", rows)]))
    edits = read_examples(tmp_path / "examples" / EXAMPLES_FILE).edits
    seeds = read_examples(Path("zoo/edit_examples.jsonl")).edits
    assert edits[: len(seeds)] == seeds
    assert {edit.caption for edit in edits[len(seeds) :]} <= set(rows["caption"].to_pylist())
    assert 4 <= len(edits) - len(seeds) <= 16

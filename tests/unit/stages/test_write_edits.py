import json
import random
from collections import Counter

import pyarrow as pa
import pytest
from _openai_server import chat_server, completion
from pydantic import ValidationError

from models import registry
from models.language.example_sets import EditExamples, ExampleEdit
from models.language.wordnet import WordNet
from pipeline.context import Context
from samples.columns import COLUMNS
from stages.language_edits.further_captions.prompt import INTRODUCTION
from stages.write_edits import EXAMPLES_FILE, WriteEdits

SHARES = {"add": 1.0, "replace": 1.0}
PLAIN = {"model": "zoo:llm", "examples": None, "num_instructions": 0, "num_examples": 0, "shares": SHARES}


def asked(prompt):
    """(caption, type of edit) that a prompt ends with."""
    caption, kind = prompt.rpartition("Caption: ")[2].split("\nEdit type: ")
    return caption, kind.partition("\n")[0]


def answer_of(prompt, seed):
    """A right answer, whose thing the seed decides."""
    caption, kind = asked(prompt)
    new = random.Random(seed).choice(["kite", "lamp", "horse", "piano", "ladder", "tent"])
    noun = caption.split()[1]
    replaced = kind == "replace"
    answer = {
        "edit_type": kind,
        "instruction": f"replace the {noun} with a {new}" if replaced else f"add a {new}",
        "object": noun if replaced else new,
        "target_caption": caption.replace(noun, new) if replaced else f"{caption} beside a {new}",
        "reverse_instruction": f"replace the {new} with a {noun}" if replaced else f"remove the {new}",
    }
    return json.dumps(answer)


class Writer:
    """Answers by a function of prompt and seed, and keeps the calls."""

    def __init__(self, answer=answer_of):
        self.answer, self.calls = answer, []

    def generate(self, prompts, *, seeds, **_):
        self.calls.append(list(zip(prompts, seeds, strict=True)))
        return [self.answer(prompt, seed) for prompt, seed in self.calls[-1]]


def example(n, kind="add"):
    return ExampleEdit(
        id=f"{kind}{n}", caption=f"a room {n}", edit_type=kind, instruction=f"add chair {n}", object=f"chair {n}",
        target_caption=f"a room {n} with chair {n}", reverse_instruction=f"remove chair {n}",
    )  # fmt: skip


EXAMPLES = EditExamples(tuple(example(n, kind) for kind in ("add", "replace") for n in range(40)))


def run(captions, model=None, *, ids=None, seed=0, artifacts=None, **settings):
    """(rows, notes) of the stage over captions."""
    model = model or Writer()
    loaded = {"TextGenerator": model, "EditExamples": EXAMPLES}

    def load(protocol, *_, **__):
        return WordNet() if protocol == "WordNet" else loaded[protocol]

    ids = ids or [f"s{n}" for n in range(len(captions))]
    table = pa.table({"sample_id": pa.array(ids, pa.string()), "caption": pa.array(captions, pa.string())})
    context = Context(stage_name="write_edits", seed=seed, loader=load, artifacts=artifacts or {})
    rows = WriteEdits(**{**PLAIN, **settings}).open(context)(table).to_pylist()
    return rows, dict(context.notes)


def test_edit_has_all_columns():
    (row,), notes = run(["a dog on a beach"], shares={"replace": 1.0}, edits_per_caption=1)
    new = row["target_phrase"]
    assert row == {
        "sample_id": "s0-e1", "parent_id": "s0", "source_caption": "a dog on a beach",
        "target_caption": f"a {new} on a beach", "instruction": f"replace the dog with a {new}",
        "reverse_instruction": f"replace the {new} with a dog", "edit_type": "replace", "source_phrase": "dog",
        "target_phrase": new, "edit_object": "dog", "edit_writer": "model", "reject_reason": None,
        "reject_detail": None,
    }  # fmt: skip
    assert notes == {"edit answers": 1}


def test_addition_has_no_source_phrase_and_removal_no_target_phrase():
    (row,), _ = run(["a dog on a beach"], shares={"add": 1.0}, edits_per_caption=1)
    assert row["source_phrase"] == ""
    assert row["target_phrase"] == row["edit_object"]

    def remove(prompt, seed):
        del seed
        answer = {
            "edit_type": "remove", "instruction": "remove the hat", "object": "hat",
            "target_caption": "a dog on a beach", "reverse_instruction": "put a red hat on the dog",
        }  # fmt: skip
        return json.dumps(answer)

    (row,), _ = run(["a dog with a red hat on a beach"], Writer(remove), shares={"remove": 1.0}, edits_per_caption=1)
    assert (row["source_phrase"], row["target_phrase"]) == ("red hat", "")


def test_children_are_numbered_from_1_in_the_order_of_parents():
    rows, _ = run(["a dog on a beach", "a cat on a sofa"], edits_per_caption=2, max_retries=9)
    assert [row["sample_id"] for row in rows] == ["s0-e1", "s0-e2", "s1-e1", "s1-e2"]


def test_all_first_prompts_of_a_batch_are_one_call():
    model = Writer()
    run([f"a dog on beach {n}" for n in range(5)], model, max_retries=0)
    assert [len(call) for call in model.calls] == [15]


def test_edit_that_fails_every_time_is_left_out():
    def fails_to_replace(prompt, seed):
        return "no" if asked(prompt)[1] == "replace" else answer_of(prompt, seed)

    rows, notes = run(["a dog on a beach"], Writer(fails_to_replace), edits_per_caption=2, max_retries=3)
    assert [(row["sample_id"], row["edit_type"]) for row in rows] == [("s0-e1", "add")]
    assert notes == {"edit answers": 5, "edit answers: unparsable": 4}


def test_parent_without_an_edit_is_rejected_by_its_most_frequent_fault():
    answers = iter([answer_of("Caption: a dog\nEdit type: add\n", 0).replace('"add"', '"zoom"'), "no", "nothing", "no"])
    (row,), _ = run(["a dog"], Writer(lambda *_: next(answers)), edits_per_caption=2, max_retries=1)
    assert (row["sample_id"], row["parent_id"], row["reject_reason"]) == ("s0", None, "unparsable")
    assert row["reject_detail"] == "no"
    assert row["instruction"] is None


def test_answer_that_no_file_can_hold_is_rejected_in_readable_form():
    (row,), _ = run(["a dog"], Writer(lambda *_: "x \ud800 " + "y" * 999), max_retries=0)
    assert row["reject_reason"] == "unparsable"
    assert row["reject_detail"] == "x ? " + "y" * 196


@pytest.mark.parametrize(
    ("caption", "reason", "detail"),
    [(None, "no_caption", ""), ("  ", "no_caption", ""), ("!?", "no_caption", "!?"),
     ("dog " * 61, "wrong_length", "caption of 61 words"),
     ("x" * 2001, "wrong_length", "caption of 2001 characters")],
)  # fmt: skip
def test_caption_that_cannot_be_edited_is_rejected_unasked(caption, reason, detail):
    model = Writer()
    (row,), notes = run([caption], model)
    assert (row["sample_id"], row["reject_reason"], row["reject_detail"]) == ("s0", reason, detail)
    assert model.calls == []
    assert notes == {}


def test_line_breaks_of_a_caption_do_not_reach_the_prompt():
    model = Writer()
    rows, _ = run(["a dog\n on a\tbeach\u2028now"], model, edits_per_caption=1)
    assert rows[0]["source_caption"] == "a dog on a beach now"
    assert asked(model.calls[0][0][0])[0] == "a dog on a beach now"


def test_columns_have_the_declared_types():
    context = Context(stage_name="write_edits", loader=lambda *_, **__: Writer())
    table = pa.table({"sample_id": pa.array([], pa.string()), "caption": pa.array([], pa.string())})
    output = WriteEdits(**PLAIN).open(context)(table)
    for name in ("sample_id", "parent_id", *WriteEdits.writes):
        assert output.schema.field(name).type == COLUMNS[name].type


def test_context_and_seeds_of_a_caption_depend_on_its_id_alone():
    captions = [f"a dog on beach {n}" for n in range(6)]
    how = {"examples": "examples:photographs", "num_instructions": 5, "num_examples": 2, "max_retries": 0}
    together, alone = Writer(), Writer()
    rows, _ = run(captions, together, **how)
    parts = [run([caption], alone, ids=[f"s{n}"], **how)[0] for n, caption in enumerate(captions)]
    assert [row for part in parts for row in part] == rows
    assert [one for call in alone.calls for one in call] == together.calls[0]
    assert len({prompt for prompt, _ in together.calls[0]}) == len(together.calls[0])
    assert len({seed for _, seed in together.calls[0]}) == len(together.calls[0])


def test_context_changes_with_the_seed_of_the_build():
    how = {"examples": "examples:photographs", "num_instructions": 5, "num_examples": 2, "max_retries": 0}
    one, other = Writer(), Writer()
    run(["a dog on a beach"], one, **how)
    run(["a dog on a beach"], other, seed=1, **how)
    assert one.calls != other.calls


def test_prompt_shows_as_much_as_is_set():
    model = Writer()
    run(["a dog on a beach"], model, examples="path:x.jsonl", num_instructions=7, num_examples=3, edits_per_caption=1)
    prompt = model.calls[0][0][0]
    assert prompt.count("\n- add chair ") == 7
    assert prompt.count("Edit as JSON: {") == 3


def test_copy_of_a_shown_example_is_asked_for_again():
    def copied(prompt, seed):
        answer = json.loads(answer_of(prompt, seed))
        if len(model.calls) == 1:
            number = prompt.split("\n- add chair ")[1].split("\n")[0]
            answer |= {"instruction": f"add chair {number}", "object": "chair"}
            answer |= {
                "target_caption": f"a dog on a beach with chair {number}",
                "reverse_instruction": "remove the chair",
            }
        return json.dumps(answer)

    model = Writer(copied)
    how = {"shares": {"add": 1.0}, "edits_per_caption": 1, "examples": "path:x.jsonl", "num_instructions": 5}
    rows, notes = run(["a dog on a beach"], model, **how)
    assert notes == {"edit answers": 2, "edit answers: copied_example": 1}
    assert "chair" not in rows[0]["instruction"]


def test_types_of_the_examples_are_the_default_shares():
    captions = [f"a dog on beach {n}" for n in range(40)]
    rows, _ = run(captions, shares={}, examples="path:x.jsonl", edits_per_caption=2, max_retries=9)
    assert Counter(row["edit_type"] for row in rows) == {"add": 40, "replace": 40}


def test_shares_of_types_are_kept():
    captions = [f"a dog on beach {n}" for n in range(120)]
    rows, _ = run(captions, shares={"add": 3.0, "replace": 1.0, "turn": 0.0}, edits_per_caption=2, max_retries=9)
    counts = Counter(row["edit_type"] for row in rows)
    assert counts["add"] + counts["replace"] == 240
    assert counts["add"] / 240 == pytest.approx(0.75, abs=0.06)


def test_wordnet_writes_its_share():
    captions = [f"a bus on a street in town {n}" for n in range(60)]
    how = {"lexicon": "wordnet:3.0", "edits_per_caption": 1, "max_retries": 5}
    rows, _ = run(captions, wordnet_frac=0.4, **how)
    writers = Counter(row["edit_writer"] for row in rows)
    assert writers["wordnet"] / 60 == pytest.approx(0.4, abs=0.15)
    assert writers["model"] == 60 - writers["wordnet"]
    (row, *_) = (row for row in rows if row["edit_writer"] == "wordnet")
    assert row["edit_object"] == row["source_phrase"] == "bus"
    assert row["sample_id"] == f"{row['parent_id']}-e1"


def test_share_of_wordnet_leaves_the_models_edits_as_they_are():
    captions = [f"a bus on a street in town {n}" for n in range(20)]
    how = {"lexicon": "wordnet:3.0", "max_retries": 5}
    alone, mixed = run(captions, wordnet_frac=0.0, **how)[0], run(captions, wordnet_frac=0.5, **how)[0]
    by_model = [row for row in mixed if row["edit_writer"] == "model"]
    assert 0 < len(by_model) < len(alone)
    assert all(row in alone for row in by_model)


def test_caption_that_wordnet_cannot_edit_goes_to_the_model():
    rows, _ = run(["a zzyzx on a qwerty"], wordnet_frac=1.0, lexicon="wordnet:3.0", edits_per_caption=1)
    assert [row["edit_writer"] for row in rows] == ["model"]


def test_grown_examples_are_read_from_the_artifact(tmp_path):
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / EXAMPLES_FILE).write_text("".join(f"{example(n).model_dump_json()}\n" for n in (77, 78)))
    model = Writer()
    how = {"shares": {}, "grown_examples": True, "num_instructions": 1, "num_examples": 1, "edits_per_caption": 1}
    rows, _ = run(["a dog on a beach"], model, artifacts={"examples": folder}, **how)
    assert rows[0]["edit_type"] == "add"
    assert {"77", "78"} == {part[:2] for part in model.calls[0][0][0].split("add chair ")[1:]}
    assert WriteEdits(**{**PLAIN, **how}).needs_artifacts() == ("examples",)
    assert WriteEdits(**PLAIN).needs_artifacts() == ()


BY_WORDNET = {"further_captions": "wordnet", "lexicon": "wordnet:3.0"}


def test_instruction_of_each_edit_is_shared_by_the_rows_after_it():
    how = {"edits_per_caption": 2, "max_retries": 9, "captions_per_instruction": 3, **BY_WORDNET}
    rows, notes = run(["a dog on a beach", "!?", None, "a cat in a garden"], **how)
    kept = [row for row in rows if row["reject_reason"] is None]
    assert [row["sample_id"] for row in rows] == [
        *(f"s0-e{n}" for n in range(1, 7)), "s1", "s2", *(f"s3-e{n}" for n in range(1, 7)),
    ]  # fmt: skip
    assert [row["edit_writer"] for row in kept] == ["model", "wordnet", "wordnet"] * 4
    for start in range(0, 12, 3):
        group = kept[start : start + 3]
        assert len({(row["instruction"], row["edit_type"], row["parent_id"]) for row in group}) == 1
        assert len({row["source_caption"] for row in group}) == 3
    assert notes["further pairs kept"] == 8


def own_only(prompt, seed):
    return "no" if prompt.startswith(INTRODUCTION) else answer_of(prompt, seed)


@pytest.mark.parametrize("how", [BY_WORDNET, {"further_captions": "model"}])
def test_own_edits_are_the_same_with_further_pairs_and_without(how):
    captions = [f"a dog on a beach {n}" for n in range(5)]
    alone, _ = run(captions, max_retries=1)
    shared, _ = run(captions, Writer(own_only), max_retries=1, captions_per_instruction=2, **how)
    texts = [{**row, "sample_id": None} for row in shared if row["source_caption"] in captions]
    assert texts == [{**row, "sample_id": None} for row in alone]


def test_further_pairs_of_a_row_depend_on_its_id_alone():
    how = {"edits_per_caption": 2, "max_retries": 9, "captions_per_instruction": 3, **BY_WORDNET}
    rows, _ = run(["a dog on a beach"] * 3, **how)
    parts = [run(["a dog on a beach"], ids=[f"s{n}"], **how)[0] for n in range(3)]
    assert [row for part in parts for row in part] == rows
    scenes = [tuple(row["source_caption"] for row in rows[at : at + 3]) for at in range(0, 18, 3)]
    assert len(set(scenes)) >= 5  # of 6 edits of one caption


def test_edit_without_a_further_pair_stays_alone():
    how = {"shares": {"replace": 1.0}, "edits_per_caption": 1, "captions_per_instruction": 4, "max_retries": 0}
    rows, notes = run(["a dog on a beach"], Writer(own_only), **how)
    assert [row["sample_id"] for row in rows] == ["s0-e1"]
    assert notes == {
        "edit answers": 1, "further pairs asked": 3, "further pairs asked: unparsable": 3,
        "edits without a further pair": 1,
    }  # fmt: skip


def test_model_writes_the_further_captions():
    def any_pair(prompt, seed):
        if not prompt.startswith(INTRODUCTION):
            return answer_of(prompt, seed)
        new = prompt.rpartition("Request: replace the dog with a ")[2].partition("\n")[0]
        answer = {
            "caption": f"a dog at gate {seed % 9}", "object": "dog", "target_caption": f"a {new} at gate {seed % 9}",
            "reverse_instruction": f"replace the {new} with a dog",
        }  # fmt: skip
        return json.dumps(answer)

    how = {"shares": {"replace": 1.0}, "edits_per_caption": 1, "captions_per_instruction": 2}
    rows, notes = run(["a dog on a beach"], Writer(any_pair), **how)
    assert [(row["sample_id"], row["edit_writer"]) for row in rows] == [("s0-e1", "model"), ("s0-e2", "model")]
    assert rows[0]["instruction"] == rows[1]["instruction"]
    assert (rows[1]["source_phrase"], rows[1]["target_phrase"]) == ("dog", rows[0]["target_phrase"])
    assert notes == {"edit answers": 1, "further pairs asked": 1, "further pairs kept": 1}


def test_words_of_wordnet_can_be_bounded_to_those_of_the_captions(tmp_path):
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps({"captions": 9, "words": {"bus": 9, "truck": 2, "train": 1}}))
    how = {"wordnet_frac": 1.0, "edits_per_caption": 9, "lexicon": "wordnet:3.0", "vocabulary": "captions"}
    stage = WriteEdits(**{**PLAIN, **how})
    assert stage.needs_artifacts() == ("vocabulary",)
    rows, _ = run(["a bus near a lake"], artifacts={"vocabulary": path}, min_corpus_count=2, **how)
    assert [row["target_phrase"] for row in rows] == ["truck"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"further_captions": "wordnet"}, 'further_captions = "wordnet" needs a lexicon; set lexicon = "wordnet:3.0"'),
        (
            {"vocabulary": "captions"},
            'vocabulary = "captions" bounds the words of WordNet; set lexicon = "wordnet:3.0"',
        ),
        ({"captions_per_instruction": 0}, "greater than or equal to 1"),
        ({"wordnet_frac": 0.5}, 'wordnet_frac needs a lexicon; set lexicon = "wordnet:3.0"'),
        ({"shares": {"add": 0.0}}, "shares are all 0; give at least one type of edit a weight"),
        ({"shares": {"add": -1.0}}, "greater than or equal to 0"),
        ({"num_examples": 1}, "without examples set num_instructions = 0 and num_examples = 0, or name a set"),
        ({"shares": {}}, "without examples the types of edit are not known; set shares"),
        ({"temperature": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        WriteEdits(**{**PLAIN, **settings})


def test_edits_come_from_an_endpoint():
    def serve(body):
        if body["messages"][-1]["content"].count("Edit type: replace"):
            return 200, completion("I cannot do that.")
        return 200, completion(answer_of(body["messages"][-1]["content"], body["seed"]))

    with chat_server(serve) as server:
        context = Context(stage_name="write_edits", loader=lambda kind, model, **_: registry.load(kind, model))
        table = pa.table({"sample_id": ["a", "b"], "caption": ["a dog on a beach", "a cat on a sofa"]})
        stage = WriteEdits(**{**PLAIN, "model": server.model_id, "edits_per_caption": 2, "max_retries": 1})
        rows = stage.open(context)(table).to_pylist()
        bodies = [body for _, _, body in server.asked]
    assert [(row["sample_id"], row["edit_type"]) for row in rows] == [("a-e1", "add"), ("b-e1", "add")]
    assert len(bodies) == 6  # two of each, and again for the two that failed
    assert {body["temperature"] for body in bodies} == {0.7}
    assert bodies[0]["response_format"]["json_schema"]["schema"]["required"][0] == "edit_type"
    assert context.notes == {"edit answers": 6, "edit answers: unparsable": 4}

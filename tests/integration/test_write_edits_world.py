"""The miniature language model behind `write_edits`: the world's judge reads the edits that passed the checks."""

import random

import pyarrow as pa

from pipeline.context import Context
from pipeline.plan.plugins import load_model
from stages.write_edits import WriteEdits
from zoo.world import KINDS, caption, scene_of, varied_caption
from zoo.world.judge import fault_of

NUM_CAPTIONS = 40
SEED = 20


def world_captions():
    """Captions of scenes, canonical and varied in turn."""
    scenes = [scene_of(SEED, index) for index in range(NUM_CAPTIONS)]
    return [
        varied_caption(scene, random.Random(index)) if index % 2 else caption(scene)
        for index, scene in enumerate(scenes)
    ]


def fault_of_row(row):
    named = {"object": "edit_object", **{name: name for name in ("edit_type", "instruction", "target_caption")}}
    edit = {field: row[name] for field, name in named.items()}
    return fault_of(row["source_caption"], {**edit, "reverse_instruction": row["reverse_instruction"]})


def test_edits_of_the_miniature_model_that_pass_are_consistent():
    stage = WriteEdits(
        model="zoo:llm", examples="path:zoo/edit_examples.jsonl", num_instructions=0, num_examples=0,
        max_new_tokens=160, temperature=0.5,
    )  # fmt: skip
    context = Context(stage_name="write_edits", loader=load_model)
    captions = world_captions()
    table = pa.table({"sample_id": [f"s{n}" for n in range(NUM_CAPTIONS)], "caption": captions})
    rows = [row for row in stage.open(context)(table).to_pylist() if row["reject_reason"] is None]
    wrong = [(row["source_caption"], row["instruction"], row["target_caption"]) for row in rows if fault_of_row(row)]
    assert len(rows) >= NUM_CAPTIONS  # of three asked of each, of types that many scenes cannot take
    assert len(wrong) <= 0.1 * len(rows), wrong
    assert {row["edit_type"] for row in rows} == set(KINDS)
    assert context.notes["edit answers"] >= 3 * NUM_CAPTIONS

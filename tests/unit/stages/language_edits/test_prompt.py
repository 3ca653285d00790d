import json
import random

from models.language.example_sets import ExampleEdit
from stages.language_edits.edit_kinds import EDIT_KINDS
from stages.language_edits.prompt import Shown, draw_shown, write_prompt
from stages.language_edits.schema import FIELDS
from zoo.train_llm import PROMPT

EDITS = [
    ExampleEdit(
        id=f"e{n}", caption=f"caption {n}", edit_type="add", instruction=f"add thing {n}", object=f"thing {n}",
        target_caption=f"caption {n} with thing {n}", reverse_instruction=f"remove thing {n}",
    )
    for n in range(30)
]  # fmt: skip


def test_prompt_without_context_is_that_of_the_miniature_model():
    assert write_prompt(Shown(), "a  red\nbus", "add", edit_types=["add"]) == PROMPT.format(
        caption="a red bus", kind="add"
    )


def test_prompt_with_context_ends_like_the_one_without():
    shown = draw_shown(EDITS, 5, 2, random.Random(0))
    prompt = write_prompt(shown, "a red bus", "add", edit_types=["add", "move"])
    assert prompt.endswith("\n\n" + PROMPT.format(caption="a red bus", kind="add"))
    for instruction in shown.instructions:
        assert f"\n- {instruction}\n" in prompt
    assert f"\n- add: {EDIT_KINDS['add'].meaning}\n" in prompt
    assert "- move" not in prompt  # the table has no line for it


def test_example_in_the_prompt_is_asked_and_answered_as_the_caption_is():
    example = EDITS[0]
    fields = {name: getattr(example, name) for name in FIELDS}
    plain = write_prompt(Shown((), (example,)), "a red bus", "add")
    assert f"Caption: caption 0\nEdit type: add\nEdit as JSON: {json.dumps(fields)}\n\n" in plain
    repeated = write_prompt(Shown((), (example,)), "a red bus", "add", repeats_caption=True)
    assert json.dumps({"caption": "caption 0", **fields}) in repeated


def test_context_is_drawn_without_repetition():
    shown = draw_shown(EDITS, 20, 10, random.Random(1))
    assert len(shown.examples) == 10
    assert len({*shown.instructions, *(example.instruction for example in shown.examples)}) == 30
    assert draw_shown(EDITS, 20, 10, random.Random(1)) == shown
    assert draw_shown(EDITS, 20, 10, random.Random(2)) != shown


def test_small_set_is_shown_whole_examples_first():
    shown = draw_shown(EDITS[:4], 50, 3, random.Random(0))
    assert (len(shown.instructions), len(shown.examples)) == (1, 3)
    assert draw_shown([], 50, 10, random.Random(0)) == Shown()


def test_every_type_of_photographs_has_a_meaning():
    silent = {name for name, kind in EDIT_KINDS.items() if not kind.meaning}
    assert silent == {"replace_noun", "change_adjective", "move"}

"""Rounds of asking with a model that answers from a script."""

import json
import random
from collections import Counter
from types import SimpleNamespace

import pytest

from stages.language_edits.asking import Asking, WantedEdit, ask_for_edits, draw_types
from stages.language_edits.judged import EditFault, Lengths
from stages.language_edits.prompt import Shown, write_prompt
from stages.language_edits.repair import ADVICE, repair_prompt
from stages.language_edits.schema import EditAnswer, parse_answer

CAPTION = "a corgi on a field"


def good(thing="ball"):
    answer = {
        "edit_type": "add", "instruction": f"add a {thing}", "object": thing,
        "target_caption": f"{CAPTION} with a {thing}", "reverse_instruction": f"remove the {thing}",
    }  # fmt: skip
    return json.dumps(answer)


FAULTY = good().replace("remove the ball", "remove the red ball")
BROKEN = good()[:-9]


class Scripted:
    """Gives the answers in order, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), []

    def generate(self, prompts, **how):
        self.calls.append(SimpleNamespace(prompts=list(prompts), **how))
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] for _ in prompts]


def wanted(count=1, seed=0):
    siblings = []
    return [
        WantedEdit(
            caption=CAPTION, edit_type="add", shown=Shown(), rng=random.Random(seed + n), siblings=siblings
        )
        for n in range(count)
    ]  # fmt: skip


def ask(model, edits, **how):
    settings = {"max_retries": 0, "max_repairs": 0, **how}
    asking = Asking(
        max_new_tokens=50, temperature=0.5, lengths=Lengths(), edit_types=("add",), repeats_caption=False, **settings
    )
    notes = Counter()
    ask_for_edits(model, edits, asking, notes)
    return dict(notes)


def test_answer_that_passes_is_asked_for_once():
    model, (edit,) = Scripted(good()), wanted()
    assert ask(model, [edit], max_retries=3) == {"edit answers": 1}
    assert edit.answer == parse_answer(good())
    (call,) = model.calls
    assert call.prompts == [write_prompt(Shown(), CAPTION, "add")]
    assert (call.max_new_tokens, call.temperature) == (50, 0.5)
    assert call.json_schema["properties"]["edit_type"]["enum"] == ["add"]


@pytest.mark.parametrize("answer", [BROKEN, FAULTY])
def test_faulty_answer_is_asked_for_again_with_other_seeds(answer):
    model, (edit,) = Scripted(answer, answer, good()), wanted()
    fault = "unparsable" if answer == BROKEN else "reverse_invents"
    assert ask(model, [edit], max_retries=2) == {"edit answers": 3, f"edit answers: {fault}": 2}
    assert edit.answer == parse_answer(good())
    assert len({call.prompts[0] for call in model.calls}) == 1
    seeds = [seed for call in model.calls for seed in call.seeds]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_retries_are_bounded():
    model, (edit,) = Scripted(BROKEN), wanted()
    ask(model, [edit], max_retries=4)
    assert len(model.calls) == 5
    assert edit.answer is None
    assert edit.faults == [EditFault.UNPARSABLE] * 5
    assert edit.last_text == BROKEN


def test_repair_shows_the_answer_and_its_fault():
    model, (edit,) = Scripted(FAULTY, good()), wanted()
    ask(model, [edit], max_repairs=1)
    assert edit.answer == parse_answer(good())
    first, repair = (call.prompts[0] for call in model.calls)
    assert repair.startswith(first + FAULTY)
    assert ADVICE[EditFault.REVERSE_INVENTS] in repair
    assert repair.endswith(first)


def test_repairs_are_bounded_and_then_the_first_prompt_comes_again():
    model, (edit,) = Scripted(FAULTY), wanted()
    ask(model, [edit], max_repairs=2, max_retries=1)
    is_repair = [len(call.prompts[0]) > len(model.calls[0].prompts[0]) for call in model.calls]
    assert is_repair == [False, True, True, False]
    assert edit.answer is None


def test_answer_that_does_not_parse_is_not_repaired():
    model, (edit,) = Scripted(BROKEN), wanted()
    ask(model, [edit], max_repairs=3)
    assert len(model.calls) == 1


def test_one_call_a_round_holds_all_edits_that_are_open():
    model, edits = Scripted(good("ball"), BROKEN, good("kite"), good("hat")), wanted(3)
    ask(model, edits, max_retries=1)
    assert [len(call.prompts) for call in model.calls] == [3, 1]
    assert [edit.answer.object for edit in edits] == ["ball", "hat", "kite"]


def test_second_answer_that_repeats_a_sibling_is_a_duplicate():
    model, edits = Scripted(good("ball"), good("ball"), good("kite")), wanted(2)
    assert ask(model, edits, max_retries=1) == {"edit answers": 3, "edit answers: duplicate_edit": 1}
    assert [edit.answer.object for edit in edits] == ["ball", "kite"]


def test_edits_of_two_parents_may_be_the_same():
    model, edits = Scripted(good("ball")), [*wanted(), *wanted(seed=7)]
    assert ask(model, edits) == {"edit answers": 2}


def test_nothing_to_ask_is_no_call():
    model = Scripted(good())
    assert ask(model, []) == {}
    assert model.calls == []


def test_every_fault_of_an_answer_that_parses_has_advice():
    assert set(ADVICE) == set(EditFault) - {EditFault.UNPARSABLE, EditFault.NO_CAPTION}


def test_repair_of_a_repeated_caption_shows_it():
    answer = EditAnswer("add", "add a ball", "ball", "a dog", "remove the ball", caption="a dog")
    text = repair_prompt("ASK", CAPTION, "add", answer, [EditFault.OTHER_CAPTION, EditFault.NO_CHANGE])
    assert text.startswith('ASK{"caption": "a dog", "edit_type": "add"')
    assert text.count("\n- ") == 2


def test_types_come_as_often_as_their_shares():
    shares = {"add": 1.0, "remove": 2.0, "turn": 0.0, "replace": 5.0}
    counts = Counter(kind for n in range(4000) for kind in draw_types(shares, 3, random.Random(n)))
    assert set(counts) == {"add", "remove", "replace"}
    for name, number in counts.items():
        assert number / 12000 == pytest.approx(shares[name] / 8, abs=0.01)


def test_types_of_small_share_come_once_a_caption():
    shares = dict.fromkeys("abcdefghi", 1.0)
    for n in range(300):
        drawn = draw_types(shares, 3, random.Random(n))
        assert len(set(drawn)) == len(drawn) == 3


@pytest.mark.parametrize(("shares", "number"), [({"a": 0.1}, 3), ({"a": 1e-9, "b": 1e9}, 5), ({"a": 1, "b": 1}, 1)])
def test_as_many_types_are_drawn_as_asked(shares, number):
    assert all(len(draw_types(shares, number, random.Random(n))) == number for n in range(200))


def test_order_of_the_shares_does_not_matter():
    one, other = {"a": 1.0, "b": 2.0, "c": 3.0}, {"c": 3.0, "a": 1.0, "b": 2.0}
    assert draw_types(one, 3, random.Random(5)) == draw_types(other, 3, random.Random(5))

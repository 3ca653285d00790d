"""Groups of instructions, splits that leak nothing, and examples, against tables with known answers."""

import hashlib
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from _inputs import table
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.context import Context
from samples.columns import SAMPLE_ID
from stages.group_by_instruction import GroupByInstruction
from stages.instruction_groups.contrasts import signs
from stages.instruction_groups.held_out import num_held_out
from stages.instruction_groups.near_texts import leaders_of
from stages.instruction_groups.pairs import images_of

COLUMNS = ("instruction", "source_dhash", "anchor_id", "candidate_number", "target_id", "session_id")


def row(number, instruction, *, edit=1, **more):
    """An undrawn pair of photograph `number`."""
    return {"sample_id": f"{number:016x}-e{edit}", "instruction": instruction, **more}


def tables_of(rows, cuts=()):
    names = [n for n in COLUMNS if any(n in one for one in rows)]
    pieces = [rows[start:stop] for start, stop in zip((0, *cuts), (*cuts, len(rows)), strict=True)]
    return [
        (f"{place:05d}", table([one[SAMPLE_ID] for one in piece], **{n: [one.get(n) for one in piece] for n in names}))
        for place, piece in enumerate(pieces)
        if piece
    ]


def grouped(rows, cuts=(), ctx=None, **options):
    """{sample_id: verdict}, by default with nothing held out."""
    ctx = ctx or Context(stage_name="group_by_instruction")
    stage = GroupByInstruction(
        **{"text_column": "instruction", "out_of_domain_frac": 0, "in_domain_frac": 0, **options}
    )
    found = stage.open(ctx)(lambda: tables_of(rows, cuts))
    return {one[SAMPLE_ID]: one for _, made in found for one in made.to_pylist()}


def reasons(found):
    return [one["reject_reason"] for one in found.values()]


def test_pairs_of_one_instruction_are_each_others_examples():
    rows = [row(1, "Make it snow."), row(2, "make it snow"), row(3, "add a dog"), row(4, "add  a dog!")]
    found = grouped(rows)
    ids = [one[SAMPLE_ID] for one in rows]
    assert {own: one["example_ids"] for own, one in found.items()} == {
        ids[0]: [ids[1]], ids[1]: [ids[0]], ids[2]: [ids[3]], ids[3]: [ids[2]],
    }  # fmt: skip
    assert {one["split"] for one in found.values()} == {"train"}
    assert {one["instruction_group_size"] for one in found.values()} == {2}
    snow = hashlib.sha256(b"make it snow").hexdigest()[:16]
    assert [one["instruction_group"] for one in found.values()][:2] == [snow, snow]


def test_rows_without_an_instruction_or_a_partner_are_rejected():
    found = grouped([row(1, None), row(2, " \n"), row(3, "add a dog"), row(4, "make it snow"), row(5, "make it snow")])
    assert reasons(found) == ["no_instruction", "no_instruction", "single_pair", None, None]
    first, *_, last = found.values()
    assert (first["instruction_group"], first["split"], first["example_ids"]) == (None, None, None)
    assert last["example_ids"] == [f"{4:016x}-e1"]


def test_text_without_a_word_still_is_an_instruction():
    assert reasons(grouped([row(1, "雪を降らせる"), row(2, "雪を降らせる"), row(3, "?!"), row(4, "?!")])) == [None] * 4


def drawn(number, edit, candidate, **more):
    return {
        "sample_id": f"{number:016x}-e{edit}-c{candidate}", "instruction": "make it snow",
        "candidate_number": candidate, **more,
    }  # fmt: skip


A, B = f"{1:016x}", f"{2:016x}"


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        (row(1, "make it snow"), row(2, "make it snow"), False),
        (row(1, "make it snow"), row(1, "make it snow", edit=2), True),  # one photograph
        (drawn(1, 1, 1, anchor_id=A), drawn(1, 2, 1, anchor_id=A), True),  # drawn over one photograph
        (drawn(1, 1, 1, anchor_id=A), drawn(2, 1, 1, anchor_id=B), False),
        (drawn(1, 1, 1, anchor_id=A), row(1, "make it snow", edit=7), True),  # drawn over it, and the photograph
        (drawn(1, 1, 1), drawn(1, 2, 1), False),  # two captions of one row, drawn from noise
        (drawn(1, 1, 1), drawn(1, 1, 2), True),  # two drawings of the same captions
        (drawn(1, 1, 1), row(1, "make it snow"), False),
        (drawn(1, 1, 1, source_dhash=2**63), drawn(1, 2, 1, source_dhash=2**63), True),
        (drawn(1, 1, 1, source_dhash=2**63), drawn(1, 2, 1, source_dhash=2**62), False),
        (row(1, "make it snow", source_dhash=5), row(2, "make it snow", source_dhash=5), True),
        (row(1, "make it snow", target_id=B), row(2, "make it snow"), True),  # its target is the other's source
        (row(1, "make it snow", target_id=f"{9:016x}"), row(2, "make it snow", target_id=f"{9:016x}"), True),
        (row(1, "make it snow", session_id="s"), row(2, "make it snow", session_id="s"), True),  # turns of one session
        (row(1, "make it snow", session_id="s"), row(2, "make it snow", session_id="t"), False),
    ],
)
def test_pairs_of_one_image_are_not_each_others_examples(first, second, is_one):
    assert bool(set(images_of(first)) & set(images_of(second))) == is_one
    assert reasons(grouped([first, second])) == (["single_pair"] * 2 if is_one else [None, None])


def test_every_pair_serves_as_often_and_meets_several_partners():
    found = grouped([row(n, "make it snow") for n in range(50)], max_examples=3)
    used = Counter(example for one in found.values() for example in one["example_ids"])
    assert set(used.values()) == {3}
    assert all(len(set(one["example_ids"]) - {own}) == 3 for own, one in found.items())


def test_pairs_with_shared_images_serve_about_as_often():
    """Candidates of one photograph are passed over, so that their neighbours serve in their place."""
    found = grouped([drawn(n // 4, 1, n % 4, anchor_id=f"{n // 4:016x}") for n in range(160)])
    used = Counter(example for one in found.values() for example in one["example_ids"])
    assert sum(used.values()) == 320
    assert all(1 <= used[own] <= 4 for own in found)


def test_a_small_group_has_fewer_examples_than_asked_for():
    found = grouped([row(n, "make it snow") for n in range(3)], max_examples=5)
    assert [len(one["example_ids"]) for one in found.values()] == [2, 2, 2]


def many(num_groups=40, size=5):
    return [row(size * g + n, f"instruction {g} x") for g in range(num_groups) for n in range(size)]


def test_groups_and_pairs_are_held_out_by_their_shares():
    ctx = Context(stage_name="group_by_instruction")
    found = grouped(many(), ctx=ctx, out_of_domain_frac=0.05, in_domain_frac=0.05)
    splits = Counter(one["split"] for one in found.values())
    assert splits == {"out_of_domain": 10, "in_domain": 10, "train": 180}  # 2 of 40 groups, 9.5 of 190 pairs
    assert len({one["instruction_group"] for one in found.values() if one["split"] == "out_of_domain"}) == 2
    assert {k: v for k, v in ctx.notes.items() if v} == {
        "groups": 40, "groups held out": 2, "pairs of split train": 180, "pairs of split in_domain": 10,
        "pairs of split out_of_domain": 10,
    }  # fmt: skip


def test_another_seed_holds_out_others():
    def held(seed):
        ctx = Context(stage_name="group_by_instruction", seed=seed)
        found = grouped(many(), ctx=ctx, out_of_domain_frac=0.1, in_domain_frac=0.1)
        return {own: (one["split"], tuple(one["example_ids"])) for own, one in found.items()}

    assert held(1) == held(1) != held(2)


@pytest.mark.parametrize(
    ("frac", "count", "expected"),
    [(0.05, 3, 0), (0.05, 4, 1), (0.05, 29, 1), (0.05, 30, 2), (0.05, 1000, 50), (0, 1000, 0), (0.99, 4, 3)],
)
def test_number_held_out_is_the_nearest_and_at_least_one(frac, count, expected):
    assert num_held_out(frac, count) == expected


def test_pairs_of_a_group_of_two_are_never_held_out_alone():
    found = grouped(many(20, 2), in_domain_frac=0.5)
    assert {one["split"] for one in found.values()} == {"train"}


def test_examples_of_held_out_pairs_are_of_the_right_split():
    found = grouped(many(), out_of_domain_frac=0.1, in_domain_frac=0.1)
    expected = {"train": "train", "in_domain": "train", "out_of_domain": "out_of_domain"}
    for one in found.values():
        assert {found[example]["split"] for example in one["example_ids"]} == {expected[one["split"]]}


def test_training_pairs_with_an_image_of_a_held_out_group_are_rejected():
    """Each photograph has an edit of every instruction, so nothing is left to train on."""
    found = grouped([row(n, f"instruction {g} x", edit=g) for g in range(4) for n in range(3)], out_of_domain_frac=0.2)
    assert Counter(reasons(found)) == {None: 3, "shares_held_out_image": 9}
    detail = next(one["reject_detail"] for one in found.values() if one["reject_reason"])
    own = detail.removeprefix("shares an image with ").removesuffix(", which is held out")
    assert found[own]["split"] == "out_of_domain"


def test_pairs_that_share_images_with_none_are_held_out_first():
    alone = [row(100 + n, "make it snow") for n in range(3)]
    rows = [row(n, f"instruction {g} x", edit=g) for g in range(3) for n in range(10)] + alone
    rows += [row(n, "make it snow", edit=9) for n in range(10)]
    found = grouped(rows, in_domain_frac=0.06)
    assert {own for own, one in found.items() if one["split"] == "in_domain"} == {one[SAMPLE_ID] for one in alone}
    assert set(reasons(found)) == {None}


def test_with_a_pair_go_those_that_share_its_image():
    """All photographs have four edits: five photographs of a hundred are held out whole, and nothing is lost."""
    rows = [row(n, f"instruction {g} x", edit=g) for g in range(4) for n in range(100)]
    found = grouped(rows, in_domain_frac=0.05)
    held = [own for own, one in found.items() if one["split"] == "in_domain"]
    assert (len(held), len({own[:16] for own in held})) == (20, 5)
    assert set(reasons(found)) == {None}


def test_verdicts_do_not_depend_on_the_order_of_rows_or_shards():
    rows = many(10, 4) + [row(n, f"instruction {n % 7} x", edit=2) for n in range(20)]
    expected = grouped(rows, out_of_domain_frac=0.1, in_domain_frac=0.1)
    mixed = random.Random(0).sample(rows, len(rows))
    assert grouped(mixed, (7, 30), out_of_domain_frac=0.1, in_domain_frac=0.1) == expected


def identities(one):
    """What a pair's images are known by, written anew for the tests."""
    own, _, suffix = one[SAMPLE_ID].partition("-")
    found = {("hash", one["source_dhash"])} if one.get("source_dhash") is not None else set()
    found |= {("session", one["session_id"])} if one.get("session_id") else set()
    found |= {("photo", one[name]) for name in ("anchor_id", "target_id") if one.get(name)}
    if one.get("candidate_number") is None:
        return found | {("photo", own)}
    return found if one.get("anchor_id") else found | {("edit", own, suffix.split("-")[0])}


def leaks(rows, found):
    """Training pairs whose group or images are of a held-out pair."""
    kept = [(one, found[one[SAMPLE_ID]]) for one in rows if found[one[SAMPLE_ID]]["reject_reason"] is None]
    held = [(one, verdict) for one, verdict in kept if verdict["split"] != "train"]
    images = {image for one, _ in held for image in identities(one)}
    groups = {verdict["instruction_group"] for _, verdict in held if verdict["split"] == "out_of_domain"}
    texts = {one["instruction"] for one, verdict in held if verdict["split"] == "out_of_domain"}
    return [
        one[SAMPLE_ID]
        for one, verdict in kept
        if verdict["split"] == "train"
        and (identities(one) & images or verdict["instruction_group"] in groups or one["instruction"] in texts)
    ]


@st.composite
def pairs(draw):
    """Tables in which photographs, anchors, hashes, sessions and retrieved targets are often shared."""
    photo = st.integers(0, 25)
    maybe = st.integers(0, 12)
    rows = {}
    for number in range(draw(st.integers(0, 70))):
        one = row(draw(photo), f"instruction {draw(st.integers(0, 6))} x", edit=number)
        if draw(st.booleans()):
            one["source_dhash"] = 2**60 + draw(photo)
        if draw(maybe) == 0:
            one["session_id"] = f"s{draw(st.integers(0, 3))}"
        if draw(maybe) == 0:
            one["target_id"] = f"{draw(photo):016x}"
        if draw(maybe) < 4:
            one |= {"sample_id": f"{one['sample_id']}-c1", "candidate_number": 1}
            one |= {"anchor_id": one["sample_id"][:16]} if draw(st.booleans()) else {}
        rows[one[SAMPLE_ID]] = one
    return list(rows.values())


@settings(max_examples=150, deadline=None)
@given(pairs(), st.sampled_from([0, 0.05, 0.3]), st.sampled_from([0, 0.05, 0.3]), st.integers(1, 3))
def test_nothing_leaks_and_every_kept_pair_has_examples(rows, out_frac, in_frac, most):
    found = grouped(rows, out_of_domain_frac=out_frac, in_domain_frac=in_frac, max_examples=most)
    assert leaks(rows, found) == []
    by_id = {one[SAMPLE_ID]: one for one in rows}
    expected = {"train": "train", "in_domain": "train", "out_of_domain": "out_of_domain"}
    sizes = Counter(one["instruction_group"] for one in found.values() if not one["reject_reason"])
    for own, one in found.items():
        if one["reject_reason"]:
            assert (one["split"], one["example_ids"]) == (None, None)
            continue
        assert one["instruction_group_size"] == sizes[one["instruction_group"]]
        assert 1 <= len(one["example_ids"]) == len(set(one["example_ids"])) <= most
        for example in one["example_ids"]:
            assert not identities(by_id[own]) & identities(by_id[example])
            assert found[example]["reject_reason"] is None
            assert found[example]["split"] == expected[one["split"]]
            assert found[example]["instruction_group"] == one["instruction_group"]


def test_the_check_for_leaks_can_fail():
    rows = [row(1, "make it snow"), row(1, "add a dog", edit=2), row(2, "add a dog")]
    found = grouped(rows)
    for own, split in zip(found, ("out_of_domain", "train", "train"), strict=True):
        found[own] |= {"split": split, "reject_reason": None}
    assert leaks(rows, found) == [rows[1][SAMPLE_ID]]


VECTORS = {
    "make it snow": (1.0, 0.0), "let it snow": (0.97, 0.25), "cover everything in snow": (0.93, 0.37),
    "make it red": (0.0, 1.0), "make it blue": (0.01, 1.0), "turn it red": (0.02, 1.0),
    "replace cats with dogs": (-1.0, 0.0), "replace dogs with cats": (-1.0, 0.01),
}  # fmt: skip


class Encoder:
    """Vectors of a table."""

    dim = 2

    def encode_texts(self, texts):
        vectors = np.array([VECTORS[text] for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_vectors(texts, **options):
    """Groups of the texts, the first twice as often as all others, by the number of the text that leads."""
    rows = [row(n, text) for n, text in enumerate([*texts, *texts, texts[0]])]
    ctx = Context(stage_name="group_by_instruction", loader=lambda *_: Encoder())
    found = grouped(rows, ctx=ctx, encoder="zoo:clip", **options)
    led = {hashlib.sha256(text.encode()).hexdigest()[:16]: number for number, text in enumerate(texts)}
    return [led[one["instruction_group"]] for one in list(found.values())[: len(texts)]], ctx.notes


def test_two_wordings_are_joined_by_their_vectors():
    found, notes = by_vectors(["make it snow", "let it snow", "make it red"], near_cos=0.95)
    assert found == [0, 0, 2]
    assert notes["instructions joined to another by their vectors"] == 1
    assert by_vectors(["make it snow", "let it snow", "make it red"], near_cos=0.99)[0] == [0, 1, 2]


def test_texts_of_a_group_are_near_its_leader_and_no_chain_joins_more():
    """ "let it snow" is near both others (0.97, 0.99), which are not near each other (0.93)."""
    assert by_vectors(["make it snow", "let it snow", "cover everything in snow"], near_cos=0.95)[0] == [0, 2, 2]
    assert by_vectors(["let it snow", "make it snow", "cover everything in snow"], near_cos=0.95)[0] == [0, 0, 0]


def test_contrasts_are_not_joined_however_near_their_vectors():
    assert by_vectors(["make it red", "make it blue", "turn it red"])[0] == [0, 1, 0]
    assert by_vectors(["replace cats with dogs", "replace dogs with cats"])[0] == [0, 1]


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("make it red", "make it grey"), ("move it to the left", "move it to the right"),
        ("add two dogs", "add 3 dogs"), ("put it above the cat", "put it below the cat"),
        ("do not change it", "change it"),
        ("don't change it", "change it"), ("a man with a hat", "a man without a hat"), ("add a hat", "remove a hat"),
        ("make it larger", "make it smaller"), ("make it night", "make it day"),
        ("replace a red car with a blue car", "replace a blue car with a red car"),
    ],
)  # fmt: skip
def test_contrasting_words_make_other_signs(text, other):
    assert signs(text) != signs(other)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("make the cat red", "turn the cat red"), ("add two dogs", "insert 2 dogs"),
        ("remove the hat", "erase the hat"), ("make it gray", "make it grey"),
        ("change the weather", "alter the weather"), ("add dogs", "adding dogs"),
    ],
)  # fmt: skip
def test_wordings_of_one_request_have_the_same_signs(text, other):
    assert signs(text) == signs(other)


def test_leaders_are_those_of_one_text_after_another():
    """More texts than a block, against the rule written as a loop."""
    rng = np.random.default_rng(0)
    centres_ND = rng.standard_normal((60, 16))
    vectors_ND = centres_ND[rng.integers(0, 60, 700)] + 0.35 * rng.standard_normal((700, 16))
    vectors_ND = (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(np.float32)
    expected, leaders = [], []
    for own, vector in enumerate(vectors_ND):
        cos = {leader: round(float(vector.astype(float) @ vectors_ND[leader]), 5) for leader in leaders}
        near = [leader for leader in leaders if cos[leader] >= 0.8]
        expected.append(max(near, key=lambda leader: cos[leader]) if near else own)
        leaders += [] if near else [own]
    assert leaders_of(vectors_ND, [f"text {n}" for n in range(700)], 0.8) == expected
    assert 60 < len(leaders) < 400


def test_a_session_of_all_rows_rejects_them_in_no_time():
    found = grouped([row(n, "make it snow", session_id="train") for n in range(3000)])
    assert set(reasons(found)) == {"single_pair"}


def test_the_unified_instruction_is_read_by_default():
    stage = GroupByInstruction()
    assert stage.needs_columns() == ("unified_instruction",)
    rows = table([A, B], unified_instruction=["add dog", "add dog"], instruction=["put a dog there", "a dog, please"])
    ((_, made),) = stage.open(Context(stage_name="test"))(lambda: [("a", rows)])
    assert made["example_ids"].to_pylist() == [[B], [A]]
    assert made.schema.field("example_ids").type == pa.list_(pa.string())

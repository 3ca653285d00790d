"""Shared requests of the miniature world, and the datasets and benchmarks made of them."""

import json
import random

import numpy as np
import pytest
from _datasets import samples_of

from evaluation.benchmarks.pairs import Pairs
from models.language.unification.unifier import Unifier
from samples.shards import read_shards
from trainer.batch import collate
from trainer.data import first_samples
from trainer.decode import Decoder
from trainer.recipes.instructgie.settings import EXAMPLES
from zoo.visual_prompts import NUM_SEEN, SHARED_KINDS, WORDINGS, edit_of, edits_of, requests, split_requests
from zoo.world import facts_of, read_facts
from zoo.write_visual_prompts import TASKS, PromptOrder, main, write_cases
from zoo.write_visual_prompts import samples_of as prompts_of

ORDER = PromptOrder(seed=3, num_requests=6, pairs_per_request=3, size_px=32)


def test_all_wordings_of_a_request_are_one_and_no_two_requests_are():
    unified = Unifier(None)
    texts = {one: {found.text for found in unified.unify([one.worded(n) for n in range(5)])} for one in requests()}
    assert {len(found) for found in texts.values()} == {1}
    assert len(set().union(*texts.values())) == len(texts) == len(set(requests()))


@pytest.mark.parametrize("kind", SHARED_KINDS)
def test_edit_does_what_its_request_says(kind):
    rng = random.Random(0)
    for request in [one for one in requests() if one.kind == kind][:8]:
        edit = edit_of(request, rng)
        before, after = facts_of(edit.source), facts_of(edit.target)
        assert before != after
        assert request.value in (after.place, *after.things[0])
        assert not request.subject or edit.source.things[0].noun == request.subject
        assert read_facts(edit.target_caption) == after
        back = edit_of(request, rng)
        assert back.instruction == edit.instruction


def test_pairs_of_a_request_are_of_different_scenes_in_seen_wordings():
    request = requests()[0]
    edits = list(edits_of(request, random.Random(1), 8))
    assert len({edit.source for edit in edits}) == 8
    assert {edit.instruction for edit in edits} <= {request.worded(n) for n in range(NUM_SEEN)}


def test_held_out_requests_are_never_trained_on():
    kept, held_out = split_requests(0, 0.1)
    assert not set(kept) & set(held_out)
    assert set(kept) | set(held_out) == set(requests())
    assert {one.kind for one in held_out} == set(SHARED_KINDS)
    assert ORDER.requests()[1] == PromptOrder(seed=4, num_requests=6).requests()[1] == held_out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("prompts")
    argv = [str(out / "data"), "--requests", "6", "--seed", "3", "--size-px", "32", "--cases", str(out / "cases")]
    assert main([*argv, "--num-cases", "4"]) == 0
    return out


def test_dataset_has_every_pair_with_the_others_as_examples(folder):
    members = samples_of(folder / "data")
    assert len(members) == 18
    assert [one["json"] for one in members] == [one["json"] for _, one in prompts_of(ORDER)]
    for one in members:
        examples = {(one[f"example_source{n}.png"], one[f"example_target{n}.png"]) for n in ("", 1)}
        assert len(examples) == 2
        assert (one["source.png"], one["target.png"]) not in examples
        light = json.loads(one["json"])
        partners = [other for other in members if (other["source.png"], other["target.png"]) in examples]
        assert {json.loads(other["json"])["instruction_group"] for other in partners} == {light["instruction_group"]}
        assert light["unified_instruction"] == Unifier(None).unify([light["instruction"]])[0].text


def test_trainer_reads_one_example_of_each_pair(folder):
    decoder = Decoder(size_px=32, required=("source_images", "target_image", *EXAMPLES), one_of=EXAMPLES, seed=1)
    batch = collate(first_samples(read_shards(folder / "data"), decoder, 6), decoder, "recipe x")
    assert batch[EXAMPLES[0]].shape == batch[EXAMPLES[1]].shape == (6, 3, 32, 32)


@pytest.mark.parametrize("task", TASKS)
def test_cases_are_held_out_edits_with_an_example_each(folder, task):
    cases = Pairs().read(folder / "cases" / task)
    trained = {one["source.png"] for one in samples_of(folder / "data")}
    assert not trained & {case.source.read_bytes() for case in cases.cases}
    assert all(len(case.examples) == 1 for case in cases.cases)
    known, held_out = ({text for one in found for text in map(one.worded, range(5))} for found in ORDER.requests())
    assert {case.instruction for case in cases.cases} <= (held_out if task == "out-of-domain" else known)
    wordings = [case.key.partition("-w")[0] for case in cases.cases]
    assert len(wordings) == (4 * len(WORDINGS["change_colour"]) if task == "paraphrases" else 4)


def test_wordings_of_an_edit_share_their_noise(folder):
    cases = Pairs().read(folder / "cases" / "paraphrases").cases
    assert {case.noise for case in cases} == {case.key.partition("-w")[0] for case in cases}
    assert len({case.noise for case in cases}) == 4


def test_scenes_can_be_of_some_things_only():
    order = PromptOrder(seed=1, num_requests=9, nouns=("cat", "fish", "cup"))
    found = [edit for _, edits in order.edits() for edit in edits]
    assert {scene.things[0].noun for edit in found for scene in (edit.source, edit.target)} <= {"cat", "fish", "cup"}
    with pytest.raises(ValueError, match="num_requests is 1000; there are 30 that are not held out"):
        PromptOrder(seed=1, num_requests=1000, nouns=("cat", "fish", "cup")).requests()


def test_same_arguments_write_the_same_bytes(folder, tmp_path):
    write_cases(tmp_path, "in-domain", 4, ORDER)
    for path in sorted(tmp_path.rglob("*")):
        other = folder / "cases" / "in-domain" / path.relative_to(tmp_path)
        assert path.is_dir() or path.read_bytes() == other.read_bytes()
    assert [members for _, members in prompts_of(ORDER)] == samples_of(folder / "data")


def test_wrong_arguments_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--pairs", "1"])
    assert "two pairs of each" in capsys.readouterr().err


def test_selective_area_of_a_case_is_its_thing(folder):
    from PIL import Image

    row = json.loads((folder / "cases" / "in-domain" / "cases.jsonl").read_text().splitlines()[0])
    inside = np.asarray(Image.open(folder / "cases" / "in-domain" / row["selective"])) >= 128
    assert 0.02 < inside.mean() < 0.5

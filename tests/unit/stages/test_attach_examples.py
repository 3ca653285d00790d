"""Images of a pair's examples, from any shard, in a table and through the whole engine."""

import json
import re
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _fakes import entry, manifest_of, run
from _inputs import encoded, jpeg, make_image, table

from pipeline.context import Context
from pipeline.plan.plan import make_plan
from pipeline.stage import ExpandStage
from samples.columns import PARENT_ID, SAMPLE_ID, arrow_schema
from samples.members import MEMBERS
from samples.shards import read_shards
from stages.attach_examples import AttachExamples
from stages.dedup import Dedup
from stages.emit import Emit
from stages.group_by_instruction import GroupByInstruction
from stages.normalise_image import NormaliseImage
from stages.normalise_target import NormaliseTarget
from stages.read_edit_triples import ReadEditTriples
from zoo.dataset_shards import read_samples

PAIRS = {"a": (b"source a", b"target a"), "b": (b"source b", b"target b"), "c": (b"source c", None)}


def gatherer(ids):
    """The pairs a, b and c, the last without a target."""
    found = [PAIRS[own] for own in ids]
    return table(
        list(ids), source_images=[[source, b"further"] for source, _ in found], source_format=["png"] * len(found),
        target_image=[target for _, target in found], target_format=["webp" if t else None for _, t in found],
    )  # fmt: skip


def attached(*example_ids):
    work = AttachExamples().open(Context(stage_name="attach_examples", gatherer=gatherer))
    return work(table(example_ids=list(example_ids)))


def test_examples_come_in_the_order_of_their_ids_and_rows_may_have_none():
    first, second, third, last = attached(["b", "a"], None, [], ["a"]).to_pylist()
    assert first["example_source_images"] == [b"source b", b"source a"]
    assert first["example_target_images"] == [b"target b", b"target a"]
    assert (first["example_source_formats"], first["example_target_formats"]) == (["png"] * 2, ["webp"] * 2)
    for row in (second, third):
        assert {name: row[name] for name in AttachExamples.writes} == {name: [] for name in AttachExamples.writes}
    assert last["example_source_images"] == [b"source a"]
    assert {row["reject_reason"] for row in (first, second, third, last)} == {None}


def test_pair_of_which_an_example_has_no_target_is_rejected():
    kept, rejected = attached(["a"], ["a", "c"]).to_pylist()
    assert kept["reject_reason"] is None
    assert (rejected["reject_reason"], rejected["reject_detail"]) == (
        "no_example_image",
        "example c has no target image",
    )


def test_types_are_those_declared():
    schema = attached(["a"]).schema
    assert [schema.field(name).type for name in AttachExamples.writes] == [
        arrow_schema(AttachExamples.writes).field(name).type for name in AttachExamples.writes
    ]


def edits(folder, instructions):
    """A table of edits of photographs of different shapes, in HQ-Edit's layout."""
    images = [
        [{"bytes": jpeg(100 * side + n, (96, 80 + 8 * (n % 2))), "path": None} for n in range(len(instructions))]
        for side in (0, 1)
    ]
    columns = {"input_image": images[0], "output_image": images[1], "edit": instructions}
    columns |= {name: [f"{name} {n}" for n in range(len(instructions))] for name in ("input", "output")}
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "part.parquet")
    return str(folder)


def built(tmp_path, *middle, instructions, **grouping):
    stages = (
        ReadEditTriples(rows_per_shard=4), NormaliseImage(shorter_side_px=32, min_side_px=8), Dedup(), *middle,
        GroupByInstruction(text_column="instruction", **grouping), AttachExamples(), Emit(),
    )  # fmt: skip
    names = ("read", "normalise", "dedup", *(f"middle{n}" for n in range(len(middle))), "group", "attach", "emit")
    entries = [entry(stage).model_copy(update={"name": name}) for name, stage in zip(names, stages, strict=True)]
    inputs = edits(tmp_path / "in", instructions)
    plan = make_plan(manifest_of(*entries), str(tmp_path / "run"), [inputs])
    result = run(plan)
    return result, tmp_path / "run" / "dataset"


INSTRUCTIONS = ["make it snow", "add a dog"] * 5 + ["paint it"]


def check_examples(dataset):
    """The members of every sample's examples are those of the pairs that it names."""
    found = dict(read_samples(dataset))
    for members in found.values():
        light = json.loads(members["json"])
        assert len(light["example_ids"]) == 2
        for number, example in enumerate(light["example_ids"]):
            for role in ("source", "target"):
                own = next(name for name in found[example] if re.fullmatch(rf"{role}\.\w+", name))
                suffix = own.partition(".")[2]
                assert members[f"example_{role}{number or ''}.{suffix}"] == found[example][own]
            assert json.loads(found[example]["json"])["instruction"] == light["instruction"]
    return found


def test_dataset_holds_the_examples_of_other_shards(tmp_path):
    """Sources are written before the global stage by one stage, and targets by another."""
    result, dataset = built(
        tmp_path, NormaliseTarget(), instructions=INSTRUCTIONS, in_domain_frac=0.2, out_of_domain_frac=0
    )
    assert result.ok
    found = check_examples(dataset)
    assert len(found) == 10
    shards = read_shards(dataset).shards
    assert len(shards) == 3
    assert sum(dict(shard.splits).get("in_domain", 0) for shard in shards) == 2
    assert sum(count for shard in shards for _, count in shard.splits) == 10


def test_card_declares_every_member_of_the_examples(tmp_path):
    _, dataset = built(tmp_path, NormaliseTarget(), instructions=INSTRUCTIONS, in_domain_frac=0, out_of_domain_frac=0)
    card = (dataset / "README.md").read_text("utf-8")
    written = {suffix for _, members in read_samples(dataset) for suffix in members}
    assert {"example_source.jpg", "example_source1.jpg", "example_target.jpg", "example_target1.jpg"} < written
    assert set(re.findall(r"^\| `<sample_id>\.(.+?)` \| \S", card, re.MULTILINE)) == written


class Draw(ExpandStage):
    """Two pairs of each edit, drawn from noise: each of a look of its own."""

    version: ClassVar = 1
    reads: ClassVar = ("source_key", "instruction")
    writes: ClassVar = ("source_images", "source_format", "source_dhash", "target_image", "target_format",
                        "candidate_number")  # fmt: skip

    def open(self, ctx):
        def draw(batch):
            made = []
            for own in batch[SAMPLE_ID].to_pylist():
                for number in (1, 2):
                    seed = int(own[:6], 16) + number
                    made.append(
                        {
                            SAMPLE_ID: f"{own}-c{number}", PARENT_ID: own, "source_format": "png",
                            "source_images": [encoded(make_image(seed), "PNG")], "source_dhash": seed,
                            "target_image": encoded(make_image(seed + 9), "PNG"), "target_format": "png",
                            "candidate_number": number,
                        }
                    )  # fmt: skip
            return pa.Table.from_pylist(made, arrow_schema((SAMPLE_ID, PARENT_ID, *self.writes)))

        return draw


def test_examples_of_drawn_pairs_are_the_drawn_images(tmp_path):
    """Not the photographs of the input, whose column has the same name and other ids."""
    result, dataset = built(tmp_path, Draw(), instructions=INSTRUCTIONS, in_domain_frac=0, out_of_domain_frac=0)
    assert result.ok
    found = check_examples(dataset)
    assert len(found) == 20
    for own, members in found.items():
        assert all(
            one.rpartition("-c")[0] != own.rpartition("-c")[0] for one in json.loads(members["json"])["example_ids"]
        )


class Several(Draw):
    """Two edits of each target: the images have one row, the pairs have two."""

    writes: ClassVar = ("candidate_number",)


def test_images_from_before_the_pairs_were_made_are_those_of_the_parents(tmp_path):
    result, dataset = built(
        tmp_path, NormaliseTarget(), Several(), instructions=INSTRUCTIONS, in_domain_frac=0, out_of_domain_frac=0
    )
    assert result.ok
    assert len(check_examples(dataset)) == 20


def test_lists_of_members_have_formats_of_their_own():
    assert {name: MEMBERS[name].format_column for name in MEMBERS if MEMBERS[name].is_list} == {
        "source_images": "source_format", "example_source_images": "example_source_formats",
        "example_target_images": "example_target_formats",
    }  # fmt: skip


@pytest.mark.parametrize("rows", [[], [None], [[]]])
def test_nothing_is_gathered_for_rows_without_examples(rows):
    asked = []

    def gather(ids):
        asked.extend(ids)
        return gatherer(ids)

    work = AttachExamples().open(Context(stage_name="attach_examples", gatherer=gather))
    assert work(table([f"s{n}" for n in range(len(rows))] or [], example_ids=rows)).num_rows == len(rows)
    assert asked == []

"""Rows of any shard by their ids."""

from typing import ClassVar

import pyarrow as pa
import pytest
from _fakes import Best, Pixels, ReadLines, Twins, Upper, id_of, plan_of, rows_of, run
from _fakes_over_shards import Pointer

from core.errors import ContractError, PlanError
from pipeline.run.gather import Gatherer
from pipeline.store.storage import Storage
from samples.columns import SAMPLE_ID

SHARDS = {"a": ["one", "two"], "b": ["three", "four"], "c": ["five"]}


def gatherer(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Best(), Pointer()], SHARDS)
    assert run(plan).ok
    return plan, Gatherer(plan, Storage(plan.out), plan.stages[3])


def test_a_stage_gets_columns_of_rows_of_other_shards(tmp_path):
    plan, _ = gatherer(tmp_path)
    found = {row[SAMPLE_ID]: row["target_caption"] for s in SHARDS for row in rows_of(plan, "pointer", s)}
    assert found[id_of("one")] == "five/FIVE"
    assert found[id_of("four")] == "one/ONE"


def test_ids_may_repeat_and_come_in_any_order(tmp_path):
    _, gather = gatherer(tmp_path)
    lines = ["five", "one", "five", "two"]
    assert gather([id_of(line) for line in lines])["caption"].to_pylist() == lines


def test_no_ids_give_an_empty_table_of_the_right_columns(tmp_path):
    _, gather = gatherer(tmp_path)
    found = gather([])
    assert (found.num_rows, found.column_names) == (0, [SAMPLE_ID, "source_caption", "caption"])
    assert found.schema.field("caption").type == pa.string()


def test_an_id_that_no_row_has_is_named(tmp_path):
    _, gather = gatherer(tmp_path)
    with pytest.raises(ContractError, match=r"cannot gather row 'ffff': stage \w+ kept no row of that id"):
        gather([id_of("one"), "ffff"])


def test_gathering_without_a_stage_that_waits_for_all_shards_is_refused(tmp_path):
    with pytest.raises(PlanError, match="nothing before it waits for all shards; put it after a global stage"):
        plan_of(tmp_path, [ReadLines(), Upper(), Pointer()], SHARDS)


def test_a_stage_over_all_shards_cannot_gather(tmp_path):
    class Both(Best):
        gathers = ("caption",)

    with pytest.raises(PlanError, match="which only stages that work on one shard can do"):
        plan_of(tmp_path, [ReadLines(), Best(), Both()], SHARDS)


def test_gathering_a_column_that_no_stage_stores_is_refused(tmp_path):
    with pytest.raises(PlanError, match="gathers column 'source_caption', which no stage before it stores"):
        plan_of(tmp_path, [ReadLines(), Best(), Pointer()], SHARDS)


def test_rows_that_are_too_large_together_halve_the_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.run.gather.BATCH_BYTES", 60)
    plan, gather = gatherer(tmp_path)
    found = {row[SAMPLE_ID]: row["target_caption"] for s in SHARDS for row in rows_of(plan, "pointer", s)}
    assert found[id_of("one")] == "five/FIVE"
    with pytest.raises(MemoryError, match="have more than 60 bytes"):
        gather([id_of(line) for lines in SHARDS.values() for line in lines])
    assert gather([id_of("one")]).num_rows == 1


class PointerToImages(Pointer):
    gathers: ClassVar = ("source_images", "caption", "source_caption")

    def open(self, ctx):
        def point(batch):
            found = ctx.gather(batch[SAMPLE_ID].to_pylist()[::-1])
            images = [f"{c}/{i[0].decode()}" for c, i in zip(*(found[n].to_pylist() for n in NAMES), strict=True)]
            return batch.append_column("target_caption", pa.array(images))

        return point


NAMES = ("source_caption", "source_images")


@pytest.mark.parametrize("group_bytes", [1, 1 << 19])
def test_bulk_and_light_columns_of_several_stages_belong_together(tmp_path, monkeypatch, group_bytes):
    monkeypatch.setattr("pipeline.store.column_writer.BULK_GROUP_BYTES", group_bytes)
    plan = plan_of(tmp_path, [ReadLines(), Pixels(), Upper(), Best(), PointerToImages()], SHARDS)
    assert run(plan).ok
    for shard, lines in SHARDS.items():
        found = [row["target_caption"] for row in rows_of(plan, "pointertoimages", shard)]
        assert found == [f"{line.upper()}/{line}" for line in lines[::-1]]
    gather = Gatherer(plan, Storage(plan.out), plan.stages[4])
    lines = ["four", "one", "five", "one"]
    found = gather([id_of(line) for line in lines])
    assert found.column_names == [SAMPLE_ID, "source_images", "caption", "source_caption"]
    assert found["source_images"].to_pylist() == [[line.encode()] for line in lines]
    assert found["caption"].to_pylist() == lines


class Further(Twins):
    """Two children of each child."""


class PointerAcross(Pointer):
    """Each row gets the texts of the row at the same place from the other end of the batch."""

    gathers: ClassVar = ("source_caption", "instruction", "caption")
    gathers_from_parents: ClassVar = True

    def open(self, ctx):
        def point(batch):
            ids = batch[SAMPLE_ID].to_pylist()[::-1]
            found = ctx.gather(ids).to_pylist()
            assert [row[SAMPLE_ID] for row in found] == ids
            texts = [f"{row[SAMPLE_ID]} {'/'.join(row[name] for name in self.gathers)}" for row in found]
            return batch.append_column("target_caption", pa.array(texts))

        return point


@pytest.mark.parametrize("rows_of_one_part", [16_384, 1])
def test_what_was_written_before_an_expand_is_gathered_from_the_parent(tmp_path, monkeypatch, rows_of_one_part):
    monkeypatch.setattr("pipeline.plan.steps.ROWS_OF_ONE_PART", rows_of_one_part)
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Twins(), Further(), Best(), PointerAcross()], SHARDS)
    assert plan.stages[-1].gathered_through == (2, 3)
    assert run(plan).ok
    for shard, lines in SHARDS.items():
        found = [row["target_caption"] for row in rows_of(plan, "pointeracross", shard)]
        assert found[::-1] == [
            f"{id_of(line)}-e{first}-e{second} {line.upper()}/{second} {line}/{line}"
            for line in lines for first in (1, 2) for second in (1, 2)
        ]  # fmt: skip


def test_gathering_from_parents_waits_for_all_rows_of_the_last_expand(tmp_path):
    chain = [ReadLines(), Upper(), Best(), Twins(), PointerAcross()]
    with pytest.raises(PlanError, match="gathers 'source_caption' from all shards, and nothing before it waits"):
        plan_of(tmp_path, chain, SHARDS)
    assert plan_of(tmp_path, [*chain[:-1], Pointer()], SHARDS).stages[-1].gathered_through == ()


class ReadNotes(ReadLines):
    """The id of a line is that of its first word, so the rest can change without another id."""

    def open(self, ctx):
        read = super().open(ctx)

        def noted(shard):
            for rows in read(shard):
                ids = [id_of(caption.partition(" ")[0]) for caption in rows["caption"].to_pylist()]
                yield rows.set_column(0, SAMPLE_ID, pa.array(ids, pa.string()))

        return noted


class PointerToFive(Pointer):
    """Each row gets the texts of the row `five`."""

    def open(self, ctx):
        def point(batch):
            found = ctx.gather([id_of("five")] * batch.num_rows)
            return batch.append_column("target_caption", found["source_caption"])

        return point


def test_row_that_changed_under_its_id_is_gathered_anew(tmp_path):
    chain = [ReadNotes(), Upper(), Best(), PointerToFive()]
    for words in ("five apples", "five pears"):
        plan = plan_of(tmp_path, chain, {"a": ["one"], "b": [words]})
        assert run(plan).ok
        assert rows_of(plan, "pointertofive", "a")[0]["target_caption"] == words.upper()

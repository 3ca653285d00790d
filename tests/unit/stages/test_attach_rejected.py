"""The image of the rejected candidate: from any shard, of the same source, also after other stages dropped its row."""

import hashlib
import json
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _fakes import entry, manifest_of, run
from _inputs import encoded, jpeg, make_image, table
from _stage_inputs import candidates_by_id, paired

from core.errors import PlanError
from pipeline.context import Context
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import make_plan, plan_stages
from pipeline.stage import ExpandStage, MapStage
from samples.columns import PARENT_ID, SAMPLE_ID, arrow_schema
from stages.attach_rejected import AttachRejected
from stages.dedup import Dedup
from stages.emit import Emit
from stages.normalise_image import NormaliseImage
from stages.normalise_target import NormaliseTarget
from stages.pair_preferences import PairPreferences
from stages.read_edit_triples import ReadEditTriples
from zoo.dataset_shards import read_samples


def attached(batch, gatherer=candidates_by_id):
    return AttachRejected().open(Context(stage_name="attach_rejected", gatherer=gatherer))(batch).to_pylist()


def test_only_a_different_edit_of_the_same_source_is_attached(tmp_path):
    same, other, empty, alone, twin = attached(paired(tmp_path))
    assert (same["reject_reason"], same["rejected_format"]) == (None, "png")
    assert same["rejected_image"] == candidates_by_id(["same"])["target_image"][0].as_py()
    assert (other["reject_reason"], other["reject_detail"]) == ("another_source", "rejected candidate other")
    assert (empty["reject_reason"], twin["reject_reason"]) == ("no_rejected_image", "same_image")
    assert {alone[name] for name in ("rejected_image", "rejected_format", "reject_reason")} == {None}


def test_a_further_source_image_that_differs_is_another_source():
    def gatherer(ids):
        return table(list(ids), source_images=[[b"a", b"x"]], target_image=[b"t"], target_format=["png"])

    batch = table(["s"], rejected_id=["r"], source_images=[[b"a", b"b"]], target_image=[b"u"])
    assert attached(batch, gatherer)[0]["reject_reason"] == "another_source"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nothing_is_gathered_for_rows_without_a_rejected_candidate(count):
    asked = []

    def gatherer(ids):
        asked.extend(ids)
        return candidates_by_id(ids)

    ids = [f"s{n}" for n in range(count)]
    batch = table(ids, rejected_id=[None] * count, source_images=[[b"a"]] * count, target_image=[b"t"] * count)
    assert len(attached(batch, gatherer)) == count
    assert asked == []


def seed_of(parent, number):
    return int(hashlib.sha256(f"{parent} {number}".encode()).hexdigest()[:6], 16)


class Candidates(ExpandStage):
    """Three edits of each image with scores 0.1, 0.2 and 0.3. The source is the parent's."""

    version: ClassVar = 1
    reads: ClassVar = ("source_images", "source_dhash")
    writes: ClassVar = ("target_image", "target_format", "target_caption_cos", "candidate_number")

    def open(self, ctx):
        def draw(batch):
            made = [
                self.candidate(row, number, seed_of(row[SAMPLE_ID], number))
                for row in batch.to_pylist()
                for number in (1, 2, 3)
            ]
            return pa.Table.from_pylist(made, arrow_schema((SAMPLE_ID, PARENT_ID, *self.writes)))

        return draw

    def candidate(self, row, number, seed):
        own = row[SAMPLE_ID]
        return {
            SAMPLE_ID: f"{own}-c{number}", PARENT_ID: own, "target_image": encoded(make_image(seed), "PNG"),
            "target_format": "png", "target_caption_cos": number / 10, "candidate_number": number,
        }  # fmt: skip


class SourcesStored(Candidates):
    """The source is stored with each candidate, as `synthesise_region` stores photographs."""

    writes: ClassVar = (*Candidates.writes, "source_images", "source_format", "source_dhash")

    def candidate(self, row, number, seed):
        source = {"source_images": row["source_images"], "source_format": "jpg", "source_dhash": row["source_dhash"]}
        return super().candidate(row, number, seed) | source


class SourcesDrawn(SourcesStored):
    """The source of each candidate is drawn anew; its perceptual hash stays."""

    def candidate(self, row, number, seed):
        found = super().candidate(row, number, seed)
        return found | {"source_images": [encoded(make_image(seed + 1), "PNG")], "source_format": "png"}


class Scores(MapStage):
    """A score of each pair, from its target caption: "output 3" has 0.3. All pairs follow one instruction."""

    version: ClassVar = 1
    reads: ClassVar = ("target_caption",)
    writes: ClassVar = ("target_caption_cos", "instruction")

    def open(self, ctx):
        def score(batch):
            scores = [int(text.split()[-1]) / 10 for text in batch["target_caption"].to_pylist()]
            batch = batch.append_column("target_caption_cos", pa.array(scores, pa.float32()))
            return batch.append_column("instruction", pa.array(["add a dog"] * batch.num_rows))

        return score


NUM_EDITS = 9


def built(tmp_path, *middle, num_sources=NUM_EDITS, rows_per_shard=4, **settings):
    """The dataset of nine edits, of so many source images."""
    folder = tmp_path / "in"
    folder.mkdir(parents=True)
    images = [[jpeg(n % num_sources) for n in range(NUM_EDITS)], [jpeg(100 + n) for n in range(NUM_EDITS)]]
    columns = {name: [f"{name} {n}" for n in range(NUM_EDITS)] for name in ("input", "output", "edit")}
    for name, side in zip(("input_image", "output_image"), images, strict=True):
        columns[name] = [{"bytes": image, "path": None} for image in side]
    pq.write_table(pa.table(columns), folder / "part.parquet")
    stages = {
        "read": ReadEditTriples(rows_per_shard=rows_per_shard),
        "normalise": NormaliseImage(shorter_side_px=32, min_side_px=8), "dedup": Dedup(max_distance=None),
        **{type(stage).__name__.lower(): stage for stage in middle},
        "pair": PairPreferences(by="target_caption_cos", **settings), "attach": AttachRejected(), "emit": Emit(),
    }  # fmt: skip
    entries = [entry(stage).model_copy(update={"name": name}) for name, stage in stages.items()]
    result = run(make_plan(manifest_of(*entries), str(tmp_path / "run"), [str(folder)]))
    assert result.ok, str(result)
    return tmp_path / "run" / "dataset"


@pytest.mark.parametrize("candidates", [Candidates(), SourcesStored()], ids=["shared source", "stored source"])
def test_dataset_holds_the_rejected_image_of_a_row_that_was_dropped(tmp_path, candidates):
    dataset = built(tmp_path, candidates)
    samples = dict(read_samples(dataset))
    assert len(samples) == NUM_EDITS
    for own, members in samples.items():
        assert set(members) == {"source.jpg", "target.png", "rejected.png", "json"}
        known = json.loads(members["json"])
        parent, _, number = own.rpartition("-c")
        assert (number, known["rejected_id"]) == ("3", f"{parent}-c1")
        scores = [known[name] for name in ("preference_score", "rejected_score", "preference_margin")]
        assert scores == pytest.approx([0.3, 0.1, 0.2])
        assert members["rejected.png"] == encoded(make_image(seed_of(parent, 1)), "PNG")
    rejects = pq.read_table(dataset / "rejects.parquet").to_pylist()
    assert {row["reject_reason"] for row in rejects} == {"rejected_of_pair", "not_chosen"}
    assert all(json.loads(row["row"])["target_caption_cos"] < 0.3 for row in rejects), "scores of those that lost stay"
    assert "`<sample_id>.rejected.png`" in (dataset / "README.md").read_text("utf-8")


def test_candidates_with_sources_of_their_own_make_no_pair(tmp_path):
    dataset = built(tmp_path, SourcesDrawn())
    assert dict(read_samples(dataset)) == {}
    reasons = pq.read_table(dataset / "rejects.parquet")["reject_reason"].to_pylist()
    assert reasons.count("another_source") == NUM_EDITS


class Emptied(MapStage):
    """Leaves no pair, as a stage that makes other edits does."""

    version: ClassVar = 1
    writes: ClassVar = ("rejected_id",)

    def writes_empty(self):
        return self.writes

    def open(self, ctx):
        return lambda batch: batch


def test_chain_that_empties_the_pairs_before_is_refused(tmp_path):
    stages = [ReadEditTriples(), NormaliseImage(), Dedup(), Candidates(), PairPreferences(by="target_caption_cos")]
    entries = [entry(stage) for stage in (*stages, Emptied(), AttachRejected())]
    with pytest.raises(PlanError, match=r"needs values of 'rejected_id', and .* stage emptied measures none"):
        plan_stages(manifest_of(*entries))


CHAIN = {
    "read_webdataset": "", "normalise_image": "", "dedup": "", "edit_caption_wordnet": "",
    "synthesise_edit": 'model = "zoo:ip2p"\nnum_candidates = 3', "score_edit": 'encoder = "zoo:clip"',
    "judge_edit": 'model = "code:zoo.judging.world_judge:WorldJudge"', "pair_preferences": 'by = "judge_score"',
    "attach_rejected": "", "take_rows": "target_rows = 40", "emit": "",
}  # fmt: skip


def planned_chain(folder, names):
    text = "".join(f'[[stage]]\nuse = "{name}"\n{CHAIN[name]}\n' for name in names)
    (folder / "a.toml").write_text(f'name = "a"\n{text}')
    return plan_stages(load_manifest(folder / "a.toml"))


def test_sources_are_those_of_the_parents_after_an_editor_and_a_judge(tmp_path):
    stages = {one.name: one for one in planned_chain(tmp_path, CHAIN)}
    attach = stages["attach_rejected"]
    assert attach.gathered["source_images"] == stages["normalise_image"].index
    assert attach.gathered["target_image"] == stages["synthesise_edit"].index
    assert attach.gathered_through == (stages["edit_caption_wordnet"].index, stages["synthesise_edit"].index)


def test_rejected_edits_are_not_attached_after_rows_were_taken(tmp_path):
    names = [name for name in CHAIN if name != "attach_rejected"]
    names.insert(names.index("emit"), "attach_rejected")
    with pytest.raises(PlanError, match=r"attach_rejected rejects or adds rows, .* after take_rows"):
        planned_chain(tmp_path, names)


@pytest.mark.parametrize("rows_of_one_part", [16_384, 1])
def test_rejected_image_comes_from_another_shard(tmp_path, monkeypatch, rows_of_one_part):
    """Edits 0 to 8 of three photographs, in shards of two: the rejected one is the edit 6 numbers before."""
    monkeypatch.setattr("pipeline.plan.steps.ROWS_OF_ONE_PART", rows_of_one_part)
    middle = (NormaliseTarget(), Scores())
    dataset = built(tmp_path, *middle, num_sources=3, rows_per_shard=2, per="source_sha256", keep_unpaired=True)
    stored = {}
    for file in (tmp_path / "run" / "stages").glob("normalisetarget-*/*.bulk.parquet"):
        stored |= {row[SAMPLE_ID]: row["target_image"] for row in pq.read_table(file).to_pylist()}
    rejects = {row["sample_id"]: row for row in pq.read_table(dataset / "rejects.parquet").to_pylist()}
    tars = {row["sample_id"]: row["dataset_shard"] for row in pq.read_table(dataset / "samples.parquet").to_pylist()}
    assert len(tars) == 3
    for own, members in read_samples(dataset):
        known = json.loads(members["json"])
        lost = rejects[known["rejected_id"]]
        number = int(known["target_caption"].split()[-1])
        assert number in (6, 7, 8)
        assert json.loads(lost["row"])["target_caption_cos"] == pytest.approx((number - 6) / 10)
        assert lost["shard"] != tars[own].removesuffix(".tar")
        assert members["rejected.jpg"] == stored[known["rejected_id"]]

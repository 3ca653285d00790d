"""The reader of published edits: InstructPix2Pix's folders, UltraEdit's and HQ-Edit's tables, and inputs that lie."""

import json
import os
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _builds import build
from _inputs import jpeg, png_file, read_rows, reasons

from core.errors import PlanError, ShardFailed
from pipeline.context import Context
from samples.shards import SHARD_LIST
from stages.inputs import parquet_pages, parquet_rows
from stages.inputs.pair_folders import list_pair_folders
from stages.read_edit_triples import ReadEditTriples

PROMPT = {"caption": "a cat", "edit": "add a hat", "output": "a cat in a hat", "url": "http://x/1.jpg"}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FOLDERS = {"layout": "pair_folders"}
MANIFEST = """
name = "triples"
[[stage]]
use = "read_edit_triples"
layout = "pair_folders"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
[[stage]]
use = "normalise_target"
[[stage]]
use = "dedup"
[[stage]]
use = "emit"
"""


def pair_folder(folder, seeds=(11, 7), prompt=PROMPT, first=0):
    folder.mkdir(parents=True)
    if prompt is not None:
        (folder / "prompt.json").write_text(prompt if isinstance(prompt, str) else json.dumps(prompt))
    lines = [json.dumps({"seed": seed, "clip_sim_dir": 0.3, "p2p_threshold": seed / 100}) for seed in seeds]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    for number, seed in enumerate(seeds):
        for side in (0, 1):
            (folder / f"{seed}_{side}.jpg").write_bytes(jpeg(first + 2 * number + side))
    return folder


def images(*values):
    return pa.array([None if v is None else {"bytes": v, "path": None} for v in values], IMAGE)


def ultraedit(path, **columns):
    table = {
        "source_image": images(jpeg(0), jpeg(1)), "edited_image": images(jpeg(2), jpeg(3)),
        "mask_image": images(jpeg(4), None), "edit_prompt": ["add a hat", "make it winter"],
        "source_caption": ["a cat", "a road"], "target_caption": ["a cat in a hat", "a road in snow"],
        "edit_object": ["cat", "NONE"], "clip_sim_dir": [0.25, 0.5], "idx": [3, 4], **columns,
    }  # fmt: skip
    pq.write_table(pa.table({name: value for name, value in table.items() if value is not None}), path)
    return path


def json_lines(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def line(name, **more):
    texts = {"input_text": "a cat", "output_text": "a dog", "edit_instruction": "turn the cat into a dog"}
    return {"global_idx": 1, "input_image": name, **texts, **more}


@pytest.mark.parametrize("name", ["caption", "input"])
def test_pairs_of_a_folder_share_their_texts_under_either_name(tmp_path, name):
    pair_folder(tmp_path / "data" / "0000001", prompt={**PROMPT, name: PROMPT["caption"]})
    rows, notes = read_rows(ReadEditTriples(**FOLDERS), tmp_path / "data")
    assert [row["source_key"] for row in rows] == ["0000001/7", "0000001/11"]
    assert [(row["source_raw"], row["target_raw"]) for row in rows] == [(jpeg(2), jpeg(3)), (jpeg(0), jpeg(1))]
    row = rows[0]
    assert (row["source_caption"], row["caption"], row["instruction"]) == ("a cat", "a cat", "add a hat")
    assert (row["target_caption"], row["source_url"]) == ("a cat in a hat", "http://x/1.jpg")
    assert (row["reverse_instruction"], row["mask_raw"], row["edit_writer"]) == (None, None, "input")
    assert json.loads(row["source_metadata"])["p2p_threshold"] == 0.07
    assert notes == {}


def test_texts_of_the_generator_of_ultraedit_are_in_its_metadata(tmp_path):
    folder = pair_folder(tmp_path / "cnt_0" / "0000001", seeds=(5,), prompt=None)
    texts = {"caption": "a cat", "new_caption": "a dog", "edit_instance": "make it a dog", "edit_object": "cat"}
    (folder / "metadata.jsonl").write_text(json.dumps({"seed": 5, **texts}))
    (folder / "5_mask.jpg").write_bytes(jpeg(9))
    (row,), _ = read_rows(ReadEditTriples(**FOLDERS), tmp_path)
    assert (row["source_caption"], row["target_caption"]) == ("a cat", "a dog")
    assert (row["instruction"], row["edit_object"]) == ("make it a dog", "cat")
    assert row["mask_raw"] == jpeg(9)


def test_folders_that_lack_something_give_rejects(tmp_path):
    (pair_folder(tmp_path / "d" / "1") / "7_1.jpg").unlink()
    pair_folder(tmp_path / "d" / "2", seeds=(1,), prompt="{broken", first=10)
    pair_folder(tmp_path / "d" / "3", seeds=(1,), prompt={"edit": "x", "output": "y"}, first=20)
    (pair_folder(tmp_path / "d" / "4", seeds=(1,), first=30) / "1_0.jpg").write_bytes(b"")
    (pair_folder(tmp_path / "d" / "5", seeds=(1, 2), first=40) / "1_0.jpg").unlink()
    rows, notes = read_rows(ReadEditTriples(**FOLDERS), tmp_path / "d")
    assert reasons(rows) == {
        "1/7": "no_target", "1/11": None, "2/1": "broken_metadata", "3/1": "missing_caption", "4/1": "empty_image",
        "5/2": None,
    }  # fmt: skip
    assert notes == {"images without a source image, ignored": 1}


def test_links_that_lead_out_of_the_folder_are_unsafe(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(jpeg(99))
    folder = pair_folder(tmp_path / "data" / "1", seeds=(1, 2))
    (folder / "1_1.jpg").unlink()
    (folder / "1_1.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "data" / "2").symlink_to(pair_folder(tmp_path / "elsewhere" / "2"))
    rows, _ = read_rows(ReadEditTriples(**FOLDERS), tmp_path / "data")
    assert reasons(rows) == {"1/1": "unsafe_path", "1/2": None}


def test_folder_whose_name_is_no_utf8_is_read(tmp_path):
    pair_folder(tmp_path / "pairs" / "a\udc80", seeds=(1,))
    (row,), _ = read_rows(ReadEditTriples(**FOLDERS), tmp_path / "pairs")
    assert (row["source_key"], row["reject_reason"]) == ("a?/1", None)


def test_folder_of_pairs_is_in_one_shard_and_shards_are_full(tmp_path):
    for number, count in enumerate((2, 2, 3, 1)):
        pair_folder(tmp_path / "data" / f"part-{number % 2}" / str(number), seeds=range(count), first=10 * number)
    stage = ReadEditTriples(**FOLDERS, rows_per_shard=4)
    shards = stage.list_shards([str(tmp_path / "data")])
    assert [shard.part for shard in shards] == [(0, 1), (1, 2), (2, 4)]
    assert len(read_rows(stage, tmp_path / "data")[0]) == 8


def test_folder_that_changed_after_the_plan_is_refused(tmp_path):
    folder = pair_folder(tmp_path / "data" / "1")
    stage = ReadEditTriples(**FOLDERS)
    (shard,) = stage.list_shards([str(tmp_path / "data")])
    (folder / "7_0.jpg").write_bytes(jpeg(50))
    with pytest.raises(ShardFailed, match="the folder was changed after the plan; run the same command again"):
        list(stage.open(Context(stage_name="test"))(shard))
    assert list_pair_folders(str(tmp_path / "data"))[0].num_pairs == 2


def test_identity_of_a_folder_is_that_of_the_files_behind_links(tmp_path):
    (tmp_path / "real.jpg").write_bytes(jpeg(1))
    folder = tmp_path / "data/7"
    folder.mkdir(parents=True)
    (folder / "prompt.json").write_text(json.dumps(PROMPT))
    for name in ("1_0.jpg", "1_1.jpg"):
        (folder / name).symlink_to(tmp_path / "real.jpg")
    (folder / "2_0.jpg").symlink_to(tmp_path / "gone.jpg")
    before = list_pair_folders(str(tmp_path / "data"))[0].identity
    os.utime(tmp_path / "real.jpg", (1, 1))
    assert list_pair_folders(str(tmp_path / "data"))[0].identity != before


def test_table_of_ultraedit_is_read_with_masks_and_scores(tmp_path):
    rows, notes = read_rows(ReadEditTriples(), ultraedit(tmp_path / "a.parquet"))
    assert [row["source_raw"] for row in rows] == [jpeg(0), jpeg(1)]
    assert [row["target_raw"] for row in rows] == [jpeg(2), jpeg(3)]
    assert [row["mask_raw"] for row in rows] == [jpeg(4), None]
    assert [row["instruction"] for row in rows] == ["add a hat", "make it winter"]
    assert [row["edit_object"] for row in rows] == ["cat", None]
    assert json.loads(rows[1]["source_metadata"])["clip_sim_dir"] == 0.5
    assert "source_image" not in json.loads(rows[1]["source_metadata"])
    assert notes == {}


def test_images_may_be_plain_bytes_and_masks_all_absent(tmp_path):
    plain = {"source_image": pa.array([jpeg(0), jpeg(1)]), "edited_image": pa.array([jpeg(2), jpeg(3)])}
    path = ultraedit(tmp_path / "a.parquet", **plain, mask_image=pa.nulls(2), edit_object=None)
    rows, _ = read_rows(ReadEditTriples(), path)
    assert [(row["source_raw"], row["mask_raw"]) for row in rows] == [(jpeg(0), None), (jpeg(1), None)]


def test_table_of_hq_edit_has_its_reverse_instruction(tmp_path):
    columns = {
        "input_image": images(jpeg(0)), "output_image": images(jpeg(1)), "input": ["a cat"], "output": ["a dog"],
        "edit": ["make it a dog"], "inverse_edit": ["make it a cat"],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "hq.parquet")
    (row,), _ = read_rows(ReadEditTriples(), tmp_path / "hq.parquet")
    assert (row["instruction"], row["reverse_instruction"]) == ("make it a dog", "make it a cat")
    assert (row["source_caption"], row["target_caption"]) == ("a cat", "a dog")


def omniedit(path, wordings, **columns):
    """A table of OmniEdit, whose instructions are lists and which has no captions."""
    table = {
        "omni_edit_id": ["task_add_1"], "task": ["addition"], "src_img": images(jpeg(0)),
        "edited_img": images(jpeg(1)), "edited_prompt_list": pa.array([wordings], pa.list_(pa.string())),
        "width": [96], "height": [80], "sc_score_1": [9], "sc_reasoning": ["it does"], "o_score": [9.5], **columns,
    }  # fmt: skip
    pq.write_table(pa.table(table), path)
    return path


def test_table_of_omniedit_has_all_wordings_and_its_scores(tmp_path):
    path = omniedit(tmp_path / "train.parquet", ["Add a hat\nto the cat.", " ", None, "Hat on.", "Hat on."])
    (row,), notes = read_rows(ReadEditTriples(require_captions=False), path)
    assert (row["source_raw"], row["target_raw"], row["reject_reason"]) == (jpeg(0), jpeg(1), None)
    assert (row["instruction"], row["instructions"]) == ("Add a hat to the cat.", ["Add a hat to the cat.", "Hat on."])
    assert row["edit_type"] == "addition"
    metadata = json.loads(row["source_metadata"])
    assert (metadata["o_score"], metadata["omni_edit_id"], metadata["sc_reasoning"]) == (9.5, "task_add_1", "it does")
    assert notes == {}


@pytest.mark.parametrize("wordings", [[], None, [" ", None]])
def test_list_without_a_wording_is_no_instruction(tmp_path, wordings):
    (row,), _ = read_rows(ReadEditTriples(require_captions=False), omniedit(tmp_path / "a.parquet", wordings))
    assert (row["reject_reason"], row["instruction"], row["instructions"]) == ("missing_instruction", None, [])


def test_wordings_together_are_no_longer_than_a_text(tmp_path):
    long = [f"{n} " + "x" * 400_000 for n in range(9)]
    (row,), _ = read_rows(ReadEditTriples(require_captions=False), omniedit(tmp_path / "a.parquet", long))
    assert row["instructions"] == long[:2]
    (row,), _ = read_rows(
        ReadEditTriples(require_captions=False), omniedit(tmp_path / "b.parquet", [f"w{n}" for n in range(200)])
    )
    assert len(row["instructions"]) == 100


def test_chosen_wording_comes_first_and_the_others_stay(tmp_path):
    path = omniedit(tmp_path / "a.parquet", ["Hat on."], request=["add a hat"])
    stage = ReadEditTriples(require_captions=False, columns={"instruction": "request"})
    assert read_rows(stage, path)[0][0]["instructions"] == ["add a hat", "Hat on."]


def magicbrush(path, sessions, turns):
    """A table of MagicBrush, which has no captions."""
    count = len(sessions)
    columns = {
        "img_id": sessions, "turn_index": turns, "source_img": images(*map(jpeg, range(count))),
        "mask_img": images(*[jpeg(90)] * count), "instruction": ["add a hat"] * count,
        "target_img": images(*map(jpeg, range(50, 50 + count))),
    }  # fmt: skip
    pq.write_table(pa.table(columns), path)
    return path


def test_table_of_magicbrush_has_its_sessions_and_turns(tmp_path):
    path = magicbrush(tmp_path / "train.parquet", ["242679", "242679", "\u00e4"], pa.array([1, 2, 1], pa.int32()))
    rows, _ = read_rows(ReadEditTriples(require_captions=False), path)
    assert [(row["session_id"], row["turn"]) for row in rows] == [("242679", 1), ("242679", 2), ("\u00e4", 1)]
    assert [row["reject_reason"] for row in rows] == [None] * 3
    assert (rows[1]["source_raw"], rows[1]["target_raw"], rows[1]["mask_raw"]) == (jpeg(1), jpeg(51), jpeg(90))
    assert {row["reject_reason"] for row in read_rows(ReadEditTriples(), path)[0]} == {"missing_caption"}


@pytest.mark.parametrize(
    ("session", "turn", "detail"),
    [
        ("a", 0, "turn '0' is no number from 1 on"),
        ("a", 1 << 40, "turn '1099511627776' is no number from 1 on"),
        ("a", "two", "turn 'two' is no number from 1 on"),
        ("a", True, "turn 'True' is no number from 1 on"),
        (None, 1, "turn 1 of no session: img_id is 'None'"),
        (" ", 1, "turn 1 of no session: img_id is ' '"),
        ([1], 1, "turn 1 of no session: img_id is '[1]'"),
    ],
)
def test_turn_that_is_none_is_rejected(tmp_path, session, turn, detail):
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    path = json_lines(tmp_path / "in.jsonl", line("1.jpg", target_img="1.jpg", img_id=session, turn_index=turn))
    (row,), _ = read_rows(ReadEditTriples(), path)
    assert (row["reject_reason"], row["reject_detail"]) == ("bad_turn", detail)
    assert (row["session_id"], row["turn"]) == (None, None)


def test_name_of_an_image_alone_is_no_session(tmp_path):
    (row, _), _ = read_rows(ReadEditTriples(), ultraedit(tmp_path / "a.parquet", img_id=["1", "2"]))
    assert (row["session_id"], row["turn"], row["reject_reason"]) == (None, None, None)


def test_columns_of_other_names_are_given_by_the_settings(tmp_path):
    path = ultraedit(tmp_path / "a.parquet", edit_prompt=None, request=["add a hat", "make it winter"])
    with pytest.raises(PlanError, match="no column for instruction that holds text"):
        read_rows(ReadEditTriples(), path)
    rows, _ = read_rows(ReadEditTriples(columns={"instruction": "request"}), path)
    assert rows[0]["instruction"] == "add a hat"
    with pytest.raises(ValueError, match="columns request are none of an edit; expected source_caption"):
        ReadEditTriples(columns={"request": "instruction"})


def test_two_edits_of_one_image_are_two_rows_and_one_edit_twice_is_one(tmp_path):
    same = images(jpeg(0), jpeg(0))
    path = ultraedit(tmp_path / "a.parquet", source_image=same, edited_image=images(jpeg(2), jpeg(2)))
    first, second = (row["sample_id"] for row in read_rows(ReadEditTriples(), path)[0])
    assert first != second
    assert first[:16] == second[:16]
    texts = {name: ["x", "x"] for name in ("edit_prompt", "source_caption", "target_caption")}
    path = ultraedit(tmp_path / "b.parquet", source_image=same, edited_image=images(jpeg(2), jpeg(2)), **texts)
    assert len({row["sample_id"] for row in read_rows(ReadEditTriples(), path)[0]}) == 1


def test_lines_name_images_beside_them_and_may_lack_the_target(tmp_path):
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "1.jpg").write_bytes(jpeg(1))
    (tmp_path.parent / "outside.jpg").write_bytes(jpeg(2))
    names = ["coco/1.jpg", "../outside.jpg", "coco/2.jpg", {"x": 1}, None]
    path = json_lines(tmp_path / "in.jsonl", *map(line, names), "[1]", "", line("coco/1.jpg", edit_instruction=" "))
    rows, _ = read_rows(ReadEditTriples(require_target=False), path)
    assert [row["reject_reason"] for row in rows] == [
        None, "unsafe_path", "unreadable_image", "unreadable_image", "no_image", "broken_metadata",
        "missing_instruction",
    ]  # fmt: skip
    assert (rows[0]["source_key"], rows[0]["source_raw"], rows[0]["target_raw"]) == ("coco/1.jpg", jpeg(1), None)
    assert read_rows(ReadEditTriples(), path)[0][0]["reject_reason"] == "no_target"


def test_image_with_an_endless_name_is_rejected_without_a_look(tmp_path):
    path = json_lines(tmp_path / "edits.jsonl", line("a/" * 250_000 + "b.jpg"))
    (row,), _ = read_rows(ReadEditTriples(), path)
    assert (row["reject_reason"], row["reject_detail"]) == (
        "unreadable_image",
        "source_image: a name of 500005 characters",
    )


def test_plan_holds_one_long_line_at_a_time(tmp_path):
    path = json_lines(tmp_path / "edits.jsonl", *(line("a.jpg", note="x" * 500_000) for _ in range(40)))
    tracemalloc.start()
    ReadEditTriples().list_shards([str(path)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_metadata_whose_seed_is_no_number_is_that_of_no_pair(tmp_path):
    folder = pair_folder(tmp_path / "pairs" / "0000001", seeds=(1,))
    (folder / "metadata.jsonl").write_text('{"seed": true, "edit": "add a dog"}\n')
    (row,), _ = read_rows(ReadEditTriples(**FOLDERS), tmp_path / "pairs")
    assert row["instruction"] == "add a hat"


def test_identity_of_lines_changes_with_an_image_they_name(tmp_path):
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    path = json_lines(tmp_path / "in.jsonl", line("1.jpg"))
    (before,) = ReadEditTriples().list_shards([str(path)])
    (tmp_path / "1.jpg").write_bytes(jpeg(2))
    (after,) = ReadEditTriples().list_shards([str(path)])
    assert after.identity != before.identity


def test_table_of_images_is_read_within_a_limit_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_pages, "MAX_PAGES_BYTES", 1000)
    path = ultraedit(tmp_path / "a.parquet")
    assert len(read_rows(ReadEditTriples(), path)[0]) == 2
    monkeypatch.setattr(parquet_rows, "MAX_IMAGE_PAGES_BYTES", 1000)
    with pytest.raises(ShardFailed, match="write the table with smaller pages"):
        read_rows(ReadEditTriples(), path)


def test_large_images_are_rejected_before_they_are_copied(tmp_path):
    path = ultraedit(tmp_path / "a.parquet", edited_image=images(jpeg(2), bytes(100_000)))
    rows, _ = read_rows(ReadEditTriples(max_image_bytes=99_999), path)
    assert [(row["reject_reason"], row["reject_detail"]) for row in rows] == [
        (None, None), ("oversize_image", "target_image: 100000 bytes"),
    ]  # fmt: skip


def test_spans_of_a_table_are_read_in_any_order(tmp_path):
    stage, path = ReadEditTriples(rows_per_shard=1), ultraedit(tmp_path / "a.parquet")
    read = stage.open(Context(stage_name="test"))
    first, second = stage.list_shards([str(path)])
    keys = [[row["source_key"] for table in read(shard) for row in table.to_pylist()] for shard in (second, first)]
    assert keys == [["row 1"], ["row 0"]]


@pytest.mark.parametrize("layout", ["table", "pair_folders"])
def test_folder_without_edits_is_refused(tmp_path, layout):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PlanError, match="hold"):
        ReadEditTriples(layout=layout).list_shards([str(tmp_path / "empty")])


def test_pairs_with_a_bomb_become_a_dataset_of_the_others(tmp_path):
    pair_folder(tmp_path / "data" / "1")
    bomb = png_file(60_000, 60_000, b"")
    (pair_folder(tmp_path / "data" / "2", seeds=(3, 4), first=20) / "3_1.jpg").write_bytes(bomb)
    (tmp_path / "triples.toml").write_text(MANIFEST)
    code, result, err = build(
        tmp_path / "run", "--executor", "inprocess", shards=tmp_path / "data", manifest=tmp_path / "triples.toml"
    )
    assert code == 0, err
    listed = json.loads((tmp_path / "run" / "dataset" / SHARD_LIST).read_text())
    assert sum(shard["samples"] for shard in listed["shards"]) == 3
    rejects = pq.read_table(tmp_path / "run" / "dataset" / "rejects.parquet").to_pylist()
    assert [row["reject_reason"] for row in rejects] == ["pixel_bomb"]
    assert result is not None

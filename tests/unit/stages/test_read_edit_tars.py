"""ImgEdit's tables and tars: single edits, sessions, the tar of each table, and inputs that lie."""

import json
import os
import uuid

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _inputs import details, jpeg, read_rows, reasons, sparse, special, tar_of

from core.errors import PlanError, ShardFailed
from pipeline.context import Context
from stages.inputs import image_tars, tar_images
from stages.inputs.rows import InputSample
from stages.read_edit_tars import ReadEditTars

NAMES = pa.list_(pa.string())
TURN = [("input_images", NAMES), ("output_images", NAMES), ("prompt", pa.string())]
TURNS = pa.list_(pa.struct(TURN))


def entry(sample, number="", prompt="add a hat", top="results_add_laion_part0"):
    source, target = (f"origin_{number}.png", f"result_{number}.png") if number else ("original.png", "result.png")
    return {"input_images": [f"{top}/{sample}/{source}"], "output_images": [f"{top}/{sample}/{target}"],
            "prompt": prompt}  # fmt: skip


def write(folder, rows, members, table="add_part0", tar="results_add_laion_part0", pieces=1, schema=None):
    """A table and its tar in ImgEdit's folders; members are (name, bytes) or raw blocks."""
    for name in ("Parquet", "Singleturn"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    single = schema or pa.schema([("data", TURNS)] if rows and "data" in rows[0] else TURN)
    pq.write_table(pa.Table.from_pylist(rows, single), folder / "Parquet" / f"{table}.parquet")
    whole = members if isinstance(members, bytes) else tar_of(*members)
    size = -(-len(whole) // pieces)
    for piece in range(pieces):
        path = folder / "Singleturn" / f"{tar}.tar.split.{piece:03d}"
        path.write_bytes(whole[piece * size : (piece + 1) * size])
    return folder


def images(*names, top="results_add_laion_part0"):
    return [(f"{top}/{name}", jpeg(number)) for number, name in enumerate(names)]


def test_single_edits_have_their_images_wherever_pieces_are_cut(tmp_path):
    members = images("a/original.png", "a/result.png", "b/original.png", "b/result.png")
    rows, notes = read_rows(
        ReadEditTars(), write(tmp_path, [entry("a"), entry("b", prompt="remove it")], members, pieces=7)
    )
    assert [(row["source_raw"], row["target_raw"]) for row in rows] == [(jpeg(0), jpeg(1)), (jpeg(2), jpeg(3))]
    assert [(row["instruction"], row["instructions"]) for row in rows] == [
        ("add a hat", ["add a hat"]), ("remove it", ["remove it"]),
    ]  # fmt: skip
    row = rows[0]
    assert (row["edit_type"], row["source_key"], row["session_id"], row["turn"]) == ("add", "row 0", None, None)
    assert (row["reject_reason"], row["mask_raw"], row["caption"]) == (None, None, None)
    assert json.loads(row["source_metadata"]) == entry("a")
    assert notes == {}


def test_turns_of_a_session_are_rows_in_order(tmp_path):
    words = {"input_images": [], "output_images": [], "prompt": "keep the sky"}
    turns = [words, entry("s", "0"), entry("s", "1", prompt="make it red")]
    names = [f"s/{side}_{turn}.png" for turn in (0, 1) for side in ("origin", "result")]
    folder = write(tmp_path, [{"data": turns}], images(*names), table="content_memory_part2")
    rows, notes = read_rows(ReadEditTars(), folder)
    assert [(row["session_id"], row["turn"]) for row in rows] == [("content_memory_part2/0", n) for n in (1, 2)]
    assert [(row["source_raw"], row["target_raw"]) for row in rows] == [(jpeg(0), jpeg(1)), (jpeg(2), jpeg(3))]
    assert [row["instruction"] for row in rows] == ["add a hat", "make it red"]
    assert [json.loads(row["source_metadata"])["session_prompt"] for row in rows] == ["keep the sky"] * 2
    assert {row["edit_type"] for row in rows} == {"content_memory"}
    assert notes == {"entries of sessions that name no image, read as words on all turns after them": 1}


def test_turn_that_lacks_its_image_keeps_its_place_and_the_next_is_a_row(tmp_path):
    turns = [entry("s", "0"), entry("s", "1"), {"input_images": [], "output_images": [], "prompt": "late"}, None]
    rows, _ = read_rows(ReadEditTars(), write(tmp_path, [{"data": turns}], images("s/origin_1.png", "s/result_1.png")))
    assert [(row["turn"], row["reject_reason"]) for row in rows] == [
        (1, "unreadable_image"), (2, None), (3, "no_image"), (4, "broken_metadata"),
    ]  # fmt: skip
    assert len({row["sample_id"] for row in rows}) == 4


@pytest.mark.parametrize("entries", [[], [{"input_images": [], "output_images": None, "prompt": "keep the sky"}]])
def test_session_without_a_turn_is_one_reject(tmp_path, entries):
    folder = write(
        tmp_path, [{"data": entries}, {"data": [entry("s", "0")]}], images("s/origin_0.png", "s/result_0.png")
    )
    rows, _ = read_rows(ReadEditTars(), folder)
    assert reasons(rows) == {"row 0": "no_image", "row 1, turn 1": None}
    assert details(rows)["row 0"] == "no entry of data names an image"


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"input_images": ["a/1.png", "a/2.png"]}, "several_images", "source_image: 2 in input_images"),
        ({"output_images": ["a/1.png", "a/2.png"]}, "several_images", "target_image: 2 in output_images"),
        ({"input_images": []}, "no_image", None),
        ({"output_images": None}, "no_target", None),
        ({"prompt": " "}, "missing_instruction", None),
        ({"input_images": ["../a/original.png"]}, "unsafe_path", "source_image: ../a/original.png"),
        ({"input_images": ["/etc/passwd"]}, "unsafe_path", "source_image: /etc/passwd"),
        ({"input_images": ["x" * 9000]}, "unreadable_image", "source_image: a name of 9000 characters"),
        ({"input_images": ["t/a/gone.png"]}, "unreadable_image",
         "source_image: no such member in results_add_laion_part0: t/a/gone.png"),
        ({"input_images": ["t/a/empty.png"]}, "empty_image", "source_image"),
        ({"input_images": ["t/a/large.png"]}, "oversize_image", "source_image: 30000 bytes"),
        ({"input_images": ["t/a/holes.png"]}, "unreadable_image",
         "source_image: no such member in results_add_laion_part0: t/a/holes.png"),
        ({"input_images": ["t/a/link.png"]}, "unreadable_image",
         "source_image: no such member in results_add_laion_part0: t/a/link.png"),
    ],
)  # fmt: skip
def test_row_that_cannot_serve_is_rejected_with_its_reason(tmp_path, change, reason, detail):
    more = [("results_add_laion_part0/a/empty.png", b""), ("results_add_laion_part0/a/large.png", bytes(30_000)),
            sparse("results_add_laion_part0/a/holes.png", 99),
            special("results_add_laion_part0/a/link.png", b"2", "/etc/passwd")]  # fmt: skip
    folder = write(tmp_path, [{**entry("a"), **change}, entry("a")], [*images("a/original.png", "a/result.png"), *more])
    rows, _ = read_rows(ReadEditTars(max_image_bytes=20_000), folder)
    assert reasons(rows) == {"row 0": reason, "row 1": None}
    assert detail is None or details(rows)["row 0"] == detail


def test_session_of_more_turns_than_one_has_is_one_reject(tmp_path):
    sessions = [{"data": [entry("s", "0")] * count} for count in (101, 1)]
    rows, _ = read_rows(ReadEditTars(), write(tmp_path, sessions, images("s/origin_0.png", "s/result_0.png")))
    assert reasons(rows) == {"row 0": "broken_metadata", "row 1, turn 1": None}
    assert details(rows)["row 0"] == "data is no list of at most 100 turns"


def test_table_whose_lists_are_no_lists_gives_rejects(tmp_path):
    schema = pa.schema([("input_images", pa.string()), ("output_images", pa.int64()), ("prompt", pa.string())])
    rows = [{"input_images": "a/original.png", "output_images": 3, "prompt": "x"}]
    (row,), _ = read_rows(
        ReadEditTars(), write(tmp_path, rows, images("a/original.png"), table="results_add_laion_part0", schema=schema)
    )
    assert (row["reject_reason"], row["reject_detail"]) == ("broken_metadata", "input_images is no list")
    (tmp_path / "Parquet" / "results_add_laion_part0.parquet").unlink()
    schema = pa.schema([("data", pa.string())])
    write(tmp_path, [{"data": "x"}], images("a/original.png"), table="results_add_laion_part0", schema=schema)
    (row,), _ = read_rows(ReadEditTars(), tmp_path)
    assert row["reject_reason"] == "broken_metadata"


@pytest.mark.parametrize(
    ("table", "tar", "named", "within"),
    [
        ("hybrid_part0", "results_hybrid_part0", "results_compose_part0/", "results_compose_part0/"),
        ("replace_part0", "results_replace_part0", "replace/", "results/"),
        ("adjust_canny_part2", "results_adjust_canny_laion_part2", "results_adjust_canny_laion_part2/", "./"),
        ("content_understanding_part2", "results_content_understanding_part2", "results_content_understanding_part2/",
         "mnt/data/codes/results_content_understanding_part2/"),
        ("reference_extract_part1", "results_extract_and_visualedit_part1", "results_extract_ref_part1/",
         "results_extract_ref_part1/"),
    ],
)  # fmt: skip
def test_tar_of_a_table_is_found_however_the_published_folders_differ(tmp_path, table, tar, named, within):
    other = [("results_other/a/original.png", jpeg(7)), ("results_other/a/result.png", jpeg(8))]
    write(tmp_path, [entry("a", top="results_other")], other, table="other_part0", tar="results_other")
    members = [(f"{within}a/{name}", jpeg(number)) for number, name in enumerate(("original.png", "result.png"))]
    write(tmp_path, [entry("a", top=named.rstrip("/"))], members, table=table, tar=tar)
    rows, _ = read_rows(ReadEditTars(), tmp_path / "Parquet" / f"{table}.parquet")
    assert [(row["source_raw"], row["target_raw"]) for row in rows] == [(jpeg(0), jpeg(1))]


def test_of_tars_with_the_same_folder_the_name_of_the_table_decides(tmp_path):
    for part in (0, 1):
        members = [(f"images/a/{name}", jpeg(10 * part + n)) for n, name in enumerate(("original.png", "result.png"))]
        write(tmp_path, [entry("a", top="images")], members, table=f"add_part{part}", tar=f"results_add_part{part}")
    rows, _ = read_rows(ReadEditTars(), tmp_path)
    assert [(row["source_raw"], row["target_raw"]) for row in rows] == [(jpeg(0), jpeg(1)), (jpeg(10), jpeg(11))]
    (tmp_path / "Parquet" / "add_part1.parquet").rename(tmp_path / "Parquet" / "other.parquet")
    with pytest.raises(PlanError, match="several tars have a folder 'images': results_add_part0, results_add_part1; "
                                        "give the right one the name of the table"):  # fmt: skip
        ReadEditTars().list_shards([str(tmp_path)])


def test_bare_names_are_looked_for_in_the_tar_of_the_table(tmp_path):
    row = {"input_images": ["1_original.png"], "output_images": ["1_result.png"], "prompt": "turn around"}
    members = [("part1/1_original.png", jpeg(0)), ("part1/1_result.png", jpeg(1))]
    rows, _ = read_rows(ReadEditTars(), write(tmp_path, [row], members, table="action_part1", tar="action_part1"))
    assert (rows[0]["source_raw"], rows[0]["edit_type"]) == (jpeg(0), "action")


def test_of_members_that_end_alike_the_folder_above_decides(tmp_path):
    members = [("x/a/original.png", jpeg(5)), *images("a/original.png", "a/result.png"), ("y/a/result.png", jpeg(6))]
    both = entry("a", top="results_add_laion_part0")
    unclear = {**both, "input_images": ["a/original.png"]}
    rows, _ = read_rows(ReadEditTars(), write(tmp_path, [both, unclear], members))
    assert (rows[0]["source_raw"], rows[0]["target_raw"]) == (jpeg(0), jpeg(1))
    assert details(rows)["row 1"] == "source_image: several members end so in results_add_laion_part0: a/original.png"


def test_of_one_name_the_last_member_counts(tmp_path):
    own = ("results_add_laion_part0/a/original.png", jpeg(9))
    members = [("x/a/original.png", jpeg(5)), *images("a/original.png", "a/result.png"), own]
    (row,), _ = read_rows(ReadEditTars(), write(tmp_path, [entry("a")], members))
    assert row["source_raw"] == jpeg(9)


def test_tar_that_is_cut_off_costs_the_edits_behind_the_cut(tmp_path):
    whole = tar_of(*images("a/original.png", "a/result.png", "b/original.png", "b/result.png"))
    folder = write(tmp_path, [entry("a"), entry("b")], whole[: len(whole) - 3000])
    rows, notes = read_rows(ReadEditTars(), folder)
    assert [row["reject_reason"] for row in rows] == [None, "unreadable_image"]
    assert details(rows)["row 1"].startswith("target_image: the archive results_add_laion_part0 ends within it")
    assert list(notes) == ["archive damaged: the rest of it could not be read", "archive cut off: no end marker"]


def test_plan_refuses_what_cannot_serve(tmp_path):
    folder = write(tmp_path / "a", [entry("a")], images("a/original.png"), pieces=3)
    (folder / "Singleturn" / "results_add_laion_part0.tar.split.001").unlink()
    with pytest.raises(PlanError, match=r"results_add_laion_part0.tar: piece 001 is missing of 3 or more; download it"):
        ReadEditTars().list_shards([str(folder)])
    folder = write(tmp_path / "b", [entry("a")], images("a/original.png", top="other"), tar="results_other_part0")
    with pytest.raises(PlanError, match="no tar holds its images; looked for results_add_laion_part0, add_part0, "
                                        "results_add_part0, found results_other_part0"):  # fmt: skip
        ReadEditTars().list_shards([str(folder)])
    pq.write_table(pa.table({"x": [1]}), tmp_path / "c.parquet")
    with pytest.raises(
        PlanError, match="no columns input_images, output_images, prompt, and none named data; it has x"
    ):
        ReadEditTars().list_shards([str(tmp_path / "c.parquet")])
    pq.write_table(pa.Table.from_pylist([], pa.schema(TURN)), tmp_path / "d.parquet")
    (tmp_path / "d.tar").write_bytes(tar_of(("a.png", b"x")))
    with pytest.raises(PlanError, match="have no rows"):
        ReadEditTars().list_shards([str(tmp_path / "d.parquet")])


def test_file_that_is_no_tar_fails_its_shards(tmp_path):
    folder = write(tmp_path, [entry("a")], b"no tar at all" * 100)
    with pytest.raises(ShardFailed, match="not a tar archive"):
        read_rows(ReadEditTars(), folder)


def test_tar_that_changed_after_the_plan_is_refused(tmp_path):
    folder = write(tmp_path, [entry("a")], images("a/original.png", "a/result.png"))
    (shard,) = ReadEditTars().list_shards([str(folder)])
    (folder / "Singleturn" / "results_add_laion_part0.tar.split.000").write_bytes(tar_of(*images("a/original.png")))
    with pytest.raises(ShardFailed, match=r"or results_add_laion_part0.tar was changed after the plan"):
        list(ReadEditTars().open(Context(stage_name="test"))(shard))


def test_tar_that_is_cut_while_it_is_read_fails_the_shard(tmp_path):
    folder = write(tmp_path, [entry("a")], images("a/original.png", "a/result.png"))
    (tar,) = image_tars.list_image_tars(str(folder / "Parquet" / "add_part0.parquet"))
    opened = tar_images.TarImages(tar)
    os.truncate(folder / "Singleturn" / "results_add_laion_part0.tar.split.000", 600)
    with pytest.raises(ShardFailed, match=r"results_add_laion_part0.tar: \d+ of \d+ bytes of 'a/result.png'; the "
                                          "archive was changed while it was read"):  # fmt: skip
        opened.load(InputSample(key="a"), "a/result.png", 1 << 20)


def test_tar_with_more_images_than_are_kept_is_read_up_to_there(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_images, "MAX_INDEX_BYTES", 1000)
    folder = write(tmp_path, [entry("a"), entry("b")], images("a/original.png", "a/result.png", "b/original.png"))
    rows, notes = read_rows(ReadEditTars(), folder)
    assert [row["reject_reason"] for row in rows] == [None, "unreadable_image"]
    assert "bytes behind the most members that one tar may have, not read" in notes


def test_shards_of_a_table_share_one_tar_and_have_names_of_their_own(tmp_path):
    names = [f"{letter}/{side}.png" for letter in "abc" for side in ("original", "result")]
    stage = ReadEditTars(rows_per_shard=2)
    folder = write(tmp_path, [entry(letter) for letter in "abc"], images(*names))
    shards = stage.list_shards([str(folder)])
    assert [(shard.name, shard.part) for shard in shards] == [("add_part0-00000", (0, 2)), ("add_part0-00001", (2, 3))]
    assert len(read_rows(stage, folder)[0]) == 3


def test_tables_and_tars_may_lie_on_another_file_system(tmp_path):
    folder = write(tmp_path, [entry("a")], images("a/original.png", "a/result.png"), pieces=2)
    fs = fsspec.filesystem("memory")
    remote = f"/{uuid.uuid4().hex}"
    fs.put(str(folder), remote, recursive=True)
    (row,), _ = read_rows(ReadEditTars(), f"memory:/{remote}")
    assert (row["source_raw"], row["target_raw"]) == (jpeg(0), jpeg(1))

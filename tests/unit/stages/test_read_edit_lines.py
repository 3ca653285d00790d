"""Pico-Banana-400K's lines: edits, sessions, files beside the lines and downloads, and inputs that lie."""

import json
import os

import pytest
from _inputs import details, jpeg, read_rows, reasons
from _web import Answer, FolderStore, Web

from core.errors import ContractError, PlanError
from pipeline.context import Context
from stages.download.settings import DownloadSpeed
from stages.read_edit_lines import LineReject, ReadEditLines

FAST = {"allowed_hosts": ("127.0.0.1",), "speed": DownloadSpeed(attempts=1, backoff_s=0.01, timeout_s=5.0)}


def line(number=0, **more):
    return {
        "open_image_input_url": f"https://images.example/{number}_o.jpg", "text": "Remove the red flag.",
        "output_image": f"images/positive-edit/{number}.png", "edit_type": "Remove an existing object",
        "summarized_text": "Flag removed.", "local_input_image": f"sources/{number}.jpg", **more,
    }  # fmt: skip


def session(prompts=("make it warm", "zoom in", "draw it"), files=None, **more):
    names = ["edit_turn1", "edit_turn2", "final_image"] if files is None else files
    found = [{"id": name, "url": f"images/multi-turn/{name}.png"} for name in names]
    found.append({"id": "original_input_image", "url": "https://images.example/s_o.jpg"})
    return {"files": found, "metadata_edit_turn_prompts": prompts, "local_input_image": "sources/s.jpg", **more}


def written(folder, *lines, images=()):
    """The lines in a file, and an image for each name, its seed its place among them."""
    for number, name in enumerate(images):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(number))
    folder.mkdir(exist_ok=True)
    path = folder / "sft.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return path


def test_edit_of_a_line_has_both_wordings_and_its_files(tmp_path):
    rejected = {"rejected_images": ["images/negative-edit/0.png"]}
    (row,), notes = read_rows(
        ReadEditLines(), written(tmp_path, line(**rejected), images=["sources/0.jpg", "images/positive-edit/0.png"])
    )
    assert (row["source_raw"], row["target_raw"], row["reject_reason"]) == (jpeg(0), jpeg(1), None)
    assert (row["instruction"], row["instructions"]) == (
        "Remove the red flag.", ["Remove the red flag.", "Flag removed."],
    )  # fmt: skip
    assert (row["edit_type"], row["source_url"]) == ("Remove an existing object", "https://images.example/0_o.jpg")
    assert (row["session_id"], row["turn"], row["source_key"]) == (None, None, "line 0")
    assert json.loads(row["source_metadata"])["rejected_images"] == ["images/negative-edit/0.png"]
    assert notes == {}


def test_source_of_a_turn_is_the_target_of_the_one_before(tmp_path):
    names = [
        "sources/s.jpg",
        *(f"images/multi-turn/{name}.png" for name in ("edit_turn1", "edit_turn2", "final_image")),
    ]
    rows, _ = read_rows(ReadEditLines(), written(tmp_path, session(), images=names))
    assert [(row["session_id"], row["turn"], row["instruction"]) for row in rows] == [
        ("sft/0", 1, "make it warm"), ("sft/0", 2, "zoom in"), ("sft/0", 3, "draw it"),
    ]  # fmt: skip
    assert [(row["source_raw"], row["target_raw"]) for row in rows] == [(jpeg(n), jpeg(n + 1)) for n in range(3)]
    assert [row["source_url"] for row in rows] == ["https://images.example/s_o.jpg", None, None]


def test_lists_of_unequal_length_cost_the_turns_that_lack_something(tmp_path):
    names = [
        "sources/s.jpg",
        *(f"images/multi-turn/{name}.png" for name in ("edit_turn1", "edit_turn2", "edit_turn3", "final_image")),
    ]
    lines = [
        session(files=["edit_turn1", "edit_turn3"]),  # the image of turn 2 is missing
        session(prompts=["make it cold"]),  # images without a prompt
        session(prompts="text"),
        {**session(), "files": {"id": 1}},
    ]
    rows, _ = read_rows(ReadEditLines(), written(tmp_path, *lines, images=names))
    assert reasons(rows) == {
        "line 0, turn 1": None, "line 0, turn 2": "no_target", "line 0, turn 3": "no_image",
        "line 1, turn 1": None, "line 1, turn 2": "missing_instruction",
        "line 1, turn 3": "missing_instruction",
        "line 2": "broken_metadata", "line 3": "broken_metadata",
    }  # fmt: skip
    assert details(rows)["line 0, turn 3"] == "the line has no image of turn 2"
    assert len({row["sample_id"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"local_input_image": "../outside.jpg"}, "unsafe_path"),
        ({"local_input_image": "https://images.example/0.jpg"}, "unsafe_path"),
        ({"local_input_image": "sources/gone.jpg"}, "unreadable_image"),
        ({"local_input_image": "sources/" + "x" * 9000}, "unreadable_image"),
        ({"local_input_image": None}, "no_image"),
        ({"local_input_image": 7}, "no_image"),
        ({"output_image": None}, "no_target"),
        ({"output_image": ["a"]}, "no_target"),
        ({"text": None, "summarized_text": " "}, "missing_instruction"),
        ({"files": None}, "broken_metadata"),
    ],
)
def test_line_that_cannot_serve_is_rejected_with_its_reason(tmp_path, change, reason):
    (tmp_path / "outside.jpg").write_bytes(jpeg(9))
    path = written(tmp_path / "in", line(**change), "[1]", images=["sources/0.jpg", "images/positive-edit/0.png"])
    rows, _ = read_rows(ReadEditLines(), path)
    assert reasons(rows) == {"line 0": reason, "line 1": "broken_metadata"}


def test_texts_that_are_no_utf8_are_kept_with_question_marks(tmp_path):
    path = written(tmp_path, line(), images=["sources/0.jpg", "images/positive-edit/0.png"])
    path.write_bytes(path.read_bytes().replace(b"0_o.jpg", b"\xb0_o.jpg").replace(b"red flag", b"r\xe9d flag"))
    (row,), _ = read_rows(ReadEditLines(), path)
    assert (row["source_url"], row["instruction"]) == ("https://images.example/?_o.jpg", "Remove the r?d flag.")


def test_line_of_more_turns_than_a_session_has_is_one_reject(tmp_path):
    rows, _ = read_rows(ReadEditLines(), written(tmp_path, session(prompts=["x"] * 101), session(prompts=["x"] * 100)))
    assert details(rows)["line 0"] == "101 turns, more than 100"
    assert len(rows) == 101


def test_session_without_a_turn_is_one_reject(tmp_path):
    (row,), _ = read_rows(ReadEditLines(), written(tmp_path, session(prompts=[], files=[])))
    assert (row["reject_reason"], row["reject_detail"]) == (
        "broken_metadata", "files and metadata_edit_turn_prompts have no turn",
    )  # fmt: skip


def test_turn_without_a_prompt_has_no_text_of_the_session(tmp_path):
    rows, _ = read_rows(
        ReadEditLines(),
        written(
            tmp_path, session(prompts=[None, "zoom in"], files=["edit_turn1", "final_image"], summarized_text="all")
        ),
    )
    assert [(row["instruction"], row["instructions"]) for row in rows] == [(None, []), ("zoom in", ["zoom in"])]


def test_ends_that_may_come_from_the_web_are_tried_again():
    assert {"timeout", "server_busy"} <= ReadEditLines.retryable
    assert ReadEditLines.final >= {"no_image", "missing_instruction", "not_an_url", "unsafe_path"}
    assert not ReadEditLines.final & {"empty_image", "http_error", "timeout"}


def test_instruction_is_the_short_wording_where_there_is_no_other(tmp_path):
    path = written(tmp_path, line(text=None), images=["sources/0.jpg", "images/positive-edit/0.png"])
    assert read_rows(ReadEditLines(), path)[0][0]["instruction"] == "Flag removed."


def test_local_names_may_begin_above_the_folder_of_the_lines(tmp_path):
    path = written(
        tmp_path / "openimages", line(local_input_image="openimages/sources/0.jpg"),
        images=["sources/0.jpg", "images/positive-edit/0.png"],
    )  # fmt: skip
    (row,), _ = read_rows(ReadEditLines(), path)
    assert (row["source_raw"], row["reject_reason"]) == (jpeg(0), None)


def test_identity_of_a_shard_changes_with_an_image_that_it_names(tmp_path):
    path = written(tmp_path, line(), images=["sources/0.jpg", "images/positive-edit/0.png"])
    (before,) = ReadEditLines().list_shards([str(path)])
    os.utime(tmp_path / "images/positive-edit/0.png", (1, 1))
    assert ReadEditLines().list_shards([str(path)])[0].identity != before.identity


def test_plan_refuses_no_lines_and_an_address_that_is_none(tmp_path):
    with pytest.raises(PlanError, match="hold no lines"):
        ReadEditLines().list_shards([str(written(tmp_path))])
    for address in ("ftp://x", "images.example", "https://x/?a=1", "https://x y", "https://me:pass@x/"):
        with pytest.raises(ValueError, match="base_url"):
            ReadEditLines(base_url=address)


@pytest.fixture
def web():
    served = Web({f"/cdn/{n}.png": Answer(jpeg(n)) for n in range(6)} | {"/source.jpg": Answer(jpeg(20))})
    yield served
    served.close()


def downloaded(tmp_path, web, *lines, is_rereading=False, images=()):
    stage = ReadEditLines(base_url=web.url("/cdn/"), rows_per_shard=2, **FAST)
    store = FolderStore(tmp_path / "store")
    ctx = Context(stage_name="read_edit_lines", store=store, is_rereading=is_rereading)
    read = stage.open(ctx)
    shards = stage.list_shards([str(written(tmp_path / "in", *lines, images=images))])
    return [row for shard in shards for table in read(shard) for row in table.to_pylist()], dict(ctx.notes)


def test_images_are_downloaded_once_and_read_as_often_as_wanted(tmp_path, web):
    source = {"open_image_input_url": web.url("/source.jpg"), "local_input_image": None}
    turns = [{"id": "edit_turn1", "url": "0.png"}, {"id": "final_image", "url": "1.png"},
             {"id": "original_input_image", "url": web.url("/source.jpg")}]  # fmt: skip
    lines = [
        line(**source, output_image="2.png"),
        {"files": turns, "metadata_edit_turn_prompts": ["a", "b"]},
        line(**source, output_image="/3.png"),
    ]
    rows, notes = downloaded(tmp_path, web, *lines)
    assert [(row["source_raw"], row["target_raw"]) for row in rows] == [
        (jpeg(20), jpeg(2)), (jpeg(20), jpeg(0)), (jpeg(0), jpeg(1)), (jpeg(20), jpeg(3)),
    ]  # fmt: skip
    assert {row["reject_reason"] for row in rows} == {None}
    assert notes == {"URLs that took more than one attempt": 0, "images shrunk on arrival": 0}
    asked = dict(web.asked)
    assert asked == {"/source.jpg": 3, "/cdn/0.png": 1, "/cdn/1.png": 1, "/cdn/2.png": 1, "/cdn/3.png": 1}
    assert downloaded(tmp_path, web, *lines, is_rereading=True)[0] == rows
    assert downloaded(tmp_path, web, *lines)[0] == rows
    assert web.asked == asked


def test_url_that_gives_no_image_costs_the_edits_that_need_it(tmp_path, web):
    web.answers["/cdn/1.png"] = Answer(b"<html>", headers={"Content-Type": "text/html"})
    here = {"local_input_image": None, "open_image_input_url": web.url("/source.jpg")}
    lines = [
        line(**here, output_image="gone.png"),
        line(**here, output_image="1.png"),
        line(local_input_image=None, open_image_input_url="nonsense", output_image="2.png"),
        line(local_input_image=None, open_image_input_url="http://10.0.0.1/a.jpg", output_image="2.png"),
        line(local_input_image=None, open_image_input_url=None, output_image="2.png"),
        line(**here, output_image="http://169.254.169.254/latest"),
    ]
    rows, _ = downloaded(tmp_path, web, *lines)
    assert [row["reject_reason"] for row in rows] == [
        "http_error", "wrong_content_type", "not_an_url", "forbidden_address", "no_image", "forbidden_address",
    ]  # fmt: skip
    assert details(rows)["line 0"] == "target_image: HTTP 404"
    assert {row["reject_reason"] for row in rows} <= {reason.value for reason in LineReject}


def test_marker_asks_again_for_what_failed_for_a_while(tmp_path, web):
    web.answers["/cdn/0.png"] = [Answer(b"", 503), Answer(jpeg(0))]
    here = {"local_input_image": None, "open_image_input_url": web.url("/source.jpg")}
    lines = [line(**here, output_image="0.png")]
    assert downloaded(tmp_path, web, *lines)[0][0]["reject_reason"] == "server_busy"
    assert downloaded(tmp_path, web, *lines)[0][0]["reject_reason"] == "server_busy"
    (tmp_path / "store" / "sft-00000.retry").write_text("")
    assert downloaded(tmp_path, web, *lines)[0][0]["target_raw"] == jpeg(0)
    assert web.asked == {"/source.jpg": 1, "/cdn/0.png": 2}


def test_addresses_are_kept_without_credentials(tmp_path, web):
    here = {
        "local_input_image": None,
        "open_image_input_url": web.url("/source.jpg").replace("http://", "http://me:pass@"),
    }
    (row,), _ = downloaded(tmp_path, web, line(**here, output_image="0.png"))
    assert (row["source_url"], row["reject_reason"]) == (web.url("/source.jpg"), None)
    assert "pass" not in row["source_metadata"]
    turns = [{"id": "final_image", "url": here["open_image_input_url"]}, "x", {"id": "original_input_image"}]
    (row,), _ = downloaded(tmp_path, web, {"files": turns, "metadata_edit_turn_prompts": ["a"]})
    assert (row["reject_reason"], "pass" in row["source_metadata"]) == ("no_image", False)


def test_source_with_a_local_name_is_not_downloaded(tmp_path, web):
    (row,), _ = downloaded(tmp_path, web, line(output_image="4.png"), images=["sources/0.jpg"])
    assert (row["source_raw"], row["target_raw"]) == (jpeg(0), jpeg(4))
    assert web.asked == {"/cdn/4.png": 1}


def test_downloads_need_a_store_and_files_do_not(tmp_path):
    path = written(tmp_path, line(), images=["sources/0.jpg", "images/positive-edit/0.png"])
    assert len(read_rows(ReadEditLines(), path)[0]) == 1
    with pytest.raises(ContractError, match="no store for downloads"):
        read_rows(ReadEditLines(base_url="https://images.example"), path)

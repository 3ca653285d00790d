"""Captions files as people, spreadsheets and libraries write them: read, or refused by name at the plan."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _inputs import jpeg, read_rows

from core.errors import PlanError, ShardFailed
from pipeline.context import Context
from stages.inputs.captions_text import CHUNK_BYTES, MAX_RECORD_BYTES, items_of, lines_of
from stages.read_image_folder import ReadImageFolder

NAMES = [f"sub/{n}.jpg" for n in range(4)]
TEXTS = ["a red car", "a black dog", "a white boat", "a yellow bus"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for n, name in enumerate(NAMES):
        (tmp_path / "in" / name).write_bytes(jpeg(n))
    return tmp_path / "in"


def captions(folder, name, content, **options):
    """Captions that are read when the folder has this captions file."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    rows, _ = read_rows(ReadImageFolder(**options), folder / name)
    assert [r["reject_reason"] for r in rows] == [None] * len(rows)
    return [r["caption"] for r in rows]


def refusal(folder, name, content, **options):
    """The message of the plan on this captions file."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PlanError) as refused:
        ReadImageFolder(**options).list_shards([str(folder / name)])
    return str(refused.value)


def table(separator, names=NAMES, texts=TEXTS, header=("file_name", "text")):
    return "".join(f"{a}{separator}{b}\n" for a, b in [header, *zip(names, texts, strict=True)])


def test_quotation_marks_of_a_tsv_are_letters(folder):
    texts = ['"Stop" said the sign', '"a dog that is never closed', 'a "boat"', '"a bus"']
    assert captions(folder, "captions.tsv", table("\t", texts=texts)) == texts


def test_a_tsv_that_a_csv_writer_quoted_is_unquoted(folder):
    texts = ['"a ""red"" car"', *TEXTS[1:]]
    assert captions(folder, "captions.tsv", table("\t", texts=texts)) == ['a "red" car', *TEXTS[1:]]
    quoted = table("\t", [f'"{n}"' for n in NAMES], [f'"{t}"' for t in TEXTS], ('"file_name"', '"text"'))
    assert captions(folder, "captions.tsv", quoted) == TEXTS


@pytest.mark.parametrize("bad", ['"a dog that is never closed', '"Stop" said the sign', '"a dog\non two lines"'])
def test_a_stray_quotation_mark_of_a_csv_names_its_line(folder, bad):
    text = table(",", texts=["fine", "fine", bad, "fine"])
    message = refusal(folder, "metadata.csv", text)
    assert "metadata.csv: line 4 has a quoted field that does not end on it" in message


def test_quoted_fields_of_a_csv_keep_commas_and_marks(folder):
    texts = ['"a red, ""fast"" car"', 'a 12" boat', TEXTS[2], ""]
    got = captions(folder, "metadata.csv", table(",", texts=texts[:3], names=NAMES[:3]))
    assert got == ['a red, "fast" car', 'a 12" boat', TEXTS[2]]


@pytest.mark.parametrize("separator", [";", "|", "\t", ", "])
def test_separators_of_a_csv_are_recognised(folder, separator):
    assert captions(folder, "metadata.csv", table(separator)) == TEXTS


@pytest.mark.parametrize(
    "header", [("image", "caption"), ("Filename", "Prompt"), ("image_path", "TEXT"), ("File Name", "description")]
)
def test_usual_names_of_columns_are_recognised(folder, header):
    assert captions(folder, "metadata.csv", table(",", header=header)) == TEXTS


def test_columns_of_other_names_are_refused_with_what_there_is(folder):
    message = refusal(folder, "metadata.csv", table(",", header=("a", "b")))
    assert "no column for file_column = 'file_name', caption_column = 'text'; it has a, b" in message
    message = refusal(folder, "metadata.csv", table(",", header=("file_name", "words")))
    assert "no column for caption_column = 'text'; it has file_name, words" in message
    assert captions(folder, "metadata.csv", table(",", header=("file_name", "words")), require_caption=False)


def test_a_name_that_was_set_is_taken_at_its_word(folder):
    message = refusal(folder, "metadata.csv", table(","), caption_column="alt")
    assert "no column for caption_column = 'alt'; it has file_name, text" in message


def test_columns_that_may_each_be_meant_are_refused(folder):
    lines = "".join(json.dumps({"file_name": n, "caption": "x", "prompt": "y"}) + "\n" for n in NAMES)
    message = refusal(folder, "metadata.jsonl", lines)
    assert "columns caption, prompt may each be caption_column = 'text'; say which" in message
    assert captions(folder, "metadata.jsonl", lines, caption_column="prompt") == ["y"] * 4


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.json"])
def test_a_json_list_is_read(folder, name, indent):
    rows = [{"file_name": n, "text": t} for n, t in zip(NAMES, TEXTS, strict=True)]
    assert captions(folder, name, json.dumps(rows, indent=indent)) == TEXTS
    assert captions(folder, name, json.dumps(rows, indent=indent), rows_per_shard=1) == TEXTS


def test_json_that_lists_no_rows_is_refused(folder):
    coco = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "x"}]}
    assert "in COCO's layout" in refusal(folder, "captions.json", json.dumps(coco))
    assert "none of its first 2 rows is a JSON object" in refusal(folder, "metadata.jsonl", '["a", "b"]\n["c", "d"]\n')
    assert "is cut off" in refusal(folder, "metadata.json", '[{"file_name": "sub/0.jpg", "text": "x"}, {"file')
    assert "more behind the end" in refusal(
        folder, "metadata.json", '[{"file_name": "a", "text": "x"}] {"file_name": 1}'
    )


def test_a_list_of_captions_gives_the_first(folder):
    line = json.dumps({"file_name": NAMES[0], "captions": [" ", "a red car", "a car"]})
    assert captions(folder, "metadata.jsonl", line) == ["a red car"]
    pq.write_table(
        pa.table({"file_name": NAMES[:1], "captions": [["a red car", "a car"]]}), folder / "metadata.parquet"
    )
    (row,), notes = read_rows(ReadImageFolder(), folder / "metadata.parquet")
    assert row["caption"] == "a red car"
    assert notes["lists of captions: the first of each is taken"] == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_utf_16_and_32_are_refused_by_name(folder, encoding):
    content = ("\ufeff" if encoding.endswith("be") else "") + table(",")
    assert "captions file in UTF-" in refusal(folder, "metadata.csv", content.encode(encoding))


def test_a_csv_that_is_no_utf_8_at_all_is_refused(folder):
    content = table(",", texts=["caf\u00e9"] * 4).encode("latin-1")
    assert "captions file that is not UTF-8" in refusal(folder, "metadata.csv", content)


def test_lines_that_end_in_cr_alone_are_refused(folder):
    assert "end them in LF" in refusal(folder, "metadata.csv", table(",").replace("\n", "\r"))
    assert captions(folder, "metadata.csv", table(",").replace("\n", "\r\n")) == TEXTS


def test_names_with_back_slashes_dots_and_the_folder_are_found(folder):
    names = ["sub\\0.jpg", "./sub/1.jpg", str(folder / "sub" / "2.jpg"), ".\\sub\\3.jpg"]
    assert captions(folder, "metadata.csv", table(",", names=names)) == TEXTS


def test_names_are_found_with_accents_composed_and_decomposed(folder):
    (folder / "cafe\u0301.jpg").write_bytes(jpeg(7))
    assert captions(folder, "metadata.csv", "file_name,text\ncaf\u00e9.jpg,a door\n") == ["a door"]


def test_a_replaced_image_changes_the_identity_of_its_shard_only(folder):
    (folder / "metadata.csv").write_text(table(","))
    stage = ReadImageFolder(rows_per_shard=2)
    before = [s.identity for s in stage.list_shards([str(folder)])]
    (folder / NAMES[3]).write_bytes(jpeg(9, size=(64, 64)))
    after = [s.identity for s in stage.list_shards([str(folder)])]
    assert before[0] == after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("kind", [pa.int64(), pa.float32(), pa.bool_(), pa.list_(pa.int8()), pa.null()])
def test_a_column_of_a_type_that_holds_no_text_is_refused(folder, kind):
    pq.write_table(pa.table({"file_name": NAMES[:1], "text": pa.array([None], kind)}), folder / "metadata.parquet")
    with pytest.raises(PlanError) as refused:
        ReadImageFolder().list_shards([str(folder)])
    assert f"column 'text' (caption_column) has type {kind}, which holds no text" in str(refused.value).replace(
        "element", "item"
    )
    assert "it has file_name (string), text (" in str(refused.value)


def test_json_columns_that_hold_no_text_are_refused(folder):
    lines = "".join(json.dumps({"file_name": n, "text": 3}) + "\n" for n in NAMES)
    assert "column 'text' (caption_column) holds no text but int" in refusal(folder, "metadata.jsonl", lines)


def test_images_inside_a_captions_table_are_refused(folder):
    rows = {"image": [{"bytes": jpeg(0), "path": "0.jpg"}], "text": ["a car"]}
    pq.write_table(pa.table(rows), folder / "metadata.parquet")
    with pytest.raises(PlanError, match="column 'image' holds images themselves, as Hugging Face's datasets do"):
        ReadImageFolder().list_shards([str(folder)])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(),
                                  pa.dictionary(pa.int32(), pa.string())])  # fmt: skip
def test_text_of_every_type_of_parquet_is_read(folder, kind):
    columns = {"file_name": NAMES, "text": TEXTS}
    made = {n: pa.array(v).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(v).cast(kind)
            for n, v in columns.items()}  # fmt: skip
    pq.write_table(pa.table(made), folder / "metadata.parquet", store_schema=False)
    rows, _ = read_rows(ReadImageFolder(rows_per_shard=3), folder)
    assert [r["caption"] for r in rows] == TEXTS
    assert all(r["source_raw"] for r in rows)


def test_each_shard_reads_its_own_span_of_the_file_only(folder, monkeypatch):
    import stages.inputs.captions_file as module

    lines = "".join(json.dumps({"file_name": NAMES[n % 4], "text": f"caption {n}"}) + "\n" for n in range(1000))
    (folder / "metadata.jsonl").write_text(lines)
    stage = ReadImageFolder(rows_per_shard=10)
    parsed = []
    real = module.parse_record
    monkeypatch.setattr(module, "parse_record", lambda *args: (parsed.append(1), real(*args))[1])
    shards = stage.list_shards([str(folder)])
    assert len(parsed) <= 1000 + module.HEAD_ROWS
    parsed.clear()
    rows = [r for t in stage.open(Context(stage_name="x"))(shards[-1]) for r in t.to_pylist()]
    assert [r["caption"] for r in rows] == [f"caption {n}" for n in range(990, 1000)]
    assert len(parsed) <= 10 + module.HEAD_ROWS


def test_a_captions_file_that_shrank_after_the_plan_fails_its_shard(folder):
    (folder / "metadata.csv").write_text(table(","))
    stage = ReadImageFolder(rows_per_shard=2)
    shards = stage.list_shards([str(folder)])
    (folder / "metadata.csv").write_text(table(",", NAMES[:2], TEXTS[:2]))
    with pytest.raises(ShardFailed, match="the file was changed after the plan"):
        list(stage.open(Context(stage_name="x"))(shards[1]))


def test_a_line_too_long_to_be_read_costs_its_row_only(folder):
    rows = [json.dumps({"file_name": n, "text": t}) for n, t in zip(NAMES, TEXTS, strict=True)]
    rows[2] = json.dumps({"file_name": NAMES[2], "text": "x" * (MAX_RECORD_BYTES + 1)})
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    found, _ = read_rows(ReadImageFolder(), folder)
    assert [r["reject_reason"] for r in found] == [None, None, "broken_metadata", None]


def test_lines_are_cut_at_their_bytes():
    handle = io.BytesIO(b"ab\n\ncd\r\n" + b"x" * (MAX_RECORD_BYTES + 10) + b"\nend")
    assert [(at, line and len(line)) for at, line in lines_of(handle, 0)] == [
        (0, 3), (3, 1), (4, 4), (8, None), (8 + MAX_RECORD_BYTES + 11, 3),
    ]  # fmt: skip
    assert next(at for at, _ in lines_of(handle, 4)) == 4


def test_items_of_a_list_are_cut_at_their_bytes_wherever_reads_end():
    items = [{"n": n, "text": "\u00e9\U0001f600" * (n % 900)} for n in range(400)]
    data = json.dumps(items, ensure_ascii=False, indent=2).encode()
    assert len(data) > 4 * CHUNK_BYTES
    found = list(items_of(io.BytesIO(data), 0, is_opened=False))
    assert [json.loads(raw) for _, raw in found] == items
    assert all(data[at : at + len(raw)] == raw for at, raw in found)
    later = list(items_of(io.BytesIO(data), found[50][0], is_opened=True))
    assert later == found[50:]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.json", "metadata.parquet"])
def test_a_folder_elsewhere_is_read_through_fsspec(name):
    import fsspec

    folder, buffer = fsspec.filesystem("memory"), io.BytesIO()
    rows = [{"file_name": n.replace("/", "\\"), "text": t} for n, t in zip(NAMES, TEXTS, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    made = {"metadata.csv": table(",").encode(), "metadata.json": json.dumps(rows).encode()}
    root = f"/elsewhere-{name.partition('.')[2]}"
    folder.pipe({f"{root}/{name}": made.get(name, buffer.getvalue())})
    folder.pipe({f"{root}/{image}": jpeg(n) for n, image in enumerate(NAMES)})
    stage = ReadImageFolder(rows_per_shard=3)
    shards = stage.list_shards([f"memory:/{root}"])
    read = stage.open(Context(stage_name="x"))
    assert [r["caption"] for s in shards for t in read(s) for r in t.to_pylist() if r["source_raw"]] == TEXTS
    folder.pipe({f"{root}/{NAMES[3]}": jpeg(9, size=(32, 32))})
    again = stage.list_shards([f"memory:/{root}"])
    assert [a.identity == b.identity for a, b in zip(shards, again, strict=True)] == [True, False]


def test_a_row_without_text_never_takes_its_caption_from_another_column(folder):
    lines = [{"file_name": name, "text": None, "caption": "a file of unknown origin"} for name in NAMES]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, _ = read_rows(ReadImageFolder(), folder)
    assert [(r["caption"], r["reject_reason"]) for r in rows] == [(None, "missing_caption")] * len(NAMES)

"""A folder of hostile input through the real engine: where each sample ends and why, and that nothing else happens."""

import gzip
import json
import os
import random
import subprocess
import tarfile
import zlib
from collections import Counter
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from _builds import EDITLOOM, ROOT, build
from _inputs import encoded, jpeg, make_image, png_chunk, png_file, sample, sparse, special, tar_of
from _records import records
from PIL import Image

from pipeline.plan.plugins import stage_class
from pipeline.run.rejects import EngineReject

MANIFEST = """
name = "hostile"
summary = "<script>alert('summary')</script>"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
[[stage]]
use = "filter_caption"
[[stage]]
use = "dedup"
[[stage]]
use = "edit_caption_wordnet"
[[stage]]
use = "emit"
"""
STAGES = ["read_webdataset", "normalise_image", "filter_caption", "dedup", "edit_caption_wordnet", "emit"]
RED_CAR = "a red car parked beside a wooden house"
KEPT = "kept"
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
NAN = b'{"url": "https://example.org/\\ud800", "score": NaN, "big": 1e999, "\\udfff": [-Infinity]}'
MARKUP_META = b'{"url": "https://example.org/\\"><script>alert(1)</script>", "caption": "</script><script>alert(2)"}'


TEXT_BOMB = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(300_000_000), 9))
ON_ITS_SIDE = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def animation(number, image_format):
    return encoded(make_image(number), image_format, save_all=True, append_images=[make_image(number + 1)])


def ok(key, number, caption=RED_CAR):
    return sample(key, jpeg(number), caption)


def shards_of_names():
    long_gnu, long_pax = "long/" + "n" * 3000, "pax/" + "p" * 5000
    return {
        "names": [
            ("parent folder", ok("../../escaped", 100), {"../../escaped": KEPT}),
            ("absolute path", ok("/tmp/escaped-absolute", 101), {"/tmp/escaped-absolute": KEPT}),
            ("dots inside", ok("a/./b/../c", 102), {"a/./b/../c": KEPT}),
            ("hidden file", ok(".hidden", 103), {}),
            ("only dots", [("....jpg", jpeg(104)), ("..", b"x"), (".", b"x")], {}),
            ("dots in the folder", ok("v1.2/x", 105), {"v1.2/x": KEPT}),
            ("dots in the name", [("y.2.jpg", jpeg(106)), ("y.2.txt", b"a dog")], {"y": "read_webdataset no_image"}),
            ("very long, GNU", ok(long_gnu, 107), {long_gnu[:512]: KEPT}),
            ("not UTF-8", ok("caf\udce9", 108), {"caf?": KEPT}),
            ("markup in the name", ok('"><script>alert(3)</script>', 109), {'"><script>alert(3)</script>': KEPT}),
            ("line feed", ok("two\nlines", 110), {"two\nlines": KEPT}),
            ("upper-case suffix", [("UP.JPG", jpeg(111)), ("UP.TXT", RED_CAR.encode())], {"UP": KEPT}),
        ],
        "names-pax": [
            ("very long, pax", ok(long_pax, 120), {long_pax[:512]: KEPT}),
            ("emoji", ok("\U0001f600/ключ", 121), {"\U0001f600/ключ": KEPT}),
        ],
    }


def shards_of_members():
    apart = ok("apart", 206)
    return {
        "members": [
            ("duplicate key", ok("twice", 200) + ok("twice", 201), {"twice": [KEPT, "read_webdataset duplicate_key"]}),
            ("same bytes again", ok("again", 200), {"again": "read_webdataset duplicate_image"}),
            ("not contiguous, 1", apart[:1], {"apart": KEPT}),
            ("symlink", [special("symlink.jpg", tarfile.SYMTYPE, "/etc/passwd"), ("symlink.txt", b"a dog")],
             {"symlink": "read_webdataset no_image"}),
            ("symlink out, then a file in it", [special("out", tarfile.SYMTYPE, "/tmp"), *ok("out/inside", 202)],
             {"out/inside": KEPT}),
            ("hard link", [special("hardlink.jpg", tarfile.LNKTYPE, "twice.jpg"), ("hardlink.txt", b"a dog")],
             {"hardlink": "read_webdataset no_image"}),
            ("device", [special("device.jpg", tarfile.CHRTYPE), ("device.txt", b"a dog")],
             {"device": "read_webdataset no_image"}),
            ("pipe", [special("pipe.jpg", tarfile.FIFOTYPE), ("pipe.txt", b"a dog")],
             {"pipe": "read_webdataset no_image"}),
            ("directory", [special("folder.jpg", tarfile.DIRTYPE), ("folder.txt", b"a dog")],
             {"folder": "read_webdataset no_image"}),
            ("sparse", [sparse("sparse.jpg", 8_000_000_000), ("sparse.txt", b"a dog")],
             {"sparse": "read_webdataset unreadable_image"}),
            ("not contiguous, 2", apart[1:], {}),
            ("only a text", [("lonely.txt", b"a dog")], {"lonely": "read_webdataset no_image"}),
            ("two images", [*ok("pair", 203), ("pair.png", encoded(make_image(204), "PNG"))], {"pair": KEPT}),
        ],
        "copy-a": [
            ("same key in two shards", ok("shared", 210), {"shared": KEPT}),
            ("same image in two shards", ok("original", 211), {"original": KEPT}),
            ("looks like another", sample("lookalike", jpeg(212, quality=95), RED_CAR), {"lookalike": KEPT}),
        ],
        "copy-b": [
            ("same key in two shards", ok("shared", 213), {"shared": KEPT}),
            ("same image in two shards", ok("copy", 211), {"copy": "dedup duplicate_exact"}),
            ("looks like another", sample("looking", encoded(make_image(212), "PNG"), "a red car"),
             {"looking": "dedup duplicate_near"}),
        ],
    }  # fmt: skip


def shards_of_texts():
    return {
        "texts": [
            ("no text", sample("none", jpeg(300)), {"none": "read_webdataset missing_caption"}),
            ("empty text", sample("empty", jpeg(301), ""), {"empty": "read_webdataset empty_caption"}),
            ("blank text", sample("blank", jpeg(302), " \n\t\u2003"), {"blank": "read_webdataset empty_caption"}),
            ("not UTF-8", sample("latin", jpeg(303), b"a red caf\xe9"), {"latin": "read_webdataset caption_not_utf8"}),
            ("UTF-16", sample("utf16", jpeg(304), RED_CAR.encode("utf-16")),
             {"utf16": "read_webdataset caption_not_utf8"}),
            ("byte order mark", sample("mark", jpeg(305), b"\xef\xbb\xbf" + RED_CAR.encode()), {"mark": KEPT}),
            ("10 MB", sample("huge", jpeg(306), "a red car " * 1_000_000), {"huge": "filter_caption too_many_words"}),
            ("10 MB, cut in a character", sample("huger", jpeg(307), "x" + "\u00e9" * 5_000_000),
             {"huger": "filter_caption too_few_words"}),
            ("broken JSON, a text", sample("j1", jpeg(310), RED_CAR, b'{"url": '), {"j1": KEPT}),
            ("broken JSON, no text", sample("j2", jpeg(311), None, b"{"), {"j2": "read_webdataset broken_metadata"}),
            ("JSON list", sample("j3", jpeg(312), RED_CAR, b"[1, 2]"), {"j3": KEPT}),
            ("JSON list, no text", sample("j4", jpeg(313), None, b"[]"), {"j4": "read_webdataset broken_metadata"}),
            ("deep JSON", sample("j5", jpeg(314), RED_CAR, DEEP), {"j5": KEPT}),
            ("NaN and lone surrogates", sample("j6", jpeg(315), RED_CAR, NAN), {"j6": KEPT}),
            ("caption in the JSON", sample("j7", jpeg(316), None, json.dumps({"caption": RED_CAR}).encode()),
             {"j7": KEPT}),
            ("caption is a number", sample("j8", jpeg(317), None, b'{"caption": 5}'),
             {"j8": "read_webdataset missing_caption"}),
            ("JSON not UTF-8", sample("j9", jpeg(318), RED_CAR, b'{"a": "\xff"}'), {"j9": KEPT}),
            ("markup in the JSON", sample("j10", jpeg(319), RED_CAR, MARKUP_META), {"j10": KEPT}),
            ("5,000 digits", sample("j11", jpeg(320), RED_CAR, b'{"n": ' + b"9" * 5000 + b"}"), {"j11": KEPT}),
        ],
    }  # fmt: skip


def shards_of_images():
    deep = encoded(Image.fromarray(np.asarray(make_image(404).convert("L")).astype(np.uint16) << 8), "PNG")
    palette = encoded(make_image(405).convert("P"), "PNG", transparency=3)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="80"><script>alert(1)</script></svg>'
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 80\n%%EndComments\n(/etc/passwd) (r) file\n%%EOF\n"
    cases = {
        "zero bytes": (b"", "read_webdataset empty_image"),
        "cut JPEG": (jpeg(400, quality=95)[:-1500], "normalise_image truncated"),
        "cut PNG": (encoded(make_image(401), "PNG")[:-60], "normalise_image truncated"),
        "CMYK": (encoded(make_image(402).convert("CMYK"), "JPEG"), KEPT),
        "16 bits": (deep, KEPT),
        "palette with transparency": (palette, KEPT),
        "animated GIF": (animation(406, "GIF"), "normalise_image animated"),
        "animated WebP": (animation(408, "WEBP"), "normalise_image animated"),
        "SVG": (svg, "normalise_image undecodable"),
        "EPS": (eps, "normalise_image undecodable"),
        "HTML": (b"<!doctype html><title>404</title>", "normalise_image undecodable"),
        "random bytes": (random.Random(1).randbytes(5000), "normalise_image undecodable"),
        "3,600 million pixels": (png_file(60_000, 60_000, b""), "normalise_image pixel_bomb"),
        "49 million pixels, no data": (png_file(7000, 7000, b""), "normalise_image truncated"),
        "zlib bomb": (png_file(96, 80, b"", extra=TEXT_BOMB), "normalise_image truncated"),
        "1 x 1": (encoded(make_image(410, (1, 1)), "PNG"), "normalise_image too_small"),
        "0 x 0": (png_file(0, 0, b""), "normalise_image undecodable"),
        "long and thin": (encoded(make_image(411, (1000, 100)), "PNG"), "normalise_image aspect_ratio"),
        "rotated by EXIF": (encoded(make_image(412, (160, 80)), "JPEG", exif=b"Exif\0\0" + ON_ITS_SIDE), KEPT),
        "damaged EXIF": (encoded(make_image(413), "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 40), KEPT),
    }
    numbered = enumerate(cases.items())
    return {"images": [(n, sample(f"i{i}", raw, RED_CAR), {f"i{i}": end}) for i, (n, (raw, end)) in numbered]}


def shards_of_captions():
    cases = {
        "script": ("a red car <script>alert(4)</script> on a street", "filter_caption markup"),
        "open script": ("a red car <script src=//x.y/z ", KEPT),
        "open comment": ("a red car <!-- parked beside a wooden house", KEPT),
        "end of script": ("a red car parked beside a house </script", KEPT),
        "attribute": ('a red car" onmouseover="alert(5)" parked beside a house', KEPT),
        "template": ("a red car {{ 7 * 7 }} {% raw %} parked beside a house", KEPT),
        "NUL": ("a red car\0parked beside a wooden house", KEPT),
        "marks of direction": ("a red car \u202eesuoh a ediseb\u202c parked beside a wooden house", KEPT),
        "line separators": ("a red car\u2028parked beside\u2029a wooden\x85house", KEPT),
        "emoji": ("a red car \U0001f697\U0001f468\u200d\U0001f469\u200d\U0001f467 beside a wooden house", KEPT),
        "Hebrew": ("מכונית אדומה חונה ליד בית עץ", "edit_caption_wordnet no_editable_word"),
        "100,000 characters": ("car " * 25_000, "filter_caption too_many_words"),
        "100,000 letters": ("c" * 100_000, "filter_caption too_few_words"),
        "100,000 open brackets": ("<a" * 50_000, "filter_caption too_many_words"),
        "100,000 at signs": ("a@" * 50_000, "filter_caption too_many_words"),
        "formula": ('=HYPERLINK("x") a red car parked beside a wooden house', KEPT),
        "control characters": ("a red\x1b[31m car\x07 parked beside a wooden house", KEPT),
    }
    numbered = enumerate(cases.items())
    return {"captions": [(n, ok(f"c{i}", 500 + i, text), {f"c{i}": end}) for i, (n, (text, end)) in numbered]}


def shards_cut_off():
    """Tars of three samples, cut off. `cut` at the end of this file's fixture does the cutting."""
    first, second = ok("first", 600), ok("second", 601)
    return {
        "cut-in-member": [("two whole samples", [*first, *second], {"first": KEPT, "second": KEPT}),
                          ("cut image", sample("third", jpeg(602)), {"third": "read_webdataset truncated_shard"})],
        "cut-in-header": [("two whole samples", [*ok("first", 610), *ok("second", 611)],
                           {"first": KEPT, "second": KEPT}),
                          ("cut header", sample("third", jpeg(612)), {})],
        "cut-at-block": [("two whole samples, no end mark", [*ok("first", 620), *ok("second", 621)],
                          {"first": KEPT, "second": KEPT}),
                         ("cut away", sample("third", jpeg(622)), {})],
    }  # fmt: skip


CUTS = {"cut-in-member": 512 + 700, "cut-in-header": 200, "cut-at-block": 0}
"""Bytes left of the third sample."""


def all_shards():
    parts = (shards_of_names, shards_of_members, shards_of_texts, shards_of_images, shards_of_captions, shards_cut_off)
    return {name: cases for part in parts for name, cases in part().items()}


SHARDS = all_shards()
CASES = [(shard, name, ends) for shard, cases in SHARDS.items() for name, _, ends in cases if ends]


def cut(path, left):
    with tarfile.open(path) as tar:
        third = next(m for m in tar if m.name.startswith("third"))
    os.truncate(path, third.offset + left)


def tree(folder, but):
    return sorted(str(p) for p in folder.rglob("*") if but not in p.parents and p != but)


def table(path):
    return pq.read_table(path).to_pylist()


def ends_of(out):
    """(shard, key) -> the ends of its samples, each `kept` or `<stage> <reason>`."""
    ids = {}
    for path in out.glob("stages/read_webdataset-*/*.parquet"):
        if "rejects" not in path.name:
            ids |= {(path.stem, r["sample_id"]): r["source_key"] for r in table(path)}
    ends = {}
    kept = {(r["dataset_shard"].removesuffix(".tar"), r["parent_id"]) for r in table(out / "dataset/samples.parquet")}
    for shard, row_id in sorted(kept):
        ends.setdefault((shard, ids[shard, row_id]), []).append(KEPT)
    for row in table(out / "dataset/rejects.parquet"):
        key = (row["shard"], row["sample_id"])
        name = json.loads(row["row"])["source_key"] if row["stage"] == "read_webdataset" else ids[key]
        ends.setdefault((row["shard"], name), []).append(f"{row['stage']} {row['reject_reason']}")
    return ends


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    here = tmp_path_factory.mktemp("hostile")
    folder, out, manifest = here / "in", here / "out", here / "hostile.toml"
    folder.mkdir()
    manifest.write_text(MANIFEST)
    for name, cases in SHARDS.items():
        form = tarfile.PAX_FORMAT if name == "names-pax" else tarfile.GNU_FORMAT
        path = folder / f"{name}.tar"
        path.write_bytes(tar_of(*(m for _, members, _ in cases for m in members), tar_format=form))
        if name in CUTS:
            cut(path, CUTS[name])
    trap = here / "bin" / "gs"
    trap.parent.mkdir()
    trap.write_text(f"#!/bin/sh\ntouch {here}/ghostscript-was-started\n")
    trap.chmod(0o755)
    before = tree(here, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(trap.parent), prepend=os.pathsep)
        code, reported, errors = build(out, "--executor", "inprocess", shards=folder, manifest=manifest)
    return SimpleNamespace(
        here=here, folder=folder, out=out, manifest=manifest, before=before, after=tree(here, out), code=code,
        reported=reported, errors=errors, ends=ends_of(out) if code == 0 else {},
    )  # fmt: skip


def test_the_build_ends_well_and_says_nothing(run):
    assert run.code == 0, run.errors
    assert run.reported["ok"]
    assert "Traceback" not in run.errors


@pytest.mark.parametrize(("shard", "name", "ends"), CASES, ids=[f"{shard}: {name}" for shard, name, _ in CASES])
def test_each_sample_ends_where_it_should(run, shard, name, ends):
    wanted = {key: sorted([end] if isinstance(end, str) else end) for key, end in ends.items()}
    assert {key: sorted(run.ends.get((shard, key), [])) for key in ends} == wanted


def test_no_sample_appears_that_was_not_there(run):
    assert set(run.ends) == {(shard, key) for shard, _, ends in CASES for key in ends}


def test_every_reject_has_a_reason_of_its_stage_and_no_stage_raised(run):
    for row in table(run.out / "dataset" / "rejects.parquet"):
        reasons = {reason.value for reason in stage_class(row["stage"]).rejects}
        assert row["reject_reason"] in reasons | {EngineReject.DUPLICATE_IMAGE}, row


def test_every_row_is_accounted_for_along_the_chain(run):
    expected = Counter({shard: sum(len(run.ends[s, k]) for s, k in run.ends if s == shard) for shard in SHARDS})
    for stage in STAGES:
        found = {shard: record for (_, shard), record in records(run.out, stage).items() if shard[0] != "_"}
        for shard, record in found.items():
            assert record["rows_in"] == expected[shard], (stage, shard)
            assert record["rows_in"] == record["rows_kept"] + sum(record["rejects"].values()), (stage, shard)
        assert {s for s, n in expected.items() if n} <= set(found), stage
        expected = Counter({shard: record["rows_out"] for shard, record in found.items()})
    assert sum(expected.values()) == len(table(run.out / "dataset" / "samples.parquet"))


def test_a_build_writes_only_into_the_run_folder_and_starts_no_ghostscript(run):
    assert run.after == run.before
    assert not os.path.lexists("/tmp/escaped-absolute.jpg")


def test_nothing_in_the_run_folder_is_named_by_the_input(run):
    names = [p.name for p in run.out.rglob("*") if not p.is_dir()]
    known = {"jpg", "png", "txt"}
    assert not [n for n in names if n.rpartition(".")[2] in known or "escaped" in n]
    for path in (run.out / "dataset").glob("*.tar"):
        with tarfile.open(path) as tar:
            assert all(m.isreg() and "/" not in m.name and ".." not in m.name for m in tar)


def test_verify_finds_nothing_wrong(run):
    line = [EDITLOOM, "verify", str(run.manifest), "--shards", str(run.folder), "--out", str(run.out), "--deep"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


class Scripts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.scripts, self.handlers, self.urls = [], [], []

    def handle_starttag(self, tag, attrs):
        self.scripts += [dict(attrs)] if tag == "script" else []
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.urls += [v for n, v in attrs if n in ("src", "href") and v and not v.startswith(("data:", "#"))]


def test_the_report_runs_no_script_of_the_input(run):
    parser = Scripts()
    parser.feed((run.out / "dataset" / "report.html").read_text(encoding="utf-8"))
    assert parser.scripts == [{"type": "application/json", "id": "payload"}, {}]
    assert parser.handlers == []
    assert parser.urls == []


def test_captions_arrive_on_one_line(run):
    rows = {r["source_key"]: r for r in table(run.out / "dataset" / "samples.parquet")}
    for (shard, key), ends in run.ends.items():
        if shard == "captions" and ends == [KEPT]:
            text = next(m[1] for n, members, e in SHARDS["captions"] if key in e for m in members if "txt" in m[0])
            assert rows[key]["caption"] == " ".join(text.decode().split()), key


def test_an_image_on_its_side_is_emitted_upright(run):
    (key,) = next(ends for name, _, ends in SHARDS["images"] if name == "rotated by EXIF")
    (row,) = [r for r in table(run.out / "dataset" / "samples.parquet") if r["source_key"] == key]
    assert [row[f"{n}_px"] for n in ("original_width", "original_height", "width", "height")] == [80, 160, 64, 128]


def test_metadata_becomes_json_that_any_reader_takes(run):
    rows = {r["source_key"]: r for r in table(run.out / "dataset" / "samples.parquet")}
    assert json.loads(rows["j6"]["source_metadata"]) == {
        "url": "https://example.org/?", "score": None, "big": None, "?": [None],
    }  # fmt: skip
    assert [rows[k]["source_metadata"] for k in ("j1", "j3", "j5", "j9", "j11")] == [None] * 5


def test_what_is_no_row_is_noted(run):
    notes = {shard: record["notes"] for (_, shard), record in records(run.out, "read_webdataset").items()}
    assert notes["members"] == {"members that are no files, ignored": 5, "extra members, ignored": 1}
    assert notes["names"]["members without key or suffix, ignored"] == 5
    assert notes["texts"]["metadata that is not a JSON object"] == 7
    for name in CUTS:
        assert any("archive" in note for note in notes[name]), name
    assert not any("archive" in note for note in notes["captions"])


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    here = tmp_path_factory.mktemp("no-tars")
    folder, out, manifest = here / "in", here / "out", here / "hostile.toml"
    folder.mkdir()
    manifest.write_text(MANIFEST)
    good = tar_of(*ok("good", 700))
    (folder / "good.tar").write_bytes(good)
    (folder / "alsogood.tar").write_bytes(tar_of(*ok("good", 701)))
    (folder / "empty.tar").write_bytes(b"")
    (folder / "packed.tar").write_bytes(gzip.compress(good))
    (folder / "garbage.tar").write_bytes(random.Random(0).randbytes(5000))
    code, reported, errors = build(out, "--executor", "inprocess", shards=folder, manifest=manifest)
    return SimpleNamespace(code=code, reported=reported, errors=errors, out=out)


def test_shards_that_are_no_tars_fail_by_name(failed):
    assert failed.code == 1
    assert sorted(f["shard"] for f in failed.reported["failures"]) == ["empty", "garbage", "packed"]
    assert "Traceback" not in failed.errors
    output = json.dumps(failed.reported) + failed.errors
    assert "empty.tar: the archive is empty (0 bytes)" in output
    assert "packed.tar: not a tar archive" in output
    assert "garbage.tar: not a tar archive" in output
    assert "compressed tars are not read, unpack them first" in output


def test_the_other_shards_go_on_without_them(failed):
    assert {shard for _, shard in records(failed.out, "filter_caption")} == {"good", "alsogood"}

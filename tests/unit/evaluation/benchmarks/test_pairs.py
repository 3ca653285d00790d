import json

import pytest
from _folders import pairs_folder, put_rows, rows_of, save

from core.errors import EvaluationError
from evaluation.benchmarks.pairs import Pairs


@pytest.fixture
def folder(tmp_path):
    return pairs_folder(tmp_path / "pairs", 4, ("replace_noun", "change_colour", "add"))


def refusal(folder, **settings):
    with pytest.raises(EvaluationError) as caught:
        Pairs().read(folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(folder, **values):
    rows = rows_of(folder)
    rows[1] |= values
    put_rows(folder, rows)
    return folder


def test_every_case_of_the_folder_is_read(folder):
    benchmark, rows = Pairs().read(folder), rows_of(folder)
    assert [case.key for case in benchmark.cases] == [one.key for one in benchmark.samples] == [r["key"] for r in rows]
    for case, sample, row in zip(benchmark.cases, benchmark.samples, rows, strict=True):
        assert (case.source, case.mask) == (folder / row["source"], folder / row["mask"])
        assert case.phrase == row["source_phrase"]
        for name in ("instruction", "source_caption", "target_caption"):
            assert getattr(case, name) == row[name]
        assert (sample.reference, sample.source, sample.mask) == (folder / row["target"], case.source, case.mask)
        assert (sample.source_text, sample.target_text) == (row["source_caption"], row["target_caption"])
        assert sample.sections == ("all", row["edit_type"])
    assert benchmark.cases[2].phrase == ""  # something is added


def test_a_limit_takes_the_first_cases(folder):
    assert [case.key for case in Pairs().read(folder, limit=2).cases] == [row["key"] for row in rows_of(folder)[:2]]


def test_what_is_optional_may_be_absent(folder):
    rows = rows_of(folder)
    for row in rows:
        for name in ("mask", "source_caption", "target_caption", "source_phrase", "edit_type", "instruction"):
            row.pop(name)
    put_rows(folder, rows)
    benchmark = Pairs().read(folder)
    sample, case = benchmark.samples[0], benchmark.cases[0]
    assert (sample.mask, sample.source_text, sample.target_text, sample.sections) == (None, "", None, ("all",))
    assert (case.instruction, case.source_caption, case.target_caption) == ("", "", "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "../../etc/passwd"}, "line 2, source, names '../../etc/passwd'; expected the name of a file below"),
        ({"target": "/etc/passwd"}, "line 2, target, names '/etc/passwd'; expected the name of a file below"),
        (
            {"mask": "..\\mask.png"},
            r"line 2, mask, names '..\\mask.png'; expected the name of a file below".replace("\\\\", "\\\\"),
        ),
        ({"target": "images/none.png"}, "line 2, target, names 'images/none.png', and "),
        ({"source": None}, "line 2, source, names None; expected the name of a file below"),
        ({"key": "../x"}, "line 2 names '../x'; expected the name of a file below"),
        ({"key": 7}, "line 2: field 'key' is 7; expected text"),
        ({"key": None}, "line 2: field 'key' is absent; expected text"),
        ({"key": "000000000"}, "line 2: there is another case of the key '000000000'; expected each key once"),
        ({"target_caption": 3}, "line 2: field 'target_caption' is 3; expected text"),
        ({"edit_type": ["a"]}, "line 2: field 'edit_type' is ['a']; expected text"),
        ({"examples": "a.png"}, "line 2: examples is no list of [before, after]; expected names of image files"),
        ({"examples": [["a.png"]]}, "line 2: examples is no list of [before, after]; expected names of image files"),
        ({"examples": [["../a.png", "b.png"]]}, "line 2, examples, names '../a.png'; expected the name of a file"),
        ({"examples": [["images/none.png", 3]]}, "line 2, examples, names 'images/none.png', and "),
    ],
)
def test_a_case_that_cannot_be_used_is_named(folder, values, message):
    assert message in refusal(changed(folder, **values))


def test_examples_are_pairs_of_images_and_part_of_the_fingerprint(folder):
    plain, rows = Pairs().read(folder), rows_of(folder)
    changed(folder, examples=[[rows[2]["source"], rows[2]["target"]], [rows[3]["source"], rows[3]["target"]]])
    with_examples = Pairs().read(folder)
    found = [[path.name for path in pair] for pair in with_examples.cases[1].examples]
    assert found == [[(folder / rows[n][name]).name for name in ("source", "target")] for n in (2, 3)]
    assert [case.examples for case in plain.cases] == [()] * 4
    changed(folder, examples=[[rows[2]["target"], rows[2]["source"]]])
    assert len({one.fingerprint() for one in (plain, with_examples, Pairs().read(folder))}) == 3


def test_noise_may_have_a_name(folder):
    changed(folder, noise="shared")
    assert [case.noise for case in Pairs().read(folder).cases] == ["", "shared", "", ""]


def test_a_line_ends_only_at_a_newline(folder):
    rows = (folder / "cases.jsonl").read_text().splitlines()
    row = json.loads(rows[0]) | {"target_caption": "a cat\u2028on\u0085a mat"}
    (folder / "cases.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert [case.target_caption for case in Pairs().read(folder).cases] == [row["target_caption"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cases.jsonl holds no case"),
        (b"\n \n", "cases.jsonl holds no case"),
        (b"{", "cases.jsonl line 1 is no JSON ("),
        (b"[]", "cases.jsonl line 1 holds a list; expected a JSON object"),
        (b"\xff\xfe", "cases.jsonl is not UTF-8 ("),
        (b"[" * 100_000, "cases.jsonl line 1 is"),
    ],
)
def test_a_file_that_is_no_list_of_cases_is_named(folder, content, message):
    (folder / "cases.jsonl").write_bytes(content)
    assert message in refusal(folder)


def test_a_folder_without_cases_is_named(tmp_path):
    assert "cases.jsonl cannot be read (No such file or directory); expected it there" in refusal(tmp_path)


def test_the_fingerprint_is_of_texts_and_pixels(folder):
    before = Pairs().read(folder).fingerprint()
    assert Pairs().read(folder).fingerprint() == before
    assert Pairs().read(folder, limit=3).fingerprint() != before
    after = before
    for text in ("instruction", "source_caption", "target_caption"):
        changed(folder, **{text: "a cat"})
        assert Pairs().read(folder).fingerprint() != after
        after = Pairs().read(folder).fingerprint()
    import numpy as np

    save(np.zeros((64, 64, 3), np.uint8), folder / rows_of(folder)[3]["target"])
    assert Pairs().read(folder).fingerprint() != after


def test_one_section_can_be_taken_alone(folder):
    only = Pairs().read(folder).only(["replace_noun"])
    assert [case.key for case in only.cases] == [one.key for one in only.samples]
    assert {one.sections for one in only.samples} == {("replace_noun",)}
    with pytest.raises(
        EvaluationError, match=r"pairs has no section 'x' \(known: all, replace_noun, change_colour, add\)"
    ):
        Pairs().read(folder).only(["x"])

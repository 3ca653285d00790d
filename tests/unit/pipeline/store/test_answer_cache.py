"""Answers that are kept across builds: by several workers, killed ones, damaged files, and remote folders."""

import hashlib
import json
import uuid

import pytest

from pipeline.store import answer_cache
from pipeline.store.answer_cache import AnswerCache
from pipeline.store.storage import Storage


def key(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture(params=["local", "remote"])
def url(request, tmp_path):
    return str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}"


def cache(url):
    return AnswerCache(Storage(url), "answers/judge_edit")


def test_an_answer_is_found_by_its_key_here_and_in_a_later_build(url):
    first = cache(url)
    assert first.get([key(1)]) == {}
    first.put({key(1): ["a\u2028ü", None, 3], key(2): {"b": 1.5}})
    for one in (first, cache(url)):
        assert one.get([key(2), key(1), key(3)]) == {key(1): ["a\u2028ü", None, 3], key(2): {"b": 1.5}}


def test_workers_that_keep_answers_side_by_side_lose_none(url):
    workers = [cache(url) for _ in range(3)]
    for round_ in range(4):
        for number, worker in enumerate(workers):
            worker.put({key((round_, number)): [round_, number]})
    found = cache(url).get([key((r, n)) for r in range(4) for n in range(3)])
    assert sorted(found.values()) == [[r, n] for r in range(4) for n in range(3)]


def test_a_damaged_line_is_ignored_and_the_others_count(tmp_path):
    cache(str(tmp_path)).put({key(n): f"answer {n}" for n in range(5)})
    (file,) = (tmp_path / "answers" / "judge_edit").iterdir()
    lines = file.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b"answer 1", b"answer 7")  # still JSON
    lines[3] = b"\xff\x00 not a line"
    lines[4] = lines[4][:-9]  # torn
    file.write_bytes(b"\n".join(lines))
    assert cache(str(tmp_path)).get([key(n) for n in range(5)]) == {key(0): "answer 0", key(2): "answer 2"}


def test_a_file_that_is_gone_costs_its_answers_only(tmp_path):
    one = cache(str(tmp_path))
    one.put({key(1): 1})
    (file,) = (tmp_path / "answers" / "judge_edit").iterdir()
    two = cache(str(tmp_path))
    two.put({key(2): 2})
    file.unlink()
    assert two.get([key(1), key(2)]) == {key(2): 2}


def test_files_of_others_in_the_folder_are_left_alone(tmp_path):
    folder = tmp_path / "answers" / "judge_edit"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    assert cache(str(tmp_path)).get([key(1)]) == {}


def test_keys_that_begin_alike_are_told_apart(tmp_path):
    one = cache(str(tmp_path))
    one.put({"a" * 16 + "0" * 48: 1})
    assert one.get(["a" * 16 + "1" * 48]) == {}


def test_answers_beyond_what_is_held_in_memory_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(answer_cache, "MOST_FILES", 2)
    one = cache(str(tmp_path))
    for number in range(5):
        one.put({key(number): number})
    for _ in range(2):
        assert one.get([key(number) for number in range(5)]) == {key(number): number for number in range(5)}
    assert len(one._read) == 2


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    one = cache(str(tmp_path))
    with pytest.raises(ValueError, match="JSON"):
        one.put({key(1): float("nan")})
    assert not (tmp_path / "answers").exists()


def test_no_answers_make_no_file(tmp_path):
    cache(str(tmp_path)).put({})
    assert not (tmp_path / "answers").exists()
    assert json.dumps(cache(str(tmp_path)).get([])) == "{}"

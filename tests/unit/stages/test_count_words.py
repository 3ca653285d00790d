import json

import pyarrow as pa
import pytest

from core.errors import ContractError
from pipeline.context import Context
from stages.count_words import CountWords


def _tables(*groups):
    return lambda: [
        (
            f"s{index}",
            pa.table({"sample_id": [str(i) for i in range(len(group))], "caption": pa.array(group, pa.string())}),
        )
        for index, group in enumerate(groups)
    ]


def _artifact(folder, *groups):
    folder.mkdir()
    stage = CountWords()
    yielded = list(stage.open(Context(stage_name="count_words", artifact_dir=folder))(_tables(*groups)))
    assert yielded == []
    return (folder / stage.artifact).read_bytes()


def test_words_are_counted_in_lower_case_over_all_shards(tmp_path):
    content = json.loads(_artifact(tmp_path / "a", ["A red bus", "a bus, red!"], ["Red", None]))
    assert content == {"captions": 3, "words": {"a": 2, "bus": 2, "red": 3}}


def test_the_bytes_do_not_depend_on_the_order_of_shards_and_rows(tmp_path):
    forward = _artifact(tmp_path / "a", ["a red bus", "two cats"], ["café at night"])
    backward = _artifact(tmp_path / "b", ["café at night"], ["two cats", "a red bus"])
    assert forward == backward


def test_no_captions_give_an_empty_vocabulary(tmp_path):
    assert json.loads(_artifact(tmp_path / "a")) == {"captions": 0, "words": {}}


def test_no_verdicts_are_given():
    assert not CountWords().gives_verdicts


def test_a_context_without_a_folder_is_refused():
    with pytest.raises(ContractError, match="without `artifact_dir`"):
        CountWords().open(Context(stage_name="count_words"))

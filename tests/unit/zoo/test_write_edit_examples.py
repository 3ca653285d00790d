import json
from collections import Counter

from models.language.example_sets import read_examples
from zoo.world import KINDS
from zoo.world.judge import FIELDS, fault_of
from zoo.write_edit_examples import COUNT, FILE, main


def test_file_of_the_project_is_what_the_script_writes(tmp_path):
    assert main([str(tmp_path / "again.jsonl")]) == 0
    assert (tmp_path / "again.jsonl").read_bytes() == FILE.read_bytes()


def test_examples_are_consistent_edits_of_every_kind():
    edits = read_examples(FILE).edits
    assert len(edits) == COUNT
    assert set(Counter(edit.edit_type for edit in edits)) == set(KINDS)
    for line in FILE.read_text().splitlines():
        edit = json.loads(line)
        assert fault_of(edit["caption"], {name: edit[name] for name in FIELDS}) is None

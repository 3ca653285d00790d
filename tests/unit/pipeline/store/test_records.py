from pipeline.store.records import ALL_SHARDS, digest, output_digest
from pipeline.store.storage import FileEntry


def test_digest_changes_with_the_ends_of_its_parts():
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_output_digest_depends_on_names_and_contents_not_on_order():
    one, two = FileEntry(bytes=1, sha256="1"), FileEntry(bytes=1, sha256="2")
    assert output_digest({"a": one, "b": two}) == output_digest({"b": two, "a": one})
    assert output_digest({"a": one, "b": two}) != output_digest({"a": two, "b": one})


def test_no_shard_can_be_called_like_the_step_over_all_shards():
    from pipeline.plan.inputs import name_shards

    assert ALL_SHARDS not in name_shards(["/x/_all.tar", "/y/_all.tar"])

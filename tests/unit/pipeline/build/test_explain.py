from _fakes import Pack, ReadLines, Twins, Upper, id_of, plan_of, run

from pipeline.build.explain import explain
from pipeline.store.storage import Storage


def stages_of(story):
    return [(step["stage"], step["fate"]) for step in story]


def test_explain_lists_a_sample_and_its_children_stage_by_stage(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Twins(), Pack()], {"a": ["one", "two"]})
    run(plan)
    storage = Storage(plan.out)
    whole = explain(plan, storage, id_of("one"))
    assert stages_of(whole) == [
        ("readlines", "kept"),
        ("upper", "kept"),
        *[("twins", "kept")] * 2,
        *[("pack", "kept")] * 2,
    ]
    child = explain(plan, storage, f"{id_of('one')}-e2")
    assert stages_of(child) == [("readlines", "kept"), ("upper", "kept"), ("twins", "kept"), ("pack", "kept")]
    assert child[2]["row"]["instruction"] == "2 one"
    assert child[2]["row"]["parent_id"] == id_of("one")
    assert sorted(child[3]["row"]) == ["dataset_shard", "sample_id"]


def test_explain_shows_where_a_sample_was_rejected_and_why(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["one", "drop it"]})
    run(plan)
    storage = Storage(plan.out)
    story = explain(plan, storage, id_of("drop it"))
    assert stages_of(story) == [("readlines", "kept"), ("upper", "rejected")]
    assert story[1]["row"]["reject_reason"] == "dropped"
    assert explain(plan, storage, "0" * 16) == []

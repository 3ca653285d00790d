from _fakes import Best, Log, Pack, ReadLines, Upper, Words, manifest_of, plan_of, run

from pipeline.build.clean import clean
from pipeline.build.verify import verify
from pipeline.plan.plan import make_plan
from pipeline.store.storage import Storage


def test_clean_keeps_what_is_needed_and_removes_the_rest(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Best(), Pack()], {"a": ["one", "drop it"], "b": ["two", "worst"]})
    run(plan)
    storage, out = Storage(plan.out), tmp_path / "run"
    other = make_plan(manifest_of(ReadLines(), Upper(suffix="!")), plan.out, [str(tmp_path / "in")])
    run(other)
    needed = {s.folder for s in plan.stages}
    gone = clean(needed, storage, dry_run=True)
    assert [folder for folder, _ in gone] == [other.stages[1].folder]
    assert gone[0][1] > 0
    assert (out / other.stages[1].folder).exists()
    clean(needed, storage, dry_run=False)
    assert not (out / other.stages[1].folder).exists()
    log = Log()
    assert run(plan, on_event=log).ok
    assert log.of("started") == []
    assert verify(plan, storage, deep=True) == []


def test_artifact_folder_is_cleaned_with_its_stage(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words()], {"a": ["one"]})
    run(plan)
    storage = Storage(plan.out)
    clean({plan.stages[0].folder}, storage, dry_run=False)
    assert storage.folders("stages") == [plan.stages[0].folder.removeprefix("stages/")]


def test_answers_of_a_stage_go_when_no_stage_of_that_name_is_needed(tmp_path):
    storage = Storage(str(tmp_path / "run"))
    for name in ("answers/upper/a.jsonl", "answers/best/b.jsonl", "stages/upper-000000000000/records.jsonl"):
        storage.write_bytes(name, b"x")
    needed = {"stages/upper-111111111111"}
    gone = [("stages/upper-000000000000", 1), ("answers/best", 1)]
    assert clean(needed, storage, dry_run=True) == gone
    assert storage.folders("answers") == ["best", "upper"]
    assert clean(needed, storage, dry_run=False) == gone
    assert storage.folders("answers") == ["upper"]

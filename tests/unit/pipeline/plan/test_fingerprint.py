import pytest
from _fakes import Dice, NumWords, ReadLines, Upper, Words, entry, manifest_of

from core.settings import Settings
from pipeline.plan.fingerprint import canonical, fingerprint, stage_folder
from pipeline.plan.plan import plan_stages


def prints(*stages, **fields):
    return [s.fingerprint for s in plan_stages(manifest_of(*stages, **fields))]


def test_setting_changes_the_fingerprint():
    assert prints(ReadLines(), Upper())[1] != prints(ReadLines(), Upper(suffix="!"))[1]


def test_setting_spelt_out_at_its_default_is_the_same_result():
    assert prints(ReadLines(), Upper()) == prints(ReadLines(), Upper(suffix=""))


def test_run_on_does_not_change_the_fingerprint():
    fast = entry(Upper(), rows_per_batch=1, workers=7, device="cuda", dtype="bfloat16", rows_per_forward=2)
    assert prints(ReadLines(), Upper()) == prints(ReadLines(), fast)


def test_speed_settings_do_not_change_the_fingerprint():
    class Speed(Settings):
        timeout_s: float = 1.0

    class Patient(Upper):
        speed: Speed = Speed()

    patient = Patient(speed=Speed(timeout_s=9.0))
    assert prints(ReadLines(), Patient()) == prints(ReadLines(), patient)
    assert prints(ReadLines(), patient) != prints(ReadLines(), Patient(suffix="!"))


def test_version_changes_the_fingerprint(monkeypatch):
    before = prints(ReadLines(), Upper())
    monkeypatch.setattr(Upper, "version", 2)
    after = prints(ReadLines(), Upper())
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_seed_counts_only_where_a_stage_draws():
    assert prints(ReadLines(), Upper(), seed=1) == prints(ReadLines(), Upper(), seed=2)
    assert prints(ReadLines(), Dice(), seed=1)[1] != prints(ReadLines(), Dice(), seed=2)[1]


def test_change_upstream_reaches_every_stage_below():
    before = prints(ReadLines(), Upper(), Dice())
    after = prints(ReadLines(rows_per_table=2), Upper(), Dice())
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_change_of_an_artifact_reaches_the_stage_that_uses_it_and_no_other():
    before = prints(ReadLines(), Words(), NumWords())
    after = prints(ReadLines(), Words(least=2), NumWords())
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False]
    unused = prints(ReadLines(), Words(), Upper()), prints(ReadLines(), Words(least=2), Upper())
    assert unused[0][2] == unused[1][2]


def test_model_revision_changes_the_fingerprint():
    given = {"seed": 0, "upstream": "", "artifacts": []}
    first = fingerprint("upper", Upper(), revisions={"m": "1"}, **given)
    assert first != fingerprint("upper", Upper(), revisions={"m": "2"}, **given)


def test_manifest_name_and_licence_do_not_touch_stages():
    assert prints(ReadLines(), Upper()) == prints(ReadLines(), Upper(), license="mit", summary="x")


def test_canonical_form_ignores_the_order_of_keys():
    assert canonical({"b": 1, "a": [2]}) == canonical({"a": [2], "b": 1}) == '{"a":[2],"b":1}'


def test_value_that_json_cannot_hold_is_refused():
    with pytest.raises(TypeError):
        canonical({"x": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"x": float("nan")})


def test_folder_carries_name_and_twelve_digits():
    assert stage_folder("upper", "0123456789abcdef") == "stages/upper-0123456789ab"

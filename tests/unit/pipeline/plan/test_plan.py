import pickle
from typing import Annotated, ClassVar, Protocol

import fsspec
import pytest
from _fakes import (
    Join,
    NumWords,
    Pack,
    Pixels,
    ReadLines,
    Twins,
    Upper,
    Words,
    entry,
    manifest_of,
    plan_of,
    write_shards,
)

from core.errors import MissingDependencyError, PlanError
from core.missing import Missing
from models.registry import WRAPPERS
from pipeline.plan.manifest import StageEntry
from pipeline.plan.plan import make_plan, plan_stages
from pipeline.stage import MODEL_NEEDS, Needs, Serves


class MayRead(Pixels):
    """Reads what is there."""

    reads: ClassVar = ("caption",)
    reads_if_present: ClassVar = ("source_caption", "instruction", "parent_id")


def entry_named(stage, name):
    return StageEntry(name=name, stage=stage, run_on={})


def refusal(*stages, only=None, kind=PlanError, **fields):
    with pytest.raises(kind) as caught:
        plan_stages(manifest_of(*stages, **fields), only)
    return str(caught.value)


def test_column_comes_from_the_stage_that_wrote_it_last(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Twins(), Join()])
    assert plan.stages[3].providers == {"source_raw": 0, "source_caption": 1, "instruction": 2, "parent_id": 2}
    assert [s.upstream for s in plan.stages] == [-1, 0, 1, 2]


def test_rows_pass_by_a_stage_that_only_builds_an_artifact(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words(), NumWords()])
    assert plan.stages[2].upstream == 0
    assert plan.stages[2].artifacts == {"words": 1}


def test_column_that_no_stage_writes_is_refused():
    message = refusal(ReadLines(), Join())
    assert message.startswith("stage join reads column 'source_caption', which no stage before it writes")
    assert "\n" not in message


def test_column_written_only_further_down_is_refused():
    assert "reads column 'instruction'" in refusal(ReadLines(), Upper(), Join(), Twins())


class Anew(Twins):
    """Its rows are new, so that capitals of the caption say nothing of them."""

    def outdates(self, name):
        return name in ("source_caption", "instruction", "parent_id")


def test_outdated_column_is_read_by_no_later_stage(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Anew(), MayRead(), Pack()])
    assert plan.stages[3].providers == {"caption": 0, "instruction": 2, "parent_id": 2}


def test_stage_that_reads_an_outdated_column_is_refused_with_the_order():
    assert refusal(ReadLines(), Upper(), Anew(), Join()) == (
        "stage join reads column 'source_caption', which upper wrote of the rows before anew made others; place upper "
        "after anew"
    )


def test_stage_that_reads_an_outdated_column_of_the_input_is_moved_itself(monkeypatch):
    monkeypatch.setattr(Anew, "outdates", lambda _self, name: name == "source_raw")
    assert refusal(ReadLines(), Anew(), Pixels()).endswith("made others; place pixels before anew")


def test_outdated_column_that_is_written_again_is_read(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Anew(), entry_named(Upper(), "again"), MayRead(), Pack()])
    assert plan.stages[4].providers["source_caption"] == 3


def test_artifact_that_no_stage_builds_is_refused():
    expected = "stage numwords uses artifact 'words', which no stage before it builds (there are none)"
    assert refusal(ReadLines(), NumWords()) == expected


def test_chain_starts_with_a_source_and_has_no_other():
    assert refusal(Upper()) == "stage upper: a chain starts with a source stage and has no other; got upper at 1"
    assert refusal(ReadLines(), ReadLines()).endswith("got readlines at 2")


def test_no_stage_may_follow_a_sink():
    expected = "stage upper is placed after pack, which ends the chain; move it before"
    assert refusal(ReadLines(), Pack(), Upper()) == expected


def test_stage_may_be_in_the_chain_only_once():
    expected = "stage upper is twice in the chain; its columns would replace each other"
    assert refusal(ReadLines(), Upper(), Upper()) == expected


def test_only_ends_the_chain_and_offers_the_nearest_name():
    manifest = manifest_of(ReadLines(), Upper(), Pixels())
    assert [s.name for s in plan_stages(manifest, "upper")] == ["readlines", "upper"]
    expected = "--only 'uper' is not a stage of 'fake' (did you mean 'upper'?)"
    assert refusal(ReadLines(), Upper(), only="uper") == expected


class NeedsPackage(Upper):
    needs = Needs(packages=("no_such_package",), extra="gpu")


class Captioner(Protocol):
    """A protocol that the registry knows by this name."""


class NeedsModel(Upper):
    model: Annotated[str | None, Serves(Captioner)] = "hf:no-such-model"


def test_missing_package_names_the_install_line():
    message = refusal(ReadLines(), NeedsPackage(), kind=MissingDependencyError)
    assert message == "stage needspackage: the package no_such_package is not installed; run `pip install '.[gpu]'`"


def test_missing_model_names_the_stage(monkeypatch):
    lack = Missing(what="it is away", remedy="call it")
    monkeypatch.setattr("pipeline.plan.plan.model_missing", lambda model, protocol: [lack])
    message = refusal(ReadLines(), NeedsModel(), kind=MissingDependencyError)
    assert message == "stage needsmodel: it is away; call it"


def test_missing_model_of_no_single_setting_names_the_stage(monkeypatch):
    class NeedsSeveral(Upper):
        models: tuple[str, ...] = ("hf:one", "hf:two")

        def needs_models(self):
            return self.models

    monkeypatch.setattr("pipeline.plan.plan.model_missing", lambda model, protocol: [Missing(what=f"{model} is away")])
    message = refusal(ReadLines(), NeedsSeveral(), kind=MissingDependencyError)
    assert "stage needsseveral: hf:one is away" in message
    assert "stage needsseveral: hf:two is away" in message


def test_model_that_is_unset_is_not_looked_for():
    assert NeedsModel(model=None).needs_models() == ()
    assert plan_stages(manifest_of(ReadLines(), NeedsModel(model=None)))[1].models == {}


def test_model_marked_within_another_type_is_refused():
    with pytest.raises(TypeError, match=r"^Loose\.model: write Annotated\[str \| None, Serves"):

        class Loose(Upper):
            model: Annotated[str, Serves(Captioner)] | None = None


def test_model_of_a_kind_that_cannot_serve_is_refused():
    assert refusal(ReadLines(), NeedsModel(model="zoo:clip")) == (
        "stage needsmodel: model = 'zoo:clip' is of kind 'clip', which cannot serve Captioner "
        f"(served by: {', '.join(WRAPPERS['Captioner'])}); name another model"
    )


def test_stage_with_a_model_asks_for_a_part_of_a_gpu():
    assert NeedsModel.needs == MODEL_NEEDS
    assert NeedsPackage.needs.gpu == 0


def test_own_needs_of_a_stage_with_a_model_win():
    class Light(NeedsModel):
        needs = Needs()

    assert Light.needs == Needs()


def test_plan_without_shards_says_how_to_name_them(tmp_path):
    with pytest.raises(PlanError) as caught:
        make_plan(manifest_of(ReadLines()), str(tmp_path), [])
    assert str(caught.value) == "manifest 'fake' names no shards; give --shards (make: SHARDS=…)"


def test_shards_of_the_manifest_are_the_default_and_the_command_line_wins(tmp_path):
    ours = write_shards(tmp_path / "ours", {"a": []})
    given = write_shards(tmp_path / "given", {"b": []})
    manifest = manifest_of(ReadLines(), shards=ours)
    assert [s.name for s in make_plan(manifest, "run").shards] == ["a"]
    assert [s.name for s in make_plan(manifest, "run", [given]).shards] == ["b"]


def test_limit_keeps_the_first_shards_by_name(tmp_path):
    plan = plan_of(tmp_path, [ReadLines()], {"c": [], "a": [], "b": []}, limit=2)
    assert [s.name for s in plan.shards] == ["a", "b"]
    assert plan.shard("b").name == "b"


def test_plan_is_picklable(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), entry(Upper(), workers=2)])
    assert pickle.loads(pickle.dumps(plan)) == plan


@pytest.mark.parametrize("out", ["in", "in/../in", "link", "."])
def test_input_that_lies_in_the_run_folder_is_refused(tmp_path, monkeypatch, out):
    inputs = write_shards(tmp_path / "in", {"a": ["one"]})
    (tmp_path / "link").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError) as caught:
        make_plan(manifest_of(ReadLines()), out, [inputs])
    assert str(caught.value) == (
        f"shard '{inputs}/a.lines' lies in the run folder {out!r}, whose files are no input; give another --out"
    )


def test_input_reached_by_a_link_into_the_run_folder_is_refused(tmp_path):
    write_shards(tmp_path / "run/dataset", {"a": ["one"]})
    (tmp_path / "in").symlink_to(tmp_path / "run/dataset")
    with pytest.raises(PlanError, match="lies in the run folder"):
        make_plan(manifest_of(ReadLines()), str(tmp_path / "run"), [str(tmp_path / "in")])


def test_input_that_lies_in_a_run_folder_on_the_web_is_refused():
    fsspec.filesystem("memory").pipe("/plan-test/in/a.lines", b"one")
    with pytest.raises(PlanError, match="lies in the run folder 'memory://plan-test/'"):
        make_plan(manifest_of(ReadLines()), "memory://plan-test/", ["memory://plan-test/in"])


def test_run_folder_next_to_the_input_or_below_it_is_accepted(tmp_path):
    inputs = write_shards(tmp_path / "in", {"a": ["one"]})
    for out in (f"{inputs}-2", f"{inputs}/out", "memory://in"):
        assert len(make_plan(manifest_of(ReadLines()), out, [inputs]).shards) == 1


COMMIT = "a" * 40


class NeedsMany(NeedsModel):
    model: Annotated[str, Serves(Captioner)] = f"hf:owner/one@{COMMIT}"
    second: Annotated[str, Serves(Captioner)] = f"hf:owner/two@{COMMIT}"
    third: Annotated[str, Serves(Captioner)] = "hf:owner/unpinned"


def test_everything_that_is_missing_is_listed_at_once_with_one_command(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "0")
    message = refusal(ReadLines(), NeedsPackage(), NeedsMany(), kind=MissingDependencyError, path="a b.toml")
    assert "\n" not in message
    assert message.startswith(
        "4 things are missing; `pip install '.[gpu]' && editloom fetch 'a b.toml'` gets them, but for what has to be "
        "corrected: stage needspackage: the package no_such_package is not installed; "
        f"stage needsmany: model 'hf:owner/one@{COMMIT}' is not in the local cache {tmp_path}; "
        f"stage needsmany: model 'hf:owner/two@{COMMIT}' is not in the local cache {tmp_path}; "
        "stage needsmany: model 'hf:owner/unpinned' is not pinned: it can change any day; add "
    )


def test_model_that_two_stages_lack_is_named_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "0")

    class Second(NeedsMany): ...

    message = refusal(ReadLines(), NeedsMany(), Second(), kind=MissingDependencyError)
    assert message.startswith("3 things are missing; `editloom fetch MANIFEST` gets them, but for ")
    assert message.count("hf:owner/one") == 1
    assert "stages needsmany, second: model 'hf:owner/one@" in message


def test_chain_that_does_not_fit_is_refused_before_anything_is_fetched():
    assert "reads column 'instruction'" in refusal(ReadLines(), NeedsMany(), Join())


class NeedsSeveral(NeedsModel):
    model: Annotated[str | None, Serves(Captioner)] = None
    several: Annotated[tuple[str, ...], Serves(Captioner)] = (f"hf:owner/one@{COMMIT}", f"hf:owner/two@{COMMIT}")


def test_each_model_of_a_setting_with_several_is_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "0")
    assert NeedsSeveral().needs_models() == (f"hf:owner/one@{COMMIT}", f"hf:owner/two@{COMMIT}")
    message = refusal(ReadLines(), NeedsSeveral(), kind=MissingDependencyError)
    assert message.startswith("2 things are missing")
    assert "hf:owner/one" in message
    assert "hf:owner/two" in message


def test_one_of_several_models_that_cannot_serve_is_refused():
    message = refusal(ReadLines(), NeedsSeveral(several=("zoo:blip", "zoo:clip")))
    assert message.startswith(
        "stage needsseveral: several = 'zoo:clip' is of kind 'clip', which cannot serve Captioner"
    )

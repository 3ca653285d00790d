from typing import get_args

import pytest
from _fakes import Upper, entry, manifest_of
from pydantic import ValidationError

from core.errors import ManifestError
from pipeline.plan.manifest import default_out, load_manifest
from pipeline.plan.plan import plan_stages
from pipeline.plan.plugins import stage_class, stage_names

CHAIN = """
[[stage]]
use = "read_webdataset"
[[stage]]
use = "filter_caption"
max_words = 20
run_on = { rows_per_batch = 64 }
"""


def load(tmp_path, text):
    path = tmp_path / "m.toml"
    path.write_text(text, encoding="utf-8")
    return load_manifest(path)


def refusal(tmp_path, text):
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(tmp_path / "m.toml"), "m.toml")


def test_stages_come_with_their_settings_and_speed(tmp_path):
    manifest = load(tmp_path, 'name = "x"\nseed = 3\n[run_on]\nattempts = 5' + CHAIN)
    assert [e.name for e in manifest.stages] == ["read_webdataset", "filter_caption"]
    assert manifest.stages[1].stage.max_words == 20
    assert manifest.stages[1].run_on.rows_per_batch == 64
    assert manifest.seed == 3
    assert manifest.run_on.attempts == 5


def test_unknown_top_level_key_is_refused_with_the_nearest_name(tmp_path):
    expected = "m.toml: manifest: unknown key 'licence' (did you mean 'license'?)"
    assert refusal(tmp_path, 'name = "x"\nlicence = "mit"' + CHAIN) == expected


def test_unknown_stage_setting_is_refused_with_the_nearest_name(tmp_path):
    expected = "m.toml: stage 2 (filter_caption): unknown key 'max_word' (did you mean 'max_words'?)"
    assert refusal(tmp_path, 'name = "x"' + CHAIN.replace("max_words", "max_word")) == expected


def test_unknown_key_of_run_on_is_refused_with_the_nearest_name(tmp_path):
    expected = "m.toml: run_on: unknown key 'atempts' (did you mean 'attempts'?)"
    assert refusal(tmp_path, 'name = "x"\n[run_on]\natempts = 5' + CHAIN) == expected


def test_run_on_that_is_no_table_is_refused(tmp_path):
    assert refusal(tmp_path, 'name = "x"\nrun_on = 3' + CHAIN) == "m.toml: run_on: expected a table, got 3"
    chain = CHAIN.replace("{ rows_per_batch = 64 }", '"fast"')
    assert refusal(tmp_path, 'name = "x"' + chain) == (
        "m.toml: stage 2 (filter_caption).run_on: expected a table, got 'fast'"
    )


def test_unknown_key_of_a_stages_run_on_is_refused_with_the_nearest_name(tmp_path):
    expected = "m.toml: stage 2 (filter_caption).run_on: unknown key 'rows_per_bach' (did you mean 'rows_per_batch'?)"
    assert refusal(tmp_path, 'name = "x"' + CHAIN.replace("rows_per_batch", "rows_per_bach")) == expected


def test_value_out_of_range_names_stage_key_limit_and_value(tmp_path):
    expected = "m.toml: stage 2 (filter_caption): max_words: input should be greater than or equal to 1, got 0"
    assert refusal(tmp_path, 'name = "x"' + CHAIN.replace("max_words = 20", "max_words = 0")) == expected


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_number_without_an_identity_is_refused(tmp_path, value):
    chain = CHAIN.replace("filter_caption", "normalise_image").replace("max_words = 20", f"max_aspect_ratio = {value}")
    expected = f"m.toml: stage 2 (normalise_image): max_aspect_ratio: input should be a finite number, got {value}"
    assert refusal(tmp_path, 'name = "x"' + chain) == expected


def test_run_on_value_out_of_range_names_its_key(tmp_path):
    expected = "m.toml: run_on: deadline_s: input should be greater than 0, got 0"
    assert refusal(tmp_path, 'name = "x"\n[run_on]\ndeadline_s = 0' + CHAIN) == expected


def test_missing_name_is_refused(tmp_path):
    assert refusal(tmp_path, CHAIN) == "m.toml: name: this setting has no default; give it a value"


def test_manifest_without_stages_is_refused(tmp_path):
    expected = "m.toml: has no [[stage]] table; a manifest lists its stages in order"
    assert refusal(tmp_path, 'name = "x"') == expected
    assert refusal(tmp_path, 'name = "x"\n[stage]\nuse = "emit"') == expected


def test_unknown_stage_is_refused_with_the_nearest_name(tmp_path):
    expected = "m.toml: stage 2: unknown stage 'filter_captions' (did you mean 'filter_caption'?)"
    assert refusal(tmp_path, 'name = "x"' + CHAIN.replace('"filter_caption"', '"filter_captions"')) == expected


def test_stage_without_use_is_refused(tmp_path):
    expected = 'm.toml: stage 1: needs `use = "<stage>"`'
    assert refusal(tmp_path, 'name = "x"\n[[stage]]\nmax_words = 3') == expected


def test_missing_file_points_to_the_folder_of_manifests(tmp_path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path / 'none.toml'}: no such manifest; see the folder manifests/"


def test_broken_toml_says_where(tmp_path):
    message = refusal(tmp_path, "name = x\n")
    assert message.startswith("m.toml: cannot be read as TOML: ")
    assert "line 1" in message


def test_plain_form_spells_out_defaults_and_holds_every_stage():
    plain = manifest_of(entry(Upper(suffix="!"), workers=2), license="mit").plain()
    assert plain["license"] == "mit"
    assert plain["stages"] == [
        {
            "use": "upper",
            "suffix": "!",
            "run_on": {
                "rows_per_batch": 128,
                "workers": 2,
                "device": "auto",
                "dtype": "auto",
                "rows_per_forward": 16,
                "gpu": None,
            },
        },
    ]


def test_manifest_is_frozen():
    with pytest.raises(ValidationError):
        manifest_of(Upper()).seed = 1


def optional_settings():
    """(stage, setting) of every stage setting that may be None."""
    return [
        (name, setting)
        for name in stage_names()
        for setting, info in stage_class(name).model_fields.items()
        if type(None) in get_args(info.annotation)
    ]


REQUIRED = {"hf": f"hf:owner/name@{'a' * 40}"}
GO_WITH = {
    ("synthesise_pair", "image_encoder"): ['preset = "none"'],
    ("synthesise_region", "image_encoder"): ['preset = "none"'],
    ("write_edits", "examples"): ["num_instructions = 0", "num_examples = 0", "shares.add = 1.0"],
    ("write_turns", "lexicon"): [f'model = "{REQUIRED["hf"]}"', "shares.add = 1.0"],
}
"""What other settings have to be where one is none."""
NEEDED = {name: [f'image_encoder = "{REQUIRED["hf"]}"'] for name in ("synthesise_pair", "synthesise_region")} | {
    "write_turns": ['lexicon = "wordnet:3.0"']
}
"""What a stage needs to be given besides settings without a default."""


def test_there_are_optional_settings_to_look_at():
    assert ("dedup", "max_distance") in optional_settings()
    assert len(optional_settings()) >= 10


@pytest.mark.parametrize(("stage", "setting"), optional_settings())
def test_setting_that_may_be_none_can_be_written(tmp_path, stage, setting):
    needed = [name for name, info in stage_class(stage).model_fields.items() if info.is_required() and name != setting]
    lines = [f'{name} = "{REQUIRED["hf"]}"' for name in needed]
    lines += GO_WITH.get((stage, setting)) or NEEDED.get(stage, [])
    text = "\n".join(['name = "x"', "[[stage]]", f'use = "{stage}"', f'{setting} = "none"', *lines])
    assert getattr(load(tmp_path, text).stages[0].stage, setting) is None


@pytest.mark.parametrize("key", ["workers", "gpu"])
def test_speed_that_may_be_none_can_be_written(tmp_path, key):
    manifest = load(tmp_path, 'name = "x"' + CHAIN.replace("rows_per_batch = 64", f'{key} = "none"'))
    assert getattr(manifest.stages[1].run_on, key) is None


def test_setting_that_may_not_be_none_refuses_the_word(tmp_path):
    message = refusal(tmp_path, 'name = "x"' + CHAIN.replace("max_words = 20", 'max_words = "none"'))
    assert message == "m.toml: stage 2 (filter_caption): max_words: input should be a valid integer, got 'none'"


def test_none_has_the_identity_of_the_value_that_it_means(tmp_path):
    stages = 'name = "x"' + CHAIN + '[[stage]]\nuse = "index"\n'
    assert load(tmp_path, stages) == load(tmp_path, stages + 'num_probes = "none"\n')


def test_manifest_nested_too_deep_is_refused(tmp_path):
    assert "cannot be read as TOML" in refusal(tmp_path, f"x = {'[' * 100_000}")


@pytest.mark.parametrize(
    ("manifest", "folder"),
    [
        ("manifests/tiny/instructions.toml", "runs/tiny-instructions"),
        ("manifests/iedit.toml", "runs/iedit"),
        ("./manifests/tiny/../iedit.toml", "runs/iedit"),
        ("mine/v1.2.toml", "runs/mine-v1.2"),
        ("/elsewhere/deep/m.toml", "runs/elsewhere-deep-m"),
    ],
)
def test_run_folder_follows_from_the_place_of_the_manifest(tmp_path, monkeypatch, manifest, folder):
    monkeypatch.chdir(tmp_path)
    assert default_out(manifest) == folder


def test_run_folder_is_the_same_by_relative_and_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_out("../other/m.toml") == default_out(tmp_path.parent / "other/m.toml")
    assert default_out(tmp_path / "manifests/tiny/x.toml") == default_out("manifests/tiny/x.toml") == "runs/tiny-x"


EMBED = """
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
[[stage]]
use = "embed"
model = "clip"
"""


def test_model_may_have_a_name_that_stages_refer_to(tmp_path):
    named = load(tmp_path, 'name = "x"\n[models]\nclip = "zoo:clip"' + EMBED)
    spelt_out = load(tmp_path, 'name = "x"' + EMBED.replace('"clip"', '"zoo:clip"'))
    assert named.stages[2].stage.model == "zoo:clip"
    assert named.plain() == spelt_out.plain()
    assert plan_stages(named) == plan_stages(spelt_out)


def test_list_of_models_may_have_names(tmp_path):
    check = '\n[[stage]]\nuse = "check_leakage"\nlists = ["bench", "path:own.hashes.parquet"]\n'
    chain = EMBED.split('[[stage]]\nuse = "embed', maxsplit=1)[0] + check
    found = load(tmp_path, f'name = "x"\n[models]\nbench = "path:a.hashes.parquet"{chain}')
    assert found.stages[2].stage.lists == ("path:a.hashes.parquet", "path:own.hashes.parquet")
    assert "lists: 'bench' is no model id and no name in [models]" in refusal(tmp_path, 'name = "x"' + check)


def test_unknown_name_of_a_model_is_refused_with_the_nearest(tmp_path):
    assert refusal(tmp_path, 'name = "x"\n[models]\nclip2 = "zoo:clip"' + EMBED) == (
        "m.toml: stage 3 (embed): model: 'clip' is no model id and no name in [models] (did you mean 'clip2'?)"
    )
    assert refusal(tmp_path, 'name = "x"' + EMBED) == (
        "m.toml: stage 3 (embed): model: 'clip' is no model id and no name in [models] (there are none)"
    )


def test_name_of_a_model_that_no_stage_uses_is_refused(tmp_path):
    models = '[models]\nclip = "zoo:clip"\nblip = "zoo:blip"'
    assert refusal(tmp_path, f'name = "x"\n{models}' + EMBED) == (
        "m.toml: models: no stage refers to 'blip'; remove the line"
    )


@pytest.mark.parametrize(
    ("models", "reported"),
    [
        ('models = "zoo:clip"', "expected a table of names and model ids, got 'zoo:clip'"),
        ('models.clip = "clip2"', "expected name = \"scheme:…\", got clip = 'clip2'"),
        ("models.clip = 3", 'expected name = "scheme:…", got clip = 3'),
        ('models."a:b" = "zoo:clip"', "expected name = \"scheme:…\", got a:b = 'zoo:clip'"),
    ],
)
def test_table_of_models_holds_names_and_ids(tmp_path, models, reported):
    assert refusal(tmp_path, f'name = "x"\n{models}' + EMBED) == f"m.toml: models: {reported}"


def test_manifest_knows_its_file_and_the_data_card_does_not(tmp_path):
    manifest = load(tmp_path, 'name = "x"' + CHAIN)
    assert manifest.path == str(tmp_path / "m.toml")
    assert "path" not in manifest.plain()
    assert "unknown key 'path'" in refusal(tmp_path, 'name = "x"\npath = "y"' + CHAIN)


STATED = 'name = "x"\n[stated_licences]\n'
EDITS = CHAIN + '[[stage]]\nuse = "edit_caption_wordnet"\n'


def test_stated_licences_name_models_by_id_or_short_name(tmp_path):
    text = STATED + 'input = "cc-by-4.0"\nmodels = { "wordnet:3.0" = "mit" }\n' + EDITS
    assert load(tmp_path, text).stated_licences.models == {"wordnet:3.0": "mit"}
    named = 'models = { words = "mit" }\n[models]\nwords = "wordnet:3.0"' + EDITS + 'lexicon = "words"\n'
    stated = load(tmp_path, STATED + named).stated_licences
    assert (stated.input, stated.models) == (None, {"wordnet:3.0": "mit"})


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('models = { "wordnet:3.1" = "mit" }', "models: no stage uses 'wordnet:3.1' (did you mean 'wordnet:3.0'?)"),
        ('inputs = "mit"', "unknown key 'inputs' (did you mean 'input'?)"),
        ('models = { words = "mit" }', "models: 'words' is no model id and no name in [models] (there are none)"),
        ("input = 3", "input: input should be a valid string, got 3"),
    ],
)
def test_stated_licences_that_state_nothing_are_refused(tmp_path, table, expected):
    assert refusal(tmp_path, STATED + table + EDITS) == f"m.toml: stated_licences: {expected}"


@pytest.mark.parametrize("text", ["", " mit", "a" * 201, "a\\nb", "a\\u0000\\n"])
def test_text_of_a_stated_licence_is_one_line_and_bounded(tmp_path, text):
    assert refusal(tmp_path, f'{STATED}input = "{text}"{CHAIN}').startswith("m.toml: stated_licences: input: ")

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from _tiny_chain import CAPTIONS, CHAIN, write_tar
from PIL import Image

from cli.main import app

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "transformers", "diffusers", "ray", "PIL", "nltk", "scipy", "imagehash")


@pytest.fixture
def world(tmp_path):
    """(manifest, common options): a tar with two good samples and one whose caption is too short."""
    manifest = tmp_path / "tiny.toml"
    manifest.write_text(CHAIN)
    write_tar(tmp_path / "a.tar", CAPTIONS)
    return manifest, ["--shards", tmp_path / "a.tar", "--out", tmp_path / "run"]


@pytest.fixture
def built(world, editloom):
    manifest, options = world
    assert editloom("build", manifest, *options, "--executor", "inprocess")[0] == 0
    return world


def test_build_ends_with_0_and_points_to_the_dataset(world, editloom):
    manifest, options = world
    code, out, _ = editloom("build", manifest, *options, "--executor", "inprocess")
    assert code == 0
    assert f"dataset: {options[-1]}/dataset" in out


def test_second_build_says_that_nothing_is_to_do(built, editloom):
    manifest, options = built
    code, out, _ = editloom("build", manifest, *options, "--executor", "inprocess")
    assert code == 0
    assert "every step has its record already; nothing to do" in out


def test_build_that_cannot_finish_ends_with_1_and_names_the_shard(world, editloom, tmp_path):
    manifest, options = world
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 100)
    code, out, _ = editloom("build", manifest, *options, "--shards", tmp_path / "b.tar", "--executor", "inprocess")
    assert code == 1
    assert "failed: stage read_webdataset, shard b: " in out
    assert "run the same command to continue" in out


def test_json_of_a_build_is_all_there_is_on_stdout(world, editloom):
    manifest, options = world
    code, out, _ = editloom("build", manifest, *options, "--executor", "inprocess", "--json")
    summary = json.loads(out)
    assert code == 0
    assert summary["ok"] is True
    assert [s["rows_out"] for s in summary["stages"]] == [3, 3, 2, 2, 2]


def test_json_of_a_failed_build_parses_and_ends_with_1(world, editloom, tmp_path):
    manifest, options = world
    (tmp_path / "b.tar").write_bytes(b"")
    code, out, _ = editloom(
        "build", manifest, *options, "--shards", tmp_path / "b.tar", "--executor", "inprocess", "--json"
    )
    assert code == 1
    assert json.loads(out)["failures"][0]["shard"] == "b"


def test_plan_status_verify_and_explain_speak_json(built, editloom, tmp_path):
    manifest, options = built
    plan = json.loads(editloom("plan", manifest, *options, "--json")[1])
    assert [s["done"] for s in plan["stages"]] == [1, 1, 1, 1, 2]
    assert json.loads(editloom("status", manifest, *options, "--json")[1])["complete"] is True
    assert json.loads(editloom("verify", manifest, *options, "--deep", "--json")[1])["ok"] is True
    with tarfile.open(tmp_path / "run/dataset/a.tar") as tar:
        sample = tar.getnames()[0].partition(".")[0]
    story = json.loads(editloom("explain", manifest, sample, *options, "--json")[1])
    assert [step["stage"] for step in story] == [
        "read_webdataset",
        "normalise_image",
        "filter_caption",
        "dedup",
        "emit",
    ]
    removed = json.loads(editloom("clean", manifest, "--out", tmp_path / "run", "--json")[1])
    assert removed == {"removed": [], "dry_run": False}
    report = json.loads(editloom("report", manifest, *options, "--to", tmp_path / "report", "--json")[1])
    assert str(tmp_path / "report/report.html") in report["written"]


def test_plan_with_a_probe_estimates_every_stage(world, editloom):
    manifest, options = world
    plan = json.loads(editloom("plan", manifest, *options, "--probe", "2", "--json")[1])
    assert all(s["estimated_bytes"] > 0 for s in plan["stages"])


def test_unknown_manifest_key_ends_with_2(world, refused):
    manifest, options = world
    manifest.write_text(CHAIN.replace("min_side_px", "min_side"))
    message = refused("plan", manifest, *options, code=2)
    assert message == f"{manifest}: stage 2 (normalise_image): unknown key 'min_side' (did you mean 'min_side_px'?)"


def test_column_that_nobody_writes_ends_with_2(world, refused):
    manifest, options = world
    manifest.write_text(re.sub(r"\[\[stage\]\]\nuse = .normalise_image.*?(?=\[\[)", "", CHAIN, flags=re.DOTALL))
    message = refused("build", manifest, *options, code=2)
    assert message.startswith("stage dedup reads column 'source_dhash', which no stage before it writes")


def test_missing_model_ends_with_1(world, refused):
    manifest, options = world
    manifest.write_text(
        CHAIN.replace('"emit"', '"edit_caption_wordnet"\nlexicon = "wordnet:9"\n[[stage]]\nuse = "emit"')
    )
    message = refused("plan", manifest, *options, code=1)
    assert message.startswith("stage edit_caption_wordnet: no model is called 'wordnet:9'")


def test_missing_shard_ends_with_2(world, refused, tmp_path):
    manifest, _ = world
    message = refused("plan", manifest, "--shards", tmp_path / "none.tar", code=2)
    assert message == f"shard '{tmp_path}/none.tar' is not there: no such file or folder"


def test_manifest_that_is_not_there_ends_with_2(refused, tmp_path):
    message = refused("plan", tmp_path / "none.toml", code=2)
    assert message == f"{tmp_path}/none.toml: no such manifest; see the folder manifests/"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--executor", "slurm"], "'slurm'"),
        (["--limit", "0"], "Invalid value for .--limit.: "),
        (["--frobnicate"], "No such option: --frobnicate"),
    ],
)
def test_bad_option_ends_with_2(world, refused, args, expected):
    manifest, options = world
    assert re.search(expected, refused("build", manifest, *options, *args, code=2))


def test_workers_for_the_inprocess_executor_end_with_2(world, refused):
    manifest, options = world
    message = refused("build", manifest, *options, "--executor", "inprocess", "--workers", "3", code=2)
    assert message == "the inprocess executor has one worker and no address; use --executor ray"


def test_verify_of_a_damaged_run_ends_with_1_and_says_what_is_wrong(built, editloom, tmp_path):
    manifest, options = built
    (tmp_path / "run/dataset/a.tar").unlink()
    code, out, err = editloom("verify", manifest, *options)
    assert code == 1
    assert out.startswith("dataset/a.tar: None bytes, shards.json says ")
    assert err == ""


def test_explain_of_an_unknown_sample_ends_with_1(built, refused):
    manifest, options = built
    message = refused("explain", manifest, "0" * 16, *options, code=1)
    assert message == f"no stage of {options[-1]} knows sample '{'0' * 16}'"


def test_run_folder_that_is_a_file_ends_with_1(world, refused, tmp_path):
    manifest, _ = world
    (tmp_path / "file").write_text("x")
    options = ["--shards", tmp_path / "a.tar", "--out", tmp_path / "file", "--executor", "inprocess"]
    assert "file" in refused("build", manifest, *options, code=1)


def test_help_ends_with_0(editloom):
    code, out, _ = editloom("--help")
    assert code == 0
    assert "build" in out


def imported(code, *args):
    """Of the heavy packages, those loaded after `code` ran in a fresh interpreter, and its processor time."""
    tail = f"; import sys, time; print('LOADED', time.process_time(), *(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + tail, *args], capture_output=True, text=True, check=True)
    seconds, *found = done.stdout.rpartition("LOADED")[2].split()
    return found, float(seconds)


PLAN = "import cli.main as c; c.app(standalone_mode=False)"


def test_plan_starts_under_a_second_without_models_or_ray(world):
    manifest, options = world
    runs = [imported(PLAN, "plan", str(manifest), *map(str, options)) for _ in range(2)]
    assert runs[0][0] == []
    assert min(seconds for _, seconds in runs) < 1.0


def test_help_and_version_load_no_heavy_package():
    names = [command.name for command in app.registered_commands]
    calls = [["--version"], ["--help"], *([name, "--help"] for name in names)]
    code = "from cli.exits import run; from cli.main import app; "
    code += f"assert [run(app, argv) for argv in {calls}] == [0] * {len(calls)}"
    assert imported(code)[0] == []


def test_the_import_check_can_fail():
    assert imported("import PIL, scipy")[0] == ["PIL", "scipy"]


@pytest.fixture
def barren(world, tmp_path):
    """(manifest, options) of a chain whose caption filter lets nothing through."""
    manifest, options = world
    manifest.write_text(CHAIN.replace('"filter_caption"', '"filter_caption"\nmin_words = 60\nmax_words = 70'))
    return manifest, [*options, "--executor", "inprocess"]


NOTHING_LEFT = "no row reached emit: filter_caption rejected 3 of 3 rows (too_few_words 3)"


def test_build_that_rejected_every_row_says_so_last_and_ends_with_1(barren, editloom):
    manifest, options = barren
    for _ in "first", "all recorded":
        code, out, _ = editloom("build", manifest, *options)
        assert code == 1
        assert out.splitlines()[-1] == (
            f"empty dataset: {NOTHING_LEFT}; change the settings or the input, "
            "or set allow_empty = true in the manifest"
        )
        code, out, _ = editloom("build", manifest, *options, "--json")
        assert code == 1
        assert (json.loads(out)["ok"], json.loads(out)["empty"]) == (False, NOTHING_LEFT)


def test_manifest_may_allow_a_dataset_without_rows(barren, editloom):
    manifest, options = barren
    manifest.write_text("allow_empty = true\n" + manifest.read_text())
    for _ in "first", "all recorded":
        code, out, _ = editloom("build", manifest, *options)
        assert code == 0
        assert f"note: {NOTHING_LEFT}\n" in out
    assert editloom("verify", manifest, *options[:4])[0] == 0


def test_status_and_verify_say_that_no_row_is_left(barren, editloom):
    manifest, options = barren
    editloom("build", manifest, *options)
    code, out, _ = editloom("status", manifest, *options[:4])
    assert code == 0
    assert out.splitlines()[-1].startswith(f"empty dataset: {NOTHING_LEFT}")
    code, out, _ = editloom("verify", manifest, *options[:4])
    assert code == 1
    assert out.startswith(f"empty dataset: {NOTHING_LEFT}")
    assert json.loads(editloom("status", manifest, *options[:4], "--json")[1])["empty"] == NOTHING_LEFT


def test_report_of_a_dataset_without_rows_is_still_written(barren, editloom, tmp_path):
    manifest, options = barren
    editloom("build", manifest, *options)
    assert editloom("report", manifest, *options[:4], "--to", tmp_path / "report")[0] == 0


def test_chain_cut_short_is_empty_where_its_last_stage_left_nothing(barren, editloom):
    manifest, options = barren
    code, out, _ = editloom("build", manifest, *options, "--only", "filter_caption")
    assert code == 1
    assert "empty dataset: no row is left after filter_caption: " in out.splitlines()[-1]
    assert editloom("build", manifest, *options, "--only", "normalise_image")[0] == 0


def test_shard_that_lost_all_its_rows_is_a_note(world, editloom, tmp_path):
    manifest, options = world
    (tmp_path / "in").mkdir()
    write_tar(tmp_path / "in" / "b.tar", ["no", "nor"])
    write_tar(tmp_path / "in" / "a.tar", CAPTIONS)
    options = ["--shards", tmp_path / "in", "--out", tmp_path / "run", "--executor", "inprocess"]
    for _ in "first", "all recorded":
        code, out, _ = editloom("build", manifest, *options)
        assert code == 0
        assert "note: 1 of 2 shards kept no row: b\n" in out


def test_large_share_of_rejected_rows_is_in_the_last_line(world, editloom, tmp_path):
    manifest, options = world
    write_tar(tmp_path / "a.tar", [*CAPTIONS[:1], *["no"] * 19])
    code, out, _ = editloom("build", manifest, *options, "--executor", "inprocess")
    assert code == 0
    expected = "95% of the rows were rejected: filter_caption rejected 19 of 20 rows (too_few_words 19)"
    assert out.splitlines()[-1] == expected


def test_every_command_finds_what_a_build_without_out_made(world, editloom, tmp_path, monkeypatch):
    manifest, options = world
    monkeypatch.chdir(tmp_path)
    shards = options[:2]
    assert editloom("build", "tiny.toml", *shards, "--executor", "inprocess")[0] == 0
    assert (tmp_path / "runs/tiny/dataset/a.tar").exists()
    for name in ("tiny.toml", manifest):
        assert json.loads(editloom("status", name, *shards, "--json")[1])["complete"] is True
        plan = json.loads(editloom("plan", name, *shards, "--json")[1])
        assert (plan["out"], [s["done"] for s in plan["stages"]]) == ("runs/tiny", [1, 1, 1, 1, 2])
        assert editloom("verify", name, *shards)[0] == 0
        assert editloom("report", name, *shards, "--to", tmp_path / "report")[0] == 0
        assert editloom("retry", name, *shards)[2] == (
            "editloom: source read_webdataset fetches nothing, so there is nothing to try again\n"
        )
        assert editloom("clean", name, "--json")[1] == '{"removed": [], "dry_run": false}\n'
    with tarfile.open("runs/tiny/dataset/a.tar") as tar:
        assert editloom("explain", "tiny.toml", tar.getnames()[0].partition(".")[0], *shards)[0] == 0


@pytest.mark.parametrize("command", ["build", "plan", "status", "verify", "explain", "retry", "report", "clean"])
def test_without_out_a_command_takes_the_manifests_own_run_folder(editloom, world, monkeypatch, tmp_path, command):
    taken = []

    class Taken(Exception):
        """The storage was asked for."""

    def storage(url, *_given, **_more):
        taken.append(url)
        raise Taken

    (tmp_path / "manifests/deep").mkdir(parents=True)
    (tmp_path / "manifests/deep/tiny.toml").write_text(CHAIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.store.storage.Storage", storage)
    shards = [] if command == "clean" else world[1][:2]
    for manifest in ("manifests/deep/tiny.toml", tmp_path / "manifests/deep/tiny.toml"):
        with pytest.raises(Taken):
            editloom(command, manifest, *(["0" * 16] if command == "explain" else []), *shards)
    assert taken == ["runs/deep-tiny"] * 2


def test_clean_for_several_manifests_asks_for_the_run_folder(world, refused, tmp_path):
    manifest, _ = world
    (tmp_path / "other.toml").write_text(CHAIN)
    message = refused("clean", manifest, tmp_path / "other.toml", code=2)
    assert message == "clean keeps the results of 2 manifests in one run folder; say which by --out"


@pytest.mark.parametrize("given", ["", "OUT=elsewhere"])
def test_make_leaves_the_run_folder_to_the_command_unless_it_is_given(given):
    make = ["make", "-n", "build-dataset", *given.split()]
    line = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (build,) = [part for part in line.splitlines() if "editloom build" in part]
    assert ("--out 'elsewhere'" in build) is bool(given)
    assert ("--out" in build) is bool(given)


def test_protocol_without_its_package_is_named(world, refused):
    manifest, options = world
    message = refused("status", manifest, *options[:2], "--out", "gs://bucket/x", code=1)
    assert "gcsfs" in message


def test_run_folder_inside_the_input_is_never_read_as_input(world, editloom, tmp_path):
    manifest, _ = world
    (tmp_path / "in").mkdir()
    write_tar(tmp_path / "in/a.tar", CAPTIONS)
    options = ["--shards", tmp_path / "in", "--out", tmp_path / "in/out", "--executor", "inprocess"]
    assert editloom("build", manifest, *options)[0] == 0
    assert "nothing to do" in editloom("build", manifest, *options)[1]
    assert editloom("verify", manifest, *options[:4], "--deep")[0] == 0
    other = [*options[:2], "--out", tmp_path / "elsewhere", "--executor", "inprocess"]
    assert editloom("build", manifest, *other)[0] == 0
    assert [path.name for path in (tmp_path / "elsewhere/dataset").glob("*.tar")] == ["a.tar"]


def test_run_folder_inside_a_folder_of_images_is_never_read_as_input(world, editloom, tmp_path):
    manifest, _ = world
    manifest.write_text(CHAIN.replace("read_webdataset", "read_image_folder"))
    (tmp_path / "in").mkdir()
    Image.effect_noise((40, 40), 90).save(tmp_path / "in/a.png")
    (tmp_path / "in/metadata.csv").write_text("file_name,text\na.png,a red ball on a table\n")
    options = ["--shards", tmp_path / "in", "--out", tmp_path / "in/out", "--executor", "inprocess"]
    assert editloom("build", manifest, *options)[0] == 0
    assert "nothing to do" in editloom("build", manifest, *options)[1]
    assert editloom("build", manifest, "--shards", f"{tmp_path}/*n", *options[2:])[0] == 0


def test_input_and_run_folder_in_one_are_refused(world, refused, tmp_path):
    manifest, _ = world
    message = refused("build", manifest, "--shards", tmp_path, "--out", tmp_path, code=2)
    assert message == (
        f"shard '{tmp_path}/a.tar' lies in the run folder '{tmp_path}', whose files are no input; give another --out"
    )

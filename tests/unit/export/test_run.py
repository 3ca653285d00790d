"""The runner: what a second run does, what is refused, what a damaged dataset leads to, and kills at any moment."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from _datasets import write_list
from _export_datasets import key_of, mixed_dataset, row_members, sha256_of_files, write_export_dataset

from core.errors import DatasetError, ExportError, LockedError, UsageError
from core.settings import checked
from export.formats import find_format
from export.run import export_dataset
from export.shard_folder import ROWS_PER_FOLDER, ShardFolder
from export.state import exclusive
from samples.shards import read_shards

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "from cli.main import main; main()"


def run(dataset, out, to="diffsynth", *, split="train", workers=1, overwrite=False, **settings):
    made = checked(find_format(to), settings, to)
    return export_dataset(read_shards(dataset), made, out, split=split, workers=workers, overwrite=overwrite)


@pytest.fixture
def dataset(tmp_path):
    return mixed_dataset(tmp_path / "dataset")


def test_second_run_exports_nothing(dataset, tmp_path):
    first = run(dataset, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.jpg")}
    second = run(dataset, tmp_path / "out")
    assert (first.num_exported, second.num_exported) == (2, 0)
    assert (first.num_rows, first.left_out) == (second.num_rows, second.left_out)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.jpg")} == before


def test_two_processes_write_the_same_files_as_one(dataset, tmp_path):
    run(dataset, tmp_path / "one")
    result = run(dataset, tmp_path / "two", workers=2)
    assert result.num_exported == 2
    assert sha256_of_files(tmp_path / "one") == sha256_of_files(tmp_path / "two")


@pytest.mark.parametrize("to", ["huggingface", "imagefolder", "instruct-pix2pix", "musubi-tuner"])
def test_missing_files_are_written_again(to, dataset, tmp_path):
    settings = {"root": "/x"} if to == "musubi-tuner" else {}
    run(dataset, tmp_path / "out", to, **settings)
    whole = sha256_of_files(tmp_path / "out")
    for name in [name for name in whole if "00001" in name or name.endswith(".jsonl")]:
        (tmp_path / "out" / name).unlink()
    assert run(dataset, tmp_path / "out", to, **settings).num_exported >= 1
    assert sha256_of_files(tmp_path / "out") == whole


@pytest.mark.parametrize("name", ["target/00001/*.jpg", "source/00001/*.jpg", "mask/00001/*.png"])
def test_only_the_shard_whose_image_is_missing_is_written_again(name, tmp_path):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1)}, {2: row_members(2)}])
    run(dataset, tmp_path / "out", "ai-toolkit")
    (image,) = (tmp_path / "out").glob(name)
    image.unlink()
    assert run(dataset, tmp_path / "out", "ai-toolkit").num_exported == 1
    assert image.exists()


def test_shard_without_record_is_written_again(dataset, tmp_path):
    run(dataset, tmp_path / "out", "huggingface")
    whole = sha256_of_files(tmp_path / "out")
    (tmp_path / "out" / ".export" / "shards" / "00001.json").unlink()
    (tmp_path / "out" / "data" / "00001.parquet").write_bytes(b"cut")
    assert run(dataset, tmp_path / "out", "huggingface").num_exported >= 1
    assert sha256_of_files(tmp_path / "out") == whole


def test_rows_left_out_are_listed_with_their_reason(dataset, tmp_path):
    result = run(dataset, tmp_path / "out", "imagefolder")
    assert result.left_out == {"several_sources": 1, "lacks_column": 1}
    listed = [json.loads(line) for line in (tmp_path / "out" / "left_out.jsonl").read_text().splitlines()]
    assert [(one["shard"], one["sample_id"], one["reason"]) for one in listed] == [
        ("00000.tar", key_of(3), "several_sources"), ("00001.tar", key_of(6), "lacks_column"),
    ]  # fmt: skip
    assert listed[1]["detail"] == "it has no instruction"


def test_unreadable_image_is_left_out_where_it_must_be_decoded(tmp_path):
    broken = row_members(2) | {"target.png": b"no image"}
    del broken["target.jpg"]
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1), 2: broken}])
    assert run(dataset, tmp_path / "out", "instruct-pix2pix").left_out == {"unreadable_image": 1}
    assert not (tmp_path / "out" / "00000" / key_of(2)).exists()


def test_export_without_a_row_is_an_error_that_counts_reasons(tmp_path):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1, instruction=None)}])
    with pytest.raises(
        ExportError, match=r"no row of .* can be exported to diffsynth: 1 lacks_column; .*left_out\.jsonl"
    ):
        run(dataset, tmp_path / "out")


def test_other_settings_are_refused(dataset, tmp_path):
    run(dataset, tmp_path / "out")
    with pytest.raises(
        UsageError, match=r"holds an export with another settings; name another folder, or .*--overwrite"
    ):
        run(dataset, tmp_path / "out", caption="target_caption")


def test_export_with_another_licence_is_refused(dataset, tmp_path):
    run(dataset, tmp_path / "out")
    card = (dataset / "README.md").read_text()
    (dataset / "README.md").write_text(card.replace("cc-by-4.0", "cc-by-nc-4.0"))
    with pytest.raises(UsageError, match="holds an export with another licence"):
        run(dataset, tmp_path / "out")
    run(dataset, tmp_path / "out", overwrite=True)
    assert "cc-by-nc-4.0" in (tmp_path / "out" / "README.md").read_text()


def test_another_dataset_is_refused(dataset, tmp_path):
    run(dataset, tmp_path / "out")
    other = write_export_dataset(tmp_path / "other", [{9: row_members(9)}])
    with pytest.raises(UsageError, match="holds an export with another dataset"):
        run(other, tmp_path / "out")


def test_folder_with_other_files_is_refused_even_to_overwrite(dataset, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("my only copy")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="holds files that are no export"):
            run(dataset, tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "my only copy"


def test_overwrite_leaves_no_file_of_the_first_export(dataset, tmp_path):
    run(dataset, tmp_path / "out", "imagefolder")
    run(dataset, tmp_path / "out", "diffsynth", overwrite=True)
    run(dataset, tmp_path / "new", "diffsynth")
    assert sha256_of_files(tmp_path / "out") == sha256_of_files(tmp_path / "new")


def test_output_folder_in_the_dataset_is_refused(dataset):
    with pytest.raises(UsageError, match="lie in each other"):
        run(dataset, dataset / "out")
    with pytest.raises(UsageError, match="lie in each other"):
        run(dataset, dataset.parent)


@pytest.mark.parametrize("name", ["bad\udcff", "red\x1b[31m"])
def test_output_folder_that_no_file_can_name_is_refused(name, dataset, tmp_path):
    with pytest.raises(UsageError, match="has characters that files for trainers cannot hold"):
        run(dataset, tmp_path / name, "ai-toolkit")
    assert not (tmp_path / name).exists()


def test_second_export_at_the_same_time_is_refused(dataset, tmp_path):
    with exclusive(tmp_path / "out"), pytest.raises(LockedError, match="another export writes to"):
        run(dataset, tmp_path / "out")


def changed(path, content):
    """A file of the same size with other content."""
    path.write_bytes(content[: path.stat().st_size].ljust(path.stat().st_size, b"\0"))


def test_altered_tar_is_one_error_that_names_the_shard(dataset, tmp_path):
    tar = dataset / "00001.tar"
    content = tar.read_bytes()
    place = content.index(b"colour 7")
    changed(tar, content[:place] + b"colour 9" + content[place + 8 :])
    with pytest.raises(DatasetError, match=r"00001\.tar of .* has the sha256 .*…, shards\.json says .*…: it is not"):
        run(dataset, tmp_path / "out")
    assert not (tmp_path / "out" / ".export" / "shards" / "00001.json").exists()


def test_error_of_a_worker_names_the_shard(dataset, tmp_path):
    changed(dataset / "00001.tar", b"\xff" * 20_000)
    with pytest.raises(DatasetError, match=r"shard 00001\.tar of .* cannot be read"):
        run(dataset, tmp_path / "out", workers=2)


def test_dataset_on_a_remote_store_is_exported(dataset, tmp_path):
    store = fsspec.filesystem("memory")
    for path in dataset.iterdir():
        store.pipe_file(f"/bucket/dataset/{path.name}", path.read_bytes())
    remote = run("memory://bucket/dataset", tmp_path / "remote", "huggingface")
    run(dataset, tmp_path / "local", "huggingface")
    assert remote.num_rows == 7
    assert sha256_of_files(tmp_path / "remote") == sha256_of_files(tmp_path / "local")


def test_missing_tar_is_reported(dataset, tmp_path):
    (dataset / "00001.tar").unlink()
    with pytest.raises(OSError, match=r"00001\.tar"):
        run(dataset, tmp_path / "out")


def test_sample_without_json_is_reported(tmp_path):
    members = row_members(1)
    del members["json"]
    dataset = write_export_dataset(tmp_path / "dataset", [{1: members}])
    with pytest.raises(DatasetError, match=f"shard 00000.tar of .*: sample {key_of(1)} has no member json"):
        run(dataset, tmp_path / "out")


def test_wrong_number_of_samples_is_reported(dataset, tmp_path):
    write_list(dataset, {"00000.tar": 5, "00001.tar": 4})
    with pytest.raises(DatasetError, match=r"00000\.tar of .* holds 4 samples, shards\.json says 5"):
        run(dataset, tmp_path / "out")


def test_split_is_exported_alone(tmp_path):
    rows = {number: row_members(number, split="train" if number < 3 else "in_domain") for number in (1, 2, 3)}
    dataset = write_export_dataset(tmp_path / "dataset", [rows], splits=[{"train": 2, "in_domain": 1}])
    assert run(dataset, tmp_path / "train").num_rows == 2
    assert run(dataset, tmp_path / "held out", split="in_domain").num_rows == 1
    with pytest.raises(DatasetError, match="no samples of the split 'test'; there are: in_domain, train"):
        run(dataset, tmp_path / "none", split="test")


def test_value_that_does_not_fit_its_column_is_one_line(tmp_path):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1, turn="first")}])
    with pytest.raises(ExportError, match="a value does not fit its column"):
        run(dataset, tmp_path / "out", "huggingface")


def test_folder_of_a_long_shard_is_continued_by_another(tmp_path):
    folder = ShardFolder(tmp_path, "00000")
    assert folder.folder == "00000"
    folder.num_rows = ROWS_PER_FOLDER
    assert folder.folder == "00000-1"


def test_shards_of_one_name_but_for_the_ending_share_no_file(tmp_path):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1)}, {2: row_members(2)}])
    (dataset / "00000.tar").rename(dataset / "x")
    (dataset / "00001.tar").rename(dataset / "x.tar")
    write_list(dataset, {"x": 1, "x.tar": 1})
    assert run(dataset, tmp_path / "out", "huggingface").num_rows == 2
    assert len(list((tmp_path / "out" / "data").iterdir())) == 2
    assert run(dataset, tmp_path / "out", "huggingface").num_exported == 0


def test_folder_of_two_shards_is_named_once_for_the_trainer(tmp_path, monkeypatch):
    monkeypatch.setattr("export.shard_folder.ROWS_PER_FOLDER", 1)
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1), 2: row_members(2)}, {3: row_members(3)}])
    (dataset / "00001.tar").rename(dataset / "00000-1.tar")
    write_list(dataset, {"00000.tar": 2, "00000-1.tar": 1})
    run(dataset, tmp_path / "out", "musubi-tuner")
    assert (tmp_path / "out" / "dataset.toml").read_text().count("target/00000-1") == 1


def test_number_that_json_cannot_hold_does_not_stop_an_export(tmp_path):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1, turn=float("nan"))}])
    run(dataset, tmp_path / "out", "imagefolder")
    assert json.loads((tmp_path / "out" / "metadata.jsonl").read_text())["turn"] is None


def start(dataset, out):
    """The command as a user runs it, in a session of its own."""
    arguments = ["export", str(dataset), "--to", "imagefolder", "--out", str(out), "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], cwd=ROOT, env=environment)


def test_killed_export_ends_with_the_same_bytes(tmp_path):
    shards = [{number: row_members(number) for number in range(place, place + 40)} for place in range(1, 241, 40)]
    dataset = write_export_dataset(tmp_path / "dataset", shards)
    run(dataset, tmp_path / "whole", "imagefolder")
    out = tmp_path / "out"
    process = start(dataset, out)
    while len(list((out / ".export" / "shards").glob("*.json"))) < 2 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = run(dataset, out, "imagefolder")
    assert result.num_exported < 6
    assert sha256_of_files(out) == sha256_of_files(tmp_path / "whole")

import hashlib
import os
import re
import shutil
import uuid
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from core.errors import PlanError
from pipeline.plan.inputs import (
    MAX_NAME,
    expand_braces,
    expand_inputs,
    file_identity,
    identify_inputs,
    name_shards,
    shards_of_files,
)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def refusal(*args):
    with pytest.raises(PlanError) as caught:
        expand_inputs(*args)
    return str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("{a,b}.tar", ["a.tar", "b.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{008..011}", ["008", "009", "010", "011"]),
        ("{1..03}", ["01", "02", "03"]),
        ("x{a,b{1..2}}.tar", ["xa.tar", "xb1.tar", "xa.tar", "xb2.tar"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
    ],
)
def test_braces_expand_as_in_a_shell(pattern, expected):
    assert sorted(set(expand_braces(pattern))) == sorted(set(expected))


def test_backward_range_is_refused():
    with pytest.raises(PlanError) as caught:
        expand_braces("{3..1}.tar")
    assert str(caught.value) == "shards '{3..1}.tar': range {3..1} runs backwards"


def test_glob_means_the_files_it_matches(tmp_path):
    touch(tmp_path, "b.tar", "a.tar", "c.txt")
    assert expand_inputs([str(tmp_path / "*.tar")], (".tar",)) == [str(tmp_path / "a.tar"), str(tmp_path / "b.tar")]


def test_glob_that_matches_nothing_is_refused(tmp_path):
    pattern = str(tmp_path / "*.tar")
    assert refusal([pattern], (".tar",)) == f"shards {pattern!r} match no file"


def test_folder_means_its_files_of_the_right_kind(tmp_path):
    touch(tmp_path, "a.tar", "deep/b.tar", "note.md")
    assert expand_inputs([str(tmp_path)], (".tar",)) == [str(tmp_path / "a.tar"), str(tmp_path / "deep/b.tar")]


def test_folder_without_such_files_is_refused(tmp_path):
    assert refusal([str(tmp_path)], (".tar",)) == f"folder {str(tmp_path)!r} holds no .tar file"


def test_folder_means_itself_without_suffixes(tmp_path):
    assert expand_inputs([f"{tmp_path}/"], ()) == [str(tmp_path)]


def test_missing_file_is_refused_by_name(tmp_path):
    missing = str(tmp_path / "none.tar")
    assert refusal([missing], (".tar",)) == f"shard {missing!r} is not there: no such file or folder"


def test_text_file_means_its_lines_without_comments_and_blanks(tmp_path):
    touch(tmp_path, "a.tar", "b.tar", "c.tar")
    listing = tmp_path / "list.txt"
    listing.write_text(f"# ours\n{tmp_path}/c.tar\n\n  {tmp_path}/{{a,b}}.tar  \n")
    assert expand_inputs([str(listing)], (".tar",)) == [str(tmp_path / f"{n}.tar") for n in "abc"]


def test_input_named_twice_is_taken_once(tmp_path):
    touch(tmp_path, "a.tar")
    assert expand_inputs([str(tmp_path), str(tmp_path / "*.tar")], (".tar",)) == [str(tmp_path / "a.tar")]


def test_url_keeps_its_protocol_when_globbed():
    root = f"memory://{uuid.uuid4().hex}"
    for name in ("a.tar", "b.tar"):
        with fsspec.open(f"{root}/{name}", "wb") as handle:
            handle.write(b"x")
    assert expand_inputs([f"{root}/*.tar"], (".tar",)) == [f"{root}/a.tar", f"{root}/b.tar"]
    assert expand_inputs([f"{root}/a.tar"], (".tar",)) == [f"{root}/a.tar"]
    assert expand_inputs([root], (".tar",)) == [f"{root}/a.tar", f"{root}/b.tar"]


def test_shard_is_named_by_its_stem():
    named = name_shards(["/x/train-1.tar", "s3://bucket/b.tar.gz"])
    assert named == {"b": "s3://bucket/b.tar.gz", "train-1": "/x/train-1.tar"}


def test_name_that_had_to_be_changed_carries_a_hash_of_what_it_was():
    (name,) = name_shards(["/x/Train 1.tar"])
    assert name == f"train-1-{hashlib.sha256(b'Train 1').hexdigest()[:8]}"
    assert list(name_shards(["/y/Train 1.tar"])) == [name], "a folder that moves keeps the names"


def test_dots_within_a_name_are_kept_apart():
    names = list(name_shards(["/x/v1.2.tar", "/x/v1.3.tar"]))
    assert [name[:5] for name in names] == ["v1-2-", "v1-3-"]


def test_files_of_one_name_take_their_folder_and_a_hash():
    urls = ["/data/x/0.tar", "/data/y/0.tar", "/data/y/1.tar"]
    named = name_shards(urls)
    assert named["1"] == "/data/y/1.tar"
    assert sorted(name[:4] for name in named) == ["1", "x-0-", "y-0-"]


@pytest.mark.parametrize(
    "stems",
    [
        ["Train", "train", "TRAIN"],
        ["part+1", "part-1", "part 1", "part_1"],
        ["кошки", "собаки", "лошади", "世界"],
        ["caf\u00e9", "cafe\u0301"],
        ["a.rejects", "a"],
        ["-", "_", "+"],
        ["\udcff", "\udcfe"],
    ],
)
def test_distinct_inputs_get_distinct_names_whatever_their_letters(stems):
    urls = [f"/x/{stem}.tar" for stem in stems]
    together = name_shards(urls)
    assert len({name.lower() for name in together}) == len(urls)
    assert all(re.fullmatch("[a-z0-9_-]+", name) for name in together)
    assert name_shards(urls[::-1]) == together
    for url in urls:
        assert name_shards([url]).items() <= together.items(), "what else there is changes no name"


def test_name_that_equals_another_name_with_a_hash_stays_distinct():
    (made,) = name_shards(["/x/Train.tar"])
    assert len(name_shards(["/x/Train.tar", f"/x/{made}.tar", f"/y/{made}.tar"])) == 3


def test_folders_that_differ_behind_a_dot_get_different_names():
    assert len(name_shards(["/x/v1.0", "/x/v1.1"])) == 2
    assert name_shards(["/x/v1.0"]).items() <= name_shards(["/x/v1.0", "/x/v1.1"]).items()


def test_very_long_names_are_cut_and_stay_apart():
    urls = [f"/x/{'n' * 200}{end}.tar" for end in "ab"]
    names = list(name_shards(urls))
    assert len(set(names)) == 2
    assert all(len(name) <= MAX_NAME for name in names)


def test_name_of_odd_characters_only_is_still_a_name():
    (name,) = name_shards(["/x/世界.tar"])
    assert name.startswith("shard-")


def test_identity_changes_with_content_time_and_place(tmp_path):
    touch(tmp_path, "x/a.tar", "y/a.tar")
    for folder in "xy":
        os.utime(tmp_path / folder / "a.tar", (5, 5))
    first, size = file_identity(str(tmp_path / "x/a.tar"))
    assert size == len("x/a.tar")
    assert file_identity(str(tmp_path / "x/a.tar"))[0] == first
    assert file_identity(str(tmp_path / "y/a.tar"))[0] != first, "another file of the same size and time"
    os.utime(tmp_path / "x/a.tar", (6, 6))
    assert file_identity(str(tmp_path / "x/a.tar"))[0] != first


def test_identity_of_a_missing_file_is_refused(tmp_path):
    with pytest.raises(PlanError, match="cannot be looked at"):
        file_identity(str(tmp_path / "none.tar"))


def test_each_file_is_a_shard_with_its_size(tmp_path):
    touch(tmp_path, "a.tar", "b.tar")
    shards = shards_of_files([str(tmp_path / "b.tar"), str(tmp_path / "a.tar")], (".tar",))
    assert [(s.name, s.num_bytes) for s in shards] == [("a", 5), ("b", 5)]


def test_list_that_names_a_list_is_refused(tmp_path):
    listed = tmp_path / "shards.txt"
    listed.write_text(str(listed))
    with pytest.raises(PlanError, match="names another list"):
        expand_inputs([str(listed)], (".tar",))


def test_list_that_is_no_text_is_refused(tmp_path):
    listed = tmp_path / "shards.txt"
    listed.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(PlanError, match="is not UTF-8 text"):
        expand_inputs([str(listed)], (".tar",))


def test_existing_file_is_no_glob_whatever_its_name(tmp_path):
    odd = tmp_path / "d[1].tar"
    odd.touch()
    assert expand_inputs([str(odd)], (".tar",)) == [str(odd)]


def test_relative_path_becomes_absolute_for_workers_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "a.tar").touch()
    monkeypatch.chdir(tmp_path)
    assert expand_inputs(["a.tar"], (".tar",)) == [str(tmp_path / "a.tar")]


def test_existing_file_is_no_brace_list_whatever_its_name(tmp_path):
    touch(tmp_path, "{a,b}.tar", "a.tar")
    assert expand_inputs([str(tmp_path / "{a,b}.tar")], (".tar",)) == [str(tmp_path / "{a,b}.tar")]


def test_braces_without_comma_or_range_are_literal_as_in_a_shell(tmp_path):
    touch(tmp_path, "{odd}/0.tar", "{odd}/1.tar")
    expected = [str(tmp_path / "{odd}" / f"{n}.tar") for n in (0, 1)]
    assert expand_inputs([f"{tmp_path}/{{odd}}/{{0..1}}.tar"], (".tar",)) == expected
    assert expand_inputs([f"{tmp_path}/{{odd}}/*.tar"], (".tar",)) == expected


@pytest.mark.parametrize("name", ["{x,y}", "{0..3}", "d[1]", "a*b", "w?", "back\\slash"])
def test_backslash_makes_any_sign_of_a_pattern_literal(tmp_path, name):
    touch(tmp_path, f"{name}/0.tar", f"{name}/1.tar", "d1/0.tar", "aXb/0.tar", "wh/0.tar", "x/0.tar")
    escaped = re.sub(r"([{},*?\[\]\\])", r"\\\1", name)
    expected = [str(tmp_path / name / f"{n}.tar") for n in (0, 1)]
    assert expand_inputs([f"{tmp_path}/{escaped}/{{0..1}}.tar"], (".tar",)) == expected
    assert expand_inputs([f"{tmp_path}/{escaped}/*.tar"], (".tar",)) == expected
    assert expand_inputs([f"{tmp_path}/{escaped}/0.tar"], (".tar",)) == expected[:1]


def run_folder(folder):
    touch(folder, "run/plan.json", "stages/emit-1/a.tar", "dataset/a.tar", "dataset/samples.parquet")
    return folder


def test_folder_does_not_include_run_folders_below_it(tmp_path):
    touch(tmp_path, "a.tar", "deep/b.tar")
    run_folder(tmp_path / "out")
    run_folder(tmp_path / "deep/runs/other")
    expected = [str(tmp_path / "a.tar"), str(tmp_path / "deep/b.tar")]
    assert expand_inputs([str(tmp_path)], (".tar",)) == expected
    assert expand_inputs([f"{tmp_path}/**/*.tar"], (".tar",)) == expected


def test_remote_folder_does_not_include_run_folders_below_it():
    root = f"memory://{uuid.uuid4().hex}"
    for name in ("a.tar", "out/run/plan.json", "out/stages/emit-1/a.tar", "out/dataset/a.tar"):
        with fsspec.open(f"{root}/{name}", "wb") as handle:
            handle.write(b"x")
    assert expand_inputs([root], (".tar",)) == [f"{root}/a.tar"]
    assert expand_inputs([f"{root}/**/*.tar"], (".tar",)) == [f"{root}/a.tar"]


@pytest.mark.parametrize("removed", ["stages", "dataset"])
def test_run_folder_is_recognised_by_one_folder_of_results(tmp_path, removed):
    shutil.rmtree(run_folder(tmp_path / "out") / removed)
    touch(tmp_path, "a.tar")
    for pattern in ("", "/**/*.tar"):
        assert expand_inputs([f"{tmp_path}{pattern}"], (".tar",)) == [str(tmp_path / "a.tar")]


def test_tables_of_a_dataset_are_not_the_input_of_another_build(tmp_path):
    touch(tmp_path, "part.parquet")
    run_folder(tmp_path / "out")
    assert expand_inputs([str(tmp_path)], (".parquet",)) == [str(tmp_path / "part.parquet")]


def test_dataset_of_another_build_is_read_when_it_is_named(tmp_path):
    run_folder(tmp_path / "out")
    expected = [str(tmp_path / "out/dataset/a.tar")]
    for named in ("out/dataset", "out/dataset/a.tar", "out/dataset/*.tar", "*/dataset/*.tar"):
        assert expand_inputs([str(tmp_path / named)], (".tar",)) == expected


def test_run_folder_named_as_input_is_refused(tmp_path):
    out = str(run_folder(tmp_path / "out"))
    message = f"folder {out!r} is the run folder of a build; name its dataset/ folder, or the input of that build"
    assert refusal([out], (".tar",)) == message


def test_folder_with_run_folders_only_is_refused(tmp_path):
    run_folder(tmp_path / "out")
    assert refusal([str(tmp_path)], (".tar",)) == f"folder {str(tmp_path)!r} holds no .tar file (run folders aside)"


def test_glob_over_folders_leaves_run_folders_out(tmp_path):
    touch(tmp_path, "one/metadata.csv")
    run_folder(tmp_path / "out")
    assert expand_inputs([f"{tmp_path}/*"], ()) == [str(tmp_path / "one")]


class Counted(MemoryFileSystem):
    """A memory file system of its own that counts what it is asked."""

    protocol = "counted"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    asked: ClassVar = []

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("counted:/"))

    def info(self, path, **options):
        self.asked.append(path)
        return super().info(path, **options)

    def exists(self, path, **options):
        self.asked.append(path)
        return super().exists(path, **options)


@pytest.fixture
def counted():
    fsspec.register_implementation("counted", Counted, clobber=True)
    Counted.store.clear()
    return Counted()


@pytest.mark.parametrize("inputs", ["counted://in", "counted://in/*.tar", "counted://in/{000..199}.tar"])
def test_identities_come_from_one_listing(counted, inputs):
    for number in range(200):
        counted.pipe_file(f"/in/{number:03d}.tar", b"x" * number)
    Counted.asked.clear()
    found = identify_inputs([inputs], (".tar",))
    assert len(found) == 200
    assert len(Counted.asked) < 10
    assert found["counted://in/007.tar"] == file_identity("counted://in/007.tar")


def test_many_names_of_a_folder_that_cannot_be_listed_are_asked_for(counted, monkeypatch):
    for number in range(20):
        counted.pipe_file(f"/in/{number:03d}.tar", b"x")
    monkeypatch.setattr(Counted, "ls", _cannot_list)
    assert len(identify_inputs(["counted://in/{000..019}.tar"], (".tar",))) == 20
    with pytest.raises(PlanError, match=r"shard 'counted://in/020\.tar' is not there"):
        identify_inputs(["counted://in/{000..020}.tar"], (".tar",))


def _cannot_list(self, path, detail=True, **options):
    raise NotImplementedError


def test_identity_is_that_of_the_file_behind_a_link_however_it_is_named(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "in").mkdir()
    for number in range(9):
        (tmp_path / f"real/{number}.tar").write_bytes(b"one")
        (tmp_path / f"in/{number}.tar").symlink_to(tmp_path / f"real/{number}.tar")
    paths = [str(tmp_path / f"in/{number}.tar") for number in range(9)]

    def identities():
        ways = [[str(tmp_path / "in")], [str(tmp_path / "in/*.tar")], [str(tmp_path / "in/{0..8}.tar")], paths[:1]]
        return [identify_inputs(way, (".tar",))[paths[0]] for way in ways]

    before = identities()
    assert len(set(before)) == 1
    (tmp_path / "real/0.tar").write_bytes(b"two")
    os.utime(tmp_path / "real/0.tar", (1, 1))
    after = identities()
    assert len(set(after)) == 1
    assert after[0] != before[0]


@pytest.mark.parametrize("given", ["in", "in/*.tar"])
def test_link_to_nothing_is_refused(tmp_path, given):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.tar").symlink_to(tmp_path / "gone.tar")
    with pytest.raises(PlanError, match=r"shard '.*in/a\.tar' cannot be looked at"):
        identify_inputs([str(tmp_path / given)], (".tar",))

"""`editloom licence` on datasets that a small chain builds from tars whose samples state licences."""

import io
import json
import tarfile

import pyarrow.parquet as pq
import pytest
from _tiny_chain import CHAIN
from PIL import Image

HOSTILE = "<script>alert(1)</script>\n\x1b[31m|`" + "x" * 1_000_000
MIXED = ["CC BY 4.0", "https://creativecommons.org/licenses/by-nc/2.0/", None, "All Rights Reserved", "CC BY 4.0"]


def write_tar(path, licences):
    with tarfile.open(path, "w") as tar:
        for number, licence in enumerate(licences):
            buffer = io.BytesIO()
            Image.effect_noise((40, 40), 90 + number).save(buffer, "PNG")
            about = {} if licence is None else {"license": licence}
            members = {"png": buffer.getvalue(), "txt": b"a dog runs on grass", "json": json.dumps(about).encode()}
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{number:04d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def build(editloom, tmp_path):
    """Builds a dataset of samples with these licences; `head` goes before the chain. Gives options and dataset."""

    def make(licences, head=""):
        if not (tmp_path / "a.tar").exists():  # a second build is of the same input
            write_tar(tmp_path / "a.tar", licences)
        manifest = tmp_path / "tiny.toml"
        manifest.write_text(CHAIN.replace('name = "tiny"\n', f'name = "tiny"\n{head}\n'))
        options = [manifest, "--shards", tmp_path / "a.tar", "--out", tmp_path / "run"]
        code, out, _ = editloom("build", *options, "--executor", "inprocess", "--json")
        assert code == 0
        return options, tmp_path / "run" / "dataset", json.loads(out)

    return make


def test_mixed_input_gives_the_strictest_verdict_and_names_unknowns(build, editloom):
    _, dataset, _ = build(MIXED, 'license = "mit"')
    code, out, _ = editloom("licence", dataset, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["verdict"], found["known"]) == ("unknown", "non-commercial")
    assert {part["licence"]: part["what"] for part in found["parts"]} == {
        "CC BY 4.0": "2 source images", MIXED[1]: "1 source image", None: "1 source image",
        "All Rights Reserved": "1 source image",
    }  # fmt: skip
    assert sorted(found["unknown"]) == ["1 source image: All Rights Reserved", "1 source image: not stated"]
    assert [text.partition(" asks: ")[0] for text in found["warnings"]][:1] == [
        "the manifest says 'mit', but cc-by-4.0 (2 source images)"
    ]


def test_licence_of_each_sample_is_in_the_table(build):
    _, dataset, _ = build(MIXED)
    table = pq.read_table(dataset / "samples.parquet")
    assert sorted(map(str, table["source_licence"].to_pylist())) == sorted(map(str, MIXED))


def test_allowed_classes_decide_the_exit_code(build, editloom):
    _, dataset, _ = build(["CC BY 4.0", "mit", "cc0-1.0"])
    assert editloom("licence", dataset)[0] == 0
    assert editloom("licence", dataset, "--allow", "permissive, attribution")[0] == 0
    code, out, _ = editloom("licence", dataset, "--allow", "permissive")
    assert code == 1
    assert out.endswith("not allowed: attribution; allowed: permissive\n")


@pytest.mark.parametrize(
    ("allow", "expected"),
    [
        ("permisive", "--allow 'permisive' is no class of licences (did you mean 'permissive'?)"),
        (
            ",",
            (
                "--allow ',' names no class; expected some of public-domain, permissive, attribution, share-alike, "
                "use-restricted, non-commercial, no-derivatives, unknown"
            ),
        ),
    ],
)
def test_a_class_that_does_not_exist_is_wrong_usage(tmp_path, refused, allow, expected):
    assert refused("licence", tmp_path, "--allow", allow, code=2) == expected


def test_a_folder_that_is_no_dataset_is_refused(tmp_path, refused):
    message = refused("licence", tmp_path, code=2)
    assert message.startswith(f"{tmp_path} holds no licences.json; name the dataset folder of a finished build")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"dataset": 3}', b"\xff" * 9, b"[" * 10**5])
def test_a_damaged_list_of_licences_ends_with_1(tmp_path, refused, content):
    (tmp_path / "licences.json").write_bytes(content)
    assert "licences.json is not as it was written" in refused("licence", tmp_path, code=1)


def test_a_giant_list_of_licences_is_not_read(tmp_path, refused):
    with (tmp_path / "licences.json").open("wb") as file:
        file.truncate((16 << 20) + 1)
    assert "has more than 16,777,216 bytes" in refused("licence", tmp_path, code=1)


def test_hostile_licences_reach_no_page_as_markup(build, editloom):
    _, dataset, _ = build([HOSTILE] * 2)
    text = editloom("licence", dataset)[1]
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 400
    page, card = (dataset / "report.html").read_text(), (dataset / "README.md").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; ?[31m|`" in page
    assert "<script>alert" not in card.partition("## Licence and provenance")[2]
    assert "x" * 200 not in card


def test_pages_show_the_verdict_the_counts_and_contradictions(build):
    _, dataset, _ = build(["cc-by-sa-4.0", "mit", "mit"], 'license = "mit"')
    card = (dataset / "README.md").read_text().partition("## Licence and provenance")[2]
    assert "**Warning:** the manifest says 'mit', but cc-by-sa-4.0 \\(1 source image\\) asks" in card
    assert "- verdict\\: share-alike\\: cc-by-sa-4.0 \\(1 source image\\)" in card
    assert "| source | mit | 2 | sample |" in card
    assert 'license: "mit"' in (dataset / "README.md").read_text().partition("\n---\n")[0]
    page = (dataset / "report.html").read_text()
    assert "verdict: share-alike: cc-by-sa-4.0 (1 source image)" in page
    assert "Warning: <bdi>the manifest says" in page


def test_stating_a_licence_runs_the_last_step_of_the_sink_alone(build, editloom):
    _, dataset, _ = build([None, "mit"])
    assert json.loads(editloom("licence", dataset, "--json")[1])["verdict"] == "unknown"
    _, dataset, summary = build([None, "mit"], '[stated_licences]\ninput = "cc-by-4.0"')
    done = {stage["stage"]: stage["total"] - stage["cached"] for stage in summary["stages"]}
    assert done == {"read_webdataset": 0, "normalise_image": 0, "filter_caption": 0, "dedup": 0, "emit": 1}
    found = json.loads(editloom("licence", dataset, "--json")[1])
    assert (found["verdict"], found["unknown"]) == ("attribution", [])


def test_verify_finds_a_changed_list_of_licences(build, editloom):
    options, dataset, _ = build(["mit"])
    assert editloom("verify", *options, "--deep")[0] == 0
    path = dataset / "licences.json"
    path.write_text(path.read_text().replace('"mit"', '"cc0"', 1))
    code, out, _ = editloom("verify", *options, "--deep")
    assert code == 1
    assert "dataset/licences.json is not what was written (sha256 differs)" in out
    path.unlink()
    assert editloom("verify", *options)[0] == 1


def test_names_in_a_list_of_somebody_else_cannot_control_the_terminal(build, editloom):
    _, dataset, _ = build(["mit"])
    path = dataset / "licences.json"
    found = json.loads(path.read_text())
    model = {"model": HOSTILE, "revision": None, "role": "makes", "licence": "mit", "stated_by": "model",
             "card_licence": HOSTILE, "stages": ["x"]}  # fmt: skip
    path.write_text(json.dumps({**found, "dataset": HOSTILE, "models": [model]}))
    code, text, _ = editloom("licence", dataset)
    assert (code, "\x1b" in text) == (0, False)
    assert "makes: <script>alert(1)</script> ?[31m|`" in text

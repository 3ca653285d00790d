import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.errors import ContractError
from samples.columns import COLUMNS, arrow_schema
from stages.report.dataset_card import (
    TASKS,
    Card,
    markdown_code,
    markdown_text,
    render_card,
    size_category,
    yaml_string,
)
from stages.report.html import StageCount

yaml = pytest.importorskip("yaml")
hub = pytest.importorskip("huggingface_hub")

HOSTILE = [
    "a: b\n---\n# c",
    "'\"\\ {x} [y] *z* & !!python/object",
    "</script> <b>|pipe|</b>\r\nnext `tick` ```\n```",
    "\x00 \u0085 \u2028 \u2029 \ufeff \x7f \ud800 \U0001f600 \u202e é",
    "[link](javascript:alert(1)) https://example.org www.example.org a@example.org",
    "- 1. item",
    "",
]
COLUMN_NAMES = tuple(name for name, column in COLUMNS.items() if not column.bulk)


def card(text="plain", **changes):
    made = Card(
        name=text,
        summary=text,
        license="cc-by-4.0",
        num_samples=12345,
        num_shards=3,
        members=("source.jpg", "json"),
        columns=COLUMN_NAMES,
        stages=[
            StageCount(
                name=text,
                fingerprint="ab" * 32,
                rows_in=0,
                rows_out=9,
                rejects={text: 1},
                models={text: text},
                licences={text: text},
            ),
            StageCount(name="emit", fingerprint="cd" * 32, rows_in=9, rows_out=9),
        ],
        manifest={"name": text, text: [1]},
        provenance=text,
        tags=[text],
    )
    return dataclasses.replace(made, **changes)


def front_matter(readme):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)[1])


def lines_outside_code(readme):
    body = re.sub(r"^---\n.*?\n---\n", "", readme, count=1, flags=re.DOTALL)
    return re.sub(r"^(`{3,})\w*\n.*?^\1$", "", body, flags=re.DOTALL | re.MULTILINE).splitlines()


def test_front_matter_states_what_the_hub_asks_for():
    data = front_matter(render_card(card()))
    assert data["license"] == "cc-by-4.0"
    assert data["language"] == ["en"]
    assert data["task_categories"] == list(TASKS)
    assert data["size_categories"] == ["10K<n<100K"]
    assert data["pretty_name"] == "plain"
    assert data["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "*.tar"}]}]
    assert data["tags"][-1] == "plain"


def test_huggingface_hub_loads_the_card():
    loaded = hub.DatasetCard(render_card(card(HOSTILE[0])))
    assert loaded.data.license == "cc-by-4.0"
    assert loaded.data.pretty_name == "a: b --- # c"
    assert loaded.data.size_categories == ["10K<n<100K"]
    assert "How to load it" in loaded.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_leaves_the_front_matter_as_it_is(text):
    plain, hostile = front_matter(render_card(card())), front_matter(render_card(card(text)))
    assert hostile.keys() == plain.keys()
    for key in plain.keys() - {"pretty_name", "tags"}:
        assert hostile[key] == plain[key]
    assert " ".join(hostile["pretty_name"].split()) == hostile["pretty_name"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_line_table_cell_or_html(text):
    def shape(readme):
        lines = lines_outside_code(readme)
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")]
        return [line for line in lines if line.startswith("#")][1:], cells

    readme = render_card(card(text, summary="x" + text, provenance="x" + text))
    assert shape(readme) == shape(render_card(card()))
    without_code = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", "\n".join(lines_outside_code(readme)))
    assert not re.search("<(?!sample_id)", without_code)


def test_hostile_manifest_stays_in_its_block():
    manifest = {"a": "```\n# escaped?\n````"}
    readme = render_card(card(manifest=manifest))
    block = re.search(r"^(`{3,})json\n(.*?)\n\1$", readme, re.DOTALL | re.MULTILINE)
    assert json.loads(block[2]) == manifest


@pytest.mark.parametrize("text", HOSTILE)
def test_yaml_strings_read_back_as_one_line(text):
    wanted = re.sub("[\x00\x7f\ud800]", "\ufffd", " ".join(text.replace("\x85", "\ufffd").split()))
    assert yaml.safe_load(yaml_string(text)) == wanted


def test_markdown_text_is_escaped():
    assert markdown_text("a|b <i> & *c*\nd") == r"a\|b &lt;i&gt; &amp; \*c\* d"
    assert markdown_text("https://example.org") == r"https\://example.org"
    assert markdown_text("www.example.org") == r"www\.example.org"
    assert markdown_text("1. a") == r"1\. a"
    assert markdown_text("- a") == r"\- a"
    assert markdown_text("+ a") == r"\+ a"


def test_markdown_code_outlasts_its_backticks():
    assert markdown_code("a|b") == r"`a\|b`"
    assert markdown_code("a ``b``") == "``` a ``b`` ```"
    assert markdown_code("") == "` `"


@pytest.mark.parametrize(
    ("num", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (999_999, "100K<n<1M"), (10**9, "1B<n<10B"), (10**12, "n>1T")],
)
def test_size_category_of_a_count(num, category):
    assert size_category(num) == category


def test_licence_that_the_hub_does_not_know_is_named_after_other():
    readme = render_card(card(license="Research Only, v2"))
    data = front_matter(readme)
    assert (data["license"], data["license_name"]) == ("other", "research-only-v2")
    assert "Licence of this dataset: Research Only, v2." in readme


def test_language_that_is_no_code_is_refused():
    with pytest.raises(ValueError, match="language 'English' is no ISO 639 code"):
        render_card(card(languages=("English",)))


def test_undeclared_column_is_refused():
    with pytest.raises(ContractError, match="column 'captoin' is not declared"):
        render_card(card(columns=("captoin",)))


def test_every_column_is_explained():
    readme = render_card(card())
    for name in COLUMN_NAMES:
        assert f"| `{name}` | `{COLUMNS[name].type}` |" in readme


def test_card_of_edits_without_target_says_so_and_loads_their_texts():
    texts = ("instruction", "target_caption")
    readme = render_card(card(columns=("sample_id", *texts)))
    assert "There is no target image." in readme
    assert "columns of its JSON: `instruction`, `target_caption`." in readme
    assert readme.count('edit = {name: record.get(name) for name in ["instruction", "target_caption"]}') == 2


@pytest.mark.parametrize(
    "changes", [{"members": ("source.jpg", "target.png", "json")}, {"columns": ("sample_id", "caption")}]
)
def test_card_with_targets_or_without_edits_does_not_speak_of_targets(changes):
    readme = render_card(card(**changes))
    assert "no target image" not in readme
    assert "edit = {" not in readme


def test_models_are_listed_with_their_revision_and_licence():
    stages = [
        StageCount(
            name="caption", fingerprint="a", rows_in=1, rows_out=1, models={"hf:a/b": "abc", "zoo:c": ""},
            licences={"hf:a/b": "bsd-3-clause"},
        )
    ]  # fmt: skip
    readme = render_card(card(stages=stages))
    assert "| `hf:a/b` | `abc` | bsd-3-clause | `caption` |" in readme
    assert "| `zoo:c` | `not pinned` | not stated | `caption` |" in readme
    assert "No stage used a model." in render_card(card(stages=[]))


def test_the_card_says_on_which_machines_the_tars_are_the_same():
    by_models, by_none = render_card(card()), render_card(card(stages=[]))
    assert "same tars on machines of one kind" in by_models
    assert "same tars on any CPU." in by_none


def test_same_card_gives_the_same_text():
    assert render_card(card(HOSTILE[2])) == render_card(card(HOSTILE[2]))


def make_dataset(folder):
    """A dataset of eight edits without target whose `turn` is null in the first six, and a hash over 2^63 in each."""
    folder.mkdir()
    rows = [
        {
            "sample_id": f"{i:016x}-e1",
            "caption": f"caption {i}",
            "instruction": f"edit {i}",
            "turn": i if i > 5 else None,
            "source_dhash": 2**63 + i,
        }
        for i in range(8)
    ]
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for row in rows:
            image = io.BytesIO()
            Image.new("RGB", (8, 8)).save(image, "JPEG")
            record = {k: v for k, v in row.items() if k != "source_dhash"}
            for suffix, data in (("source.jpg", image.getvalue()), ("json", json.dumps(record).encode())):
                member = tarfile.TarInfo(f"{row['sample_id']}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    table = pa.Table.from_pylist(rows, arrow_schema(tuple(rows[0])))
    for name in ("samples", "rejects"):
        pq.write_table(table, folder / f"{name}.parquet")
    made = card(columns=tuple(rows[0]), num_samples=len(rows))
    (folder / "README.md").write_text(render_card(made), encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "check"),
    [
        (0, "assert (image.size, edit) == ((8, 8), {'instruction': 'edit 7'})"),
        (1, "assert (edit, record['turn'], 'source_dhash' in record) == ({'instruction': 'edit 7'}, 7, False)"),
        (2, "assert (samples[7]['caption'], samples[7]['source_dhash']) == ('caption 7', 2**63 + 7)"),
    ],
    ids=["webdataset", "datasets", "parquet"],
)
def test_code_of_the_card_loads_the_dataset(tmp_path, place, check):
    pytest.importorskip("datasets")
    pytest.importorskip("webdataset")
    folder = tmp_path / "made"
    make_dataset(folder)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[place]
    assert "path/to/dataset" in code
    env = os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    code = code.replace("path/to/dataset", str(folder)) + check
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Pairs by an editor behind a server on this machine: both interfaces, prices, refusals, and nothing asked twice."""

import base64
import io
import json
import os
import tarfile

import pyarrow.parquet as pq
import pytest
from _builds import build
from _openai_server import chat_server, completion, image_server
from PIL import Image, ImageOps

from zoo.write_published import main

COUNT = 6
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
USAGE = {"input_tokens": 100, "output_tokens": 2000}
CHAIN = """
name = "endpoint"
[[stage]]
use = "read_edit_triples"
rows_per_shard = 3
[[stage]]
use = "normalise_image"
shorter_side_px = 64
min_side_px = 32
format = "png"
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "synthesise_edit"
model = "{model}"
editor = {{ ask = "{ask}", server = "vllm-omni", num_steps = 4 }}
run_on = {{ rows_per_forward = 2 }}
[[stage]]
use = "price_edit"
usd_per_million_input_tokens = 5.0
usd_per_million_output_tokens = 40.0
[[stage]]
use = "emit"
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edits") / "in"
    assert main([str(folder), "--layout", "ultraedit", "--count", str(COUNT), "--seed", "4"]) == 0
    return folder


def inverted(stored):
    """A PNG with the colours turned round, in base64."""
    buffer = io.BytesIO()
    ImageOps.invert(Image.open(io.BytesIO(stored)).convert("RGB")).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


class Images:
    """Answers forms. The prompt of the first one is refused."""

    def __init__(self):
        self.refused = None

    def __call__(self, form):
        self.refused = self.refused or form["prompt"]
        if form["prompt"] == self.refused:
            return 400, {"error": {"code": "moderation_blocked"}}
        return 200, {"data": [{"b64_json": inverted(form["image"])}], "usage": USAGE}


def in_chat(request):
    """Answers a chat with an image in the message, as vLLM-Omni does."""
    url = next(part["image_url"]["url"] for part in request["messages"][0]["content"] if part["type"] == "image_url")
    image = inverted(base64.b64decode(url.partition(",")[2]))
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    return 200, {**completion([part]), "usage": {"prompt_tokens": 100, "completion_tokens": 2000}}


def built(tmp_path, table, model, ask):
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN.format(model=model, ask=ask))
    code, summary, printed = build(
        tmp_path / "out", "--executor", "inprocess", shards=table, manifest=path, env=ENVIRONMENT
    )
    assert code == 0, printed[-2000:]
    return summary, pq.read_table(tmp_path / "out/dataset/samples.parquet").to_pylist()


def test_server_of_images_makes_pairs_with_prices(tmp_path, table):
    with image_server(Images()) as server:
        summary, rows = built(tmp_path, table, server.model_id, "images")
        asked = len(server.asked)
        again, _ = built(tmp_path, table, server.model_id, "images")
        assert len(server.asked) == asked == COUNT, "a second build asks nothing"
    assert again["nothing_to_do"]
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    refused = stages["synthesise_edit"]["rejects"]["refused"]
    assert refused >= 1
    assert len(rows) == COUNT - refused > 0
    for row in rows:
        assert row["edit_cost_usd"] == pytest.approx((100 * 5.0 + 2000 * 40.0) / 1e6)
        assert row["edit_model"].startswith("openai:tiny@")
    seeds = {form["seed"] for _, _, form in server.asked}
    assert {str(row["synthesis_seed"]).encode() for row in rows} <= seeds


def test_chat_makes_pairs_whose_target_is_the_answer(tmp_path, table):
    with chat_server(in_chat) as server:
        _, rows = built(tmp_path, table, server.model_id, "chat")
        sent = [request["extra_body"]["num_inference_steps"] for _, _, request in server.asked]
    assert len(rows) == COUNT
    assert sent == [4] * COUNT
    assert {row["edit_output_tokens"] for row in rows} == {2000}
    tar = next((tmp_path / "out/dataset").glob("*.tar"))
    members = read_members(tar)
    own = json.loads(next(content for name, content in members.items() if name.endswith(".json")))["sample_id"]
    source, target = (Image.open(io.BytesIO(members[f"{own}.{side}.png"])) for side in ("source", "target"))
    assert ImageOps.invert(source.convert("RGB")).tobytes() == target.convert("RGB").tobytes()


def read_members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}

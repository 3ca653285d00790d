"""The judge of docs/judging.md works as it is written there."""

import re
from pathlib import Path

from PIL import Image

from models import registry
from models.judges.replies import read_scores
from models.protocols import JudgeRequest

PAGE = Path(__file__).resolve().parents[4] / "docs" / "judging.md"


def test_the_example_of_the_page_is_loaded_and_judges(tmp_path, monkeypatch):
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "judge_of_the_page.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    model_id = "code:judge_of_the_page:Brightness"
    assert registry.revision(model_id).startswith("v1 sha256:")
    judge = registry.load("EditJudge", model_id)
    dark, light = Image.new("RGB", (8, 8), "navy"), Image.new("RGB", (8, 8), "yellow")
    requests = [
        JudgeRequest(source=source, edited=edited, instruction="make it light")
        for source, edited in ((dark, light), (light, dark))
    ]
    assert [read_scores(reply.text).overall for reply in judge.judge(requests, seeds=[0, 0])] == [10, 0]

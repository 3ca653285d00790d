import pytest

from core.errors import ModelError
from models import registry
from models.model_ids import fetch, find, missing, offer, pin


def test_set_of_the_project_is_found_with_its_licence():
    found = find("examples:photographs")
    assert found.is_local
    assert found.location.endswith("photographs.jsonl")
    assert missing(found) is None
    assert fetch(found) == found
    assert offer(found) is None
    assert pin(found).startswith("sha256:")
    assert registry.licence("examples:photographs") == "apache-2.0"
    assert registry.missing("examples:photographs", "EditExamples") == []


@pytest.mark.parametrize("model_id", ["examples:paintings", "examples:../photographs", "examples:photographs.jsonl"])
def test_unknown_set_is_refused_with_the_known_ones(model_id):
    with pytest.raises(ModelError) as caught:
        find(model_id)
    assert str(caught.value) == (
        f"no example set is called {model_id!r} (known: examples:photographs); correct the id in the manifest, or name "
        "a file of yours as path:FILE.jsonl"
    )

import pytest

from core.classes import class_at, find_class
from core.errors import UsageError

TABLE = {"error": "core.errors:UsageError"}


def test_class_is_found_at_its_place_and_by_its_name():
    assert class_at("core.errors:UsageError") is UsageError
    assert find_class(TABLE, "error", "mistake") is UsageError


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"^no mistake is called 'eror' \(did you mean 'error'\?\)$"):
        find_class(TABLE, "eror", "mistake")

import errno

import pytest

from core.errors import EditloomError, UsageError, is_transient, nearest, one_line


def test_nearest_offers_one_near_name():
    assert nearest("widht_px", ["width_px", "height_px"]) == " (did you mean 'width_px'?)"


def test_nearest_lists_all_names_when_none_is_near():
    assert nearest("zzz", ["b", "a"]) == " (known: a, b)"


def test_one_line_names_the_type_of_errors_that_are_not_ours():
    assert one_line(ValueError("two\n  lines")) == "ValueError: two lines"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(UsageError("as it stands")) == "as it stands"


def test_one_line_is_cut_at_its_limit():
    line = one_line(EditloomError("x" * 50), limit=10)
    assert line == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (ConnectionError("no number"), True),
        (TimeoutError(), True),
        (OSError(errno.EIO, "bad disk"), True),
        (OSError(errno.ENOSPC, "full"), False),
        (FileNotFoundError(errno.ENOENT, "gone"), False),
        (ValueError("x"), False),
    ],
)
def test_only_faults_of_machine_and_network_are_worth_another_attempt(error, expected):
    assert is_transient(error) is expected

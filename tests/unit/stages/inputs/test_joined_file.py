"""Files read one after another as one."""

import os

from stages.inputs.joined_file import joined

DATA = bytes(range(256)) * 300


def pieces(folder, *ends):
    starts = (0, *ends[:-1])
    paths = [folder / f"{n}" for n in range(len(ends))]
    for path, start, end in zip(paths, starts, ends, strict=True):
        path.write_bytes(DATA[start:end])
    return [str(path) for path in paths], [end - start for start, end in zip(starts, ends, strict=True)]


def test_any_span_is_that_of_the_whole_file(tmp_path):
    ends = (1000, 1000, 40_001, len(DATA))
    with joined(*pieces(tmp_path, *ends)) as handle:
        assert handle.seek(0, os.SEEK_END) == len(DATA)
        for start, size in ((39_990, 20_000), (0, 5), (999, 2), (0, len(DATA)), (len(DATA) - 3, 10), (1000, 0)):
            handle.seek(start)
            assert handle.read(size) == DATA[start : start + size]
            assert handle.tell() == min(len(DATA), start + size)
        handle.seek(len(DATA) + 5)
        assert handle.read(1) == b""


def test_no_pieces_are_an_empty_file():
    with joined([], []) as handle:
        assert handle.read() == b""


def test_closing_closes_the_open_piece(tmp_path):
    handle = joined(*pieces(tmp_path, 10, len(DATA)))
    handle.read(5)
    piece = handle.raw._open[1]
    handle.close()
    assert piece.closed

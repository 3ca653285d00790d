"""Sessions of held-out edits: each turn starts from the output before it, and the last is compared with the truth."""

import numpy as np
import pytest

from evaluation.benchmark import Output
from evaluation.images import open_rgb
from zoo.evaluation.edits import score_images, sources, truths
from zoo.evaluation.sessions import FILE, SESSION, write_sessions
from zoo.world import KINDS, render, scene_of
from zoo.write_edits import HELD_OUT_SEED

COUNT, TURNS = 4, 3
PLAIN = ("replace_noun", "change_colour")


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    return folder, write_sessions(folder, COUNT, TURNS, PLAIN)


def test_a_turn_edits_the_output_of_the_turn_before(sessions):
    _, found = sessions
    keys = [case.key for case in found.cases]
    assert len(keys) == COUNT * TURNS
    for number, case in enumerate(found.cases):
        if number % TURNS:
            assert case.source == Output(keys[number - 1])
            assert case.source_caption == found.cases[number - 1].target_caption
        else:
            assert not isinstance(case.source, Output)


def test_a_session_is_one_sample_from_its_first_source_to_its_last_truth(sessions):
    _, found = sessions
    assert len(found.samples) == COUNT
    for number, sample in enumerate(found.samples):
        first, last = found.cases[number * TURNS], found.cases[number * TURNS + TURNS - 1]
        assert (sample.key, sample.source) == (last.key, first.source)
        assert (sample.source_text, sample.target_text) == (first.source_caption, last.target_caption)
        assert sample.facts == {"edit_type": SESSION}
        index = int(sample.key.partition("-")[0])
        np.testing.assert_array_equal(np.asarray(open_rgb(sample.source)), render(scene_of(HELD_OUT_SEED, index), 64))


def test_edits_are_of_the_kinds_asked_for(sessions):
    folder, _ = sessions
    text = (folder / FILE).read_text()
    assert not any(f'"edit_type": "{kind}"' in text for kind in KINDS if kind not in PLAIN)


def test_sessions_that_are_there_are_not_written_again(sessions, monkeypatch):
    folder, found = sessions
    before = (folder / FILE).stat().st_mtime_ns
    assert write_sessions(folder, COUNT, TURNS, PLAIN) == found
    assert (folder / FILE).stat().st_mtime_ns == before
    assert len(write_sessions(folder, COUNT + 1, TURNS, PLAIN).samples) == COUNT + 1


def test_the_true_results_are_read_and_the_sources_are_not(sessions, tmp_path):
    _, found = sessions
    true = score_images(found, tmp_path / "truth", truths(found), "truth")
    copied = score_images(found, tmp_path / "copy", sources(found), "copy")
    assert true.mean("l1", (SESSION,)) == 0
    assert copied.mean("l1", (SESSION,)) > 0.01
    assert true.mean("read_back", (SESSION,)) > copied.mean("read_back", (SESSION,))


def test_scenes_that_cannot_take_the_edits_are_skipped(tmp_path):
    found = write_sessions(tmp_path / "a", 3, 2, ("remove", "change_colour"))
    assert len(found.samples) == 3
    with pytest.raises(ValueError, match="no scene can take 3 edits of add"):
        write_sessions(tmp_path / "b", 1, 3, ("add",))

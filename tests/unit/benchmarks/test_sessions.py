from benchmarks.sessions.measure import Pair, kind_figures, turn_figures


def pair(session, turn, *, kind="turn", source=True, target=True, selected=False, drift=0.1):
    row = {
        "session_id": session, "turn": turn, "pair_kind": kind, "session_outside_l1": drift, "session_image_cos": 0.5,
    }  # fmt: skip
    seen = {"caption": (source, target), "segments": (True, True)}
    return Pair(row=row, is_selected=selected, shows=seen)


SESSIONS = [
    pair("a", 1), pair("a", 2, target=False), pair("a", 3),
    pair("b", 1), pair("b", 2, drift=None), pair("c", 1, target=False),
]  # fmt: skip


def test_turn_is_right_by_its_own_target():
    figures = turn_figures(SESSIONS)
    assert [one["sessions"] for one in figures] == [3, 2, 1]
    assert [one["right (caption)"] for one in figures] == [0.667, 0.5, 1.0]


def test_session_is_right_so_far_only_if_all_its_turns_are():
    assert [one["all right so far (caption)"] for one in turn_figures(SESSIONS)] == [0.667, 0.5, 0.0]


def test_mean_drift_leaves_out_turns_without_a_value():
    assert [one["drift, mean"] for one in turn_figures(SESSIONS)] == [0.1, 0.1, 0.1]


def test_compositions_and_inverses_count_among_no_turns():
    others = [pair("a", 2, kind="composition"), pair("a", 9, kind="inverse")]
    assert turn_figures([*SESSIONS, *others]) == turn_figures(SESSIONS)


def test_pair_is_right_where_both_images_show_their_captions():
    pairs = [
        pair("a", 1, kind="inverse", selected=True), pair("a", 2, kind="inverse", source=False),
        pair("a", 3, kind="inverse", target=False, selected=True),
    ]  # fmt: skip
    turns, compositions, inverses = kind_figures(pairs)
    assert (turns["made"], compositions["right (caption)"]) == (0, None)
    assert (inverses["made"], inverses["right (caption)"]) == (3, 0.333)
    assert (inverses["selected"], inverses["selected, right (caption)"]) == (2, 0.5)

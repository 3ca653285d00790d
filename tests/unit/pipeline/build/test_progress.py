from pipeline.build.progress import Progress
from pipeline.build.result import StageTally


def progress(**how):
    tallies = [StageTally(stage="readlines", total=3, done=2), StageTally(stage="upper", total=3, failed=1)]
    return Progress("fake", tallies, **how)


def test_without_a_terminal_a_line_is_printed_at_intervals(capsys, monkeypatch):
    monkeypatch.setattr("pipeline.build.progress.LINE_EVERY_S", 0.0)
    with progress() as shown:
        shown.tick()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("s] readlines 2/3, upper 0/3\n")


def test_ticks_do_not_print_a_line_each(capsys):
    with progress() as shown:
        for _ in range(100):
            shown.tick()
    assert capsys.readouterr().err == ""


def test_message_is_shown_as_it_is(capsys):
    with progress() as shown:
        shown.say("stage upper, shard a: [red]broken[/red]")
    assert capsys.readouterr().err == "stage upper, shard a: [red]broken[/red]\n"


def test_quiet_progress_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr("pipeline.build.progress.LINE_EVERY_S", 0.0)
    with progress(quiet=True) as shown:
        shown.say("x")
        shown.tick()
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""

from _fakes import ReadLines, Upper, plan_of

from pipeline.build.progress import Progress
from pipeline.build.result import StageTally


def progress(tmp_path, **how):
    plan = plan_of(tmp_path, [ReadLines(), Upper()])
    return Progress(plan, [StageTally(total=3, done=2), StageTally(total=3, failed=1)], **how)


def test_without_a_terminal_a_line_is_printed_at_intervals(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.build.progress.LINE_EVERY_S", 0.0)
    with progress(tmp_path) as shown:
        shown.tick()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("s] readlines 2/3, upper 0/3\n")


def test_ticks_do_not_print_a_line_each(tmp_path, capsys):
    with progress(tmp_path) as shown:
        for _ in range(100):
            shown.tick()
    assert capsys.readouterr().err == ""


def test_message_is_shown_as_it_is(tmp_path, capsys):
    with progress(tmp_path) as shown:
        shown.say("stage upper, shard a: [red]broken[/red]")
    assert capsys.readouterr().err == "stage upper, shard a: [red]broken[/red]\n"


def test_quiet_progress_says_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.build.progress.LINE_EVERY_S", 0.0)
    with progress(tmp_path, quiet=True) as shown:
        shown.say("x")
        shown.tick()
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""

"""The images of the LAION layout on the web while a command runs."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from zoo.serve import main, serving

ROOT = Path(__file__).parents[3]
PYTHON = sys.executable


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "0").mkdir(parents=True)
    (tmp_path / "images" / "0" / "a.png").write_bytes(b"image")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_images_are_served_while_the_command_runs_and_its_code_is_kept(folder, capfd):
    port = free_port()
    script = f"import urllib.request as u, sys; print(u.urlopen('http://127.0.0.1:{port}/0/a.png').read()); sys.exit(7)"
    assert main([str(folder), "--port", str(port), "--", PYTHON, "-c", script]) == 7
    assert capfd.readouterr() == ("b'image'\n", "")
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_flags_behind_the_dashes_are_the_commands(folder, capfd):
    assert (
        main([str(folder), "--port", "0", "--", PYTHON, "-c", "import sys; print(sys.argv)", "--port", "--", "x"]) == 0
    )
    assert capfd.readouterr().out == "['-c', '--port', '--', 'x']\n"


def test_only_the_images_are_served_and_only_on_loopback(folder):
    with serving(folder / "images", 0) as port:
        for path in ("/../secret", "/%2e%2e/secret", "/nothing"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}")
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.2", port)) != 0


def test_answers_on_one_connection_do_not_wait_for_each_other(folder):
    with serving(folder / "images", 0) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        began = time.monotonic()
        for _ in range(50):
            connection.request("GET", "/0/a.png")
            assert connection.getresponse().read() == b"image"
        connection.close()
    assert time.monotonic() - began < 1.5


def test_a_port_that_is_taken_is_reported(folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main([str(folder), "--port", str(port), "--", "true"]) == 2
    expected = f"port {port} on 127.0.0.1 is taken: free it, or choose another with --port\n"
    assert capsys.readouterr().err == expected


def test_a_command_that_is_not_there_is_named(folder, capsys):
    assert main([str(folder), "--port", "0", "--", "no-such-command"]) == 127
    assert capsys.readouterr().err == "no-such-command: no such command\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FOLDER"], "no command: write it after --"),
        (["FOLDER", "--"], "no command"),
        (["/none", "--", "x"], "no folder"),
    ],
)
def test_a_wrong_command_line_is_refused(folder, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main([str(folder) if a == "FOLDER" else a for a in arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_command_and_the_server(folder, number, code):
    port = free_port()
    command = [PYTHON, "-m", "zoo.serve", str(folder), "--port", str(port), "--", "sleep", "60"]
    # the tests may run under nohup, whose children ignore the signal too
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))  # noqa: PLW1509  no threads here
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(10) == code
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_ctrl_c_lets_the_command_end_in_its_own_way(folder):
    port = free_port()
    script = (
        "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(3)); "
        "print('on', flush=True); time.sleep(60)"
    )
    command = [PYTHON, "-m", "zoo.serve", str(folder), "--port", str(port), "--", PYTHON, "-c", script]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"on\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(10) == 3
    process.stdout.close()

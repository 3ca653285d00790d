"""Runs one `editloom` command in a forked child that is watched: time, memory, files, sockets, processes.

The parent has imported everything and started no thread, so a fork costs milliseconds. Paths outside the folders that
a command may write to, reads of the folder `secret`, connections and new processes are seen by an audit hook.
"""

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

MEMORY_BOUND = 1_500_000_000
"""Bytes that a worker may hold, whatever the input."""
WRITABLE = ("out", "tmp", "report", "log")
SECRET = "secret"
HOSTS = ("127.0.0.1", "127.0.0.2")
"""Addresses that a case with a web server may be asked at; both are this machine."""
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.rename": (0, 1), "os.link": (1,), "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,), "shutil.rmtree": (0,),
}  # fmt: skip
"""Audit event -> which arguments are paths that it changes."""
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"}
SAID = ("out", "err", "touched")
POLL_S = 0.01
CPU_S = 20
"""Seconds of a core that no command may need for the small input of a case."""


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    peak_bytes: int
    seconds: float
    killed: str = ""
    """`hang` or `memory` where it was ended for that."""
    touched: list[str] = field(default_factory=list)
    """The faults outside its folders, a line each."""


def warm_up(argv, root):
    """Import here what the command imports, found out by running it once in a child."""
    importlib.import_module("cli.main")
    log = root / "log"
    with tempfile.TemporaryFile("w+") as names:
        ended = run(argv, root, at_end=lambda: (names.write("\n".join(sys.modules)), names.flush()))
        names.seek(0)
        for name in names.read().split("\n"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    assert ended.code == 0, f"the warm-up ended with {ended.code}: {ended.out}{ended.err} ({log})"


def run(argv, root, *, limit_s=90.0, in_full=False, port=0, at_end=None):
    """How `editloom argv` ends in folder `root`. With `in_full` the interpreter ends as it does for a user."""
    for name in ("tmp", "log", "home"):
        (root / name).mkdir(exist_ok=True)
    for name in SAID:
        (root / "log" / name).write_bytes(b"")
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_the_command(argv, root, in_full=in_full, port=port, at_end=at_end)
    status, used, killed = _watch(pid, started + limit_s)
    texts = [(root / "log" / name).read_text("utf-8", "replace") for name in SAID]
    return Ended(
        code=os.waitstatus_to_exitcode(status), out=texts[0], err=texts[1], peak_bytes=used.ru_maxrss * 1024,
        seconds=time.monotonic() - started, killed=killed, touched=sorted(set(texts[2].splitlines())),
    )  # fmt: skip


def _watch(pid, deadline):
    """(status, usage, why it was killed) of the child, which is killed at a deadline or twice the bound."""
    killed = ""
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            is_out_of_time = os.waitstatus_to_exitcode(status) == -signal.SIGXCPU
            return status, used, "hang" if is_out_of_time else killed
        if not killed and time.monotonic() > deadline:
            killed = "hang"
        elif not killed and _resident(pid) > 2 * MEMORY_BOUND:
            killed = "memory"
        if killed:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def _resident(pid):
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _be_the_command(argv, root, *, in_full, port, at_end):
    """The child: never returns."""
    code = 70
    try:
        os.setpgid(0, 0)
        _settle(root)
        touched = os.open("log/touched", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        sys.addaudithook(Watch(root, touched, port))
        code = _command(argv)
        if at_end:
            at_end()
    except BaseException:  # noqa: BLE001  a fault of this file
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if in_full:
            ctypes.pythonapi.Py_Exit(code)
        os._exit(code)


def _settle(root):
    """Take the streams, folders and limits of a command that runs alone in `root`."""
    os.chdir(root)
    for number, name in ((1, "log/out"), (2, "log/err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ |= {"TMPDIR": str(root / "tmp"), "HOME": str(root / "home"), "COLUMNS": "200"}
    tempfile.tempdir = None
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 30, 4 << 30))


def _command(argv):
    """The exit code, with what Python itself would print."""
    from cli.main import main

    sys.argv = ["editloom", *argv]
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001  what Python does with an exception that nobody takes
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


class Watch:
    """An audit hook that writes down what a command does outside its folders."""

    def __init__(self, root, log, port):
        self.root, self.log, self.port = os.path.realpath(root), log, port
        self.writable = tuple(f"{self.root}/{name}" for name in WRITABLE)

    def __call__(self, event, args):
        if event == "open":
            if isinstance(args[0], (str, bytes)):
                self._opened(os.fsdecode(args[0]), args[2] or 0)
        elif event in CHANGES:
            if not any(isinstance(a, int) and a >= 0 for a in args[-1:] if event in ("os.remove", "os.rmdir")):
                for number in CHANGES[event]:
                    self._changed(event, args[number])
        elif event in STARTS:
            self._say(f"starts a process: {event} {args[:2]!r:.200}")
        elif event == "socket.connect":
            self._connected(args[1])

    def _opened(self, path, flags):
        real = os.path.realpath(path)
        if flags & WRITE_FLAGS and not real.startswith(self.writable) and not real.startswith("/dev/"):
            self._say(f"opens for writing: {self._short(real)}")
        elif real.startswith(f"{self.root}/{SECRET}"):
            self._say(f"reads outside its input: {self._short(real)}")

    def _changed(self, event, path):
        if isinstance(path, int):
            return
        folder, name = os.path.split(os.fsdecode(path).rstrip("/"))
        real = f"{os.path.realpath(folder or '.')}/{name}"
        if not real.startswith(self.writable):
            self._say(f"{event}: {self._short(real)}")

    def _connected(self, address):
        host = address[0] if isinstance(address, tuple) else address
        if host not in HOSTS or not self.port:
            self._say(f"connects to {address!r:.200}")

    def _short(self, path):
        return path.replace(self.root, "<case>")

    def _say(self, text):
        os.write(self.log, f"{text!a}\n".encode())

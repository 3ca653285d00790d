import json
import os
import socket
import subprocess
import sys
import time

import pytest

from core.errors import LockedError
from pipeline.store.lock import LOCK, STALE_AFTER_S, Holder, hold, is_alive, read_holder
from pipeline.store.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "run"))


def leave_lock(storage, **changes):
    """A lock as a build of this process writes it, with some fields changed."""
    with hold(storage):
        holder = read_holder(storage)
    storage.write_bytes(LOCK, json.dumps({**holder.model_dump(), "run_id": "another", **changes}).encode())


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_second_build_is_refused_with_the_name_of_the_holder(storage):
    with hold(storage), pytest.raises(LockedError) as caught, hold(Storage(storage.url)):
        pass
    message = str(caught.value)
    start = f"{storage.url}: held by process {os.getpid()} on {socket.gethostname()} since "
    assert message.startswith(start)
    assert message.endswith("; wait for it, or build into another OUT")
    assert time.strptime(message.removeprefix(start).partition(";")[0], "%Y-%m-%d %H:%M:%S")


def test_refused_build_leaves_the_lock_to_its_holder(storage):
    with hold(storage):
        held = read_holder(storage)
        with pytest.raises(LockedError), hold(Storage(storage.url)):
            pass
        assert read_holder(storage) == held
    assert read_holder(storage) is None


def test_lock_is_free_again_after_a_build_that_raised(storage):
    with pytest.raises(RuntimeError), hold(storage):
        raise RuntimeError
    with hold(storage):
        pass


def test_lock_of_a_dead_process_is_taken_over(storage):
    leave_lock(storage, pid=dead_pid())
    with hold(storage):
        assert read_holder(storage).pid == os.getpid()


def test_lock_of_a_process_whose_id_was_reused_is_taken_over(storage):
    leave_lock(storage, process_started="1")
    with hold(storage):
        assert read_holder(storage).process_started != "1"


def test_lock_of_a_living_process_is_respected(storage):
    leave_lock(storage)
    with pytest.raises(LockedError), hold(storage):
        pass


@pytest.mark.parametrize(("age_s", "alive"), [(STALE_AFTER_S - 60, True), (STALE_AFTER_S + 60, False)])
def test_holder_on_another_machine_is_dead_when_it_stops_renewing(age_s, alive):
    assert is_alive(Holder(host="elsewhere", pid=1, run_id="x", renewed=time.time() - age_s)) is alive


def test_lock_taken_over_by_another_build_is_not_removed(storage):
    with hold(storage):
        other = {"host": "elsewhere", "run_id": "other", "renewed": time.time()}
        storage.write_bytes(LOCK, json.dumps(other).encode())
    assert read_holder(storage) == Holder(**other)


def test_lock_is_renewed_at_most_once_a_minute(storage, monkeypatch):
    now = time.time()
    with hold(storage) as lock:
        first = read_holder(storage).renewed
        lock.renew()
        assert read_holder(storage).renewed == first
        monkeypatch.setattr("pipeline.store.lock.time.time", lambda: now + 120)
        lock.renew()
        assert read_holder(storage).renewed == now + 120


def test_torn_lock_file_counts_as_none(storage):
    storage.write_bytes(LOCK, b'{"pid": ')
    with hold(storage):
        pass


def test_lock_works_on_a_remote_folder():
    remote = Storage("memory://locked/run")
    with hold(remote), pytest.raises(LockedError), hold(Storage(remote.url)):
        pass
    assert read_holder(remote) is None


def test_build_that_lost_its_lock_stops_at_the_next_renewal(storage, monkeypatch):
    with hold(storage) as lock:
        other = {**read_holder(storage).model_dump(), "run_id": "another", "pid": 4711}
        storage.write_bytes(LOCK, json.dumps(other).encode())
        monkeypatch.setattr("time.time", lambda: time.monotonic() + 4e9)
        with pytest.raises(LockedError, match=r"held by process 4711 .* lost it"):
            lock.renew()

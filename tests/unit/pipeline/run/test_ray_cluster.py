"""Messages about a Ray cluster that cannot be reached, and how soon they come. Only this machine is contacted."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from core.errors import RunStopped
from pipeline.run import ray_cluster as connect
from pipeline.run.ray_cluster import find_cluster

ROOT_ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made.getsockname()[1]  # bound and not listening: connections are refused


@pytest.fixture
def mute_port():
    """Something that accepts connections, reads, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []
        threading.Thread(target=lambda: held.append(server.accept()), daemon=True).start()
        yield server.getsockname()[1]


def refused(address):
    began = time.monotonic()
    with pytest.raises(RunStopped) as caught:
        find_cluster(address)
    return str(caught.value), time.monotonic() - began


@pytest.mark.parametrize("given", [None, "", "local"])
def test_no_address_and_local_mean_a_local_ray(given):
    assert find_cluster(given) is None


def test_port_where_nobody_listens_is_reported_at_once(free_port):
    message, took = refused(f"127.0.0.1:{free_port}")
    assert message == (
        f"cannot reach the Ray cluster at '127.0.0.1:{free_port}' (--address): connection refused; start it or correct "
        "the address, leave --address out for a local Ray, or use --executor inprocess"
    )
    assert took < 5


def test_address_from_the_variable_is_named(free_port, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"[::1]:{free_port}")
    message, took = refused(None)
    assert "(RAY_ADDRESS)" in message
    assert "unset RAY_ADDRESS for a local Ray" in message
    assert took < 5


def test_unknown_host_name_is_reported():
    message, took = refused("no-such-host.invalid:6379")
    assert "the name 'no-such-host.invalid' is not known" in message
    assert took < 15


def test_service_that_is_not_ray_is_refused_after_ten_seconds(mute_port, monkeypatch):
    monkeypatch.setattr(connect, "CONNECT_TIMEOUT_S", 1.5)
    message, _ = refused(f"127.0.0.1:{mute_port}")
    assert "the service there does not answer as Ray within 1.5 s" in message


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "http://head:8265", "head", "head:", ":6379", "head:99999", "a/b:6379", "head:six"]
)
def test_text_that_is_not_an_address_is_refused(address):
    message, took = refused(address)
    assert f"--address {address!r} is not an address of a Ray cluster: expected HOST:PORT" in message
    assert ("on a node of the cluster" in message) == ("://" in address)
    assert took < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_wait_for_an_answer_at_once(mute_port, number):
    code = (
        "import signal; from pipeline.run.ray_cluster import find_cluster\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background begin with it ignored\n"
        f"print('go', flush=True); find_cluster('127.0.0.1:{mute_port}')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ROOT_ENV
    ) as child:
        child.stdout.readline()
        time.sleep(1)
        child.send_signal(number)
        began = time.monotonic()
        assert child.wait(20) != 0
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_folder_too_long_for_sockets_is_refused_with_the_variable_to_set(monkeypatch, name):
    monkeypatch.setenv(name, "/tmp/" + "x" * 60)
    with pytest.raises(RunStopped) as caught:
        find_cluster(None)
    assert str(caught.value).startswith(f"{name}=/tmp/xxx")
    assert "set RAY_TMPDIR to a short folder, such as /tmp" in str(caught.value)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert find_cluster(None) is None

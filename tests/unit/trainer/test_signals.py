import signal
import threading

import pytest

from trainer.signals import noted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_is_noted_and_the_second_works_as_before(number):
    caught = []
    before = signal.signal(number, lambda *_: caught.append("second"))
    try:
        with noted() as stop:
            assert stop.name == ""
            signal.raise_signal(number)
            assert (stop.name, caught) == (signal.Signals(number).name, [])
            signal.raise_signal(number)
            assert caught == ["second"]
        signal.raise_signal(number)
        assert caught == ["second", "second"]
    finally:
        signal.signal(number, before)


def test_another_thread_trains_without_handlers():
    found = []

    def work():
        with noted() as stop:
            found.append((stop.name, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [("", before)]

"""The order of hosts, and when one waits or is dropped: the queue alone, then with hanging hosts."""

import asyncio
import socket
import time

import pytest
from _inputs import jpeg
from _laion import fetched
from _web import Answer, Web

from stages.download.hosts import PROBES, HostQueue

HOST = "a.example"


def queue_of(count, per_host=4, max_failures=4, backoff_s=0.0):
    queue = HostQueue(per_host, max_failures, backoff_s=backoff_s, backoff_cap_s=1.0)
    for number in range(count):
        queue.put(HOST, number)
    return queue


async def turns(queue, most=100, within_s=0.05):
    """The items that are handed out now, and that nobody finishes."""
    found = []
    while len(found) < most:
        try:
            async with asyncio.timeout(within_s):
                turn = await queue.get()
        except TimeoutError:
            break
        found.append(turn[1])
    return found


def end(queue, count, *, answered):
    for _ in range(count):
        queue.note(HOST, answered=answered)
        queue.done(HOST)


def test_a_burst_of_failures_makes_a_host_rest_and_then_be_probed():
    async def run():
        queue = queue_of(20)
        assert await turns(queue) == [0, 1, 2, 3]
        end(queue, 4, answered=False)
        assert not queue.is_given_up(HOST)
        assert await turns(queue) == [4]
        end(queue, 1, answered=False)
        assert not queue.is_given_up(HOST)
        assert await turns(queue) == [5]
        end(queue, 1, answered=False)
        assert queue.is_given_up(HOST)
        assert queue.failures(HOST) == 4 + PROBES
        assert await turns(queue) == [6, 7, 8, 9]

    asyncio.run(run())


def test_an_answer_to_a_probe_restores_the_host_in_full():
    async def run():
        queue = queue_of(20)
        await turns(queue)
        end(queue, 4, answered=False)
        assert await turns(queue) == [4]
        end(queue, 1, answered=True)
        assert queue.failures(HOST) == 0
        assert await turns(queue) == [5, 6, 7, 8]
        end(queue, 4, answered=False)
        assert await turns(queue) == [9]
        assert not queue.is_given_up(HOST)

    asyncio.run(run())


def test_no_probe_starts_while_an_earlier_request_is_running():
    async def run():
        queue = queue_of(20)
        await turns(queue)
        end(queue, 3, answered=False)
        assert await turns(queue) == []
        end(queue, 1, answered=False)
        assert await turns(queue) == [4]
        assert not queue.is_given_up(HOST)

    asyncio.run(run())


def test_an_answer_to_what_was_under_way_ends_the_rest():
    async def run():
        queue = queue_of(20, backoff_s=1.0)
        await turns(queue)
        end(queue, 3, answered=False)
        end(queue, 1, answered=True)
        assert await turns(queue) == [4, 5, 6, 7]

    asyncio.run(run())


def test_what_was_handed_out_before_the_rest_waits_until_after_it():
    async def run():
        queue = queue_of(20, per_host=8)
        assert await turns(queue, most=4) == [0, 1, 2, 3]
        end(queue, 4, answered=False)
        assert sorted(await turns(queue)) == [7]
        end(queue, 1, answered=True)
        assert len(await turns(queue)) == 8

    asyncio.run(run())


def test_rests_double():
    async def run():
        queue = queue_of(20, backoff_s=0.2)
        await turns(queue)
        waits = []
        for count in (4, 1):
            began = time.monotonic()
            end(queue, count, answered=False)
            await turns(queue, most=1, within_s=5)
            waits.append(time.monotonic() - began)
        assert 0.15 < waits[0] < 0.39 < waits[1]

    asyncio.run(run())


@pytest.mark.parametrize("max_failures", [1, 2, 3, 4, 16])
def test_one_at_a_time_a_host_is_given_up_after_exactly_so_many_failures(max_failures):
    async def run():
        queue = queue_of(40, per_host=1, max_failures=max_failures)
        for _ in range(max_failures):
            assert not queue.is_given_up(HOST)
            assert len(await turns(queue, most=1)) == 1
            end(queue, 1, answered=False)
        assert queue.is_given_up(HOST)

    asyncio.run(run())


def test_a_failing_host_rests_while_others_go_on():
    async def run():
        queue = queue_of(20, backoff_s=5.0)
        await turns(queue)
        end(queue, 4, answered=False)
        queue.put("b.example", "other")
        assert await queue.get() == ("b.example", "other")

    asyncio.run(run())


class Stalling(dict):
    """Answers that nobody has until `stall_s` after the first request."""

    stall_s, until = 0.0, None

    def get(self, path, default=None):
        self.until = self.until or time.monotonic() + self.stall_s
        time.sleep(max(0.0, self.until - time.monotonic()))
        return super().get(path, default)


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_host_that_stalls_for_a_moment_is_not_given_up(tmp_path, attempts):
    web = Web()
    web.answers = Stalling({f"/{n}": Answer(jpeg(1)) for n in range(150)})
    web.answers.stall_s = 1.2
    urls = [web.url(f"/{n}") for n in range(150)]
    statuses, _ = fetched(tmp_path, urls, timeout_s=1.0, attempts=attempts, backoff_s=0.1)
    web.close()
    found = [s.status for s in statuses]
    assert found.count("success") >= (150 if attempts > 1 else 132)
    assert all(s.attempts for s in statuses)


@pytest.mark.parametrize("per_host", [4, 16])
def test_a_host_that_hangs_costs_few_requests_and_little_time(tmp_path, per_host):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        urls = [f"http://127.0.0.1:{listening.getsockname()[1]}/{n}" for n in range(2000)]
        began = time.monotonic()
        statuses, _ = fetched(tmp_path, urls, timeout_s=0.5, attempts=3, backoff_s=0.05, concurrency_per_host=per_host)
        took = time.monotonic() - began
    asked = sum(s.attempts for s in statuses)
    assert asked == 16 + (PROBES if per_host == 16 else 0)
    assert {s.status for s in statuses} == {"connection_failure"}
    assert statuses[-1].error == f"host given up after {asked} failures in a row"
    rounds = 3 if per_host == 16 else 6
    assert 0.5 * rounds < took < 0.5 * rounds + 1.5

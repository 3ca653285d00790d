"""The time limit of an attempt, the places for large bodies, and busy servers."""

import asyncio
import time

import pytest
from _inputs import encoded, jpeg
from _laion import fetched, laion_stage
from _web import Answer, Web
from PIL import Image
from yarl import URL

from stages.download.body import LARGE_AT_ONCE, LARGE_BYTES, LargeGate
from stages.download.http_client import Fetcher

PNG = {"Content-Type": "image/png"}


@pytest.fixture
def web():
    served = Web()
    yield served
    served.close()


@pytest.fixture(scope="module")
def large():
    data = encoded(Image.effect_noise((1800, 1800), 80), "PNG")
    assert len(data) > LARGE_BYTES
    return data


@pytest.mark.parametrize("has_length", [True, False])
def test_waiting_for_a_place_of_a_large_body_is_not_timed(web, large, has_length):
    web.answers["/large"] = Answer(large, headers=PNG, has_length=has_length)

    async def run():
        async with Fetcher(laion_stage(timeout_s=1.0)) as fetcher:
            for _ in range(LARGE_AT_ONCE):
                await fetcher.large.acquire()
            began = time.monotonic()
            asyncio.get_running_loop().call_later(2.0, fetcher.large.release)
            body = await fetcher.fetch(URL(web.url("/large")), LargeGate(fetcher.large))
            return body.data, time.monotonic() - began

    data, took = asyncio.run(run())
    assert data == large
    assert took >= 2.0


def test_the_time_limit_resumes_after_the_wait_with_its_rest():
    async def run():
        places = asyncio.Semaphore(0)
        asyncio.get_running_loop().call_later(0.6, places.release)
        async with asyncio.timeout(0.4) as limit:
            await LargeGate(places).enter(limit)
            await asyncio.sleep(5)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert 0.95 < time.monotonic() - began < 2


def test_a_large_body_that_is_only_announced_holds_no_place(tmp_path, web, large, monkeypatch):
    monkeypatch.setattr("stages.download.http_client.LARGE_AT_ONCE", 1)
    web.answers["/slow"] = Answer(large, headers=PNG, pause_s=0.2, pieces=100)
    web.answers["/quick"] = Answer(large, headers=PNG, pause_s=0.5)
    statuses, _ = fetched(tmp_path, [web.url("/slow"), web.url("/quick")], timeout_s=3.0)
    assert [s.status for s in statuses] == ["timeout", "success"]
    assert statuses[1].seconds < 2.5


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_busy_server_is_busy_whatever_its_error_page_says_of_robots(tmp_path, web, status):
    web.answers["/x"] = [Answer(b"", status, {"X-Robots-Tag": "noindex"}), Answer(jpeg(1))]
    web.answers["/y"] = Answer(b"", status, {"X-Robots-Tag": "noindex"})
    (again, busy), _ = fetched(tmp_path, [web.url("/x"), web.url("/y")], attempts=2)
    assert (again.status, again.attempts) == ("success", 2)
    assert (busy.status, busy.http_status, busy.attempts) == ("server_busy", status, 2)


@pytest.mark.parametrize("status", [200, 404])
def test_any_other_answer_that_opts_out_is_respected(tmp_path, web, status):
    web.answers["/x"] = Answer(jpeg(1), status, {"Content-Type": "image/jpeg", "X-Robots-Tag": "noindex"})
    (found,), _ = fetched(tmp_path, [web.url("/x")])
    assert found.status == "opted_out"

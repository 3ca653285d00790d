"""Proxies of the environment: used where the settings say so, noted where they do not, private addresses kept out."""

import socket

import pytest
from _inputs import jpeg
from _laion import Table, fetched, laion_stage, rows_of
from _web import Answer, Web
from yarl import URL

from core.errors import PlanError
from stages.download.proxy import VARIABLES, Proxies, ProxyError

IMAGE = jpeg(1)


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch):
    for name in (*VARIABLES, "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def proxy(monkeypatch):
    served = Web({"http://images.example/x": Answer(IMAGE), "/direct": Answer(IMAGE)})
    monkeypatch.setenv("http_proxy", served.url())
    yield served
    served.close()


def addresses(**known):
    def lookup(host, port, _family):
        if host.split(".")[0] not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host.split(".")[0]], port))]

    return lookup


def one(tmp_path, url, lookup, **options):
    options = {"proxy_from_environment": True, "allowed_hosts": (), **options}
    (status,), _ = fetched(tmp_path, [url], lookup=lookup, **options)
    return status


def test_urls_are_asked_of_the_proxy(tmp_path, proxy):
    assert one(tmp_path, "http://images.example/x", addresses(images="93.184.216.34")).status == "success"
    assert list(proxy.asked) == ["http://images.example/x"]


def test_a_name_that_only_the_proxy_knows_is_asked_of_it(tmp_path, proxy):
    assert one(tmp_path, "http://images.example/x", addresses()).status == "success"


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254"])
def test_names_of_private_addresses_are_not_asked_of_the_proxy(tmp_path, proxy, address):
    found = one(tmp_path, "http://images.example/x", addresses(images=address))
    assert (found.status, found.error) == ("forbidden_address", f"images.example resolves to {address}")
    assert not proxy.asked


def test_private_addresses_are_not_asked_of_the_proxy(tmp_path, proxy):
    assert one(tmp_path, "http://10.0.0.1/x", addresses()).status == "forbidden_address"
    assert not proxy.asked


def test_redirects_through_the_proxy_are_checked_at_every_hop(tmp_path, proxy):
    proxy.answers["http://images.example/a"] = Answer(b"", 302, {"Location": "http://inner.example/x"})
    lookup = addresses(images="93.184.216.34", inner="10.0.0.1")
    assert one(tmp_path, "http://images.example/a", lookup).status == "forbidden_address"
    assert list(proxy.asked) == ["http://images.example/a"]


def test_a_proxy_with_a_private_name_is_no_host_to_download_from(tmp_path, proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://proxy.internal:{proxy.server_port}")
    lookup = addresses(proxy="127.0.0.1", images="93.184.216.34")
    assert one(tmp_path, "http://images.example/x", lookup).status == "success"
    monkeypatch.setenv("no_proxy", ".internal")
    url = f"http://proxy.internal:{proxy.server_port}/direct"
    assert one(tmp_path, url, lookup).status == "forbidden_address"


def test_credentials_of_the_proxy_go_to_the_proxy(tmp_path, proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{proxy.server_port}")
    found = one(tmp_path, "http://images.example/x", addresses())
    assert found.status == "success"
    assert proxy.headers_seen[0]["Proxy-Authorization"].startswith("Basic ")
    assert "secret" not in repr(found)


def test_hosts_in_no_proxy_are_asked_directly(tmp_path, proxy, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    options = {"allowed_hosts": ("127.0.0.1",)}
    assert one(tmp_path, proxy.url("/direct"), addresses(), **options).status == "success"
    assert list(proxy.asked) == ["/direct"]


def test_proxies_are_left_out_and_noted_unless_the_setting_says_otherwise(tmp_path, proxy):
    proxy.answers["/0.jpg"] = Answer(IMAGE)
    rows, notes = Table(tmp_path, rows_of(proxy, 1)).read()
    assert rows[0]["source_raw"] == IMAGE
    assert list(proxy.asked) == ["/0.jpg"]
    note = "shards asked for without the proxy that http_proxy names (speed.proxy_from_environment is false)"
    assert notes[note] == 1


def test_nothing_is_noted_without_proxies_in_the_environment(tmp_path):
    web = Web({"/0.jpg": Answer(IMAGE)})
    assert not any("proxy" in note for note in Table(tmp_path, rows_of(web, 1)).read()[1])
    web.close()


def test_a_proxy_that_is_no_http_proxy_is_refused_at_the_plan(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://user:secret@127.0.0.1:1080")
    with pytest.raises(PlanError, match=r"https_proxy in the environment is no http or https proxy") as caught:
        laion_stage(proxy_from_environment=True).list_shards([str(tmp_path)])
    assert "secret" not in str(caught.value)


def test_a_proxy_may_be_named_without_its_scheme(monkeypatch):
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    assert Proxies(is_used=True).of(URL("http://images.example/")) == URL("http://proxy.example:3128")
    assert Proxies(is_used=True).of(URL("https://images.example/")) is None
    monkeypatch.setenv("http_proxy", "http://[")
    with pytest.raises(ProxyError):
        Proxies(is_used=True)

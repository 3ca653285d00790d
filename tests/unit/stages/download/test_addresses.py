"""Which URLs and addresses may be asked for, whatever they look like."""

import asyncio
import ipaddress
import socket

import pytest
from yarl import URL

from stages.download.status import MAX_URL_CHARS, DownloadFailed, LaionReject, bounded, without_credentials
from stages.download.url_guard import AddressGuard, GuardedResolver, is_public, literal_address, parse_url


def refusal(call, *args):
    with pytest.raises(DownloadFailed) as failure:
        call(*args)
    return failure.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, LaionReject.NOT_AN_URL),
        ("", LaionReject.NOT_AN_URL),
        ("   ", LaionReject.NOT_AN_URL),
        ("no url at all", LaionReject.NOT_AN_URL),
        ("example.org/a.jpg", LaionReject.NOT_AN_URL),
        ("/a.jpg", LaionReject.NOT_AN_URL),
        ("http://", LaionReject.NOT_AN_URL),
        ("http:///a.jpg", LaionReject.NOT_AN_URL),
        ("http://example.org:99999/", LaionReject.NOT_AN_URL),
        ("http://example.org:0/", LaionReject.NOT_AN_URL),
        ("http://[::1/a.jpg", LaionReject.NOT_AN_URL),
        ("http://exa\nmple.org/", LaionReject.NOT_AN_URL),
        ("http://example.org/\x00.jpg", LaionReject.NOT_AN_URL),
        ("http://example.org\\@127.0.0.1/", LaionReject.NOT_AN_URL),
        ("http://example.org/" + "a" * 3000, LaionReject.NOT_AN_URL),
        (without_credentials("http://example.org/" + "a" * 3000), LaionReject.NOT_AN_URL),
        ("http://\ud800.org/", LaionReject.NOT_AN_URL),
        ("http://" + "a" * 64 + ".org/ü\ufffd", LaionReject.NOT_AN_URL),
        ("ftp://example.org/a.jpg", LaionReject.FORBIDDEN_SCHEME),
        ("file:///etc/passwd", LaionReject.FORBIDDEN_SCHEME),
        ("data:image/png;base64,AAAA", LaionReject.FORBIDDEN_SCHEME),
        ("javascript:alert(1)", LaionReject.FORBIDDEN_SCHEME),
        ("gopher://127.0.0.1:6379/_x", LaionReject.FORBIDDEN_SCHEME),
    ],
)
def test_text_that_cannot_be_asked_for_is_refused(text, reason):
    assert refusal(parse_url, text) == reason


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("http://example.org/a.jpg", "http://example.org/a.jpg"),
        ("http://example.org/?u=https%3A%2F%2Fa.b%2fc&s=%7Ex", "http://example.org/?u=https%3A%2F%2Fa.b%2fc&s=%7Ex"),
        ("http://user:secret@example.org/?u=%2F#top", "http://example.org/?u=%2F"),
        (" https://EXAMPLE.org:443/a b.jpg#top ", "https://example.org/a%20b.jpg"),
        ("http://bücher.example/ü.jpg?q=ä", "http://xn--bcher-kva.example/%C3%BC.jpg?q=%C3%A4"),
        ("http://user:secret@example.org/a.jpg", "http://example.org/a.jpg"),
        ("http://example.org/a%2Fb%20c.jpg?x=%2B+1", "http://example.org/a%2Fb%20c.jpg?x=%2B+1"),
    ],
)
def test_an_url_is_escaped_and_loses_fragment_and_credentials(text, sent):
    assert str(parse_url(text)) == sent


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://user:pa@ss@example.org/a@b", "http://example.org/a@b"),
        ("https://to ken@example.org", "https://example.org"),
        ("//user@example.org/", "//example.org/"),
        ("http://example.org/?mail=a@b.org", "http://example.org/?mail=a@b.org"),
        ("http://example.org/" + "x" * 5000, "http://example.org/" + "x" * 2029 + "…"),
    ],
)
def test_credentials_are_never_kept(url, kept):
    assert without_credentials(url) == kept


def test_a_url_of_the_greatest_length_is_requested_whole():
    url = "http://example.org/" + "x" * (MAX_URL_CHARS - 19)
    for text in (url, f"{' ' * 50}{url}{' ' * 3000}", url.replace("//", f"//user:{'p' * 3000}@")):
        assert str(parse_url(without_credentials(text))) == url


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.0.9", "169.254.169.254", "172.16.0.1", "192.0.0.1",
        "192.0.2.1", "192.168.1.1", "198.18.0.1", "203.0.113.7", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "fc00::1",
        "fd12::1", "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_of_the_public_internet_is_known_as_such(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_is_known_as_such(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "[::1]", "0x7f.1", "0x7f000001", "2130706433", "127.1", "0177.0.0.1", "017700000001", "127.0.0.1.",
        "①②⑦.0.0.1", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "0", "169.254.169.254", "[64:ff9b::7f00:1]",
    ],
)  # fmt: skip
def test_a_host_written_as_an_address_is_refused_in_every_form(host):
    url = parse_url(f"http://{host}/a.jpg")
    assert refusal(AddressGuard().check, url) == LaionReject.FORBIDDEN_ADDRESS


def test_odd_forms_are_refused_even_for_allowed_and_for_public_hosts():
    assert refusal(AddressGuard(["127.0.0.0/8"]).check, URL("http://0x7f.1/")) == LaionReject.FORBIDDEN_ADDRESS
    assert refusal(AddressGuard().check, URL("http://134744072/")) == LaionReject.FORBIDDEN_ADDRESS


def test_names_and_public_addresses_pass_the_check_of_the_url():
    for url in ("http://example.org/", "http://8.8.8.8/", "http://[2606:4700::1111]/", "http://1-2-3-4.example/"):
        AddressGuard().check(URL(url))
    assert literal_address("cafe.example") is None


@pytest.mark.parametrize(
    ("allowed", "host", "address", "is_permitted"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", "127.0.0.2", False),
        ("10.0.0.0/8", "images.example", "10.1.2.3", True),
        ("10.0.0.0/8", "images.example", "192.168.0.1", False),
        ("Images.Example", "images.example.", "192.168.0.1", True),
        ("images.example", "other.example", "192.168.0.1", False),
        ("::1", "[::1]", "::1", True),
    ],
)
def test_allowed_hosts_are_names_addresses_or_networks(allowed, host, address, is_permitted):
    assert AddressGuard([allowed]).permits(host, ipaddress.ip_address(address)) == is_permitted


def resolved(lookup, host="host.example", allowed=()):
    async def run():
        resolver = GuardedResolver(AddressGuard(allowed), lookup)
        try:
            return [found["host"] for found in await resolver.resolve(host, 80)]
        finally:
            await resolver.close()

    return asyncio.run(run())


def answers(*addresses):
    def lookup(host, port, family):
        kinds = [socket.AF_INET6 if ":" in a else socket.AF_INET for a in addresses]
        return [(k, socket.SOCK_STREAM, 6, "", (a, port)) for k, a in zip(kinds, addresses, strict=True)]

    return lookup


def test_a_name_keeps_its_public_addresses_only():
    assert resolved(answers("10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111")) == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.1", "fe80::1%eth0"], ["::ffff:192.168.0.1"]])
def test_a_name_of_private_addresses_only_is_refused(addresses):
    assert refusal(resolved, answers(*addresses)) == LaionReject.FORBIDDEN_ADDRESS


def test_a_private_address_is_let_through_for_an_allowed_name():
    assert resolved(answers("10.0.0.1"), allowed=["host.example"]) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("error", "is_worth_again"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "try again"), True),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False),
        (UnicodeError("label too long"), False),
    ],
)
def test_a_name_that_does_not_resolve_says_whether_it_may_later(error, is_worth_again):
    def lookup(host, port, family):
        raise error

    with pytest.raises(DownloadFailed) as failure:
        resolved(lookup)
    assert (failure.value.reason, failure.value.is_worth_again) == (LaionReject.DNS_FAILURE, is_worth_again)


def test_a_name_without_any_address_is_a_failure_of_the_name():
    assert refusal(resolved, answers()) == LaionReject.DNS_FAILURE


def test_messages_are_one_short_line():
    assert bounded("a\nb  c" + "x" * 500) == "a b c" + "x" * 194 + "…"

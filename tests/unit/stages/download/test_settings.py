"""Settings of `read_laion` that could never match are refused, with the form that does."""

import ipaddress

import pytest
from pydantic import ValidationError

from core.errors import ManifestError
from pipeline.plan.manifest import load_manifest
from stages.download.url_guard import AddressGuard
from stages.read_laion import ReadLaion


def refusal(**settings):
    with pytest.raises(ValidationError) as caught:
        ReadLaion(**settings)
    return caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "host",
    [
        "http://images.example", "images.example:8080", "127.0.0.1:80", "[::1]:80", "*", "*.example", "images.example/",
        "10.0.0.0/33", "127.1", "0x7f.1", "", " images.example", "user@images.example", "a,b", ".example", "a..b",
    ],
)  # fmt: skip
def test_hosts_that_no_url_has_are_refused(host):
    assert refusal(allowed_hosts=(host,)) == (
        f"Value error, {host!r} matches no host: write a name (images.example), an address (10.0.0.1) or a network "
        "(10.0.0.0/8), without scheme, port, path and wildcard"
    )


@pytest.mark.parametrize(
    "host",
    [
        "images.example",
        "images.example.",
        "my_host",
        "localhost",
        "10.0.0.1",
        "10.0.0.1/8",
        "::1",
        "[::1]",
        "bücher.de",
    ],
)
def test_names_addresses_and_networks_are_taken(host):
    assert ReadLaion(allowed_hosts=(host,)).allowed_hosts == (host,)


def test_names_outside_ascii_match_as_they_are_asked_for():
    assert AddressGuard(["Bücher.example"]).permits("xn--bcher-kva.example", ipaddress.ip_address("10.0.0.1"))


@pytest.mark.parametrize("kind", ["image/*", "*/*", "image/png; q=1", "image/png, image/jpeg", "", ".jpg", " image/"])
def test_content_types_that_no_answer_has_are_refused(kind):
    assert refusal(content_types=(kind,)) == (
        f"Value error, {kind!r} begins no content type: write image/ or image/png, without *, parameters and blanks"
    )


@pytest.mark.parametrize("directive", ["noai, noindex", "editloom: noai", "X-Robots-Tag: noai", "", "no ai", "*"])
def test_directives_that_no_header_has_are_refused(directive):
    assert "is no robots directive: write one word each" in refusal(opt_out_directives=(directive,))


@pytest.mark.parametrize("directive", ["noai", "NoIndex", "max-image-preview:none", "unavailable_after: 2027-01-01"])
def test_directives_of_one_word_or_with_a_value_are_taken(directive):
    assert ReadLaion(opt_out_directives=(directive,)).opt_out_directives == (directive,)


@pytest.mark.parametrize("agent", [" ", "?", " bot", "bot "])
def test_user_agents_without_a_name_are_refused(agent):
    assert "has no word that a server can address" in refusal(user_agent=agent)


def test_a_manifest_with_a_port_in_allowed_hosts_is_refused_on_one_line(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(
        'name = "m"\nsummary = "m"\n[[stage]]\nuse = "read_laion"\nallowed_hosts = ["127.0.0.1:80"]\n', encoding="utf-8"
    )
    with pytest.raises(ManifestError, match=r"allowed_hosts: '127\.0\.0\.1:80' matches no host") as caught:
        load_manifest(path)
    assert "\n" not in str(caught.value)

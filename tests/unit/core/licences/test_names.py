import re

import pytest

from core.licences.classes import Ask, LicenceClass
from core.licences.names import ALIASES, MAX_CHARS, clean, find, find_one
from core.licences.table import TABLE

HUB = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0
artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0
cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0
epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research
intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0 openmdw-1.1 openrail++ osl-3.0
postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2
llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma
"""
"""Ids of the Hub that say what is allowed: all but `cc`, `other` and `unknown`."""
NAMED = {
    "Apache License, Version 2.0": "apache-2.0", "Apache-2.0": "apache-2.0", "The MIT License": "mit",
    "CC BY-SA 4.0": "cc-by-sa-4.0", "CC0": "cc0-1.0", "CC0 1.0 Universal": "cc0-1.0", "GPL-3.0-or-later": "gpl-3.0",
    "https://creativecommons.org/licenses/by/2.0/": "cc-by-2.0",
    "http://creativecommons.org/licenses/by-nc/2.0/deed.de": "cc-by-nc-2.0",
    "https://creativecommons.org/publicdomain/mark/1.0/": "public-domain",
    "Attribution-NonCommercial-ShareAlike License": "cc-by-nc-sa", "Attribution License": "cc-by",
    "Creative Commons Attribution-Share Alike 4.0 International": "cc-by-sa-4.0", "CC-BY-3.0-DE": "cc-by-3.0",
    "ODbL-1.0": "odbl", "C-UDA-1.0": "c-uda", "WordNet 3.0": "wordnet", "https://spdx.org/licenses/MIT.html": "mit",
    "flux-non-commercial-license-v2.1": "flux-non-commercial-license", "https://opensource.org/licenses/MIT": "mit",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({*TABLE, *HUB.split()}))
def test_every_id_is_found_by_itself_in_any_case(name):
    (found,) = find(name.upper())
    assert found.id == name
    assert found.is_known


def test_every_further_name_leads_to_an_id_of_the_table():
    assert {alias: find_one(alias).id for alias in ALIASES} == ALIASES
    assert not set(ALIASES) & set(TABLE)


@pytest.mark.parametrize(("text", "expected"), NAMED.items())
def test_usual_wordings_and_addresses_are_found(text, expected):
    assert [one.id for one in find(text)] == [expected]


@pytest.mark.parametrize(
    "text",
    ["", "?", "4", "other", "unknown", "cc", "CC BY 5.0", "All Rights Reserved", "by John Smith", "MIT-like",
     "cc-by-nc-nd-sa-4.0", "https://example.org/licenses/MIT", "Free for all, and for nothing", "apache-1.0"],
)  # fmt: skip
def test_a_text_that_names_no_licence_is_one_unknown_licence(text):
    (found,) = find(text)
    assert found.licence_class is LicenceClass.UNKNOWN
    assert found.id == text


def test_joined_licences_all_apply_and_a_choice_gives_the_freest():
    assert [one.id for one in find("MIT AND CC-BY-NC-4.0")] == ["mit", "cc-by-nc-4.0"]
    assert [one.id for one in find("mit, gemma; gpl")] == ["mit", "gemma", "gpl"]
    assert [one.id for one in find("GPL-3.0 OR MIT")] == ["mit"]


def test_one_unknown_part_makes_the_whole_text_unknown():
    for text in ("mit, other", "mit, gemma, other", "MIT OR my own", "mit and secret"):
        (found,) = find(text)
        assert (found.id, found.is_known) == (text, False)


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "<b>mit</b>\n\x1b[31m", "cc-by" + "-by" * 300_000, "mit" + " " * 10**6 + ", not for sale"]
)
def test_a_hostile_text_is_bounded_and_controls_no_terminal(text):
    (found,) = find(text)
    assert len(found.id) <= MAX_CHARS
    assert not found.is_known
    assert found.id.isprintable()


def test_text_is_cleaned_to_one_line():
    assert clean(" a\n\tb\x1b[0m\u202e ") == "a b?[0m?"


def test_what_a_class_asks_fits_its_name():
    for licence in TABLE.values():
        asks, one = licence.asks, licence.licence_class
        assert (one is LicenceClass.PUBLIC_DOMAIN) == (not asks)
        assert (one is LicenceClass.NO_DERIVATIVES) == (Ask.NO_CHANGES in asks)
        assert (Ask.SAME_LICENCE in asks) == bool(licence.family)
        if one is not LicenceClass.NO_DERIVATIVES:
            assert (one is LicenceClass.NON_COMMERCIAL) == (Ask.NO_COMMERCIAL_USE in asks)
        assert not re.search(r"(^|-)nc(-|$)|non-?commercial|research", licence.id) or one.rank >= 5


def test_one_licence_that_is_not_stated_among_others_is_unknown():
    (found,) = find("mit, not stated")
    assert not found.is_known

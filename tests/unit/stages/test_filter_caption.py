"""Captions that describe pass. Each way to describe nothing has its reason."""

import time

import pytest
from _inputs import apply, table
from hypothesis import given
from hypothesis import strategies as st

from stages.filter_caption import CaptionReject, FilterCaption, num_words

ORDINARY = """\
a red car with a for sale sign in the window
bananas for sale at a market stall
a shop window announcing a winter sale
two women browsing clothes at a garage sale
a mirror image of a mountain in a lake
an image of the moon over a calm sea
a black and white image of an old train
a man holding a sign up in the air
a stop sign up close
a street sign up on a wooden pole
farmers with their live stock in a field
a stock car racing around a bend
soup stock simmering on a stove
a woman painting her thumbnail red
a child learning to read more easily with a teacher
people buying and selling fish at the harbour
a photo of a dog catching a frisbee
a photograph of 3 zebras drinking at 7 p.m.
a man's hat on a well-worn leather chair
the new iPhone lying on a wooden desk
St. Mark's Square in Venice, Italy, at dawn
a bus no. 42 to the city centre
an AT&T store next to a bakery
a chalkboard reading "fish & chips: \u00a35"
cat on a mat
Two dogs, one ball, and a lot of mud!
a wall covered with posters and flyers
a computer screen that shows a web page
the letters a, b and c made of wood
a plate with rice, peas and a fried egg
a girl & her horse - summer 1967
a cow < 2 m from the camera
a bird on a branch (close-up)
men in suits shaking hands @ a conference
a net full of fish
the com tower above the old town
a php elephant toy on a keyboard
a man clicking a pen
copy of a painting by Vermeer
no parking sign in front of a garage"""

OTHER_LANGUAGES = """\
eine rote Katze sitzt auf einem Stuhl
un chien court sur la plage
una mujer con un sombrero rojo
\u043a\u0440\u0430\u0441\u043d\u044b\u0439 \u0430\u0432\u0442\u043e\u0431\u0443\u0441\
 \u043d\u0430 \u0443\u043b\u0438\u0446\u0435
\u4e00\u53ea\u9ed1\u732b\u5750\u5728\u684c\u5b50\u4e0a
\u30c6\u30fc\u30d6\u30eb\u306e\u4e0a\u306e\u9ed2\u3044\u732b
\uac80\uc740 \uace0\uc591\uc774\uac00 \uc758\uc790\uc5d0 \uc549\uc544 \uc788\ub2e4
\u0642\u0637\u0629 \u0633\u0648\u062f\u0627\u0621 \u0639\u0644\u0649 \u0627\u0644\u0637\u0627\u0648\u0644\u0629
\u05d7\u05ea\u05d5\u05dc \u05e9\u05d7\u05d5\u05e8 \u05e2\u05dc \u05d4\u05e9\u05d5\u05dc\u05d7\u05df
\u092e\u0947\u091c\u093c \u092a\u0930 \u092c\u0948\u0920\u0940 \u0939\u0941\u0908\
 \u0915\u093e\u0932\u0940 \u092c\u093f\u0932\u094d\u0932\u0940
\u0e41\u0e21\u0e27\u0e2a\u0e35\u0e14\u0e33\u0e19\u0e31\u0e48\u0e07\u0e2d\u0e22\u0e39\u0e48\u0e1a\u0e19\u0e42\u0e15\u0e4a\u0e30
\u03bc\u03b1\u03cd\u03c1\u03b7 \u03b3\u03ac\u03c4\u03b1 \u03c3\u03c4\u03bf \u03c4\u03c1\u03b1\u03c0\u03ad\u03b6\u03b9
c\u01a1n m\u00e8o \u0111en tr\u00ean b\u00e0n
un cafe\u0301 sur la table"""

REFUSED = [
    (None, CaptionReject.MISSING, ""),
    ("", CaptionReject.MISSING, ""),
    (" \n\u2003", CaptionReject.MISSING, ""),
    ("a dog <br/> on a beach", CaptionReject.MARKUP, "<br/>"),
    ('a dog <IMG SRC="x"> here', CaptionReject.MARKUP, '<IMG SRC="x">'),
    ("<!-- a dog on a beach -->", CaptionReject.MARKUP, "<!-- a dog on a beach -->"),
    ("cats &amp; dogs in a basket", CaptionReject.MARKUP, "&amp;"),
    ("cats &#38; dogs &#x1F600; here", CaptionReject.MARKUP, "&#38;"),
    ("a smile &#x1F600; on a face", CaptionReject.MARKUP, "&#x1F600;"),
    ("see http://x.y/z for a dog", CaptionReject.ADDRESS, "http://x"),
    ("a dog at www.dogs.example", CaptionReject.ADDRESS, "www.d"),
    ("wonderful dogs | shop.dogs.com", CaptionReject.ADDRESS, "shop.dogs.com"),
    ("write to jane@mail.example.org now", CaptionReject.ADDRESS, "jane@mail.e"),
    ("index.html of a page", CaptionReject.ADDRESS, "index.html"),
    ("IMG_1234.JPG", CaptionReject.FILE_NAME, "IMG_1234.JPG"),
    (" sunset-beach.jpeg ", CaptionReject.FILE_NAME, " sunset-beach.jpeg "),
    ("holiday in Rome DSC00123", CaptionReject.FILE_NAME, "DSC00123"),
    ("two words", CaptionReject.TOO_FEW_WORDS, "2 words"),
    ("1 2 3 4 5", CaptionReject.TOO_FEW_WORDS, "0 words"),
    ("\u9ed2\u732b", CaptionReject.TOO_FEW_WORDS, "1 words"),
    ("word " * 61, CaptionReject.TOO_MANY_WORDS, "61 words"),
    ("size M 38 39 40 41 42 43 EU", CaptionReject.NOT_PROSE, "0.37 of it letters"),
    ("buy buy buy buy buy cheap", CaptionReject.REPETITIVE, "0.67 of its words repeated"),
    ("Stock Photo of a red bus", CaptionReject.BOILERPLATE, "Stock Photo"),
    ("For sale: a red bus in Rome", CaptionReject.BOILERPLATE, "For sale"),
    ("all rights reserved by the owner", CaptionReject.BOILERPLATE, "all rights reserved"),
    ("Image may contain: one person", CaptionReject.BOILERPLATE, "Image may contain"),
    ("sign up now for our letter", CaptionReject.BOILERPLATE, "sign up now"),
    ("ten tips for a garden, read more ...", CaptionReject.BOILERPLATE, "read more ..."),
    ("Thumbnail for version as of May", CaptionReject.BOILERPLATE, "Thumbnail for"),
]


@pytest.mark.parametrize("caption", ORDINARY.splitlines())
def test_an_ordinary_caption_passes(caption):
    assert FilterCaption().verdict(caption) is None


def test_there_are_forty_ordinary_captions():
    assert len(ORDINARY.splitlines()) == 40


@pytest.mark.parametrize("caption", OTHER_LANGUAGES.splitlines())
def test_a_caption_in_another_language_passes(caption):
    assert FilterCaption().verdict(caption) is None


@pytest.mark.parametrize(("caption", "reason", "detail"), REFUSED)
def test_a_caption_that_says_nothing_has_its_reason(caption, reason, detail):
    assert FilterCaption().verdict(caption) == (reason, detail)


def test_every_reason_is_reached():
    assert {reason for _, reason, _ in REFUSED} == set(CaptionReject)


def test_the_table_keeps_every_row_in_order_with_its_count_and_reason():
    captions = ["a red bus", None, "", "IMG_1.jpg", "a cat & a dog"]
    rows = apply(FilterCaption(), table(caption=captions))
    assert [r["caption"] for r in rows] == captions
    assert [r["caption_num_words"] for r in rows] == [3, 0, 0, 2, 4]
    assert [r["reject_reason"] for r in rows] == [None, "missing_caption", "missing_caption", "file_name", None]
    assert apply(FilterCaption(), table(caption=captions).slice(0, 0)) == []


@pytest.mark.parametrize(
    ("settings", "caption"),
    [
        ({"min_words": 4}, "a red bus"),
        ({"max_words": 2}, "a red bus"),
        ({"min_letters_frac": 1.0}, "a red bus."),
        ({"max_repeated_frac": 0.0}, "a bus and a car"),
    ],
)
def test_thresholds_are_settings(settings, caption):
    assert FilterCaption().verdict(caption) is None
    assert FilterCaption(**settings).verdict(caption) is not None


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("it's a well-known dog\u2019s bone", 5), ("a_b c2d", 4), ("", 0), (None, 0),
        ("\u9ed2\u732b\u5750\u5728\u684c", 3),
        ("e\u0301te\u0301", 1), ("a\u200ed\u202eog", 1),
        ("\u0915\u093e\u0932\u0940 \u092c\u093f\u0932\u094d\u0932\u0940", 2),
    ],
)  # fmt: skip
def test_words_are_runs_of_letters(caption, words):
    assert num_words(caption) == words


@given(st.text())
def test_any_text_gets_a_verdict(caption):
    for stage in (FilterCaption(), FilterCaption(min_words=0, min_letters_frac=0)):
        verdict = stage.verdict(caption)
        assert verdict is None or isinstance(verdict[0], CaptionReject)


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "@a", "a@", "<a", "< ", "&#", "&aaaaaaa", " ", "img1", ".jpg ", "x.jpg", "read more ", "-a", "'",
     "\u9ed2", "a\u0301", "a@b", "\u200b"],
)  # fmt: skip
def test_a_caption_of_any_length_takes_linear_time(piece):
    started = time.perf_counter()
    FilterCaption().verdict("<" + piece * (400_000 // len(piece)))
    assert time.perf_counter() - started < 5  # quadratic would be hours

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image

from samples.image_limits import ImageProblem
from stages.report.histograms import Histogram, numeric_histogram
from stages.report.html import TEMPLATES, Report, ReportSample, StageCount, render_report
from stages.report.thumbnails import thumbnail

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "'\"><svg onload=alert(1)>",
    "<!--<script>",
    "a \u2028 b \u2029 c \x00 d \u202e e \ud800 f",
    "javascript:alert(1)",
    "&lt;b&gt; {{ 7 * 7 }} {% raw %}",
]


def jpeg(size=(40, 20), colour="red", mode="RGB", **options):
    out = BytesIO()
    Image.new(mode, size, colour).save(out, "JPEG", **options)
    return out.getvalue()


def report(samples=(), text="plain", **changes):
    made = Report(
        title=text,
        summary=text,
        manifest={"name": text},
        stages=[
            StageCount(
                name=text,
                fingerprint="ab" * 32,
                rows_in=0,
                rows_out=90,
                rejects={text: 10},
                notes={text: 3},
                seconds=75.0,
            ),
            StageCount(name="emit", fingerprint=text, rows_in=90, rows_out=90),
        ],
        histograms=[
            Histogram(column=text, unit=text, labels=(text, "b"), counts=(2, 1), num_missing=1, num_other=3),
            numeric_histogram([1, 2, 900], column="width_px", unit="px"),
        ],
        samples=samples,
        num_samples_total=90,
    )
    return dataclasses.replace(made, **changes)


def sample(text="plain", **images):
    fields = {"caption": text, "instruction": text, "edit_type": text, "source_url": text, "source_metadata": text}
    return ReportSample(sample_id=text, images=images or {"source": jpeg()}, fields=fields)


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.inline, self.text = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inline.append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.cdata_elem:
            self.inline[-1][2] += data
        else:
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def payload(self):
        (found,) = [text for tag, attrs, text in self.inline if attrs.get("type") == "application/json"]
        return json.loads(found)


def hostile_page():
    return Page(render_report(report([sample(text) for text in HOSTILE], text=" ".join(HOSTILE))))


def test_hostile_text_adds_no_element_to_the_page():
    plain = Page(render_report(report([sample() for _ in HOSTILE])))
    hostile = hostile_page()
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert [attrs.get("type") for attrs in hostile.all("script")] == ["application/json", None]


def test_hostile_text_adds_no_handler_style_or_address():
    for tag, attrs in hostile_page().elements:
        assert not [name for name in attrs if name.startswith("on") or name in ("style", "src", "srcset", "action")]
        if "href" in attrs:
            assert attrs["href"].startswith("#") or (tag, attrs["href"]) == ("link", "data:,")


def test_hostile_text_comes_back_from_the_json_unchanged():
    for text, entry in zip(HOSTILE, hostile_page().payload["samples"], strict=True):
        readable = text.replace("\ud800", "\ufffd")
        assert entry["id"] == readable
        assert set(entry["fields"].values()) == {readable}


def test_hostile_text_is_readable_outside_the_json():
    shown = "".join(hostile_page().text)
    for text in HOSTILE[:4]:
        assert text in shown


def test_json_has_no_character_that_ends_its_element_or_a_line():
    html = render_report(report([sample(text) for text in HOSTILE]))
    block = re.search(r'<script type="application/json" id="payload">(.*?)</script>', html, re.DOTALL)[1]
    assert block.isascii()
    assert not set("<>&\n") & set(block)


def test_policy_allows_exactly_the_inline_script_and_style():
    page = hostile_page()
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (text,) = [text for name, attrs, text in page.inline if name == tag and "type" not in attrs]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_policy_comes_before_everything_that_it_governs():
    tags = [tag for tag, _ in hostile_page().elements]
    assert tags[:5] == ["html", "head", "meta", "meta", "meta"]


def test_script_never_makes_markup_from_text():
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"):
        assert name not in script
    assert "\r" not in script
    assert "</script" not in script.lower()
    assert "<!--" not in script


def test_page_can_be_written_as_utf_8_and_holds_no_control_characters():
    html = render_report(report([sample(text) for text in HOSTILE], text=" ".join(HOSTILE)))
    html.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", html)


def test_page_says_how_many_of_how_many_samples_it_shows():
    html = render_report(report([sample(), sample()], num_samples_total=12345))
    assert "Showing 2 of 12,345 samples." in html


def test_stages_and_reject_reasons_are_shown_with_their_counts():
    stage = StageCount(
        name="filter_caption", fingerprint="f" * 64, rows_in=1500, rows_out=1200, rejects={"short": 100, "long": 200}
    )
    text = " ".join(" ".join(Page(render_report(report(stages=[stage]))).text).split())
    assert "filter_caption 1,500 1,200 300" in text
    assert text.index("long 200") < text.index("short 100")


def test_notes_are_shown_with_their_share_of_a_total():
    notes = {"answers": 200, "answers: wrong": 25, "other: alone": 7}
    stage = StageCount(name="write", fingerprint="ab" * 32, rows_in=9, rows_out=9, notes=notes)
    assert stage.notes_with_shares == [("answers", 200, None), ("answers: wrong", 25, 0.125), ("other: alone", 7, None)]
    page = render_report(report(stages=[stage]))
    assert "<bdi>answers: wrong</bdi>" in page
    assert "12.5 %" in page


def test_images_come_in_the_order_of_roles_as_data_urls():
    png = BytesIO()
    Image.new("L", (4, 4)).save(png, "PNG")
    made = sample(target_mask=png.getvalue(), target=jpeg(), source=jpeg(colour="blue"))
    (entry,) = Page(render_report(report([made]))).payload["samples"]
    assert [role for role, _ in entry["images"]] == ["source", "target", "target_mask"]
    assert entry["images"][0][1] == "data:image/jpeg;base64," + base64.b64encode(jpeg(colour="blue")).decode()
    assert entry["images"][2][1].startswith("data:image/png;base64,")


def test_values_are_shown_as_text_without_loss():
    fields = {"source_dhash": 2**64 - 1, "turn": None, "score": float("nan"), "tags": ["a", 1], "is_kept": True}
    made = ReportSample(sample_id="a", images={}, fields=fields)
    page = Page(render_report(report([made])))
    assert page.payload["samples"][0]["fields"] == {
        "source_dhash": "18446744073709551615",
        "turn": None,
        "score": "nan",
        "tags": '["a", 1]',
        "is_kept": "true",
    }
    assert page.payload["columns"]["turn"] == ["from 1", "place of the edit in its session"]


def test_image_of_unknown_role_or_format_is_refused():
    with pytest.raises(ValueError, match="image of role 'depth'"):
        render_report(report([sample(depth=jpeg())]))
    with pytest.raises(ValueError, match="the source thumbnail of sample 'plain' is neither JPEG nor PNG"):
        render_report(report([sample(source=b"<svg onload=alert(1)>")]))


def test_pixels_among_the_fields_are_refused():
    made = ReportSample(sample_id="a", images={}, fields={"source_raw": b"\xff"})
    with pytest.raises(TypeError, match="field 'source_raw' holds bytes"):
        render_report(report([made]))


def test_report_of_nothing_renders():
    html = render_report(report(stages=[], histograms=[], num_samples_total=0))
    assert "Showing 0 of 0 samples." in html


def test_columns_without_a_value_get_no_chart_and_are_named():
    empty = [numeric_histogram([None], column=name) for name in ("turn", "retrieval_cos")]
    page = render_report(report(histograms=[*empty, numeric_histogram([1, 2], column="width_px")]))
    assert len(Page(page).all("figure")) == 1
    shown = " ".join(" ".join(Page(page).text).split())
    assert "Without a value in any sample: turn , retrieval_cos ." in shown
    assert "No column was counted." not in shown
    assert "No column was counted." in render_report(report(histograms=empty))


def test_page_says_where_there_is_no_target_image():
    assert "There is no target image:" in render_report(report(lacks_target=True))
    assert "no target image" not in render_report(report())


def test_same_report_gives_the_same_page():
    made = report([sample(text) for text in HOSTILE])
    assert render_report(made) == render_report(made)


def test_thumbnail_fits_and_keeps_the_aspect_ratio():
    with Image.open(BytesIO(thumbnail(jpeg((1600, 400)), 192))) as small:
        assert (small.format, small.size) == ("JPEG", (192, 48))


def test_thumbnail_never_enlarges():
    with Image.open(BytesIO(thumbnail(jpeg((40, 20)), 192))) as small:
        assert small.size == (40, 20)


def test_thumbnail_puts_transparent_parts_on_white():
    out = BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(out, "PNG")
    with Image.open(BytesIO(thumbnail(out.getvalue()))) as small:
        assert min(small.getpixel((4, 4))) > 250


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_thumbnail_takes_masks_and_palettes(mode):
    out = BytesIO()
    Image.new(mode, (300, 8)).save(out, "PNG")
    with Image.open(BytesIO(thumbnail(out.getvalue(), 100))) as small:
        assert (small.mode, small.size[0]) == ("RGB", 100)


def test_thumbnail_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    with Image.open(BytesIO(thumbnail(jpeg((400, 200), exif=exif), 100))) as small:
        assert small.size == (50, 100)
        assert not small.getexif()


def test_thumbnail_of_no_image_raises():
    with pytest.raises(ImageProblem, match="no image format that is read"):
        thumbnail(b"no image")

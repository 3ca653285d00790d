import numpy as np
import pytest
from _folders import FakeEncoder, save
from PIL import Image

from core.errors import EvaluationError
from evaluation import measure as module
from evaluation.benchmark import Sample
from evaluation.images import open_rgb
from evaluation.judges import JudgeIds, Judges, load_judges, short_name
from evaluation.measure import measure
from evaluation.metrics import clip_scores, cosines, direction_cosines, l1, l2, ssim_in_and_out, unit_range
from evaluation.views import centre_224

RNG = np.random.default_rng(3)
MASK = np.zeros((12, 16), np.uint8)
MASK[2:8, 3:9] = 255
CLIP = FakeEncoder()
JUDGES = Judges({"c": CLIP}, {"d": CLIP}, {"c": CLIP})


@pytest.fixture
def files(tmp_path):
    made = {name: tmp_path / f"{name}.png" for name in ("edited", "target", "source", "mask", "larger")}
    for name in ("edited", "target", "source"):
        save(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8), made[name])
    save(MASK, made["mask"])
    save(RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8), made["larger"])
    return made


def sample_of(files, **changed):
    full = {
        "key": "k", "sections": ("all",), "reference": files["target"], "source": files["source"],
        "mask": files["mask"], "source_text": "a cat", "target_text": "a red dog",
    }  # fmt: skip
    return Sample(**full | changed)


def row_of(files, judges=JUDGES, edited="edited", **changed):
    return measure([sample_of(files, **changed)], {"k": files[edited]}, judges).rows[0]


def test_every_measure_is_that_of_its_definition(files):
    row = row_of(files)
    edited, target, source = (open_rgb(files[name]) for name in ("edited", "target", "source"))
    a, b, c, inside = unit_range(edited), unit_range(target), unit_range(source), MASK > 0
    emb = {name: CLIP.encode_images([image]) for name, image in (("e", edited), ("t", target), ("s", source))}
    before, after = CLIP.encode_texts(["a cat"]), CLIP.encode_texts(["a red dog"])
    expected = {
        "l1": l1(a, b), "l2": l2(a, b), "l1_inside": l1(a, b, inside), "l1_outside": l1(a, b, ~inside),
        "l2_inside": l2(a, b, inside), "l2_outside": l2(a, b, ~inside),
        "ssim_m": ssim_in_and_out(a, c, inside)[0], "ssim_not_m": ssim_in_and_out(a, c, inside)[1],
        "clip_i@c": cosines(emb["e"], emb["t"])[0], "clip_i_source@c": cosines(emb["e"], emb["s"])[0],
        "clip_t@c": cosines(emb["e"], after)[0], "clip_score@c": clip_scores(emb["e"], after)[0],
        "clip_t_target@c": cosines(emb["t"], after)[0],
        "clip_direction@c": direction_cosines(emb["s"], emb["e"], before, after)[0],
        "dino@d": cosines(emb["e"], emb["t"])[0], "dino_source@d": cosines(emb["e"], emb["s"])[0],
    }  # fmt: skip
    assert row == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}
    assert all(type(value) is float for value in row.values())


@pytest.mark.parametrize(
    ("changed", "lost"),
    [
        ({"mask": None}, {"l1_inside", "l1_outside", "l2_inside", "l2_outside", "ssim_m", "ssim_not_m"}),
        ({"source": None}, {"ssim_m", "ssim_not_m", "clip_i_source@c", "clip_direction@c", "dino_source@d"}),
        ({"source_text": ""}, {"clip_direction@c"}),
        ({"target_text": None}, {"clip_t@c", "clip_score@c", "clip_t_target@c", "clip_direction@c"}),
        (
            {"reference": None},
            {"l1", "l2", "l1_inside", "l1_outside", "l2_inside", "l2_outside", "clip_i@c", "clip_t_target@c", "dino@d"},
        ),
    ],
)
def test_what_is_not_known_is_left_out(files, changed, lost):
    assert set(row_of(files)) - set(row_of(files, **changed)) == lost


def test_a_protocol_without_true_results_compares_with_the_source(files):
    row = row_of(files, reference=files["source"])
    assert row["clip_i@c"] == pytest.approx(row_of(files)["clip_i_source@c"])
    assert not {"clip_i_source@c", "dino_source@d", "clip_t_target@c"} & set(row)


def test_a_blank_target_text_is_measured_as_the_script_does(files):
    assert "clip_t@c" in row_of(files, target_text="")


def test_the_edited_image_is_resized_to_the_one_it_is_compared_with(files):
    larger = open_rgb(files["larger"]).resize((16, 12))
    expected = l1(unit_range(larger), unit_range(open_rgb(files["target"])))
    assert row_of(files, edited="larger")["l1"] == pytest.approx(expected)


def test_a_mask_that_leaves_nothing_out_has_no_measure_there(files):
    save(np.full((12, 16), 255, np.uint8), files["mask"])
    assert {"l1_outside", "l2_outside", "ssim_not_m"} & set(row_of(files)) == set()


def test_a_portion_of_samples_is_embedded_once_and_gives_the_same_numbers(files, monkeypatch):
    class Counting(FakeEncoder):
        seen = 0

        def encode_images(self, images):
            self.seen += len(images)
            return super().encode_images(images)

    one = Counting()
    samples = [sample_of(files, key=f"k{n}") for n in range(5)]
    outputs = {f"k{n}": files["edited"] for n in range(5)}
    together = measure(samples, outputs, Judges({"c": one}, {"c": one}, {"c": one}))
    assert one.seen == 3
    assert set(together.features["c"]) == {files[name] for name in ("edited", "target", "source")}
    monkeypatch.setattr(module, "SAMPLES_AT_ONCE", 2)
    shown = []
    apart = measure(samples, outputs, Judges({"c": one}, {"c": one}, {"c": one}), progress=lambda *a: shown.append(a))
    assert apart.rows == together.rows
    assert shown == [("scored", 2, 5), ("scored", 4, 5), ("scored", 5, 5)]


def test_a_judge_is_shown_the_view_that_the_benchmark_declares(files):
    flipped = lambda images: [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]  # noqa: E731
    sample, outputs = sample_of(files), {"k": files["edited"]}
    plain = measure([sample], outputs, JUDGES).rows[0]
    for measure_, judge, column in (("dino", "d", "dino@d"), ("clip", "c", "clip_t@c")):
        seen = measure([sample], outputs, JUDGES, views={measure_: flipped})
        edited, target = (flipped([open_rgb(files[name])]) for name in ("edited", "target"))
        emb = CLIP.encode_images(edited)
        other = CLIP.encode_images(target) if judge == "d" else CLIP.encode_texts(["a red dog"])
        assert seen.rows[0][column] == pytest.approx(cosines(emb, other)[0], abs=1e-6)
        assert {name for name in plain if seen.rows[0][name] != plain[name]} <= {
            name for name in plain if name.endswith(f"@{judge}")
        }


def test_an_image_too_small_for_ssim_is_named(files):
    for name in ("source", "mask"):
        save(np.zeros((12, 5, 3), np.uint8), files[name])
    with pytest.raises(EvaluationError, match=r"source.png: an image of 5 x 12 pixels is too small for SSIM"):
        row_of(files, reference=None)


def test_the_centre_is_cut_as_by_torchvisions_transforms():
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    expected = Compose([Resize(256, interpolation=InterpolationMode.BICUBIC), CenterCrop(224)])
    for size in ((64, 64), (300, 301), (1024, 683), (257, 900)):
        image = Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        assert centre_224([image])[0].tobytes() == expected(image).tobytes()


def test_names_carry_no_commit_and_two_revisions_of_one_model_are_refused():
    assert short_name("hf:facebook/dino-vits16@" + "a" * 40) == "hf:facebook/dino-vits16"
    assert short_name("path:/models/a@b") == "path:/models/a@b"
    twice = JudgeIds(clip=("hf:a/b@" + "1" * 40,), fid=("hf:a/b@" + "2" * 40,))
    with pytest.raises(EvaluationError, match="hf:a/b is named in two revisions; measure with one of them"):
        load_judges(twice)


def test_a_network_is_loaded_once_whatever_it_judges(monkeypatch):
    asked = []
    monkeypatch.setattr("evaluation.loading.load_model", lambda *a: asked.append(a[:2]) or object())
    judges = load_judges(JudgeIds(clip=("zoo:clip",), dino=("zoo:dino",), fid=("zoo:dino", "zoo:clip")))
    assert asked == [("ImageTextEncoder", "zoo:clip"), ("ImageEncoder", "zoo:dino")]
    assert judges.fid["zoo:clip"] is judges.clip["zoo:clip"]
    asked.clear()
    load_judges(JudgeIds(fid=("zoo:clip",)))
    assert asked == [("ImageTextEncoder", "zoo:clip")]

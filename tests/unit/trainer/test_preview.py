import numpy as np
import pytest
from _datasets import encoded, sample_members, write_dataset
from PIL import Image

from core.errors import ContractError, SampleError
from samples.shards import read_shards
from trainer.preview import Previewer


class Inverting:
    """An editor that inverts colours and keeps what it was asked."""

    uses = frozenset({"source_caption", "mask"})

    def __init__(self, *needs, trained_on=()):
        self.needs, self.trained_on, self.asked = frozenset(needs), frozenset(trained_on), []

    def edit(self, requests, *, seeds):
        self.asked = list(zip(requests, seeds, strict=True))
        return [Image.fromarray(255 - np.asarray(request.image)) for request in requests]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    return (read_shards(write_dataset(tmp_path_factory.mktemp("data"), (2, 2))),)


def test_grid_has_source_edit_and_target_of_the_first_samples(datasets):
    pixels = np.asarray(Previewer(Inverting(), datasets, 16).grid(3, seed=0), int)
    assert pixels.shape == (3 * 16, 3 * 16, 3)
    assert (pixels[:, :16] == 255 - pixels[:, 16:32]).all()
    assert (pixels[:, :16] != pixels[:, 32:]).any()


def test_grid_shows_samples_of_all_datasets(datasets, tmp_path):
    from _datasets import sample_members

    further = read_shards(write_dataset(tmp_path, (3,), lambda index: sample_members(index + 50)))
    one, other, both = (
        np.asarray(Previewer(Inverting(), lists, 16).grid(3, seed=0))
        for lists in (datasets, (further,), (*datasets, further))
    )
    assert (both[:32, :16] == one[:32, :16]).all()
    assert (both[32:, :16] == other[:16, :16]).all()


def test_editor_is_given_what_it_needs_and_nothing_more(datasets):
    editor = Inverting("instruction", "target_caption", "mask")
    Previewer(editor, datasets, 16).grid(2, seed=2)
    (request, seed), (_, other) = editor.asked
    assert (seed, other) == (2018, 2019)
    assert request.instruction
    assert request.target_caption
    assert request.source_caption is None
    assert (request.mask.dtype, request.mask.shape) == (bool, (16, 16))


def test_editor_trained_on_examples_is_given_the_first_one(tmp_path):
    """The second sample has two examples, the first has none."""

    def members(index):
        grey = [encoded(np.full((16, 16, 3), value, np.uint8), "PNG") for value in (10, 20, 30, 40)]
        names = ("example_source.png", "example_target.png", "example_source1.png", "example_target1.png")
        return sample_members(index) | (dict(zip(names, grey, strict=True)) if index else {})

    dataset = read_shards(write_dataset(tmp_path, (2,), members))
    given, plain = Inverting("instruction", trained_on=("examples",)), Inverting("instruction")
    for editor in (given, plain):
        Previewer(editor, (dataset,), 16).grid(2, seed=0)
    found = [[[one.getpixel((0, 0))[0] for one in pair] for pair in one.examples] for one, _ in given.asked]
    assert found == [[], [[10, 20]]]
    assert [one.examples for one, _ in plain.asked] == [(), ()]


def test_editor_trained_on_regions_is_given_those_that_samples_have(tmp_path):
    """The second sample has a region in its left half, the first has none."""

    def with_region(index):
        region = {"region_mask.png": encoded(np.uint8([[255] * 8 + [0] * 8] * 16), "PNG")} if index else {}
        return {**sample_members(index), **region}

    found = read_shards(write_dataset(tmp_path, (2,), with_region))
    editor = Inverting("instruction", trained_on={"mask"})
    Previewer(editor, (found,), 16).grid(2, seed=0)
    (without, _), (masked, _) = editor.asked
    assert without.mask is None
    assert (masked.mask == [[True] * 8 + [False] * 8] * 16).all()
    editor = Inverting("instruction")
    Previewer(editor, (found,), 16).grid(2, seed=0)
    assert [request.mask for request, _ in editor.asked] == [None, None]


def test_dataset_without_targets_is_previewed_without_them(tmp_path):
    def bare(index):
        return {name: content for name, content in sample_members(index).items() if name != "target.jpg"}

    found = read_shards(write_dataset(tmp_path, (1,), bare))
    assert Previewer(Inverting(), (found,), 16).grid(1, seed=0).size == (32, 16)


def test_editor_that_needs_what_no_column_has_is_refused(datasets):
    with pytest.raises(ContractError, match="the recipe's editor needs 'examples', which previews cannot give it"):
        Previewer(Inverting("examples"), datasets, 16)


def test_sample_without_what_the_editor_needs_is_named(tmp_path):
    found = read_shards(write_dataset(tmp_path, (1,), lambda index: {**sample_members(index), "json": b"{}"}))
    with pytest.raises(SampleError, match="sample 00000: json cannot be read: it states no instruction"):
        Previewer(Inverting("instruction"), (found,), 16).grid(1, seed=0)


def test_editors_own_pictures_stand_between_source_and_edit(datasets):
    class Shows(Inverting):
        def pictures(self, requests):
            return [Image.new("RGB", (32, 16), (7, 8, 9)) for _ in requests]

    pixels = np.asarray(Previewer(Shows(), datasets, 16).grid(2, seed=0), int)
    assert pixels.shape == (2 * 16, 5 * 16, 3)
    assert (pixels[:, 16:48] == (7, 8, 9)).all()
    assert (pixels[:, :16] == 255 - pixels[:, 48:64]).all()


def test_editor_trained_on_target_captions_is_given_them(datasets):
    editor = Inverting("instruction", trained_on=("target_caption",))
    Previewer(editor, datasets, 16).grid(1, seed=0)
    assert editor.asked[0][0].target_caption

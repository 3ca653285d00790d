import json

import numpy as np
import pytest
from _checkpoints import IMAGES, make_image, placement, save_clip, weights_at

from core.errors import ModelError
from models import model_ids, registry
from models.encoders import convert_clip
from models.encoders.clip import Clip
from models.encoders.open_clip_encoder import OpenClip
from models.schemes.weights import Weights

TEXTS = ["a red car", "the cat on the grass", "blue", "a photo of a cat", "the red cat on the grass " * 20, ""]
SQUARE = [make_image(28, 28, seed) for seed in range(5)]
"""Pictures that need no resizing: transformers does it by torchvision on the tensor, open_clip by Pillow."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("open_clip") / "made"
    assert convert_clip.main([str(folder), str(target)]) == 0
    return target


@pytest.fixture(scope="module")
def converted_clip(converted):
    return OpenClip(weights_at(converted), placement())


def cache(folder, name, content):
    """A file of owner/tiny in this cache of the Hub."""
    commit = "0" * 40
    file = folder / "models--owner--tiny" / "snapshots" / commit / name
    ref = folder / "models--owner--tiny" / "refs" / "main"
    for path in (file, ref):
        path.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    ref.write_text(commit)
    return file


def of_tag(name):
    return Weights(f"open_clip:{name}", "open_clip", name, name.rpartition("/")[2], is_local=False)


def test_the_same_weights_give_the_same_embeddings_through_both_libraries(folder, converted_clip):
    clip = Clip(weights_at(folder), placement())
    assert converted_clip.dim == clip.dim == 24
    np.testing.assert_allclose(converted_clip.encode_texts(TEXTS), clip.encode_texts(TEXTS), atol=1e-4)
    np.testing.assert_allclose(converted_clip.encode_images(SQUARE), clip.encode_images(SQUARE), atol=1e-4)
    cos = (converted_clip.encode_images(IMAGES) * clip.encode_images(IMAGES)).sum(axis=1)
    assert cos.min() > 0.999


def test_plain_gelu_is_kept_by_the_conversion(tmp_path):
    folder = save_clip(tmp_path / "gelu", hidden_act="gelu")
    convert_clip.convert(folder, tmp_path / "made")
    assert json.loads((tmp_path / "made" / "open_clip_config.json").read_text())["model_cfg"]["quick_gelu"] is False
    made, clip = OpenClip(weights_at(tmp_path / "made"), placement()), Clip(weights_at(folder), placement())
    np.testing.assert_allclose(made.encode_texts(TEXTS), clip.encode_texts(TEXTS), atol=1e-4)


def test_the_end_of_text_of_the_first_clip_configurations_is_found(tmp_path):
    folder = save_clip(tmp_path / "first", eos_token_id=2)
    convert_clip.convert(folder, tmp_path / "made")
    made, clip = OpenClip(weights_at(tmp_path / "made"), placement()), Clip(weights_at(folder), placement())
    np.testing.assert_allclose(made.encode_texts(TEXTS), clip.encode_texts(TEXTS), atol=1e-4)


def test_an_activation_that_open_clip_lacks_is_refused(tmp_path):
    folder = save_clip(tmp_path / "relu", hidden_act="relu")
    with pytest.raises(ValueError, match="activations are relu and relu; open_clip has one for both, quick_gelu or"):
        convert_clip.convert(folder, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_preprocessing_that_open_clip_lacks_is_refused():
    from transformers import CLIPImageProcessor

    crop = {"height": 28, "width": 28}
    nearest = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=crop, resample=0)
    with pytest.raises(ValueError, match="resized with Pillow's filter 0; open_clip has bilinear or bicubic"):
        convert_clip.preprocess_config(nearest, 28)
    wide = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop)
    with pytest.raises(ValueError, match=r"resized to \{'shortest_edge': 32\} and cropped to .*, the model takes 28;"):
        convert_clip.preprocess_config(wide, 28)
    squashed = CLIPImageProcessor(size=crop, do_center_crop=False)
    assert convert_clip.preprocess_config(squashed, 28)["resize_mode"] == "squash"


def test_embeddings_are_those_of_the_library(converted, converted_clip):
    import open_clip
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{converted}")
    model.eval()
    tokenize = open_clip.get_tokenizer(f"local-dir:{converted}")
    with torch.no_grad():
        images = model.encode_image(torch.stack([preprocess(p) for p in IMAGES]), normalize=True).numpy()
        texts = model.encode_text(tokenize(TEXTS), normalize=True).numpy()
    np.testing.assert_allclose(converted_clip.encode_images(IMAGES), images, atol=1e-4)
    np.testing.assert_allclose(converted_clip.encode_texts(TEXTS), texts, atol=1e-4)


def test_a_row_does_not_depend_on_its_batch(converted_clip):
    alone = np.concatenate([converted_clip.encode_images([image]) for image in IMAGES])
    np.testing.assert_allclose(alone, converted_clip.encode_images(IMAGES), atol=1e-4)


def test_nothing_in_gives_nothing_out(converted_clip):
    assert converted_clip.encode_images([]).shape == (0, 24)
    assert converted_clip.encode_texts([]).shape == (0, 24)


def test_an_unknown_tag_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match=r"no weights 'ViT-B-32/best' \(its tags for ViT-B-32: openai, "):
        OpenClip(of_tag("ViT-B-32/best"), placement())
    with pytest.raises(ModelError, match="no architecture is called 'ViT-Z'"):
        OpenClip(of_tag("ViT-Z/openai"), placement())


def test_weights_that_are_not_downloaded_are_named_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("EDITLOOM_DOWNLOAD", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ModelError) as error:
        OpenClip(of_tag("ViT-L-14/openai"), placement())
    assert (
        str(error.value)
        == line_of("open_clip:ViT-L-14/openai")
        == (
            f"model 'open_clip:ViT-L-14/openai' is not in the local cache {tmp_path}; get it with "
            "`editloom fetch open_clip:ViT-L-14/openai`, or set EDITLOOM_DOWNLOAD=1 to let workers do so"
        )
    )
    assert line_of("open_clip:ViT-Z/openai").startswith("open_clip has no weights 'ViT-Z/openai'")


def line_of(model_id):
    [lack] = registry.missing(model_id)
    return lack.message


@pytest.fixture
def tag_of(monkeypatch, tmp_path):
    """Gives open_clip one more tag, `tiny/best`, with an empty cache and downloads allowed."""
    import open_clip

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return lambda **known: monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"best": known})


@pytest.mark.parametrize(
    ("hosted", "file"),
    [
        ("owner/tiny/", "open_clip_model.safetensors"),
        ("owner/tiny/open_clip_pytorch_model.bin", "open_clip_model.safetensors"),
        ("owner/tiny/pytorch_model.bin", "pytorch_model.safetensors"),
        ("owner/tiny/own.pt", "own.safetensors"),
    ],
)
def test_a_download_asks_for_safetensors_whatever_the_tag_names(tag_of, monkeypatch, tmp_path, hosted, file):
    asked = []

    def hf_hub_download(*names, **options):
        asked.append((*names, options))
        return "/fetched"

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    tag_of(hf_hub=hosted, url="https://host/tiny.pt")
    assert registry.missing("open_clip:tiny/best") == []
    model_ids.fetch(of_tag("tiny/best"))
    assert asked == [("owner/tiny", file, {"cache_dir": tmp_path})]


def test_a_tag_that_is_a_pickle_only_is_refused(tag_of, monkeypatch):
    import httpx2
    from huggingface_hub.errors import RemoteEntryNotFoundError

    def hf_hub_download(*_names, **_options):
        raise RemoteEntryNotFoundError(
            "404", response=httpx2.Response(404, request=httpx2.Request("GET", "https://hub"))
        )

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    tag_of(hf_hub="owner/tiny/")
    with pytest.raises(ModelError, match=r"^model .* from owner/tiny, which has no open_clip_model.safetensors, as a"):
        model_ids.fetch(of_tag("tiny/best"))
    tag_of(url="https://host/tiny.pt")
    assert line_of("open_clip:tiny/best") == (
        "model 'open_clip:tiny/best': open_clip has these weights from a web address, as a pickle, which runs code "
        "when it is opened; name another tag, or a checkpoint in safetensors by hf: or path:"
    )


def test_a_cached_pickle_does_not_stand_in_for_safetensors(tag_of, monkeypatch, tmp_path):
    monkeypatch.delenv("EDITLOOM_DOWNLOAD")
    tag_of(hf_hub="owner/tiny/")
    cache(tmp_path, "open_clip_pytorch_model.bin", b"pickle")
    assert "is not in the local cache" in line_of("open_clip:tiny/best")
    cache(tmp_path, "open_clip_model.safetensors", b"weights")
    assert registry.missing("open_clip:tiny/best") == []


def test_a_cached_tag_keeps_its_own_activation_and_preprocessing(converted, tag_of, monkeypatch, tmp_path):
    import open_clip

    reported = {}
    known = {"hf_hub": "owner/tiny/", "quick_gelu": True, "mean": (0.1, 0.2, 0.3), "resize_mode": "squash"}
    name = "open_clip_model.safetensors"
    weights_file = cache(tmp_path, name, (converted / name).read_bytes())
    tag_of(**known)
    config = json.loads((converted / "open_clip_config.json").read_text())["model_cfg"]
    del config["text_cfg"]["hf_tokenizer_name"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", {**config, "quick_gelu": False})
    create = open_clip.create_model_and_transforms

    def spy(name, **arguments):
        reported.update(arguments)
        return create(name, **arguments)

    monkeypatch.setattr(open_clip, "create_model_and_transforms", spy)
    encoder = OpenClip(of_tag("tiny/best"), placement())
    assert reported["pretrained"] == str(weights_file)
    assert reported["force_quick_gelu"] is True
    assert encoder._model.visual.preprocess_cfg["mean"] == (0.1, 0.2, 0.3)
    same = OpenClip(weights_at(converted), placement())
    pixels = encoder._preprocess(SQUARE[0])[None]
    np.testing.assert_allclose(
        encoder._model.encode_image(pixels).detach(), same._model.encode_image(pixels).detach(), atol=1e-6
    )

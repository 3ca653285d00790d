import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file

from zoo import export as exports
from zoo import train_sd, train_vae


@pytest.fixture(autouse=True)
def _output(tmp_path, monkeypatch):
    monkeypatch.setenv(exports.OUTPUT_VARIABLE, str(tmp_path))


def test_a_model_is_written_in_half_precision_and_its_card_kept(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "README.md").write_text("card")
    exports.export("toy", train_vae.build())
    tensors = load_file(tmp_path / "toy" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert (tmp_path / "toy" / "README.md").read_text() == "card"


def test_a_pipeline_is_written_and_loads_again(tmp_path):
    whole = train_sd.pipeline(train_sd.Trained(), train_vae.build())
    exports.export("toy", whole.to(dtype=torch.float16))
    again = StableDiffusionPipeline.from_pretrained(tmp_path / "toy", use_safetensors=True, safety_checker=None)
    assert isinstance(again.unet, UNet2DConditionModel)
    assert isinstance(again.vae, AutoencoderKL)
    assert isinstance(again.scheduler, DDIMScheduler)


def test_weights_that_two_models_have_in_common_are_kept_once(tmp_path):
    for name in ("one", "two"):
        for part in ("same", "own"):
            (tmp_path / name / part).mkdir(parents=True)
            text = "equal" if part == "same" else name
            (tmp_path / name / part / "model.safetensors").write_text(text)
    exports.share("two", "one")
    link, own = (tmp_path / "two" / part / "model.safetensors" for part in ("same", "own"))
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert (link.read_text(), own.read_text()) == ("equal", "two")
    assert not own.is_symlink()


def test_other_weights_have_another_fingerprint(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "model.safetensors").write_text("a")
    before = exports.fingerprint_of("one")
    assert exports.fingerprint_of("one") == before
    (tmp_path / "one" / "model.safetensors").write_text("b")
    assert exports.fingerprint_of("one") != before


def test_a_model_that_was_read_from_a_folder_does_not_say_from_which(tmp_path):
    exports.export("one", train_vae.build())
    again = AutoencoderKL.from_pretrained(tmp_path / "one", use_safetensors=True)
    exports.export("two", again)
    assert str(tmp_path) not in (tmp_path / "two" / "config.json").read_text()
    assert AutoencoderKL.from_pretrained(tmp_path / "two", use_safetensors=True).config.latent_channels == 4

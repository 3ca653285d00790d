import diffusers
import pytest
from _checkpoints import placement, save_stable_diffusion, weights_at

from models.diffusion.prompt_to_prompt.synthesizer import PromptToPrompt


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def models(folder):
    found = {}

    def make(**settings):
        key = tuple(sorted(settings.items()))
        if key not in found:
            found[key] = PromptToPrompt(
                weights_at(folder), placement(3), **{"size_px": 64, "max_self_tokens": 64, **settings}
            )
        return found[key]

    return make


@pytest.fixture
def scheduled(models):
    """A model that runs on a scheduler of another name, for one test."""
    was = models()._sampler._scheduler, models(shares_noise=False)._sampler._scheduler

    def make(name, **settings):
        model = models(**settings)
        model._sampler._scheduler = getattr(diffusers, name).from_config(was[0].config)
        return model

    yield make
    models()._sampler._scheduler, models(shares_noise=False)._sampler._scheduler = was

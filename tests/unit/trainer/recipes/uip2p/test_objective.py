"""Which sample has which loss, what each loss runs, and the attention loss recomputed from the layers' inputs."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from _checkpoints import save_stable_diffusion_2
from _cycle_edits import CTX, NO_DROPOUT, OFF, ONLY, first_batch, settings, stir, trained

from trainer.diffusion.editors import open_editor
from trainer.draws import Draws
from trainer.recipes.uip2p.objective import Uip2pObjective

pytestmark = pytest.mark.usefixtures("one_thread")

MIXED = {"text_dropout": 0.25, "image_dropout": 0.25, "both_dropout": 0.25}
NAMES = ["direction", "attention", "similarity", "reconstruction", "identity", "dropped"]
NUM_SAMPLES = 4


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    return first_batch(tmp_path_factory.mktemp("data"), NUM_SAMPLES)


@pytest.fixture(scope="module")
def clip():
    return CTX.load("DifferentiableImageText", "zoo:clip")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """(checkpoint, kind) of a small SD 2."""
    return open_editor(settings(model=f"path:{save_stable_diffusion_2(tmp_path_factory.mktemp('m') / 'sd2')}"), CTX)


@pytest.fixture
def made(opened, clip):
    """Called with settings: the objective, its UNet as `stir` leaves it."""
    plain = opened.checkpoint.unet.attn_processors
    weights = {name: tensor.clone() for name, tensor in opened.checkpoint.unet.state_dict().items()}

    def make(**more):
        opened.checkpoint.unet.load_state_dict(weights)
        opened.checkpoint.unet.set_attn_processor(dict(plain))
        one = settings(**more)
        return stir(Uip2pObjective(one, opened, clip if one.needs_clip else None))

    yield make
    opened.checkpoint.unet.load_state_dict(weights)
    opened.checkpoint.unet.set_attn_processor(dict(plain))


def loss_of(objective, batch, seed=0):
    return objective.loss(batch, Draws(seed, batch.number_B))


def dropped_by(objective, batch, seed):
    """(loses its text, loses its image) of each sample."""
    dropped = objective._dropout.dropped(Draws(seed, batch.number_B).uniform("dropout"))
    return list(zip(dropped.text_B.tolist(), dropped.image_B.tolist(), strict=True))


def seed_of_all_kinds(objective, batch):
    """A seed with which one sample keeps its conditions, one loses its text, one its image, one both."""
    return next(seed for seed in range(1000) if len(set(dropped_by(objective, batch, seed))) == NUM_SAMPLES)


@pytest.fixture
def inputs_seen(opened):
    """Called without anything: a list of (input, timestep, text) that the UNet takes from then on."""
    hooks = []

    def watch():
        seen = []
        hooks.append(opened.checkpoint.unet.register_forward_pre_hook(lambda _, args: seen.append(args)))
        return seen

    yield watch
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize(
    ("more", "num_passes", "num_decoded"),
    [
        (ONLY["direction"], 1, 1),
        (ONLY["similarity"], 1, 1),
        (ONLY["direction"] | ONLY["similarity"], 1, 1),
        (ONLY["attention"], 2, 0),
        (ONLY["reconstruction"], 2, 1),
        (ONLY["attention"] | ONLY["direction"], 2, 1),
        (ONLY["reconstruction"] | ONLY["direction"], 2, 2),
        (ONLY["direction"] | ONLY["identity"], 2, 1),
        (ONLY["reconstruction"] | ONLY["identity"], 3, 1),
        (ONLY["direction"] | {"identity_loss": True, "lambda_identity": 0.0}, 1, 1),
        (ONLY["reconstruction"] | {"clean_cycle_condition": True, "clean_steps": 3}, 5, 1),
        (ONLY["direction"] | {"clean_cycle_condition": True}, 1, 1),
    ],
)
def test_passes_and_decoded_images_are_those_that_a_loss_needs(
    made, batch, monkeypatch, inputs_seen, more, num_passes, num_decoded
):
    objective, seen, decoded = made(**NO_DROPOUT, **OFF | more), inputs_seen(), []
    latents = objective._checkpoint.latents
    decode = latents.decode
    monkeypatch.setattr(latents, "decode", lambda latent: decoded.append(latent) or decode(latent))
    loss_of(objective, batch)
    assert (len(seen), len(decoded)) == (num_passes, num_decoded)
    assert {len(given) for given, _, _ in seen} == {NUM_SAMPLES}


def test_dropped_samples_run_one_pass_beside_the_cycle_of_the_others(made, batch, inputs_seen):
    objective = made(**MIXED)
    seed, seen = seed_of_all_kinds(objective, batch), inputs_seen()
    loss_of(objective, batch, seed)
    assert [len(given) for given, _, _ in seen] == [1, 1, 3]


@pytest.mark.parametrize("name", ONLY)
def test_a_loss_that_is_off_is_no_part(made, batch, name):
    more = ONLY[name] if name != "identity" else ONLY["identity"] | ONLY["direction"]
    _, parts = loss_of(made(**NO_DROPOUT, **OFF | more), batch)
    assert list(parts) == (["direction", "identity"] if name == "identity" else [name])


def test_names_of_the_parts_are_the_same_whatever_is_dropped(made, batch):
    objective = made(text_dropout=0.2, image_dropout=0.2, both_dropout=0.1, identity_loss=True)
    kinds = set()
    for seed in range(200):
        dropped = [any(one) for one in dropped_by(objective, batch, seed)]
        kind = (any(dropped), all(dropped))
        if kind not in kinds:
            kinds.add(kind)
            total, parts = loss_of(objective, batch, seed)
            assert list(parts) == NAMES
            assert total.isfinite()
            assert (float(parts["dropped"]) > 0) == any(dropped)
            assert all((float(parts[name]) != 0) == (not all(dropped)) for name in NAMES[:-1])
    assert len(kinds) == 3
    assert list(loss_of(made(), batch)[1]) == [name for name in NAMES if name != "identity"]


def test_loss_is_the_weighted_sum_of_its_parts(made, batch):
    weights = dict(zip(NAMES, (0.7, 0.3, 1.1, 1.3, 0.4, 1.0), strict=True))
    keys = ("lambda_clip", "lambda_attn", "lambda_sim", "lambda_recon", "lambda_identity")
    objective = made(**MIXED, identity_loss=True, **dict(zip(keys, weights.values(), strict=False)))
    total, parts = loss_of(objective, batch, seed_of_all_kinds(objective, batch))
    assert float(total.detach()) == pytest.approx(sum(weights[name] * float(parts[name]) for name in NAMES), rel=1e-5)
    assert not any(part.requires_grad for part in parts.values())


def test_weights_of_the_paper_are_the_defaults(made):
    weights = settings(identity_loss=True).loss_weights()
    assert weights == dict(zip(NAMES, (1.0, 0.5, 1.0, 1.0, 0.2, 1.0), strict=True))


@pytest.mark.parametrize("more", [{}, {"clean_cycle_condition": True, "norm": "l2"}])
def test_loss_of_a_batch_is_the_mean_of_its_samples_taken_alone(made, batch, more):
    objective = made(**MIXED, identity_loss=True, **more)
    seed = seed_of_all_kinds(objective, batch)
    total, parts = loss_of(objective, batch, seed)
    alone = [loss_of(objective, batch.select([row]), seed) for row in range(NUM_SAMPLES)]
    assert float(total.detach()) == pytest.approx(np.mean([float(one.detach()) for one, _ in alone]), rel=1e-4)
    for name in NAMES:
        assert float(parts[name]) == pytest.approx(np.mean([float(one[name]) for _, one in alone]), rel=1e-4)
    assert Counter(float(one["dropped"]) > 0 for _, one in alone) == {True: 3, False: 1}


@pytest.mark.parametrize("share", ["text_dropout", "image_dropout", "both_dropout"])
def test_dropped_conditions_do_not_reach_the_network(made, batch, inputs_seen, share):
    objective, seen = made(**NO_DROPOUT | {share: 1.0}), inputs_seen()
    loss_of(objective, batch)
    ((given, timestep_B, text),) = seen
    checkpoint, draws = objective._checkpoint, Draws(0, batch.number_B)
    source = checkpoint.latents.encode(batch["source_images"][0])
    noise = draws.normal("noise", source.shape[1:])
    expected = checkpoint.pipeline.scheduler.add_noise(source, noise, draws.integers("timestep", 1000))
    torch.testing.assert_close(given[:, :4], expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(timestep_B, draws.integers("timestep", 1000))
    shown = torch.zeros_like(source) if share != "text_dropout" else checkpoint.latents.unscaled(source)
    torch.testing.assert_close(given[:, 4:], shown)
    texts = [""] * NUM_SAMPLES if share != "image_dropout" else batch["reverse_instruction"]
    torch.testing.assert_close(text, checkpoint.encode_texts(texts).tokens_BLD)


@pytest.mark.parametrize("share", ["text_dropout", "image_dropout", "both_dropout"])
def test_target_of_dropped_samples_is_the_source(made, batch, monkeypatch, share):
    """A network that predicts what the scheduler of diffusers asks for the source has no loss."""
    objective = made(**NO_DROPOUT | {share: 1.0})
    checkpoint = objective._checkpoint
    source = checkpoint.latents.encode(batch["source_images"][0])

    def perfect(_, timestep_B, texts):
        noise = Draws(0, batch.number_B).normal("noise", source.shape[1:])
        return checkpoint.pipeline.scheduler.get_velocity(source, noise, timestep_B)

    assert float(loss_of(objective, batch)[1]["dropped"]) > 0.1
    monkeypatch.setattr(checkpoint, "predict", perfect)
    assert float(loss_of(objective, batch)[1]["dropped"]) < 1e-9


def test_identity_loss_asks_for_the_source_by_the_reverse_instruction(made, batch, monkeypatch, inputs_seen):
    objective, seen = made(**NO_DROPOUT, **OFF | ONLY["direction"] | ONLY["identity"]), inputs_seen()
    checkpoint, draws = objective._checkpoint, Draws(0, batch.number_B)
    _, parts = loss_of(objective, batch)
    given, timestep_B, text = seen[1]
    source = checkpoint.latents.encode(batch["source_images"][0])
    noise = draws.normal("identity_noise", source.shape[1:])
    scheduler = checkpoint.pipeline.scheduler
    torch.testing.assert_close(given[:, :4], scheduler.add_noise(source, noise, timestep_B), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(given[:, 4:], checkpoint.latents.unscaled(source))
    torch.testing.assert_close(text, checkpoint.encode_texts(batch["reverse_instruction"]).tokens_BLD)
    with torch.no_grad():
        out = checkpoint.unet(given, timestep_B, text).sample
    expected = (out - scheduler.get_velocity(source, noise, timestep_B)).square().mean()
    assert float(parts["identity"]) == pytest.approx(float(expected), rel=1e-4)


def test_passes_take_the_instruction_and_then_the_one_that_undoes_it(made, batch, inputs_seen):
    objective, seen = made(**NO_DROPOUT, **OFF | ONLY["reconstruction"]), inputs_seen()
    loss_of(objective, batch)
    (first, forth_B, instruction), (second, back_B, undo) = seen
    checkpoint, draws = objective._checkpoint, Draws(0, batch.number_B)
    for name, text in (("instruction", instruction), ("reverse_instruction", undo)):
        torch.testing.assert_close(text, checkpoint.encode_texts(batch[name]).tokens_BLD)
    source = checkpoint.latents.encode(batch["source_images"][0])
    torch.testing.assert_close(first[:, 4:], checkpoint.latents.unscaled(source))
    with torch.no_grad():
        out = checkpoint.unet(first, forth_B, instruction).sample
    edited = objective.schedule.clean_in(out, first[:, :4], forth_B)
    torch.testing.assert_close(second[:, 4:], checkpoint.latents.unscaled(edited), atol=1e-4, rtol=1e-4)
    noise = draws.normal("reverse_noise", source.shape[1:])
    expected = checkpoint.pipeline.scheduler.add_noise(edited, noise, back_B)
    torch.testing.assert_close(second[:, :4], expected, atol=1e-4, rtol=1e-4)


def test_image_losses_are_those_of_what_the_passes_decode_to(made, batch, clip, inputs_seen):
    objective, seen = made(**NO_DROPOUT), inputs_seen()
    _, parts = loss_of(objective, batch)
    checkpoint, source = objective._checkpoint, batch["source_images"][0]
    vae, images = checkpoint.pipeline.vae, [source]
    with torch.no_grad():
        for given, timestep_B, text in list(seen):
            out = checkpoint.unet(given, timestep_B, text).sample
            clean = objective.schedule.clean_in(out, given[:, :4], timestep_B)
            images.append(vae.decode(clean / vae.config.scaling_factor).sample)
        of_source, of_edited, of_found = (clip.image_emb((image + 1) / 2).numpy() for image in images)
    before, after = (clip.text_emb(batch[name]).numpy() for name in ("source_caption", "target_caption"))

    def cosine(one, other):
        return (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)

    expected = {
        "direction": 1 - cosine(of_edited - of_source, after - before),
        "similarity": 1 - cosine(of_edited, after),
        "reconstruction": np.square((images[2] - source).numpy()).mean((1, 2, 3)) + 1 - cosine(of_source, of_found),
    }
    for name, values in expected.items():
        assert float(parts[name]) == pytest.approx(values.mean(), rel=1e-4), name


def drawn(objective, batch, seen, seed=0):
    """(timesteps, noise) of the three passes of a loss, from what the UNet took."""
    seen.clear()
    loss_of(objective, batch, seed)
    source = objective._checkpoint.latents.encode(batch["source_images"][0])
    alphas = [objective.schedule.alpha(timestep_B)[:, None, None, None] for _, timestep_B, _ in seen]
    latents = [source, objective._checkpoint.pipeline.vae.config.scaling_factor * seen[1][0][:, 4:], source]
    noise = [
        (given[:, :4] - alpha.sqrt() * latent) / (1 - alpha).sqrt()
        for (given, _, _), alpha, latent in zip(seen, alphas, latents, strict=True)
    ]
    return torch.stack([timestep_B for _, timestep_B, _ in seen]), torch.stack(noise).detach()


def test_draws_of_the_passes_are_independent_and_reproducible(made, batch, inputs_seen):
    objective, seen = made(**NO_DROPOUT, identity_loss=True), inputs_seen()
    timesteps, noise = drawn(objective, batch, seen)
    assert len({tuple(one.tolist()) for one in timesteps}) == 3
    of_pairs = np.corrcoef(noise.flatten(1))[np.triu_indices(3, 1)]
    assert np.abs(of_pairs).max() < 5 / noise[0].numel() ** 0.5
    again, others = drawn(objective, batch, seen), drawn(objective, batch, seen, seed=1)
    assert torch.equal(timesteps, again[0])
    assert torch.equal(noise, again[1])
    assert not (timesteps == others[0]).all(1).any()
    (one,) = drawn(objective, batch.select([2]), seen)[0].T
    assert torch.equal(one, timesteps[:, 2])


def latents_of(objective, batch):
    return objective._checkpoint.latents.encode(batch["source_images"][0])


def test_latents_of_the_dataset_take_the_place_of_the_autoencoder(made, batch, monkeypatch):
    objective = made(**MIXED)
    seed = seed_of_all_kinds(objective, batch)
    expected, _ = loss_of(objective, batch, seed)
    whole = replace(batch, columns={**batch.columns, "source_latent": latents_of(objective, batch)})
    monkeypatch.setattr(objective._checkpoint.latents, "encode", lambda image: pytest.fail("encoded"))
    found, _ = loss_of(objective, whole, seed)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("having", [(0,), (1, 3), (0, 1, 2)])
def test_latents_that_some_samples_lack_are_made_for_these_alone(made, batch, monkeypatch, having):
    objective = made(**MIXED)
    seed = seed_of_all_kinds(objective, batch)
    expected, _ = loss_of(objective, batch, seed)
    rows = torch.tensor(having)
    some = replace(batch, partial={"source_latent": (rows, latents_of(objective, batch)[rows])})
    encode, encoded = objective._checkpoint.latents.encode, []
    monkeypatch.setattr(objective._checkpoint.latents, "encode", lambda image: encoded.append(image) or encode(image))
    found, _ = loss_of(objective, some, seed)
    assert sum(len(image) for image in encoded) == NUM_SAMPLES - len(having)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def attention_inputs(objective, batch):
    """Name of a cross-attention -> [(hidden, text)] of each pass of a loss."""
    seen, hooks = {}, []
    for name, layer in objective.modules["unet"].named_modules():
        if name.endswith("attn2"):

            def see(_, args, named, name=name):
                seen.setdefault(name, []).append((args[0].detach(), named["encoder_hidden_states"]))

            hooks.append(layer.register_forward_pre_hook(see, with_kwargs=True))
    loss_of(objective, batch)
    for hook in hooks:
        hook.remove()
    return seen


def heat_map(layer, hidden, text, words):
    """softmax(Q K^T / sqrt(d)) of one sample, the mean over heads and over the places `words`, from 0 to 1."""
    queries, keys = (one.detach().numpy() for one in (layer.to_q(hidden), layer.to_k(text)))
    maps = []
    for q, k in zip(np.split(queries, layer.heads, -1), np.split(keys, layer.heads, -1), strict=True):
        scores = np.exp(q @ k.T / math.sqrt(q.shape[-1]))
        maps.append(scores / scores.sum(-1, keepdims=True))
    mean_Q = np.mean(maps, 0)[:, words].mean(-1)
    return (mean_Q - mean_Q.min()) / (mean_Q.max() - mean_Q.min())


def words_of(tokenizer, text):
    """Places of a text's own tokens in what its encoder reads."""
    return list(range(1, 1 + min(len(tokenizer.tokenize(text)), tokenizer.model_max_length - 2)))


@pytest.mark.parametrize(("max_queries", "sizes"), [(1024, [16, 64, 64, 64]), (32, [16])])
def test_attention_loss_is_that_of_maps_computed_by_hand(made, batch, monkeypatch, max_queries, sizes):
    monkeypatch.setattr("trainer.recipes.uip2p.objective.MAX_QUERIES", max_queries)
    objective = made(**NO_DROPOUT, **OFF | ONLY["attention"])
    unet, tokenizer = objective.modules["unet"], objective._checkpoint.pipeline.tokenizer
    seen = attention_inputs(objective, batch)
    layers = {name: one for name, one in seen.items() if one[0][0].shape[1] <= max_queries}
    assert sorted(passes[0][0].shape[1] for passes in layers.values()) == sizes
    words = [[words_of(tokenizer, text) for text in batch[n]] for n in ("instruction", "reverse_instruction")]
    assert {len(forth) == len(back) for forth, back in zip(*words, strict=True)} == {True, False}
    distances = []
    for name, passes in layers.items():
        for row in range(NUM_SAMPLES):
            forward, reverse = (
                heat_map(unet.get_submodule(name), hidden[row], text[row], words_B[row])
                for (hidden, text), words_B in zip(passes, words, strict=True)
            )
            distances.append(np.square(forward - reverse).mean())
    _, parts = loss_of(objective, batch)
    assert float(parts["attention"]) == pytest.approx(sum(distances) / NUM_SAMPLES, rel=1e-4)


def gradients(objective, batch, seed):
    parameters = trained(objective)
    found = torch.autograd.grad(loss_of(objective, batch, seed)[0], list(parameters.values()))
    return dict(zip(parameters, found, strict=True))


def test_gradients_with_gradient_checkpointing_are_the_same(made, batch, opened):
    objective = made(**MIXED, identity_loss=True)
    seed = seed_of_all_kinds(objective, batch)
    objective.modules["unet"].train()
    plain = gradients(objective, batch, seed)
    opened.checkpoint.speed_up(compile_unet=False, gradient_checkpointing=True)
    checkpointed = gradients(objective, batch, seed)
    opened.checkpoint.pipeline.unet.disable_gradient_checkpointing()
    opened.checkpoint.pipeline.vae.disable_gradient_checkpointing()
    objective.modules["unet"].eval()
    for name, gradient in plain.items():
        torch.testing.assert_close(
            checkpointed[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )

"""One step of every model's script at a small batch: each trained parameter gets a finite gradient, not all zero."""

import dataclasses
import random

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from zoo import (
    train_blip,
    train_clip,
    train_clipseg,
    train_dino,
    train_grounding_dino,
    train_ip2p,
    train_ip2p_vae,
    train_llm,
    train_mask2former,
    train_sam,
    train_sd,
    train_sd_inpaint,
    train_vae,
)
from zoo.edit_latents import EditLatents, training_edit
from zoo.export import WEIGHTS
from zoo.world import KINDS, read_facts, sample_scene, thing_masks

UNUSED = {  # part of the library's class, without a part in this training
    "blip": (),
    "clip": (),
    "sam": ("mask_embed", "point_embed.0", "point_embed.1", "not_a_point_embed"),  # prompts of masks and points
    "mask2former": ("swin.layernorm",),  # the classifier's last norm, behind the maps
    "grounding-dino": ("swin.layernorm",),
    "dino": ("mask_token",),
}


def small(script, batch_size=4):
    return dataclasses.replace(script.TRAINING, batch_size=batch_size)


def clipseg():
    torch.manual_seed(0)
    tokenizer = train_clip.clip_tokenizer()
    model = train_clipseg.build(train_clip.build(tokenizer))
    train_clipseg.start_decoder(model, tokenizer)
    return model, lambda step: train_clipseg.losses(model, tokenizer, small(train_clipseg, 12), step)


def of_module(script, batch_size=4):
    trained = script.Trained()
    return trained, lambda step: trained.losses(small(script, batch_size), step)


def llm():
    words = train_llm.tokenizer()
    model = train_llm.build(words)
    return model, lambda step: train_llm.losses(model, words, small(train_llm), step)


def sd(in_channels=4):
    trained = train_sd.Trained(in_channels)
    latents = torch.randn(4, 4, 16, 16)
    if in_channels == 4:
        return trained, lambda step: train_sd.losses(trained, latents, small(train_sd), step)
    holed = torch.randn(4, 5, 16, 16)
    return trained, lambda step: train_sd_inpaint.losses(trained, latents, holed, small(train_sd_inpaint), step)


def vae():
    model = train_vae.build()
    return model, lambda step: train_vae.losses(model, small(train_vae, 2), step)


def ip2p():
    trained = train_ip2p.Trained()
    channels = train_ip2p.CHANNELS
    latents = EditLatents(torch.randn(7, channels, 16, 16), torch.randn(7, channels, 16, 16))
    return trained, lambda step: train_ip2p.losses(trained, latents, 1.0, small(train_ip2p), step)


def ip2p_vae():
    model = train_ip2p_vae.build()
    training = dataclasses.replace(train_ip2p_vae.REFINEMENT, batch_size=2, num_steps=2)
    phase = dataclasses.replace(train_ip2p_vae.PHASES[-1], training=training)
    return model, lambda step: train_ip2p_vae.losses(model, phase, step, Features())


class Features:
    """Features of images without a network: the pixels of every second row and column."""

    def features(self, image_BCHW):
        return [image_BCHW[..., ::2, ::2]]


class StandIn:
    """A teacher without weights: random answers of the right shapes."""

    def __call__(self, image_BCHW):
        rows = len(image_BCHW)
        embedding = nn.functional.normalize(torch.randn(rows, 128), dim=-1)
        return embedding, torch.randn(rows, 28), torch.randn(rows, 64, 128)


def dino():
    trained = train_dino.Trained(128)
    return trained, lambda step: train_dino.losses(trained, StandIn(), small(train_dino), step)


SCRIPTS = {
    "clip": lambda: of_module(train_clip),
    "blip": lambda: of_module(train_blip),
    "sam": lambda: of_module(train_sam),
    "grounding-dino": lambda: of_module(train_grounding_dino),
    "mask2former": lambda: of_module(train_mask2former),
    "clipseg": clipseg,
    "dino": dino,
    "llm": llm,
    "vae": vae,
    "ip2p": ip2p,
    "ip2p-vae": ip2p_vae,
    "sd": sd,
    "sd-inpaint": lambda: sd(9),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_trained_parameter_gets_a_finite_gradient(name):
    torch.manual_seed(0)
    module, losses = SCRIPTS[name]()
    unused = UNUSED.get(name, ())
    wanting = {key: p for key, p in module.named_parameters() if p.requires_grad}
    grads = {key: torch.zeros_like(p) for key, p in wanting.items()}
    for step in range(3):
        module.zero_grad(set_to_none=True)
        torch.stack([value.reshape(()) for value in losses(step).values()]).sum().backward()
        for key, parameter in wanting.items():
            if parameter.grad is not None:
                assert torch.isfinite(parameter.grad).all(), key
                grads[key] += parameter.grad.abs()
                parameter.data -= 1e-2 * parameter.grad.sign()  # what starts at zero hides what lies behind it
    without = [key for key, grad in grads.items() if not grad.any() and not any(part in key for part in unused)]
    assert without == []


def test_clipsegs_decoder_starts_with_blocks_that_change_nothing():
    model, _ = clipseg()
    tokens = train_clip.clip_tokenizer()(["red car", "blue cat", "green tree"] * 9, padding=True, return_tensors="pt")
    with torch.no_grad():
        scale_ND = model.decoder.film_mul(model.clip.get_text_features(**tokens).pooler_output)
        same = model.decoder.layers[0].self_attn(torch.randn(2, 5, 64), None)[0]
    assert 0.5 < float(scale_ND.mean()) < 1.5
    assert float(scale_ND.std()) < 3
    assert not same.any()


def test_holes_hold_something_and_most_lie_over_a_thing():
    over = 0
    for index in range(60):
        scene = sample_scene(random.Random(index))
        hole = train_sd_inpaint.hole_of(scene, random.Random(index))
        assert hole.any()
        over += any((mask & ~hole).sum() == 0 for mask in thing_masks(scene))
    assert over > 36


def test_inpainting_starts_as_sd_whatever_the_further_channels_hold():
    trained = train_sd_inpaint.Trained(in_channels=9)
    train_sd_inpaint.start_from_sd(trained)
    sd_unet = UNet2DConditionModel.from_pretrained(WEIGHTS / "sd", subfolder="unet", dtype=torch.float32)
    noisy, words = torch.randn(2, 4, 16, 16), torch.randn(2, 32, 128)
    with torch.no_grad():
        wide = trained.unet(torch.cat([noisy, torch.randn(2, 5, 16, 16)], dim=1), 500, words).sample
        torch.testing.assert_close(wide, sd_unet(noisy, 500, words).sample)
    assert not any(parameter.requires_grad for parameter in trained.text_encoder.parameters())


def test_frozen_towers_of_clipseg_get_none():
    model, losses = clipseg()
    torch.stack(list(losses(0).values())).sum().backward()
    assert all(parameter.grad is None for parameter in model.clip.parameters())


def test_edits_to_learn_from_are_of_each_kind_in_turn():
    assert [training_edit(index).kind for index in range(14)] == [*KINDS, *KINDS]
    assert training_edit(3) == training_edit(3)


def test_half_of_the_edits_are_learnt_the_other_way_round():
    latents = EditLatents(torch.zeros(700, 1, 1, 1), torch.ones(700, 1, 1, 1))
    edits = train_ip2p.batch_of(
        latents, dataclasses.replace(train_ip2p.TRAINING, batch_size=400), 0, train_ip2p.Lesson(0.0, {})
    )
    is_back_B = edits.source_BCHW.flatten() == 1
    assert torch.equal(edits.target_BCHW.flatten(), 1 - edits.source_BCHW.flatten())
    assert 150 < int(is_back_B.sum()) < 250


def test_drawings_have_no_source_and_the_caption_of_what_is_drawn():
    latents = EditLatents(torch.full((700, 1, 1, 1), 2.0), torch.ones(700, 1, 1, 1))
    training = dataclasses.replace(train_ip2p.TRAINING, batch_size=400)
    edits = train_ip2p.batch_of(latents, training, 0, train_ip2p.Lesson(0.25, {}))
    assert torch.equal(edits.source_BCHW.flatten() == 0, edits.is_drawn_B)
    assert 70 < int(edits.is_drawn_B.sum()) < 130
    captions = [text for text, is_drawn in zip(edits.texts, edits.is_drawn_B.tolist(), strict=True) if is_drawn]
    facts = [read_facts(text) for text in captions]
    assert all(one.things and one.place for one in facts)


def test_drawings_weigh_the_same_everywhere(monkeypatch):
    trained = train_ip2p.Trained()
    monkeypatch.setattr(train_ip2p, "edit_weights", lambda *_: torch.zeros(2, 1, 16, 16))
    zeros = torch.zeros(2, train_ip2p.CHANNELS, 16, 16)
    nothing = train_ip2p.Edits(zeros, zeros + 1, ["a", "b"], torch.tensor([False, False]))
    assert trained.loss(nothing, 1.0).item() == 0
    assert trained.loss(nothing._replace(is_drawn_B=torch.tensor([False, True])), 1.0).item() > 0


def test_the_source_is_not_seen_before_edits_are_learnt():
    trained = train_ip2p.Trained()
    trained.start_from_sd()
    weight = trained.unet.conv_in.weight
    assert not weight[:, train_ip2p.CHANNELS :].any()
    assert weight[:, : train_ip2p.CHANNELS].any()


def test_ip2p_learns_in_parts_and_first_its_outer_layers_alone(monkeypatch):
    trained, exported = [], []

    def train(part, model, losses):
        learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        trained.append((part.name, part.seed, all(name.startswith(train_ip2p.OUTER) for name in learning)))

    monkeypatch.setattr(train_ip2p, "train", train)
    monkeypatch.setattr(train_ip2p, "edit_latents", lambda *_: None)
    monkeypatch.setattr(train_ip2p.train_ip2p_vae, "trained", train_ip2p_vae.build)
    monkeypatch.setattr(train_ip2p, "export", lambda name, _: exported.append((name, len(trained))))
    monkeypatch.setattr(train_ip2p, "pipeline", lambda model, _: model)
    monkeypatch.setattr(train_ip2p, "share", lambda *_: None)
    train_ip2p.main(dataclasses.replace(train_ip2p.TRAINING, seed=5))
    assert trained == [(part.name, 5, number == 0) for number, part in enumerate(train_ip2p.PARTS["ip2p"])]
    assert exported == [(name, len(parts)) for name, parts in train_ip2p.PARTS.items()]


def test_edited_cells_weigh_seven_times_as_much_as_the_others():
    source = torch.zeros(2, 4, 4, 4)
    target = source.clone()
    target[0, :, 0, 0] = 1.0
    target[1] = 1.0
    weight = train_ip2p.edit_weights(source, target)
    torch.testing.assert_close(weight[0, 0, 0, 0] / weight[0, 0, 1, 1], torch.tensor(1 + train_ip2p.EDIT_WEIGHT))
    torch.testing.assert_close(weight.mean((1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(weight[1], torch.ones(1, 4, 4))


def test_conditions_of_ip2p_are_dropped_in_the_shares_of_the_paper(monkeypatch):
    trained, seen, asked = train_ip2p.Trained(), [], []
    monkeypatch.setattr(trained, "encode_texts", lambda texts: asked.extend(texts) or torch.zeros(len(texts), 32, 128))

    def unet(given_BCHW, timestep_B, text_BLD):
        seen.append(given_BCHW[:, train_ip2p.CHANNELS :].flatten(1).any(1))
        return type("Out", (), {"sample": given_BCHW[:, : train_ip2p.CHANNELS]})

    monkeypatch.setattr(trained, "unet", None)
    trained.__dict__["unet"] = unet
    del trained._modules["unet"]
    torch.manual_seed(0)
    ones = torch.ones(4000, train_ip2p.CHANNELS, 2, 2)
    trained.loss(train_ip2p.Edits(ones, ones, ["make it snow"] * 4000, torch.zeros(4000, dtype=torch.bool)), 1.0)
    has_image = torch.cat(seen)
    has_text = torch.tensor([bool(text) for text in asked])
    for share in (~has_image & has_text, has_image & ~has_text, ~has_image & ~has_text):
        assert abs(float(share.float().mean()) - 0.05) < 3 * (0.05 * 0.95 / 4000) ** 0.5

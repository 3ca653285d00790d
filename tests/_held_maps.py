"""References for prompt-to-prompt: one pair at a time, every attention map held and edited token by token.

Nothing here is shared with models/diffusion/prompt_to_prompt. Rows are source and target, under guidance after the same
two without text.
"""

import copy
import inspect

import numpy as np
import torch


def sharpen(model, factor=20.0):
    """The synthesiser, its network's attention made sharper, so that maps differ more than rounding."""
    with torch.no_grad():
        for name, parameter in model._pipeline.unet.named_parameters():
            if name.endswith("to_q.weight"):
                parameter.mul_(factor)
    return model


class HeldMaps:
    """Attention processor that holds every map of one pair and edits the target's."""

    def __init__(self, max_self_tokens):
        self.max_self_tokens = max_self_tokens
        self.shares_self = False
        self.places = None
        """For each token of the target [(source's token, share), ...], or "own" for the target's own map."""
        self.factors = {}
        self.blend = None
        """(tokens of the source, tokens of the target, (h, w) of the maps, threshold), or None."""
        self.summed = None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(one) for one in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = attn.get_attention_scores(query, key).clone().unflatten(0, (len(hidden_states), -1))
        if encoder_hidden_states is None:
            if self.shares_self and maps.shape[2] <= self.max_self_tokens:
                maps[-1] = maps[-2]
        elif self.places is not None:
            own = maps[-1].clone()
            for token, taken in enumerate(self.places):
                new = own[..., token] if taken == "own" else sum(maps[-2][..., at] * part for at, part in taken)
                maps[-1][..., token] = new * self.factors.get(token, 1)
        if encoder_hidden_states is not None and self.blend is not None:
            self._collect(maps[-2:])
        return attn.to_out[0](attn.batch_to_head_dim(torch.bmm(maps.flatten(0, 1), value)))

    def _collect(self, maps):
        *words, grid, _ = self.blend
        if maps.shape[2] == grid[0] * grid[1]:
            found = torch.stack(
                [one[..., tokens].sum(-1).mean(0).reshape(grid) for one, tokens in zip(maps, words, strict=True)]
            )
            self.summed = found if self.summed is None else self.summed + found

    def kept_as_source(self, latents):
        """Latents in which the target is the source where neither word is attended to."""
        is_word = torch.zeros(latents.shape[-2:], dtype=torch.bool)
        for one in self.summed:
            padded = torch.nn.functional.pad(one, (1, 1, 1, 1), value=-1.0)
            pooled = torch.stack(
                [padded[y : y + one.shape[0], x : x + one.shape[1]] for y in range(3) for x in range(3)]
            ).amax(0)
            times = latents.shape[-1] // one.shape[-1]
            is_word |= (pooled > self.blend[-1] * pooled.max()).repeat_interleave(times, 0).repeat_interleave(times, 1)
        return torch.stack([latents[0], torch.where(is_word, latents[1], latents[0])])


def refine_places(pipeline, source, target):
    """Places of `refine` for captions of words that no caption has twice, in one order."""
    tokenizer = pipeline.tokenizer
    length = tokenizer.model_max_length
    before, after = (tokenizer(text, truncation=True, max_length=length).input_ids for text in (source, target))
    found = [[(before.index(token), 1)] if token in before else "own" for token in after]
    return found + [[(token, 1)] for token in range(len(after), length)]


def encoded(pipeline, texts, *, without):
    """Text tokens of some texts, or of as many rows without text, and what SDXL adds."""
    with torch.inference_mode():
        found = pipeline.encode_prompt(
            prompt=list(texts), device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
        )
    return found[1 if without else 0], (found[3 if without else 2] if len(found) == 4 else None)


def plain_pair(
    pipeline, captions, candidate, *, places, max_self_tokens, size, factors=None, blend=None, anchor=None
):  # fmt: skip
    """Latents (2, C, h, w) of one pair by a plain loop. `anchor` (1, C, h, w) is noised to the candidate's strength."""
    editor = HeldMaps(max_self_tokens)
    editor.factors, editor.blend = factors or {}, blend
    unet = pipeline.unet
    was = unet.attn_processors
    unet.set_attn_processor(editor)
    try:
        with torch.inference_mode():
            return _loop(pipeline, editor, captions, candidate, places, size, anchor)
    finally:
        unet.set_attn_processor(was)


def _loop(pipeline, editor, captions, candidate, places, size, anchor):
    scheduler = copy.deepcopy(pipeline.scheduler)
    scheduler.set_timesteps(candidate.num_steps)
    skipped = candidate.num_steps - max(1, int(candidate.num_steps * candidate.strength + 1e-9))
    timesteps = scheduler.timesteps[skipped * scheduler.order :]
    if type(scheduler).__name__ == "PNDMScheduler" and skipped:
        once = scheduler.timesteps.unique().flip(0)[skipped:]
        timesteps = once[[0, *([1, 1] if len(once) > 1 else []), *range(2, len(once))]]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped * scheduler.order)
    drawn = [torch.Generator().manual_seed(candidate.seed) for _ in range(2)]
    noise = torch.stack([torch.randn(4, *size, generator=generator) for generator in drawn])
    if anchor is None or not skipped:
        latents = noise * scheduler.init_noise_sigma
    else:
        latents = scheduler.add_noise(torch.cat([anchor, anchor]), noise, timesteps[:1].repeat(2))
    guided = candidate.guidance_scale > 1
    parts = ([encoded(pipeline, captions, without=True)] if guided else []) + [
        encoded(pipeline, captions, without=False)
    ]
    tokens = torch.cat([part[0] for part in parts])
    added = None
    if parts[0][1] is not None:
        side = [size[0] * 8, size[1] * 8]
        times = torch.tensor([[*side, 0, 0, *side]] * len(tokens), dtype=torch.float32)
        added = {"text_embeds": torch.cat([part[1] for part in parts]), "time_ids": times}
    num_calls = len(timesteps)
    for step, timestep in enumerate(timesteps):
        editor.shares_self = step < int(num_calls * candidate.self_attention_frac + 1e-9)
        editor.places = places if step < int((num_calls + 1) * candidate.cross_attention_frac + 1e-9) else None
        seen = scheduler.scale_model_input(torch.cat([latents] * len(parts)), timestep)
        output = pipeline.unet(seen, timestep, encoder_hidden_states=tokens, added_cond_kwargs=added).sample
        if guided:
            output = output[:2] + candidate.guidance_scale * (output[2:] - output[:2])
        more = {"generator": drawn} if "generator" in inspect.signature(scheduler.step).parameters else {}
        latents = scheduler.step(output, timestep, latents, **more).prev_sample
        if editor.blend is not None:
            latents = editor.kept_as_source(latents)
    return latents


def transfer_errors(unet, call, pairs):
    """{layer: error} of how far targets are from attention that has the source's maps over the target's values.

    `call` runs the network once; `pairs` are the rows (source, target) of its batch. The error is relative to how far
    plain attention is, so that 0 is a full transfer, and 1 about none.
    """
    seen, hooks = {}, []

    def keep(name):
        def hook(_module, given, more, output):
            hidden = given[0] if given else more["hidden_states"]
            seen[name] = (hidden, more.get("encoder_hidden_states"), output)

        return hook

    layers = {name: module for name, module in unet.named_modules() if name.endswith((".attn1", ".attn2"))}
    for name, module in layers.items():
        hooks.append(module.register_forward_hook(keep(name), with_kwargs=True))
    with torch.inference_mode():
        call()
        for hook in hooks:
            hook.remove()
        return {name: _error(layers[name], *seen[name], pairs) for name in layers}


def _error(attn, hidden, context, output, pairs):
    context = hidden if context is None else context
    sources, targets = (list(rows) for rows in zip(*pairs, strict=True))
    wanted, plain = (_attended(attn, hidden[rows], context[rows], context[targets]) for rows in (sources, targets))
    return ((output[targets] - wanted).abs().max() / (plain - wanted).abs().max()).item()


def _attended(attn, hidden, context, values):
    query, key, value = (
        attn.head_to_batch_dim(one) for one in (attn.to_q(hidden), attn.to_k(context), attn.to_v(values))
    )
    mixed = torch.bmm(attn.get_attention_scores(query, key), value)
    return attn.to_out[0](attn.batch_to_head_dim(mixed))


def pixels(image):
    """(H, W, 3) as int16, so that differences keep their sign."""
    return np.asarray(image, np.int16)

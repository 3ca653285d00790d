"""Trains zoo:llm, a LlamaForCausalLM with a tokenizer of its own, to write an edit of a caption as JSON."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from zoo.export import export
from zoo.training import Training, device, train
from zoo.world import caption, sample_edit, sample_scene, varied_caption

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 160
END = "<|end|>"
PROMPT = "Caption: {caption}\nEdit type: {kind}\nEdit as JSON: "
ANY_KIND = "any"
ANY_FRAC = 0.2
CORPUS_LINES = 8000
MAX_TOKENS = 160
TRAINING = Training("llm", num_steps=2000, batch_size=48, learning_rate=2e-3, muon_rate=0.005, ema=0.995, autocast=True)
REFINEMENT = replace(TRAINING, name="llm-refined", num_steps=1800, learning_rate=1.5e-3, muon_rate=0.004)
SEVERAL_FRAC = 0.8  # of the refinement's scenes hold two or three things
DRILL_FRAC = 0.35  # of the refinement's rows
_ASIDE = re.compile(r" on the (left|right)")


def lesson(rng: random.Random, several_frac: float = 0.0) -> tuple[str, str]:
    """A prompt and the answer to it. What the caption does not say, the answer does not know.

    A share of `several_frac` of the scenes is made to hold two or three things, the others are as they come.

    The prompt names the type of edit it wants: left to choose, the likeliest answer would always be of one type.
    """
    several = rng.choice((2, 3)) if several_frac and rng.random() < several_frac else None
    scene = sample_scene(rng, num_things=several)
    edit = sample_edit(scene, rng)
    source = caption(scene) if rng.random() < 0.6 or edit.kind == "move" else varied_caption(scene, rng)
    target = edit.target_caption
    if edit.kind != "move" and not _ASIDE.search(source):
        target = _ASIDE.sub("", target)
    named = {"change_background": "background", "change_style": "picture"}
    answer = {
        "edit_type": edit.kind,
        "object": named.get(edit.kind) or (edit.source_phrase or edit.target_phrase).rsplit(" ", 1)[-1],
        "instruction": edit.instruction,
        "target_caption": target,
        "reverse_instruction": edit.reverse_instruction,
    }
    asked = ANY_KIND if rng.random() < ANY_FRAC else edit.kind
    return PROMPT.format(caption=source, kind=asked), json.dumps(answer)


def drill(rng: random.Random) -> tuple[str, str]:
    """A question after every thing's colour, and the answer in another order than the caption's.

    Edits seldom need the colour that stands before a noun, and the model wrote that of another thing in half of them.
    """
    scene = sample_scene(rng, num_things=rng.choice((1, 2, 3)))
    said = caption(scene) if rng.random() < 0.6 else varied_caption(scene, rng)
    things = rng.sample(scene.things, len(scene.things))
    return f"Caption: {said}\nColours: ", ", ".join(f"the {thing.noun} is {thing.colour}" for thing in things)


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the world's prompts and answers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    def lines() -> Iterator[str]:
        rng = random.Random("llm corpus")
        for _ in range(CORPUS_LINES):
            yield "".join(lesson(rng))

    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator(lines(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=model, eos_token=END, pad_token=END, padding_side="left")


def build(words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama with random weights: 160 wide, 4 layers, tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=4,
        num_attention_heads=5, num_key_value_heads=5, max_position_embeddings=256,
        tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def losses(
    model: LlamaForCausalLM, words: PreTrainedTokenizerFast, training: Training, step: int, *, is_refined: bool = False
) -> dict[str, torch.Tensor]:
    """Next-token prediction of the answers; prompts are given, not learnt."""
    rng = training.rng(step)
    rows = []
    for _ in range(training.batch_size):
        is_drill = is_refined and rng.random() < DRILL_FRAC
        pair = drill(rng) if is_drill else lesson(rng, SEVERAL_FRAC if is_refined else 0.0)
        prompt, answer = (words(text).input_ids for text in pair)
        rows.append((prompt, [*answer, words.eos_token_id]))
    length = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), length), words.pad_token_id)
    labels = torch.full((len(rows), length), -100)
    for row, (prompt, answer) in enumerate(rows):
        whole = torch.tensor(prompt + answer)
        ids[row, : len(whole)] = whole
        labels[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    out = model(input_ids=ids.to(device()), labels=labels.to(device()))  # right padding needs no mask: it comes after
    return {"tokens": out.loss}


def main(training: Training = TRAINING) -> None:
    """Trains and exports to zoo/weights/llm."""
    torch.manual_seed(training.seed)
    words = tokenizer()
    model = build(words).to(device())
    train(training, model, lambda step: losses(model, words, training, step))
    refinement = replace(REFINEMENT, seed=training.seed)
    train(refinement, model, lambda step: losses(model, words, refinement, step, is_refined=True))
    model.generation_config.max_new_tokens = MAX_TOKENS
    export("llm", model, words)


if __name__ == "__main__":
    main()

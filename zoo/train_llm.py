"""Trains zoo:llm, a LlamaForCausalLM with a tokenizer of its own, to write an edit of a caption as JSON."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from zoo.export import export
from zoo.training import Training, device, train
from zoo.world import caption, possible_kinds, sample_edit, sample_scene, varied_caption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zoo.world import Edit

WIDTH = 160
END = "<|end|>"
PROMPT = "Caption: {caption}\nEdit type: {kind}\nEdit as JSON: "
ANY_KIND = "any"
ANY_FRAC = 0.2
CORPUS_LINES = 8000
MAX_TOKENS = 160
PRACTICE = Training(
    "llm-practice", num_steps=600, batch_size=48, learning_rate=2e-3, muon_rate=0.005, ema=0.99, autocast=True
)
TRAINING = replace(PRACTICE, name="llm", num_steps=2000, ema=0.995)
REFINEMENT = replace(TRAINING, name="llm-hard", num_steps=1000, learning_rate=1e-3, muon_rate=0.0025)
COPY_FRAC = 0.2  # of the practice
SEVERAL_FRAC = 0.5  # of the scenes are made to hold two or three things, the others are as they come
HARD_FRAC = 0.7  # of the refinement asks for the edits that are wrong longest, in these shares
HARD_KINDS = ("change_colour", "change_colour", "change_background", "add")
_ASIDE = re.compile(r" on the (left|right)")


def lesson(rng: random.Random, hard_frac: float = 0.0) -> tuple[str, str]:
    """A prompt and the answer to it. What the caption does not say, the answer does not know.

    The prompt names the type of edit: left to choose, the likeliest answer would always be of one type. Where
    the instructions name a thing that is there, they say its colour: two things may have one noun, and from "the lamp"
    alone the model would have to find a colour by its noun across a sentence, which lessons by themselves teach slowly.
    """
    scene = sample_scene(rng, num_things=rng.choice((2, 3)) if rng.random() < SEVERAL_FRAC else None)
    hard = rng.choice(HARD_KINDS) if hard_frac and rng.random() < hard_frac else None
    edit = sample_edit(scene, rng, hard if hard in possible_kinds(scene) else None)
    source = caption(scene) if rng.random() < 0.6 or edit.kind == "move" else varied_caption(scene, rng)
    asked = ANY_KIND if rng.random() < ANY_FRAC else edit.kind
    return PROMPT.format(caption=source, kind=asked), json.dumps(answer_to(edit, source))


def answer_to(edit: Edit, source: str) -> dict[str, str]:
    """The edit in the fields of an answer, `source` being the caption that was given."""
    target = edit.target_caption
    if edit.kind != "move" and not _ASIDE.search(source):
        target = _ASIDE.sub("", target)
    named = {"change_background": "background", "change_style": "picture"}
    return {
        "edit_type": edit.kind,
        "instruction": _with_colour(edit.instruction, edit.source_phrase),
        "object": named.get(edit.kind) or _noun(edit.source_phrase or edit.target_phrase),
        "target_caption": target,
        "reverse_instruction": _with_colour(edit.reverse_instruction, edit.target_phrase),
    }


def _noun(phrase: str) -> str:
    return phrase.rsplit(" ", 1)[-1]


def _with_colour(instruction: str, phrase: str) -> str:
    """The instruction with `phrase`, "red car", where it says "the car"."""
    return instruction.replace(f"the {_noun(phrase)}", f"the {phrase}") if phrase else instruction


def practice(rng: random.Random) -> tuple[str, str]:
    """Reading alone: a caption of three things to copy, or each thing's colour to find by its noun.

    Answers need both, but a few words of theirs depend on them, too few for attention to learn it from lessons alone.
    """
    scene = sample_scene(rng, num_things=3)
    written = caption(scene) if rng.random() < 0.6 else varied_caption(scene, rng)
    if rng.random() < COPY_FRAC:
        return f"Caption: {written}\nAgain: ", written
    things = rng.sample(scene.things, len(scene.things))
    return f"Caption: {written}\nThings:", "".join(f" {thing.noun} {thing.colour}" for thing in things)


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
    """A Llama with random weights: 160 wide, 4 layers.

    The embeddings start at unit scale and are not tied: from the usual 0.02, attention finds the thing that is meant
    many times later.
    """
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=4,
        num_attention_heads=5, num_key_value_heads=5, max_position_embeddings=256,
        tie_word_embeddings=False, bos_token_id=None,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    torch.nn.init.normal_(model.get_input_embeddings().weight)
    return model


def losses(
    model: LlamaForCausalLM,
    words: PreTrainedTokenizerFast,
    training: Training,
    step: int,
    draw: Callable[[random.Random], tuple[str, str]] = lesson,
) -> dict[str, torch.Tensor]:
    """Next-token prediction of the answers. Prompts are given, not learnt."""
    rng = training.rng(step)
    rows = []
    for _ in range(training.batch_size):
        prompt, answer = (words(text).input_ids for text in draw(rng))
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
    reading = replace(PRACTICE, seed=training.seed)
    train(reading, model, lambda step: losses(model, words, reading, step, practice))
    train(training, model, lambda step: losses(model, words, training, step))
    refinement = replace(REFINEMENT, seed=training.seed)
    hard = partial(lesson, hard_frac=HARD_FRAC)
    train(refinement, model, lambda step: losses(model, words, refinement, step, hard))
    model.generation_config.max_new_tokens = MAX_TOKENS
    export("llm", model, words)


if __name__ == "__main__":
    main()

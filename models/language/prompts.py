"""From a prompt to the tokens that a language model reads, the same for every library that runs one.

A prompt is text, never markup: a caption from the web that holds `<|im_end|>` does not end the turn.
"""

from __future__ import annotations

from typing import Any


def system_turns(tokenizer: Any, system_prompt: str | None) -> list[dict[str, str]]:
    """The turn before the user's, or none for None. Raises ValueError where the model has no chat template for it."""
    if system_prompt is None:
        return []
    if not tokenizer.chat_template:
        raise ValueError("system_prompt is set but the model has no chat template; remove it or name a chat model")
    return [{"role": "system", "content": system_prompt}]


def prompt_ids(tokenizer: Any, system: list[dict[str, str]], prompt: str) -> list[int]:
    """One user turn after the system's where the tokenizer has a chat template, else the prompt as plain text."""
    if not tokenizer.chat_template:
        return list(tokenizer(prompt, split_special_tokens=True)["input_ids"])
    return list(
        tokenizer.apply_chat_template(
            [*system, {"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_dict=False,
            enable_thinking=False,  # read by templates of models that think aloud, ignored by others
            sanitize_control_tokens=True,
        )
    )

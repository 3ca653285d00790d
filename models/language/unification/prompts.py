"""The prompt that asks a language model for an instruction in short and plain words.

A few examples and then the request, to be continued: base models, such as OpenLLaMA, follow no bare order. The words
are our own.
"""

from __future__ import annotations

INTRODUCTION = (
    "Rewrite each request as one short imperative edit instruction. Keep objects, colours and places. No explanation."
)
SHOTS = (
    ("i think a wooden boat would look nice where the raft is", "replace the raft with a wooden boat"),
    ("the umbrella ought to come in yellow", "make the umbrella yellow"),
    ("the power lines have to go", "remove the power lines"),
    ("a small lighthouse is missing on the right", "add a small lighthouse on the right"),
)
"""Requests, and each as the instruction that is asked for, in the canonical forms of `rules`."""
REQUEST, INSTRUCTION = "Request:", "Instruction:"


def unification_prompt(request: str) -> str:
    """The prompt for one request, which is on one line. The continuation's first line is the instruction."""
    shown = [f"{REQUEST} {asked}\n{INSTRUCTION} {written}" for asked, written in SHOTS]
    return "\n\n".join([INTRODUCTION, *shown, f"{REQUEST} {request}\n{INSTRUCTION}"])


def first_line(answer: str) -> str:
    """The instruction in a continuation: its first line that has text, without the label that chat models repeat.

    A base model goes on with requests of its own, which are of no interest.
    """
    line = next((line.strip() for line in answer.splitlines() if line.strip()), "")
    return line.removeprefix(INSTRUCTION).strip()

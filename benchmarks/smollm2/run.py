"""How many usable edits a very small language model writes: SmolLM2-135M-Instruct with JSON held to a schema.

`python benchmarks/smollm2/run.py SHARDS` takes the captions of a folder of WebDataset shards (`.txt` members), asks for
an edit of each after a few examples, and prints every row, the share that follows each rule and the speed. The rules
(`faults`) are necessary and not sufficient: whether an edit makes sense is for a person to read in the rows.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tarfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from models import registry  # noqa: E402  the repository is not a package
from models.placement import Placement  # noqa: E402
from models.schemes.smollm2 import MODEL_ID  # noqa: E402

FIELDS = ("instruction", "target_caption", "reverse_instruction")
KEYS = ("caption", *FIELDS)
"""The caption is written out again first: without that the model edits the captions of the examples."""
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in KEYS},
    "required": list(KEYS),
    "additionalProperties": False,
}
EXAMPLES = (
    ("a black cat on a sofa", "make the cat white", "a white cat on a sofa", "make the cat black"),
    ("a boat on a calm lake", "replace the boat with a swan", "a swan on a calm lake", "replace the swan with a boat"),
    ("a street in summer", "add snow to the street", "a street covered with snow", "remove the snow"),
    ("a plate with an apple", "turn the apple into a lemon", "a plate with a lemon", "turn the lemon into an apple"),
)
TASK = (
    "Write one edit of a photo. The instruction changes one thing in the caption, the target caption describes the "
    "photo after the edit, the reverse instruction undoes it."
)
RULES = ("parses", "target differs", "keeps the rest", "names the change", "reverse differs", "not an example")
STOP_WORDS = frozenset({
    "a", "an", "the", "of", "on", "in", "at", "by", "to", "for", "with", "and", "or", "from", "into", "onto", "over",
    "under", "near", "beside", "behind", "front", "its", "his", "her", "their", "this", "that", "it", "is", "are", "be",
    "make", "turn", "add", "remove", "replace", "change", "put", "give", "let", "set", "use", "one", "some",
})  # fmt: skip


def main() -> None:
    """Read the captions, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=Path, help="folder of .tar files")
    parser.add_argument("--model", default=MODEL_ID)
    parser.add_argument("--limit", type=int, default=32, help="captions, in the order of the shards")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=110)
    parser.add_argument("--threads", type=int, default=1, help="of torch; more than the idle cores slow it down")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    captions = read_captions(args.shards)[: args.limit]
    model = registry.load("TextGenerator", args.model, Placement(batch_size=args.batch))
    prompts = [prompt_for(caption) for caption in captions]
    model.generate(prompts[:1], max_new_tokens=2, json_schema=SCHEMA)  # compiles the grammar
    began = time.perf_counter()
    answers = model.generate(prompts, max_new_tokens=args.max_new_tokens, json_schema=SCHEMA)
    report(captions, answers, time.perf_counter() - began, model.count_tokens(answers))


def read_captions(folder: Path) -> list[str]:
    """Captions of all shards of a folder, shards by name, members in order."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            texts = [tar.extractfile(member) for member in tar if member.name.endswith(".txt")]
            found += [text.read().decode().strip() for text in texts if text is not None]
    if not found:
        sys.exit(f"error: no captions in {folder}; expected .tar files with .txt members")
    return found


def prompt_for(caption: str) -> str:
    """The task, the examples and the caption."""
    shown = [json.dumps(dict(zip(KEYS, example, strict=True))) for example in EXAMPLES]
    return "\n".join([TASK, "", *shown, "", f"Now write one for the caption: {caption}"])


def faults(caption: str, answer: str) -> list[str]:
    """The rules that an answer breaks.

    parses            a JSON object with the three strings, none blank
    target differs    the target caption has other words than the caption, or in another order
    keeps the rest    at least half of the caption's content words are still in the target caption
    names the change  the instruction has a content word that the change added or took away
    reverse differs   the reverse instruction is not the instruction again
    not an example    neither target caption nor instruction is one of the prompt's examples
    """
    try:
        edit = json.loads(answer)
        instruction, target, reverse = (str(edit[name]) for name in FIELDS)
    except (ValueError, KeyError, TypeError):
        return list(RULES[:1])
    if not all(map(words, (instruction, target, reverse))):
        return list(RULES[:1])
    before, after = content(caption), content(target)
    follows = (
        True,
        words(target) != words(caption),
        2 * len(before & after) >= len(before),
        bool(content(instruction) & (before ^ after)),
        words(reverse) != words(instruction),
        all(words(target) != words(t) and words(instruction) != words(i) for _, i, t, _ in EXAMPLES),
    )
    return [rule for rule, holds in zip(RULES, follows, strict=True) if not holds]


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return re.findall(r"[a-z']+", text.lower())


def content(text: str) -> set[str]:
    """Words that carry meaning, a plural -s dropped."""
    return {word.removesuffix("s") for word in words(text) if word not in STOP_WORDS}


def report(captions: list[str], answers: list[str], seconds: float, num_tokens: int) -> None:
    """Print the rows, then the shares and the speed."""
    broken = [faults(caption, answer) for caption, answer in zip(captions, answers, strict=True)]
    for number, (caption, answer, wrong) in enumerate(zip(captions, answers, broken, strict=True), start=1):
        print(f"{number:3d} {caption}\n    {answer}\n    {'valid' if not wrong else 'broken: ' + ', '.join(wrong)}")
    total = len(captions)
    print(f"\n{'rule':<18}{'follow it':>10}{'share':>8}")
    for rule in RULES:
        count = sum(rule not in wrong and RULES[0] not in wrong for wrong in broken)
        print(f"{rule:<18}{count:>10}{count / total:>8.0%}")
    valid = sum(not wrong for wrong in broken)
    print(f"{'all of them':<18}{valid:>10}{valid / total:>8.0%}")
    print(
        f"\n{num_tokens} tokens in {seconds:.1f} s: {num_tokens / seconds:.1f} tokens/s, {seconds / total:.2f} s a row"
    )


if __name__ == "__main__":
    main()

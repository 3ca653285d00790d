"""How well reverse instructions undo edits of captions, by way: a model, rules, WordNet; every one was read.

`python benchmarks/reverse_instructions/run.py SHARDS` takes the 32 photographs whose captions are in
benchmarks/instructions/answers.jsonl. Way `model`: `write_edits`, with answers written by hand in the place of those of
a model, as far as its checks accept them. Way `rule`: `write_reverse` without a model on the same edits, their reverse
instructions taken away. Way `wordnet`: `edit_caption_wordnet`.

The labels are readings by the authors. The question was: a careful person gets the edited image and the reverse
instruction, nothing else; is the result what the source caption says? What the reverse instruction does not speak of
stays as it is, as in the edit itself: the silver van that replaced a silver car is silver again as a car. Where the
source caption says no colour, weather or style, any usual one will do, and an image without a style is a photograph. A
thing that was removed may come back at any place that suits it.

Exit status 1: a text has no label, a reverse instruction names what is not there, or a way undoes less than 90 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.reverse_instructions.judging import HEADER, judged  # noqa: E402  run from a checkout
from benchmarks.reverse_instructions.labels import TEXTS, Reverse, read_labels, unread_line  # noqa: E402
from benchmarks.reverse_instructions.naming import new_words  # noqa: E402
from benchmarks.reverse_instructions.ways import BuildError, all_ways  # noqa: E402
from models.language.wordnet import WordNet  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.reverse_instructions.judging import JudgedWay, Read

LABELS = Path(__file__).with_name("labels.jsonl")


def main() -> int:
    """Print the readings and the table. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", help="folder of WebDataset shards with the captions of answers.jsonl")
    args = parser.parse_args()
    wordnet = WordNet()

    def words_of(reverse: Reverse) -> tuple[str, ...]:
        *texts, own = (getattr(reverse, name) for name in TEXTS)
        return new_words(own, tuple(texts), wordnet)

    try:
        labels = read_labels(LABELS)
        found = judged(all_ways(args.shards), labels, words_of)
    except (BuildError, ValueError) as error:
        sys.exit(f"error: {error}")
    status = report(found)
    if unused := labels.keys() - {read.reverse for way in found for read in way.reads}:
        print(f"{len(unused)} labels are of texts that no way writes")
    return status


def report(ways: Sequence[JudgedWay]) -> int:
    """Print new words, what does not undo its edit, what is unread, and the table. Returns the exit status."""
    reads = {read.reverse: read for way in ways for read in way.reads}.values()
    new = [read for read in reads if read.new_words and read.label is not None]
    wrong = [read for read in reads if read.label is not None and not read.undoes]
    unread = [read for read in reads if read.label is None]
    _section(f"{len(new)} reverse instructions with words that no text of the edit has", map(_new, new))
    _section(f"{len(wrong)} do not undo the edit", map(_wrong, wrong))
    _section(f"{len(unread)} were not read", (unread_line(read.reverse, read.new_words) for read in unread))
    print("", HEADER, *(way.row() for way in ways), "", sep="\n")
    for way in ways:
        for reason, number in way.way.without.items():
            print(f"{way.way.name}: {number} edits without a reverse instruction: {reason}")
    problems = [problem for way in ways for problem in way.problems()]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _section(title: str, lines: Iterable[str]) -> None:
    print(f"\n== {title}", *lines, sep="\n")


def _new(read: Read) -> str:
    verdict = f"names {', '.join(read.absent)}" if read.absent else "names nothing that is not there"
    return f"{read.reverse.reverse_instruction}  ({', '.join(read.new_words)}: {verdict})"


def _wrong(read: Read) -> str:
    one, why = read.reverse, "" if read.label is None else read.label.why
    return (
        f"{one.source_caption} -> {one.target_caption}\n    {one.instruction}  <-  {one.reverse_instruction}\n    {why}"
    )


if __name__ == "__main__":
    sys.exit(main())

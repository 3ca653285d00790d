"""The benchmark `held_out_pairs`: the pairs that a finished dataset holds out of trainings, with their examples.

Reads the tars of a dataset whose samples have the column `split` (`group_by_instruction` writes it). The edited image
is compared with the sample's own target. The first section holds all pairs, the others those of one split each:
`in_domain` (the instruction was trained on) and `out_of_domain` (it was not).
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from core.errors import DatasetError, EvaluationError, one_line
from evaluation.benchmark import Benchmark, BenchmarkReader, EditCase, Sample
from evaluation.images import inside
from evaluation.json_files import check_encodable, text_in
from samples.members import JSON, values_of
from samples.shards import SHARD_LIST, SPLIT, read_shards

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from samples.shards import ShardFile, ShardList

ALL = "all"
EXAMPLES = ("example_source_images", "example_target_images")
TEXTS = ("instruction", "source_caption", "target_caption", "source_phrase", "edit_type", SPLIT)


class HeldOutPairs(BenchmarkReader):
    """Held-out pairs of a dataset that was built here."""

    name: ClassVar[str] = "held_out_pairs"

    splits: tuple[str, ...] = Field(default=("in_domain", "out_of_domain"), min_length=1, strict=False)
    """The splits that are read."""
    max_examples: int = Field(default=1, ge=0)
    """Most examples of a pair that an editor is given; 0: none."""

    def read(self, folder: Path, limit: int | None = None) -> Benchmark:
        """The held-out pairs of `folder`, or the first `limit` of them, behind which nothing is read or checked.

        Raises EvaluationError for another layout, a repeated key, and a tar with other samples than listed.
        """
        try:
            dataset = read_shards(folder)
            keys: set[str] = set()
            pairs = (one for shard in dataset.shards for one in self._pairs(dataset, shard, folder, keys))
            found = list(islice(pairs, limit))
        except (DatasetError, OSError, tarfile.TarError) as error:
            raise EvaluationError(one_line(error)) from None
        if not found:
            there = sorted({name for shard in dataset.shards for name, _ in shard.splits})
            raise EvaluationError(
                f"{folder} holds no pair of the splits {', '.join(self.splits)} (it has: "
                f"{', '.join(there) or 'none'}); build it with group_by_instruction, or name other splits"
            )
        cases, samples = zip(*found, strict=True)
        return Benchmark(name=self.name, cases=cases, samples=samples)

    def _pairs(
        self, dataset: ShardList, shard: ShardFile, folder: Path, keys: set[str]
    ) -> Iterator[tuple[EditCase, Sample]]:
        """The pairs of one tar. `keys` are those of all samples so far, and grow by those of this tar."""
        listed = {name: number for name, number in shard.splits if number}
        if not listed.keys() & set(self.splits):
            return
        found: Counter[str] = Counter()
        with dataset.open(shard) as handle:
            for key, members in _samples(handle):
                where = f"{dataset.url}/{shard.file}, sample {key}"
                _check_key(key, folder, keys, where)
                light = _light(members, where)
                split = text_in(light, SPLIT, where, default="")
                found[split] += 1
                if split in self.splits:
                    yield self._pair(key, members, light, where)
        if dict(found) != listed:
            raise EvaluationError(
                f"{dataset.url}/{shard.file} holds {_counts(found)}; {SHARD_LIST} says {_counts(listed)}; build the "
                "dataset again"
            )

    def _pair(
        self, key: str, members: Mapping[str, bytes], light: dict[str, Any], where: str
    ) -> tuple[EditCase, Sample]:
        (source, *_), (target, *_) = (values_of(name, members) or [b""] for name in ("source_images", "target_image"))
        if not source or not target:
            raise EvaluationError(f"{where}: it has no source or no target image; build the dataset again")
        texts = {name: text_in(light, name, where, default="") for name in TEXTS}
        before, after = texts["source_caption"], texts["target_caption"]
        mask = next(iter(values_of("region_mask_png", members)), None)
        examples = tuple(zip(*(values_of(name, members) for name in EXAMPLES), strict=False))[: self.max_examples]
        case = EditCase(
            key=key, source=source, instruction=texts["instruction"], source_caption=before, target_caption=after,
            mask=mask, phrase=texts["source_phrase"], examples=examples,
        )  # fmt: skip
        sample = Sample(
            key=key, sections=(ALL, texts[SPLIT]), reference=target, source=source, mask=mask,
            source_text=before, target_text=after or None, facts={"edit_type": texts["edit_type"]},
        )  # fmt: skip
        return case, sample


def _samples(handle: Any) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members by suffix) of each sample of a tar, whose members are adjacent."""
    held: dict[str, bytes] = {}
    held_key = ""
    with tarfile.open(fileobj=handle, mode="r|") as tar:
        for info in tar:
            key, _, suffix = info.name.partition(".")
            if key != held_key and held:
                yield held_key, held
                held = {}
            held_key = key
            if info.isfile() and (file := tar.extractfile(info)) is not None:
                held[suffix] = file.read()
    if held:
        yield held_key, held


def _check_key(key: str, folder: Path, keys: set[str], where: str) -> None:
    """Add the key to `keys`. Raises EvaluationError for one that is in it, or that can name no output."""
    check_encodable(key, where)
    inside(folder, key, where)
    if key in keys:
        raise EvaluationError(f"{where}: there is another sample of this key; expected each key once; build again")
    keys.add(key)


def _counts(splits: Mapping[str, int]) -> str:
    """Split and number of its samples, as messages name them."""
    return ", ".join(f"{name or '(no split)'} {number}" for name, number in sorted(splits.items()))


def _light(members: Mapping[str, bytes], where: str) -> dict[str, Any]:
    """The light columns of a sample. Raises EvaluationError where they cannot be read."""
    try:
        light = json.loads(members[JSON])
    except (KeyError, ValueError, RecursionError) as error:
        raise EvaluationError(
            f"{where}: its json cannot be read ({one_line(error)}); build the dataset again"
        ) from None
    if not isinstance(light, dict):
        raise EvaluationError(f"{where}: its json is no object; build the dataset again")
    return light

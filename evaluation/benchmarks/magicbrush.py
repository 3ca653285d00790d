"""The benchmark `magicbrush`: both protocols of MagicBrush's test set, single turn and multi turn.

Zhang et al. 2023, and the published sampling and evaluation scripts. A folder as the authors publish it:

    edit_sessions.json                    {id: [{input, instruction, output, mask}, …]}, one entry a turn
    images/<id>/<id>-input.png            the images, with or without the folder `images`
    images/<id>/<id>-output1.png …        the true result of each turn
    local_descriptions.json               {id: {"<id>-output1.png": text}}: what the edited thing is now
    global_descriptions.json              the same, of the whole image: the target captions; may be absent

Outputs: `<id>/<id>_1.png` of the first turn, `<id>/<id>_inde_{k}.png` of turn k after the true result of the turn
before, `<id>/<id>_iter_{k}.png` of turn k after the editor's own. Single turn is the mean over all turns of the first
two kinds; multi turn that over sessions, of the last `iter` each (`_1` where there is one turn). The edited image is
resized to the true one, CLIP-T is with the local description, DINO sees the middle of the image.

The baseline `copy_source` of multi turn is the session's first source, compared with the last true result.

The paper has two tables. Its table of mask-free methods compares whole images, and so do UltraEdit's rows with a
region. Its table of mask-provided methods takes L1 and L2 over the masked part only: with the setting `regions` these
are `l1_inside` and `l2_inside`. Its CLIP-T over the masked part is not taken here: no published script has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from core.errors import EvaluationError
from evaluation.benchmark import Benchmark, BenchmarkReader, EditCase, Output, Sample
from evaluation.images import existing, inside
from evaluation.json_files import read_object, text_in
from evaluation.views import centre_224

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.benchmark import Measure
    from evaluation.views import View

SESSIONS_FILE = "edit_sessions.json"
LOCAL_FILES = ("local_descriptions.json", "local_captions.json")
GLOBAL_FILES = ("global_descriptions.json", "global_description.json")
SINGLE, MULTI = "single_turn", "multi_turn"


class MagicBrush(BenchmarkReader):
    """MagicBrush's test set."""

    name: ClassVar[str] = "magicbrush"

    regions: bool = False
    """Take L1 and L2 inside and outside the masks too. Each mask must be as large as its turn's true result."""

    def read(self, folder: Path, limit: int | None = None) -> Benchmark:
        """Both protocols over the sessions of `folder`, or the first `limit` of them.

        Raises EvaluationError for a folder that is not in the layout above.
        """
        descriptions = _Descriptions(_first(folder, LOCAL_FILES), _first(folder, GLOBAL_FILES))
        cases: list[EditCase] = []
        samples: list[Sample] = []
        chosen = list(read_object(folder / SESSIONS_FILE).items())[:limit]
        for name, turns in chosen:
            session = _Session(folder, name, turns, descriptions, has_regions=self.regions)
            cases += session.cases()
            samples += session.samples()
        if not cases:
            raise EvaluationError(f"{folder / SESSIONS_FILE} holds no session")
        notes: dict[str, str | int | list[str]] = {
            "num_sessions": len(chosen),
            "num_turns": sum(SINGLE in one.sections for one in samples),
            "clip_t": "not taken: no local descriptions" if descriptions.local is None else "local descriptions",
            "num_blank_descriptions": sum(one.target_text == "" for one in samples),
        }
        views: dict[Measure, View] = {"dino": centre_224}
        return Benchmark(name=self.name, cases=tuple(cases), samples=tuple(samples), notes=notes, views=views)


class _Descriptions(NamedTuple):
    """Session -> file name -> text, or None for a file of descriptions that is not there."""

    local: dict[str, Any] | None
    whole: dict[str, Any] | None


class _Session:
    """One image and the turns of edits on it."""

    def __init__(self, folder: Path, name: str, turns: Any, descriptions: _Descriptions, *, has_regions: bool) -> None:
        self._where = f"{folder / SESSIONS_FILE} session {name!r}"
        inside(folder, name, self._where)
        if "/" in name:
            raise EvaluationError(f"{self._where}: the name of a session names a folder; expected one without '/'")
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
            raise EvaluationError(f"{self._where} is no list of turns; expected one object with an instruction a turn")
        images = folder / "images"
        self._folder = images if images.is_dir() else folder
        self._name, self._turns, self._descriptions, self._has_regions = name, turns, descriptions, has_regions
        self._targets = [self._target(turn) for turn in range(len(turns))]

    def cases(self) -> list[EditCase]:
        """Each turn after the true result before it, then each but the first after the editor's own."""
        made = [self._case(turn, self._source(turn), self._key(turn, "inde")) for turn in range(len(self._turns))]
        chain = [
            self._case(turn, Output(self._key(turn - 1, "iter")), self._key(turn, "iter"))
            for turn in range(1, len(self._turns))
        ]
        return [*made, *chain]

    def samples(self) -> list[Sample]:
        """The cases that are scored: every turn alone, and the last of the chain."""
        last = len(self._turns) - 1
        made = [self._sample(turn, "inde", (SINGLE,) if last else (SINGLE, MULTI)) for turn in range(last + 1)]
        return [*made, self._sample(last, "iter", (MULTI,))] if last else made

    def _key(self, turn: int, kind: str) -> str:
        return f"{self._name}/{self._name}_1" if turn == 0 else f"{self._name}/{self._name}_{kind}_{turn + 1}"

    def _case(self, turn: int, source: Path | Output, key: str) -> EditCase:
        return EditCase(
            key=key,
            source=source,
            instruction=text_in(self._turns[turn], "instruction", f"{self._where} turn {turn + 1}"),
            target_caption=self._target_caption(turn),
            mask=self._mask(turn),
        )

    def _sample(self, turn: int, kind: str, sections: tuple[str, ...]) -> Sample:
        local = self._descriptions.local
        return Sample(
            key=self._key(turn, kind),
            sections=sections,
            reference=self._targets[turn],
            mask=self._mask(turn) if self._has_regions else None,
            target_text=None if local is None else self._local_description(local, turn),
            facts={"turn": str(turn + 1)},
        )

    def _target_caption(self, turn: int) -> str:
        """The global description of the turn's true result, "" where there is none."""
        ours = (self._descriptions.whole or {}).get(self._name)
        where = f"{self._where}, global descriptions"
        return text_in(ours, self._targets[turn].name, where, default="") if isinstance(ours, dict) else ""

    def _mask(self, turn: int) -> Path | None:
        name = self._turns[turn].get("mask")
        return None if name is None else self._file(name, f"turn {turn + 1}, mask,")

    def _source(self, turn: int) -> Path:
        return self._file(self._turns[turn].get("input"), f"turn {turn + 1}, input,")

    def _target(self, turn: int) -> Path:
        name = self._turns[turn].get("output")
        return self._file(f"{self._name}-output{turn + 1}.png" if name is None else name, f"turn {turn + 1}, output,")

    def _file(self, name: Any, said_by: str) -> Path:
        if isinstance(name, str) and "/" in name:
            raise EvaluationError(
                f"{self._where} {said_by} names {name!r}; expected a file of the session's own folder"
            )
        return existing(self._folder / self._name, name, f"{self._where} {said_by}")

    def _local_description(self, descriptions: dict[str, Any], turn: int) -> str:
        ours = descriptions.get(self._name)
        name = self._targets[turn].name
        if not isinstance(ours, dict) or not isinstance(ours.get(name), str):
            raise EvaluationError(
                f"{self._where}: there is no local description of {name}; expected text under the session's name"
            )
        return str(ours[name]).strip()


def _first(folder: Path, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The object in the first of the files that is there, or None when none is."""
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    return None if found is None else read_object(found)

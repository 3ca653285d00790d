"""Carries out the turns of many sessions, one turn of all of them at a time: edit, measure the drift, go on or end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.batches import as_rgb
from samples.stored_images import made_image
from stages.editing.orders import SEED_BITS, EditFault, Order, edit_all
from stages.editing.requests import LacksField, request_of
from stages.sessions.drift import IMAGE_SCORE, SESSION_SCORES, Drift
from stages.sessions.pairs import Turn

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Iterator, Mapping, Sequence

    from PIL.Image import Image

    from models.protocols import Editor, ImageEncoder
    from stages.editing.orders import Edited
    from stages.pair_scores.bounds import Bounds
    from stages.sessions.pairs import Row

DRIFTED = "drifted"


@dataclass(kw_only=True, slots=True, eq=False)
class Session:
    """One session: its turns so far, the texts of those to come, and why it ended early, if it did."""

    sample_id: str
    turns: list[Turn]
    """Those that were carried out; the first was given."""
    ahead: list[Mapping[str, Any]]
    rng: random.Random
    drift: Drift | None = None
    first_emb_D: Any = None
    ended: tuple[str, str] | None = None
    """(reason, detail) of a session that ended before its last turn."""

    def end(self, reason: str, detail: str) -> None:
        """Make this the end of the session."""
        self.ended = reason, detail

    @property
    def next_texts(self) -> Row:
        """Texts of the next turn, whose source caption is the last target caption."""
        done = len(self.turns) - 1
        return {**self.ahead[done], "source_caption": self.turns[-1].texts["target_caption"]}

    @property
    def is_live(self) -> bool:
        """True while a further turn is to be made."""
        return self.ended is None and len(self.turns) <= len(self.ahead)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Chain:
    """How sessions are carried out."""

    editor: Editor
    encoder: ImageEncoder | None
    model_id: str
    image_format: str
    quality: int
    asked_l1: float
    bounds: Mapping[str, Bounds]
    notes: Counter[str] = field(repr=False)

    def run(self, sessions: Sequence[Session]) -> None:
        """Measure the given first turns, then make the others until every session is at its end."""
        for session in sessions:
            session.drift = Drift(made_image(session.turns[0].source[0]), self.asked_l1)
        self._measure(sessions)
        while live := [one for one in sessions if one.is_live]:
            made = edit_all(
                self.editor, self._orders(live), image_format=self.image_format, quality=self.quality, notes=self.notes
            )
            self._measure([one for one in map(self._taken, made) if one is not None])

    def _orders(self, sessions: Sequence[Session]) -> Iterator[Order]:
        """The next turn of each session. A session whose turn cannot be ordered ends."""
        for session in sessions:
            seed = session.rng.getrandbits(SEED_BITS)
            try:
                image = made_image(session.turns[-1].target[0])
                request = request_of(session.next_texts, image, self.editor.needs, self.editor.uses)
            except LacksField as error:
                session.end(EditFault.MISSING_FIELD.value, str(error))
                continue
            yield Order(key=session, request=request, seed=seed)

    def _taken(self, edited: Edited) -> Session | None:
        """The session with the edited image as its next turn, or None where there is no image: the session ends."""
        session: Session = edited.order.key
        if edited.file is None:
            assert edited.fault is not None
            session.end(edited.fault.value, edited.detail)
            return None
        made = {"edit_model": self.model_id, "synthesis_seed": edited.order.seed, **edited.columns}
        target = edited.file, self.image_format
        turn = Turn(source=session.turns[-1].target, target=target, texts=session.next_texts, columns=made)
        session.turns.append(turn)
        return session

    def _measure(self, sessions: Sequence[Session]) -> None:
        """Measure the drift of each session's last turn. A turn beyond a bound is taken back and ends its session."""
        cosines = self._image_cosines(sessions)
        for session, cosine in zip(sessions, cosines, strict=True):
            turn = session.turns[-1]
            assert session.drift is not None
            scores = session.drift.add(made_image(turn.source[0]), made_image(turn.target[0])) | {IMAGE_SCORE: cosine}
            turn.columns.update(scores)
            beyond = [f"{found[0]}_{name}" for name in SESSION_SCORES if (found := self._failed(name, scores[name]))]
            if beyond:
                session.turns.pop()
                session.end(DRIFTED, f"turn {len(session.turns) + 1}: {', '.join(beyond)}")

    def _failed(self, name: str, value: float | None) -> tuple[str, float] | None:
        return self.bounds[name].failed(value) if name in self.bounds else None

    def _image_cosines(self, sessions: Sequence[Session]) -> list[float | None]:
        """The cosine of each session's first source and last target, or no values without an encoder."""
        if self.encoder is None or not sessions:
            return [None] * len(sessions)
        new = [one for one in sessions if one.first_emb_D is None]
        images = [one.turns[0].source[0] for one in new] + [one.turns[-1].target[0] for one in sessions]
        emb_BD = self.encoder.encode_images(as_rgb(map(_decoded, images)))
        for session, emb_D in zip(new, emb_BD[: len(new)], strict=True):
            session.first_emb_D = emb_D
        targets_BD = emb_BD[len(new) :]
        return [
            round(float((one.first_emb_D * emb_D).sum()), 5) for one, emb_D in zip(sessions, targets_BD, strict=True)
        ]


def _decoded(encoded: bytes) -> Image:
    return made_image(encoded)

"""Replies of a judge: those that an earlier build kept, and the others asked for once each.

The key of a kept reply is a hash over everything that decides it: both images, the texts, the region, the judge with
its revision and settings, the words that it is asked with, the seed, and the stage's version. So a changed prompt never
finds old replies.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.errors import ContractError
from models.judges.replies import JudgeScores, bounded, read_scores
from models.protocols import JudgeReply
from pipeline.plan.fingerprint import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.protocols import EditJudge
    from pipeline.context import Context
    from stages.judging.edits import ShownEdit

SEED_BITS = 31
"""Servers take seeds as numbers of 32 bits with a sign."""
NO_REPLY = JudgeReply("", "no_reply")


class JudgeStatus(StrEnum):
    """Whether a reply has scores. Everything but `PARSED` is an abstention."""

    PARSED = "parsed"  # it has exactly the form that was asked for
    UNPARSED = "unparsed"  # it has another one
    REFUSED = "refused"  # the judge's interface says that it refuses
    NO_REPLY = "no_reply"  # nothing came back, or the row has no instruction


@dataclass(frozen=True, slots=True)
class Judgement:
    """A reply with what was read in it."""

    reply: JudgeReply
    status: JudgeStatus
    scores: JudgeScores | None
    seed: int | None


class Replies:
    """One judge, and what it said in this run folder."""

    def __init__(self, judge: EditJudge, identity: Mapping[str, Any], ctx: Context) -> None:
        """`identity` has the stage's version, and the judge's id, revision and settings."""
        self._judge, self._ctx = judge, ctx
        self._identity = canonical({**identity, "prompt_sha256": judge.prompt_sha256})

    def judge(self, edits: Sequence[ShownEdit | None]) -> list[Judgement]:
        """One judgement an edit. Raises the first error of the judge, after the other replies are kept."""
        shas = [None if edit is None else edit.sha256 for edit in edits]
        shown = {sha: edit for sha, edit in zip(shas, edits, strict=True) if sha is not None and edit is not None}
        seeds = {sha: self._ctx.rng(sha).getrandbits(SEED_BITS) for sha in shown}
        keys = {sha: self._key(sha, seed) for sha, seed in seeds.items()}
        answers = self._ctx.answers
        kept = {} if answers is None else answers.get(list(keys.values()))
        replies = {sha: JudgeReply(*kept[key]) for sha, key in keys.items() if key in kept}
        asked = [sha for sha in shown if sha not in replies]
        if asked:
            requests = [shown[sha].request() for sha in asked]
            told = _checked(self._judge.judge(requests, seeds=[seeds[sha] for sha in asked]), len(asked))
            new = {
                sha: one._replace(text=bounded(one.text))
                for sha, one in zip(asked, told, strict=True)
                if isinstance(one, JudgeReply)
            }
            replies |= new
            if answers is not None:
                answers.put({keys[sha]: list(reply) for sha, reply in new.items() if is_final(reply)})
            for one in told:
                if not isinstance(one, JudgeReply):
                    raise one
        return [judgement_of(NO_REPLY, None) if sha is None else judgement_of(replies[sha], seeds[sha]) for sha in shas]

    def _key(self, sha: str, seed: int) -> str:
        return hashlib.sha256(canonical([sha, seed, self._identity]).encode()).hexdigest()


def _checked(told: Sequence[Any], count: int) -> Sequence[JudgeReply | ConnectionError | ValueError]:
    """The replies. Raises ContractError where a judge, which may be the user's own, returned something else."""
    if len(told) != count:
        raise ContractError(f"the judge returned {len(told)} replies to {count} requests; expected one each")
    for one in told:
        if not isinstance(one, JudgeReply | ConnectionError | ValueError):
            raise ContractError(f"the judge returned a {type(one).__name__}; expected a JudgeReply, or an error")
    return told


def is_final(reply: JudgeReply) -> bool:
    """True for a reply that would be the same if it were asked for again. A lack of one may have passed by then."""
    return reply.kind != "no_reply" and bool(reply.text.strip() or reply.kind == "refused")


def judgement_of(reply: JudgeReply, seed: int | None) -> Judgement:
    """The status and the scores of a bounded reply."""
    if reply.kind == "refused":
        return Judgement(reply, JudgeStatus.REFUSED, None, seed)
    if not is_final(reply):
        return Judgement(reply, JudgeStatus.NO_REPLY, None, seed)
    scores = read_scores(reply.text)
    return Judgement(reply, JudgeStatus.UNPARSED if scores is None else JudgeStatus.PARSED, scores, seed)

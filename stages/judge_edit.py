"""Have a judge score each edit, and keep what it said. A reply that cannot be read is an abstention, not a score.

Reads   source_images (list<binary>), target_image (binary), instruction (string), and where there are any
        source_caption (string), target_caption (string), region_mask_png (binary)
Writes  judge_status (string: parsed, unparsed, refused or no_reply), judge_instruction_score (float32, 0 to 10),
        judge_preservation_score (float32, 0 to 10), judge_quality_score (float32, 0 to 10), judge_score (float32, 0 to
        10, sqrt(min(instruction, preservation) * quality)); scores have no value unless the status is parsed;
        judge_reply (string, word for word), judge_model (string), judge_revision (string),
        judge_prompt_sha256 (string), judge_seed (int64)
Drops   nothing: `select` owns thresholds. A bound on a score rejects abstentions too (`no value`), unless it says
        `may_be_missing = true`
Source  Ku et al. 2024, VIEScore (arXiv 2312.14867), section 3; the published code of several benchmarks replaces a
        reply that cannot be read by a random score, which this stage never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from models import registry
from models.protocols import EditJudge
from pipeline.stage import MapStage, Serves
from samples.columns import column
from stages.judging.edits import shown_edits
from stages.judging.replies import Replies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.judging.replies import Judgement

DECIMALS = 4
QUESTIONS = ("instruction", "preservation", "quality")


class JudgeEdit(MapStage):
    """Scores and words of one judge, decoded greedily. What it said once is not asked for again in this run folder.

    An edit gets the same seed wherever it is: the seed hangs on the images, the texts and the manifest's seed.
    """

    version: ClassVar[int] = 1  # raise it with every change of what judges are shown, or of how replies are read
    reads: ClassVar = ("source_images", "target_image", "instruction")
    reads_if_present: ClassVar = ("source_caption", "target_caption", "region_mask_png")
    writes: ClassVar = (
        "judge_status", "judge_instruction_score", "judge_preservation_score", "judge_quality_score", "judge_score",
        "judge_reply", "judge_model", "judge_revision", "judge_prompt_sha256", "judge_seed",
    )  # fmt: skip
    uses_rng: ClassVar = True

    model: Annotated[str, Serves(EditJudge)]
    """An EditJudge: `hf:Qwen/Qwen3-VL-8B-Instruct@<commit>`, `openai:MODEL@URL`, `code:package.module:Class` …"""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Longest reply in tokens, for judges that write them; none: the wrapper's own limit, 400."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the judge once."""
        settings = {} if self.max_new_tokens is None else {"max_new_tokens": self.max_new_tokens}
        judge = ctx.load(EditJudge, self.model, **settings)
        revision = registry.revision(self.model)
        identity = {"version": self.version, "model": self.model, "revision": revision, "settings": settings}
        replies = Replies(judge, identity, ctx)
        same = {"model": self.model, "revision": revision, "prompt_sha256": judge.prompt_sha256}

        def judge_rows(batch: pa.Table) -> pa.Table:
            found = replies.judge(shown_edits(batch))
            for name, values in _values(found).items():
                batch = batch.append_column(f"judge_{name}", pa.array(values, column(f"judge_{name}").type))
            for name, value in same.items():
                values = pa.array([value] * len(found), column(f"judge_{name}").type)
                batch = batch.append_column(f"judge_{name}", values)
            _note(ctx, found)
            return batch

        return judge_rows


def _values(found: Sequence[Judgement]) -> dict[str, list[Any]]:
    """Column without `judge_` -> the value of each row."""
    scores = [one.scores for one in found]
    return {
        "status": [one.status.value for one in found],
        **{f"{name}_score": [None if one is None else getattr(one, name) for one in scores] for name in QUESTIONS},
        "score": [None if one is None else round(one.overall, DECIMALS) for one in scores],
        "reply": [one.reply.text or None for one in found],
        "seed": [one.seed for one in found],
    }


def _note(ctx: Context, found: Sequence[Judgement]) -> None:
    """Count replies and their tokens, kept ones too, so that the report does not hang on what was kept."""
    ctx.notes["judge replies"] += len(found)
    for one in found:
        ctx.notes[f"judge replies: {one.status.value}"] += 1
    ctx.notes["judge prompt tokens"] += sum(one.reply.prompt_tokens for one in found)
    ctx.notes["judge completion tokens"] += sum(one.reply.completion_tokens for one in found)

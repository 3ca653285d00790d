"""How well the checks of language models' edits judge: false rejects and false accepts, read one by one.

`python benchmarks/instructions/run.py SHARDS` takes the 32 photographs whose captions are in answers.jsonl through
read_webdataset, normalise_image and write_edits, twice. First an OpenAI-compatible server on the loopback answers from
that file: an edit of each type for each caption, and before it, where there is one, an answer with a known fault. Then
SmolLM2-135M-Instruct writes them. Every rejected answer is printed with its faults, every one of SmolLM2's that was
accepted too. Labels are of the person who wrote or read the answers. second_answers.jsonl was written when the checks
were done; it is judged without a chain.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.instructions.answers import FROM_FILE, answer_server, read_labels  # noqa: E402  run from a checkout
from benchmarks.instructions.recording import judged_alone, recorded  # noqa: E402
from benchmarks.instructions.report import report  # noqa: E402
from core.errors import ModelError  # noqa: E402
from models.language.openai_text import OpenaiText  # noqa: E402
from models.language.transformers_text import TransformersText  # noqa: E402
from models.schemes import smollm2  # noqa: E402
from pipeline.build.run import run_build  # noqa: E402
from pipeline.plan.manifest import load_manifest  # noqa: E402
from pipeline.plan.plan import make_plan  # noqa: E402
from pipeline.store.storage import Storage  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWERS = Path(__file__).with_name("answers.jsonl")
SECOND_ANSWERS = Path(__file__).with_name("second_answers.jsonl")
SMOLLM2_LABELS = Path(__file__).with_name("smollm2_labels.jsonl")
CHAIN = """
name = "instructions"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
[[stage]]
use = "write_edits"
"""
FROM_SMOLLM2 = {
    "edits_per_caption": 3,
    "num_instructions": 4,
    "num_examples": 4,
    "repeats_caption": "true",
    "max_new_tokens": 130,
    "max_retries": 0,
    "run_on": "{ rows_per_forward = 4 }",
}
"""A short prompt, since a CPU reads it."""


def main() -> None:
    """Build both chains and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", help="folder of WebDataset shards with the captions of answers.jsonl")
    parser.add_argument("--only", choices=("file", "smollm2"))
    args = parser.parse_args()
    if args.only != "smollm2":
        labels = read_labels(ANSWERS)
        with answer_server(labels) as model_id, recorded(OpenaiText) as given:
            build(args.shards, model_id, FROM_FILE)
        report("answers from the file", given, labels)
        second = read_labels(SECOND_ANSWERS)
        report("second answers", judged_alone(second), second)
    if args.only != "file":
        try:
            smollm2.gguf_path()
        except ModelError as error:
            sys.exit(f"\nSmolLM2 is left out: {error} (or make setup-smollm2)")
        with recorded(TransformersText) as given:
            build(args.shards, smollm2.MODEL_ID, FROM_SMOLLM2)
        report("answers of SmolLM2", given, read_labels(SMOLLM2_LABELS), shows_accepted=True)


def build(shards: str, model_id: str, settings: Mapping[str, object]) -> None:
    """Run the chain in this process, in a run folder that is removed afterwards. Exits where a step fails."""
    lines = [f'model = "{model_id}"', *(f"{name} = {value}" for name, value in settings.items())]
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "instructions.toml")
        manifest.write_text("\n".join([CHAIN.rstrip(), *lines, ""]))
        plan = make_plan(load_manifest(manifest), f"{folder}/run", [shards])
        result = run_build(plan, Storage(plan.out), executor="inprocess", quiet=True)
    if not result.ok:
        sys.exit(f"error: the build failed: {'; '.join(result.failures.values()) or result.stopped}")


if __name__ == "__main__":
    main()

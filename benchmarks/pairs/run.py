"""Pairs by prompt-to-prompt beside plain sampling, the released loop and Data-Juicer's operator, in one run.

`make bench-pairs`, four parts. `controllers`: one test of the attention itself, which Data-Juicer's operator and
UltraEdit's released controller fail without guidance. `plain`: pairs against as many images by plain sampling, at the
real size of Stable Diffusion 1.5. `operator`: pairs against Data-Juicer's operator, which has a virtual environment of
its own (`requirements.txt`) and reads torch, transformers and diffusers from this one. `loop`: accepted pairs a second
against a loop that works as UltraEdit's released script. All weights but those of `loop` are random. Sides take turns.
Needs 4 GB of disk and 3 GB of memory; `--device cuda`: 12 GB of disk and 30 GB of the GPU's memory. Prints tables,
writes result.json and table.md, and fails when a bar is missed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  the repository is not a package

from benchmarks.pairs import tables  # noqa: E402
from benchmarks.pairs.checkpoints import write_checkpoint  # noqa: E402
from benchmarks.pairs.controllers import GUIDED, LATENTS, UNGUIDED, verdicts  # noqa: E402
from benchmarks.pairs.operator_pairs import Operator, against_operator  # noqa: E402
from benchmarks.pairs.plain import against_plain  # noqa: E402
from benchmarks.pairs.scale import Scale  # noqa: E402
from benchmarks.peers import peer_python  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = ("controllers", "operator", "loop", "plain")
PLAIN = {
    "cpu": [Scale(layout="sd15-small-vae", latents=32, num_pairs=2, num_steps=2)],
    "cuda": [
        Scale(layout="sd15", latents=64, num_pairs=8, num_steps=8),
        Scale(layout="sdxl", latents=64, num_pairs=8, num_steps=8),
    ],
}
OPERATOR = {
    "cpu": [
        Scale(layout="sdxl-tiny", latents=LATENTS, num_pairs=16, num_steps=8),
        Scale(layout="sdxl-small", latents=32, num_pairs=4, num_steps=4, pairs_per_batch=1),
    ],
    "cuda": [Scale(layout="sdxl", latents=64, num_pairs=16, num_steps=8)],
}
RECORDS = 12


def main() -> None:
    """Measure the parts that are asked for, print and write the tables."""
    given = _arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    warnings.filterwarnings("ignore", category=FutureWarning)
    result: dict[str, Any] = {**_machine(given), **_measured(given)}
    table = tables.of(result)
    (given.out / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.out / "table.md").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}\n\n{given.out / 'result.json'}")
    sys.exit("\n".join(tables.missed(result)) or 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float16"), help="float32 on the CPU, else float16")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--latents", type=int, help="side of the latents of `plain`: 64 is 512 px")
    parser.add_argument("--peer-site", type=Path, help="folder with the peer's packages, for a machine without network")
    default = os.environ.get("OUT", str(ROOT / "runs" / "bench-pairs"))
    parser.add_argument("--out", type=Path, default=Path(default), help="folder of result.json and table.md")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "runs" / "bench-pairs", help="of checkpoints and the peer"
    )
    given = parser.parse_args()
    given.dtype = given.dtype or {"cpu": "float32", "cuda": "float16"}[given.device]
    return given


def _measured(given: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given.folder.mkdir(parents=True, exist_ok=True)
    if {"controllers", "operator"} & set(given.parts):
        operator = Operator(*_peer(given), given.folder / "peer.log")
        if "controllers" in given.parts:
            found["controllers"] = verdicts(operator, _checkpoint(given, "sdxl-tiny", LATENTS, "cpu", "float32"))
            _say(tables.controllers(found["controllers"]))
        if "operator" in given.parts:
            found["operator"] = _operator_rows(given, operator)
        operator.close()
    if "loop" in given.parts:
        from benchmarks.pairs.accepted import against_released  # needs all packages of the project

        found["loop"] = [against_released(RECORDS, given.device, given.rounds)]
        _say(tables.loop(found["loop"]))
    if "plain" in given.parts:
        found["plain"] = _plain_rows(given)
    return found


def _operator_rows(given: argparse.Namespace, operator: Operator) -> list[dict[str, Any]]:
    rows = []
    for scale in (found.on(given.device, given.dtype) for found in OPERATOR[given.device]):
        folder = _checkpoint(given, scale.layout, scale.latents, given.device, given.dtype)
        for guidance_scales in ((GUIDED, GUIDED), (UNGUIDED, UNGUIDED), (GUIDED, UNGUIDED)):
            rows.append(against_operator(operator, folder, scale, guidance_scales, given.rounds))
            _say(tables.operator(rows[-1:]))
    return rows


def _plain_rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for scale in (found.on(given.device, given.dtype, given.latents) for found in PLAIN[given.device]):
        folder = _checkpoint(given, scale.layout, scale.latents, given.device, given.dtype)
        for guidance_scale in (UNGUIDED, GUIDED):
            rows.append(against_plain(folder, scale, guidance_scale, given.rounds))
            _say(tables.plain(rows[-1:]))
    return rows


def _checkpoint(given: argparse.Namespace, layout: str, latents: int, device: str, dtype: str) -> Path:
    folder = given.folder / f"{layout}-{latents}-{dtype}"
    return write_checkpoint(folder, layout, sample_size=latents, device=device, dtype=getattr(torch, dtype))


def _peer(given: argparse.Namespace) -> tuple[Sequence[str], dict[str, str]]:
    """The command and the environment that start the peer's interpreter."""
    if given.peer_site:
        return [sys.executable], {
            "PYTHONPATH": os.pathsep.join([str(given.peer_site), os.environ.get("PYTHONPATH", "")])
        }
    return [str(peer_python(given.folder, HERE / "requirements.txt"))], {}


def _machine(given: argparse.Namespace) -> dict[str, Any]:
    import diffusers
    import transformers

    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "device": given.device, "dtype": given.dtype,
        "card": torch.cuda.get_device_name(0) if given.device == "cuda" else None, "cpu": platform.machine(),
        "cores": os.cpu_count(), "threads": given.threads, "rounds": given.rounds, "load_before": os.getloadavg(),
        "torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__,
    }  # fmt: skip


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()

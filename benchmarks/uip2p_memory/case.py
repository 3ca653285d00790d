"""One case of the benchmark: the recipe as it opens, and the bytes of its loss and backward pass for some batches."""

from __future__ import annotations

import gc
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from benchmarks.gpu.checkpoints import save_clip
from benchmarks.gpu.measure import Work
from benchmarks.pairs.checkpoints import write_checkpoint
from benchmarks.uip2p_memory.live_bytes import LiveBytes, nbytes
from benchmarks.uip2p_memory.without_values import drop_values, types_of_cuda
from trainer.batch import Batch
from trainer.draws import Draws
from trainer.recipe import TrainContext, make_recipe
from trainer.recipes.uip2p.recipe import Uip2p

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from torch.nn import Module

    from trainer.recipe import Objective
    from trainer.settings import Precision

PRECISIONS: dict[Precision, str] = {"no": "float32", "bf16": "bfloat16"}
EXTRAS = {"identity_loss": True, "clean_cycle_condition": True}
NO_DROPOUT = {"text_dropout": 0.0, "image_dropout": 0.0, "both_dropout": 0.0}
FACTOR = 8
TEXT = "turn the red car into a blue house"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is measured: settings of the recipe, the batches without values, and the rows of a batch with values."""

    checkpoints: str
    """The folder of `write_checkpoints`."""
    size_px: int
    precision: Precision
    checkpointing: bool
    extras: bool
    """With the identity loss and the clean condition of the reverse pass, which are not in the paper."""
    rows: tuple[int, ...]
    rows_with_values: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The case, as the tables name it."""
        settings = "identity loss and clean condition" if self.extras else "the paper's losses"
        return f"{settings}, {PRECISIONS[self.precision]}, checkpointing {'on' if self.checkpointing else 'off'}"


class WithValues(NamedTuple):
    """A step with values: the peak of live bytes, and how much the process grew, None where loading had taken more."""

    rows: int
    peak_bytes: int
    grown_bytes: int | None


class Found(NamedTuple):
    """The bytes of a case. Peaks are without weights, moments of AdamW and frozen networks."""

    case: Case
    weights_bytes: int
    """The trained network, in float32. Its gradients take as much."""
    frozen_bytes: int
    moments_bytes: int
    update_bytes: int
    """Peak of the first step of AdamW, moments included."""
    peak_bytes: dict[int, int]
    """Rows of a batch -> peak of loss and backward pass, gradients included."""
    parts_bytes: dict[str, int]
    """A row's share of the peak of the largest batch, by the network whose forward pass made the bytes."""
    with_values: tuple[WithValues, ...]


def write_checkpoints(folder: Path, size_px: int, *, small: bool) -> None:
    """Stable Diffusion 1.5 and CLIP ViT-L/14 with random weights, or the same classes in small, unless they are there.

    The files are float16. The recipe loads them as it does any.
    """
    layout = "sd15-tiny" if small else "sd15"
    write_checkpoint(folder / "model", layout, sample_size=size_px // FACTOR, dtype=torch.float16)
    if not (folder / "clip" / "processor_config.json").exists():  # the last file that is written
        save_clip(folder / "clip", Work(folder=folder, small=small, device="cpu", seconds=0, dtype="float16"))


def measure(case: Case) -> Found:
    """All of a case. Each peak is that of a step of its own."""
    step = Step(case)
    with_values = tuple(map(step.with_values, case.rows_with_values))
    weights, frozen = nbytes(step.networks["UNet"]), step.frozen_bytes
    step.drop_values()
    live = {rows: step.run(rows) for rows in case.rows}
    moments, update = step.update()
    most = max(case.rows)
    return Found(
        case=case, weights_bytes=weights, frozen_bytes=frozen, moments_bytes=moments, update_bytes=update,
        peak_bytes={rows: one.peak for rows, one in live.items()},
        parts_bytes={name: size // most for name, size in live[most].parts.items()}, with_values=with_values,
    )  # fmt: skip


class Step:
    """Loss and backward pass of a case, for batches whose rows all have a cycle."""

    def __init__(self, case: Case) -> None:
        """Open the recipe on the CPU."""
        self._precision, self._checkpoints = case.precision, Path(case.checkpoints)
        self._recipe = make_recipe(Uip2p, self._settings(case))
        autocast: Any = partial(torch.autocast, "cpu", torch.bfloat16) if case.precision == "bf16" else nullcontext
        ctx = TrainContext(device=torch.device("cpu"), precision=case.precision, autocast=autocast)
        self._objective: Objective = self._recipe.open(ctx)
        self.networks, self._all = _networks(self._objective)
        self.networks["UNet"].train().requires_grad_(requires_grad=True)
        self._input: Callable[[Tensor], Tensor] = lambda value: value

    def _settings(self, case: Case) -> dict[str, Any]:
        return {
            "data": "none", "out": "none", "model": f"path:{self._checkpoints / 'model'}",
            "clip_model": f"path:{self._checkpoints / 'clip'}", "size_px": case.size_px, "precision": case.precision,
            "horizontal_flip": False, **NO_DROPOUT, **(EXTRAS if case.extras else {}),
            "run_on": {"device": "cpu", "gradient_checkpointing": case.checkpointing},
        }  # fmt: skip

    @property
    def frozen_bytes(self) -> int:
        """Bytes of the networks that are not trained."""
        return nbytes(*self._all) - nbytes(self.networks["UNet"])

    def drop_values(self) -> None:
        """Take all values of the networks away. The batches that follow have none either."""
        self.networks["UNet"].zero_grad()
        self._input = drop_values(*self._all)
        gc.collect()

    def run(self, rows: int) -> LiveBytes:
        """The live bytes of one loss and backward pass. The gradients are kept, in place of those of the last batch."""
        batch, draws = self._batch(rows), Draws(0, torch.arange(rows))
        self.networks["UNet"].zero_grad()
        gc.collect()
        live = LiveBytes(self.networks)
        with types_of_cuda(), live.by_network(), live:
            self._objective.loss(batch, draws)[0].backward()
        return live

    def with_values(self, rows: int) -> WithValues:
        """The same, with the growth of the process."""
        before, most_before = _resident_bytes("VmRSS"), _resident_bytes("VmHWM")
        peak, most = self.run(rows).peak, _resident_bytes("VmHWM")
        return WithValues(rows, peak, most - before if most > most_before else None)

    def update(self) -> tuple[int, int]:
        """Bytes of the moments, and the peak of a first step of AdamW as it runs on a GPU, after `run`."""
        optimiser = torch.optim.AdamW(self.networks["UNet"].parameters(), foreach=True)
        with LiveBytes() as live:
            optimiser.step()
        states: Any = optimiser.state.values()
        return sum(state[name].nbytes for state in states for name in ("exp_avg", "exp_avg_sq")), live.peak

    def _batch(self, rows: int) -> Batch:
        side, recipe = self._recipe.size_px, self._recipe
        image_BCHW = self._input(torch.zeros(rows, 3, side, side))
        texts = dict.fromkeys(
            ("source_caption", "target_caption", "instruction", "reverse_instruction"), (TEXT,) * rows
        )
        return Batch(
            reader=f"recipe {recipe.recipe}", declared=(*recipe.reads, *recipe.reads_if_present),
            number_B=torch.arange(rows), epochs=(0,) * rows, keys=tuple(map(str, range(rows))),
            columns={"source_images": (image_BCHW,), **texts}, partial={},
        )  # fmt: skip


def _networks(objective: Any) -> tuple[dict[str, Module], Sequence[Module]]:
    """The networks through which gradients go, by the name in the table, and all networks."""
    pipeline, clip = objective._checkpoint.pipeline, objective._clip._model  # noqa: SLF001  no method names them all
    through = {"UNet": pipeline.unet, "decoder": pipeline.vae.decoder, "CLIP": clip.vision_model}
    return through, (pipeline.unet, pipeline.vae, pipeline.text_encoder, clip)


def _resident_bytes(name: str) -> int:
    """Memory of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024

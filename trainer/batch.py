"""Stacks samples into batches: tensors on the CPU or a device, keyed by column.

| kind   | value of a batch                                                                        |
|--------|-----------------------------------------------------------------------------------------|
| image  | (B, 3, H, W) float32, -1 to 1; of a list, such as source_images: a tuple of them, for   |
|        | the first, second … value, and one of them where the decoder draws one value (`one_of`) |
| mask   | (B, 1, H, W) float32, 1 inside, 0 outside                                               |
| array  | (B, …) float32: latents (B, C, h, w), scaled; embeddings of texts (B, L, D) or (B, D)   |
| text   | tuple of B str                                                                          |
| number | (B,) float32, or int64 for columns of whole numbers                                     |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from core.errors import ContractError
from samples.columns import column
from trainer.decode import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from trainer.decode import Decoder, Sample

# B rows, C channels, H W pixels, h w cells of a latent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Some samples of one step: `batch["target_image"]` is that column's value, by the module's table.

    `number_B` counts samples over the whole training and all processes: it seeds what is drawn for a sample. A column
    that is only read if present is in the batch (`"source_latent" in batch`) where all its samples have it.
    """

    reader: str
    """The reader that declared the columns, as messages name it: `recipe NAME`."""
    declared: tuple[str, ...]
    number_B: Tensor
    epochs: tuple[int, ...]
    keys: tuple[str, ...]
    columns: Mapping[str, Any]
    partial: Mapping[str, tuple[Tensor, Tensor]]
    """Array columns that only some of the samples have -> their rows (N,) int64, and their values (N, …)."""

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, name: object) -> bool:
        self._check_declared(name)
        return name in self.columns

    def __getitem__(self, name: str) -> Any:
        """The values of a column. Raises ContractError for one that was not declared, or that the batch lacks."""
        if name in self:
            return self.columns[name]
        raise ContractError(
            f"{self.reader} asks for {name}, which samples of this batch lack and `reads_if_present` lets them; "
            f"ask `{name!r} in batch` first, or name it in `reads`"
        )

    def rows_without(self, name: str) -> list[int]:
        """The samples, by their row, that lack an array column."""
        if name in self:
            return []
        having = set(self.partial[name][0].tolist()) if name in self.partial else set()
        return [row for row in range(len(self)) if row not in having]

    def completed(self, name: str, make: Callable[[list[int]], Tensor]) -> Tensor:
        """An array column (B, …), whose values for the rows that lack it are `make(rows)`, in their order.

        A sample's value so depends on that sample alone, and not on the others of its batch.
        """
        lacking = self.rows_without(name)
        if not lacking:
            values: Tensor = self[name]
            return values
        made = make(lacking)
        if len(lacking) == len(self):
            return made
        rows, values = self.partial[name]
        whole = made.new_empty((len(self), *made.shape[1:]))
        whole[lacking], whole[rows] = made, values.to(made.dtype)
        return whole

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`. The numbers stay, as generators are seeded on the CPU."""
        columns = {name: _moved(value, device) for name, value in self.columns.items()}
        return replace(self, columns=columns, partial={name: _moved(one, device) for name, one in self.partial.items()})

    def select(self, rows: Sequence[int]) -> Batch:
        """A batch of some of the samples, in the order of `rows`, which name each at most once."""
        places = list(rows)
        partial = {name: _rows_of(*one, places) for name, one in self.partial.items()}
        whole = {
            name: values[having_N.argsort()]
            for name, (having_N, values) in partial.items()
            if len(having_N) == len(places)
        }
        return replace(
            self,
            number_B=self.number_B[places],
            epochs=tuple(self.epochs[row] for row in places),
            keys=tuple(self.keys[row] for row in places),
            columns={name: _selected(value, places) for name, value in self.columns.items()} | whole,
            partial={name: one for name, one in partial.items() if name not in whole},
        )

    def _check_declared(self, name: object) -> None:
        if name not in self.declared:
            raise ContractError(
                f"{self.reader} asks for the column {name!r}, which it does not read; name it in `reads` or "
                f"`reads_if_present` (it reads: {', '.join(self.declared)})"
            )


def collate(samples: Sequence[Sample], decoder: Decoder, reader: str) -> Batch:
    """One batch of the samples that `decoder` made. A column that one of them lacks is left out, or partial."""
    shared = [name for name in decoder.columns if all(name in sample.values for sample in samples)]
    return Batch(
        reader=reader,
        declared=decoder.columns,
        number_B=torch.tensor([sample.number for sample in samples], dtype=torch.int64),
        epochs=tuple(sample.epoch for sample in samples),
        keys=tuple(sample.key for sample in samples),
        columns={name: _stacked(name, [sample.values[name] for sample in samples]) for name in shared},
        partial={name: one for name in set(decoder.columns) - set(shared) if (one := _partial(name, samples))},
    )


def _partial(name: str, samples: Sequence[Sample]) -> tuple[Tensor, Tensor] | None:
    """The rows that have an array column, and their values; None for other columns, and where no sample has it."""
    rows = [row for row, sample in enumerate(samples) if name in sample.values]
    if kind_of(name) != "array" or not rows:
        return None
    return torch.tensor(rows), _stacked(name, [samples[row].values[name] for row in rows])


def _stacked(name: str, values: list[Any]) -> Any:
    kind = kind_of(name)
    if kind == "text":
        return tuple(values)
    if kind == "number":
        is_real = pa.types.is_floating(column(name).type)
        return torch.tensor(values, dtype=torch.float32 if is_real else torch.int64)
    if isinstance(values[0], tuple):
        return tuple(map(_images, zip(*values, strict=False)))  # as many as the sample with the fewest has
    if kind == "image":
        return _images(values)
    stacked = torch.from_numpy(np.stack(values)).float()
    return stacked[:, None] if kind == "mask" else stacked


def _images(pixels: Sequence[np.ndarray]) -> Tensor:
    pixels_BHWC = torch.from_numpy(np.stack(pixels))
    return pixels_BHWC.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _selected(value: Any, rows: list[int]) -> Any:
    if isinstance(value, torch.Tensor):
        return value[rows]
    if isinstance(value[0], torch.Tensor):
        return tuple(one[rows] for one in value)
    return tuple(value[row] for row in rows)


def _rows_of(having_N: Tensor, values: Tensor, rows: list[int]) -> tuple[Tensor, Tensor]:
    """Those of the rows `having_N` of a batch that are in `rows`, by their new places, with their values."""
    places = {row: place for place, row in enumerate(rows)}
    kept = [number for number, row in enumerate(having_N.tolist()) if row in places]
    new = [places[int(having_N[number])] for number in kept]
    return having_N.new_tensor(new), values[kept]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple) and isinstance(value[0], torch.Tensor):
        return tuple(one.to(device, non_blocking=True) for one in value)
    return value

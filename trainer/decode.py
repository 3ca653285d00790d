"""Decodes the members of one sample to arrays, by column. Nothing in a dataset is unpickled or run.

| kind   | columns                           | value of a sample                                                   |
|--------|-----------------------------------|---------------------------------------------------------------------|
| image  | source_images, target_image …     | (H, W, 3) uint8; of a list, such as source_images: a tuple of them, |
|        |                                   | or one of them where it is in `one_of`                              |
| mask   | source_mask_png, region_mask_png… | (H, W) bool, true inside; soft_mask_png: where it is 128 or more    |
| array  | source_latent, instruction_emb …  | float16 of the shape in its ArraySpec, where that can be used       |
| text   | light columns of strings          | str; empty where a column that need not be there has none           |
| number | light columns of numbers          | int, float or bool                                                  |

Images, masks and latents are those of the centre square at one size, or, with aspect buckets, of the part and size that
`trainer.buckets` gives for the sample's first image. Of the lists in `one_of` only the value at one place is decoded:
a function of the seed and of the sample's number, so that it is another one in other epochs. A sample without any value
in them lacks these columns, as it does others. Owns this table; `trainer.batch` stacks values.
"""

from __future__ import annotations

import io
import json
import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import ImageOps

from core.errors import ContractError, SampleError
from samples.columns import column
from samples.members import JSON, MEMBERS, column_of, member, suffix_of, values_of
from samples.stored_images import centre_cut, image_size, mask_image, rgb_image
from trainer.buckets import bucket_of
from trainer.one_of import drawn_values
from trainer.sides import names_side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from PIL import Image

    from trainer.arrays import ArraySpec

    Pixels = npt.NDArray[np.uint8]
    Bools = npt.NDArray[np.bool_]
    Halves = npt.NDArray[np.float16]

# H W pixels

Kind = Literal["image", "mask", "array", "text", "number"]

BROKEN = (OSError, ValueError, EOFError, LookupError, TypeError, OverflowError, RecursionError)
"""Errors of images (ImageProblem is a ValueError), json and numpy for bytes that are not what they should be."""


UNUSABLE = "it is of another model, revision or size than this training's, or of an image that is mirrored or cut here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample, decoded: column -> value, by the module's table. A column that it lacks is left out.

    `number` counts samples over the whole training and all processes. `size` is (width, height) of images and masks.
    """

    number: int
    epoch: int
    key: str
    size: tuple[int, int]
    values: dict[str, Any]


class Cut(NamedTuple):
    """How the images and masks of one sample are cut: to (width, height), and mirrored or not."""

    size: tuple[int, int]
    is_mirrored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """Decodes columns of samples at `size_px`. Those not in `required` may be absent.

    Arrays are taken where they are as one of `arrays` says. A mask column in `filled` has that value everywhere where a
    sample lacks it. A sample one of whose `sided_texts` names a side is not mirrored. With `aspect_buckets`, a sample
    has the size of its bucket, and its latents are used where that is the square. With `reduced_jpegs`, a large JPEG is
    decoded at the smallest of its scales that is large enough. Lists in `one_of` give one value, drawn by `seed`.
    """

    size_px: int
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    arrays: tuple[ArraySpec, ...] = ()
    filled: Mapping[str, float] = field(default_factory=dict)
    sided_texts: tuple[str, ...] = ()
    aspect_buckets: bool = False
    reduced_jpegs: bool = False
    one_of: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ContractError for a column that no training can read, or that is of another kind than it must be."""
        for name in self.columns:
            kind_of(name)
        for name in (name for spec in self.arrays for name in spec.shapes):
            _check_kind(name, "array", "the objective's arrays")
        for name in self.sided_texts:
            _check_kind(name, "text", "`sided_texts`")
        for name, value in self.filled.items():
            _check_kind(name, "mask", "`filled`")
            if name not in self.columns or value not in (0, 1):
                raise ContractError(f"`filled` has {name!r}: {value}; expected a column that is read, and 0 or 1")
        for name in self.one_of:
            if name not in self.columns or not member(name).is_list:
                raise ContractError(f"`one_of` has {name!r}; expected a column that is read and is a list of images")

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are decoded, each once."""
        return tuple(dict.fromkeys((*self.required, *self.optional)))

    def wants(self, file_name: str) -> bool:
        """True for a member that is read at all."""
        suffix = suffix_of(file_name)
        name = column_of(suffix)
        if name is None:
            return suffix == JSON
        return name in self.columns and (member(name).kind != "array" or self._spec(name) is not None)

    def decode(self, raw: Mapping[str, Any], *, shard: str, number: int, epoch: int, is_mirrored: bool) -> Sample:
        """The sample of members `raw` (suffix -> bytes). Raises SampleError naming shard, key and member."""
        place = JSON
        values: dict[str, Any] = {}
        try:
            light = _light_columns(raw)
            if self.aspect_buckets and self._sizing:
                place = member(self._sizing).described
            cut = Cut(self._size(raw), is_mirrored and not self._names_side(light))
            place = member(self.one_of[0]).described if self.one_of else place
            drawn = drawn_values(self.one_of, raw, seed=self.seed, number=number)
            for name in self.columns:
                place = member(name).described if name in MEMBERS else JSON
                value = self._value(name, raw, light, cut, drawn)
                if value is not None:
                    values[name] = value
        except BROKEN as error:
            reason = "is not there" if isinstance(error, _AbsentError) else f"cannot be read: {_reason(error)}"
            raise SampleError(f"shard {shard}, sample {raw['__key__']}: {place} {reason}") from error
        return Sample(number=number, epoch=epoch, key=str(raw["__key__"]), size=cut.size, values=values)

    def _size(self, raw: Mapping[str, Any]) -> tuple[int, int]:
        """(width, height) of the sample's images: that of the bucket of its first image, or of the square."""
        if self.aspect_buckets and self._sizing:
            for encoded in values_of(self._sizing, raw)[:1]:
                return bucket_of(*image_size(encoded), self.size_px)
        return self.size_px, self.size_px

    @property
    def _sizing(self) -> str:
        """The column whose image decides the bucket: the source, or the first image column where it is not read."""
        images = [name for name in self.columns if kind_of(name) == "image"]
        return "source_images" if "source_images" in images else next(iter(images), "")

    def _value(
        self, name: str, raw: Mapping[str, Any], light: Mapping[str, Any], cut: Cut,
        drawn: Mapping[str, Sequence[bytes]],
    ) -> Any:  # fmt: skip
        """The value of a column, None where it is absent and may be. Raises _AbsentError where it may not."""
        kind = kind_of(name)
        if kind in ("text", "number"):
            return _light_value(name, kind, light, is_required=name in self.required)
        if kind == "array":
            return self._array(name, raw, light, cut)
        stored = drawn[name] if name in drawn else values_of(name, raw)
        if not stored:
            return self._absent(name, cut)
        at_least = cut.size if self.reduced_jpegs else None
        pixels = [_pixels(one, kind, cut, at_least) for one in stored]
        return tuple(pixels) if member(name).is_list and name not in drawn else pixels[0]

    def _array(self, name: str, raw: Mapping[str, Any], light: Mapping[str, Any], cut: Cut) -> Halves | None:
        spec = self._spec(name)
        is_other_cut = cut.is_mirrored or cut.size != (self.size_px, self.size_px)
        if spec is None or not spec.is_usable(light) or (is_other_cut and spec.shows_image(name)):
            if name in self.required:
                raise ValueError(UNUSABLE)
            return None
        stored = values_of(name, raw)
        return _array(stored[0], spec.shapes[name]) if stored else self._absent(name, cut)

    def _absent(self, name: str, cut: Cut) -> Any:
        """The value of a column that the sample lacks. Raises _AbsentError where it must not."""
        if name in self.filled:
            return np.full(cut.size[::-1], self.filled[name] == 1)
        if name in self.required:
            raise _AbsentError(name)
        return None

    def _spec(self, name: str) -> ArraySpec | None:
        return next((spec for spec in self.arrays if name in spec.shapes), None)

    def _names_side(self, light: Mapping[str, Any]) -> bool:
        return any(names_side(text) for name in self.sided_texts if isinstance(text := light.get(name), str))


def kind_of(name: str) -> Kind:
    """How a column is decoded. Raises ContractError for one that is not declared, or that no training can read."""
    if name in MEMBERS:
        return MEMBERS[name].kind
    declared = column(name)
    if pa.types.is_string(declared.type):
        return "text"
    if pa.types.is_integer(declared.type) or pa.types.is_floating(declared.type) or pa.types.is_boolean(declared.type):
        return "number"
    raise ContractError(f"column {name!r} ({declared.type}) cannot be read by a training; expected text or a number")


def _check_kind(name: str, kind: Kind, where: str) -> None:
    if kind_of(name) != kind:
        raise ContractError(
            f"{where} names {name!r}, which is of kind {kind_of(name)}; expected columns of kind {kind}"
        )


def _pixels(encoded: bytes, kind: Kind, cut: Cut, at_least: tuple[int, int] | None) -> Pixels | Bools:
    with warnings.catch_warnings(action="ignore"):  # of damage in what is no pixel
        image: Image.Image = mask_image(encoded) if kind == "mask" else rgb_image(encoded, at_least=at_least)
    image = centre_cut(image, cut.size)
    pixels: Pixels = np.asarray(ImageOps.mirror(image) if cut.is_mirrored else image)
    return pixels >= 128 if kind == "mask" else pixels


class _AbsentError(LookupError):
    """A member that must be there is not."""


def _light_columns(raw: Mapping[str, Any]) -> dict[str, Any]:
    if JSON not in raw:
        raise _AbsentError(JSON)
    light = json.loads(raw[JSON])
    if not isinstance(light, dict):
        raise TypeError("it is no object")
    return light


def _light_value(name: str, kind: Kind, light: Mapping[str, Any], *, is_required: bool) -> Any:
    value = light.get(name)
    if value is None:
        if is_required:
            raise TypeError(f"it states no {name}")
        return "" if kind == "text" else None
    if not (isinstance(value, str) if kind == "text" else _is_number(value, column(name).type)):
        raise TypeError(f"{name} is no {kind}")
    return value if kind == "text" else _number(name, value)


def _number(name: str, value: Any) -> float:
    """The value as its column holds it. Raises TypeError or OverflowError for one that the column cannot hold."""
    if pa.types.is_floating(column(name).type):
        return float(value)
    if not isinstance(value, int) or value.bit_length() > 63:
        raise TypeError(f"{name} is no whole number of 64 bits")
    return value


def _is_number(value: Any, declared: pa.DataType) -> bool:
    """True for a finite number, and for a column of whole numbers a whole one of 64 bits."""
    if pa.types.is_floating(declared):
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _array(encoded: bytes, shape: tuple[int, ...]) -> Halves:
    """The array in a .npy file, finite float16 of `shape`. Of another shape only the header is read."""
    file = io.BytesIO(encoded)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version} of the format; expected 1.0 or 2.0")
    found, is_fortran, dtype = read_header[version](file)
    if found != shape or dtype != np.float16:
        raise ValueError(f"{dtype} of shape {found}; expected finite float16 of shape {shape}")
    content = encoded[file.tell() :]
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes of values; expected finite float16 of shape {shape}")
    array: Halves = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    if not np.isfinite(array).all():
        raise ValueError(f"values that are not finite; expected finite float16 of shape {shape}")
    return array


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

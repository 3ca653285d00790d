"""Images and masks of benchmarks and outputs: where they may lie, how they are opened, hashed and written.

A stored image is a file, bytes, or a cell of a Parquet table. It is read when it is opened: a benchmark of thousands of
images takes no memory until it is run. Formats and limits are those of `samples.images`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from core.errors import EvaluationError
from samples.image_limits import ImageProblem
from samples.images import decode_image, open_image
from samples.png_text import read_png_texts, write_png

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from models.protocols import Bools

HALF = 128
GREY = (32, 224)
"""Values between these are neither black nor white."""
MAX_GREY_FRAC = 0.05

# H W pixels of an image


class ParquetCell(NamedTuple):
    """The image in one cell: bytes, or a struct with `bytes` as Hugging Face's datasets write it."""

    file: Path
    row_group: int
    row: int
    column: str


StoredImage: TypeAlias = Path | bytes | ParquetCell


def open_rgb(stored: StoredImage) -> Image:
    """The image in RGB and sRGB, upright as its EXIF data says, transparent parts white.

    Raises EvaluationError for bytes that are no image.
    """
    return _opened(stored, decode_image)


def open_mask(stored: StoredImage, size: tuple[int, int]) -> Bools:
    """(H, W), true where the mask lets an image of `size` (width, height) change.

    Transparent pixels may change, as in the masks of DALL-E 2 and MagicBrush; in a mask without transparent pixels the
    white ones. Raises EvaluationError for another size, and for a mask without alpha that is not black and white.
    """
    import numpy as np

    image = _as_stored(stored)
    if image.size != size:
        raise EvaluationError(
            f"mask {name_of(stored)} is {image.width} x {image.height} pixels, its image {size[0]} x {size[1]}; "
            "expected the same size"
        )
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    transparent_HW = np.asarray(image.convert("RGBA").getchannel("A")) < HALF
    if transparent_HW.any():
        return transparent_HW
    grey_HW = np.asarray(image.convert("L"))
    if ((grey_HW > GREY[0]) & (grey_HW < GREY[1])).mean() > MAX_GREY_FRAC:
        if has_alpha:  # an image of which nothing was made transparent: an empty mask
            return transparent_HW
        raise EvaluationError(
            f"mask {name_of(stored)} is neither black and white nor partly transparent; expected white or transparent "
            "pixels where the image may change"
        )
    return grey_HW >= HALF


def save_png(image: Image, path: Path, texts: dict[str, str] | None = None) -> None:
    """Write the image as a PNG file with text entries. A file that exists is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        write_png(image, file, texts or {})
    temporary.replace(path)


def png_texts(path: Path) -> dict[str, str]:
    """The text entries of a PNG file, or empty for another image. Raises EvaluationError for other files."""
    _as_stored(path)
    return read_png_texts(read_bytes(path))


def read_bytes(stored: StoredImage) -> bytes:
    """The stored bytes. Raises EvaluationError when the image is not there."""
    if isinstance(stored, bytes):
        return stored
    if isinstance(stored, ParquetCell):
        return _cell(stored)
    try:
        return stored.read_bytes()
    except OSError as error:
        raise EvaluationError(f"image {stored} cannot be read ({error.strerror}); put it there") from error


def sha256_of(stored: StoredImage) -> str:
    """sha256 of the stored bytes, as hex."""
    return hashlib.sha256(read_bytes(stored)).hexdigest()


def name_of(stored: StoredImage) -> str:
    """The name of the image in messages."""
    if isinstance(stored, ParquetCell):
        return f"{stored.file} row group {stored.row_group} row {stored.row} column {stored.column}"
    return f"of {len(stored)} bytes" if isinstance(stored, bytes) else str(stored)


def inside(folder: Path, name: Any, said_by: str) -> Path:
    """The path of `name` below `folder`. Raises EvaluationError for what is no file name, or leads out of the folder.

    Only the name is checked: a link inside the folder may point anywhere.
    """
    if not isinstance(name, str) or not _is_below(name):
        raise EvaluationError(f"{said_by} names {name!r}; expected the name of a file below {folder}")
    return folder / name


def _is_below(name: str) -> bool:
    if not name.strip(" .") or "\0" in name or "\\" in name:
        return False
    return not (PureWindowsPath(name).drive or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts)


def existing(folder: Path, name: Any, said_by: str) -> Path:
    """The path of an existing file `name` below `folder`. Raises EvaluationError when it is not there."""
    path = inside(folder, name, said_by)
    if not path.is_file():
        raise EvaluationError(f"{said_by} names {name!r}, and {path} is not there; put it there or remove the entry")
    return path


def _as_stored(stored: StoredImage) -> Image:
    """The image as its file has it, neither turned nor converted."""
    return _opened(stored, lambda data: open_image(data).load())


def _opened(stored: StoredImage, decode: Callable[[bytes], Image]) -> Image:
    data = read_bytes(stored)
    try:
        return decode(data)
    except (ImageProblem, OSError) as error:
        raise EvaluationError(f"image {name_of(stored)} cannot be read as one ({error}); replace the file") from error


def _cell(cell: ParquetCell) -> bytes:
    try:
        value = _row_group(cell.file, cell.row_group, cell.column)[cell.row].as_py()
    except (OSError, ValueError, LookupError) as error:  # of Arrow, for a file that is damaged or was exchanged
        raise EvaluationError(f"{name_of(cell)} cannot be read ({' '.join(str(error).split())[:200]})") from error
    if isinstance(value, dict):
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise EvaluationError(f"{name_of(cell)} holds no bytes of an image; expected bytes, or a struct with `bytes`")
    return value


@lru_cache(maxsize=1)
def _row_group(file: Path, number: int, column: str) -> Any:
    """One column of one row group. Rows come in order, so the group read last is needed next."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(file).read_row_group(number, columns=[column]).column(0)

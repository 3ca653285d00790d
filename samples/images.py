"""Decode image files to upright RGB in sRGB: one list of formats, one limit of pixels, one exception.

Stages, downloads, benchmarks and `editloom edit` decode images of unknown origin here; images of a finished dataset are
decoded by `samples.stored_images`. Damage in metadata does not stop an image from being read, as far as Pillow allows.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from samples.image_files import strip_file
from samples.image_limits import DECODE_ERRORS, MAX_PIXELS, ImageProblem, Problem, check_pixels
from samples.orientation import SIDEWAYS, UPRIGHT, orientation
from samples.pixels import to_srgb

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIX_OF_FORMAT = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif",
    "AVIF": "avif",
}  # fmt: skip
"""Pillow's name of a format that is read -> suffix of a file in it. Pillow tries formats in this order."""

IMAGE_SUFFIXES = (
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif",
)  # fmt: skip
"""Suffixes of image members and files, lower case; a sample with several images has the first of these."""

OTHER_FORMATS = ("JPEG2000", "PPM", "ICO")
"""Read where a file has them, whatever its name. Nothing bounds what Pillow's decoders of further formats may take."""

NO_FORMAT = "no image format that is read"
ANIMATION_FORMATS = frozenset({"AVIF", "GIF", "PNG", "WEBP"})
"""Formats whose further frames are an animation; in the others they are pages, previews (phone JPEGs) or layers."""

DRAFT_OVERSAMPLING = 2
"""A JPEG is decoded at reduced scale only where at least so many pixels are left for each pixel wanted."""


class Decoded(NamedTuple):
    """An image in RGB, sRGB and upright, perhaps at reduced scale. `size` is that of the whole, upright."""

    image: Image
    size: tuple[int, int]
    is_profile_unreadable: bool
    unreadable_profile: bytes | None
    """The profile where it cannot be read, to be stored with the image: later readers see that, too."""


@cache
def readable_formats() -> tuple[str, ...]:
    """Formats that are read and that Pillow has here."""
    from PIL import Image

    Image.init()
    return tuple(name for name in (*SUFFIX_OF_FORMAT, *OTHER_FORMATS) if name in Image.OPEN)


@dataclass(kw_only=True, slots=True)
class ImageFile:
    """An image of which only the header was read. `image` is Pillow's, `num_frames` more than 1 for an animation."""

    image: Image
    format: str
    num_frames: int
    max_pixels: int
    profile: bytes | None
    is_profile_lost: bool

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored."""
        return self.image.size

    @property
    def turn(self) -> str | None:
        """Pillow's name of what makes the image upright, or None when it is."""
        return None if self.format == "TIFF" else UPRIGHT.get(orientation(self.image))  # Pillow turns a TIFF itself

    def load(self, side: int | None = None, *, oversampling: int = DRAFT_OVERSAMPLING) -> Image:
        """The image as it is stored, decoded once. The shorter side of a reduced JPEG stays at `side` or longer.

        A JPEG is reduced to 1/2, 1/4 or 1/8 where that leaves at least `oversampling` pixels for each of `side`. Raises
        ImageProblem for a file that cannot be decoded. OSError with an errno and MemoryError are faults of the machine.
        """
        from PIL import Image

        try:
            if side is not None and self.format in ("JPEG", "MPO"):
                scale = side * oversampling / min(self.size)
                self.image.draft(None, (max(side, int(self.size[0] * scale)), max(side, int(self.size[1] * scale))))
            self.image.load()
        except Image.DecompressionBombError as error:
            raise ImageProblem(Problem.PIXEL_BOMB, str(error)) from None
        except DECODE_ERRORS as error:
            raise _verdict(error) from None
        check_pixels(self.image.size, self.format, self.max_pixels)  # an icon's header may be wrong
        return self.image

    def decode(self, side: int | None = None, *, oversampling: int = DRAFT_OVERSAMPLING) -> Decoded:
        """Decode the image, turn it upright and convert it to sRGB, three channels.

        Call this once: afterwards this object holds no image. Arguments and errors are those of `load`.
        """
        from PIL import Image

        size = self.size
        image = self.load(side, oversampling=oversampling)
        size = size if self.format in ("JPEG", "MPO") else image.size
        turn = self.turn
        profile = self.profile or image.info.get("icc_profile", b"")
        is_lost = self.is_profile_lost or profile is None  # None: parts of it are missing
        del self.image
        try:
            image, is_readable = to_srgb(image, profile or None)
            image = image.transpose(Image.Transpose[turn]) if turn else image
        except DECODE_ERRORS as error:
            raise _verdict(error) from None
        size = size[::-1] if turn in SIDEWAYS else size
        return Decoded(image, size, is_lost or not is_readable, None if is_readable else profile)

    def transparency(self) -> Image | None:
        """How transparent each pixel is, mode L, 255 for wholly, upright, or None for an image that cannot be.

        Call this once, in the place of `decode`. Raises the same errors as `load`.
        """
        from PIL import Image, ImageChops

        image = self.load()
        turn = self.turn
        del self.image
        if not image.has_transparency_data:
            return None
        try:
            clear = ImageChops.invert(image.convert("RGBA").getchannel("A"))
            return clear.transpose(Image.Transpose[turn]) if turn else clear
        except DECODE_ERRORS as error:
            raise _verdict(error) from None


def open_image(data: bytes, *, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] | None = None) -> ImageFile:
    """Read an image file's header. Raises ImageProblem for no image, and for one that is too large or complex.

    MemoryError is not caught: a lack of memory says nothing about the image.
    """
    from PIL import Image, UnidentifiedImageError

    stripped = strip_file(data, max_pixels)
    Image.MAX_IMAGE_PIXELS = max_pixels  # for images inside of images; the header is checked here
    try:
        image: Image.Image = Image.open(io.BytesIO(stripped.data), formats=formats or readable_formats())
        animates = image.format in ANIMATION_FORMATS
        num_frames = stripped.num_frames or (int(getattr(image, "n_frames", 1)) if animates else 1)
    except UnidentifiedImageError:
        raise ImageProblem(Problem.UNDECODABLE, NO_FORMAT) from None
    except Image.DecompressionBombError as error:
        raise ImageProblem(Problem.PIXEL_BOMB, str(error)) from None
    except DECODE_ERRORS as error:
        raise ImageProblem(Problem.UNDECODABLE, f"{type(error).__name__}: {error}") from None
    check_pixels(image.size, image.format or "", max_pixels)
    return ImageFile(
        image=image, format=image.format or "", num_frames=num_frames, max_pixels=max_pixels, profile=stripped.profile,
        is_profile_lost=stripped.is_profile_lost,
    )  # fmt: skip


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
    """The image upright in RGB and sRGB. Raises ImageProblem for a file that gives none."""
    return open_image(data, max_pixels=max_pixels).decode().image


def _verdict(error: Exception) -> Exception:
    """The problem with the file that a decoder's error reports, or the error itself where it is the machine's."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    is_cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
    return ImageProblem(Problem.TRUNCATED if is_cut else Problem.UNDECODABLE, str(error))

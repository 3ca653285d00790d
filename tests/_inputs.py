"""Makes input for the tests in code: images of different dHashes, tars of any shape, tables for stages."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.context import Context
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, column

BLOCK = 512


def make_image(seed, size=(96, 80)):
    """A smooth random RGB image. Other seeds give dHashes far apart."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image, image_format="JPEG", **options):
    """The image as a file's bytes."""
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def jpeg(seed, size=(96, 80), **options):
    """A JPEG file of `make_image(seed)`."""
    return encoded(make_image(seed, size), "JPEG", **{"quality": 90, **options})


def png_chunk(kind, data):
    """One chunk of a PNG file."""
    import zlib

    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png_file(width, height, idat, *, bit_depth=8, colour_type=2, extra=b""):
    """A PNG file from its parts. `idat` is compressed image data, `extra` goes before it."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bit_depth, colour_type, 0, 0, 0])
    end = png_chunk(b"IDAT", idat) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + end


def header(name, size, kind=tarfile.REGTYPE, tar_format=tarfile.GNU_FORMAT, **fields):
    """The header blocks of one tar member, as bytes that may be patched. See `checksummed`."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in fields.items():
        setattr(info, key, value)
    return bytearray(info.tobuf(tar_format, "utf-8", "surrogateescape"))


def checksummed(block):
    """The header block with the checksum that its content calls for."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:BLOCK])
    return bytes(block)


def padded(content):
    """Content filled up to whole blocks."""
    return content + bytes(-len(content) % BLOCK)


def member(name, content, tar_format=tarfile.GNU_FORMAT):
    """One tar member: header and content in whole blocks."""
    return bytes(header(name, len(content), tar_format=tar_format)) + padded(content)


END = bytes(2 * BLOCK)


def tar_of(*members, end=END, tar_format=tarfile.GNU_FORMAT):
    """A tar from (name, bytes) pairs or raw blocks. `end` is the end marker."""
    return b"".join(m if isinstance(m, bytes) else member(*m, tar_format) for m in members) + end


def special(name, kind, linkname=""):
    """A member that is no file: link, device, pipe or folder."""
    return bytes(header(name, 0, kind, linkname=linkname))


def sparse(name, size):
    """A member in GNU's sparse form: `size` bytes of nothing."""
    block = header(name, 0, tarfile.GNUTYPE_SPARSE)
    block[483:495] = b"%011o\0" % size
    return checksummed(block)


def sample(key, image, caption=None, metadata=None, suffix="jpg"):
    """Members of one sample: text is encoded, metadata dumped, None left out."""
    parts = [] if image is None else [(f"{key}.{suffix}", image)]
    if caption is not None:
        parts.append((f"{key}.txt", caption if isinstance(caption, bytes) else caption.encode()))
    if metadata is not None:
        parts.append((f"{key}.json", metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()))
    return parts


def table(ids=None, **columns):
    """A table of the named columns in their declared types, under ids of the kind that sources make."""
    count = len(next(iter(columns.values())))
    ids = ids or [hashlib.sha256(str(n).encode()).hexdigest()[:16] for n in range(count)]
    arrays = {name: pa.array(values, column(name).type) for name, values in columns.items()}
    return pa.table({SAMPLE_ID: pa.array(ids, pa.string()), **arrays})


def apply(stage, rows):
    """The rows that a map stage makes of a table, as a list."""
    return stage.open(Context(stage_name="test"))(rows).to_pylist()


def read_rows(stage, *inputs):
    """(rows, notes) that a source stage makes of all shards behind the inputs."""
    ctx = Context(stage_name="test")
    read = stage.open(ctx)
    tables = [made for shard in stage.list_shards([str(i) for i in inputs]) for made in read(shard)]
    return [row for made in tables for row in made.to_pylist()], dict(ctx.notes)


def reasons(rows, key="source_key"):
    """Row's key -> reject reason."""
    return {row[key]: row[REJECT_REASON] for row in rows}


def details(rows, key="source_key"):
    """Row's key -> reject detail."""
    return {row[key]: row[REJECT_DETAIL] for row in rows}


DECODE_APART = """
import resource, sys
from samples.images import ImageProblem, decode_image

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

files = [open(name, "rb").read() for name in sys.argv[1:]]
decode_image(files[0])
before = peak()
try:
    decode_image(files[1])
    print(peak() - before, "decoded")
except ImageProblem as problem:
    print(peak() - before, problem.reason)
"""


def decoded_apart(folder, warm_up, file):
    """(MB by which a process grows while it decodes the file after another, reason of refusal)."""
    names = [folder / "warm_up", folder / "file"]
    for name, data in zip(names, (warm_up, file), strict=True):
        name.write_bytes(data)
    command = [sys.executable, "-c", DECODE_APART, *map(str, names)]
    grown, verdict = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(grown), verdict

"""Read image-caption samples from a folder of images with a captions file.

Reads   a captions file (csv, tsv, jsonl or Parquet; Hugging Face's `metadata.jsonl` by default) that names images
        relative to its own folder; SHARDS may be the folder or the captions file
Writes  source_raw (binary, virtual: read again on demand), source_sha256 (string), source_key (string),
        source_size_bytes (int64), source_url (string), source_metadata (string, JSON), caption (string)
Drops   lines without caption, images that are not there, empty, too big, or outside the folder
Source  Hugging Face `imagefolder` layout.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import posixpath
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from fsspec.core import url_to_fs
from pydantic import Field

from pipeline.errors import PlanError, ShardFailed
from pipeline.inputs import expand_inputs, file_identity, file_stamp, name_shards
from pipeline.record import digest
from pipeline.stage import Context, Shard, SourceStage
from stages._input_rows import SOURCE_COLUMNS, InputReject, InputSample, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CAPTIONS_FILES = ("metadata.jsonl", "metadata.csv", "metadata.parquet", "captions.jsonl", "captions.csv",
                  "captions.tsv", "captions.parquet")  # fmt: skip
"""Looked for in this order when SHARDS names a folder."""

ROW_ERRNOS = frozenset({errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG,
                        errno.ELOOP, errno.EINVAL})  # fmt: skip
"""Errors that say that this one image cannot be read; any other is the machine's."""
MAX_KEY_CHARS = 512
MAX_FIELD_CHARS = 1 << 30


class ReadImageFolder(SourceStage):
    """Image-caption samples of a folder; one shard for every `rows_per_shard` lines of its captions file."""

    version: ClassVar[int] = 1
    writes: ClassVar = SOURCE_COLUMNS
    rejects: ClassVar = InputReject

    file_column: str = "file_name"
    caption_column: str = "text"
    rows_per_shard: int = Field(default=1000, ge=1)
    require_caption: bool = True
    max_image_bytes: int = Field(default=100_000_000, ge=1)

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """Shards `<folder>-00000` … of each captions file. Raises `PlanError` for a folder without one."""
        files = sorted({_captions_file(url) for url in expand_inputs(inputs, ())})
        in_folder = Counter(posixpath.dirname(url) for url in files)
        named = {(posixpath.dirname(url) or ".") if in_folder[posixpath.dirname(url)] == 1 else url: url
                 for url in files}  # fmt: skip
        shards = []
        for name, named_by in name_shards(list(named)).items():
            url = named[named_by]
            identity, size = file_identity(url)
            try:
                lines = _read_lines(url)
            except ShardFailed as error:
                raise PlanError(str(error)) from None
            images = _images_below(posixpath.dirname(url) or ".")
            for part, start in enumerate(range(0, len(lines), self.rows_per_shard)):
                stop = min(len(lines), start + self.rows_per_shard)
                names = [str((line or {}).get(self.file_column)) for line in lines[start:stop]]
                found = [images.get(posixpath.normpath(n), (0, "")) for n in names]
                shards.append(
                    Shard(
                        name=f"{name}-{part:05d}", uri=url, part=(start, stop),
                        identity=digest([identity, *(f"{size}:{stamp}" for size, stamp in found)]),
                        num_bytes=size * (stop - start) // len(lines) + sum(size for size, _ in found),
                    )
                )  # fmt: skip
        if not shards:
            raise PlanError(f"captions file {files[0]!r} has no rows")
        return shards

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:
        """A function that reads one span of lines with their images."""

        def read(shard: Shard) -> Iterator[pa.Table]:
            assert shard.part is not None
            lines = enumerate(_read_lines(shard.uri)[slice(*shard.part)], shard.part[0])
            samples = (self._sample(shard.uri, number, line) for number, line in lines)
            return tables_of(samples, shard.name, ctx.notes, require_caption=self.require_caption)

        return read

    def _sample(self, captions_url: str, number: int, line: dict[str, Any] | None) -> InputSample:
        if line is None:
            return InputSample(
                key=f"line {number + 1}", problem=InputReject.BROKEN_METADATA, detail="not a JSON object"
            )
        name, caption = line.get(self.file_column), line.get(self.caption_column)
        sample = InputSample(key=str(name or f"line {number + 1}")[:MAX_KEY_CHARS], metadata=line)
        sample.text = caption.encode("utf-8", "surrogatepass") if isinstance(caption, str) else None
        if not isinstance(name, str) or not name:
            sample.detail = f"no column {self.file_column!r}"
            return sample
        fs, folder = url_to_fs(posixpath.dirname(captions_url) or ".")
        path = posixpath.join(folder, name)
        if not _is_inside(name) or ("file" in fs.protocol and not _is_linked_inside(path, captions_url)):
            sample.problem, sample.detail = InputReject.UNSAFE_PATH, name[:200]
            return sample
        try:
            info = fs.info(path)
            size = int(info["size"] or 0)
            if info["type"] != "file":  # a folder, or a pipe that nobody writes to
                sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, f"{info['type']}: {name[:200]}"
            elif size > self.max_image_bytes:
                sample.problem, sample.detail = InputReject.OVERSIZE_IMAGE, f"{size} bytes"
            else:
                sample.image = fs.cat_file(path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError) and error.errno not in ROW_ERRNOS:
                raise
            sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, f"{type(error).__name__}: {name[:200]}"
        return sample


def _images_below(folder: str) -> dict[str, tuple[int, str]]:
    """(bytes, stamp) of each file below the folder by relative path: tells a replaced image from the one before."""
    fs, root = url_to_fs(folder)
    found = fs.find(root, detail=True)
    return {
        posixpath.relpath(path, root): (int(info.get("size") or 0), file_stamp(info)) for path, info in found.items()
    }


def _is_inside(name: str) -> bool:
    """True for a relative path that stays below its folder."""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no file can be called so
        return False
    plain = posixpath.normpath(name.replace("\\", "/"))
    return not (plain.startswith(("/", "../")) or plain == ".." or "\0" in name or ":" in plain.split("/")[0])


def _is_linked_inside(path: str, captions_url: str) -> bool:
    """True when a local path, links followed, is below the folder of the captions file, or of what that links to.

    The second is how Hugging Face's cache lies: captions file and images are links into one folder of blobs.
    """
    real = posixpath.realpath(path)
    captions = url_to_fs(captions_url)[1]
    folders = {posixpath.realpath(posixpath.dirname(captions) or "."), posixpath.dirname(posixpath.realpath(captions))}
    return any(real.startswith(f"{folder.rstrip('/')}/") for folder in folders)


def _captions_file(url: str) -> str:
    fs, path = url_to_fs(url)
    if not fs.isdir(path):
        return url
    for name in CAPTIONS_FILES:
        if fs.isfile(posixpath.join(path, name)):
            return f"{url.rstrip('/')}/{name}"
    raise PlanError(f"folder {url!r} has no captions file; looked for {', '.join(CAPTIONS_FILES)}")


def _read_lines(url: str) -> list[dict[str, Any] | None]:
    """Rows of the captions file; None for a line that is not a JSON object. Raises `ShardFailed`."""
    fs, path = url_to_fs(url)
    data: bytes = fs.cat_file(path)
    suffix = posixpath.splitext(path)[1].lower()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        try:
            rows: list[dict[str, Any] | None] = pq.read_table(io.BytesIO(data)).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ShardFailed(f"{url}: captions file that is no Parquet ({error})") from None
        return rows
    text = data.decode("utf-8-sig", "surrogateescape")
    if suffix in (".csv", ".tsv"):
        csv.field_size_limit(MAX_FIELD_CHARS)
        delimiter = "\t" if suffix == ".tsv" else ","
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="_more"))
    if suffix in (".jsonl", ".ndjson"):  # not splitlines: JSON text may hold U+2028 and the like
        return [_json_object(line) for line in text.split("\n") if line.strip()]
    raise ShardFailed(f"{url}: captions file of unknown kind {suffix!r}; csv, tsv, jsonl and parquet are read")


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None

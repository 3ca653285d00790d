"""A tar as a list of blocks: its content, its damage, and the samples before the first damage."""

import json
import tarfile

from _inputs import BLOCK, END, checksummed, header, member, padded
from fuzz.cases import CAPTION, jpeg_of

V7 = "v7"
FORMATS = (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, V7)


class Parts:
    """The tar as blocks in order, each (bytes, key of the sample it belongs to or None)."""

    def __init__(self, rng, prefix):
        self.rng = rng
        self.format = rng.choice(FORMATS)
        self.parts = []
        self.end = END
        for number in range(rng.randint(2, 8)):
            self.add_sample(f"{prefix}{number:05d}", rng.randrange(40))

    def add_sample(self, key, number, metadata=None):
        metadata = {"url": f"https://example.org/{key}", "n": number} if metadata is None else metadata
        raw = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
        image = jpeg_of(number) + key.encode("utf-8", "replace")  # unlike every other image's bytes
        for suffix, content in (("jpg", image), ("txt", CAPTION.encode()), ("json", raw)):
            self.parts.append((self.member(f"{key}.{suffix}", content), key))

    def member(self, name, content):
        if self.format != V7:
            return member(name, content, self.format)
        block = header(name[:100], len(content), tar_format=tarfile.USTAR_FORMAT)
        block[257:] = bytes(BLOCK - 257)
        return checksummed(block) + padded(content)

    def insert(self, raw, *, is_sound=True):
        """Put blocks at a random place. Nothing is promised behind an unsound one."""
        at = self.rng.randint(0, len(self.parts))
        self.parts.insert(at, (raw, None if is_sound else ""))

    def edit(self, change):
        """Change one part. Nothing is promised of it and behind it."""
        at = self.rng.randrange(len(self.parts))
        raw = change(self.parts[at][0])
        self.parts[at] = (raw, "")

    def accounted(self):
        """Keys all of whose parts are before the first unsound one."""
        stop = next((n for n, (_, key) in enumerate(self.parts) if key == ""), len(self.parts))
        behind = {key for _, key in self.parts[stop:]}
        return sorted({key for _, key in self.parts[:stop] if key and key.isascii() and key.isalnum()} - behind)

    def bytes(self):
        return b"".join(raw for raw, _ in self.parts) + self.end

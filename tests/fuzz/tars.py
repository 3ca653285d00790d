"""Tars in img2dataset's layout, healthy and then damaged. Samples before the first damage must be accounted for."""

import tarfile

from _inputs import BLOCK, END, checksummed, header, padded, sparse, special
from fuzz.cases import mutated, some, text_of, write_manifest
from fuzz.parts import V7, Parts

KINDS = b"0\x001234567LKSxgXVMDNAZ~"
EDGES = (-(2**63), -1, 0, 1, 511, 512, 2**31 - 1, 2**32, 2**33, 2**62, 2**63 - 513, 2**63 - 1, 2**63, 2**64, 2**87)
FIELDS = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12), "chksum": (148, 8),
          "type": (156, 1), "link": (157, 100), "magic": (257, 8), "major": (329, 8), "prefix": (345, 155)}  # fmt: skip


def special_members(tar, rng):
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
    for number in range(rng.randint(1, 4)):
        target = rng.choice(("../../secret/photo.jpg", "/etc/passwd", "x", "sp0.jpg", ""))
        tar.insert(special(f"sp{number}.jpg", rng.choice(kinds), target))
    if rng.random() < 0.5:
        tar.insert(sparse("hole.jpg", rng.choice((1, 10**9, 8 * 10**9 - 1))), is_sound=False)


def edge_field(tar, rng):
    name = rng.choice((*FIELDS, "size", "size"))
    at, width = FIELDS[name]
    value = rng.choice(EDGES)
    ways = [b"%0*o" % (width - 1, value % 8 ** (width - 1)) + b"\0", b" " * width, b"9" * width, rng.randbytes(width)]
    if width > 1:
        ways += [b"\x80" + (value % 256 ** (width - 1)).to_bytes(width - 1, "big")] * 4
        ways += [b"\xff" + (-abs(value) % 256 ** (width - 1)).to_bytes(width - 1, "big")] * 2
    else:
        ways = [bytes([k]) for k in KINDS]
    field, is_summed = rng.choice(ways)[:width], rng.random() < 0.85

    def change(raw):
        block = bytearray(raw[:BLOCK])
        block[at : at + width] = field
        return (checksummed(block) if is_summed and name != "chksum" else bytes(block)) + raw[BLOCK:]

    tar.edit(change)
    return f"{name} = {field!r:.60}"


def endless_size(tar, rng):
    """A size of which the member's end is near the largest offset that a file can have."""
    size = 2 ** rng.choice((40, 44, 62, 63, 63)) - rng.choice((1, 512, 5000, rng.randrange(1 << 20)))

    def change(raw):
        block = bytearray(raw[:BLOCK])
        block[124:136] = b"\x80" + size.to_bytes(11, "big")
        return checksummed(block) + raw[BLOCK:]

    tar.edit(change)
    return f"{size}"


def pax_header(tar, rng):
    keys = (
        "comment", "mtime", "size", "path", "linkpath", "uid", "hdrcharset", "GNU.sparse.size", "GNU.sparse.map",
        "GNU.sparse.major", "GNU.sparse.realsize", "GNU.sparse.name", "GNU.sparse.numblocks", "SCHILY.xattr.x",
    )  # fmt: skip
    plain = rng.random() < 0.4
    count = rng.choice((1, 1, 2, 20, 400))
    records = [
        pax_record(f"comment{n}" if plain else rng.choice(keys), pax_value(rng, plain=plain)) for n in range(count)
    ]
    body = b"".join(records)[: rng.choice((6000, 9000, 1 << 20))]
    if not plain and rng.random() < 0.3:
        body, _, _ = mutated(rng, body)
    kind = rng.choice((tarfile.XHDTYPE, tarfile.XGLTYPE))
    repeats = rng.choice((1, 1, 3, 1000)) if len(body) < 4096 else 1
    is_sound = plain and repeats < 4 and len(b"".join(records)) == len(body) <= 6000 and tar.format != V7
    raw = bytes(header("pax", len(body), kind)) + padded(body)
    for _ in range(repeats):
        tar.insert(raw, is_sound=is_sound)
    return f"{kind.decode()} {count} records, {len(body)} bytes, {repeats} times{', plain' if plain else ''}"


def pax_record(key, value):
    body = b" " + key.encode() + b"=" + value + b"\n"
    size = len(body) + 1
    while len(str(size)) + len(body) != size:
        size = len(str(size)) + len(body)
    return str(size).encode() + body


def pax_value(rng, *, plain):
    if plain:
        return b"x" * rng.choice((1, 10, 200))
    odd = (
        "../../evil.jpg",
        "/tmp/evil.jpg",
        "nan",
        "inf",
        "1e400",
        "-5",
        "",
        "0x10",
        "UTF-9",
        "BINARY",
        "0,1,2,",
        "\0",
    )
    return rng.choice((*odd, *map(str, EDGES))).encode()


def long_name(tar, rng):
    size = rng.choice((101, 300, 1000, 4000, 8000, 8193, 70_000))
    kind = rng.choice((tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK))
    for _ in range(rng.choice((1, 1, 2, 60, 1500))):
        body = b"n" * (size - 5) + b".jpg\0"
        tar.insert(bytes(header("././@LongLink", len(body), kind)) + padded(body), is_sound=False)
    return f"{size} characters"


def odd_names(tar, rng):
    names = (
        "../../../evil",
        "/tmp/evil",
        "a/../../b",
        "C:\\evil",
        "x\0y",
        "e\u0301",
        "\udcff",
        ".",
        "..",
        "",
        "a//b",
        "a/./b",
    )
    for number in range(rng.randint(1, 4)):
        tar.add_sample(rng.choice((*names, text_of(rng, 12))), 41 + number)


def duplicates(tar, rng):
    for _ in range(rng.choice((1, 1, 3, 200))):
        tar.parts.append(rng.choice(tar.parts))


def shuffled(tar, rng):
    rng.shuffle(tar.parts)


def concatenated(tar, rng):
    tar.parts.append((END * rng.choice((1, 1, 10)), ""))
    for number in range(rng.randint(1, 3)):
        tar.add_sample(f"behind{number}", 41 + number)


def damage_part(tar, rng):
    described = []

    def change(raw):
        out, what, _ = mutated(rng, raw)
        described.append(what)
        return out

    tar.edit(change)
    return described[0]


def garbage(tar, rng):
    size = rng.choice((1, 511, 512, 5000))
    tar.insert(rng.choice((rng.randbytes(size), b"\xff" * size, b"<html>" * size)), is_sound=False)


def cut(tar, rng):
    at = rng.randrange(len(tar.parts))
    raw = tar.parts[at][0]
    tar.parts[at:] = [(raw[: rng.randrange(len(raw))], "")]
    tar.end = b""


def odd_end(tar, rng):
    tar.end = rng.choice((b"", bytes(BLOCK), END * 20, END + rng.randbytes(3000), b"\0", bytes(700)))


def fat_metadata(tar, rng):
    fill = rng.choice((b"[]", b"{}", b"0", b'""', b'{"a":0}', b'"\\u00e9"'))
    item = b"[" + b",".join([fill] * ((1 << 20) // (len(fill) + 1) - 20)) + b"]"
    for number in range(rng.randint(1, 6)):
        tar.add_sample(f"fat{number}", 41 + number % 9, b'{"a":' + item + b"}")


def growing_headers(tar, rng):
    """Global headers of many short records, each of which every later member has too."""
    for number in range(rng.choice((2, 40))):
        body = b"".join(pax_record(f"{number:x}.{n:x}", b"") for n in range(720))[:8000]
        tar.insert(bytes(header("g", len(body), tarfile.XGLTYPE)) + padded(body), is_sound=False)
    for number in range(rng.choice((10, 1500))):
        tar.parts.append((tar.member(f"growing{number}.jpg", b""), None))


def not_a_tar(tar, rng):
    tar.parts = [(rng.choice((b"", b"\x1f\x8b\x08\0", b"PK\3\4", b"<!doctype html>", rng.randbytes(2000))), "")]
    tar.end = b""


OPERATIONS = (
    special_members, edge_field, edge_field, endless_size, pax_header, pax_header, long_name, odd_names, duplicates,
    shuffled, concatenated, damage_part, damage_part, garbage, cut, odd_end,
)  # fmt: skip
RARE = (fat_metadata, growing_headers, not_a_tar)


def make(rng, folder, case):
    """One to three tars, at least one of them damaged."""
    write_manifest(folder, 'use = "read_webdataset"')
    for number in range(rng.randint(1, 3)):
        tar = Parts(rng, f"s{number}x")
        chosen = some(rng, OPERATIONS, 3) if rng.random() < 0.9 else []
        for operation in [*chosen, *([rng.choice(RARE)] if rng.random() < 0.04 else [])]:
            described = operation(tar, rng)
            case.what.append(f"{number}.tar: {operation.__name__}{f' {described}' if described else ''}")
        (folder / f"in/{number}.tar").write_bytes(tar.bytes())
        case.accounted += tar.accounted()

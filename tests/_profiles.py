"""Colour profiles written by hand: matrix and gamma, grey, and a small table for inks."""

import struct

P3_PRIMARIES = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
"""X, Y, Z of red, green and blue of Display P3, adapted to D50."""
D50 = (0.9642, 1.0, 0.8249)


def _fixed(value):
    return struct.pack(">i", round(value * 65536))


def _xyz(values):
    return b"XYZ \0\0\0\0" + b"".join(_fixed(v) for v in values)


def _gamma(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(space, pcs, tags, kind=b"mntr"):
    title = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": title, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50), **tags}
    at, entries, data = 132 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        entries += name + struct.pack(">II", at + len(data), len(padded))
        data += padded
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"none", 0x02100000, kind, space, pcs) + bytes(12) + b"acsp"
    head += bytes(28) + b"".join(_fixed(v) for v in D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + data


def rgb_profile(primaries=P3_PRIMARIES, gamma=2.2):
    """A display's profile."""
    x, y, z = (_xyz(values) for values in primaries)
    return _profile(b"RGB ", b"XYZ ", {b"rXYZ": x, b"gXYZ": y, b"bXYZ": z} | dict.fromkeys(
        (b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma)))  # fmt: skip


def grey_profile(gamma):
    """A profile of grey with one gamma."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def ink_profile():
    """A printer's profile: colours of every mix of full cyan, magenta, yellow and black."""
    table = b""
    for mix in range(16):
        c, m, y, k = (mix >> 3 & 1, mix >> 2 & 1, mix >> 1 & 1, mix & 1)
        lightness = max(0, 100 - 30 * c - 35 * m - 8 * y - 80 * k)
        table += bytes([round(lightness * 2.55), 128 - 30 * c + 60 * m, 128 - 35 * c - 10 * m + 70 * y])
    ramp = bytes(range(256))
    unit = b"".join(_fixed(float(row == line)) for row in range(3) for line in range(3))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + ramp * 4 + table + ramp * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": lut}, kind=b"prtr")

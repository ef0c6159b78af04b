"""Small PNGs: the screenshots of a browser with a palette of 256 colours, a third of their size."""

import functools
import struct
import zlib
from collections import Counter

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def compressed(data):
    """A picture of 8-bit RGB(A) as Chromium writes it, with its most frequent colours and the nearest for the rest."""
    width, height, rows = decoded(data)
    frequent = Counter(pixel for row in rows for pixel in row).most_common(256)
    palette = [color for color, _ in frequent]

    @functools.cache
    def nearest(pixel):
        return min(range(len(palette)), key=lambda n: distance(palette[n], pixel))

    lines = b"".join(b"\0" + bytes(map(nearest, row)) for row in rows)
    return SIGNATURE + b"".join(
        [
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            chunk(b"PLTE", b"".join(map(bytes, palette))),
            chunk(b"IDAT", zlib.compress(lines, 9)),
            chunk(b"IEND", b""),
        ]
    )


def size_of(data):
    width, height = struct.unpack_from(">II", data, 16)
    return {"width": width, "height": height}


def distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(data):
    at = len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def decoded(data):
    """The width, the height, and the rows of (red, green, blue)."""
    parts = list(chunks(data))
    width, height, _, color = struct.unpack_from(">IIBB", parts[0][1])
    size = {2: 3, 6: 4}[color]
    packed = b"".join(body for kind, body in parts if kind == b"IDAT")
    lines = zlib.decompress(packed)
    stride, above, rows = width * size, bytes(width * size), []
    for start in range(0, len(lines), stride + 1):
        line = bytearray(lines[start + 1 : start + 1 + stride])
        unfilter(lines[start], line, above, size)
        rows.append([tuple(line[i : i + 3]) for i in range(0, stride, size)])
        above = line
    return width, height, rows


def unfilter(kind, line, above, size):
    """Undo the filter of one line in place (PNG specification, 9)."""
    for i, delta in enumerate(line):
        left = line[i - size] if i >= size else 0
        corner = above[i - size] if i >= size else 0
        up = above[i]
        guess = (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]
        line[i] = (delta + guess) & 255


def paeth(left, up, corner):
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))

"""Seeded damage to files: the same number always gives the same bytes."""

import random

# Values at which sizes, counts and rates go wrong: nothing, one, the ends of signed and unsigned integers.
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
# What text fields may hold that a reader, a terminal or a table could stumble over.
_TOKENS = (
    *(b"nan", b"inf", b"-1", b"1e999", b"0x10", b"9" * 5000, b"", b"\x00", b"\xff\xfe", b'"', b'""', b"\r", b"\n"),
    *(b"\x1b[31m", b"[red]", b"[/red]", b"|", b"../../etc/passwd", b"/dev/zero", b"\xe2\x80\xae", b"\xef\xbb\xbf"),
    *(b",,,,,,,,", b"x" * 200_000, "٣".encode(), "²".encode(), b" ", b"con.wav", b"."),
)


def mutate(content: bytes, others: list[bytes], number: int) -> bytes:
    """One to three kinds of damage, drawn by number."""
    generator = random.Random(number)
    for _ in range(generator.randint(1, 3)):
        content = generator.choice(_KINDS)(generator, content, others)
    return content


def _place(generator: random.Random, content: bytes) -> int:
    """Anywhere, every other time near the beginning, where the headers are."""
    return generator.randrange(min(len(content), generator.choice((128, len(content)))) + 1) if content else 0


def _flip_bits(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    damaged = bytearray(content)
    for _ in range(generator.randint(1, 8)):
        if damaged:
            damaged[min(_place(generator, content), len(damaged) - 1)] ^= 1 << generator.randrange(8)
    return bytes(damaged)


def _truncate(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    return content[: _place(generator, content)]


def _insert(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    place = _place(generator, content)
    return content[:place] + generator.randbytes(generator.choice((1, 2, 7, 64, 4096))) + content[place:]


def _delete(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    place = _place(generator, content)
    return content[:place] + content[place + generator.choice((1, 2, 7, 64, 4096)) :]


def _edit_number(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    place, width = _place(generator, content), generator.choice((1, 2, 4, 8))
    value = generator.choice((*_EXTREMES, generator.getrandbits(8 * width))) % (1 << 8 * width)
    return content[:place] + value.to_bytes(width, generator.choice(("little", "big"))) + content[place + width :]


def _edit_token(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """A text field, from one comma or line end to the next, replaced."""
    begin = max(content.rfind(mark, 0, _place(generator, content)) for mark in (b",", b"\n")) + 1
    end = min(found for mark in (b",", b"\n") if (found := content.find(mark, begin) % (len(content) + 1)) >= begin)
    return content[:begin] + generator.choice(_TOKENS) + content[end:]


def _fill(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    place, length = _place(generator, content), generator.choice((4, 64, 1024))
    return content[:place] + generator.choice((b"\x00", b"\xff")) * length + content[place + length :]


def _repeat(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    begin = _place(generator, content)
    piece = content[begin : begin + generator.choice((8, 64, 1024))]
    return content[:begin] + piece * generator.choice((2, 3, 50)) + content[begin:]


def _splice(generator: random.Random, content: bytes, others: list[bytes]) -> bytes:
    other = generator.choice(others)
    return content[: _place(generator, content)] + other[_place(generator, other) :]


_KINDS = (_flip_bits, _truncate, _insert, _delete, _edit_number, _edit_number, _edit_token, _fill, _repeat, _splice)

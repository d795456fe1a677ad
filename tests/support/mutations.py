"""Damaged, odd and malicious variants of a file: each is made from its content and a random generator."""

import io
import json
import re
import zipfile

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ODD = [
    None, True, -1, 0, 3, 10**6, 2**31, 2**63, 10**400, 0.5, 1e308, -1e-9, float("nan"), float("inf"), "", "x" * 10_000,
    "-1", "1e999", "nan", "../../etc/passwd", "/etc/passwd", "C:\\a", "<img src=x onerror=alert(1)>", "\x00", "\u202e",
    "\ud83d\ude00", "\udc80", "2024-13-45", "0x_", "*a", "&a x", "!!python/object:os.system", [], {}, [[]], [1, "a"],
    {"class_name": "Lambda", "module": "os", "config": "system", "registered_name": None},
]  # fmt: skip
_DEEP = 20_000  # levels of brackets


def of_bytes(content, rng):
    """Cut off, flipped, with blocks removed, repeated, replaced or emptied, with odd numbers in its header, …"""
    data, way = bytearray(content), rng.integers(13)
    a, b = sorted(rng.integers(0, len(data) + 1, 2))
    if way == 0:
        return bytes(data[:b])
    if way == 1:
        for place in rng.integers(0, len(data), 20):
            data[place] ^= 1 << rng.integers(8)
    elif way == 2:
        data[rng.integers(0, min(64, len(data)))] = rng.integers(256)
    elif way == 3:
        del data[a:b]
    elif way == 4:
        data[a:a] = data[a:b]
    elif way == 5:
        data[a:b] = rng.bytes(b - a)
    elif way == 6:
        data[a:b] = bytes(b - a)
    elif way in (7, 8):  # a length or a size; the second way changes two of them
        for _ in range(way - 6):
            place, size = rng.integers(0, min(100, len(data))), int(rng.choice([1, 2, 4, 8]))
            number = NUMBERS[rng.integers(len(NUMBERS))] if rng.random() < 0.8 else int(rng.integers(2**32))
            order = ["little", "big"][rng.integers(2)]
            data[place : place + size] = (number % 256**size).to_bytes(size, order)
    elif way == 9:
        data += bytes(data)
    elif way == 10:
        data[:0] = rng.bytes(rng.integers(1, 2000))
    elif way == 11:
        return rng.bytes(rng.integers(0, 3000))
    else:
        return bytes(rng.integers(0, 3000))
    return bytes(data)


def of_text(content, rng):
    """With odd values, lines removed or repeated, in another encoding, with zeros, far too wide or too deep, …"""
    text, way = content.decode(), rng.integers(11)
    lines = text.splitlines(keepends=True)
    line = int(rng.integers(len(lines)))
    if way < 3:
        places = list(re.finditer(r"[^\s,;:\t{}\[\]\"]+", text))
        for place in rng.permutation(len(places))[: 1 + way]:
            word = ODD[rng.integers(len(ODD))]
            word = word if isinstance(word, str) else json.dumps(word)
            text = text.replace(places[place].group(), word, int(rng.integers(1, 3)))
    elif way == 3:
        text = "".join(lines[:line] + lines[line + 1 :])
    elif way == 4:
        text = "".join(lines[:line] + lines[line : line + 1] * int(rng.choice([2, 1000])) + lines[line + 1 :])
    elif way == 5:
        place = int(rng.integers(len(text) + 1))
        text = text[:place] + ["\x00", '"', "'", "\n", "\t", ",", "\r", "[" * _DEEP][rng.integers(8)] + text[place:]
    elif way == 6:
        return text.encode(["utf-16", "utf-8-sig", "utf-32", "cp037"][rng.integers(4)])
    elif way == 7:
        text = text.replace(lines[0], lines[0].rstrip("\r\n") + [",", "\t", " "][rng.integers(3)] * 200_000 + "\n")
    elif way == 8:
        rng.shuffle(lines)
        text = "".join(lines)
    elif way == 9:
        text += ["{" * _DEEP, "[" * _DEEP, "x" * 10**6, "\n" * 10**5, "- " * _DEEP][rng.integers(5)]
    else:
        return of_bytes(content, rng)
    return text.encode("utf-8", "surrogatepass")


def of_json(content, rng):
    """One value replaced, removed, added or moved deep down; else as `of_text`."""
    if rng.random() < 0.3:
        return of_text(content, rng)
    value = json.loads(content)
    places = list(_places(value))
    holder, key = places[rng.integers(len(places))]
    way = rng.integers(6)
    if way < 3:
        holder[key] = ODD[rng.integers(len(ODD))]
    elif way == 3:
        del holder[key]
    elif way == 4 and isinstance(holder, dict):
        holder[str(ODD[rng.integers(len(ODD))])[:100]] = holder.pop(key)
    else:
        holder[key] = [holder[key]] * int(rng.choice([1, 2, 1000]))
    return json.dumps(value).encode()


def _places(value):
    """(list or dict, key) of every value inside."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def of_zip(content, rng, *, text_suffixes=(".json",)):
    """A part of an archive is changed, so that its checksum fits, or renamed, doubled, left out or huge."""
    if rng.random() < 0.25:
        return of_bytes(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place, way = int(rng.integers(len(parts))), rng.integers(9)
    name, part = parts[place]
    if way < 5:
        change = of_json if name.endswith(text_suffixes) else of_bytes
        parts[place] = name, change(part, rng)
    elif way == 5:
        other = ["../out.txt", "/tmp/out.txt", "..\\out.txt", "a/../../out", "x.npy", ""][rng.integers(6)]
        parts[place] = other, part
    elif way == 6:
        del parts[place]
    elif way == 7:
        parts.append((name, part))
    else:
        return declared(content, size=int(NUMBERS[rng.integers(len(NUMBERS))]), place=place)
    return archived(parts, compression=zipfile.ZIP_STORED)


def of_zip_or_bytes(content, rng):
    return of_zip(content, rng) if content.startswith(b"PK") else of_bytes(content, rng)


def archived(parts, *, compression=zipfile.ZIP_DEFLATED):
    """A zip archive of (name, content)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, part in parts:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            with archive.open(info, "w") as file:  # also a name that is there already
                file.write(part)
    return out.getvalue()


def declared(content, *, size, place=0):
    """An archive whose directory states another unpacked size of one part."""
    data, start = bytearray(content), 0
    for _ in range(place + 1):
        start = data.index(b"PK\x01\x02", start) + 4
    data[start + 20 : start + 24] = size.to_bytes(4, "little")
    return bytes(data)

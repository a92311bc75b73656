"""The members of a ZIP archive that can be read in one way only.

ZIP has no single truth: an archive has a directory at its end, found by searching backwards, and a header before each member that says the
same once more. Readers differ in which they believe, so a file can hold one thing for whoever looks through it and another for whoever
loads it. Here an archive is accepted only if all of it says the same: the members lie one after the other from the first byte up to the
directory, the directory ends where the end record begins, and that record ends the file.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR: Final = struct.Struct("<4sIQI")
_DESCRIPTOR: Final = struct.Struct("<4s3I")
_DESCRIPTOR64: Final = struct.Struct("<4sI2Q")
_FIELD: Final = struct.Struct("<2H")

_SIGNATURES: Final = {_LOCAL: b"PK\3\4", _CENTRAL: b"PK\1\2", _END: b"PK\5\6", _END64: b"PK\6\6", _LOCATOR: b"PK\6\7"}
_DESCRIPTOR_SIGNATURE: Final = b"PK\7\x08"
_ALL_ONES: Final = {2: 0xFFFF, 4: 0xFFFFFFFF}
_DESCRIBED: Final = 1 << 3
"""Flag of a member whose sizes follow its data, as torch writes them."""
_UTF8: Final = 1 << 11
_ZIP64: Final = 1
_PADDING: Final = 0x4246
"""The field "FB" with which torch aligns members."""
_LONGEST_COMMENT: Final = 0xFFFF
_LARGEST_DIRECTORY: Final = 64 * 1024 * 1024
_BLOCK_BYTES: Final = 1 << 20


class NoArchiveError(ValueError):
    """The file is no ZIP archive."""


class ArchiveRefusedError(ValueError):
    """The archive can be read in more than one way, or is not of the plain kind that torch writes; the message says how."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive."""

    name: str
    """Its name, as in both of its headers."""
    start: int
    """Where its bytes begin in the archive's file."""
    size: int
    """How many they are."""
    crc: int
    """Their CRC-32."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A member as the directory has it."""

    raw: bytes
    name: str
    flags: int
    crc: int
    size: int
    offset: int


class _End(NamedTuple):
    """What an end record says, in its order."""

    disk: int
    first_disk: int
    entries_here: int
    entries: int
    size: int
    start: int


def read_members(file: BinaryIO) -> list[Member]:
    """The members of an archive, in the order in which they lie in the file. Their bytes are not read.

    Raises:
        NoArchiveError: The file is no archive.
        ArchiveRefusedError: It can be read in more than one way, or has what torch does not write: compression, comments, encryption.
    """
    start, end, count = _directory(file)
    entries = sorted(_entries(_read(file, start, end - start), count), key=lambda entry: entry.offset)
    _refuse_duplicates(entries)
    if not entries:
        raise ArchiveRefusedError("it is empty")
    if entries[0].offset:
        raise ArchiveRefusedError(f"{entries[0].offset} bytes stand before its first entry")
    members = [_member(file, entry, start) for entry in entries]
    for index, (entry, member) in enumerate(zip(entries, members, strict=True)):
        following = entries[index + 1] if index + 1 < len(entries) else None
        _check_end(file, entry, member, following, start)
    return members


def blocks(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The bytes of a member, as they are read.

    Raises:
        ArchiveRefusedError: They are not those that its CRC-32 was made of. Raised after the last block.
    """
    file.seek(member.start)
    left, crc = member.size, 0
    while left:
        block = file.read(min(left, _BLOCK_BYTES))
        if not block:
            break
        left -= len(block)
        crc = zlib.crc32(block, crc)
        yield block
    if left or crc != member.crc:
        raise ArchiveRefusedError(f"its entry {member.name!r} is damaged: its checksum differs")


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """Where the directory begins and ends, and how many entries it has."""
    found, end = _end_record(file)
    if found.disk or found.first_disk or found.entries_here != found.entries:
        raise ArchiveRefusedError("it is a part of an archive of several files")
    stop = found.start + found.size
    if stop != end:
        other = end - found.size
        if 0 <= other != found.start and {_read(file, found.start, 4), _read(file, other, 4)} == {_SIGNATURES[_CENTRAL]}:
            raise ArchiveRefusedError(
                f"it has two directories: its end record points to byte {found.start}, and another stands before it, at byte {other}"
            )
        what = f"{end - stop} bytes stand between" if stop < end else "there is an overlap of"
        raise ArchiveRefusedError(f"{what} its directory and its end record, or there are two of either")
    if found.size > _LARGEST_DIRECTORY:
        raise ArchiveRefusedError(f"its directory has {found.size} bytes, more than {_LARGEST_DIRECTORY}")
    return found.start, stop, found.entries


def _end_record(file: BinaryIO) -> tuple[_End, int]:
    """What the end of the archive says, and where it begins."""
    size = file.seek(0, os.SEEK_END)
    at = size - _END.size
    tail = _read(file, max(0, at - _LONGEST_COMMENT), size)
    if at < 0 or tail[-_END.size :][:4] != _SIGNATURES[_END]:
        if _SIGNATURES[_END] in tail:
            raise ArchiveRefusedError("data or a comment stands after its end record")
        raise NoArchiveError("it has no end record of a ZIP archive")
    _, *values, comment = _END.unpack(tail[-_END.size :])
    if comment:
        raise ArchiveRefusedError("its end record announces a comment that is not there")
    found = _End(*values)
    if at < _LOCATOR.size or _read(file, at - _LOCATOR.size, 4) != _SIGNATURES[_LOCATOR]:
        return found, at
    at -= _LOCATOR.size + _END64.size
    wide = _wide_end(file, at)
    for name, narrow, value, width in zip(_End._fields, found, wide, (2, 2, 2, 2, 4, 4), strict=True):
        if narrow not in (value, _ALL_ONES[width]):
            raise ArchiveRefusedError(f"its two end records disagree (ZIP64): {name} is {narrow} in one and {value} in the other")
    return wide, at


def _wide_end(file: BinaryIO, at: int) -> _End:
    """What the ZIP64 end record says, if it stands right before its locator and the locator points to it."""
    _, disk, points_to, disks = _LOCATOR.unpack(_read(file, at + _END64.size, _LOCATOR.size))
    record = _read(file, max(0, at), _END64.size)
    if disk or disks != 1 or points_to != at or record[:4] != _SIGNATURES[_END64]:
        raise ArchiveRefusedError("its ZIP64 locator does not point to the end record before it: it may have two")
    _, length, _, _, *values = _END64.unpack(record)
    if length != _END64.size - 12:
        raise ArchiveRefusedError("its ZIP64 end record has a length of its own")
    return _End(*values)


def _entries(directory: bytes, count: int) -> Iterator[_Entry]:
    at = 0
    for _ in range(count):
        header = directory[at : at + _CENTRAL.size]
        if len(header) < _CENTRAL.size or header[:4] != _SIGNATURES[_CENTRAL]:
            raise ArchiveRefusedError("its directory is damaged, or has fewer entries than its end record says")
        _, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment, disk, _, _, offset = _CENTRAL.unpack(header)
        at += _CENTRAL.size
        raw, extra = directory[at : at + name_size], directory[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size + comment
        name = _name(raw, flags)
        if flags & ~(_DESCRIBED | _UTF8):
            raise ArchiveRefusedError(f"its entry {name!r} is encrypted or of another kind that torch.export.save does not write")
        if method:
            # torch stores without compression, and what is not compressed cannot be a bomb.
            raise ArchiveRefusedError(f"its entry {name!r} is compressed; torch.export.save does not compress")
        if comment or disk:
            raise ArchiveRefusedError(f"its entry {name!r} has a comment, or is said to lie in another file")
        packed, size, offset = _widened(_fields(extra, {_ZIP64}, name), packed, size, offset, name)
        if packed != size:
            raise ArchiveRefusedError(f"its entry {name!r} has two sizes, {packed} and {size}, and is not compressed")
        yield _Entry(raw, name, flags, crc, size, offset)
    if at != len(directory):
        raise ArchiveRefusedError("its directory has more entries, or other data, than its end record says")


def _name(raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise ArchiveRefusedError(f"its entry {raw!r} has no plain name") from None
    if not name.isprintable():
        raise ArchiveRefusedError(f"its entry {name!r} has no plain name")
    return name


def _fields(extra: bytes, known: set[int], name: str) -> bytes:
    """The ZIP64 field among the extra fields of a header; no other than the `known` ones may be there."""
    wide, at = b"", 0
    while at < len(extra):
        kind, length = _FIELD.unpack(extra[at : at + _FIELD.size]) if len(extra) - at >= _FIELD.size else (-1, 0)
        at += _FIELD.size + length
        if kind not in known or at > len(extra) or (kind == _ZIP64 and wide):
            raise ArchiveRefusedError(f"its entry {name!r} has an extra field of a kind that torch.export.save does not write")
        if kind == _ZIP64:
            wide = extra[at - length : at]
    return wide


def _widened(wide: bytes, packed: int, size: int, offset: int, name: str) -> tuple[int, int, int]:
    """Sizes and offset of the directory with those from the ZIP64 field, which holds just the ones that do not fit."""
    ones = _ALL_ONES[4]
    missing = [value == ones for value in (size, packed, offset)]
    if len(wide) != 8 * sum(missing):
        raise ArchiveRefusedError(f"its entry {name!r} has a ZIP64 field that does not fit its header")
    values = iter(struct.unpack(f"<{sum(missing)}Q", wide))
    size, packed, offset = (next(values) if gone else value for value, gone in zip((size, packed, offset), missing, strict=True))
    return packed, size, offset


def _refuse_duplicates(entries: list[_Entry]) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        # torch looks for names without regard to case.
        folded = entry.name.casefold()
        if folded in seen:
            once = f", once as {seen[folded]!r}" if seen[folded] != entry.name else ""
            raise ArchiveRefusedError(f"its entry {entry.name!r} stands twice{once}")
        seen[folded] = entry.name


def _member(file: BinaryIO, entry: _Entry, directory: int) -> Member:
    """An entry with the place of its bytes, if its own header says the same as the directory."""
    header = _read(file, entry.offset, _LOCAL.size) if entry.offset + _LOCAL.size <= directory else b""
    if header[:4] != _SIGNATURES[_LOCAL]:
        raise ArchiveRefusedError(f"its entry {entry.name!r} has no header where the directory says")
    _, _, flags, method, _, _, crc, packed, size, name_size, extra_size = _LOCAL.unpack(header)
    after = _read(file, entry.offset + _LOCAL.size, name_size + extra_size)
    raw, extra = after[:name_size], after[name_size:]
    wide = _fields(extra, {_ZIP64, _PADDING}, entry.name)
    if raw != entry.raw:
        raise ArchiveRefusedError(f"its entry {entry.name!r} is called {raw!r} in its own header")
    said = (crc, size, packed)
    if size == packed == _ALL_ONES[4] and len(wide) >= 16:  # noqa: PLR2004  two sizes of eight bytes
        said = (crc, *struct.unpack("<2Q", wide[:16]))
    expected = {(entry.crc, entry.size, entry.size)} | ({(0, 0, 0)} if flags & _DESCRIBED else set())
    if method or flags != entry.flags or said not in expected:
        raise ArchiveRefusedError(f"its entry {entry.name!r} has a header that disagrees with the directory")
    return Member(entry.name, entry.offset + _LOCAL.size + name_size + extra_size, entry.size, entry.crc)


def _check_end(file: BinaryIO, entry: _Entry, member: Member, following: _Entry | None, directory: int) -> None:
    """Nothing may lie between a member and what follows but the sizes that its flag announces."""
    end = member.start + member.size
    until, beyond = (directory, "the directory") if following is None else (following.offset, repr(following.name))
    if end > until:
        raise ArchiveRefusedError(f"its entry {member.name!r} overlaps {beyond}")
    if not entry.flags & _DESCRIBED:
        allowed = [b""]
    else:
        allowed = [
            _DESCRIPTOR64.pack(_DESCRIPTOR_SIGNATURE, entry.crc, entry.size, entry.size),
            *([_DESCRIPTOR.pack(_DESCRIPTOR_SIGNATURE, entry.crc, entry.size, entry.size)] if entry.size < _ALL_ONES[4] else []),
        ]
    if until - end > _DESCRIPTOR64.size or _read(file, end, until - end) not in allowed:
        raise ArchiveRefusedError(f"there are {until - end} bytes between {member.name!r} and {beyond} that do not belong there")


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)

"""
Files as bodies: which of them the kernel can send by itself, how long they are, and what their names say.

What looks like a file need not be one: ``gzip.open`` and ``tarfile`` give objects with the descriptor of the compressed
file or archive, whose bytes and size are not theirs.
"""

from __future__ import annotations

import io
import mimetypes
import os
import stat
from typing import BinaryIO, cast

#: Bytes read from a file at a time.
FILE_CHUNK = 65536
#: Media types of what is compressed, by the names that `mimetypes` gives to content codings.
_COMPRESSED = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}
#: Modules whose files are named after what they decompress.
_DECOMPRESSING = ("bz2", "gzip", "lzma", "compression.zstd", "compression.gzip", "compression.bz2", "compression.lzma")
#: Names whose files are shown as what they hold, and not kept as an archive is: the coding belongs to the media type.
_CODED = (".svgz",)


def mediaType(name: str) -> tuple[str | None, str | None]:
    """
    What the name of a file says that it holds.

    A compressed file is what it is, ``application/gzip`` for ``a.tar.gz``: with ``Content-Encoding: gzip`` a client
    would unpack what the user wants to keep (RFC 9110 8.4). ``.svgz`` is made to be shown: it has a type and a coding.

    :return: the media type and the content coding; None for each that the name does not say.
    """
    type_, coding = mimetypes.guess_type(name)
    if coding is None:
        return type_, None
    if name.lower().endswith(_CODED):
        return type_, coding
    return _COMPRESSED.get(coding), None


def fileType(file: object) -> tuple[str | None, str | None]:
    """
    What an open file's name says that its bytes are.

    :return: as for `mediaType`. Of ``gzip.open("a.tar.gz")`` the bytes are the archive within; before Python 3.13 a
        member of a tar archive has the archive's name, which says nothing about it.
    """
    name = getattr(file, "name", None)
    if not isinstance(name, str) or _namedAsItsArchive(file, name):
        return None, None
    if type(file).__module__ in _DECOMPRESSING:
        return mimetypes.guess_type(name)[0], None
    return mediaType(name)


def _namedAsItsArchive(file: object, name: str) -> bool:
    raw = getattr(file, "raw", None)
    return type(raw).__module__ == "tarfile" and getattr(getattr(raw, "fileobj", None), "name", None) == name


def rawFile(file: object) -> BinaryIO | None:
    """
    The file itself, when its bytes are those that its descriptor has, from where it stands.

    :return: None for anything whose ``read`` may give other bytes: decompression, members of archives, subclasses.
    """
    if type(file).__module__ == "tempfile" and hasattr(file, "file"):
        file = file.file
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file  # type: ignore[attr-defined]
    return cast(BinaryIO, file) if type(raw) is io.FileIO else None


def regularLength(file: object) -> int | None:
    """
    Bytes from where a file stands to its end.

    :return: None where that is not known before they are read: for anything but a regular file, and for those of
        ``/proc``, which have a size of 0 and can be read.
    """
    raw = rawFile(file)
    if raw is None:
        return None
    try:
        _flush(raw)
        descriptor, position = raw.fileno(), raw.tell()
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size == 0 and os.pread(descriptor, 1, position):
            return None
    except (OSError, ValueError):  # ValueError: it is closed
        return None
    return max(0, status.st_size - position)


def descriptorAt(file: object) -> tuple[BinaryIO, int, int] | None:
    """What the kernel can send by itself: file, descriptor and position; None where ``read`` has to be used."""
    raw = rawFile(file)
    if raw is None:
        return None
    try:
        _flush(raw)
        descriptor, position = raw.fileno(), raw.tell()
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except (OSError, ValueError):
        return None
    return (raw, descriptor, position) if regular else None


def _flush(file: BinaryIO) -> None:
    """Have the descriptor hold what was written through the buffer."""
    if isinstance(file, io.BufferedRandom):
        file.flush()

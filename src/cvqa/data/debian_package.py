"""Read single files out of a Debian package, on any system: its members, and what a Qt resource among them holds."""

import io
import lzma
import os
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote


def find_package(folder: str | os.PathLike, package: str, version: str) -> Path:
    """The file of a package in a folder, named as `apt-get download` does. FileNotFoundError if it is not there."""
    for path in sorted(Path(folder).glob(f"{package}_*.deb")):
        if unquote(path.name).split("_")[1] == version:  # the colon of an epoch is written as %3a
            return path
    raise FileNotFoundError(f"no {package}_{version}_*.deb in {folder}: download that version of the package")


def read_from_package(file: str | os.PathLike, paths: Iterable[str]) -> dict[str, bytes]:
    """Contents of the files at `paths` in a package, such as usr/share/backgrounds/a.jpg.

    A path with an exclamation mark, such as usr/share/a.rcc!images/b.webp, is a file in a Qt resource. Files that the
    package lacks are left out.

    Raises:
        ValueError: the file is no Debian package, or is cut short.
    """
    inside: dict[str, set[str]] = {}
    for path in paths:
        outer, _, inner = path.partition("!")
        inside.setdefault(outer, set()).add(inner)
    found = {}
    for outer, content in _members(Path(file), inside.keys()):
        resource = dict(_resource(content)) if inside[outer] - {""} else {}
        for inner in inside[outer]:
            if not inner:
                found[outer] = content
            elif inner in resource:
                found[f"{outer}!{inner}"] = resource[inner]
    return found


def _members(file: Path, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    # An `ar` archive: before each member 60 bytes, with its name in the first 16 and its length from the 48th on.
    data = file.read_bytes()
    position = 8
    try:
        while not data.startswith(b"data.tar", position):
            length = int(data[position + 48 : position + 58])
            position += 60 + length + length % 2
        with tarfile.open(fileobj=io.BytesIO(data[position + 60 :])) as archive:
            for member in archive:  # one pass: going back would unpack from the start
                if member.isfile() and member.name.removeprefix("./") in paths:
                    yield member.name.removeprefix("./"), archive.extractfile(member).read()
    except (ValueError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise ValueError(f"{file}: is not a Debian package, or not a whole one ({error})") from error


def _resource(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Files of a Qt binary resource: a tree of nodes, their names in UTF-16, and contents, each at an offset."""
    if data[:4] != b"qres":
        raise ValueError("is not a Qt resource")
    version, tree, contents, names = struct.unpack_from(">4I", data, 4)
    node_size = 14 if version < 2 else 22  # with the time of the last change

    def walk(node: int, folder: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * node_size
        name_at, flags = struct.unpack_from(">IH", data, at)
        length = struct.unpack_from(">H", data, names + name_at)[0]
        name = data[names + name_at + 6 :][: 2 * length].decode("utf-16-be")
        path = f"{folder}/{name}".strip("/") if node else ""
        if flags & 2:  # a folder
            count, first = struct.unpack_from(">2I", data, at + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        start = contents + struct.unpack_from(">I", data, at + 10)[0]
        content = data[start + 4 :][: struct.unpack_from(">I", data, start)[0]]
        yield path, zlib.decompress(content[4:]) if flags & 1 else content

    yield from walk(0, "")

"""Read single files out of packages, on any system: Debian's, npm's, sources of PyPI, and Qt resources in them."""

import io
import lzma
import os
import re
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote


DOWNLOADS = {
    "debian": "apt-get download {package}={version}",
    "npm": "npm pack {package}@{version}",
    "pypi": "pip download --no-deps --no-binary :all: {package}=={version}",
}
"""Registry -> the command that stores a package in the folder where it is run."""


def find_package(folder: str | os.PathLike, registry: str, package: str, version: str) -> Path:
    """The file of a package in a folder, named as the command in `DOWNLOADS` does.

    Raises:
        FileNotFoundError: it is not there; the message has the command.
        ValueError: there is no such registry.
    """
    if registry not in DOWNLOADS:
        raise ValueError(f"registry must be one of {', '.join(DOWNLOADS)}, not {registry!r}")
    for path in sorted(Path(folder).iterdir()):
        if registry == "debian":
            parts = unquote(path.name).split("_")  # the colon of an epoch is written as %3a
            found = path.suffix == ".deb" and parts[:2] == [package, version]
        elif registry == "npm":
            found = path.name == f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
        else:
            found = _plain(path.name) == _plain(f"{package}-{version}.tar.gz")
        if found:
            return path
    command = DOWNLOADS[registry].format(package=package, version=version)
    raise FileNotFoundError(f"{folder} lacks it; run there: {command}")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_from_package(file: str | os.PathLike, paths: Iterable[str]) -> dict[str, bytes]:
    """Contents of the files at `paths` in a package, such as usr/share/backgrounds/a.jpg or package/img/a.jpg.

    A path with an exclamation mark, such as usr/share/a.rcc!images/b.webp, is a file in a Qt resource. Files that the
    package lacks are left out.

    Raises:
        ValueError: the file is no package, or is cut short.
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
    data = file.read_bytes()
    try:
        with tarfile.open(fileobj=io.BytesIO(_debian_data(data) if file.suffix == ".deb" else data)) as archive:
            for member in archive:  # one pass: going back would unpack from the start
                if member.isfile() and member.name.removeprefix("./") in paths:
                    yield member.name.removeprefix("./"), archive.extractfile(member).read()
    except (ValueError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{file}: is not a package, or not a whole one ({error})") from error


def _debian_data(package: bytes) -> bytes:
    """The archive of the files: in an `ar` archive with 60 bytes before each member, its length from the 48th on."""
    position = 8
    while not package.startswith(b"data.tar", position):
        length = int(package[position + 48 : position + 58])
        position += 60 + length + length % 2
    return package[position + 60 :]


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

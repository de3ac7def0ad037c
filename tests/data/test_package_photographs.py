"""Made-up packages with a photograph in them; in Debian's also one in a Qt resource, as gcompris-qt-data has them."""

import csv
import functools
import hashlib
import io
import struct
import tarfile

import numpy as np
import pytest
import skimage.data
from PIL import Image

from cvqa.data.package_photographs import build_photographs, download_commands
from cvqa.data.packages import find_package, read_from_package
from cvqa.video.photographs import SHARPNESS_THRESHOLD


PLAIN, RESOURCE = "usr/share/backgrounds/astronaut.png", "usr/share/game/animals.rcc"
INSIDE = f"{RESOURCE}!images/cat.png"


def test_photographs_are_cut_reduced_and_listed(packages, table, tmp_path):
    manifest, problems = build_photographs(table(row("face"), row("cat", path=INSIDE)), packages, tmp_path / "out")
    assert not problems
    assert [entry["content_id"] for entry in manifest] == ["face", "cat"]
    with (tmp_path / "out/manifest.csv").open(newline="") as file:
        entries = list(csv.DictReader(file))
    for entry in entries:
        with Image.open(tmp_path / "out" / entry["file"]) as image:
            assert image.size == (int(entry["width"]), int(entry["height"])) == (200, 100)
        assert float(entry["sharpness"]) > SHARPNESS_THRESHOLD
        assert entry["origin"] == f"backgrounds 1:2.0-1: {entry['path_in_package']}"
    expected = Image.fromarray(skimage.data.astronaut()).crop((100, 0, 500, 200)).resize((200, 100), Image.BOX)
    with Image.open(tmp_path / "out/face.jpg") as image:
        assert abs(np.asarray(image, float) - np.asarray(expected, float)).mean() < 4


def test_what_is_there_is_not_touched(packages, table, tmp_path):
    out = tmp_path / "out"
    build_photographs(table(row("face"), row("other")), packages, out)
    before = {name: (out / name).stat().st_mtime_ns for name in ("face.jpg", "other.jpg")}
    (out / "other.jpg").write_bytes(b"cut short")
    build_photographs(table(row("face"), row("other"), row("new")), packages, out)
    assert (out / "face.jpg").stat().st_mtime_ns == before["face.jpg"]
    assert (out / "other.jpg").read_bytes() == (out / "new.jpg").read_bytes() == (out / "face.jpg").read_bytes()


def test_what_cannot_be_had_is_named_and_the_rest_is_made(packages, table, tmp_path):
    rows = [row("face"), row("gone", path="usr/gone.png"), row("other", sha256="0" * 64), row("no", package="absent")]
    manifest, problems = build_photographs(table(*rows), packages, tmp_path / "out")
    assert [entry["content_id"] for entry in manifest] == ["face"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["face.jpg", "manifest.csv"]
    for problem, words in zip(sorted(problems), ("absent 1:2.0-1", "gone: ", "other: "), strict=True):
        assert problem.startswith(words)


def test_a_photograph_is_never_enlarged_or_kept_at_its_size(packages, table, tmp_path):
    with pytest.raises(ValueError, match=r"large: is reduced by 1\.00"):
        build_photographs(table(row("large", width=400, height=200)), packages, tmp_path / "out")


def test_photographs_come_from_every_registry(packages, table, tmp_path):
    rows = [
        row("debian"),
        row("npm", registry="npm", package="@demo/ui-kit", version="2.0.4", path="package/img/a.png"),
        row("pypi", registry="pypi", package="face.sets", version="1.3.0", path="face_sets-1.3.0/a.png"),
    ]
    manifest, problems = build_photographs(table(*rows), packages, tmp_path / "out")
    assert not problems
    assert [entry["content_id"] for entry in manifest] == ["debian", "npm", "pypi"]
    assert download_commands(table(*rows, row("face"))) == [
        "apt-get download backgrounds=1:2.0-1",
        "npm pack @demo/ui-kit@2.0.4",
        "pip download --no-deps --no-binary :all: face.sets==1.3.0",
    ]


def test_a_missing_package_is_named_with_the_command_that_brings_it(packages):
    with pytest.raises(FileNotFoundError, match="run there: npm pack other@1"):
        find_package(packages, "npm", "other", "1")
    with pytest.raises(ValueError, match="debian, npm, pypi, not 'cargo'"):
        find_package(packages, "cargo", "other", "1")


def test_another_version_of_a_package_is_not_taken(packages):
    with pytest.raises(FileNotFoundError, match=r"2\.0-2"):
        find_package(packages, "debian", "backgrounds", "1:2.0-2")


def test_a_package_cut_short_is_named(packages, table, tmp_path):
    (file,) = packages.glob("*.deb")
    file.write_bytes(file.read_bytes()[:-1000])
    manifest, problems = build_photographs(table(row("cat", path=INSIDE)), packages, tmp_path / "out")
    assert not manifest
    assert problems[0].startswith(f"backgrounds 1:2.0-1: {file}: is not")


def test_a_file_that_is_no_package_is_said_to_be_none(tmp_path):
    (tmp_path / "a_1_all.deb").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match=r"a_1_all\.deb: is not a package"):
        read_from_package(tmp_path / "a_1_all.deb", {"usr/a.png"})


@pytest.fixture
def packages(tmp_path):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:xz") as tar:
        for name, content in ((f"./{PLAIN}", picture()), (f"./{RESOURCE}", qt_resource(picture()))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    folder = tmp_path / "packages"
    folder.mkdir()
    members = (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", archive.getvalue()))
    package = b"!<arch>\n"
    for name, content in members:
        package += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        package += b"\n" * (len(content) % 2)
    (folder / "backgrounds_1%3a2.0-1_all.deb").write_bytes(package)
    for name, path in (
        ("demo-ui-kit-2.0.4.tgz", "package/img/a.png"),
        ("face_sets-1.3.0.tar.gz", "face_sets-1.3.0/a.png"),
    ):
        with tarfile.open(folder / name, "w:gz") as tar:
            member = tarfile.TarInfo(path)
            member.size = len(picture())
            tar.addfile(member, io.BytesIO(picture()))
    return folder


@pytest.fixture
def table(tmp_path):
    def write(*rows):
        path = tmp_path / "table.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


def row(content_id, **changes):
    values = {"content_id": content_id, "family": content_id}
    values |= {"registry": "debian", "package": "backgrounds", "version": "1:2.0-1"}
    values |= {"path": PLAIN, "sha256": hashlib.sha256(picture()).hexdigest(), "licence": "CC0-1.0"}
    values |= {"left": 100, "top": 0, "right": 500, "bottom": 200, "width": 200, "height": 100}
    return values | changes


@functools.cache
def picture():
    file = io.BytesIO()
    Image.fromarray(skimage.data.astronaut()).save(file, "png")
    return file.getvalue()


def qt_resource(content):
    """Version 3, uncompressed: a root, in it the folder `images`, in it `cat.png`."""
    names, places = b"", []
    for name in ("images", "cat.png"):
        places.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    time = bytes(8)
    tree = struct.pack(">IHII", 0, 2, 1, 1) + time + struct.pack(">IHII", places[0], 2, 1, 2) + time
    tree += struct.pack(">IHHHI", places[1], 0, 0, 0, 0) + time
    contents = struct.pack(">I", len(content)) + content
    header = b"qres" + struct.pack(">4I", 3, 24, 24 + len(tree), 24 + len(tree) + len(contents)) + bytes(4)
    return header + tree + contents + names

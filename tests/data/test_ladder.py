import csv
import json
import multiprocessing
import os
import re
import signal
import time
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
from PIL import Image

from cvqa.data.ladder import COLUMNS, build_ladder, label_encodes
from cvqa.data.ladder_sources import Source, find_sources, with_takes
from cvqa.data.ladder_work import LadderSettings
from cvqa.data.splits import split_by_content
from cvqa.video import VideoReader
from cvqa.video.encoding import encode
from cvqa.video.photographs import pan_and_zoom


SMALL = {
    "recipe": [{"encoder": "x264"}, {"encoder": "vp9"}],
    "encodes_per_source": 4,
    "size": (160, 90),
    "num_frames": 6,
    "max_frames": 5,
    "workers": 2,
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """Two photographs, one of them small, a clip, and a file that is no video; contents and a family are given."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "deep" / "er").mkdir(parents=True)
    Image.fromarray(skimage.data.astronaut()).save(folder / "deep" / "er" / "astronaut.png")
    Image.fromarray(skimage.data.camera()[100:190, 150:290]).save(folder / "small.png")
    coffee = pan_and_zoom(Image.fromarray(skimage.data.coffee()), (151, 90), 8, seed=1)
    encode((coffee, 30), folder / "a clip: no. 1.mp4", "x264", 10)
    (folder / "broken.mp4").write_text("not a video")
    (folder / "manifest.csv").write_text("file,content_id,family\na clip: no. 1.mp4,cup,kitchen\nsmall.png,man,\n")
    (folder / "families.csv").write_text("content_id,family\nman,people\nastronaut,people\n")
    return folder


@pytest.fixture(scope="module")
def ladder(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("ladder")
    return build_ladder(sources, out, **SMALL)


def manifest_of(folder: Path) -> list[dict]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def times_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/**/*.*") if not path.name.startswith(".")}


def test_manifest(ladder):
    rows = manifest_of(ladder.folder)
    assert tuple(rows[0]) == COLUMNS
    good = [row for row in rows if not row["error"]]
    assert len(good) == 3 * 2 * 2
    for row in good:
        video, reference = ladder.folder / row["video"], ladder.folder / row["reference"]
        with av.open(str(video)) as container:
            frames = list(container.decode(video=0))
            assert container.streams.video[0].codec_context.codec.canonical_name == row["codec"]
        assert [len(frames), frames[0].width, frames[0].height] == [int(row[k]) for k in ("frames", "width", "height")]
        assert reference.is_file()
        assert video.stat().st_size == int(row["bytes"])
        seconds = int(row["frames"]) / float(row["fps"])
        assert float(row["bitrate_kbps"]) == pytest.approx(int(row["bytes"]) * 8 / 1000 / seconds, rel=0.01)
        assert 0 <= float(row["vmaf_min"]) <= float(row["score"]) <= 100
        of_frames = json.loads(row["vmaf_frames"])
        assert len(of_frames) == len(frames) and np.mean(of_frames) == pytest.approx(float(row["score"]), abs=0.01)
        assert float(row["psnr"]) > 15 and 0.3 < float(row["ssim"]) < 1
        assert (row["encoded_width"], row["encoded_height"]) == (row["width"], row["height"])
        assert row["rate_control"] == "crf" and row["scaler"] == "" and row["frame_step"] == "1"
        assert row["vmaf_model"] == "vmaf_v0.6.1" and row["bit_depth"] == "8"
        assert row["soft"] == str(int(float(row["sharpness"]) < 0.2))


def test_contents_families_sizes_and_rates(ladder):
    about = {
        row["content_id"]: tuple(row[name] for name in ("family", "width", "height", "frames", "fps"))
        for row in manifest_of(ladder.folder)
        if not row["error"]
    }
    assert about == {
        "cup": ("kitchen", "150", "90", "5", "30.0"),  # odd width cut, first frames only
        "man": ("people", "126", "70", "6", "25.0"),  # too small a photograph gives a smaller clip
        "astronaut": ("people", "160", "90", "6", "25.0"),
    }


def test_score_falls_with_level(ladder):
    scores = defaultdict(list)
    for row in ladder.rows:
        scores[row["content_id"], row["encoder"]].append((row["level"], row["score"]))
    assert len(scores) == 6
    for pairs in scores.values():
        (_, better), (_, worse) = sorted(pairs)
        assert better > worse


def test_failure_is_listed_and_the_rest_goes_on(ladder):
    failed = [row for row in manifest_of(ladder.folder) if row["error"]]
    assert [row["content_id"] for row in failed] == ["broken"]
    assert "broken.mp4" in failed[0]["error"] and "Invalid data" in failed[0]["error"]
    assert failed[0]["score"] == ""
    assert len(ladder.failures) == 1 and "broken.mp4" in ladder.failures[0]


def test_settings_and_versions_are_kept(ladder):
    description = json.loads((ladder.folder / "ladder.json").read_text())
    assert description["label_kind"] == "vmaf" and description["vmaf_model"] == "vmaf_v0.6.1"
    assert description["settings"]["recipe"] == [{"encoder": ["x264"]}, {"encoder": ["vp9"]}]
    assert "ffmpeg" in description["versions"]["ffmpeg"]


def test_report(ladder):
    report = str(ladder)
    assert "12 encodes of 3 contents (0 were there before)" in report and "1 failures" in report
    assert "x264" in report and "vp9" in report and "broken.mp4" in report


def test_second_run_makes_nothing_anew(sources, ladder):
    before, manifest = times_of(ladder.folder), manifest_of(ladder.folder)
    again = build_ladder(sources, ladder.folder, **SMALL)
    assert again.reused == 12
    assert times_of(ladder.folder) == before
    assert manifest_of(ladder.folder) == manifest


def test_killed_run_is_resumed(sources, tmp_path):
    def log():
        path = tmp_path / "progress.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    run = multiprocessing.get_context("fork").Process(
        target=build_ladder, args=(sources / "deep", tmp_path), kwargs={**SMALL, "workers": 1, "encodes_per_source": 8}
    )
    run.start()
    deadline = time.monotonic() + 60
    while len(log()) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    done = [json.loads(line)["file"] for line in log()]
    assert 4 <= len(done) < 9
    # What a kill may leave besides: half a line in the log, half an encode.
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"file": "encodes/astro')
    leftover = tmp_path / "encodes" / "astronaut" / ".x264_medium_crf1.77.part.mp4"
    leftover.write_bytes(b"half")
    (tmp_path / "encodes" / "astronaut" / ".a.part.files").mkdir()
    before = {file: (tmp_path / file).stat().st_mtime_ns for file in done}

    summary = build_ladder(sources / "deep", tmp_path, **{**SMALL, "encodes_per_source": 8})
    assert summary.reused == len(done) - 1  # one is the reference
    assert {file: (tmp_path / file).stat().st_mtime_ns for file in done} == before
    assert len(manifest_of(tmp_path)) == len(summary.rows) == 8
    assert not list(tmp_path.rglob(".*"))
    assert build_ladder(sources / "deep", tmp_path, **{**SMALL, "encodes_per_source": 8}).reused == 8


def test_kills_at_any_moment_leave_nothing_behind(ladder, sources, tmp_path):
    """Killed again and again, a ladder ends as the one that was left alone."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        run = multiprocessing.get_context("fork").Process(
            target=build_ladder, args=(sources, tmp_path), kwargs=SMALL, daemon=True
        )
        run.start()
        time.sleep(rng.uniform(0.05, 1))
        os.kill(run.pid, signal.SIGKILL)
        run.join()
    build_ladder(sources, tmp_path, **SMALL)
    assert manifest_of(tmp_path) == manifest_of(ladder.folder)
    files, expected = ({str(p.relative_to(top)) for p in top.rglob("*")} for top in (tmp_path, ladder.folder))
    assert files == expected


def test_an_encode_that_fails_is_listed_and_the_others_are_made(tmp_path):
    low = pan_and_zoom(Image.fromarray(skimage.data.coffee()), (160, 40), 3)  # SVT-AV1 meets no bit rate below 64 lines
    clip = encode((low, 25), tmp_path / "low.mp4", "x264", 10)
    recipe = [{"encoder": "x264"}, {"encoder": "svtav1", "preset": "12", "rate_control": "bitrate"}]
    out = tmp_path / "out"
    for _ in range(2):  # what failed is tried again
        summary = build_ladder(clip, out, recipe=recipe, encodes_per_source=2)
        assert [row["encoder"] for row in summary.rows] == ["x264"]
        (failure,) = summary.failures
        assert failure.startswith("encodes/low/svtav1_12_bitrate") and "svtav1:" in failure
        good, failed = sorted(manifest_of(out), key=lambda row: row["error"])
        assert (good["error"], failed["score"], failed["encoder"]) == ("", "", "svtav1") and failed["error"]


def test_work_is_estimated_before_it_starts_and_not_again_once_it_is_done(ladder, sources, tmp_path):
    told = []
    build_ladder(sources, ladder.folder, report=told.append, **SMALL)
    assert re.match(r"4 encodes of 4 sources to make: about 0 MB and 0 s, 2 at a time", told[0])  # of the broken clip
    told.clear()
    build_ladder(sources / "small.png", tmp_path, report=told.append, **{**SMALL, "encodes_per_source": 1})
    assert re.match(r"1 encodes of 1 sources to make: about \d+ MB and \d+ s", told[0])


def test_what_changed_is_made_anew_and_what_is_new_is_added(sources, tmp_path):
    photograph, out = tmp_path / "sources" / "a.png", tmp_path / "out"
    photograph.parent.mkdir()
    image = Image.open(sources / "deep" / "er" / "astronaut.png")
    image.save(photograph)
    one = {**SMALL, "recipe": [{"encoder": "x264"}], "encodes_per_source": 2}
    first = build_ladder(photograph.parent, out, **one)
    assert len(first.rows) == 2

    added = build_ladder(photograph.parent, out, **{**one, "recipe": [{"encoder": "x265"}]})
    assert added.reused == 0 and len(added.rows) == 4

    lost = out / first.rows[0]["video"]
    lost.unlink()
    assert build_ladder(photograph.parent, out, **one).reused == 1
    assert lost.is_file()

    families = tmp_path / "families.csv"
    families.write_text("content_id,family\na,faces\n")
    regrouped = build_ladder(photograph.parent, out, families=families, **one)
    assert regrouped.reused == 2 and {row["family"] for row in regrouped.rows} == {"faces"}

    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photograph)
    changed = build_ladder(photograph.parent, out, **one)
    assert changed.reused == 0
    assert {row["encoder"] for row in changed.rows} == {"x264"}  # the x265 encodes show the old picture


WAYS = {
    "10 bit": {"encoder": "svtav1", "preset": "12", "bit_depth": 10},
    "bit rate": {"encoder": "x264", "rate_control": "bitrate"},
    "quantizer": {"encoder": "x265", "rate_control": "qp", "preset": "ultrafast"},
    "scaled": {"encoder": "vp9", "scale": "3/4", "scaler": "lanczos"},
    "half the rate": {"encoder": "x264", "frame_step": 2, "bit_depth": 10},
    "second generation": {"encoder": "x265", "preset": "fast", "first_encoder": "vp9"},
    "all at once": {"encoder": "x264", "first_encoder": "x264", "scale": "3/4", "frame_step": 2, "bit_depth": 10},
}


@pytest.fixture(scope="module")
def ways(sources, tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    """One encode of every way at good quality, by its name."""
    out = tmp_path_factory.mktemp("ways")
    recipe = [{**kind, "quality": [-0.3, 0], "first_quality": [-0.3, 0]} for kind in WAYS.values()]
    options = {"recipe": recipe, "encodes_per_source": len(WAYS), "size": (160, 120), "num_frames": 7, "workers": 2}
    summary = build_ladder(sources / "deep", out, **options)
    assert not summary.failures
    assert build_ladder(sources / "deep", out, **options).reused == len(WAYS)
    drawn = json.loads((out / "ladder.json").read_text())["settings"]
    variants = LadderSettings(recipe=drawn["recipe"], encodes_per_source=len(WAYS)).variants
    (source,) = find_sources(sources / "deep")
    names = [variant.name for variant in variants(source, (160, 120), 25)]
    assert len(set(names)) == len(WAYS)
    rows = {Path(row["video"]).stem: row for row in summary.rows}
    return out, {way: rows[name] for way, name in zip(WAYS, names)}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_encoding(ways, way):
    folder, row = ways[0], ways[1][way]
    kind = WAYS[way]
    step, depth = kind.get("frame_step", 1), kind.get("bit_depth", 8)
    with av.open(str(folder / row["video"])) as container:
        frames = list(container.decode(video=0))
        assert float(container.streams.video[0].average_rate) == pytest.approx(25 / step, rel=0.01)
    # Whatever happened on the way, the file has the pixels that were judged.
    assert [(frame.width, frame.height) for frame in frames] == [(row["width"], row["height"])] * len(frames)
    assert (row["width"], row["height"], row["frames"], row["fps"]) == (160, 120, len(frames), 25 / step)
    assert len(frames) == len(json.loads(row["vmaf_frames"])) == -(-7 // step)
    assert frames[0].format.name == ("yuv420p" if depth == 8 else "yuv420p10le") and row["bit_depth"] == depth
    assert (row["encoder"], row["rate_control"]) == (kind["encoder"], kind.get("rate_control", "crf"))
    assert (row["encoded_width"], row["encoded_height"]) == ((120, 90) if "scale" in kind else (160, 120))
    assert row["first_encoder"] == kind.get("first_encoder")
    # At this quality only frames that are compared with the wrong ones could score low.
    assert 75 < row["vmaf_min"] <= row["score"]


def test_the_codec_is_that_of_the_encode_whatever_it_is_stored_in(ways):
    row = ways[1]["scaled"]
    assert (row["codec"], row["encoder"], row["scaler"], Path(row["video"]).suffix) == ("vp9", "vp9", "lanczos", ".mp4")
    assert row["bitrate_kbps"] < row["bytes"] * 8 / 1000 * row["fps"] / row["frames"] / 2


def test_bit_rate_is_met(ways):
    row = ways[1]["bit rate"]
    assert row["level"] > 100 and row["bitrate_kbps"] == pytest.approx(row["level"], rel=0.5)


def test_photographs_get_one_of_several_sizes():
    sources = [Source(Path(f"{i}.png"), str(i), str(i), str(i)) for i in range(20)]
    settings = LadderSettings(size=[(480, 270), (320, 180)])
    sizes = [settings.size_of(source) for source in sources]
    assert set(sizes) == {(480, 270), (320, 180)}
    assert sizes == [settings.size_of(source) for source in sources]


def test_another_take_leaves_the_first_as_it_is(tmp_path):
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "cup.png")
    (tmp_path / "families.csv").write_text("content_id,family\ncup,kitchen\n")
    options = {**SMALL, "recipe": [{"encoder": "x264"}], "encodes_per_source": 1, "num_frames": 3}
    first = build_ladder(tmp_path, tmp_path / "out", **options)
    before = times_of(tmp_path / "out")
    both = build_ladder(tmp_path, tmp_path / "out", takes=2, **options)
    assert not both.failures and both.reused == len(first.rows) == 1
    assert times_of(tmp_path / "out").items() >= before.items()
    assert [(row["content_id"], row["family"]) for row in both.rows] == [("cup", "kitchen"), ("cup_take2", "kitchen")]
    pictures = [VideoReader(tmp_path / "out" / row["reference"]).get_batch([0])[0].astype(float) for row in both.rows]
    assert abs(pictures[0] - pictures[1]).mean() > 10


def test_takes_of_a_photograph_are_contents_on_one_side_of_a_split():
    sources = with_takes([Source(Path(f"{i}.png"), f"photo{i}", f"photo{i}", f"photo{i}") for i in range(20)], 3)
    contents = [source.content_id for source in sources]
    assert len(set(contents)) == 60
    sides = split_by_content(contents, families=[source.family for source in sources], scores=[*range(60)])
    photographs = [{contents[row].partition("_")[0] for row in rows} for rows in sides.values()]
    assert [3 * len(names) for names in photographs] == [len(rows) for rows in sides.values()] == [36, 12, 12]


def test_a_source_called_as_the_take_of_another_is_refused():
    sources = [Source(Path(f"{name}.png"), name, name, name) for name in ("cup", "cup_take2")]
    assert len(with_takes(sources[:1], 3)) == 3
    with pytest.raises(ValueError, match=r"cup\.png: its take 2 .* rename"):
        with_takes(sources, 2)


def test_clips_have_one_take():
    clip = Source(Path("cup.mp4"), "cup", "cup", "cup")
    assert with_takes([clip], 2) == [clip]


def test_limit_takes_the_same_sources_first(sources, tmp_path):
    found = find_sources(sources)
    assert len(found) == 4
    settings = {**SMALL, "recipe": [{"encoder": "x264"}], "encodes_per_source": 1}
    one = build_ladder(sources, tmp_path, limit=1, **settings)
    two = build_ladder(sources, tmp_path, limit=2, **settings)
    assert one.reused == 0 and two.reused == len(one.rows)
    assert len(one.rows) + len(one.failures) == 1 and len(two.rows) + len(two.failures) == 2
    assert {row["video"] for row in one.rows} <= {row["video"] for row in two.rows}


def test_settings_out_of_range_are_refused(sources, tmp_path):
    for wrong, message in (
        ({"recipe": [{"encoder": "xvid"}]}, "recipe: kind 1: unknown encoder"),
        ({"encodes_per_source": 0}, "encodes_per_source must be at least 1"),
        ({"takes": 0}, "takes must be at least 1"),
        ({"size": (30, 20)}, "at least 64"),
    ):
        with pytest.raises(ValueError, match=message):
            build_ladder(sources, tmp_path / "out", **wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no clip or photograph"):
        build_ladder(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_existing_encodes_are_labelled_in_order(ladder, sources):
    pairs = [(ladder.folder / row["video"], ladder.folder / row["reference"]) for row in ladder.rows[:3]]
    pairs.insert(1, (sources / "broken.mp4", pairs[0][1]))
    rows = list(label_encodes(pairs, workers=2))
    assert [row["video"] for row in rows] == [str(video) for video, _ in pairs]
    assert [row["score"] is None for row in rows] == [False, True, False, False]
    assert "broken.mp4" in rows[1]["error"]
    assert rows[0]["score"] == pytest.approx(ladder.rows[0]["score"], abs=1e-3)


def test_sources_are_told_apart(tmp_path):
    for name in ("a/x.png", "b/x.png", "b/y.mp4", ".hidden/z.png", "b/notes.txt", "out/references/w.mkv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_sources(tmp_path, leave_out=tmp_path / "out")
    assert [source.path.name for source in found] == ["x.png", "x.png", "y.mp4"]
    assert len({source.name for source in found}) == len({source.content_id for source in found}) == 3
    assert [source.is_photograph for source in found] == [True, True, False]
    assert all(source.family == source.content_id for source in found)

    (tmp_path / "table.csv").write_text("file,content_id\na/x.png,same\nb/x.png,same\n")
    found = find_sources(tmp_path / "table.csv")
    assert [source.content_id for source in found] == ["same", "same"]
    assert len({source.name for source in found}) == 2

    (tmp_path / "table.csv").write_text("file\na/gone.png\n")
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        find_sources(tmp_path / "table.csv")
    (tmp_path / "table.csv").write_text("name\na\n")
    with pytest.raises(ValueError, match="no column named file"):
        find_sources(tmp_path / "table.csv")
    with pytest.raises(ValueError, match=r"notes\.txt: neither"):
        find_sources(tmp_path / "b/notes.txt")
    with pytest.raises(FileNotFoundError, match="no such"):
        find_sources(tmp_path / "nowhere")

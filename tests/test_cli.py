import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image
from real_clips import bad_files, encode, good_clips, panned, save_tiny_model

from cvqa.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, Path]:
    return good_clips(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> dict[str, Path]:
    return bad_files(tmp_path_factory.mktemp("bad"))


@pytest.fixture
def cvqa(capsys, model, monkeypatch):
    """Runs the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("CVQA_MODEL", model)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def run_process(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "cvqa", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_score_prints_score_interval_and_name_and_nothing_else_on_stdout(cvqa, clips):
    status, out, err = cvqa("score", clips["h264"], clips["static"])
    assert status == 0
    lines = out.splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == [str(clips["h264"]), str(clips["static"])]
    assert all(0 <= float(line.split()[0]) <= 100 and "[" in line for line in lines)
    told, *others = err.splitlines()
    assert "higher is better, learnt from VMAF" in told
    assert others == [f"cvqa: {clips['static']}: warning: nothing moves: the model has learnt from moving pictures"]


def test_broken_files_are_named_in_one_line_each_and_the_others_still_scored(cvqa, clips, broken, tmp_path):
    paths = [path for pair in zip(broken.values(), clips.values()) for path in pair]
    status, out, err = cvqa("score", *paths, "--json", tmp_path / "scores.json")
    assert status == 1
    assert len(out.splitlines()) == len(paths) // 2
    failures = [line for line in err.splitlines()[1:] if ": warning: " not in line]
    assert len(failures) == len(broken)
    for line, path in zip(failures, broken.values()):
        prefix, _, reason = line.partition(f"{path}: ")
        assert prefix == "cvqa: " and reason
    objects = json.loads((tmp_path / "scores.json").read_text())
    assert [item["file"] for item in objects] == [str(path) for path in paths]
    for item in objects:
        assert set(item) == {"file", "score", "interval", "segments", "model", "warnings", "error"}
        assert (item["score"] is None) == (item["error"] is not None)


def test_segments_cover_the_file_in_print_json_and_csv(cvqa, clips, tmp_path):
    files = tmp_path / "a.json", tmp_path / "a.csv"
    status, out, _ = cvqa("score", clips["h264"], "--segments", 0.6, "--json", files[0], "--csv", files[1])
    assert status == 0
    (item,) = json.loads(files[0].read_text())
    assert [(s["start"], s["end"]) for s in item["segments"]] == [(0, 0.6), (0.6, 1.2), (1.2, 1.8), (1.8, 2.4)]
    rows = list(csv.DictReader(io.StringIO(files[1].read_text())))
    assert [row["kind"] for row in rows] == ["video"] + ["segment"] * 4
    assert [float(row["score"]) for row in rows[1:]] == [s["score"] for s in item["segments"]]
    assert len(out.splitlines()) == 5


def test_json_and_csv_on_stdout_stand_alone(cvqa, clips, broken):
    status, out, _ = cvqa("score", clips["portrait"], broken["empty"], "--json", "-")
    assert status == 1
    assert [item["error"] is None for item in json.loads(out)] == [True, False]
    _, out, _ = cvqa("score", clips["portrait"], "--csv", "-")
    assert [row["file"] for row in csv.DictReader(io.StringIO(out))] == [str(clips["portrait"])]


def test_plot_is_a_picture(cvqa, clips, tmp_path):
    assert cvqa("score", clips["h264"], clips["odd"], "--plot", tmp_path / "time.png")[0] == 0
    with Image.open(tmp_path / "time.png") as picture:
        assert picture.width > 500


def test_a_folder_stands_for_its_videos_and_a_pattern_for_what_it_matches(cvqa, tmp_path):
    for name in ("b.mp4", "a.mp4", "[1].mp4"):
        encode(tmp_path / name, panned(9, 64, 48))
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden.mp4").touch()

    def scored(argument) -> list[str]:
        status, out, _ = cvqa("score", argument)
        assert status == 0
        return [Path(line.rpartition("  ")[2]).name for line in out.splitlines()]

    assert scored(tmp_path) == ["[1].mp4", "a.mp4", "b.mp4"]
    assert scored(tmp_path / "?.mp4") == ["a.mp4", "b.mp4"]
    assert scored(tmp_path / "[1].mp4") == ["[1].mp4"]


def test_compare_ranks_by_score_and_says_what_it_cannot_tell_apart(cvqa, clips, broken):
    names = ["h264", "portrait", "static"]
    _, scored, _ = cvqa("score", *(clips[name] for name in names))
    expected = sorted(scored.splitlines(), key=lambda line: -float(line.split()[0]))
    status, out, err = cvqa("compare", *(clips[name] for name in names), broken["text"])
    assert status == 1 and str(broken["text"]) in err
    rows = out.splitlines()[1:4]
    assert [row.rpartition("  ")[2] for row in rows] == [line.rpartition("  ")[2] for line in expected]
    best, second = (float(row.split()[1]) for row in rows[:2])
    assert float(rows[1].split()[2]) == pytest.approx(best - second, abs=0.11)

    _, out, _ = cvqa("compare", clips["h264"], clips["h264"])
    assert "order is not certain" in out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["score"],
        ["scare", "a.mp4"],
        ["score", "a.mp4", "--loudly"],
        ["score", "a.mp4", "--segments", "0"],
        ["score", "a.mp4", "--segments", "nan"],
        ["score", "a.mp4", "--segments", "soon"],
        ["score", "a.mp4", "--json", "no/such/folder/a.json"],
        ["score", "a.mp4", "--plot", "a.xyz"],
        ["score", "--json", "a.mp4", "b.mp4"],
        ["score", "a.mp4", "--model", "no/such/model/folder"],
        ["score", "a.mp4", "--device", "toaster"],
        ["compare", "a.mp4"],
    ],
)
def test_wrong_usage_is_exit_code_2_with_a_message(cvqa, arguments):
    status, out, err = cvqa(*arguments)
    assert (status, out) == (2, "")
    assert err.strip()


def test_without_a_model_the_message_says_how_to_get_one(cvqa, clips, monkeypatch, tmp_path):
    monkeypatch.delenv("CVQA_MODEL")
    monkeypatch.setattr("cvqa.inference.default_model.DEFAULT_MODEL", tmp_path)
    status, _, err = cvqa("score", clips["h264"])
    assert status == 2 and "--model" in err and "scripts/train_default.py" in err


def test_a_model_that_is_named_goes_before_the_one_of_the_package(cvqa, clips, monkeypatch, tmp_path):
    model = os.environ["CVQA_MODEL"]
    monkeypatch.setattr("cvqa.inference.default_model.DEFAULT_MODEL", tmp_path)  # where there is none
    assert cvqa("score", clips["h264"])[0] == 0
    monkeypatch.setenv("CVQA_MODEL", str(tmp_path))
    assert cvqa("score", "--model", model, clips["h264"])[0] == 0


def test_what_is_outside_the_domain_is_told_once_per_file_on_stderr_and_in_the_json(cvqa, tmp_path):
    tiny = encode(tmp_path / "tiny.mp4", panned(8, 96, 64))
    status, out, err = cvqa("score", tiny, "--json", tmp_path / "a.json", "--segments", "0.1")
    warning = "96x64 is tiny: below 128 pixels a score says little"
    assert status == 0 and err.count(f"{tiny}: warning: {warning}") == 1 and "warning" not in out
    assert json.loads((tmp_path / "a.json").read_text())[0]["warnings"] == [warning]


def test_an_interrupt_keeps_what_has_been_scored(cvqa, clips, monkeypatch, tmp_path):
    from cvqa.inference import VideoScorer

    score = VideoScorer.score

    def interrupted(self, path, *arguments):
        if "odd" in path:
            raise KeyboardInterrupt
        return score(self, path, *arguments)

    monkeypatch.setattr(VideoScorer, "score", interrupted)
    paths = clips["portrait"], clips["odd"], clips["h264"]
    status, _, err = cvqa("score", *paths, "--json", tmp_path / "a.json")
    assert status == 130 and "interrupted" in err
    assert [item["file"] for item in json.loads((tmp_path / "a.json").read_text())] == [str(paths[0])]


def test_a_name_with_a_line_break_stays_in_one_line(cvqa, tmp_path):
    status, _, err = cvqa("score", tmp_path / "two\nlines\x1b[31m.mp4")
    assert status == 1
    assert len(err.splitlines()) == 2 and "two\\nlines\\x1b[31m.mp4: " in err


def test_help_of_every_command(cvqa):
    for command in ([], ["score"], ["compare"], ["demo"], ["ladder"], ["ladder", "build"], ["ladder", "label"]):
        status, out, err = cvqa(*command, "--help")
        assert (status, err) == (0, "") and out.startswith(f"usage: {' '.join(['cvqa', *command])} ")


def test_version_as_a_process():
    assert run_process("--version").stdout == f"cvqa {version('cvqa')}\n"


def test_scoring_as_a_process_says_nothing_more_than_it_must(clips, broken, model):
    done = run_process("score", "--model", model, clips["hevc10"], broken["truncated"], clips["av1_ivf"])
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert f"{broken['truncated']}: " in done.stderr


def test_ladder_builds_labelled_encodes_and_labels_those_that_exist(cvqa, tmp_path):
    clip = encode(tmp_path / "source.mp4", panned(8), crf=1)
    status, out, _ = cvqa("ladder", "build", clip, tmp_path / "ladder", "--encodes-per-source", 2)
    assert status == 0 and "2 encodes of 1 contents" in out
    with (tmp_path / "ladder" / "manifest.csv").open() as file:
        built = {row["video"]: float(row["score"]) for row in csv.DictReader(file)}
    encodes = [tmp_path / "ladder" / name for name in built]

    status, out, err = cvqa("ladder", "label", clip, *encodes, tmp_path / "gone.mp4")
    assert status == 1 and err.count("gone.mp4") == 1
    labelled = {line.rpartition("  ")[2]: float(line.split()[0]) for line in out.splitlines()[1:]}
    assert labelled == {str(path): pytest.approx(score, abs=2) for path, score in zip(encodes, built.values())}

    assert cvqa("ladder", "build", clip, tmp_path / "other", "--size", "large")[0] == 2
    status, _, err = cvqa("ladder", "build", tmp_path / "nothing", tmp_path / "other")
    assert status == 2 and "nothing" in err


def test_a_reader_that_leaves_early_ends_the_work_quietly(clips, model):
    command = [sys.executable, "-m", "cvqa", "score", "--model", model, *[str(clips["portrait"])] * 200]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert str(clips["portrait"]) in process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_control_c_during_a_batch_is_exit_code_130_with_the_results_so_far(clips, model, tmp_path):
    target = tmp_path / "a.json"
    command = [sys.executable, "-m", "cvqa", "score", "--model", model, "--json", str(target)]
    process = subprocess.Popen(
        command + [str(clips["portrait"])] * 2000,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell ignores Ctrl-C, and hands that on.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    assert len(json.loads(target.read_text())) >= 1


def test_hdr_is_scored_when_told_how_to_map_it(cvqa, broken):
    assert cvqa("score", broken["hdr"])[0] == 1
    status, out, _ = cvqa("score", "--hdr", "bt2390", broken["hdr"])
    assert status == 0 and out.count("\n") == 1 and 0 <= float(out.split()[0]) <= 100


def test_caches_of_frames_are_listed_and_removed(cvqa, clips, tmp_path):
    from datasets import Dataset

    from cvqa import InternVideo2VideoProcessor
    from cvqa.data import cache_frames

    data = Dataset.from_dict({"video": [str(clips["portrait"])]})
    for size in (56, 64):
        cache_frames(data, InternVideo2VideoProcessor(size=size), tmp_path, num_proc=1)
    status, out, _ = cvqa("cache", "--dir", tmp_path)
    name = out.split()[0]
    assert status == 0 and out.count("\n") == 2 and "1 videos" in out and "num_frames 8" in out
    assert cvqa("cache", "--dir", tmp_path, "--remove", "nothing")[0] == 2
    assert cvqa("cache", "--dir", tmp_path, "--remove", name)[0] == 0
    assert [folder.name for folder in tmp_path.iterdir()] != [] and not (tmp_path / name).exists()
    assert cvqa("cache", "--dir", tmp_path)[1].count("\n") == 1


def test_a_data_set_is_checked(cvqa, clips, broken, tmp_path):
    rows = [f"{clips['h264']},4,a", f"{broken['cut']},2,b", f"{tmp_path / 'gone.mp4'},3,c"]
    (tmp_path / "scores.csv").write_text("video,mos,content\n" + "\n".join(rows))
    status, out, _ = cvqa("check", tmp_path / "scores.csv")
    assert status == 1 and "2 of 3 videos are there; 2 were opened, 1 of these cannot be read" in out
    assert "gone.mp4" in out and str(broken["cut"]) in out
    assert cvqa("check", tmp_path / "absent.csv")[0] == 2

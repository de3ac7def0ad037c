"""scripts/evaluate.py on real encodes."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from barcode import draw_frames, write_clip

from cvqa import InternVideo2Config, InternVideo2ForVideoQualityAssessment, InternVideo2VideoProcessor


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    torch.manual_seed(0)
    size = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "pooling_num_heads": 4}
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config(**size, num_frames=2, label_kind="dmos"))
    torch.nn.init.normal_(model.head.weight, std=0.05)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    model.save_pretrained(folder)
    InternVideo2VideoProcessor(num_frames=2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """4 contents in H.264 and VP9 at two qualities, and a text file named .mp4."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for content in range(4):
        frames = draw_frames(6, width=96 + 32 * content, first=30 * content)
        for codec, encoder, suffix in (("h264", "libx264", ".mp4"), ("vp9", "libvpx-vp9", ".webm")):
            for crf in (20, 50):
                name = f"clip{content}_{codec}_{crf}{suffix}"
                options = ("-c:v", encoder, "-crf", crf, "-pix_fmt", "yuv420p")
                write_clip(
                    folder / name, *options, *(("-b:v", "0", "-cpu-used", "8") if codec == "vp9" else ()), frames=frames
                )
                rows.append(
                    {"video": name, "mos": 5 - crf / 15 + content / 10, "content": f"clip{content}", "codec": codec}
                )
    (folder / "text.mp4").write_text("this is no video")
    rows.append({"video": "text.mp4", "mos": 3, "content": "clip0", "codec": "h264"})
    with (folder / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "scores.csv"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the script with arguments; (exit status, stdout, stderr)."""
    path = Path(__file__).parents[2] / "scripts" / "evaluate.py"
    spec = importlib.util.spec_from_file_location("evaluate_script", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments), "--num-workers", "0", "--device", "cpu"])
        try:
            status = script.main()
        except SystemExit as exit:
            status = exit.code
        return status, *capsys.readouterr()

    return run


def test_it_prints_the_table_and_saves_the_report(run, model_folder, table, tmp_path):
    arguments = ("--split", "all", "--mapping", "rescale", "--score-min", 1, "--score-max", 5, "--resamples", 20)
    status, output, _ = run(model_folder, table, *arguments, "--output", tmp_path / "report")
    assert status == 0
    assert output.startswith("model: tiny, data: scores.csv, split: all, mapping: rescale")
    assert "trained on DMOS, compared with MOS" in output
    assert "no prediction, and so in no figure (1): text.mp4" in output
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    srcc = results["figures"][0]
    assert (srcc["metric"], srcc["n"], srcc["n_contents"], srcc["split"]) == ("srcc", 16, 4, "all")
    assert f"{srcc['value']:.3f} [{srcc['interval'][0]:.3f}" in output
    with (tmp_path / "report" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 17 and rows[-1]["prediction"] == ""
    assert len({row["prediction"] for row in rows[:-1]}) > 8
    assert all(0 <= float(row["quality"]) <= 100 for row in rows[:-1])
    assert (tmp_path / "report" / "scatter.png").stat().st_size > 10_000


def test_a_split_is_evaluated_alone(run, model_folder, table, tmp_path):
    status, output, _ = run(model_folder, table, "--split", "test", "--output", tmp_path)
    assert status == 0
    assert "split: test" in output and "too few contents to resample (1, at least 3 are needed)" in output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["no/such/model", "TABLE"], 1, "no/such/model: no model can be loaded from this folder or repository"),
        (["MODEL", "no-such-table.csv"], 1, "no-such-table.csv"),
        (["MODEL", "TABLE", "--mapping", "cubic"], 2, "invalid choice: 'cubic'"),
        (["MODEL", "FOLDER", "--score-min", "1"], 2, "score_min: only for a table"),
        (["MODEL", "TABLE", "--output", "TABLE"], 1, "scores.csv"),
    ],
)
def test_wrong_arguments_end_with_one_clear_error(run, model_folder, table, tmp_path, arguments, status, message):
    known = {"MODEL": model_folder, "TABLE": table, "FOLDER": table.parent}
    arguments = [known.get(argument, argument) for argument in arguments]
    if "--output" not in arguments:
        arguments += ["--output", tmp_path]
    result, output, error = run(*arguments)
    assert result == status and output == ""
    assert message in error and "Traceback" not in error

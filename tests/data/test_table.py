"""Own tables: columns, scales and contents are found or asked for, and bad rows are named by line."""

import json

import pytest
from datasets import Dataset

from cvqa.data.schema import FEATURES, QualityScale, get_scale
from cvqa.data.table import load_table


@pytest.fixture
def table(tmp_path):
    """Writes a table, and a stand-in for each video named."""

    def write(text, name="scores.csv", videos=(), encoding="utf-8"):
        for video in videos:
            (tmp_path / video).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / video).write_bytes(b"stand-in")
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


PLAIN = "path,mos,content\na.mp4,4.2,x\nb.mp4,1.5,y\nc.mp4,3.0,z\n"


def load(path, **options):
    return load_table(path, **{"check_files": False, **options})


# Reading


def test_schema_and_labels(table):
    path = table(PLAIN, videos=("a.mp4", "b.mp4", "c.mp4"))
    dataset = load_table(path)
    assert dataset.column_names == list(FEATURES)
    assert dataset["video"][:] == [str(path.parent / name) for name in ("a.mp4", "b.mp4", "c.mp4")]
    assert dataset["score"][:] == [4.2, 1.5, 3.0]
    assert dataset["label"][:] == pytest.approx([0.8, 0.125, 0.5])
    assert dataset["content_id"][:] == ["x", "y", "z"]
    assert dataset[0] | {"codec": "", "width": 0, "height": 0, "level": None, "reference": None} == dataset[0]


@pytest.mark.parametrize(
    ("text", "name", "encoding"),
    [
        (PLAIN, "t.csv", "utf-8-sig"),
        (PLAIN, "t.csv", "utf-16"),
        (PLAIN.replace("\n", "\r\n"), "t.csv", "utf-8"),
        (PLAIN.replace(",", ", "), "t.txt", "utf-8"),
        (PLAIN.replace(",", "\t"), "t.tsv", "utf-8"),
        (PLAIN.replace(",", ";"), "t.csv", "utf-8-sig"),
        (PLAIN.replace(",", ";").replace(".2", ",2").replace(".5", ",5").replace("3.0", "3,0"), "t.csv", "utf-8"),
        (PLAIN.replace("a.mp4", '"a.mp4"').replace("4.2", '"4.2"'), "t.csv", "utf-8"),
        (PLAIN.replace("\n", ",\n"), "t.csv", "utf-8"),
        (PLAIN.replace("\n", "\n\n"), "t.csv", "utf-8"),
        (PLAIN.replace(",", " "), "t.txt", "utf-8"),
    ],
    ids=["bom", "utf16", "crlf", "spaces", "tab", "semicolon", "comma", "quotes", "trailing", "blank", "space"],
)
def test_same_table_in_many_forms(table, text, name, encoding):
    options = {"delimiter": " "} if "path mos" in text else {}
    dataset = load(table(text, name, encoding=encoding), **options)
    assert dataset["score"][:] == [4.2, 1.5, 3.0] and dataset["content_id"][:] == ["x", "y", "z"]


def test_json_lines_and_parquet(table, tmp_path):
    rows = [{"filename": f"{i}.mp4", "dmos": 10.5 * i, "source": i, "tags": ["no", "cell"]} for i in range(4)]
    lines = load(table("\n".join(map(json.dumps, rows)), "t.jsonl"))
    Dataset.from_list(rows).to_parquet(tmp_path / "t.parquet")
    parquet = load(tmp_path / "t.parquet")
    for dataset in (lines, parquet):
        assert dataset["score"][:] == [0, 10.5, 21, 31.5] and dataset["content_id"][:] == ["0", "1", "2", "3"]
        assert not get_scale(dataset).higher_is_better


def test_commas_and_accents_in_quoted_names(table):
    text = 'path,mos,content\n"été, plage.mp4",4,"a ""b"""\nc.mp4,2,c\n'
    for encoding in ("utf-8", "cp1252"):
        dataset = load(table(text, encoding=encoding))
        assert dataset["video"][0].endswith("été, plage.mp4") and dataset["content_id"][0] == 'a "b"'


def test_other_columns_are_kept(table):
    text = (
        "name,width,height,codec,qp,mos,mos_std,source,bitrate,take,frames,split2\n"
        "a,1920,1080,H.265,22,4,0.5,x,1.5,007,60,\nb,1280,720,AVC,37,2,,y,20,008,50,\n"
    )
    dataset = load(table(text))
    assert dataset["width"][:] == [1920, 1280] and dataset["codec"][:] == ["hevc", "h264"]
    assert dataset["level"][:] == ["22", "37"] and dataset["std"][:] == [0.5, None]
    # "007" is a name, not the number 7; `frames` is the name of the cached frames.
    assert dataset["bitrate"][:] == [1.5, 20] and dataset["take"][:] == ["007", "008"]
    assert dataset["num_frames"][:] == [60, 50] and "frames" not in dataset.column_names


def test_video_folder_backslashes_and_references(table, tmp_path):
    text = "path,mos,reference\nsub\\a.mp4,4,src/x.y4m\n/abs/b.mp4,2,src/x.y4m\nc.mp4,2,Beauty\n"
    dataset = load(table(text), video_dir=tmp_path / "videos")
    folder = tmp_path / "videos"
    assert dataset["video"][:] == [str(folder / "sub" / "a.mp4"), "/abs/b.mp4", str(folder / "c.mp4")]
    assert dataset["reference"][:] == [str(folder / "src" / "x.y4m")] * 2 + [None]
    assert dataset["content_id"][:] == ["src/x.y4m", "src/x.y4m", "Beauty"]


# Columns and content


def test_guess_is_shown_once_and_nothing_when_all_is_given(table, caplog):
    path = table(PLAIN)
    load(path)
    assert len(caplog.records) == 1
    for part in ("video from 'path'", "score from 'mos'", "MOS from 1 to 5", "3 contents in 3 videos", "(guessed)"):
        assert part in caplog.text
    caplog.clear()
    scale = QualityScale(1, 5, True, "mos")
    load(path, video_column="path", score_column="mos", content_column="content", **scale.as_config())
    assert not caplog.records


def test_columns_given_by_name_and_by_function(table):
    text = "clip,rating,who\n1,4,x\n2,3,y\n"
    path = table(text)
    with pytest.raises(ValueError, match=r"looks like the video.*'clip', 'rating', 'who'.*video_column"):
        load(path)
    dataset = load(
        path,
        video_column=lambda row: f"{int(row['clip']):02d}.mp4",
        score_column="rating",
        content_column="who",
        codec_column=lambda row: "H.264",
    )
    assert dataset["video"][0] == str(path.parent / "01.mp4") and dataset["codec"][:] == ["h264", "h264"]
    with pytest.raises(ValueError, match="no column 'nope' for score_column"):
        load(path, score_column="nope")
    with pytest.raises(TypeError, match="no option 'scorecolumn'"):
        load(path, scorecolumn="rating")


def test_a_guessed_column_can_be_turned_off(table):
    path = table("path,mos,content,split\na,1,x,train\nb,2,y,test\n")
    assert load(path)["split"][:] == ["train", "test"]
    assert "split" not in load(path, split_column="").column_names


def test_unknown_content_is_refused_with_the_reason(table):
    path = table("path,mos\na_1.mp4,4\na_2.mp4,2\nb_1.mp4,3\n")
    with pytest.raises(ValueError, match="both sides of the split") as error:
        load(path)
    assert "content_column" in str(error.value) and "content_pattern" in str(error.value)
    assert load(path, content_pattern=r"^([^_]+)_")["content_id"][:] == ["a", "a", "b"]
    assert load(path, content_column="path")["content_id"][0] == "a_1.mp4"


@pytest.mark.parametrize("pattern", ["(", "no group", "(two)(groups)"])
def test_bad_content_pattern_is_refused(table, pattern):
    with pytest.raises(ValueError, match=r"content_pattern .*(not a regular expression|exactly one group)"):
        load(table("path,mos\na,4\n"), content_pattern=pattern)


def test_content_pattern_that_misses_drops_the_row(table, caplog):
    dataset = load(table("path,mos\na_1,4\nodd,2\nb_1,3\n"), content_pattern="(.+)_")
    assert dataset["content_id"][:] == ["a", "b"]
    assert "line 3: content_pattern" in caplog.text


# Scale


@pytest.mark.parametrize(
    ("column", "scores", "scale"),
    [
        ("mos", (0.1, 0.9), QualityScale(0, 1)),
        ("mos", (1, 5), QualityScale(1, 5)),
        ("MOS", (0.5, 4.5), QualityScale(0, 5)),
        ("score", (2, 9), QualityScale(0, 10)),
        ("mos", (12, 88), QualityScale(0, 100)),
        ("dmos", (-9.5, 103), QualityScale(0, 100, False, "dmos")),
        ("DMOS", (1, 4), QualityScale(1, 5, False, "dmos")),
        ("vmaf", (1, 4), QualityScale(0, 100, True, "vmaf")),
    ],
)
def test_guessed_scale(table, column, scores, scale):
    path = table(f"path,{column},content\na,{scores[0]},x\nb,{scores[1]},y\n")
    assert get_scale(load(path)) == scale


def test_given_scale_wins(table):
    path = table("path,score,content\na,1,x\nb,4,y\n")
    dataset = load(path, score_min=0, score_max=9, label_kind="dmos")
    assert get_scale(dataset) == QualityScale(0, 9, False, "dmos")
    assert get_scale(load(path, higher_is_better=False)) == QualityScale(1, 5, False, "mos")


def test_negative_dmos_gives_a_negative_label(table):
    dataset = load(table("path,dmos,content\na,-8,x\nb,60,y\n"))
    assert dataset["label"][:] == pytest.approx([-0.08, 0.6])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("path,mos,content\na,-3,x\nb,5000,y\n", {}, r"-3 \(line 2\) to 5000 \(line 3\).*no usual scale"),
        ("path,mos,content\na,3,x\nb,44,y\n", {"score_min": 1, "score_max": 5}, r"44 \(line 3\), far outside"),
        ("path,mos,content\na,3,x\n", {"score_min": 1}, "both score_min and score_max"),
    ],
)
def test_scale_that_does_not_fit_is_refused(table, text, options, message):
    with pytest.raises(ValueError, match=message):
        load(table(text), **options)


# Bad rows and bad files


def test_bad_rows_are_dropped_and_named_by_line(table, caplog):
    text = (
        "path,mos,content\n"
        "a.mp4,4,x\n"
        "b.mp4,,x\n"  # line 3
        "\n"
        "c.mp4,good,y\n"  # line 5
        "gone.mp4,3,y\n"
        "d.mp4,nan,y\n"
        "./a.mp4,2,y\n"
        "e.mp4,3,\n"
        ",3,z\n"
        "f.mp4,3,z,more,cells\n"
        "b.mp4,1,y\n"
    )
    path = table(text, videos=[f"{c}.mp4" for c in "abcdef"])
    dataset = load_table(path)
    assert dataset["score"][:] == [4, 1]
    dropped = caplog.records[0].getMessage()
    assert "8 of 10 rows dropped: line 3: has no score; line 5: score 'good' is not a number; " in dropped
    assert "line 11: 5 cells under 3 column names" in dropped and dropped.endswith("; ...")


def test_duplicate_says_that_the_scores_differ(table, caplog):
    load(table("path,mos,content\na,4,x\nb,1,y\n./a,2,x\n"))
    assert "line 4: is the same video as line 2, where the score is 4, not 2" in caplog.text


def test_lines_are_counted_through_quoted_line_breaks(table, caplog):
    load(table('path,mos,content,note\na,4,x,"two\nlines"\nb,bad,y,\nc,2,z,\n'))
    assert "line 4: score 'bad'" in caplog.text


def test_bad_json_line_is_named(table, caplog):
    dataset = load(
        table('{"path": "a", "mos": 3, "ref": "x"}\n{oops\n[1]\n{"path": "b", "mos": true, "ref": "y"}', "t.jsonl")
    )
    assert len(dataset) == 1
    for problem in ("line 2: is not JSON", "line 3: is not a JSON object", "line 4: score 'True' is not a number"):
        assert problem in caplog.text


def test_a_split_that_would_be_empty_is_an_error(table):
    path = table("path,mos,content,split\na,1,x,train\nb,2,y,test\n", videos=["a"])
    with pytest.raises(ValueError, match="no usable row is left in split test: line 3: there is no video"):
        load_table(path)


def test_unknown_split_name_is_named(table, caplog):
    dataset = load(table("path,mos,content,subset\na,1,x,Training\nb,2,y,valid\nc,2,z,hold-out\n"))
    assert dataset["split"][:] == ["train", "validation"]
    assert "line 4: split 'hold-out' is none of train, validation, test" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", " \n\n", "is empty"),
        ("t.csv", "path,mos,content\n", "no rows"),
        ("t.csv", "path,mos,mos,content\na,1,2,x\n", "two columns are called 'mos'"),
        ("t.csv", "path,mos,content\na,x,x\nb,,y\n", "none of its 2 rows can be used: line 2: score 'x'"),
        ("t.csv", 'path,mos,content\n"a,1,x\nb,2,y\n', "starts in line 2 cannot be read"),
        ("t.csv", b"PK\x03\x04\x00\x00xlsx", "not a text table"),
        ("t.parquet", "path,mos\n", "not a readable Parquet file"),
    ],
)
def test_bad_file_is_refused_by_name(table, name, content, message):
    path = table(content, name)
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)


def test_missing_table_and_folder(tmp_path):
    for path, message in ((tmp_path / "no.csv", "no such table"), (tmp_path, "is a folder")):
        with pytest.raises(FileNotFoundError, match=message):
            load(path)


def test_function_that_fails_names_the_row(table, caplog):
    dataset = load(table("n,mos,content\n1,3,x\none,2,y\n"), video_column=lambda row: f"{int(row['n']):03d}.mp4")
    assert len(dataset) == 1 and "line 3: invalid literal" in caplog.text


def test_probe_reads_size_and_codec_and_drops_what_cannot_be_read(table, tmp_path, caplog):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    dataset = load_table(table("path,mos,content\na.mp4,4,x\nb.mp4,2,y\n", videos=["b.mp4"]), probe=True)
    assert [dataset[0][key] for key in ("codec", "width", "height")] == ["h264", 64, 48] and len(dataset) == 1
    assert "line 3: " in caplog.text and "b.mp4" in caplog.text


# The real tables


def test_bvi_hd_dmos(shared):
    dataset = load(shared / "labels" / "bvi_hd_hevc_dmos.csv")
    assert len(dataset) == 192 and len(set(dataset["content_id"])) == 32
    assert get_scale(dataset) == QualityScale(0, 100, False, "dmos")
    assert set(dataset["codec"]) == {"hevc"}
    assert min(dataset["score"]) < 0 and dataset["label"][1] == pytest.approx(-0.4444 / 100)
    best = min(range(192), key=dataset["score"][:].__getitem__)
    quality = [get_scale(dataset).to_quality(label) for label in dataset["label"]]
    assert max(range(192), key=quality.__getitem__) == best


WATERLOO_NAMES = ("Encoder", "Video Number", "Resolution", "Distortion Level", "MOS")
SIZES = {"540p": "960x540", "1080p": "1920x1080", "2160p": "3840x2160"}


def waterloo_path(row):
    return f"{row['Encoder']}/{int(row['Video Number']):02d}/{SIZES[row['Resolution']]}_{row['Distortion Level']}.mp4"


@pytest.mark.parametrize("header", [True, False])
def test_waterloo_with_and_without_header(shared, tmp_path, header):
    lines = (shared / "labels" / "waterloo_ivc_4k_scores.txt").read_text().splitlines(keepends=True)
    path = tmp_path / "scores.txt"
    path.write_text("".join(lines if header else lines[1:]))
    dataset = load(path, column_names=WATERLOO_NAMES, video_column=waterloo_path, content_pattern=r"^\w+/(\d+)/")
    assert len(dataset) == 1200 and sorted(set(dataset["content_id"])) == [f"{i:02d}" for i in range(1, 21)]
    assert dataset["video"][0] == str(tmp_path / "HEVC/01/960x540_1.mp4") and dataset["score"][0] == 18.21
    assert set(dataset["codec"]) == {"hevc", "h264", "vp9", "av1", "avs2"}
    assert get_scale(dataset) == QualityScale(0, 100, True, "mos")

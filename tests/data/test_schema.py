"""The scale of the scores: what it computes, and that it stays with the data set whatever is done to it."""

import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

import cvqa.data
from cvqa.data.schema import FEATURES, QualityScale, codec_name, get_scale, with_scale


DMOS = QualityScale(0, 100, higher_is_better=False, label_kind="dmos")
MOS = QualityScale(1, 5, higher_is_better=True, label_kind="mos")


@pytest.fixture
def dataset():
    rows = {name: ["a", "b", "c"] for name in FEATURES if FEATURES[name].dtype == "string"}
    rows |= {"score": [-4.0, 20.0, 90.0], "label": [0.0] * 3, "width": [64] * 3, "height": [32] * 3}
    return with_scale(datasets.Dataset.from_dict({name: rows[name] for name in FEATURES}, features=FEATURES), DMOS)


def test_label_keeps_the_published_direction_and_range():
    assert DMOS.to_label(-4.0) == pytest.approx(-0.04)
    assert MOS.to_label(np.array([1.0, 3.0, 5.0])).tolist() == [0.0, 0.5, 1.0]


def test_quality_is_0_to_100_and_higher_is_better_for_both_directions():
    assert MOS.to_quality(MOS.to_label(5.0)) == 100
    assert DMOS.to_quality(DMOS.to_label(0.0)) == 100
    assert DMOS.to_quality(np.array([0.25, 1.0])).tolist() == [75.0, 0.0]


def test_as_config_has_the_fields_of_the_model_configuration_as_plain_values():
    config = QualityScale(np.float32(1), 5, np.bool_(True), "mos").as_config()
    assert config == {"score_min": 1.0, "score_max": 5.0, "higher_is_better": True, "label_kind": "mos"}
    assert type(config["score_min"]) is float and type(config["higher_is_better"]) is bool


@pytest.mark.parametrize(
    "bad", [{"score_min": 5, "score_max": 1}, {"score_max": float("nan")}, {"score_max": 0}, {"label_kind": "stars"}]
)
def test_impossible_scale_is_refused(bad):
    with pytest.raises(ValueError, match=r"score_min < score_max|label_kind is one of"):
        QualityScale(**bad)


def test_with_scale_computes_labels_and_keeps_columns(dataset):
    assert dataset["label"][:] == pytest.approx([-0.04, 0.2, 0.9])
    assert dataset.column_names == list(FEATURES)
    other = with_scale(dataset.select([2, 0]), QualityScale(-10, 90, False, "dmos"))
    assert other["label"][:] == pytest.approx([1.0, 0.06])
    assert get_scale(other).score_min == -10


def test_with_scale_on_labels_alone_and_on_neither(dataset):
    labels = with_scale(dataset.remove_columns("score"), MOS)
    assert labels["label"][:] == pytest.approx([-0.04, 0.2, 0.9]) and get_scale(labels) == MOS
    with pytest.raises(ValueError, match="score or a label"):
        with_scale(dataset.select_columns(["video"]), MOS)


OPERATIONS = {
    "select": lambda d, _: d.select([2, 0]),
    "filter": lambda d, _: d.filter(lambda row: row["score"] > 0),
    "map adding a column": lambda d, _: d.map(lambda row: {"frames": b"x"}),
    "map writing the label": lambda d, _: d.map(lambda row: {"label": row["label"]}),
    "map of batches": lambda d, _: d.map(
        lambda b: {"n": [1] * len(b["label"])}, batched=True, remove_columns=["codec"]
    ),
    "sort": lambda d, _: d.sort("score"),
    "shuffle": lambda d, _: d.shuffle(seed=1),
    "train_test_split": lambda d, _: d.train_test_split(1, seed=0)["train"],
    "select_columns": lambda d, _: d.select_columns(["video", "label"]),
    "with_format": lambda d, _: d.with_format("numpy"),
    "concatenate": lambda d, _: datasets.concatenate_datasets([d, d.select([0])]),
    "interleave": lambda d, _: datasets.interleave_datasets([d, d]),
    "disk": lambda d, path: [d.save_to_disk(path), datasets.load_from_disk(path)][1],
    "parquet": lambda d, path: [
        d.to_parquet(path / "d.parquet"),
        datasets.Dataset.from_parquet(str(path / "d.parquet"), cache_dir=str(path / "cache")),
    ][1],
    "streaming": lambda d, _: d.to_iterable_dataset(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_scale_survives(operation, dataset, tmp_path):
    assert get_scale(OPERATIONS[operation](dataset, tmp_path)) == DMOS


def test_scale_survives_the_card_of_the_hub(dataset):
    read_back = datasets.Features._from_yaml_list(dataset.features._to_yaml_list())
    assert get_scale(datasets.Dataset.from_dict(dataset.to_dict(), features=read_back)) == DMOS


def test_scale_of_a_dataset_dict_and_its_folder(dataset, tmp_path):
    splits = with_scale(datasets.DatasetDict(train=dataset, test=dataset.select([0])), MOS)
    splits.save_to_disk(tmp_path / "saved")
    assert get_scale(splits) == get_scale(datasets.load_from_disk(tmp_path / "saved")) == MOS


def test_mixed_scales_are_refused(dataset):
    mixed = datasets.DatasetDict(train=dataset, test=with_scale(dataset, MOS))
    with pytest.raises(ValueError, match=r"train: DMOS from 0 to 100.*test: MOS from 1 to 5"):
        get_scale(mixed)
    with pytest.raises(ValueError):
        datasets.concatenate_datasets(list(mixed.values()))


def test_missing_scale_says_how_to_give_it(dataset):
    for without in (dataset.remove_columns("label"), datasets.Dataset.from_dict({"label": [0.5]})):
        with pytest.raises(ValueError, match=r"with_scale\(dataset"):
            get_scale(without)


@pytest.mark.parametrize(
    ("written", "codec"),
    [("HEVC", "hevc"), (" H.265 ", "hevc"), ("AVC", "h264"), ("H264", "h264"), ("SVT-AV1", "av1"), ("AVS2", "avs2")],
)
def test_codec_names_agree_across_tables(written, codec):
    assert codec_name(written) == codec


def test_importing_the_package_is_cheap():
    # An empty parent package: what `import cvqa` itself costs is not the question here.
    parent = Path(cvqa.data.__file__).parents[1]
    code = (
        f"import sys, types; cvqa = sys.modules['cvqa'] = types.ModuleType('cvqa'); cvqa.__path__ = [{str(parent)!r}];"
        "import cvqa.data; print('datasets' in sys.modules, 'numpy' in sys.modules);"
        "cvqa.data.load_quality_dataset; print('datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]

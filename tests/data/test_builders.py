"""The published sets as builders of `datasets`."""

import pytest
from datasets import disable_progress_bars

from cvqa import load_quality_dataset
from cvqa.data import builders, get_scale
from cvqa.data.loading import LOADERS


def test_every_published_set_has_one():
    sources = {builder.source for builder in builders.QualityBuilder.__subclasses__()}
    assert sources == set(LOADERS) - {"csv", "ladder", "hub"}


def test_waterloo_is_built_with_the_published_split_and_scale(shared, tmp_path):
    disable_progress_bars()
    scores = shared / "labels" / "waterloo_ivc_4k_scores.txt"
    builder = builders.WaterlooIvc4k(tmp_path, tmp_path / "cache", scores=scores, check_files=False)
    builder.download_and_prepare()
    built = builder.as_dataset()
    expected = load_quality_dataset("waterloo-ivc-4k", tmp_path, scores=scores, check_files=False)
    assert {name: split[:] for name, split in built.items()} == {name: split[:] for name, split in expected.items()}
    assert get_scale(built) == get_scale(expected) and len(built["test"]) == 240
    streamed = builder.as_streaming_dataset("test")
    assert [row["score"] for row in streamed] == expected["test"]["score"][:]


def test_a_video_that_came_later_is_noticed(tmp_path):
    disable_progress_bars()
    (tmp_path / "labels.txt").write_text("".join(f"{n}.mp4, -1, -1, {10 * n}\n" for n in range(6)))
    counts = []
    for there in (4, 6):
        for n in range(there):
            (tmp_path / f"{n}.mp4").touch()
        builder = builders.Lsvq(tmp_path, tmp_path / "cache")
        builder.download_and_prepare()
        counts.append(sum(map(len, builder.as_dataset().values())))
    assert counts == [4, 6]


def test_a_missing_table_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="no score table"):
        builders.BviHd(tmp_path)

from pathlib import Path

import numpy as np
import pytest
import torch
from real_clips import bad_files, encode, good_clips, panned, save_tiny_model, tiny_model

from cvqa.inference import ModelError, VideoScore, VideoScorer
from cvqa.models.video_scores import mean_and_interval
from cvqa.video import VideoError, VideoReader


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> VideoScorer:
    return VideoScorer.from_pretrained(save_tiny_model(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, Path]:
    return good_clips(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> dict[str, Path]:
    return bad_files(tmp_path_factory.mktemp("bad"))


class CountingReader(VideoReader):
    """Remembers which frames were decoded."""

    decoded: list[list[int]] = []

    def get_batch(self, indices):
        self.decoded.append([int(i) for i in indices])
        return super().get_batch(indices)


@pytest.fixture
def decoded(monkeypatch) -> list[list[int]]:
    monkeypatch.setattr("cvqa.inference.scorer.VideoReader", CountingReader)
    CountingReader.decoded = []
    return CountingReader.decoded


def test_every_kind_of_video_gets_a_score_within_its_interval(scorer, clips):
    for name, path in clips.items():
        result = scorer.score(path)
        assert result.error is None, name
        low, high = result.interval
        assert 0 <= low <= result.score <= high <= 100, name
        assert result.file == str(path) and result.codec and result.duration > 0, name


def test_facts_about_the_video_come_with_the_score(scorer, clips):
    result = scorer.score(clips["portrait"])
    assert (result.width, result.height, result.codec) == (96, 160, "h264")
    assert (result.fps, result.duration) == pytest.approx((25, 12 / 25))


TURNED = [lambda x: x, lambda x: x[:, :, ::-1], lambda x: x[:, ::-1], lambda x: x.transpose(0, 2, 1, 3)]


@pytest.mark.parametrize("orientations", [1, 2, 4])
def test_the_score_is_the_mean_of_what_the_model_says_of_each_view(clips, orientations):
    scorer = VideoScorer(*tiny_model(orientations))
    result = scorer.score(clips["h264"])
    assert len(result.views) == max(orientations, 3)
    with VideoReader(clips["h264"]) as reader:
        for number, view in enumerate(result.views):
            turn = TURNED[number % orientations]
            shown = np.flatnonzero((reader.timestamps >= view.start - 1e-6) & (reader.timestamps < view.end - 1e-6))
            indices = scorer.processor.frame_indices(len(reader), start=shown[0], end=shown[-1] + 1)
            frames = np.ascontiguousarray(turn(reader.get_batch(indices)))
            pixels = scorer.processor([frames], do_sample_frames=False, return_tensors="pt")
            with torch.inference_mode():
                alone = scorer.model.quality_score(scorer.model(**pixels).logits).item()
            assert view.score == pytest.approx(alone, abs=1e-3)
    assert len({view.score for view in result.views}) > 1
    assert result.score == pytest.approx(np.mean([view.score for view in result.views]))


def test_same_score_always_alone_among_others_and_with_segments(scorer, clips):
    alone = scorer.score(clips["h264"])
    among = list(scorer.score_many([clips["odd"], clips["h264"], clips["static"]]))[1]
    timed = scorer.score(clips["h264"], segments=0.4)
    again = VideoScorer(*tiny_model(), name=scorer.name).score(clips["h264"])
    assert alone == among == again
    assert (timed.score, timed.interval, timed.views) == (alone.score, alone.interval, alone.views)


def test_batches_as_on_a_gpu_give_the_same_scores(clips):
    alone, batched = VideoScorer(*tiny_model()), VideoScorer(*tiny_model())
    batched.batch_size = 4  # 3 views and 6 segments: the last batch is padded
    for one, other in zip(alone.score(clips["h264"], 0.4).segments, batched.score(clips["h264"], 0.4).segments):
        assert one == pytest.approx(other, abs=1e-3)


def test_different_videos_get_different_scores(scorer, clips):
    scores = {round(scorer.score(clips[name]).score, 4) for name in ("h264", "odd", "portrait")}
    assert len(scores) == 3


def test_orientations_change_the_score_but_no_segment(scorer, clips):
    one, other = (VideoScorer(*tiny_model(orientations)).score(clips["h264"], segments=0.4) for orientations in (1, 4))
    assert one.segments == other.segments
    assert one.score != other.score


def test_as_many_views_as_allowed_where_there_are_more_orientations(clips):
    result = VideoScorer(*tiny_model(4), max_views=3).score(clips["h264"])
    assert len(result.views) == 3


def test_views_of_a_still_picture_agree(scorer, clips):
    result = scorer.score(clips["static"])
    assert result.interval[1] - result.interval[0] < 1


def test_a_single_frame_leaves_the_interval_open(scorer, clips):
    assert scorer.score(clips["one_frame"]).interval == (0, 100)


def test_segments_cover_the_video_and_see_only_their_own_frames(scorer, tmp_path):
    one, other = panned(25), panned(25, name="coffee")
    halves = encode(tmp_path / "halves.mp4", np.concatenate([one, other]), crf=1)
    first, second = scorer.score(halves, segments=1.0).segments
    assert (first.start, first.end, second.start, second.end) == pytest.approx((0, 1, 1, 2))
    (alone,) = scorer.score(encode(tmp_path / "one.mp4", one, crf=1), segments=1.0).segments
    assert first.score == pytest.approx(alone.score, abs=1)
    assert abs(first.score - second.score) > 2


def test_segments_that_are_shorter_than_a_frame_are_refused(scorer, clips):
    with pytest.raises(VideoError, match="shorter than one frame"):
        scorer.score(clips["h264"], segments=0.01)


@pytest.mark.parametrize("orientations", [1, 4])
def test_each_frame_is_decoded_once_and_in_order_a_few_at_a_time(clips, decoded, orientations):
    scorer = VideoScorer(*tiny_model(orientations))
    scorer.score(clips["h264"], segments=0.3)
    indices = [index for batch in decoded for index in batch]
    assert indices == sorted(set(indices))
    assert max(map(len, decoded)) <= scorer.processor.num_frames


def test_a_long_video_costs_ten_views(scorer, tmp_path, decoded):
    long = encode(tmp_path / "long.mp4", panned(640, 64, 48))
    result = scorer.score(long)
    assert len(result.views) == 10
    assert sum(map(len, decoded)) == 80
    assert result.views[0].end < 3 and result.views[-1].start > 22


def test_progress_counts_clips_up_to_all_of_them(scorer, clips):
    seen = []
    scorer.score(clips["h264"], segments=0.5, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1))
    assert len({total for _, total in seen}) == 1


@pytest.mark.parametrize("kind", ["truncated", "cut", "empty", "text", "sound", "missing", "folder"])
def test_an_unreadable_file_is_named_with_the_reason(scorer, broken, kind):
    with pytest.raises(VideoError) as error:
        scorer.score(broken[kind])
    assert str(broken[kind]) in str(error.value) and error.value.reason


def test_hdr_video_is_refused_with_the_way_out(scorer, broken):
    with pytest.raises(VideoError, match=r"HDR video \(PQ\).*tone-map"):
        scorer.score(broken["hdr"])


def test_a_batch_goes_on_past_failures_in_order(scorer, clips, broken):
    paths = [broken["text"], clips["h264"], broken["missing"], clips["odd"], broken["sound"]]
    results = list(scorer.score_many(paths))
    assert [result.file for result in results] == [str(path) for path in paths]
    assert [result.error is None for result in results] == [False, True, False, True, False]
    for result in results:
        assert (result.score is None) == (result.error is not None)
        assert "\n" not in (result.error or "")


@pytest.mark.parametrize("bias", [float("nan"), float("inf")])
def test_a_model_that_gives_no_number_is_an_error_not_a_score(clips, bias):
    model, processor = tiny_model()
    torch.nn.init.constant_(model.head.bias, bias)
    with pytest.raises(VideoError, match="not a finite number"):
        VideoScorer(model, processor).score(clips["portrait"])


def test_interval_is_students_t_within_the_scale():
    mean, (low, high) = mean_and_interval([50.0, 52.0, 54.0, 56.0])
    assert mean == 53
    assert (low, high) == pytest.approx((53 - 4.1083, 53 + 4.1083), abs=1e-3)  # 3.1824 · 2.5820 / 2
    assert mean_and_interval([1.0, 99.0])[1] == (0, 100)
    assert mean_and_interval([42.0]) == (42, (0, 100))


def test_half_precision_weights_are_computed_in_full(clips, tmp_path):
    model, processor = tiny_model()
    model.half().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    scorer = VideoScorer.from_pretrained(tmp_path, device="cpu")
    assert scorer.model.dtype == torch.float32
    assert scorer.score(clips["portrait"]).error is None


def test_a_model_that_is_not_there_or_not_whole_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    headless = tmp_path / "headless"
    model, processor = tiny_model()
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
    model.save_pretrained(headless, state_dict=weights)
    processor.save_pretrained(headless)
    cut = save_tiny_model(tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:5000])
    whole = save_tiny_model(tmp_path / "whole")
    for place, reason in {
        tmp_path / "empty": "no config.json",
        tmp_path / "nowhere": "no such folder",
        "no-such-model": "no such folder",
        "no-such-org/no-such-model": "cannot load",
        headless: "lack head",
        cut: "cannot load",
    }.items():
        with pytest.raises(ModelError, match=reason) as error:
            VideoScorer.from_pretrained(place)
        assert str(place) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ModelError, match="toaster"):
        VideoScorer.from_pretrained(whole, device="toaster")


def test_a_result_can_be_made_without_scoring():
    assert VideoScore("a.mp4", error="gone").to_dict()["score"] is None

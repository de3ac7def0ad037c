from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvqa.models.video_views import equal_steps, frames_between, mirrored, spread_views


seconds = st.floats(0.01, 20000, allow_nan=False)


@settings(deadline=None)
@given(seconds, st.floats(0.5, 20))
def test_views_lie_within_the_video_in_order_and_their_number_is_bounded(duration, length):
    views = spread_views(duration, length, 10)
    assert 3 <= len(views) <= 10
    assert views == sorted(views)
    assert all(-1e-6 <= start < end <= duration + 1e-6 for start, end in views)


@pytest.mark.parametrize("duration", [3.0, 3.5, 10.0, 17.3, 20.0])
def test_up_to_twenty_lengths_views_cover_the_whole_video(duration):
    views = spread_views(duration, 1.0, 10)
    assert views[0][0] == pytest.approx(0)
    assert views[-1][1] == pytest.approx(duration)
    assert all(end == pytest.approx(start) for (_, end), (start, _) in pairwise(views))


def test_views_of_an_hour_are_ten_at_even_distances_half_a_share_from_its_ends():
    views = spread_views(3600.0, 2.0, 10)
    assert [start for start, _ in views] == pytest.approx([179 + 360 * i for i in range(10)])
    assert all(end - start == pytest.approx(2.0) for start, end in views)


def test_a_short_video_has_three_different_views_that_see_its_beginning_and_its_end():
    views = spread_views(1.0, 1.0, 10)
    times = np.arange(24) / 24
    ranges = [frames_between(times, *view) for view in views]
    assert len(set(ranges)) == 3
    assert ranges[0][0] == 0 and ranges[-1][1] == 24


@settings(deadline=None)
@given(seconds, st.floats(1, 100))
def test_steps_cover_the_video_and_only_the_last_differs_by_at_most_half(duration, step):
    steps = equal_steps(duration, step)
    assert steps[0][0] == 0 and steps[-1][1] == duration
    assert all(end == start for (_, end), (start, _) in pairwise(steps))
    assert all(abs(end - start - step) < 1e-6 for start, end in steps[:-1])
    assert steps[-1][1] - steps[-1][0] <= 1.5 * step + 1e-6
    assert len(steps) == 1 or steps[-1][1] - steps[-1][0] >= 0.5 * step - 1e-6


def test_steps_share_out_the_frames_by_their_time_stamps_each_frame_once():
    times = np.sort(np.random.default_rng(0).uniform(0, 5, 60))
    times[0] = 0
    ranges = [frames_between(times, *step) for step in equal_steps(5.0, 1.0)]
    assert [i for first, last in ranges for i in range(first, last)] == list(range(60))
    for (first, last), (start, end) in zip(ranges, equal_steps(5.0, 1.0)):
        assert ((times[first:last] >= start) & (times[first:last] < end)).all()


def test_where_no_frame_comes_on_display_it_is_the_one_that_stays():
    times = np.array([0.0, 0.5, 9.0])
    assert frames_between(times, 3.0, 4.0) == (1, 2)
    assert frames_between(times, 20.0, 21.0) == (2, 3)


def test_rounded_time_stamps_at_an_edge_belong_to_the_step_that_begins_there():
    times = np.arange(50) / 25 - 1e-9  # as differences of time stamps come out
    assert frames_between(times, 1.0, 2.0) == (25, 50)


@pytest.mark.parametrize(("length", "size"), [(5, 5), (5, 6), (5, 12), (3, 28), (1, 4)])
def test_a_side_is_continued_as_numpy_pads_it(length, size):
    before = (size - length) // 2
    assert (
        mirrored(length, size).tolist()
        == np.pad(np.arange(length), (before, size - length - before), "symmetric").tolist()
    )

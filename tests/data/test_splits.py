"""Splits share no content, whatever the numbers, and are the same everywhere."""

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st

from cvqa.data.splits import (
    SPLITS,
    check_copies,
    check_disjoint,
    folds,
    leave_one_out,
    leave_out,
    repeated,
    split_by_content,
)


def contents_of(split, content_ids):
    return {name: {content_ids[row] for row in rows} for name, rows in split.items()}


def assert_partition(split, content_ids):
    assert sorted(np.concatenate(list(split.values()))) == list(range(len(content_ids)))
    sides = contents_of(split, content_ids)
    assert sum(map(len, sides.values())) == len(set(content_ids))


@pytest.mark.parametrize(
    ("contents", "shares"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (5, (3, 1, 1)), (10, (6, 2, 2)), (20, (12, 4, 4))]
)
def test_shares_of_the_contents(contents, shares):
    ids = [f"c{i}" for i in range(contents) for _ in range(7)]
    for scores in (None, [i // 7 for i in range(len(ids))]):
        split = split_by_content(ids, scores=scores)
        assert_partition(split, ids)
        assert tuple(len(side) for side in contents_of(split, ids).values()) == shares


def test_fixed_outcome_on_every_platform():
    ids = [f"c{i}" for i in range(10)]
    sides = contents_of(split_by_content(ids, seed=0), ids)
    assert (sides["validation"], sides["test"]) == ({"c4", "c9"}, {"c1", "c6"})
    assert contents_of(split_by_content(ids, seed=1), ids) != sides


def test_order_of_rows_does_not_matter():
    ids = [f"c{i % 8}" for i in range(40)]
    backwards = ids[::-1]
    assert contents_of(split_by_content(ids), ids) == contents_of(split_by_content(backwards), backwards)


def test_every_content_gets_tested_by_some_seed():
    ids = [f"c{i}" for i in range(10)]
    for scores in (None, list(range(10))):
        tested = [contents_of(split_by_content(ids, seed=s, scores=scores), ids)["test"] for s in range(60)]
        assert set().union(*tested) == set(ids)


def test_stratified_splits_cover_the_range_of_scores():
    rng = np.random.default_rng(0)
    means = rng.permutation(np.linspace(0, 100, 50))
    ids = [f"c{i}" for i in range(50) for _ in range(3)]
    scores = [mean + offset for mean in means for offset in (-3, 0, 3)]
    for seed in range(10):
        for rows in split_by_content(ids, seed=seed, scores=scores).values():
            side = np.array(scores)[rows]
            assert abs(side.mean() - 50) < 6 and side.min() < 15 and side.max() > 85


def test_families_stay_together():
    ids = [f"c{i}" for i in range(24) for _ in range(2)]
    families = [f"f{int(c[1:]) // 3}" if int(c[1:]) < 18 else "" for c in ids]
    split = split_by_content(ids, families=families)
    assert_partition(split, ids)
    sides = [{families[row] for row in rows} - {""} for rows in split.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6
    assert len(contents_of(split, ids)["train"]) == pytest.approx(14.4, abs=2)


@pytest.mark.parametrize("singles", [2, 4])
def test_one_huge_family_goes_to_training(singles):
    ids = [f"c{i}" for i in range(30)]
    families = [None] * singles + ["film"] * (30 - singles)
    for seed in range(12):
        split = split_by_content(ids, seed=seed, families=families)
        assert_partition(split, ids)
        assert len(split["train"]) >= 30 - singles and len(split["validation"]) and len(split["test"])


def test_content_in_two_families_is_refused():
    with pytest.raises(ValueError, match="'a' is in two families: 'f' and 'g'"):
        split_by_content(["a", "a", "b", "c"], families=["f", "g", "", ""])


def test_too_few_contents_say_what_to_do():
    with pytest.raises(ValueError, match=r'2 content\(s\).*cannot fill 3 splits.*split="all"'):
        split_by_content(["a", "b", "a"])
    split = split_by_content(["a", "b", "a"], fractions=(0.5, 0, 0.5))
    assert_partition(split, ["a", "b", "a"])
    assert len(split["validation"]) == 0


@pytest.mark.parametrize("fractions", [(0.6, 0.2), (0.6, 0.2, 0.3), (1.2, -0.2, 0.0), (60, 20, 20)])
def test_wrong_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions are"):
        split_by_content(["a", "b", "c"], fractions)


def test_folds_test_every_content_once():
    ids = [f"c{i}" for i in range(11) for _ in range(4)]
    tested, validated = [], []
    for split in folds(ids, k=5, seed=3):
        assert list(split) == list(SPLITS)
        assert_partition(split, ids)
        tested += contents_of(split, ids)["test"]
        validated += contents_of(split, ids)["validation"]
    assert sorted(tested) == sorted(validated) == sorted(set(ids))


def test_folds_that_cannot_be():
    with pytest.raises(ValueError, match="k >= 3"):
        next(folds(["a", "b", "c"], k=2))
    with pytest.raises(ValueError, match="cannot fill 5 splits"):
        next(folds(["a", "b", "c"], k=5))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.floats(-1e6, 1e6)), min_size=1, max_size=60),
    st.integers(0, 10**9),
    st.integers(1, 6),
)
def test_any_rows_split_without_leak_or_are_refused(rows, seed, per_family):
    ids = [str(content) for content, _ in rows]
    families = [str(content // per_family) for content, _ in rows]
    try:
        split = split_by_content(ids, seed=seed, families=families, scores=[score for _, score in rows])
    except ValueError:
        assert len(set(families)) < 3
        return
    assert_partition(split, ids)
    assert all(len(side) for side in split.values())
    sides = [{families[row] for row in rows} for rows in split.values()]
    assert sum(map(len, sides)) == len(set(families))


def dataset(video, content, **more):
    return Dataset.from_dict({"video": video, "content_id": content, **more})


def test_shared_content_is_named_with_its_sides():
    leaky = DatasetDict(
        train=dataset(["/a.mp4", "/b.mp4"], ["Beauty", "Jockey"]),
        validation=dataset(["/c.mp4"], ["Bosphorus"]),
        test=dataset(["/d.mp4"], ["Jockey"]),
    )
    with pytest.raises(ValueError, match=r"content.*Jockey is in test and train"):
        check_disjoint(leaky)
    del leaky["test"]
    check_disjoint(leaky)


def test_one_file_on_two_sides_is_seen_through_links(tmp_path):
    clip, link = tmp_path / "clip.mp4", tmp_path / "link.mp4"
    clip.write_bytes(b"x")
    link.symlink_to(clip)
    with pytest.raises(ValueError, match=r"file.*clip\.mp4 is in test and train"):
        check_disjoint(DatasetDict(train=dataset([str(clip)], ["a"]), test=dataset([str(link)], ["b"])))


def test_shared_family_is_seen():
    splits = DatasetDict(train=dataset(["/a"], ["a"], family=["film"]), test=dataset(["/b"], ["b"], family=["film"]))
    with pytest.raises(ValueError, match=r"family.*film"):
        check_disjoint(splits)
    blank = DatasetDict(train=dataset(["/a"], ["a"], family=[""]), test=dataset(["/b"], ["b"], family=[""]))
    check_disjoint(blank)


def three_codecs() -> DatasetDict:
    codecs = ["h264", "hevc", "av1"]
    return DatasetDict(
        {
            name: Dataset.from_dict(
                {"video": [f"{name}_{c}.mp4" for c in codecs], "codec": codecs, "height": [360, 720, 720]}
            )
            for name in SPLITS
        }
    )


def test_what_is_left_out_is_only_tested():
    splits = leave_out(three_codecs(), codec="av1")
    assert {name: split["codec"][:] for name, split in splits.items()} == {
        "train": ["h264", "hevc"],
        "validation": ["h264", "hevc"],
        "test": ["av1"],
    }
    both = leave_out(three_codecs(), codec="av1", height=720)
    assert both["test"]["video"][:] == ["test_av1.mp4"] and len(both["train"]) == 2


def test_what_cannot_be_left_out_is_told_with_what_can():
    with pytest.raises(ValueError, match="cannot leave out codec 'vp9': there is 'av1', 'h264', 'hevc'"):
        leave_out(three_codecs(), codec="vp9")
    with pytest.raises(ValueError, match="no such column"):
        leave_out(three_codecs(), encoder="vp9")
    with pytest.raises(ValueError, match="the train split is empty"):
        leave_out(three_codecs().filter(lambda row: row["codec"] == "av1"), codec="av1")


def test_a_copy_under_another_name_is_found(tmp_path):
    data = bytes(range(256)) * 2000
    for name, content in {
        "a.mp4": data,
        "b.mp4": data[:-1] + b"x",
        "c.mp4": data[:300_000] + b"y" + data[300_001:],
    }.items():
        (tmp_path / name).write_bytes(content)
    train = Dataset.from_dict({"video": [str(tmp_path / "a.mp4"), str(tmp_path / "gone.mp4")]})
    test = Dataset.from_dict({"video": [str(tmp_path / "b.mp4"), str(tmp_path / "c.mp4")]})
    check_copies({"train": train, "test": test})
    (tmp_path / "b.mp4").write_bytes(data)
    with pytest.raises(ValueError, match=r"1 file\(s\) are copies .*b.mp4 \(test\) is .*a.mp4 \(train\)"):
        check_copies({"train": train, "test": test})


def test_repeated_splits_differ_and_come_back_by_seed():
    contents = [f"c{n // 4}" for n in range(80)]
    first, again = (list(repeated(contents, 5, seed=3)) for _ in range(2))
    assert len({tuple(split["test"]) for split in first}) == 5
    for split, same in zip(first, again, strict=True):
        assert all(np.array_equal(split[name], same[name]) for name in SPLITS)
        assert {contents[row] for row in split["train"]}.isdisjoint(contents[row] for row in split["test"])
    assert np.array_equal(first[1]["test"], split_by_content(contents, seed=4)["test"])


def test_each_codec_is_left_out_in_turn_and_what_is_not_known_is_passed_over():
    rows = [{"content_id": f"c{n}", "codec": codec} for n in range(6) for codec in ("av1", "h264", "")]
    data = Dataset.from_list(rows)
    splits = DatasetDict({name: data.select(range(6 * n, 6 * n + 6)) for n, name in enumerate(SPLITS)})
    found = dict(leave_one_out(splits, "codec"))
    assert list(found) == ["av1", "h264"]
    for codec, held in found.items():
        assert set(held["test"]["codec"]) == {codec} and codec not in held["train"]["codec"]
    with pytest.raises(ValueError, match="no column 'encoder'"):
        next(leave_one_out(splits, "encoder"))

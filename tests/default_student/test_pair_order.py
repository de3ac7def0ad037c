"""The order of encodes of one content, counted by hand."""

from cvqa.default_student.pair_order import order_sentences, pairs_in_order


def rows(content: str, *scores: tuple[float, float]) -> list[dict]:
    return [{"content_id": content, "vmaf": vmaf, "predicted": predicted} for vmaf, predicted in scores]


def test_pairs_are_of_one_content_and_counted_from_every_gap_on():
    table = rows("a", (90, 80), (50, 60), (88, 85)) + rows("b", (40, 30), (20, 30)) + rows("c", (70, 1))
    all_pairs, apart, far = pairs_in_order(table, gaps=(0, 3, 39))
    assert all_pairs == {"gap": 0, "pairs": 4, "share": 0.5}  # 90 before 88 is wrong, and equal scores have no order
    assert apart == {"gap": 3, "pairs": 3, "share": 2 / 3}
    assert far == {"gap": 39, "pairs": 1, "share": 1.0}


def test_encodes_that_vmaf_does_not_tell_apart_are_no_pair():
    (found,) = pairs_in_order(rows("a", (50, 10), (50, 20)), gaps=(0,))
    assert found["pairs"] == 0 and order_sentences([found]) == []

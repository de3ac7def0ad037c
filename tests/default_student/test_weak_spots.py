"""Weak spots are the groups that are farther off than the rest; nothing is said of the others."""

from cvqa.default_student.weak_spots import weak_groups


def rows(number: int, error: float, vmaf: float = 70.0, **columns) -> list[dict]:
    return [{"content_id": f"c{n}", "vmaf": vmaf, "predicted": vmaf + error, **columns} for n in range(number)]


def test_groups_that_are_off_are_told_with_their_figures_the_worst_first():
    test = [
        *rows(40, 1.0, codec="h264", soft=0),
        *rows(12, -20.0, codec="av1", soft=1),
        *rows(11, 14.0, vmaf=12.0, codec="h264", soft=0),
        *rows(3, 40.0, codec="mpeg4", soft=0),  # too few to tell
        *rows(10, 2.0, vmaf=100.0, codec="h264", preset="8", encoder="svtav1"),
    ]
    assert weak_groups(test, {}) == [
        "- **Soft sources, which look compressed before they are** (12 encodes of 12 contents): scores are 20 points "
        "too low on average, and off by 20.",
        "- **Codec av1** (12 encodes of 12 contents): scores are 20 points too low on average, and off by 20.",
        "- **VMAF of 0 to 20** (11 encodes of 11 contents): scores are 14 points too high on average, and off by 14.",
    ]


def test_every_kind_that_training_left_out_is_told_and_where_it_is_bad():
    left_out = {"preset:ultrafast": [*rows(4, 0.2), *rows(2, 66.0, vmaf=15.0)], "codec:vvc": rows(1, 4.0)}
    assert weak_groups(rows(20, 0.1), left_out) == [
        "- **The preset `ultrafast`**, which training left out (6 encodes of 4 contents): scores are 22 points too "
        "high on average, and off by 22; where VMAF is below 40 (2 encodes of 2 contents), scores are 66 points too "
        "high on average, and off by 66.",
        "- **VVC**, which training left out (1 encode of 1 content): scores are 4 points too high on average, and off "
        "by 4.",
    ]


def test_of_many_groups_the_worst_are_told():
    test = [row for number in range(20) for row in rows(10, -6.0 - number, codec=f"codec{number}")]
    told = [sentence for sentence in weak_groups(test, {}) if "Codec" in sentence]
    assert told[0].startswith("- **Codec codec19** (10 encodes of 10 contents): scores are 25 points too low")
    assert len(weak_groups(test, {})) == 8

"""How often the better of two encodes of one content gets the higher score, by how far apart they are.

SRCC within a content counts the wrong order of two encodes that nobody can tell apart like any other; this does not.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations


GAPS = (0.0, 3.0, 10.0)  # points of VMAF


def pairs_in_order(rows: Sequence[Mapping[str, object]], gaps: Sequence[float] = GAPS) -> list[dict]:
    """Of every gap, the pairs of rows of one content whose `vmaf` is more than so far apart, and the share of them
    whose `predicted` has the same order; equal scores have none.

    Args:
        rows: with `content_id`, `vmaf` and `predicted`, both from 0 to 100.
    """
    contents: dict[object, list] = {}
    for row in rows:
        contents.setdefault(row["content_id"], []).append((row["vmaf"], row["predicted"]))
    differences = [
        (better[0] - worse[0], better[1] - worse[1])
        for encodes in contents.values()
        for worse, better in combinations(sorted(encodes), 2)
    ]
    found = []
    for gap in gaps:
        rises = [rise for apart, rise in differences if apart > gap]
        found.append({"gap": gap, "pairs": len(rises), "share": sum(rise > 0 for rise in rises) / max(len(rises), 1)})
    return found


def order_sentences(found: Sequence[Mapping]) -> list[str]:
    """The same as lines of Markdown."""
    return [
        f"- {'all' if each['gap'] == 0 else 'more than {:g} points apart'.format(each['gap'])}: {each['share']:.1%} of "
        f"{each['pairs']:,} pairs"
        for each in found
        if each["pairs"]
    ]

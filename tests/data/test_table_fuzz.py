"""Whatever stands in a table: a data set in the schema, or a ValueError that names the file."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvqa.data.schema import FEATURES
from cvqa.data.table import load_table


CELLS = st.one_of(
    st.sampled_from(
        ["", "a.mp4", "b.mp4", "../c", "4.5", "-1", "1e3", "nan", "3,5", '"', '""', "x", "\\", "\u2028", "a\rb"]
    ),
    st.text(max_size=8),
)


def loads_or_refuses(path):
    try:
        dataset = load_table(path, check_files=False)
    except ValueError as error:
        assert str(path) in str(error)
        return
    assert dataset.column_names[: len(FEATURES)] == list(FEATURES) and len(dataset) > 0
    assert len(set(dataset["video"])) == len(dataset)
    assert all(dataset["content_id"]) and all(abs(label) < 2 for label in dataset["label"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    logging.disable(logging.WARNING)
    yield tmp_path_factory.mktemp("fuzz")
    logging.disable(logging.NOTSET)


FUZZ = settings(max_examples=150, deadline=None, derandomize=True)


@FUZZ
@given(st.lists(st.lists(CELLS, max_size=5), max_size=8), st.sampled_from(",;\t|"), st.booleans())
def test_any_delimited_text(folder, rows, delimiter, header):
    first = [delimiter.join(("path", "mos", "content", "extra"))] if header else []
    path = folder / "fuzz.csv"
    path.write_text("\n".join([*first, *(delimiter.join(row) for row in rows)]), encoding="utf-8", errors="replace")
    loads_or_refuses(path)


@FUZZ
@given(st.binary(max_size=200), st.booleans(), st.sampled_from([".csv", ".jsonl", ".parquet"]))
def test_any_bytes(folder, data, header, suffix):
    path = folder / f"fuzz{suffix}"
    path.write_bytes((b"path,mos,content\n" if header else b"") + data)
    loads_or_refuses(path)


JSON_CELLS = st.one_of(CELLS, st.none(), st.booleans(), st.integers(), st.floats(), st.lists(st.none(), max_size=1))


@FUZZ
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["path", "mos", "content", "std", "width", "frames", "label", "z"]), JSON_CELLS
        ),
        max_size=6,
    )
)
def test_any_json_lines(folder, rows):
    path = folder / "fuzz.ndjson"
    path.write_text("\n".join(map(json.dumps, rows)))
    loads_or_refuses(path)

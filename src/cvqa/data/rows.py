"""Tables of any usual file type as rows of cells, each with the place where it stands."""

import csv
import io
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


logger = logging.getLogger(__name__)

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")


class Row(NamedTuple):
    place: str  # "line 7"
    cells: dict[str, Any]  # column name -> text, number or None
    problem: str = ""  # why the row could not be read; empty if it could


def read_rows(
    path: Path, column_names: Sequence[str] | None = None, delimiter: str | None = None
) -> tuple[list[str], list[Row]]:
    """Read a table: delimited text, JSON Lines (.jsonl, .ndjson) or Parquet (.parquet).

    Args:
        column_names: names for a text table without a header line. If the first line holds these names it is still
            taken as the header, so the same call reads copies of one table with and without it.
        delimiter: of delimited text; guessed from the first line if None (comma, semicolon, tab, bar).

    Returns:
        Column names and rows. A row that cannot be read is returned with its `problem`.

    Raises:
        FileNotFoundError, ValueError: naming the file and what is wrong with it as a whole.
    """
    if not path.is_file():
        what = "is a folder; give the table in it" if path.is_dir() else "there is no such table"
        raise FileNotFoundError(f"{path}: {what}")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        names, rows = _read_parquet(path)
    elif suffix in (".jsonl", ".ndjson"):
        names, rows = _read_json_lines(path)
    else:
        names, rows = _read_delimited(path, column_names, delimiter)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: two columns are called {repeated[0]!r}")
    if not rows:
        raise ValueError(f"{path}: holds no rows")
    return names, rows


def _read_delimited(path: Path, column_names, delimiter) -> tuple[list[str], list[Row]]:
    text = _text(path)
    lines = text.splitlines()
    if not lines:
        raise ValueError(f"{path}: is empty")
    delimiter = delimiter or _guess_delimiter(next((line for line in lines if line.strip()), "")[:10_000])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    records = []
    while True:
        line = reader.line_num + 1
        try:
            record = [cell.strip() for cell in next(reader)]
        except StopIteration:
            break
        except csv.Error as error:
            raise ValueError(f"{path}: the record that starts in line {line} cannot be read: {error}") from error
        if any(record):
            records.append((line, record))
    if not records:
        raise ValueError(f"{path}: is empty")

    names = [str(name) for name in column_names] if column_names else records[0][1]
    if not column_names or [cell.casefold() for cell in records[0][1]] == [name.casefold() for name in names]:
        records = records[1:]
    rows = []
    for line, record in records:
        problem = f"{len(record)} cells under {len(names)} column names" if any(record[len(names) :]) else ""
        cells = {name: cell for name, cell in zip(names, record) if name}
        rows.append(Row(f"line {line}", cells, problem))
    return [name for name in names if name], rows


def _guess_delimiter(line: str) -> str:
    def columns(delimiter):
        return len(next(csv.reader([line], delimiter=delimiter)))

    return max(",;\t|", key=columns)


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            logger.warning("%s: is not UTF-8; read as Windows-1252", path)
            text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise ValueError(f"{path}: is not a text table; save it as CSV, TSV, JSON Lines or Parquet")
    return text


def _read_json_lines(path: Path) -> tuple[list[str], list[Row]]:
    names: dict[str, None] = {}
    rows = []
    # Not splitlines(): JSON strings may hold the other line breaks of Unicode unescaped.
    for line, text in enumerate(_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            cells = json.loads(text)
        except (ValueError, RecursionError) as error:
            rows.append(Row(f"line {line}", {}, f"is not JSON: {error}"))
            continue
        if not isinstance(cells, dict):
            rows.append(Row(f"line {line}", {}, "is not a JSON object"))
            continue
        rows.append(Row(f"line {line}", {_clean(name): _scalar(value) for name, value in cells.items()}))
        names.update(dict.fromkeys(rows[-1].cells))
    return list(names), rows


def _read_parquet(path: Path) -> tuple[list[str], list[Row]]:
    import pyarrow
    from pyarrow import parquet, types

    try:
        schema = parquet.read_schema(path)
        plain = [
            field.name
            for field in schema
            if types.is_primitive(field.type) or types.is_string(field.type) or types.is_large_string(field.type)
        ]
        table = parquet.read_table(path, columns=plain)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: is not a readable Parquet file: {error}") from error
    rows = [
        Row(f"row {number}", {name: _scalar(value) for name, value in cells.items()})
        for number, cells in enumerate(table.to_pylist(), start=1)
    ]
    return plain, rows


def _scalar(value):
    """A cell as text, number or None; nested values and NaN count as missing."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list | dict) or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def _clean(text: str) -> str:
    """JSON can spell half a surrogate pair, which no file name or Arrow string can hold."""
    return text.strip().encode("utf-8", errors="replace").decode()

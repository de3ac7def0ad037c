"""Shared fixtures. Reference material (golden numbers, source clips) lies where CVQA_SHARED points."""

import os
from pathlib import Path

import pytest
from hypothesis import settings


# Tiny tensors gain nothing from threads, which only wait for each other on a busy machine; and sums come out the same
# to the last bit only where as many threads add in the processes that tests start as here.
os.environ["OMP_NUM_THREADS"] = "1"

# How long an example takes tells how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(os.environ.get("CVQA_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"reference material not found at {folder}; set CVQA_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    return shared / "golden"


@pytest.fixture(scope="session")
def sources(shared: Path) -> Path:
    return shared / "sources"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return Path(__file__).parent / "fixtures"

import pytest
from distillation.tiny import make_clips


@pytest.fixture(scope="session")
def clips():
    return make_clips()

"""The published sets as builders of `datasets`: `Waterloo(data_dir=...).download_and_prepare()`, then `.as_dataset()`.

They hold the rows of `load_quality_dataset`, whose options they take, in the cache of `datasets`: no videos, since
nobody but the owners may hand these out.
"""

import os

from datasets import DatasetInfo, GeneratorBasedBuilder, SplitGenerator

from .frame_store import digest
from .loading import load_quality_dataset
from .splits import fingerprint


class QualityBuilder(GeneratorBasedBuilder):
    """
    Args:
        data_dir: where the data set lies.
        cache_dir: of `datasets`.
        options: of `load_quality_dataset`. What they, the table and the videos come to is part of the name of what is
            kept, so that a completed download is noticed.
    """

    source: str  # name for load_quality_dataset

    def __init__(self, data_dir: str | os.PathLike, cache_dir: str | None = None, **options):
        self._rows = load_quality_dataset(self.source, data_dir, **options)
        columns = next(iter(self._rows.values())).features
        kept = digest([fingerprint(self._rows), str(columns)])
        super().__init__(cache_dir=cache_dir, data_dir=os.fspath(data_dir), hash=kept)

    def _info(self) -> DatasetInfo:
        return DatasetInfo(features=next(iter(self._rows.values())).features)

    def _split_generators(self, dl_manager) -> list[SplitGenerator]:
        return [SplitGenerator(name, gen_kwargs={"split": name}) for name in self._rows]

    def _generate_examples(self, split: str):
        yield from enumerate(self._rows[split])


class BviHd(QualityBuilder):
    source = "bvi-hd"


class WaterlooIvc4k(QualityBuilder):
    source = "waterloo-ivc-4k"


class Kvq(QualityBuilder):
    source = "kvq"


class Cvqad(QualityBuilder):
    source = "cvqad"


class Lsvq(QualityBuilder):
    source = "lsvq"


class Konvid1k(QualityBuilder):
    source = "konvid-1k"

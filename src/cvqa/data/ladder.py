"""Build encoding ladders: sources, encoded at falling qualities by several encoders and labelled with VMAF.

A ladder is a folder:

    manifest.csv     one row per encode (`COLUMNS`), written whole, again and again while the ladder grows
    ladder.json      settings and tool versions of the last run
    references/      every source, stored without loss as what its encodes are made from and judged against
    encodes/         one folder per source
    progress.jsonl   every finished piece of work, so that a run that was killed goes on where it stopped
"""

import os
import platform
import shutil
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..files import csv_text, json_text, write_text
from ..video.encoders import ENCODERS
from ..video.encoding import ffmpeg_version
from ..video.photographs import SHARPNESS_THRESHOLD
from ..video.vmaf import full_reference_scores
from .ladder_estimate import estimate, measured_rate, pixels_of
from .ladder_log import LadderLog, identity
from .ladder_sources import Source, find_sources, with_takes
from .ladder_work import LadderSettings, make_encode, make_reference


COLUMNS = (
    *("video", "reference", "score", "content_id", "family", "codec", "encoder", "preset", "rate_control", "level"),
    *("width", "height", "encoded_width", "encoded_height", "scaler", "fps", "frames", "frame_step", "bit_depth"),
    *("first_encoder", "first_level", "bytes", "bitrate_kbps", "psnr", "ssim", "vmaf_min", "vmaf_frames", "vmaf_model"),
    *("sharpness", "soft", "error"),
)
"""Columns of manifest.csv. `score` is VMAF, of the frames in the file `video` at the size that they have there, against
every `frame_step`-th frame of the pristine `reference`, whatever lies between.

`rate_control` tells what `level` is: CRF, QP or the target in kbit/s. `width` and `height` are those of the file and of
the reference; a down-scaled encode (`scaler` is the filter) was made at `encoded_width` and `encoded_height`, and its
`codec`, `encoder` and `bitrate_kbps` are those of the encode, while the file holds it scaled back (bicubic), with next
to no loss, as H.264 of so many `bytes`. `first_encoder` and `first_level` (CRF) are of the encode that was encoded
again. `psnr` (dB) and `ssim` are of luma, `vmaf_frames` is a JSON list. `soft` is 1 where the source's `sharpness` is
below `SHARPNESS_THRESHOLD`. `error` says why a piece of work failed (it has no score then)."""

SECONDS_BETWEEN_MANIFESTS = 30


def build_ladder(
    sources: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    families: str | os.PathLike | None = None,
    workers: int | None = None,
    limit: int | None = None,
    report: Callable[[str], None] | None = None,
    **settings,
) -> "LadderSummary":
    """Encode every source at many qualities, in the ways that a recipe lists, and label each encode with its VMAF.

    Photographs become clips of `num_frames` frames by `pan_and_zoom`, of `size` or, where they are too small for it,
    of less, never enlarged. Clips keep their size (odd sizes lose a column or row) and their first `max_frames`
    frames, at their average frame rate. Work that the folder holds already is kept, so that a killed run is resumed
    by the same call, and a call with other sources or settings adds to the ladder. A piece of work that fails is
    listed with its reason, and the rest goes on. Sources are taken in a random order that only the seed decides.

    Args:
        sources, families: see `find_sources`.
        out: the ladder's folder; only one run at a time may work on it.
        workers: encodes at a time, one core each; all cores if None.
        limit: take only so many sources.
        report: is told how much there is to do and, where no progress bar can be shown, now and then how far it is.
        recipe: kinds of encodes: a name in `RECIPES`, a JSON file, or a list of `Kind` or dict.
        encodes_per_source: drawn from the recipe, anew for every source.
        size, num_frames: of clips made from photographs, (width, height); of several sizes each gets one, by chance.
        takes: clips that are made from every photograph, each by a camera that shows as little as can be of what the
            others do, each a content of its own (`NAME_take2`, ...) in the photograph's family. The first stays as it
            is without the others.
        max_frames: of other clips.
        seed: of camera paths, sizes, encodes and order.
        model: VMAF model, see `full_reference_scores`.

    Raises:
        ValueError, FileNotFoundError: a setting is out of its range, or there is no source.
    """
    start = time.monotonic()
    settings = LadderSettings(**settings)
    out = Path(out)
    found = find_sources(sources, families, leave_out=out)
    found = sorted(found, key=lambda source: zlib.crc32(f"{settings.seed} {source.name}".encode()))[:limit]
    found = with_takes(found, settings.takes)
    run = _Run(out, settings, report or (lambda text: None))
    run.work_through(found, workers or os.cpu_count() or 1)
    return LadderSummary(
        folder=out,
        reused=run.reused,
        seconds=time.monotonic() - start,
        rows=list(run.log.encodes()),
        failures=[f"{row.get('video', row['reference'])}: {row['error']}" for row in run.failures],
    )


def label_encodes(
    pairs: Iterable[tuple[str | os.PathLike, str | os.PathLike]],
    model: str = "vmaf_v0.6.1",
    workers: int | None = None,
) -> Iterator[dict]:
    """Score encodes that exist already: (distorted, reference) pairs, in order, failures included.

    Yields rows `video, reference, score, vmaf_min, psnr, ssim, frames, vmaf_model, error`; with an `error` text the
    scores are None.
    """
    names = ("vmaf_min", "psnr", "ssim", "frames")

    def label(pair) -> dict:
        distorted, reference = map(str, pair)
        row = {"video": distorted, "reference": reference, "vmaf_model": model, "error": None}
        try:
            scores = full_reference_scores(distorted, reference, model)
        except (ValueError, OSError) as error:
            return {**row, "score": None, **dict.fromkeys(names), "error": str(error)}
        return {**row, "score": scores["vmaf"], **{name: scores[name] for name in names}}

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        yield from pool.map(label, pairs)


@dataclass
class LadderSummary:
    """What a run of `build_ladder` left behind; `str()` of it is a short report."""

    folder: Path
    reused: int  # encodes that were there already
    seconds: float
    rows: list[dict]  # of the manifest, failures left out
    failures: list[str]  # what failed: reason

    @property
    def contents(self) -> list[str]:
        return sorted({row["content_id"] for row in self.rows})

    def __str__(self) -> str:
        edges = [0, 20, 40, 60, 70, 80, 90, 95, 100]
        lines = [
            f"{self.folder}: {len(self.rows)} encodes of {len(self.contents)} contents ({self.reused} were there "
            f"before), {self.seconds:.0f} s, {len(self.failures)} failures",
            f"{'VMAF':8s}" + "".join(f"{f'{low}-{high}':>8s}" for low, high in pairwise(edges)) + "    mean",
        ]
        for encoder in sorted({row["encoder"] for row in self.rows}):
            scores = [row["score"] for row in self.rows if row["encoder"] == encoder]
            counts = np.histogram(scores, edges)[0]
            lines.append(f"{encoder:8s}" + "".join(f"{count:8d}" for count in counts) + f"{np.mean(scores):8.1f}")
        if soft := sorted({row["content_id"] for row in self.rows if row["soft"]}):
            lines.append(f"soft sources (sharpness below {SHARPNESS_THRESHOLD}): {', '.join(soft)}")
        return "\n".join([*lines, *(f"failed: {failure}" for failure in self.failures)])


@dataclass
class _Job:
    """A file of the ladder that is to be there."""

    file: str  # relative to the ladder's folder
    recipe: dict
    make: Callable[[], dict]  # runs in a thread; its result is logged
    then: Callable[[dict], list["_Job"]]  # what to do with the result
    encodes: int  # that are lost if it fails
    row: dict  # of the manifest, if it fails
    labels: dict = field(default_factory=dict)  # of this run, whatever the result of an earlier one says


class _Run:
    """One run over a ladder's folder. ffmpeg's processes do the work, so threads are enough to keep all cores busy."""

    def __init__(self, out: Path, settings: LadderSettings, report: Callable[[str], None]):
        self.out, self.settings, self.report = out, settings, report
        self.log = LadderLog(out)
        self.failures: list[dict] = []  # rows of the manifest
        self.reused = 0
        for leftover in [*out.glob("references/.*.part.*"), *out.glob("encodes/*/.*.part.*")]:
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
        write_text(out / "ladder.json", json_text(_description(settings)))

    def work_through(self, sources: list[Source], workers: int) -> None:
        self.report(self._estimate(sources, workers))
        waiting = deque(self._reference_job(source) for source in sources)
        running: dict[Future, _Job] = {}
        written = time.monotonic()
        pool = ThreadPoolExecutor(workers)
        total, done = sum(job.encodes for job in waiting), 0
        with tqdm(total=total, unit="encode", disable=None) as progress:
            try:
                while waiting or running:
                    while waiting and len(running) < workers:
                        job = waiting.popleft()
                        known = self.log.find(job.file, job.recipe)
                        running[pool.submit(job.make if known is None else lambda known=known: known)] = job
                        self.reused += known is not None and "level" in job.row
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        job = running.pop(future)
                        following = self._finish(job, future)
                        waiting.extendleft(reversed(following))  # first: contents are finished one after the other
                        settled = job.encodes - sum(after.encodes for after in following)
                        progress.update(settled)
                        done += settled
                    if time.monotonic() - written > SECONDS_BETWEEN_MANIFESTS:
                        self.write_manifest()
                        written = time.monotonic()
                        if progress.disable:
                            self.report(f"{done} of {total} encodes")
            finally:
                pool.shutdown(cancel_futures=True)
                self.write_manifest()
                self.log.close()

    def _estimate(self, sources: list[Source], workers: int) -> str:
        missing = []
        for source in sources:
            job = self._reference_job(source)
            if about := self.log.find(job.file, job.recipe):
                lacking = sum(self.log.find(after.file, after.recipe) is None for after in job.then(about))
                missing.append((about["width"] * about["height"] * about["frames"], lacking, False))
            else:
                missing.append((pixels_of(source, self.settings), job.encodes, True))
        return estimate(missing, len(sources), measured_rate(self.log.encodes()), workers)

    def _finish(self, job: _Job, future: Future) -> list[_Job]:
        try:
            result = future.result() | job.labels
        except (ValueError, OSError) as error:
            self.failures.append({**job.row, "error": str(error)})
            return []
        self.log.add(job.file, job.recipe, result)
        return job.then(result)

    def _reference_job(self, source: Source) -> _Job:
        settings, file = self.settings, f"references/{source.name}.mkv"
        recipe = settings.reference_recipe(source)
        labels = {"content_id": source.content_id, "family": source.family}
        return _Job(
            file=file,
            recipe=recipe,
            make=lambda: make_reference(source, self.out / file, settings),
            then=lambda about: self._encode_jobs(source, file, about, identity(recipe)),
            encodes=settings.encodes_per_source,
            row={"reference": file, **labels},
            labels=labels,
        )

    def _encode_jobs(self, source: Source, reference: str, about: dict, reference_identity: str) -> list[_Job]:
        jobs = []
        for variant in self.settings.variants(source, (about["width"], about["height"]), about["fps"]):
            suffix = ENCODERS["x264" if variant.scaler else variant.encoder].suffix
            file = f"encodes/{source.name}/{variant.name}{suffix}"
            model = self.settings.model
            recipe = {**variant.as_recipe(), "reference": reference_identity, "model": model}
            make = partial(make_encode, self.out / reference, self.out / file, about, variant, model)
            row = {**about, **variant.as_recipe(), "video": file, "reference": reference, "bytes": None}
            row["codec"] = ENCODERS[variant.encoder].codec
            jobs.append(_Job(file, recipe, make, lambda result: [], 1, row, {"reference": reference}))
        return jobs

    def write_manifest(self) -> None:
        write_text(self.out / "manifest.csv", csv_text(COLUMNS, [*self.log.encodes(), *self.failures]))


def _description(settings: LadderSettings) -> dict:
    tools = {name: version(name) for name in ("imageio-ffmpeg", "av", "pillow", "numpy")}
    return {
        "label_kind": "vmaf",
        "score_min": 0,
        "score_max": 100,
        "higher_is_better": True,
        "vmaf_model": settings.model,
        "settings": {**vars(settings), "recipe": [kind.as_json() for kind in settings.recipe]},
        "versions": {"ffmpeg": ffmpeg_version(), **tools, "python": platform.python_version()},
    }

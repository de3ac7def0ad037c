"""How fast training is fed: clips per second from the frame cache against decoding each time. Prints a Markdown table.

    python scripts/benchmark_data.py LADDER
    python scripts/benchmark_data.py LADDER --workers 0 4 8 16 --batch_size 32 --student S

LADDER is what scripts/build_ladder.py made, or any data set of `load_quality_dataset` with --dataset NAME. Batches are
those of training: random windows, crops and mirroring, as bytes. With a GPU the last rows are the training step of a
student on a batch that is there already, and the same fed by the cache: equal, if the data path keeps up.
"""

import argparse
import datetime
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import repeat

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from cvqa.data import QualityCollator, cache_frames, load_quality_dataset
from cvqa.data.frame_store import frame_caches
from cvqa.evaluation.cost import processor_name
from cvqa.models import InternVideo2Config, InternVideo2ForVideoQualityAssessment, InternVideo2VideoProcessor


MODES = {
    "resize": {"spatial_mode": "resize"},
    "fragments of 28": {"spatial_mode": "fragments", "fragment_size": 28},
    "native crop": {"spatial_mode": "fragments", "fragment_size": 224},
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", metavar="LADDER", help="folder of the data set")
    parser.add_argument("--dataset", default="ladder", help="its name for load_quality_dataset (default: ladder)")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="default: all")
    cores = os.cpu_count() or 1
    parser.add_argument("--workers", nargs="+", type=int, default=[0, cores], help="default: 0 and one per core")
    parser.add_argument("--batch_size", type=int, default=16, help="clips (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=4, help="cached sets of frames per video (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="measured for each row (default: %(default)g)")
    parser.add_argument("--limit", type=int, default=512, help="videos at most (default: %(default)s)")
    parser.add_argument("--cache_dir", help="folder for the frames (default: one that is removed at the end)")
    parser.add_argument("--student", help="size of the student (default: S with a GPU, else no step is measured)")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = load_quality_dataset(arguments.dataset, arguments.data_dir, split="all")
    rows = rows.shuffle(seed=0).select(range(min(len(rows), arguments.limit)))
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for mode in arguments.modes:
            processor = InternVideo2VideoProcessor(**MODES[mode])
            started, cache_dir = time.perf_counter(), arguments.cache_dir or scratch
            cached = cache_frames(rows, processor, cache_dir, arguments.windows)
            note = f"{frame_caches(cache_dir)[-1].bytes / 1e6:,.0f} MB in {time.perf_counter() - started:.0f} s"
            for path, data in (("decoded each time", rows), (f"cache ({note})", cached)):
                for workers in arguments.workers:
                    rate = clips_per_second(data, processor, workers, arguments, device)
                    lines.append((mode, path, str(workers), f"{rate:,.0f}" if rate > 20 else f"{rate:.1f}"))
                    print(" | ".join(lines[-1]), file=sys.stderr)
        if arguments.student or device.type == "cuda":
            lines += step_lines(arguments, cached, processor, device)
    print(about(arguments, rows, device))
    print("\n| clip | path | workers | clips/s |\n| --- | --- | ---: | ---: |")
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return 0


def batches(data: Dataset, processor, workers: int, arguments: argparse.Namespace, device) -> Iterator[dict]:
    """Training batches without end."""
    endless = torch.utils.data.RandomSampler(data, replacement=True, num_samples=2**40)
    loader = DataLoader(
        data,
        arguments.batch_size,
        sampler=endless,
        collate_fn=QualityCollator(processor, augment=True, as_uint8=True),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


def clips_per_second(data: Dataset, processor, workers: int, arguments: argparse.Namespace, device) -> float:
    return rate_of(batches(data, processor, workers, arguments, device), arguments, lambda batch: None)


def rate_of(source: Iterator[dict], arguments: argparse.Namespace, step) -> float:
    """Clips per second that pass `step`, once all is under way."""
    started = None
    for count, batch in enumerate(source):
        step(batch)
        if count < 3:
            continue
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if started is None:
            started, first = time.perf_counter(), count
        elif time.perf_counter() - started > arguments.seconds:
            return (count - first) * arguments.batch_size / (time.perf_counter() - started)
    raise AssertionError("batches came to an end")


def step_lines(arguments: argparse.Namespace, cached: Dataset, processor, device: torch.device) -> list[tuple]:
    size = arguments.student or "S"
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config.from_size(size)).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=device.type == "cuda")

    def step(batch: dict) -> None:
        clips = processor.pixel_values(batch["pixel_values_videos"].to(device, non_blocking=True))
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(pixel_values_videos=clips, labels=batch["labels"].to(device, non_blocking=True)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    clip = f"8 frames of 224x224, {size} in bf16"
    ready = next(batches(cached, processor, 0, arguments, device))
    ready = {name: tensor.to(device) for name, tensor in ready.items()}
    lines = [(clip, "training step, batch ready", "", f"{rate_of(repeat(ready), arguments, step):,.0f}")]
    workers = max(arguments.workers)
    fed = rate_of(batches(cached, processor, workers, arguments, device), arguments, step)
    return [*lines, (clip, f"training step, fed from the cache ({arguments.modes[-1]})", str(workers), f"{fed:,.0f}")]


def about(arguments: argparse.Namespace, rows: Dataset, device: torch.device) -> str:
    sizes = sorted({f"{width}x{height}" for width, height in zip(rows["width"], rows["height"])})
    gpu = f", {torch.cuda.get_device_name()}" if device.type == "cuda" else ""
    return (
        f"{len(rows)} videos of {', '.join(sizes[:4])}{' and others' if len(sizes) > 4 else ''}; clips of 8 frames of "
        f"224x224, batches of {arguments.batch_size}, {arguments.windows} windows per video. "
        f"{processor_name()}, {os.cpu_count()} cores{gpu}, torch {torch.__version__}, "
        f"{datetime.date.today().isoformat()}."
    )


if __name__ == "__main__":
    sys.exit(main())

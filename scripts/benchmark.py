"""What scoring costs with torch and with the exported model: prints one Markdown table and saves it as JSON.

Every backend runs in a process of its own, and they take turns, so that a busy machine slows all of them alike. Times
are medians. Export the model first: scripts/export_onnx.py.

Examples:
    python scripts/benchmark.py runs/student
    python scripts/benchmark.py runs/student --video movie.mp4 --threads 1 --compile --output benchmark.json
"""

import argparse
import datetime
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path


# What a process that scores with onnxruntime never imports must not be imported here either: it starts from this file.

COLUMNS = ("backend", "MB", "ms per clip", "clips/s", "speed", "file, ms", "peak memory, MB", "score")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder of the model, with onnx/")
    parser.add_argument("--video", type=Path, help="file to score (default: ten seconds made of a photograph)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the computation (default: all cores)")
    parser.add_argument("--repeats", type=int, default=10, help="measurements of each (default: 10)")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which needs a C++ compiler")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON to write (default: FOLDER/benchmark.json)")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    exported = json_of(arguments.folder / "onnx" / "export.json").get("files", {})
    backends = ["torch", *(["torch compiled"] if arguments.compile else [])]
    backends += [f"onnx {facts['precision']}" for facts in exported.values()]
    with tempfile.TemporaryDirectory() as scratch:
        video = arguments.video or make_video(Path(scratch))
        try:
            rows = measure(backends, arguments.folder, video, arguments.threads, arguments.repeats)
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    sizes = {f"onnx {facts['precision']}": facts["bytes"] for facts in exported.values()}
    for row in rows:
        weights = sum(path.stat().st_size for path in arguments.folder.glob("*.safetensors"))
        row["bytes"] = sizes.get(row["backend"], weights)
        row["speed"] = rows[0]["clip_ms"] / row["clip_ms"]
    report = about(arguments) | {"video": video.name, "backends": rows}
    from cvqa import files

    files.write_text(arguments.output or arguments.folder / "benchmark.json", files.json_text(report))
    print(as_markdown(report))
    return 0


def measure(backends: list[str], folder: Path, video: Path, threads: int, repeats: int) -> list[dict]:
    """One row for each backend: medians over `repeats` turns, after one to warm up."""
    spawn = multiprocessing.get_context("spawn")
    workers = {}
    for backend in backends:
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=serve, args=(theirs, backend, str(folder), str(video), threads), daemon=True)
        process.start()
        theirs.close()
        workers[backend] = (process, ours)

    def ask(backend: str, what: str):
        workers[backend][1].send(what)
        try:
            answer = workers[backend][1].recv()
        except EOFError:
            answer = RuntimeError("its process ended")
        if isinstance(answer, Exception):
            raise RuntimeError(f"{backend}: {answer}") from answer
        return answer

    seconds = {backend: {"clip": [], "file": []} for backend in backends}
    for turn in range(repeats + 1):
        for what in ("clip", "file"):
            for backend in backends:
                taken = ask(backend, what)
                if turn:
                    seconds[backend][what].append(taken)
    rows = []
    for backend in backends:
        facts = ask(backend, "facts")
        times = {what: 1000 * statistics.median(taken) for what, taken in seconds[backend].items()}
        rows.append({"backend": backend, "clip_ms": times["clip"], "file_ms": times["file"], **facts})
        workers[backend][1].send("end")
        workers[backend][0].join()
    return rows


def serve(pipe, backend: str, folder: str, video: str, threads: int) -> None:
    """Answers "clip" and "file" with the seconds that one takes, "facts" with the score and the peak memory."""
    scorer, shape = None, None
    while (what := pipe.recv()) != "end":
        try:
            if scorer is None:
                scorer, run, shape = (start_onnx if backend.startswith("onnx") else start_torch)(
                    backend, folder, threads
                )
            if what == "facts":
                pipe.send({"score": scorer.score(video).score, "peak_bytes": peak_memory(), "clip_shape": shape})
                continue
            started = time.perf_counter()
            run() if what == "clip" else scorer.score(video)
            pipe.send(time.perf_counter() - started)
        except Exception as error:
            pipe.send(RuntimeError(str(error)))


def peak_memory() -> int:
    """Most bytes of memory that this process has held; getrusage would count what its parent held when it forked."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def start_torch(backend: str, folder: str, threads: int) -> tuple:
    import torch

    from cvqa.inference.load import load_scorer

    torch.set_num_threads(threads)
    scorer, _ = load_scorer(folder, device="cpu")
    if backend == "torch compiled":
        scorer.model.forward = torch.compile(scorer.model.forward)
    crop = scorer.processor.crop_size
    clip = torch.rand(1, scorer.processor.num_frames, 3, crop.height, crop.width)
    return scorer, torch.inference_mode()(lambda: scorer.model(pixel_values_videos=clip)), list(clip.shape[1:])


def start_onnx(backend: str, folder: str, threads: int) -> tuple:
    import numpy as np

    sys.path.insert(0, str(Path(folder, "onnx")))
    from cvqa_onnx import OnnxVideoScorer

    scorer = OnnxVideoScorer(folder, backend.partition(" ")[2], threads)
    shape = json_of(Path(folder, "onnx", "export.json"))["inputs"]["pixel_values_videos"][1:]
    clip = np.random.default_rng(0).random((1, *shape), np.float32)
    return scorer, lambda: scorer.qualities(clip), shape


def about(arguments: argparse.Namespace) -> dict:
    """The model, the machine and the versions."""
    from importlib.metadata import PackageNotFoundError, version

    from cvqa.evaluation.cost import count_macs, processor_name
    from cvqa.inference.load import load_scorer

    def version_of(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    scorer, _ = load_scorer(arguments.folder, device="cpu")
    crop, frames = scorer.processor.crop_size, scorer.processor.num_frames
    return {
        "model": arguments.folder.resolve().name,
        "parameters": scorer.model.num_parameters(),
        "macs": count_macs(scorer.model, frames, crop.height, crop.width),
        "processor": processor_name(),
        "threads": arguments.threads,
        "versions": {name: version_of(name) for name in ("torch", "transformers", "onnxruntime", "av")},
        "date": datetime.date.today().isoformat(),
        "repeats": arguments.repeats,
    }


def make_video(folder: Path) -> Path:
    from importlib.resources import as_file, files

    from cvqa.video.encoding import encode
    from cvqa.video.photographs import pan_and_zoom

    with as_file(files("skimage").joinpath("data", "rocket.jpg")) as photograph:
        frames = pan_and_zoom(photograph, (512, 288), 250)
    return encode((frames, 25), folder / "rocket_512x288_10s.mp4", "x264", 28)


def as_markdown(report: dict) -> str:
    frames, _, height, width = report["backends"][0]["clip_shape"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines = [
        f"{report['model']}: {report['parameters'] / 1e6:.2f} M parameters, {report['macs'] / 1e9:.2f} GMACs for a "
        f"clip of {frames} frames of {width}x{height}. Scored file: {report['video']}. {report['processor']}, "
        f"{report['threads']} threads; {versions}; medians of {report['repeats']}; {report['date']}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"| --- |{' ---: |' * (len(COLUMNS) - 1)}",
    ]
    for row in report["backends"]:
        cells = [row["backend"], f"{row['bytes'] / 1e6:.1f}", f"{row['clip_ms']:.1f}", f"{1000 / row['clip_ms']:.2f}"]
        cells += [f"{row['speed']:.2f}x", f"{row['file_ms']:.0f}", f"{row['peak_bytes'] / 1e6:.0f}"]
        lines.append(f"| {' | '.join([*cells, format(row['score'], '.2f')])} |")
    return "\n".join(lines)


def json_of(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())

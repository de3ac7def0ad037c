"""Full-reference scores of an encode against its source: VMAF, PSNR and SSIM, in one call of ffmpeg."""

import json
import os
import re
import tempfile
from pathlib import Path

from .encoding import EncodingError, failure_of, file_argument, probe, run_ffmpeg


class VmafError(ValueError):
    """A pair that can't be compared. `path` names the distorted file, `reason` says why."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(str(path), reason)
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def full_reference_scores(
    distorted: str | os.PathLike,
    reference: str | os.PathLike,
    model: str = "vmaf_v0.6.1",
    threads: int = 1,
    frame_step: int = 1,
) -> dict:
    """Compare `distorted` with `reference`, frame by frame in order of display, whatever their timestamps.

    A distorted video of another size is scaled to the reference's by bicubic interpolation. Both are compared in 4:2:0,
    limited range, at 10 bit if either has more than 8.

    Args:
        model: one of libvmaf's built-in models: "vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_4k_v0.6.1", ...
        threads: threads of libvmaf.
        frame_step: every so many-th frame of the reference, from the first on, is what `distorted` shows: an encode at
            a lower frame rate is judged by the frames that it has.

    Returns:
        `vmaf` (mean over the frames, 0 to 100), `vmaf_min` (the worst frame), `vmaf_frames` (of every frame, a list),
        `psnr` (luma, dB, mean over the frames; identical frames count as 60 dB at 8 bit), `ssim` (luma, mean over the
        frames, by ffmpeg's ssim filter: libvmaf's own takes as long as VMAF), `frames`, `model`.

    Raises:
        VmafError: a file can't be read, is HDR or known to be damaged (H.264, HEVC and VP9 decoders hide some damage),
            the frame counts differ, or libvmaf failed.
    """
    if not re.fullmatch(r"[\w.]+", model):
        raise ValueError(f"{model!r} is not the name of a built-in VMAF model such as vmaf_v0.6.1")
    try:
        target, given = probe(reference), probe(distorted)
    except EncodingError as error:
        about = "" if error.path == str(distorted) else f"its reference {error.path} "
        raise VmafError(distorted, f"{about}{error.reason}") from error
    if target.is_hdr or given.is_hdr:
        raise VmafError(distorted, "is HDR (PQ or HLG) or has an HDR reference; VMAF's models know SDR only")

    pixels = "yuv420p" if max(target.bit_depth, given.bit_depth) <= 8 else "yuv420p10le"
    # Containers round timestamps differently, and libvmaf pairs by time: number the frames instead.
    same = f"scale={target.width}:{target.height}:flags=bicubic:out_range=tv,format={pixels},settb=1/25,setpts=N,split"
    step = f"framestep={frame_step}," if frame_step > 1 else ""
    graph = (
        f"[0:v:0]{same}[d1][d2];[1:v:0]{step}{same}[r1][r2];"
        f"[d1][r1]libvmaf=model=version={model}:feature=name=psnr:n_threads={threads}:log_fmt=json:log_path=vmaf.json,"
        "nullsink;[d2][r2]ssim=stats_file=ssim.log"
    )
    # In a folder of its own, since no file name has to be quoted for the filter then.
    with tempfile.TemporaryDirectory(prefix="cvqa-vmaf-") as folder:
        inputs = [part for path in (distorted, reference) for part in ("-threads", "1", "-i", file_argument(path))]
        result = run_ffmpeg(["-v", "verbose", *inputs, "-lavfi", graph, "-f", "null", "-"], cwd=folder)
        log = Path(folder, "vmaf.json")
        if result.returncode or not log.exists():
            raise VmafError(distorted, _reason(result, model))
        measured = json.loads(log.read_text(encoding="utf-8"))
        ssim = [float(value) for value in re.findall(r" Y:(\S+)", Path(folder, "ssim.log").read_text(encoding="utf-8"))]
    _check_frames(result.stderr, distorted, reference, frame_step)

    pooled = measured["pooled_metrics"]
    return {
        "vmaf": pooled["vmaf"]["mean"],
        "vmaf_min": pooled["vmaf"]["min"],
        "vmaf_frames": [frame["metrics"]["vmaf"] for frame in measured["frames"]],
        "psnr": pooled["psnr_y"]["mean"],
        "ssim": sum(ssim) / len(ssim),
        "frames": len(measured["frames"]),
        "model": model,
    }


def _reason(result, model: str) -> str:
    if "could not load libvmaf model" in result.stderr or "no such built-in model" in result.stderr:
        return f"libvmaf has no model {model!r}"
    if "No such filter: 'libvmaf'" in result.stderr:
        return "this ffmpeg has no libvmaf; unset IMAGEIO_FFMPEG_EXE to use the one inside imageio-ffmpeg"
    errors = [line for line in result.stderr.splitlines() if re.search(r"error|invalid|fail", line, re.IGNORECASE)]
    return re.sub(r" @ 0x[0-9a-f]+", "", errors[0].strip()) if errors else failure_of(result)


def _check_frames(log: str, distorted, reference, frame_step: int) -> None:
    """The filter repeats the last frame of the shorter video; ffmpeg's closing account tells what was decoded."""
    account = re.findall(r"Input stream #([01]):\d+ \(video\):.*? (\d+) frames decoded; (\d+) decode errors", log)
    counts = {side: int(frames) for side, frames, _ in account}
    if len(counts) != 2:
        raise VmafError(distorted, "this ffmpeg doesn't tell how many frames it decoded")
    damaged = [path for path, (_, _, errors) in zip((distorted, reference), sorted(account)) if int(errors)]
    if damaged:
        raise VmafError(distorted, f"{damaged[0]} is damaged: it has frames that can't be decoded")
    shown = -(-counts["1"] // frame_step)
    if counts["0"] != shown:
        has = (
            f"{counts['1']}"
            if frame_step == 1
            else f"{counts['1']}, of which {shown} are shown at a frame step of {frame_step}"
        )
        raise VmafError(distorted, f"has {counts['0']} frames, but its reference {reference} has {has}")

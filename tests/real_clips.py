"""Small real encodes of photographs, good and bad, and a tiny untrained model to score them with."""

from pathlib import Path

import av
import numpy as np
import torch
from skimage import data, transform


def photograph(name: str = "astronaut", width: int = 320, height: int = 192) -> np.ndarray:
    """A photograph that scikit-image brings, reduced: uint8 (height, width, 3)."""
    return transform.resize(getattr(data, name)(), (height, width), anti_aliasing=True, preserve_range=True).astype(
        np.uint8
    )


def panned(count: int, width: int = 192, height: int = 128, name: str = "astronaut") -> np.ndarray:
    """A clip (count, height, width, 3) uint8 that moves over a photograph by a pixel per frame, there and back."""
    image = photograph(name, width + 32, height + 32)
    offsets = 32 - np.abs(np.arange(count) % 64 - 32)
    return np.stack([image[o : o + height, o : o + width] for o in offsets])


def encode(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    crf: int = 28,
    fps: int = 25,
    movflags: str = "",
    **options: str,
) -> Path:
    """Writes frames with a real codec; `options` are the encoder's, `color_trc` the transfer function."""
    trc = int(options.pop("color_trc", 2))
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.codec_context.color_trc = trc
        stream.options = {"crf": str(crf), **QUICK.get(codec, {}), **options}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pix_fmt)))
        container.mux(stream.encode())
    return path


QUICK = {
    "libx264": {"preset": "veryfast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "0"},
    "libsvtav1": {"preset": "12"},
}


def encode_sound(path: Path) -> Path:
    """A second of silence: a file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        for _ in range(47):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def good_clips(folder: Path) -> dict[str, Path]:
    """What must be scored, by what is special about it."""
    clip = panned(60)
    return {
        "h264": encode(folder / "h264.mp4", clip),
        "odd": encode(folder / "odd size.webm", panned(12, 161, 121, "coffee"), "libvpx-vp9"),
        "portrait": encode(folder / "portrait.mp4", panned(12, 96, 160)),
        "hevc10": encode(folder / "hevc10.mkv", clip[:30], "libx265", "yuv420p10le"),
        "av1_mp4": encode(folder / "av1.mp4", clip[:12], "libsvtav1", "yuv420p10le"),
        "av1_webm": encode(folder / "av1.webm", clip[:12], "libsvtav1"),
        "av1_ivf": encode(folder / "av1.ivf", clip[:12], "libsvtav1"),
        "one_frame": encode(folder / "one.webm", clip[:1], "libvpx-vp9"),
        "five_frames": encode(folder / "five.mp4", clip[:5]),
        "static": encode(folder / "ünï cödé 静止.mp4", np.repeat(clip[:1], 40, axis=0), crf=1),
    }


def bad_files(folder: Path) -> dict[str, Path]:
    """What cannot be scored, by what is wrong with it."""
    truncated = {
        "truncated": encode(folder / "no index.mp4", panned(40, name="coffee")),  # the index stands at the end
        "cut": encode(folder / "cut.mp4", panned(40, name="coffee"), movflags="+faststart"),  # or at the beginning
    }
    for path in truncated.values():
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video at all\n" * 50)
    (folder / "no videos").mkdir()
    return truncated | {
        "empty": folder / "empty.mp4",
        "text": folder / "text.mp4",
        "sound": encode_sound(folder / "sound.m4a"),
        "missing": folder / "missing.mp4",
        "folder": folder / "no videos",
        "hdr": encode(folder / "hdr.mp4", panned(6), "libx265", "yuv420p10le", color_trc="16"),
    }


def tiny_model(orientations: int = 1):
    """A small model whose untrained scores differ from clip to clip, and its processor."""
    from cvqa import InternVideo2Config, InternVideo2ForVideoQualityAssessment, InternVideo2VideoProcessor

    torch.manual_seed(0)
    config = InternVideo2Config(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        pooling_num_heads=2,
        layer_scale_init_value=1.0,
        initializer_range=0.2,
        label_kind="vmaf",
    )
    model = InternVideo2ForVideoQualityAssessment(config).eval()
    processor = InternVideo2VideoProcessor(
        size={"shortest_edge": 56},
        crop_size={"height": 56, "width": 56},
        frame_sampling="uniform",
        orientations=orientations,
    )
    return model, processor


def save_tiny_model(folder: Path, orientations: int = 1) -> Path:
    for part in tiny_model(orientations):
        part.save_pretrained(folder)
    return folder

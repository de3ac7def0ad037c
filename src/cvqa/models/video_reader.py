"""Frame-exact reading of video files, on PyAV and numpy alone.

Containers promise frames that decoders do not show, key frames from which not all that follows can be decoded, and
times that are missing, doubled or wrong. So nothing is trusted that was not seen: the packets are scanned once, without
decoding; every decoded frame tells from which packet it came; and a frame that does not turn up after a jump to a key
frame is looked for from earlier ones. Where the packets do not tell what is shown (elementary streams, AVI, broken
times), all is decoded once at opening.
"""

import logging
import os
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .raw_video_source import SUFFIX, RawVideoSource
from .tone_mapping import HDR_MAPPINGS, HDR_TRANSFERS, mastering_peak, to_sdr
from .video_source import THREADS, VideoError, VideoSource


logger = logging.getLogger(__name__)

_WORTH_A_SEEK = 16  # frames decoded in vain that cost less than a seek and filling the decoder again
_CHECKED_FRAMES = 4  # decoded at opening: they give away hidden packets, single fields and cut leading pictures

# FFmpeg's usual conversion to RGB goes by a table of 8-bit entries, which would waste what deeper video has more.
_FAST = 0x2  # SWS_BILINEAR
_EXACT = 0x2 | 0x2000 | 0x40000  # with SWS_FULL_CHR_H_INT and SWS_ACCURATE_RND, for which not every PyAV has names

# Transfer characteristics as FFmpeg calls them, by their numbers in ITU-T H.273; 2 means not specified.
_TRANSFERS = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100"}
_TRANSFERS |= {10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12"}
_TRANSFERS |= {16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"}

# What readers inherited by a forked process held: freeing it there would wait for threads that only the parent has.
_INHERITED: list[object] = []


class VideoReader:
    """The frames of a video file, by index in order of presentation, each exactly the one that a player shows.

    Frames come as RGB in display orientation. The conversion follows the colour matrix and range that the file is
    tagged with; without tags they are BT.601 and limited range, FFmpeg's defaults. Video of more than 8 bits is rounded
    once, at the end; that of 8 bits is converted just as FFmpeg, decord and torchcodec do, to within 3 levels. Pixels
    that are not square stay so. HDR comes as it is, which looks washed out, unless `hdr` says how to map it.

    Frames that a file announces but nobody sees (cut by an edit list, hidden, cut short at its end) are not counted.
    Damage within a file can come to light only as frames are decoded: `get_batch` then raises for the frames that are
    hit, instead of returning the guess of the decoder. With `verify=True` all frames are decoded at opening, and just
    the sound ones are counted.

    A reader belongs to the process that opened it and to one thread at a time.

    Args:
        path: a file name, an http(s) URL, or a seekable binary file, which is not closed. The name of raw planar 4:2:0
            video ends in .yuv and tells its size: NAME_1920x1080_60fps.yuv, see `raw_video_source`.
        verify: decode everything once at opening; for damaged files, and as slow as that.
        hdr: "bt2390" gives the frames of PQ and HLG video as SDR, see `tone_mapping`; no effect on SDR video.

    Attributes:
        path: the name that errors carry.
        timestamps: (n,) float64, seconds at which the frames are presented, increasing; the first need not be 0.
        fps: average frames per second.
        duration: seconds from the first frame coming to the last one going.
        width, height: of the frames returned.
        codec: "h264", "hevc", "vp9", "av1" and so on, as FFmpeg calls the format.
        bit_depth: bits per sample as coded.
        transfer: tagged transfer characteristics, such as "bt709", "smpte2084" (PQ), "arib-std-b67" (HLG), or None.
        was_hdr: whether the frames returned are HDR that was mapped to SDR.
        is_hdr: whether the frames returned are HDR: the file is PQ or HLG, and nothing said how to map it.
        damaged: whether the file was seen at opening to hold damaged packets or to be cut short.

    Raises:
        VideoError: the file is missing, empty, no video, has no video stream or no frame that can be decoded.
    """

    def __init__(self, path: str | os.PathLike | BinaryIO, verify: bool = False, hdr: str = "refuse"):
        if hdr not in HDR_MAPPINGS:
            raise ValueError(f"hdr is one of {', '.join(HDR_MAPPINGS)}, not {hdr!r}")
        if int(av.__version__.split(".")[0]) < 17:
            raise ImportError(f"PyAV {av.__version__} ignores the colour tags of a video: pip install -U 'av>=17'")
        self._pid, self._source = os.getpid(), None
        self.path = str(getattr(path, "name", "<stream>")) if hasattr(path, "read") else os.fsdecode(path)
        self._hdr, self._cursor, self._at, self._held = hdr, None, -1, None
        self._converter = VideoReformatter()
        try:
            is_raw = not hasattr(path, "read") and self.path.lower().endswith(SUFFIX)
            self._source = (RawVideoSource if is_raw else VideoSource)(path, self.path)
            self._index(verify)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._order)

    def get_batch(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The frames of the given indices, in that order; they may be unordered and repeated.

        Returns:
            uint8 (len(indices), height, width, 3), RGB.

        Raises:
            IndexError: an index is negative or not below `len(self)`.
            VideoError: a frame is damaged, or the reader is closed or belongs to another process.
        """
        self._check_open()
        indices = np.asarray(indices)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise TypeError(
                f"indices must be a flat sequence of integers, not {indices.dtype} of shape {indices.shape}"
            )
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"{self.path}: frames {indices.min()} to {indices.max()} asked of 0 to {len(self) - 1}")
        return self._read(indices.astype(np.int64))

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        source, self._source = getattr(self, "_source", None), None
        if source is None:
            return
        if self._pid != os.getpid():
            _INHERITED.append((source, vars(self).copy()))
        else:
            source.close()
        self._cursor = self._held = self._converter = None

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self):
        self.close()

    def _check_open(self) -> None:
        if self._source is None:
            raise VideoError(self.path, "the reader is closed")
        if self._pid != os.getpid():
            raise VideoError(self.path, "the reader was opened in another process; open it in the worker that uses it")

    # What is shown, and in which order

    def _index(self, verify: bool) -> None:
        packets = self._source.packets
        self._first, self._lost = None, None
        promised = packets.orderly and not (verify or self._source.unsure)
        if not (promised and self._order_by_time() and self._confirmed()):
            self._order_by_decoding()
        if self._first is None or not len(self._order):
            raise VideoError(self.path, "no frame of its video can be decoded")
        self.damaged = bool(packets.bad.any() or packets.incomplete)
        if self.damaged:
            logger.warning("%s: damaged or cut short; %d frames can be decoded", self.path, len(self._order))
        self._describe(self._first)
        self._first = None

    def _order_by_time(self) -> bool:
        """Order by the times of the packets, as far as these can be decoded; False where that leaves nothing."""
        packets = self._source.packets
        by_time = np.argsort(packets.pts)
        sound = packets.sound(by_time)
        self._source.fed = sound
        self._set_order(by_time, sound & ~packets.discard)
        # A key frame that an edit list hides is still where decoding starts.
        shown = packets.pts[self._order]
        keys = np.flatnonzero(packets.key & sound)
        self._set_starts(dict(zip(keys.tolist(), np.searchsorted(shown, packets.pts[keys]).tolist())))
        return len(self._order) > 0

    def _confirmed(self) -> bool:
        """Whether the first frames decoded are those that the packets promise."""
        seen = []
        for position, frame in self._source.frames(0):
            if frame is None:
                return False
            if position in self._rank:
                self._first = self._first or frame
                seen.append(position)
            if len(seen) == _CHECKED_FRAMES:
                break
        first_key = next((key for key in self._keys if key in self._rank), self._order[0])
        leading = self._rank[first_key]
        if leading and seen and seen[0] == first_key:
            # Cut from a longer video: the pictures before the first key frame lack what they refer to.
            self._set_order(self._order[leading:])
            self._set_starts({key: max(0, rank - leading) for key, rank in self._starts.items()})
        return seen == self._order[:_CHECKED_FRAMES].tolist()

    def _order_by_decoding(self) -> None:
        """Order as decoded, of the frames that are sound."""
        packets = self._source.packets
        order, damaged = self._decode_all()
        packets.bad[list(damaged)] = True
        self._set_order(order, packets.sound(order) & ~packets.discard)
        keys = [key for key in np.flatnonzero(packets.key).tolist() if key in self._rank]
        if damaged:
            self._lost, keys = frozenset(), []
        elif self._source.threads < THREADS:
            self._source.open(THREADS)
        self._set_starts({key: self._rank[key] for key in keys})

    def _settle(self) -> None:
        """A promised frame did not come: find out which ones can be had, and read from the start from now on."""
        order, damaged = self._decode_all()
        bad = self._source.packets.bad.copy()
        bad[list(damaged)] = True
        sound = self._source.packets._replace(bad=bad).sound(order)
        found = order[sound[order]]
        self._lost = frozenset(self._rank).difference(found.tolist())
        if (np.diff([self._rank.get(position, -1) for position in found.tolist()]) < 0).any():
            self._lost = frozenset(self._rank)  # the times lied: no index means what was promised
        self._set_starts({})

    def _decode_all(self) -> tuple[np.ndarray, set[int]]:
        """Positions of all decoded frames in order of presentation, and those of packets found damaged."""
        self._cursor = None
        self._source.fed = ~self._source.packets.bad
        # When a frame fails, threads lose others that were under way: a damaged file is decoded by one thread.
        for threads in (THREADS, 1):
            self._source.open(threads)
            order, damaged = {}, set()
            for position, frame in self._source.frames(0):
                if frame is not None:
                    self._first = self._first or frame
                    order[position] = None
                elif threads > 1:
                    break
                else:
                    damaged.add(position)
            else:
                if len(order) == np.count_nonzero(self._source.fed & ~self._source.packets.discard):
                    break
        return np.array(list(order), np.int64), damaged

    def _set_order(self, order: np.ndarray, kept: np.ndarray | None = None) -> None:
        self._order = order if kept is None else order[kept[order]]
        self._rank = {position: rank for rank, position in enumerate(self._order.tolist())}

    def _set_starts(self, starts: dict[int, int]) -> None:
        """Packets where decoding can start, with the index of the first frame that can be trusted from there on."""
        self._starts = starts | {0: 0}
        self._keys = sorted(self._starts)

    def _describe(self, frame: av.VideoFrame) -> None:
        self._transposed, self._flips = _orientation(frame)
        self._stored = (frame.width, frame.height)
        self.width, self.height = self._stored[::-1] if self._transposed else self._stored
        self.bit_depth = frame.format.components[0].bits
        self._rounding = _FAST if self.bit_depth == 8 else _EXACT
        self.transfer = _TRANSFERS.get(int(frame.color_trc))
        self.is_hdr = self.transfer in HDR_TRANSFERS and self._hdr == "refuse"
        self.was_hdr = self.transfer in HDR_TRANSFERS and not self.is_hdr
        self._peak = mastering_peak(frame) if self.transfer in HDR_TRANSFERS and not self.is_hdr else None
        self.codec = self._source.codec
        self.timestamps, last = self._source.packets.times(self._order, self._source.rate)
        self.timestamps.flags.writeable = False
        self.duration = float(self.timestamps[-1] - self.timestamps[0]) + last
        self.fps = len(self) / self.duration

    # Pixels

    def _read(self, indices: np.ndarray) -> np.ndarray:
        batch = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        for index in np.unique(indices).tolist():
            batch[indices == index] = self._to_rgb(self._frame(index))
        return batch

    def _to_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        # A video whose frames change size is shown at the size of the first.
        format, rounding = ("rgb24", self._rounding) if self._peak is None else ("rgb48le", _EXACT)
        pixels = self._converter.reformat(
            frame, *self._stored, format=format, interpolation=rounding, threads=THREADS
        ).to_ndarray()
        if self._peak is not None:
            pixels = to_sdr(pixels, self.transfer, self._peak)
        return (pixels.transpose(1, 0, 2) if self._transposed else pixels)[self._flips]

    def _frame(self, index: int) -> av.VideoFrame:
        if self._lost is None:
            nearest = bisect_right(self._keys, self._order[index]) - 1
            while self._starts[self._keys[nearest]] > index:  # a picture that leads its key frame refers back
                nearest -= 1
            for start in dict.fromkeys((self._keys[nearest], self._keys[max(0, nearest - 1)], 0)):
                frame = self._advance(index, start)
                if frame is not None:
                    return frame
            self._settle()
        if self._order[index] not in self._lost:
            for _ in range(2):  # from where the decoder stands, and from the start
                frame = self._advance(index, 0)
                if frame is not None:
                    return frame
        raise VideoError(
            self.path, f"frame {index} is damaged or misplaced; repair the file, or skip such frames with verify=True"
        )

    def _advance(self, index: int, start: int) -> av.VideoFrame | None:
        """Decode on to the frame `index`, or from the packet `start` if that is nearer; None if it does not come."""
        if self._cursor is None or self._at > index or self._starts[start] - self._at > _WORTH_A_SEEK:
            self._cursor, self._at, self._held = self._source.frames(start), self._starts[start] - 1, None
        if self._at == index and self._held is not None:
            return self._held
        for position, frame in self._cursor:
            rank = self._rank.get(position, -1)
            if rank == index and frame is not None:
                self._at, self._held = rank, frame
                return frame
            if self._lost is None and (frame is None or rank > index):
                break
        self._cursor = None
        return None


def refuse_hdr(reader) -> None:
    """Raises VideoError if the frames are PQ or HLG: taken for SDR they look washed out, which is not their quality."""
    if reader.is_hdr:
        raise VideoError(
            reader.path,
            f"HDR video ({HDR_TRANSFERS[reader.transfer]}), but the model knows standard dynamic range only; "
            "tone-map it to BT.709 first, or have it done with hdr='bt2390', and score that rendition",
        )


def _orientation(frame: av.VideoFrame) -> tuple[bool, tuple[slice, slice]]:
    """Whether to swap the axes for display, and then the slices (rows, columns) that flip what needs it.

    By the display matrix (a b u, c d v, x y w): the pixel (x, y) is shown at (a x + c y, b x + d y).
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data that this PyAV has no name for
        matrix = None
    if matrix is None:
        return False, (slice(None), slice(None))
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    transposed = abs(b) > abs(a)
    across, down = (c, b) if transposed else (a, d)
    return transposed, tuple(slice(None, None, -1 if sign < 0 else 1) for sign in (down, across))

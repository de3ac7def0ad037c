"""Packets and decoding of one video file: what lies under `VideoReader`.

Every packet is known by its position in decoding order. It is decoded with that position as its time, so that each
frame tells from which packet it came, whatever the times in the file are worth.
"""

import os
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np


# Frame threading delays every frame by one more per thread, which costs more than it gains when jumping about.
THREADS = min(4, os.cpu_count() or 1)
NO_TIME = np.iinfo(np.int64).min

_URL = re.compile(r"https?://", re.IGNORECASE)
_TIMEOUT = 30.0  # seconds without an answer after which a URL is given up
# Formats that are no video but name others, here or anywhere in the network, for FFmpeg to open. The rest is allowed.
_LISTS = {"concat", "dash", "hds", "hls", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "smoothstreaming"}
_FORMATS = ",".join(sorted({name for names in av.formats_available - _LISTS for name in names.split(",")} - _LISTS))
# Formats that store no length of a packet, so that a file cut within its last one seems to end like any other.
_OPEN_ENDED = {"h264", "hevc", "vvc", "obu", "m4v", "mpegvideo", "mpeg", "mpegts"}
# Titles and comments in no known encoding are no reason to refuse a video. PyAV 19 has no such choice any more.
_TAGS = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


class VideoError(ValueError):
    """A video that cannot be read; `str()` is one line of file and reason.

    Attributes:
        path: the file as the caller named it.
        reason: why, and the way out where there is one.
    """

    def __init__(self, path: object, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Packets(NamedTuple):
    """What the container says of each packet, in decoding order; times are in units of `time_base` seconds."""

    pts: np.ndarray  # int64, NO_TIME where missing
    dts: np.ndarray
    duration: np.ndarray
    size: np.ndarray  # bytes
    key: np.ndarray  # bool
    discard: np.ndarray  # bool: decoded, not shown
    bad: np.ndarray  # bool: damaged or cut off
    time_base: float
    incomplete: bool  # the container says that there should be more

    @property
    def orderly(self) -> bool:
        """Whether the times can be trusted to tell the order of presentation."""
        if (self.pts == NO_TIME).any() or len(np.unique(self.pts)) < len(self.pts):
            return False
        dts, keys = self.dts[self.dts != NO_TIME], np.flatnonzero(self.key)
        # Whatever follows a key frame is presented after the key frame before.
        passed = np.searchsorted(keys, np.arange(len(self.pts)), side="right")
        later = np.flatnonzero(passed >= 2)
        ahead = self.pts[later] > self.pts[keys[passed[later] - 2]]
        return bool((np.diff(dts) >= 0).all() and (np.diff(self.pts[keys]) > 0).all() and ahead.all())

    def sound(self, order: np.ndarray) -> np.ndarray:
        """Mask of the packets that decode without what is damaged: damage lasts to the next key frame, and hits the
        pictures presented before that, too. `order`: positions in order of presentation."""
        count = len(self.pts)
        rank = np.full(count, -1)
        rank[order] = np.arange(len(order))
        sound = np.ones(count, bool)
        starts = np.flatnonzero(self.key & ~self.bad & (rank >= 0))
        damage = np.flatnonzero(self.bad).tolist()
        if len(starts) and not self.key[0]:
            damage.insert(0, 0)
        end = 0
        for position in damage:
            if position >= end:
                end = next((start for start in starts.tolist() if start > position), count)
                sound[position:end] = False
                sound[end:] &= rank[end:] >= (rank[end] if end < count else 0)
        return sound

    def times(self, order: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Seconds (len(order),) of the frames at `order`, increasing, and how long the last one stays.

        Where the container gives no usable time, frames follow each other at `rate` per second.
        """
        pts, step = self.pts[order], 1 / rate
        if (np.diff(pts) <= 0).any() and (pts != NO_TIME).all() and (np.diff(self.dts) > 0).all():
            pts = np.sort(pts)  # AVI has no times of presentation: those there are were meant for the decoding order
        times = []
        for value in pts.tolist():
            time = value * self.time_base if value != NO_TIME else None
            if times and (time is None or time <= times[-1]):
                time = times[-1] + step
            times.append(0.0 if time is None else time)
        last = self.duration[order[-1]] * self.time_base
        return np.array(times), float(last if last > 0 else step)


class VideoSource:
    """An open file, whose packets are named by their position in decoding order."""

    def __init__(self, path: str | os.PathLike | BinaryIO, name: str):
        self._path, self._name, self._container, self._positions = path, name, None, {}
        try:
            self.open(THREADS)
            self.codec = self._decoder.codec.canonical_name
            self.rate = float(self._stream.average_rate or self._stream.guessed_rate or 25)
            self.format = self._container.format.name
            self.packets = self._scan()
            # AVI has no times of presentation; what is told as such follows the order of decoding.
            self.unsure = self.format == "avi" and not self.packets.key.all()
            self._check_end()
            self.fed = ~self.packets.bad  # which packets are decoded
        except BaseException:
            self.close()
            raise
        if self.packets.orderly:  # so that a packet met after a jump can be recognised
            labels = zip(self.packets.pts.tolist(), self.packets.size.tolist())
            self._positions = {label: position for position, label in enumerate(labels)}

    def open(self, threads: int) -> None:
        """Open the file, or open it anew to read it from its start."""
        self.close()
        timeout = None if _is_file_name(self._path) else _TIMEOUT
        # A playlist in disguise must not lead from a file or bytes to the network, nor from a URL to the files here.
        local = "file" if _is_file_name(self._path) else "none"
        protocols = "http,https,tcp,tls,httpproxy" if _is_url(self._path) else local
        try:
            self._container = av.open(
                _openable(self._path),
                timeout=timeout,
                container_options={"protocol_whitelist": protocols, "format_whitelist": _FORMATS},
                **_TAGS,
            )
        except (av.FFmpegError, UnicodeError) as error:
            raise VideoError(self._name, _why_unreadable(self._path, error)) from None
        try:
            self._stream = self._pick_stream()
        except VideoError:
            self.close()
            raise
        self.threads, self._decoder = threads, self._stream.codec_context
        self._decoder.thread_count = threads
        self._decoder.thread_type = "AUTO" if threads > 1 else "NONE"

    def close(self) -> None:
        self._decoder = self._stream = None
        if self._container is not None:
            self._container.close()

    def frames(self, start: int) -> Iterator[tuple[int, av.VideoFrame | None]]:
        """Decode from the packet `start`: each frame with the position of its packet, None where that is damaged."""
        gap = False
        for position, packet in self._packets_from(start):
            if not self.fed[position]:
                gap = True
                continue
            if gap and self.packets.key[position]:
                yield from self._decode(None, position)
                self._decoder.flush_buffers()
                gap = False
            packet.pts = packet.dts = position
            yield from self._decode(packet, position)
        yield from self._decode(None, len(self.packets.pts) - 1)

    def _decode(self, packet: av.Packet | None, position: int) -> Iterator[tuple[int, av.VideoFrame | None]]:
        try:
            frames = self._decoder.decode(packet)
        except EOFError:  # nothing was under way
            return
        except av.FFmpegError:
            yield position, None
            return
        for frame in frames:
            yield (-1 if frame.pts is None else frame.pts), (None if frame.is_corrupt else frame)

    def _packets_from(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        position, packets = self._seek(start)
        for packet in packets:
            if not packet.size:
                continue  # the end, or a frame that AVI says to repeat
            if position >= len(self.packets.pts) or packet.size != self.packets.size[position]:
                return
            if position >= start:
                yield position, packet
            position += 1

    def _seek(self, start: int) -> tuple[int, Iterator[av.Packet]]:
        """The packets from `start` or before it on, and the position of the first."""
        before = max(0, start - 1)
        for time in dict.fromkeys((self.packets.pts[start], self.packets.dts[start], self.packets.dts[before])):
            if not self._positions or time == NO_TIME:
                break
            try:
                self._container.seek(int(time), stream=self._stream)
                packets = self._demux()
                # After a jump, MPEG-TS can begin within a frame.
                for packet in islice(packets, 8):
                    position = self._positions.get((packet.pts, packet.size))
                    if position is not None:
                        break
                else:
                    continue
            except av.FFmpegError:
                continue
            if position <= start:
                return position, chain([packet], packets)
        self.open(self.threads)
        return 0, self._demux()

    def _demux(self, failure: type[Exception] = av.FFmpegError) -> Iterator[av.Packet]:
        # A default stays: at the end of the interpreter `av` is gone before a reader that was left open is.
        try:
            yield from self._container.demux(self._stream)
        except failure as error:
            self._failed = error

    def _pick_stream(self) -> av.VideoStream:
        pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        streams = [s for s in self._container.streams.video if not s.disposition & pictures]
        if not streams or self._container.format.name == "tty":  # FFmpeg plays plain text as a terminal would
            others = ", ".join(sorted({s.type for s in self._container.streams} - {"video"}))
            raise VideoError(self._name, f"no video stream, only {others}" if others else "no video stream")
        best = self._container.streams.best("video")
        stream = best if best in streams else streams[0]
        if stream.codec_context is None:
            raise VideoError(
                self._name, "its codec is unknown here, or its header is damaged; re-encode it, for example as H.264"
            )
        return stream

    def _scan(self) -> Packets:
        rows, self._failed, self._last_byte = [], None, None
        for packet in self._demux():
            if packet.size:
                self._last_byte = packet.pos
                times = (NO_TIME if time is None else time for time in (packet.pts, packet.dts))
                flags = (packet.is_keyframe, packet.is_discard, packet.is_corrupt)
                rows.append((*times, packet.duration or 0, packet.size, *flags))
        if self._failed and not _is_file_name(self._path) and not isinstance(self._failed, av.InvalidDataError):
            raise VideoError(self._name, f"reading failed midway ({self._failed.strerror}); try again")
        if not rows:
            raise VideoError(self._name, "its video stream holds no frame; the file was cut short or never finished")
        columns = np.array(rows, np.int64).reshape(-1, 7).T
        if self.format == "mpegts":  # whose frames are told apart only as the next one begins, so the flag can be early
            columns[6, 1:] |= columns[6, :-1]
        promised = self._stream.frames if self.format.startswith("mov") else 0
        return Packets(
            *columns[:4],
            *columns[4:].astype(bool),
            time_base=float(self._stream.time_base),
            incomplete=self._failed is not None or len(rows) < promised or self._is_cut(),
        )

    def _check_end(self) -> None:
        """See whether the last packet is whole, where a cut file would seem to end like any other."""
        if self.format not in _OPEN_ENDED or self._ends_with_stuffing():
            return
        if self.codec not in {"h264", "hevc", "vvc"}:
            self.unsure = True  # their decoders tell, in due course
            return
        # What comes after a whole picture does not change it.
        shown = {self._last_picture(extra) for extra in (b"", b"\xa5" * 64)}
        # Of H.264, the last packet may be but the second field of a frame.
        self.packets.bad[-1] |= len(shown) > 1 or b"" in shown or (None in shown and self.codec != "h264")

    def _last_picture(self, extra: bytes) -> bytes | None:
        """Pixels that the last packet gives if `extra` follows it, empty where damaged, None if it gives nothing."""
        self.open(1)  # threads of FFmpeg's HEVC decoder can wait for each other for ever over such damage
        last = len(self.packets.pts) - 1
        keys = np.flatnonzero(self.packets.key[:last])[-2:].tolist()
        pixels = None
        for position, packet in chain(self._packets_from(keys[0] if keys else 0), [(last, None)]):
            if packet and position == last:
                packet = av.Packet(bytes(packet) + extra)
            if packet:
                packet.pts = packet.dts = position
            for number, frame in self._decode(packet, position):
                if number == last:
                    pixels = b"".join(map(bytes, frame.planes)) if frame else b""
        self.open(THREADS)
        return pixels

    def _is_cut(self) -> bool:
        """Whether a Matroska, WebM or AVI file ends before the length that it tells, which FFmpeg takes for its end."""
        if not self.format.startswith(("matroska", "avi")) or not _is_file_name(self._path):
            return False
        file = Path(os.fsdecode(self._path))
        with file.open("rb") as opened:
            head = opened.read(1024)
        return file.stat().st_size < (_avi_length(head) if self.format == "avi" else _matroska_length(head))

    def _ends_with_stuffing(self) -> bool:
        """Whether the last packet of the video ends within a packet of MPEG-TS that it does not fill."""
        if self.format != "mpegts" or not _is_file_name(self._path) or self._last_byte is None:
            return False
        with Path(os.fsdecode(self._path)).open("rb") as file:
            file.seek(self._last_byte)
            data = file.read()
        step = next((step for step in (188, 192, 204) if data[step : step + 1] == b"G"), 188)
        packets = (data[at : at + 188] for at in range(0, len(data), step))
        ours = [p for p in packets if len(p) == 188 and int.from_bytes(p[1:3], "big") & 0x1FFF == self._stream.id]
        if not ours or not ours[-1][3] & 0x20:  # no adaptation field: full of video
            return False
        length, clock = ours[-1][4], ours[-1][5] & 0x10
        return length == 0 or length > (7 if clock else 1)


def _openable(path: str | os.PathLike | BinaryIO) -> str | BinaryIO:
    if hasattr(path, "read"):
        path.seek(0)
        return path
    # Without its prefix, FFmpeg would take what comes before a colon in a file name for a protocol.
    return f"file:{os.fsdecode(path)}" if _is_file_name(path) else path


def _is_url(path: str | os.PathLike | BinaryIO) -> bool:
    return not hasattr(path, "read") and _URL.match(os.fsdecode(path)) is not None


def _is_file_name(path: str | os.PathLike | BinaryIO) -> bool:
    return not hasattr(path, "read") and not _is_url(path)


def _avi_length(head: bytes) -> int:
    """Bytes of an AVI file, or of the first part of a long one, as its first bytes tell; 0 if they do not."""
    size = int.from_bytes(head[4:8], "little")
    return 0 if size in (0, 2**32 - 1) else 8 + size


def _matroska_length(head: bytes) -> int:
    """Bytes of a Matroska file, as its first bytes tell; 0 if they do not, as in a live recording."""
    end = 0
    for element in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):  # the header, then all the rest (RFC 8794, 9559)
        start = end + len(element)
        if head[end:start] != element or not any(head[start : start + 1]):
            return 0
        width = 9 - head[start].bit_length()  # leading zero bits tell how many bytes hold the size
        size, unknown = int.from_bytes(head[start : start + width], "big"), 2 ** (7 * width) - 1
        size &= unknown
        if size == unknown:
            return 0
        end = start + width + size
    return end


def _why_unreadable(path: str | os.PathLike | BinaryIO, error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "its name is not valid UTF-8; rename it"
    reason = getattr(error, "strerror", None) or str(error)
    if not _is_file_name(path):
        return f"cannot be opened as a video ({reason})"
    file = Path(os.fsdecode(path))
    if not file.is_file():
        return "not a file" if file.exists() else "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if not file.stat().st_size:
        return "the file is empty"
    with file.open("rb") as opened:
        start = opened.read(12)
    if start.startswith((b"#EXTM3U", b"ffconcat")):
        return "a playlist, not a video; name the files that it lists"
    if start[4:8] == b"ftyp":
        return "its index (moov) is missing: the file was cut short, or its recording was never finished"
    if file.suffix.lower() in {".rgb", ".raw"}:
        return (
            "raw video does not tell its size; wrap it: ffmpeg -f rawvideo -pix_fmt FORMAT -s WxH -r FPS -i IN OUT.mkv"
        )
    return f"not a video file, or damaged beyond reading ({reason})"

"""All that decides what the default student becomes, in one table."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """A part of the training of a model: steps of a batch of native crops, `crop` pixels wide and high."""

    steps: int
    batch_size: int
    crop: int
    learning_rate: float


@dataclass(frozen=True)
class Settings:
    """The settings of every phase; another value of any of them is another student."""

    # The ladder: what `build_ladder` is told beside sources, recipe and folder.
    recipe: str = "mixed"
    ladder: dict = field(
        default_factory=lambda: {
            "encodes_per_source": 6,
            "takes": 2,
            "size": ((480, 270), (480, 270), (480, 270), (640, 360), (960, 540)),
            "num_frames": 24,
            "max_frames": 32,
        }
    )
    seed: int = 0

    # Who learns and who tests: shares of the contents, families together. Of the left-out kinds nothing is trained or
    # validated on; those of test contents are test sets of their own.
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    split_seed: int = 0
    left_out: dict = field(default_factory=lambda: {"codec": "vvc", "preset": "ultrafast"})

    # Training clips: frames at even distances over the clip, and so many sets of them.
    num_frames: int = 4
    windows: int = 2

    # What the shipped processor shows: native fragments that see all of a small frame.
    view: int = 448
    fragment: int = 224
    orientations: int = 4  # as the clips that it learns from are turned, too

    # Training, of both models where not told apart. A stage goes on where the one before it ended.
    teacher: str = "regnet_base"
    student: str = "regnet_small"
    network: dict = field(default_factory=lambda: {"num_channels": 1, "temporal_pooling": "mean"})
    teacher_stages: tuple[Stage, ...] = (
        Stage(steps=4000, batch_size=192, crop=128, learning_rate=1e-3),
        Stage(steps=1000, batch_size=64, crop=256, learning_rate=5e-4),
    )
    student_stages: tuple[Stage, ...] = (
        Stage(steps=10000, batch_size=192, crop=128, learning_rate=2e-3),
        Stage(steps=2500, batch_size=64, crop=256, learning_rate=1e-3),
    )
    evaluations: int = 4  # of each stage
    eval_batch_size: int = 16
    averaging: float = 0.999
    teacher_loss: dict = field(default_factory=lambda: {"huber": 10.0, "plcc": 0.3})
    student_loss: dict = field(
        default_factory=lambda: {"student_huber": 10.0, "plcc": 0.3, "feature": 0.2, "teacher_score": 10.0}
    )

    # The interval of a score: the share of held-out encodes whose VMAF it is to hold.
    coverage: float = 0.9

    # BD-rate: encodes of so many test contents by these encoders, at so many CRFs each; the first is the anchor.
    bd_encoders: tuple[str, ...] = ("x264", "x265", "svtav1")
    bd_contents: int = 12
    bd_levels: int = 5

    # What users try first: so many test contents, frames of a clip, and contents that a guise is put on.
    sanity_contents: int = 8
    sanity_frames: int = 24
    sanity_repeats: int = 2

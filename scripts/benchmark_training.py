"""What distillation costs on one GPU and on several: clips per second and peak memory, whole (DDP) and sharded (FSDP2).

    python scripts/benchmark_training.py --teacher 1B --student S --batch_size 16 --gpus 1 2 --output training.json

Runs each combination in processes of its own, through `accelerate launch` with the configurations of this repository,
says what it found, and prints one Markdown table of all. One that fails or hangs is named there, and the others go on.
The clips are noise: no time depends on what they show, and no data set is needed. Time is the median of the steps after
the first ones; memory is what was allocated on the fullest GPU.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


ROOT = Path(__file__).parents[1]
CONFIGS = {"DDP": ROOT / "accelerate_config.yaml", "FSDP2": ROOT / "scripts" / "accelerate_fsdp2.yaml"}
WARM_UP = 5


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="1B", help="size of the teacher (default: 1B)")
    parser.add_argument("--student", default="S", help="size of the student (default: S)")
    parser.add_argument("--teacher_mode", default="joint", choices=("joint", "frozen"))
    parser.add_argument("--teacher_trainable_blocks", type=int, default=1, help="-1: all, as full fine-tuning does")
    parser.add_argument("--batch_size", type=int, default=16, help="clips per GPU (default: 16)")
    parser.add_argument("--image_size", type=int, default=224, help="side of the clips of 8 frames (default: 224)")
    parser.add_argument("--no_gradient_checkpointing", action="store_true", help="keep all activations")
    parser.add_argument("--torch_compile", action="store_true")
    parser.add_argument("--mixed_precision", default="bf16", choices=("bf16", "no"))
    parser.add_argument("--steps", type=int, default=10, help=f"timed, after {WARM_UP} that are not (default: 10)")
    parser.add_argument("--time_limit", type=float, default=180, help="seconds for each combination (default: 180)")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2], help="numbers of GPUs (default: 1 2)")
    parser.add_argument("--kinds", nargs="+", default=list(CONFIGS), choices=CONFIGS)
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON to write")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # a process of one combination: where to answer
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if arguments.one:
        measure(arguments)
        return 0
    from cvqa.files import json_text, write_text

    rows = []
    for gpus in arguments.gpus:
        for kind in arguments.kinds:
            rows.append(run(kind, gpus, arguments.time_limit))
            print(table_row(rows[-1]), file=sys.stderr, flush=True)
            if arguments.output:
                write_text(arguments.output, json_text({"command": sys.argv[1:], "rows": rows}))
    print("| GPUs | kind | clips/s | peak memory of a GPU, GiB | loss, first and last |")
    print("| ---: | --- | ---: | ---: | --- |")
    for row in rows:
        print(table_row(row))
    return int(any("error" in row for row in rows))


def table_row(row: dict) -> str:
    if "error" in row:
        return f"| {row['gpus']} | {row['kind']} | {row['error']} | | |"
    losses = f"{row['losses'][0]:.3f}, {row['losses'][-1]:.3f}"
    return f"| {row['gpus']} | {row['kind']} | {row['clips_per_second']:.1f} | {row['peak_gib']} | {losses} |"


def run(kind: str, gpus: int, time_limit: float) -> dict:
    """One combination in its own processes, with the options of this one."""
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch, "answer.json")
        precision = sys.argv[sys.argv.index("--mixed_precision") + 1] if "--mixed_precision" in sys.argv else "bf16"
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS[kind])]
        launch += ["--num_processes", str(gpus), "--main_process_port", "0", "--mixed_precision", precision]
        launch += [__file__, *sys.argv[1:], "--one", str(answer)]
        path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        reason, log = "failed, see above", Path(scratch, "log.txt")
        with log.open("w") as stderr:
            environment = {**os.environ, "PYTHONPATH": path}
            process = subprocess.Popen(launch, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)
            try:
                process.wait(time_limit)
            except subprocess.TimeoutExpired:
                reason = f"not done after {time_limit:.0f} s"
            finally:
                process.terminate()  # it ends its processes, for which it takes up to 30 seconds
                process.wait()
        if answer.is_file():
            return {"kind": kind, "gpus": gpus, **json.loads(answer.read_text())}
        errors = log.read_text()
        print(errors[-4000:], file=sys.stderr)
        return {"kind": kind, "gpus": gpus, "error": "out of memory" if "OutOfMemoryError" in errors else reason}


def measure(arguments: argparse.Namespace) -> None:
    import torch
    from torch.utils.data import Dataset
    from transformers import TrainerCallback, set_seed

    from cvqa import InternVideo2VideoProcessor
    from cvqa.data import QualityScale
    from cvqa.distillation import DistillationArguments, DistillationTrainer
    from cvqa.distillation.students import build_student
    from cvqa.evaluation.cost import machine
    from cvqa.files import json_text, write_text

    class Noise(Dataset):
        """Clips that lie in memory, so that nothing but the models takes time."""

        clips = torch.randint(0, 256, (16, 8, 3, arguments.image_size, arguments.image_size), dtype=torch.uint8)

        def __len__(self):
            return 100_000

        def __getitem__(self, index):
            return {"pixel_values_videos": self.clips[index % 16], "labels": torch.tensor(index % 100 / 100)}

    class Clock(TrainerCallback):
        times: list[float] = []

        def on_step_end(self, args, state, control, **kwargs):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    set_seed(0)
    teacher, student = build_student(arguments.teacher), build_student(arguments.student)
    given = {"loss_weights": {"student_regression": 1.0, "feature": 1.0}}
    if arguments.teacher_mode == "joint":
        given["loss_weights"]["teacher_regression"] = 1.0
        given["teacher_trainable_blocks"] = arguments.teacher_trainable_blocks
    args = DistillationArguments(
        output_dir=str(arguments.one.with_suffix("")),
        teacher_mode=arguments.teacher_mode,
        per_device_train_batch_size=arguments.batch_size,
        max_steps=WARM_UP + arguments.steps,
        gradient_checkpointing=not arguments.no_gradient_checkpointing,
        torch_compile=arguments.torch_compile,
        bf16=arguments.mixed_precision == "bf16",
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        logging_steps=1,
        disable_tqdm=True,
        dataloader_num_workers=2,
        **given,
    )
    processor, collator = InternVideo2VideoProcessor(), torch.utils.data.default_collate
    trainer = DistillationTrainer(
        student, args, Noise(), None, processor, teacher=teacher, data_collator=collator, scale=QualityScale(0, 1)
    )
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    peak = torch.tensor([torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0])
    peak = trainer.accelerator.gather(peak.to(args.device)).max().item()
    steps = [after - before for before, after in zip(clock.times[WARM_UP - 1 :], clock.times[WARM_UP:])]
    if trainer.is_world_process_zero():
        answer = {
            "clips_per_second": args.clips_per_update / statistics.median(steps),
            "seconds_per_step": statistics.median(steps),
            "peak_gib": round(peak, 1),
            "processes": args.world_size,
            "sharded": trainer.is_fsdp_enabled,
            "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
            "machine": machine(args.device),
            "torch": torch.__version__,
        }
        write_text(arguments.one, json_text(answer))
    trainer.accelerator.end_training()


if __name__ == "__main__":
    sys.exit(main())

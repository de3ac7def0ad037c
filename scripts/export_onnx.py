"""Export a model to ONNX, into FOLDER/onnx, checked against torch; prints how far each precision is off.

Examples:
    python scripts/export_onnx.py runs/student
    python scripts/export_onnx.py runs/student --precisions fp32 int8 --clips encodes/*.mp4
"""

import argparse
import sys
from pathlib import Path

from transformers.utils import logging

from cvqa.inference import ModelError
from cvqa.inference.export_onnx import TOLERANCES, ExportError, export_onnx
from cvqa.video import VideoError


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder of the model")
    parser.add_argument("--precisions", nargs="+", choices=tuple(TOLERANCES), default=tuple(TOLERANCES), help="(all)")
    parser.add_argument(
        "--clips", nargs="+", type=Path, default=(), metavar="FILE", help="videos to check with (default: photographs)"
    )
    for precision, points in TOLERANCES.items():
        parser.add_argument(
            f"--tolerance-{precision}",
            type=float,
            default=points,
            metavar="POINTS",
            help="quality points by which a clip may be off (default: %(default)s)",
        )
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    logging.disable_progress_bar()
    tolerances = {precision: getattr(arguments, f"tolerance_{precision}") for precision in TOLERANCES}
    try:
        report = export_onnx(arguments.folder, arguments.precisions, arguments.clips, tolerances)
    except (ExportError, ModelError, VideoError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.folder / 'onnx'}: opset {report['opset']}, checked on {report['checked_on']['clips']} clips")
    for name, facts in report["files"].items():
        points = max(found["quality_points"] for found in facts["largest_deviation_by_batch_size"].values())
        allowed = facts["tolerance"]["quality_points"]
        print(f"{facts['bytes'] / 1e6:9.1f} MB  within {points:.5f} points of torch (allowed {allowed:g})  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Convert an official InternVideo2 weight file to a folder that `from_pretrained` loads.

Example: python scripts/convert_internvideo2.py InternVideo2-stage2_1b-224p-f4.pt teacher-1b --size 1B
"""

import argparse
import sys
from pathlib import Path

import torch
from transformers.utils import logging

from cvqa.models.configuration_internvideo2 import SIZES
from cvqa.models.convert_internvideo2 import ConversionError, convert_internvideo2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="FILE", type=Path, help="official weights: .pth, .pt, .bin or .safetensors")
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path, help="folder to write")
    parser.add_argument("--size", choices=SIZES, help="refuse a file of another size (default: read from the file)")
    parser.add_argument("--num-frames", type=int, help="frames of a clip (default: 8)")
    parser.add_argument("--image-size", type=int, help="height and width in pixels (default: 224)")
    parser.add_argument("--tubelet-size", type=int, help="frames that share a token (default: as in the file, 1)")
    parser.add_argument("--part", choices=("student", "teacher"), default="student", help="of a joint file")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="default: as in the file")
    parser.add_argument("--base", metavar="FOLDER", type=Path, help="converted folder that fills what FILE lacks")
    parser.add_argument("--source-image-size", type=int, default=224, help="size FILE was trained at (default: 224)")
    parser.add_argument("--seed", type=int, default=0, help="seed of fresh parameters (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace a model in OUT_DIR")
    return parser.parse_args()


def main() -> int:
    options = vars(parse_arguments())
    options["dtype"] = options["dtype"] and getattr(torch, options["dtype"])
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        print(convert_internvideo2(**options))
    except (ConversionError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

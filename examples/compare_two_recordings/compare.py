"""Score two recordings with a model folder: see README.md."""

import argparse
from pathlib import Path

import numpy as np

from tidyvoice.audio import read_pcm16
from tidyvoice.embeddings import load_embeddings
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--mean", type=Path, required=True, help="embeddings to centre with")
    parser.add_argument("recordings", type=Path, nargs=2, metavar="WAV")
    args = parser.parse_args()
    encoder = SpeakerEncoder.from_pretrained(args.model)
    mean = load_embeddings(args.mean).mean()
    first, second = (
        encoder.embed_samples(read_pcm16(path)[None])[0] - mean for path in args.recordings
    )
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    print(f"{cosine:.4f}")


if __name__ == "__main__":
    with one_line_errors():
        main()

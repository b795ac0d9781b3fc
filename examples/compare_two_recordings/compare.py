"""Say whether two recordings are of one person: see README.md."""

import argparse

from tidyvoice import SpeakerEncoder
from tidyvoice.errors import one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="model folder or Hugging Face repository")
    parser.add_argument("recordings", nargs=2, metavar="RECORDING")
    args = parser.parse_args()
    encoder = SpeakerEncoder.from_pretrained(args.model)
    found = encoder.verify(*args.recordings)
    for said in found.warnings:
        print(f"warning: {said}")
    print(f"score {found.score:.4f}")
    if found.llr is not None:
        print(f"log-likelihood ratio {found.llr:+.2f}")
        print("the same speaker" if found.same_speaker else "different speakers")


if __name__ == "__main__":
    with one_line_errors():
        main()

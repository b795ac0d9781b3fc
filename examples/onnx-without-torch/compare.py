"""Score two recordings with an ONNX file, onnxruntime and numpy: see README.md."""

import argparse
import json
import sys

import numpy as np
import onnxruntime
import soundfile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="file that tidyvoice export wrote")
    parser.add_argument("--mean", required=True, help="embeddings to centre with, .npz")
    parser.add_argument("recordings", nargs=2, metavar="WAV")
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
    description = json.loads(session.get_modelmeta().custom_metadata_map["tidyvoice"])
    expected = description["sample_rate"]
    centre = np.load(args.mean)
    if str(centre["model"]) != description["weights"]:
        sys.exit(f"error: {args.mean} holds embeddings of another model: extract it with this one")
    embeddings = []
    for path in args.recordings:
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            sys.exit(f"error: {path} cannot be read: {error.error_string}")
        if rate != expected:
            sys.exit(f"error: {path} has {rate} Hz, the model takes {expected}: resample it")
        embeddings += session.run(["embeddings"], {"waveform": samples[:, 0][None]})[0].tolist()
    centred = np.array(embeddings) - centre["embeddings"].mean(axis=0)
    first, second = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    print(f"{first @ second:.4f}")


if __name__ == "__main__":
    main()

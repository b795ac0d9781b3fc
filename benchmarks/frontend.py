"""Time of the filterbank: ours, batched, against torchaudio's, one utterance at a time.

    python benchmarks/frontend.py --batch 16 --seconds 3

Both give the same features (a test holds them to 1e-3). Ratios are of the medians of runs that
alternate, so that they hold on a machine whose speed drifts.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torchaudio

from tidyvoice.frontends.fbank import Fbank


def seconds_of(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each utterance")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    waveforms = 0.1 * torch.randn(args.batch, int(16000 * args.seconds))
    frontend = Fbank(mean_norm=False).eval()

    def reference() -> list[torch.Tensor]:
        return [
            torchaudio.compliance.kaldi.fbank(
                waveform[None] * 32768,
                num_mel_bins=80,
                window_type="hamming",
                dither=0.0,
                sample_frequency=16000,
            )
            for waveform in waveforms
        ]

    def ours() -> torch.Tensor:
        return frontend(waveforms)

    difference = (torch.stack(reference()) - ours()).abs().max()
    times: dict[str, list[float]] = {"torchaudio": [], "tidyvoice": []}
    with torch.inference_mode():
        for _ in range(args.runs):
            times["torchaudio"].append(seconds_of(reference))
            times["tidyvoice"].append(seconds_of(ours))
    audio = args.batch * args.seconds
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:<11}{1000 * median / args.batch:8.2f} ms/utterance  {audio / median:8.0f} x")
    print(f"ratio {medians['torchaudio'] / medians['tidyvoice']:.2f}, difference {difference:.1e}")


if __name__ == "__main__":
    main()

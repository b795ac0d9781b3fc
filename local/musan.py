"""MUSAN: music, speech and noise (Snyder, Chen, Povey 2015; openslr 17; CC-BY and public domain).

Layout: ``musan/{noise,music,speech}/SOURCE/FILE.wav``, 16 kHz.

    python -m local.musan --root corpus/musan --out data/noise

writes a data folder whose "speaker" is the kind of noise, by which training draws the
signal-to-noise ratio.
"""

from local.sounds import prepare

if __name__ == "__main__":
    prepare(prog="python -m local.musan", description=__doc__, kinds=("noise", "music", "speech"))

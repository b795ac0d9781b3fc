"""MUSAN: music, speech and noise (Snyder, Chen, Povey 2015; openslr 17).

Layout: ``musan/{noise,music,speech}/SOURCE/FILE.wav``, 16 kHz; 109 hours, 11 GB packed.

    python -m local.musan --download corpus --out data/noise

downloads corpus/musan.tar.gz, unpacks it to corpus/musan and writes a data folder whose "speaker"
is the kind of noise, which determines the signal-to-noise ratio in training. Finished steps are
skipped. ``--root corpus/musan`` starts after unpacking.
"""

from local.sounds import prepare

TERMS = "MUSAN is CC BY and public domain."
KINDS = ("noise", "music", "speech")
URL = "https://www.openslr.org/resources/17/musan.tar.gz"
MD5 = "0c472d4fc0c5141eca47ad1ffeb2a7df"

if __name__ == "__main__":
    prepare("musan", __doc__, TERMS, KINDS, "musan", URL, MD5)

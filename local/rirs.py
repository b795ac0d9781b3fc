"""RIRS_NOISES: simulated room impulse responses (Ko et al. 2017; openslr 28).

Layout: ``RIRS_NOISES/simulated_rirs/{small,medium,large}room/ROOM/FILE.wav``, 16 kHz.

    python -m local.rirs --download corpus --out data/rirs

downloads corpus/rirs_noises.zip, unpacks it to corpus/RIRS_NOISES and writes a data folder whose
"speaker" is the size of the room. Finished steps are skipped. ``--root corpus/RIRS_NOISES`` starts
after unpacking.
"""

from local.sounds import prepare

TERMS = "RIRS_NOISES is Apache-2.0."
KINDS = ("smallroom", "mediumroom", "largeroom")
URL = "https://www.openslr.org/resources/28/rirs_noises.zip"
MD5 = "e6f48e257286e05de56413b4779d8ffb"

if __name__ == "__main__":
    prepare("rirs", __doc__, TERMS, KINDS, "RIRS_NOISES", URL, MD5)

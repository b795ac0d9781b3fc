"""RIRS_NOISES: simulated room impulse responses (Ko et al. 2017; openslr 28).

Layout: ``RIRS_NOISES/simulated_rirs/{small,medium,large}room/ROOM/FILE.wav``, 16 kHz.

    python -m local.rirs --download corpus --out data/rirs

downloads corpus/rirs_noises.zip, unpacks it to corpus/RIRS_NOISES and writes a data folder whose
"speaker" is the size of the room. Finished steps are skipped. Without --out, the command stops
after unpacking; ``--root corpus/RIRS_NOISES/simulated_rirs`` starts there.
"""

from local.sounds import prepare
from local.sources import Remote

TERMS = "RIRS_NOISES is Apache-2.0."
KINDS = ("smallroom", "mediumroom", "largeroom")
REMOTE = Remote(
    "https://www.openslr.org/resources/28", "rirs_noises.zip", "e6f48e257286e05de56413b4779d8ffb"
)

if __name__ == "__main__":
    prepare("python -m local.rirs", __doc__, TERMS, KINDS, "RIRS_NOISES", REMOTE)

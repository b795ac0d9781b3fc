"""RIRS_NOISES: simulated room impulse responses (Ko et al. 2017; openslr 28; Apache-2.0).

Layout: ``RIRS_NOISES/simulated_rirs/{small,medium,large}room/ROOM/FILE.wav``, 16 kHz.

    python -m local.rirs --root corpus/RIRS_NOISES/simulated_rirs --out data/rirs

writes a data folder whose "speaker" is the size of the room.
"""

from local.sounds import prepare

if __name__ == "__main__":
    prepare(
        prog="python -m local.rirs",
        description=__doc__,
        kinds=("smallroom", "mediumroom", "largeroom"),
    )

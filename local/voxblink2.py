"""VoxBlink2 (Lin, Cheng, Zhang, Gao, Qu, Li, arXiv 2407.11510): about 111,000 speakers.

About 10 million utterances, 16,000 hours. The authors' list and tools, at
https://github.com/VoxBlink2/ScriptsForVoxBlink2, download the videos. Layout:
``SPEAKER/VIDEO/UTTERANCE.m4a`` or ``.wav``. Speakers get the prefix ``vb2-``, because VoxCeleb has
speakers of the same names.

    python -m local.voxblink2 --root corpus/voxblink2 --out data/voxblink2
    tidyvoice shards data/voxblink2 --tolerate 0.01

makes the 16 parts one by one. Both commands take ``--part 3/16``, to make the parts side by side:
with Slurm ``--array=1-16`` and ``--part $SLURM_ARRAY_TASK_ID/16``.
"""

from local.videos import prepare

TERMS = (
    "VoxBlink2 is CC BY-NC-SA: it allows no commercial use, and you must share derived work under "
    "the same licence."
)

if __name__ == "__main__":
    prepare("voxblink2", __doc__, TERMS, below="audio", parts=16, prefix="vb2-")

"""VoxBlink2 (Lin, Cheng, Zhang, Gao, Qu, Li, arXiv 2407.11510): about 111,000 speakers.

About 10 million utterances, 16,000 hours. Videos are fetched from their site with the list and the
tools of the authors, https://github.com/VoxBlink2/ScriptsForVoxBlink2. Layout: ``SPEAKER/VIDEO/
UTTERANCE.m4a`` or ``.wav``. Speakers get the prefix ``vb2-``, because VoxCeleb calls its own alike.

    python -m local.voxblink2 --root corpus/voxblink2 --out data/voxblink2
    tidyvoice shards data/voxblink2 --tolerate 0.01

does the 16 parts one by one. Both take ``--part 3/16``, to have them done side by side: with Slurm
``--array=1-16`` and ``--part $SLURM_ARRAY_TASK_ID/16``.
"""

from local.videos import prepare

if __name__ == "__main__":
    prepare(
        "python -m local.voxblink2", __doc__, "VoxBlink2", below="audio", parts=16, prefix="vb2-"
    )

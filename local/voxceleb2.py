"""VoxCeleb2 dev (Chung, Nagrani, Zisserman, Interspeech 2018).

5,994 speakers, 1,092,009 utterances. No script can download the archive: ask for access at
https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html, join its parts and unzip them. Layout:
``dev/aac/id00012/VIDEO/00001.m4a``.

    python -m local.voxceleb2 --root corpus/voxceleb2 --out data/voxceleb2
    tidyvoice shards data/voxceleb2 --tolerate 0.001
"""

from local.videos import prepare
from local.voxceleb1 import TERMS

if __name__ == "__main__":
    prepare("voxceleb2", __doc__, TERMS, below="dev/aac", parts=1, prefix="")

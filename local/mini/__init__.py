"""The built-in corpus: synthetic speakers of many languages, made in a minute.

The whole recipe runs on it, and is tested, without a download. It does not replace speech.

Source: espeak-ng 1.52 (https://github.com/espeak-ng/espeak-ng), through the Python package
    ``espeakng-loader``, which the extra ``mini`` installs. Noises, rooms and channels are computed
    with numpy and scipy.
Licence: espeak-ng is GPL-3.0-or-later. This repository neither contains nor links it: it is loaded
    at run time from the user's installation. The audio is a program's output, not derived code.
Contents (as in conf/mini/corpus.yaml): 308 synthetic speakers who read random numbers natively,
    about 4.5 h, 16 kHz mono PCM16; noise, music and babble; room impulse responses; dev trials.
Layout: that of the real corpora, so that the same commands prepare both::

    OUT/pretrain/mp00001/en/en_30000001.wav
    OUT/TidyVoiceX_ASV/TidyVoiceX_Train/id010001/en/en_10000001.wav
    OUT/TidyVoiceX_ASV/TidyVoiceX_Dev/id014001/fr/fr_20000012.wav
    OUT/TidyVocieX_Dev_trialPairs.txt       "1 id014001/en/en_a.wav id014001/fr/fr_b.wav"
    OUT/musan/{noise,music,speech}/SOURCE/x.wav
    OUT/RIRS_NOISES/simulated_rirs/{smallroom,mediumroom,largeroom}/Room001/Room001-00001.wav
    OUT/corpus.json                         written last: settings, counts, sha256 of the corpus

A speaker is one espeak-ng voice: formants, pitch, glottal tone, breath, roughness, tempo. The voice
shifts a little with the language, and every utterance passes through its own channel.
"""

MARKER = "corpus.json"
TERMS = "The built-in corpus is synthetic speech of espeak-ng: it has no terms of its own."

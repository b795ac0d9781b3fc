# shellcheck shell=bash disable=SC2034
# What ./run.sh --recipe tidyvoice does beside the trainings; ./run.sh --set KEY=VALUE overrides it.
calib_speakers=100      # held out of the fine-tuning, for calibration
average=1               # last checkpoints whose mean is the model
mean_utterances=20000   # of the fine-tuning data, whose mean embedding is subtracted
normalize=language      # language, asnorm or snorm
top_n=300               # highest cohort scores that count, of 3,566 speakers
calib_targets=20000     # trials that the calibration is fitted to
calib_nontargets=100000

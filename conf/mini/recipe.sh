# shellcheck shell=bash disable=SC2034
# What ./run.sh --recipe mini does beside the trainings; ./run.sh --set KEY=VALUE overrides it.
calib_speakers=30       # held out of the fine-tuning, for calibration
average=3               # last checkpoints whose mean is the model
mean_utterances=500     # of the fine-tuning data, whose mean embedding is subtracted
normalize=language      # language, asnorm or snorm
top_n=40                # highest cohort scores that count, of 80 speakers
calib_targets=4000      # trials that the calibration is fitted to
calib_nontargets=20000

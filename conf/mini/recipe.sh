# shellcheck shell=bash disable=SC2034,SC2154
# What ./run.sh --recipe mini does beside the trainings; ./run.sh --set KEY=VALUE overrides it.
calib_speakers=30       # held out of the fine-tuning, for calibration; 0: dev calibrates itself
mean_utterances=500     # for the mean of the earlier systems; the reported one takes all utterances
normalize=language      # language, asnorm or snorm
top_n=40                # highest cohort scores that count, of 80 speakers, each a few times over
calib_targets=4000      # trials that the calibration is fitted to
calib_nontargets=20000
tolerate=0              # share of files that may be broken
counts=official         # lengths of the lists of a submission; any for others

# --processes sets it. On two cores, two processes of one thread each train this narrow network faster
# than one process of two threads, which often wait for each other.
processes=${processes:-2}

other_mean=''           # data folder of another mean to centre a released model with

trainings=(pretrain finetune)

training_data() { echo "$data/$1"; }

require_inputs() { :; } # stage 1 makes them

prepare() {
  set_aside "$corpus"
  make "$made" conf/mini/corpus.yaml -- python -m local.mini --config conf/mini/corpus.yaml \
    --out "$corpus" "$@"
  if [ -z "$init_from" ]; then
    make "$data/pretrain/wav.scp" "$made" -- \
      python -m local.tidyvoice --root "$corpus/pretrain" --out "$data/pretrain"
  fi
}

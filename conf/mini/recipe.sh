# shellcheck shell=bash disable=SC2034,SC2154
# Settings and steps of the recipe mini. Each variable below is an option of run.sh.
calib_speakers=30       # speakers held out of the fine-tuning for calibration; 0: cross-fitting on dev
mean_utterances=500     # utterances for the mean of the pretrained model
dimensions="10 20 40"   # that a back end keeps; the held-out speakers choose one
calib_targets=4000      # target trials for the calibration
calib_nontargets=20000  # non-target trials for the calibration
processes=2             # processes of a training: on two cores faster than two threads of one process

pretraining=(pretrain)
training_data() { echo "$data/$1"; }
pack_pretraining() { pack "$data/pretrain"; }
require_inputs() { :; }; examine() { :; } # stage 1 makes all inputs, which need no check

prepare() {
  local setting settings=()
  for setting in ${overrides[@]+"${overrides[@]}"}; do
    [[ $setting != corpus.* ]] || settings+=("${setting#corpus.}")
  done
  set_aside "$corpus"
  make "$corpus_stamp" conf/mini/corpus.yaml -- python -m local.mini --config conf/mini/corpus.yaml \
    --out "$corpus" ${settings[@]+"${settings[@]}"}
  [ -n "$init_from" ] || make "$data/pretrain/wav.scp" "$corpus_stamp" -- \
    python -m local.tidyvoice --root "$corpus/pretrain" --out "$data/pretrain"
}

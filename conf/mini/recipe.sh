# shellcheck shell=bash disable=SC2034,SC2154
# What the recipe mini does beside its trainings. Each variable is an option of run.sh, too.
calib_speakers=30       # speakers held out of the fine-tuning for the calibration; with 0 dev calibrates itself
mean_utterances=500     # utterances for the mean of the pretrained model
normalize=language      # score normalisation: language, asnorm or snorm
top_n=40                # highest cohort scores that count, of 80 speakers, each a few times over
calib_targets=4000      # target trials for the calibration
calib_nontargets=20000  # non-target trials for the calibration
# On two cores, two processes of one thread each train this narrow network faster than one process of
# two threads, which often wait for each other.
processes=2             # processes of a training on this machine, one for each GPU

pretraining=(pretrain)
training_data() { echo "$data/$1"; }

require_inputs() { :; } # stage 1 makes them

prepare() {
  local setting settings=()
  for setting in ${overrides[@]+"${overrides[@]}"}; do
    [[ $setting != corpus.* ]] || settings+=("${setting#corpus.}")
  done
  set_aside "$corpus"
  make "$made" conf/mini/corpus.yaml -- python -m local.mini --config conf/mini/corpus.yaml \
    --out "$corpus" ${settings[@]+"${settings[@]}"}
  if [ -z "$init_from" ]; then
    make "$data/pretrain/wav.scp" "$made" -- \
      python -m local.tidyvoice --root "$corpus/pretrain" --out "$data/pretrain"
  fi
}

examine() { :; } # it is as it should be

pack_pretraining() { pack "$data/pretrain"; }

# shellcheck shell=bash disable=SC2034,SC2154
# Settings and steps of the recipe tidyvoice. Each variable below is an option of run.sh.
calib_speakers=100      # speakers held out of the fine-tuning for calibration; 0: cross-fitting on dev
mean_utterances=20000   # utterances for the mean of the pretrained models
dimensions="20 50 100 150" # that a back end keeps; the held-out speakers choose one
calib_targets=20000     # target trials for the calibration
calib_nontargets=100000 # non-target trials for the calibration
processes=1             # processes of a training on this machine, one for each GPU
tolerate=0.01           # share of the video files that may be unreadable
counts=official         # official: check the sizes of data and lists; any: do not

if [[ " $* " = *" --variant published "* ]]; then calib_speakers=0; fi # it trains on all speakers
pretraining=(pretrain large_margin)
training_data() {
  case $1 in
    pretrain) echo "[$data/voxblink2,$data/voxceleb2]" ;;
    large_margin) echo "$data/voxceleb2" ;;
    finetune) echo "$data/finetune" ;;
  esac
}

require_inputs() { python -m local.inputs "$corpus" ${init_from:+--init-from} ${from_released:+--released}; }

prepare() {
  [ -e "$tidyvoicex/TidyVoiceX_Dev" ] || [ -e "$tidyvoicex/TidyVoiceX_Dev.tar.gz" ] ||
    make "$tidyvoicex" -- python -m local.tidyvoice --download "$corpus"
  [ -e "$trials" ] || make "$trials" -- \
    python -m local.tidyvoice_trials --trials "${trials%.txt}.zip" --out "$trials"
  [ ! -e "$corpus/voxceleb1" ] || make "$data/voxceleb1/wav.scp" -- python -m local.voxceleb1 --root \
    "$corpus/voxceleb1" --lists "$corpus/voxceleb1/lists" --download-lists --out "$data/voxceleb1"
  [ ! -e "$corpus/TidyVoiceX2" ] || make "$data/eval/wav.scp" -- python -m local.tidyvoice_eval \
    --root "$corpus/TidyVoiceX2" --out "$data/eval" --lists "$corpus"/tv26_eval-{A,U}.txt
  if [ -z "$init_from$from_released" ]; then
    make "$data/voxceleb2/wav.scp" -- \
      python -m local.voxceleb2 --root "$corpus/voxceleb2" --out "$data/voxceleb2"
    make "$data/voxblink2/part-016-of-016/wav.scp" -- \
      python -m local.voxblink2 --root "$corpus/voxblink2" --out "$data/voxblink2"
  fi
}

# examine OPTION ...: check the machine, the data folders and the trials.
examine() {
  [ -n "$init_from$from_released" ] || set -- "$@" --train "$data/voxblink2" --train "$data/voxceleb2"
  [ "$counts" = any ] || set -- "$@" --expect conf/tidyvoice/expected.yaml
  make "$exp/doctor.txt" "$data"/*/wav.scp "$trials" -- \
    tidyvoice doctor --exp "$exp" --trials "$trials" "$@"
}

pack_pretraining() { for name in voxblink2 voxceleb2; do pack "$data/$name" --tolerate "$tolerate"; done; }

#!/usr/bin/env bash
# The recipe, stage by stage. Without arguments it says what there is and starts nothing.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
usage: ./run.sh --recipe NAME [options]

recipes
  mini        the built-in corpus, synthesised on this machine: about nine minutes on two cores
  tidyvoice   TidyVoiceX on your disk: needs --corpus, and --init-from or a pretraining corpus

stages
  1  prepare the data            4  fine-tune with a large margin
  2  pack shards                 5  average checkpoints, extract embeddings
  3  pretrain                    6  score, metrics in four categories, report

options
  --stage N --stop-stage M   run stages N to M only (1 to 6)
  --set KEY=VALUE ...        override settings: those of conf/NAME/{corpus,pretrain,finetune}.yaml
                             with that name and a dot before them, without it those of both
                             trainings; and calib_speakers (held out of the fine-tuning),
                             average (checkpoints), mean_utterances (for centring)
  --seed N                   seed of both trainings
  --corpus DIR               root of the corpora (mini: where they are made)
  --init-from DIR            a pretrained model folder in place of stage 3
  --data DIR --exp DIR       where to write (data/NAME, exp/NAME)

What was made by the same command from the same inputs is not made again; an interrupted stage
goes on when started again.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

recipe='' stage=1 stop_stage=6 corpus='' init_from='' data='' exp=''
calib_speakers='' average='' mean_utterances=''
corpus_set=() pretrain_set=() finetune_set=()

# What is given relative to where run.sh was called from, as it is called here.
from_here() {
  case $1 in
    /*) echo "$1" ;;
    *) if [ "$called_from" = "$PWD" ]; then echo "$1"; else echo "$called_from/$1"; fi ;;
  esac
}

add_setting() {
  case $1 in
    calib_speakers=*) calib_speakers=${1#*=} ;;
    average=*) average=${1#*=} ;;
    mean_utterances=*) mean_utterances=${1#*=} ;;
    corpus.*=*) corpus_set+=("${1#corpus.}") ;;
    pretrain.*=*) pretrain_set+=("${1#pretrain.}") ;;
    finetune.*=*) finetune_set+=("${1#finetune.}") ;;
    *=*) pretrain_set+=("$1") finetune_set+=("$1") ;;
    *) fail "--set $1: write KEY=VALUE" ;;
  esac
}

[ $# -gt 0 ] || { usage; exit 0; }
while [ $# -gt 0 ]; do
  option=${1//_/-}
  case $option in
    --help | -h) usage; exit 0 ;;
    --set)
      shift
      while [ $# -gt 0 ] && [[ $1 != --* ]]; do add_setting "$1"; shift; done
      continue
      ;;
    --recipe | --stage | --stop-stage | --corpus | --init-from | --data | --exp | --seed)
      [ $# -ge 2 ] || fail "$1 needs a value"
      ;;
    *) fail "unknown option $1: see ./run.sh --help" ;;
  esac
  case $option in
    --recipe) recipe=$2 ;;
    --stage) stage=$2 ;;
    --stop-stage) stop_stage=$2 ;;
    --corpus) corpus=$(from_here "$2") ;;
    --init-from) init_from=$(from_here "$2") ;;
    --data) data=$(from_here "$2") ;;
    --exp) exp=$(from_here "$2") ;;
    --seed) add_setting "seed=$2" ;;
  esac
  shift 2
done

[ -n "$recipe" ] || fail "give --recipe mini or --recipe tidyvoice"
[ -d "conf/$recipe" ] || fail "no recipe is called $recipe: there are mini, tidyvoice"
for number in "$stage" "$stop_stage"; do
  [[ $number =~ ^[1-6]$ ]] || fail "stages are 1 to 6, not $number"
done
[ "$stage" -le "$stop_stage" ] || fail "--stage $stage comes after --stop-stage $stop_stage"
data=${data:-data/$recipe} exp=${exp:-exp/$recipe}
if [ "$recipe" = mini ]; then corpus=${corpus:-$data/corpus}; fi
[ -n "$corpus" ] || fail "--corpus: give the folder that holds the corpora"
if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi
command -v tidyvoice >/dev/null || fail "the package is not installed: pip install -e ."

# Threads that wait by spinning make a training several times slower as soon as another program
# wants a core; waiting asleep costs an idle machine 7 %.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

train_root=$corpus/TidyVoiceX_ASV/TidyVoiceX_Train
dev_root=$corpus/TidyVoiceX_ASV/TidyVoiceX_Dev
trials=$corpus/TidyVocieX_Dev_trialPairs.txt # the challenge's own spelling
made=$corpus/corpus.json                     # when the built-in corpus was made
pretrained=${init_from:-$exp/pretrain/models}
systems=(finetune)
[ -n "$init_from" ] || systems=(pretrain finetune)

# What differs between the recipes beside their YAML files.
case $recipe in
  mini) defaults=(10 3 500) ;;
  *) defaults=(100 1 20000) ;;
esac
calib_speakers=${calib_speakers:-${defaults[0]}}
average=${average:-${defaults[1]}}
mean_utterances=${mean_utterances:-${defaults[2]}}

run() {
  printf '+ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

# make FILE INPUT... -- COMMAND...: run the command, which writes FILE last, unless FILE was made by
# this very command and no INPUT is newer. What FILE was made by is kept beside it.
make() {
  local file=$1 inputs=() input stamp command
  shift
  while [ "$1" != -- ]; do inputs+=("$1") && shift; done
  shift
  stamp=$(dirname "$file")/.$(basename "$file").command
  command=$(printf '%q ' "$@")
  if [ -e "$file" ] && [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$command" ]; then
    for input in ${inputs[@]+"${inputs[@]}"}; do
      if [ "$input" -nt "$file" ]; then rm -f "$stamp"; fi
    done
    if [ -e "$stamp" ]; then
      echo "  $file is there"
      return
    fi
  fi
  run "$@"
  if ! printf '%s\n' "$command" 2>/dev/null >"$stamp"; then
    echo "error: the disk is full: $stamp; free some space, the same command goes on" >&2
    exit 1
  fi
}

stage() {
  if [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; then
    printf '\n== stage %s: %s (%d s so far)\n' "$1" "$2" "$SECONDS"
  else
    return 1
  fi
}

common=("data.noise=$data/noise" "data.rirs=$data/rirs")

# train SYSTEM [--check]: its training, or a check of its settings, with what --set has changed.
train() {
  local system=$1 values=("experiment=$exp/$1" "data.train=$data/$1" "${common[@]}")
  if [ "$system" = pretrain ]; then
    values+=(${pretrain_set[@]+"${pretrain_set[@]}"})
  else
    values+=("model.init=$pretrained" ${finetune_set[@]+"${finetune_set[@]}"})
  fi
  run tidyvoice train "conf/$recipe/$system.yaml" "${values[@]}" "${@:2}"
}

# A misspelt setting shall not wait until the stages before its own have run.
if [ "$stage" -le 4 ] && [ "$stop_stage" -ge 3 ]; then
  for system in "${systems[@]}"; do train "$system" --check >/dev/null; done
fi
if [ ${#corpus_set[@]} -gt 0 ] && { [ "$recipe" != mini ] || [ "$stage" -gt 1 ]; }; then
  fail "--set corpus.${corpus_set[0]}: the built-in corpus is made by stage 1 of the recipe mini"
fi

if stage 1 "prepare the data"; then
  if [ "$recipe" = mini ]; then
    run python -m local.mini --config "conf/$recipe/corpus.yaml" --out "$corpus" \
      ${corpus_set[@]+"${corpus_set[@]}"}
  else
    wanted=("$train_root" "$dev_root" "$trials" "$corpus/musan" "$corpus/RIRS_NOISES")
    [ -n "$init_from" ] || wanted+=("$corpus/pretrain")
    missing=()
    for path in "${wanted[@]}"; do [ -e "$path" ] || missing+=("$path"); done
    [ ${#missing[@]} -eq 0 ] || fail "missing: ${missing[*]}: see README, \"Your own data\""
  fi
  if [ -z "$init_from" ]; then
    # In the corpora of videos the folder between speaker and file is no language.
    middle=()
    [ "$recipe" = mini ] || middle=(--no-languages)
    make "$data/pretrain/wav.scp" "$made" -- python -m local.tidyvoice \
      --root "$corpus/pretrain" --out "$data/pretrain" ${middle[@]+"${middle[@]}"}
  fi
  make "$data/finetune/wav.scp" "$made" -- python -m local.tidyvoice --root "$train_root" \
    --out "$data/finetune" --calib "$data/calib" --calib-speakers "$calib_speakers"
  make "$data/dev/wav.scp" "$made" -- \
    python -m local.tidyvoice --root "$dev_root" --out "$data/dev"
  make "$data/noise/wav.scp" "$made" -- \
    python -m local.musan --root "$corpus/musan" --out "$data/noise"
  make "$data/rirs/wav.scp" "$made" -- \
    python -m local.rirs --root "$corpus/RIRS_NOISES/simulated_rirs" --out "$data/rirs"
  run tidyvoice check "$data/finetune" --disjoint "$data/calib" --disjoint "$data/dev" --no-audio
fi

if stage 2 "pack shards"; then
  for part in "${systems[@]}" noise rirs; do run tidyvoice shards "$data/$part"; done
fi

if stage 3 "pretrain"; then
  if [ -n "$init_from" ]; then
    echo "  $init_from takes its place"
  else
    train pretrain
    make "$pretrained/avg_model.pt" "$pretrained"/model_*.pt -- \
      tidyvoice average "$exp/pretrain" --last "$average"
  fi
fi

if stage 4 "fine-tune with a large margin"; then
  [ -e "$pretrained" ] || fail "no pretrained model at $pretrained: run stage 3 or give --init-from"
  train finetune
fi

if stage 5 "average checkpoints, extract embeddings"; then
  make "$exp/finetune/models/avg_model.pt" "$exp/finetune/models"/model_*.pt -- \
    tidyvoice average "$exp/finetune" --last "$average"
  for system in "${systems[@]}"; do
    folder=$exp/$system
    make "$folder/embeddings/dev.npz" "$folder/models/avg_model.pt" "$data/dev/wav.scp" -- \
      tidyvoice extract --model "$folder/models" --data "$data/dev" \
      --out "$folder/embeddings/dev.npz"
    make "$folder/embeddings/mean.npz" "$folder/models/avg_model.pt" "$data/finetune/wav.scp" -- \
      tidyvoice extract --model "$folder/models" --data "$data/finetune" \
      --limit "$mean_utterances" --out "$folder/embeddings/mean.npz"
  done
fi

if stage 6 "score, metrics, report"; then
  for system in "${systems[@]}"; do
    folder=$exp/$system
    make "$folder/scores/dev.score" "$folder/embeddings"/*.npz "$trials" -- tidyvoice score \
      --embeddings "$folder/embeddings/dev.npz" --trials "$trials" \
      --mean "$folder/embeddings/mean.npz" --out "$folder/scores/dev.score"
  done
  compare=()
  [ -n "$init_from" ] || compare=(--compare "$exp/pretrain")
  run tidyvoice report "$exp/finetune" ${compare[@]+"${compare[@]}"} --utt2lang "$data/dev/utt2lang"
fi
printf '\ndone in %d s\n' "$SECONDS"

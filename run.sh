#!/usr/bin/env bash
# shellcheck disable=SC2154 # conf/NAME/recipe.sh sets what it names
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
                                 7  normalise, calibrate, report

options
  --stage N --stop-stage M   run stages N to M only (1 to 7)
  --set KEY=VALUE ...        override settings: those of conf/NAME/{corpus,pretrain,finetune}.yaml
                             with that name and a dot before them, without it those of both
                             trainings; and those of conf/NAME/recipe.sh
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

recipe='' stage=1 stop_stage=7 corpus='' init_from='' data='' exp=''
recipe_set=() corpus_set=() pretrain_set=() finetune_set=()

# What is given relative to where run.sh was called from, as it is called here.
from_here() {
  case $1 in
    /*) echo "$1" ;;
    *) if [ "$called_from" = "$PWD" ]; then echo "$1"; else echo "$called_from/$1"; fi ;;
  esac
}

add_setting() {
  case $1 in
    calib_speakers=* | average=* | mean_utterances=* | normalize=* | top_n=* | calib_targets=* | \
      calib_nontargets=*) recipe_set+=("$1") ;;
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
  [[ $number =~ ^[1-7]$ ]] || fail "stages are 1 to 7, not $number"
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
# shellcheck source=/dev/null
. "conf/$recipe/recipe.sh"
for setting in ${recipe_set[@]+"${recipe_set[@]}"}; do
  printf -v "${setting%%=*}" %s "${setting#*=}"
done
for setting in calib_speakers average mean_utterances top_n calib_targets calib_nontargets; do
  [[ ${!setting} =~ ^[1-9][0-9]*$ ]] || fail "--set $setting=${!setting}: give a number above 0"
done
case $normalize in
  language | asnorm | snorm) ;;
  *) fail "--set normalize=$normalize: there are language, asnorm, snorm" ;;
esac

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
  # If this is cut short after FILE, FILE is no longer what the old stamp says.
  rm -f "$stamp"
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
if [ "$stage" -le 4 ] || [ ${#pretrain_set[@]} -gt 0 ] || [ ${#finetune_set[@]} -gt 0 ]; then
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

# score FOLDER NAME TRIALS: cosine scores of FOLDER/embeddings/NAME.npz.
score() {
  make "$1/scores/$2.score" "$1/embeddings/$2.npz" "$1/embeddings/mean.npz" "$3" -- \
    tidyvoice score --embeddings "$1/embeddings/$2.npz" --trials "$3" \
    --mean "$1/embeddings/mean.npz" --out "$1/scores/$2.score"
}

compare=()
[ -n "$init_from" ] || compare=(--compare "pretrained=$exp/pretrain/scores/dev.score")

if stage 6 "score, metrics, report"; then
  for system in "${systems[@]}"; do score "$exp/$system" dev "$trials"; done
  run tidyvoice report "$exp/finetune" --name fine-tuned ${compare[@]+"${compare[@]}"} \
    --utt2lang "$data/dev/utt2lang" --utt2spk "$data/dev/utt2spk"
fi

if stage 7 "normalise, calibrate, report"; then
  folder=$exp/finetune embeddings=$exp/finetune/embeddings scores=$exp/finetune/scores
  make "$data/calib/trials" "$data/calib/wav.scp" -- tidyvoice trials "$data/calib" \
    --targets "$calib_targets" --nontargets "$calib_nontargets" --out "$data/calib/trials"
  make "$embeddings/calib.npz" "$folder/models/avg_model.pt" "$data/calib/wav.scp" -- \
    tidyvoice extract --model "$folder/models" --data "$data/calib" --out "$embeddings/calib.npz"
  make "$embeddings/cohort.npz" "$folder/models/avg_model.pt" "$data/finetune/wav.scp" -- \
    tidyvoice extract --model "$folder/models" --data "$data/finetune" \
    --out "$embeddings/cohort.npz"
  score "$folder" calib "$data/calib/trials"
  for list in calib dev; do
    make "$scores/$list-$normalize.score" "$scores/$list.score" "$embeddings/cohort.npz" -- \
      tidyvoice normalize "$scores/$list.score" --embeddings "$embeddings/$list.npz" \
      --mean "$embeddings/mean.npz" --cohort "$embeddings/cohort.npz" \
      --cohort-utt2spk "$data/finetune/utt2spk" --method "$normalize" --top-n "$top_n" \
      --out "$scores/$list-$normalize.score"
  done
  make "$scores/dev-llr.score" "$scores"/{calib,dev}-"$normalize".score -- tidyvoice calibrate \
    --fit "$scores/calib-$normalize.score" --apply "$scores/dev-$normalize.score" \
    --language-match --save "$folder/models/calibration.json" --out "$scores/dev-llr.score"
  run tidyvoice report "$folder" --scores dev-llr --name "+ calibrated" \
    --compare "+ normalised=$scores/dev-$normalize.score" --compare "fine-tuned=$scores/dev.score" \
    ${compare[@]+"${compare[@]}"} \
    --utt2lang "$data/dev/utt2lang" --utt2spk "$data/dev/utt2spk"
fi
printf '\ndone in %d s\n' "$SECONDS"

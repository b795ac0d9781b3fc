#!/usr/bin/env bash
# The released baseline on TidyVoiceX dev, beside its published figures: see README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
usage: examples/reproduce-baseline/run.sh --corpus DIR [options]

  --corpus DIR      holds TidyVoiceX_ASV/TidyVoiceX_{Train,Dev} and TidyVocieX_Dev_trialPairs.txt
  --model SOURCE    what `tidyvoice fetch-model` takes (conf/tidyvoice/released.yaml)
  --voxceleb2 DATA  data folder of VoxCeleb2 dev, prepared by local.voxceleb2, with shards
  --limit N         utterances that the mean of a training set is taken of (20000)
  --exp DIR         where to write (exp/reproduce-baseline)

Relative paths are relative to the root of the repository.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

corpus='' model=conf/tidyvoice/released.yaml voxceleb2='' limit=20000 exp=exp/reproduce-baseline
[ $# -gt 0 ] || { usage; exit 0; }
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --corpus | --model | --voxceleb2 | --limit | --exp) [ $# -ge 2 ] || fail "$1 needs a value" ;;
    *) fail "unknown option $1: see examples/reproduce-baseline/run.sh --help" ;;
  esac
  printf -v "${1#--}" %s "$2"
  shift 2
done
[ -n "$corpus" ] || fail "--corpus: give the folder that holds TidyVoiceX"
dev=$corpus/TidyVoiceX_ASV/TidyVoiceX_Dev train=$corpus/TidyVoiceX_ASV/TidyVoiceX_Train
trials=$corpus/TidyVocieX_Dev_trialPairs.txt
for path in "$dev" "$trials"; do [ -e "$path" ] || fail "missing: $path"; done
[ -z "$voxceleb2" ] || [ -d "$voxceleb2" ] || fail "--voxceleb2: no folder $voxceleb2"
[[ $limit =~ ^[1-9][0-9]*$ ]] || fail "--limit $limit: give a number above 0"
if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi

run() {
  printf '+ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

# extract NAME DATA [OPTION...]: embeddings of a data folder, unless they are newer than it.
extract() {
  local table=$exp/$1.npz data=$2
  if [ "$table" -nt "$exp/model/source.json" ] && [ "$table" -nt "$data" ]; then return; fi
  run tidyvoice extract --model "$exp/model" --data "$data" --out "$table" "${@:3}"
}

# score NAME [OPTION...]: cosine scores of dev.
score() {
  run tidyvoice score --embeddings "$exp/dev.npz" --trials "$trials" --out "$exp/$1.score" "${@:2}"
}

# prepare NAME ROOT: a data folder of TidyVoiceX.
prepare() {
  [ -e "$exp/data/$1/wav.scp" ] ||
    run python -m local.tidyvoice --root "$2" --out "$exp/data/$1"
}

prepare dev "$dev"
trained_on=()
if [ -d "$train" ]; then
  prepare train "$train"
  # The released model does not name its speakers, but these were among them.
  trained_on=(--trained-on "$exp/data/train/utt2spk")
fi
run tidyvoice fetch-model "$model" --out "$exp/model" ${trained_on[@]+"${trained_on[@]}"}

extract dev "$exp/data/dev"
score none
columns=("none=$exp/none.score")
if [ -d "$train" ]; then
  extract "train-$limit" "$exp/data/train" --limit "$limit"
  score train --mean "$exp/train-$limit.npz"
  columns+=("train's mean=$exp/train.score")
else
  echo "no column for the mean of TidyVoiceX train: there is no $train"
fi
if [ -n "$voxceleb2" ]; then
  extract "voxceleb2-$limit" "$voxceleb2" --limit "$limit"
  score voxceleb2 --mean "$exp/voxceleb2-$limit.npz"
  columns+=("VoxCeleb2's mean=$exp/voxceleb2.score")
else
  echo "no column for the mean of VoxCeleb2 dev: give --voxceleb2"
fi
score own --mean "$exp/dev.npz" --in-sample
columns+=("dev's own mean=$exp/own.score")

run tidyvoice metrics "${columns[@]}" --published conf/tidyvoice/published.yaml \
  --utt2lang "$exp/data/dev/utt2lang" | tee "$exp/table.txt"

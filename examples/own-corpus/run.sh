#!/usr/bin/env bash
# A corpus of your own: trials, scores and metrics of a model on it: see README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
usage: examples/own-corpus/run.sh --model MODEL --root DIR [options]

  --model MODEL   model folder
  --root DIR      recordings SPEAKER/LANGUAGE/FILE or SPEAKER/FILE, or Kaldi's tables
  --mean DIR      recordings of other speakers, whose mean is subtracted; or "own": those of --root
  --name NAME     name of the system in the report (the folder of the model)
  --targets N --nontargets N   trials to make, half within a language (10000 and 20000)
  --exp DIR       where to write (exp/own-corpus)

Relative paths are relative to the root of the repository.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

model='' root='' mean='' name='' targets=10000 nontargets=20000 exp=exp/own-corpus
[ $# -gt 0 ] || { usage; exit 0; }
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --model | --root | --mean | --name | --targets | --nontargets | --exp)
      [ $# -ge 2 ] || fail "$1 needs a value" ;;
    *) fail "unknown option $1: see examples/own-corpus/run.sh --help" ;;
  esac
  printf -v "${1#--}" %s "$2"
  shift 2
done
[ -d "$model" ] || fail "--model: give a model folder"
[ -d "$root" ] || fail "--root: give the folder of the recordings"
[ -z "$mean" ] || [ "$mean" = own ] || [ -d "$mean" ] || fail "--mean: give a folder, or own"
[ "$mean" != "$root" ] || fail "--mean: give a folder of other speakers than --root, or own"
name=${name:-$(basename "${model%/models}")}
if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi

run() {
  printf '+ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

# embed NAME DIR: the recordings of a folder as a data folder, and their embeddings.
embed() {
  run python -m local.own --root "$2" --out "$exp/data/$1"
  run tidyvoice extract --model "$model" --data "$exp/data/$1" --out "$exp/embeddings/$1.npz"
}

# score NAME [OPTION ...]: cosine scores of the trials.
score() {
  run tidyvoice score --embeddings "$exp/embeddings/own.npz" --trials "$exp/trials" \
    --utt2spk "$exp/data/own/utt2spk" --out "$exp/scores/$1.score" "${@:2}"
}

embed own "$root"
run tidyvoice trials "$exp/data/own" --targets "$targets" --nontargets "$nontargets" \
  --out "$exp/trials"
score cosine
report=(--scores cosine --name "$name")
if [ "$mean" = own ]; then
  score centred --mean "$exp/embeddings/own.npz" --allow-overlap
elif [ -n "$mean" ]; then
  embed mean "$mean"
  score centred --mean "$exp/embeddings/mean.npz"
fi
if [ -n "$mean" ]; then
  report=(--scores centred --name "$name, centred" --compare "$name=$exp/scores/cosine.score")
fi
report+=(--utt2spk "$exp/data/own/utt2spk")
if [ -e "$exp/data/own/utt2lang" ]; then report+=(--utt2lang "$exp/data/own/utt2lang"); fi
run tidyvoice report "$exp" "${report[@]}"

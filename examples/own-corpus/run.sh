#!/usr/bin/env bash
# A corpus of your own: trials, scores and metrics of a model on it: see README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
usage: examples/own-corpus/run.sh --model MODEL (--root DIR | --data DATA) [options]

  --model MODEL   model folder
  --root DIR      SPEAKER/LANGUAGE/FILE.wav, 16 kHz
  --data DATA     or Kaldi tables: wav.scp, utt2spk, and where known utt2lang
  --targets N --nontargets N   trials to make, half within a language (10000 and 20000)
  --exp DIR       where to write (exp/own-corpus)

Relative paths are relative to the root of the repository.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

model='' root='' data='' targets=10000 nontargets=20000 exp=exp/own-corpus
[ $# -gt 0 ] || { usage; exit 0; }
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --model | --root | --data | --targets | --nontargets | --exp)
      [ $# -ge 2 ] || fail "$1 needs a value" ;;
    *) fail "unknown option $1: see examples/own-corpus/run.sh --help" ;;
  esac
  printf -v "${1#--}" %s "$2"
  shift 2
done
[ -d "$model" ] || fail "--model: give a model folder"
if [ -z "$root$data" ] || { [ -n "$root" ] && [ -n "$data" ]; }; then fail "give --root or --data"; fi
if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi

run() {
  printf '+ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

if [ -n "$root" ]; then
  data=$exp/data
  run python -m local.tidyvoice --root "$root" --out "$data"
else
  run python -m local.tables --data "$data" --out "$exp/data"
  data=$exp/data
fi
run tidyvoice check "$data"
run tidyvoice trials "$data" --targets "$targets" --nontargets "$nontargets" --out "$exp/trials"
run tidyvoice extract --model "$model" --data "$data" --out "$exp/embeddings/own.npz"
run tidyvoice score --embeddings "$exp/embeddings/own.npz" --trials "$exp/trials" \
  --utt2spk "$data/utt2spk" --out "$exp/scores/dev.score"
tables=(--utt2spk "$data/utt2spk")
if [ -e "$data/utt2lang" ]; then tables+=(--utt2lang "$data/utt2lang"); fi
run tidyvoice report "$exp" --name "$(basename "$model")" "${tables[@]}"

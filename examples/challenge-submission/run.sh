#!/usr/bin/env bash
# From a model and the evaluation set to the zip that the challenge takes: see README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
usage: examples/challenge-submission/run.sh --model MODEL --eval DIR --lists DIR [options]

  --model MODEL    model folder
  --eval DIR       the wavs of TidyVoiceX2, ID.wav at any depth, or SPEAKER/LANGUAGE/FILE.wav
  --lists DIR      holds tv26_eval-A.txt and tv26_eval-U.txt
  --mean FILE.npz  embeddings whose mean is subtracted, such as those of TidyVoiceX train
  --exp DIR        where to write (exp/challenge-submission)
  --any-count      allow lists of another length than the challenge's

Relative paths are relative to the root of the repository.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

model='' eval='' lists='' mean='' exp=exp/challenge-submission
centre=() counted=()
[ $# -gt 0 ] || { usage; exit 0; }
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --any-count) counted=(--any-count) && shift && continue ;;
    --model | --eval | --lists | --mean | --exp) [ $# -ge 2 ] || fail "$1 needs a value" ;;
    *) fail "unknown option $1: see examples/challenge-submission/run.sh --help" ;;
  esac
  printf -v "${1#--}" %s "$2"
  shift 2
done
for option in model eval lists; do
  [ -n "${!option}" ] || fail "--$option is missing: see --help"
  [ -d "${!option}" ] || fail "--$option: no folder ${!option}"
done
if [ -n "$mean" ]; then centre=(--mean "$mean"); fi
if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi

run() {
  printf '+ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

a=$lists/tv26_eval-A.txt u=$lists/tv26_eval-U.txt
run python -m local.tidyvoice_eval --root "$eval" --out "$exp/data" --lists "$a" "$u"
run tidyvoice extract --model "$model" --data "$exp/data" --out "$exp/eval.npz"
for list in A U; do
  run tidyvoice score --embeddings "$exp/eval.npz" --trials "$lists/tv26_eval-$list.txt" \
    ${centre[@]+"${centre[@]}"} --out "$exp/$list.score"
done
run tidyvoice submission --scores-a "$exp/A.score" --trials-a "$a" --scores-u "$exp/U.score" \
  --trials-u "$u" ${counted[@]+"${counted[@]}"} --out "$exp/submission.zip"

# shellcheck shell=bash disable=SC2154
# Steps of the stages 5 to 8.

embeddings=$exp/$system/embeddings scores=$exp/$system/scores

# extract SYSTEM NAME FOLDER [OPTION ...]: write the embeddings of a data folder to the table NAME.
extract() {
  local table=$exp/$1/embeddings/$2.npz
  make "$table" "$exp/$1/models/source.json" -- tidyvoice extract --model "$exp/$1/models" \
    --data "$3" --out "$table" --strict "${@:4}"
}

# score SYSTEM NAME TRIALS [MEAN [OPTION ...]]: write cosine scores. NAME starts with that of the table
# (eval-A: eval). MEAN is the table whose mean is subtracted; empty for none.
score() {
  local from=$exp/$1/embeddings out=$exp/$1/scores/$2.score mean=${4-$mean}
  make "$out" -- tidyvoice score --embeddings "$from/${2%%-*}.npz" --trials "$3" \
    ${mean:+--mean "$from/$mean.npz"} --out "$out" "${@:5}"
}

# fit_backend: fit how embeddings are compared to the speakers of the fine-tuning. The held-out speakers
# choose method and dimensions; without them, cosines are lowered by the offsets of the cohort.
fit_backend() {
  local methods numbers choice=(--method centre)
  read -ra methods <<<"$backends"
  read -ra numbers <<<"$dimensions"
  if [ -n "$held_out" ]; then
    choice=(--method "${methods[@]}" --held-out "$embeddings/calib.npz" --trials "$held_out/trials")
    [ "$backends" = centre ] || choice+=(--dimensions "${numbers[@]}")
  fi
  make "$exp/$system/backend.json" -- tidyvoice fit-backend --embeddings "$embeddings/mean.npz" \
    --utt2spk "$data/finetune/utt2spk" --utt2lang "$data/finetune/utt2lang" "${choice[@]}" \
    --out "$exp/$system/backend.json"
}

# compare NAME TRIALS: write the scores of the back end. NAME starts with that of the table.
compare() {
  local out=$scores/$1-backend.score
  make "$out" -- tidyvoice score --embeddings "$embeddings/${1%%-*}.npz" --trials "$2" \
    --backend "$exp/$system/backend.json" --out "$out"
}

# calibrate NAME [LANGUAGES]: calibrate with a fit to the list $fit, which is itself cross-fitted. How alike
# the languages of both sides are is a further measure.
calibrate() {
  local by=(--fit "$scores/$fit-backend.score") out=$scores/$1-llr.score tables=("$embeddings/${1%%-*}.npz")
  if [ "$1" = "$fit" ]; then by=(--cross-fit 5); else tables+=("$embeddings/$fit.npz"); fi
  case ${2-$languages} in
    guessed) by+=(--languages guessed --backend "$exp/$system/backend.json" --embeddings "${tables[@]}") ;;
    known) by+=(--languages known) ;;
  esac
  make "$out" -- tidyvoice calibrate "${by[@]}" --apply "$scores/$1-backend.score" --out "$out"
}

# fit_verifier: fit the thresholds of `tidyvoice verify` and `identify` to the list that calibrates.
fit_verifier() {
  make "$exp/$system/models/verifier.json" -- tidyvoice fit-verifier --model "$exp/$system/models" \
    --trials "$fit_trials" --embeddings "$embeddings/$fit.npz" --backend "$exp/$system/backend.json"
}

# report TABLE SCORES OPTION ...: write the page about the system; TABLE is results, then calibrated.
report() {
  [ -e "$exp/$system/report.html" ] || rm -f "$exp/$system/$1.txt"
  make "$exp/$system/$1.txt" "$scores/$2.score" "$exp/$system/results.txt" -- \
    tidyvoice report "$exp/$system" --scores "${@:2}" ${compared[@]+"${compared[@]}"}
}

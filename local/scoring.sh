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

# normalise NAME METHOD: normalise cosines by the speakers of the fine-tuning.
normalise() {
  local out=$scores/$1-$2.score
  make "$out" -- tidyvoice normalize --scores "$scores/$1.score" --embeddings "$embeddings/${1%%-*}.npz" \
    --mean "$embeddings/mean.npz" --cohort "$embeddings/mean.npz" --top-n "$top_n" \
    --cohort-utt2spk "$data/finetune/utt2spk" --method "$2" --out "$out"
}

# calibrate NAME METHOD [OPTION ...]: calibrate with a fit to the list $fit, which is itself cross-fitted.
calibrate() {
  local by=(--fit "$scores/$fit-$2.score") out=$scores/$1-llr.score
  if [ "$1" = "$fit" ]; then by=(--cross-fit 5); fi
  make "$out" -- \
    tidyvoice calibrate "${by[@]}" --apply "$scores/$1-$2.score" "${@:3}" --out "$out"
}

# fit_verifier: fit the thresholds of `tidyvoice verify` and `identify` to the list that calibrates.
# These commands do not know languages and use AS-norm.
fit_verifier() {
  make "$exp/$system/models/verifier.json" -- tidyvoice fit-verifier --model "$exp/$system/models" \
    --trials "$fit_trials" --embeddings "$embeddings/$fit.npz" --mean "$embeddings/mean.npz" \
    --cohort "$embeddings/mean.npz" --cohort-utt2spk "$data/finetune/utt2spk" --top-n "$top_n"
}

# report TABLE SCORES OPTION ...: write the page about the system; TABLE is results, then calibrated.
report() {
  [ -e "$exp/$system/report.html" ] || rm -f "$exp/$system/$1.txt"
  make "$exp/$system/$1.txt" "$scores/$2.score" "$exp/$system/results.txt" -- \
    tidyvoice report "$exp/$system" --scores "${@:2}" ${compared[@]+"${compared[@]}"}
}

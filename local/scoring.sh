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
# (eval-A: eval), MEAN is the table whose mean is subtracted; nothing is if it is empty.
score() {
  local from=$exp/$1/embeddings out=$exp/$1/scores/$2.score mean=${4-$mean}
  make "$out" -- tidyvoice score --embeddings "$from/${2%%-*}.npz" --trials "$3" \
    ${mean:+--mean "$from/$mean.npz"} --out "$out" "${@:5}"
}

# score_voxceleb1 SYSTEM: score the lists that pretrained models are compared by, where they are there.
score_voxceleb1() {
  local list scores=$exp/$1/scores
  if [ ! -e "$data/voxceleb1/wav.scp" ]; then return; fi
  extract "$1" voxceleb1 "$data/voxceleb1"
  for list in O E H; do
    score "$1" voxceleb1-$list "$data/voxceleb1/vox1_${list}_cleaned.kaldi"
    make "$scores/voxceleb1-$list.txt" -- tidyvoice metrics "$scores/voxceleb1-$list.score"
  done
}

# normalise NAME METHOD: normalise the cosines of a list by the speakers of the fine-tuning. The
# method blind is language, with guessed languages.
normalise() {
  local cosines=$scores/$1.score out=$scores/$1-$2.score method=("$2")
  if [ "$1" = dev ]; then cosines=$scores/$dev_cosines.score; fi
  if [ "$2" = blind ]; then method=(language --blind); fi
  make "$out" -- tidyvoice normalize --scores "$cosines" --embeddings "$embeddings/${1%%-*}.npz" \
    --mean "$embeddings/mean.npz" --cohort "$embeddings/mean.npz" \
    --cohort-utt2spk "$data/finetune/utt2spk" --method "${method[@]}" --top-n "$top_n" \
    --out "$out"
}

# calibrate NAME OTHER METHOD [OPTION ...]: calibrate normalised scores by those of another list, or,
# if OTHER is NAME, across folds of its speakers.
calibrate() {
  local fit=(--fit "$scores/$2-$3.score") out=$scores/$1-llr.score
  if [ "$1" = "$2" ]; then fit=(--cross-fit 5); fi
  make "$out" -- \
    tidyvoice calibrate "${fit[@]}" --apply "$scores/$1-$3.score" "${@:4}" --out "$out"
}

# calibrate_dev: calibrate dev by itself, where nobody was held out of the training.
calibrate_dev() {
  fit_verifier dev "$trials"
  if [ -n "$mean" ]; then
    normalise dev "$normalize"
    calibrate dev dev "$normalize" --language-match
    report_calibrated calibrated
  else
    echo "  TidyVoiceX train is not here, which is the cohort: nothing is normalised or calibrated"
  fi
}

# fit_verifier NAME TRIALS: fit the thresholds of `tidyvoice verify` and `identify` to a list. These
# commands do not know languages and use AS-norm.
fit_verifier() {
  local others=() table=$embeddings/$mean.npz
  if [ -n "$mean" ]; then
    others=(--mean "$table" --cohort "$table" --cohort-utt2spk "$data/finetune/utt2spk" --top-n "$top_n")
  fi
  make "$exp/$system/models/verifier.json" -- tidyvoice fit-verifier --model "$exp/$system/models" \
    --trials "$2" --embeddings "$embeddings/$1.npz" ${others[@]+"${others[@]}"}
}

# report TABLE SCORES NAME [OPTION ...]: write the page about the system, and its table to TABLE.
report() {
  local folder=$exp/$system earlier=()
  if [ "$1" != results ]; then earlier=("$folder"/{results,calibrated}.txt); fi # the same page
  [ -e "$folder/report.html" ] || rm -f "$folder/$1.txt"
  make "$folder/$1.txt" "$scores/$2.score" ${earlier[@]+"${earlier[@]}"} -- \
    tidyvoice report "$folder" --scores "$2" --name "$3" "${@:4}"
}

# report_calibrated TABLE [OPTION ...]: the same with the systems of stage 7.
report_calibrated() {
  if [ -z "$mean" ]; then
    report "$1" "$dev_cosines" "$title" "${@:2}"
    return
  fi
  report "$1" dev-llr "$title, $norm, calibrated" \
    --compare "$title, $norm=$scores/dev-$normalize.score" \
    --compare "$title=$scores/$dev_cosines.score" ${compared[@]+"${compared[@]}"} "${@:2}"
}

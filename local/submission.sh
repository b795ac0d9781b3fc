# shellcheck shell=bash disable=SC2154
# Stage 8 of run.sh, which sources this file.

# normalisation_of_eval: set `chosen` to the normalisation that does best on dev without the languages
# of its utterances, which are hidden in the evaluation set.
normalisation_of_eval() {
  chosen=$normalize
  if [ "$normalize" != language ]; then return; fi
  normalised dev "$cosines" blind
  normalised dev "$cosines" asnorm
  show "$scores/choice.txt" "$scores"/dev-{blind,asnorm}.score -- python -m local.choice \
    "blind=$scores/dev-blind.score" "asnorm=$scores/dev-asnorm.score"
  chosen=$(sed -n 's/^lowest EER.*: //p' "$scores/choice.txt")
}

# score_eval: score both lists as stage 7 does dev; set `kind` to the ending of the score files.
score_eval() {
  local list mean=mean fit=calib fit_cosines=calib
  [ -e "$embeddings/mean.npz" ] || mean=''
  for list in A U; do
    score "$reported" eval "$corpus/tv26_eval-$list.txt" "eval-$list" "$mean"
  done
  kind=''
  if [ ! -e "$data/finetune/wav.scp" ]; then
    echo "  TidyVoiceX train is not here, which is the cohort: cosines are submitted"
    return
  fi
  normalisation_of_eval
  # Dev is fitted to where nobody is held out: it is not the list that is submitted.
  if [ -n "$released" ] || [ -z "$held_out" ]; then fit=dev fit_cosines=$cosines; fi
  normalised "$fit" "$fit_cosines" "$chosen"
  for list in eval-A eval-U; do
    normalised "$list" "$list" "$chosen"
    # On the score alone, which keeps the order that was chosen: guessed languages beside it did not
    # help on the built-in corpus.
    make "$scores/$list-llr.score" "$scores"/{"$fit","$list"}-"$chosen".score -- \
      tidyvoice calibrate --fit "$scores/$fit-$chosen.score" \
      --apply "$scores/$list-$chosen.score" --out "$scores/$list-llr.score"
  done
  kind=-llr
}

# submit: score, pack, and report the metrics of the lists whose labels are there.
submit() {
  local folder=$exp/$reported counted=() measured=() list key
  extract "$reported" eval "$data/eval"
  score_eval
  [ "$counts" = official ] || counted=(--any-count)
  [ -e "$folder/submission.zip" ] || rm -f "$folder/submission.txt"
  show "$folder/submission.txt" "$scores"/eval-{A,U}"$kind".score -- tidyvoice submission \
    --scores-a "$scores/eval-A$kind.score" --trials-a "$corpus/tv26_eval-A.txt" \
    --scores-u "$scores/eval-U$kind.score" --trials-u "$corpus/tv26_eval-U.txt" \
    --name "$(called "$reported")" --out "$folder/submission.zip" ${counted[@]+"${counted[@]}"}
  for list in A U; do
    key=$corpus/task1_labels.txt
    if [ $list = U ]; then key=$corpus/task2_labels.txt; fi
    if [ -e "$key" ]; then
      measured+=(--trials "eval-$list=$key")
    elif [ "$(head -n 1 "$corpus/tv26_eval-$list.txt" | wc -w)" != 3 ]; then
      continue
    fi
    measured+=(--compare "eval-$list=$scores/eval-$list$kind.score")
  done
  if [ ${#measured[@]} = 0 ]; then
    echo "  no labels at $corpus/task{1,2}_labels.txt: nothing to measure"
  elif [ -n "$kind" ]; then
    report_calibrated submitted "${measured[@]}"
  else
    report submitted "$cosines" "$(called "$reported")" "${measured[@]}"
  fi
}

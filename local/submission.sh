# shellcheck shell=bash disable=SC2154
# Stage 8: score the evaluation lists as stage 7 does dev, pack the scores, measure them where labels are.

if [ ! -e "$data/eval/wav.scp" ]; then
  echo "  the evaluation set is not at $corpus/TidyVoiceX2: nothing to submit"
  return
fi
extract "$system" eval "$data/eval"
for list in eval-A eval-U; do score "$system" $list "$corpus/tv26_$list.txt"; done

kind=''
if [ -z "$mean" ]; then
  echo "  TidyVoiceX train is not here, which is the cohort: cosines are submitted"
else
  method=$normalize
  if [ "$normalize" = language ]; then
    # The languages are hidden: of the methods that need none, take the better one on dev.
    for method in blind asnorm; do normalise dev $method; done
    make "$scores/choice.txt" "$scores"/dev-{blind,asnorm}.score -- python -m local.choice \
      "blind=$scores/dev-blind.score" "asnorm=$scores/dev-asnorm.score"
    method=$(sed -n 's/^lowest EER.*: //p' "$scores/choice.txt")
  fi
  fit=dev
  if [ -n "$held_out" ]; then fit=calib; fi
  normalise $fit "$method"
  for list in eval-A eval-U; do
    normalise $list "$method"
    # By the score alone, which keeps the order of the trials: guessed languages beside it did not
    # help on the built-in corpus.
    calibrate $list $fit "$method"
  done
  kind=-llr
fi

folder=$exp/$system options=()
[ "$counts" = official ] || options=(--any-count)
[ -e "$folder/submission.zip" ] || rm -f "$folder/submission.txt"
make "$folder/submission.txt" "$scores"/eval-{A,U}$kind.score -- tidyvoice submission \
  --scores-a "$scores/eval-A$kind.score" --trials-a "$corpus/tv26_eval-A.txt" \
  --scores-u "$scores/eval-U$kind.score" --trials-u "$corpus/tv26_eval-U.txt" \
  --name "$title" --out "$folder/submission.zip" ${options[@]+"${options[@]}"}

measured=() # lists whose labels lie beside them, or in them
for list in eval-A:task1 eval-U:task2; do
  labels=$corpus/${list#*:}_labels.txt list=${list%:*}
  if [ -e "$labels" ]; then
    measured+=(--trials "$list=$labels")
  elif [ "$(head -n 1 "$corpus/tv26_$list.txt" | wc -w)" -ne 3 ]; then
    continue
  fi
  measured+=(--compare "$list=$scores/$list$kind.score")
done
if [ ${#measured[@]} = 0 ]; then
  echo "  no labels at $corpus/task{1,2}_labels.txt: nothing to measure"
else
  report_calibrated submitted "${measured[@]}"
fi

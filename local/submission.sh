# shellcheck shell=bash disable=SC2154
# Stage 8: score the evaluation lists with AS-norm, calibrate the scores, and pack them.

[ -e "$data/eval/wav.scp" ] ||
  { echo "  nothing to submit: put the evaluation set at $corpus/TidyVoiceX2, and run stage 1" && return; }
extract "$system" eval "$data/eval"
for list in eval-A eval-U; do score "$system" $list "$corpus/tv26_$list.txt"; done

kind='' any=${counts/official/}
if [ -z "$mean" ]; then
  echo "  TidyVoiceX train is not here, which is the cohort: cosines are submitted"
else
  # The languages are hidden, so the method is one that needs none.
  method=${normalize/language/asnorm}
  normalise "$fit" "$method"
  for list in eval-A eval-U; do normalise $list "$method"; calibrate $list "$method"; done
  kind=-llr
fi
make "$exp/$system/submission.zip" "$scores"/eval-{A,U}$kind.score -- tidyvoice submission \
  --scores-a "$scores/eval-A$kind.score" --trials-a "$corpus/tv26_eval-A.txt" \
  --scores-u "$scores/eval-U$kind.score" --trials-u "$corpus/tv26_eval-U.txt" \
  --name "$title" --out "$exp/$system/submission.zip" ${any:+--any-count}

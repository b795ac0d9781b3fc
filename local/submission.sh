# shellcheck shell=bash disable=SC2154
# Stage 8: score the evaluation lists as stage 7 scores dev, and pack them.

[ -e "$data/eval/wav.scp" ] ||
  { echo "  nothing to submit: put the evaluation set at $corpus/TidyVoiceX2, and run stage 1" && return; }
extract "$system" eval "$data/eval"
kind='' any=${counts/official/}
for list in eval-A eval-U; do
  if [ -n "$mean" ]; then
    kind=-llr
    compare $list "$corpus/tv26_$list.txt"
    # The languages of the lists are hidden.
    calibrate $list "${languages/known/guessed}"
  else
    score "$system" $list "$corpus/tv26_$list.txt"
  fi
done
[ -n "$kind" ] || echo "  TidyVoiceX train is not here, to which the back end is fitted: cosines are submitted"
make "$exp/$system/submission.zip" "$scores"/eval-{A,U}$kind.score -- tidyvoice submission \
  --scores-a "$scores/eval-A$kind.score" --trials-a "$corpus/tv26_eval-A.txt" \
  --scores-u "$scores/eval-U$kind.score" --trials-u "$corpus/tv26_eval-U.txt" \
  --name "$title" --out "$exp/$system/submission.zip" ${any:+--any-count}

# shellcheck shell=bash disable=SC2154
# Stages 6 and 7 of run.sh, which sources this file, for the challenge's released model; stage 7 also
# for a model that was trained here on every speaker.

# Which mean the published figures were centred with is not documented: all that can be had here.
score_released() {
  local compared=("no mean=$scores/dev-none.score")
  score released dev "$trials" dev-none ''
  if [ -e "$embeddings/mean.npz" ]; then
    score released dev "$trials" dev-train mean
    compared+=("mean of TidyVoiceX train=$scores/dev-train.score")
  fi
  if [ -e "$embeddings/mean-voxceleb2.npz" ]; then
    score released dev "$trials" dev-voxceleb2 mean-voxceleb2
    compared+=("mean of VoxCeleb2=$scores/dev-voxceleb2.score")
  fi
  score released dev "$trials" dev-own dev --in-sample
  compared+=("mean of dev itself=$scores/dev-own.score")
  show "$exp/released/compared.txt" "${compared[@]#*=}" -- tidyvoice metrics \
    --published "conf/$recipe/published.yaml" "${compared[@]}" --utt2lang "$data/dev/utt2lang"
  report results "$cosines" released "${of_dev[@]}"
}

# calibrate_on_dev: nobody was held out of the model's training, so dev calibrates itself, each trial
# by a fit to other speakers.
calibrate_on_dev() {
  fitted_verifier dev "$trials"
  if [ ! -e "$data/finetune/wav.scp" ]; then
    echo "  TidyVoiceX train is not here, which is the cohort: nothing is normalised or calibrated"
    return
  fi
  normalised dev "$cosines" "$normalize"
  make "$scores/dev-llr.score" "$scores/dev-$normalize.score" -- tidyvoice calibrate \
    --cross-fit 5 --apply "$scores/dev-$normalize.score" --language-match \
    --out "$scores/dev-llr.score"
  report_calibrated calibrated "${of_dev[@]}"
}

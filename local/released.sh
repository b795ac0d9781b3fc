# shellcheck shell=bash disable=SC2034,SC2154
# The stages of run.sh --from-released: the challenge's released model beside its published figures.
system=released title=released compared=()
embeddings=$exp/released/embeddings scores=$exp/released/scores
voxceleb2=$data/voxceleb2-mean/part-001-of-010 # a tenth of the speakers, for another mean

if stage 1 "prepare the data"; then
  prepare_evaluation
  prepare_tidyvoicex
  if [ -e "$corpus/voxceleb2" ]; then
    make "$voxceleb2/wav.scp" -- python -m local.voxceleb2 --root "$corpus/voxceleb2" \
      --out "${voxceleb2%/*}" --part 1/10
  fi
  folders=() trained_on=() # the model does not name its speakers, but those of train are among them
  for folder in "$data"/{dev,finetune,calib} "$voxceleb2"; do
    if [ ! -e "$folder/utt2spk" ]; then continue; fi
    folders+=("$folder")
    case $folder in */finetune | */calib) trained_on+=(--trained-on "$folder/utt2spk") ;; esac
  done
  examine "${folders[@]}"
  fetch "$from_released" "$exp/released/models" ${trained_on[@]+"${trained_on[@]}"}
fi

if stage 2 "pack shards" && [ -e "$voxceleb2/wav.scp" ]; then
  pack "$voxceleb2" --tolerate "$tolerate"
fi

held_out='' mean='' dev_cosines=dev-none
if [ -e "$data/finetune/wav.scp" ]; then mean=mean dev_cosines=dev-train; fi

if stage 5 "extract embeddings"; then
  extract released dev "$data/dev"
  [ -z "$mean" ] || extract released mean "$data/finetune"
  [ ! -e "$voxceleb2/wav.scp" ] || extract released mean-voxceleb2 "$voxceleb2"
fi

# Which mean the published figures were centred with is not documented: score with each.
if stage 6 "score, metrics, report"; then
  score_voxceleb1 released
  score released dev-none "$trials" ''
  means=("no mean=$scores/dev-none.score")
  if [ -n "$mean" ]; then
    score released dev-train "$trials" mean
    means+=("mean of TidyVoiceX train=$scores/dev-train.score")
  fi
  if [ -e "$embeddings/mean-voxceleb2.npz" ]; then
    score released dev-voxceleb2 "$trials" mean-voxceleb2
    means+=("mean of VoxCeleb2=$scores/dev-voxceleb2.score")
  fi
  score released dev-own "$trials" dev --in-sample
  means+=("mean of dev itself=$scores/dev-own.score")
  make "$exp/released/compared.txt" "${means[@]#*=}" -- \
    tidyvoice compare --published "conf/$recipe/published.yaml" "${means[@]}"
  report results $dev_cosines released
fi

if stage 7 "normalise, calibrate, report"; then
  fit_verifier dev "$trials"
  if [ -n "$mean" ]; then
    normalise dev "$normalize"
    calibrate dev dev "$normalize" --language-match
    report_calibrated calibrated
  else
    echo "  TidyVoiceX train is not here, which is the cohort: nothing is normalised or calibrated"
  fi
fi

if stage 8 "submission"; then
  . local/submission.sh
fi
finish

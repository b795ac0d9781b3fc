#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154 # local/*.sh and conf/RECIPE/recipe.sh use and set variables
#: The recipe, stage by stage. Run the same command again to resume after an interruption: finished
#: steps are skipped. When the code has changed, stages 5 to 8 run again; stages 1 to 4 keep what
#: they made, and say so.
#:
#: --set KEY=VALUE ... overrides settings of conf/RECIPE/*.yaml for this run: finetune.KEY=VALUE those
#: of the fine-tuning (pretrain., large_margin. and corpus. alike), KEY=VALUE those of all trainings.
set -euo pipefail
cd "$(dirname "$0")" # paths are relative to this folder

recipe=         # mini: the built-in corpus, six minutes on two cores; tidyvoice: the challenge's data
stage=1         # first stage to run
stop_stage=8    # last stage to run
corpus=         # folder of the corpora: DATA/corpus if left out, where mini makes its own
data=           # folder of prepared data: data/RECIPE if left out
exp=            # folder of models and results: exp/RECIPE if left out
init_from=      # pretrained model in place of stage 3: folder, archive, or OWNER/NAME of Hugging Face
from_released=  # score a released model (by default the challenge's) and train nothing
variant=        # fine-tune with conf/variants/NAME.yaml or conf/RECIPE/finetune_NAME.yaml
backends="centre lda plda" # ways to compare embeddings (or nap), of which stage 7 chooses one
languages=guessed # how the calibration compares the languages of both sides: guessed, known or none
force=          # repeat finished stages; trainings, shards and corpus are renamed to NAME.1, ...

overrides=() # of --set
. local/parse_options.sh
if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi
command -v tidyvoice >/dev/null || fail "the package is not installed: pip install -e . -c constraints.txt"
data=${data:-data/$recipe} exp=${exp:-exp/$recipe}
corpus=${corpus:-$data/corpus} corpus_stamp=${corpus:-$data/corpus}/corpus.json # of the built-in corpus
tidyvoicex=$corpus/TidyVoiceX_ASV
trials=$corpus/TidyVocieX_Dev_trialPairs.txt # the challenge's own spelling
[ -z "$init_from$from_released" ] || pretraining=()
# The folder of the reported system, its name, and the table whose mean is subtracted.
system=finetune title=fine-tuned mean=mean
[ -z "$from_released" ] || system=released title=released
systems=(${pretraining[@]+"${pretraining[@]}"} "$system")
finetune=("conf/$recipe/finetune${variant:+_$variant}.yaml")
[ -e "${finetune[0]}" ] || finetune=("conf/variants/$variant.yaml" "base=conf/$recipe/finetune.yaml")
[ -e "${finetune[0]}" ] || fail "--variant $variant: there is no ${finetune[0]}"
[[ $stage$stop_stage = [1-8][1-8] && $stage -le $stop_stage ]] ||
  fail "--stage $stage --stop-stage $stop_stage: stages are 1 to 8, the last one not before the first"

# The data folder of the calibration speakers, empty for none; the list to which calibrations are fitted.
held_out=$data/calib fit=calib fit_trials=$data/calib/trials
[ "$calib_speakers" != 0 ] || held_out='' fit=dev fit_trials=$trials
compared=() # options that add the pretrained systems to the report
for name in ${pretraining[@]+"${pretraining[@]}"}; do
  compared+=(--compare "${name/pretrain/pretrained}=$exp/$name/scores/dev.score")
done
[[ "$backends " =~ ^((centre|nap|lda|plda)\ +)+$ ]] ||
  fail "--backends '$backends': write some of centre, nap, lda, plda"
[[ $languages = guessed || $languages = known || $languages = none ]] ||
  fail "--languages $languages: there are guessed, known, none"

. local/steps.sh
. local/training.sh
. local/scoring.sh
[ "$stage" != 1 ] || require_inputs
if [ -n "$from_released" ]; then
  . local/released.sh
elif [ "$stage" -le 4 ] || [ -n "$variant${overrides[*]-}" ]; then
  # Check all settings before the first stage runs.
  [ -z "$init_from" ] || [ "$stage" -gt 4 ] || make "$exp/initial/source.json" -- \
    tidyvoice fetch-model "$init_from" --out "$exp/initial"
  for name in "${systems[@]}"; do check "$name"; done
fi

if stage 1 "prepare the data"; then
  prepare
  prepare_tidyvoicex
  if [ -n "$from_released" ]; then
    fetch_released
  else
    [ -z "$held_out" ] || make "$held_out/trials" -- tidyvoice trials "$held_out" \
      --targets "$calib_targets" --nontargets "$calib_nontargets" --out "$held_out/trials"
    make "$data/noise/wav.scp" "$corpus_stamp" -- \
      python -m local.musan --download "$corpus" --out "$data/noise"
    make "$data/rirs/wav.scp" "$corpus_stamp" -- \
      python -m local.rirs --download "$corpus" --out "$data/rirs"
    examine --data "$data/dev" ${held_out:+--data "$held_out"} --train "$data/finetune"
  fi
fi
if [ -n "$from_released" ]; then # it has seen all speakers of TidyVoiceX but dev
  held_out='' fit=dev fit_trials=$trials
  [ -e "$data/finetune/wav.scp" ] || mean=''
fi

if stage 2 "pack shards"; then
  for name in noise rirs finetune; do pack "$data/$name"; done
  [ -n "$init_from" ] || pack_pretraining
fi

if stage 3 "pretrain"; then
  for name in ${pretraining[@]+"${pretraining[@]}"}; do
    train "$name"
    average "$name"
  done
  [ -z "$init_from" ] || echo "  $init_from takes its place"
fi

if stage 4 "fine-tune with a large margin"; then
  train finetune
fi

if stage 5 "average checkpoints, extract embeddings"; then
  [ -n "$from_released" ] || average finetune
  extract "$system" dev "$data/dev"
  # All of it: stage 7 takes its speakers as the cohort.
  [ -z "$mean" ] || extract "$system" mean "$data/finetune"
  for name in ${pretraining[@]+"${pretraining[@]}"}; do
    extract "$name" dev "$data/dev"
    extract "$name" mean "$data/finetune" --limit "$mean_utterances"
  done
fi

if stage 6 "score, metrics, report"; then
  for name in "${systems[@]}"; do
    score "$name" dev "$trials"
    [ -e "$data/voxceleb1/wav.scp" ] || continue
    extract "$name" voxceleb1 "$data/voxceleb1"
    for list in O E H; do score "$name" voxceleb1-$list "$data/voxceleb1/vox1_${list}_cleaned.kaldi"; done
    make "$exp/$name/voxceleb1.txt" -- tidyvoice metrics "$exp/$name/scores"/voxceleb1-{O,E,H}.score
  done
  [ -z "$from_released" ] || compare_means
  report results dev --name "$title"
fi

if stage 7 "fit the back end, calibrate, report"; then
  [ -z "$held_out" ] || extract "$system" calib "$held_out"
  if [ -n "$mean" ]; then
    fit_backend
    [ -z "$held_out" ] || compare calib "$held_out/trials"
    compare dev "$trials"
    fit_verifier
    calibrate dev
    report calibrated dev-llr --name "$title, back end, calibrated" \
      --compare "$title, back end=$scores/dev-backend.score" \
      --compare "$title=$scores/dev.score"
  else
    echo "  TidyVoiceX train is not here, to which the back end is fitted: nothing is calibrated"
  fi
fi

if stage 8 "submission"; then
  . local/submission.sh
fi
printf '\nfinished (elapsed %s)\n' "$(elapsed)"

#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154 # local/*.sh and conf/RECIPE/recipe.sh use and set variables
# The recipe, stage by stage. Without arguments it prints its stages and options.
#:
#: --set KEY=VALUE ... changes conf/RECIPE/*.yaml: finetune.KEY=VALUE in the fine-tuning, pretrain.
#: (with large_margin), large_margin. and corpus. alike; KEY=VALUE in all trainings.
#:
#: Run the same command again to resume after an interruption: finished steps are skipped. When the
#: code has changed, stages 5 to 8 run again; stages 1 to 4 keep what they made, and say so.
set -euo pipefail
cd "$(dirname "$0")" # paths are relative to this folder

recipe=         # mini: the built-in corpus, six minutes on two cores; tidyvoice: the challenge's data
stage=1         # first stage to run
stop_stage=8    # last stage to run
corpus=         # folder of the corpora: DATA/corpus if left out, where mini makes its own
data=           # folder of prepared data: data/RECIPE if left out
exp=            # folder of models and results: exp/RECIPE if left out
seed=           # seed of all trainings
init_from=      # pretrained model in place of stage 3: folder, archive, or OWNER/NAME of Hugging Face
from_released=  # the challenge's released model, or the one given, in place of stages 2 to 4
variant=        # fine-tune with conf/variants/NAME.yaml or conf/RECIPE/finetune_NAME.yaml
force=          # repeat finished stages; trainings, shards and corpus are renamed to NAME.1, ...
overrides=()    # of --set
. local/parse_options.sh

if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi
command -v tidyvoice >/dev/null || fail "the package is not installed: pip install -e . -c constraints.txt"
data=${data:-data/$recipe} exp=${exp:-exp/$recipe}
corpus=${corpus:-$data/corpus}
made=$corpus/corpus.json # is written when the built-in corpus is made
tidyvoicex=$corpus/TidyVoiceX_ASV
trials=$corpus/TidyVocieX_Dev_trialPairs.txt # the challenge's own spelling
held_out=$data/calib                         # the speakers who calibrate; nobody if empty
[ "$calib_speakers" != 0 ] || held_out=''
[ -z "$init_from" ] || pretraining=()
systems=(${pretraining[@]+"${pretraining[@]}"} finetune)
config=conf/$recipe/finetune${variant:+_$variant}.yaml
[ -e "$config" ] || config=conf/variants/$variant.yaml
[ -e "$config" ] || fail "--variant $variant: $config is missing"
case $normalize in
  language) norm="language-aware norm" ;;
  asnorm) norm=AS-norm ;;
  snorm) norm=S-norm ;;
  *) fail "--normalize $normalize: there are language, asnorm, snorm" ;;
esac
[ "$stage" -le "$stop_stage" ] || fail "--stage $stage comes after --stop-stage $stop_stage"
of_corpus=()
for setting in ${overrides[@]+"${overrides[@]}"}; do
  case $setting in
    corpus.*) [ "$recipe $stage" = "mini 1" ] && of_corpus+=("${setting#corpus.}") ;;
    pretrain.* | large_margin.*) [[ " ${systems[*]} " = *" ${setting%%.*} "* ]] ;;
  esac || fail "--set $setting: this run has no such step"
done

# The system that is reported, and those before it.
system=finetune title=fine-tuned mean=mean dev_cosines=dev
embeddings=$exp/finetune/embeddings scores=$exp/finetune/scores
compared=()
for name in ${pretraining[@]+"${pretraining[@]}"}; do
  earlier=${name/pretrain/pretrained}
  compared+=("--compare=${earlier/_/ }=$exp/$name/scores/dev.score")
done

. local/steps.sh
. local/training.sh
. local/scoring.sh
[ "$stage" != 1 ] || require_inputs
if [ -n "$from_released" ]; then
  [ "$recipe$init_from$variant${overrides[*]-}" = tidyvoice ] ||
    fail "--from-released goes with --recipe tidyvoice, without --init-from, --variant and --set"
  . local/released.sh
  exit
fi

# Check all settings before the first stage runs.
if [ "$stage" -le 4 ] || [ -n "$variant${overrides[*]-}" ]; then
  for name in "${systems[@]}"; do check "$name"; done
fi
if [ -n "$init_from" ] && [ "$stage" -le 4 ]; then
  fetch "$init_from" "$exp/initial"
  check finetune --initial
fi

if stage 1 "prepare the data"; then
  prepare
  prepare_tidyvoicex
  if [ -n "$held_out" ]; then
    make "$held_out/trials" "$held_out/wav.scp" -- tidyvoice trials "$held_out" \
      --targets "$calib_targets" --nontargets "$calib_nontargets" --out "$held_out/trials"
  fi
  make "$data/noise/wav.scp" "$made" -- \
    python -m local.musan --download "$corpus" --out "$data/noise"
  make "$data/rirs/wav.scp" "$made" -- \
    python -m local.rirs --download "$corpus" --out "$data/rirs"
  make "$data/check.txt" "$data"/{finetune,calib,dev}/{wav.scp,utt2spk} -- \
    tidyvoice check "$data/finetune" ${held_out:+--disjoint "$held_out"} --disjoint "$data/dev" \
    --no-audio
  examine "$data/dev" "$data/finetune" ${held_out:+"$held_out"}
fi

if stage 2 "pack shards"; then
  for folder in noise rirs finetune; do pack "$data/$folder"; done
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
  average finetune
  for name in "${systems[@]}"; do
    extract "$name" dev "$data/dev"
    limit=(--limit "$mean_utterances")
    [ "$name" != finetune ] || limit=() # its mean is of all: stage 7 takes their speakers as the cohort
    extract "$name" mean "$data/finetune" ${limit[@]+"${limit[@]}"}
  done
fi

if stage 6 "score, metrics, report"; then
  for name in "${systems[@]}"; do
    score_voxceleb1 "$name"
    score "$name" dev "$trials"
  done
  report results dev fine-tuned ${compared[@]+"${compared[@]}"}
fi

if stage 7 "normalise, calibrate, report"; then
  fit=dev fit_trials=$trials # where nobody is held out, dev calibrates itself, across its speakers
  if [ -n "$held_out" ]; then
    fit=calib fit_trials=$held_out/trials
    extract finetune calib "$held_out"
    score finetune calib "$fit_trials"
    normalise calib "$normalize"
  fi
  normalise dev "$normalize"
  calibrate dev $fit "$normalize" --language-match \
    ${held_out:+--save "$exp/finetune/models/calibration.json"}
  fit_verifier $fit "$fit_trials"
  report_calibrated calibrated
fi

if stage 8 "submission"; then
  . local/submission.sh
fi
finish

#!/usr/bin/env bash
# shellcheck disable=SC2154 # conf/NAME/recipe.sh sets what it names
# The recipe, stage by stage. Without arguments it says what there is and starts nothing.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
usage: ./run.sh --recipe NAME [options]

recipes
  mini        the built-in corpus, synthesised on this machine: about six minutes on two cores
  tidyvoice   the challenge's baseline on the real data: needs --corpus, and for less than the
              pretraining on VoxBlink2 --init-from or --from-released

stages
  1  prepare the data            5  average checkpoints, extract embeddings
  2  pack shards                 6  score, metrics in four categories, report
  3  pretrain                    7  normalise, calibrate, report
  4  fine-tune                   8  score the evaluation lists, submission, report (tidyvoice, where
                                    the evaluation set is there)

options
  --stage N --stop-stage M   run stages N to M only (1 to 8)
  --set KEY=VALUE ...        override settings. finetune.KEY=VALUE overrides one of
                             conf/NAME/finetune.yaml; corpus., pretrain. (large_margin included) and
                             large_margin. work alike. KEY=VALUE without a prefix overrides it in
                             all trainings, or in conf/NAME/recipe.sh
  --seed N                   seed of all trainings
  --corpus DIR               root of the corpora (mini: where they are made)
  --init-from MODEL          a pretrained model in place of stage 3: a folder, an archive, or
                             OWNER/NAME on the Hugging Face hub
  --variant NAME             fine-tune with conf/RECIPE/variants/NAME.yaml, or with
                             conf/RECIPE/finetune_NAME.yaml (give it its own --exp)
  --processes N              train with N processes on this machine, one for each GPU (default 1;
                             mini: 2, on the CPU)
  --from-released [MODEL]    the challenge's released model in place of stages 2 to 4, from the
                             Hugging Face hub (also OWNER/NAME) or from a folder or archive
  --data DIR --exp DIR       where to write (data/NAME, exp/NAME)
  --force                    run the stages again although they are finished. The trainings, shards
                             and built-in corpus that are there are renamed to NAME.1, NAME.2, ...

Finished steps are skipped when you run the same command again, and an interrupted stage resumes
(without --force, which starts from the beginning). When the code has changed, stages 5 to 8 run
again; stages 1 to 4 keep what they made, and say so.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

. local/options.sh
if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi
command -v tidyvoice >/dev/null || fail "the package is not installed: pip install -e . -c constraints.txt"

train_root=$corpus/TidyVoiceX_ASV/TidyVoiceX_Train
dev_root=$corpus/TidyVoiceX_ASV/TidyVoiceX_Dev
trials=$corpus/TidyVocieX_Dev_trialPairs.txt # the challenge's own spelling
made=$corpus/corpus.json                     # when the built-in corpus was made

# What differs between the recipes beside their YAML files: settings, which trainings follow one
# another (trainings) and on which data (training_data), and how that is prepared (prepare).
# shellcheck source=/dev/null
. "conf/$recipe/recipe.sh"
processes=${processes:-1}
for setting in ${recipe_set[@]+"${recipe_set[@]}"}; do
  printf -v "${setting%%=*}" %s "${setting#*=}"
done
for setting in calib_speakers mean_utterances top_n calib_targets calib_nontargets; do
  if [ "$setting=${!setting}" = calib_speakers=0 ]; then continue; fi
  [[ ${!setting} =~ ^[1-9][0-9]*$ ]] || fail "--set $setting=${!setting}: give a number above 0"
done
if [ "$variant" = published ] && [ "$calib_speakers" != 0 ]; then
  fail "--set calib_speakers=$calib_speakers: the variant published trains on all speakers; leave it out"
fi
case $normalize in
  language | asnorm | snorm) ;;
  *) fail "--set normalize=$normalize: there are language, asnorm, snorm" ;;
esac
case $counts in
  official | any) ;;
  *) fail "--set counts=$counts: there are official, any" ;;
esac

# The systems that are made here, each from the one before it; the last is the one reported.
systems=("${trainings[@]}")
if [ -n "$init_from" ]; then systems=("${trainings[${#trainings[@]} - 1]}"); fi
if [ -n "$released" ]; then systems=(released); fi
reported=${systems[${#systems[@]} - 1]}
held_out=$data/calib # the speakers who calibrate; nobody if empty
if [ "$calib_speakers" = 0 ]; then held_out=''; fi

# Computed once: the steps of a run during which somebody edits the code run again the next time.
source=$(python -c 'from tidyvoice.source import source_hash; print(source_hash("local"))')
. local/functions.sh
. local/released.sh
. local/submission.sh

if [ -z "$released" ]; then
  packed=("$data/noise" "$data/rirs") # data folders whose shards the trainings read
  for system in "${systems[@]}"; do
    IFS=, read -r -a folders <<<"$(training_data "$system" | tr -d '[]')"
    packed+=("${folders[@]}")
  done
fi

# Validate all settings before the first stage runs.
given=$((${#pretrain_set[@]} + ${#large_margin_set[@]} + ${#finetune_set[@]}))
if [ ${#large_margin_set[@]} -gt 0 ] && [[ " ${systems[*]} " != *" large_margin "* ]]; then
  fail "--set large_margin.${large_margin_set[0]}: this run has no such training"
fi
if [ -n "$of_pretraining" ] && [ ${#systems[@]} = 1 ]; then
  fail "--set $of_pretraining: this run has no pretraining"
fi
if [ -n "$released" ]; then
  [ "$given" = 0 ] || fail "--set: --from-released trains nothing"
elif [ "$stage" -le 4 ] || [ "$given" -gt 0 ] || [ -n "$variant" ]; then
  for system in "${systems[@]}"; do check "$system"; done
fi
if [ ${#corpus_set[@]} -gt 0 ] && { [ "$recipe" != mini ] || [ "$stage" -gt 1 ]; }; then
  fail "--set corpus.${corpus_set[0]}: the built-in corpus is made by stage 1 of the recipe mini"
fi

if [ "$stage" = 1 ]; then require_inputs; fi
if [ -n "$init_from" ] && [ "$stage" -le 4 ]; then
  fetch "$init_from" "$exp/initial"
  check "$reported" --initial
fi

if stage 1 "prepare the data"; then
  prepare ${corpus_set[@]+"${corpus_set[@]}"}
  if [ -e "$train_root" ]; then
    make "$data/finetune/wav.scp" "$made" -- python -m local.tidyvoice --root "$train_root" \
      --out "$data/finetune" ${held_out:+--calib "$held_out" --calib-speakers "$calib_speakers"}
  fi
  make "$data/dev/wav.scp" "$made" -- \
    python -m local.tidyvoice --root "$dev_root" --out "$data/dev"
  if [ -z "$released" ]; then
    [ -z "$held_out" ] ||
      make "$data/calib/trials" "$data/calib/wav.scp" -- tidyvoice trials "$data/calib" \
        --targets "$calib_targets" --nontargets "$calib_nontargets" --out "$data/calib/trials"
    make "$data/noise/wav.scp" "$made" -- \
      python -m local.musan --root "$corpus/musan" --out "$data/noise"
    make "$data/rirs/wav.scp" "$made" -- \
      python -m local.rirs --root "$corpus/RIRS_NOISES/simulated_rirs" --out "$data/rirs"
    show "$data/check.txt" "$data"/{finetune,calib,dev}/{wav.scp,utt2spk} -- \
      tidyvoice check "$data/finetune" ${held_out:+--disjoint "$held_out"} --disjoint "$data/dev" \
      --no-audio
  fi
  if [ "$recipe" != mini ]; then
    examined=(--data "$data/dev" --exp "$exp" --trials "$trials")
    if [ -z "$released" ]; then
      examined+=("${packed[@]/#/--train=}")
      [ -z "$held_out" ] || examined+=(--data "$held_out")
    elif [ -e "$other_mean/wav.scp" ]; then
      examined+=(--train "$other_mean")
    fi
    [ "$counts" = any ] || examined+=(--expect "conf/$recipe/expected.yaml")
    show "$exp/doctor.txt" "$data"/*/wav.scp "$trials" -- tidyvoice doctor "${examined[@]}"
  fi
  if [ -n "$released" ]; then
    if [ "$released" = hub ]; then released=conf/$recipe/released.yaml; fi
    trained_on=()
    # It does not name its speakers, but these were among them.
    for part in finetune calib; do
      if [ -e "$data/$part/utt2spk" ]; then trained_on+=(--trained-on "$data/$part/utt2spk"); fi
    done
    fetch "$released" "$exp/released/models" ${trained_on[@]+"${trained_on[@]}"}
  fi
fi

if stage 2 "pack shards"; then
  if [ -n "$released" ]; then
    echo "  the released model is not trained"
    if [ -e "$other_mean/wav.scp" ]; then
      pack "$other_mean" --tolerate "$tolerate"
    fi
  else
    for folder in "${packed[@]}"; do
      # Among millions of files of videos some are broken; the others have been looked at.
      case $folder in
        "$data"/vox*) pack "$folder" --tolerate "$tolerate" ;;
        *) pack "$folder" ;;
      esac
    done
  fi
fi

if stage 3 "pretrain"; then
  for system in "${systems[@]}"; do
    if [ "$system" = "$reported" ]; then continue; fi
    train "$system"
    average "$system"
  done
  if [ ${#systems[@]} = 1 ]; then echo "  ${init_from:-the released model} takes its place"; fi
fi

if stage 4 "fine-tune with a large margin"; then
  if [ -n "$released" ]; then
    echo "  the released model takes its place"
  else
    init=$(initial "$reported")
    [ -e "$init" ] || fail "no pretrained model at $init: run the stages before or give --init-from"
    train "$reported"
  fi
fi

if stage 5 "average checkpoints, extract embeddings"; then
  [ -n "$released" ] || average "$reported"
  for system in "${systems[@]}"; do
    extract "$system" dev "$data/dev"
    # The released model is scored on dev alone where there is nothing else.
    if [ "$system" = "$reported" ] && [ -e "$data/finetune/wav.scp" ]; then
      extract "$system" mean "$data/finetune" # all of it: stage 7 takes its speakers as the cohort
    elif [ -z "$released" ]; then
      extract "$system" mean "$data/finetune" --limit "$mean_utterances"
    fi
    if [ -n "$released" ] && [ -e "$other_mean/wav.scp" ]; then
      extract "$system" mean-voxceleb2 "$other_mean"
    fi
  done
fi

embeddings=$exp/$reported/embeddings scores=$exp/$reported/scores
of_dev=(--utt2lang "$data/dev/utt2lang" --utt2spk "$data/dev/utt2spk")
cosines=dev # the scores of dev that are normalised and calibrated
if [ -n "$released" ]; then
  cosines=dev-none
  [ ! -e "$embeddings/mean.npz" ] || cosines=dev-train
fi
compare=()
for system in "${systems[@]}"; do
  if [ "$system" = "$reported" ]; then continue; fi
  compare+=(--compare "$(called "$system")=$exp/$system/scores/dev.score")
done

if stage 6 "score, metrics, report"; then
  # The anchor of a pretraining, where VoxCeleb1 is there.
  if [ -e "$data/voxceleb1/wav.scp" ]; then
    for system in "${systems[@]}"; do
      extract "$system" voxceleb1 "$data/voxceleb1"
      for list in O E H; do
        score "$system" voxceleb1 "$data/voxceleb1/vox1_${list}_cleaned.kaldi" "voxceleb1-$list"
        show "$exp/$system/scores/voxceleb1-$list.txt" "$exp/$system/scores/voxceleb1-$list.score" \
          -- tidyvoice metrics "$exp/$system/scores/voxceleb1-$list.score"
      done
    done
  fi
  if [ -n "$released" ]; then
    score_released
  else
    for system in "${systems[@]}"; do score "$system" dev "$trials"; done
    report results dev "$(called "$reported")" ${compare[@]+"${compare[@]}"} "${of_dev[@]}"
  fi
fi

if stage 7 "normalise, calibrate, report"; then
  if [ -n "$released" ] || [ -z "$held_out" ]; then
    calibrate_on_dev
  else
    extract "$reported" calib "$data/calib"
    score "$reported" calib "$data/calib/trials"
    for list in calib dev; do normalised "$list" "$list" "$normalize"; done
    make "$scores/dev-llr.score" "$scores"/{calib,dev}-"$normalize".score -- tidyvoice calibrate \
      --fit "$scores/calib-$normalize.score" --apply "$scores/dev-$normalize.score" \
      --language-match --save "$exp/$reported/models/calibration.json" \
      --out "$scores/dev-llr.score"
    fitted_verifier calib "$data/calib/trials"
    report_calibrated calibrated "${of_dev[@]}"
  fi
fi

if [ "$recipe" != mini ] && stage 8 "submission"; then
  if [ ! -e "$data/eval/wav.scp" ]; then
    echo "  the evaluation set is not at $corpus/TidyVoiceX2: nothing to submit"
  else
    submit
  fi
fi
printf '\ndone in %d s\n' "$SECONDS"

# shellcheck shell=bash disable=SC2154
# What the stages of run.sh are made of, which sources this file.

run() {
  printf '+ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

# make FILE INPUT... -- COMMAND...: run the command, which writes FILE last, unless FILE was made by
# this very command and no INPUT is newer. What FILE was made by is kept beside it.
make() {
  local file=$1 inputs=() input stamp command
  shift
  while [ "$1" != -- ]; do inputs+=("$1") && shift; done
  shift
  stamp=$(dirname "$file")/.$(basename "$file").command
  command=$(printf '%q ' "$@")
  if [ -e "$file" ] && [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$command" ]; then
    for input in ${inputs[@]+"${inputs[@]}"}; do
      if [ "$input" -nt "$file" ]; then rm -f "$stamp"; fi
    done
    if [ -e "$stamp" ]; then
      echo "  $file is there"
      return
    fi
  fi
  # If this is cut short after FILE, FILE is no longer what the old stamp says.
  rm -f "$stamp"
  run "$@"
  if ! printf '%s\n' "$command" 2>/dev/null >"$stamp"; then
    echo "error: the disk is full: $stamp; free some space, the same command goes on" >&2
    exit 1
  fi
}

stage() {
  if [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; then
    printf '\n== stage %s: %s (%d s so far)\n' "$1" "$2" "$SECONDS"
  else
    return 1
  fi
}

common=("data.noise=$data/noise" "data.rirs=$data/rirs")

# initial SYSTEM: the model folder that its training starts from; nothing for the first.
initial() {
  local before='' system
  if [ -n "$init_from" ]; then
    # An archive is unpacked by stage 1, a folder is taken as it is.
    if [ -d "$init_from" ]; then echo "$init_from"; else echo "$exp/initial"; fi
    return
  fi
  for system in "${systems[@]}"; do
    if [ "$system" = "$1" ]; then echo "$before"; return; fi
    before=$exp/$system/models
  done
}

# settings SYSTEM: puts into `values` what its YAML file is overridden with, what --set says included.
settings() {
  local init
  values=("experiment=$exp/$1" "data.train=$(training_data "$1")" "${common[@]}")
  init=$(initial "$1")
  [ -z "$init" ] || values+=("model.init=$init")
  if [ "$1" = finetune ]; then
    values+=(${finetune_set[@]+"${finetune_set[@]}"})
  else
    values+=(${pretrain_set[@]+"${pretrain_set[@]}"})
  fi
}

# train SYSTEM [--check]: its training, or a check of its settings.
train() {
  local values
  settings "$1"
  run tidyvoice train "conf/$recipe/$1.yaml" "${values[@]}" "${@:2}"
}

average() {
  make "$exp/$1/models/avg_model.pt" "$exp/$1/models"/model_*.pt -- \
    tidyvoice average "$exp/$1" --last "$average"
}

# extract SYSTEM NAME FOLDER [OPTION ...]: embeddings of a data folder.
extract() {
  make "$exp/$1/embeddings/$2.npz" "$exp/$1/models/avg_model.pt" "$3/wav.scp" -- tidyvoice extract \
    --model "$exp/$1/models" --data "$3" --out "$exp/$1/embeddings/$2.npz" "${@:4}"
}

# score SYSTEM NAME TRIALS [SCORES MEAN [OPTION ...]]: cosine scores of the embeddings NAME.
score() {
  local folder=$exp/$1 out=${4:-$2} mean=${5-mean} centre=()
  if [ -n "$mean" ]; then centre=(--mean "$folder/embeddings/$mean.npz"); fi
  make "$folder/scores/$out.score" "$folder/embeddings/$2.npz" ${centre[@]+"${centre[1]}"} "$3" -- \
    tidyvoice score --embeddings "$folder/embeddings/$2.npz" --trials "$3" \
    ${centre[@]+"${centre[@]}"} --out "$folder/scores/$out.score" "${@:6}"
}

called() {
  case $1 in
    pretrain) echo pretrained ;;
    large_margin) echo "large margin" ;;
    finetune) echo fine-tuned ;;
    *) echo "$1" ;;
  esac
}

# normalised LIST [SCORES]: the scores of a list, measured against the fine-tuning speakers.
normalised() {
  make "$scores/$1-$normalize.score" "$scores/${2:-$1}.score" "$embeddings/cohort.npz" -- \
    tidyvoice normalize "$scores/${2:-$1}.score" --embeddings "$embeddings/$1.npz" \
    --mean "$embeddings/mean.npz" --cohort "$embeddings/cohort.npz" \
    --cohort-utt2spk "$data/finetune/utt2spk" --method "$normalize" --top-n "$top_n" \
    --out "$scores/$1-$normalize.score"
}


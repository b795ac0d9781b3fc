# shellcheck shell=bash disable=SC2154
# What the stages of run.sh are made of, which sources this file.

run() {
  printf '+ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

# fresh STAMP INPUT... -- COMMAND...: whether STAMP was left by this very command and no INPUT is newer.
fresh() {
  local stamp=$1
  [ -e "$stamp" ] || return 1
  while shift && [ "$1" != -- ]; do
    if [ "$1" -nt "$stamp" ]; then return 1; fi
  done
  shift
  [ "$(cat "$stamp")" = "$(printf '%q ' "$@")" ]
}

# stamped STAMP FILE INPUT... -- COMMAND...: run the command, then leave STAMP. Its output is kept in
# FILE if that is not empty.
stamped() {
  local stamp=$1 file=$2
  while [ "$1" != -- ]; do shift; done
  shift
  # If this is cut short, what is there is no longer what the old stamp says.
  rm -f "$stamp"
  if [ -n "$file" ]; then
    run "$@" | tee "$file.partial"
    tail -n +2 "$file.partial" >"$file"
    rm "$file.partial"
  else
    run "$@"
  fi
  if ! printf '%q ' "$@" 2>/dev/null >"$stamp"; then
    echo "error: the disk is full: $stamp; free some space, then run the same command again" >&2
    exit 1
  fi
}

# make FILE INPUT... -- COMMAND...: run the command, which writes FILE, unless that is done.
make() {
  local stamp
  stamp=$(dirname "$1")/.$(basename "$1").command
  if [ -e "$1" ] && fresh "$stamp" "${@:2}"; then
    echo "  $1 is there"
  else
    stamped "$stamp" '' "${@:2}"
  fi
}

# show FILE INPUT... -- COMMAND...: run the command and keep what it prints in FILE; show that again
# if there is nothing new.
show() {
  local stamp
  stamp=$(dirname "$1")/.$(basename "$1").command
  if [ -e "$1" ] && fresh "$stamp" "${@:2}"; then
    cat "$1"
  else
    mkdir -p "$(dirname "$1")"
    stamped "$stamp" "$@"
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

# fetch MODEL FOLDER [OPTION ...]: copy or download a model into FOLDER and test that it loads.
fetch() {
  make "$2/source.json" "$1" -- tidyvoice fetch-model "$1" --out "$2" \
    --config "conf/$recipe/finetune.yaml" "${@:3}"
}

# initial SYSTEM: the model folder that its training starts from; nothing for the first.
initial() {
  local before='' system
  if [ -n "$init_from" ]; then echo "$exp/initial"; return; fi
  for system in "${systems[@]}"; do
    if [ "$system" = "$1" ]; then echo "$before"; return; fi
    before=$exp/$system/models
  done
}

# config SYSTEM: its YAML file; --variant names another for the system that is reported.
config() {
  if [ "$1" = "$reported" ] && [ -n "$variant" ]; then
    echo "$variant_config"
  else
    echo "conf/$recipe/$1.yaml"
  fi
}

# settings SYSTEM: puts into `values` what its YAML file is overridden with, what --set says included.
settings() {
  local init
  values=("experiment=$exp/$1" "data.train=$(training_data "$1")" "${common[@]}")
  init=$(initial "$1")
  [ -z "$init" ] || values+=("model.init=$init")
  if [ "$1" = finetune ]; then
    if [ -n "$held_out" ]; then
      values+=("validation.data=$held_out" "validation.trials=$held_out/trials")
    else
      values+=("validation=null")
    fi
    values+=(${finetune_set[@]+"${finetune_set[@]}"})
  else
    values+=(${pretrain_set[@]+"${pretrain_set[@]}"})
    if [ "$1" = large_margin ]; then
      values+=(${large_margin_set[@]+"${large_margin_set[@]}"})
    fi
  fi
}

# pack FOLDER [OPTION ...]: the shards of a data folder, or of its parts.
pack() {
  local tables=() table stamp=$1/.shards.command
  for table in "$1"/{,part-*/}wav.scp; do
    if [ ! -e "$table" ]; then continue; fi
    tables+=("$table" "${table%wav.scp}utt2spk")
    [ -e "${table%wav.scp}shards/shards.json" ] || rm -f "$stamp"
  done
  if fresh "$stamp" "${tables[@]}" -- tidyvoice shards "$@"; then
    echo "  $1 is packed"
  else
    stamped "$stamp" '' "${tables[@]}" -- tidyvoice shards "$@"
  fi
}

# train SYSTEM [--check [OPTION ...]]: its training, or a check of its settings, unless that is done.
train() {
  local values init config inputs command stamp=$exp/$1/models/.trained
  settings "$1"
  init=$(initial "$1")
  config=$(config "$1")
  inputs=("$config" "conf/$recipe/$1.yaml" "$data"/{,*/}*/shards/shards.json)
  [ -z "$init" ] || inputs+=("$init"/{avg_model.pt,source.json})
  command=(tidyvoice)
  if [ "$processes" -gt 1 ]; then
    command=(python -m tidyvoice.training.launch --standalone --nproc-per-node "$processes"
      -m tidyvoice)
  fi
  command+=(train "$config" "${values[@]}")
  if fresh "$stamp" "${inputs[@]}" -- "${command[@]}"; then
    [ "${2-}" = --check ] || echo "  $exp/$1 is trained"
  elif [ "${2-}" = --check ]; then
    tidyvoice train "$config" "${values[@]}" --check "${@:3}"
  else
    stamped "$stamp" '' "${inputs[@]}" -- "${command[@]}"
  fi
}

# report FILE SCORES NAME [OPTION ...]: the page of the reported system; its table is kept in FILE.
report() {
  local folder=$exp/$reported inputs=("$scores/$2.score") option
  for option in "${@:4}"; do
    if [[ $option = *=*.score ]]; then inputs+=("${option#*=}"); fi
  done
  # The stage before writes the same page.
  [ "$1" = results ] || inputs+=("$folder/results.txt")
  [ -e "$folder/report.html" ] || rm -f "$folder/$1.txt"
  show "$folder/$1.txt" "${inputs[@]}" -- \
    tidyvoice report "$folder" --scores "$2" --name "$3" "${@:4}"
}

average() {
  make "$exp/$1/models/avg_model.pt" "$exp/$1"/{config.yaml,models/model_*.pt} -- \
    tidyvoice average "$exp/$1"
}

# extract SYSTEM NAME FOLDER [OPTION ...]: embeddings of a data folder.
extract() {
  make "$exp/$1/embeddings/$2.npz" "$exp/$1/models"/{avg_model.pt,source.json} "$3/wav.scp" -- \
    tidyvoice extract --model "$exp/$1/models" --data "$3" --out "$exp/$1/embeddings/$2.npz" \
    --strict "${@:4}"
}

# score SYSTEM NAME TRIALS [SCORES MEAN [OPTION ...]]: cosine scores of the embeddings NAME.
score() {
  local folder=$exp/$1 out=${4:-$2} mean=${5-mean} centre=()
  if [ -n "$mean" ]; then centre=(--mean "$folder/embeddings/$mean.npz"); fi
  make "$folder/scores/$out.score" "$folder/embeddings/$2.npz" ${centre[@]+"${centre[1]}"} "$3" -- \
    tidyvoice score --embeddings "$folder/embeddings/$2.npz" --trials "$3" \
    ${centre[@]+"${centre[@]}"} --out "$folder/scores/$out.score" "${@:6}"
}

# fitted_verifier LIST TRIALS: what `tidyvoice verify` and `identify` need, beside the weights.
fitted_verifier() {
  local centre=()
  if [ -e "$embeddings/mean.npz" ]; then centre=(--mean "$embeddings/mean.npz"); fi
  make "$exp/$reported/models/verifier.json" "$embeddings/$1.npz" ${centre[@]+"${centre[1]}"} \
    "$2" -- tidyvoice fit-verifier --model "$exp/$reported/models" --trials "$2" \
    --embeddings "$embeddings/$1.npz" ${centre[@]+"${centre[@]}"}
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
  make "$scores/$1-$normalize.score" "$scores/${2:-$1}.score" "$embeddings/mean.npz" -- \
    tidyvoice normalize "$scores/${2:-$1}.score" --embeddings "$embeddings/$1.npz" \
    --mean "$embeddings/mean.npz" --cohort "$embeddings/mean.npz" \
    --cohort-utt2spk "$data/finetune/utt2spk" --method "$normalize" --top-n "$top_n" \
    --out "$scores/$1-$normalize.score"
}


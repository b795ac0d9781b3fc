# shellcheck shell=bash disable=SC2154
# What the stages of run.sh are made of, which sources this file.

run() {
  printf '+ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

# make [--show] FILE INPUT... -- COMMAND...: run the command, which makes FILE, unless FILE is up to
# date: its stamp holds this command and the hash of this source, and no INPUT is newer. Stages 1 to
# 4 take hours to weeks and keep what other code made. With --show, FILE holds what the command prints.
make() {
  local show='' newer='' state='' file stamp line
  if [ "$1" = --show ]; then show=yes && shift; fi
  file=$1 stamp=$(dirname "$1")/.$(basename "$1").command
  while shift && [ "$1" != -- ]; do
    if [ "$1" -nt "$stamp" ]; then newer=yes; fi
  done
  shift
  line=$(printf '%q ' "$@")
  case $(cat "$stamp" 2>/dev/null) in
    "$line"$'\n'"$source") state="is up to date" ;;
    "$line" | "$line"$'\n'*)
      [ "$current" -gt 4 ] || state="was made by other code and is kept; --force --stage $current\
 --stop-stage $current makes it again"
      ;;
  esac
  if [ -z "$force$newer" ] && [ -e "$file" ] && [ -n "$state" ]; then
    echo "  $file $state"
    [ -z "$show" ] || cat "$file"
    return
  fi
  # If this is cut short, what is there is no longer what the old stamp says.
  rm -f "$stamp"
  if [ -n "$show" ]; then
    mkdir -p "$(dirname "$file")"
    run "$@" | tee "$file.partial"
    tail -n +2 "$file.partial" >"$file"
    rm "$file.partial"
  else
    run "$@"
  fi
  if ! printf '%s\n' "$line" "$source" 2>/dev/null >"$stamp"; then
    echo "error: the disk is full: $stamp; free some space, then run the same command again" >&2
    exit 1
  fi
}

show() { make --show "$@"; }

# set_aside FOLDER: with --force, rename what took long to make.
set_aside() {
  if [ -n "$force" ] && [ -e "$1" ]; then python -m local.aside "$1"; fi
}

current=1
stage() {
  if [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; then
    current=$1
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
  local inputs=() table shards=$1/shards missing=''
  for table in "$1"/{,part-*/}wav.scp; do
    if [ ! -e "$table" ]; then continue; fi
    shards=${table%wav.scp}shards
    inputs+=("$table" "${table%wav.scp}utt2spk")
    set_aside "$shards"
    [ -e "$shards/shards.json" ] || missing=yes
  done
  [ -z "$missing" ] || rm -f "$(dirname "$shards")/.shards.command"
  make "$shards" "${inputs[@]}" -- tidyvoice shards "$@"
}

# training SYSTEM: put the command of a training into `command`, and what it reads into `inputs`.
training() {
  local values init
  settings "$1"
  init=$(initial "$1")
  inputs=("$(config "$1")" "conf/$recipe/$1.yaml" "$data"/{,*/}*/shards/shards.json)
  [ -z "$init" ] || inputs+=("$init"/{avg_model.pt,source.json})
  command=(tidyvoice)
  if [ "$processes" -gt 1 ]; then
    command=(python -m tidyvoice.training.launch --standalone --nproc-per-node "$processes"
      -m tidyvoice)
  fi
  command+=(train "$(config "$1")" "${values[@]}")
}

# check SYSTEM [OPTION ...]: check the settings of its training, unless it is finished with them.
check() {
  local values inputs command stamp=$exp/$1/.models.command
  training "$1"
  if [ $# = 1 ] && ! [ "${inputs[0]}" -nt "$stamp" ] && ! [ "${inputs[1]}" -nt "$stamp" ] &&
    grep -qxF -- "$(printf '%q ' "${command[@]}")" "$stamp" 2>/dev/null; then
    return
  fi
  settings "$1"
  # With --force the training starts in a folder of its own, so another one may lie there.
  if [ -n "$force" ] && [ "$stage" -le 4 ]; then values+=("experiment=$exp/$1.new"); fi
  tidyvoice train "$(config "$1")" "${values[@]}" --check "${@:2}"
}

train() {
  local inputs command
  set_aside "$exp/$1"
  training "$1"
  make "$exp/$1/models" "${inputs[@]}" -- "${command[@]}"
}

# report FILE SCORES NAME [OPTION ...]: the page of the reported system; its table is kept in FILE.
report() {
  local folder=$exp/$reported inputs=("$scores/$2.score") option before
  for option in "${@:4}"; do
    if [[ $option = *=* ]]; then inputs+=("${option#*=}"); fi
  done
  # The stages before write the same page.
  for before in results calibrated; do
    if [ "$1" = $before ]; then break; fi
    inputs+=("$folder/$before.txt")
  done
  [ -e "$folder/report.html" ] || rm -f "$folder/$1.txt"
  show "$folder/$1.txt" "${inputs[@]}" -- \
    tidyvoice report "$folder" --scores "$2" --name "$3" "${@:4}"
}

# report_calibrated FILE [OPTION ...]: the same with the systems of stage 7.
report_calibrated() {
  report "$1" dev-llr "+ calibrated" --compare "+ normalised=$scores/dev-$normalize.score" \
    --compare "$(called "$reported")=$scores/$cosines.score" ${compare[@]+"${compare[@]}"} "${@:2}"
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

# fitted_verifier LIST TRIALS: verifier.json, with which `tidyvoice verify` and `identify` decide. It
# normalises scores by AS-norm, because these commands do not know the languages.
fitted_verifier() {
  local mean=$embeddings/mean.npz others=()
  if [ -e "$mean" ]; then
    others=(--mean "$mean" --cohort "$mean" --cohort-utt2spk "$data/finetune/utt2spk"
      --top-n "$top_n")
  fi
  make "$exp/$reported/models/verifier.json" "$embeddings/$1.npz" ${others[@]+"$mean"} "$2" -- \
    tidyvoice fit-verifier --model "$exp/$reported/models" --trials "$2" \
    --embeddings "$embeddings/$1.npz" ${others[@]+"${others[@]}"}
}

called() {
  case $1 in
    pretrain) echo pretrained ;;
    large_margin) echo "large margin" ;;
    finetune) echo fine-tuned ;;
    *) echo "$1" ;;
  esac
}

# normalised LIST COSINES METHOD: the scores of a list, measured against the fine-tuning speakers. The
# method blind is language, with guessed languages.
normalised() {
  local own=$embeddings/${1%-[AU]}.npz method=("$3")
  if [ "$3" = blind ]; then method=(language --blind); fi
  make "$scores/$1-$3.score" "$scores/$2.score" "$own" "$embeddings/mean.npz" -- \
    tidyvoice normalize "$scores/$2.score" --embeddings "$own" \
    --mean "$embeddings/mean.npz" --cohort "$embeddings/mean.npz" \
    --cohort-utt2spk "$data/finetune/utt2spk" --method "${method[@]}" --top-n "$top_n" \
    --out "$scores/$1-$3.score"
}

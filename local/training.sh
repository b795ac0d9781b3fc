# shellcheck shell=bash disable=SC2154
# Steps of the stages 1 to 4.

# prepare_tidyvoicex: write the data folders of TidyVoiceX, with some speakers of train in a folder of
# their own. An archive is unpacked where its folder is missing.
prepare_tidyvoicex() {
  local dev=$tidyvoicex/TidyVoiceX_Dev train=$tidyvoicex/TidyVoiceX_Train
  make "$data/dev/wav.scp" "$made" -- \
    python -m local.tidyvoice --archive "$dev.tar.gz" --root "$dev" --out "$data/dev"
  if [ -e "$train" ] || [ -e "$train.tar.gz" ]; then
    make "$data/finetune/wav.scp" "$made" -- \
      python -m local.tidyvoice --archive "$train.tar.gz" --root "$train" --out "$data/finetune" \
      ${held_out:+--calib "$held_out" --calib-speakers "$calib_speakers"}
  fi
}

# fetch MODEL FOLDER [OPTION ...]: copy or download a model, and test that it loads.
fetch() {
  make "$2/source.json" "$1" -- tidyvoice fetch-model "$1" --out "$2" \
    --config "conf/$recipe/finetune.yaml" "${@:3}"
}

# pack FOLDER [OPTION ...]: pack the shards of a data folder, or of its parts.
pack() {
  local inputs=() table shards
  for table in "$1"/{,part-*/}wav.scp; do
    if [ ! -e "$table" ]; then continue; fi
    shards=${table%wav.scp}shards
    inputs+=("$table" "${table%wav.scp}utt2spk")
    set_aside "$shards"
  done
  make "$shards" "${inputs[@]}" -- tidyvoice shards "$@"
}

# training NAME: put a training's YAML file and settings into `settings`, its command into `command`,
# and the files that it reads into `inputs`.
training() {
  local init=${init_from:+$exp/initial} earlier setting
  settings=("conf/$recipe/$1.yaml")
  if [ "$1" = finetune ]; then settings=("$config"); fi
  inputs=("${settings[0]}" "conf/$recipe/$1.yaml" "$data"/{,*/}*/shards/shards.json)
  if [[ ${settings[0]} = conf/variants/* ]]; then settings+=("base=conf/$recipe/finetune.yaml"); fi
  settings+=("experiment=$exp/$1" "data.train=$(training_data "$1")" "data.noise=$data/noise"
    "data.rirs=$data/rirs" ${seed:+"seed=$seed"})
  for earlier in "${systems[@]}"; do
    if [ "$earlier" = "$1" ]; then break; fi
    init=$exp/$earlier/models
  done
  if [ -n "$init" ]; then
    settings+=("model.init=$init")
    inputs+=("$init"/{avg_model.pt,source.json})
  fi
  case $1$held_out in
    finetune) settings+=(validation=null) ;;
    finetune*) settings+=("validation.data=$held_out" "validation.trials=$held_out/trials") ;;
  esac
  for setting in ${overrides[@]+"${overrides[@]}"}; do
    case $1:$setting in
      "$1:$1".* | large_margin:pretrain.*) settings+=("${setting#*.}") ;;
      *:pretrain.* | *:large_margin.* | *:finetune.* | *:corpus.*) ;;
      *) settings+=("$setting") ;;
    esac
  done
  command=(tidyvoice train "${settings[@]}")
  if [ "$processes" -gt 1 ]; then
    command=(python -m tidyvoice.training.launch --standalone --nproc-per-node "$processes" -m
      "${command[@]}")
  fi
}

# check NAME [OPTION ...]: refuse wrong settings of a training, unless it is finished with them.
check() {
  local settings inputs command
  training "$1"
  if finished "$exp/$1/models" "${inputs[@]}" -- "${command[@]}"; then return; fi
  # With --force the training starts in a new folder.
  if [ -n "$force" ] && [ "$stage" -le 4 ]; then settings+=("experiment=$exp/$1.new"); fi
  tidyvoice train "${settings[@]}" --check "${@:2}"
}

train() {
  local settings inputs command
  set_aside "$exp/$1"
  training "$1"
  make "$exp/$1/models" "${inputs[@]}" -- "${command[@]}"
}

average() {
  make "$exp/$1/models/avg_model.pt" "$exp/$1"/{config.yaml,models/model_*.pt} -- \
    tidyvoice average "$exp/$1"
}

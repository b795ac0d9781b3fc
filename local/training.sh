# shellcheck shell=bash disable=SC2154
# Steps of the stages 1 to 4.

# prepare_tidyvoicex: unpack TidyVoiceX where its folders are missing, and write the data folders.
prepare_tidyvoicex() {
  local dev=$tidyvoicex/TidyVoiceX_Dev train=$tidyvoicex/TidyVoiceX_Train
  make "$data/dev/wav.scp" "$corpus_stamp" -- \
    python -m local.tidyvoice --archive "$dev.tar.gz" --root "$dev" --out "$data/dev"
  if [ -e "$train" ] || [ -e "$train.tar.gz" ]; then
    make "$data/finetune/wav.scp" "$corpus_stamp" -- \
      python -m local.tidyvoice --archive "$train.tar.gz" --root "$train" --out "$data/finetune" \
      ${held_out:+--calib "$held_out" --calib-speakers "$calib_speakers"}
  fi
}

# fetch MODEL FOLDER [OPTION ...]: copy or download a model, and test that it loads.
fetch() {
  make "$2/source.json" -- tidyvoice fetch-model "$1" --out "$2" "${@:3}"
}

# pack FOLDER [OPTION ...]: pack the shards of a data folder, or of its parts.
pack() {
  local parts=("$1"/part-*) part
  [ -e "${parts[0]}" ] || parts=("$1")
  for part in "${parts[@]}"; do set_aside "$part/shards"; done
  make "$part/shards" "${parts[@]}" -- tidyvoice shards "$@"
}

# training NAME: put a training's YAML file and settings into `settings`, its command into `command`,
# the model that it starts from into `init`.
training() {
  local steps="${systems[*]}" earlier setting
  init=${init_from:+$exp/initial}
  if [ "$recipe$stage" = mini1 ]; then steps+=" corpus"; fi
  settings=("conf/$recipe/$1.yaml")
  if [ "$1" = finetune ]; then settings=("${finetune[@]}"); fi
  for earlier in "${systems[@]}"; do
    if [ "$earlier" = "$1" ]; then break; fi
    init=$exp/$earlier/models
  done
  settings+=("experiment=$exp/$1" "data.train=$(training_data "$1")" "data.noise=$data/noise"
    "data.rirs=$data/rirs" ${init:+"model.init=$init"})
  case $1$held_out in
    finetune) settings+=(validation=null) ;;
    finetune*) settings+=("validation.data=$held_out" "validation.trials=$held_out/trials") ;;
  esac
  for setting in ${overrides[@]+"${overrides[@]}"}; do
    case " $steps pretrain large_margin corpus " in
      *" ${setting%%.*} "*)
        [[ " $steps " = *" ${setting%%.*} "* ]] || fail "--set $setting: this run does not include ${setting%%.*}"
        [[ $setting != "$1".* ]] || settings+=("${setting#*.}")
        ;;
      *) settings+=("$setting") ;;
    esac
  done
  command=(tidyvoice train "${settings[@]}")
  if [ "$processes" -gt 1 ]; then
    command=(python -m tidyvoice.training.launch --standalone --nproc-per-node "$processes" -m
      "${command[@]}")
  fi
}

# check NAME: refuse wrong settings of a training, unless it is finished with them.
check() {
  local settings command init
  training "$1"
  if finished "$exp/$1/models" "conf/$recipe/$1.yaml" -- "${command[@]}"; then return; fi
  # With --force the training starts in a new folder.
  if [ -n "$force" ] && [ "$stage" -le 4 ]; then settings+=("experiment=$exp/$1.new"); fi
  tidyvoice train "${settings[@]}" --check ${init_from:+--initial}
}

train() {
  local settings command init
  training "$1"
  [ -z "$init" ] || [ -e "$init" ] || fail "$init is missing: run stage 3 or give --init-from"
  set_aside "$exp/$1"
  make "$exp/$1/models" "conf/$recipe/$1.yaml" "$data"/{,*/}*/shards/shards.json -- "${command[@]}"
}

average() {
  make "$exp/$1/models/avg_model.pt" "$exp/$1"/{config.yaml,models/model_*.pt} -- \
    tidyvoice average "$exp/$1"
}

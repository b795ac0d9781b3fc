# shellcheck shell=bash disable=SC2034,SC2154
# The options of run.sh, which sources this file: read from its arguments, and checked.

recipe='' variant='' processes='' stage=1 stop_stage=8 corpus='' init_from='' released='' data='' exp=''
force=''
of_pretraining='' recipe_set=() corpus_set=() pretrain_set=() large_margin_set=() finetune_set=()

# What is given relative to where run.sh was called from, as it is called here.
from_here() {
  case $1 in
    /*) echo "$1" ;;
    *) if [ "$called_from" = "$PWD" ]; then echo "$1"; else echo "$called_from/$1"; fi ;;
  esac
}

# A model: a folder or archive, or the OWNER/NAME of a Hugging Face repository.
model_from_here() {
  local path
  path=$(from_here "$1")
  if [ ! -e "$path" ] && [[ $1 =~ $repository ]]; then echo "$1"; else echo "$path"; fi
}
repository='^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$'

recipe_keys='calib_speakers mean_utterances normalize top_n calib_targets calib_nontargets tolerate
counts openslr voxceleb'

add_setting() {
  local key=${1%%=*} known
  [[ $1 = ?*=* ]] || fail "--set $1: write KEY=VALUE"
  for known in $recipe_keys; do
    if [ "$key" = "$known" ]; then recipe_set+=("$1"); return; fi
    # A key of a training would be refused as none, with the nearest key of trainings alone.
    [[ ${known//_/} != "${key//[_-]/}"* ]] || fail "--set $1: did you mean $known=VALUE?"
  done
  case $1 in
    corpus.*=*) corpus_set+=("${1#corpus.}") ;;
    pretrain.*=*) pretrain_set+=("${1#pretrain.}") of_pretraining=$1 ;;
    large_margin.*=*) large_margin_set+=("${1#large_margin.}") ;;
    finetune.*=*) finetune_set+=("${1#finetune.}") ;;
    *) pretrain_set+=("$1") finetune_set+=("$1") ;;
  esac
}

[ $# -gt 0 ] || { usage; exit 0; }
while [ $# -gt 0 ]; do
  option=${1//_/-}
  case $option in
    --help | -h) usage; exit 0 ;;
    --force) force=yes; shift; continue ;;
    --from-released)
      shift
      released=hub
      if [ $# -gt 0 ] && [[ $1 != --* ]]; then released=$(model_from_here "$1") && shift; fi
      continue
      ;;
    --set)
      shift
      { [ $# -gt 0 ] && [[ $1 != --* ]]; } || fail "--set needs a value: KEY=VALUE"
      while [ $# -gt 0 ] && [[ $1 != --* ]]; do add_setting "$1"; shift; done
      continue
      ;;
    --recipe | --variant | --processes | --stage | --stop-stage | --corpus | --init-from | --data | --exp | --seed)
      [ $# -ge 2 ] || fail "$1 needs a value"
      ;;
    *) fail "unknown option $1: see ./run.sh --help" ;;
  esac
  case $option in
    --recipe) recipe=$2 ;;
    --variant) variant=$2 ;;
    --processes) processes=$2 ;;
    --stage) stage=$2 ;;
    --stop-stage) stop_stage=$2 ;;
    --corpus) corpus=$(from_here "$2") ;;
    --init-from) init_from=$(model_from_here "$2") ;;
    --data) data=$(from_here "$2") ;;
    --exp) exp=$(from_here "$2") ;;
    --seed) add_setting "seed=$2" ;;
  esac
  shift 2
done

[ -n "$recipe" ] || fail "give --recipe mini or --recipe tidyvoice"
[ -z "$init_from" ] || [ -z "$released" ] || fail "give --init-from or --from-released"
[ -z "$init_from" ] || [ -e "$init_from" ] || [[ $init_from =~ $repository ]] ||
  fail "--init-from $init_from: no such model; give a folder, an archive or OWNER/NAME"
[ -d "conf/$recipe" ] || fail "no recipe is called $recipe: there are mini, tidyvoice"
if [ -n "$variant" ]; then
  variant_config=conf/$recipe/finetune_$variant.yaml
  [ -e "$variant_config" ] || variant_config=conf/$recipe/variants/$variant.yaml
  [ -e "$variant_config" ] ||
    fail "--variant $variant: there are $(
      find "conf/$recipe" -path '*/variants/*.yaml' -o -name 'finetune_*.yaml' |
        sed -E 's,.*/(finetune_)?,,; s,\.yaml$,,' | sort | xargs
    )"
fi
[[ $processes =~ ^([1-9][0-9]*)?$ ]] || fail "--processes $processes: give a number above 0"
for number in "$stage" "$stop_stage"; do
  [[ $number =~ ^[1-8]$ ]] || fail "stages are 1 to 8, not $number"
done
[ "$recipe" != mini ] || [ "$stage" -lt 8 ] || fail "the recipe mini has the stages 1 to 7"
[ "$stage" -le "$stop_stage" ] || fail "--stage $stage comes after --stop-stage $stop_stage"
data=${data:-data/$recipe} exp=${exp:-exp/$recipe}
if [ "$recipe" = mini ]; then corpus=${corpus:-$data/corpus}; fi
[ -n "$corpus" ] || fail "--corpus: give the folder that holds the corpora"

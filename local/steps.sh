# shellcheck shell=bash disable=SC2154
# Steps that are skipped when they are finished. Beside FILE, .FILE.command holds the command that
# made it and the hash of the source it was made with.

# Computed once: after an edit during a run, the next run repeats the steps.
source=$(python -c 'from tidyvoice.files import source_hash; print(source_hash("local"))')
current=0 # stage

elapsed() { printf '%d:%02d:%02d' $((SECONDS / 3600)) $((SECONDS / 60 % 60)) $((SECONDS % 60)); }

# stage NUMBER NAME: print the progress, if this stage is to run.
stage() {
  # A released model is not trained.
  [[ $stage -le $1 && $1 -le $stop_stage && (-z $from_released || $1 != [234]) ]] || return 1
  current=$1
  printf '\n== stage %s of 8: %s (elapsed %s)\n' "$1" "$2" "$(elapsed)"
}

# finished FILE INPUT ... -- COMMAND ...: test whether COMMAND and this source made FILE, and no INPUT or
# file that COMMAND names is newer. Stages 1 to 4 can take weeks and keep what other source made.
finished() {
  local stamp=${1%/*}/.${1##*/}.command word input
  [ -e "$1" ] && [ -e "$stamp" ] || return 1
  for word in "${@:2}"; do
    for input in "${word##*=}"{,/wav.scp,/utt2spk,/avg_model.pt}; do
      if [ -f "$input" ] && [ "$input" -nt "$stamp" ]; then return 1; fi
    done
  done
  while [ "$1" != -- ]; do shift; done
  case $(cat "$stamp") in
    "$(printf '%q ' "${@:2}")"$'\n'"$source") kept='' ;;
    "$(printf '%q ' "${@:2}")"$'\n'*)
      kept="; other code made it, and --force --stage $current --stop-stage $current repeats it"
      [ "$current" -le 4 ]
      ;;
    *) return 1 ;;
  esac
}

# make FILE INPUT ... -- COMMAND ...: run the command, which makes FILE, unless FILE is finished. A
# FILE that ends in .txt holds what the command prints.
make() {
  local file=$1 stamp=${1%/*}/.${1##*/}.command kept
  if [ -z "$force" ] && finished "$@"; then
    echo "  $file is up to date$kept"
    if [[ $file = *.txt ]]; then cat "$file"; fi
    return
  fi
  rm -f "$stamp" # what an interruption leaves is not finished
  while [ "$1" != -- ]; do shift; done
  shift
  echo "+ $(printf '%q ' "$@")"
  if [[ $file = *.txt ]]; then
    mkdir -p "${file%/*}"
    "$@" | tee "$file.partial"
    mv "$file.partial" "$file"
  else
    "$@"
  fi
  printf '%s\n' "$(printf '%q ' "$@")" "$source" 2>/dev/null >"$stamp" ||
    fail "the disk is full: $stamp; free some space, then run the same command again"
}

# set_aside FOLDER: with --force, rename a folder that took long to make.
set_aside() {
  if [ -n "$force" ] && [ -e "$1" ]; then python -m local.aside "$1"; fi
}

# shellcheck shell=bash disable=SC2034,SC2154
# What ./run.sh --recipe tidyvoice does beside the trainings; ./run.sh --set KEY=VALUE overrides it.
calib_speakers=100      # held out of the fine-tuning, for calibration
average=1               # last checkpoints whose mean is the model
mean_utterances=20000   # of the fine-tuning data, whose mean embedding is subtracted
normalize=language      # language, asnorm or snorm
top_n=300               # highest cohort scores that count, of 3,566 speakers, a few times over
calib_targets=20000     # trials that the calibration is fitted to
calib_nontargets=100000
tolerate=0.01           # share of the video files that may be broken
counts=official         # lengths of the lists of a submission; any for others

trainings=(pretrain large_margin finetune)

training_data() {
  case $1 in
    pretrain) echo "[$data/voxblink2,$data/voxceleb2]" ;;
    large_margin) echo "$data/voxceleb2" ;;
    finetune) echo "$data/finetune" ;;
  esac
}

# Everything that is missing is said at once, before the first hour is spent.
prepare() {
  local missing=()
  need() { # need PATH HOW-TO-GET-IT
    if [ ! -e "$1" ]; then missing+=("  $1: $2"); fi
  }
  need "$dev_root" "TidyVoiceX dev: README, \"The real data\""
  if [ -z "$released" ]; then need "$train_root" "TidyVoiceX train, from the same place"; fi
  need "$trials" "the dev trials, from the challenge's page"
  if [ -z "$released" ]; then
    need "$corpus/musan" "python -m local.musan --help"
    need "$corpus/RIRS_NOISES/simulated_rirs" "python -m local.rirs --help"
  fi
  if [ ${#systems[@]} -gt 1 ]; then
    need "$corpus/voxceleb2" "VoxCeleb2 dev: python -m local.voxceleb2 --help, or give --init-from"
    need "$corpus/voxblink2" "VoxBlink2: python -m local.voxblink2 --help, or give --init-from"
    command -v ffmpeg >/dev/null || missing+=("  ffmpeg, which decodes m4a: apt install ffmpeg")
  fi
  if [ ${#missing[@]} -gt 0 ]; then
    echo "error: missing inputs, ${#missing[@]} in all:" >&2
    printf '%s\n' "${missing[@]}" >&2
    exit 2
  fi
  if [ ${#systems[@]} -gt 1 ]; then
    make "$data/voxceleb2/wav.scp" -- \
      python -m local.voxceleb2 --root "$corpus/voxceleb2" --out "$data/voxceleb2"
    make "$data/voxblink2/part-016-of-016/wav.scp" -- \
      python -m local.voxblink2 --root "$corpus/voxblink2" --out "$data/voxblink2" --parts 16
  fi
  if [ -e "$corpus/TidyVoiceX2" ]; then
    make "$data/eval/wav.scp" -- python -m local.tidyvoice_eval --root "$corpus/TidyVoiceX2" \
      --out "$data/eval" --lists "$corpus/tv26_eval-A.txt" "$corpus/tv26_eval-U.txt"
  fi
}

# shellcheck shell=bash disable=SC2034,SC2154
# What ./run.sh --recipe tidyvoice does beside the trainings; ./run.sh --set KEY=VALUE overrides it.
calib_speakers=100      # held out of the fine-tuning, for calibration; 0: dev calibrates itself
if [ "$variant" = published ]; then calib_speakers=0; fi # it trains on every speaker
mean_utterances=20000   # for the mean of the earlier systems; the reported one takes all utterances
normalize=language      # language, asnorm or snorm
top_n=300               # highest cohort scores that count, of 3,566 speakers, a few times over
calib_targets=20000     # trials that the calibration is fitted to
calib_nontargets=100000
tolerate=0.01           # share of the video files that may be broken
openslr=https://www.openslr.org/resources
voxceleb=https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta
counts=official         # expect the counts of the real data and lists; any for other data

# For the released model: a tenth of the speakers of VoxCeleb2, about 109,000 utterances for a mean.
other_mean=$data/voxceleb2-mean/part-001-of-010

trainings=(pretrain large_margin finetune)

training_data() {
  case $1 in
    pretrain) echo "[$data/voxblink2,$data/voxceleb2]" ;;
    large_margin) echo "$data/voxceleb2" ;;
    finetune) echo "$data/finetune" ;;
  esac
}

# List all missing inputs at once, before the first stage runs.
require_inputs() {
  local missing=() asv=$corpus/TidyVoiceX_ASV part
  local key="set MDC_API_KEY to a key of https://mozilladatacollective.com, or put"
  for part in Dev Train; do
    if [ $part = Train ] && [ -n "$released" ]; then continue; fi
    if ! have "$asv/TidyVoiceX_$part" && [ -z "${MDC_API_KEY-}" ]; then
      missing+=("  $asv/TidyVoiceX_$part: $key TidyVoiceX_$part.tar.gz there")
    fi
  done
  if [ ! -e "$trials" ] && [ ! -e "${trials%.txt}.zip" ]; then
    missing+=("  $trials, or the .zip of it: behind the link that the challenge sends")
  fi
  if [ ${#systems[@]} -gt 1 ]; then
    for part in voxceleb2 voxblink2; do
      [ -e "$corpus/$part" ] ||
        missing+=("  $corpus/$part: python -m local.$part --help says where; or give --init-from")
    done
    command -v ffmpeg >/dev/null || missing+=("  ffmpeg, which decodes m4a: apt install ffmpeg")
  fi
  if [ ${#missing[@]} -gt 0 ]; then
    echo "error: missing inputs, ${#missing[@]} in all:" >&2
    printf '%s\n' "${missing[@]}" >&2
    exit 2
  fi
}

# Download what is public, unpack archives, and write the data folders.
prepare() {
  local asv=$corpus/TidyVoiceX_ASV part
  for part in Dev Train; do
    if [ -e "$asv/TidyVoiceX_$part" ]; then continue; fi
    if have "$asv/TidyVoiceX_$part"; then
      run python -m local.tidyvoice --archive "$asv/TidyVoiceX_$part.tar.gz" \
        --root "$asv/TidyVoiceX_$part"
    elif [ -n "${MDC_API_KEY-}" ]; then
      run python -m local.tidyvoice --download "$corpus"
    fi
  done
  [ -e "$trials" ] ||
    run python -m local.tidyvoice_trials --trials "${trials%.txt}.zip" --out "$trials"
  if [ -z "$released" ]; then
    [ -e "$corpus/musan" ] ||
      run python -m local.musan --download "$corpus" --url "$openslr/17"
    [ -e "$corpus/RIRS_NOISES" ] ||
      run python -m local.rirs --download "$corpus" --url "$openslr/28"
  fi
  if [ ${#systems[@]} -gt 1 ]; then
    make "$data/voxceleb2/wav.scp" -- \
      python -m local.voxceleb2 --root "$corpus/voxceleb2" --out "$data/voxceleb2"
    make "$data/voxblink2/part-016-of-016/wav.scp" -- \
      python -m local.voxblink2 --root "$corpus/voxblink2" --out "$data/voxblink2" --parts 16
  fi
  if [ -n "$released" ] && [ -e "$corpus/voxceleb2" ]; then
    make "$other_mean/wav.scp" -- python -m local.voxceleb2 --root "$corpus/voxceleb2" \
      --out "$(dirname "$other_mean")" --part 1/10
  fi
  if [ -e "$corpus/voxceleb1" ]; then
    make "$data/voxceleb1/wav.scp" -- python -m local.voxceleb1 --root "$corpus/voxceleb1" \
      --lists "$corpus/voxceleb1/lists" --download-lists --url "$voxceleb" --out "$data/voxceleb1"
  fi
  if [ -e "$corpus/TidyVoiceX2" ]; then
    make "$data/eval/wav.scp" "$corpus"/tv26_eval-{A,U}.txt -- \
      python -m local.tidyvoice_eval --root "$corpus/TidyVoiceX2" --out "$data/eval" \
      --lists "$corpus"/tv26_eval-{A,U}.txt
  fi
}

# have FOLDER: it is there, or its archive is.
have() { [ -e "$1" ] || [ -e "$1.tar.gz" ]; }

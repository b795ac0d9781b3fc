# shellcheck shell=bash disable=SC2034
# Options in Kaldi's manner: --some-name VALUE sets the variable some_name, which run.sh or
# conf/RECIPE/recipe.sh has set before.

fail() { echo "error: $*" >&2 && exit 2; }

if [[ " $* " =~ ' --recipe '([^ ]+) ]]; then
  recipe=${BASH_REMATCH[1]}
  [ -e "conf/$recipe/recipe.sh" ] || fail "--recipe $recipe: there are mini, tidyvoice"
  # shellcheck source=/dev/null
  . "conf/$recipe/recipe.sh"
fi
[ $# -gt 0 ] || set -- --help
help=$(sed -nE 's/^#: ?//p; /^(recipe|calib_speakers)=/,/^$/p' run.sh "conf/${recipe:-tidyvoice}/recipe.sh")
while [ $# -gt 0 ]; do
  option=$1 name=${1#--}
  name=${name//-/_}
  shift
  case $option in
    --help | -h)
      printf '%s\n\n' "usage: ./run.sh --recipe mini|tidyvoice [--stop-stage 6, likewise for each variable below]" \
        "$help" stages
      sed -nE 's/^if stage (.) "(.*)"; then.*/  \1  \2/p' run.sh
      exit
      ;;
    --force) force=yes ;;
    --from-released)
      from_released=conf/$recipe/released.yaml
      if [ $# -gt 0 ] && [[ $1 != --* ]]; then from_released=$1 && shift; fi
      ;;
    --set)
      while [ $# -gt 0 ] && [[ $1 != --* ]]; do
        [[ $1 = ?*=* ]] || fail "--set $1: write KEY=VALUE"
        overrides+=("$1") && shift
      done
      ;;
    *)
      [[ $option = --* && $'\n'$help = *$'\n'"$name="* ]] || fail "unknown option $option: see ./run.sh"
      [ $# -gt 0 ] || fail "$option needs a value"
      [[ ! ${!name} =~ ^[0-9]+$ || $1 =~ ^[0-9]+$ ]] || fail "$option $1: give a whole number"
      printf -v "$name" %s "$1" && shift
      ;;
  esac
done
[ -n "$recipe" ] || fail "give --recipe mini or --recipe tidyvoice"

#!/bin/sh
# Start what the container is told to, after the packages that its environment asks for.
set -eu

fail() { # with this exit code and reason, which is the container's termination message too
  message=${DASK_FLOW_TERMINATION_LOG:-/dev/termination-log}
  echo "$2" >&2
  [ ! -w "$message" ] || echo "$2" >"$message"
  exit "$1"
}
refuse() {
  fail 2 "$1 cannot be installed here: $2. Use EXTRA_PIP_PACKAGES, or derive an image."
}
[ -z "${EXTRA_APT_PACKAGES:-}" ] || refuse EXTRA_APT_PACKAGES "this container is not root"
[ -z "${EXTRA_CONDA_PACKAGES:-}" ] || refuse EXTRA_CONDA_PACKAGES "there is no conda"
if [ -n "${EXTRA_PIP_PACKAGES:-}" ]; then
  # An environment over the image's, which this user cannot write to: pip sees what is there, and may install other versions.
  extra=$(mktemp -d)
  python -m venv --without-pip "$extra"
  packages=$("$extra/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
  python -c "import sysconfig; print(sysconfig.get_path('purelib'))" >"$packages/image.pth"
  # shellcheck disable=SC2086 # a list of requirements, separated by blanks
  { pip --python "$extra/bin/python" install --quiet --no-cache-dir $EXTRA_PIP_PACKAGES 2>&1 || touch "$extra/failed"; } |
    tee "$extra/log" >&2
  if [ -e "$extra/failed" ]; then
    error=$(sed -n 's/^ *ERROR: *//Ip' "$extra/log" | head -n 1) # before it may be warnings, and after it advice
    error=${error:-$(tail -n 1 "$extra/log")}
    # exit code 3: the index may be there for another attempt
    fail 3 "EXTRA_PIP_PACKAGES=$EXTRA_PIP_PACKAGES could not be installed: ${error%.}. The log has all that pip says."
  fi
  export PYTHONPATH="$packages${PYTHONPATH:+:$PYTHONPATH}" PATH="$extra/bin:$PATH"
  rm "$extra"/bin/python*
fi

# `run` and options are dask-flow's. `dask worker` loads every plugin of the dask
# command first, which takes as long as the worker itself: start the worker's own module.
case "${1:-}" in
  dask)
    case "${2:-}" in
      worker | scheduler) module=distributed.cli.dask_$2 && shift 2 && exec python -m "$module" "$@" ;;
    esac
    ;;
  --liveness*) set -- kopf run -m dask_kubernetes.operator.controller "$@" ;; # the arguments of the Dask operator's chart
  run | -*) set -- dask-flow "$@" ;;
esac
exec "$@"

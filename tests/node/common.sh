# shellcheck shell=bash disable=SC2034
# Sourced by the node's commands: where things are, and how a process of the node is known.
dir=${DASK_FLOW_NODE:-${XDG_CACHE_HOME:-$HOME/.cache}/dask-flow/node}
bin=$dir/bin log=$dir/log run=$dir/run pki=$dir/run/pki

alive() { # name: is the recorded process there, and still the one that was started?
  local pid born
  read -r pid born 2>/dev/null <"$run/$1.pid" || return
  [ "$(birth "$pid")" = "$born" ]
}

birth() { # process id: when it was started, in clock ticks since boot, and of which boot; a reused id differs in it
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  read -ra stat <<<"${stat##*) }"
  [ "${stat[0]}" = Z ] || echo "${stat[19]}-$(cat /proc/sys/kernel/random/boot_id)"
}

start() { # name, command: keep it running, its output in $log, its identity in $run
  alive "$1" && return
  setsid "${@:2}" >"$log/$1.log" 2>&1 </dev/null &
  echo "$! $(birth $!)" >"$run/$1.pid"
}

stop() { # names: end each one's process, and wait for it
  local name pid
  for name in "$@"; do
    if alive "$name"; then
      read -r pid _ <"$run/$name.pid"
      kill "$pid"
      for _ in $(seq 50); do alive "$name" || break; sleep 0.2; done
      alive "$name" && kill -9 "$pid"
    fi
    rm -f "$run/$name.pid"
  done
}

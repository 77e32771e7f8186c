# shellcheck shell=bash disable=SC2034
# Sourced by the node's commands: where things are, and how a process of the node is known.
dir=${DASK_FLOW_NODE:-${XDG_CACHE_HOME:-$HOME/.cache}/dask-flow/node}
bin=$dir/bin log=$dir/log run=$dir/run pki=$dir/run/pki
node_ip=10.244.0.1 pods=10.244.0.0/16 services=10.96.0.0/16 api_service=10.96.0.1

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

buildah_options() { # print what `buildah build` needs here: without an engine, RUN has this machine's network, certificates and names
  mkdir -p "$dir"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$dir/pip.conf"
  echo "--isolation chroot --network host -v $dir/pip.conf:/etc/pip.conf:ro"
  printf -- '-v %s:%s:ro\n' /etc/ssl/certs{,} /etc/resolv.conf{,} /etc/hosts{,}
}

start_apiserver() { # and wait until it is ready; needs KUBECONFIG, and kubectl in PATH
  start apiserver "$bin/node" kube-apiserver --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range=$services \
    --advertise-address=$node_ip --client-ca-file="$pki/ca.crt" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --audit-policy-file="$dir/audit.yaml" --audit-log-path="$log/audit.log" --audit-log-maxsize=100 --audit-log-maxbackup=1 \
    --shutdown-send-retry-after # else it waits a minute for the watches to end
  for _ in $(seq 300); do
    kubectl --request-timeout=5s get --raw /readyz >/dev/null 2>&1 && return
    alive apiserver || break
    sleep 0.2
  done
  echo "The API server is not ready; see $log/apiserver.log" >&2
  return 1
}
